/* Single flight with a fence. A trip is one load of one key; the map holds those under way. Every party to a trip has
 * a handle of its own (zbz_flight), so that leaving is known to be the leader's or a waiter's, and whether a waiter
 * came too late to trust the result is noted when it enters.
 *
 * The idea of one caller loading while the others wait for its answer is that of Go's singleflight; the fence is the
 * lease of "Scaling Memcache at Facebook" (Nishtala et al., 2013), kept in the process. */
#include "await.h"
#include "base/hash.h"
#include "trip.h"

enum { FIRST_BUCKETS = 16 };

/* ---- registry ---- */

static void lock_for_fork(atfork_node *node) { pthread_mutex_lock(&((zbz_flights *)node)->lock); }
static void unlock_for_fork(atfork_node *node) { pthread_mutex_unlock(&((zbz_flights *)node)->lock); }

/* The callbacks belong to event loops of the parent: they are forgotten, not called. The nodes go with the trip. */
static void renew_in_child(atfork_node *node) {
	zbz_flights *fs = (zbz_flights *)node;
	size_t i;
	trip *t, *next;
	for (i = 0; i <= fs->mask; i++) {
		for (t = fs->buckets[i]; t != NULL; t = next) {
			next = t->next;
			t->next = NULL;
			t->orphan = t->landed = t->moved = true;
			t->committing = false;
			t->how = ZBZ_LANDED_FAILED;
			zbz_await_init(&t->cond);
		}
		fs->buckets[i] = NULL;
	}
	atomic_store(&fs->flying, 0);
	pthread_mutex_unlock(&fs->lock);
}

zbz_flights *zbz_flights_new(void) {
	zbz_flights *fs = zbz_calloc(1, sizeof *fs);
	if (fs == NULL) return NULL;
	fs->buckets = zbz_calloc(FIRST_BUCKETS, sizeof(trip *));
	if (fs->buckets == NULL) {
		zbz_free(fs);
		return NULL;
	}
	fs->mask = FIRST_BUCKETS - 1;
	fs->refs = 1;
	pthread_mutex_init(&fs->lock, NULL);
	fs->fork.lock = lock_for_fork;
	fs->fork.unlock = unlock_for_fork;
	fs->fork.renew = renew_in_child;
	zbz_atfork_watch(&fs->fork);
	return fs;
}

static void unref_registry(zbz_flights *fs) {
	bool last;
	pthread_mutex_lock(&fs->lock);
	last = --fs->refs == 0;
	pthread_mutex_unlock(&fs->lock);
	if (!last) return;
	zbz_atfork_forget(&fs->fork);
	pthread_mutex_destroy(&fs->lock);
	zbz_free(fs->buckets);
	zbz_free(fs);
}

void zbz_flights_free(zbz_flights *fs) {
	if (fs != NULL) unref_registry(fs);
}

/* ---- map, under the lock ---- */

trip **zbz_trip_at(zbz_flights *fs, uint64_t hash, zbz_bytes key) {
	trip **at = &fs->buckets[hash & fs->mask];
	for (; *at != NULL; at = &(*at)->next)
		if ((*at)->hash == hash && zbz_bytes_eq(zbz_b((*at)->key, (*at)->key_n), key)) break;
	return at;
}

/* Growing is a comfort: when memory is short the chains get longer instead. */
static void grow(zbz_flights *fs) {
	size_t n = (fs->mask + 1) * 2, i;
	trip **buckets = zbz_calloc(n, sizeof *buckets), *t, *next;
	if (buckets == NULL) return;
	for (i = 0; i <= fs->mask; i++)
		for (t = fs->buckets[i]; t != NULL; t = next) {
			next = t->next;
			t->next = buckets[t->hash & (n - 1)];
			buckets[t->hash & (n - 1)] = t;
		}
	zbz_free(fs->buckets);
	fs->buckets = buckets;
	fs->mask = n - 1;
}

static void drop_trip(trip *t) {
	zbz_flights *fs = t->fs;
	callback *cb, *next;
	for (cb = t->callbacks; cb != NULL; cb = next) {
		next = cb->next;
		zbz_free(cb);
	}
	pthread_cond_destroy(&t->cond);
	zbz_free(t->result);
	zbz_free(t);
	unref_registry(fs);
}

void zbz_trip_unref_and_unlock(zbz_flights *fs, trip *t) {
	bool last = --t->refs == 0;
	pthread_mutex_unlock(&fs->lock);
	if (last) drop_trip(t);
}

/* ---- entering ---- */

static trip *new_trip(zbz_flights *fs, uint64_t hash, zbz_bytes key, const void *owner) {
	trip *t = zbz_calloc(1, sizeof *t + key.n);
	if (t == NULL) return NULL;
	zbz_await_init(&t->cond);
	t->fs = fs;
	t->hash = hash;
	t->owner = owner;
	t->refs = 1;
	t->key_n = key.n;
	if (key.n != 0) memcpy(t->key, key.p, key.n);
	t->leader.of = t;
	t->leader.leads = true;
	return t;
}

static zbz_flight *lead(zbz_flights *fs, uint64_t hash, zbz_bytes key, const void *owner) {
	trip *t = new_trip(fs, hash, key, owner), **at;
	size_t flying;
	if (t == NULL) return NULL;
	flying = atomic_load_explicit(&fs->flying, memory_order_relaxed);
	if (flying > fs->mask) grow(fs);
	at = &fs->buckets[hash & fs->mask];
	t->next = *at;
	t->born = ++fs->births;
	*at = t;
	fs->refs++;
	/* Pairs with the load in touch: a writer either sees this trip, or its write is seen by the loader that starts
	 * after. */
	atomic_store(&fs->flying, flying + 1);
	return &t->leader;
}

static zbz_flight *join(trip *t) {
	zbz_flight *f = zbz_malloc(sizeof *f);
	if (f == NULL) return NULL;
	f->of = t;
	f->leads = false;
	f->joined_moved = t->moved;
	t->refs++;
	t->waiters++;
	return f;
}

zbz_status zbz_flight_enter(zbz_flights *fs, zbz_bytes full_key, const void *owner, zbz_flight **out, zbz_seat *seat,
                            zbz_err *err) {
	uint64_t hash = zbz_hash(full_key);
	trip *t;
	*out = NULL;
	pthread_mutex_lock(&fs->lock);
	t = *zbz_trip_at(fs, hash, full_key);
	if (t == NULL) {
		*out = lead(fs, hash, full_key, owner);
		*seat = ZBZ_LEADS;
	} else {
		*out = join(t);
		*seat = owner != NULL && t->owner == owner ? ZBZ_WAITS_FOR_SELF : ZBZ_WAITS;
	}
	pthread_mutex_unlock(&fs->lock);
	return *out != NULL ? ZBZ_OK : zbz_fail_nomem(err);
}

bool zbz_flight_leads_in(const zbz_flight *f, const zbz_flights *fs) { return f->leads && f->of->fs == fs; }

/* ---- touching ---- */

bool zbz_flights_idle(zbz_flights *fs) { return atomic_load(&fs->flying) == 0; }

/* The trip may land and vanish meanwhile: the caller looks it up anew. */
static void await_commit(zbz_flights *fs, trip *t) {
	t->refs++;
	while (t->committing) pthread_cond_wait(&t->cond, &fs->lock);
	if (--t->refs != 0) return;
	pthread_mutex_unlock(&fs->lock);
	drop_trip(t);
	pthread_mutex_lock(&fs->lock);
}

void zbz_flights_touch(zbz_flights *fs, zbz_bytes full_key) {
	uint64_t hash;
	trip *t;
	if (atomic_load(&fs->flying) == 0) return;
	hash = zbz_hash(full_key);
	pthread_mutex_lock(&fs->lock);
	while ((t = *zbz_trip_at(fs, hash, full_key)) != NULL && t->committing) await_commit(fs, t);
	if (t != NULL) t->moved = true;
	pthread_mutex_unlock(&fs->lock);
}

static trip *move_prefix(zbz_flights *fs, zbz_bytes prefix, uint64_t newest) {
	trip *busy = NULL, *t;
	size_t i;
	for (i = 0; i <= fs->mask; i++)
		for (t = fs->buckets[i]; t != NULL; t = t->next) {
			if (t->born > newest || !zbz_bytes_has_prefix(zbz_b(t->key, t->key_n), prefix)) continue;
			if (t->committing)
				busy = t;
			else
				t->moved = true;
		}
	return busy;
}

void zbz_flights_touch_prefix(zbz_flights *fs, zbz_bytes prefix) {
	uint64_t newest;
	trip *busy;
	if (atomic_load(&fs->flying) == 0) return;
	pthread_mutex_lock(&fs->lock);
	newest = fs->births; /* trips begun later do not keep us here for ever */
	while ((busy = move_prefix(fs, prefix, newest)) != NULL) await_commit(fs, busy);
	pthread_mutex_unlock(&fs->lock);
}
