/* Segments and how a process comes by them: anonymous ones by zone, made once and inherited over forks; named ones
 * below /dev/shm, which outlive every process. A process maps each of them once, however many stores are open on it. */
#ifndef ZBZ_PROVIDER_SHARED_SEGMENT_H
#define ZBZ_PROVIDER_SHARED_SEGMENT_H

#include "shared_layout.h"

typedef struct zbz_segment zbz_segment;

typedef struct zbz_segment_want {
	const char *name; /* NULL: anonymous */
	const char *zone;
	uint64_t size, entry_size;
	int64_t mode; /* of a file made for it */
	bool huge_pages;
} zbz_segment_want;

/* E_CONFIG when it is in use with another size. */
zbz_status zbz_segment_open(const zbz_segment_want *want, zbz_segment **out, zbz_err *err);
/* A zone stays mapped for the life of the process: a store opened later finds it as it was. */
void zbz_segment_close(zbz_segment *segment);
unsigned char *zbz_segment_base(const zbz_segment *segment);
const zbz_shared_geometry *zbz_segment_geometry(const zbz_segment *segment);

#endif
