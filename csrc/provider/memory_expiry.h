/* Who dies when: entries with a TTL stand in buckets of time windows, the wider the farther away, so that dead ones are
 * found without looking at the living. Five tiers of 256 windows: 64 ms, 2 s, 65 s, 35 min, 19 h wide.
 *
 * Bucket steps after Segcache (Yang, Yue, Vinayak, 2021), with links instead of segments. Not thread-safe. */
#ifndef ZBZ_PROVIDER_MEMORY_EXPIRY_H
#define ZBZ_PROVIDER_MEMORY_EXPIRY_H

#include "memory_entry.h"

enum { ZBZ_EXPIRY_TIERS = 5, ZBZ_EXPIRY_WINDOWS = 256 };

typedef struct zbz_expiry {
	const zbz_arena *arena;
	uint64_t total;
	uint64_t n[ZBZ_EXPIRY_TIERS];
	int64_t done[ZBZ_EXPIRY_TIERS]; /* the first window that may still hold somebody */
	uint32_t heads[ZBZ_EXPIRY_TIERS * ZBZ_EXPIRY_WINDOWS];
} zbz_expiry;

void zbz_expiry_init(zbz_expiry *x, const zbz_arena *arena);
/* By the expiry time in the entry, which is not 0. */
void zbz_expiry_link(zbz_expiry *x, uint32_t id, int64_t now);
void zbz_expiry_unlink(zbz_expiry *x, uint32_t id);
/* The entry has moved and brought its links along. */
void zbz_expiry_moved(zbz_expiry *x, uint32_t to);
/* An entry that is due, still linked; 0 none. Cheap: only windows that have passed as a whole. */
uint32_t zbz_expiry_due(zbz_expiry *x, int64_t now);
/* To the millisecond: also those due within the windows of now. `at` keeps the place, zero at first; unlink each one returned
 * before asking again. Call when zbz_expiry_due has nothing more. */
typedef struct zbz_expiry_at {
	int tier;
	uint32_t id;
	bool inside;
} zbz_expiry_at;
uint32_t zbz_expiry_due_exactly(zbz_expiry *x, int64_t now, zbz_expiry_at *at);

#endif
