/* The layer `multitier`: a local tier (l1) in front of another store (l2).
 *
 *   cache_multitier.c     options, writes, the table of functions
 *   multitier_read.c      reads, and how values come into l1
 *   multitier_channel.c   how changes by others are heard of, and when l1 may be used at all
 *
 * What keeps l1 honest is a lease: before a value is read from l2 an entry of one byte is put into l1 where nothing is, and the
 * value replaces that very entry (by its version) or is not kept. Whoever learns of a change deletes the key in l1, the lease
 * with it, so a read that began before cannot leave its older value behind: not in this process, and not in another one that
 * shares l1, however slowly either is told. The idea is memcached's leases as in Nishtala et al., "Scaling Memcache at
 * Facebook" (NSDI 2013). */
#ifndef ZBZ_LAYER_MULTITIER_H
#define ZBZ_LAYER_MULTITIER_H

#include <pthread.h>
#include <stdatomic.h>

#include <zbz/cache.h>

#include "cache/atfork.h"

typedef enum tier_hears { TIER_AUTO, TIER_TRACKING, TIER_PUBSUB, TIER_OFF } tier_hears; /* the option's choices */

typedef struct tier_options {
	zbz_store *l2, *l1;
	int64_t l1_ttl, l2_ttl;
	int invalidation;
	bool promote_hits;
	char *prefix;
} tier_options;

typedef struct tier_follower tier_follower;

enum { TIER_ORIGIN = 16 };

typedef struct tier {
	atfork_node fork;
	const tier_options *o;
	zbz_store *l1, *l2;
	const zbz_clock *clock;
	zbz_bytes prefix;
	zbz_caps l1_caps, l2_caps;
	bool quick;     /* l2 may answer without waiting too */
	atomic_bool up; /* l1 may be used */
	/* The channel; what is not atomic stands under the lock. */
	pthread_mutex_t lock;
	_Atomic(zbz_channel) kind; /* DOWN: not known yet */
	bool starting, listening, lost;
	int64_t retry_at; /* monotonic */
	void *tracking, *subscription;
	tier_follower *followers;
	char origin[TIER_ORIGIN]; /* tells our messages from others' */
	atomic_int_least64_t l1_hits, l2_hits, promotions, invalidations, losses;
} tier;

static inline void tier_count(atomic_int_least64_t *counter, int64_t n) {
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}
/* A call on l1 beside `c`: errors there are nobody's but ours. */
static inline void tier_beside(zbz_call *l, const zbz_call *c) {
	l->clock = c->clock;
	l->now = c->now;
	l->deadline = c->deadline;
	l->no_wait = c->no_wait;
	l->want_expiry = false;
}
static inline int64_t tier_cap(int64_t expire_at, int64_t now, int64_t ttl) {
	if (ttl == 0 || now > INT64_MAX - ttl) return expire_at;
	return expire_at == ZBZ_NO_EXPIRY || expire_at > now + ttl ? now + ttl : expire_at;
}

/* ---- multitier_channel.c ---- */

zbz_status tier_channel_open(tier *t, zbz_err *err); /* E_CONFIG where nothing would bound the age of what l1 has */
void tier_channel_close(tier *t);
/* May l1 be used? Begins to listen, or tries again, where the call may wait. */
bool tier_ready(tier *t, zbz_call *c);
/* l1 could not be brought up to date: it is not used until it has been emptied. */
void tier_taint(tier *t);
/* After a write that ended with s: others are told where nobody else does it. Returns s, or why they could not be told. */
zbz_status tier_tell(tier *t, zbz_call *c, const zbz_bytes *keys, size_t n, zbz_status s);
zbz_status tier_tell_prefix(tier *t, zbz_call *c, zbz_bytes prefix, zbz_status s);
zbz_channel tier_channel_now(tier *t);
zbz_status tier_track(void *self, zbz_call *c, zbz_bytes prefix, void (*on_change)(void *ud, zbz_bytes key, bool lost),
                      void *ud, void **tracking);
void tier_untrack(void *self, void *tracking);

/* ---- multitier_read.c ---- */

/* What l1 keeps behind a value. */
typedef struct tier_tail {
	int64_t expire_at; /* l2's; -1 not known */
	zbz_version version;
} tier_tail;

bool tier_fits(const tier *t, zbz_bytes key, size_t value_n); /* may l1 have it? */
/* Removes the key from l1, or taints it. */
void tier_drop(tier *t, const zbz_call *c, zbz_bytes key);
/* Takes the place of the key in l1; false when it is taken. */
bool tier_lease(tier *t, const zbz_call *c, zbz_bytes key, zbz_version *lease);
/* Puts the value there; false when the lease has gone, or l1 will not have it. scratch: any buffer; stays as long as it was. */
bool tier_fill(tier *t, const zbz_call *c, zbz_bytes key, const zbz_version *lease, zbz_bytes value,
               const tier_tail *tail, zbz_buf *scratch);

zbz_status tier_get(void *self, zbz_call *c, zbz_bytes key, zbz_buf *out, zbz_meta *meta);
zbz_status tier_get_seen(void *self, zbz_call *c, zbz_bytes key, zbz_buf *out, zbz_seen *seen);
zbz_status tier_get_many(void *self, zbz_call *c, const zbz_bytes *keys, size_t n, zbz_buf *out, zbz_found *found);
zbz_status tier_exists(void *self, zbz_call *c, zbz_bytes key);
zbz_status tier_ttl(void *self, zbz_call *c, zbz_bytes key, int64_t *expire_at);

#endif
