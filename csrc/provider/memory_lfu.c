/* Least frequently used first, with ageing: an entry's rank is its number of uses plus the age of the cache when it was last
 * used, so that what was popular once does not stay for ever (after LFU with dynamic aging; Arlitt, Cherkasova, Dilley,
 * Friedrich, Jin, 1999, but the age grows with the share of entries replaced). Among equals the one used longest ago goes first.
 *
 * Ranks in use never span more than 256, so the queues form a ring. */
#include "memory_policy.h"

enum { RANKS = 256, USES_MAX = 200, AGEING = 16, AGEING_LEAST = 16 };

typedef struct lfu {
	zbz_mem_list ranks[RANKS];
	uint64_t map[RANKS / 64];
	uint8_t floor;    /* the age; no rank in use is below it, on the ring */
	uint64_t victims; /* since it last grew */
} lfu;

static bool lfu_open(zbz_mem *m) {
	m->state = zbz_calloc(1, sizeof(lfu));
	return m->state != NULL;
}

static void lfu_close(zbz_mem *m) { zbz_free(m->state); }

static bool lfu_reserve(zbz_mem *m) {
	(void)m;
	return true;
}

static void enter(zbz_mem *m, lfu *s, uint32_t id, zbz_mem_entry *e, uint8_t rank) {
	e->pol = rank;
	zbz_mem_list_push(m, &s->ranks[rank], id, e);
	s->map[rank / 64] |= (uint64_t)1 << (rank % 64);
}

static void leave(zbz_mem *m, lfu *s, zbz_mem_entry *e) {
	zbz_mem_list_unlink(m, &s->ranks[e->pol], e);
	if (s->ranks[e->pol].n == 0) s->map[e->pol / 64] &= ~((uint64_t)1 << (e->pol % 64));
}

static void lfu_insert(zbz_mem *m, uint32_t id, zbz_mem_entry *e, uint64_t hash) {
	lfu *s = m->state;
	(void)hash;
	enter(m, s, id, e, (uint8_t)(s->floor + 1));
}

/* The uses are the reads that the entry counts anyway; a write in place counts as one of them here only. */
static void lfu_hit(zbz_mem *m, uint32_t id, zbz_mem_entry *e, uint64_t hash) {
	lfu *s = m->state;
	unsigned above = (uint8_t)(e->pol - s->floor), uses = e->hits < USES_MAX ? e->hits + 1u : USES_MAX;
	(void)hash;
	if (uses <= above) uses = above < USES_MAX ? above + 1 : above;
	leave(m, s, e);
	enter(m, s, id, e, (uint8_t)(s->floor + uses));
}

static void lfu_remove(zbz_mem *m, uint32_t id, zbz_mem_entry *e, uint64_t hash, bool evicted) {
	lfu *s = m->state;
	(void)id, (void)hash, (void)evicted;
	leave(m, s, e);
}

static void lfu_moved(zbz_mem *m, zbz_mem_entry *e, uint32_t from, uint32_t to, int64_t delta) {
	lfu *s = m->state;
	(void)from;
	zbz_mem_list_moved(m, &s->ranks[e->pol], e, to, delta);
}

static uint32_t least(const lfu *s) {
	unsigned i, rank = s->floor;
	for (i = 0; i < RANKS; i++, rank++) {
		rank %= RANKS;
		if (s->map[rank / 64] == 0) { /* no need to look at each of the 64 */
			i += 63 - rank % 64;
			rank += 63 - rank % 64;
		} else if (s->ranks[rank].n != 0) {
			return s->ranks[rank].head;
		}
	}
	return 0;
}

static uint32_t lfu_victim(zbz_mem *m) {
	lfu *s = m->state;
	uint32_t id = least(s);
	uint64_t step = m->items / AGEING;
	if (++s->victims >= (step < AGEING_LEAST ? AGEING_LEAST : step) && id != 0 && zbz_mem_at(m, id)->pol != s->floor) {
		s->victims = 0;
		s->floor++;
	}
	return id;
}

static void lfu_drop(zbz_mem *m) { memset(m->state, 0, sizeof(lfu)); }

static void lfu_count(const zbz_mem *m, uint64_t *n, uint64_t *bytes) {
	const lfu *s = m->state;
	int i;
	for (*n = *bytes = 0, i = 0; i < RANKS; i++) {
		*n += s->ranks[i].n;
		*bytes += s->ranks[i].bytes;
	}
}

const zbz_mem_policy zbz_mem_lfu = {
	.name = "lfu",
	.open = lfu_open,
	.close = lfu_close,
	.reserve = lfu_reserve,
	.insert = lfu_insert,
	.hit = lfu_hit,
	.remove = lfu_remove,
	.moved = lfu_moved,
	.victim = lfu_victim,
	.drop = lfu_drop,
	.count = lfu_count,
};
