/* Configuration text: globs against a plain matcher, URLs, durations and sizes there and back. */
#include "fuzz.h"

#include "base/scan.h"
#include "base/uri.h"

enum { SMALL = 48 };

/* One place of the pattern at *i against c, the obvious way; *i moves past it. Not for stars. */
static bool place_fits(const uint8_t *p, size_t n, size_t *i, unsigned c) {
	size_t start = *i + 1, first, end, k;
	bool negated, found = false;
	if (p[*i] == '[') {
		negated = start < n && (p[start] == '!' || p[start] == '^');
		first = start + negated;
		for (end = first; end < n && (p[end] != ']' || end == first); end++) end += p[end] == '\\';
		if (end < n) {
			for (k = first; k < end;) {
				unsigned low, high;
				if (p[k] == '\\' && k + 1 < end) k++;
				low = high = p[k++];
				if (k + 1 < end && p[k] == '-') {
					k++;
					if (p[k] == '\\' && k + 1 < end) k++;
					high = p[k++];
				}
				if ((low <= c && c <= high) || (high <= c && c <= low)) found = true;
			}
			*i = end + 1;
			return found != negated;
		}
	}
	if (p[*i] == '\\' && start < n) {
		*i += 2;
		return p[start] == c;
	}
	*i = start;
	return p[start - 1] == '?' || p[start - 1] == c;
}

/* All places of the text that the pattern so far can have reached. */
static bool plain_match(const uint8_t *p, size_t n, const uint8_t *text, size_t len) {
	bool reached[SMALL + 1] = { true }, next[SMALL + 1];
	size_t i = 0, k;
	while (i < n) {
		size_t after = i;
		memset(next, 0, sizeof next);
		if (p[i] == '*') {
			bool any = false;
			for (k = 0; k <= len; k++) next[k] = any = any || reached[k];
			after++;
		} else {
			for (k = 0; k < len; k++) {
				after = i;
				next[k + 1] = place_fits(p, n, &after, text[k]) && reached[k];
			}
			if (len == 0) return false; /* a place needs a byte */
		}
		memcpy(reached, next, sizeof reached);
		i = after;
	}
	return reached[len];
}

static void globs(const uint8_t *data, size_t size) {
	const uint8_t *zero = memchr(data, 0, size);
	size_t n = zero != NULL ? (size_t)(zero - data) : size / 2, skip = n + (zero != NULL);
	zbz_bytes text = zbz_b(data + skip, size - skip);
	bool matches = zbz_glob_match(zbz_b(data, n), text);
	if (n <= SMALL && text.n <= SMALL) HOLDS(matches == plain_match(data, n, data + skip, text.n));
	HOLDS(zbz_glob_match(zbz_bstr("*"), text));
}

static void literal_glob(const uint8_t *data, size_t size) {
	uint8_t escaped[2 * SMALL];
	size_t i;
	if (size > SMALL) return;
	for (i = 0; i < size; i++) {
		escaped[2 * i] = '\\';
		escaped[2 * i + 1] = data[i];
	}
	HOLDS(zbz_glob_match(zbz_b(escaped, 2 * size), zbz_b(data, size)));
}

static void urls(zbz_bytes text) {
	zbz_uri uri;
	zbz_err err;
	zbz_buf once = { 0 };
	memset(&uri, 0, sizeof uri);
	if (zbz_uri_parse(text, &uri, &err) == ZBZ_OK)
		HOLDS(uri.scheme != NULL && uri.port >= 0 && uri.port <= 65535);
	else
		HOLDS(err.status == ZBZ_E_CONFIG);
	zbz_uri_clear(&uri);
	HOLDS(zbz_uri_redact(text, &once, &err) == ZBZ_OK);
	zbz_buf_clear(&once);
}

static void durations(zbz_bytes text) {
	char formatted[ZBZ_SCAN_TEXT];
	int64_t v, again;
	zbz_err err;
	if (zbz_parse_duration(text, &v, &err) == ZBZ_OK) {
		HOLDS(v >= 0 && v <= ZBZ_DURATION_MAX);
		HOLDS(zbz_parse_duration(zbz_bstr(zbz_format_duration(v, formatted)), &again, &err) == ZBZ_OK && again == v);
	}
	if (zbz_parse_size(text, &v, &err) == ZBZ_OK) {
		HOLDS(v >= 0);
		HOLDS(zbz_parse_size(zbz_bstr(zbz_format_size(v, formatted)), &again, &err) == ZBZ_OK && again == v);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	if (size == 0) return 0;
	globs(data, size);
	literal_glob(data, size);
	urls(zbz_b(data, size));
	durations(zbz_b(data, size));
	return 0;
}
