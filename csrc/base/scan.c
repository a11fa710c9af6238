/* Durations and sizes, exactly: decimal fractions are carried digit by digit, so 0.1 is a tenth and not its nearest double. */
#include "scan.h"

#include <inttypes.h>
#include <stdio.h>

#define NS_PER_MS 1000000u
#define SHOWN     40 /* bytes of a wrong value that a message repeats */

typedef struct decimal {
	uint64_t whole;
	const char *frac; /* digits after the point */
	size_t frac_n;
	bool overflow;
} decimal;

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* Reads digits[.digits] at the front of *s; false when there is no digit. */
static bool read_decimal(zbz_bytes *s, decimal *d) {
	size_t i = 0, digits = 0;
	d->whole = 0;
	d->overflow = false;
	for (; i < s->n && is_digit(s->p[i]); i++, digits++) {
		uint64_t v = (uint64_t)(s->p[i] - '0');
		if (d->whole > (UINT64_MAX - v) / 10) d->overflow = true;
		d->whole = d->whole * 10 + v;
	}
	d->frac = s->p + i;
	d->frac_n = 0;
	if (i < s->n && s->p[i] == '.') {
		d->frac = s->p + ++i;
		while (i < s->n && is_digit(s->p[i])) i++, d->frac_n++;
		digits += d->frac_n;
	}
	if (digits == 0) return false;
	s->p += i;
	s->n -= i;
	return true;
}

/* floor(fraction * unit), and whether anything was left over. unit <= 2^60, so ten of it fit. */
static uint64_t scale_fraction(const decimal *d, uint64_t unit, bool *rest) {
	uint64_t x = 0;
	for (size_t i = d->frac_n; i-- > 0;) {
		x += (uint64_t)(d->frac[i] - '0') * unit;
		if (x % 10 != 0) *rest = true;
		x /= 10;
	}
	return x;
}

static int shown(zbz_bytes s) { return s.n > SHOWN ? SHOWN : (int)s.n; }

bool zbz_parse_integer(zbz_bytes text, int64_t *out) {
	bool minus = text.n > 0 && text.p[0] == '-';
	size_t i = minus;
	int64_t v = 0;
	if (i == text.n) return false;
	for (; i < text.n; i++) { /* downwards, where there is one number more */
		if (!is_digit(text.p[i])) return false;
		if (__builtin_mul_overflow(v, (int64_t)10, &v) || __builtin_sub_overflow(v, (int64_t)(text.p[i] - '0'), &v))
			return false;
	}
	if (!minus && v == INT64_MIN) return false;
	*out = minus ? v : -v;
	return true;
}

typedef struct unit {
	const char *name;
	uint64_t size;
} unit;

/* ---- durations ---- */

static const unit duration_units[] = {
	/* nanoseconds; the longest name first where one begins with another */
	{ "ns", 1 },
	{ "us", 1000 },
	{ "\xC2\xB5s", 1000 },
	{ "\xCE\xBCs", 1000 },
	{ "ms", NS_PER_MS },
	{ "s", (uint64_t)1000 * NS_PER_MS },
	{ "m", (uint64_t)60000 * NS_PER_MS },
	{ "h", (uint64_t)3600000 * NS_PER_MS },
	{ "d", (uint64_t)86400000 * NS_PER_MS },
	{ "w", (uint64_t)604800000 * NS_PER_MS },
};

static const unit *read_duration_unit(zbz_bytes *s) {
	for (size_t i = 0; i < sizeof duration_units / sizeof *duration_units; i++) {
		zbz_bytes name = zbz_bstr(duration_units[i].name);
		if (!zbz_bytes_has_prefix(*s, name)) continue;
		s->p += name.n;
		s->n -= name.n;
		return &duration_units[i];
	}
	return NULL;
}

typedef struct span {
	uint64_t ms, ns; /* ns: what has not made a whole millisecond yet */
	bool rest;       /* and something smaller than a nanosecond */
	bool overflow;
} span;

static void span_add(span *t, const decimal *d, uint64_t unit_ns) {
	uint64_t frac = scale_fraction(d, unit_ns, &t->rest);
	uint64_t whole_ms;
	if (unit_ns >= NS_PER_MS) {
		uint64_t unit_ms = unit_ns / NS_PER_MS;
		if (d->whole > (uint64_t)ZBZ_DURATION_MAX / unit_ms) t->overflow = true;
		whole_ms = d->whole * unit_ms;
	} else {
		uint64_t per_ms = NS_PER_MS / unit_ns;
		whole_ms = d->whole / per_ms;
		t->ns += d->whole % per_ms * unit_ns;
	}
	if (d->overflow || whole_ms > (uint64_t)ZBZ_DURATION_MAX) t->overflow = true;
	t->ns += frac % NS_PER_MS;
	t->ms += whole_ms + frac / NS_PER_MS + t->ns / NS_PER_MS;
	t->ns %= NS_PER_MS;
	if (t->ms > (uint64_t)ZBZ_DURATION_MAX) t->overflow = true;
}

static zbz_status bad_duration(zbz_bytes text, const char *why, zbz_err *err) {
	return zbz_fail(err, ZBZ_E_CONFIG, "'%.*s' is no duration: %s", shown(text), text.p, why);
}

zbz_status zbz_parse_duration(zbz_bytes text, int64_t *ms, zbz_err *err) {
	zbz_bytes s = text;
	span total = { 0 };
	uint64_t last = UINT64_MAX;
	if (s.n == 0) return zbz_fail(err, ZBZ_E_CONFIG, "a duration is empty; write seconds or text like \"30m\"");
	if (s.p[0] == '-') return bad_duration(text, "it is negative", err);
	while (s.n > 0 && !total.overflow) {
		decimal d;
		const unit *u;
		if (!read_decimal(&s, &d)) return bad_duration(text, "a number is expected, as in \"1h30m\"", err);
		if (s.n == 0 && last == UINT64_MAX) {
			span_add(&total, &d, (uint64_t)1000 * NS_PER_MS); /* a bare number: seconds */
			break;
		}
		u = read_duration_unit(&s);
		if (u == NULL) return bad_duration(text, "the units are ns us ms s m h d w", err);
		if (u->size >= last) return bad_duration(text, "units go from large to small, each once", err);
		last = u->size;
		span_add(&total, &d, u->size);
	}
	if (total.ns != 0 || total.rest) total.ms++;
	if (total.overflow || total.ms > (uint64_t)ZBZ_DURATION_MAX) return bad_duration(text, "it is too long", err);
	*ms = (int64_t)total.ms;
	return ZBZ_OK;
}

zbz_status zbz_duration_from_seconds(double seconds, int64_t *ms, zbz_err *err) {
	double x = seconds * 1000, off;
	int64_t whole;
	if (!(x >= 0)) return zbz_fail(err, ZBZ_E_CONFIG, "%g is no duration: seconds >= 0 are expected", seconds);
	if (x > (double)ZBZ_DURATION_MAX)
		return zbz_fail(err, ZBZ_E_CONFIG, "a duration of %g seconds is too long", seconds);
	whole = (int64_t)(x + 0.5);
	off = x - (double)whole;
	/* 16.1 * 1000 is 16100.000000000002: what is off by rounding alone is not rounded up. */
	if (off > 0 && off > x * 1e-15 * 4) whole++;
	*ms = whole;
	return ZBZ_OK;
}

const char *zbz_format_duration(int64_t ms, char out[ZBZ_SCAN_TEXT]) {
	static const struct {
		int64_t ms;
		const char *name;
	} parts[] = { { 86400000, "d" }, { 3600000, "h" }, { 60000, "m" }, { 1000, "s" }, { 1, "ms" } };
	size_t n = 0;
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
		if (ms < parts[i].ms) continue;
		n += (size_t)snprintf(out + n, ZBZ_SCAN_TEXT - n, "%" PRId64 "%s", ms / parts[i].ms, parts[i].name);
		ms %= parts[i].ms;
	}
	if (n == 0) snprintf(out, ZBZ_SCAN_TEXT, "0s");
	return out;
}

/* ---- sizes ---- */

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c; }

/* "", "b", "k", "kb", "kib", "m" ... in any case; 0 when it is none of them. */
static uint64_t size_unit(zbz_bytes s) {
	static const char prefixes[] = "kmgt";
	const char *at;
	if (s.n == 0 || (s.n == 1 && lower(s.p[0]) == 'b')) return 1;
	at = s.p[0] != '\0' ? strchr(prefixes, lower(s.p[0])) : NULL;
	if (at == NULL) return 0;
	if (s.n == 1 || (s.n == 2 && lower(s.p[1]) == 'b') || (s.n == 3 && lower(s.p[1]) == 'i' && lower(s.p[2]) == 'b'))
		return (uint64_t)1 << 10 * (at - prefixes + 1);
	return 0;
}

static zbz_status bad_size(zbz_bytes text, const char *why, zbz_err *err) {
	return zbz_fail(err, ZBZ_E_CONFIG, "'%.*s' is no size: %s", shown(text), text.p, why);
}

zbz_status zbz_parse_size(zbz_bytes text, int64_t *bytes, zbz_err *err) {
	zbz_bytes s = text;
	decimal d;
	uint64_t u, frac;
	bool rest = false;
	if (s.n == 0) return zbz_fail(err, ZBZ_E_CONFIG, "a size is empty; write bytes or text like \"50MB\"");
	if (s.p[0] == '-') return bad_size(text, "it is negative", err);
	if (!read_decimal(&s, &d)) return bad_size(text, "a number is expected, as in \"50MB\"", err);
	u = size_unit(s);
	if (u == 0) return bad_size(text, "the units are B KB MB GB TB", err);
	frac = scale_fraction(&d, u, &rest);
	if (u == 1 && rest) return bad_size(text, "it has a fraction of a byte", err);
	if (rest) frac++;
	if (d.overflow || d.whole > ((uint64_t)INT64_MAX - frac) / u) return bad_size(text, "it is too large", err);
	*bytes = (int64_t)(d.whole * u + frac);
	return ZBZ_OK;
}

zbz_status zbz_size_from_number(double bytes, int64_t *out, zbz_err *err) {
	if (!(bytes >= 0)) return zbz_fail(err, ZBZ_E_CONFIG, "%g is no size: bytes >= 0 are expected", bytes);
	if (bytes >= 9223372036854775808.0) return zbz_fail(err, ZBZ_E_CONFIG, "a size of %g bytes is too large", bytes);
	if ((double)(int64_t)bytes != bytes)
		return zbz_fail(err, ZBZ_E_CONFIG, "%g is no size: it has a fraction of a byte", bytes);
	*out = (int64_t)bytes;
	return ZBZ_OK;
}

const char *zbz_format_size(int64_t bytes, char out[ZBZ_SCAN_TEXT]) {
	static const char *const names[] = { "B", "KB", "MB", "GB", "TB" };
	size_t i = 0;
	if (bytes == 0) {
		snprintf(out, ZBZ_SCAN_TEXT, "0");
		return out;
	}
	while (i < 4 && bytes % 1024 == 0) bytes /= 1024, i++;
	snprintf(out, ZBZ_SCAN_TEXT, "%" PRId64 "%s", bytes, names[i]);
	return out;
}
