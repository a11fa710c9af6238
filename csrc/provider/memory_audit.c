/* Counts everything again; for tests. */
#include "base/hash.h"
#include "memory_blocks.h"
#include "memory_policy.h"

#include <stdio.h>

/* ---- blocks ---- */

static const char *audit_chunk(const zbz_arena *a, uint32_t number, uint64_t *hollow, uint64_t *free_listed) {
	uint32_t id = number << a->shift, end = id + a->chunks[number].size, grains, used = 0;
	bool before = false;
	for (; id < end; id += grains) {
		const zbz_block *b = block_at(a, id);
		grains = block_grains(a, id);
		if (grains == 0 || grains > end - id) return "a block runs over its chunk";
		if (((b->word & ZBZ_BLOCK_PREV_FREE) != 0) != before) return "a mark of a free neighbour is wrong";
		if (before && b->mark == 0) return "two free blocks are neighbours";
		before = b->mark == 0;
		if (before && bytes_of(a, grains) < BLOCK_LEAST) return "a free block is too short";
		if (!before) {
			used += grains;
			continue;
		}
		if (*footer(a, id, grains) != grains) return "a free block ends in another size";
		*hollow += bytes_of(a, grains);
		*free_listed += listed(a, grains);
	}
	if (((block_at(a, end)->word & ZBZ_BLOCK_PREV_FREE) != 0) != before) return "the last mark of a chunk is wrong";
	return used == a->chunks[number].used ? NULL : "a chunk's use is not what it says";
}

const char *zbz_arena_audit(const zbz_arena *a) {
	uint64_t hollow = 0, free_listed = 0, held = a->cap == 0 ? 0 : zbz_mem_cost(a->cap * sizeof *a->chunks);
	uint32_t i, id, empties = 0;
	for (i = 1; i < a->n; i++) {
		const char *bad;
		if (a->chunks[i].base == NULL) continue;
		held += zbz_mem_cost(a->chunks[i].size == 0 ? a->chunks[i].used : chunk_bytes(a, i));
		if (a->chunks[i].size == 0) continue;
		empties += a->chunks[i].used == 0;
		bad = audit_chunk(a, i, &hollow, &free_listed);
		if (bad != NULL) return bad;
	}
	for (i = 0; i < ZBZ_ARENA_BINS; i++)
		for (id = a->bins[i]; id != 0; id = free_at(a, id)->next) {
			if (block_at(a, id)->mark != 0 || bin_of(block_at(a, id)->word) != i)
				return "a block is in the wrong free list";
			free_listed--;
		}
	if (free_listed != 0) return "a free block is in no list";
	if (held != a->held) return "held is not what was asked for";
	if (empties != a->empties) return "empty chunks are miscounted";
	return hollow == a->hollow ? NULL : "hollow is not the sum of the free blocks";
}

/* ---- entries ---- */

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
	    wrong(why, size, "entries with expiry", m->expiry.total, sum.dying) ||
	    wrong(why, size, "bytes in chunks", used, sum.shared) ||
	    wrong(why, size, "items of the policy", n, sum.items) ||
	    wrong(why, size, "bytes of the policy", bytes, sum.live))
		return false;
	if (zbz_mem_total(m) > m->max_size) {
		snprintf(why, size, "%llu bytes are more than the limit", (unsigned long long)zbz_mem_total(m));
		return false;
	}
	return count_expiry(m, why, size);
}
