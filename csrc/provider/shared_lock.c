/* The lock of a shard, and what happens after the death of its holder. No wait is longer than PATIENCE_NS, and none
 * that long is made twice in a row for the same shard: its holder may have been stopped. */
#include "shared_store.h"

#include <errno.h>
#include <sched.h>
#include <time.h>

#define PATIENCE_NS 20000000

enum { SPINS = 200, YIELDS = 32, NAP_NS = 50000 };

static uint32_t number_of(const zbz_shared *sh, const zbz_shared_shard *s) {
	return (uint32_t)((uint64_t)((const unsigned char *)s - sh->base - sh->g.shards_at) / sh->g.stride);
}

zbz_half *zbz_shared_enter(zbz_shared *sh, const zbz_shared_shard *s, zbz_shared_bucket *b) {
	zbz_half *gate = zbz_shared_gate_at(sh, number_of(sh, s), (uint32_t)(b - zbz_shared_bucket_at(sh, s, 0)));
	zbz_hstore(gate, zbz_hload(gate) | 1);
	zbz_hstore(&b->seq, zbz_hload(&b->seq) | 1);
	zbz_shared_fence(memory_order_release);
	ZBZ_SHARED_POINT();
	return gate;
}

void zbz_shared_leave(zbz_shared_bucket *b, zbz_half *gate) {
	ZBZ_SHARED_POINT();
	atomic_store_explicit(&b->seq, (zbz_hload(&b->seq) | 1) + 1, memory_order_release);
	atomic_store_explicit(gate, (zbz_hload(gate) | 1) + 1, memory_order_release);
}

void zbz_shared_wipe(zbz_shared *sh, zbz_shared_shard *s) {
	zbz_shared_empty(&sh->g, sh->base, number_of(sh, s));
	zbz_shared_count(sh, ZBZ_SHARED_WIPED);
}

/* 0, EBUSY, or what is wrong with the lock. */
static int try_once(zbz_shared *sh, zbz_shared_shard *s) {
	int e;
	if (!zbz_shared_lock_sound(s)) return EINVAL;
	e = pthread_mutex_trylock(&s->lock);
	if (e != EOWNERDEAD) return e;
	zbz_shared_wipe(sh, s);
	ZBZ_SHARED_POINT();
	return pthread_mutex_consistent(&s->lock);
}

bool zbz_shared_trylock(zbz_shared *sh, uint32_t shard) { return try_once(sh, zbz_shared_shard_at(sh, shard)) == 0; }

static int64_t now_ns(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int64_t patience(zbz_call *c) {
	int64_t left = zbz_call_left(c);
	return left < PATIENCE_NS / 1000000 ? left * 1000000 : PATIENCE_NS;
}

static int wait_for_it(zbz_shared *sh, zbz_shared_shard *s, bool brief, zbz_call *c) {
	static const struct timespec nap = { 0, NAP_NS };
	int64_t until = 0;
	int i, e = EBUSY;
	for (i = 0; i < SPINS; i++) {
		zbz_shared_pause();
		if ((e = try_once(sh, s)) != EBUSY) return e;
	}
	if (brief) return e;
	for (i = 0;; i++) {
		if (i < YIELDS)
			sched_yield();
		else
			nanosleep(&nap, NULL);
		if ((e = try_once(sh, s)) != EBUSY) return e;
		if (until == 0)
			until = now_ns() + patience(c);
		else if (now_ns() >= until)
			return e;
	}
}

static zbz_status refuse(zbz_shared *sh, uint32_t shard, int e, zbz_call *c) {
	zbz_shared_count(sh, ZBZ_SHARED_BUSY);
	if (e != EBUSY)
		return zbz_fail(&c->err, ZBZ_E_CORRUPT, "the lock of part %u of the segment is damaged", (unsigned)shard);
	atomic_store_explicit(&sh->stuck[shard], 1, memory_order_relaxed);
	return zbz_fail(&c->err, ZBZ_E_UNAVAILABLE, "busy: another process holds the lock of part %u of the segment",
	                (unsigned)shard);
}

zbz_status zbz_shared_lock(zbz_shared *sh, uint32_t shard, zbz_call *c) {
	zbz_shared_shard *s = zbz_shared_shard_at(sh, shard);
	int e = try_once(sh, s);
	if (__builtin_expect(e == EBUSY, 0))
		e = wait_for_it(sh, s, atomic_load_explicit(&sh->stuck[shard], memory_order_relaxed) != 0, c);
	if (__builtin_expect(e != 0, 0)) return refuse(sh, shard, e, c);
	if (atomic_load_explicit(&sh->stuck[shard], memory_order_relaxed) != 0)
		atomic_store_explicit(&sh->stuck[shard], 0, memory_order_relaxed);
	ZBZ_SHARED_POINT();
	return ZBZ_OK;
}

void zbz_shared_unlock(zbz_shared *sh, uint32_t shard) { pthread_mutex_unlock(&zbz_shared_shard_at(sh, shard)->lock); }
