/* What the tests of the formatters share: a log whose lines the caller takes, fields in short, and what every line must be. */
#ifndef SPEC_FORMAT_RIG_H
#define SPEC_FORMAT_RIG_H

#include <stdio.h>

#include <zbz/log.h>
#include <zbz/pack.h>

#include "check.h"
#include "log_json.h"

static zbz_log *log_;
static zbz_log_view *view;
static zbz_logger *logger;
static zbz_buf out;

static const zbz_format formats[] = { ZBZ_FORMAT_JSON, ZBZ_FORMAT_LOGFMT, ZBZ_FORMAT_CONSOLE, ZBZ_FORMAT_COLOUR };

/* One output that the caller writes: everything up to the line, nothing of rings. */
static inline bool open_log(size_t max_record, const zbz_log_redact_rule *rules, size_t rules_n, unsigned scan) {
	static const char *const names[] = { "own" };
	static const char *const durations[] = { "latency" };
	zbz_log_output_spec outputs[] = { { .name = "own" } };
	zbz_log_logger_spec loggers[] = {
		{ .name = "", .level = ZBZ_LEVEL_TRACE, .has_outputs = true, .outputs = names, .outputs_n = 1 }
	};
	zbz_log_settings set = { .outputs = outputs,
		                     .outputs_n = 1,
		                     .loggers = loggers,
		                     .loggers_n = 1,
		                     .max_record = max_record,
		                     .redact = rules,
		                     .redact_n = rules_n,
		                     .scan = scan,
		                     .durations = durations,
		                     .durations_n = 1,
		                     .hmac_key = zbz_bstr("0123456789abcdef") };
	zbz_err err;
	log_ = zbz_log_new(NULL);
	if (log_ == NULL) return false;
	if (zbz_log_configure(log_, &set, &err) != ZBZ_OK) return false;
	view = zbz_log_view_new(log_);
	logger = view != NULL ? zbz_logger_new(view, zbz_bstr("a.b")) : NULL;
	return logger != NULL;
}

static inline void close_log(void) {
	zbz_logger_free(logger);
	zbz_log_view_free(view);
	zbz_log_free(log_);
	zbz_buf_clear(&out);
	logger = NULL;
	view = NULL;
	log_ = NULL;
}

static inline zbz_field text(const char *name, zbz_bytes s) {
	zbz_field f = { .key = zbz_log_key_of(view, zbz_bstr(name)), .type = ZBZ_FIELD_TEXT, .v = { .s = s } };
	return f;
}
static inline zbz_field number(const char *name, double d) {
	zbz_field f = { .key = zbz_log_key_of(view, zbz_bstr(name)), .type = ZBZ_FIELD_DOUBLE, .v = { .d = d } };
	return f;
}
static inline zbz_field integer(const char *name, int64_t i) {
	zbz_field f = { .key = zbz_log_key_of(view, zbz_bstr(name)), .type = ZBZ_FIELD_INT, .v = { .i = i } };
	return f;
}

static inline void begin(void) {
	unsigned turn;
	zbz_logger_wants(logger, ZBZ_LEVEL_INFO, &turn);
}

static inline const char *line(zbz_format format, zbz_bytes msg, zbz_field *fields, size_t n) {
	zbz_logger_write(logger, ZBZ_LEVEL_INFO, msg, fields, n, false);
	out.n = 0;
	if (zbz_logger_render(logger, format, &out, NULL) != ZBZ_OK || zbz_buf_putc(&out, '\0', NULL) != ZBZ_OK) return "";
	out.n--;
	return out.p;
}

static inline bool has(const char *what) { return memmem(out.p, out.n, what, strlen(what)) != NULL; }

/* Of the line just made. */
static inline bool sound(zbz_format format) {
	if (out.n == 0 || out.p[out.n - 1] != '\n') return false;
	if (!line_is_tame(out.p, out.n - 1, format == ZBZ_FORMAT_COLOUR))
		return format == ZBZ_FORMAT_JSON && json_is_object(out.p, out.n - 1);
	return format != ZBZ_FORMAT_JSON || json_is_object(out.p, out.n - 1);
}

#endif
