/* Records of the log: fields made of the input, in every format, with and without redaction and a limit. Lines stay lines, JSON stays JSON. */
#include "log/cipher.h"
#include "fuzz.h"

#include "../c/log_json.h"

#include <zbz/log.h>

/* The target's only output is the caller's own: these are never called. */
zbz_output *zbz_output_ref(zbz_output *o) { return o; }
void zbz_output_unref(zbz_output *o) { (void)o; }
char *zbz_output_reserve(zbz_output *o, const zbz_record_head *head, size_t most) {
	return (void)o, (void)head, (void)most, NULL;
}
void zbz_output_commit(zbz_output *o, size_t n) { (void)o, (void)n; }
bool zbz_output_append(zbz_output *o, const zbz_record_head *head, zbz_bytes text) {
	return (void)o, (void)head, (void)text, false;
}
zbz_status zbz_cipher_find(const zbz_cipher **cipher, zbz_err *err) {
	*cipher = NULL;
	return zbz_fail(err, ZBZ_E_UNSUPPORTED, "no plug-ins here");
}
void zbz_output_on_notice(zbz_output *o, zbz_notice_fn format, void *ud) { (void)o, (void)format, (void)ud; }

typedef struct reader {
	const uint8_t *p;
	size_t n;
} reader;

static unsigned byte(reader *r) {
	if (r->n == 0) return 0;
	r->n--;
	return *r->p++;
}

static zbz_bytes bytes(reader *r) {
	size_t n = byte(r);
	zbz_bytes s;
	if (n >= 250) n = r->n; /* all of the rest */
	if (n > r->n) n = r->n;
	s = zbz_b(r->p, n);
	r->p += n;
	r->n -= n;
	return s;
}

static zbz_log_view *view_of(unsigned kind) {
	static const zbz_log_redact_rule rules[] = {
		{ "p*", ZBZ_REDACT_MASK }, { "h?", ZBZ_REDACT_HASH }, { "q", ZBZ_REDACT_PARTIAL }, { "i", ZBZ_REDACT_IP }
	};
	static zbz_log_view *views[4];
	static const char *const names[] = { "own" }, *const durations[] = { "d*" };
	zbz_log_output_spec outputs[] = { { .name = "own" } };
	zbz_log_logger_spec loggers[] = {
		{ .name = "", .level = ZBZ_LEVEL_TRACE, .has_outputs = true, .outputs = names, .outputs_n = 1 }
	};
	zbz_log_settings set = { .outputs = outputs,
		                     .outputs_n = 1,
		                     .loggers = loggers,
		                     .loggers_n = 1,
		                     .durations = durations,
		                     .durations_n = 1,
		                     .hmac_key = zbz_bstr("0123456789abcdef") };
	zbz_log *log;
	if (views[kind] != NULL) return views[kind];
	if ((kind & 1) != 0) {
		set.redact = rules;
		set.redact_n = 4;
		set.scan = ZBZ_SCAN_SSN | ZBZ_SCAN_CARD | ZBZ_SCAN_EMAIL;
	}
	if ((kind & 2) != 0) set.max_record = 4096;
	log = zbz_log_new(NULL);
	HOLDS(log != NULL && zbz_log_configure(log, &set, NULL) == ZBZ_OK);
	views[kind] = zbz_log_view_new(log);
	HOLDS(views[kind] != NULL);
	return views[kind];
}

static size_t make(zbz_log_view *view, reader r, zbz_field *fields, size_t most) {
	size_t n = 0;
	while (r.n > 0 && n < most) {
		zbz_field *f = &fields[n++];
		unsigned type = byte(&r);
		f->key = zbz_log_key_of(view, bytes(&r));
		f->type = (zbz_field_type)(type % (ZBZ_FIELD_ERROR + 1));
		f->guard = type >= 240 ? (zbz_guard)(type % 3) : ZBZ_GUARD_NONE;
		f->v.u = 0;
		if (f->type == ZBZ_FIELD_TEXT || f->type == ZBZ_FIELD_BYTES || f->type >= ZBZ_FIELD_PACK) {
			f->v.s = bytes(&r);
		} else if (f->type == ZBZ_FIELD_BOOL) {
			f->v.b = byte(&r) & 1;
		} else {
			for (int i = 0; i < 8; i++) f->v.u = f->v.u << 8 | byte(&r);
		}
	}
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	static const zbz_format formats[] = { ZBZ_FORMAT_JSON, ZBZ_FORMAT_LOGFMT, ZBZ_FORMAT_CONSOLE, ZBZ_FORMAT_COLOUR };
	static zbz_buf out;
	reader r = { data, size };
	unsigned kind = byte(&r) & 3, bound = byte(&r) % 4;
	zbz_bytes name = bytes(&r), msg = bytes(&r);
	zbz_log_view *view = view_of(kind);
	zbz_logger *plain = zbz_logger_new(view, name), *l = plain;
	unsigned turn;
	HOLDS(plain != NULL);
	for (size_t k = 0; k < 4; k++) {
		zbz_field fields[ZBZ_LOG_FIELDS_MAX];
		size_t n;
		HOLDS(zbz_logger_wants(l, ZBZ_LEVEL_WARN, &turn));
		n = make(view, r, fields, ZBZ_LOG_FIELDS_MAX);
		if (k == 0 && bound < n) {
			l = zbz_logger_with(plain, fields, bound);
			HOLDS(l != NULL);
		}
		HOLDS(zbz_logger_write(l, ZBZ_LEVEL_WARN, msg, fields, n, (k & 1) != 0) == 1);
		out.n = 0;
		HOLDS(zbz_logger_render(l, formats[k], &out, NULL) == ZBZ_OK);
		HOLDS(out.n > 0 && out.p[out.n - 1] == '\n' && memchr(out.p, '\n', out.n - 1) == NULL);
		HOLDS((kind & 2) == 0 || out.n <= 4096);
		if (getenv("SHOW") != NULL) fwrite(out.p, 1, out.n, stderr);
		if (k == 0)
			HOLDS(json_is_object(out.p, out.n - 1));
		else
			HOLDS(line_is_tame(out.p, out.n - 1, formats[k] == ZBZ_FORMAT_COLOUR));
	}
	if (l != plain) zbz_logger_free(l);
	zbz_logger_free(plain);
	return 0;
}
