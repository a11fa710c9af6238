#include "memory_expiry.h"

#include <string.h>

enum { FIRST_SHIFT = 6, STEP_SHIFT = 5, BUCKET_MARK = (int)0xFFFF0000 };

static inline int64_t window_of(int64_t at, int tier) { return at >> (FIRST_SHIFT + STEP_SHIFT * tier); }
static inline uint32_t bucket_of(int tier, int64_t window) {
	return (uint32_t)tier * ZBZ_EXPIRY_WINDOWS + (uint32_t)((uint64_t)window % ZBZ_EXPIRY_WINDOWS);
}
static inline bool is_bucket(uint32_t prev) { return prev >= (uint32_t)BUCKET_MARK; }
static inline zbz_mem_ttl *links(const zbz_expiry *x, uint32_t id) {
	return zbz_mem_ttl_of(zbz_arena_at(x->arena, id));
}
static inline int64_t expire_of(const zbz_expiry *x, uint32_t id) { return zbz_mem_expire(zbz_arena_at(x->arena, id)); }

void zbz_expiry_init(zbz_expiry *x, const zbz_arena *arena) {
	memset(x, 0, sizeof *x);
	x->arena = arena;
}

static void put(zbz_expiry *x, uint32_t id, int tier, int64_t window) {
	uint32_t bucket = bucket_of(tier, window);
	zbz_mem_ttl *t = links(x, id);
	t->prev = (uint32_t)BUCKET_MARK | bucket;
	t->next = x->heads[bucket];
	if (t->next != 0) links(x, t->next)->prev = id;
	x->heads[bucket] = id;
	t->high = (uint16_t)((t->high & 0x1FFFu) | (uint32_t)tier << 13);
	x->n[tier]++;
	x->total++;
}

/* A window before `done` (the clock was set back) makes `done` go back as well; then, and only then, buckets may hold entries of a
 * later turn: whoever looks into one checks. */
void zbz_expiry_link(zbz_expiry *x, uint32_t id, int64_t now) {
	int64_t at = expire_of(x, id), window, last;
	int tier;
	for (tier = 0;; tier++) {
		if (x->n[tier] == 0) x->done[tier] = window_of(now, tier);
		window = window_of(at, tier);
		last = x->done[tier] + ZBZ_EXPIRY_WINDOWS - 1;
		if (window <= last || tier == ZBZ_EXPIRY_TIERS - 1) break;
	}
	if (window > last) window = last;
	if (window < x->done[tier]) x->done[tier] = window_of(now, tier);
	put(x, id, tier, window);
}

void zbz_expiry_unlink(zbz_expiry *x, uint32_t id) {
	zbz_mem_ttl *t = links(x, id);
	if (is_bucket(t->prev))
		x->heads[t->prev & 0xFFFF] = t->next;
	else
		links(x, t->prev)->next = t->next;
	if (t->next != 0) links(x, t->next)->prev = t->prev;
	x->n[t->high >> 13]--;
	x->total--;
}

void zbz_expiry_moved(zbz_expiry *x, uint32_t to) {
	zbz_mem_ttl *t = links(x, to);
	if (is_bucket(t->prev))
		x->heads[t->prev & 0xFFFF] = to;
	else
		links(x, t->prev)->next = to;
	if (t->next != 0) links(x, t->next)->prev = to;
}

static void relink(zbz_expiry *x, uint32_t id, int64_t now) {
	zbz_expiry_unlink(x, id);
	zbz_expiry_link(x, id, now);
}

uint32_t zbz_expiry_due(zbz_expiry *x, int64_t now) {
	int tier;
	for (tier = 0; tier < ZBZ_EXPIRY_TIERS; tier++) {
		int64_t present = window_of(now, tier);
		if (x->n[tier] == 0) continue;
		if (present - x->done[tier] > ZBZ_EXPIRY_WINDOWS) x->done[tier] = present - ZBZ_EXPIRY_WINDOWS;
		while (x->n[tier] != 0 && x->done[tier] < present) {
			uint32_t id = x->heads[bucket_of(tier, x->done[tier])];
			if (id == 0) {
				x->done[tier]++;
			} else if (expire_of(x, id) <= now) {
				return id;
			} else {
				relink(x, id, now);
			}
		}
	}
	return 0;
}

/* Finer tiers first: what is not due yet moves into them and is not looked at again before its time. */
uint32_t zbz_expiry_due_exactly(zbz_expiry *x, int64_t now, zbz_expiry_at *at) {
	for (; at->tier < ZBZ_EXPIRY_TIERS; at->tier++, at->inside = false) {
		if (x->n[at->tier] == 0) continue;
		if (!at->inside) at->id = x->heads[bucket_of(at->tier, window_of(now, at->tier))];
		at->inside = true;
		while (at->id != 0) {
			uint32_t id = at->id;
			at->id = links(x, id)->next;
			if (expire_of(x, id) <= now) return id;
			if (at->tier > 0) relink(x, id, now);
		}
	}
	return 0;
}
