/* Providers `memory` and `ristretto`: entries of this process, within a limit of bytes. See memory_engine.h for what is below. */
#include "base/hash.h"
#include "base/scan.h"
#include "core/built_in.h"
#include "memory_limit.h"
#include "memory_policy.h"
#include "memory_store.h"

#include <zbz/zbz.h>

#include <stdio.h>

#define MEMORY_DEFAULT_SIZE    104857600
#define RISTRETTO_DEFAULT_COST 1073741824

enum { REAPS_PER_SET = 8, LEAST_SIZE = 512, AHEAD = 8, VERSION_BYTES = sizeof(uint32_t) };
#define MOST_SIZE ((int64_t)1 << 44)

typedef struct memory_options {
	int64_t max_size, max_items, cleanup_interval;
	int eviction;
	bool size_aware;
} memory_options;

typedef struct ristretto_options {
	int64_t num_counters, max_cost, buffer_items, cleanup_interval;
} ristretto_options;

static const zbz_option memory_option_list[] = {
	{ "max_size", NULL, ZBZ_OPT_SIZE, offsetof(memory_options, max_size), "100MB", NULL, LEAST_SIZE, MOST_SIZE,
	  "Upper bound of all memory used; the default shrinks to half of the control group's limit where that is below "
	  "200MB" },
	{ "max_items", NULL, ZBZ_OPT_INT, offsetof(memory_options, max_items), "0", NULL, 0, 4000000000,
	  "Upper bound of entries; 0: none" },
	{ "eviction", "eviction_policy", ZBZ_OPT_ENUM, offsetof(memory_options, eviction), "s3fifo",
	  "s3fifo|lru|lfu|ttl|sieve|tinylfu", 0, 0,
	  "Who makes room: s3fifo for most loads, tinylfu for loops and scans, ttl the soonest to expire" },
	{ "size_aware", NULL, ZBZ_OPT_BOOL, offsetof(memory_options, size_aware), "false", NULL, 0, 0,
	  "s3fifo: large entries need more hits to stay; more hits in all, of fewer bytes" },
	{ "cleanup_interval", NULL, ZBZ_OPT_DURATION, offsetof(memory_options, cleanup_interval), "1m", NULL, 1,
	  31536000000, "The longest time between two sweeps of expired entries, as long as there are calls" },
	{ NULL, NULL, ZBZ_OPT_TEXT, 0, NULL, NULL, 0, 0, NULL }
};

static const zbz_option ristretto_option_list[] = {
	{ "num_counters", NULL, ZBZ_OPT_INT, offsetof(ristretto_options, num_counters), "10000000", NULL, 1, 1000000000,
	  "4-bit counters of the frequency sketch; at most a sixteenth of max_cost is spent on them" },
	{ "max_cost", NULL, ZBZ_OPT_SIZE, offsetof(ristretto_options, max_cost), "1GB", NULL, LEAST_SIZE, MOST_SIZE,
	  "Upper bound of all memory used; the default shrinks to half of the control group's limit where that is below "
	  "2GB" },
	{ "buffer_items", NULL, ZBZ_OPT_INT, offsetof(ristretto_options, buffer_items), "64", NULL, 1, 4096,
	  "Reads that are noted before the sketch is told of them" },
	{ "cleanup_interval", NULL, ZBZ_OPT_DURATION, offsetof(ristretto_options, cleanup_interval), "1m", NULL, 1,
	  31536000000, "The longest time between two sweeps of expired entries, as long as there are calls" },
	{ NULL, NULL, ZBZ_OPT_TEXT, 0, NULL, NULL, 0, 0, NULL }
};

static const zbz_mem_policy *const policies[] = { &zbz_mem_s3fifo, &zbz_mem_lru,   &zbz_mem_lfu,
	                                              &zbz_mem_by_ttl, &zbz_mem_sieve, &zbz_mem_tinylfu };

/* ---- open ---- */

/* What was not asked for must not bring a small container down. */
static uint64_t fitting(int64_t size, int64_t dflt) {
	int64_t limit;
	if (size != dflt) return (uint64_t)size;
	limit = zbz_mem_cgroup_limit();
	if (limit / 2 >= size) return (uint64_t)size;
	return limit / 2 < LEAST_SIZE ? LEAST_SIZE : (uint64_t)(limit / 2);
}

static zbz_status memory_open(void **self, const void *options, const zbz_clock *clock, zbz_err *err) {
	const memory_options *o = options;
	zbz_mem_config config = { .max_size = fitting(o->max_size, MEMORY_DEFAULT_SIZE),
		                      .max_items = (uint64_t)o->max_items,
		                      .cleanup_interval = o->cleanup_interval,
		                      .size_aware = o->size_aware,
		                      .policy = policies[o->eviction],
		                      .batch = 64 };
	return zbz_mem_store_open(self, &config, clock, err);
}

static zbz_status ristretto_open(void **self, const void *options, const zbz_clock *clock, zbz_err *err) {
	const ristretto_options *o = options;
	zbz_mem_config config = { .max_size = fitting(o->max_cost, RISTRETTO_DEFAULT_COST),
		                      .cleanup_interval = o->cleanup_interval,
		                      .policy = &zbz_mem_tinylfu,
		                      .sketch_counters = (uint64_t)o->num_counters,
		                      .batch = (uint32_t)o->buffer_items };
	return zbz_mem_store_open(self, &config, clock, err);
}

static void memory_caps(void *self, zbz_caps *out) {
	const zbz_mem_store *s = self;
	out->can = ZBZ_CAN_TTL | ZBZ_CAN_EXPIRE | ZBZ_CAN_ADD | ZBZ_CAN_PRESENT | ZBZ_CAN_VERSION | ZBZ_CAN_INCR |
	           ZBZ_CAN_KEYS | ZBZ_CAN_CLEAR | ZBZ_CAN_BATCH;
	out->emulated = 0;
	out->inline_ok = true;
	out->shared = false;
	out->unsigned_incr = false;
	out->exclusive = true;
	out->ttl_resolution_ms = 1;
	out->max_key = ZBZ_MEM_KEY_MAX;
	out->max_value = s->mem.max_size < ZBZ_MEM_VALUE_MAX ? s->mem.max_size : ZBZ_MEM_VALUE_MAX;
}

/* ---- one key ---- */

static inline zbz_mem *enter(void *self, const zbz_call *c) {
	zbz_mem_store *s = self;
	pthread_mutex_lock(&s->lock);
	zbz_mem_tick(&s->mem, c->now);
	return &s->mem;
}

static inline zbz_status leave(void *self, zbz_status status) {
	pthread_mutex_unlock(&((zbz_mem_store *)self)->lock);
	return status;
}

static void tell_version(zbz_version *out, uint32_t version) {
	out->n = VERSION_BYTES;
	memcpy(out->b, &version, VERSION_BYTES);
}

static inline zbz_status read_entry(zbz_mem *m, zbz_call *c, zbz_bytes key, uint64_t hash, zbz_buf *out,
                                    zbz_meta *meta) {
	uint32_t id = zbz_mem_find_live(m, key, hash, c->now);
	zbz_mem_entry *e;
	zbz_status status;
	if (id == 0) return ZBZ_MISS;
	e = zbz_mem_at(m, id);
	status = zbz_buf_append(out, zbz_mem_value(e), zbz_mem_vlen(e), &c->err);
	if (status != ZBZ_OK) return status;
	if (meta != NULL) {
		meta->expire_at = zbz_mem_expire(e);
		tell_version(&meta->version, e->version);
	}
	e->stamp = zbz_mem_stamp(m, c->now);
	if (e->hits != UINT8_MAX) e->hits++;
	m->policy->hit(m, id, e, hash);
	return ZBZ_OK;
}

static zbz_status memory_get(void *self, zbz_call *c, zbz_bytes key, zbz_buf *out, zbz_meta *meta) {
	uint64_t hash = zbz_hash_inline(key);
	return leave(self, read_entry(enter(self, c), c, key, hash, out, meta));
}

/* For one that is served from a copy. Nobody overtakes it, and nobody has to make room, before something is written. */
static void use_entry(zbz_seen *seen) {
	zbz_mem_store *s = seen->store;
	zbz_mem *m = &s->mem;
	uint32_t id;
	pthread_mutex_lock(&s->lock);
	id = zbz_seen_stands(seen) ? zbz_mem_find_hash(m, seen->entry) : 0;
	if (id != 0) {
		zbz_mem_entry *e = zbz_mem_at(m, id);
		if (e->hits != UINT8_MAX) e->hits++;
		m->policy->hit(m, id, e, seen->entry);
	}
	seen->was = m->puts;
	pthread_mutex_unlock(&s->lock);
}

static zbz_status memory_get_seen(void *self, zbz_call *c, zbz_bytes key, zbz_buf *out, zbz_seen *seen) {
	uint64_t hash = zbz_hash_inline(key);
	zbz_mem *m = enter(self, c);
	zbz_meta meta;
	zbz_status status = read_entry(m, c, key, hash, out, &meta);
	if (status != ZBZ_OK) return leave(self, status);
	seen->expire_at = meta.expire_at;
	seen->word = zbz_mem_word(m, hash);
	if (seen->word != NULL) seen->seq = *seen->word;
	seen->mark = &m->puts;
	seen->mask = UINT64_MAX;
	seen->was = m->puts;
	seen->use = use_entry;
	seen->store = self;
	seen->entry = hash;
	return leave(self, status);
}

static zbz_status holds(zbz_mem *m, zbz_call *c, const zbz_write *w, uint64_t hash) {
	uint32_t id;
	if (w->only == ZBZ_ALWAYS) return ZBZ_OK;
	id = zbz_mem_find_live(m, w->key, hash, c->now);
	if (w->only == ZBZ_ONLY_ABSENT) return id == 0 ? ZBZ_OK : ZBZ_REFUSED;
	if (w->only == ZBZ_ONLY_PRESENT) return id != 0 ? ZBZ_OK : ZBZ_REFUSED;
	if (id == 0) return zbz_fail(&c->err, ZBZ_E_CONFLICT, "the entry is gone");
	if (w->version->n == VERSION_BYTES && memcmp(w->version->b, &zbz_mem_at(m, id)->version, VERSION_BYTES) == 0)
		return ZBZ_OK;
	return zbz_fail(&c->err, ZBZ_E_CONFLICT, "the entry was written by somebody else");
}

static zbz_status write_entry(zbz_mem *m, zbz_call *c, const zbz_write *w, uint64_t hash, zbz_version *version_out) {
	zbz_status status;
	uint32_t version;
	zbz_mem_reap(m, c->now, REAPS_PER_SET);
	status = holds(m, c, w, hash);
	if (status != ZBZ_OK) return status;
	status = zbz_mem_put(m, hash, w->key, w->value, w->expire_at, c->now, &version, &c->err);
	if (status == ZBZ_OK && version_out != NULL) tell_version(version_out, version);
	return status;
}

static zbz_status memory_set(void *self, zbz_call *c, const zbz_write *w, zbz_version *version_out) {
	uint64_t hash = zbz_hash_inline(w->key);
	return leave(self, write_entry(enter(self, c), c, w, hash, version_out));
}

static zbz_status remove_entry(zbz_mem *m, const zbz_call *c, zbz_bytes key) {
	uint64_t hash = zbz_hash_inline(key);
	uint32_t id = zbz_mem_find_live(m, key, hash, c->now);
	if (id == 0) return ZBZ_MISS;
	zbz_mem_remove(m, id, hash, false);
	return ZBZ_OK;
}

static zbz_status memory_del(void *self, zbz_call *c, zbz_bytes key) {
	return leave(self, remove_entry(enter(self, c), c, key));
}

static zbz_status memory_ttl(void *self, zbz_call *c, zbz_bytes key, int64_t *expire_at) {
	zbz_mem *m = enter(self, c);
	uint32_t id = zbz_mem_find_live(m, key, zbz_hash_inline(key), c->now);
	if (id != 0 && expire_at != NULL) *expire_at = zbz_mem_expire(zbz_mem_at(m, id));
	return leave(self, id != 0 ? ZBZ_OK : ZBZ_MISS);
}

static zbz_status memory_exists(void *self, zbz_call *c, zbz_bytes key) { return memory_ttl(self, c, key, NULL); }

static zbz_status memory_expire(void *self, zbz_call *c, zbz_bytes key, int64_t expire_at) {
	uint64_t hash = zbz_hash_inline(key);
	zbz_mem *m = enter(self, c);
	if (zbz_mem_find_live(m, key, hash, c->now) == 0) return leave(self, ZBZ_MISS);
	return leave(self, zbz_mem_expire_at(m, hash, key, expire_at, c->now, &c->err));
}

/* ---- counters ---- */

static zbz_status count_entry(zbz_mem *m, zbz_call *c, zbz_bytes key, const zbz_incr *how, int64_t *value) {
	uint64_t hash = zbz_hash_inline(key);
	uint32_t id, version;
	int64_t v = how->has_initial ? how->initial : how->delta, expire_at = how->expire_at;
	char text[24];
	int n;
	zbz_status status;
	zbz_mem_reap(m, c->now, REAPS_PER_SET);
	id = zbz_mem_find_live(m, key, hash, c->now);
	if (id != 0) {
		const zbz_mem_entry *e = zbz_mem_at(m, id);
		if (zbz_mem_vlen(e) > 20 || !zbz_parse_integer(zbz_b(zbz_mem_value(e), zbz_mem_vlen(e)), &v))
			return zbz_fail(&c->err, ZBZ_E_TYPE, "the value is not a decimal integer");
		if (__builtin_add_overflow(v, how->delta, &v))
			return zbz_fail(&c->err, ZBZ_E_ARGUMENT, "the counter would leave the range of 64 bits");
		expire_at = zbz_mem_expire(e);
	}
	n = snprintf(text, sizeof text, "%lld", (long long)v);
	status = zbz_mem_put(m, hash, key, zbz_b(text, (size_t)n), expire_at, c->now, &version, &c->err);
	if (status == ZBZ_OK) *value = v;
	return status;
}

static zbz_status memory_incr(void *self, zbz_call *c, zbz_bytes key, const zbz_incr *how, int64_t *value) {
	return leave(self, count_entry(enter(self, c), c, key, how, value));
}

/* ---- batches ---- */

/* Fetches the lines of several keys at once, slots first, then entries: the waits overlap. */
static void look_ahead(zbz_mem *m, const zbz_bytes *keys, uint64_t *hashes, size_t n) {
	size_t i;
	for (i = 0; i < n; i++) {
		hashes[i] = zbz_hash_inline(keys[i]);
		zbz_mem_prefetch_slot(m, hashes[i]);
	}
	for (i = 0; i < n; i++) zbz_mem_prefetch_entry(m, hashes[i]);
}

static zbz_status memory_get_many(void *self, zbz_call *c, const zbz_bytes *keys, size_t n, zbz_buf *out,
                                  zbz_found *found) {
	zbz_mem *m = enter(self, c);
	uint64_t hashes[AHEAD];
	zbz_meta meta;
	size_t i;
	for (i = 0; i < n; i++) {
		if (i % AHEAD == 0) look_ahead(m, keys + i, hashes, n - i < AHEAD ? n - i : AHEAD);
		found[i].off = out->n;
		found[i].status = read_entry(m, c, keys[i], hashes[i % AHEAD], out, c->want_expiry ? &meta : NULL);
		if (c->want_expiry && found[i].status == ZBZ_OK) found[i].expire_at = meta.expire_at;
		found[i].n = found[i].status == ZBZ_OK ? out->n - found[i].off : 0;
	}
	return leave(self, ZBZ_OK);
}

static zbz_status memory_set_many(void *self, zbz_call *c, const zbz_write *writes, size_t n, zbz_status *status) {
	zbz_mem *m = enter(self, c);
	size_t i;
	for (i = 0; i < n; i++) status[i] = write_entry(m, c, &writes[i], zbz_hash_inline(writes[i].key), NULL);
	return leave(self, ZBZ_OK);
}

static zbz_status memory_del_many(void *self, zbz_call *c, const zbz_bytes *keys, size_t n, zbz_status *status) {
	zbz_mem *m = enter(self, c);
	size_t i;
	for (i = 0; i < n; i++) status[i] = remove_entry(m, c, keys[i]);
	return leave(self, ZBZ_OK);
}

/* ---- the store ---- */

static zbz_status memory_ping(void *self, zbz_call *c) {
	zbz_mem_cleanup(enter(self, c), c->now);
	return leave(self, ZBZ_OK);
}

static zbz_status memory_version(void *self, zbz_call *c, zbz_buf *out) {
	(void)self;
	return zbz_buf_append(out, ZBZ_VERSION, sizeof ZBZ_VERSION - 1, &c->err);
}

static void memory_stats(void *self, zbz_call *c, zbz_provider_stats *out) {
	zbz_mem *m = enter(self, c);
	zbz_mem_cleanup(m, c->now);
	out->keys = (int64_t)m->items;
	out->memory = (int64_t)zbz_mem_total(m);
	out->evictions = (int64_t)m->evicted;
	out->expired = (int64_t)m->expired;
	leave(self, ZBZ_OK);
}

#define MEMORY_SLOTS                                                                                            \
	.close = zbz_mem_store_close, .caps = memory_caps, .get = memory_get, .set = memory_set, .del = memory_del, \
	.exists = memory_exists, .ttl = memory_ttl, .expire = memory_expire, .incr = memory_incr,                   \
	.get_many = memory_get_many, .set_many = memory_set_many, .del_many = memory_del_many,                      \
	.scan_open = zbz_mem_scan_open, .scan_next = zbz_mem_scan_next, .scan_close = zbz_mem_scan_close,           \
	.clear = zbz_mem_clear_prefix, .ping = memory_ping, .version = memory_version, .stats = memory_stats,       \
	.inspect = zbz_mem_inspect, .get_seen = memory_get_seen

const zbz_cache_ops zbz_cache_memory = {
	.abi = ZBZ_ABI,
	.name = "memory",
	.schemes = "memory",
	.summary = "this process, bounded by bytes; s3fifo, lru, lfu, ttl, sieve or tinylfu eviction",
	.options_size = sizeof(memory_options),
	.options = memory_option_list,
	.open = memory_open,
	MEMORY_SLOTS,
};

const zbz_cache_ops zbz_cache_ristretto = {
	.abi = ZBZ_ABI,
	.name = "ristretto",
	.summary = "memory with TinyLFU admission and a frequency sketch of fixed size",
	.options_size = sizeof(ristretto_options),
	.options = ristretto_option_list,
	.open = ristretto_open,
	MEMORY_SLOTS,
};
