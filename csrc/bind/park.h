/* A parked call, for the files that make, copy and run some: park.c, request_copy.c, together.c. */
#ifndef ZBZ_BIND_PARK_H
#define ZBZ_BIND_PARK_H

#include <stdatomic.h>

#include "request.h"

struct ticket_box;

typedef struct parked {
	zbz_job job;
	zbz_request r; /* verb NULL: the end of somebody else's load */
	zbz_buf out;
	const void *self;
	struct ticket_box *ticket; /* NULL: nobody asks any more */
	atomic_bool abandoned;     /* by a caller whose deadline passed: what has not begun shall not */
	bool done, unattended;     /* unattended: counted as such */
} parked;

static inline parked *zbz_parked_of(zbz_job *job) { return (parked *)(void *)((char *)job - offsetof(parked, job)); }

/* Bytes that zbz_request_own takes at `at`, which is aligned for anything; from then on r needs no Lua. */
size_t zbz_request_size(const zbz_request *r);
void zbz_request_own(zbz_request *r, char *at);

/* On a thread of the pool. */
void zbz_park_run(zbz_job *job);
/* Marks a read that may be run together with others of its table. */
void zbz_park_kin(parked *p);
/* Lets a write keep its order among those of the same key. */
void zbz_park_row(parked *p);

#endif
