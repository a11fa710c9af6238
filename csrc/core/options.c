/* From what the user wrote to a plain struct, checked against what a provider declares. */
#include "config.h"

#include "base/nearest.h"
#include "base/scan.h"

#include <zbz/bucket.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#define MODE_MAX 07777
#define SHOWN    40

static void *field(const zbz_option *o, void *out) { return (char *)out + o->offset; }

/* ---- names ---- */

static const zbz_option *option_named(const zbz_option *options, const char *name) {
	for (const zbz_option *o = options; o->name != NULL; o++)
		if (strcmp(o->name, name) == 0 || (o->alias != NULL && strcmp(o->alias, name) == 0)) return o;
	return NULL;
}

static const char *nearest(const zbz_option *options, const char *name) {
	const char *best = NULL;
	size_t least = SIZE_MAX;
	for (const zbz_option *o = options; o->name != NULL; o++) {
		size_t d = zbz_edit_distance(name, o->name);
		if (o->alias != NULL && zbz_edit_distance(name, o->alias) < d) d = zbz_edit_distance(name, o->alias);
		if (d < least) least = d, best = o->name;
	}
	return best;
}

static zbz_status unknown_option(const zbz_option *options, const char *name, zbz_err *err) {
	char known[512];
	size_t n = 0;
	const char *best = nearest(options, name);
	zbz_status status;
	for (const zbz_option *o = options; o->name != NULL && n < sizeof known; o++)
		n += (size_t)snprintf(known + n, sizeof known - n, "%s%s", n > 0 ? ", " : "", o->name);
	if (best == NULL)
		status = zbz_fail(err, ZBZ_E_ARGUMENT, "unknown option '%.*s' (there are none)", SHOWN, name);
	else
		status =
		    zbz_fail(err, ZBZ_E_ARGUMENT, "unknown option '%.*s' (nearest: %s; known: %s)", SHOWN, name, best, known);
	if (err != NULL) snprintf(err->option, sizeof err->option, "%s", name);
	return status;
}

static zbz_status check_names(const zbz_config *cfg, const zbz_option *options, zbz_err *err) {
	for (size_t i = 0; i < cfg->n; i++) {
		const char *name = cfg->items[i].name;
		const zbz_option *o;
		if (strcmp(name, "provider") == 0) continue;
		o = option_named(options, name);
		if (o == NULL) return unknown_option(options, name, err);
		if (strcmp(name, o->name) != 0 && zbz_config_find(cfg, o->name) != NULL)
			return zbz_fail_option(err, o->name, "is given twice, also as '%s'", name);
	}
	return ZBZ_OK;
}

/* ---- values ---- */

typedef struct parse_job {
	const zbz_option *o;
	const zbz_setting *s;
	const zbz_clock *clock;
	zbz_err *err;
} parse_job;

static const char *kind_name(zbz_setting_kind kind) {
	static const char *const names[] = { "nothing",   "text",   "a whole number",     "a number",
		                                 "a boolean", "a list", "a table of options", "a store" };
	return names[kind];
}

static zbz_status expects(const parse_job *j, const char *what) {
	if (j->s->kind == ZBZ_SET_TEXT && j->o->type != ZBZ_OPT_SECRET)
		return zbz_fail_option(j->err, j->o->name, "expects %s, got '%.*s'", what, SHOWN, j->s->u.text);
	if (j->s->kind == ZBZ_SET_NUM) return zbz_fail_option(j->err, j->o->name, "expects %s, got %g", what, j->s->u.num);
	if (j->s->kind == ZBZ_SET_INT)
		return zbz_fail_option(j->err, j->o->name, "expects %s, got %" PRId64, what, j->s->u.i);
	return zbz_fail_option(j->err, j->o->name, "expects %s, got %s", what, kind_name(j->s->kind));
}

/* Gives a parser's complaint the option's name. */
static zbz_status named(const parse_job *j, zbz_status status) {
	if (status < 0 && j->err != NULL && j->err->option[0] == '\0')
		snprintf(j->err->option, sizeof j->err->option, "%s", j->o->name);
	return status;
}

static const char *bound_text(const zbz_option *o, int64_t v, char out[ZBZ_SCAN_TEXT]) {
	if (o->type == ZBZ_OPT_DURATION && v >= 0) return zbz_format_duration(v, out);
	if (o->type == ZBZ_OPT_SIZE && v >= 0) return zbz_format_size(v, out);
	snprintf(out, ZBZ_SCAN_TEXT, "%" PRId64, v);
	return out;
}

static zbz_status in_range(const parse_job *j, int64_t v) {
	const zbz_option *o = j->o;
	char low[ZBZ_SCAN_TEXT], high[ZBZ_SCAN_TEXT], got[ZBZ_SCAN_TEXT];
	bool any = o->min == 0 && o->max == 0;
	bool open_end = any || o->max < o->min;
	if (v >= o->min && (open_end || v <= o->max)) return ZBZ_OK;
	bound_text(o, o->min, low);
	bound_text(o, v, got);
	if (open_end) return zbz_fail_option(j->err, o->name, "must be at least %s, got %s", low, got);
	return zbz_fail_option(j->err, o->name, "must be from %s to %s, got %s", low, bound_text(o, o->max, high), got);
}

/* A double that is a whole number within int64_t. */
static bool whole(double v, int64_t *out) {
	if (!(v >= -9223372036854775808.0 && v < 9223372036854775808.0) || (double)(int64_t)v != v) return false;
	*out = (int64_t)v;
	return true;
}

static bool text_int(const char *text, int64_t *out) {
	const char *p = text + (*text == '-' || *text == '+');
	char *end;
	long long v;
	if (*p < '0' || *p > '9') return false;
	errno = 0;
	v = strtoll(text, &end, 10);
	*out = v;
	return errno == 0 && *end == '\0';
}

static zbz_status parse_text(const parse_job *j, void *out) {
	char number[64];
	zbz_bytes text;
	switch (j->s->kind) {
	case ZBZ_SET_TEXT: text = zbz_bstr(j->s->u.text); break;
	case ZBZ_SET_INT:
		snprintf(number, sizeof number, "%" PRId64, j->s->u.i);
		text = zbz_bstr(number);
		break;
	case ZBZ_SET_NUM:
		snprintf(number, sizeof number, "%.17g", j->s->u.num);
		text = zbz_bstr(number);
		break;
	default: return expects(j, "text");
	}
	*(char **)out = zbz_text_copy(text);
	return *(char **)out != NULL ? ZBZ_OK : zbz_fail_nomem(j->err);
}

static zbz_status parse_int(const parse_job *j, void *out) {
	int64_t v;
	zbz_status status;
	if (j->s->kind == ZBZ_SET_INT)
		v = j->s->u.i;
	else if (j->s->kind == ZBZ_SET_NUM ? !whole(j->s->u.num, &v)
	                                   : j->s->kind != ZBZ_SET_TEXT || !text_int(j->s->u.text, &v))
		return expects(j, "a whole number");
	if ((status = in_range(j, v)) == ZBZ_OK) *(int64_t *)out = v;
	return status;
}

static zbz_status parse_bool(const parse_job *j, void *out) {
	static const char *const words[] = { "false", "true", "0", "1", "no", "yes", "off", "on" };
	if (j->s->kind == ZBZ_SET_BOOL) {
		*(bool *)out = j->s->u.b;
		return ZBZ_OK;
	}
	if (j->s->kind == ZBZ_SET_INT && (j->s->u.i == 0 || j->s->u.i == 1)) {
		*(bool *)out = j->s->u.i == 1;
		return ZBZ_OK;
	}
	for (size_t i = 0; j->s->kind == ZBZ_SET_TEXT && i < sizeof words / sizeof *words; i++) {
		if (strcasecmp(j->s->u.text, words[i]) != 0) continue;
		*(bool *)out = i % 2 == 1;
		return ZBZ_OK;
	}
	return expects(j, "true or false");
}

static zbz_status parse_duration(const parse_job *j, void *out) {
	int64_t ms;
	zbz_status status;
	switch (j->s->kind) {
	case ZBZ_SET_TEXT: status = zbz_parse_duration(zbz_bstr(j->s->u.text), &ms, j->err); break;
	case ZBZ_SET_NUM: status = zbz_duration_from_seconds(j->s->u.num, &ms, j->err); break;
	case ZBZ_SET_INT:
		if (j->s->u.i < 0 || j->s->u.i > ZBZ_DURATION_MAX / 1000) return expects(j, "seconds >= 0");
		ms = j->s->u.i * 1000;
		status = ZBZ_OK;
		break;
	default: return expects(j, "a duration (seconds, or text like \"30m\")");
	}
	if (status == ZBZ_OK) status = in_range(j, ms);
	if (status == ZBZ_OK) *(int64_t *)out = ms;
	return named(j, status);
}

static zbz_status parse_size(const parse_job *j, void *out) {
	int64_t bytes;
	zbz_status status;
	switch (j->s->kind) {
	case ZBZ_SET_TEXT: status = zbz_parse_size(zbz_bstr(j->s->u.text), &bytes, j->err); break;
	case ZBZ_SET_NUM: status = zbz_size_from_number(j->s->u.num, &bytes, j->err); break;
	case ZBZ_SET_INT:
		bytes = j->s->u.i;
		status = ZBZ_OK;
		break;
	default: return expects(j, "a size (bytes, or text like \"50MB\")");
	}
	if (status == ZBZ_OK && bytes < 0) return expects(j, "bytes >= 0");
	if (status == ZBZ_OK) status = in_range(j, bytes);
	if (status == ZBZ_OK) *(int64_t *)out = bytes;
	return named(j, status);
}

static zbz_status parse_mode(const parse_job *j, void *out) {
	int64_t v = -1;
	if (j->s->kind == ZBZ_SET_TEXT) {
		const char *p = j->s->u.text;
		for (v = *p != '\0' ? 0 : -1; *p >= '0' && *p <= '7' && v <= MODE_MAX; p++) v = v * 8 + (*p - '0');
		if (*p != '\0') v = -1;
	} else if (j->s->kind == ZBZ_SET_INT) {
		v = j->s->u.i;
	} else if (j->s->kind != ZBZ_SET_NUM || !whole(j->s->u.num, &v)) {
		v = -1;
	}
	/* Lua has no octal: 0644 written as a number arrives as 644, which no one means as a bit pattern. */
	if (v < 0 || v > MODE_MAX || (v > 0777 && j->s->kind != ZBZ_SET_TEXT))
		return expects(j, "a file mode as octal text, like \"0644\"");
	*(int64_t *)out = v;
	return ZBZ_OK;
}

static zbz_status parse_enum(const parse_job *j, void *out) {
	const char *p = j->o->choices;
	size_t n = j->s->kind == ZBZ_SET_TEXT ? strlen(j->s->u.text) : 0;
	for (int i = 0; n > 0; i++) {
		size_t len = strcspn(p, "|");
		if (len == n && memcmp(p, j->s->u.text, n) == 0) {
			*(int *)out = i;
			return ZBZ_OK;
		}
		if (p[len] == '\0') break;
		p += len + 1;
	}
	if (j->s->kind != ZBZ_SET_TEXT)
		return zbz_fail_option(j->err, j->o->name, "expects one of %s, got %s", j->o->choices, kind_name(j->s->kind));
	return zbz_fail_option(j->err, j->o->name, "expects one of %s, got '%.*s'", j->o->choices, SHOWN, j->s->u.text);
}

static zbz_bytes trimmed(const char *p, size_t n) {
	while (n > 0 && (*p == ' ' || *p == '\t')) p++, n--;
	while (n > 0 && (p[n - 1] == ' ' || p[n - 1] == '\t')) n--;
	return zbz_b(p, n);
}

static zbz_status split_list(const parse_job *j, zbz_list *list) {
	const char *p = j->s->u.text;
	for (;;) {
		size_t n = strcspn(p, ",");
		zbz_bytes item = trimmed(p, n);
		zbz_status status = item.n > 0 ? zbz_list_add(list, item, j->err) : ZBZ_OK;
		if (status != ZBZ_OK || p[n] == '\0') return named(j, status);
		p += n + 1;
	}
}

static zbz_status parse_list(const parse_job *j, void *out) {
	zbz_status status = ZBZ_OK;
	if (j->s->kind == ZBZ_SET_TEXT) return split_list(j, out);
	if (j->s->kind != ZBZ_SET_LIST) return expects(j, "a list of texts");
	for (size_t i = 0; i < j->s->u.list.n && status == ZBZ_OK; i++)
		status = zbz_list_add(out, zbz_bstr(j->s->u.list.items[i]), j->err);
	return named(j, status);
}

/* Text alone names a provider, or is its URL. */
static zbz_status open_named(const parse_job *j, zbz_store **out) {
	char provider[] = "provider";
	zbz_setting only = { .name = provider, .kind = ZBZ_SET_TEXT, .u.text = j->s->u.text };
	zbz_config cfg = { &only, 1, 1, 0 };
	return zbz_store_open(&cfg, j->clock, out, j->err);
}

/* What failed below keeps its names; the text says the way there. */
static zbz_status below(const parse_job *j, zbz_status status) {
	zbz_err was;
	bool told;
	if (status >= 0 || j->err == NULL) return status;
	was = *j->err;
	told = strstr(was.text, was.option) != NULL;
	zbz_fail(j->err, was.status, "%s: %s%s%s", j->o->name, told ? "" : was.option, told ? "" : ": ", was.text);
	memcpy(was.text, j->err->text, sizeof was.text);
	*j->err = was;
	return named(j, status);
}

static zbz_status parse_store(const parse_job *j, void *out) {
	switch (j->s->kind) {
	case ZBZ_SET_STORE: *(zbz_store **)out = zbz_store_ref(j->s->u.store); return ZBZ_OK;
	case ZBZ_SET_CONFIG: return below(j, zbz_store_open(j->s->u.config, j->clock, out, j->err));
	case ZBZ_SET_TEXT: return below(j, open_named(j, out));
	default: return expects(j, "a provider (a table of options, a name or a store)");
	}
}

static zbz_status parse_bucket(const parse_job *j, void *out) {
	char provider[] = "provider";
	zbz_setting only = { .name = provider, .kind = ZBZ_SET_TEXT, .u.text = j->s->u.text };
	zbz_config named_only = { &only, 1, 1, 0 };
	if (j->s->kind == ZBZ_SET_CONFIG) return named(j, zbz_bucket_open(j->s->u.config, j->clock, out, j->err));
	if (j->s->kind == ZBZ_SET_TEXT) return named(j, zbz_bucket_open(&named_only, j->clock, out, j->err));
	return expects(j, "a bucket (a table of options with a provider, or a provider's name)");
}

static zbz_status parse_value(const parse_job *j, void *out) {
	switch (j->o->type) {
	case ZBZ_OPT_TEXT:
	case ZBZ_OPT_SECRET: return parse_text(j, out);
	case ZBZ_OPT_INT: return parse_int(j, out);
	case ZBZ_OPT_BOOL: return parse_bool(j, out);
	case ZBZ_OPT_DURATION: return parse_duration(j, out);
	case ZBZ_OPT_SIZE: return parse_size(j, out);
	case ZBZ_OPT_MODE: return parse_mode(j, out);
	case ZBZ_OPT_ENUM: return parse_enum(j, out);
	case ZBZ_OPT_LIST: return parse_list(j, out);
	case ZBZ_OPT_BUCKET: return parse_bucket(j, out);
	case ZBZ_OPT_STORE: return parse_store(j, out);
	}
	return zbz_fail(j->err, ZBZ_E_INTERNAL, "option '%s' has an unknown type", j->o->name);
}

static zbz_status parse_option(const zbz_config *cfg, const zbz_option *o, void *out, const zbz_clock *clock,
                               zbz_err *err) {
	zbz_setting dflt = { .kind = ZBZ_SET_TEXT };
	parse_job j = { o, zbz_config_find(cfg, o->name), clock, err };
	zbz_status status;
	if (j.s == NULL && o->alias != NULL) j.s = zbz_config_find(cfg, o->alias);
	if (j.s != NULL) return parse_value(&j, field(o, out));
	if (o->dflt == NULL) return ZBZ_OK;
	dflt.u.text = zbz_text_copy(zbz_bstr(o->dflt));
	if (dflt.u.text == NULL) return zbz_fail_nomem(err);
	j.s = &dflt;
	status = parse_value(&j, field(o, out));
	zbz_text_free(dflt.u.text);
	return status;
}

zbz_status zbz_options_parse_with(const zbz_config *cfg, const zbz_option *options, void *out, const zbz_clock *clock,
                                  zbz_err *err) {
	zbz_status status = check_names(cfg, options, err);
	for (const zbz_option *o = options; o->name != NULL && status == ZBZ_OK; o++)
		status = parse_option(cfg, o, out, clock, err);
	if (status != ZBZ_OK) zbz_options_clear(options, out);
	return status;
}

zbz_status zbz_options_parse(const zbz_config *cfg, const zbz_option *options, void *out, zbz_err *err) {
	return zbz_options_parse_with(cfg, options, out, NULL, err);
}

void zbz_options_clear(const zbz_option *options, void *out) {
	for (const zbz_option *o = options; o->name != NULL; o++) {
		void *f = field(o, out);
		switch (o->type) {
		case ZBZ_OPT_TEXT:
		case ZBZ_OPT_SECRET:
			zbz_text_free(*(char **)f);
			*(char **)f = NULL;
			break;
		case ZBZ_OPT_LIST: zbz_list_clear(f); break;
		case ZBZ_OPT_BUCKET:
			zbz_bucket_unref(*(zbz_bucket **)f);
			*(zbz_bucket **)f = NULL;
			break;
		case ZBZ_OPT_STORE:
			zbz_store_unref(*(zbz_store **)f);
			*(zbz_store **)f = NULL;
			break;
		case ZBZ_OPT_BOOL: *(bool *)f = false; break;
		case ZBZ_OPT_ENUM: *(int *)f = 0; break;
		case ZBZ_OPT_INT:
		case ZBZ_OPT_DURATION:
		case ZBZ_OPT_SIZE:
		case ZBZ_OPT_MODE: *(int64_t *)f = 0; break;
		}
	}
}
