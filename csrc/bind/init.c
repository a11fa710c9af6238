/* zbz.core: one module for Lua 5.4 and for LuaJIT. A state has one record and one module table, however often it is
 * opened. */
#include <stdatomic.h>

#include "base/fork.h"
#include "codec.h"
#include "object.h"

static atomic_int states; /* that ever opened the module in this process or those it comes from */

static const char registry_key = 0;

static int bind_close(lua_State *L) {
	zbz_bind *b = lua_touserdata(L, 1);
	if (b == NULL || b != zbz_bind_of(L)) return 0;
	if (b->closing) return 0;
	b->door.closed = true;
	b->log_door.closed = true;
	zbz_boxes_close(L, b);
	b->closing = true;
	b->scratch_busy = false;
	zbz_buf_clear(&b->scratch);
	zbz_buf_clear(&b->door.buf);
	zbz_mail_close(b);
	zbz_log_close(b);
	return 0;
}

/* The record with its own table and its finalizer; the finalizer is a closure over it, as everything else. */
static void push_bind(lua_State *L) {
	zbz_bind *b = zbz_newuserdata(L, sizeof(*b));
	memset(b, 0, sizeof(*b));
	b->generation = zbz_fork_generation();
	lua_newtable(L);
	zbz_setenv(L, -2);
	lua_createtable(L, 0, 1);
	lua_pushvalue(L, -2);
	lua_pushcclosure(L, bind_close, 1);
	lua_setfield(L, -2, "__gc");
	lua_setmetatable(L, -2);
}

/* Upvalue: the record. The module's table at index 1. */
static int open_areas(lua_State *L) {
	lua_pushliteral(L, ZBZ_VERSION);
	lua_setfield(L, 1, "VERSION");
	lua_pushinteger(L, 1 + atomic_fetch_add(&states, 1));
	lua_setfield(L, 1, "ordinal");
	lua_newtable(L);
	lua_pushliteral(L, "zbz.Error");
	lua_setfield(L, -2, "__name");
	lua_pushvalue(L, -1);
	lua_setfield(L, 1, "error_mt");
	zbz_getenv(L, lua_upvalueindex(1));
	lua_insert(L, -2);
	lua_rawseti(L, -2, ZBZ_SLOT_ERROR_MT);
	lua_settop(L, 1);
	zbz_codec_setup(L);
	zbz_open_object(L);
	zbz_open_parse(L);
	zbz_open_codecs(L);
	zbz_open_registry(L);
	zbz_open_store(L);
	zbz_open_cache(L);
	zbz_open_table(L);
	zbz_open_batch(L);
	zbz_open_keys(L);
	zbz_open_flight(L);
	zbz_open_lock(L);
	zbz_open_envelope(L);
	zbz_open_mailbox(L);
	zbz_open_subscribe(L);
	zbz_open_park(L);
	zbz_open_source(L);
	zbz_open_watch(L);
	zbz_open_bell(L);
	zbz_open_alarm(L);
	zbz_open_signals(L);
	zbz_open_l1(L);
	zbz_open_door(L);
	zbz_open_log(L);
	return 0;
}

ZBZ_API int luaopen_zbz_core(lua_State *L);

int luaopen_zbz_core(lua_State *L) {
	luaL_checkstack(L, 20, "zbz");
	lua_pushlightuserdata(L, (void *)(uintptr_t)&registry_key);
	lua_rawget(L, LUA_REGISTRYINDEX);
	if (!lua_isnil(L, -1)) return 1;
	lua_pop(L, 1);
	lua_newtable(L);
	push_bind(L);
	lua_pushcclosure(L, open_areas, 1);
	lua_pushvalue(L, -2);
	lua_call(L, 1, 0);
	lua_pushlightuserdata(L, (void *)(uintptr_t)&registry_key);
	lua_pushvalue(L, -2);
	lua_rawset(L, LUA_REGISTRYINDEX);
	return 1;
}
