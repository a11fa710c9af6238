/* The doors for LuaJIT (csrc/ffi) as Lua sees them: their addresses, and the Lua values of what a call through one has left. */
#include "request.h"

#if LUA_VERSION_NUM < 502

static const zbz_verb *find_verb(zbz_bytes name) {
	const zbz_verb *const *const lists[] = { zbz_table_verbs, zbz_fetch_verbs };
	size_t i, k;
	for (i = 0; i < sizeof lists / sizeof lists[0]; i++) {
		for (k = 0; lists[i][k] != NULL; k++) {
			if (zbz_bytes_eq(zbz_bstr(lists[i][k]->name), name)) return lists[i][k];
		}
	}
	return NULL;
}

/* door_rest(table, key, serial, verb) -> true and what the method returns. false: a finalizer has called through the door since,
 * and the answer is gone. The bytes move into the scratch buffer, for the same reason. */
static int door_rest(lua_State *L) {
	zbz_bind *b = zbz_bind_of(L);
	zbz_table_box *t = zbz_table_check(L, b, 1, "get");
	zbz_bytes key = zbz_key_arg(L, 2, "get");
	const zbz_verb *verb = find_verb(zbz_string_arg(L, 4, "get", "the verb"));
	zbz_buf *buf = zbz_scratch_take(L, b);
	zbz_buf answer = b->door.buf;
	zbz_request r;
	if (verb == NULL || lua_tonumber(L, 3) != b->door.serial) {
		zbz_scratch_give(b, buf);
		lua_pushboolean(L, 0);
		return 1;
	}
	zbz_request_clear(&r, verb);
	b->door.buf = *buf;
	*buf = answer;
	b->door.serial++;
	r.box = t;
	r.key = key;
	r.s = b->door.s;
	r.c = b->door.c;
	r.entry = b->door.entry;
	r.buf = buf;
	lua_pushboolean(L, 1);
	return 1 + zbz_request_push(L, b, &r);
}

static void set_address(lua_State *L, const char *name, uintptr_t address) {
	lua_pushnumber(L, (lua_Number)address);
	lua_setfield(L, -2, name);
}

static const luaL_Reg functions[] = { { "door_rest", door_rest }, { NULL, NULL } };

void zbz_open_door(lua_State *L) {
	const zbz_door_address *d;
	lua_newtable(L);
	for (d = zbz_doors; d->name != NULL; d++) set_address(L, d->name, (uintptr_t)d->fn);
	set_address(L, "door", (uintptr_t)&zbz_bind_of(L)->door);
	set_address(L, "log_door", (uintptr_t)&zbz_bind_of(L)->log_door);
	lua_setfield(L, 1, "doors");
	zbz_functions(L, 1, functions);
}

#else

void zbz_open_door(lua_State *L) { (void)L; }

#endif
