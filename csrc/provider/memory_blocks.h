/* How blocks lie in the chunks of the arena; for memory_arena.c and its audit only. */
#ifndef ZBZ_PROVIDER_MEMORY_BLOCKS_H
#define ZBZ_PROVIDER_MEMORY_BLOCKS_H

#include "memory_arena.h"

enum { BLOCK_LEAST = sizeof(zbz_block), LINEAR = 128, PER_DOUBLING = 8, LINKED_MIN = 32, CHUNK_MIN = 4096, TRIES = 8 };

typedef struct free_block {
	zbz_block head;
	uint32_t prev, next;
} free_block;

static inline size_t bytes_of(const zbz_arena *a, uint32_t grains) { return (size_t)grains << a->grain_shift; }
static inline uint32_t grains_of(const zbz_arena *a, size_t n) {
	return (uint32_t)(zbz_arena_round(a, n) >> a->grain_shift);
}
static inline free_block *free_at(const zbz_arena *a, uint32_t id) { return zbz_arena_at(a, id); }
static inline zbz_block *block_at(const zbz_arena *a, uint32_t id) { return zbz_arena_at(a, id); }

static inline uint32_t *footer(const zbz_arena *a, uint32_t id, uint32_t grains) {
	return (uint32_t *)((char *)zbz_arena_at(a, id) + bytes_of(a, grains)) - 1;
}

/* Blocks too short for links wait, unlisted, for a neighbour to be freed. */
static inline bool listed(const zbz_arena *a, uint32_t grains) { return bytes_of(a, grains) >= LINKED_MIN; }

static inline uint32_t bin_of(uint32_t grains) {
	uint32_t log;
	if (grains < LINEAR) return grains;
	log = 31 - (uint32_t)__builtin_clz(grains);
	return LINEAR + (log - 7) * PER_DOUBLING + ((grains >> (log - 3)) & (PER_DOUBLING - 1));
}

static inline uint32_t block_grains(const zbz_arena *a, uint32_t id) {
	const zbz_block *b = block_at(a, id);
	return b->mark == 0 ? b->word : grains_of(a, a->size_of(b)) + ((b->word & ZBZ_BLOCK_SLACK) != 0);
}

/* The last grains of a chunk are a block in use for ever, so that nobody looks for a neighbour behind it. */
static inline uint32_t last_grains(const zbz_arena *a) {
	return a->grain_shift < 3 ? BLOCK_LEAST >> a->grain_shift : 1;
}
static inline size_t chunk_bytes(const zbz_arena *a, uint32_t number) {
	return bytes_of(a, a->chunks[number].size + last_grains(a));
}

#endif
