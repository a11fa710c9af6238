/* Labels: the names of Loki's streams. Few and with few values, for each set of them is a stream of its own; what differs from record to record is
 * structured metadata. */
#include "sink_loki.h"

#include "base/text.h"
#include "log/line.h"

enum { NAME_MAX_BYTES = 1024, VALUE_MAX_BYTES = 2048 }; /* the server's limits */

static bool letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
static bool digit(char c) { return c >= '0' && c <= '9'; }

char zbz_loki_name_byte(char c, bool first) { return letter(c) || (!first && digit(c)) ? c : '_'; }

bool zbz_loki_same_name(zbz_bytes a, zbz_bytes b) {
	if (a.n != b.n) return false;
	for (size_t i = 0; i < a.n; i++)
		if (zbz_loki_name_byte(a.p[i], i == 0) != zbz_loki_name_byte(b.p[i], i == 0)) return false;
	return true;
}

/* ---- valid UTF-8 ---- */

size_t zbz_loki_clean_size(zbz_bytes s) {
	size_t size = 0;
	while (s.n > 0) {
		size_t good = zbz_utf8_span(s.p, s.n);
		size += good;
		if (good == s.n) break;
		size += 3;
		s = zbz_b(s.p + good + 1, s.n - good - 1);
	}
	return size;
}

char *zbz_loki_clean_put(char *p, zbz_bytes s) {
	while (s.n > 0) {
		size_t good = zbz_utf8_span(s.p, s.n);
		p = zbz_put(p, s.p, good);
		if (good == s.n) break;
		p = zbz_put(p, "\xEF\xBF\xBD", 3);
		s = zbz_b(s.p + good + 1, s.n - good - 1);
	}
	return p;
}

/* ---- one label ---- */

/* Between quotes, as Loki reads labels: Go's escapes. */
static zbz_status put_quoted(zbz_buf *b, zbz_bytes value, zbz_err *err) {
	size_t n = zbz_loki_clean_size(value), at;
	zbz_status s = zbz_buf_reserve(b, 7 * n + 2, err);
	char *p;
	if (s != ZBZ_OK) return s;
	p = b->p + b->n;
	at = b->cap - n; /* cleaned at the end of the room, escaped from there to the front: never overtaking itself */
	zbz_loki_clean_put(b->p + at, value);
	*p++ = '"';
	for (; n > 0; n--, at++) {
		unsigned char c = (unsigned char)b->p[at];
		if (c == '"' || c == '\\') *p++ = '\\';
		if (c >= 0x20 && c != 0x7F) {
			*p++ = (char)c;
			continue;
		}
		p = zbz_put(p, "\\u00", 4);
		*p++ = "0123456789abcdef"[c >> 4];
		*p++ = "0123456789abcdef"[c & 15];
	}
	*p++ = '"';
	b->n = (size_t)(p - b->p);
	return ZBZ_OK;
}

static zbz_status put_json(zbz_buf *b, zbz_bytes value, zbz_err *err) {
	zbz_status s = zbz_buf_reserve(b, 6 * value.n + 16, err);
	if (s == ZBZ_OK) b->n = (size_t)(zbz_put_json(b->p + b->n, value.p, value.n) - b->p);
	return s;
}

/* With a comma before it when something stands there already that is not the opening brace. */
static zbz_status put_label(zbz_buf *b, bool json, zbz_bytes name, zbz_bytes value, zbz_err *err) {
	bool first = b->n == 0 || b->p[b->n - 1] == '{';
	zbz_status s = ZBZ_OK;
	if (!first) s = zbz_buf_append(b, ", ", json ? 1 : 2, err);
	if (s == ZBZ_OK && json) s = zbz_buf_putc(b, '"', err);
	for (size_t i = 0; i < name.n && s == ZBZ_OK; i++) s = zbz_buf_putc(b, zbz_loki_name_byte(name.p[i], i == 0), err);
	if (s == ZBZ_OK) s = zbz_buf_append(b, json ? "\":" : "=", json ? 2 : 1, err);
	if (s != ZBZ_OK) return s;
	return json ? put_json(b, value, err) : put_quoted(b, value, err);
}

/* ---- the static ones ---- */

/* Names that say "another value for every record": a stream for each would be the end of any Loki. */
static const char *const unbounded[] = {
	"trace_id",   "traceid",        "span_id",     "spanid",         "request_id", "requestid",  "req_id",
	"user_id",    "userid",         "uid",         "customer_id",    "order_id",   "session_id", "sessionid",
	"message_id", "transaction_id", "connection",  "correlation_id", "uuid",       "guid",       "id",
	"ip",         "client_ip",      "remote_addr", "email",          "url",        "uri",        "path",
	"query",      "message",        "msg",         "line",           "error",      "time",       "timestamp",
	"ts",         "duration",       "latency",     "traceparent",
};

static bool is_unbounded(zbz_bytes name) {
	char lower[32];
	if (name.n >= sizeof lower) return false;
	for (size_t i = 0; i < name.n; i++) {
		char c = zbz_loki_name_byte(name.p[i], i == 0);
		lower[i] = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
	}
	for (size_t i = 0; i < sizeof unbounded / sizeof *unbounded; i++)
		if (zbz_bytes_eq(zbz_b(lower, name.n), zbz_bstr(unbounded[i]))) return true;
	return false;
}

static zbz_status check_label(zbz_bytes name, zbz_err *err) {
	if (name.n == 0) return zbz_fail_option(err, "labels", "a label has no name");
	if (name.n > NAME_MAX_BYTES)
		return zbz_fail_option(err, "labels", "a name is longer than %d bytes", NAME_MAX_BYTES);
	for (size_t i = 0; i < name.n; i++)
		if (!letter(name.p[i]) && !(i > 0 && (digit(name.p[i]) || name.p[i] == '.' || name.p[i] == '-')))
			return zbz_fail_option(err, "labels", "'%.*s' is no name of a label: letters, digits and _, no digit first",
			                       (int)(name.n < 60 ? name.n : 60), name.p);
	if (name.n > 1 && name.p[0] == '_' && name.p[1] == '_')
		return zbz_fail_option(err, "labels", "'%.*s': names that begin with __ belong to Loki",
		                       (int)(name.n < 60 ? name.n : 60), name.p);
	if (is_unbounded(name))
		return zbz_fail_option(err, "labels",
		                       "'%.*s' has a value for every record, each would be a stream of its own; use metadata",
		                       (int)name.n, name.p);
	return ZBZ_OK;
}

static zbz_status check_value(zbz_bytes name, zbz_bytes value, zbz_err *err) {
	const char *why = NULL;
	if (value.n == 0) why = "is empty";
	if (value.n > VALUE_MAX_BYTES) why = "is longer than 2048 bytes";
	if (zbz_utf8_span(value.p, value.n) != value.n) why = "is not UTF-8";
	if (why == NULL) return ZBZ_OK;
	return zbz_fail_option(err, "labels", "the value of '%.*s' %s", (int)(name.n < 60 ? name.n : 60), name.p, why);
}

static zbz_bytes name_of(const char *item) { return zbz_b(item, strcspn(item, "=")); }

static zbz_status check_alone(const zbz_list *labels, size_t i, const zbz_loki_options *o, zbz_err *err) {
	zbz_bytes name = name_of(labels->items[i]);
	if (o->level_as == ZBZ_LOKI_AS_LABEL && zbz_loki_same_name(name, zbz_bstr("level")))
		return zbz_fail_option(err, "labels",
		                       "level is the record's: write level_as = \"metadata\" to name one yourself");
	if (o->logger_as == ZBZ_LOKI_AS_LABEL && zbz_loki_same_name(name, zbz_bstr("logger")))
		return zbz_fail_option(err, "labels",
		                       "logger is the record's: write logger_as = \"metadata\" to name one yourself");
	for (size_t k = 0; k < i; k++)
		if (zbz_loki_same_name(name, name_of(labels->items[k])))
			return zbz_fail_option(err, "labels", "'%.60s' and '%.60s' are the same name for Loki", labels->items[k],
			                       labels->items[i]);
	return ZBZ_OK;
}

static zbz_status add(zbz_loki_labels *l, const char *item, zbz_err *err) {
	zbz_bytes name = name_of(item), value;
	zbz_status s;
	if (item[name.n] != '=') return zbz_fail_option(err, "labels", "expects name=value, got '%.60s'", item);
	value = zbz_bstr(item + name.n + 1);
	s = check_label(name, err);
	if (s == ZBZ_OK) s = check_value(name, value, err);
	if (s == ZBZ_OK) s = put_label(&l->text, false, name, value, err);
	if (s == ZBZ_OK) s = put_label(&l->json, true, name, value, err);
	return s;
}

zbz_status zbz_loki_labels_init(zbz_loki_labels *l, const zbz_loki_options *o, zbz_err *err) {
	size_t n = o->labels.n + (o->level_as == ZBZ_LOKI_AS_LABEL) + (o->logger_as == ZBZ_LOKI_AS_LABEL);
	zbz_status s = ZBZ_OK;
	l->level_as = o->level_as;
	l->logger_as = o->logger_as;
	if (n > ZBZ_LOKI_LABELS)
		return zbz_fail_option(err, "labels",
		                       "%zu labels, Loki takes %d; what differs from record to record is metadata", n,
		                       ZBZ_LOKI_LABELS);
	if (o->labels.n == 0 && o->level_as != ZBZ_LOKI_AS_LABEL)
		return zbz_fail_option(err, "labels", "a stream needs at least one");
	for (size_t i = 0; i < o->labels.n && s == ZBZ_OK; i++) {
		s = add(l, o->labels.items[i], err);
		if (s == ZBZ_OK) s = check_alone(&o->labels, i, o, err);
	}
	return s;
}

void zbz_loki_labels_clear(zbz_loki_labels *l) {
	zbz_buf_clear(&l->text);
	zbz_buf_clear(&l->json);
}

zbz_status zbz_loki_labels_put(const zbz_loki_labels *l, bool json, zbz_level level, zbz_bytes logger, zbz_buf *out,
                               zbz_err *err) {
	zbz_bytes fixed = zbz_buf_bytes(json ? &l->json : &l->text);
	zbz_status s = zbz_buf_putc(out, '{', err);
	if (s == ZBZ_OK) s = zbz_buf_append(out, fixed.p, fixed.n, err);
	if (s == ZBZ_OK && level != 0) s = put_label(out, json, zbz_bstr("level"), zbz_bstr(zbz_level_name(level)), err);
	if (s == ZBZ_OK && logger.n > 0) s = put_label(out, json, zbz_bstr("logger"), logger, err);
	return s == ZBZ_OK ? zbz_buf_putc(out, '}', err) : s;
}
