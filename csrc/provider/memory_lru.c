/* Least recently used first. */
#include "memory_policy.h"

static bool lru_open(zbz_mem *m) {
	m->state = zbz_calloc(1, sizeof(zbz_mem_list));
	return m->state != NULL;
}

static void lru_close(zbz_mem *m) { zbz_free(m->state); }

static bool lru_reserve(zbz_mem *m) {
	(void)m;
	return true;
}

static void lru_insert(zbz_mem *m, uint32_t id, zbz_mem_entry *e, uint64_t hash) {
	(void)hash;
	zbz_mem_list_push(m, m->state, id, e);
}

static void lru_hit(zbz_mem *m, uint32_t id, zbz_mem_entry *e, uint64_t hash) {
	(void)hash;
	zbz_mem_list_renew(m, m->state, id, e);
}

static void lru_remove(zbz_mem *m, uint32_t id, zbz_mem_entry *e, uint64_t hash, bool evicted) {
	(void)id, (void)hash, (void)evicted;
	zbz_mem_list_unlink(m, m->state, e);
}

static void lru_moved(zbz_mem *m, zbz_mem_entry *e, uint32_t from, uint32_t to, int64_t delta) {
	(void)from;
	zbz_mem_list_moved(m, m->state, e, to, delta);
}

static uint32_t lru_victim(zbz_mem *m) { return ((const zbz_mem_list *)m->state)->head; }

static void lru_drop(zbz_mem *m) { memset(m->state, 0, sizeof(zbz_mem_list)); }

static void lru_count(const zbz_mem *m, uint64_t *n, uint64_t *bytes) {
	const zbz_mem_list *l = m->state;
	*n = l->n;
	*bytes = l->bytes;
}

const zbz_mem_policy zbz_mem_lru = {
	.name = "lru",
	.open = lru_open,
	.close = lru_close,
	.reserve = lru_reserve,
	.insert = lru_insert,
	.hit = lru_hit,
	.remove = lru_remove,
	.moved = lru_moved,
	.victim = lru_victim,
	.drop = lru_drop,
	.count = lru_count,
};
