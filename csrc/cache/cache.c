/* A cache instance: which store its tables use, and how that changes while they are used. */
#include "await.h"
#include "front.h"

#include "base/until.h"

/* ---- counting in and out ---- */

cache_slot *zbz_cache_enter(zbz_cache *cache, unsigned stripe) {
	cache_slot *slot = atomic_load_explicit(&cache->slot, memory_order_acquire);
	while (slot != NULL) {
		cache_slot *now;
		atomic_fetch_add(&slot->stripes[stripe].calls, 1);
		/* Counted first, then looked again: whoever replaces the slot either sees the count or is seen here. */
		now = atomic_load(&cache->slot);
		if (now == slot) break;
		zbz_cache_leave(cache, slot, stripe);
		slot = now;
	}
	return slot;
}

static bool is_drained(cache_slot *slot) {
	unsigned i;
	for (i = 0; i < STRIPES; i++)
		if (atomic_load(&slot->stripes[i].calls) != 0) return false;
	return true;
}

/* The store of a drained slot, once, for the caller to drop after unlocking. */
static zbz_store *give_up(cache_slot *slot) {
	zbz_store *store = slot->store;
	slot->store = NULL;
	return store;
}

static void last_leaves(zbz_cache *cache, cache_slot *slot) {
	zbz_store *store = NULL;
	pthread_mutex_lock(&cache->lock);
	if (atomic_load(&slot->draining) && is_drained(slot)) {
		if (slot->unattended) store = give_up(slot);
		pthread_cond_broadcast(&cache->drained);
	}
	pthread_mutex_unlock(&cache->lock);
	zbz_store_unref(store);
}

void zbz_cache_leave(zbz_cache *cache, cache_slot *slot, unsigned stripe) {
	if (atomic_fetch_sub(&slot->stripes[stripe].calls, 1) == 1 && atomic_load(&slot->draining))
		last_leaves(cache, slot);
}

/* ---- making and replacing ---- */

static void fill_slot(cache_slot *slot, zbz_store *store) {
	slot->store = zbz_store_ref(store);
	slot->flights = zbz_store_flights(store);
	zbz_store_caps(store, &slot->caps);
	slot->unattended = false;
	slot->next = NULL;
	atomic_store(&slot->draining, false);
}

static void note_caps(zbz_cache *cache, const cache_slot *slot) {
	atomic_store(&cache->inline_ok, slot->caps.inline_ok);
	atomic_store(&cache->inline_hits, slot->caps.inline_hits);
	atomic_store(&cache->batches,
	             (slot->caps.can & ~slot->caps.emulated & ZBZ_CAN_BATCH) != 0 && !slot->caps.inline_hits);
}

static cache_slot *new_slot(void) { return zbz_calloc(1, sizeof(cache_slot)); }

/* A retired slot that has given up its store, or a new one; under the lock. */
static cache_slot *free_slot(zbz_cache *cache) {
	cache_slot **at, *slot;
	for (at = &cache->retired; (slot = *at) != NULL; at = &slot->next) {
		if (slot->store != NULL || !is_drained(slot)) continue;
		*at = slot->next;
		return slot;
	}
	return new_slot();
}

static void retire(zbz_cache *cache, cache_slot *slot) {
	if (slot == NULL) return;
	atomic_store(&slot->draining, true);
	slot->next = cache->retired;
	cache->retired = slot;
}

/* ---- fork ---- */

static void lock_for_fork(atfork_node *node) { pthread_mutex_lock(&((zbz_cache *)node)->lock); }
static void unlock_for_fork(atfork_node *node) { pthread_mutex_unlock(&((zbz_cache *)node)->lock); }

static void forget_calls(cache_slot *slot) {
	unsigned i;
	for (i = 0; i < STRIPES; i++) atomic_store(&slot->stripes[i].calls, 0);
}

/* Calls that other threads had under way never end in the child, and no copy of a value counts there: what its store hears of changes
 * (multitier) it hears in the parent. */
static void renew_in_child(atfork_node *node) {
	zbz_cache *cache = (zbz_cache *)node;
	cache_slot *slot = atomic_load(&cache->slot);
	zbz_cond_init_mono(&cache->drained);
	if (slot != NULL) forget_calls(slot);
	for (slot = cache->retired; slot != NULL; slot = slot->next) forget_calls(slot);
	atomic_fetch_add(&cache->epoch, 2); /* odd or even as it was */
	pthread_mutex_unlock(&cache->lock);
}

/* ---- the public face ---- */

static zbz_status check_opts(const zbz_cache_opts *opts, zbz_err *err) {
	if (opts->default_ttl < 0) return zbz_fail(err, ZBZ_E_ARGUMENT, "a cache's default TTL is not negative");
	if (opts->deadline < 0) return zbz_fail(err, ZBZ_E_ARGUMENT, "a cache's deadline is not negative");
	return ZBZ_OK;
}

zbz_status zbz_cache_new(zbz_store *store, const zbz_cache_opts *opts, zbz_cache **out, zbz_err *err) {
	static const zbz_cache_opts none;
	const zbz_cache_opts *o = opts != NULL ? opts : &none;
	zbz_status s = check_opts(o, err);
	zbz_cache *cache;
	cache_slot *slot;
	*out = NULL;
	if (s != ZBZ_OK) return s;
	cache = zbz_calloc(1, sizeof *cache + o->key_prefix.n);
	slot = new_slot();
	if (cache == NULL || slot == NULL) {
		zbz_free(cache);
		zbz_free(slot);
		return zbz_fail_nomem(err);
	}
	fill_slot(slot, store);
	if (o->key_prefix.n != 0) memcpy(cache + 1, o->key_prefix.p, o->key_prefix.n);
	cache->key_prefix = zbz_b(cache + 1, o->key_prefix.n);
	cache->clock = o->clock != NULL ? o->clock : zbz_clock_system();
	cache->default_ttl = o->default_ttl;
	cache->deadline = o->deadline;
	atomic_store(&cache->refs, 1);
	note_caps(cache, slot);
	atomic_store(&cache->slot, slot);
	pthread_mutex_init(&cache->lock, NULL);
	zbz_cond_init_mono(&cache->drained);
	cache->fork.lock = lock_for_fork;
	cache->fork.unlock = unlock_for_fork;
	cache->fork.renew = renew_in_child;
	zbz_atfork_watch(&cache->fork);
	*out = cache;
	return ZBZ_OK;
}

static zbz_status replace(zbz_cache *cache, zbz_store *next, cache_slot **old, zbz_err *err) {
	cache_slot *slot;
	*old = atomic_load(&cache->slot);
	if (*old == NULL) return zbz_fail(err, ZBZ_E_CLOSED, "the cache is closed");
	slot = free_slot(cache);
	if (slot == NULL) return zbz_fail_nomem(err);
	fill_slot(slot, next);
	atomic_fetch_add(&cache->epoch, 1);
	note_caps(cache, slot);
	atomic_store(&cache->slot, slot);
	atomic_fetch_add(&cache->epoch, 1);
	retire(cache, *old);
	return ZBZ_OK;
}

/* False at the deadline, which is real time from now on even if the clock is not. */
static bool await_drain(zbz_cache *cache, cache_slot *slot, int64_t left) {
	struct timespec until = zbz_until(left);
	while (!is_drained(slot))
		if (pthread_cond_timedwait(&cache->drained, &cache->lock, &until) != 0) return is_drained(slot);
	return true;
}

zbz_status zbz_cache_swap(zbz_cache *cache, zbz_call *c, zbz_store *next) {
	cache_slot *old;
	zbz_store *dropped = NULL;
	zbz_status s = zbz_store_ping(next, c);
	if (s == ZBZ_E_UNSUPPORTED) s = ZBZ_OK; /* nothing to reach */
	if (s != ZBZ_OK) return s;
	pthread_mutex_lock(&cache->lock);
	s = replace(cache, next, &old, &c->err);
	if (s == ZBZ_OK) {
		if (await_drain(cache, old, zbz_call_left(c))) {
			dropped = give_up(old);
		} else {
			old->unattended = true;
			s = zbz_fail(&c->err, ZBZ_E_TIMEOUT, "switched, but calls on the former provider are still under way");
		}
	}
	pthread_mutex_unlock(&cache->lock);
	zbz_store_unref(dropped);
	return s;
}

zbz_store *zbz_cache_store(zbz_cache *cache) {
	unsigned stripe = 0;
	cache_slot *slot = zbz_cache_enter(cache, stripe);
	zbz_store *store;
	if (slot == NULL) return NULL;
	store = zbz_store_ref(slot->store);
	zbz_cache_leave(cache, slot, stripe);
	return store;
}

bool zbz_cache_inline(const zbz_cache *cache) { return atomic_load_explicit(&cache->inline_ok, memory_order_relaxed); }

void zbz_cache_close(zbz_cache *cache) {
	cache_slot *slot;
	pthread_mutex_lock(&cache->lock);
	slot = atomic_load(&cache->slot);
	atomic_fetch_or(&cache->epoch, 1);
	atomic_store(&cache->slot, NULL);
	retire(cache, slot);
	for (slot = cache->retired; slot != NULL; slot = slot->next) {
		zbz_store *store;
		while (!is_drained(slot)) pthread_cond_wait(&cache->drained, &cache->lock);
		store = give_up(slot);
		if (store == NULL) continue;
		pthread_mutex_unlock(&cache->lock);
		zbz_store_unref(store);
		pthread_mutex_lock(&cache->lock);
	}
	pthread_mutex_unlock(&cache->lock);
}

zbz_cache *zbz_cache_ref(zbz_cache *cache) {
	atomic_fetch_add_explicit(&cache->refs, 1, memory_order_relaxed);
	return cache;
}

void zbz_cache_unref(zbz_cache *cache) {
	cache_slot *slot, *next;
	if (cache == NULL || atomic_fetch_sub(&cache->refs, 1) != 1) return;
	zbz_cache_close(cache);
	zbz_atfork_forget(&cache->fork);
	for (slot = cache->retired; slot != NULL; slot = next) {
		next = slot->next;
		zbz_free(slot);
	}
	pthread_cond_destroy(&cache->drained);
	pthread_mutex_destroy(&cache->lock);
	zbz_free(cache);
}
