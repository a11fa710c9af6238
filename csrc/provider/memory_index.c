#include "memory_index.h"

#include "memory_arena.h"

#include <string.h>

enum { FEW = 4, SPARE = 4 };

static inline uint32_t tag_of(uint64_t slot) { return (uint32_t)(slot >> 32); }

void zbz_index_init(zbz_index *ix, bool small) {
	memset(ix, 0, sizeof *ix);
	ix->bits = small ? 0 : 6;
}

void zbz_index_clear(zbz_index *ix) {
	uint32_t i;
	for (i = 0; i < ZBZ_INDEX_SEGMENTS; i++) zbz_free(ix->seg[i].slots);
	zbz_index_init(ix, ix->bits == 0);
}

/* ---- growing ---- */

/* Where the last slot in use would end up, one past: what overflows behind the homes is known only by counting. */
static uint32_t laid_out(const zbz_segment *s, uint32_t homes) {
	zbz_segment to = { NULL, homes, 0, 0 };
	uint64_t end = 0, home;
	uint32_t i;
	for (i = 0; i < s->len; i++) {
		if (s->slots[i] == 0) continue;
		home = zbz_index_home(&to, tag_of(s->slots[i]));
		end = (home > end ? home : end) + 1;
	}
	return (uint32_t)(end > homes ? end : homes);
}

static uint32_t spare_of(uint32_t homes) { return homes < 64 ? SPARE : SPARE + 28 + homes / 256; }

static bool rebuild(zbz_index *ix, zbz_segment *s, uint32_t homes) {
	uint32_t len = laid_out(s, homes) + spare_of(homes), i;
	zbz_segment to = { NULL, homes, len, s->used };
	uint64_t end = 0, home;
	to.slots = zbz_calloc(len, sizeof *to.slots);
	if (to.slots == NULL) return false;
	for (i = 0; i < s->len; i++) {
		if (s->slots[i] == 0) continue;
		home = zbz_index_home(&to, tag_of(s->slots[i]));
		if (home < end) home = end;
		to.slots[home] = s->slots[i];
		end = home + 1;
	}
	if (s->len != 0) ix->held -= zbz_mem_cost(s->len * sizeof *s->slots);
	ix->held += zbz_mem_cost(len * sizeof *to.slots);
	zbz_free(s->slots);
	*s = to;
	return true;
}

/* The run that an insertion would shift must not reach the last slot. */
static bool run_hits_end(const zbz_segment *s, uint32_t tag) {
	uint64_t i = zbz_index_home(s, tag);
	while (s->slots[i] != 0) i++;
	return i + 1 >= s->len;
}

static uint32_t grown(const zbz_segment *s) {
	uint32_t more = s->homes / 5;
	return s->homes == 0 ? FEW : s->homes + (more < FEW ? FEW : more);
}

size_t zbz_index_growth(zbz_index *ix, uint64_t hash) {
	const zbz_segment *s = zbz_index_segment(ix, hash);
	if (s->homes != 0 && (uint64_t)(s->used + 1) * 100 <= (uint64_t)s->homes * 85 &&
	    !run_hits_end(s, zbz_index_tag(hash)))
		return 0;
	return zbz_mem_cost((laid_out(s, grown(s)) + spare_of(grown(s))) * sizeof *s->slots);
}

bool zbz_index_grow(zbz_index *ix, uint64_t hash) {
	zbz_segment *s = zbz_index_segment(ix, hash);
	return rebuild(ix, s, grown(s));
}

void zbz_index_tidy(zbz_index *ix) {
	uint32_t i;
	for (i = 0; i < 1u << ix->bits; i++) {
		zbz_segment *s = &ix->seg[i];
		if (s->used == 0 && s->slots != NULL) {
			ix->held -= zbz_mem_cost(s->len * sizeof *s->slots);
			zbz_free(s->slots);
			memset(s, 0, sizeof *s);
		} else if (s->homes > 64 && s->used < s->homes / 4) {
			rebuild(ix, s, s->used + s->used / 2 + FEW);
		}
	}
}

/* ---- one slot ---- */

void zbz_index_add(zbz_index *ix, uint64_t hash, uint32_t id) {
	zbz_segment *s = zbz_index_segment(ix, hash);
	uint32_t tag = zbz_index_tag(hash);
	uint64_t i = zbz_index_home(s, tag), end, slot = (uint64_t)tag << 32 | id;
	while (s->slots[i] != 0 && tag_of(s->slots[i]) <= tag) i++;
	for (end = i; s->slots[end] != 0; end++) continue;
	memmove(&s->slots[i + 1], &s->slots[i], (size_t)(end - i) * sizeof slot);
	s->slots[i] = slot;
	s->used++;
}

uint64_t *zbz_index_slot(zbz_index *ix, uint64_t hash, uint32_t id) {
	zbz_segment *s = zbz_index_segment(ix, hash);
	uint32_t tag = zbz_index_tag(hash);
	uint64_t i = zbz_index_home(s, tag), wanted = (uint64_t)tag << 32 | id;
	while (s->slots[i] != wanted) i++;
	return &s->slots[i];
}

void zbz_index_drop(zbz_index *ix, uint64_t hash, uint32_t id) {
	zbz_segment *s = zbz_index_segment(ix, hash);
	uint64_t *slot = zbz_index_slot(ix, hash, id);
	/* those behind move up as long as they stand beyond their home */
	while (slot[1] != 0 && zbz_index_home(s, tag_of(slot[1])) <= (uint64_t)(slot - s->slots)) {
		slot[0] = slot[1];
		slot++;
	}
	*slot = 0;
	s->used--;
}

/* ---- in hash order ---- */

uint32_t zbz_index_next(const zbz_index *ix, zbz_index_at *at, uint32_t *nth) {
	for (; at->segment < 1u << ix->bits; at->segment++, at->tag = 0, *nth = 0) {
		const zbz_segment *s = &ix->seg[at->segment];
		uint64_t i;
		uint32_t same = 0;
		if (s->used == 0 || at->tag > UINT32_MAX) continue;
		for (i = zbz_index_home(s, (uint32_t)at->tag); i < s->len; i++) {
			uint32_t tag = tag_of(s->slots[i]);
			if (s->slots[i] == 0 || tag < at->tag) continue;
			if (tag > at->tag) {
				at->tag = tag;
				*nth = 0;
			} else if (same++ < *nth) {
				continue;
			}
			++*nth;
			return (uint32_t)s->slots[i];
		}
	}
	return 0;
}
