/* Numbers by chance, the same in every run. */
#ifndef SPEC_DICE_H
#define SPEC_DICE_H

#include <stdint.h>
#include <time.h>

static uint64_t dice = 88172645463325252u;

/* 0 .. n - 1; xorshift64, after Marsaglia. */
static inline uint64_t roll(uint64_t n) {
	dice ^= dice << 13;
	dice ^= dice >> 7;
	dice ^= dice << 17;
	return dice % n;
}

static inline void nap(int64_t us) {
	struct timespec ts = { us / 1000000, us % 1000000 * 1000 };
	nanosleep(&ts, NULL);
}

#endif
