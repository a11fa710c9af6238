/* Text to numbers. Doubles by the method of Daniel Lemire, "Number Parsing at a Gigabyte per Second" (2021), after
 * Michael Eisel; the rare cases that 128 bits cannot decide go to strtod, without a decimal point so that no
 * locale matters. */
#include "codec_internal.h"

#include <stdio.h>
#include <stdlib.h>

#define MANTISSA       52
#define INFINITE_POWER 0x7FF

static double assemble(uint64_t mantissa, int power) {
	uint64_t bits = mantissa | (uint64_t)power << MANTISSA;
	double d;
	memcpy(&d, &bits, sizeof d);
	return d;
}

/* The top 128 bits of w * 10^q, w normalised; false when they cannot be told from the neighbouring values. */
static bool product_of(uint64_t w, int q, uint64_t *high, uint64_t *low) {
	uint64_t g_high = zbz_pow10[q - ZBZ_POW10_MIN][0], g_low = zbz_pow10[q - ZBZ_POW10_MIN][1];
	zbz_u128 p;
	bool exact = q >= -27 && q <= 55;
	if (!exact && g_low-- == 0) g_high--; /* the table rounds up; the method wants these rounded down */
	p = (zbz_u128)w * g_high;
	if (((uint64_t)(p >> 64) & 0x1FF) == 0x1FF) p += (uint64_t)(((zbz_u128)w * g_low) >> 64);
	*high = (uint64_t)(p >> 64);
	*low = (uint64_t)p;
	return *low != UINT64_MAX || exact;
}

bool zbz_decimal_to_double(uint64_t digits, int64_t exp10, double *out) {
	uint64_t high, low, m;
	int lz, top, power, q;
	if (digits == 0 || exp10 < ZBZ_POW10_MIN) return *out = 0, true;
	if (exp10 > 308) return *out = HUGE_VAL, true;
	q = (int)exp10;
	lz = __builtin_clzll(digits);
	if (!product_of(digits << lz, q, &high, &low)) return false;
	top = (int)(high >> 63);
	m = high >> (top + 64 - MANTISSA - 3);
	power = ((217706 * q + (2000 << 16)) >> 16) - 2000; /* floor(q * log2(10)), without shifting below 0 */
	power += 63 + top - lz + 1023;
	if (power <= 0) { /* subnormal */
		if (-power + 1 >= 64) return *out = 0, true;
		m >>= -power + 1;
		m = (m + (m & 1)) >> 1;
		*out = assemble(m & (((uint64_t)1 << MANTISSA) - 1), m >> MANTISSA != 0);
		return true;
	}
	if (low <= 1 && q >= -4 && q <= 23 && (m & 3) == 1 && m << (top + 64 - MANTISSA - 3) == high)
		m &= ~(uint64_t)1; /* exactly between two doubles: to the even one */
	m = (m + (m & 1)) >> 1;
	if (m >= (uint64_t)2 << MANTISSA) {
		m = (uint64_t)1 << MANTISSA;
		power++;
	}
	if (power >= INFINITE_POWER) return *out = HUGE_VAL, true;
	*out = assemble(m & ~((uint64_t)1 << MANTISSA), power);
	return true;
}

/* A number taken apart; digits are those of `text` without its point. */
typedef struct parts {
	const char *text, *text_end; /* digits and at most one point */
	int64_t exp10;               /* of the last digit */
	bool negative;
} parts;

/* 780 digits decide every double; what follows only matters as "more than". */
static double by_library(const parts *n) {
	char copy[840];
	size_t len = 0;
	int64_t dropped = 0;
	bool more = false;
	const char *p;
	for (p = n->text; p < n->text_end; p++) {
		if (*p == '.' || (len == 0 && *p == '0')) continue;
		if (len < 780) {
			copy[len++] = *p;
		} else {
			dropped++;
			more = more || *p != '0';
		}
	}
	dropped += n->exp10;
	if (more) {
		copy[len++] = '1';
		dropped--;
	}
	snprintf(copy + len, sizeof copy - len, "e%lld", (long long)dropped);
	return strtod(copy, NULL);
}

/* Up to 19 digits from the first one that is not 0; what is cut off moves the exponent. */
static uint64_t leading_digits(const parts *n, int64_t *exp10, bool *cut) {
	uint64_t w = 0;
	unsigned count = 0;
	const char *p;
	*exp10 = n->exp10;
	*cut = false;
	for (p = n->text; p < n->text_end; p++) {
		if (*p == '.') continue;
		if (count == 19) {
			++*exp10;
			*cut = true;
			continue;
		}
		w = w * 10 + (uint64_t)(*p - '0');
		if (w != 0) count++;
	}
	return w;
}

static double slow_double(const parts *n) {
	int64_t exp10;
	bool cut;
	double d, above;
	uint64_t w = leading_digits(n, &exp10, &cut);
	if (!zbz_decimal_to_double(w, exp10, &d)) return by_library(n);
	if (cut && (!zbz_decimal_to_double(w + 1, exp10, &above) || d != above)) return by_library(n);
	return d;
}

bool zbz_digits_are(const char *digits, size_t n, double d) {
	char text[400];
	int len = snprintf(text, sizeof text, "%.0f", d);
	return len > 0 && (size_t)len == n && memcmp(text, digits, n) == 0;
}

/* An integer that has more than 18 digits; anything beyond 64 bits is a float. */
static const char *long_integer(const parts *n, uint64_t w, zbz_number *out) {
	size_t digits = (size_t)(n->text_end - n->text);
	uint64_t limit = (uint64_t)INT64_MAX + n->negative;
	if (digits <= 19 && w <= limit) {
		out->is_int = true;
		out->i = n->negative ? (int64_t)(0 - w) : (int64_t)w;
		return NULL;
	}
	out->d = slow_double(n);
	if (isinf(out->d)) return "a number out of range";
#if !ZBZ_CODEC_INT64
	if (!zbz_digits_are(n->text, digits, out->d)) return ZBZ_UNFIT_INTEGER;
#endif
	if (n->negative) out->d = -out->d;
	return NULL;
}

static inline bool is_digit(const char *p, const char *end) { return p < end && (unsigned char)(*p - '0') < 10; }

static const char *read_exponent(const char **at, const char *end, int64_t *exp10) {
	const char *p = *at;
	int64_t e = 0;
	bool negative = p < end && *p == '-';
	if (p < end && (*p == '-' || *p == '+')) p++;
	*at = p;
	if (!is_digit(p, end)) return "expected a digit in the exponent";
	for (; is_digit(p, end); p++) {
		if (e < 1000000000) e = e * 10 + (*p - '0');
	}
	*exp10 += negative ? -e : e;
	*at = p;
	return NULL;
}

/* After the digits before the point, of value w (meaningless beyond 19 digits). */
static const char *read_float(const char **at, const char *end, parts *n, uint64_t w, zbz_number *out) {
	const char *p = *at, *why;
	n->exp10 = 0;
	if (p < end && *p == '.') {
		const char *point = p++;
		for (; is_digit(p, end); p++) w = w * 10 + (uint64_t)(*p - '0');
		*at = p;
		n->exp10 = -(int64_t)(p - point - 1);
		if (n->exp10 == 0) return "expected a digit after the point";
	}
	n->text_end = p;
	if (p < end && (*p == 'e' || *p == 'E')) {
		*at = p + 1;
		why = read_exponent(at, end, &n->exp10);
		if (why != NULL) return why;
	}
	if (n->text_end - n->text > 19 || !zbz_decimal_to_double(w, n->exp10, &out->d)) out->d = slow_double(n);
	if (isinf(out->d)) return "a number out of range";
	if (n->negative) out->d = -out->d;
	return NULL;
}

const char *zbz_number_read(const char **at, const char *end, zbz_number *out) {
	const char *p = *at, *why;
	const char *start = p;
	uint64_t w = 0;
	parts n;
	n.negative = p < end && *p == '-';
	if (n.negative) p++;
	n.text = p;
	for (; is_digit(p, end); p++) w = w * 10 + (uint64_t)(*p - '0');
	*at = p;
	out->is_int = false;
	out->d = 0;
	if (p == n.text) return "expected a digit";
	if (*n.text == '0' && p - n.text > 1) return *at = n.text, "a number with a leading zero";
	if (p < end && (*p == '.' || *p == 'e' || *p == 'E')) {
		why = read_float(at, end, &n, w, out);
		if (why != NULL && isinf(out->d)) *at = start;
		return why;
	}
	if (w == 0 && n.negative) return out->d = -0.0, NULL;
	n.text_end = p;
	n.exp10 = 0;
	if (ZBZ_UNLIKELY(p - n.text > 18)) {
		why = long_integer(&n, w, out);
		if (why != NULL) *at = start;
		return why;
	}
	out->is_int = true;
	out->i = n.negative ? -(int64_t)w : (int64_t)w;
	return NULL;
}
