/* Who goes first: the inside contract between the engine of the memory provider and its eviction policies. */
#ifndef ZBZ_PROVIDER_MEMORY_POLICY_H
#define ZBZ_PROVIDER_MEMORY_POLICY_H

#include "memory_engine.h"

/* Every entry is inserted once, hit any number of times, moved any number of times and removed once. `prev`, `next` and `pol` of
 * the entry belong to the policy in between. State is in m->state. */
struct zbz_mem_policy {
	const char *name;
	bool by_expiry;           /* a changed expiry is a removal and an insertion */
	bool (*open)(zbz_mem *m); /* false when out of memory; close is called all the same */
	void (*close)(zbz_mem *m);
	/* Before an insertion, the only place where tables may grow: zbz_mem_room asks the engine for it. false when out of memory. */
	bool (*reserve)(zbz_mem *m);
	void (*insert)(zbz_mem *m, uint32_t id, zbz_mem_entry *e, uint64_t hash);
	void (*hit)(zbz_mem *m, uint32_t id, zbz_mem_entry *e, uint64_t hash); /* read or overwritten */
	void (*remove)(zbz_mem *m, uint32_t id, zbz_mem_entry *e, uint64_t hash, bool evicted);
	/* The same entry in another block; `e` is in the new one, links copied; its size has grown by delta. */
	void (*moved)(zbz_mem *m, zbz_mem_entry *e, uint32_t from, uint32_t to, int64_t delta);
	uint32_t (*victim)(zbz_mem *m); /* 0 only when there is no entry; the engine removes it */
	/* Nothing is left: give back what can be given back, forget what was learned. */
	void (*drop)(zbz_mem *m);
	/* What it believes to have; for tests. */
	void (*count)(const zbz_mem *m, uint64_t *n, uint64_t *bytes);
};

extern const zbz_mem_policy zbz_mem_s3fifo, zbz_mem_lru, zbz_mem_lfu, zbz_mem_by_ttl, zbz_mem_sieve, zbz_mem_tinylfu;

/* ---- queues of entries ---- */

typedef struct zbz_mem_list {
	uint32_t head, tail; /* oldest, newest */
	uint64_t n, bytes;
} zbz_mem_list;

static inline void zbz_mem_list_push(zbz_mem *m, zbz_mem_list *l, uint32_t id, zbz_mem_entry *e) {
	e->prev = l->tail;
	e->next = 0;
	if (l->tail != 0)
		zbz_mem_at(m, l->tail)->next = id;
	else
		l->head = id;
	l->tail = id;
	l->n++;
	l->bytes += zbz_mem_weight(m, e);
}
static inline void zbz_mem_list_unlink(zbz_mem *m, zbz_mem_list *l, zbz_mem_entry *e) {
	if (e->prev != 0)
		zbz_mem_at(m, e->prev)->next = e->next;
	else
		l->head = e->next;
	if (e->next != 0)
		zbz_mem_at(m, e->next)->prev = e->prev;
	else
		l->tail = e->prev;
	l->n--;
	l->bytes -= zbz_mem_weight(m, e);
}
static inline void zbz_mem_list_moved(zbz_mem *m, zbz_mem_list *l, const zbz_mem_entry *e, uint32_t to, int64_t delta) {
	if (e->prev != 0)
		zbz_mem_at(m, e->prev)->next = to;
	else
		l->head = to;
	if (e->next != 0)
		zbz_mem_at(m, e->next)->prev = to;
	else
		l->tail = to;
	l->bytes = (uint64_t)((int64_t)l->bytes + delta);
}
/* To the newest end. */
static inline void zbz_mem_list_renew(zbz_mem *m, zbz_mem_list *l, uint32_t id, zbz_mem_entry *e) {
	if (l->tail == id) return;
	zbz_mem_list_unlink(m, l, e);
	zbz_mem_list_push(m, l, id, e);
}
/* Does the part hold at least this share of all, and at least one? By number when the number of entries is what is full. */
static inline bool zbz_mem_list_over(const zbz_mem *m, const zbz_mem_list *l, uint64_t permille) {
	uint64_t part = l->bytes, all = m->live;
	if (l->n == 0) return false;
	if (m->max_items != 0 && m->items >= m->max_items) {
		part = l->n;
		all = m->items;
	}
	return part * 1000 >= all * permille;
}

#endif
