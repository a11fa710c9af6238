/* Many keys in one call, and the items that carry their own TTL. Whole calls fail with nil and an error; single
 * keys in the third result. */
#include "request.h"

#define BATCH_MAX ((size_t)1 << 24)

/* errs[key] = error; the table is made at index `errs` (nil so far) when the first one comes. */
static void note_error(lua_State *L, int errs, const zbz_table_box *t, const char *op, zbz_bytes key, zbz_status s,
                       const zbz_err *err) {
	zbz_where at = zbz_at_key(op, t, key);
	if (lua_isnil(L, errs)) {
		lua_newtable(L);
		lua_replace(L, errs);
	}
	lua_pushlstring(L, key.p, key.n);
	zbz_push_key_error(L, s, err, &at);
	lua_rawset(L, errs);
}

/* ---- lists of keys ---- */

static size_t count_keys(lua_State *L, const char *op) {
	size_t n;
	if (!lua_istable(L, 2)) zbz_raise(L, "zbz: %s: a list of keys expected, got %s", op, luaL_typename(L, 2));
	n = lua_rawlen(L, 2);
	if (n > BATCH_MAX) zbz_raise(L, "zbz: %s: more than %d keys", op, (int)BATCH_MAX);
	if (n == 0) {
		lua_pushnil(L);
		if (lua_next(L, 2)) zbz_raise(L, "zbz: %s: a list of keys expected, got a table without [1]", op);
	}
	return n;
}

/* Allocates nothing, so that no finalizer runs before the keys are used. False: the value left on the top is no
 * string. */
static bool borrow_keys(lua_State *L, zbz_bytes *keys, size_t n) {
	size_t i;
	for (i = 0; i < n; i++) {
		lua_rawgeti(L, 2, (int)i + 1);
		if (lua_type(L, -1) != LUA_TSTRING) return false;
		keys[i] = zbz_string_at(L, lua_gettop(L));
		lua_pop(L, 1);
	}
	return true;
}

static int bad_key(lua_State *L, const char *op) {
	return zbz_raise(L, "zbz: %s: keys must be strings, one is a %s", op, luaL_typename(L, -1));
}

/* Pushes key i again and tells whether it is still the one that was borrowed: a finalizer may have changed the list. */
static zbz_bytes push_key(lua_State *L, const zbz_request *r, size_t i) {
	const char *op = r->verb->name;
	const zbz_bytes *keys = r->keys;
	if (r->parked) {
		lua_pushlstring(L, keys[i].p, keys[i].n);
		return keys[i];
	}
	lua_rawgeti(L, 2, (int)i + 1);
	if (lua_type(L, -1) != LUA_TSTRING || lua_tostring(L, -1) != keys[i].p) {
		zbz_raise(L, "zbz: %s: the list of keys changed during the call", op);
	}
	return keys[i];
}

/* ---- get_multi ---- */

/* Stack: map, errs. */
static void push_each(lua_State *L, zbz_request *r) {
	int errs = lua_gettop(L), map = errs - 1;
	size_t i;
	for (i = 0; i < r->count; i++) {
		zbz_err err;
		zbz_bytes key;
		const zbz_err *story = &r->c.err;
		zbz_status s = r->found[i].status;
		if (s > 0) continue;
		key = push_key(L, r, i);
		if (s == ZBZ_OK) {
			story = &err;
			s = zbz_value_push(L, r->box, zbz_b(r->buf->p + r->found[i].off, r->found[i].n), &err);
		}
		if (s == ZBZ_OK) {
			lua_rawset(L, map);
		} else {
			note_error(L, errs, r->box, "get_multi", key, s, story);
		}
		lua_settop(L, errs);
	}
}

static size_t count_found(const zbz_found *found, size_t n) {
	size_t i, hits = 0;
	for (i = 0; i < n; i++) hits += found[i].status == ZBZ_OK;
	return hits;
}

/* The keys are borrowed last: until they are used or copied nothing may be allocated. */
static void borrow_or_raise(lua_State *L, zbz_bind *b, zbz_request *r) {
	if (borrow_keys(L, r->keys, r->count)) return;
	if (r->buf != NULL) zbz_scratch_give(b, r->buf);
	bad_key(L, r->verb->name);
}

static void parse_get_multi(lua_State *L, zbz_bind *b, zbz_request *r) {
	int64_t deadline;
	zbz_request_table(L, b, r);
	r->count = count_keys(L, "get_multi");
	deadline = zbz_deadline_arg(L, 3, "get_multi");
	if (r->count == 0) return;
	zbz_request_room(L, 3);
	r->keys = zbz_newuserdata(L, r->count * (sizeof(*r->keys) + sizeof(*r->found)));
	r->found = (zbz_found *)(void *)(r->keys + r->count);
	r->buf = zbz_scratch_take(L, b);
	borrow_or_raise(L, b, r);
	zbz_request_begin(r, deadline);
	memset(&r->c.err, 0, sizeof(r->c.err));
}

static zbz_status run_get_multi(zbz_request *r) {
	if (r->count == 0) return ZBZ_OK;
	return zbz_table_get_many(r->t, &r->c, r->keys, r->count, r->buf, r->found);
}

static int push_get_multi(lua_State *L, zbz_bind *b, zbz_request *r) {
	lua_createtable(L, 0, (int)count_found(r->found, r->count));
	lua_pushnil(L);
	push_each(L, r);
	if (lua_isnil(L, -1)) {
		lua_pop(L, 1);
		return 1;
	}
	lua_pushnil(L);
	lua_insert(L, -2);
	return 3;
}
static const zbz_verb get_multi_verb = { "get_multi", parse_get_multi, run_get_multi, push_get_multi, ZBZ_READS, false,
	                                     false,       ZBZ_KEYS,        true };
static int table_get_multi(lua_State *L) { return zbz_request_call(L, &get_multi_verb); }

/* true, or true, nil, errs with the errors at the top (nil: none). */
static int push_done(lua_State *L) {
	int errs = lua_gettop(L);
	lua_pushboolean(L, 1);
	if (lua_isnil(L, errs)) return 1;
	lua_pushnil(L);
	lua_pushvalue(L, errs);
	return 3;
}

/* ---- delete_multi ---- */

static void parse_delete_multi(lua_State *L, zbz_bind *b, zbz_request *r) {
	int64_t deadline;
	zbz_request_table(L, b, r);
	r->count = count_keys(L, "delete_multi");
	deadline = zbz_deadline_arg(L, 3, "delete_multi");
	if (r->count == 0) return;
	zbz_request_room(L, 3);
	r->keys = zbz_newuserdata(L, r->count * (sizeof(*r->keys) + sizeof(*r->status)));
	r->status = (zbz_status *)(void *)(r->keys + r->count);
	borrow_or_raise(L, b, r);
	zbz_request_begin(r, deadline);
	memset(&r->c.err, 0, sizeof(r->c.err));
}

static zbz_status run_delete_multi(zbz_request *r) {
	if (r->count == 0) return ZBZ_OK;
	return zbz_table_del_many(r->t, &r->c, r->keys, r->count, r->status);
}

static int push_delete_multi(lua_State *L, zbz_bind *b, zbz_request *r) {
	size_t i;
	int errs;
	lua_pushnil(L);
	errs = lua_gettop(L);
	for (i = 0; i < r->count; i++) {
		if (r->status[i] >= 0) continue;
		note_error(L, errs, r->box, "delete_multi", push_key(L, r, i), r->status[i], &r->c.err);
		lua_settop(L, errs);
	}
	return push_done(L);
}
static const zbz_verb delete_multi_verb = {
	"delete_multi", parse_delete_multi, run_delete_multi, push_delete_multi, ZBZ_QUEUES, false, false, ZBZ_ALONE, false
};
static int table_delete_multi(lua_State *L) { return zbz_request_call(L, &delete_multi_verb); }

/* ---- set_multi ---- */

/* Keys and encoded values stand in the scratch buffer one after another, so a finalizer that empties the caller's
 * table hurts nobody. */
typedef struct writes {
	zbz_bytes *keys, *values;
	const zbz_put **puts;
	zbz_put *put;
	zbz_status *status;
	size_t n, room;
} writes;

static size_t count_entries(lua_State *L) {
	size_t n = 0;
	if (!lua_istable(L, 2))
		zbz_raise(L, "zbz: set_multi: a table of key = value expected, got %s", luaL_typename(L, 2));
	for (lua_pushnil(L); lua_next(L, 2); lua_pop(L, 1)) {
		if (lua_type(L, -2) != LUA_TSTRING)
			zbz_raise(L, "zbz: set_multi: keys are strings, got a %s", luaL_typename(L, -2));
		n++;
	}
	if (n > BATCH_MAX) zbz_raise(L, "zbz: set_multi: more than %d keys", (int)BATCH_MAX);
	return n;
}

static void make_room(lua_State *L, writes *w, size_t n) {
	char *p =
	    zbz_newuserdata(L, n * (2 * sizeof(zbz_bytes) + sizeof(zbz_put) + sizeof(zbz_put *) + sizeof(zbz_status)));
	w->put = (zbz_put *)(void *)p;
	w->keys = (zbz_bytes *)(void *)(w->put + n);
	w->values = w->keys + n;
	w->puts = (const zbz_put **)(void *)(w->values + n);
	w->status = (zbz_status *)(void *)(w->puts + n);
	w->n = 0;
	w->room = n;
}

/* Replaces an item on the top by its value; its TTL goes into *ttl. */
static zbz_status open_item(lua_State *L, const zbz_bind *b, int64_t *ttl, zbz_err *err) {
	int idx = lua_gettop(L);
	bool whole;
	if (!lua_istable(L, idx) || !zbz_is_item(L, b, idx)) return ZBZ_OK;
	lua_pushliteral(L, "ttl_ms");
	lua_rawget(L, idx);
	whole = lua_isnil(L, idx + 1) || (zbz_int_at(L, idx + 1, ttl) && *ttl >= 0);
	lua_pushliteral(L, "value");
	lua_rawget(L, idx);
	lua_replace(L, idx);
	lua_settop(L, idx);
	if (lua_isnil(L, idx) || !whole)
		return zbz_fail(err, ZBZ_E_ARGUMENT, "an item without a value or with a wrong ttl");
	return ZBZ_OK;
}

static zbz_status add_entry(lua_State *L, const zbz_bind *b, const zbz_table_box *t, int64_t ttl, writes *w,
                            zbz_buf *buf, zbz_err *err) {
	zbz_bytes key = zbz_string_at(L, lua_gettop(L) - 1);
	size_t i = w->n++, before;
	zbz_status s = zbz_buf_append(buf, key.p, key.n, err);
	if (s != ZBZ_OK) return s;
	memset(&w->put[i], 0, sizeof(w->put[i]));
	w->put[i].stale_ttl = -1;
	w->put[i].ttl = ttl;
	w->puts[i] = &w->put[i];
	w->keys[i].n = key.n;
	s = open_item(L, b, &w->put[i].ttl, err);
	if (s != ZBZ_OK) return s;
	before = buf->n;
	s = zbz_value_read(L, (zbz_codec)t->codec, lua_gettop(L), buf, err);
	w->values[i].n = buf->n - before;
	return s;
}

static void place(writes *w, const zbz_buf *buf) {
	size_t i, at = 0;
	for (i = 0; i < w->n; i++) {
		w->keys[i].p = buf->p + at;
		at += w->keys[i].n;
		w->values[i].p = buf->p + at;
		at += w->values[i].n;
	}
}

/* On failure the key at fault is at index `key`. */
static zbz_status gather(lua_State *L, const zbz_bind *b, const zbz_table_box *t, int64_t ttl, writes *w, zbz_buf *buf,
                         zbz_err *err) {
	int key = lua_gettop(L) + 1;
	lua_pushnil(L);
	while (lua_next(L, 2)) {
		zbz_status s;
		if (w->n == w->room || lua_type(L, key) != LUA_TSTRING)
			zbz_raise(L, "zbz: set_multi: the table changed during the call");
		s = add_entry(L, b, t, ttl, w, buf, err);
		lua_settop(L, key);
		if (s != ZBZ_OK) return s;
	}
	place(w, buf);
	return ZBZ_OK;
}

static void parse_set_multi(lua_State *L, zbz_bind *b, zbz_request *r) {
	zbz_table_box *t = zbz_request_table(L, b, r);
	size_t n = count_entries(L);
	zbz_options_in o;
	writes w;
	zbz_write_arg(L, 3, "set_multi", zbz_args_ttl, &o);
	if (n == 0) return;
	zbz_request_room(L, 3);
	make_room(L, &w, n);
	r->buf = zbz_scratch_take(L, b);
	memset(&r->c.err, 0, sizeof(r->c.err));
	r->s = gather(L, b, t, o.ttl, &w, r->buf, &r->c.err);
	if (r->s != ZBZ_OK) {
		r->key = zbz_string_at(L, lua_gettop(L));
		return;
	}
	r->count = w.n;
	r->keys = w.keys;
	r->values = w.values;
	r->puts = w.puts;
	r->each = w.put;
	r->status = w.status;
	zbz_request_begin(r, o.deadline);
	memset(&r->c.err, 0, sizeof(r->c.err));
}

static zbz_status run_set_multi(zbz_request *r) {
	if (r->count == 0) return ZBZ_OK;
	return zbz_table_set_many(r->t, &r->c, r->keys, r->values, r->puts, r->count, r->status);
}

static int push_set_multi(lua_State *L, zbz_bind *b, zbz_request *r) {
	size_t i;
	int errs;
	lua_pushnil(L);
	errs = lua_gettop(L);
	for (i = 0; i < r->count; i++) {
		if (r->status[i] < 0) note_error(L, errs, r->box, "set_multi", r->keys[i], r->status[i], &r->c.err);
	}
	return push_done(L);
}
static const zbz_verb set_multi_verb = { "set_multi", parse_set_multi, run_set_multi, push_set_multi, ZBZ_QUEUES,
	                                     false,       false,           ZBZ_ALONE,     false };
static int table_set_multi(lua_State *L) { return zbz_request_call(L, &set_multi_verb); }

static const zbz_verb *const verbs[] = { &get_multi_verb, &set_multi_verb, &delete_multi_verb, NULL };
const zbz_verb *const *const zbz_batch_verbs = verbs;

/* ---- items ---- */

static int item(lua_State *L) {
	zbz_options_in o;
	if (lua_isnoneornil(L, 1)) return zbz_raise(L, "zbz: item: the value is nil");
	zbz_write_arg(L, 2, "item", zbz_args_item, &o);
	lua_createtable(L, 0, 2);
	lua_pushvalue(L, 1);
	lua_setfield(L, -2, "value");
	if (o.ttl >= 0) {
		zbz_push_int(L, o.ttl);
		lua_setfield(L, -2, "ttl_ms");
	}
	zbz_push_slot(L, ZBZ_SLOT_ITEM_MT);
	lua_setmetatable(L, -2);
	return 1;
}

const luaL_Reg zbz_table_batch_methods[] = {
	{ "get_multi", table_get_multi },
	{ "set_multi", table_set_multi },
	{ "delete_multi", table_delete_multi },
	{ NULL, NULL },
};
static const luaL_Reg functions[] = { { "item", item }, { NULL, NULL } };

void zbz_open_batch(lua_State *L) {
	zbz_bind *b = zbz_bind_of(L);
	zbz_functions(L, 1, functions);
	lua_newtable(L);
	b->item_mt = lua_topointer(L, -1);
	lua_pushliteral(L, "zbz.item");
	lua_setfield(L, -2, "__name");
	lua_pushvalue(L, -1);
	lua_setfield(L, 1, "item_mt");
	zbz_getenv(L, lua_upvalueindex(1));
	lua_insert(L, -2);
	lua_rawseti(L, -2, ZBZ_SLOT_ITEM_MT);
	lua_pop(L, 1);
}
