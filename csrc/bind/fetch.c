/* What fetch is made of: entries, flights, leases, commits. Lua puts them together, so that loaders may yield. */
#include <math.h>

#include "request.h"

typedef struct flight_box {
	zbz_box head;
	zbz_flight *flight; /* NULL: left */
	bool leads, landed;
	zbz_request *lent_to;
} flight_box;

typedef struct flights_box {
	zbz_box head;
	zbz_flights *flights; /* NULL: closed */
} flights_box;

static void flight_release(lua_State *L, void *self) {
	flight_box *box = self;
	zbz_flight *flight = box->flight;
	box->flight = NULL;
	if (box->lent_to != NULL) {
		box->lent_to->lent = NULL;
		box->lent_to->orphaned = true;
		box->lent_to = NULL;
	} else {
		zbz_flight_leave(flight);
	}
}

static flight_box *flight_check(lua_State *L, int idx, const char *op) {
	flight_box *box = zbz_box_check(L, zbz_bind_of(L), idx, ZBZ_BOX_FLIGHT, op);
	if (box->flight == NULL) luaL_error(L, "zbz: %s: the flight was left", op);
	return box;
}

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

/* ---- flights ---- */

static const char *const seats[] = {
	[ZBZ_LEADS] = "leads", [ZBZ_WAITS] = "waits", [ZBZ_WAITS_FOR_SELF] = "waits_for_self"
};

static int push_seat(lua_State *L, flight_box *box, zbz_seat seat) {
	box->leads = seat == ZBZ_LEADS;
	lua_pushstring(L, seats[seat]);
	return 2;
}

static int table_flight(lua_State *L) {
	zbz_bind *b = zbz_bind_of(L);
	zbz_table_box *t = zbz_table_check(L, b, 1, "flight");
	zbz_bytes key = zbz_key_arg(L, 2, "flight");
	flight_box *box = zbz_box_new(L, ZBZ_BOX_FLIGHT, sizeof(*box));
	zbz_seat seat = ZBZ_LEADS;
	zbz_err err;
	if (t->t == NULL) return luaL_error(L, "zbz: flight: the table is closed");
	if (zbz_table_flight(t->t, key, b, &box->flight, &seat, &err) < 0) {
		box->flight = NULL;
		return zbz_push_table_failure(L, t, "flight", key, &err);
	}
	return push_seat(L, box, seat);
}

static int wait_for(lua_State *L) {
	zbz_bind *b = zbz_bind_of(L);
	flight_box *box = flight_check(L, 1, "wait");
	zbz_keep *keep;
	const zbz_clock *clock = zbz_clock_arg(L, b, 3, "wait", &keep);
	int64_t deadline = zbz_ms_arg(L, 2, "wait", "deadline", ZBZ_NEVER);
	zbz_where at = zbz_at("wait");
	zbz_err err;
	if (zbz_flight_wait(box->flight, clock, deadline, &err) < 0) return zbz_push_failure(L, &err, &at);
	lua_pushboolean(L, 1);
	return 1;
}

static int flight_landed(lua_State *L) {
	lua_pushboolean(L, zbz_flight_landed(flight_check(L, 1, "landed")->flight));
	return 1;
}

static int flight_moved(lua_State *L) {
	lua_pushboolean(L, zbz_flight_moved(flight_check(L, 1, "moved")->flight));
	return 1;
}

static const char *const landings[] = {
	[ZBZ_LANDED_VALUE] = "value",
	[ZBZ_LANDED_NEGATIVE] = "negative",
	[ZBZ_LANDED_FAILED] = "failed",
	[ZBZ_LANDED_NOTHING] = "nothing",
};

/* The bytes go through the scratch buffer: they end with the flight, which a finalizer may leave. */
static int flight_result(lua_State *L) {
	zbz_bind *b = zbz_bind_of(L);
	flight_box *box = flight_check(L, 1, "result");
	zbz_where at = zbz_at("result");
	zbz_landing how = ZBZ_LANDED_FAILED;
	zbz_bytes result = { NULL, 0 };
	zbz_buf *buf = zbz_scratch_take(L, b);
	zbz_err err;
	zbz_status s;
	if (!zbz_flight_landed(box->flight)) {
		zbz_scratch_give(b, buf);
		return luaL_error(L, "zbz: result: the flight has not landed");
	}
	/* The core remembers by itself whether the flight had moved when this seat was taken. */
	s = zbz_flight_result(box->flight, false, &how, &result);
	if (s == ZBZ_OK) s = zbz_buf_append(buf, result.p, result.n, &err);
	if (s >= 0) lua_pushstring(L, s == ZBZ_OK ? landings[how] : "again");
	if (s == ZBZ_OK && how != ZBZ_LANDED_NEGATIVE) lua_pushlstring(L, buf->p, buf->n);
	zbz_scratch_give(b, buf);
	if (s < 0) return zbz_push_failure(L, &err, &at);
	return s == ZBZ_OK && how != ZBZ_LANDED_NEGATIVE ? 2 : 1;
}

static int flight_land(lua_State *L) {
	flight_box *box = flight_check(L, 1, "land");
	zbz_bytes how = zbz_string_arg(L, 2, "land", "how"), result = { NULL, 0 };
	zbz_landing landing = ZBZ_LANDED_VALUE;
	zbz_where at = zbz_at("land");
	zbz_err err;
	while (landing <= ZBZ_LANDED_NOTHING && !zbz_bytes_eq(how, zbz_bstr(landings[landing]))) landing++;
	if (landing > ZBZ_LANDED_NOTHING)
		return luaL_error(L, "zbz: land: how must be \"value\", \"negative\", \"failed\" or \"nothing\"");
	if (!box->leads || box->landed) return luaL_error(L, "zbz: land: only the leader lands a flight, and once");
	if (landing == ZBZ_LANDED_VALUE || landing == ZBZ_LANDED_FAILED)
		result = zbz_string_arg(L, 3, "land", "the result");
	if (zbz_flight_land(box->flight, landing, result, &err) < 0) return zbz_push_failure(L, &err, &at);
	box->landed = true;
	lua_pushboolean(L, 1);
	return 1;
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
	flight_box *flight;
	commit_in in;
	zbz_request_table(L, b, r);
	flight = flight_check(L, 2, "commit");
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

/* Pushes ticket and id for the landing. */
static zbz_status arm(void *flight, void (*fn)(void *ud), void *ud, zbz_err *err) {
	return zbz_flight_on_land(flight, fn, ud, err);
}
static int flight_park(lua_State *L) { return zbz_park_on(L, arm, flight_check(L, 1, "park")->flight); }

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

/* ---- flights of a provider written in Lua ---- */

static void flights_release(lua_State *L, void *self) {
	flights_box *box = self;
	zbz_flights *flights = box->flights;
	box->flights = NULL;
	if (flights != NULL) zbz_flights_free(flights);
}

static zbz_flights *flights_check(lua_State *L, const char *op) {
	flights_box *box = zbz_box_check(L, zbz_bind_of(L), 1, ZBZ_BOX_FLIGHTS, op);
	if (box->flights == NULL) luaL_error(L, "zbz: %s: the flights are closed", op);
	return box->flights;
}

static int new_flights(lua_State *L) {
	zbz_where at = zbz_at("flights");
	flights_box *box = zbz_box_new(L, ZBZ_BOX_FLIGHTS, sizeof(*box));
	zbz_err err;
	box->flights = zbz_flights_new();
	if (box->flights != NULL) return 1;
	zbz_fail_nomem(&err);
	return zbz_push_failure(L, &err, &at);
}

static int flights_flight(lua_State *L) {
	zbz_bytes key = zbz_key_arg(L, 2, "flight");
	flight_box *box = zbz_box_new(L, ZBZ_BOX_FLIGHT, sizeof(*box));
	zbz_flights *flights = flights_check(L, "flight");
	zbz_where at = zbz_at("flight");
	zbz_seat seat = ZBZ_LEADS;
	zbz_err err;
	if (zbz_flight_enter(flights, key, zbz_bind_of(L), &box->flight, &seat, &err) < 0) {
		box->flight = NULL;
		return zbz_push_failure(L, &err, &at);
	}
	return push_seat(L, box, seat);
}

static int flights_touch(lua_State *L) {
	zbz_flights_touch(flights_check(L, "touch"), zbz_key_arg(L, 2, "touch"));
	return 0;
}

static int flights_touch_prefix(lua_State *L) {
	zbz_flights_touch_prefix(flights_check(L, "touch_prefix"), zbz_string_arg(L, 2, "touch_prefix", "the prefix"));
	return 0;
}

const luaL_Reg zbz_table_fetch_methods[] = {
	{ "entry", table_entry }, { "encode", table_encode }, { "decode", table_decode }, { "flight", table_flight },
	{ "lease", table_lease }, { "commit", table_commit }, { "count", table_count },   { NULL, NULL },
};
static const luaL_Reg flight_methods[] = {
	{ "wait", wait_for },
	{ "landed", flight_landed },
	{ "result", flight_result },
	{ "moved", flight_moved },
	{ "land", flight_land },
	{ "park", flight_park },
	{ NULL, NULL },
};
static const luaL_Reg flights_methods[] = {
	{ "flight", flights_flight },
	{ "touch", flights_touch },
	{ "touch_prefix", flights_touch_prefix },
	{ NULL, NULL },
};
static const luaL_Reg functions[] = { { "flights", new_flights }, { NULL, NULL } };

void zbz_open_fetch(lua_State *L) {
	zbz_class(L, ZBZ_BOX_FLIGHT, "zbz.Flight", flight_release, "leave", flight_methods);
	zbz_class(L, ZBZ_BOX_FLIGHTS, "zbz.Flights", flights_release, "close", flights_methods);
	zbz_functions(L, 1, functions);
}
