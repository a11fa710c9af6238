/* Soonest to expire first; what never expires goes last, oldest first. A heap of ids, four children each, ordered by
 * the expiry in the entries; an entry keeps its place in the heap in `prev`. */
#include "memory_policy.h"

enum { IN_HEAP = 1, CHILDREN = 4, LEAST = 16 };

typedef struct by_ttl {
	uint32_t *heap;
	uint32_t n, cap;
	uint64_t bytes;
	zbz_mem_list forever;
} by_ttl;

static bool ttl_open(zbz_mem *m) {
	m->state = zbz_calloc(1, sizeof(by_ttl));
	return m->state != NULL;
}

static size_t cost(uint32_t cap) { return cap == 0 ? 0 : zbz_mem_cost((size_t)cap * sizeof(uint32_t)); }

static void heap_free(zbz_mem *m, by_ttl *s) {
	m->tables -= cost(s->cap);
	zbz_free(s->heap);
	s->heap = NULL;
	s->n = s->cap = 0;
	s->bytes = 0;
}

static void ttl_close(zbz_mem *m) {
	if (m->state != NULL) heap_free(m, m->state);
	zbz_free(m->state);
}

static bool ttl_reserve(zbz_mem *m) {
	by_ttl *s = m->state;
	uint32_t cap, *heap;
	if (s->n < s->cap) return true;
	cap = s->cap + s->cap / 4 + LEAST;
	if (!zbz_mem_room(m, cost(cap) - cost(s->cap))) return false;
	heap = zbz_realloc(s->heap, (size_t)cap * sizeof *heap);
	if (heap == NULL) return s->n < s->cap; /* making room may have been enough */
	m->tables += cost(cap) - cost(s->cap);
	s->heap = heap;
	s->cap = cap;
	return true;
}

static int64_t expire_of(const zbz_mem *m, uint32_t id) { return zbz_mem_expire(zbz_mem_at(m, id)); }

static void place(zbz_mem *m, by_ttl *s, uint32_t at, uint32_t id) {
	s->heap[at] = id;
	zbz_mem_at(m, id)->prev = at;
}

static void rise(zbz_mem *m, by_ttl *s, uint32_t at, uint32_t id) {
	int64_t when = expire_of(m, id);
	while (at > 0 && expire_of(m, s->heap[(at - 1) / CHILDREN]) > when) {
		place(m, s, at, s->heap[(at - 1) / CHILDREN]);
		at = (at - 1) / CHILDREN;
	}
	place(m, s, at, id);
}

static void sink(zbz_mem *m, by_ttl *s, uint32_t at, uint32_t id) {
	int64_t when = expire_of(m, id);
	for (;;) {
		uint64_t first = (uint64_t)at * CHILDREN + 1, i, best = 0;
		int64_t soonest = when;
		for (i = first; i < first + CHILDREN && i < s->n; i++) {
			int64_t t = expire_of(m, s->heap[i]);
			if (t >= soonest) continue;
			soonest = t;
			best = i;
		}
		if (best == 0) break;
		place(m, s, at, s->heap[best]);
		at = (uint32_t)best;
	}
	place(m, s, at, id);
}

static void ttl_insert(zbz_mem *m, uint32_t id, zbz_mem_entry *e, uint64_t hash) {
	by_ttl *s = m->state;
	(void)hash;
	e->pol = zbz_mem_expire(e) != 0 ? IN_HEAP : 0;
	if (e->pol == 0) {
		zbz_mem_list_push(m, &s->forever, id, e);
		return;
	}
	s->bytes += zbz_mem_weight(m, e);
	s->n++;
	rise(m, s, s->n - 1, id);
}

static void ttl_hit(zbz_mem *m, uint32_t id, zbz_mem_entry *e, uint64_t hash) {
	(void)m, (void)id, (void)e, (void)hash;
}

static void ttl_remove(zbz_mem *m, uint32_t id, zbz_mem_entry *e, uint64_t hash, bool evicted) {
	by_ttl *s = m->state;
	uint32_t at = e->prev, last;
	(void)id, (void)hash, (void)evicted;
	if (!(e->pol & IN_HEAP)) {
		zbz_mem_list_unlink(m, &s->forever, e);
		return;
	}
	s->bytes -= zbz_mem_weight(m, e);
	last = s->heap[--s->n];
	if (at == s->n) return;
	if (at > 0 && expire_of(m, s->heap[(at - 1) / CHILDREN]) > expire_of(m, last))
		rise(m, s, at, last);
	else
		sink(m, s, at, last);
}

static void ttl_moved(zbz_mem *m, zbz_mem_entry *e, uint32_t from, uint32_t to, int64_t delta) {
	by_ttl *s = m->state;
	(void)from;
	if (e->pol & IN_HEAP) {
		s->heap[e->prev] = to;
		s->bytes = (uint64_t)((int64_t)s->bytes + delta);
	} else {
		zbz_mem_list_moved(m, &s->forever, e, to, delta);
	}
}

static uint32_t ttl_victim(zbz_mem *m) {
	const by_ttl *s = m->state;
	return s->n != 0 ? s->heap[0] : s->forever.head;
}

static void ttl_drop(zbz_mem *m) {
	by_ttl *s = m->state;
	heap_free(m, s);
	memset(&s->forever, 0, sizeof s->forever);
}

static void ttl_count(const zbz_mem *m, uint64_t *n, uint64_t *bytes) {
	const by_ttl *s = m->state;
	*n = s->n + s->forever.n;
	*bytes = s->bytes + s->forever.bytes;
}

const zbz_mem_policy zbz_mem_by_ttl = {
	.name = "ttl",
	.by_expiry = true,
	.open = ttl_open,
	.close = ttl_close,
	.reserve = ttl_reserve,
	.insert = ttl_insert,
	.hit = ttl_hit,
	.remove = ttl_remove,
	.moved = ttl_moved,
	.victim = ttl_victim,
	.drop = ttl_drop,
	.count = ttl_count,
};
