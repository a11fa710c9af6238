/* How a Lua number is written: as an integer or not. The two Luas differ. */
#ifndef ZBZ_BIND_NUMBER_H
#define ZBZ_BIND_NUMBER_H

#include <lua.h>

#include "whole.h"

#if LUA_VERSION_NUM >= 503
#define ZBZ_CODEC_INT64 1
#else
#define ZBZ_CODEC_INT64 0
#endif

/* The number at idx: true and *i when it is written as an integer, else *d. */
static inline bool zbz_number_at(lua_State *L, int idx, int64_t *i, double *d) {
#if ZBZ_CODEC_INT64
	if (lua_isinteger(L, idx)) {
		*i = (int64_t)lua_tointeger(L, idx);
		return true;
	}
	*d = (double)lua_tonumber(L, idx);
	return false;
#else
	*d = (double)lua_tonumber(L, idx);
	return zbz_double_whole(*d, i);
#endif
}

#endif
