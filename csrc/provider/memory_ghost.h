/* Remembers which keys were evicted lately, as many as there are entries, in less than three bytes each: buckets of eight
 * {12 bits of the hash, 4 bits of when}. May take a key for another once in some hundred; the cache only gets a little worse. */
#ifndef ZBZ_PROVIDER_MEMORY_GHOST_H
#define ZBZ_PROVIDER_MEMORY_GHOST_H

#include "memory_engine.h"

typedef struct zbz_ghost {
	uint16_t *slots;
	uint32_t buckets;    /* also the number of insertions in one generation */
	uint32_t inserted;   /* in the present generation */
	uint32_t generation; /* 0 to 15 */
} zbz_ghost;

/* Fits the table to the number of entries; false when out of memory, and the old one stays. */
bool zbz_ghost_reserve(zbz_ghost *g, zbz_mem *m);
void zbz_ghost_add(zbz_ghost *g, uint64_t hash);
/* Was it there? Forgets it. */
bool zbz_ghost_take(zbz_ghost *g, const zbz_mem *m, uint64_t hash);
void zbz_ghost_clear(zbz_ghost *g, zbz_mem *m);

#endif
