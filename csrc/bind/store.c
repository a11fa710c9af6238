/* Stores: opened providers. */
#include "args.h"
#include "config.h"

static void store_release(lua_State *L, void *self) {
	zbz_store_box *box = self;
	zbz_store *store = box->store;
	zbz_keep *keep = box->keep;
	box->store = NULL;
	box->keep = NULL;
	zbz_store_unref(store);
	zbz_keep_unref(keep);
}

static int store_closed(lua_State *L) {
	zbz_store_box *box = zbz_box_check(L, zbz_bind_of(L), 1, ZBZ_BOX_STORE, "closed");
	lua_pushboolean(L, box->store == NULL);
	return 1;
}

static int open_store(lua_State *L) {
	zbz_store_box *box;
	zbz_config_box *cfg;
	zbz_keep *clock_keep;
	const zbz_clock *clock;
	zbz_err err;
	zbz_status s;
	zbz_where at = zbz_at("open_store");
	luaL_argcheck(L, lua_istable(L, 1), 1, "zbz: open_store: a table of options expected");
	clock = zbz_clock_arg(L, zbz_bind_of(L), 2, "open_store", &clock_keep);
	lua_settop(L, 2);
	box = zbz_box_new(L, ZBZ_BOX_STORE, sizeof(*box));
	box->keep = zbz_keep_new(NULL);
	if (box->keep == NULL || !zbz_keep_add(box->keep, clock_keep)) {
		zbz_fail_nomem(&err);
		return zbz_push_failure(L, &err, &at);
	}
	cfg = zbz_config_from(L, 1, "open_store", box->keep);
	s = zbz_store_open(cfg->cfg, clock_keep == NULL ? NULL : clock, &box->store, &err);
	zbz_config_free(cfg->cfg);
	cfg->cfg = NULL;
	if (s < 0) {
		box->store = NULL;
		return zbz_push_failure(L, &err, &at);
	}
	lua_settop(L, 3);
	return 1;
}

/* ---- what it is ---- */

static int store_ops_name(lua_State *L) {
	zbz_store_box *s = zbz_store_check(L, zbz_bind_of(L), 1, "ops_name");
	lua_pushstring(L, zbz_store_ops(s->store)->name);
	return 1;
}

static int store_kind(lua_State *L) {
	zbz_store_box *s = zbz_store_check(L, zbz_bind_of(L), 1, "kind");
	lua_pushstring(L, zbz_store_ops(zbz_store_bottom(s->store))->name);
	return 1;
}

static const struct {
	uint32_t bit;
	const char *name;
} can_names[] = {
	{ ZBZ_CAN_TTL, "ttl" },         { ZBZ_CAN_EXPIRE, "expire" },   { ZBZ_CAN_ADD, "add" },
	{ ZBZ_CAN_PRESENT, "present" }, { ZBZ_CAN_VERSION, "version" }, { ZBZ_CAN_INCR, "incr" },
	{ ZBZ_CAN_KEYS, "keys" },       { ZBZ_CAN_CLEAR, "clear" },     { ZBZ_CAN_NATIVE, "native" },
	{ ZBZ_CAN_BATCH, "batch" },     { ZBZ_CAN_TRACK, "track" },
};

static void set_bool(lua_State *L, const char *name, bool v) {
	lua_pushboolean(L, v);
	lua_setfield(L, -2, name);
}

static void set_size(lua_State *L, const char *name, uint64_t v) {
	if (v == 0) return;
	zbz_push_int(L, v > INT64_MAX ? INT64_MAX : (int64_t)v);
	lua_setfield(L, -2, name);
}

static int store_caps(lua_State *L) {
	zbz_store_box *s = zbz_store_check(L, zbz_bind_of(L), 1, "caps");
	zbz_caps caps;
	size_t i;
	int emulated = 0;
	memset(&caps, 0, sizeof(caps));
	zbz_store_caps(s->store, &caps);
	lua_createtable(L, 0, 22);
	for (i = 0; i < sizeof(can_names) / sizeof(can_names[0]); i++) {
		set_bool(L, can_names[i].name, (caps.can & can_names[i].bit) != 0);
	}
	lua_newtable(L);
	for (i = 0; i < sizeof(can_names) / sizeof(can_names[0]); i++) {
		if ((caps.can & caps.emulated & can_names[i].bit) == 0) continue;
		lua_pushstring(L, can_names[i].name);
		lua_rawseti(L, -2, ++emulated);
	}
	lua_setfield(L, -2, "emulated");
	set_bool(L, "inline", caps.inline_ok);
	set_bool(L, "inline_hits", caps.inline_hits);
	set_bool(L, "shared", caps.shared);
	set_bool(L, "unsigned_incr", caps.unsigned_incr);
	set_bool(L, "exclusive", caps.exclusive);
	lua_pushstring(L, zbz_reach_names[zbz_lock_reach(&caps, ZBZ_REACH_CLUSTER)]);
	lua_setfield(L, -2, "lock");
	set_bool(L, "lock_wake", caps.lock_wake);
	zbz_push_int(L, (int64_t)caps.ttl_resolution_ms);
	lua_setfield(L, -2, "ttl_resolution_ms");
	set_size(L, "max_key", caps.max_key);
	set_size(L, "max_value", caps.max_value);
	return 1;
}

static int store_config(lua_State *L) {
	zbz_bind *b = zbz_bind_of(L);
	zbz_store_box *s = zbz_store_check(L, b, 1, "config");
	const zbz_option *o = zbz_store_ops(s->store)->options;
	const void *values = zbz_store_options(s->store);
	zbz_where at = zbz_at("config");
	zbz_err err;
	zbz_buf *text;
	int out;
	lua_newtable(L);
	out = lua_gettop(L);
	text = zbz_scratch_take(L, b);
	for (; o != NULL && values != NULL && o->name != NULL; o++) {
		text->n = 0;
		if (zbz_option_echo(o, values, text, &err) < 0) {
			zbz_scratch_give(b, text);
			return zbz_push_failure(L, &err, &at);
		}
		if (text->n == 0) continue;
		lua_pushlstring(L, text->p, text->n);
		lua_setfield(L, out, o->name);
	}
	zbz_scratch_give(b, text);
	lua_settop(L, out);
	return 1;
}

static const luaL_Reg methods[] = {
	{ "ops_name", store_ops_name }, { "kind", store_kind },     { "caps", store_caps },
	{ "config", store_config },     { "closed", store_closed }, { NULL, NULL },
};
static const luaL_Reg functions[] = { { "open_store", open_store }, { NULL, NULL } };

void zbz_open_store(lua_State *L) {
	zbz_open_config(L);
	zbz_class(L, ZBZ_BOX_STORE, "zbz.Store", store_release, "close", methods);
	zbz_functions(L, 1, functions);
}
