/* The same push as JSON: {"streams":[{"stream":{labels},"values":[["nanoseconds","line",{metadata}], ...]}, ...]} */
#include "sink_loki.h"

#include "base/text.h"
#include "log/line.h"

static zbz_status put_words(zbz_buf *b, const char *words, zbz_err *err) {
	return zbz_buf_append(b, words, strlen(words), err);
}

/* 6 bytes for one, and the quotes. */
static size_t quoted_most(size_t n) { return 6 * n + 16; }

static size_t most_of(const zbz_loki_pair *pairs, size_t n, zbz_bytes line) {
	size_t most = ZBZ_NUMBER_TEXT + 16 + quoted_most(line.n + sizeof ZBZ_LOKI_MARK);
	for (size_t i = 0; i < n; i++) most += pairs[i].name.n + 4 + quoted_most(pairs[i].value.n);
	return most;
}

static char *put_line(char *out, zbz_bytes line, bool cut) {
	out = zbz_put_json(out, line.n > 0 ? line.p : "", line.n);
	if (!cut) return out;
	out = zbz_put(out - 1, ZBZ_LOKI_MARK, sizeof ZBZ_LOKI_MARK - 1);
	*out++ = '"';
	return out;
}

static char *put_pairs(char *out, const zbz_loki_pair *pairs, size_t n) {
	*out++ = ',';
	for (size_t i = 0; i < n; i++) {
		*out++ = i == 0 ? '{' : ',';
		*out++ = '"';
		for (size_t k = 0; k < pairs[i].name.n; k++) *out++ = zbz_loki_name_byte(pairs[i].name.p[k], k == 0);
		out = zbz_put(out, "\":", 2);
		out = zbz_put_json(out, pairs[i].value.n > 0 ? pairs[i].value.p : "", pairs[i].value.n);
	}
	*out++ = '}';
	return out;
}

static zbz_status json_entry(zbz_loki_push *p, const zbz_record *r, bool first, zbz_err *err) {
	zbz_loki_pair pairs[ZBZ_LOKI_PAIRS];
	size_t n = zbz_loki_pairs(p, r, pairs);
	bool cut;
	zbz_bytes line = zbz_loki_line(p, r, &cut);
	zbz_status s = zbz_buf_reserve(&p->body, most_of(pairs, n, line), err);
	char *out;
	if (s != ZBZ_OK) return s;
	out = p->body.p + p->body.n;
	if (!first) *out++ = ',';
	out = zbz_put(out, "[\"", 2);
	out += zbz_int_write(out, zbz_loki_at(r));
	out = zbz_put(out, "\",", 2);
	out = put_line(out, line, cut);
	if (n > 0) out = put_pairs(out, pairs, n);
	*out++ = ']';
	p->body.n = (size_t)(out - p->body.p);
	return ZBZ_OK;
}

static zbz_status json_stream(zbz_loki_push *p, size_t index, zbz_err *err) {
	const zbz_loki_stream *stream = &p->streams[index];
	const zbz_loki_entry *entries = (const zbz_loki_entry *)(const void *)p->entries.p;
	bool first = true;
	zbz_status s = put_words(&p->body, index > 0 ? ",{\"stream\":" : "{\"stream\":", err);
	if (s == ZBZ_OK) s = zbz_loki_labels_put(p->labels, true, stream->level, stream->logger, &p->body, err);
	if (s == ZBZ_OK) s = put_words(&p->body, ",\"values\":[", err);
	for (size_t i = 0; i < p->n && s == ZBZ_OK; i++) {
		if (entries[i].stream != index) continue;
		s = json_entry(p, &p->records[i], first, err);
		first = false;
	}
	return s == ZBZ_OK ? put_words(&p->body, "]}", err) : s;
}

zbz_status zbz_loki_json_body(zbz_loki_push *p, zbz_err *err) {
	zbz_status s = put_words(&p->body, "{\"streams\":[", err);
	for (size_t i = 0; i < p->streams_n && s == ZBZ_OK; i++) s = json_stream(p, i, err);
	return s == ZBZ_OK ? put_words(&p->body, "]}", err) : s;
}
