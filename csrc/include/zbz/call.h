/* What travels with every operation: the time it happens at, when it must end, and where an error's story goes. */
#ifndef ZBZ_CALL_H
#define ZBZ_CALL_H

#include "clock.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct zbz_call {
	const zbz_clock *clock;
	int64_t now;      /* wall ms, read once per call by the front: one call sees one time */
	int64_t deadline; /* monotonic ms by which the call has ended, retries included; ZBZ_NEVER */
	zbz_err err;      /* filled when the status is negative */
	/* Reads of a store whose caps say inline_hits, on an event loop: what would have to wait answers ZBZ_AGAIN, and nothing has happened;
	 * the same call without no_wait may then be made where waiting is allowed. Whoever never waits need not look. */
	bool no_wait;
	bool want_expiry; /* get_many also tells when each entry ends */
} zbz_call;

/* Milliseconds left, at least 0; INT64_MAX without a deadline. */
static inline int64_t zbz_call_left(const zbz_call *c) {
	int64_t left;
	if (c->deadline == ZBZ_NEVER) return INT64_MAX;
	left = c->deadline - zbz_mono(c->clock);
	return left > 0 ? left : 0;
}

#ifdef __cplusplus
}
#endif
#endif
