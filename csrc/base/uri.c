/* URLs (RFC 3986), as far as configuration needs them. No message repeats any part of the text: a password may stand
 * in an unexpected place. */
#include "uri.h"

#include <strings.h>

#define URI_MAX 65536 /* bytes */

static zbz_status bad(zbz_err *err, const char *why) { return zbz_fail(err, ZBZ_E_CONFIG, "malformed URL: %s", why); }

static bool is_alpha(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static int hex(char c) {
	if (is_digit(c)) return c - '0';
	if (c >= 'a' && c <= 'f') return c - 'a' + 10;
	if (c >= 'A' && c <= 'F') return c - 'A' + 10;
	return -1;
}

/* First byte of s that is one of `set`; s.n when there is none. */
static size_t find(zbz_bytes s, const char *set) {
	size_t i = 0;
	while (i < s.n && (s.p[i] == '\0' || strchr(set, s.p[i]) == NULL)) i++;
	return i;
}

static size_t find_last(zbz_bytes s, char c) {
	for (size_t i = s.n; i-- > 0;)
		if (s.p[i] == c) return i;
	return s.n;
}

static zbz_bytes head(zbz_bytes s, size_t n) { return zbz_b(s.p, n); }
static zbz_bytes skip(zbz_bytes s, size_t n) { return zbz_b(s.p + n, s.n - n); }

/* A percent-decoded copy, ended by a zero byte. */
static zbz_status decode(zbz_bytes s, char **out, zbz_err *err) {
	size_t n = 0;
	char *p = zbz_calloc(s.n + 1, 1); /* zeroed: a text in every moment */
	if (p == NULL) return zbz_fail_nomem(err);
	*out = p; /* released with the URI, whatever happens below */
	for (size_t i = 0; i < s.n; i++) {
		int hi, lo;
		if (s.p[i] != '%') {
			p[n++] = s.p[i];
			continue;
		}
		hi = s.n - i > 2 ? hex(s.p[i + 1]) : -1;
		lo = s.n - i > 2 ? hex(s.p[i + 2]) : -1;
		if (hi < 0 || lo < 0) return bad(err, "a '%' must be followed by two hexadecimal digits");
		if (hi == 0 && lo == 0) return bad(err, "a zero byte (%00) is not allowed");
		p[n++] = (char)(hi << 4 | lo);
		i += 2;
	}
	return ZBZ_OK;
}

static zbz_status take_scheme(zbz_bytes *s, zbz_uri *out, zbz_err *err) {
	size_t n = 0;
	while (n < s->n && (is_alpha(s->p[n]) || (n > 0 && (is_digit(s->p[n]) || strchr("+-.", s->p[n]) != NULL)))) n++;
	if (n == 0 || n == s->n || s->p[n] != ':')
		return bad(err, "it must begin with \"scheme:\", as in redis://host:6379");
	out->scheme = zbz_malloc(n + 1);
	if (out->scheme == NULL) return zbz_fail_nomem(err);
	for (size_t i = 0; i < n; i++) out->scheme[i] = s->p[i] >= 'A' && s->p[i] <= 'Z' ? (char)(s->p[i] + 32) : s->p[i];
	out->scheme[n] = '\0';
	*s = skip(*s, n + 1);
	return ZBZ_OK;
}

static zbz_status take_port(zbz_bytes digits, zbz_uri *out, zbz_err *err) {
	int port = 0;
	if (digits.n == 0) return ZBZ_OK; /* "host:" is allowed and means the default */
	for (size_t i = 0; i < digits.n; i++) {
		if (!is_digit(digits.p[i]) || i > 4) return bad(err, "the port is no number from 1 to 65535");
		port = port * 10 + (digits.p[i] - '0');
	}
	if (port < 1 || port > 65535) return bad(err, "the port is no number from 1 to 65535");
	out->port = port;
	return ZBZ_OK;
}

static zbz_status take_host(zbz_bytes s, zbz_uri *out, zbz_err *err) {
	zbz_status status;
	size_t end, colon;
	if (s.n == 0) return ZBZ_OK;
	if (find(s, ",") < s.n) return decode(s, &out->host, err); /* several servers: the provider splits them */
	if (s.p[0] == '[') {
		end = find(s, "]");
		if (end == s.n || end == 1) return bad(err, "an address in '[' needs its ']'");
		if ((status = decode(zbz_b(s.p + 1, end - 1), &out->host, err)) != ZBZ_OK) return status;
		s = skip(s, end + 1);
		if (s.n > 0 && s.p[0] != ':') return bad(err, "only \":port\" may follow ']'");
		return s.n > 0 ? take_port(skip(s, 1), out, err) : ZBZ_OK;
	}
	colon = find(s, ":");
	if (colon != find_last(s, ':')) return bad(err, "an IPv6 address must stand in brackets, as in [::1]:6379");
	if (colon > 0 && (status = decode(head(s, colon), &out->host, err)) != ZBZ_OK) return status;
	if (colon == 0 && s.n > 1) return bad(err, "a port without a host");
	return colon < s.n ? take_port(skip(s, colon + 1), out, err) : ZBZ_OK;
}

static zbz_status take_user(zbz_bytes s, zbz_uri *out, zbz_err *err) {
	size_t colon = find(s, ":");
	zbz_status status = ZBZ_OK;
	if (colon > 0) status = decode(head(s, colon), &out->user, err);
	if (status == ZBZ_OK && colon < s.n) status = decode(skip(s, colon + 1), &out->password, err);
	return status;
}

static zbz_status take_authority(zbz_bytes *s, zbz_uri *out, zbz_err *err) {
	size_t n = find(*s, "/?");
	zbz_bytes all = head(*s, n);
	size_t at = find_last(all, '@');
	zbz_status status = ZBZ_OK;
	*s = skip(*s, n);
	if (at < all.n) {
		status = take_user(head(all, at), out, err);
		all = skip(all, at + 1);
	}
	return status == ZBZ_OK ? take_host(all, out, err) : status;
}

static zbz_status take_query(zbz_bytes s, zbz_uri *out, zbz_err *err) {
	size_t fields = 1;
	zbz_status status = ZBZ_OK;
	if (s.n == 0) return ZBZ_OK;
	for (size_t i = 0; i < s.n; i++) fields += s.p[i] == '&';
	out->query.items = zbz_calloc(fields * 2, sizeof *out->query.items);
	if (out->query.items == NULL) return zbz_fail_nomem(err);
	while (s.n > 0 && status == ZBZ_OK) {
		size_t end = find(s, "&");
		zbz_bytes field = head(s, end);
		size_t eq = find(field, "=");
		s = skip(s, end < s.n ? end + 1 : end);
		if (field.n == 0) continue;
		if (eq == 0) return bad(err, "a query field has no name");
		out->query.n += 2;
		status = decode(head(field, eq), &out->query.items[out->query.n - 2], err);
		if (status == ZBZ_OK)
			status = decode(skip(field, eq < field.n ? eq + 1 : eq), &out->query.items[out->query.n - 1], err);
	}
	return status;
}

static zbz_status parse(zbz_bytes s, zbz_uri *out, zbz_err *err) {
	zbz_status status = take_scheme(&s, out, err);
	size_t n;
	if (status == ZBZ_OK && zbz_bytes_has_prefix(s, zbz_b("//", 2))) {
		s = skip(s, 2);
		status = take_authority(&s, out, err);
	}
	if (status != ZBZ_OK) return status;
	n = find(s, "?");
	if (n > 0) status = decode(head(s, n), &out->path, err);
	if (status == ZBZ_OK && n < s.n) status = take_query(skip(s, n + 1), out, err);
	return status;
}

zbz_status zbz_uri_parse(zbz_bytes text, zbz_uri *out, zbz_err *err) {
	zbz_status status;
	memset(out, 0, sizeof *out);
	if (text.n == 0) return bad(err, "it is empty");
	if (text.n > URI_MAX) return bad(err, "it is longer than 65536 bytes");
	for (size_t i = 0; i < text.n; i++) {
		unsigned char c = (unsigned char)text.p[i];
		if (c <= 0x20 || c == 0x7F) return bad(err, "blanks and control bytes must be percent-encoded");
		if (c == '#') return bad(err, "a '#' must be written %23");
	}
	status = parse(text, out, err);
	if (status != ZBZ_OK) zbz_uri_clear(out);
	return status;
}

static void wipe(char *s) {
	if (s != NULL) explicit_bzero(s, strlen(s));
	zbz_free(s);
}

void zbz_uri_clear(zbz_uri *uri) {
	zbz_free(uri->scheme);
	zbz_free(uri->user);
	wipe(uri->password);
	zbz_free(uri->host);
	zbz_free(uri->path);
	for (size_t i = 0; i < uri->query.n; i++) wipe(uri->query.items[i]);
	zbz_free(uri->query.items);
	memset(uri, 0, sizeof *uri);
}

/* ---- without secrets ---- */

static bool name_holds(zbz_bytes name, const char *word) {
	size_t n = strlen(word);
	for (size_t i = 0; i + n <= name.n; i++)
		if (strncasecmp(name.p + i, word, n) == 0) return true;
	return false;
}

static bool secret_field(zbz_bytes name) {
	static const char *const words[] = { "pass", "pwd", "secret", "token", "auth", "key", "credential", "signature" };
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (name_holds(name, words[i])) return true;
	return false;
}

static zbz_status redact_query(zbz_bytes s, zbz_buf *out, zbz_err *err) {
	zbz_status status = ZBZ_OK;
	while (s.n > 0 && status == ZBZ_OK) {
		size_t end = find(s, "&"), eq = find(head(s, end), "=");
		bool hide = eq < end && secret_field(head(s, eq));
		status = zbz_buf_append(out, s.p, hide ? eq + 1 : end, err);
		if (status == ZBZ_OK && hide) status = zbz_buf_append(out, "***", 3, err);
		if (status == ZBZ_OK && end < s.n) status = zbz_buf_putc(out, '&', err);
		s = skip(s, end < s.n ? end + 1 : end);
	}
	return status;
}

zbz_status zbz_uri_redact(zbz_bytes text, zbz_buf *out, zbz_err *err) {
	const char *slashes = text.n > 3 ? memmem(text.p, text.n, "://", 3) : NULL;
	size_t start = slashes != NULL ? (size_t)(slashes - text.p) + 3 : 0, at, colon, query, keep;
	zbz_status status = ZBZ_OK;
	if (slashes == NULL) return zbz_buf_append(out, text.p, text.n, err);
	/* The last '@' of all: a password with a raw '/' or '?' in it must not show either. */
	at = start + find_last(skip(text, start), '@');
	keep = 0;
	if (at < text.n) {
		colon = start + find(skip(text, start), ":");
		if (colon < at) {
			status = zbz_buf_append(out, text.p, colon + 1, err);
			if (status == ZBZ_OK) status = zbz_buf_append(out, "***", 3, err);
			keep = at;
		}
	}
	if (status != ZBZ_OK) return status;
	query = keep + find(skip(text, keep), "?");
	status = zbz_buf_append(out, text.p + keep, (query < text.n ? query + 1 : query) - keep, err);
	if (status == ZBZ_OK && query < text.n) status = redact_query(skip(text, query + 1), out, err);
	return status;
}
