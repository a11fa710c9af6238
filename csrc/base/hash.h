/* One hash of bytes for every table of the core: fast on short keys, keyed with secrets, so that nobody outside can choose keys
 * that collide. Those of the process are drawn at load time: values differ from run to run, so never store or send one. What
 * several processes share has secrets of its own.
 *
 * The construction (fold the 128-bit product of two keyed words) is that of Wang Yi's wyhash. */
#ifndef ZBZ_BASE_HASH_H
#define ZBZ_BASE_HASH_H

#include <zbz/bytes.h>

/* For plug-ins, the binding and tests. */
ZBZ_API uint64_t zbz_hash(zbz_bytes s);

/* For tests that need the same values in every run: the secrets follow from the seed. Before the first store is opened. */
ZBZ_API void zbz_hash_fix(uint64_t seed);

/* The core's own hot path; the secrets are not visible outside libzbz. */
extern uint64_t zbz_hash_secret[4] __attribute__((visibility("hidden")));

static inline uint64_t zbz_hash_fold(uint64_t a, uint64_t b) {
#ifdef __SIZEOF_INT128__
	__extension__ typedef unsigned __int128 wide;
	wide p = (wide)a * b;
	return (uint64_t)p ^ (uint64_t)(p >> 64);
#else
	uint64_t al = (uint32_t)a, ah = a >> 32, bl = (uint32_t)b, bh = b >> 32;
	uint64_t ll = al * bl, lh = al * bh, hl = ah * bl, hh = ah * bh;
	uint64_t mid = (ll >> 32) + (uint32_t)lh + (uint32_t)hl;
	uint64_t lo = (mid << 32) | (uint32_t)ll, hi = hh + (lh >> 32) + (hl >> 32) + (mid >> 32);
	return lo ^ hi;
#endif
}

static inline uint64_t zbz_hash_read8(const unsigned char *p) {
	uint64_t v;
	memcpy(&v, p, 8);
	return v;
}
static inline uint64_t zbz_hash_read4(const unsigned char *p) {
	uint32_t v;
	memcpy(&v, p, 4);
	return v;
}

static inline uint64_t zbz_hash_keyed(const uint64_t k[4], zbz_bytes s) {
	const unsigned char *p = (const unsigned char *)s.p;
	size_t n = s.n;
	uint64_t a = 0, b = 0, h = k[0];
	if (n > 16) {
		for (; n > 16; p += 16, n -= 16) h = zbz_hash_fold(zbz_hash_read8(p) ^ k[1], zbz_hash_read8(p + 8) ^ h);
		a = zbz_hash_read8(p + n - 16); /* the last 16 bytes, some of them for the second time */
		b = zbz_hash_read8(p + n - 8);
	} else if (n >= 8) {
		a = zbz_hash_read8(p);
		b = zbz_hash_read8(p + n - 8);
	} else if (n >= 4) {
		a = zbz_hash_read4(p);
		b = zbz_hash_read4(p + n - 4);
	} else if (n > 0) {
		a = (uint64_t)p[0] << 16 | (uint64_t)p[n >> 1] << 8 | p[n - 1];
	}
	h = zbz_hash_fold(a ^ k[2], b ^ h);
	return zbz_hash_fold(h ^ k[1], (uint64_t)s.n ^ k[3]);
}

static inline uint64_t zbz_hash_inline(zbz_bytes s) { return zbz_hash_keyed(zbz_hash_secret, s); }

#endif
