/* What the codec targets share. An input is decoded; what comes out has to encode, and decode again to the same
 * value. Then the same once more with one allocation failing, of Lua or of the buffer. The state lives on through
 * all inputs. */
#ifndef SPEC_FUZZ_LUA_H
#define SPEC_FUZZ_LUA_H

#include "fuzz.h"

#include <lauxlib.h>

#include "bind/codec_internal.h"

static zbz_buf fuzz_out;

static void *fuzz_lua_alloc(void *ud, void *ptr, size_t old, size_t size) {
	if (ptr != NULL && size != 0 && size <= old) { /* Lua relies on shrinking */
		void *smaller = realloc(ptr, size);
		return smaller != NULL ? smaller : ptr;
	}
	return fuzz_alloc(ud, ptr, size);
}

static lua_State *fuzz_state(void) {
	static lua_State *L;
	if (L == NULL) {
		L = lua_newstate(fuzz_lua_alloc, NULL);
		HOLDS(L != NULL);
		zbz_set_alloc(fuzz_alloc, NULL);
		zbz_codec_setup(L);
		fuzz_out.max = ZBZ_CODEC_MAX;
	}
	return L;
}

static bool fuzz_is_array(lua_State *L, int idx) {
	const void *mt;
	if (!lua_getmetatable(L, idx)) return false;
	mt = lua_topointer(L, -1);
	lua_pop(L, 1);
	return mt == zbz_codec_array_mt(L);
}

static bool fuzz_equal(lua_State *L, int a, int b);

static bool fuzz_tables_equal(lua_State *L, int a, int b) {
	size_t fields = 0;
	HOLDS(lua_checkstack(L, 8));
	lua_pushnil(L);
	while (lua_next(L, a)) {
		lua_pushvalue(L, -2);
		lua_rawget(L, b);
		if (!fuzz_equal(L, lua_gettop(L) - 1, lua_gettop(L))) return false;
		lua_pop(L, 2);
		fields++;
	}
	lua_pushnil(L);
	while (lua_next(L, b)) {
		lua_pop(L, 1);
		fields--;
	}
	lua_pushnil(L);
	if (!lua_next(L, a)) return fuzz_is_array(L, a) == fuzz_is_array(L, b);
	lua_pop(L, 2);
	return fields == 0;
}

static bool fuzz_equal(lua_State *L, int a, int b) {
	double x, y;
	if (lua_type(L, a) != lua_type(L, b)) return false;
	if (lua_istable(L, a)) return fuzz_tables_equal(L, a, b);
	if (lua_type(L, a) != LUA_TNUMBER) return lua_rawequal(L, a, b) != 0;
	x = (double)lua_tonumber(L, a);
	y = (double)lua_tonumber(L, b);
#if ZBZ_CODEC_INT64
	if (lua_isinteger(L, a) != lua_isinteger(L, b)) return false;
	if (lua_isinteger(L, a)) return lua_tointeger(L, a) == lua_tointeger(L, b);
#endif
	return (isnan(x) && isnan(y)) || memcmp(&x, &y, sizeof x) == 0;
}

static int fuzz_round(lua_State *L, zbz_codec codec, zbz_bytes in, bool failing) {
	int top = lua_gettop(L);
	zbz_err err;
	zbz_status s = zbz_codec_decode(L, codec, in, &err);
	if (s != ZBZ_OK) {
		HOLDS(lua_gettop(L) == top);
		HOLDS(s == ZBZ_E_DECODE && err.status == s && err.text[0] != '\0');
		return 0;
	}
	HOLDS(lua_gettop(L) == top + 1);
	zbz_buf_reset(&fuzz_out);
	s = zbz_codec_encode(L, codec, top + 1, &fuzz_out, &err);
	HOLDS(lua_gettop(L) == top + 1);
	if (failing && s == ZBZ_E_INTERNAL) return 0;
	HOLDS(s == ZBZ_OK);
	s = zbz_codec_decode(L, codec, zbz_buf_bytes(&fuzz_out), &err);
	HOLDS(s == ZBZ_OK && lua_gettop(L) == top + 2);
	HOLDS(fuzz_equal(L, top + 1, top + 2));
	return 0;
}

typedef struct fuzz_job {
	zbz_codec codec;
	zbz_bytes in;
} fuzz_job;

static int fuzz_protected(lua_State *L) {
	const fuzz_job *job = lua_touserdata(L, 1);
	HOLDS(lua_checkstack(L, 20));
	return fuzz_round(L, job->codec, job->in, true);
}

static void fuzz_codec(zbz_codec codec, zbz_bytes in) {
	lua_State *L = fuzz_state();
	fuzz_job job;
	unsigned long sum = 1;
	size_t i;
	fuzz_countdown = 0;
	fuzz_round(L, codec, in, false);
	lua_settop(L, 0);
	job.codec = codec;
	job.in = in;
	for (i = 0; i < in.n; i++) sum = sum * 31 + (unsigned char)in.p[i];
	lua_pushcfunction(L, fuzz_protected);
	lua_pushlightuserdata(L, &job);
	fuzz_countdown = 1 + sum % 64;
	lua_pcall(L, 1, 0, 0);
	fuzz_countdown = 0;
	lua_settop(L, 0);
}

#endif
