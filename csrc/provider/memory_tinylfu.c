/* W-TinyLFU (Einziger, Friedman, Manes, 2017; adaptive window: Einziger, Eytan, Friedman, Manes, 2018): a window for what is
 * new, then a main part of two queues; what leaves the window enters the main part only if it is asked for more often, by a
 * sketch, than what it would push out. The share of the window climbs towards the better hit ratio.
 *
 * Good on loops and scans. An entry just written is never refused: it starts in the window. */
#include "memory_policy.h"
#include "memory_sketch.h"

#include "base/hash.h"

enum { WINDOW, PROBATION, PROTECTED, QUEUES };
enum { PROTECTED_PERMILLE = 900, PERIOD = 20, SKETCH_FIRST = 512 };

typedef struct tinylfu {
	zbz_mem_list q[QUEUES];
	zbz_sketch sketch;
	uint32_t *batch; /* hashes of reads that the sketch has not seen yet */
	uint32_t batched;
	/* the climber */
	double window; /* share of all */
	double step, before;
	uint64_t hits, misses;
} tinylfu;

static const double window_first = 0.12, step_first = 0.025, step_decay = 0.98, restart = 0.05, window_most = 0.8;

static uint32_t print_of(uint64_t hash) { return (uint32_t)(hash >> 20); }
static double window_least(const zbz_mem *m) { return m->items > 100 ? 0.01 : 1.0 / (double)(m->items + 1); }

static bool tiny_open(zbz_mem *m) {
	tinylfu *s = m->state = zbz_calloc(1, sizeof *s);
	uint32_t lines;
	if (s == NULL) return false;
	s->window = window_first;
	s->step = step_first;
	s->batch = zbz_malloc(m->config.batch * sizeof *s->batch);
	if (s->batch == NULL) return false;
	if (m->config.sketch_counters == 0) return true;
	lines = zbz_sketch_lines(m->config.sketch_counters / 16);
	if (zbz_sketch_cost(lines) > m->max_size / 16) lines = (uint32_t)(m->max_size / 16 / 64);
	if (lines == 0) return true;
	if (!zbz_sketch_grow(&s->sketch, lines)) return false;
	m->tables = m->fixed = zbz_sketch_cost(lines);
	return true;
}

static void tiny_close(zbz_mem *m) {
	tinylfu *s = m->state;
	if (s == NULL) return;
	zbz_sketch_clear(&s->sketch);
	zbz_free(s->batch);
	zbz_free(s);
}

/* Told in batches: the lines of the sketch are far apart, and can be fetched together. */
static void tell(tinylfu *s) {
	uint32_t i;
	for (i = 0; i < s->batched; i++) zbz_sketch_note(&s->sketch, s->batch[i]);
	s->batched = 0;
}

static bool tiny_reserve(zbz_mem *m) {
	tinylfu *s = m->state;
	uint64_t keys = m->max_items != 0 && m->max_items < m->items * 2 ? m->max_items : m->items + m->items / 2;
	uint32_t lines = zbz_sketch_lines(keys < SKETCH_FIRST ? SKETCH_FIRST : keys), old = s->sketch.n;
	if (m->fixed != 0 || m->max_size < 65536) return true;
	if (old != 0 && zbz_sketch_lines(m->items) <= old) return true;
	if (!zbz_mem_room(m, zbz_sketch_cost(lines))) return true;
	if (!zbz_sketch_grow(&s->sketch, lines)) return false;
	m->tables += zbz_sketch_cost(lines) - zbz_sketch_cost(old);
	return true;
}

/* ---- the climber ---- */

/* After as many requests as twenty times the entries: was the window better before it was changed? Then back, in smaller steps. */
static void climb(const zbz_mem *m, tinylfu *s) {
	double ratio, change;
	if (s->hits + s->misses < m->items * PERIOD + 1000) return;
	ratio = (double)s->hits / (double)(s->hits + s->misses);
	s->hits = s->misses = 0;
	change = ratio - s->before;
	s->before = ratio;
	if (change < 0) s->step = -s->step;
	if (change > restart || change < -restart)
		s->step = s->step < 0 ? -step_first : step_first;
	else
		s->step *= step_decay;
	s->window += s->step;
	if (s->window > window_most) s->window = window_most;
	if (s->window < window_least(m)) s->window = window_least(m);
}

/* ---- the slots ---- */

static void shift(zbz_mem *m, tinylfu *s, uint32_t id, zbz_mem_entry *e, uint8_t to) {
	zbz_mem_list_unlink(m, &s->q[e->pol], e);
	e->pol = to;
	zbz_mem_list_push(m, &s->q[to], id, e);
}

static bool window_over(const zbz_mem *m, const tinylfu *s, const zbz_mem_entry *without) {
	zbz_mem_list window = s->q[WINDOW];
	if (without != NULL) {
		window.n--;
		window.bytes -= zbz_mem_weight(m, without);
	}
	return zbz_mem_list_over(m, &window, (uint64_t)(s->window * 1000));
}

/* The window keeps one too many, who will have to prove himself; others go over freely, while there is room or when the
 * window has become narrower. Two at a time, so that no call pays for all. */
static void tiny_insert(zbz_mem *m, uint32_t id, zbz_mem_entry *e, uint64_t hash) {
	tinylfu *s = m->state;
	int i;
	e->pol = WINDOW;
	zbz_mem_list_push(m, &s->q[WINDOW], id, e);
	for (i = 0; i < 2; i++) {
		uint32_t oldest = s->q[WINDOW].head;
		zbz_mem_entry *o = zbz_mem_at(m, oldest);
		if (oldest == id || !window_over(m, s, o)) break;
		shift(m, s, oldest, o, PROBATION);
	}
	zbz_sketch_note(&s->sketch, print_of(hash));
	s->misses++;
	climb(m, s);
}

static void tiny_hit(zbz_mem *m, uint32_t id, zbz_mem_entry *e, uint64_t hash) {
	tinylfu *s = m->state;
	s->batch[s->batched++] = print_of(hash);
	if (s->batched == m->config.batch) tell(s);
	s->hits++;
	if (e->pol != PROBATION) {
		zbz_mem_list_renew(m, &s->q[e->pol], id, e);
		return;
	}
	shift(m, s, id, e, PROTECTED);
	while (s->q[PROTECTED].bytes * 1000 > (s->q[PROTECTED].bytes + s->q[PROBATION].bytes) * PROTECTED_PERMILLE &&
	       s->q[PROTECTED].n > 1)
		shift(m, s, s->q[PROTECTED].head, zbz_mem_at(m, s->q[PROTECTED].head), PROBATION);
}

static void tiny_remove(zbz_mem *m, uint32_t id, zbz_mem_entry *e, uint64_t hash, bool evicted) {
	tinylfu *s = m->state;
	(void)id, (void)hash, (void)evicted;
	zbz_mem_list_unlink(m, &s->q[e->pol], e);
}

static void tiny_moved(zbz_mem *m, zbz_mem_entry *e, uint32_t from, uint32_t to, int64_t delta) {
	tinylfu *s = m->state;
	(void)from;
	zbz_mem_list_moved(m, &s->q[e->pol], e, to, delta);
}

static unsigned count_of(const zbz_mem *m, const tinylfu *s, uint32_t id) {
	return zbz_sketch_count(&s->sketch, print_of(zbz_hash(zbz_mem_key_bytes(zbz_mem_at(m, id)))));
}

static uint32_t main_victim(const tinylfu *s) {
	return s->q[PROBATION].n != 0 ? s->q[PROBATION].head : s->q[PROTECTED].head;
}

static uint32_t tiny_victim(zbz_mem *m) {
	tinylfu *s = m->state;
	uint32_t candidate = s->q[WINDOW].head, victim = main_victim(s);
	if (victim == 0 || !window_over(m, s, NULL)) return victim != 0 ? victim : candidate;
	tell(s);
	if (count_of(m, s, candidate) <= count_of(m, s, victim)) return candidate;
	shift(m, s, candidate, zbz_mem_at(m, candidate), PROBATION);
	return victim;
}

static void tiny_drop(zbz_mem *m) {
	tinylfu *s = m->state;
	memset(s->q, 0, sizeof s->q);
	s->batched = 0;
	if (m->fixed != 0) {
		zbz_sketch_forget(&s->sketch);
		return;
	}
	m->tables -= zbz_sketch_cost(s->sketch.n);
	zbz_sketch_clear(&s->sketch);
}

static void tiny_count(const zbz_mem *m, uint64_t *n, uint64_t *bytes) {
	const tinylfu *s = m->state;
	int i;
	for (*n = *bytes = 0, i = 0; i < QUEUES; i++) {
		*n += s->q[i].n;
		*bytes += s->q[i].bytes;
	}
}

const zbz_mem_policy zbz_mem_tinylfu = {
	.name = "tinylfu",
	.open = tiny_open,
	.close = tiny_close,
	.reserve = tiny_reserve,
	.insert = tiny_insert,
	.hit = tiny_hit,
	.remove = tiny_remove,
	.moved = tiny_moved,
	.victim = tiny_victim,
	.drop = tiny_drop,
	.count = tiny_count,
};
