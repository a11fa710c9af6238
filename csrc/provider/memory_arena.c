#include "memory_blocks.h"

#include <string.h>

static uint32_t next_bin(const zbz_arena *a, uint32_t from) {
	uint32_t w = from / 64;
	uint64_t bits;
	if (from >= ZBZ_ARENA_BINS) return ZBZ_ARENA_BINS;
	bits = a->map[w] & (~(uint64_t)0 << (from % 64));
	while (bits == 0) {
		if (++w == sizeof a->map / sizeof a->map[0]) return ZBZ_ARENA_BINS;
		bits = a->map[w];
	}
	return w * 64 + (uint32_t)__builtin_ctzll(bits);
}

static void list_add(zbz_arena *a, uint32_t id, uint32_t grains) {
	uint32_t bin = bin_of(grains);
	free_block *f = free_at(a, id);
	f->prev = 0;
	f->next = a->bins[bin];
	if (f->next != 0) free_at(a, f->next)->prev = id;
	a->bins[bin] = id;
	a->map[bin / 64] |= (uint64_t)1 << (bin % 64);
}

static void list_drop(zbz_arena *a, uint32_t id, uint32_t grains) {
	uint32_t bin = bin_of(grains);
	free_block *f = free_at(a, id);
	if (f->next != 0) free_at(a, f->next)->prev = f->prev;
	if (f->prev != 0) {
		free_at(a, f->prev)->next = f->next;
		return;
	}
	a->bins[bin] = f->next;
	if (f->next == 0) a->map[bin / 64] &= ~((uint64_t)1 << (bin % 64));
}

static void make_free(zbz_arena *a, uint32_t id, uint32_t grains) {
	zbz_block *b = block_at(a, id);
	b->mark = 0;
	b->own[0] = b->own[1] = 0;
	b->word = grains;
	*footer(a, id, grains) = grains;
	if (listed(a, grains)) list_add(a, id, grains);
}

void zbz_arena_init(zbz_arena *a, uint64_t max_total, size_t (*size_of)(const void *block)) {
	uint64_t chunk = 0;
	memset(a, 0, sizeof *a);
	a->size_of = size_of;
	a->grain_shift = 2;
	/* Blocks alone take more than a quarter of a chunk each, and every one of them a number. */
	while (max_total > ((uint64_t)1 << (32 + a->grain_shift)) / 8) a->grain_shift++;
	if (max_total >= 65536)
		for (chunk = CHUNK_MIN; chunk < ((uint64_t)1 << 22) && chunk * 64 < max_total; chunk *= 2) continue;
	a->chunk_max = (size_t)chunk;
	while (chunk >> a->grain_shift >> a->shift > 1) a->shift++;
	a->mask = ((uint32_t)1 << a->shift) - 1;
	a->max_n = ZBZ_ARENA_ID_MAX >> a->shift;
	a->n = 1;
}

void zbz_arena_clear(zbz_arena *a) {
	uint32_t i;
	for (i = 1; i < a->n; i++) zbz_free(a->chunks[i].base);
	zbz_free(a->chunks);
	a->chunks = NULL;
	a->n = 1;
	a->cap = a->spare = a->closed = a->empties = 0;
	a->held = a->cut = a->hollow = 0;
	memset(a->map, 0, sizeof a->map);
	memset(a->bins, 0, sizeof a->bins);
}

/* ---- numbers ---- */

static uint32_t wider(const zbz_arena *a) { return a->cap == 0 ? 8 : a->cap + a->cap / 2; }

size_t zbz_arena_table_growth(const zbz_arena *a) {
	return a->spare != 0 || a->n < a->cap ? 0 : zbz_mem_cost(wider(a) * sizeof(zbz_chunk));
}

static uint32_t number_new(zbz_arena *a) {
	uint32_t number = a->spare;
	if (number != 0) {
		a->spare = a->chunks[number].used;
		return number;
	}
	if (a->n == a->max_n) return 0;
	if (a->n >= a->cap) {
		zbz_chunk *more = zbz_realloc(a->chunks, wider(a) * sizeof *more);
		if (more == NULL) return 0;
		a->held -= a->cap == 0 ? 0 : zbz_mem_cost(a->cap * sizeof *more);
		a->chunks = more;
		a->cap = wider(a);
		a->held += zbz_mem_cost(a->cap * sizeof *more);
	}
	number = a->n++;
	a->chunks[number].base = NULL;
	return number;
}

static void number_free(zbz_arena *a, uint32_t number) {
	a->chunks[number].base = NULL;
	a->chunks[number].size = 0;
	a->chunks[number].used = a->spare;
	a->spare = number;
}

/* ---- chunks ---- */

static size_t least_chunk(const zbz_arena *a, size_t n) { return zbz_arena_round(a, n) + bytes_of(a, last_grains(a)); }

size_t zbz_arena_growth(const zbz_arena *a, size_t n, uint64_t allowance) {
	size_t least = zbz_mem_cost(least_chunk(a, n)), size = (size_t)(a->cut / 8), table = zbz_arena_table_growth(a);
	if (a->spare == 0 && a->n == a->max_n) return 0;
	if (size > a->chunk_max) size = a->chunk_max;
	if (size < CHUNK_MIN) size = CHUNK_MIN;
	size -= size % 16;
	if (size < least) size = least;
	if (allowance < table) return 0;
	allowance -= table;
	if (size <= allowance) return size;
	allowance -= allowance % 16;
	return allowance >= least && allowance >= size / 4 ? (size_t)allowance : 0;
}

bool zbz_arena_grow(zbz_arena *a, size_t growth) {
	size_t bytes = (growth - 8) >> a->grain_shift << a->grain_shift;
	uint32_t number = number_new(a), grains;
	zbz_block *last;
	char *base;
	if (number == 0) return false;
	grains = (uint32_t)(bytes >> a->grain_shift) - last_grains(a);
	base = zbz_malloc(bytes);
	if (base == NULL) {
		number_free(a, number);
		return false;
	}
	a->chunks[number].base = base;
	a->chunks[number].size = grains;
	a->chunks[number].used = 0;
	last = block_at(a, number << a->shift | grains);
	last->mark = 0xFFFF;
	last->word = ZBZ_BLOCK_PREV_FREE;
	make_free(a, number << a->shift, grains);
	a->empties++;
	a->held += zbz_mem_cost(bytes);
	a->cut += zbz_mem_cost(bytes);
	a->hollow += bytes_of(a, grains);
	return true;
}

static void chunk_release(zbz_arena *a, uint32_t number) {
	size_t cost = zbz_mem_cost(chunk_bytes(a, number));
	zbz_free(a->chunks[number].base);
	a->held -= cost;
	a->cut -= cost;
	a->empties--;
	number_free(a, number);
}

bool zbz_arena_trim(zbz_arena *a) {
	uint32_t i, id;
	if (a->empties == 0) return false;
	for (i = 1; i < a->n; i++)
		if (a->chunks[i].base != NULL && a->chunks[i].size != 0 && a->chunks[i].used == 0 && i != a->closed) break;
	if (i == a->n) return false;
	id = i << a->shift;
	list_drop(a, id, a->chunks[i].size);
	a->hollow -= bytes_of(a, a->chunks[i].size);
	chunk_release(a, i);
	return true;
}

/* ---- blocks ---- */

static uint32_t find_hole(const zbz_arena *a, uint32_t grains) {
	uint32_t bin = bin_of(grains), id;
	int tries;
	if (grains >= LINEAR) { /* sizes differ within this bin: what is in the next ones fits for sure */
		for (id = a->bins[bin], tries = 0; id != 0 && tries < TRIES; id = free_at(a, id)->next, tries++)
			if (block_at(a, id)->word >= grains) return id;
		bin++;
	}
	bin = next_bin(a, bin);
	return bin == ZBZ_ARENA_BINS ? 0 : a->bins[bin];
}

uint32_t zbz_arena_alloc(zbz_arena *a, size_t n) {
	uint32_t grains = grains_of(a, n), id = find_hole(a, grains), size;
	zbz_chunk *chunk;
	zbz_block *b;
	if (id == 0) return 0;
	b = block_at(a, id);
	size = b->word;
	list_drop(a, id, size);
	b->mark = 0xFFFF;
	b->word = 0;
	if (bytes_of(a, size - grains) == BLOCK_LEAST / 2) {
		b->word = ZBZ_BLOCK_SLACK;
		grains = size;
	}
	if (size > grains)
		make_free(a, id + grains, size - grains);
	else
		block_at(a, id + size)->word &= ~ZBZ_BLOCK_PREV_FREE;
	chunk = &a->chunks[id >> a->shift];
	if (chunk->used == 0) a->empties--;
	chunk->used += grains;
	a->hollow -= bytes_of(a, grains);
	return id;
}

uint32_t zbz_arena_alloc_alone(zbz_arena *a, size_t n) {
	uint32_t number = number_new(a);
	char *base;
	if (number == 0) return 0;
	base = zbz_malloc(n);
	if (base == NULL) {
		number_free(a, number);
		return 0;
	}
	memset(base, 0, sizeof(zbz_block));
	a->chunks[number].base = base;
	a->chunks[number].size = 0;
	a->chunks[number].used = (uint32_t)n;
	a->held += zbz_mem_cost(n);
	return number << a->shift;
}

bool zbz_arena_resize_alone(zbz_arena *a, uint32_t id, size_t n) {
	zbz_chunk *chunk = &a->chunks[id >> a->shift];
	char *base = zbz_realloc(chunk->base, n);
	if (base == NULL) return false;
	a->held += zbz_mem_cost(n);
	a->held -= zbz_mem_cost(chunk->used);
	chunk->base = base;
	chunk->used = (uint32_t)n;
	return true;
}

static void free_alone(zbz_arena *a, uint32_t number) {
	zbz_free(a->chunks[number].base);
	a->held -= zbz_mem_cost(a->chunks[number].used);
	number_free(a, number);
}

void zbz_arena_free(zbz_arena *a, uint32_t id, size_t n) {
	uint32_t number = id >> a->shift, grains = grains_of(a, n), size;
	zbz_chunk *chunk = &a->chunks[number];
	zbz_block *b, *next;
	if (chunk->size == 0) {
		free_alone(a, number);
		return;
	}
	b = block_at(a, id);
	if (b->word & ZBZ_BLOCK_SLACK) grains++;
	chunk->used -= grains;
	if (number == a->closed) { /* about to be given back or rebuilt as a whole */
		b->mark = 0;
		b->word = grains;
		return;
	}
	a->hollow += bytes_of(a, grains);
	if (b->word & ZBZ_BLOCK_PREV_FREE) {
		size = ((uint32_t *)(void *)b)[-1];
		id -= size;
		if (listed(a, size)) list_drop(a, id, size);
		grains += size;
	}
	next = block_at(a, id + grains);
	if (next->mark == 0) {
		size = next->word;
		if (listed(a, size)) list_drop(a, id + grains, size);
		grains += size;
		next = block_at(a, id + grains);
	}
	next->word |= ZBZ_BLOCK_PREV_FREE;
	make_free(a, id, grains);
	if (chunk->used != 0) return;
	a->empties++;
	if (a->empties > 1)
		zbz_arena_trim(a); /* one is kept, or a block set and deleted in turn would cost a chunk each time */
}

/* ---- emptying ---- */

uint32_t zbz_arena_emptiest(const zbz_arena *a, size_t at_least) {
	uint32_t i, best = 0;
	for (i = 1; i < a->n; i++) {
		const zbz_chunk *c = &a->chunks[i], *b = &a->chunks[best];
		if (c->base == NULL || c->size == 0 || c->used == 0 || bytes_of(a, c->size) < at_least) continue;
		if (a->hollow - bytes_of(a, c->size - c->used) < bytes_of(a, c->used)) continue;
		if (best == 0 || (uint64_t)c->used * b->size < (uint64_t)b->used * c->size) best = i;
	}
	return best;
}

void zbz_arena_close(zbz_arena *a, uint32_t number) {
	uint32_t id = number << a->shift, end = id + a->chunks[number].size, grains;
	for (; id < end; id += grains) {
		grains = block_grains(a, id);
		if (block_at(a, id)->mark == 0 && listed(a, grains)) list_drop(a, id, grains);
	}
	a->hollow -= bytes_of(a, a->chunks[number].size - a->chunks[number].used);
	a->closed = number;
}

uint32_t zbz_arena_walk(const zbz_arena *a, uint32_t *at) {
	uint32_t first = a->closed << a->shift, id;
	while (*at < a->chunks[a->closed].size) {
		id = first + *at;
		*at += block_grains(a, id);
		if (block_at(a, id)->mark != 0) return id;
	}
	return 0;
}

/* Neighbours that became free one by one are joined only now. */
bool zbz_arena_reopen(zbz_arena *a) {
	zbz_chunk *chunk = &a->chunks[a->closed];
	uint32_t first = a->closed << a->shift, id = first, end = first + chunk->size, free_from = first;
	while (id <= end) {
		zbz_block *b = block_at(a, id);
		uint32_t grains = id < end ? block_grains(a, id) : 1;
		if (b->mark != 0) {
			b->word &= ~ZBZ_BLOCK_PREV_FREE;
			if (free_from != id) {
				make_free(a, free_from, id - free_from);
				b->word |= ZBZ_BLOCK_PREV_FREE;
			}
			free_from = id + grains;
		}
		id += grains;
	}
	a->hollow += bytes_of(a, chunk->size - chunk->used);
	a->closed = 0;
	if (chunk->used != 0) return false;
	a->empties++;
	return true;
}
