/* Waiting on a condition until a flag is set, with a deadline of the call's clock. */
#ifndef ZBZ_CACHE_AWAIT_H
#define ZBZ_CACHE_AWAIT_H

#include <pthread.h>

#include <zbz/clock.h>

/* A condition whose timed waits are monotonic. */
void zbz_await_init(pthread_cond_t *cond);
/* With the mutex held: the flag, at its setting or at the deadline (monotonic ms of the clock; ZBZ_NEVER). */
bool zbz_await(pthread_cond_t *cond, pthread_mutex_t *mutex, const bool *flag, const zbz_clock *clock,
               int64_t deadline);

#endif
