/* Lua states for the tests that link the binding, and an allocator for them that runs out of memory. */
#ifndef SPEC_STATES_H
#define SPEC_STATES_H

#include <stdio.h>
#include <stdlib.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

int luaopen_zbz_core(lua_State *L);

/* ---- Lua's own allocator: from the n-th request on, everything fails (Lua collects and asks again) ---- */

typedef struct meter {
	long calls, fail_from;
	size_t in_use;
	bool failed;
} meter;

static inline void *metered(void *ud, void *ptr, size_t old, size_t size) {
	meter *m = ud;
	void *p;
	if (ptr == NULL) old = 0;
	if (size == 0) {
		m->in_use -= old;
		free(ptr);
		return NULL;
	}
	if (size > old && ++m->calls >= m->fail_from && m->fail_from > 0) {
		m->failed = true;
		return NULL;
	}
	p = realloc(ptr, size);
	if (p == NULL) return NULL;
	m->in_use += size - old;
	return p;
}

static inline bool run(lua_State *L, const char *code) {
	bool ok = luaL_dostring(L, code) == LUA_OK;
	if (!ok && getenv("VERBOSE") != NULL) fprintf(stderr, "  %s\n", lua_tostring(L, -1));
	lua_settop(L, 0);
	return ok;
}

static inline lua_State *open_state(lua_Alloc alloc, void *ud) {
	lua_State *L = alloc != NULL ? lua_newstate(alloc, ud) : luaL_newstate();
	if (L == NULL) return NULL;
	luaL_openlibs(L);
	luaL_requiref(L, "zbz.core", luaopen_zbz_core, 0);
	lua_settop(L, 0);
	return L;
}

/* The script is compiled before memory runs short. */
static inline bool run_short(lua_State *L, const char *code, void (*begin)(void *, long), void (*end)(void *), void *ud,
                             long n) {
	int status;
	if (luaL_loadstring(L, code) != LUA_OK) return false;
	begin(ud, n);
	status = lua_pcall(L, 0, 0, 0);
	end(ud);
	lua_settop(L, 0);
	return status == LUA_OK;
}

static inline void meter_begin(void *ud, long n) {
	meter *m = ud;
	m->calls = 0;
	m->failed = false;
	m->fail_from = n;
}
static inline void meter_end(void *ud) { ((meter *)ud)->fail_from = 0; }

#endif
