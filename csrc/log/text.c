/* Text and scalars as they stand in a line: quotes, escapes, times, durations. */
#include "line.h"

#include <math.h>

static const char hex[] = "0123456789abcdef";

static char *put_unicode(char *p, unsigned code) {
	memcpy(p, "\\u", 2);
	for (int i = 0; i < 4; i++) p[2 + i] = hex[code >> (12 - 4 * i) & 15];
	return p + 6;
}

static char *put_control(char *p, unsigned char c) {
	static const char short_names[] = { ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r' };
	if (c >= sizeof short_names || short_names[c] == 0) return put_unicode(p, c);
	p[0] = '\\';
	p[1] = short_names[c];
	return p + 2;
}

/* Characters that make a terminal or an editor show text in another order or on another line than it stands. */
static bool misleads(const unsigned char *s) {
	if (s[0] != 0xE2) return false;
	return (s[1] == 0x80 && (s[2] >= 0xA8 && s[2] <= 0xAE)) || (s[1] == 0x81 && s[2] >= 0xA6 && s[2] <= 0xA9) ||
	       (s[1] == 0x80 && (s[2] == 0x8E || s[2] == 0x8F));
}

/* What stands at s beyond ASCII: one character, a C1 control (which terminals obey), or a byte that is none. */
static char *put_wide(char *p, const char **s, const char *end, bool tame) {
	const unsigned char *u = (const unsigned char *)*s;
	size_t n = zbz_utf8_length(u, (const unsigned char *)end);
	if (n == 0) {
		++*s;
		return zbz_put(p, "\xEF\xBF\xBD", 3);
	}
	*s += n;
	if (n == 2 && u[0] == 0xC2 && u[1] < 0xA0) return put_unicode(p, u[1]);
	if (tame && n == 3 && misleads(u)) return put_unicode(p, (u[0] & 15u) << 12 | (u[1] & 63u) << 6 | (u[2] & 63u));
	return zbz_put(p, (const char *)u, n);
}

static char *put_odd(char *p, const char **s, const char *end, bool tame, bool quotes) {
	unsigned char c = (unsigned char)**s;
	if (c >= 0x80) return put_wide(p, s, end, tame);
	++*s;
	if (quotes && (c == '"' || c == '\\')) {
		*p++ = '\\';
	} else if (c < 0x20 || (tame && c == 0x7F)) {
		return put_control(p, c);
	}
	*p++ = (char)c;
	return p;
}

/* Fewer than 8 bytes, none of them special: copied with loads that overlap. */
static bool put_short(char *p, const char *s, size_t n) {
	if (n >= 4) {
		uint32_t a, b;
		memcpy(&a, s, 4);
		memcpy(&b, s + n - 4, 4);
		if (zbz_json_special((uint64_t)b << 32 | a) != 0) return false;
		memcpy(p, &a, 4);
		memcpy(p + n - 4, &b, 4);
		return true;
	}
	{
		char a = s[0], b = s[n / 2], c = s[n - 1];
		uint64_t v = (uint64_t)(unsigned char)a | (uint64_t)(unsigned char)b << 8 | (uint64_t)(unsigned char)c << 16;
		if (zbz_json_special(v | (ZBZ_EACH_BYTE('a') << 24)) != 0) return false;
		p[0] = a;
		p[n / 2] = b;
		p[n - 1] = c;
		return true;
	}
}

char *zbz_put_json(char *p, const char *s, size_t n) {
	const char *end = s + n;
	*p++ = '"';
	while (end - s >= 8) {
		uint64_t v = zbz_load8(s), hits = zbz_json_special(v);
		memcpy(p, &v, 8);
		if (ZBZ_LIKELY(hits == 0)) {
			s += 8;
			p += 8;
			continue;
		}
		s += zbz_plain_bytes(hits);
		p += zbz_plain_bytes(hits);
		p = put_odd(p, &s, end, false, true);
	}
	while (s < end) {
		size_t left = (size_t)(end - s);
		if (left < 8 && put_short(p, s, left)) {
			p += left;
			break;
		}
		p = put_odd(p, &s, end, false, true);
	}
	*p++ = '"';
	return p;
}

char *zbz_put_quoted(char *p, const char *s, size_t n) {
	const char *end = s + n;
	*p++ = '"';
	while (s < end) p = put_odd(p, &s, end, true, true);
	*p++ = '"';
	return p;
}

char *zbz_put_tame(char *p, const char *s, size_t n) {
	const char *end = s + n;
	while (s < end) {
		unsigned char c = (unsigned char)*s;
		if (c >= 0x20 && c < 0x7F) {
			*p++ = *s++;
		} else {
			p = put_odd(p, &s, end, true, false);
		}
	}
	return p;
}

zbz_status zbz_log_tame(zbz_bytes line, zbz_buf *out, zbz_err *err) {
	zbz_status status;
	char *end;
	if (line.n > 0 && line.p[line.n - 1] == '\n') line.n--;
	status = zbz_buf_reserve(out, 6 * line.n + 16, err);
	if (status != ZBZ_OK) return status;
	end = zbz_put_tame(out->p + out->n, line.n > 0 ? line.p : "", line.n);
	*end++ = '\n';
	out->n = (size_t)(end - out->p);
	return ZBZ_OK;
}

size_t zbz_fit(const char *s, size_t n, size_t room) {
	const char *at = s, *end = s + n;
	char one[8];
	while (at < end) {
		const char *next = at;
		size_t used = (size_t)(put_odd(one, &next, end, true, true) - one);
		if (used > room) break;
		room -= used;
		at = next;
	}
	return (size_t)(at - s);
}

/* ---- time ---- */

static char *put2(char *p, int64_t v) {
	p[0] = (char)('0' + v / 10 % 10);
	p[1] = (char)('0' + v % 10);
	return p + 2;
}

/* Civil date from days, after Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms". Years 0000 to 9999. */
char *zbz_put_date(char *p, int64_t seconds) {
	int64_t days, rest, era, day, year, month;
	if (seconds < INT64_C(-62167219200)) seconds = INT64_C(-62167219200);
	if (seconds > INT64_C(253402300799)) seconds = INT64_C(253402300799);
	days = (seconds >= 0 ? seconds : seconds - 86399) / 86400;
	rest = seconds - days * 86400;
	days += 719468;
	era = (days >= 0 ? days : days - 146096) / 146097;
	day = days - era * 146097;
	year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
	day -= 365 * year + year / 4 - year / 100;
	month = (5 * day + 2) / 153;
	day = day - (153 * month + 2) / 5 + 1;
	month = month < 10 ? month + 3 : month - 9;
	year += era * 400 + (month <= 2);
	p = put2(put2(p, year / 100), year);
	*p++ = '-';
	p = put2(p, month);
	*p++ = '-';
	p = put2(p, day);
	*p++ = 'T';
	p = put2(p, rest / 3600);
	*p++ = ':';
	p = put2(p, rest / 60 % 60);
	*p++ = ':';
	return put2(p, rest % 60);
}

char *zbz_put_time(char *p, int64_t at) {
	int64_t seconds = at / 1000000000, rest = at % 1000000000;
	if (rest < 0) {
		seconds--;
		rest += 1000000000;
	}
	p = zbz_put_date(p, seconds);
	*p++ = '.';
	p = zbz_put_nano(p, (uint32_t)rest);
	*p++ = 'Z';
	return p;
}

/* v / 10^digits, without zeros at the end. */
static char *put_fraction(char *p, uint64_t v, int digits) {
	uint64_t unit = 1, part;
	for (int i = 0; i < digits; i++) unit *= 10;
	p += zbz_uint_write(p, v / unit);
	part = v % unit;
	if (part == 0) return p;
	*p++ = '.';
	for (; part != 0; part %= unit) {
		unit /= 10;
		*p++ = (char)('0' + (unit > 0 ? part / unit : 0));
		if (unit <= 1) break;
	}
	return p;
}

char *zbz_put_span(char *p, int64_t ns) {
	uint64_t v = ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns;
	if (ns < 0) *p++ = '-';
	if (v == 0) return zbz_put(p, "0s", 2);
	if (v < 1000) return zbz_put(p + zbz_uint_write(p, v), "ns", 2);
	if (v < 1000000) return zbz_put(put_fraction(p, v, 3), "us", 2);
	if (v < 1000000000) return zbz_put(put_fraction(p, v, 6), "ms", 2);
	if (v >= UINT64_C(3600000000000)) {
		p = zbz_put(p + zbz_uint_write(p, v / UINT64_C(3600000000000)), "h", 1);
		v %= UINT64_C(3600000000000);
		if (v == 0) return p;
	}
	if (v >= UINT64_C(60000000000)) {
		p = zbz_put(p + zbz_uint_write(p, v / UINT64_C(60000000000)), "m", 1);
		v %= UINT64_C(60000000000);
		if (v == 0) return p;
	}
	return zbz_put(put_fraction(p, v, 9), "s", 1);
}

/* ---- scalars ---- */

static char *put_double(char *p, double d, bool json) {
	if (isnan(d)) return json ? zbz_put(p, "null", 4) : zbz_put(p, "NaN", 3);
	if (isinf(d)) return json ? zbz_put(p, "null", 4) : zbz_put(p, d > 0 ? "+Inf" : "-Inf", 4);
	return p + zbz_double_write(p, d);
}

char *zbz_put_scalar(char *p, const zbz_field *f, bool json) {
	bool quotes = json && (f->type == ZBZ_FIELD_TIME || f->type == ZBZ_FIELD_DURATION);
	if (quotes) *p++ = '"';
	switch (f->type) {
	case ZBZ_FIELD_BOOL: p = f->v.b ? zbz_put(p, "true", 4) : zbz_put(p, "false", 5); break;
	case ZBZ_FIELD_INT: p += zbz_int_write(p, f->v.i); break;
	case ZBZ_FIELD_UINT: p += zbz_uint_write(p, f->v.u); break;
	case ZBZ_FIELD_DOUBLE: p = put_double(p, f->v.d, json); break;
	case ZBZ_FIELD_TIME: p = zbz_put_time(p, f->v.i); break;
	case ZBZ_FIELD_DURATION: p = zbz_put_span(p, f->v.i); break;
	default: p = zbz_put(p, "null", 4); break;
	}
	if (quotes) *p++ = '"';
	return p;
}

char *zbz_put_base64(char *p, const char *s, size_t n) {
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	for (size_t i = 0; i < n; i += 3) {
		uint32_t v = (uint32_t)(unsigned char)s[i] << 16;
		if (i + 1 < n) v |= (uint32_t)(unsigned char)s[i + 1] << 8;
		if (i + 2 < n) v |= (unsigned char)s[i + 2];
		*p++ = digits[v >> 18];
		*p++ = digits[v >> 12 & 63];
		*p++ = i + 1 < n ? digits[v >> 6 & 63] : '=';
		*p++ = i + 2 < n ? digits[v & 63] : '=';
	}
	return p;
}
