/* RFC 5424 and RFC 6587. The text goes without a byte order mark: it is MSG-ANY then, and what receivers store is the text alone. */
#include "syslog_frame.h"

#include "base/text.h"
#include "log/line.h"

#include <stdio.h>

enum { LENGTH_ROOM = 12, MARK_N = 3, LABEL_ROOM = 64 };

static const char mark[] = "...";

/* ---- names ---- */

static bool fits_name(char c, const char *but) { return c > ' ' && c < 0x7F && strchr(but, c) == NULL; }

bool zbz_syslog_name_ok(const char *text, size_t most, const char *but) {
	size_t n = 0;
	while (text[n] != '\0' && fits_name(text[n], but)) n++;
	return n >= 1 && n <= most && text[n] == '\0';
}

void zbz_syslog_name(zbz_bytes text, size_t most, const char *but, char *out) {
	size_t n = text.n < most ? text.n : most;
	for (size_t i = 0; i < n; i++) out[i] = fits_name(text.p[i], but) ? text.p[i] : '_';
	if (n == 0) out[n++] = '-';
	out[n] = '\0';
}

/* ---- header ---- */

static int severity(zbz_level level) {
	switch (level) {
	case ZBZ_LEVEL_FATAL: return 2;
	case ZBZ_LEVEL_ERROR: return 3;
	case ZBZ_LEVEL_WARN: return 4;
	case ZBZ_LEVEL_INFO: return 6;
	default: return 7;
	}
}

static zbz_status put_header(const zbz_syslog *s, const zbz_record *r, zbz_buf *out, zbz_err *err) {
	char date[ZBZ_DATE_TEXT], id[ZBZ_SYSLOG_ID + 1];
	int64_t seconds = r->head.at / 1000000000, ns = r->head.at % 1000000000;
	if (ns < 0) seconds--, ns += 1000000000;
	zbz_put_date(date, seconds);
	zbz_syslog_name(r->head.logger, ZBZ_SYSLOG_ID, "", id);
	return zbz_buf_printf(out, err, "<%d>1 %.*s.%06dZ %s %s %ld %s ", s->facility * 8 + severity(r->head.level),
	                      ZBZ_DATE_TEXT, date, (int)(ns / 1000), s->host, s->app, s->pid, id);
}

/* ---- structured data ---- */

/* One value, escaped; a control byte could end the message for a receiver that reads lines. */
static zbz_status put_value(zbz_bytes v, zbz_buf *out, zbz_err *err) {
	const unsigned char *p = (const unsigned char *)v.p, *end = p + v.n;
	zbz_status status = ZBZ_OK;
	while (p < end && status == ZBZ_OK) {
		size_t n = *p < 0x80 ? 1 : zbz_utf8_length(p, end);
		if (n == 0)
			status = zbz_buf_append(out, "\xEF\xBF\xBD", 3, err);
		else if (*p < ' ' || *p == 0x7F)
			status = zbz_buf_putc(out, '?', err);
		else if (*p == '"' || *p == '\\' || *p == ']')
			status = zbz_buf_printf(out, err, "\\%c", *p);
		else
			status = zbz_buf_append(out, p, n, err);
		p += n > 0 ? n : 1;
	}
	return status;
}

/* " name=value" in quotes. */
static zbz_status put_label(zbz_bytes name, zbz_bytes value, zbz_buf *out, zbz_err *err) {
	char key[ZBZ_SYSLOG_ID + 1];
	zbz_status status;
	zbz_syslog_name(name, ZBZ_SYSLOG_ID, "=]\"", key);
	status = zbz_buf_printf(out, err, " %s=\"", key);
	if (status == ZBZ_OK) status = put_value(value, out, err);
	return status == ZBZ_OK ? zbz_buf_putc(out, '"', err) : status;
}

/* `end`: where in `out` the message has to end at the latest; a label that leaves too little for the text is left out. */
static zbz_status put_labels(const zbz_syslog *s, zbz_bytes map, size_t end, zbz_buf *out, zbz_err *err) {
	zbz_item item, value;
	size_t begin = out->n;
	bool any = false;
	zbz_status status = zbz_buf_printf(out, err, "[%s", s->element);
	size_t left = map.n > 0 && zbz_unpack(&map, &item) && item.kind == ZBZ_ITEM_MAP ? item.n : 0;
	for (; left > 0 && status == ZBZ_OK && zbz_unpack(&map, &item) && zbz_unpack(&map, &value); left--) {
		size_t before = out->n;
		if (item.kind != ZBZ_ITEM_TEXT || value.kind != ZBZ_ITEM_TEXT) break;
		status = put_label(item.v.s, value.v.s, out, err);
		if (out->n + LABEL_ROOM > end)
			out->n = before;
		else
			any = true;
	}
	if (status != ZBZ_OK) return status;
	if (any) return zbz_buf_append(out, "] ", 2, err);
	out->n = begin;
	return zbz_buf_append(out, "- ", 2, err);
}

/* ---- the whole ---- */

static zbz_status put_text(zbz_bytes text, size_t end, zbz_buf *out, zbz_err *err) {
	size_t room = end > out->n ? end - out->n : 0, n;
	zbz_status status;
	if (text.n > 0 && text.p[text.n - 1] == '\n') text.n--;
	if (text.n <= room) return zbz_buf_append(out, text.p, text.n, err);
	n = zbz_utf8_cut(text, room > MARK_N ? room - MARK_N : 0);
	status = zbz_buf_append(out, text.p, n, err);
	return status == ZBZ_OK ? zbz_buf_append(out, mark, MARK_N, err) : status;
}

/* The length is known at last; it goes before what is there. */
static zbz_status put_length(size_t begin, zbz_buf *out, zbz_err *err) {
	char length[LENGTH_ROOM];
	size_t message = out->n - begin, n = (size_t)snprintf(length, sizeof length, "%zu ", message);
	zbz_status status = zbz_buf_reserve(out, n, err);
	if (status != ZBZ_OK) return status;
	memmove(out->p + begin + n, out->p + begin, message);
	memcpy(out->p + begin, length, n);
	out->n += n;
	return ZBZ_OK;
}

zbz_status zbz_syslog_put(const zbz_syslog *s, const zbz_record *r, bool stream, zbz_buf *out, zbz_err *err) {
	size_t begin = out->n, end = begin + s->most;
	zbz_status status = put_header(s, r, out, err);
	if (status == ZBZ_OK) status = put_labels(s, r->head.labels, end, out, err);
	if (status == ZBZ_OK) status = put_text(r->text, end, out, err);
	if (status == ZBZ_OK && stream) status = put_length(begin, out, err);
	return status;
}
