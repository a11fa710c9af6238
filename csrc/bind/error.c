/* From the core's error record to what a Lua program sees. */
#include <stdarg.h>

#include "object.h"

static void set_text(lua_State *L, const char *field, const char *text) {
	if (text[0] == '\0') return;
	lua_pushstring(L, text);
	lua_setfield(L, -2, field);
}

static void set_bytes(lua_State *L, const char *field, zbz_bytes v) {
	if (v.p == NULL) return;
	lua_pushlstring(L, v.p, v.n);
	lua_setfield(L, -2, field);
}

/* Then the record's option is the path inside the value. */
static bool about_value(zbz_status s) { return s == ZBZ_E_ENCODE || s == ZBZ_E_DECODE || s == ZBZ_E_TYPE; }

void zbz_push_error(lua_State *L, const zbz_err *err, const zbz_where *where) {
	luaL_checkstack(L, 4, "zbz");
	lua_createtable(L, 0, 8);
	set_text(L, "code", zbz_status_name(err->status));
	if (err->option[0] != '\0' && !about_value(err->status) && strstr(err->text, err->option) == NULL) {
		lua_pushfstring(L, "%s: %s", err->option, err->text);
		lua_setfield(L, -2, "message");
	} else {
		set_text(L, "message", err->text);
	}
	set_text(L, "op", where->op);
	set_text(L, "provider", err->provider);
	set_text(L, about_value(err->status) ? "field" : "option", err->option);
	set_bytes(L, "table", where->table);
	set_bytes(L, "key", where->key);
	lua_pushboolean(L, err->retryable);
	lua_setfield(L, -2, "retryable");
	if (err->sys_errno != 0) {
		lua_pushinteger(L, err->sys_errno);
		lua_setfield(L, -2, "errno");
	}
	zbz_push_slot(L, ZBZ_SLOT_ERROR_MT);
	lua_setmetatable(L, -2);
}

static bool ours(lua_State *L, const char *source) {
	const char *home;
	size_t n;
	bool yes;
	zbz_push_slot(L, ZBZ_SLOT_HOME);
	home = lua_tolstring(L, -1, &n);
	yes = home != NULL && strncmp(source, home, n) == 0;
	lua_pop(L, 1);
	return yes;
}

/* A function in C, such as pcall, that stands between two of ours. */
static bool called_by_us(lua_State *L, int level) {
	lua_Debug ar;
	if (!lua_getstack(L, level + 1, &ar)) return false;
	lua_getinfo(L, "Sl", &ar);
	return ar.currentline > 0 && ours(L, ar.source);
}

void zbz_push_place(lua_State *L) {
	lua_Debug ar;
	int level;
	for (level = 1; lua_getstack(L, level, &ar); level++) {
		lua_getinfo(L, "Sl", &ar);
		if (ar.currentline <= 0) {
			if (!called_by_us(L, level)) break;
			continue;
		}
		if (ours(L, ar.source)) continue;
		lua_pushfstring(L, "%s:%d: ", ar.short_src, ar.currentline);
		return;
	}
	lua_pushliteral(L, "");
}

int zbz_raise(lua_State *L, const char *fmt, ...) {
	va_list args;
	luaL_checkstack(L, 8, "zbz");
	zbz_push_place(L);
	va_start(args, fmt);
	lua_pushvfstring(L, fmt, args);
	va_end(args);
	lua_concat(L, 2);
	return lua_error(L);
}

int zbz_push_failure(lua_State *L, const zbz_err *err, const zbz_where *where) {
	if (err->status == ZBZ_E_ARGUMENT) return zbz_raise(L, "zbz: %s: %s", where->op, err->text);
	luaL_checkstack(L, 1, "zbz");
	lua_pushnil(L);
	zbz_push_error(L, err, where);
	return 2;
}

void zbz_push_key_error(lua_State *L, zbz_status status, const zbz_err *err, const zbz_where *where) {
	zbz_err own;
	if (err != NULL && err->status == status && err->text[0] != '\0') {
		zbz_push_error(L, err, where);
		return;
	}
	memset(&own, 0, sizeof(own));
	zbz_fail(&own, status, "this key of the batch failed: %s", zbz_status_name(status));
	zbz_push_error(L, &own, where);
}
