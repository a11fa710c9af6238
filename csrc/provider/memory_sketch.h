/* How often was a key asked for lately, roughly: a count-min sketch of 4-bit counters, four of them for each key within one
 * cache line, behind a door that keeps keys seen only once out of it. All counts are halved after thirty times as many notes as
 * it was made for.
 *
 * After TinyLFU (Einziger, Friedman, Manes, 2017). */
#ifndef ZBZ_PROVIDER_MEMORY_SKETCH_H
#define ZBZ_PROVIDER_MEMORY_SKETCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct zbz_sketch {
	uint64_t *lines; /* 8 words each: 7 of counters, 1 of the door */
	uint32_t n;      /* lines */
	uint64_t notes, limit;
} zbz_sketch;

size_t zbz_sketch_cost(uint32_t lines);
/* Lines for that many keys. */
uint32_t zbz_sketch_lines(uint64_t keys);
/* Twice the lines, or the first ones; what was counted is kept. false when out of memory. */
bool zbz_sketch_grow(zbz_sketch *s, uint32_t lines);
void zbz_sketch_clear(zbz_sketch *s);
void zbz_sketch_forget(zbz_sketch *s); /* all counts 0 */
void zbz_sketch_note(zbz_sketch *s, uint32_t hash);
unsigned zbz_sketch_count(const zbz_sketch *s, uint32_t hash); /* 0 to 16 */

#endif
