/* Tables: operations on one key. The way of get is the hot one: no allocation but the result's. */
#include "request.h"

#include <math.h>

static void table_release(lua_State *L, void *self) {
	zbz_table_box *box = self;
	zbz_table *t = box->t;
	zbz_keep *keep = box->keep;
	zbz_l1_free(box->l1);
	box->l1 = NULL;
	box->t = NULL;
	box->keep = NULL;
	zbz_table_free(t);
	zbz_keep_unref(keep);
}

/* ---- making one ---- */

typedef struct table_in {
	zbz_table_opts core;
	zbz_bytes codec;
	int64_t l1;
} table_in;

static const zbz_arg table_args[] = {
	{ "name", ZBZ_ARG_TEXT, offsetof(table_in, core.name) },
	{ "prefix", ZBZ_ARG_TEXT, offsetof(table_in, core.prefix) },
	{ "ttl", ZBZ_ARG_MS, offsetof(table_in, core.ttl) },
	{ "deadline", ZBZ_ARG_MS, offsetof(table_in, core.deadline) },
	{ "stale_ttl", ZBZ_ARG_MS, offsetof(table_in, core.stale_ttl) },
	{ "envelope", ZBZ_ARG_BOOL, offsetof(table_in, core.envelope) },
	{ "codec", ZBZ_ARG_TEXT, offsetof(table_in, codec) },
	{ "l1", ZBZ_ARG_INT, offsetof(table_in, l1) },
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
	if (in->l1 < 0 || in->l1 > UINT32_MAX) zbz_raise(L, "zbz: new_table: l1 must be a number of places");
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
	if (in.l1 > 0 && zbz_l1_new(box->t, (uint32_t)in.l1, &box->l1, &err) < 0) return zbz_push_failure(L, &err, &at);
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

static void parse_read(lua_State *L, zbz_bind *b, zbz_request *r) {
	int64_t deadline;
	zbz_request_table(L, b, r);
	r->key = zbz_key_arg(L, 2, r->verb->name);
	deadline = zbz_deadline_arg(L, 3, r->verb->name);
	r->buf = zbz_scratch_take(L, b);
	zbz_request_begin(r, deadline);
}

static int push_nil(lua_State *L) {
	lua_pushnil(L);
	return 1;
}

static zbz_status run_get(zbz_request *r) { return zbz_table_get(r->t, &r->c, r->key, r->buf); }
static int push_value(lua_State *L, zbz_bind *b, zbz_request *r) {
	if (r->s != ZBZ_OK) return push_nil(L);
	r->s = zbz_value_push(L, r->box, zbz_buf_bytes(r->buf), &r->c.err);
	return 1;
}
static const zbz_verb get_verb = { "get", parse_read, run_get, push_value, ZBZ_READS, false, false, ZBZ_KEY, true };

static zbz_status run_get_raw(zbz_request *r) { return zbz_table_get_raw(r->t, &r->c, r->key, r->buf); }
static int push_bytes(lua_State *L, zbz_bind *b, zbz_request *r) {
	if (r->s != ZBZ_OK) return push_nil(L);
	lua_pushlstring(L, r->buf->p, r->buf->n);
	return 1;
}
static const zbz_verb get_raw_verb = { "get_raw", parse_read, run_get_raw, push_bytes, ZBZ_READS,
	                                   false,     false,      ZBZ_ALONE,   true };
static int table_get_raw(lua_State *L) { return zbz_request_call(L, &get_raw_verb); }

static void parse_key(lua_State *L, zbz_bind *b, zbz_request *r) {
	zbz_request_table(L, b, r);
	r->key = zbz_key_arg(L, 2, r->verb->name);
	zbz_request_begin(r, zbz_deadline_arg(L, 3, r->verb->name));
}

static zbz_status run_exists(zbz_request *r) { return zbz_table_exists(r->t, &r->c, r->key); }
static int push_is_ok(lua_State *L, zbz_bind *b, zbz_request *r) {
	lua_pushboolean(L, r->s == ZBZ_OK);
	return 1;
}
static const zbz_verb exists_verb = { "exists", parse_key, run_exists, push_is_ok, ZBZ_READS,
	                                  false,    false,     ZBZ_ALONE,  true };
static int table_exists(lua_State *L) { return zbz_request_call(L, &exists_verb); }

static void push_left(lua_State *L, int64_t left_ms) {
	if (left_ms == INT64_MAX) {
		lua_pushnumber(L, (lua_Number)HUGE_VAL);
	} else {
		zbz_push_seconds(L, left_ms);
	}
}

static zbz_status run_ttl(zbz_request *r) { return zbz_table_ttl(r->t, &r->c, r->key, &r->number); }
static int push_ttl(lua_State *L, zbz_bind *b, zbz_request *r) {
	if (r->s != ZBZ_OK) return push_nil(L);
	push_left(L, r->number);
	return 1;
}
static const zbz_verb ttl_verb = { "ttl", parse_key, run_ttl, push_ttl, ZBZ_READS, false, false, ZBZ_ALONE, true };
static int table_ttl(lua_State *L) { return zbz_request_call(L, &ttl_verb); }

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
	if (e->tier > 0) {
		lua_pushfstring(L, "l%d", (int)e->tier);
		lua_setfield(L, -2, "tier");
	}
	lua_pushboolean(L, 0);
	lua_setfield(L, -2, "stale");
}

static zbz_status run_get_with(zbz_request *r) {
	zbz_entry *e = &r->entry;
	zbz_status s;
	memset(e, 0, sizeof(*e));
	s = zbz_table_entry(r->t, &r->c, r->key, true, r->buf, e);
	return s == ZBZ_OK && (e->negative || e->stale || e->lease) ? ZBZ_MISS : s;
}
static int push_with(lua_State *L, zbz_bind *b, zbz_request *r) {
	if (r->s != ZBZ_OK) return push_nil(L);
	r->s = zbz_value_push(L, r->box, zbz_buf_bytes(r->buf), &r->c.err);
	if (r->s == ZBZ_OK) push_info(L, &r->entry, r->c.now);
	return 2;
}
static const zbz_verb get_with_verb = { "get_with", parse_read, run_get_with, push_with, ZBZ_READS,
	                                    false,      false,      ZBZ_ALONE,    true };
static int table_get_with(lua_State *L) { return zbz_request_call(L, &get_with_verb); }

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

static void parse_write(lua_State *L, zbz_bind *b, zbz_request *r, const zbz_arg *args, zbz_only only) {
	const char *op = r->verb->name;
	zbz_table_box *t = zbz_request_table(L, b, r);
	zbz_options_in o;
	r->key = zbz_key_arg(L, 2, op);
	zbz_value_check(L, b, 3, op);
	zbz_write_arg(L, 4, op, args, &o);
	memset(&r->put, 0, sizeof(r->put));
	r->put.ttl = o.ttl;
	r->put.stale_ttl = -1;
	r->put.only = only != ZBZ_ALWAYS ? only : o.only;
	r->version = o.version;
	if (t->codec == ZBZ_CODEC_BYTES && lua_type(L, 3) == LUA_TSTRING) {
		r->value = zbz_string_at(L, 3);
	} else {
		r->buf = zbz_scratch_take(L, b);
		r->s = zbz_value_read(L, (zbz_codec)t->codec, 3, r->buf, &r->c.err);
		r->value = zbz_buf_bytes(r->buf);
	}
	if (r->s == ZBZ_OK) zbz_request_begin(r, o.deadline);
}
static void parse_set(lua_State *L, zbz_bind *b, zbz_request *r) { parse_write(L, b, r, zbz_args_set, ZBZ_ALWAYS); }
static void parse_add(lua_State *L, zbz_bind *b, zbz_request *r) {
	parse_write(L, b, r, zbz_args_ttl, ZBZ_ONLY_ABSENT);
}
static zbz_status run_set(zbz_request *r) {
	r->put.version = &r->version;
	return zbz_table_set(r->t, &r->c, r->key, r->value, &r->put, NULL);
}
static const zbz_verb set_verb = { "set", parse_set, run_set, push_is_ok, ZBZ_QUEUES, false, false, ZBZ_ALONE, false };
static const zbz_verb add_verb = { "add", parse_add, run_set, push_is_ok, ZBZ_CHANGES, false, false, ZBZ_ALONE, false };
static int table_set(lua_State *L) { return zbz_request_call(L, &set_verb); }
static int table_add(lua_State *L) { return zbz_request_call(L, &add_verb); }

static void parse_set_raw(lua_State *L, zbz_bind *b, zbz_request *r) {
	zbz_options_in o;
	zbz_request_table(L, b, r);
	r->key = zbz_key_arg(L, 2, "set_raw");
	r->value = zbz_string_arg(L, 3, "set_raw", "the value");
	zbz_write_arg(L, 4, "set_raw", zbz_args_ttl, &o);
	r->ttl = o.ttl;
	zbz_request_begin(r, o.deadline);
}
static zbz_status run_set_raw(zbz_request *r) { return zbz_table_set_raw(r->t, &r->c, r->key, r->value, r->ttl); }
static const zbz_verb set_raw_verb = { "set_raw", parse_set_raw, run_set_raw, push_is_ok, ZBZ_QUEUES,
	                                   false,     false,         ZBZ_ALONE,   false };
static int table_set_raw(lua_State *L) { return zbz_request_call(L, &set_raw_verb); }

static int push_true(lua_State *L, zbz_bind *b, zbz_request *r) {
	lua_pushboolean(L, 1);
	return 1;
}
static zbz_status run_delete(zbz_request *r) { return zbz_table_del(r->t, &r->c, r->key); }
static const zbz_verb delete_verb = { "delete", parse_key, run_delete, push_true, ZBZ_QUEUES,
	                                  false,    false,     ZBZ_ALONE,  false };
static int table_delete(lua_State *L) { return zbz_request_call(L, &delete_verb); }

static zbz_status run_invalidate(zbz_request *r) { return zbz_table_invalidate(r->t, &r->c, r->key); }
static const zbz_verb invalidate_verb = { "invalidate", parse_key, run_invalidate, push_true, ZBZ_QUEUES,
	                                      false,        false,     ZBZ_ALONE,      false };
static int table_invalidate(lua_State *L) { return zbz_request_call(L, &invalidate_verb); }

static void parse_expire(lua_State *L, zbz_bind *b, zbz_request *r) {
	zbz_request_table(L, b, r);
	r->key = zbz_key_arg(L, 2, "expire");
	r->ttl = zbz_duration_arg(L, 3, "expire", "ttl");
	zbz_request_begin(r, zbz_deadline_arg(L, 4, "expire"));
}
static zbz_status run_expire(zbz_request *r) { return zbz_table_expire(r->t, &r->c, r->key, r->ttl); }
static int push_there(lua_State *L, zbz_bind *b, zbz_request *r) {
	return r->s == ZBZ_OK ? push_true(L, b, r) : push_nil(L);
}
static const zbz_verb expire_verb = { "expire", parse_expire, run_expire, push_there, ZBZ_QUEUES,
	                                  false,    false,        ZBZ_ALONE,  false };
static int table_expire(lua_State *L) { return zbz_request_call(L, &expire_verb); }

static const zbz_verb *const verbs[] = {
	&get_verb, &get_raw_verb, &exists_verb, &ttl_verb,    &get_with_verb,   &set_verb,
	&add_verb, &set_raw_verb, &delete_verb, &expire_verb, &invalidate_verb, NULL,
};
const zbz_verb *const *const zbz_table_verbs = verbs;

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
	zbz_functions(L, top + 1, zbz_table_lock_methods);
	zbz_functions(L, top + 1, zbz_table_l1_methods);
	lua_setfield(L, 1, "table_methods");
	zbz_push_slot(L, ZBZ_BOX_TABLE);
	lua_setfield(L, 1, "table_mt");
	zbz_functions(L, 1, functions);
	lua_settop(L, top);
}
