#include "await.h"

#include "base/until.h"

void zbz_await_init(pthread_cond_t *cond) {
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(cond, &attr);
	pthread_condattr_destroy(&attr);
}

/* An injected clock says how long to wait, real time passes meanwhile: a fake clock does not move by itself. */
bool zbz_await(pthread_cond_t *cond, pthread_mutex_t *mutex, const bool *flag, const zbz_clock *clock,
               int64_t deadline) {
	int64_t left = deadline == ZBZ_NEVER ? ZBZ_NEVER : deadline - zbz_mono(clock);
	struct timespec until = zbz_until(left);
	while (!*flag) {
		if (left <= 0) break;
		if (pthread_cond_timedwait(cond, mutex, &until) == 0) continue;
		if (left <= ZBZ_UNTIL_MAX) break;
		if (left != ZBZ_NEVER) left -= ZBZ_UNTIL_MAX;
		until = zbz_until(left);
	}
	return *flag;
}
