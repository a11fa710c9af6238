#include "memory_sketch.h"

#include "memory_arena.h"

#include <string.h>

enum { WORDS = 8, DOOR = 7, ROWS = 4, MOST = 15, KEYS_PER_LINE = 7, NOTES_PER_KEY = 30 };

size_t zbz_sketch_cost(uint32_t lines) {
	return lines == 0 ? 0 : zbz_mem_cost((size_t)lines * WORDS * sizeof(uint64_t));
}

uint32_t zbz_sketch_lines(uint64_t keys) {
	uint64_t lines = (keys + KEYS_PER_LINE - 1) / KEYS_PER_LINE;
	return lines < 8 ? 8 : lines > UINT32_MAX / 4 ? UINT32_MAX / 4 : (uint32_t)lines;
}

/* A line is a share of the range of hashes: doubled, each share's two halves begin with the same counts. */
bool zbz_sketch_grow(zbz_sketch *s, uint32_t lines) {
	uint64_t *more = zbz_calloc((size_t)lines * WORDS, sizeof *more);
	uint32_t i;
	if (more == NULL) return false;
	for (i = 0; s->n != 0 && i < lines; i++)
		memcpy(more + (size_t)i * WORDS, s->lines + (size_t)((uint64_t)i * s->n / lines) * WORDS, WORDS * sizeof *more);
	zbz_free(s->lines);
	s->lines = more;
	s->n = lines;
	s->limit = (uint64_t)lines * KEYS_PER_LINE * NOTES_PER_KEY;
	return true;
}

void zbz_sketch_clear(zbz_sketch *s) {
	zbz_free(s->lines);
	memset(s, 0, sizeof *s);
}

void zbz_sketch_forget(zbz_sketch *s) {
	if (s->n != 0) memset(s->lines, 0, (size_t)s->n * WORDS * sizeof *s->lines);
	s->notes = 0;
}

static inline uint64_t *line_of(const zbz_sketch *s, uint32_t hash) {
	return s->lines + (size_t)(((uint64_t)hash * s->n) >> 32) * WORDS;
}
/* The line took the upper bits of the hash; the counters want others. */
static inline uint64_t mix(uint32_t hash) {
	uint64_t x = hash * 0x9E3779B97F4A7C15u;
	x ^= x >> 29;
	x *= 0xBF58476D1CE4E5B9u;
	return x ^ x >> 32;
}
/* Counter i of 112: row r has 28 of them. */
static inline unsigned counter_of(uint64_t x, int row) {
	return (unsigned)row * 28 + (unsigned)(((x >> (row * 12)) & 0xFFF) * 28 >> 12);
}
static inline unsigned get(const uint64_t *line, unsigned i) { return (unsigned)(line[i / 16] >> (i % 16 * 4)) & 15; }
static inline uint64_t doors(uint64_t x) { return (uint64_t)1 << (x >> 58) | (uint64_t)1 << (x >> 52 & 63); }

static void halve(zbz_sketch *s) {
	uint32_t i;
	int w;
	for (i = 0; i < s->n; i++) {
		uint64_t *line = s->lines + (size_t)i * WORDS;
		for (w = 0; w < DOOR; w++) line[w] = line[w] >> 1 & 0x7777777777777777u;
		line[DOOR] = 0;
	}
	s->notes /= 2;
}

/* Only the counters that are least grow: the others belong to other keys as well. */
void zbz_sketch_note(zbz_sketch *s, uint32_t hash) {
	uint64_t *line, x = mix(hash), door = doors(x);
	unsigned least = MOST, row;
	if (s->n == 0) return;
	if (++s->notes >= s->limit) halve(s);
	line = line_of(s, hash);
	if ((line[DOOR] & door) != door) {
		line[DOOR] |= door;
		return;
	}
	for (row = 0; row < ROWS; row++) {
		unsigned n = get(line, counter_of(x, (int)row));
		if (n < least) least = n;
	}
	if (least == MOST) return;
	for (row = 0; row < ROWS; row++) {
		unsigned i = counter_of(x, (int)row);
		if (get(line, i) == least) line[i / 16] += (uint64_t)1 << (i % 16 * 4);
	}
}

unsigned zbz_sketch_count(const zbz_sketch *s, uint32_t hash) {
	const uint64_t *line;
	uint64_t x = mix(hash), door = doors(x);
	unsigned least = MOST, row;
	if (s->n == 0) return 0;
	line = line_of(s, hash);
	for (row = 0; row < ROWS; row++) {
		unsigned n = get(line, counter_of(x, (int)row));
		if (n < least) least = n;
	}
	return least + ((line[DOOR] & door) == door);
}
