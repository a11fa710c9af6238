/* Flights: who loads a key, who waits for him, and how it ended; of a table, and of a provider written in Lua. */
#include "flight.h"

typedef struct flights_box {
	zbz_box head;
	zbz_flights *flights; /* NULL: closed */
} flights_box;

static void flight_release(lua_State *L, void *self) {
	zbz_flight_box *box = self;
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

zbz_flight_box *zbz_flight_check(lua_State *L, int idx, const char *op) {
	zbz_flight_box *box = zbz_box_check(L, zbz_bind_of(L), idx, ZBZ_BOX_FLIGHT, op);
	if (box->flight == NULL) luaL_error(L, "zbz: %s: the flight was left", op);
	return box;
}

/* ---- of a table ---- */

static const char *const seats[] = {
	[ZBZ_LEADS] = "leads", [ZBZ_WAITS] = "waits", [ZBZ_WAITS_FOR_SELF] = "waits_for_self"
};

static int push_seat(lua_State *L, zbz_flight_box *box, zbz_seat seat) {
	box->leads = seat == ZBZ_LEADS;
	lua_pushstring(L, seats[seat]);
	return 2;
}

int zbz_flight_new(lua_State *L) {
	zbz_bind *b = zbz_bind_of(L);
	zbz_table_box *t = zbz_table_check(L, b, 1, "flight");
	zbz_bytes key = zbz_key_arg(L, 2, "flight");
	zbz_flight_box *box = zbz_box_new(L, ZBZ_BOX_FLIGHT, sizeof(*box));
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
	zbz_flight_box *box = zbz_flight_check(L, 1, "wait");
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
	lua_pushboolean(L, zbz_flight_landed(zbz_flight_check(L, 1, "landed")->flight));
	return 1;
}

static int flight_moved(lua_State *L) {
	lua_pushboolean(L, zbz_flight_moved(zbz_flight_check(L, 1, "moved")->flight));
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
	zbz_flight_box *box = zbz_flight_check(L, 1, "result");
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
	zbz_flight_box *box = zbz_flight_check(L, 1, "land");
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

/* Pushes ticket and id for the landing. */
static zbz_status arm(void *flight, void (*fn)(void *ud), void *ud, zbz_err *err) {
	return zbz_flight_on_land(flight, fn, ud, err);
}
static int flight_park(lua_State *L) { return zbz_park_on(L, arm, zbz_flight_check(L, 1, "park")->flight); }

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
	zbz_flight_box *box = zbz_box_new(L, ZBZ_BOX_FLIGHT, sizeof(*box));
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

void zbz_open_flight(lua_State *L) {
	zbz_class(L, ZBZ_BOX_FLIGHT, "zbz.Flight", flight_release, "leave", flight_methods);
	zbz_class(L, ZBZ_BOX_FLIGHTS, "zbz.Flights", flights_release, "close", flights_methods);
	zbz_functions(L, 1, functions);
}
