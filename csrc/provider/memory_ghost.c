#include "memory_ghost.h"

enum { WAYS = 8, LIFE = 6 /* generations that fit into a table before buckets overflow */ };

static inline uint16_t *bucket_of(const zbz_ghost *g, uint64_t hash) {
	return g->slots + (((hash >> 32) * g->buckets) >> 32) * WAYS;
}
static inline uint32_t print_of(uint64_t hash) {
	uint32_t p = (uint32_t)hash & 0xFFF;
	return p == 0 ? 1 : p;
}
static inline uint32_t age(const zbz_ghost *g, uint16_t slot) { return (g->generation - (slot & 15u)) & 15; }
static size_t cost(uint32_t buckets) { return zbz_mem_cost((size_t)buckets * WAYS * sizeof(uint16_t)); }

/* Generations remembered: together as many keys as there are entries. */
static uint32_t life(const zbz_ghost *g, const zbz_mem *m) {
	uint64_t n = (m->items + g->buckets / 2) / g->buckets;
	return n < 1 ? 1 : n > LIFE ? LIFE : (uint32_t)n;
}

static void insert(const zbz_ghost *g, uint16_t *bucket, uint16_t slot) {
	int i, oldest = 0;
	for (i = 0; i < WAYS; i++) {
		if (bucket[i] == 0) {
			oldest = i;
			break;
		}
		if (age(g, bucket[i]) > age(g, bucket[oldest])) oldest = i;
	}
	bucket[oldest] = slot;
}

/* Buckets are shares of the range of hashes: what was in one goes to the two that share its range now, or into the one that
 * holds its range and another's. */
static void carry_over(zbz_ghost *to, const zbz_ghost *from) {
	uint32_t i, j;
	for (i = 0; i < from->buckets; i++)
		for (j = 0; j < WAYS; j++) {
			uint16_t slot = from->slots[(size_t)i * WAYS + j];
			if (slot == 0) continue;
			if (to->buckets > from->buckets) {
				insert(to, to->slots + (size_t)i * 2 * WAYS, slot);
				insert(to, to->slots + ((size_t)i * 2 + 1) * WAYS, slot);
			} else {
				insert(to, to->slots + (size_t)(i / 2) * WAYS, slot);
			}
		}
}

bool zbz_ghost_reserve(zbz_ghost *g, zbz_mem *m) {
	uint64_t fit = (uint64_t)g->buckets * LIFE;
	zbz_ghost to = { NULL, 0, 0, g->generation };
	if (m->evicted == 0 || m->items == 0) return true;
	if (g->buckets == 0)
		to.buckets = (uint32_t)(m->items / LIFE + 1);
	else if (m->items > fit + fit / 2)
		to.buckets = g->buckets * 2;
	else if (m->items < fit / 3 && g->buckets > 4)
		to.buckets = (g->buckets + 1) / 2;
	else
		return true;
	if (!zbz_mem_room(m, cost(to.buckets))) return true; /* a store that small does without */
	to.slots = zbz_calloc((size_t)to.buckets * WAYS, sizeof *to.slots);
	if (to.slots == NULL) return false;
	if (g->buckets != 0) carry_over(&to, g);
	zbz_ghost_clear(g, m);
	*g = to;
	m->tables += cost(g->buckets);
	return true;
}

/* One bucket is swept per insertion, all of them once a generation, so no old mark is ever taken for a new one. */
static void sweep(zbz_ghost *g) {
	uint16_t *bucket = g->slots + (size_t)g->inserted * WAYS;
	int i;
	for (i = 0; i < WAYS; i++)
		if (age(g, bucket[i]) > LIFE) bucket[i] = 0;
	if (++g->inserted < g->buckets) return;
	g->inserted = 0;
	g->generation = (g->generation + 1) & 15;
}

void zbz_ghost_add(zbz_ghost *g, uint64_t hash) {
	if (g->buckets == 0) return;
	insert(g, bucket_of(g, hash), (uint16_t)(print_of(hash) << 4 | g->generation));
	sweep(g);
}

bool zbz_ghost_take(zbz_ghost *g, const zbz_mem *m, uint64_t hash) {
	uint16_t *bucket;
	uint32_t print = print_of(hash);
	int i;
	if (g->buckets == 0) return false;
	bucket = bucket_of(g, hash);
	for (i = 0; i < WAYS; i++)
		if (bucket[i] >> 4 == (int)print && age(g, bucket[i]) <= life(g, m)) {
			bucket[i] = 0;
			return true;
		}
	return false;
}

void zbz_ghost_clear(zbz_ghost *g, zbz_mem *m) {
	if (g->buckets != 0) m->tables -= cost(g->buckets);
	zbz_free(g->slots);
	g->slots = NULL;
	g->buckets = g->inserted = 0;
}
