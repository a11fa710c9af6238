/* S3-FIFO (Yang, Zhang, Qiu, Yue, Rashmi, 2023), promoting after one hit: a small queue on probation, a main queue with second
 * chances, a ghost of what left the small one. A hit counts to three and moves nothing.
 *
 * size_aware: an entry far larger than the mean needs more hits to be promoted and pays more of them for a second chance. */
#include "memory_ghost.h"
#include "memory_policy.h"

enum { FREQUENCY = 3, IN_MAIN = 4, SMALL_PERMILLE = 100, STEPS = 4096 };

typedef struct s3fifo {
	zbz_mem_list small, main;
	zbz_ghost ghost;
} s3fifo;

static bool s3_open(zbz_mem *m) {
	m->state = zbz_calloc(1, sizeof(s3fifo));
	return m->state != NULL;
}

static void s3_close(zbz_mem *m) {
	s3fifo *s = m->state;
	if (s == NULL) return;
	zbz_ghost_clear(&s->ghost, m);
	zbz_free(s);
}

static bool s3_reserve(zbz_mem *m) {
	s3fifo *s = m->state;
	return zbz_ghost_reserve(&s->ghost, m);
}

static void s3_insert(zbz_mem *m, uint32_t id, zbz_mem_entry *e, uint64_t hash) {
	s3fifo *s = m->state;
	e->pol = zbz_ghost_take(&s->ghost, m, hash) ? IN_MAIN : 0;
	zbz_mem_list_push(m, e->pol != 0 ? &s->main : &s->small, id, e);
}

static void s3_hit(zbz_mem *m, uint32_t id, zbz_mem_entry *e, uint64_t hash) {
	(void)m, (void)id, (void)hash;
	if ((e->pol & FREQUENCY) != FREQUENCY) e->pol++;
}

static void s3_remove(zbz_mem *m, uint32_t id, zbz_mem_entry *e, uint64_t hash, bool evicted) {
	s3fifo *s = m->state;
	(void)id;
	zbz_mem_list_unlink(m, e->pol & IN_MAIN ? &s->main : &s->small, e);
	if (evicted && !(e->pol & IN_MAIN)) zbz_ghost_add(&s->ghost, hash);
}

static void s3_moved(zbz_mem *m, zbz_mem_entry *e, uint32_t from, uint32_t to, int64_t delta) {
	s3fifo *s = m->state;
	(void)from;
	zbz_mem_list_moved(m, e->pol & IN_MAIN ? &s->main : &s->small, e, to, delta);
}

static uint8_t price(const zbz_mem *m, const zbz_mem_entry *e) {
	uint64_t mean, weight;
	if (!m->config.size_aware) return 1;
	mean = m->live / m->items;
	weight = zbz_mem_weight(m, e);
	return weight > 4 * mean ? 3 : weight > 2 * mean ? 2 : 1;
}

/* The oldest of the small queue goes, unless it was used: then it is promoted and the next one is looked at. 0: none left. */
static uint32_t from_small(zbz_mem *m, s3fifo *s) {
	uint32_t id = s->small.head;
	zbz_mem_entry *e = zbz_mem_at(m, id);
	if ((e->pol & FREQUENCY) < price(m, e)) return id;
	zbz_mem_list_unlink(m, &s->small, e);
	e->pol = IN_MAIN;
	zbz_mem_list_push(m, &s->main, id, e);
	return 0;
}

static uint32_t from_main(zbz_mem *m, s3fifo *s, bool firm) {
	uint32_t id = s->main.head;
	zbz_mem_entry *e = zbz_mem_at(m, id);
	uint8_t cost = price(m, e);
	if ((e->pol & FREQUENCY) < cost || firm) return id;
	e->pol = (uint8_t)(e->pol - cost);
	zbz_mem_list_renew(m, &s->main, id, e);
	return 0;
}

/* However many second chances are due, no eviction walks on for ever. */
static uint32_t s3_victim(zbz_mem *m) {
	s3fifo *s = m->state;
	uint32_t id = 0;
	int steps;
	for (steps = 0; id == 0; steps++) {
		if (s->main.n == 0 && s->small.n == 0) return 0;
		if (s->main.n == 0 || zbz_mem_list_over(m, &s->small, SMALL_PERMILLE))
			id = from_small(m, s);
		else
			id = from_main(m, s, steps > STEPS);
	}
	return id;
}

static void s3_drop(zbz_mem *m) {
	s3fifo *s = m->state;
	memset(&s->small, 0, sizeof s->small);
	memset(&s->main, 0, sizeof s->main);
	zbz_ghost_clear(&s->ghost, m);
}

static void s3_count(const zbz_mem *m, uint64_t *n, uint64_t *bytes) {
	const s3fifo *s = m->state;
	*n = s->small.n + s->main.n;
	*bytes = s->small.bytes + s->main.bytes;
}

const zbz_mem_policy zbz_mem_s3fifo = {
	.name = "s3fifo",
	.open = s3_open,
	.close = s3_close,
	.reserve = s3_reserve,
	.insert = s3_insert,
	.hit = s3_hit,
	.remove = s3_remove,
	.moved = s3_moved,
	.victim = s3_victim,
	.drop = s3_drop,
	.count = s3_count,
};
