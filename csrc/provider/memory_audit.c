/* Counts everything again; for tests. */
#include "base/hash.h"
#include "memory_policy.h"

#include <stdio.h>

static bool wrong(char *why, size_t size, const char *what, uint64_t has, uint64_t counted) {
	if (has == counted) return false;
	snprintf(why, size, "%s: %llu, counted %llu", what, (unsigned long long)has, (unsigned long long)counted);
	return true;
}

typedef struct sums {
	uint64_t items, live, dying, shared;
} sums;

static bool count_entry(zbz_mem *m, uint32_t id, sums *sum, char *why, size_t size) {
	const zbz_mem_entry *e = zbz_mem_at(m, id);
	zbz_bytes key = zbz_mem_key_bytes(e);
	if (e->klen == 0 || zbz_mem_find(m, key, zbz_hash_inline(key)) != id) {
		snprintf(why, size, "entry %u is not found under its key", id);
		return false;
	}
	sum->items++;
	sum->live += zbz_mem_weight(m, e);
	sum->dying += zbz_mem_expire(e) != 0;
	if (!zbz_arena_is_alone(&m->arena, id))
		sum->shared += zbz_mem_weight(m, e) + (e->word & ZBZ_BLOCK_SLACK ? (size_t)1 << m->arena.grain_shift : 0);
	return true;
}

static bool count_expiry(const zbz_mem *m, char *why, size_t size) {
	uint64_t n = 0;
	uint32_t i;
	for (i = 0; i < ZBZ_EXPIRY_TIERS * ZBZ_EXPIRY_WINDOWS; i++) {
		uint32_t prev = 0xFFFF0000u | i, id;
		for (id = m->expiry.heads[i]; id != 0; id = zbz_mem_ttl_of(zbz_mem_at(m, id))->next) {
			if (zbz_mem_ttl_of(zbz_mem_at(m, id))->prev != prev || zbz_mem_expire(zbz_mem_at(m, id)) == 0) {
				snprintf(why, size, "entry %u is badly linked in expiry bucket %u", id, i);
				return false;
			}
			prev = id;
			n++;
		}
	}
	return !wrong(why, size, "entries in expiry buckets", m->expiry.total, n);
}

bool zbz_mem_audit(zbz_mem *m, char *why, size_t size) {
	zbz_index_at at = { 0, 0 };
	sums sum = { 0, 0, 0, 0 };
	uint64_t n, bytes, used = 0;
	uint32_t nth = 0, id, i;
	const char *bad = zbz_arena_audit(&m->arena);
	if (bad != NULL) {
		snprintf(why, size, "arena: %s", bad);
		return false;
	}
	while ((id = zbz_index_next(&m->index, &at, &nth)) != 0)
		if (!count_entry(m, id, &sum, why, size)) return false;
	for (i = 1; i < m->arena.n; i++)
		if (m->arena.chunks[i].base != NULL && m->arena.chunks[i].size != 0)
			used += (uint64_t)m->arena.chunks[i].used << m->arena.grain_shift;
	m->policy->count(m, &n, &bytes);
	if (wrong(why, size, "items", m->items, sum.items) || wrong(why, size, "live bytes", m->live, sum.live) ||
	    wrong(why, size, "entries with expiry", m->expiry.total, sum.dying) || wrong(why, size, "bytes in chunks", used, sum.shared) ||
	    wrong(why, size, "items of the policy", n, sum.items) || wrong(why, size, "bytes of the policy", bytes, sum.live))
		return false;
	if (zbz_mem_total(m) > m->max_size) {
		snprintf(why, size, "%llu bytes are more than the limit", (unsigned long long)zbz_mem_total(m));
		return false;
	}
	return count_expiry(m, why, size);
}
