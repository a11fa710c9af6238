/* A record as one line of JSON: time, level, logger and message first, then the fields. */
#include "line.h"

#define CLOSING sizeof ",\"truncated\":true}\n"

static char *put_cut(char *p, char *end, zbz_bytes s, bool *cut) {
	size_t room = (size_t)(end - p), n;
	if (room < 8) {
		*cut = true;
		return zbz_put(p, "null", 4);
	}
	n = zbz_fit(s.p, s.n, room - 8);
	p = zbz_put_json(p, s.p, n);
	if (n == s.n) return p;
	*cut = true;
	return zbz_put(p - 1, "...\"", 4);
}

static inline char *put_text(char *p, char *end, zbz_bytes s, bool *cut) {
	if (ZBZ_LIKELY((size_t)(end - p) >= 6 * s.n + 16)) return zbz_put_json(p, s.p, s.n);
	return put_cut(p, end, s, cut);
}

static char *put_bytes(char *p, char *end, zbz_bytes s, bool *cut) {
	size_t most = (size_t)(end - p) > 16 ? ((size_t)(end - p) - 16) / 4 * 3 : 0;
	if (s.n > most) *cut = true;
	*p++ = '"';
	p = zbz_put_base64(p, s.p, s.n > most ? most : s.n);
	*p++ = '"';
	return p;
}

static char *put_pack(char *p, char *end, zbz_bytes pack, bool *cut) {
	char *after = zbz_put_pack(pack, false, p, end);
	if (after != NULL) return after;
	*cut = true;
	return zbz_put(p, "\"...\"", 5);
}

static inline char *put_field(const zbz_field *f, char *p, char *end, bool *cut) {
	const zbz_log_key *k = f->key;
	if (ZBZ_UNLIKELY((size_t)(end - p) < (size_t)k->json_n + ZBZ_SCALAR_TEXT)) {
		*cut = true;
		return p;
	}
	p = zbz_put_padded(p, k->text + k->n, k->json_n); /* a scalar's room is left behind it */
	switch (f->type) {
	case ZBZ_FIELD_TEXT: return put_text(p, end, f->v.s, cut);
	case ZBZ_FIELD_INT: return p + zbz_int_write(p, f->v.i);
	case ZBZ_FIELD_BYTES: return put_bytes(p, end, f->v.s, cut);
	case ZBZ_FIELD_PACK:
	case ZBZ_FIELD_ERROR: return put_pack(p, end, f->v.s, cut);
	default: return zbz_put_scalar(p, f, true);
	}
}

char *zbz_fields_json(const zbz_field *fields, size_t n, char *p, char *end, bool *cut) {
	for (size_t i = 0; i < n; i++) p = put_field(&fields[i], p, end, cut);
	return p;
}

size_t zbz_line_json(const zbz_line *line, char *out, size_t room, bool *cut) {
	char *p = out, *end = out + room - CLOSING;
	bool missing = line->cut;
	p = zbz_put(p, "{\"time\":\"", 9);
	p = zbz_put(p, line->date, ZBZ_DATE_TEXT);
	*p++ = '.';
	p = zbz_put_nano(p, (uint32_t)(line->at % 1000000000));
	p = zbz_put(p, line->head.p, line->head.n);
	/* A long message leaves half of the room to the fields. */
	p = put_text(p, line->msg.n * 6 > room / 2 ? p + (end - p) / 2 : end, line->msg, &missing);
	if ((size_t)(end - p) >= line->bound.n) {
		p = zbz_put(p, line->bound.p, line->bound.n);
	} else {
		missing = true;
	}
	p = zbz_fields_json(line->base, line->base_n, p, end, &missing);
	p = zbz_fields_json(line->fields, line->n, p, end, &missing);
	if (missing) p = zbz_put(p, ",\"truncated\":true", 17);
	p = zbz_put(p, "}\n", 2);
	*cut = missing;
	return (size_t)(p - out);
}

/* ---- room ---- */

size_t zbz_fields_most(const zbz_field *fields, size_t n) {
	size_t most = 0;
	for (size_t i = 0; i < n; i++) {
		const zbz_field *f = &fields[i];
		most += f->key->json_n + ZBZ_SCALAR_TEXT + 24u; /* colours */
		if (f->type == ZBZ_FIELD_TEXT || f->type >= ZBZ_FIELD_PACK) most += 7 * f->v.s.n;
		if (f->type == ZBZ_FIELD_BYTES) most += 2 * f->v.s.n;
	}
	return most;
}

size_t zbz_line_most(const zbz_line *line) {
	return ZBZ_SCALAR_TEXT + line->head.n + 12 * line->msg.n + line->bound.n +
	       zbz_fields_most(line->base, line->base_n) + zbz_fields_most(line->fields, line->n) + 128;
}
