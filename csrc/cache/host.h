/* Locks that all processes of one user on one host see: a small segment of memory below /dev/shm. A holder that dies or outlives its lease
 * loses its lock to whoever asks next; nothing in the segment is believed without a check, and nothing that a process can
 * leave half-done in it holds up another. */
#ifndef ZBZ_CACHE_HOST_H
#define ZBZ_CACHE_HOST_H

#include <zbz/cache.h>

#include "base/life.h"

enum { ZBZ_LOCK_ID = 16 };

typedef struct zbz_host_segment zbz_host_segment;
typedef struct zbz_host_slot zbz_host_slot;

/* A lock as somebody took it: one's own, or another's that stands in the way. */
typedef struct zbz_host_claim {
	zbz_host_segment *segment;
	zbz_host_slot *slot;
	uint64_t ticket; /* no two claims have the same */
	int64_t until;   /* CLOCK_MONOTONIC ms */
	zbz_life holder;
} zbz_host_claim;

/* Opens the segment of this user, or makes it. E_UNSUPPORTED off Linux, E_DENIED when the file is somebody else's. It stays mapped. */
zbz_status zbz_host_open(zbz_err *err);
/* OK: ours, for lease_ms. REFUSED: *out is the holder's. MISS: no lock to be had, full or busy beyond patience. Never waits longer than 20 ms. */
zbz_status zbz_host_take(const uint8_t id[ZBZ_LOCK_ID], int64_t lease_ms, zbz_host_claim *out, zbz_err *err);
/* False when it was lost before. Wakes the sleepers. */
bool zbz_host_release(const zbz_host_claim *claim, zbz_outcome outcome);
/* Has that holder ended? *outcome: how, as far as it can be told. */
bool zbz_host_over(const zbz_host_claim *claim, zbz_outcome *outcome);
/* The same, after a look at its lease and at the process itself: what is dead is cleared away and the sleepers are woken. */
bool zbz_host_reap(const zbz_host_claim *claim, zbz_outcome *outcome);
/* Sleeps until some lock of the segment is released after `seen` was read, or for ms. */
uint32_t zbz_host_seen(const zbz_host_segment *segment);
void zbz_host_sleep(zbz_host_segment *segment, uint32_t seen, int64_t ms);

int64_t zbz_host_now(void); /* CLOCK_MONOTONIC ms */

#endif
