/* The two ends of a flight: its leader commits and lands, its waiters wait and take the result. */
#include "await.h"
#include "trip.h"

/* ---- the leader ---- */

bool zbz_flight_commit_lock(zbz_flight *f) {
	trip *t = f->of;
	bool stands;
	pthread_mutex_lock(&t->fs->lock);
	stands = f->leads && !t->moved && !t->landed;
	if (stands) t->committing = true;
	pthread_mutex_unlock(&t->fs->lock);
	return stands;
}

void zbz_flight_commit_unlock(zbz_flight *f) {
	trip *t = f->of;
	pthread_mutex_lock(&t->fs->lock);
	if (f->leads && t->committing) {
		t->committing = false;
		pthread_cond_broadcast(&t->cond);
	}
	pthread_mutex_unlock(&t->fs->lock);
}

/* Nobody can join a trip that is out of the map, so what nobody waits for need not be copied. */
static void land_locked(trip *t, zbz_landing how) {
	trip **at = zbz_trip_at(t->fs, t->hash, zbz_b(t->key, t->key_n));
	*at = t->next;
	t->next = NULL;
	t->how = how;
	t->landed = true;
	t->committing = false;
	atomic_fetch_sub(&t->fs->flying, 1);
	pthread_cond_broadcast(&t->cond);
}

static zbz_status keep_result(trip *t, zbz_bytes result, zbz_err *err) {
	char *copy = zbz_malloc(result.n);
	if (copy == NULL) return zbz_fail_nomem(err);
	if (result.n != 0) memcpy(copy, result.p, result.n);
	t->result = copy;
	t->result_n = result.n;
	return ZBZ_OK;
}

/* Lands with the lock held, and releases it before the callbacks run. */
static void land_and_tell(trip *t, zbz_landing how) {
	callback *list;
	land_locked(t, how);
	list = t->callbacks;
	t->callbacks = NULL;
	pthread_mutex_unlock(&t->fs->lock);
	callbacks_run(list);
}

static zbz_status may_land(const zbz_flight *f, zbz_err *err) {
	if (!f->leads) return zbz_fail(err, ZBZ_E_ARGUMENT, "only the leader lands a flight");
	if (f->of->orphan) return ZBZ_OK;
	return f->of->landed ? zbz_fail(err, ZBZ_E_ARGUMENT, "the flight has landed already") : ZBZ_OK;
}

zbz_status zbz_flight_land(zbz_flight *f, zbz_landing how, zbz_bytes result, zbz_err *err) {
	trip *t = f->of;
	zbz_status s;
	pthread_mutex_lock(&t->fs->lock);
	s = may_land(f, err);
	if (s != ZBZ_OK || t->orphan) {
		pthread_mutex_unlock(&t->fs->lock);
		return s;
	}
	if (t->waiters != 0) { /* copied without the lock: it may be large; whoever joins meanwhile gets it too */
		pthread_mutex_unlock(&t->fs->lock);
		s = keep_result(t, result, err);
		pthread_mutex_lock(&t->fs->lock);
	}
	land_and_tell(t, s == ZBZ_OK ? how : ZBZ_LANDED_FAILED);
	return s;
}

/* ---- the waiter ---- */

zbz_status zbz_flight_wait(zbz_flight *f, const zbz_clock *clock, int64_t deadline, zbz_err *err) {
	trip *t = f->of;
	bool landed;
	pthread_mutex_lock(&t->fs->lock);
	landed = zbz_await(&t->cond, &t->fs->lock, &t->landed, clock, deadline);
	pthread_mutex_unlock(&t->fs->lock);
	return landed ? ZBZ_OK : zbz_fail(err, ZBZ_E_TIMEOUT, "the load under way did not end before the deadline");
}

bool zbz_flight_landed(zbz_flight *f) {
	bool landed;
	pthread_mutex_lock(&f->of->fs->lock);
	landed = f->of->landed;
	pthread_mutex_unlock(&f->of->fs->lock);
	return landed;
}

bool zbz_flight_moved(zbz_flight *f) {
	bool moved;
	pthread_mutex_lock(&f->of->fs->lock);
	moved = f->of->moved;
	pthread_mutex_unlock(&f->of->fs->lock);
	return moved;
}

zbz_status zbz_flight_result(zbz_flight *f, bool joined_moved, zbz_landing *how, zbz_bytes *result) {
	trip *t = f->of;
	zbz_status s = ZBZ_AGAIN;
	pthread_mutex_lock(&t->fs->lock);
	if (t->landed && t->how != ZBZ_LANDED_NOTHING && !t->orphan && !f->leads && !joined_moved && !f->joined_moved) {
		static const char lost[] = "the result could not be handed over: out of memory";
		*how = t->how;
		*result = t->result != NULL ? zbz_b(t->result, t->result_n) : zbz_bstr(lost);
		s = ZBZ_OK;
	}
	pthread_mutex_unlock(&t->fs->lock);
	return s;
}

zbz_status zbz_flight_on_land(zbz_flight *f, void (*fn)(void *ud), void *ud, zbz_err *err) {
	trip *t = f->of;
	callback *cb = callback_new(fn, ud);
	bool landed;
	if (cb == NULL) return zbz_fail_nomem(err);
	pthread_mutex_lock(&t->fs->lock);
	landed = t->landed;
	if (!landed) {
		cb->next = t->callbacks;
		t->callbacks = cb;
	}
	pthread_mutex_unlock(&t->fs->lock);
	if (landed) callbacks_run(cb);
	return ZBZ_OK;
}

void zbz_flight_leave(zbz_flight *f) {
	static const char abandoned[] = "abandoned";
	trip *t;
	zbz_flights *fs;
	if (f == NULL) return;
	t = f->of;
	fs = t->fs;
	if (f->leads) {
		if (!zbz_flight_landed(f)) zbz_flight_land(f, ZBZ_LANDED_FAILED, zbz_bstr(abandoned), NULL);
	} else {
		zbz_free(f);
	}
	pthread_mutex_lock(&fs->lock);
	zbz_trip_unref_and_unlock(fs, t);
}
