/* Waiting on words of memory, in this process or between processes, and the lock of a log call's hot path. */
#ifndef ZBZ_LOG_FUTEX_H
#define ZBZ_LOG_FUTEX_H

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <zbz/clock.h>

typedef _Atomic uint32_t zbz_futex;

#define ZBZ_NS_PER_MS INT64_C(1000000)

static inline int64_t zbz_mono_ns(void) {
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* While the word holds `value`, for at most `ns`, negative for ever. May wake for no reason. */
static inline void zbz_futex_wait(zbz_futex *word, uint32_t value, int64_t ns) {
	struct timespec ts;
	int before = errno;
	ts.tv_sec = (time_t)(ns / 1000000000);
	ts.tv_nsec = (long)(ns % 1000000000);
	syscall(SYS_futex, word, FUTEX_WAIT, value, ns < 0 ? NULL : &ts, NULL, 0);
	errno = before;
}

static inline void zbz_futex_wake(zbz_futex *word) {
	int before = errno;
	syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
	errno = before;
}

/* A lock whose waiting ends in time, and that a forked child may simply set free. 0 free, 1 held, 2 held and waited for. Its
 * release is a full barrier where it stands before a look at a sleeper's word. */
typedef struct zbz_latch {
	zbz_futex word;
} zbz_latch;

/* until: zbz_mono_ns() at most, or ZBZ_NEVER. false: time is up. */
static inline bool zbz_latch_take_slowly(zbz_latch *l, int64_t until) {
	while (atomic_exchange_explicit(&l->word, 2, memory_order_acquire) != 0) {
		int64_t left = until == ZBZ_NEVER ? -1 : until - zbz_mono_ns();
		if (until != ZBZ_NEVER && left <= 0) return false;
		zbz_futex_wait(&l->word, 2, left);
	}
	return true;
}
static inline bool zbz_latch_try(zbz_latch *l) {
	uint32_t free_word = 0;
	return atomic_compare_exchange_strong_explicit(&l->word, &free_word, 1, memory_order_acquire, memory_order_relaxed);
}
static inline void zbz_latch_take(zbz_latch *l) {
	if (!zbz_latch_try(l)) zbz_latch_take_slowly(l, ZBZ_NEVER);
}
static inline void zbz_latch_drop(zbz_latch *l) {
	if (atomic_exchange(&l->word, 0) == 2) zbz_futex_wake(&l->word);
}

#endif
