/* Tables: operations on one key. The way of get is the hot one: no allocation but the result's. */
#include "table.h"

#include <math.h>

static void release(zbz_table_box *box) {
	zbz_table *t = box->t;
	zbz_keep *keep = box->keep;
	box->closed = true;
	if (box->listings > 0) return;
	box->t = NULL;
	box->keep = NULL;
	zbz_table_free(t);
	zbz_keep_unref(keep);
}

void zbz_table_unpin(zbz_table_box *box) {
	if (--box->listings == 0 && box->closed) release(box);
}

static void table_release(lua_State *L, void *box) { release(box); }

/* ---- making one ---- */

typedef struct table_in {
	zbz_table_opts core;
	zbz_bytes codec;
} table_in;

static const zbz_arg table_args[] = {
	{ "name", ZBZ_ARG_TEXT, offsetof(table_in, core.name) },
	{ "prefix", ZBZ_ARG_TEXT, offsetof(table_in, core.prefix) },
	{ "ttl", ZBZ_ARG_MS, offsetof(table_in, core.ttl) },
	{ "deadline", ZBZ_ARG_MS, offsetof(table_in, core.deadline) },
	{ "stale_ttl", ZBZ_ARG_MS, offsetof(table_in, core.stale_ttl) },
	{ "envelope", ZBZ_ARG_BOOL, offsetof(table_in, core.envelope) },
	{ "codec", ZBZ_ARG_TEXT, offsetof(table_in, codec) },
	{ "env", ZBZ_ARG_ANY, 0 },
	{ NULL, ZBZ_ARG_ANY, 0 },
};

static zbz_codec codec_named(lua_State *L, zbz_bytes name) {
	zbz_codec codec = ZBZ_CODEC_BYTES;
	if (!zbz_codec_find(name, &codec)) {
		zbz_raise(L, "zbz: new_table: codec must be \"bytes\", \"string\", \"json\", \"msgpack\" or \"auto\"");
	}
	return codec;
}

static void read_table_options(lua_State *L, table_in *in) {
	memset(in, 0, sizeof(*in));
	in->core.ttl = in->core.deadline = -1;
	zbz_args_read(L, 2, "new_table", table_args, in);
	if (in->core.stale_ttl < 0) zbz_raise(L, "zbz: new_table: stale_ttl must not be negative");
}

/* The handle keeps the cache's: collecting that one would close the cache. */
static void set_table_env(lua_State *L, int box) {
	lua_createtable(L, 2, 0);
	lua_pushvalue(L, 1);
	lua_rawseti(L, -2, 1);
	lua_pushliteral(L, "env");
	lua_rawget(L, 2);
	lua_rawseti(L, -2, 2);
	zbz_setenv(L, box);
}

static int new_table(lua_State *L) {
	zbz_bind *b = zbz_bind_of(L);
	zbz_cache_box *cache = zbz_cache_check(L, b, 1, "new_table");
	zbz_where at = zbz_at("new_table");
	zbz_table_box *box;
	zbz_err err;
	table_in in;
	size_t room;
	if (!lua_istable(L, 2)) return zbz_raise(L, "zbz: new_table: a table of options expected");
	lua_settop(L, 2);
	read_table_options(L, &in);
	room = in.core.name.n;
	box = zbz_box_new(L, ZBZ_BOX_TABLE, sizeof(*box) + room);
	set_table_env(L, 3);
	/* A finalizer may have changed the options since: what they point to is read again, now that nothing more is
	 * allocated. */
	read_table_options(L, &in);
	if (in.core.name.n > room || cache->cache == NULL)
		return zbz_raise(L, "zbz: new_table: the options changed during the call");
	box->codec = (int)codec_named(L, in.codec);
	box->name_n = in.core.name.n;
	if (in.core.name.n > 0) memcpy(box->name, in.core.name.p, in.core.name.n);
	if (zbz_table_new(cache->cache, &in.core, &box->t, &err) < 0) {
		box->t = NULL;
		return zbz_push_failure(L, &err, &at);
	}
	box->keep = zbz_keep_ref(cache->keep);
	return 1;
}

static int table_env(lua_State *L) {
	zbz_box_check(L, zbz_bind_of(L), 1, ZBZ_BOX_TABLE, "env");
	zbz_getenv(L, 1);
	lua_rawgeti(L, -1, 2);
	return 1;
}

/* ---- reading ---- */

static int push_found(lua_State *L, zbz_bind *b, const zbz_table_box *t, zbz_bytes key, zbz_buf *buf) {
	zbz_err err;
	zbz_status s = zbz_value_push(L, t, zbz_buf_bytes(buf), &err);
	zbz_scratch_give(b, buf);
	return s == ZBZ_OK ? 1 : zbz_push_table_failure(L, t, "get", key, &err);
}

static int table_get(lua_State *L) {
	zbz_bind *b = zbz_bind_of(L);
	zbz_table_box *t = zbz_table_check(L, b, 1, "get");
	zbz_bytes key = zbz_key_arg(L, 2, "get");
	int64_t deadline = zbz_deadline_arg(L, 3, "get");
	zbz_buf *buf = zbz_scratch_take(L, b);
	zbz_call c;
	zbz_status s;
	zbz_table_begin(t->t, &c, deadline);
	s = zbz_table_get(t->t, &c, key, buf);
	if (s == ZBZ_OK) return push_found(L, b, t, key, buf);
	zbz_scratch_give(b, buf);
	if (s < 0) return zbz_push_table_failure(L, t, "get", key, &c.err);
	lua_pushnil(L);
	return 1;
}

static int table_get_raw(lua_State *L) {
	zbz_bind *b = zbz_bind_of(L);
	zbz_table_box *t = zbz_table_check(L, b, 1, "get_raw");
	zbz_bytes key = zbz_key_arg(L, 2, "get_raw");
	int64_t deadline = zbz_deadline_arg(L, 3, "get_raw");
	zbz_buf *buf = zbz_scratch_take(L, b);
	zbz_call c;
	zbz_status s;
	zbz_table_begin(t->t, &c, deadline);
	s = zbz_table_get_raw(t->t, &c, key, buf);
	if (s == ZBZ_OK) lua_pushlstring(L, buf->p, buf->n);
	zbz_scratch_give(b, buf);
	if (s < 0) return zbz_push_table_failure(L, t, "get_raw", key, &c.err);
	if (s != ZBZ_OK) lua_pushnil(L);
	return 1;
}

static int table_exists(lua_State *L) {
	zbz_table_box *t = zbz_table_check(L, zbz_bind_of(L), 1, "exists");
	zbz_bytes key = zbz_key_arg(L, 2, "exists");
	zbz_call c;
	zbz_status s;
	zbz_table_begin(t->t, &c, zbz_deadline_arg(L, 3, "exists"));
	s = zbz_table_exists(t->t, &c, key);
	if (s < 0) return zbz_push_table_failure(L, t, "exists", key, &c.err);
	lua_pushboolean(L, s == ZBZ_OK);
	return 1;
}

static void push_left(lua_State *L, int64_t left_ms) {
	if (left_ms == INT64_MAX) {
		lua_pushnumber(L, (lua_Number)HUGE_VAL);
	} else {
		zbz_push_seconds(L, left_ms);
	}
}

static int table_ttl(lua_State *L) {
	zbz_table_box *t = zbz_table_check(L, zbz_bind_of(L), 1, "ttl");
	zbz_bytes key = zbz_key_arg(L, 2, "ttl");
	int64_t left = 0;
	zbz_call c;
	zbz_status s;
	zbz_table_begin(t->t, &c, zbz_deadline_arg(L, 3, "ttl"));
	s = zbz_table_ttl(t->t, &c, key, &left);
	if (s < 0) return zbz_push_table_failure(L, t, "ttl", key, &c.err);
	if (s == ZBZ_OK) {
		push_left(L, left);
	} else {
		lua_pushnil(L);
	}
	return 1;
}

static void push_info(lua_State *L, const zbz_entry *e, int64_t now) {
	lua_createtable(L, 0, 4);
	if (e->version.n > 0) {
		lua_pushlstring(L, (const char *)e->version.b, e->version.n);
		lua_setfield(L, -2, "version");
	}
	if (e->expire_at >= 0) {
		int64_t left = e->expire_at > now ? e->expire_at - now : 0;
		push_left(L, e->expire_at == ZBZ_NO_EXPIRY ? INT64_MAX : left);
		lua_setfield(L, -2, "ttl");
	}
	if (e->stored_at > 0) {
		zbz_push_seconds(L, now > e->stored_at ? now - e->stored_at : 0);
		lua_setfield(L, -2, "age");
	}
	lua_pushboolean(L, 0);
	lua_setfield(L, -2, "stale");
}

static int table_get_with(lua_State *L) {
	zbz_bind *b = zbz_bind_of(L);
	zbz_table_box *t = zbz_table_check(L, b, 1, "get_with");
	zbz_bytes key = zbz_key_arg(L, 2, "get_with");
	int64_t deadline = zbz_deadline_arg(L, 3, "get_with");
	zbz_buf *buf = zbz_scratch_take(L, b);
	zbz_entry e;
	zbz_call c;
	zbz_status s;
	memset(&e, 0, sizeof(e));
	zbz_table_begin(t->t, &c, deadline);
	s = zbz_table_entry(t->t, &c, key, true, buf, &e);
	if (s == ZBZ_OK && (e.negative || e.stale || e.lease)) s = ZBZ_MISS;
	if (s == ZBZ_OK) s = zbz_value_push(L, t, zbz_buf_bytes(buf), &c.err);
	zbz_scratch_give(b, buf);
	if (s < 0) return zbz_push_table_failure(L, t, "get_with", key, &c.err);
	if (s != ZBZ_OK) {
		lua_pushnil(L);
		return 1;
	}
	push_info(L, &e, c.now);
	return 2;
}

/* ---- writing ---- */

bool zbz_is_item(lua_State *L, const zbz_bind *b, int idx) {
	bool yes;
	if (!lua_getmetatable(L, idx)) return false;
	yes = lua_topointer(L, -1) == b->item_mt;
	lua_pop(L, 1);
	return yes;
}

int zbz_no_value(lua_State *L, int idx, const char *op) {
	if (lua_istable(L, idx)) return zbz_raise(L, "zbz: %s: an item belongs into set_multi", op);
	return zbz_raise(L, "zbz: %s: the value is nil; delete removes a key, zbz.null stores a null", op);
}

/* true, false (refused) or nil and the error. */
static int push_written(lua_State *L, const zbz_table_box *t, const char *op, zbz_bytes key, zbz_status s,
                        const zbz_err *err) {
	if (s < 0) return zbz_push_table_failure(L, t, op, key, err);
	lua_pushboolean(L, s == ZBZ_OK);
	return 1;
}

static int write_value(lua_State *L, const char *op, const zbz_arg *args, zbz_only only) {
	zbz_bind *b = zbz_bind_of(L);
	zbz_table_box *t = zbz_table_check(L, b, 1, op);
	zbz_bytes key = zbz_key_arg(L, 2, op), value;
	zbz_buf *buf = NULL;
	zbz_options_in o;
	zbz_put put;
	zbz_call c;
	zbz_status s = ZBZ_OK;
	zbz_value_check(L, b, 3, op);
	zbz_write_arg(L, 4, op, args, &o);
	memset(&put, 0, sizeof(put));
	put.ttl = o.ttl;
	put.stale_ttl = -1;
	put.only = only != ZBZ_ALWAYS ? only : o.only;
	put.version = &o.version;
	if (t->codec == ZBZ_CODEC_BYTES && lua_type(L, 3) == LUA_TSTRING) {
		value = zbz_string_at(L, 3);
	} else {
		buf = zbz_scratch_take(L, b);
		s = zbz_value_read(L, (zbz_codec)t->codec, 3, buf, &c.err);
		value = zbz_buf_bytes(buf);
	}
	if (s == ZBZ_OK) {
		zbz_table_begin(t->t, &c, o.deadline);
		s = zbz_table_set(t->t, &c, key, value, &put, NULL);
	}
	if (buf != NULL) zbz_scratch_give(b, buf);
	return push_written(L, t, op, key, s, &c.err);
}

static int table_set(lua_State *L) { return write_value(L, "set", zbz_args_set, ZBZ_ALWAYS); }
static int table_add(lua_State *L) { return write_value(L, "add", zbz_args_ttl, ZBZ_ONLY_ABSENT); }

static int table_set_raw(lua_State *L) {
	zbz_table_box *t = zbz_table_check(L, zbz_bind_of(L), 1, "set_raw");
	zbz_bytes key = zbz_key_arg(L, 2, "set_raw");
	zbz_bytes value = zbz_string_arg(L, 3, "set_raw", "the value");
	zbz_options_in o;
	zbz_call c;
	zbz_status s;
	zbz_write_arg(L, 4, "set_raw", zbz_args_ttl, &o);
	zbz_table_begin(t->t, &c, o.deadline);
	s = zbz_table_set_raw(t->t, &c, key, value, o.ttl);
	return push_written(L, t, "set_raw", key, s, &c.err);
}

static int touch_key(lua_State *L, const char *op, zbz_status (*fn)(zbz_table *, zbz_call *, zbz_bytes)) {
	zbz_table_box *t = zbz_table_check(L, zbz_bind_of(L), 1, op);
	zbz_bytes key = zbz_key_arg(L, 2, op);
	zbz_call c;
	zbz_status s;
	zbz_table_begin(t->t, &c, zbz_deadline_arg(L, 3, op));
	s = fn(t->t, &c, key);
	if (s < 0) return zbz_push_table_failure(L, t, op, key, &c.err);
	lua_pushboolean(L, 1);
	return 1;
}

static int table_delete(lua_State *L) { return touch_key(L, "delete", zbz_table_del); }
static int table_invalidate(lua_State *L) { return touch_key(L, "invalidate", zbz_table_invalidate); }

static int table_expire(lua_State *L) {
	zbz_table_box *t = zbz_table_check(L, zbz_bind_of(L), 1, "expire");
	zbz_bytes key = zbz_key_arg(L, 2, "expire");
	int64_t ttl = zbz_duration_arg(L, 3, "expire", "ttl");
	zbz_call c;
	zbz_status s;
	zbz_table_begin(t->t, &c, zbz_deadline_arg(L, 4, "expire"));
	s = zbz_table_expire(t->t, &c, key, ttl);
	if (s < 0) return zbz_push_table_failure(L, t, "expire", key, &c.err);
	if (s == ZBZ_OK) {
		lua_pushboolean(L, 1);
	} else {
		lua_pushnil(L);
	}
	return 1;
}

static const luaL_Reg methods[] = {
	{ "get", table_get },         { "set", table_set },           { "add", table_add },
	{ "delete", table_delete },   { "exists", table_exists },     { "ttl", table_ttl },
	{ "expire", table_expire },   { "get_with", table_get_with }, { "invalidate", table_invalidate },
	{ "get_raw", table_get_raw }, { "set_raw", table_set_raw },   { NULL, NULL },
};
static const luaL_Reg functions[] = { { "new_table", new_table }, { "env", table_env }, { NULL, NULL } };

void zbz_open_table(lua_State *L) {
	int top = lua_gettop(L);
	zbz_class(L, ZBZ_BOX_TABLE, "zbz.Table", table_release, NULL, methods);
	zbz_push_methods(L, ZBZ_BOX_TABLE);
	zbz_functions(L, top + 1, zbz_table_count_methods);
	zbz_functions(L, top + 1, zbz_table_batch_methods);
	zbz_functions(L, top + 1, zbz_table_keys_methods);
	zbz_functions(L, top + 1, zbz_table_fetch_methods);
	lua_setfield(L, 1, "table_methods");
	zbz_push_slot(L, ZBZ_BOX_TABLE);
	lua_setfield(L, 1, "table_mt");
	zbz_functions(L, 1, functions);
	lua_settop(L, top);
}
