/* Caches and tables: the front that every program talks to. It checks a call once, builds the full key, turns TTLs into absolute times,
 * opens and seals envelopes, counts, and hands over to the store. Values are bytes here; codecs live in the binding.
 *
 * Key layout: cache prefix + table name + ":" + key  ("myapp:users:123"). A table name holds no ":", so names cannot collide.
 * Thread-safe throughout. */
#ifndef ZBZ_TABLE_H
#define ZBZ_TABLE_H

#include "cache.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- 1. Cache: an instance ----------------------------------------------------------------------------------------- */

typedef struct zbz_cache_opts {
	zbz_bytes key_prefix;
	int64_t default_ttl;    /* ms; ZBZ_NO_EXPIRY none */
	int64_t deadline;       /* ms per call; 0 none */
	const zbz_clock *clock; /* NULL: system; must outlive the cache */
} zbz_cache_opts;

/* Takes its own reference of the store. */
ZBZ_API zbz_status zbz_cache_new(zbz_store *store, const zbz_cache_opts *opts, zbz_cache **out, zbz_err *err);
/* Pings `next`, makes it the store of all tables, waits until the calls under way on the old one have ended (or c->deadline:
 * E_TIMEOUT, switched all the same), drops the old one. A failed ping changes nothing. Watches of its keys follow at their next look, at once after
 * zbz_watch_moved. */
ZBZ_API zbz_status zbz_cache_swap(zbz_cache *cache, zbz_call *c, zbz_store *next);
/* Current store, referenced: unref it. NULL once closed. */
ZBZ_API zbz_store *zbz_cache_store(zbz_cache *cache);
/* Does the current store answer without waiting? */
ZBZ_API bool zbz_cache_inline(const zbz_cache *cache);
/* From now on every call answers E_CLOSED; waits for those under way, drops the store. Twice is fine. */
ZBZ_API void zbz_cache_close(zbz_cache *cache);
ZBZ_API zbz_cache *zbz_cache_ref(zbz_cache *cache);
ZBZ_API void zbz_cache_unref(zbz_cache *cache); /* the last one closes and frees; tables hold one each */

/* ---- 2. Table: a window -------------------------------------------------------------------------------------------- */

typedef struct zbz_table_opts {
	zbz_bytes name;    /* empty: the window of the cache itself (key_prefix + key) */
	zbz_bytes prefix;  /* p != NULL: replaces key_prefix + name + ":" (contracts: prefix + key; provider objects: "") */
	int64_t ttl;       /* ms; -1 the cache's default */
	int64_t deadline;  /* ms; -1 the cache's */
	int64_t stale_ttl; /* ms a dead value is kept as the fallback; > 0 makes writes enveloped */
	bool envelope;     /* seal every write (negative caching, tags) */
} zbz_table_opts;

ZBZ_API zbz_status zbz_table_new(zbz_cache *cache, const zbz_table_opts *opts, zbz_table **out, zbz_err *err);
/* For whoever may still use it when its owner has let go; zbz_table_free drops one reference. */
ZBZ_API zbz_table *zbz_table_ref(zbz_table *t);
ZBZ_API void zbz_table_free(zbz_table *t); /* NULL allowed */
/* Do its calls answer without waiting (caps.inline_ok of the current store)? */
ZBZ_API bool zbz_table_inline(const zbz_table *t);
/* Do some of its reads (caps.inline_hits)? Those that would wait answer ZBZ_AGAIN when the begun call says no_wait. */
ZBZ_API bool zbz_table_inline_hits(const zbz_table *t);
/* Is a batch of its reads one step of the current store, and nothing else? */
ZBZ_API bool zbz_table_batches(const zbz_table *t);
ZBZ_API zbz_bytes zbz_table_prefix(const zbz_table *t);

/* Starts a call: reads the clock once; timeout_ms -1 the table's deadline, 0 none. Every function below wants a begun call. */
ZBZ_API void zbz_table_begin(zbz_table *t, zbz_call *c, int64_t timeout_ms);

typedef struct zbz_put { /* zero-initialise, then ttl = -1 for the default */
	int64_t ttl;         /* ms; -1 table's (then the cache's) default; 0 none */
	zbz_only only;
	const zbz_version *version;
	int64_t stale_ttl; /* -1 the table's */
	bool negative;     /* remember that there is no value: sealed, value ignored */
} zbz_put;

/* What an entry is, its envelope opened. */
typedef struct zbz_entry {
	bool sealed;       /* came in an envelope */
	bool negative;     /* a remembered absence; no bytes */
	bool stale;        /* dead or invalidated, kept as the fallback */
	bool lease;        /* a loader somewhere holds the key; no bytes */
	int64_t expire_at; /* wall ms of the logical end; ZBZ_NO_EXPIRY; -1 not known */
	int64_t stored_at; /* wall ms; 0 not known */
	zbz_version version;
	uint8_t tier; /* as in zbz_meta; with want_meta */
} zbz_entry;

/* A live value: OK. Absent, dead, stale, negative or leased: MISS. Counts a hit or a miss. */
ZBZ_API zbz_status zbz_table_get(zbz_table *t, zbz_call *c, zbz_bytes key, zbz_buf *out);
/* Whatever is there: OK and *entry tells what; MISS only when there is nothing. Asks for TTL and version when want_meta.
 * Counts a hit only for a live value or a live negative. */
ZBZ_API zbz_status zbz_table_entry(zbz_table *t, zbz_call *c, zbz_bytes key, bool want_meta, zbz_buf *out,
                                   zbz_entry *entry);
/* OK, REFUSED, E_CONFLICT. version_out may be NULL. */
ZBZ_API zbz_status zbz_table_set(zbz_table *t, zbz_call *c, zbz_bytes key, zbz_bytes value, const zbz_put *put,
                                 zbz_version *version_out);
ZBZ_API zbz_status zbz_table_del(zbz_table *t, zbz_call *c, zbz_bytes key);
ZBZ_API zbz_status zbz_table_exists(zbz_table *t, zbz_call *c, zbz_bytes key);
ZBZ_API zbz_status zbz_table_ttl(zbz_table *t, zbz_call *c, zbz_bytes key,
                                 int64_t *left_ms); /* INT64_MAX: never expires */
ZBZ_API zbz_status zbz_table_expire(zbz_table *t, zbz_call *c, zbz_bytes key, int64_t ttl_ms); /* 0 persists */
/* E_TYPE when the value is no integer; E_TOO_LARGE past 64 bits; nothing is changed then. */
ZBZ_API zbz_status zbz_table_incr(zbz_table *t, zbz_call *c, zbz_bytes key, int64_t delta, bool has_initial,
                                  int64_t initial, int64_t ttl_ms, int64_t *value);
/* Soft: a sealed entry is marked stale and kept; another is deleted. OK also when absent. */
ZBZ_API zbz_status zbz_table_invalidate(zbz_table *t, zbz_call *c, zbz_bytes key);
ZBZ_API zbz_status zbz_table_get_many(zbz_table *t, zbz_call *c, const zbz_bytes *keys, size_t n, zbz_buf *out,
                                      zbz_found *found);
/* puts[i] may be NULL for the defaults. */
ZBZ_API zbz_status zbz_table_set_many(zbz_table *t, zbz_call *c, const zbz_bytes *keys, const zbz_bytes *values,
                                      const zbz_put *const *puts, size_t n, zbz_status *status);
ZBZ_API zbz_status zbz_table_del_many(zbz_table *t, zbz_call *c, const zbz_bytes *keys, size_t n, zbz_status *status);

/* Bytes as they are: no envelope is opened or made (copy and migration tools). The TTL rules hold. */
ZBZ_API zbz_status zbz_table_get_raw(zbz_table *t, zbz_call *c, zbz_bytes key, zbz_buf *out);
ZBZ_API zbz_status zbz_table_set_raw(zbz_table *t, zbz_call *c, zbz_bytes key, zbz_bytes value, int64_t ttl_ms);

/* A listing of this table's keys without the prefix, matching the glob. It holds the store it began on, so a swap
 * does not disturb it. next: as zbz_cache_ops.scan_next. Leases are listed like any key. */
typedef struct zbz_listing zbz_listing;
ZBZ_API zbz_status zbz_table_keys_open(zbz_table *t, zbz_call *c, zbz_bytes pattern, zbz_listing **out);
ZBZ_API zbz_status zbz_table_keys_next(zbz_listing *l, zbz_call *c, size_t limit, zbz_buf *out, size_t *n);
ZBZ_API void zbz_table_keys_close(zbz_listing *l); /* NULL allowed */
/* Removes this table's keys and no other. An empty prefix on a store that is not exclusive: E_UNSUPPORTED, nothing removed. */
ZBZ_API zbz_status zbz_table_clear(zbz_table *t, zbz_call *c, uint64_t *removed);

typedef struct zbz_table_stats {
	uint64_t hits, misses, sets, deletes, errors; /* of this table; a batch counts every key */
	uint64_t lost_writes;                         /* writes that failed because the store could not be reached */
	uint64_t loads, load_failures, waits, stale_served, fenced; /* fetch; added by zbz_table_count */
	uint64_t lock_waits, unlocked;   /* waits for other processes; loads without the lock that was asked for */
	int64_t created_at, last_access; /* wall ms */
} zbz_table_stats;
typedef enum zbz_counter {
	ZBZ_COUNT_LOADS,
	ZBZ_COUNT_LOAD_FAILURES,
	ZBZ_COUNT_WAITS,
	ZBZ_COUNT_STALE_SERVED,
	ZBZ_COUNT_FENCED,
	ZBZ_COUNT_LOCK_WAITS,
	ZBZ_COUNT_UNLOCKED
} zbz_counter;
ZBZ_API void zbz_table_count(zbz_table *t, zbz_counter which);
ZBZ_API void zbz_table_stats_read(const zbz_table *t, zbz_table_stats *out);

/* ---- 3. Envelope ---------------------------------------------------------------------------------------------------- */
/* C1 'z' 'b' 'z' | u8 version 1 | u8 flags | i64 expire_at | i64 stored_at (little endian) | payload.  0xC1 starts no JSON and no
 * MessagePack, so plain bytes are told apart; plain bytes that happen to begin with the magic are sealed. Also for providers written in Lua. */
typedef struct zbz_seal {
	int64_t expire_at, stored_at;
	bool negative, stale;
	bool lease; /* payload: 16 random bytes */
} zbz_seal;
ZBZ_API bool zbz_envelope_is(zbz_bytes stored); /* begins with the magic */
ZBZ_API zbz_status zbz_envelope_seal(const zbz_seal *seal, zbz_bytes value, zbz_buf *out, zbz_err *err);
/* stored -> value (inside stored) and *entry, staleness judged at `now`. Not an envelope: the bytes as they are. E_CORRUPT. */
ZBZ_API zbz_status zbz_envelope_open(zbz_bytes stored, int64_t now, zbz_bytes *value, zbz_entry *entry, zbz_err *err);

/* ---- 4. Load: single flight and fence ------------------------------------------------------------------------------ */
/* One per store (and one per provider written in Lua): which keys are being loaded right now, by whom, and whether
 * a delete, set, invalidate or clear has moved the key since. */
typedef struct zbz_flights zbz_flights;
typedef struct zbz_flight zbz_flight; /* reference counted; leave() drops it */

ZBZ_API zbz_flights *zbz_flights_new(void);     /* NULL when out of memory */
ZBZ_API void zbz_flights_free(zbz_flights *fs); /* flights still held stay valid */

typedef enum zbz_seat {
	ZBZ_LEADS,
	ZBZ_WAITS,
	ZBZ_WAITS_FOR_SELF
} zbz_seat; /* FOR_SELF: the leader has the same owner */
/* Joins or begins the flight of a full key. `owner` tells Lua states apart. A flight that was moved takes no newcomers' trust:
 * they wait for its end and get no result. */
ZBZ_API zbz_status zbz_flight_enter(zbz_flights *fs, zbz_bytes full_key, const void *owner, zbz_flight **out,
                                    zbz_seat *seat, zbz_err *err);
/* A write to the key happens now: call before the write. Nearly free while nothing is loading. Waits for a commit under way on that key. */
ZBZ_API void zbz_flights_touch(zbz_flights *fs, zbz_bytes full_key);
ZBZ_API void zbz_flights_touch_prefix(zbz_flights *fs, zbz_bytes prefix);

/* NOTHING: the leader ended without an answer for others; they look anew. */
typedef enum zbz_landing { ZBZ_LANDED_VALUE, ZBZ_LANDED_NEGATIVE, ZBZ_LANDED_FAILED, ZBZ_LANDED_NOTHING } zbz_landing;
/* Leader: between lock and unlock no touch of this key proceeds; false when the key has moved (do not store; unlock all the same). */
ZBZ_API bool zbz_flight_commit_lock(zbz_flight *f);
ZBZ_API void zbz_flight_commit_unlock(zbz_flight *f);
/* Leader: ends the flight and wakes the waiters, who get a copy of the bytes (or of the failure's text). Once. */
ZBZ_API zbz_status zbz_flight_land(zbz_flight *f, zbz_landing how, zbz_bytes result, zbz_err *err);
/* Waiter: OK when it has landed, E_TIMEOUT at the monotonic deadline of the clock. Blocks on a condition, no polling. */
ZBZ_API zbz_status zbz_flight_wait(zbz_flight *f, const zbz_clock *clock, int64_t deadline, zbz_err *err);
ZBZ_API bool zbz_flight_landed(zbz_flight *f);
/* Waiter, after landing: OK and the result (valid until leave), or AGAIN when this waiter may not trust it (fetch anew). */
ZBZ_API zbz_status zbz_flight_result(zbz_flight *f, bool joined_moved, zbz_landing *how, zbz_bytes *result);
ZBZ_API bool zbz_flight_moved(zbz_flight *f);
/* Called once on the thread that lands (or at once when landed already): it must only enqueue. For event-loop hosts. */
ZBZ_API zbz_status zbz_flight_on_land(zbz_flight *f, void (*fn)(void *ud), void *ud, zbz_err *err);
/* A leader that leaves without landing lands as FAILED "abandoned". NULL allowed. */
ZBZ_API void zbz_flight_leave(zbz_flight *f);

/* The table's side: its store's flights, and the two steps that need the store.
 * lease: puts a lease where the key is absent, so that a delete or set by another process is seen at commit; fills version_out with what the commit must find
 * (n 0 when the store is private to this process or has no versions: the in-process fence is all there is). seen: the entry read before, or NULL when absent.
 * commit: stores under the flight's commit lock and, when lease.n, only if the version still stands. OK stored, REFUSED fenced off (counted). */
ZBZ_API zbz_status zbz_table_flight(zbz_table *t, zbz_bytes key, const void *owner, zbz_flight **out, zbz_seat *seat,
                                    zbz_err *err);
ZBZ_API zbz_status zbz_table_lease(zbz_table *t, zbz_call *c, zbz_bytes key, const zbz_entry *seen, int64_t lease_ms,
                                   zbz_version *version_out);
ZBZ_API zbz_status zbz_table_commit(zbz_table *t, zbz_call *c, zbz_flight *f, zbz_bytes key, zbz_bytes value,
                                    const zbz_put *put, const zbz_version *lease);

/* ---- 5. Lock: one load among processes ------------------------------------------------------------------------------- */
/* Taken by the leader of a flight, around its load. It saves loads and guarantees nothing: a holder that dies, or outlives its lease,
 * loses it, and what it commits later is judged by the fence as ever.
 *
 *   host     all processes of one user: slots in a segment below /dev/shm. A holder that dies is noticed within 250 ms.
 *   cluster  all who share the backend: a reserved key there. A holder that dies is noticed at the end of its lease. */
typedef enum zbz_reach { ZBZ_REACH_PROCESS, ZBZ_REACH_HOST, ZBZ_REACH_CLUSTER } zbz_reach;

typedef struct zbz_lock
    zbz_lock; /* one caller's; reference counted; one thread at a time may try, the rest is thread-safe */

/* What `asked` comes to where the store has these capabilities: no farther than its entries are seen. */
ZBZ_API zbz_reach zbz_lock_reach(const zbz_caps *caps, zbz_reach asked);
/* A lock not yet taken. MISS: within the process the flight is all there is to it. `owner` tells Lua states apart. */
ZBZ_API zbz_status zbz_table_lock(zbz_table *t, zbz_bytes key, zbz_reach reach, const void *owner, zbz_lock **out,
                                  zbz_err *err);
/* For a provider written in Lua; `identity` tells its store from others. Host only. */
ZBZ_API zbz_status zbz_lock_new(zbz_bytes identity, zbz_bytes full_key, const void *owner, zbz_lock **out,
                                zbz_err *err);
/* Can this process take host-wide locks at all? E_UNSUPPORTED, E_DENIED, E_UNAVAILABLE. */
ZBZ_API zbz_status zbz_lock_host_check(zbz_err *err);
/* One try. OK: ours for lease_ms. REFUSED: another's: wait until it has ended, at most zbz_lock_patience, look at the entry, and try again.
 * MISS: none to be had now (the table of host-wide locks is full): go on without. E_UNAVAILABLE and the like: go on without. */
ZBZ_API zbz_status zbz_lock_try(zbz_lock *l, zbz_call *c, int64_t lease_ms);
/* After REFUSED: ms after which it is time to try again even if nobody has told of an end. */
ZBZ_API int64_t zbz_lock_patience(const zbz_lock *l);
ZBZ_API bool zbz_lock_own(const zbz_lock *l); /* after REFUSED: held by the same owner */
ZBZ_API bool zbz_lock_ended(zbz_lock *l);     /* it is time to look and to try again */
ZBZ_API zbz_outcome zbz_lock_outcome(zbz_lock *l);
/* OK when the holder has ended, E_TIMEOUT at the monotonic deadline of the clock. Blocks on a condition. */
ZBZ_API zbz_status zbz_lock_wait(zbz_lock *l, const zbz_clock *clock, int64_t deadline, zbz_err *err);
/* Called once, on any thread, when the holder has ended (at once when it has), at the next try, and when the lock is freed: it must only
 * enqueue. For event-loop hosts. */
ZBZ_API zbz_status zbz_lock_on_end(zbz_lock *l, void (*fn)(void *ud), void *ud, zbz_err *err);
/* Gives it up and tells those who wait how the load ended. OK; MISS when it was not held, or was lost meanwhile. */
ZBZ_API zbz_status zbz_lock_release(zbz_lock *l, zbz_call *c, zbz_outcome outcome);
ZBZ_API zbz_lock *zbz_lock_ref(zbz_lock *l);
/* The last one releases a lock that is still held (cluster: within 200 ms, over the network: see lingers). NULL allowed. */
ZBZ_API void zbz_lock_unref(zbz_lock *l);
ZBZ_API bool zbz_lock_lingers(zbz_lock *l);

/* A store's: how it hears of released locks. */
typedef struct zbz_locks zbz_locks;
ZBZ_API zbz_locks *zbz_locks_new(void);                         /* NULL when out of memory */
ZBZ_API void zbz_locks_end(zbz_locks *locks, zbz_store *store); /* before its provider is closed; NULL allowed */
ZBZ_API void zbz_locks_free(zbz_locks *locks);                  /* NULL allowed */

/* ---- 6. L1: values that one owner keeps decoded ----------------------------------------------------------------------- */
/* The core keeps no values, only what tells whether they still are what the store has: places, numbered from 1, each with the stamp of the
 * last value that was given it. One thread at a time. A hit looks at the version word below, at the clock, and counts as a use there. */
typedef struct zbz_kept { /* from a read to zbz_l1_keep, which takes it over; else zbz_kept_clear */
	zbz_seen seen;
	zbz_store *store; /* referenced; NULL: this must not be kept */
	int64_t expire_at, stored_at;
	uint32_t epoch;
} zbz_kept;
ZBZ_API void zbz_kept_clear(zbz_kept *kept); /* twice is fine */

/* zbz_table_get (entry NULL) or zbz_table_entry without a version (entry set). Only a live value may be kept. Fills *kept. */
ZBZ_API zbz_status zbz_table_get_kept(zbz_table *t, zbz_call *c, zbz_bytes key, zbz_buf *out, zbz_entry *entry,
                                      zbz_kept *kept);

typedef struct zbz_l1 zbz_l1;

/* Heads a zbz_l1, whose addresses here hold until zbz_l1_free. An owner that compiles its own loads (FFI) may answer a hit itself, while generation is the one in which the value was kept and
 * *cache_epoch is `epoch`: if the word of zbz_l1_word still holds its seq, and its time has not come, it sets used[place - 1] and adds one to hits. */
typedef struct zbz_l1_face {
	double hits; /* exact */
	const volatile uint32_t *cache_epoch;
	uint8_t *used;
	uint32_t epoch, generation; /* another generation: all that was kept before is gone, words included */
} zbz_l1_face;

/* places: at most so many values. E_UNSUPPORTED when the table's store cannot tell whether a copy is still good. */
ZBZ_API zbz_status zbz_l1_new(zbz_table *t, uint32_t places, zbz_l1 **out, zbz_err *err);
ZBZ_API void zbz_l1_free(zbz_l1 *l1); /* NULL allowed */
/* Is the value that got this place and stamp still good? Counts a hit. false: it never is again. */
ZBZ_API bool zbz_l1_hit(zbz_l1 *l1, uint32_t place, uint32_t stamp);
/* A place for a value just read, perhaps another's that was not hit for a while. 0: not to be kept. */
ZBZ_API uint32_t zbz_l1_keep(zbz_l1 *l1, zbz_kept *kept, uint32_t *stamp);
/* Of a place just given or hit: the word that tells, before *expire_at (of the system's clock; ZBZ_NO_EXPIRY), whether its value is still good, and what it
 * holds then; NULL: zbz_l1_hit must be asked. */
ZBZ_API const volatile uint32_t *zbz_l1_word(const zbz_l1 *l1, uint32_t place, uint32_t *seq, int64_t *expire_at);
/* Of a place just hit: logical end and birth, as in zbz_entry (-1 and 0 for what is no place). */
ZBZ_API void zbz_l1_times(const zbz_l1 *l1, uint32_t place, int64_t *expire_at, int64_t *stored_at);
/* All places are empty; holds no store any more. */
ZBZ_API void zbz_l1_clear(zbz_l1 *l1);
/* last_access: hits that the owner answered itself count as of the first call after them. */
ZBZ_API void zbz_l1_stats(zbz_l1 *l1, uint64_t *hits, int64_t *last_access);

#ifdef __cplusplus
}
#endif
#endif
