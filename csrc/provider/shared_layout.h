/* What the segment of the `shared` provider looks like, byte for byte. Offsets only, never a pointer: each process
 * maps it where it likes. Nothing in it is believed: whatever is read from it is checked against the geometry, which is
 * private.
 *
 *   header | process lines | gates | shard | shard | ...
 *   shard:  lock | control | buckets | ghosts | small ring | main ring
 *
 * A unit is a word of 8 bytes; places inside a shard are counted in units from its start.
 *   slot    tag:16 | frequency:2 | in main:1 | coarse expiry:13 | place:32          0: empty
 *   entry   vlen:25 | klen:16 | expiry, low:23
 *           expiry, high:20 | version:28 | check:16          then the key, then the value
 *   filler  units:25 | 0                                     a gap in a ring: klen 0 */
#ifndef ZBZ_PROVIDER_SHARED_LAYOUT_H
#define ZBZ_PROVIDER_SHARED_LAYOUT_H

#include <zbz/bytes.h>

#include <pthread.h>
#include <stdatomic.h>

enum {
	ZBZ_SHARED_LAYOUT = 3, /* another number: another file name */
	ZBZ_SHARED_SLOTS = 7,
	ZBZ_SHARED_LINES = 120,
	ZBZ_SHARED_HEADER = 8192,
	ZBZ_SHARED_SHARDS_MAX = 256,
	ZBZ_SHARED_GHOSTS = 8, /* in a set */
	ZBZ_SHARED_GATED = 16, /* buckets with one gate */
	ZBZ_SHARED_ENTRY_UNITS = 2
};

typedef _Atomic uint64_t zbz_word;
typedef _Atomic uint32_t zbz_half;

typedef struct zbz_shared_header {
	char magic[8];
	uint32_t layout, abi;
	uint64_t size, entry_size, epoch, secret[4];
	uint64_t check; /* of all before it */
} zbz_shared_header;

enum {
	ZBZ_SHARED_HITS,
	ZBZ_SHARED_MISSES,
	ZBZ_SHARED_SETS,
	ZBZ_SHARED_BUSY,    /* writes refused because a lock was held for too long */
	ZBZ_SHARED_LOST,    /* reads answered as a miss because the writer did not come to an end */
	ZBZ_SHARED_DAMAGED, /* entries dropped because their bytes are not what was written */
	ZBZ_SHARED_WIPED,   /* shards emptied because a writer died in them */
	ZBZ_SHARED_COUNTS
};

/* What one process has done. Written by it alone, without locked instructions: several threads may lose a count. */
typedef struct zbz_shared_line {
	_Alignas(64) zbz_half pid; /* 0: free; the counts stay for the total */
	zbz_half spare;
	zbz_word count[ZBZ_SHARED_COUNTS];
} zbz_shared_line;

typedef struct zbz_shared_ring {
	zbz_half head, tail, used, live; /* units; live: what is in entries that a slot points to */
} zbz_shared_ring;

typedef struct zbz_shared_shard {
	_Alignas(64) pthread_mutex_t lock;
	_Alignas(64) zbz_shared_ring ring[2]; /* small, main */
	zbz_half items, version, reap, spare; /* reap: the bucket to look at next */
	zbz_word evictions, expired;
} zbz_shared_shard;

/* seq is odd while a writer is in the bucket. */
typedef struct zbz_shared_bucket {
	_Alignas(64) zbz_half seq;
	zbz_half away; /* entries that found no place here and live in their second bucket */
	zbz_word slot[ZBZ_SHARED_SLOTS];
} zbz_shared_bucket;

/* A gate stands for neighbouring buckets: odd while a writer is in one of them, another number after it. Whoever keeps copies asks the
 * gates, which together are small enough to stay in a processor's cache, and a bucket only when its gate has moved. */

/* Follows from size and entry_size alone. */
typedef struct zbz_shared_geometry {
	uint64_t size, entry_size, stride, shards_at;
	uint32_t shards;          /* a power of two */
	uint32_t gates;           /* of a shard; they begin at ZBZ_SHARED_HEADER */
	uint32_t buckets, ghosts; /* of a shard; ghosts: sets */
	uint32_t buckets_at, ghosts_at, ring_at[2], ring_units[2];
	uint32_t most_units; /* of one entry */
} zbz_shared_geometry;

#define ZBZ_SHARED_LEAST     ((uint64_t)128 << 10)
#define ZBZ_SHARED_MOST      ((uint64_t)64 << 30)
#define ZBZ_SHARED_KEY_MAX   65535u
#define ZBZ_SHARED_VALUE_MAX (((uint32_t)1 << 25) - 1)

void zbz_shared_plan(uint64_t size, uint64_t entry_size, zbz_shared_geometry *g);
/* A new header over zeroed memory; the locks of all shards. */
zbz_status zbz_shared_format(unsigned char *base, const zbz_shared_geometry *g, zbz_err *err);
zbz_status zbz_shared_format_lock(zbz_shared_shard *s, zbz_err *err);
/* Can the C library be trusted with the lock? */
bool zbz_shared_lock_sound(const zbz_shared_shard *s);
/* Forgets every entry, whatever state the shard is in. By the holder of its lock. */
void zbz_shared_empty(const zbz_shared_geometry *g, unsigned char *base, uint32_t shard);
/* Is it one that this build made? Fills size and entry_size of *g, planned. */
bool zbz_shared_check_header(const zbz_shared_header *h, uint64_t file_size, zbz_shared_geometry *g);

static inline zbz_shared_shard *zbz_shared_shard_in(const zbz_shared_geometry *g, unsigned char *base, uint32_t i) {
	return (zbz_shared_shard *)(void *)(base + g->shards_at + i * g->stride);
}
/* The gates of a shard. */
static inline zbz_half *zbz_shared_gates_in(const zbz_shared_geometry *g, unsigned char *base, uint32_t i) {
	return (zbz_half *)(void *)(base + ZBZ_SHARED_HEADER) + (size_t)i * g->gates;
}

/* ---- words ---- */

static inline uint64_t zbz_wload(const zbz_word *p) { return atomic_load_explicit(p, memory_order_relaxed); }
static inline void zbz_wstore(zbz_word *p, uint64_t v) { atomic_store_explicit(p, v, memory_order_relaxed); }
static inline uint32_t zbz_hload(const zbz_half *p) { return atomic_load_explicit(p, memory_order_relaxed); }
static inline void zbz_hstore(zbz_half *p, uint32_t v) { atomic_store_explicit(p, v, memory_order_relaxed); }
static inline void zbz_hmore(zbz_half *p, uint32_t n) { zbz_hstore(p, zbz_hload(p) + n); }
static inline void zbz_hless(zbz_half *p, uint32_t n) { /* below 0 only after damage */
	uint32_t v = zbz_hload(p);
	zbz_hstore(p, v > n ? v - n : 0);
}
static inline void zbz_wadd(zbz_word *p, uint64_t n) { zbz_wstore(p, zbz_wload(p) + n); }

/* ThreadSanitizer knows no fences; every shared word is atomic, so without them it still sees no race. */
#ifdef __SANITIZE_THREAD__
#define zbz_shared_fence(order) ((void)0)
#else
#define zbz_shared_fence(order) atomic_thread_fence(order)
#endif

/* The bytes of a word in the order of addresses, lowest first, whatever the machine. */
static inline uint64_t zbz_shared_le(uint64_t w) {
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	return __builtin_bswap64(w);
#else
	return w;
#endif
}

/* ---- slots ---- */

#define ZBZ_SLOT_FREQ ((uint64_t)3 << 46)
#define ZBZ_SLOT_ONE  ((uint64_t)1 << 46)
#define ZBZ_SLOT_MAIN ((uint64_t)1 << 45)

static inline uint32_t zbz_slot_tag(uint64_t s) { return (uint32_t)(s >> 48); }
static inline uint32_t zbz_slot_freq(uint64_t s) { return (uint32_t)(s >> 46) & 3; }
static inline uint32_t zbz_slot_place(uint64_t s) { return (uint32_t)s; }
static inline uint32_t zbz_slot_expiry(uint64_t s) { return (uint32_t)(s >> 32) & 0x1FFF; }
static inline int zbz_slot_ring(uint64_t s) { return (s & ZBZ_SLOT_MAIN) != 0; }

/* ---- entries ---- */

typedef struct zbz_shared_entry {
	uint64_t w0, w1;
} zbz_shared_entry;

#define ZBZ_EXPIRE_MAX (((int64_t)1 << 43) - 1) /* later than that (in the year 2248) is never */

static inline uint32_t zbz_entry_vlen(zbz_shared_entry e) { return (uint32_t)e.w0 & 0x1FFFFFF; }
static inline uint32_t zbz_entry_klen(zbz_shared_entry e) { return (uint32_t)(e.w0 >> 25) & 0xFFFF; }
static inline int64_t zbz_entry_expire(zbz_shared_entry e) { return (int64_t)(e.w0 >> 41 | (e.w1 & 0xFFFFF) << 23); }
static inline uint32_t zbz_entry_version(zbz_shared_entry e) { return (uint32_t)(e.w1 >> 20) & 0xFFFFFFF; }
static inline uint32_t zbz_entry_check(zbz_shared_entry e) { return (uint32_t)(e.w1 >> 48); }
static inline bool zbz_entry_dead(zbz_shared_entry e, int64_t now) {
	int64_t at = zbz_entry_expire(e);
	return at != 0 && at <= now;
}
static inline uint32_t zbz_shared_units(size_t klen, size_t vlen) {
	return ZBZ_SHARED_ENTRY_UNITS + (uint32_t)((klen + vlen + 7) / 8);
}
/* Of an entry or a filler. */
static inline uint32_t zbz_entry_units(zbz_shared_entry e) {
	return zbz_entry_klen(e) == 0 ? zbz_entry_vlen(e) : zbz_shared_units(zbz_entry_klen(e), zbz_entry_vlen(e));
}

#endif
