/* What fetch is made of, flights (flight.c) aside: entries, leases, commits. Lua puts them together, so that loaders may yield. */
#include <math.h>

#include "flight.h"

/* ---- entries ---- */

static const char *state_of(const zbz_entry *e) {
	if (e->lease) return "lease";
	if (e->stale) return "stale";
	return e->negative ? "negative" : "hit";
}

static void push_version(lua_State *L, const zbz_version *v) {
	if (v->n > 0) {
		lua_pushlstring(L, (const char *)v->b, v->n);
	} else {
		lua_pushnil(L);
	}
}

static void push_times(lua_State *L, const zbz_entry *e, int64_t now) {
	if (e->stored_at > 0) {
		zbz_push_int(L, now > e->stored_at ? now - e->stored_at : 0);
	} else {
		lua_pushnil(L);
	}
	if (e->expire_at == ZBZ_NO_EXPIRY) {
		lua_pushnumber(L, (lua_Number)HUGE_VAL);
	} else if (e->expire_at > 0) {
		zbz_push_int(L, e->expire_at > now ? e->expire_at - now : 0);
	} else {
		lua_pushnil(L);
	}
}

static void parse_entry(lua_State *L, zbz_bind *b, zbz_request *r) {
	int64_t deadline;
	zbz_request_table(L, b, r);
	r->key = zbz_key_arg(L, 2, "entry");
	deadline = zbz_ms_arg(L, 3, "entry", "deadline", -1);
	r->buf = zbz_scratch_take(L, b);
	zbz_request_begin(r, deadline);
}

static zbz_status run_entry(zbz_request *r) {
	zbz_status s;
	memset(&r->entry, 0, sizeof(r->entry));
	s = zbz_table_entry(r->t, &r->c, r->key, true, r->buf, &r->entry);
	return s == ZBZ_OK && r->entry.negative && r->entry.stale ? ZBZ_MISS : s;
}

int zbz_entry_push(lua_State *L, zbz_request *r) {
	const zbz_entry *e = &r->entry;
	if (r->s != ZBZ_OK || e->negative || e->lease) {
		lua_pushnil(L);
		if (r->s != ZBZ_OK) return 1;
	} else {
		r->s = zbz_value_push(L, r->box, zbz_buf_bytes(r->buf), &r->c.err);
		if (r->s != ZBZ_OK) return 0;
	}
	lua_pushstring(L, state_of(e));
	push_times(L, e, r->c.now);
	return 4;
}

static int push_entry(lua_State *L, zbz_bind *b, zbz_request *r) {
	int n = zbz_entry_push(L, r);
	if (n < 4) return n;
	push_version(L, &r->entry.version);
	return 5;
}
static const zbz_verb entry_verb = { "entry", parse_entry, run_entry, push_entry, ZBZ_READS,
	                                 true,    false,       ZBZ_ALONE, true };
static int table_entry(lua_State *L) { return zbz_request_call(L, &entry_verb); }

static int table_encode(lua_State *L) {
	zbz_bind *b = zbz_bind_of(L);
	zbz_table_box *t = zbz_table_check(L, b, 1, "encode");
	zbz_buf *buf;
	zbz_err err;
	zbz_status s;
	zbz_value_check(L, b, 2, "encode");
	lua_settop(L, 2);
	buf = zbz_scratch_take(L, b);
	s = zbz_value_read(L, (zbz_codec)t->codec, 2, buf, &err);
	if (s == ZBZ_OK) lua_pushlstring(L, buf->p, buf->n);
	zbz_scratch_give(b, buf);
	return s == ZBZ_OK ? 1 : zbz_push_table_failure(L, t, "encode", zbz_b(NULL, 0), &err);
}

static int table_decode(lua_State *L) {
	zbz_table_box *t = zbz_table_check(L, zbz_bind_of(L), 1, "decode");
	zbz_err err;
	if (zbz_value_push(L, t, zbz_string_arg(L, 2, "decode", "the bytes"), &err) == ZBZ_OK) return 1;
	return zbz_push_table_failure(L, t, "decode", zbz_b(NULL, 0), &err);
}

/* ---- lease and commit ---- */

/* What Table:entry told, as far as a lease needs it. False: there was nothing. */
static bool read_seen(lua_State *L, zbz_entry *seen) {
	zbz_bytes state, version;
	memset(seen, 0, sizeof(*seen));
	if (lua_isnoneornil(L, 3)) return false;
	state = zbz_string_arg(L, 3, "lease", "state");
	seen->expire_at = -1;
	seen->negative = zbz_bytes_eq(state, zbz_bstr("negative"));
	seen->stale = zbz_bytes_eq(state, zbz_bstr("stale"));
	seen->lease = zbz_bytes_eq(state, zbz_bstr("lease"));
	seen->sealed = seen->negative || seen->stale || seen->lease;
	if (!seen->sealed && !zbz_bytes_eq(state, zbz_bstr("hit")))
		luaL_error(L, "zbz: lease: unknown state '%s'", state.p);
	if (lua_isnoneornil(L, 4)) return true;
	version = zbz_string_arg(L, 4, "lease", "version");
	if (version.n > sizeof(seen->version.b)) luaL_error(L, "zbz: lease: the version is too long");
	seen->version.n = (uint8_t)version.n;
	memcpy(seen->version.b, version.p, version.n);
	return true;
}

static void parse_lease(lua_State *L, zbz_bind *b, zbz_request *r) {
	zbz_request_table(L, b, r);
	r->key = zbz_key_arg(L, 2, "lease");
	r->flag = read_seen(L, &r->entry);
	r->number = zbz_int_arg(L, 5, "lease", "lease_ms");
	zbz_request_begin(r, zbz_ms_arg(L, 6, "lease", "deadline", -1));
}
static zbz_status run_lease(zbz_request *r) {
	memset(&r->version, 0, sizeof(r->version));
	return zbz_table_lease(r->t, &r->c, r->key, r->flag ? &r->entry : NULL, r->number, &r->version);
}
static int push_lease(lua_State *L, zbz_bind *b, zbz_request *r) {
	push_version(L, &r->version);
	return 1;
}
static const zbz_verb lease_verb = { "lease", parse_lease, run_lease, push_lease, ZBZ_CHANGES,
	                                 false,   false,       ZBZ_ALONE, false };
static int table_lease(lua_State *L) { return zbz_request_call(L, &lease_verb); }

typedef struct commit_in {
	int64_t ttl, stale_ttl, deadline;
	zbz_version lease;
	bool negative;
} commit_in;

static const zbz_arg commit_args[] = {
	{ "ttl_ms", ZBZ_ARG_MS, offsetof(commit_in, ttl) },
	{ "stale_ttl_ms", ZBZ_ARG_MS, offsetof(commit_in, stale_ttl) },
	{ "negative", ZBZ_ARG_BOOL, offsetof(commit_in, negative) },
	{ "lease", ZBZ_ARG_VERSION, offsetof(commit_in, lease) },
	{ "deadline_ms", ZBZ_ARG_MS, offsetof(commit_in, deadline) },
	{ NULL, ZBZ_ARG_ANY, 0 },
};

static void parse_commit(lua_State *L, zbz_bind *b, zbz_request *r) {
	zbz_flight_box *flight;
	commit_in in;
	zbz_request_table(L, b, r);
	flight = zbz_flight_check(L, 2, "commit");
	r->key = zbz_key_arg(L, 3, "commit");
	memset(&in, 0, sizeof(in));
	in.ttl = in.stale_ttl = in.deadline = -1;
	zbz_args_read(L, 5, "commit", commit_args, &in);
	if (!in.negative) r->value = zbz_string_arg(L, 4, "commit", "the bytes");
	if (!flight->leads) luaL_error(L, "zbz: commit: only the leader of a flight commits");
	memset(&r->put, 0, sizeof(r->put));
	r->put.ttl = in.ttl;
	r->put.stale_ttl = in.stale_ttl;
	r->put.negative = in.negative;
	r->version = in.lease;
	r->flight = flight->flight;
	r->lent = &flight->lent_to;
	zbz_request_begin(r, in.deadline);
}
static zbz_status run_commit(zbz_request *r) {
	return zbz_table_commit(r->t, &r->c, r->flight, r->key, r->value, &r->put, &r->version);
}
static int push_commit(lua_State *L, zbz_bind *b, zbz_request *r) {
	lua_pushboolean(L, r->s == ZBZ_OK);
	return 1;
}
static const zbz_verb commit_verb = { "commit", parse_commit, run_commit, push_commit, ZBZ_CHANGES,
	                                  false,    false,        ZBZ_ALONE,  false };
static int table_commit(lua_State *L) { return zbz_request_call(L, &commit_verb); }

static const zbz_verb *const verbs[] = { &entry_verb, &lease_verb, &commit_verb, NULL };
const zbz_verb *const *const zbz_fetch_verbs = verbs;

static int table_count(lua_State *L) {
	static const char *const names[] = {
		[ZBZ_COUNT_LOADS] = "loads",       [ZBZ_COUNT_LOAD_FAILURES] = "load_failures",
		[ZBZ_COUNT_WAITS] = "waits",       [ZBZ_COUNT_STALE_SERVED] = "stale_served",
		[ZBZ_COUNT_FENCED] = "fenced",     [ZBZ_COUNT_LOCK_WAITS] = "lock_waits",
		[ZBZ_COUNT_UNLOCKED] = "unlocked",
	};
	zbz_table_box *t = zbz_table_check(L, zbz_bind_of(L), 1, "count");
	zbz_bytes which = zbz_string_arg(L, 2, "count", "the counter's name");
	zbz_counter i;
	for (i = ZBZ_COUNT_LOADS; i <= ZBZ_COUNT_UNLOCKED; i++) {
		if (!zbz_bytes_eq(which, zbz_bstr(names[i]))) continue;
		zbz_table_count(t->t, i);
		return 0;
	}
	return luaL_error(L, "zbz: count: unknown counter '%s'", which.p);
}

const luaL_Reg zbz_table_fetch_methods[] = {
	{ "entry", table_entry }, { "encode", table_encode }, { "decode", table_decode }, { "flight", zbz_flight_new },
	{ "lease", table_lease }, { "commit", table_commit }, { "count", table_count },   { NULL, NULL },
};
