/* Numbers to text. Doubles by the Schubfach method (Raffaello Giulietti, "The Schubfach way to render doubles",
 * 2020): the shortest decimal that lies in the interval of the reals that round to the double, and the closest one
 * among the shortest. */
#include "text.h"

static const char two_digits[] =
    "00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748"
    "49505152535455565758596061626364656667686970717273747576777879808182838485868788899091929394959697"
    "9899";

static unsigned digit_count(uint64_t v) {
	unsigned n = 1;
	for (;;) {
		if (v < 10) return n;
		if (v < 100) return n + 1;
		if (v < 1000) return n + 2;
		if (v < 10000) return n + 3;
		v /= 10000;
		n += 4;
	}
}

static void put_digits(char *out, unsigned n, uint64_t v) {
	while (n >= 2) {
		n -= 2;
		memcpy(out + n, two_digits + v % 100 * 2, 2);
		v /= 100;
	}
	if (n != 0) out[0] = (char)('0' + v % 10);
}

size_t zbz_int_write(char *out, int64_t i) {
	uint64_t v = i < 0 ? 0 - (uint64_t)i : (uint64_t)i;
	size_t sign = i < 0;
	unsigned n = digit_count(v);
	out[0] = '-';
	put_digits(out + sign, n, v);
	return sign + n;
}

size_t zbz_uint_write(char *out, uint64_t u) {
	unsigned n = digit_count(u);
	put_digits(out, n, u);
	return n;
}

typedef struct decimal {
	uint64_t digits;
	int exp10;
} decimal;

/* The integer part of g * c / 2^128, with its last bit set when anything was cut off ("round to odd"): enough
 * to compare against neighbours without more precision. */
static uint64_t scaled(const uint64_t g[2], uint64_t c) {
	zbz_u128 low = (zbz_u128)g[1] * c;
	zbz_u128 high = (zbz_u128)g[0] * c + (uint64_t)(low >> 64);
	return (uint64_t)(high >> 64) | ((uint64_t)high > 1);
}

/* c * 2^q, c > 0. */
static decimal shortest(uint64_t c, int q, bool lower_is_closer) {
	bool odd = (c & 1) != 0;
	int k = (q * 1262611 - (lower_is_closer ? 524031 : 0)) >> 22; /* floor(log10(2^q)), or of 3/4 of it */
	int h = q + ((-k * 1741647) >> 19) + 1;                       /* 1 + q + floor(log2(10^-k)): 1..4 */
	const uint64_t *g = zbz_pow10[-k - ZBZ_POW10_MIN];
	uint64_t v = scaled(g, c * 4 << h);
	uint64_t lower = scaled(g, (c * 4 - 2 + lower_is_closer) << h) + odd; /* an even significand owns its bounds */
	uint64_t upper = scaled(g, (c * 4 + 2) << h) - odd;
	uint64_t s = v / 4, t = s / 10;
	decimal d;
	bool down, up;
	if (s >= 10) { /* one digit less, if exactly one neighbour is inside */
		down = lower <= 40 * t;
		up = 40 * t + 40 <= upper;
		if (down != up) {
			d.digits = t + up;
			d.exp10 = k + 1;
			return d;
		}
	}
	down = lower <= 4 * s;
	up = 4 * s + 4 <= upper;
	if (down == up) up = v > 4 * s + 2 || (v == 4 * s + 2 && (s & 1) != 0);
	d.digits = s + up;
	d.exp10 = k;
	return d;
}

/* 12345 and the place of its point, counted from the first digit: 123.45, 0.00012345, 12345000.0, 1.2345e30. */
static size_t lay_out(char *out, const char *digits, int n, int point) {
	char *p = out;
	if (point > 0 && point <= 16) {
		int whole = n < point ? n : point;
		memcpy(p, digits, (size_t)whole);
		memset(p + whole, '0', (size_t)(point - whole));
		p += point;
		*p++ = '.';
		if (n > point) {
			memcpy(p, digits + point, (size_t)(n - point));
			p += n - point;
		} else {
			*p++ = '0';
		}
	} else if (point <= 0 && point > -5) {
		memcpy(p, "0.0000", 6);
		p += 2 - point;
		memcpy(p, digits, (size_t)n);
		p += n;
	} else {
		*p++ = digits[0];
		if (n > 1) {
			*p++ = '.';
			memcpy(p, digits + 1, (size_t)(n - 1));
			p += n - 1;
		}
		*p++ = 'e';
		p += zbz_int_write(p, point - 1);
	}
	return (size_t)(p - out);
}

/* Prices and times: at most three decimals. A decimal of at most 15 digits that reads back as d is the shortest one, since no two of
 * them share a double. 0: not of that kind. */
static size_t write_short(char *out, double d) {
	double scaled = d * 1000, size = d < 0 ? -d : d;
	char *p = out;
	uint64_t v, whole;
	unsigned part;
	if (!(size >= 0.001 && size < 1e11)) return 0;
	v = (uint64_t)((scaled < 0 ? -scaled : scaled) + 0.5);
	if ((double)v / 1000 != size) return 0;
	if (d < 0) *p++ = '-';
	whole = v / 1000;
	part = (unsigned)(v % 1000);
	p += zbz_uint_write(p, whole);
	*p++ = '.';
	*p++ = (char)('0' + part / 100);
	if (part % 100 == 0) return (size_t)(p - out);
	*p++ = (char)('0' + part / 10 % 10);
	if (part % 10 == 0) return (size_t)(p - out);
	*p++ = (char)('0' + part % 10);
	return (size_t)(p - out);
}

size_t zbz_double_write(char *out, double d) {
	size_t short_n = write_short(out, d);
	char digits[20];
	uint64_t bits, fraction;
	unsigned n;
	int exponent, sign;
	decimal dec;
	if (short_n > 0) return short_n;
	memcpy(&bits, &d, sizeof bits);
	fraction = bits & (((uint64_t)1 << 52) - 1);
	exponent = (int)(bits >> 52 & 0x7FF);
	sign = (int)(bits >> 63);
	out[0] = '-';
	if (fraction == 0 && exponent == 0) {
		memcpy(out + sign, "0.0", 3);
		return (size_t)sign + 3;
	}
	if (exponent == 0)
		dec = shortest(fraction, -1074, false);
	else
		dec = shortest(fraction | (uint64_t)1 << 52, exponent - 1075, fraction == 0 && exponent > 1);
	n = digit_count(dec.digits);
	put_digits(digits, n, dec.digits);
	dec.exp10 += (int)n;
	while (n > 1 && digits[n - 1] == '0') n--;
	return (size_t)sign + lay_out(out + sign, digits, (int)n, dec.exp10);
}
