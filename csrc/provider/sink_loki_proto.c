/* Loki's three small messages in protobuf, written by hand after pkg/push/push.proto:
 *
 *   PushRequest  { 1 stream* }      Stream { 1 labels, 2 entry* }
 *   Entry        { 1 Timestamp { 1 seconds, 2 nanoseconds }, 2 line, 3 pair* }      pair { 1 name, 2 value } */
#include "sink_loki.h"

#include "log/line.h"

#define SECOND INT64_C(1000000000)

enum { BYTES_1 = 1 << 3 | 2, BYTES_2 = 2 << 3 | 2, BYTES_3 = 3 << 3 | 2, INT_1 = 1 << 3, INT_2 = 2 << 3 };

static size_t int_size(uint64_t v) {
	size_t n = 1;
	while (v >= 0x80) v >>= 7, n++;
	return n;
}

static char *put_int(char *p, char tag, uint64_t v) {
	*p++ = tag;
	for (; v >= 0x80; v >>= 7) *p++ = (char)((v & 0x7F) | 0x80);
	*p++ = (char)v;
	return p;
}

static size_t framed(size_t n) { return 1 + int_size(n) + n; }

/* ---- sizes ---- */

static size_t time_size(int64_t at) {
	return 2 + int_size((uint64_t)(at / SECOND)) + int_size((uint64_t)(at % SECOND));
}
static size_t pair_size(const zbz_loki_pair *pair) {
	return framed(pair->name.n) + framed(zbz_loki_clean_size(pair->value));
}

size_t zbz_loki_proto_size(const zbz_loki_push *p, const zbz_record *r) {
	zbz_loki_pair pairs[ZBZ_LOKI_PAIRS];
	size_t n = zbz_loki_pairs(p, r, pairs), size = framed(time_size(zbz_loki_at(r)));
	bool cut;
	zbz_bytes line = zbz_loki_line(p, r, &cut);
	size += framed(line.n + (cut ? sizeof ZBZ_LOKI_MARK - 1 : 0));
	for (size_t i = 0; i < n; i++) size += framed(pair_size(&pairs[i]));
	return size;
}

/* ---- bytes ---- */

static char *put_pair(char *out, const zbz_loki_pair *pair) {
	out = put_int(out, BYTES_3, pair_size(pair));
	out = put_int(out, BYTES_1, pair->name.n);
	for (size_t i = 0; i < pair->name.n; i++) *out++ = zbz_loki_name_byte(pair->name.p[i], i == 0);
	out = put_int(out, BYTES_2, zbz_loki_clean_size(pair->value));
	return zbz_loki_clean_put(out, pair->value);
}

static char *put_entry(const zbz_loki_push *p, const zbz_record *r, char *out) {
	zbz_loki_pair pairs[ZBZ_LOKI_PAIRS];
	size_t n = zbz_loki_pairs(p, r, pairs);
	int64_t at = zbz_loki_at(r);
	bool cut;
	zbz_bytes line = zbz_loki_line(p, r, &cut);
	out = put_int(out, BYTES_1, time_size(at));
	out = put_int(out, INT_1, (uint64_t)(at / SECOND));
	out = put_int(out, INT_2, (uint64_t)(at % SECOND));
	out = put_int(out, BYTES_2, line.n + (cut ? sizeof ZBZ_LOKI_MARK - 1 : 0));
	if (line.n > 0) out = zbz_put(out, line.p, line.n);
	if (cut) out = zbz_put(out, ZBZ_LOKI_MARK, sizeof ZBZ_LOKI_MARK - 1);
	for (size_t i = 0; i < n; i++) out = put_pair(out, &pairs[i]);
	return out;
}

static zbz_status put_stream(zbz_loki_push *p, size_t index, zbz_buf *names, zbz_err *err) {
	const zbz_loki_stream *stream = &p->streams[index];
	const zbz_loki_entry *entries = (const zbz_loki_entry *)(const void *)p->entries.p;
	zbz_status s;
	size_t size;
	char *out;
	names->n = 0;
	s = zbz_loki_labels_put(p->labels, false, stream->level, stream->logger, names, err);
	if (s != ZBZ_OK) return s;
	size = framed(names->n) + stream->bytes;
	s = zbz_buf_reserve(&p->body, framed(size), err);
	if (s != ZBZ_OK) return s;
	out = put_int(p->body.p + p->body.n, BYTES_1, size);
	out = put_int(out, BYTES_1, names->n);
	out = zbz_put(out, names->p, names->n);
	for (size_t i = 0; i < p->n; i++) {
		if (entries[i].stream != index) continue;
		out = put_int(out, BYTES_2, entries[i].size);
		out = put_entry(p, &p->records[i], out);
	}
	p->body.n = (size_t)(out - p->body.p);
	return ZBZ_OK;
}

zbz_status zbz_loki_proto_body(zbz_loki_push *p, zbz_err *err) {
	const zbz_loki_entry *entries = (const zbz_loki_entry *)(const void *)p->entries.p;
	zbz_buf names = { 0 };
	zbz_status s = ZBZ_OK;
	for (size_t i = 0; i < p->n; i++) p->streams[entries[i].stream].bytes += framed(entries[i].size);
	for (size_t i = 0; i < p->streams_n && s == ZBZ_OK; i++) s = put_stream(p, i, &names, err);
	zbz_buf_clear(&names);
	return s;
}
