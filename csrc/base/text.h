/* Numbers as text and UTF-8, for the codecs of the binding and the formatters of the log. */
#ifndef ZBZ_BASE_TEXT_H
#define ZBZ_BASE_TEXT_H

#include <stdint.h>
#include <string.h>

#include <zbz/bytes.h>

#define ZBZ_LIKELY(x)   __builtin_expect(!!(x), 1)
#define ZBZ_UNLIKELY(x) __builtin_expect(!!(x), 0)
__extension__ typedef unsigned __int128 zbz_u128;

/* ---- 1. Numbers ---- */

#define ZBZ_NUMBER_TEXT 32 /* room for any of them; no NUL is written, the length is returned */

ZBZ_API size_t zbz_int_write(char *out, int64_t i);
ZBZ_API size_t zbz_uint_write(char *out, uint64_t u);
/* The shortest text that reads back as the same double; always with '.' or 'e'. Finite only. */
ZBZ_API size_t zbz_double_write(char *out, double d);

/* 10^k scaled into [2^127, 2^128), rounded up: the halves of entry k - ZBZ_POW10_MIN. */
#define ZBZ_POW10_MIN (-342)
#define ZBZ_POW10_MAX 324
ZBZ_API extern const uint64_t zbz_pow10[ZBZ_POW10_MAX - ZBZ_POW10_MIN + 1][2];

/* ---- 2. Text ---- */

ZBZ_API size_t zbz_utf8_long_length(const unsigned char *p, const unsigned char *end);
/* Length of the well-formed UTF-8 sequence of two to four bytes at p, 0 when there is none. *p >= 0x80, p < end. */
static inline size_t zbz_utf8_length(const unsigned char *p, const unsigned char *end) {
	if (ZBZ_LIKELY(p[0] >= 0xC2 && p[0] < 0xE0 && end - p >= 2 && (p[1] & 0xC0) == 0x80)) return 2;
	return zbz_utf8_long_length(p, end);
}
/* Past the sequences at p, up to the first ASCII byte or `end`; NULL and *bad when one is malformed. */
static inline const char *zbz_utf8_run(const char *text, const char *text_end, const char **bad) {
	const unsigned char *p = (const unsigned char *)text, *end = (const unsigned char *)text_end;
	while (p < end && *p >= 0x80) {
		size_t n = zbz_utf8_length(p, end);
		if (ZBZ_UNLIKELY(n == 0)) {
			*bad = (const char *)p;
			return NULL;
		}
		p += n;
	}
	return (const char *)p;
}
/* n when all of it is valid, else the offset of the first bad byte. */
ZBZ_API size_t zbz_utf8_span(const char *s, size_t n);

static inline uint64_t zbz_load8(const void *p) {
	uint64_t v;
	memcpy(&v, p, 8);
	return v;
}
#define ZBZ_EACH_BYTE(b) ((uint64_t)(b)*0x0101010101010101u)
/* Non-zero when one of the 8 bytes is a control byte, '"', '\\' or >= 0x80; the lowest set bit belongs to the
 * first such byte in order of significance (bits above it may be wrong). Bit tricks of "Hacker's Delight", 6-1. */
static inline uint64_t zbz_json_special(uint64_t v) {
	uint64_t quote = v ^ ZBZ_EACH_BYTE('"'), back = v ^ ZBZ_EACH_BYTE('\\');
	uint64_t hits = (quote - ZBZ_EACH_BYTE(1)) | (back - ZBZ_EACH_BYTE(1)) | (v - ZBZ_EACH_BYTE(0x20));
	return (hits & ~v & ZBZ_EACH_BYTE(0x80)) | (v & ZBZ_EACH_BYTE(0x80));
}
/* How many of the 8 bytes stand before the first special one: 0..7, a lower bound on big-endian machines. */
static inline unsigned zbz_plain_bytes(uint64_t hits) {
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	return (unsigned)__builtin_ctzll(hits) / 8;
#else
	return (void)hits, 0;
#endif
}

/* How much of a text fits: not more than `most`, never half a character. */
static inline size_t zbz_utf8_cut(zbz_bytes text, size_t most) {
	size_t n = text.n < most ? text.n : most;
	while (n > 0 && n < text.n && ((unsigned char)text.p[n] & 0xC0) == 0x80 && most - n < 3) n--;
	return n;
}

#endif
