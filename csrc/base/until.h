/* Moments for functions that wait until one: the monotonic clock, some milliseconds from now. */
#ifndef ZBZ_BASE_UNTIL_H
#define ZBZ_BASE_UNTIL_H

#include <stdint.h>
#include <time.h>

#define ZBZ_UNTIL_MAX ((int64_t)365 * 24 * 3600 * 1000) /* a longer wait is one of a year, and no sum overflows */

static inline struct timespec zbz_until(int64_t ms) {
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	if (ms > ZBZ_UNTIL_MAX) ms = ZBZ_UNTIL_MAX;
	if (ms < 0) ms = 0;
	ts.tv_sec += (time_t)(ms / 1000);
	ts.tv_nsec += (long)(ms % 1000) * 1000000L;
	if (ts.tv_nsec >= 1000000000L) {
		ts.tv_sec++;
		ts.tv_nsec -= 1000000000L;
	}
	return ts;
}

#endif
