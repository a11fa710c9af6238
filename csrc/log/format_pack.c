/* Nested values as JSON inside a line. Never the common case, so every byte is checked for room. */
#include "line.h"

#include <math.h>

typedef struct writer {
	char *p, *end;
	bool quoting;
} writer;

static bool put(writer *w, const char *s, size_t n) {
	if (!w->quoting) {
		if ((size_t)(w->end - w->p) < n) return false;
		w->p = zbz_put(w->p, s, n);
		return true;
	}
	for (size_t i = 0; i < n; i++) {
		if (w->end - w->p < 2) return false;
		if (s[i] == '"' || s[i] == '\\') *w->p++ = '\\';
		*w->p++ = s[i];
	}
	return true;
}

static bool put_text(writer *w, zbz_bytes s) {
	char part[6 * 128 + 16];
	size_t at = 0;
	if (!put(w, "\"", 1)) return false;
	while (at < s.n) {
		size_t n = s.n - at < 128 ? s.n - at : 128;
		char *end;
		while (n < s.n - at && n > 1 && ((unsigned char)s.p[at + n] & 0xC0) == 0x80) n--; /* not inside a character */
		end = zbz_put_quoted(part, s.p + at, n);
		if (!put(w, part + 1, (size_t)(end - part) - 2)) return false;
		at += n;
	}
	return put(w, "\"", 1);
}

static bool put_scalar(writer *w, const zbz_item *item) {
	char text[ZBZ_SCALAR_TEXT];
	zbz_field f = { NULL, ZBZ_FIELD_NULL, ZBZ_GUARD_NONE, { false } };
	switch (item->kind) {
	case ZBZ_ITEM_BOOL:
		f.type = ZBZ_FIELD_BOOL;
		f.v.b = item->v.b;
		break;
	case ZBZ_ITEM_INT:
		f.type = ZBZ_FIELD_INT;
		f.v.i = item->v.i;
		break;
	case ZBZ_ITEM_UINT:
		f.type = ZBZ_FIELD_UINT;
		f.v.u = item->v.u;
		break;
	case ZBZ_ITEM_DOUBLE:
		f.type = ZBZ_FIELD_DOUBLE;
		f.v.d = item->v.d;
		break;
	default: break;
	}
	return put(w, text, (size_t)(zbz_put_scalar(text, &f, true) - text));
}

static bool put_value(writer *w, zbz_bytes *in, int depth);

/* JSON wants texts as keys: other scalars get quotes. */
static bool put_name(writer *w, zbz_bytes *in) {
	zbz_item item;
	if (!zbz_unpack(in, &item) || item.kind >= ZBZ_ITEM_ARRAY) return false;
	if (item.kind == ZBZ_ITEM_TEXT) return put_text(w, item.v.s);
	return put(w, "\"", 1) && put_scalar(w, &item) && put(w, "\"", 1);
}

#define NAMES 128 /* of one map that are told apart from those behind them; Lua's tables have fewer */

typedef struct shown_names {
	struct {
		uint32_t at, n;
	} list[NAMES];
	size_t n;
} shown_names;

/* A name as it is written, from `from` on: numbers and texts, and bytes that are no text, may look alike. */
static bool is_new(shown_names *names, const writer *w, const char *begin, const char *from) {
	uint32_t at = (uint32_t)(from - begin), n = (uint32_t)(w->p - from);
	for (size_t i = 0; i < names->n; i++) {
		if (names->list[i].n == n && memcmp(begin + names->list[i].at, from, n) == 0) return false;
	}
	if (names->n < NAMES) {
		names->list[names->n].at = at;
		names->list[names->n++].n = n;
	}
	return true;
}

static bool put_list(writer *w, zbz_bytes *in, size_t n, int depth) {
	if (!put(w, "[", 1)) return false;
	for (size_t i = 0; i < n; i++) {
		if (i > 0 && !put(w, ",", 1)) return false;
		if (!put_value(w, in, depth + 1)) return false;
	}
	return put(w, "]", 1);
}

/* A name once: the first that looks so. */
static bool put_map(writer *w, zbz_bytes *in, size_t n, int depth) {
	shown_names names;
	const char *begin = w->p;
	names.n = 0;
	if (!put(w, "{", 1)) return false;
	for (size_t i = 0; i < n; i++) {
		char *before = w->p, *from;
		if (i > 0 && !put(w, ",", 1)) return false;
		from = w->p;
		if (!put_name(w, in)) return false;
		if (is_new(&names, w, begin, from)) {
			if (!put(w, ":", 1) || !put_value(w, in, depth + 1)) return false;
		} else {
			w->p = before;
			if (!zbz_unpack_skip(in)) return false;
		}
	}
	return put(w, "}", 1);
}

static bool put_value(writer *w, zbz_bytes *in, int depth) {
	zbz_item item;
	if (!zbz_unpack(in, &item)) return false;
	if (item.kind >= ZBZ_ITEM_ARRAY && depth >= ZBZ_NEST_MAX) return false;
	if (item.kind == ZBZ_ITEM_ARRAY) return put_list(w, in, item.n, depth);
	if (item.kind == ZBZ_ITEM_MAP) return put_map(w, in, item.n, depth);
	return item.kind == ZBZ_ITEM_TEXT ? put_text(w, item.v.s) : put_scalar(w, &item);
}

char *zbz_put_pack(zbz_bytes pack, bool quoting, char *p, char *end) {
	writer w = { p, end, quoting };
	return put_value(&w, &pack, 0) && pack.n == 0 ? w.p : NULL;
}
