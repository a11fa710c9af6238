#include "memcache_meta.h"

static zbz_status garbage(zbz_err *err) {
	return zbz_fail(err, ZBZ_E_UNAVAILABLE, "the answer is not memcached's protocol");
}

static bool word_is(zbz_bytes line, const char *word) {
	size_t n = strlen(word);
	return line.n >= n && memcmp(line.p, word, n) == 0 && (line.n == n || line.p[n] == ' ');
}

static zbz_meta_code code_of(zbz_bytes line) {
	static const struct {
		const char *word;
		zbz_meta_code code;
	} words[] = { { "HD", ZBZ_META_HD },
		          { "VA", ZBZ_META_VA },
		          { "EN", ZBZ_META_EN },
		          { "NF", ZBZ_META_NF },
		          { "NS", ZBZ_META_NS },
		          { "EX", ZBZ_META_EX },
		          { "MN", ZBZ_META_MN },
		          { "VALUE", ZBZ_META_VALUE },
		          { "ERROR", ZBZ_META_ERROR },
		          { "CLIENT_ERROR", ZBZ_META_ERROR },
		          { "SERVER_ERROR", ZBZ_META_ERROR } };
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (word_is(line, words[i].word)) return words[i].code;
	return ZBZ_META_LINE;
}

/* The i-th word of a line, counted from 0; empty when there is none. */
static zbz_bytes word_at(zbz_bytes line, size_t index) {
	const char *p = line.p, *end = line.p + line.n;
	for (;;) {
		while (p < end && *p == ' ') p++;
		const char *from = p;
		while (p < end && *p != ' ') p++;
		if (index-- == 0 || from == end) return zbz_b(from, (size_t)(p - from));
	}
}

static bool number_parse(zbz_bytes w, int64_t *out) {
	bool negative = w.n > 0 && *w.p == '-';
	uint64_t v = 0;
	if (w.n == (size_t)negative || w.n > 20u + negative) return false;
	for (size_t i = negative; i < w.n; i++) {
		unsigned d = (unsigned char)w.p[i] - '0';
		if (d > 9 || v > (UINT64_MAX - d) / 10) return false;
		v = v * 10 + d;
	}
	*out = (int64_t)(negative ? 0 - v : v);
	return true;
}

zbz_status zbz_meta_parse(zbz_bytes in, zbz_meta_reply *r, size_t *used, zbz_err *err) {
	size_t look = in.n < ZBZ_META_MAX_LINE ? in.n : ZBZ_META_MAX_LINE;
	const char *end = look > 0 ? memchr(in.p, '\n', look) : NULL;
	if (end == NULL) return look == ZBZ_META_MAX_LINE ? garbage(err) : ZBZ_AGAIN;
	size_t line = (size_t)(end - in.p), at = line + 1;
	if (line > 0 && in.p[line - 1] == '\r') line--;
	r->line = zbz_b(in.p, line);
	r->value = zbz_b(NULL, 0);
	r->code = code_of(r->line);
	if (r->code == ZBZ_META_VA || r->code == ZBZ_META_VALUE) {
		int64_t n;
		if (!number_parse(word_at(r->line, r->code == ZBZ_META_VA ? 1 : 3), &n) || n < 0 || (uint64_t)n > ZBZ_BUF_MAX)
			return garbage(err);
		if (in.n - at < (size_t)n + 2) return ZBZ_AGAIN;
		if (memcmp(in.p + at + n, "\r\n", 2) != 0) return garbage(err);
		r->value = zbz_b(in.p + at, (size_t)n);
		at += (size_t)n + 2;
	}
	*used = at;
	return ZBZ_OK;
}

bool zbz_meta_flag(const zbz_meta_reply *r, char flag, int64_t *number) {
	for (size_t i = r->code == ZBZ_META_VA ? 2 : 1;; i++) {
		zbz_bytes w = word_at(r->line, i);
		if (w.n == 0) return false;
		if (*w.p == flag) return number_parse(zbz_b(w.p + 1, w.n - 1), number);
	}
}

static bool has_text(zbz_bytes line, const char *text) { return memmem(line.p, line.n, text, strlen(text)) != NULL; }

zbz_status zbz_meta_fail(const zbz_meta_reply *r, zbz_err *err) {
	zbz_bytes l = r->line;
	int n = l.n > 200 ? 200 : (int)l.n;
	if (has_text(l, "object too large"))
		return zbz_fail(err, ZBZ_E_TOO_LARGE, "the server refuses an item of this size");
	if (has_text(l, "non-numeric")) return zbz_fail(err, ZBZ_E_TYPE, "the value is no integer");
	if (has_text(l, "unauthenticated")) return zbz_fail(err, ZBZ_E_DENIED, "the server asks for authentication");
	if (l.n == 5)
		return zbz_fail(err, ZBZ_E_UNSUPPORTED,
		                "the server does not know the meta commands; memcached 1.6 or newer is needed");
	return zbz_fail(err, ZBZ_E_UNAVAILABLE, "the server answers: %.*s", n, l.p);
}
