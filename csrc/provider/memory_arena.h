/* Memory for the entries of the memory provider: chunks cut into blocks of any size, addressed by 32-bit ids so that links are
 * half as wide as pointers and blocks can be moved from one chunk to another.
 *
 * Good fit over segregated free lists with boundary tags, after TLSF (Masmano, Ripoll, Crespo, Real, 2004); a used block has
 * no header of its own: the owner knows its size and lends two marks (see zbz_block). Not thread-safe. */
#ifndef ZBZ_PROVIDER_MEMORY_ARENA_H
#define ZBZ_PROVIDER_MEMORY_ARENA_H

#include <zbz/alloc.h>

#include <stdint.h>

/* The first eight bytes of every block. The owner fills all of it except the marks, which belong to the arena. */
typedef struct zbz_block {
	uint16_t mark; /* 0: the block is free; the owner keeps something else here */
	uint8_t own[2];
	uint32_t word; /* of a free block: its size in grains */
} zbz_block;

#define ZBZ_BLOCK_PREV_FREE 0x80000000u /* the neighbour in front is free */
#define ZBZ_BLOCK_SLACK     0x20000000u /* one grain longer than it was asked for: too little for a block */
#define ZBZ_BLOCK_MARKS     (ZBZ_BLOCK_PREV_FREE | ZBZ_BLOCK_SLACK)
#define ZBZ_ARENA_BINS      240
#define ZBZ_ARENA_ID_MAX    0xFFFEFFFFu /* ids above are left for the owner's own marks; 0 is none */

/* What the allocator is taken to spend on n bytes, its own header and rounding included. */
static inline size_t zbz_mem_cost(size_t n) { return (n + 8 + 15) & ~(size_t)15; }

typedef struct zbz_chunk {
	char *base;    /* NULL: the number is free and `used` is the next free one */
	uint32_t size; /* in grains; 0: one large block alone */
	uint32_t used; /* in grains; of a block alone its bytes */
} zbz_chunk;

typedef struct zbz_arena {
	zbz_chunk *chunks;    /* by number; number 0 is never used */
	uint32_t shift, mask; /* id = number << shift | offset in grains */
	uint32_t grain_shift;
	uint32_t n, cap, max_n, spare;
	uint32_t closed;  /* number of the chunk being emptied, or 0 */
	uint32_t empties; /* chunks without a used block */
	size_t chunk_max; /* bytes; 0: every block stands alone */
	uint64_t held;    /* cost of all that was asked of the allocator */
	uint64_t cut;     /* cost of the chunks */
	uint64_t hollow;  /* free bytes inside chunks */
	size_t (*size_of)(const void *block);
	uint64_t map[(ZBZ_ARENA_BINS + 63) / 64];
	uint32_t bins[ZBZ_ARENA_BINS];
} zbz_arena;

/* max_total: how much will ever be held, which fixes the size of grains and chunks. size_of: bytes of a used block. */
void zbz_arena_init(zbz_arena *a, uint64_t max_total, size_t (*size_of)(const void *block));
void zbz_arena_clear(zbz_arena *a); /* frees all; usable again */

static inline void *zbz_arena_at(const zbz_arena *a, uint32_t id) {
	return a->chunks[id >> a->shift].base + ((size_t)(id & a->mask) << a->grain_shift);
}
/* The size a block of n bytes really takes. */
static inline size_t zbz_arena_round(const zbz_arena *a, size_t n) {
	size_t grain = (size_t)1 << a->grain_shift;
	if (n < 32) n = 32;
	return (n + grain - 1) & ~(grain - 1);
}
/* Too large to share a chunk? */
static inline bool zbz_arena_alone(const zbz_arena *a, size_t n) { return n > a->chunk_max / 4; }
static inline bool zbz_arena_is_alone(const zbz_arena *a, uint32_t id) { return a->chunks[id >> a->shift].size == 0; }

static inline size_t zbz_arena_alone_bytes(const zbz_arena *a, uint32_t id) { return a->chunks[id >> a->shift].used; }

/* A block from the free lists; 0 when no hole fits. Never asks the allocator. */
uint32_t zbz_arena_alloc(zbz_arena *a, size_t n);
/* Cost of the chunk that zbz_arena_grow would add for a block of n bytes, at most `allowance`; 0: none would do. */
size_t zbz_arena_growth(const zbz_arena *a, size_t n, uint64_t allowance);
bool zbz_arena_grow(zbz_arena *a, size_t growth); /* what zbz_arena_growth said; false when out of memory */
/* Bytes that the next chunk number costs beside the chunk; usually 0. */
size_t zbz_arena_table_growth(const zbz_arena *a);
/* A block of its own; 0 when out of memory. */
uint32_t zbz_arena_alloc_alone(zbz_arena *a, size_t n);
/* Resizes one; its content is kept up to the smaller size. false: nothing changed. */
bool zbz_arena_resize_alone(zbz_arena *a, uint32_t id, size_t n);
void zbz_arena_free(zbz_arena *a, uint32_t id, size_t n);
/* Walks all blocks and free lists; NULL or what is wrong. For tests. */
const char *zbz_arena_audit(const zbz_arena *a);
/* Gives one empty chunk back; false when there is none. */
bool zbz_arena_trim(zbz_arena *a);

/* Emptying a chunk: pick, close (no block of it is handed out any more), walk and free what has been moved elsewhere, reopen. */
uint32_t zbz_arena_emptiest(const zbz_arena *a,
                            size_t at_least); /* 0: no chunk whose blocks fit into holes elsewhere */
void zbz_arena_close(zbz_arena *a, uint32_t number);
uint32_t zbz_arena_walk(const zbz_arena *a,
                        uint32_t *at); /* next used block of the closed chunk from offset *at; 0 at the end */
bool zbz_arena_reopen(zbz_arena *a);   /* is it empty now? */

#endif
