/* UTF-8 by the table of well-formed sequences of the Unicode Standard (3.9, table 3-7): no overlong forms, no
 * surrogates, nothing above U+10FFFF. */
#include "text.h"

static bool is_tail(unsigned char c) { return (c & 0xC0) == 0x80; }

size_t zbz_utf8_long_length(const unsigned char *p, const unsigned char *end) {
	size_t left = (size_t)(end - p);
	unsigned char c = p[0];
	if (c < 0xE0 || left < 3) return 0; /* shorter ones have been tried */
	if (c < 0xF0) {
		unsigned char low = c == 0xE0 ? 0xA0 : 0x80, high = c == 0xED ? 0x9F : 0xBF;
		return p[1] >= low && p[1] <= high && is_tail(p[2]) ? 3 : 0;
	}
	if (left < 4 || c > 0xF4) return 0;
	{
		unsigned char low = c == 0xF0 ? 0x90 : 0x80, high = c == 0xF4 ? 0x8F : 0xBF;
		return p[1] >= low && p[1] <= high && is_tail(p[2]) && is_tail(p[3]) ? 4 : 0;
	}
}

size_t zbz_utf8_span(const char *s, size_t n) {
	const char *p = s, *end = s + n, *bad;
	while (p < end) {
		while (end - p >= 8 && (zbz_load8(p) & ZBZ_EACH_BYTE(0x80)) == 0) p += 8;
		while (p < end && (unsigned char)*p < 0x80) p++;
		p = zbz_utf8_run(p, end, &bad);
		if (p == NULL) return (size_t)(bad - s);
	}
	return n;
}
