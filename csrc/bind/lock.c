/* Locks among processes, in steps: what to do between them is Lua's affair, so that waiting may yield.
 *
 *   t:new_lock(k, reach)              -> lock, or false where the process is all there is
 *   t:lock(lock, lease_ms, deadline)  -> "held" | "waits" | "waits_for_self" | "none", ms after which to try again
 *   t:unlock(lock, outcome, deadline) -> was it still ours? */
#include "request.h"

typedef struct lock_box {
	zbz_box head;
	zbz_lock *lock; /* NULL: let go */
} lock_box;

const char *const zbz_reach_names[] = { "process", "host", "cluster" };
static const char *const outcomes[] = {
	[ZBZ_OUTCOME_UNKNOWN] = "unknown",
	[ZBZ_OUTCOME_VALUE] = "value",
	[ZBZ_OUTCOME_ABSENT] = "negative",
	[ZBZ_OUTCOME_FAILED] = "failed",
};

static int name_index(lua_State *L, zbz_bytes name, const char *const *names, int n, const char *op) {
	int i;
	for (i = 0; i < n; i++)
		if (zbz_bytes_eq(name, zbz_bstr(names[i]))) return i;
	return luaL_error(L, "zbz: %s: unknown word '%s'", op, name.p);
}

static lock_box *lock_check(lua_State *L, int idx, const char *op) {
	lock_box *box = zbz_box_check(L, zbz_bind_of(L), idx, ZBZ_BOX_LOCK, op);
	if (box->lock == NULL) luaL_error(L, "zbz: %s: the lock was let go", op);
	return box;
}

/* ---- making one ---- */

static int lock_reach_arg(lua_State *L, int idx) {
	return name_index(L, zbz_string_arg(L, idx, "lock", "the reach"), zbz_reach_names, 3, "lock");
}

static int table_new_lock(lua_State *L) {
	zbz_bind *b = zbz_bind_of(L);
	zbz_table_box *t = zbz_table_check(L, b, 1, "lock");
	zbz_bytes key = zbz_key_arg(L, 2, "lock");
	zbz_reach reach = (zbz_reach)lock_reach_arg(L, 3);
	lock_box *box = zbz_box_new(L, ZBZ_BOX_LOCK, sizeof(*box));
	zbz_err err;
	zbz_status s;
	if (t->t == NULL) return luaL_error(L, "zbz: lock: the table is closed");
	s = zbz_table_lock(t->t, key, reach, b, &box->lock, &err);
	if (s < 0) {
		box->lock = NULL;
		return zbz_push_table_failure(L, t, "lock", key, &err);
	}
	if (s != ZBZ_OK) lua_pushboolean(L, 0);
	return 1;
}

/* new_lock(identity, full_key): for providers written in Lua; host-wide. */
static int core_new_lock(lua_State *L) {
	zbz_bytes identity = zbz_string_arg(L, 1, "lock", "the identity"), key = zbz_key_arg(L, 2, "lock");
	zbz_where at = zbz_at("lock");
	lock_box *box = zbz_box_new(L, ZBZ_BOX_LOCK, sizeof(*box));
	zbz_err err;
	if (zbz_lock_new(identity, key, zbz_bind_of(L), &box->lock, &err) == ZBZ_OK) return 1;
	box->lock = NULL;
	return zbz_push_failure(L, &err, &at);
}

/* Can this process take host-wide locks? true, or nil and why not. */
static int core_lock_check(lua_State *L) {
	zbz_where at = zbz_at("lock");
	zbz_err err;
	if (zbz_lock_host_check(&err) < 0) return zbz_push_failure(L, &err, &at);
	lua_pushboolean(L, 1);
	return 1;
}

/* ---- taking and releasing ---- */

static void undo_lock(zbz_request *r) { zbz_lock_unref(r->lock); }

static void hold(zbz_request *r, zbz_lock *lock) {
	r->lock = zbz_lock_ref(lock);
	r->undo = undo_lock;
}
static void let_go(zbz_request *r) {
	r->undo = NULL;
	zbz_lock_unref(r->lock);
}

static void parse_lock(lua_State *L, zbz_bind *b, zbz_request *r) {
	zbz_lock *lock;
	int64_t deadline;
	zbz_request_table(L, b, r);
	lock = lock_check(L, 2, "lock")->lock;
	r->number = zbz_int_arg(L, 3, "lock", "lease_ms");
	deadline = zbz_ms_arg(L, 4, "lock", "deadline", -1);
	zbz_request_begin(r, deadline);
	hold(r, lock);
}
static zbz_status run_lock(zbz_request *r) { return zbz_lock_try(r->lock, &r->c, r->number); }

static int push_state(lua_State *L, const zbz_lock *lock, zbz_status s) {
	int64_t patience = zbz_lock_patience(lock);
	if (s != ZBZ_REFUSED) {
		lua_pushstring(L, s == ZBZ_OK ? "held" : "none");
		return 1;
	}
	lua_pushstring(L, zbz_lock_own(lock) ? "waits_for_self" : "waits");
	if (patience == ZBZ_NEVER) return 1;
	zbz_push_int(L, patience);
	return 2;
}

static int push_lock(lua_State *L, zbz_bind *b, zbz_request *r) {
	int n = push_state(L, r->lock, r->s);
	let_go(r);
	return n;
}
static const zbz_verb lock_verb = {
	"lock", parse_lock, run_lock, push_lock, ZBZ_CHANGES, false, false, ZBZ_ALONE, false
};
static int table_lock(lua_State *L) { return zbz_request_call(L, &lock_verb); }

static void parse_unlock(lua_State *L, zbz_bind *b, zbz_request *r) {
	zbz_lock *lock;
	int64_t deadline;
	zbz_request_table(L, b, r);
	lock = lock_check(L, 2, "unlock")->lock;
	r->number = name_index(L, zbz_string_arg(L, 3, "unlock", "the outcome"), outcomes, 4, "unlock");
	deadline = zbz_ms_arg(L, 4, "unlock", "deadline", -1);
	zbz_request_begin(r, deadline);
	hold(r, lock);
}
static zbz_status run_unlock(zbz_request *r) { return zbz_lock_release(r->lock, &r->c, (zbz_outcome)r->number); }
static int push_unlock(lua_State *L, zbz_bind *b, zbz_request *r) {
	lua_pushboolean(L, r->s == ZBZ_OK);
	let_go(r);
	return 1;
}
static const zbz_verb unlock_verb = { "unlock", parse_unlock, run_unlock, push_unlock, ZBZ_QUEUES,
	                                  false,    false,        ZBZ_ALONE,  false };
static int table_unlock(lua_State *L) { return zbz_request_call(L, &unlock_verb); }

static const zbz_verb *const verbs[] = { &lock_verb, &unlock_verb, NULL };
const zbz_verb *const *const zbz_lock_verbs = verbs;

/* ---- a lock by itself ---- */

/* For host-wide locks, which ask nobody else. */
static void plain_call(zbz_call *c) {
	memset(c, 0, sizeof(*c));
	c->clock = zbz_clock_system();
	c->now = zbz_wall(c->clock);
	c->deadline = ZBZ_NEVER;
}

static int lock_try(lua_State *L) {
	lock_box *box = lock_check(L, 1, "lock");
	int64_t lease = zbz_int_arg(L, 2, "lock", "lease_ms");
	zbz_where at = zbz_at("lock");
	zbz_call c;
	zbz_status s;
	plain_call(&c);
	s = zbz_lock_try(box->lock, &c, lease);
	return s < 0 ? zbz_push_failure(L, &c.err, &at) : push_state(L, box->lock, s);
}

static int lock_drop(lua_State *L) {
	lock_box *box = lock_check(L, 1, "unlock");
	int outcome = name_index(L, zbz_string_arg(L, 2, "unlock", "the outcome"), outcomes, 4, "unlock");
	zbz_where at = zbz_at("unlock");
	zbz_call c;
	zbz_status s;
	plain_call(&c);
	s = zbz_lock_release(box->lock, &c, (zbz_outcome)outcome);
	if (s < 0) return zbz_push_failure(L, &c.err, &at);
	lua_pushboolean(L, s == ZBZ_OK);
	return 1;
}

/* ---- waiting: by the names that a flight has, so that whoever waits need not know which it is ---- */

static int lock_landed(lua_State *L) {
	lua_pushboolean(L, zbz_lock_ended(lock_check(L, 1, "landed")->lock));
	return 1;
}

static int lock_wait(lua_State *L) {
	lock_box *box = lock_check(L, 1, "wait");
	zbz_keep *keep;
	const zbz_clock *clock = zbz_clock_arg(L, zbz_bind_of(L), 3, "wait", &keep);
	int64_t deadline = zbz_ms_arg(L, 2, "wait", "deadline", ZBZ_NEVER);
	zbz_where at = zbz_at("wait");
	zbz_err err;
	if (zbz_lock_wait(box->lock, clock, deadline, &err) < 0) return zbz_push_failure(L, &err, &at);
	lua_pushboolean(L, 1);
	return 1;
}

static zbz_status arm(void *lock, void (*fn)(void *ud), void *ud, zbz_err *err) {
	return zbz_lock_on_end(lock, fn, ud, err);
}
static int lock_park(lua_State *L) { return zbz_park_on(L, arm, lock_check(L, 1, "park")->lock); }

static int lock_outcome(lua_State *L) {
	lua_pushstring(L, outcomes[zbz_lock_outcome(lock_check(L, 1, "outcome")->lock)]);
	return 1;
}

/* ---- letting go ---- */

/* A lock that is still held and far away: on an event loop the pool gives it back. */
static void lock_release(lua_State *L, void *self) {
	lock_box *box = self;
	zbz_lock *lock = box->lock;
	zbz_request r;
	box->lock = NULL;
	if (lock == NULL) return;
	if (zbz_lock_lingers(lock)) {
		memset(&r, 0, sizeof(r));
		zbz_request_clear(&r, &unlock_verb);
		plain_call(&r.c);
		r.c.deadline = zbz_mono(r.c.clock) + 1000;
		r.number = ZBZ_OUTCOME_UNKNOWN;
		hold(&r, lock);
		if (!zbz_park_send(zbz_bind_of(L), &r)) zbz_lock_unref(lock);
	}
	zbz_lock_unref(lock);
}

const luaL_Reg zbz_table_lock_methods[] = {
	{ "new_lock", table_new_lock },
	{ "lock", table_lock },
	{ "unlock", table_unlock },
	{ NULL, NULL },
};
static const luaL_Reg methods[] = {
	{ "landed", lock_landed }, { "wait", lock_wait }, { "park", lock_park }, { "outcome", lock_outcome },
	{ "try", lock_try },       { "drop", lock_drop }, { NULL, NULL },
};
static const luaL_Reg functions[] = { { "new_lock", core_new_lock },
	                                  { "lock_check", core_lock_check },
	                                  { NULL, NULL } };

void zbz_open_lock(lua_State *L) {
	zbz_class(L, ZBZ_BOX_LOCK, "zbz.Lock", lock_release, "close", methods);
	zbz_functions(L, 1, functions);
}
