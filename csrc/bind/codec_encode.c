/* What the encoders share: shapes of tables, and the story of a failure. */
#include "codec_internal.h"

#include <stdio.h>

bool zbz_encode_refuse(zbz_encoder *e, const char *what) {
	e->status = ZBZ_E_ENCODE;
	e->what = what;
	return false;
}

bool zbz_encode_refuse_type(zbz_encoder *e, int idx) {
	switch (lua_type(e->L, idx)) {
	case LUA_TNIL:
	case LUA_TNONE: return zbz_encode_refuse(e, "nil (zbz.null is the explicit null)");
	case LUA_TFUNCTION: return zbz_encode_refuse(e, "a function");
	case LUA_TTHREAD: return zbz_encode_refuse(e, "a coroutine");
	case LUA_TLIGHTUSERDATA:
		return zbz_encode_refuse(e, lua_touserdata(e->L, idx) == NULL ? "zbz.null" : "a light userdata");
	case LUA_TUSERDATA: return zbz_encode_refuse(e, "a userdata");
	case LUA_TBOOLEAN: return zbz_encode_refuse(e, "a boolean");
	case LUA_TNUMBER: return zbz_encode_refuse(e, "a number");
	case LUA_TTABLE: return zbz_encode_refuse(e, "a table");
	default: return zbz_encode_refuse(e, "a cdata"); /* LuaJIT's own type */
	}
}

/* The path grows at its front; when it is full the innermost part gives way. */
static bool put_before(zbz_encoder *e, const char *part, size_t n) {
	size_t keep = e->path_n;
	if (e->what == NULL) return false;
	if (n + keep > sizeof e->path) {
		keep = sizeof e->path - n;
		e->path_cut = true;
	}
	memmove(e->path + n, e->path, keep);
	memcpy(e->path, part, n);
	e->path_n = n + keep;
	return false;
}

bool zbz_encode_under_index(zbz_encoder *e, size_t i) {
	char part[32];
	int n = snprintf(part, sizeof part, "[%zu]", i);
	return put_before(e, part, (size_t)n);
}

bool zbz_encode_under(zbz_encoder *e, int key_idx) {
	char part[48];
	size_t n, i, len = 1;
	const char *key;
	if (lua_type(e->L, key_idx) == LUA_TNUMBER) {
		int k = snprintf(part, sizeof part, "[%.14g]", (double)lua_tonumber(e->L, key_idx));
		return put_before(e, part, (size_t)k);
	}
	key = lua_tolstring(e->L, key_idx, &n);
	part[0] = '.';
	for (i = 0; i < n && len < sizeof part - 3; i++, len++) {
		part[len] = key[i] >= 0x20 && key[i] < 0x7F ? key[i] : '?';
	}
	if (i < n) {
		memcpy(part + len, "...", 3);
		len += 3;
	}
	return put_before(e, part, len);
}

bool zbz_encode_enter(zbz_encoder *e) {
	if (e->depth == ZBZ_CODEC_DEPTH) return zbz_encode_refuse(e, "more than 128 tables inside each other, or a cycle");
	e->depth++;
	if (!lua_checkstack(e->L, 8)) return zbz_encode_refuse(e, "a table when the Lua stack is full");
	return true;
}

static bool is_marked(zbz_encoder *e, int idx) {
	const void *mt;
	if (ZBZ_LIKELY(!lua_getmetatable(e->L, idx))) return false;
	mt = lua_topointer(e->L, -1);
	lua_pop(e->L, 1);
	if (e->array_mt == NULL) e->array_mt = zbz_codec_array_mt(e->L);
	return mt == e->array_mt;
}

/* Are the keys exactly 1..n, in whatever order they come? */
static bool is_sequence(lua_State *L, int idx, size_t n) {
	size_t count = 0;
	lua_pushnil(L);
	while (lua_next(L, idx)) {
		int64_t i;
		double d;
		lua_pop(L, 1);
		if (lua_type(L, -1) != LUA_TNUMBER || !zbz_number_at(L, -1, &i, &d) || i < 1 || (uint64_t)i > n) {
			lua_pop(L, 1);
			return false;
		}
		count++;
	}
	return count == n;
}

zbz_shape zbz_table_shape(zbz_encoder *e, int idx, size_t *n) {
	bool marked = is_marked(e, idx);
	*n = zbz_raw_length(e->L, idx);
	if (*n == 0 && !marked) return ZBZ_SHAPE_OBJECT;
	if (is_sequence(e->L, idx, *n)) return ZBZ_SHAPE_ARRAY;
	return marked ? ZBZ_SHAPE_BROKEN : ZBZ_SHAPE_MIXED;
}
