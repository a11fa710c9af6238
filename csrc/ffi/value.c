/* Values that are plain to see: strings as they stand, short whole numbers, booleans. Everything else is the codecs' business. */
#include "door.h"

enum { DIGITS_MAX = 15 }; /* any number of so many is exact in a double */

static int32_t string(zbz_door *d, const char *p, size_t n) {
	if (n > UINT32_MAX) return ZBZ_DOOR_REST;
	d->p = p;
	d->n = (uint32_t)n;
	return ZBZ_DOOR_STRING;
}

/* -?[1-9][0-9]* or 0 */
static bool is_digits(zbz_bytes v) {
	size_t i = v.n > 0 && v.p[0] == '-';
	if (i == v.n) return false;
	if (v.p[i] == '0') return v.n == 1;
	for (; i < v.n; i++)
		if (v.p[i] < '0' || v.p[i] > '9') return false;
	return true;
}

static int32_t number(zbz_door *d, zbz_bytes v) {
	size_t minus = v.p[0] == '-', i;
	int64_t sum = 0;
	if (v.n - minus > DIGITS_MAX) return ZBZ_DOOR_REST;
	for (i = minus; i < v.n; i++) sum = sum * 10 + (v.p[i] - '0');
	d->number = (double)(minus != 0 ? -sum : sum);
	return ZBZ_DOOR_NUMBER;
}

static bool is_word(zbz_bytes v, const char *word, size_t n) { return v.n == n && memcmp(v.p, word, n) == 0; }

/* Between its quotes: nothing escaped, nothing that should have been. */
static bool is_literal(const char *p, size_t n) {
	size_t i;
	for (i = 0; i < n; i++)
		if ((unsigned char)p[i] < 0x20 || p[i] == '"' || p[i] == '\\') return false;
	return zbz_utf8_span(p, n) == n;
}

static int32_t json(zbz_bytes v, zbz_door *d) {
	if (v.n >= 2 && v.p[0] == '"')
		return v.p[v.n - 1] == '"' && is_literal(v.p + 1, v.n - 2) ? string(d, v.p + 1, v.n - 2) : ZBZ_DOOR_REST;
	if (is_digits(v)) return number(d, v);
	if (is_word(v, "true", 4)) return ZBZ_DOOR_TRUE;
	return is_word(v, "false", 5) ? ZBZ_DOOR_FALSE : ZBZ_DOOR_REST;
}

/* fixstr, str 8, str 16, bin 8, bin 16 */
static int32_t msgpack(zbz_bytes v, zbz_door *d) {
	const unsigned char *b = (const unsigned char *)v.p;
	size_t head, n;
	if (v.n == 0) return ZBZ_DOOR_REST;
	if (b[0] == 0xC3) return v.n == 1 ? ZBZ_DOOR_TRUE : ZBZ_DOOR_REST;
	if (b[0] == 0xC2) return v.n == 1 ? ZBZ_DOOR_FALSE : ZBZ_DOOR_REST;
	if ((b[0] & 0xE0) == 0xA0) {
		head = 1;
		n = b[0] & 0x1F;
	} else if ((b[0] == 0xD9 || b[0] == 0xC4) && v.n >= 2) {
		head = 2;
		n = b[1];
	} else if ((b[0] == 0xDA || b[0] == 0xC5) && v.n >= 3) {
		head = 3;
		n = (size_t)b[1] << 8 | b[2];
	} else {
		return ZBZ_DOOR_REST;
	}
	return v.n == head + n ? string(d, v.p + head, n) : ZBZ_DOOR_REST;
}

int32_t zbz_door_value(zbz_codec codec, zbz_bytes v, zbz_door *d) {
	switch (codec) {
	case ZBZ_CODEC_BYTES: return string(d, v.p, v.n);
	case ZBZ_CODEC_STRING: return zbz_utf8_span(v.p, v.n) == v.n ? string(d, v.p, v.n) : ZBZ_DOOR_REST;
	case ZBZ_CODEC_JSON: return json(v, d);
	case ZBZ_CODEC_MSGPACK: return msgpack(v, d);
	case ZBZ_CODEC_AUTO:
		if (v.n > 0 && (unsigned char)v.p[0] == 0xC1) return ZBZ_DOOR_REST;
		return is_digits(v) ? number(d, v) : string(d, v.p, v.n);
	}
	return ZBZ_DOOR_REST;
}
