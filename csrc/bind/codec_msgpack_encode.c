/* Lua values to MessagePack (github.com/msgpack/msgpack, spec.md), always in the shortest form. */
#include "codec_internal.h"

/* Most significant byte first. */
static char *put_big_endian(char *p, uint64_t v, unsigned bytes) {
	unsigned i;
	for (i = bytes; i-- > 0; v >>= 8) p[i] = (char)(v & 0xFF);
	return p + bytes;
}
static char *put_tagged(char *p, unsigned tag, uint64_t v, unsigned bytes) {
	*p++ = (char)tag;
	return put_big_endian(p, v, bytes);
}

static char *put_positive(char *p, uint64_t v) {
	if (v < 0x80) return put_big_endian(p, v, 1);
	if (v <= UINT8_MAX) return put_tagged(p, 0xCC, v, 1);
	if (v <= UINT16_MAX) return put_tagged(p, 0xCD, v, 2);
	if (v <= UINT32_MAX) return put_tagged(p, 0xCE, v, 4);
	return put_tagged(p, 0xCF, v, 8);
}
static char *put_negative(char *p, int64_t v) {
	if (v >= -32) return put_big_endian(p, (uint64_t)v, 1);
	if (v >= INT8_MIN) return put_tagged(p, 0xD0, (uint64_t)v, 1);
	if (v >= INT16_MIN) return put_tagged(p, 0xD1, (uint64_t)v, 2);
	if (v >= INT32_MIN) return put_tagged(p, 0xD2, (uint64_t)v, 4);
	return put_tagged(p, 0xD3, (uint64_t)v, 8);
}

static bool put_number(zbz_encoder *e, int idx) {
	int64_t i;
	uint64_t bits;
	double d;
	char *p = zbz_encode_room(e, 9);
	if (p == NULL) return false;
	if (zbz_number_at(e->L, idx, &i, &d)) {
		p = i < 0 ? put_negative(p, i) : put_positive(p, (uint64_t)i);
	} else {
		memcpy(&bits, &d, sizeof bits);
		p = put_tagged(p, 0xCB, bits, 8);
	}
	e->out->n = (size_t)(p - e->out->p);
	return true;
}

static bool put_string(zbz_encoder *e, int idx) {
	size_t n;
	const char *s = lua_tolstring(e->L, idx, &n);
	bool text = zbz_utf8_span(s, n) == n;
	char *p;
	if (n > UINT32_MAX) return zbz_encode_refuse(e, "a string of more than 4 GB");
	p = zbz_encode_room(e, n + 5);
	if (p == NULL) return false;
	if (text && n < 32)
		*p++ = (char)(0xA0 | n);
	else if (n <= UINT8_MAX)
		p = put_tagged(p, text ? 0xD9 : 0xC4, n, 1);
	else if (n <= UINT16_MAX)
		p = put_tagged(p, text ? 0xDA : 0xC5, n, 2);
	else
		p = put_tagged(p, text ? 0xDB : 0xC6, n, 4);
	memcpy(p, s, n);
	e->out->n = (size_t)(p + n - e->out->p);
	return true;
}

/* Array or map header: `fix` has the count in its low 4 bits, `wide` and wide + 1 have it in 16 and 32. */
static char *put_count(char *p, unsigned fix, unsigned wide, size_t n) {
	if (n < 16) return put_big_endian(p, fix | n, 1);
	if (n <= UINT16_MAX) return put_tagged(p, wide, n, 2);
	return put_tagged(p, wide + 1, n, 4);
}

static bool put_array(zbz_encoder *e, int idx, size_t n) {
	size_t i;
	char *p = zbz_encode_room(e, 5);
	if (p == NULL) return false;
	e->out->n = (size_t)(put_count(p, 0x90, 0xDC, n) - e->out->p);
	for (i = 1; i <= n; i++) {
		lua_rawgeti(e->L, idx, (int)i);
		if (!zbz_msgpack_value(e, idx + 1)) return zbz_encode_under_index(e, i);
		lua_pop(e->L, 1);
	}
	return true;
}

static bool put_key(zbz_encoder *e, int key_idx) {
	int type = lua_type(e->L, key_idx);
	int64_t i;
	double d;
	if (type == LUA_TSTRING) return put_string(e, key_idx);
	if (type == LUA_TNUMBER && zbz_number_at(e->L, key_idx, &i, &d)) return put_number(e, key_idx);
	return zbz_encode_refuse(e, "a table with keys that are neither strings nor integers");
}

/* The count is known last: one byte is kept for it, and larger counts move the entries up. */
static bool put_map(zbz_encoder *e, int idx) {
	size_t n = 0, start = e->out->n, wide;
	char *p = zbz_encode_room(e, 5);
	if (p == NULL) return false;
	e->out->n++;
	lua_pushnil(e->L);
	while (lua_next(e->L, idx)) {
		if (!put_key(e, idx + 1)) return false;
		if (!zbz_msgpack_value(e, idx + 2)) return zbz_encode_under(e, idx + 1);
		lua_pop(e->L, 1);
		n++;
	}
	wide = n < 16 ? 0 : n <= UINT16_MAX ? 2 : 4;
	if (zbz_encode_room(e, wide) == NULL) return false;
	p = e->out->p + start;
	if (wide != 0) memmove(p + 1 + wide, p + 1, e->out->n - start - 1);
	put_count(p, 0x80, 0xDE, n);
	e->out->n += wide;
	return true;
}

static bool put_table(zbz_encoder *e, int idx) {
	size_t n;
	bool ok;
	if (!zbz_encode_enter(e)) return false;
	switch (zbz_table_shape(e, idx, &n)) {
	case ZBZ_SHAPE_ARRAY: ok = put_array(e, idx, n); break;
	case ZBZ_SHAPE_BROKEN: return zbz_encode_refuse(e, "an array with holes or other keys than 1..n");
	default: ok = put_map(e, idx);
	}
	e->depth--;
	return ok;
}

static bool put_byte(zbz_encoder *e, unsigned byte) {
	char *p = zbz_encode_room(e, 1);
	if (p == NULL) return false;
	*p = (char)byte;
	e->out->n++;
	return true;
}

bool zbz_msgpack_value(zbz_encoder *e, int idx) {
	lua_State *L = e->L;
	switch (lua_type(L, idx)) {
	case LUA_TSTRING: return put_string(e, idx);
	case LUA_TNUMBER: return put_number(e, idx);
	case LUA_TTABLE: return put_table(e, idx);
	case LUA_TBOOLEAN: return put_byte(e, lua_toboolean(L, idx) ? 0xC3 : 0xC2);
	case LUA_TLIGHTUSERDATA:
		if (lua_touserdata(L, idx) == NULL) return put_byte(e, 0xC0);
		/* fall through */
	default: return zbz_encode_refuse_type(e, idx);
	}
}
