/* Cache instances. */
#include "parting.h"
#include "request.h"

void zbz_cache_take(lua_State *L, zbz_cache_box *box, zbz_parting *out) {
	zbz_subscriptions_take(L, box, out);
	out->cache = box->cache;
	out->keep = box->keep;
	box->cache = NULL;
	box->keep = NULL;
}

static void cache_release(lua_State *L, void *self) {
	zbz_parting p = { 0 };
	zbz_cache_take(L, self, &p);
	zbz_part(zbz_bind_of(L), &p);
}

static int cache_closed(lua_State *L) {
	zbz_cache_box *box = zbz_box_check(L, zbz_bind_of(L), 1, ZBZ_BOX_CACHE, "closed");
	lua_pushboolean(L, box->cache == NULL);
	return 1;
}

static const zbz_arg cache_args[] = {
	{ "key_prefix", ZBZ_ARG_TEXT, offsetof(zbz_cache_opts, key_prefix) },
	{ "default_ttl", ZBZ_ARG_MS, offsetof(zbz_cache_opts, default_ttl) },
	{ "deadline", ZBZ_ARG_MS, offsetof(zbz_cache_opts, deadline) },
	{ "clock", ZBZ_ARG_ANY, 0 },
	{ NULL, ZBZ_ARG_ANY, 0 },
};

/* Pushes the option `clock`, or nil. */
static void push_clock_option(lua_State *L, int idx) {
	if (!lua_istable(L, idx)) {
		lua_pushnil(L);
		return;
	}
	lua_pushliteral(L, "clock");
	lua_rawget(L, idx);
}

static int new_cache(lua_State *L) {
	zbz_bind *b = zbz_bind_of(L);
	zbz_store_box *store = zbz_store_check(L, b, 1, "new_cache");
	zbz_cache_opts opts;
	zbz_cache_box *box;
	zbz_keep *clock_keep;
	zbz_where at = zbz_at("new_cache");
	zbz_err err;
	lua_settop(L, 2);
	push_clock_option(L, 2);
	box = zbz_box_new(L, ZBZ_BOX_CACHE, sizeof(*box));
	memset(&opts, 0, sizeof(opts));
	zbz_args_read(L, 2, "new_cache", cache_args, &opts);
	if (opts.default_ttl < 0 || opts.deadline < 0) return luaL_error(L, "zbz: new_cache: negative milliseconds");
	opts.clock = box->clock = zbz_clock_arg(L, b, 3, "new_cache", &clock_keep);
	box->deadline = opts.deadline;
	box->keep = zbz_keep_new(NULL);
	if (box->keep == NULL || !zbz_keep_add(box->keep, clock_keep) || !zbz_keep_add(box->keep, store->keep)) {
		zbz_fail_nomem(&err);
		return zbz_push_failure(L, &err, &at);
	}
	if (store->store == NULL) return luaL_error(L, "zbz: new_cache: the store is closed");
	if (zbz_cache_new(store->store, &opts, &box->cache, &err) < 0) {
		box->cache = NULL;
		return zbz_push_failure(L, &err, &at);
	}
	return 1;
}

/* ---- calls on the whole instance ---- */

void zbz_cache_begin(const zbz_cache_box *box, zbz_call *c, int64_t timeout_ms) {
	memset(&c->err, 0, sizeof(c->err));
	c->no_wait = c->want_expiry = c->each = false;
	if (timeout_ms < 0) timeout_ms = box->deadline;
	c->clock = box->clock;
	c->now = zbz_wall(c->clock);
	c->deadline = ZBZ_NEVER;
	if (timeout_ms > 0) {
		int64_t mono = zbz_mono(c->clock);
		if (timeout_ms < ZBZ_NEVER - mono) c->deadline = mono + timeout_ms;
	}
}

zbz_store *zbz_cache_begin_store(lua_State *L, int deadline_idx, const char *op, zbz_call *c) {
	zbz_cache_box *box = zbz_cache_check(L, zbz_bind_of(L), 1, op);
	zbz_cache_begin(box, c, zbz_ms_arg(L, deadline_idx, op, "deadline", -1));
	return zbz_cache_store(box->cache);
}

static int push_closed(lua_State *L, const char *op) {
	zbz_err err;
	zbz_where at = zbz_at(op);
	memset(&err, 0, sizeof(err));
	zbz_fail(&err, ZBZ_E_CLOSED, "the cache is closed");
	return zbz_push_failure(L, &err, &at);
}

/* Any thread. */
static void undo_swap(zbz_request *r) {
	zbz_store_unref(r->held);
	zbz_cache_unref(r->ud);
	r->undo = NULL;
}

static void parse_swap(lua_State *L, zbz_bind *b, zbz_request *r) {
	zbz_cache_box *box = zbz_cache_check(L, b, 1, "swap");
	zbz_store_box *next = zbz_store_check(L, b, 2, "swap");
	zbz_cache_begin(box, &r->c, zbz_ms_arg(L, 3, "swap", "deadline", -1));
	if (!zbz_keep_add(box->keep, next->keep)) {
		r->s = zbz_fail_nomem(&r->c.err);
		return;
	}
	r->keep = box->keep;
	r->ud = zbz_cache_ref(box->cache);
	r->held = zbz_store_ref(next->store);
	r->undo = undo_swap;
}
static zbz_status run_swap(zbz_request *r) { return zbz_cache_swap(r->ud, &r->c, r->held); }
static int push_swap(lua_State *L, zbz_bind *b, zbz_request *r) {
	undo_swap(r);
	lua_pushboolean(L, 1);
	return 1;
}
static const zbz_verb swap_verb = {
	"swap", parse_swap, run_swap, push_swap, ZBZ_CHANGES, false, true, ZBZ_ALONE, false
};
static int cache_swap(lua_State *L) { return zbz_request_call(L, &swap_verb); }

static int cache_store(lua_State *L) {
	zbz_cache_box *box = zbz_cache_check(L, zbz_bind_of(L), 1, "store");
	zbz_store_box *out = zbz_box_new(L, ZBZ_BOX_STORE, sizeof(*out));
	out->store = zbz_cache_store(box->cache);
	if (out->store == NULL) return push_closed(L, "store");
	out->keep = zbz_keep_ref(box->keep);
	return 1;
}

void zbz_request_store(lua_State *L, zbz_request *r, int deadline_idx) {
	zbz_cache_box *box = zbz_cache_check(L, zbz_bind_of(L), 1, r->verb->name);
	r->keep = box->keep;
	r->store = zbz_cache_begin_store(L, deadline_idx, r->verb->name, &r->c);
	if (r->store == NULL) r->s = zbz_fail(&r->c.err, ZBZ_E_CLOSED, "the cache is closed");
}

static void parse_whole(lua_State *L, zbz_bind *b, zbz_request *r) { zbz_request_store(L, r, 2); }

static zbz_status run_ping(zbz_request *r) { return zbz_store_ping(r->store, &r->c); }
static int push_ping(lua_State *L, zbz_bind *b, zbz_request *r) {
	lua_pushboolean(L, 1);
	return 1;
}
static const zbz_verb ping_verb = {
	"ping", parse_whole, run_ping, push_ping, ZBZ_READS, false, false, ZBZ_ALONE, false
};
static int cache_ping(lua_State *L) { return zbz_request_call(L, &ping_verb); }

static void parse_version(lua_State *L, zbz_bind *b, zbz_request *r) {
	zbz_cache_check(L, b, 1, "version");
	zbz_ms_arg(L, 2, "version", "deadline", -1);
	zbz_request_room(L, 2);
	r->buf = zbz_scratch_take(L, b);
	zbz_request_store(L, r, 2);
}
static zbz_status run_version(zbz_request *r) { return zbz_store_version(r->store, &r->c, r->buf); }
static int push_version(lua_State *L, zbz_bind *b, zbz_request *r) {
	lua_pushlstring(L, r->buf->p, r->buf->n);
	return 1;
}
static const zbz_verb version_verb = { "version", parse_version, run_version, push_version, ZBZ_READS,
	                                   false,     false,         ZBZ_ALONE,   false };
static int cache_version(lua_State *L) { return zbz_request_call(L, &version_verb); }

static void set_known(lua_State *L, const char *name, int64_t v) {
	if (v < 0) return;
	zbz_push_int(L, v);
	lua_setfield(L, -2, name);
}

static zbz_status run_stats(zbz_request *r) {
	zbz_store_stats(r->store, &r->c, &r->stats);
	return ZBZ_OK;
}
static const char *const channels[] = {
	[ZBZ_CHANNEL_NONE] = "none", [ZBZ_CHANNEL_TRACKING] = "tracking", [ZBZ_CHANNEL_PUBSUB] = "pubsub",
	[ZBZ_CHANNEL_DOWN] = "down", [ZBZ_CHANNEL_REFUSED] = "refused",
};
static int push_stats(lua_State *L, zbz_bind *b, zbz_request *r) {
	lua_createtable(L, 0, 6);
	set_known(L, "keys", r->stats.keys);
	set_known(L, "memory", r->stats.memory);
	set_known(L, "connections", r->stats.connections);
	set_known(L, "evictions", r->stats.evictions);
	set_known(L, "expired", r->stats.expired);
	set_known(L, "retries", r->stats.retries);
	set_known(L, "tier1_keys", r->stats.tier1_keys);
	set_known(L, "tier1_memory", r->stats.tier1_memory);
	set_known(L, "tier1_hits", r->stats.tier1_hits);
	set_known(L, "tier2_hits", r->stats.tier2_hits);
	set_known(L, "promotions", r->stats.promotions);
	set_known(L, "invalidations", r->stats.invalidations);
	set_known(L, "channel_losses", r->stats.channel_losses);
	if (r->stats.channel >= 0) {
		lua_pushstring(L, channels[r->stats.channel]);
		lua_setfield(L, -2, "channel");
	}
	return 1;
}
static const zbz_verb stats_verb = { "provider_stats", parse_whole, run_stats, push_stats, ZBZ_READS, false, false,
	                                 ZBZ_ALONE,        false };
static int cache_stats(lua_State *L) { return zbz_request_call(L, &stats_verb); }

static const zbz_verb *const verbs[] = { &swap_verb, &ping_verb, &version_verb, &stats_verb, NULL };
const zbz_verb *const *const zbz_cache_verbs = verbs;

static const luaL_Reg methods[] = {
	{ "swap", cache_swap },        { "store", cache_store },
	{ "closed", cache_closed },    { "ping", cache_ping },
	{ "version", cache_version },  { "provider_stats", cache_stats },
	{ "close", zbz_handle_close }, { NULL, NULL },
};
static const luaL_Reg functions[] = { { "new_cache", new_cache }, { NULL, NULL } };

void zbz_open_cache(lua_State *L) {
	zbz_class(L, ZBZ_BOX_CACHE, "zbz.Cache", cache_release, NULL, methods);
	zbz_push_methods(L, ZBZ_BOX_CACHE);
	zbz_functions(L, lua_gettop(L), zbz_cache_native_methods);
	zbz_functions(L, lua_gettop(L), zbz_cache_mail_methods);
	lua_setfield(L, 1, "cache_methods");
	zbz_functions(L, 1, functions);
}
