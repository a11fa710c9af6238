/* The hash's secrets and its exported door. */
#include "hash.h"
#include "random.h"

#include <time.h>

uint64_t zbz_hash_secret[4];

static uint64_t spread(uint64_t x) { /* the finaliser of SplitMix64 (Steele, Lea, Flood) */
	x += 0x9E3779B97F4A7C15u;
	x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
	x = (x ^ x >> 27) * 0x94D049BB133111EBu;
	return x ^ x >> 31;
}

void zbz_hash_fix(uint64_t seed) {
	for (int i = 0; i < 4; i++) zbz_hash_secret[i] = seed = spread(seed);
}

/* At load time: tables made later, also after a fork, must all agree on the secrets. */
__attribute__((constructor)) static void draw_secrets(void) {
	if (zbz_random(zbz_hash_secret, sizeof zbz_hash_secret, NULL) != ZBZ_OK) {
		uint64_t x = (uint64_t)time(NULL) ^ (uint64_t)(uintptr_t)&x;
		zbz_hash_fix(x);
	}
}

uint64_t zbz_hash(zbz_bytes s) { return zbz_hash_inline(s); }
