/* Bytes in and out of a segment, one atomic word at a time: what a reader copies may be written at that moment, and only its later
 * look at the sequence tells. Entries start at words; the value follows the key without a gap, so it may begin inside one. */
#include "shared_store.h"

static inline void store8(char *to, uint64_t le) {
	uint64_t w = zbz_shared_le(le);
	memcpy(to, &w, 8);
}
static inline uint64_t load8(const char *from) {
	uint64_t w;
	memcpy(&w, from, 8);
	return zbz_shared_le(w);
}
static inline void store_few(char *to, uint64_t le, size_t n) {
	for (size_t i = 0; i < n; i++) to[i] = (char)(le >> (8 * i));
}
static inline uint64_t load_few(const char *from, size_t n) {
	uint64_t le = 0;
	for (size_t i = 0; i < n; i++) le |= (uint64_t)(unsigned char)from[i] << (8 * i);
	return le;
}
static inline uint64_t word_at(const zbz_word *p) { return zbz_shared_le(zbz_wload(p)); }

bool zbz_shared_key_is(const zbz_word *entry, zbz_bytes key) {
	const zbz_word *p = entry + ZBZ_SHARED_ENTRY_UNITS;
	const char *k = key.p;
	size_t n = key.n;
	for (; n >= 8; n -= 8, k += 8, p++)
		if (word_at(p) != load8(k)) return false;
	return n == 0 || ((word_at(p) ^ load_few(k, n)) & (((uint64_t)1 << (8 * n)) - 1)) == 0;
}

void zbz_shared_copy_out(const zbz_word *entry, size_t from, char *to, size_t n) {
	const zbz_word *p = entry + ZBZ_SHARED_ENTRY_UNITS + from / 8;
	size_t inside = from % 8, first = 8 - inside;
	if (inside != 0 && n != 0) {
		uint64_t w = word_at(p++) >> (8 * inside);
		if (n < 8) {
			if (first > n) first = n;
			store_few(to, w, first);
		} else {
			store8(to, w); /* too many, but the rest is overwritten below */
		}
		to += first;
		n -= first;
	}
	for (; n >= 8; n -= 8, to += 8) store8(to, word_at(p++));
	if (n != 0) store_few(to, word_at(p), n);
}

void zbz_shared_copy_in(zbz_word *entry, zbz_bytes key, zbz_bytes value) {
	zbz_word *p = entry + ZBZ_SHARED_ENTRY_UNITS;
	const char *k = key.p, *v = value.p;
	size_t kn = key.n, n = value.n;
	for (; kn >= 8; kn -= 8, k += 8) zbz_wstore(p++, zbz_shared_le(load8(k)));
	if (kn != 0) {
		size_t few = n < 8 - kn ? n : 8 - kn;
		zbz_wstore(p++, zbz_shared_le(load_few(k, kn) | load_few(v, few) << (8 * kn)));
		if (few == 0) return;
		v += few;
		n -= few;
	}
	for (; n >= 8; n -= 8, v += 8) zbz_wstore(p++, zbz_shared_le(load8(v)));
	if (n != 0) zbz_wstore(p, zbz_shared_le(load_few(v, n)));
}

void zbz_shared_copy_down(zbz_word *to, const zbz_word *from, uint32_t units) {
	for (uint32_t i = 0; i < units; i++) zbz_wstore(to + i, zbz_wload(from + i));
}
