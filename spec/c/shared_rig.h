/* What the tests of `shared` share: the provider's files, compiled in with a hook in the middle of its writers, its calls in short, and
 * an audit of what must always hold between two calls of a writer. */
#ifndef SPEC_SHARED_RIG_H
#define SPEC_SHARED_RIG_H

#include <signal.h>
#include <sys/wait.h>

static void in_a_writer(void);
#define ZBZ_SHARED_POINT() in_a_writer()

#include "provider/shared_layout.c"
#include "provider/shared_lock.c"
#include "provider/shared_read.c"
#include "provider/shared_ring.c"
#include "provider/shared_scan.c"
#include "provider/shared_map.c"
#include "provider/shared_segment.c"
#include "provider/shared_stats.c"
#include "provider/shared_write.c"
#include "provider/cache_shared.c"

#include "check.h"
#include "child.h"
#include "faults.h"

enum { NOW_MS = 1000000 };

enum { SLOW = SANITIZED ? 8 : 1 };

/* What the library keeps to itself. */
static atomic_uint forks;
unsigned zbz_fork_generation(void) { return atomic_load(&forks); }
const char *zbz_format_size(int64_t bytes, char out[ZBZ_SCAN_TEXT]) {
	snprintf(out, ZBZ_SCAN_TEXT, "%lld", (long long)bytes);
	return out;
}

/* ---- the hook ---- */

static volatile sig_atomic_t countdown; /* 0: nothing happens */
static int fatal_signal;

static inline void in_a_writer(void) {
	if (countdown > 0 && --countdown == 0) raise(fatal_signal);
}

/* ---- calls in short ---- */

static zbz_shared *sh;
static zbz_call call;
static zbz_err err;
static zbz_buf out;
static uint64_t seed = 88172645463325252u;

static inline uint64_t next_random(void) {
	seed ^= seed << 13;
	seed ^= seed >> 7;
	return seed ^= seed << 17;
}
static inline zbz_call *at(int64_t now) {
	call = (zbz_call){ .clock = zbz_clock_system(), .now = now, .deadline = ZBZ_NEVER };
	return &call;
}
static inline zbz_shared *open_it(const char *zone, const char *name, int64_t size) {
	shared_options o = {
		.size = size, .entry_size = 96, .mode = 0600, .name = (char *)(uintptr_t)name, .zone = (char *)(uintptr_t)zone
	};
	void *self = NULL;
	return shared_open(&self, &o, zbz_clock_system(), &err) == ZBZ_OK ? self : NULL;
}
static inline zbz_status put_at(zbz_shared *s, int64_t now, zbz_bytes k, zbz_bytes v, int64_t expire_at) {
	zbz_write w = { .key = k, .value = v, .expire_at = expire_at };
	return shared_set(s, at(now), &w, NULL);
}
static inline zbz_status put_text(const char *k, const char *v) {
	return put_at(sh, NOW_MS, zbz_bstr(k), zbz_bstr(v), 0);
}
static inline zbz_status get_at(int64_t now, zbz_bytes k) {
	zbz_buf_reset(&out);
	return shared_get(sh, at(now), k, &out, NULL);
}
static inline bool has(const char *k, const char *v) {
	return get_at(NOW_MS, zbz_bstr(k)) == ZBZ_OK && zbz_bytes_eq(zbz_buf_bytes(&out), zbz_bstr(v));
}

/* Values that prove themselves: number, key number, length, then bytes that follow from them. */
static inline size_t make_value(char *v, uint32_t key, uint32_t stamp, size_t n) {
	uint32_t head[3] = { stamp, key, (uint32_t)n };
	size_t i;
	memcpy(v, head, sizeof head);
	for (i = sizeof head; i < n; i++) v[i] = (char)(stamp * 31 + key * 7 + i * 13);
	return n;
}
static inline bool value_is_whole(zbz_bytes v, uint32_t key) {
	uint32_t head[3];
	size_t i;
	if (v.n < sizeof head) return false;
	memcpy(head, v.p, sizeof head);
	if (head[1] != key || head[2] != v.n) return false;
	for (i = sizeof head; i < v.n; i++)
		if (v.p[i] != (char)(head[0] * 31 + key * 7 + i * 13)) return false;
	return true;
}
static inline size_t some_length(void) {
	return 12 + (next_random() % 16 == 0 ? next_random() % 6000 : next_random() % 300);
}

static inline zbz_status put_numbered(zbz_shared *s, uint32_t key, int64_t expire_at) {
	char k[16], v[8192];
	size_t n = make_value(v, key, (uint32_t)next_random(), some_length());
	snprintf(k, sizeof k, "n%u", (unsigned)key);
	return put_at(s, NOW_MS, zbz_bstr(k), zbz_b(v, n), expire_at);
}
/* OK, MISS, or E_CORRUPT for a value that is not whole. */
static inline zbz_status get_numbered(uint32_t key) {
	char k[16];
	zbz_status status;
	snprintf(k, sizeof k, "n%u", (unsigned)key);
	status = get_at(NOW_MS, zbz_bstr(k));
	return status == ZBZ_OK && !value_is_whole(zbz_buf_bytes(&out), key) ? ZBZ_E_CORRUPT : status;
}

/* ---- what must always hold between two calls of a writer ---- */

typedef struct sums {
	uint32_t items, live[2], away;
} sums;

static inline bool audit_bucket(zbz_shared *s, zbz_shared_shard *shard, uint32_t i, sums *sum) {
	zbz_shared_bucket *b = zbz_shared_bucket_at(s, shard, i);
	uint32_t k;
	if ((zbz_hload(&b->seq) & 1) != 0) return false;
	for (k = 0; k < ZBZ_SHARED_SLOTS; k++) {
		uint64_t word = zbz_wload(&b->slot[k]), hash;
		zbz_shared_entry e;
		if (word == 0) continue;
		if (!entry_ok(s, shard, zbz_slot_place(word), &e)) return false;
		hash = hash_at(s, shard, zbz_slot_place(word), e);
		if (zbz_shared_tag(hash) != zbz_slot_tag(word)) return false;
		if (i != zbz_shared_home(s, hash) && i != zbz_shared_second(s, hash)) return false;
		if ((zbz_slot_place(word) >= s->g.ring_at[1]) != (zbz_slot_ring(word) != 0)) return false;
		sum->items++;
		sum->live[zbz_slot_ring(word)] += zbz_entry_units(e);
		sum->away += i != zbz_shared_home(s, hash);
	}
	return true;
}

static inline bool audit_ring(zbz_shared *s, zbz_shared_shard *shard, int which, uint32_t live) {
	ring r;
	uint32_t left, found = 0;
	if (!ring_read(s, shard, which, &r) || zbz_hload(&shard->ring[which].live) != live) return false;
	for (left = r.used; left > 0;) {
		oldest o;
		if (!ring_oldest(s, shard, &r, &o)) return false;
		if (o.slot.bucket != NULL) found += o.units;
		left -= o.units;
		ring_give(&r, o.units);
	}
	return found == live;
}

static inline bool audit(zbz_shared *s) {
	uint32_t i, k, away;
	for (i = 0; i < s->g.shards; i++) {
		zbz_shared_shard *shard = zbz_shared_shard_at(s, i);
		sums sum = { 0, { 0, 0 }, 0 };
		if (zbz_shared_lock(s, i, at(NOW_MS)) != ZBZ_OK) return false;
		for (k = 0, away = 0; k < s->g.buckets; k++) {
			if (!audit_bucket(s, shard, k, &sum)) return false;
			away += zbz_hload(&zbz_shared_bucket_at(s, shard, k)->away);
		}
		if (zbz_hload(&shard->items) != sum.items || away != sum.away) return false;
		if (!audit_ring(s, shard, 0, sum.live[0]) || !audit_ring(s, shard, 1, sum.live[1])) return false;
		zbz_shared_unlock(s, i);
	}
	return true;
}

/* Writes until the hook strikes. */
static inline void write_until_struck(int after, int with) {
	atomic_fetch_add(&forks, 1);
	fatal_signal = with;
	countdown = after;
	for (;;) {
		uint32_t key = (uint32_t)(next_random() % 2000);
		char k[16];
		snprintf(k, sizeof k, "n%u", (unsigned)key);
		if (next_random() % 8 == 0)
			shared_del(sh, at(NOW_MS), zbz_bstr(k));
		else if (next_random() % 8 == 0)
			shared_expire(sh, at(NOW_MS), zbz_bstr(k), NOW_MS + 1000000);
		else
			put_numbered(sh, key, 0);
	}
}

#endif
