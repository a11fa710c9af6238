/* A lock: taking and releasing it, near and far. */
#include "lock.h"

#include "await.h"
#include "base/fork.h"
#include "base/random.h"
#include "base/sha256.h"
#include "front.h"

enum { ABANDON_MS = 200, LOOK_FIRST_MS = 5, LOOK_LAST_MS = 100, LOOK_DOUBLINGS = 5 };

/* ---- names ---- */

static uint8_t nibble(char digit) { return (uint8_t)(digit <= '9' ? digit - '0' : digit - 'a' + 10); }

/* Collisions must not be to be had, not even on purpose: another key's lock would be waited for. */
static zbz_status make_id(zbz_lock *l, zbz_buf *identity, zbz_bytes full_key, zbz_err *err) {
	char hex[ZBZ_SHA256_HEX];
	size_t i;
	zbz_status s = zbz_buf_putc(identity, '\0', err);
	if (s == ZBZ_OK) s = zbz_buf_append(identity, full_key.p, full_key.n, err);
	if (s != ZBZ_OK) return s;
	zbz_sha256_hex(zbz_buf_bytes(identity), hex);
	for (i = 0; i < ZBZ_LOCK_ID; i++) l->id[i] = (uint8_t)(nibble(hex[2 * i]) << 4 | nibble(hex[2 * i + 1]));
	return ZBZ_OK;
}

/* A hash, so that it fits wherever the key itself does. */
static void make_name(zbz_lock *l, zbz_bytes full_key) {
	static const char start[] = ZBZ_RESERVED "lock:";
	char hex[ZBZ_SHA256_HEX];
	zbz_sha256_hex(full_key, hex);
	memcpy(l->name, start, sizeof start - 1);
	memcpy(l->name + sizeof start - 1, hex, 2 * (size_t)ZBZ_LOCK_ID);
}

/* ---- making one ---- */

zbz_reach zbz_lock_reach(const zbz_caps *caps, zbz_reach asked) {
	if (!caps->shared) return ZBZ_REACH_PROCESS;
	return asked == ZBZ_REACH_CLUSTER && caps->one_host ? ZBZ_REACH_HOST : asked;
}

zbz_status zbz_lock_host_check(zbz_err *err) { return zbz_host_open(err); }

static zbz_lock *new_lock(zbz_reach reach, const void *owner, zbz_err *err) {
	zbz_lock *l = zbz_calloc(1, sizeof *l);
	if (l == NULL) {
		zbz_fail_nomem(err);
		return NULL;
	}
	atomic_init(&l->refs, 1);
	l->generation = zbz_fork_generation();
	l->reach = reach;
	l->owner = owner;
	zbz_await_init(&l->cond);
	return l;
}

static zbz_status aim(zbz_lock *l, zbz_store *store, zbz_bytes full_key, zbz_err *err) {
	zbz_buf identity = { 0 };
	zbz_status s = ZBZ_OK;
	l->store = zbz_store_ref(store);
	if (l->reach == ZBZ_REACH_CLUSTER) {
		make_name(l, full_key);
	} else {
		s = zbz_store_identity(store, &identity, err);
		if (s == ZBZ_OK) s = make_id(l, &identity, full_key, err);
	}
	zbz_buf_clear(&identity);
	return s;
}

zbz_status zbz_table_lock(zbz_table *t, zbz_bytes key, zbz_reach reach, const void *owner, zbz_lock **out,
                          zbz_err *err) {
	table_op op;
	zbz_call c;
	zbz_status s;
	*out = NULL;
	zbz_table_begin(t, &c, 0);
	s = zbz_op_begin(&op, t, &c, key);
	if (s != ZBZ_OK) {
		*err = c.err;
		return s;
	}
	reach = zbz_lock_reach(&op.slot->caps, reach);
	if (reach == ZBZ_REACH_PROCESS) {
		s = ZBZ_MISS;
	} else if ((*out = new_lock(reach, owner, err)) == NULL) {
		s = err->status;
	} else if ((s = aim(*out, op.slot->store, op.key, err)) != ZBZ_OK) {
		zbz_lock_unref(*out);
		*out = NULL;
	}
	zbz_op_end(&op);
	return s;
}

zbz_status zbz_lock_new(zbz_bytes identity, zbz_bytes full_key, const void *owner, zbz_lock **out, zbz_err *err) {
	zbz_buf bytes = { 0 };
	zbz_status s;
	*out = new_lock(ZBZ_REACH_HOST, owner, err);
	if (*out == NULL) return err->status;
	s = zbz_buf_append(&bytes, identity.p, identity.n, err);
	if (s == ZBZ_OK) s = make_id(*out, &bytes, full_key, err);
	zbz_buf_clear(&bytes);
	if (s == ZBZ_OK) return s;
	zbz_lock_unref(*out);
	*out = NULL;
	return s;
}

/* ---- taking ---- */

static bool foreign(const zbz_lock *l) { return l->generation != zbz_fork_generation(); }

/* Where nobody tells: 5 ms, doubling to 100, a quarter of it by chance, so that processes do not come all at once. */
static int64_t next_look(zbz_lock *l) {
	int64_t ms = (int64_t)LOOK_FIRST_MS << (l->tries < LOOK_DOUBLINGS ? l->tries : LOOK_DOUBLINGS);
	if (ms > LOOK_LAST_MS) ms = LOOK_LAST_MS;
	l->tries++;
	return ms - (int64_t)(((uintptr_t)l >> 6 ^ (uintptr_t)zbz_host_now()) % (uint64_t)(ms / 4 + 1));
}

static void be_patient(zbz_lock *l, int64_t left, bool told) {
	l->patience = left >= 0 ? left + 1 : ZBZ_NEVER;
	if (told) return;
	left = next_look(l);
	if (left < l->patience) l->patience = left;
}

static zbz_status try_host(zbz_lock *l, zbz_call *c, int64_t lease_ms) {
	zbz_status s = zbz_host_take(l->id, lease_ms, &l->claim, &c->err);
	if (s == ZBZ_OK) zbz_lock_note_held(l);
	if (s == ZBZ_REFUSED) {
		int64_t left = l->claim.until - zbz_host_now();
		be_patient(l, left > 0 ? left : 0, zbz_lock_note_refused(l, NULL));
	}
	return s;
}

static zbz_status ask(zbz_lock *l, zbz_call *c, int64_t lease_ms, zbz_holder *holder) {
	*holder = l->holder;
	return zbz_store_lock(l->store, c, zbz_b(l->name, sizeof l->name), l->token, lease_ms, holder);
}

/* Whoever is refused listens first and asks once more, so that no release falls between. */
static zbz_status try_cluster(zbz_lock *l, zbz_call *c, int64_t lease_ms) {
	zbz_locks *hub = zbz_store_locks(l->store);
	zbz_holder holder;
	zbz_caps caps;
	zbz_status s = l->tokened ? ZBZ_OK : zbz_random(l->token, sizeof l->token, &c->err);
	l->tokened = s == ZBZ_OK;
	if (s != ZBZ_OK) return s;
	zbz_store_caps(l->store, &caps);
	if (caps.lock_wake && zbz_locks_stand(hub)) {
		zbz_lock_listen(l);
		s = ask(l, c, lease_ms, &holder);
	} else {
		s = ask(l, c, lease_ms, &holder);
		if (s == ZBZ_REFUSED && caps.lock_wake && zbz_locks_raise(hub, l->store, c)) {
			zbz_lock_listen(l);
			s = ask(l, c, lease_ms, &holder);
		}
	}
	if (s == ZBZ_OK) zbz_lock_note_held(l);
	if (s == ZBZ_REFUSED) be_patient(l, holder.left, zbz_lock_note_refused(l, &holder));
	return s;
}

zbz_status zbz_lock_try(zbz_lock *l, zbz_call *c, int64_t lease_ms) {
	zbz_status s;
	if (lease_ms <= 0) return zbz_fail(&c->err, ZBZ_E_ARGUMENT, "a lock is taken for more than 0 ms");
	if (foreign(l)) return zbz_fail(&c->err, ZBZ_E_CLOSED, "the lock belongs to the parent process");
	if (zbz_lock_is_held(l)) return zbz_fail(&c->err, ZBZ_E_ARGUMENT, "the lock is held already");
	if (zbz_lock_ended(l)) l->tries = 0;
	zbz_lock_begin_try(l);
	l->own = false;
	s = l->reach == ZBZ_REACH_HOST ? try_host(l, c, lease_ms) : try_cluster(l, c, lease_ms);
	if (s != ZBZ_OK && s != ZBZ_REFUSED) zbz_lock_delist(l);
	return s;
}

int64_t zbz_lock_patience(const zbz_lock *l) { return l->patience; }
bool zbz_lock_own(const zbz_lock *l) { return l->own; }

/* ---- giving up ---- */

zbz_status zbz_lock_release(zbz_lock *l, zbz_call *c, zbz_outcome outcome) {
	if (foreign(l) || !zbz_lock_is_held(l)) return ZBZ_MISS;
	zbz_lock_delist(l);
	if (l->reach == ZBZ_REACH_HOST) return zbz_host_release(&l->claim, outcome) ? ZBZ_OK : ZBZ_MISS;
	l->tokened = false;
	return zbz_store_unlock(l->store, c, zbz_b(l->name, sizeof l->name), l->token, outcome);
}

zbz_lock *zbz_lock_ref(zbz_lock *l) {
	atomic_fetch_add_explicit(&l->refs, 1, memory_order_relaxed);
	return l;
}

bool zbz_lock_lingers(zbz_lock *l) { return l->reach == ZBZ_REACH_CLUSTER && !foreign(l) && zbz_lock_is_held(l); }

static void abandon(zbz_lock *l) {
	zbz_call c = { .clock = l->store != NULL ? l->store->clock : zbz_clock_system() };
	c.now = zbz_wall(c.clock);
	c.deadline = zbz_mono(c.clock) + ABANDON_MS;
	zbz_lock_release(l, &c, ZBZ_OUTCOME_UNKNOWN);
}

void zbz_lock_unref(zbz_lock *l) {
	if (l == NULL || atomic_fetch_sub(&l->refs, 1) != 1) return;
	if (foreign(l)) {
		zbz_lock_forget(l);
	} else {
		abandon(l);
		zbz_lock_begin_try(l); /* wakes whoever still waits on it */
	}
	zbz_store_unref(l->store);
	pthread_cond_destroy(&l->cond);
	zbz_free(l);
}
