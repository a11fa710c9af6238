/* Lua values to JSON. */
#include "codec_internal.h"

static const char hex[] = "0123456789abcdef";
static const char short_escapes[] = {
	['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r', ['"'] = '"', ['\\'] = '\\'
};

/* A byte that cannot stand for itself; at most 6 come of it. */
static char *put_escape(char *p, unsigned char c) {
	*p++ = '\\';
	if (short_escapes[c] != 0) {
		*p++ = short_escapes[c];
		return p;
	}
	memcpy(p, "u00", 3);
	p[3] = hex[c >> 4];
	p[4] = hex[c & 15];
	return p + 5;
}

static bool put_byte(zbz_encoder *e, char c) {
	char *p = zbz_encode_room(e, 1);
	if (p == NULL) return false;
	*p = c;
	e->out->n++;
	return true;
}

/* Eight bytes at a time while they stand for themselves; the room is always enough for the rest as it is plus one
 * such step. */
static bool put_string(zbz_encoder *e, const char *s, size_t n) {
	const char *end = s + n, *run, *bad;
	char *p = zbz_encode_room(e, n + 16);
	if (p == NULL) return false;
	*p++ = '"';
	while (s < end) {
		unsigned char c;
		if (end - s >= 8) {
			uint64_t v = zbz_load8(s), hits = zbz_json_special(v);
			memcpy(p, &v, 8);
			if (hits == 0) {
				s += 8;
				p += 8;
				continue;
			}
			s += zbz_plain_bytes(hits);
			p += zbz_plain_bytes(hits);
		}
		c = (unsigned char)*s;
		if (c >= 0x80) {
			run = s;
			s = zbz_utf8_run(s, end, &bad);
			if (s == NULL) return zbz_encode_refuse(e, "a string that is not valid UTF-8 (use msgpack or bytes)");
			memcpy(p, run, (size_t)(s - run));
			p += s - run;
		} else if (c >= 0x20 && c != '"' && c != '\\') {
			*p++ = (char)c;
			s++;
		} else {
			p = put_escape(p, c);
			s++;
			e->out->n = (size_t)(p - e->out->p);
			p = zbz_encode_room(e, (size_t)(end - s) + 16);
			if (p == NULL) return false;
		}
	}
	*p++ = '"';
	e->out->n = (size_t)(p - e->out->p);
	return true;
}

static bool put_number(zbz_encoder *e, int idx) {
	int64_t i;
	double d;
	char *p = zbz_encode_room(e, ZBZ_NUMBER_TEXT);
	if (p == NULL) return false;
	if (zbz_number_at(e->L, idx, &i, &d)) {
		e->out->n += zbz_int_write(p, i);
		return true;
	}
	if (isnan(d)) return zbz_encode_refuse(e, "NaN");
	if (isinf(d)) return zbz_encode_refuse(e, "an infinity");
	e->out->n += zbz_double_write(p, d);
	return true;
}

static bool put_word(zbz_encoder *e, const char *word, size_t n) {
	char *p = zbz_encode_room(e, 8);
	if (p == NULL) return false;
	memcpy(p, word, n);
	e->out->n += n;
	return true;
}

static bool put_array(zbz_encoder *e, int idx, size_t n) {
	size_t i;
	if (!put_byte(e, '[')) return false;
	for (i = 1; i <= n; i++) {
		if (i > 1 && !put_byte(e, ',')) return false;
		lua_rawgeti(e->L, idx, (int)i);
		if (!zbz_json_value(e, idx + 1)) return zbz_encode_under_index(e, i);
		lua_pop(e->L, 1);
	}
	return put_byte(e, ']');
}

static bool put_key(zbz_encoder *e, int key_idx) {
	size_t n;
	const char *key;
	if (lua_type(e->L, key_idx) != LUA_TSTRING)
		return zbz_encode_refuse(e, "a table with keys that are neither 1..n nor all strings");
	key = lua_tolstring(e->L, key_idx, &n);
	if (!put_string(e, key, n)) {
		return e->status == ZBZ_E_ENCODE ? zbz_encode_refuse(e, "a key that is not valid UTF-8 (use msgpack)") : false;
	}
	return put_byte(e, ':');
}

static bool put_object(zbz_encoder *e, int idx) {
	bool first = true;
	if (!put_byte(e, '{')) return false;
	lua_pushnil(e->L);
	while (lua_next(e->L, idx)) {
		if (!first && !put_byte(e, ',')) return false;
		if (!put_key(e, idx + 1)) return false;
		if (!zbz_json_value(e, idx + 2)) return zbz_encode_under(e, idx + 1);
		lua_pop(e->L, 1);
		first = false;
	}
	return put_byte(e, '}');
}

static bool put_table(zbz_encoder *e, int idx) {
	size_t n;
	bool ok;
	if (!zbz_encode_enter(e)) return false;
	switch (zbz_table_shape(e, idx, &n)) {
	case ZBZ_SHAPE_ARRAY: ok = put_array(e, idx, n); break;
	case ZBZ_SHAPE_OBJECT: ok = put_object(e, idx); break;
	case ZBZ_SHAPE_BROKEN: return zbz_encode_refuse(e, "an array with holes or other keys than 1..n");
	default: return zbz_encode_refuse(e, "a table with mixed or sparse keys (JSON wants 1..n or strings)");
	}
	e->depth--;
	return ok;
}

bool zbz_json_value(zbz_encoder *e, int idx) {
	lua_State *L = e->L;
	const char *s;
	size_t n;
	switch (lua_type(L, idx)) {
	case LUA_TSTRING: s = lua_tolstring(L, idx, &n); return put_string(e, s, n);
	case LUA_TNUMBER: return put_number(e, idx);
	case LUA_TTABLE: return put_table(e, idx);
	case LUA_TBOOLEAN: return lua_toboolean(L, idx) ? put_word(e, "true", 4) : put_word(e, "false", 5);
	case LUA_TLIGHTUSERDATA:
		if (lua_touserdata(L, idx) == NULL) return put_word(e, "null", 4);
		/* fall through */
	default: return zbz_encode_refuse_type(e, idx);
	}
}
