/* Which records go into one push, and the parts each of them consists of. */
#include "sink_loki.h"

#include "base/text.h"
#include "log/line.h"

void zbz_loki_push_clear(zbz_loki_push *p) {
	zbz_buf_clear(&p->entries);
	zbz_buf_clear(&p->body);
}

/* ---- parts of a record ---- */

zbz_bytes zbz_loki_line(const zbz_loki_push *p, const zbz_record *r, bool *cut) {
	zbz_bytes line = r->text;
	size_t mark = sizeof ZBZ_LOKI_MARK - 1;
	if (line.n > 0 && line.p[line.n - 1] == '\n') line.n--;
	*cut = line.n > p->max_line;
	if (!*cut) return line;
	line.n = zbz_utf8_cut(line, p->max_line - mark);
	return line;
}

static size_t add_pair(zbz_loki_pair *out, size_t n, zbz_bytes name, zbz_bytes value) {
	if (n == ZBZ_LOKI_PAIRS || name.n == 0) return n;
	for (size_t i = 0; i < n; i++)
		if (zbz_loki_same_name(out[i].name, name)) return n;
	out[n] = (zbz_loki_pair){ name, value };
	return n + 1;
}

size_t zbz_loki_pairs(const zbz_loki_push *p, const zbz_record *r, zbz_loki_pair out[ZBZ_LOKI_PAIRS]) {
	zbz_bytes in = r->head.labels;
	zbz_item map, name, value;
	size_t n = 0;
	if (p->labels->level_as == ZBZ_LOKI_AS_METADATA)
		n = add_pair(out, n, zbz_bstr("level"), zbz_bstr(zbz_level_name(r->head.level)));
	if (p->labels->logger_as == ZBZ_LOKI_AS_METADATA && r->head.logger.n > 0)
		n = add_pair(out, n, zbz_bstr("logger"), r->head.logger);
	if (!zbz_unpack(&in, &map) || map.kind != ZBZ_ITEM_MAP) return n;
	for (size_t i = 0; i < map.n; i++) {
		if (!zbz_unpack(&in, &name) || name.kind != ZBZ_ITEM_TEXT) break;
		if (!zbz_unpack(&in, &value) || value.kind != ZBZ_ITEM_TEXT) break;
		n = add_pair(out, n, name.v.s, value.v.s);
	}
	return n;
}

/* ---- which go ---- */

static size_t stream_of(zbz_loki_push *p, const zbz_record *r) {
	zbz_loki_stream s = { .logger = zbz_b("", 0) };
	if (p->labels->level_as == ZBZ_LOKI_AS_LABEL) s.level = r->head.level;
	if (p->labels->logger_as == ZBZ_LOKI_AS_LABEL) s.logger = r->head.logger;
	for (size_t i = 0; i < p->streams_n; i++)
		if (p->streams[i].level == s.level && zbz_bytes_eq(p->streams[i].logger, s.logger)) return i;
	if (p->streams_n == ZBZ_LOKI_STREAMS) return ZBZ_LOKI_STREAMS;
	p->streams[p->streams_n] = s;
	return p->streams_n++;
}

/* A length and its tag, at most. */
enum { FRAME = 6 };

static zbz_status choose(zbz_loki_push *p, size_t n, size_t most, zbz_err *err) {
	zbz_status s = zbz_buf_reserve(&p->entries, n * sizeof(zbz_loki_entry), err);
	zbz_loki_entry *list;
	if (s != ZBZ_OK) return s;
	list = (zbz_loki_entry *)(void *)p->entries.p;
	p->bytes = 0;
	for (p->n = 0; p->n < n; p->n++) {
		const zbz_record *r = &p->records[p->n];
		size_t size = zbz_loki_proto_size(p, r), stream;
		if (p->n > 0 && p->bytes + size + FRAME > most) break;
		stream = stream_of(p, r);
		if (stream == ZBZ_LOKI_STREAMS) break;
		list[p->n] = (zbz_loki_entry){ (uint32_t)stream, (uint32_t)size };
		p->bytes += size + FRAME;
	}
	return ZBZ_OK;
}

zbz_status zbz_loki_push_fill(zbz_loki_push *p, bool json, const zbz_record *records, size_t n, size_t most,
                              zbz_err *err) {
	zbz_status s;
	p->records = records;
	p->streams_n = 0;
	zbz_buf_reset(&p->entries);
	zbz_buf_reset(&p->body);
	s = choose(p, n, most, err);
	if (s != ZBZ_OK) return s;
	return json ? zbz_loki_json_body(p, err) : zbz_loki_proto_body(p, err);
}
