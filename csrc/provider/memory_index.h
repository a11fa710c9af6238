/* From hash to entry id: open addressing whose slots stay sorted by hash. So a miss ends early, the table may be filled to
 * 85 %, growing is one pass over both tables, nothing is left behind by a removal, and the order of the hashes is a cursor
 * that no insertion, removal or growth disturbs.
 *
 * The table is cut into segments that grow alone, by a fifth: no pause is long, no moment needs twice the memory.
 * Linear probing in hash order: Amble and Knuth, "Ordered hash tables", 1974. Not thread-safe. */
#ifndef ZBZ_PROVIDER_MEMORY_INDEX_H
#define ZBZ_PROVIDER_MEMORY_INDEX_H

#include <zbz/alloc.h>

#include <stdint.h>

#define ZBZ_INDEX_SEGMENTS 64

typedef struct zbz_segment {
	uint64_t *slots; /* hash tag << 32 | id; 0 empty; the last one is always empty */
	uint32_t homes;  /* slots that a tag may call home; those behind take what overflows */
	uint32_t len, used;
} zbz_segment;

typedef struct zbz_index {
	uint32_t bits; /* log2 of the number of segments */
	uint64_t held; /* cost of all slots */
	zbz_segment seg[ZBZ_INDEX_SEGMENTS];
} zbz_index;

/* A place in hash order; zero is the beginning. */
typedef struct zbz_index_at {
	uint32_t segment;
	uint64_t tag; /* the least tag not seen yet; 1 << 32 past the end of the segment */
} zbz_index_at;

void zbz_index_init(zbz_index *ix, bool small);
void zbz_index_clear(zbz_index *ix); /* frees all; usable again */

static inline zbz_segment *zbz_index_segment(zbz_index *ix, uint64_t hash) {
	return &ix->seg[(hash >> 57) & ((1u << ix->bits) - 1)];
}
static inline uint32_t zbz_index_tag(uint64_t hash) { return (uint32_t)(hash >> 16); }
static inline uint64_t zbz_index_home(const zbz_segment *s, uint32_t tag) { return ((uint64_t)tag * s->homes) >> 32; }

/* Cost of the table that an insertion of this hash needs first; 0: there is room. */
size_t zbz_index_growth(zbz_index *ix, uint64_t hash);
bool zbz_index_grow(zbz_index *ix, uint64_t hash); /* false when out of memory */
/* There must be room. */
void zbz_index_add(zbz_index *ix, uint64_t hash, uint32_t id);
/* The slot of exactly this id; it must be there. */
uint64_t *zbz_index_slot(zbz_index *ix, uint64_t hash, uint32_t id);
void zbz_index_drop(zbz_index *ix, uint64_t hash, uint32_t id);
static inline void zbz_index_move(zbz_index *ix, uint64_t hash, uint32_t from, uint32_t to) {
	uint64_t *slot = zbz_index_slot(ix, hash, from);
	*slot = (*slot & ~(uint64_t)UINT32_MAX) | to;
}
/* The next id at or behind *at, which moves past its tag once all ids of that tag were seen: `nth` counts them. 0: the end. */
uint32_t zbz_index_next(const zbz_index *ix, zbz_index_at *at, uint32_t *nth);
/* Gives memory back where a segment is mostly empty. Failure changes nothing. */
void zbz_index_tidy(zbz_index *ix);

#endif
