/* SIEVE (Zhang, Yang, Yue, Vigfusson, Rashmi, 2024): one queue, one mark per entry, a hand that wanders from old to new, clears
 * marks and takes the first one without. A hit sets the mark and moves nothing. Not proof against scans. */
#include "memory_policy.h"

enum { STEPS = 4096 };

typedef struct sieve {
	zbz_mem_list list;
	uint32_t hand; /* 0: at the oldest */
} sieve;

static bool sieve_open(zbz_mem *m) {
	m->state = zbz_calloc(1, sizeof(sieve));
	return m->state != NULL;
}

static void sieve_close(zbz_mem *m) { zbz_free(m->state); }

static bool sieve_reserve(zbz_mem *m) {
	(void)m;
	return true;
}

static void sieve_insert(zbz_mem *m, uint32_t id, zbz_mem_entry *e, uint64_t hash) {
	sieve *s = m->state;
	(void)hash;
	e->pol = 0;
	zbz_mem_list_push(m, &s->list, id, e);
}

static void sieve_hit(zbz_mem *m, uint32_t id, zbz_mem_entry *e, uint64_t hash) {
	(void)m, (void)id, (void)hash;
	e->pol = 1;
}

static void sieve_remove(zbz_mem *m, uint32_t id, zbz_mem_entry *e, uint64_t hash, bool evicted) {
	sieve *s = m->state;
	(void)hash, (void)evicted;
	if (s->hand == id) s->hand = e->next;
	zbz_mem_list_unlink(m, &s->list, e);
}

static void sieve_moved(zbz_mem *m, zbz_mem_entry *e, uint32_t from, uint32_t to, int64_t delta) {
	sieve *s = m->state;
	if (s->hand == from) s->hand = to;
	zbz_mem_list_moved(m, &s->list, e, to, delta);
}

static uint32_t sieve_victim(zbz_mem *m) {
	sieve *s = m->state;
	uint32_t id = s->hand != 0 ? s->hand : s->list.head;
	int steps;
	for (steps = 0; id != 0 && steps < STEPS; steps++) {
		zbz_mem_entry *e = zbz_mem_at(m, id);
		if (e->pol == 0) break;
		e->pol = 0;
		id = e->next != 0 ? e->next : s->list.head;
	}
	s->hand = id;
	return id;
}

static void sieve_drop(zbz_mem *m) { memset(m->state, 0, sizeof(sieve)); }

static void sieve_count(const zbz_mem *m, uint64_t *n, uint64_t *bytes) {
	const sieve *s = m->state;
	*n = s->list.n;
	*bytes = s->list.bytes;
}

const zbz_mem_policy zbz_mem_sieve = {
	.name = "sieve",
	.open = sieve_open,
	.close = sieve_close,
	.reserve = sieve_reserve,
	.insert = sieve_insert,
	.hit = sieve_hit,
	.remove = sieve_remove,
	.moved = sieve_moved,
	.victim = sieve_victim,
	.drop = sieve_drop,
	.count = sieve_count,
};
