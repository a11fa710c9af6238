#include "await.h"

#include <time.h>

void zbz_await_init(pthread_cond_t *cond) {
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(cond, &attr);
	pthread_condattr_destroy(&attr);
}

static struct timespec in_ms(int64_t ms) {
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	ts.tv_sec += (time_t)(ms / 1000);
	ts.tv_nsec += (long)(ms % 1000) * 1000000L;
	if (ts.tv_nsec >= 1000000000L) {
		ts.tv_nsec -= 1000000000L;
		ts.tv_sec++;
	}
	return ts;
}

/* An injected clock says how long to wait, real time passes meanwhile: a fake clock does not move by itself. */
bool zbz_await(pthread_cond_t *cond, pthread_mutex_t *mutex, const bool *flag, const zbz_clock *clock, int64_t deadline) {
	enum { LONGEST_MS = 1000000000 }; /* keeps the sum below any time_t; a wait that long is taken in pieces */
	int64_t left = deadline == ZBZ_NEVER ? ZBZ_NEVER : deadline - zbz_mono(clock);
	struct timespec until = in_ms(left <= 0 ? 0 : left > LONGEST_MS ? LONGEST_MS : left);
	while (!*flag) {
		if (left <= 0) break;
		if (pthread_cond_timedwait(cond, mutex, &until) == 0) continue;
		if (left <= LONGEST_MS) break;
		if (left != ZBZ_NEVER) left -= LONGEST_MS;
		until = in_ms(left > LONGEST_MS ? LONGEST_MS : left);
	}
	return *flag;
}
