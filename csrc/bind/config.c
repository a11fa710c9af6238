#include "config.h"

#include "args.h"

#define DEPTH_MAX 16

typedef struct reader {
	const char *op;
	zbz_keep *keep;
	int depth;
} reader;

static zbz_config_box *read_table(lua_State *L, int idx, const reader *r);

static void config_release(lua_State *L, void *self) {
	zbz_config_box *box = self;
	zbz_config *cfg = box->cfg;
	box->cfg = NULL;
	zbz_config_free(cfg);
}

static void check(lua_State *L, const reader *r, const char *name, zbz_status s, const zbz_err *err) {
	if (s < 0) zbz_raise(L, "zbz: %s: %s: %s", r->op, name, err->text);
}

static zbz_status set_number(lua_State *L, int idx, zbz_config *cfg, const char *name, zbz_err *err) {
	int64_t whole;
	if (zbz_int_at(L, idx, &whole)) return zbz_config_set_int(cfg, name, whole, err);
	return zbz_config_set_num(cfg, name, (double)lua_tonumber(L, idx), err);
}

static zbz_status set_store(lua_State *L, int idx, const reader *r, zbz_config *cfg, const char *name, zbz_err *err) {
	zbz_bind *b = zbz_bind_of(L);
	zbz_store_box *store = zbz_box_test(L, b, idx, ZBZ_BOX_STORE);
	if (store == NULL) return zbz_fail(err, ZBZ_E_ARGUMENT, "no option takes a %s", luaL_typename(L, idx));
	if (r->keep == NULL) return zbz_fail(err, ZBZ_E_ARGUMENT, "no option takes a store");
	if (store->store == NULL) return zbz_fail(err, ZBZ_E_ARGUMENT, "the store is closed");
	if (!zbz_keep_add(r->keep, store->keep)) return zbz_fail_nomem(err);
	return zbz_config_set_store(cfg, name, store->store, err);
}

static bool is_config(lua_State *L, int idx) {
	bool yes;
	lua_pushliteral(L, "provider");
	lua_rawget(L, idx);
	yes = !lua_isnil(L, -1);
	lua_pop(L, 1);
	return yes;
}

static zbz_status add_list(lua_State *L, int idx, zbz_config *cfg, const char *name, zbz_err *err) {
	zbz_status s = ZBZ_OK;
	size_t n = lua_rawlen(L, idx), i, entries = 0;
	for (lua_pushnil(L); lua_next(L, idx); lua_pop(L, 1)) entries++;
	if (entries != n)
		return zbz_fail(err, ZBZ_E_ARGUMENT, "expects a list of texts, or a configuration with a provider");
	for (i = 1; i <= n && s == ZBZ_OK; i++) {
		lua_rawgeti(L, idx, (int)i);
		if (lua_type(L, -1) == LUA_TSTRING) {
			s = zbz_config_add_text(cfg, name, zbz_string_at(L, lua_gettop(L)), err);
		} else {
			s = zbz_fail(err, ZBZ_E_ARGUMENT, "item %d must be a string, got %s", (int)i, luaL_typename(L, -1));
		}
		lua_pop(L, 1);
	}
	return s;
}

static zbz_status set_table(lua_State *L, int idx, const reader *r, zbz_config *cfg, const char *name, zbz_err *err) {
	zbz_config_box *inner;
	zbz_config *given;
	reader deeper = *r;
	if (!is_config(L, idx)) return add_list(L, idx, cfg, name, err);
	deeper.depth++;
	inner = read_table(L, idx, &deeper);
	given = inner->cfg;
	inner->cfg = NULL;
	return zbz_config_set_config(cfg, name, given, err);
}

static zbz_status set_value(lua_State *L, int idx, const reader *r, zbz_config *cfg, const char *name, zbz_err *err) {
	switch (lua_type(L, idx)) {
	case LUA_TSTRING: return zbz_config_set_text(cfg, name, zbz_string_at(L, idx), err);
	case LUA_TNUMBER: return set_number(L, idx, cfg, name, err);
	case LUA_TBOOLEAN: return zbz_config_set_bool(cfg, name, lua_toboolean(L, idx) != 0, err);
	case LUA_TTABLE: return set_table(L, idx, r, cfg, name, err);
	default: return set_store(L, idx, r, cfg, name, err);
	}
}

static zbz_config_box *read_table(lua_State *L, int idx, const reader *r) {
	zbz_config_box *box;
	int top;
	if (r->depth > DEPTH_MAX) luaL_error(L, "zbz: %s: configurations are nested deeper than %d", r->op, DEPTH_MAX);
	luaL_checkstack(L, 12, "zbz");
	box = zbz_box_new(L, ZBZ_BOX_CONFIG, sizeof(*box));
	top = lua_gettop(L);
	box->cfg = zbz_config_new();
	if (box->cfg == NULL) luaL_error(L, "zbz: %s: out of memory", r->op);
	lua_pushnil(L);
	while (lua_next(L, idx)) {
		zbz_err err;
		const char *name;
		if (lua_type(L, top + 1) != LUA_TSTRING) {
			zbz_raise(L, "zbz: %s: option names are strings, got %s", r->op, luaL_typename(L, top + 1));
		}
		name = lua_tostring(L, top + 1);
		check(L, r, name, set_value(L, top + 2, r, box->cfg, name, &err), &err);
		lua_settop(L, top + 1);
	}
	return box;
}

zbz_config_box *zbz_config_from(lua_State *L, int idx, const char *op, zbz_keep *keep) {
	reader r = { op, keep, 0 };
	return read_table(L, idx, &r);
}

void zbz_open_config(lua_State *L) { zbz_class(L, ZBZ_BOX_CONFIG, "zbz.config", config_release, NULL, NULL); }
