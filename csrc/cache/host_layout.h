/* What the segment of host-wide locks looks like. Every word is atomic, because a process may die, or write nonsense, at any moment.
 *
 *   header | bucket | bucket | ...      bucket: entry word, slots
 *
 * A slot is taken when its ticket is not 0. Taking happens behind the entry word of the bucket (whose holder may die there: the next one
 * sees that and goes in); releasing is one exchange of the ticket. */
#ifndef ZBZ_CACHE_HOST_LAYOUT_H
#define ZBZ_CACHE_HOST_LAYOUT_H

#include <stdatomic.h>

#include "host.h"

enum { ZBZ_HOST_LAYOUT = 1, ZBZ_HOST_BUCKETS = 512, ZBZ_HOST_SLOTS = 8, ZBZ_HOST_LEASE_MAX = 24 * 3600 * 1000 };

struct zbz_host_slot {
	_Atomic uint64_t ticket; /* 0: free */
	_Atomic uint64_t id[2];
	_Atomic uint64_t start; /* of the holder */
	_Atomic uint64_t until; /* CLOCK_MONOTONIC ms */
	_Atomic uint64_t last;  /* ticket << 2 | outcome of a release that told one */
	_Atomic uint32_t pid, unused;
};

typedef struct zbz_host_bucket {
	_Atomic uint64_t entry; /* who is inside: pid << 42 | start; 0 nobody */
	uint64_t unused[7];
	zbz_host_slot slots[ZBZ_HOST_SLOTS];
} zbz_host_bucket;

typedef struct zbz_host_header {
	_Atomic uint64_t magic;
	uint32_t layout, buckets, slots, slot_size;
	char pad[40];
	_Atomic uint32_t released; /* counts releases; the word that sleepers watch */
	char pad2[60];
	_Atomic uint64_t tickets;
	char pad3[56];
} zbz_host_header;

typedef struct zbz_host_file {
	zbz_host_header head;
	zbz_host_bucket buckets[ZBZ_HOST_BUCKETS];
} zbz_host_file;

struct zbz_host_segment {
	zbz_host_file *file;
	uint32_t uid;
};

/* The mapping for the user this process is now; NULL and err. */
zbz_host_segment *zbz_host_segment_of(zbz_err *err);

#endif
