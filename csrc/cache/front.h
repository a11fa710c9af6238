/* The insides of caches and tables, shared by the files of this room. */
#ifndef ZBZ_CACHE_FRONT_H
#define ZBZ_CACHE_FRONT_H

#include <pthread.h>
#include <stdatomic.h>

#include <zbz/table.h>

#include "atfork.h"
#include "core/store.h"
#include "envelope.h"
#include "flight.h"

/* Counters that many threads write are striped by the caller's stack, so that threads seldom share a line. */
enum { STRIPES = 8, CACHE_LINE = 64 };

/* ---- the store in use ---- */

typedef struct slot_stripe {
	atomic_size_t calls; /* under way */
	char pad[CACHE_LINE - sizeof(atomic_size_t)];
} slot_stripe;

/* One store while a cache uses it. Calls count themselves in; a slot that was replaced drains, gives its store up,
 * and waits to be used again. Slots are freed with their cache only, so a late call may look at one at any time. */
typedef struct cache_slot {
	slot_stripe stripes[STRIPES];
	atomic_bool draining;
	bool unattended;  /* a swap gave up waiting: the last call drops the store */
	zbz_store *store; /* NULL once drained */
	zbz_flights *flights;
	zbz_caps caps;
	struct cache_slot *next; /* retired ones */
} cache_slot;

struct zbz_cache {
	atfork_node fork;
	_Atomic(cache_slot *) slot; /* NULL once closed */
	atomic_bool inline_ok;      /* of the current store: no deadline needs to be reckoned */
	atomic_bool inline_hits;
	atomic_uint epoch; /* odd while the store is being replaced, and once closed: copies of values do not count */
	atomic_size_t refs;
	const zbz_clock *clock;
	int64_t default_ttl, deadline;
	pthread_mutex_t lock; /* replacing, draining */
	pthread_cond_t drained;
	cache_slot *retired;
	zbz_bytes key_prefix;
};

/* The current slot, counted in; NULL when closed. Give it back with the same stripe. */
cache_slot *zbz_cache_enter(zbz_cache *cache, unsigned stripe);
void zbz_cache_leave(zbz_cache *cache, cache_slot *slot, unsigned stripe);
static inline bool slot_can(const cache_slot *slot, uint32_t bits) { return (slot->caps.can & bits) == bits; }

/* ---- table ---- */

typedef struct table_stripe { /* fills a line */
	atomic_uint_least64_t hits, misses, sets, deletes, errors, lost_writes, unused;
	atomic_int_least64_t last_access;
} table_stripe;

struct zbz_table {
	table_stripe stripes[STRIPES];
	atomic_uint_least64_t fetch[ZBZ_COUNT_UNLOCKED + 1]; /* by zbz_counter */
	atomic_size_t refs;
	zbz_cache *cache;
	const zbz_clock *clock;
	int64_t ttl, deadline, stale_ttl, created_at;
	bool envelope;      /* every write is sealed */
	atomic_bool sealed; /* sealed entries are to be expected: asking for state means reading */
	zbz_bytes prefix;
};

static inline void count_add(atomic_uint_least64_t *counter, uint64_t n) {
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* ---- one call of a table ---- */

enum { KEY_ROOM = 512 };

typedef struct table_op {
	zbz_table *t;
	zbz_call *c;
	cache_slot *slot;
	table_stripe *counts;
	unsigned stripe;
	char *heap;
	zbz_bytes key; /* the full key */
	char room[KEY_ROOM];
} table_op;

/* Counts in, checks the deadline and the key, builds the full key. On failure nothing is held. */
zbz_status zbz_op_begin(table_op *op, zbz_table *t, zbz_call *c, zbz_bytes key);
/* The same without a key. */
zbz_status zbz_op_open(table_op *op, zbz_table *t, zbz_call *c);
void zbz_op_end(table_op *op);
/* OK, or why this key or value is refused. */
zbz_status zbz_op_check_key(const table_op *op, size_t key_n, zbz_err *err);
/* A full key that zbz keeps for itself? */
static inline bool key_reserved(zbz_bytes full) {
	return full.p[0] == ZBZ_RESERVED[0] && zbz_bytes_has_prefix(full, zbz_bstr(ZBZ_RESERVED));
}
zbz_status zbz_key_refuse_reserved(zbz_err *err);
zbz_status zbz_op_check_value(const table_op *op, size_t stored_n, zbz_err *err);
zbz_status zbz_op_need(const table_op *op, uint32_t bit, const char *what);
/* Counts what a failed write means, and returns status. */
zbz_status zbz_op_wrote(table_op *op, zbz_status status);

/* Both sides of a write: what is being loaded from before the first or between the two must not be stored after. */
static inline void op_touch(const table_op *op) { zbz_flights_touch(op->slot->flights, op->key); }

/* now + ttl, ttl 0 never; saturates. */
int64_t zbz_expire_at(int64_t now, int64_t ttl);

/* TTLs not negative, a version where one is needed. */
zbz_status zbz_put_check(const zbz_put *put, zbz_err *err);
/* The seal and the physical end of a put; true when it has to be sealed at all. */
bool zbz_put_seal(const zbz_table *t, int64_t now, zbz_bytes value, const zbz_put *put, zbz_seal *seal,
                  int64_t *physical);
/* What a put of op's key comes to: bytes (sealed into *sealed where they must be), end and condition. *sealed is to
 * be cleared. */
zbz_status zbz_put_prepare(table_op *op, zbz_bytes value, const zbz_put *put, zbz_buf *sealed, zbz_write *w);
extern const zbz_put zbz_put_defaults;

/* Reads what is there, the envelope opened: OK and *entry; MISS. The stored bytes start at `start` of *out, *value
 * lies in them. *physical (may be NULL) is the provider's own expiry, -1 unknown. */
zbz_status zbz_op_read(table_op *op, zbz_buf *out, bool want_meta, zbz_bytes *value, zbz_entry *entry,
                       int64_t *physical);
/* The value alone is to stay in the buffer, where the stored bytes were. */
void zbz_op_strip(zbz_buf *out, size_t start, zbz_bytes value);
/* A read does not always tell when the entry ends, and the caller wants to know. */
zbz_status zbz_op_ask_ttl(table_op *op, zbz_entry *entry);
void zbz_op_count_read(table_op *op, zbz_status s);
static inline bool entry_live(const zbz_entry *e) { return !e->stale && !e->negative && !e->lease; }

/* May an entry be there that only its envelope tells dead? Once the table has seen a sealed one; and where other
 * processes lease keys while they load. */
static inline bool op_expects_sealed(const table_op *op) {
	return atomic_load_explicit(&op->t->sealed, memory_order_relaxed) ||
	       (op->slot->caps.shared && slot_can(op->slot, ZBZ_CAN_ADD | ZBZ_CAN_VERSION));
}

enum { RACE_TRIES = 16 }; /* how often a lost version race is run again */

#endif
