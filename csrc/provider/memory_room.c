#include "memory_room.h"

#include "memory_policy.h"

enum { TOLERATED = 32 /* a part of the chunks this small may lie in holes before any are joined */ };

bool zbz_mem_evict(zbz_mem *m) {
	uint32_t id = m->policy->victim(m);
	if (id == 0) return false;
	__atomic_store_n(&m->evicted, m->evicted + 1, __ATOMIC_RELAXED); /* read without the lock: see cache_memory.c */
	zbz_mem_remove(m, id, zbz_mem_hash(zbz_mem_at(m, id)), true);
	return true;
}

/* ---- moving ---- */

static void move_entry(zbz_mem *m, uint32_t from, uint32_t to) {
	zbz_mem_entry *e = zbz_mem_at(m, from), *n = zbz_mem_at(m, to);
	uint32_t marks = n->word & ZBZ_BLOCK_MARKS;
	memcpy(n, e, zbz_mem_size(e));
	n->word = (n->word & ~ZBZ_BLOCK_MARKS) | marks;
	zbz_index_move(&m->index, zbz_mem_hash(n), from, to);
	if (zbz_mem_expire(n) != 0) zbz_expiry_moved(&m->expiry, to);
	m->policy->moved(m, n, from, to, 0);
	zbz_arena_free(&m->arena, from, zbz_mem_size(n));
}

/* Turns scattered holes into one: the emptiest chunk moves into the holes of the others, as far as it fits. Whether that was
 * of use shows when a block is asked for; if not, it is not tried again before there are more holes. */
bool zbz_mem_empty_a_chunk(zbz_mem *m, size_t at_least) {
	uint32_t number, at = 0, id, to;
	bool moved = false;
	uint64_t more = m->arena.hollow + m->arena.cut / 64;
	if (m->arena.hollow < m->hollow_tried) {
		if (m->hollow_tried > more) m->hollow_tried = more;
		return false;
	}
	m->hollow_tried = more;
	number = zbz_arena_emptiest(&m->arena, at_least);
	if (number == 0) return false;
	zbz_arena_close(&m->arena, number);
	while ((id = zbz_arena_walk(&m->arena, &at)) != 0) {
		to = zbz_arena_alloc(&m->arena, zbz_mem_size(zbz_mem_at(m, id)));
		if (to == 0) continue;
		move_entry(m, id, to);
		moved = true;
	}
	if (zbz_arena_reopen(&m->arena)) m->hollow_tried = 0;
	return moved;
}

/* ---- making room ---- */

/* One step towards less memory. */
bool zbz_mem_yield(zbz_mem *m, size_t wanted) {
	size_t chunk = wanted < m->arena.chunk_max / 2 ? wanted : m->arena.chunk_max / 2;
	if (zbz_arena_trim(&m->arena)) return true;
	if (m->arena.hollow > chunk && zbz_mem_empty_a_chunk(m, chunk)) return true;
	return zbz_mem_evict(m);
}

bool zbz_mem_room(zbz_mem *m, size_t bytes) {
	while (zbz_mem_total(m) + bytes > m->max_size)
		if (!zbz_mem_yield(m, bytes)) return false;
	return true;
}

zbz_status zbz_mem_too_large(const zbz_mem *m, size_t bytes, zbz_err *err) {
	return zbz_fail(err, ZBZ_E_TOO_LARGE, "an entry of %zu bytes is larger than max_size (%llu)", bytes,
	                (unsigned long long)m->max_size);
}

static zbz_status reserve_slot(zbz_mem *m, uint64_t hash, zbz_err *err) {
	size_t growth;
	while ((growth = zbz_index_growth(&m->index, hash)) != 0) {
		if (zbz_mem_total(m) + growth <= m->max_size)
			return zbz_index_grow(&m->index, hash) ? ZBZ_OK : zbz_fail_nomem(err);
		if (!zbz_mem_yield(m, growth)) return zbz_mem_too_large(m, growth, err);
	}
	return ZBZ_OK;
}

/* A block within a chunk. When the holes are many but small, evicting on would take the good with the bad: chunks are emptied then. */
static zbz_status reserve_shared(zbz_mem *m, size_t bytes, uint32_t *id, zbz_err *err) {
	bool starved = false;
	for (;;) {
		uint64_t total = zbz_mem_total(m);
		size_t growth = 0;
		if ((*id = zbz_arena_alloc(&m->arena, bytes)) != 0) return ZBZ_OK;
		if (!starved && total < m->max_size) growth = zbz_arena_growth(&m->arena, bytes, m->max_size - total);
		if (growth != 0 && zbz_arena_grow(&m->arena, growth)) continue;
		if (growth != 0) starved = true;
		if (m->arena.hollow > m->arena.cut / TOLERATED && zbz_mem_empty_a_chunk(m, bytes)) continue;
		if (zbz_mem_evict(m)) continue;
		return starved ? zbz_fail_nomem(err) : zbz_mem_too_large(m, bytes, err);
	}
}

static zbz_status reserve_alone(zbz_mem *m, size_t bytes, uint32_t *id, zbz_err *err) {
	if (!zbz_mem_room(m, zbz_mem_cost(bytes) + zbz_arena_table_growth(&m->arena)))
		return zbz_mem_too_large(m, bytes, err);
	*id = zbz_arena_alloc_alone(&m->arena, bytes);
	return *id != 0 ? ZBZ_OK : zbz_fail_nomem(err);
}

zbz_status zbz_mem_reserve_block(zbz_mem *m, size_t bytes, uint32_t *id, zbz_err *err) {
	return zbz_arena_alone(&m->arena, bytes) ? reserve_alone(m, bytes, id, err) : reserve_shared(m, bytes, id, err);
}

/* What must be there before anything is changed. `there`: the key has an entry, so no further one comes. */
zbz_status zbz_mem_reserve_tables(zbz_mem *m, uint64_t hash, bool there, zbz_err *err) {
	if (!m->policy->reserve(m)) return zbz_fail_nomem(err);
	if (!there)
		while (m->max_items != 0 && m->items >= m->max_items)
			if (!zbz_mem_evict(m)) break;
	return reserve_slot(m, hash, err);
}
