/* One opened `shared` store: a process's view of a segment, and the steps its operations are made of.
 *
 * Readers take no lock. A bucket's sequence is odd while a writer is in it; whoever read while it moved reads again,
 * a bounded number of times, and then asks for the shard's lock, once and without waiting. Writers hold the shard's
 * lock, a robust one: after the death of its holder the next one empties the shard, so nothing below it needs to be
 * consistent at any moment but the header. */
#ifndef ZBZ_PROVIDER_SHARED_STORE_H
#define ZBZ_PROVIDER_SHARED_STORE_H

#include <zbz/cache.h>

#include "base/fork.h"
#include "base/hash.h"
#include "shared_copy.h"
#include "shared_layout.h"
#include "shared_segment.h"

/* A test that dies or stops in the middle of a writer defines it; elsewhere there is nothing. */
#ifndef ZBZ_SHARED_POINT
#define ZBZ_SHARED_POINT() ((void)0)
#endif

typedef struct zbz_shared {
	unsigned char *base;
	zbz_shared_geometry g;
	uint64_t secret[4];
	_Atomic(zbz_shared_line *) line; /* of this process */
	atomic_uint generation;          /* the fork the line belongs to */
	uint32_t epoch;
	zbz_segment *segment;
	zbz_word before[ZBZ_SHARED_COUNTS];           /* what stood in the line when this process took it */
	_Atomic uint8_t stuck[ZBZ_SHARED_SHARDS_MAX]; /* its lock was not to be had the last time */
} zbz_shared;

/* What a key leads to. */
typedef struct zbz_shared_target {
	zbz_bytes key;
	uint64_t hash;
	int64_t now;
	uint32_t shard;
	zbz_shared_shard *s;
} zbz_shared_target;

/* What a read can tell beside the bytes. While *word holds seq, the entry is what was read (and dead only by its expiry); while *gate
 * holds `opening`, *word holds seq. */
typedef struct zbz_shared_seen {
	int64_t expire_at;
	uint32_t version;
	const zbz_half *gate, *word;
	uint32_t opening, seq; /* opening: of the gate, even */
} zbz_shared_seen;

static inline void zbz_shared_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

static inline zbz_shared_shard *zbz_shared_shard_at(const zbz_shared *sh, uint32_t i) {
	return zbz_shared_shard_in(&sh->g, sh->base, i);
}
static inline zbz_word *zbz_shared_at(const zbz_shared_shard *s, uint32_t place) {
	return (zbz_word *)(uintptr_t)s + place;
}
static inline zbz_shared_bucket *zbz_shared_bucket_at(const zbz_shared *sh, const zbz_shared_shard *s, uint32_t i) {
	return (zbz_shared_bucket *)(void *)zbz_shared_at(s, sh->g.buckets_at) + i;
}
static inline zbz_half *zbz_shared_gate_at(const zbz_shared *sh, uint32_t shard, uint32_t bucket) {
	return zbz_shared_gates_in(&sh->g, sh->base, shard) + bucket / ZBZ_SHARED_GATED;
}
static inline uint32_t zbz_shared_range(uint32_t hash, uint32_t n) { return (uint32_t)((uint64_t)hash * n >> 32); }
static inline uint32_t zbz_shared_home(const zbz_shared *sh, uint64_t hash) {
	return zbz_shared_range((uint32_t)hash, sh->g.buckets);
}
static inline uint32_t zbz_shared_second(const zbz_shared *sh, uint64_t hash) {
	uint32_t home = zbz_shared_home(sh, hash), i = zbz_shared_range((uint32_t)(hash >> 24), sh->g.buckets);
	if (i != home) return i;
	return i + 1 < sh->g.buckets ? i + 1 : 0;
}
static inline uint32_t zbz_shared_tag(uint64_t hash) { return (uint32_t)(hash >> 32) & 0xFFFF; }

static inline zbz_shared_target zbz_shared_aim(const zbz_shared *sh, zbz_bytes key, int64_t now) {
	zbz_shared_target t;
	t.key = key;
	t.hash = zbz_hash_keyed(sh->secret, key);
	t.now = now;
	t.shard = (uint32_t)(t.hash >> 56) & (sh->g.shards - 1);
	t.s = zbz_shared_shard_at(sh, t.shard);
	return t;
}

/* Does an entry of that many units fit at that place, in the ring it would be in? */
static inline bool zbz_shared_place_ok(const zbz_shared_geometry *g, uint32_t place, uint32_t units) {
	uint32_t end = place < g->ring_at[1] ? g->ring_at[1] : g->ring_at[1] + g->ring_units[1];
	return place >= g->ring_at[0] && place < end && units <= end - place;
}

static inline zbz_shared_entry zbz_shared_entry_at(const zbz_shared_shard *s, uint32_t place) {
	const zbz_word *p = zbz_shared_at(s, place);
	zbz_shared_entry e = { zbz_wload(p), zbz_wload(p + 1) };
	return e;
}

/* The check of an entry: the sum of its value, bound to the hash of its key, and its two words without the check
 * itself. */
static inline uint32_t zbz_shared_frame(const uint64_t *k, zbz_shared_entry e) {
	return (uint32_t)(zbz_hash_fold(e.w0 ^ k[1], (e.w1 & 0xFFFFFFFFFFFFu) ^ k[2]) >> 48);
}
static inline uint32_t zbz_shared_check(const uint64_t *k, uint64_t sum, zbz_shared_entry e) {
	return (uint32_t)(sum >> 48) ^ zbz_shared_frame(k, e);
}

/* ---- shared_lock.c ---- */

/* Both empty the shard of a dead owner first. lock: OK, UNAVAILABLE within a bounded time, CORRUPT; trylock never
 * waits. */
zbz_status zbz_shared_lock(zbz_shared *sh, uint32_t shard, zbz_call *c);
bool zbz_shared_trylock(zbz_shared *sh, uint32_t shard);
void zbz_shared_unlock(zbz_shared *sh, uint32_t shard);
/* Under the lock. */
void zbz_shared_wipe(zbz_shared *sh, zbz_shared_shard *s);
/* Makes gate and sequence odd; leave, with the gate: even again. A writer is in one bucket at a time. */
zbz_half *zbz_shared_enter(zbz_shared *sh, const zbz_shared_shard *s, zbz_shared_bucket *b);
void zbz_shared_leave(zbz_shared_bucket *b, zbz_half *gate);

/* ---- shared_read.c ---- */

/* OK, MISS, or an error of the buffer. out NULL: the value is not wanted. seen may be NULL. */
zbz_status zbz_shared_read(zbz_shared *sh, const zbz_shared_target *t, zbz_buf *out, zbz_shared_seen *seen,
                           zbz_err *err);

/* ---- shared_ring.c: under the lock ---- */

typedef struct zbz_shared_slot {
	zbz_shared_bucket *bucket; /* NULL: none */
	uint32_t nth, bucket_i;
	uint64_t word;
} zbz_shared_slot;

zbz_shared_slot zbz_shared_find(zbz_shared *sh, const zbz_shared_target *t);
/* The one that points to `place`. */
zbz_shared_slot zbz_shared_find_place(zbz_shared *sh, zbz_shared_shard *s, uint64_t hash, uint32_t place);
/* A place for that many units in a ring, evicting for it. 0: none (more than the ring can hold), or the shard had to
 * be wiped. */
uint32_t zbz_shared_room(zbz_shared *sh, zbz_shared_shard *s, int ring, uint32_t units, int64_t now);
/* An empty slot for a new key; where its buckets are full, somebody has to go. */
zbz_shared_slot zbz_shared_vacancy(zbz_shared *sh, zbz_shared_shard *s, uint64_t hash, int64_t now);
/* Empties the slot and gives its bytes back. */
void zbz_shared_drop(zbz_shared *sh, zbz_shared_shard *s, const zbz_shared_slot *slot);
bool zbz_shared_ghost_take(zbz_shared *sh, zbz_shared_shard *s, uint64_t hash);
/* Looks at some further buckets for dead entries. */
void zbz_shared_reap(zbz_shared *sh, zbz_shared_shard *s, int64_t now, uint32_t buckets);
uint64_t zbz_slot_make(uint64_t hash, uint32_t place, int ring, uint32_t freq, int64_t expire_at, int64_t now);

/* ---- shared_write.c: under the lock ---- */

zbz_status zbz_shared_put(zbz_shared *sh, const zbz_shared_target *t, zbz_bytes value, int64_t expire_at,
                          uint32_t *version, zbz_err *err);
bool zbz_shared_live(zbz_shared *sh, const zbz_shared_target *t, zbz_shared_slot *slot, zbz_shared_entry *entry);
bool zbz_shared_expire_at(zbz_shared *sh, const zbz_shared_target *t, int64_t expire_at);

/* ---- shared_scan.c ---- */

zbz_status zbz_shared_scan_open(void *self, zbz_call *c, zbz_bytes prefix, zbz_bytes pattern, zbz_cursor **cursor);
zbz_status zbz_shared_scan_next(void *self, zbz_call *c, zbz_cursor *cursor, size_t limit, zbz_buf *out, size_t *n);
void zbz_shared_scan_close(void *self, zbz_cursor *cursor);
zbz_status zbz_shared_clear(void *self, zbz_call *c, zbz_bytes prefix, uint64_t *removed);

/* ---- shared_stats.c ---- */

void zbz_shared_adopt(zbz_shared *sh); /* a line for this process; at open, and in the child of a fork */
void zbz_shared_forget(zbz_shared *sh);
typedef struct zbz_shared_totals {
	uint64_t keys, memory, evictions, expired; /* of the segment only */
	uint64_t count[ZBZ_SHARED_COUNTS];
} zbz_shared_totals;
/* Of the whole segment; of this process since it opened the segment. */
void zbz_shared_totals_read(zbz_shared *sh, zbz_shared_totals *all, zbz_shared_totals *mine);

static inline zbz_shared_line *zbz_shared_line_of(zbz_shared *sh) {
	if (__builtin_expect(atomic_load_explicit(&sh->generation, memory_order_relaxed) != zbz_fork_generation(), 0))
		zbz_shared_adopt(sh);
	return atomic_load_explicit(&sh->line, memory_order_relaxed);
}

static inline void zbz_shared_count(zbz_shared *sh, int what) { zbz_wadd(&zbz_shared_line_of(sh)->count[what], 1); }

#endif
