/* One record on its way to text: what the formatters get. They write at most `room` bytes and never fail: what does not fit is
 * left out, and the line says so. */
#ifndef ZBZ_LOG_LINE_H
#define ZBZ_LOG_LINE_H

#include "base/text.h"

#include <zbz/log.h>

/* A field's name under one configuration. The text holds the name, then how it begins in JSON (,"name":), then in the other formats ( name=). */
struct zbz_log_key {
	uint64_t order; /* the first 8 bytes, to sort by */
	uint16_t n, json_n, plain_n;
	uint8_t redact; /* zbz_redact */
	bool duration;  /* its numbers are seconds, shown as text */
	bool special;   /* one of the two */
	char text[];    /* and 16 bytes more */
};

static inline zbz_bytes zbz_key_name(const zbz_log_key *k) { return zbz_b(k->text, k->n); }

typedef struct zbz_line {
	int64_t at;
	const char *date; /* 2026-11-21T11:04:11 */
	zbz_bytes head;   /* what stands between the time and the message */
	zbz_bytes msg;
	zbz_bytes bound; /* fields that are text already */
	const zbz_field *base, *fields;
	size_t base_n, n;
	bool cut; /* something is missing already */
} zbz_line;

#define ZBZ_DATE_TEXT  19
#define ZBZ_LINE_LEAST 1024 /* the smallest limit of a record: heads always fit */

/* A room that is enough for the whole line. */
size_t zbz_line_most(const zbz_line *line);
/* room >= ZBZ_LINE_LEAST. Ends with \n. */
size_t zbz_line_json(const zbz_line *line, char *out, size_t room, bool *cut);
size_t zbz_line_logfmt(const zbz_line *line, char *out, size_t room, bool *cut);
size_t zbz_line_console(const zbz_line *line, bool colour, char *out, size_t room, bool *cut);
static inline size_t zbz_line_write(const zbz_line *line, zbz_format format, char *out, size_t room, bool *cut) {
	switch (format) {
	case ZBZ_FORMAT_LOGFMT: return zbz_line_logfmt(line, out, room, cut);
	case ZBZ_FORMAT_CONSOLE: return zbz_line_console(line, false, out, room, cut);
	case ZBZ_FORMAT_COLOUR: return zbz_line_console(line, true, out, room, cut);
	default: return zbz_line_json(line, out, room, cut);
	}
}
/* Appends fields alone, as they stand inside a line of that format; room as above. */
char *zbz_fields_json(const zbz_field *fields, size_t n, char *p, char *end, bool *cut);
char *zbz_fields_plain(const zbz_field *fields, size_t n, bool console, bool colour, char *p, char *end, bool *cut);
size_t zbz_fields_most(const zbz_field *fields, size_t n);

/* ---- parts ---- */

/* All of these need room for 6 bytes of every one and a few more; json with its quotes. */
ZBZ_API char *zbz_put_json(char *p, const char *s, size_t n); /* also for plug-ins, as zbz_unpack */
/* The same between quotes for terminals: no DEL, no reordering of text. */
char *zbz_put_quoted(char *p, const char *s, size_t n);
/* As it is, but for what a terminal would obey. */
char *zbz_put_tame(char *p, const char *s, size_t n);
/* How many bytes of s take at most `room` when escaped; never inside a character. */
size_t zbz_fit(const char *s, size_t n, size_t room);

/* Numbers, times, durations, null, booleans; room ZBZ_SCALAR_TEXT. `json`: what is no number there becomes null or gets quotes. */
#define ZBZ_SCALAR_TEXT 48
char *zbz_put_scalar(char *p, const zbz_field *f, bool json);
char *zbz_put_date(char *p, int64_t seconds); /* 19 bytes */
char *zbz_put_time(char *p, int64_t at);      /* with nanoseconds and Z, 30 bytes */
char *zbz_put_span(char *p, int64_t ns);      /* 42ms, 1m30s */
char *zbz_put_base64(char *p, const char *s, size_t n);
static inline char *zbz_put(char *p, const char *s, size_t n) {
	memcpy(p, s, n);
	return p + n;
}
/* The same with 16 more bytes behind both, faster where n is not known beforehand. */
static inline char *zbz_put_padded(char *p, const char *s, size_t n) {
	for (size_t i = 0; i < n; i += 16) memcpy(p + i, s + i, 16);
	return p + n;
}
static inline char *zbz_put2(char *p, uint32_t v) {
	p[0] = (char)('0' + v / 10);
	p[1] = (char)('0' + v % 10);
	return p + 2;
}
/* 9 digits, in parts that do not wait for each other. */
static inline char *zbz_put_nano(char *p, uint32_t ns) {
	uint32_t high = ns / 10000, low = ns % 10000, middle = high % 10000;
	*p++ = (char)('0' + high / 10000);
	p = zbz_put2(zbz_put2(p, middle / 100), middle % 100);
	return zbz_put2(zbz_put2(p, low / 100), low % 100);
}

/* MessagePack as JSON, at most up to end; NULL when it does not fit or is broken. `quoting` escapes it once more, to stand between quotes. */
char *zbz_put_pack(zbz_bytes pack, bool quoting, char *p, char *end);

/* ---- reading MessagePack ---- */

typedef enum zbz_item_kind {
	ZBZ_ITEM_NIL,
	ZBZ_ITEM_BOOL,
	ZBZ_ITEM_INT,
	ZBZ_ITEM_UINT,
	ZBZ_ITEM_DOUBLE,
	ZBZ_ITEM_TEXT,
	ZBZ_ITEM_ARRAY,
	ZBZ_ITEM_MAP
} zbz_item_kind;
typedef struct zbz_item {
	zbz_item_kind kind;
	size_t n; /* of arrays and maps */
	union {
		bool b;
		int64_t i;
		uint64_t u;
		double d;
		zbz_bytes s;
	} v;
} zbz_item;
/* One step: a container's members follow. false at the end and for what is broken or an extension. */
ZBZ_API bool zbz_unpack(zbz_bytes *in, zbz_item *out);
/* The text of a key in a map at the top. */
bool zbz_unpack_text(zbz_bytes map, const char *key, zbz_bytes *out);
bool zbz_unpack_skip(zbz_bytes *in);
#define ZBZ_NEST_MAX 32 /* deeper ones are not read */

#endif
