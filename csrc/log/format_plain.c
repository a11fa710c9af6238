/* logfmt, and the console format for people: the same fields, another beginning. */
#include "line.h"

#define CLOSING sizeof " truncated=true\n"

static bool plain(zbz_bytes s) {
	if (s.n == 0) return false;
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (c <= 0x20 || c >= 0x7F || c == '"' || c == '=' || c == '\\') return false;
	}
	return true;
}

static char *put_text(char *p, char *end, zbz_bytes s, bool *cut) {
	size_t room = (size_t)(end - p), n;
	if (room >= s.n && plain(s)) return zbz_put(p, s.p, s.n);
	if (room >= 6 * s.n + 16) return zbz_put_quoted(p, s.p, s.n);
	if (room < 8) {
		*cut = true;
		return p;
	}
	n = zbz_fit(s.p, s.n, room - 8);
	p = zbz_put_quoted(p, s.p, n);
	if (n == s.n) return p;
	*cut = true;
	return zbz_put(p - 1, "...\"", 4);
}

/* With quotes where its padding would look like the end of a name. */
static char *put_bytes(char *p, char *end, zbz_bytes s, bool *cut) {
	size_t most = (size_t)(end - p) > 16 ? ((size_t)(end - p) - 16) / 4 * 3 : 0;
	bool quoted;
	if (s.n > most) {
		*cut = true;
		s.n = most;
	}
	quoted = s.n % 3 != 0 || s.n == 0;
	if (quoted) *p++ = '"';
	p = zbz_put_base64(p, s.p, s.n);
	if (quoted) *p++ = '"';
	return p;
}

/* People read {"a":1} better than "{\"a\":1}". */
static char *put_pack(char *p, char *end, zbz_bytes pack, bool console, bool *cut) {
	char *after;
	if (console) {
		after = zbz_put_pack(pack, false, p, end);
	} else {
		*p = '"';
		after = zbz_put_pack(pack, true, p + 1, end - 1);
		if (after != NULL) *after++ = '"';
	}
	if (after != NULL) return after;
	*cut = true;
	return zbz_put(p, "...", 3);
}

/* "timeout: no answer within 5s", as tostring would say. */
static char *put_error(char *p, char *end, zbz_bytes pack, bool *cut) {
	zbz_bytes code, message;
	char text[512];
	size_t n = 0;
	if (!zbz_unpack_text(pack, "message", &message)) return put_pack(p, end, pack, false, cut);
	if (zbz_unpack_text(pack, "code", &code) && code.n + 2 < sizeof text / 2) {
		memcpy(text, code.p, code.n);
		memcpy(text + code.n, ": ", 2);
		n = code.n + 2;
	}
	if (message.n > sizeof text - n) message.n = sizeof text - n;
	memcpy(text + n, message.p, message.n);
	return put_text(p, end, zbz_b(text, n + message.n), cut);
}

static char *put_field(const zbz_field *f, bool console, bool colour, char *p, char *end, bool *cut) {
	const zbz_log_key *k = f->key;
	if ((size_t)(end - p) < (size_t)k->plain_n + ZBZ_SCALAR_TEXT + 16) {
		*cut = true;
		return p;
	}
	if (colour) p = zbz_put(p, "\033[2m", 4);
	p = zbz_put(p, k->text + k->n + k->json_n, k->plain_n);
	if (colour) p = zbz_put(p, "\033[0m", 4);
	switch (f->type) {
	case ZBZ_FIELD_TEXT: return put_text(p, end, f->v.s, cut);
	case ZBZ_FIELD_BYTES: return put_bytes(p, end, f->v.s, cut);
	case ZBZ_FIELD_PACK: return put_pack(p, end, f->v.s, console, cut);
	case ZBZ_FIELD_ERROR: return put_error(p, end, f->v.s, cut);
	default: return zbz_put_scalar(p, f, false);
	}
}

char *zbz_fields_plain(const zbz_field *fields, size_t n, bool console, bool colour, char *p, char *end, bool *cut) {
	for (size_t i = 0; i < n; i++) p = put_field(&fields[i], console, colour, p, end, cut);
	return p;
}

/* The part behind the message, alike in all. */
static size_t finish(const zbz_line *line, bool console, bool colour, char *out, char *p, char *end, bool missing,
                     bool *cut) {
	if ((size_t)(end - p) >= line->bound.n) {
		p = zbz_put(p, line->bound.p, line->bound.n);
	} else {
		missing = true;
	}
	p = zbz_fields_plain(line->base, line->base_n, console, colour, p, end, &missing);
	p = zbz_fields_plain(line->fields, line->n, console, colour, p, end, &missing);
	if (missing) p = zbz_put(p, " truncated=true", 15);
	*p++ = '\n';
	*cut = missing;
	return (size_t)(p - out);
}

size_t zbz_line_logfmt(const zbz_line *line, char *out, size_t room, bool *cut) {
	char *p = out, *end = out + room - CLOSING;
	bool missing = line->cut;
	p = zbz_put(p, "time=", 5);
	p = zbz_put(p, line->date, ZBZ_DATE_TEXT);
	*p++ = '.';
	p = zbz_put_nano(p, (uint32_t)(line->at % 1000000000));
	p = zbz_put(p, line->head.p, line->head.n);
	p = put_text(p, line->msg.n * 6 > room / 2 ? p + (end - p) / 2 : end, line->msg, &missing);
	return finish(line, false, false, out, p, end, missing, cut);
}

size_t zbz_line_console(const zbz_line *line, bool colour, char *out, size_t room, bool *cut) {
	char *p = out, *end = out + room - CLOSING;
	bool missing = line->cut;
	uint32_t ms = (uint32_t)(line->at % 1000000000) / 1000000;
	size_t n = line->msg.n;
	p = zbz_put(p, line->date, ZBZ_DATE_TEXT);
	*p++ = '.';
	*p++ = (char)('0' + ms / 100);
	*p++ = (char)('0' + ms / 10 % 10);
	*p++ = (char)('0' + ms % 10);
	p = zbz_put(p, line->head.p, line->head.n);
	if (6 * n > (size_t)(end - p) / 2) {
		n = zbz_fit(line->msg.p, n, (size_t)(end - p) / 2);
		missing = missing || n < line->msg.n;
	}
	p = zbz_put_tame(p, line->msg.p, n);
	if (n < line->msg.n) p = zbz_put(p, "...", 3);
	return finish(line, true, colour, out, p, end, missing, cut);
}
