/* The Loki sink without a server: what its encoders make, read by readers of the tests' own, and what answers mean. */
#include "check.h"
#include "faults.h"
#include "log_json.h"

#include "../../csrc/provider/sink_loki_answer.c"
#include "../../csrc/provider/sink_loki_json.c"
#include "../../csrc/provider/sink_loki_labels.c"
#include "../../csrc/provider/sink_loki_proto.c"
#undef SECOND
#include "../../csrc/provider/sink_loki_push.c"

#include <zbz/pack.h>

static zbz_err err;
static bool says(const char *part) { return strstr(err.text, part) != NULL; }

/* ---- a reader of protobuf, as little of it as this needs ---- */

typedef struct field {
	unsigned number;
	uint64_t n; /* an integer, or */
	zbz_bytes s;
} field;

static bool read_int(zbz_bytes *in, uint64_t *v) {
	*v = 0;
	for (int shift = 0; in->n > 0 && shift < 64; shift += 7) {
		unsigned char c = (unsigned char)*in->p++;
		in->n--;
		*v |= (uint64_t)(c & 0x7F) << shift;
		if (c < 0x80) return true;
	}
	return false;
}

static bool read_field(zbz_bytes *in, field *f) {
	uint64_t tag;
	if (!read_int(in, &tag) || !read_int(in, &f->n)) return false;
	f->number = (unsigned)(tag >> 3);
	f->s = zbz_b(in->p, 0);
	if ((tag & 7) == 0) return true;
	if ((tag & 7) != 2 || f->n > in->n) return false;
	f->s.n = f->n;
	in->p += f->n;
	in->n -= f->n;
	return true;
}

typedef struct seen {
	size_t streams, entries, pairs;
	char labels[256], line[64], pair[64];
	int64_t at;
	bool ok;
} seen;

static void read_entry(zbz_bytes in, seen *s) {
	field f, t;
	while (in.n > 0 && (s->ok = s->ok && read_field(&in, &f))) {
		if (f.number == 1) {
			s->ok = read_field(&f.s, &t) && t.number == 1;
			s->at = (int64_t)t.n * 1000000000;
			s->ok = s->ok && read_field(&f.s, &t) && t.number == 2 && t.n < 1000000000 && f.s.n == 0;
			s->at += (int64_t)t.n;
		} else if (f.number == 2) {
			snprintf(s->line, sizeof s->line, "%.*s", (int)(f.s.n < 60 ? f.s.n : 60), f.s.p);
		} else {
			field name, value;
			s->ok = f.number == 3 && read_field(&f.s, &name) && read_field(&f.s, &value) && f.s.n == 0;
			if (s->ok)
				snprintf(s->pair, sizeof s->pair, "%.*s=%.*s", (int)name.s.n, name.s.p, (int)value.s.n, value.s.p);
			s->pairs++;
		}
	}
	s->entries++;
}

static seen read_body(zbz_bytes in) {
	seen s = { .ok = true };
	field stream, f;
	while (in.n > 0 && s.ok && (s.ok = read_field(&in, &stream) && stream.number == 1)) {
		s.streams++;
		while (stream.s.n > 0 && (s.ok = s.ok && read_field(&stream.s, &f))) {
			if (f.number == 1)
				snprintf(s.labels, sizeof s.labels, "%.*s", (int)f.s.n, f.s.p);
			else
				read_entry(f.s, &s);
		}
	}
	return s;
}

/* ---- encoding ---- */

typedef struct rig {
	zbz_loki_labels labels;
	zbz_loki_push push;
	char *items[3];
	zbz_loki_options o;
} rig;

static zbz_status rig_open(rig *r, int level_as, int logger_as) {
	memset(r, 0, sizeof *r);
	r->items[0] = (char *)(uintptr_t) "app=te\"st\\\n";
	r->items[1] = (char *)(uintptr_t) "a.b=x";
	r->o.labels = (zbz_list){ r->items, 2 };
	r->o.level_as = level_as;
	r->o.logger_as = logger_as;
	r->push.labels = &r->labels;
	r->push.max_line = 262144;
	return zbz_loki_labels_init(&r->labels, &r->o, &err);
}
static void rig_close(rig *r) {
	zbz_loki_push_clear(&r->push);
	zbz_loki_labels_clear(&r->labels);
}

static zbz_record record_of(int64_t at, zbz_level level, const char *logger, zbz_bytes labels, const char *text) {
	zbz_record r = { { at, level, zbz_bstr(logger), labels }, zbz_bstr(text) };
	return r;
}

static void one_entry(void) {
	rig r;
	zbz_buf map = { 0 };
	zbz_record rec;
	seen s;
	CHECK(rig_open(&r, ZBZ_LOKI_AS_LABEL, ZBZ_LOKI_AS_LABEL) == ZBZ_OK);
	zbz_pack_map(&map, 3, NULL);
	zbz_pack_str(&map, zbz_bstr("a.b"), NULL), zbz_pack_str(&map, zbz_bstr("1"), NULL);
	zbz_pack_str(&map, zbz_bstr("a-b"), NULL), zbz_pack_str(&map, zbz_bstr("the same name"), NULL);
	zbz_pack_str(&map, zbz_bstr("9x"), NULL), zbz_pack_str(&map, zbz_bstr("bad\xC3"), NULL);
	rec = record_of(1700000000123456789, ZBZ_LEVEL_WARN, "api\x01", zbz_buf_bytes(&map), "hello\n");
	CHECK(zbz_loki_push_fill(&r.push, false, &rec, 1, 1 << 20, &err) == ZBZ_OK && r.push.n == 1);
	s = read_body(zbz_buf_bytes(&r.push.body));
	CHECK(s.ok && s.streams == 1 && s.entries == 1 && s.pairs == 2 && s.at == 1700000000123456789);
	CHECK_STR(s.labels, "{app=\"te\\\"st\\\\\\u000a\", a_b=\"x\", level=\"warn\", logger=\"api\\u0001\"}");
	CHECK_STR(s.line, "hello");
	CHECK_STR(s.pair, "_x=bad\xEF\xBF\xBD");
	CHECK(zbz_loki_push_fill(&r.push, true, &rec, 1, 1 << 20, &err) == ZBZ_OK);
	CHECK(json_is_object(r.push.body.p, r.push.body.n));
	zbz_buf_putc(&r.push.body, '\0', NULL);
	CHECK_STR(r.push.body.p,
	          "{\"streams\":[{\"stream\":{\"app\":\"te\\\"st\\\\\\n\",\"a_b\":\"x\",\"level\":\"warn\",\"logger\":"
	          "\"api\\u0001\"},\"values\":[[\"1700000000123456789\",\"hello\",{\"a_b\":\"1\",\"_x\":"
	          "\"bad\xEF\xBF\xBD\"}]]}]}");
	zbz_buf_clear(&map);
	rig_close(&r);
}

/* What no program writes, but a damaged ring may hold. */
static void odd_records(void) {
	static const char *const maps[] = {
		"", "\xC0", "\x81", "\x82\xA1x\xA1y", "\x81\xA1x\x05", "\x81\x05\xA1x", "\xDF\xFF\xFF\xFF\xFF\xA1", "\x91\xA1x"
	};
	rig r;
	CHECK(rig_open(&r, ZBZ_LOKI_AS_METADATA, ZBZ_LOKI_AS_METADATA) == ZBZ_OK);
	for (size_t i = 0; i < sizeof maps / sizeof *maps; i++) {
		zbz_record rec = record_of(-5, (zbz_level)0, "", zbz_bstr(maps[i]), i % 2 == 0 ? "\n" : "");
		seen s;
		CHECK(zbz_loki_push_fill(&r.push, false, &rec, 1, 1, &err) == ZBZ_OK);
		s = read_body(zbz_buf_bytes(&r.push.body));
		CHECK(s.ok && s.entries == 1 && s.at == 0 && s.line[0] == '\0' && s.pairs == (i == 3 ? 2u : 1u));
		CHECK(zbz_loki_push_fill(&r.push, true, &rec, 1, 1, &err) == ZBZ_OK);
		CHECK(json_is_object(r.push.body.p, r.push.body.n));
	}
	rig_close(&r);
}

static void what_fits(void) {
	enum { N = 300 };
	static zbz_record recs[N];
	static char names[N][8];
	rig r;
	size_t bytes = 0;
	CHECK(rig_open(&r, ZBZ_LOKI_AS_LABEL, ZBZ_LOKI_AS_LABEL) == ZBZ_OK);
	for (int i = 0; i < N; i++) {
		snprintf(names[i], sizeof names[i], "l%d", i % 70);
		recs[i] = record_of(1000 + i, ZBZ_LEVEL_INFO, names[i], zbz_b("", 0), "0123456789\n");
	}
	CHECK(zbz_loki_push_fill(&r.push, false, recs, N, 1 << 20, &err) == ZBZ_OK);
	CHECK(r.push.n == ZBZ_LOKI_STREAMS &&
	      r.push.streams_n == ZBZ_LOKI_STREAMS); /* the next one would be a 65th stream */
	for (int i = 0; i < N; i++) recs[i].head.logger = zbz_bstr("same");
	for (size_t most = 1; most < 4000; most += 37) {
		seen s;
		CHECK(zbz_loki_push_fill(&r.push, false, recs, N, most, &err) == ZBZ_OK && r.push.n >= 1);
		CHECK(r.push.n == 1 || r.push.bytes <= most);
		CHECK(r.push.bytes >= bytes);
		bytes = r.push.bytes;
		s = read_body(zbz_buf_bytes(&r.push.body));
		CHECK(s.ok && s.entries == r.push.n && s.at == 1000 + (int64_t)r.push.n - 1);
	}
	rig_close(&r);
}

static void cut_lines(void) {
	rig r;
	bool cut;
	zbz_record rec =
	    record_of(1, ZBZ_LEVEL_INFO, "", zbz_b("", 0), "\xE2\x82\xAC\xE2\x82\xAC\xE2\x82\xAC\xE2\x82\xAC\n");
	CHECK(rig_open(&r, ZBZ_LOKI_AS_LABEL, ZBZ_LOKI_AS_LABEL) == ZBZ_OK);
	r.push.max_line = 12;
	CHECK(zbz_loki_line(&r.push, &rec, &cut).n == 12 && !cut);
	r.push.max_line = 11;
	CHECK(zbz_loki_line(&r.push, &rec, &cut).n == 3 && cut); /* 11 less the mark is 5 */
	rec.text = zbz_bstr("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80");
	CHECK(zbz_loki_line(&r.push, &rec, &cut).n == 2 && cut); /* no text at all: not eaten up either */
	rig_close(&r);
}

/* ---- memory ---- */

static void memory_fails(void) {
	static zbz_record recs[40];
	zbz_buf map = { 0 };
	long live;
	bool failed = true;
	zbz_pack_map(&map, 1, NULL);
	zbz_pack_str(&map, zbz_bstr("trace_id"), NULL), zbz_pack_str(&map, zbz_bstr("abc"), NULL);
	for (int i = 0; i < 40; i++)
		recs[i] = record_of(i + 1, (zbz_level)(1 + i % 6), i % 2 == 0 ? "a" : "b", zbz_buf_bytes(&map),
		                    "a line of some length\n");
	for (long n = 1; failed; n++) {
		zbz_loki_verdicts v = { .at = 0 };
		zbz_status s[4] = { ZBZ_OK, ZBZ_OK, ZBZ_OK, ZBZ_OK };
		rig r;
		faults_begin(n);
		s[0] = rig_open(&r, ZBZ_LOKI_AS_LABEL, ZBZ_LOKI_AS_LABEL);
		if (s[0] == ZBZ_OK) s[1] = zbz_loki_push_fill(&r.push, false, recs, 40, 1 << 20, &err);
		if (s[0] == ZBZ_OK && s[1] == ZBZ_OK) s[2] = zbz_loki_push_fill(&r.push, true, recs, 40, 1 << 20, &err);
		if (s[2] == ZBZ_OK) s[3] = zbz_loki_verdicts_reserve(&v, 40, &err);
		zbz_buf_clear(&v.list);
		rig_close(&r);
		failed = faults_end(&live);
		CHECK(live == 0);
		CHECK(failed == (s[0] != ZBZ_OK || s[1] != ZBZ_OK || s[2] != ZBZ_OK || s[3] != ZBZ_OK));
	}
	zbz_buf_clear(&map);
}

/* ---- answers ---- */

static zbz_loki_meaning judged(long status, const char *body) {
	char password[] = "hunter2";
	zbz_loki_target t = { .url = (char *)(uintptr_t) "http://h/p", .password = password };
	zbz_loki_answer a = { .status = status, .n = strlen(body) };
	memcpy(a.text, body, a.n + 1);
	memset(&err, 0, sizeof err);
	return zbz_loki_judge(&t, &a, &err);
}

static void meanings(void) {
	static const long ways[] = { 301, 302, 307, 401, 403, 404, 405, 408, 415, 429, 500, 502, 503, 504, 100, 0 };
	CHECK(judged(204, "") == ZBZ_LOKI_TAKEN && judged(200, "") == ZBZ_LOKI_TAKEN);
	for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
		CHECK(judged(ways[i], "x") == ZBZ_LOKI_LATER && err.retryable && err.status < 0);
	CHECK(judged(401, "no") == ZBZ_LOKI_LATER && err.status == ZBZ_E_DENIED);
	CHECK(judged(413, "") == ZBZ_LOKI_TOO_LARGE && !err.retryable);
	CHECK(judged(400, "line one\nline \x01two \n") == ZBZ_LOKI_REFUSED && !err.retryable);
	CHECK_STR(err.text, "Loki answered 400: line one?line ?two (http://h/p)");
	CHECK(judged(422, "hunter2 is wrong") == ZBZ_LOKI_REFUSED && !says("hunter2") && says("422"));
}

static void verdicts(void) {
	static const char behind[] = "entry too far behind ... total ignored: 2 out of 3 for stream: {}";
	zbz_record recs[4];
	zbz_loki_push p = { .records = recs, .n = 3, .streams_n = 1 };
	zbz_loki_answer a = { .status = 400, .n = sizeof behind - 1 };
	zbz_loki_verdicts v = { .at = 0 };
	zbz_err why = { .status = ZBZ_E_ARGUMENT };
	size_t done = 0;
	for (int i = 0; i < 4; i++) recs[i] = record_of(i + 1, ZBZ_LEVEL_INFO, "", zbz_b("", 0), "x\n");
	memcpy(a.text, behind, sizeof behind);
	CHECK(zbz_loki_verdicts_reserve(&v, 3, &err) == ZBZ_OK);
	CHECK(zbz_loki_verdicts_apply(&v, recs, 4, &done, &err) == ZBZ_OK && done == 0); /* nothing is known */
	zbz_loki_verdicts_take(&v, &p, &a, &why);
	CHECK(zbz_loki_verdicts_apply(&v, recs, 4, &done, &err) == ZBZ_E_ARGUMENT && done == 0);
	done = 0;
	CHECK(zbz_loki_verdicts_apply(&v, recs + 1, 3, &done, &err) == ZBZ_E_ARGUMENT && done == 0);
	CHECK(zbz_loki_verdicts_apply(&v, recs + 2, 2, &done, &err) == ZBZ_OK &&
	      done == 1); /* stored; of the last nothing is known */
	/* Of several streams Loki tells about one: all count as refused. */
	p.streams_n = 2;
	zbz_loki_verdicts_take(&v, &p, &a, &why);
	for (int i = 0; i < 3; i++) {
		done = 0;
		CHECK(zbz_loki_verdicts_apply(&v, recs + i, (size_t)(4 - i), &done, &err) == ZBZ_E_ARGUMENT && done == 0);
	}
	/* Numbers that do not fit the push are not believed. */
	p.streams_n = 1;
	p.n = 2;
	zbz_loki_verdicts_take(&v, &p, &a, &why);
	CHECK(zbz_loki_verdicts_apply(&v, recs, 4, &done, &err) == ZBZ_E_ARGUMENT);
	/* Another batch: forgotten. */
	done = 0;
	CHECK(zbz_loki_verdicts_apply(&v, recs + 3, 1, &done, &err) == ZBZ_OK && done == 0);
	CHECK(zbz_loki_verdicts_apply(&v, recs + 1, 1, &done, &err) == ZBZ_OK && done == 0);
	zbz_buf_clear(&v.list);
}

int main(void) {
	RUN(one_entry);
	RUN(odd_records);
	RUN(what_fits);
	RUN(cut_lines);
	RUN(memory_fails);
	RUN(meanings);
	RUN(verdicts);
	return DONE();
}
