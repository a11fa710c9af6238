/* Counters: those in the store, and those of the table itself. */
#include "request.h"

static zbz_status push_counter(lua_State *L, int64_t value, zbz_err *err) {
#if !ZBZ_EXACT_INTEGERS
	if (value > INT64_C(9007199254740992) || value < -INT64_C(9007199254740992)) {
		memset(err, 0, sizeof(*err));
		return zbz_fail(err, ZBZ_E_TOO_LARGE, "the counter is now %lld and does not fit a number of this Lua",
		                (long long)value);
	}
#endif
	(void)err;
	zbz_push_int(L, value);
	return ZBZ_OK;
}

static void parse_count(lua_State *L, zbz_bind *b, zbz_request *r) {
	const char *op = r->verb->name;
	zbz_table_box *t = zbz_request_table(L, b, r);
	zbz_options_in o;
	r->key = zbz_key_arg(L, 2, op);
	r->number = lua_isnoneornil(L, 3) ? 1 : zbz_int_arg(L, 3, op, "n");
	if (lua_type(L, 4) == LUA_TNUMBER || lua_type(L, 4) == LUA_TSTRING) {
		zbz_raise(L, "zbz: %s: options must be a table, got %s", op, luaL_typename(L, 4));
	}
	zbz_write_arg(L, 4, op, zbz_args_incr, &o);
	r->ttl = o.ttl;
	r->has_initial = o.has_initial;
	r->initial = o.initial;
	zbz_request_begin(r, o.deadline);
	if (t->codec != ZBZ_CODEC_MSGPACK) return;
	memset(&r->c.err, 0, sizeof(r->c.err));
	r->s = zbz_fail(&r->c.err, ZBZ_E_UNSUPPORTED,
	                "counters are stored as decimal text, which is not MessagePack: use another serializer");
}

static void parse_down(lua_State *L, zbz_bind *b, zbz_request *r) {
	parse_count(L, b, r);
	if (r->number == INT64_MIN) zbz_raise(L, "zbz: decr: n is too small");
	r->number = -r->number;
}

static zbz_status run_count(zbz_request *r) {
	return zbz_table_incr(r->t, &r->c, r->key, r->number, r->has_initial, r->initial, r->ttl, &r->number);
}

static int push_count(lua_State *L, zbz_bind *b, zbz_request *r) {
	r->s = push_counter(L, r->number, &r->c.err);
	return 1;
}

static const zbz_verb incr_verb = { "incr", parse_count, run_count, push_count, ZBZ_QUEUES,
	                                false,  false,       ZBZ_ALONE, false };
static const zbz_verb decr_verb = { "decr", parse_down, run_count, push_count, ZBZ_QUEUES,
	                                false,  false,      ZBZ_ALONE, false };
static int table_incr(lua_State *L) { return zbz_request_call(L, &incr_verb); }
static int table_decr(lua_State *L) { return zbz_request_call(L, &decr_verb); }

static const zbz_verb *const verbs[] = { &incr_verb, &decr_verb, NULL };
const zbz_verb *const *const zbz_count_verbs = verbs;

/* ---- the window itself ---- */

static int table_prefix(lua_State *L) {
	zbz_table_box *t = zbz_table_check(L, zbz_bind_of(L), 1, "prefix");
	zbz_bytes prefix = zbz_table_prefix(t->t);
	lua_pushlstring(L, prefix.p, prefix.n);
	return 1;
}

static void set_count(lua_State *L, const char *name, uint64_t v) {
	zbz_push_int(L, v > INT64_MAX ? INT64_MAX : (int64_t)v);
	lua_setfield(L, -2, name);
}

static int table_counters(lua_State *L) {
	zbz_table_box *t = zbz_table_check(L, zbz_bind_of(L), 1, "counters");
	zbz_table_stats st;
	uint64_t l1_hits = 0;
	int64_t l1_access = 0;
	zbz_table_stats_read(t->t, &st);
	if (t->l1 != NULL) zbz_l1_stats(t->l1, &l1_hits, &l1_access);
	st.hits += l1_hits;
	if (l1_access > st.last_access) st.last_access = l1_access;
	lua_createtable(L, 0, 16);
	if (t->l1 != NULL) set_count(L, "l1_hits", l1_hits);
	set_count(L, "hits", st.hits);
	set_count(L, "misses", st.misses);
	set_count(L, "sets", st.sets);
	set_count(L, "deletes", st.deletes);
	set_count(L, "errors", st.errors);
	set_count(L, "lost_writes", st.lost_writes);
	set_count(L, "loads", st.loads);
	set_count(L, "load_failures", st.load_failures);
	set_count(L, "waits", st.waits);
	set_count(L, "stale_served", st.stale_served);
	set_count(L, "fenced", st.fenced);
	set_count(L, "lock_waits", st.lock_waits);
	set_count(L, "unlocked", st.unlocked);
	zbz_push_seconds(L, st.created_at);
	lua_setfield(L, -2, "created_at");
	zbz_push_seconds(L, st.last_access);
	lua_setfield(L, -2, "last_access");
	return 1;
}

const luaL_Reg zbz_table_count_methods[] = {
	{ "incr", table_incr },         { "decr", table_decr }, { "prefix", table_prefix },
	{ "counters", table_counters }, { NULL, NULL },
};
