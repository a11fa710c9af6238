/* The hash of a segment: keyed with the segment's own secrets, because unrelated processes must agree on it. The
 * folding is that of base/hash.h (Wang Yi's wyhash). */
#ifndef ZBZ_PROVIDER_SHARED_HASH_H
#define ZBZ_PROVIDER_SHARED_HASH_H

#include "base/hash.h"

static inline uint64_t zbz_shared_tail(const uint64_t *k, uint64_t h, const unsigned char *p, size_t n) { /* n <= 16 */
	uint64_t a = 0, b = 0;
	if (n >= 8) {
		a = zbz_hash_read8(p);
		b = zbz_hash_read8(p + n - 8);
	} else if (n >= 4) {
		a = zbz_hash_read4(p);
		b = zbz_hash_read4(p + n - 4);
	} else if (n > 0) {
		a = (uint64_t)p[0] << 16 | (uint64_t)p[n >> 1] << 8 | p[n - 1];
	}
	return zbz_hash_fold(a ^ k[2], b ^ h);
}

static inline uint64_t zbz_shared_hash(const uint64_t *k, zbz_bytes s) {
	const unsigned char *p = (const unsigned char *)s.p;
	size_t n = s.n;
	uint64_t h = k[0];
	for (; n > 16; p += 16, n -= 16) h = zbz_hash_fold(zbz_hash_read8(p) ^ k[1], zbz_hash_read8(p + 8) ^ h);
	return zbz_hash_fold(zbz_shared_tail(k, h, p, n) ^ k[1], (uint64_t)s.n ^ k[3]);
}

#endif
