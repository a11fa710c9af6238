/* Bytes in and out of a segment, one atomic word at a time: what a reader copies may be written at that moment, and
 * only its later look at the sequence tells. Entries start at words; the value follows the key without a gap, so it
 * may begin inside one. */
#ifndef ZBZ_PROVIDER_SHARED_COPY_H
#define ZBZ_PROVIDER_SHARED_COPY_H

#include "base/hash.h"
#include "shared_layout.h"

static inline void zbz_shared_store8(char *to, uint64_t le) {
	uint64_t w = zbz_shared_le(le);
	memcpy(to, &w, 8);
}
static inline uint64_t zbz_shared_load8(const char *from) {
	uint64_t w;
	memcpy(&w, from, 8);
	return zbz_shared_le(w);
}
static inline void zbz_shared_store_few(char *to, uint64_t le, size_t n) {
	for (size_t i = 0; i < n; i++) to[i] = (char)(le >> (8 * i));
}
static inline uint64_t zbz_shared_load_few(const char *from, size_t n) {
	uint64_t le = 0;
	for (size_t i = 0; i < n; i++) le |= (uint64_t)(unsigned char)from[i] << (8 * i);
	return le;
}
static inline uint64_t zbz_shared_word_at(const zbz_word *p) { return zbz_shared_le(zbz_wload(p)); }

static inline bool zbz_shared_key_is(const zbz_word *entry, zbz_bytes key) {
	const zbz_word *p = entry + ZBZ_SHARED_ENTRY_UNITS;
	const char *k = key.p;
	size_t n = key.n;
	uint64_t rest;
	for (; n >= 8; n -= 8, k += 8, p++)
		if (zbz_shared_word_at(p) != zbz_shared_load8(k)) return false;
	if (n == 0) return true;
	rest = key.n >= 8 ? zbz_shared_load8(k + n - 8) >> (64 - 8 * n) : zbz_shared_load_few(k, n);
	return ((zbz_shared_word_at(p) ^ rest) & (((uint64_t)1 << (8 * n)) - 1)) == 0;
}

/* Fewer than 8 bytes; the words they stand in. */
static inline void zbz_shared_copy_short(uint64_t w, uint64_t next, size_t inside, char *to, size_t n) {
	size_t first = 8 - inside < n ? 8 - inside : n;
	zbz_shared_store_few(to, w >> (8 * inside), first);
	zbz_shared_store_few(to + first, next, n - first);
}

/* Copies n bytes that begin `from` bytes behind the entry's own words, and sums up the words they stand in; with
 * `copy` false (a constant) it only sums. The sum is taken from the words on their way: read back from `to`, where
 * they lie shifted, each would have to wait for two stores. Two lanes, because it lies on the path of every hit. */
static inline __attribute__((always_inline)) uint64_t zbz_shared_copy_out(const uint64_t *k, uint64_t hash,
                                                                          const zbz_word *entry, size_t from, char *to,
                                                                          size_t n, bool copy) {
	const zbz_word *p = entry + ZBZ_SHARED_ENTRY_UNITS + from / 8;
	size_t inside = from % 8;
	uint64_t a = hash, b = k[3], w, next = 0;
	if (n < 8) {
		w = inside + n > 0 ? zbz_shared_word_at(p) : 0;
		if (inside + n > 8) next = zbz_shared_word_at(p + 1);
		if (copy) zbz_shared_copy_short(w, next, inside, to, n);
		return zbz_hash_fold(w ^ k[2], next ^ a);
	}
	w = zbz_shared_word_at(p++);
	if (copy) zbz_shared_store8(to, w >> (8 * inside)); /* too many, but the rest is overwritten below */
	if (copy) to += 8 - inside;
	n -= 8 - inside;
	b ^= w;
	for (; n >= 16; n -= 16) {
		uint64_t lane = b;
		w = zbz_shared_word_at(p++);
		next = zbz_shared_word_at(p++);
		if (copy) {
			zbz_shared_store8(to, w);
			zbz_shared_store8(to + 8, next);
			to += 16;
		}
		b = zbz_hash_fold(w ^ k[0], next ^ a);
		a = lane;
		w = next;
	}
	if (n >= 8) {
		w = zbz_shared_word_at(p++);
		if (copy) {
			zbz_shared_store8(to, w);
			to += 8;
		}
		b = zbz_hash_fold(w ^ k[0], b ^ k[1]);
		n -= 8;
	}
	next = 0;
	if (n != 0) {
		next = zbz_shared_word_at(p);
		/* the last eight bytes, some of them for the second time */
		if (copy) zbz_shared_store8(to + n - 8, w >> (8 * n) | next << (64 - 8 * n));
	}
	return zbz_hash_fold(next ^ a ^ k[2], b ^ hash);
}

static inline void zbz_shared_copy_in(zbz_word *entry, zbz_bytes key, zbz_bytes value) {
	zbz_word *p = entry + ZBZ_SHARED_ENTRY_UNITS;
	const char *k = key.p, *v = value.p;
	size_t kn = key.n, n = value.n;
	for (; kn >= 8; kn -= 8, k += 8) zbz_wstore(p++, zbz_shared_le(zbz_shared_load8(k)));
	if (kn != 0) {
		size_t few = n < 8 - kn ? n : 8 - kn;
		zbz_wstore(p++, zbz_shared_le(zbz_shared_load_few(k, kn) | zbz_shared_load_few(v, few) << (8 * kn)));
		if (few == 0) return;
		v += few;
		n -= few;
	}
	for (; n >= 8; n -= 8, v += 8) zbz_wstore(p++, zbz_shared_le(zbz_shared_load8(v)));
	if (n != 0) zbz_wstore(p, zbz_shared_le(zbz_shared_load_few(v, n)));
}

/* Forwards: `to` may overlap `from` from below. */
static inline void zbz_shared_copy_down(zbz_word *to, const zbz_word *from, uint32_t units) {
	for (uint32_t i = 0; i < units; i++) zbz_wstore(to + i, zbz_wload(from + i));
}

#endif
