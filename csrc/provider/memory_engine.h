/* The engine of the memory provider: entries in an arena, found by an index, linked by a policy, buried by expiry buckets, all
 * of it within one limit of bytes. One thread at a time: cache_memory.c holds the lock. */
#ifndef ZBZ_PROVIDER_MEMORY_ENGINE_H
#define ZBZ_PROVIDER_MEMORY_ENGINE_H

#include "memory_expiry.h"
#include "memory_index.h"

#include <zbz/cache.h>

typedef struct zbz_mem_policy zbz_mem_policy;

typedef struct zbz_mem_config {
	uint64_t max_size, max_items; /* items 0: no limit */
	int64_t cleanup_interval;     /* ms */
	bool size_aware;
	const zbz_mem_policy *policy;
	uint64_t sketch_counters; /* tinylfu: of a sketch of fixed size; 0: as many as the entries need */
	uint32_t batch;           /* tinylfu: reads noted before the sketch is told */
} zbz_mem_config;

typedef struct zbz_mem {
	zbz_arena arena;
	zbz_index index;
	zbz_expiry expiry;
	const zbz_mem_policy *policy;
	void *state;            /* the policy's */
	uint64_t tables, fixed; /* cost of the policy's tables; of those that never go */
	uint64_t max_size, max_items;
	uint64_t items, live; /* entries; what their blocks take, in bytes */
	uint64_t evicted, expired;
	int64_t epoch; /* wall ms that stamps count from */
	int64_t cleanup_interval, next_cleanup;
	uint64_t hollow_tried; /* free bytes when emptying a chunk was last in vain */
	uint32_t version;
	uint32_t word_mask;
	uint32_t *
	    words; /* by hash: each moves with every change of its keys; NULL until somebody asks. At most a 256th of max_size, beside it */
	zbz_mem_config config;
} zbz_mem;

zbz_status zbz_mem_init(zbz_mem *m, const zbz_mem_config *config, int64_t now,
                        zbz_err *err); /* clear it also on failure */
void zbz_mem_clear(zbz_mem *m);

static inline zbz_mem_entry *zbz_mem_at(const zbz_mem *m, uint32_t id) { return zbz_arena_at(&m->arena, id); }
static inline uint64_t zbz_mem_total(const zbz_mem *m) { return m->arena.held + m->index.held + m->tables; }
/* What an entry counts for. */
static inline size_t zbz_mem_weight(const zbz_mem *m, const zbz_mem_entry *e) {
	return zbz_arena_round(&m->arena, zbz_mem_size(e));
}

void zbz_mem_bury(zbz_mem *m, uint32_t id); /* removes a dead one */

/* Dead or alive; 0 when absent. */
static inline uint32_t zbz_mem_find(zbz_mem *m, zbz_bytes key, uint64_t hash) {
	const zbz_segment *s = zbz_index_segment(&m->index, hash);
	uint32_t tag = zbz_index_tag(hash), found;
	const uint64_t *slot;
	if (s->used == 0) return 0;
	for (slot = &s->slots[zbz_index_home(s, tag)]; *slot != 0 && (found = (uint32_t)(*slot >> 32)) <= tag; slot++) {
		const zbz_mem_entry *e;
		if (found != tag) continue;
		e = zbz_mem_at(m, (uint32_t)*slot);
		if (e->klen == key.n && memcmp(zbz_mem_key(e), key.p, key.n) == 0) return (uint32_t)*slot;
	}
	return 0;
}

/* Alive; a dead one is buried and 0. */
static inline uint32_t zbz_mem_find_live(zbz_mem *m, zbz_bytes key, uint64_t hash, int64_t now) {
	uint32_t id = zbz_mem_find(m, key, hash);
	if (id == 0 || !zbz_mem_dead(zbz_mem_at(m, id), now)) return id;
	zbz_mem_bury(m, id);
	return 0;
}

static inline uint32_t zbz_mem_stamp(const zbz_mem *m, int64_t now) {
	return now <= m->epoch ? 0 : (uint32_t)((now - m->epoch) >> 4);
}

/* The word that a change of this key moves; NULL when out of memory. */
const uint32_t *zbz_mem_word(zbz_mem *m, uint64_t hash);
/* An entry of that hash, whatever its key; 0 none. */
uint32_t zbz_mem_find_hash(zbz_mem *m, uint64_t hash);

/* Hints for keys that will be looked for soon; entry after slot. */
static inline void zbz_mem_prefetch_slot(zbz_mem *m, uint64_t hash) {
	const zbz_segment *s = zbz_index_segment(&m->index, hash);
	if (s->used != 0) __builtin_prefetch(&s->slots[zbz_index_home(s, zbz_index_tag(hash))]);
}
void zbz_mem_prefetch_entry(zbz_mem *m, uint64_t hash);
/* Puts an entry there, in the place of the one under that key if there is one. *version is the new one. E_TOO_LARGE and E_INTERNAL leave
 * an older value as it is, unless it had to make room by its own turn. */
zbz_status zbz_mem_put(zbz_mem *m, uint64_t hash, zbz_bytes key, zbz_bytes value, int64_t expire_at, int64_t now,
                       uint32_t *version, zbz_err *err);
/* Another expiry for a living entry, 0 none. OK; MISS when the entry itself had to make room. */
zbz_status zbz_mem_expire_at(zbz_mem *m, uint64_t hash, zbz_bytes key, int64_t expire_at, int64_t now, zbz_err *err);
void zbz_mem_remove(zbz_mem *m, uint32_t id, uint64_t hash, bool evicted);
void zbz_mem_remove_all(zbz_mem *m);

/* For policies: evicts until `bytes` more can be asked of the allocator. false: not even an empty store has that much. */
bool zbz_mem_room(zbz_mem *m, size_t bytes);

/* Buries up to `budget` dead entries; those of windows that have passed. */
void zbz_mem_reap(zbz_mem *m, int64_t now, unsigned budget);
/* Buries every dead entry, and gives memory back. */
void zbz_mem_cleanup(zbz_mem *m, int64_t now);
/* The same, when it is time for it. */
static inline void zbz_mem_tick(zbz_mem *m, int64_t now) {
	if (now >= m->next_cleanup || m->next_cleanup - now > m->cleanup_interval) zbz_mem_cleanup(m, now);
}

/* Recounts everything; false and one line in `why` when a sum or link does not hold. For tests. */
ZBZ_API bool zbz_mem_audit(zbz_mem *m, char *why, size_t size);

#endif
