/* Provider `shared`: one segment of memory for all processes of a host. See shared_store.h for what is below. */
#include "base/scan.h"
#include "core/built_in.h"
#include "shared_store.h"

#include <zbz/pack.h>
#include <zbz/zbz.h>

#include <stdio.h>

enum { AHEAD = 8, VERSION_BYTES = 8 };

typedef struct shared_options {
	int64_t size, entry_size, mode;
	char *name, *zone;
	bool huge_pages;
} shared_options;

static const zbz_option shared_option_list[] = {
	{ "size", "max_size", ZBZ_OPT_SIZE, offsetof(shared_options, size), "32MB", NULL, ZBZ_SHARED_LEAST, ZBZ_SHARED_MOST,
	  "Bytes of the segment, everything included; an entry takes up to a quarter of one of its 64 to 256 parts" },
	{ "name", NULL, ZBZ_OPT_TEXT, offsetof(shared_options, name), NULL, NULL, 0, 0,
	  "A named segment, /dev/shm/zbz-NAME.*: any process may open it, and it outlives them; absent: memory inherited "
	  "over forks" },
	{ "zone", NULL, ZBZ_OPT_TEXT, offsetof(shared_options, zone), "default", NULL, 0, 0,
	  "Without a name: tells several segments of a process and its children apart" },
	{ "entry_size", NULL, ZBZ_OPT_SIZE, offsetof(shared_options, entry_size), "96B", NULL, 32, 1 << 20,
	  "Mean size of an entry with its key, for the size of the index; smaller ones use less than the whole segment" },
	{ "mode", "permissions", ZBZ_OPT_MODE, offsetof(shared_options, mode), "0600", NULL, 0, 0777,
	  "Access rights of a named segment" },
	{ "huge_pages", NULL, ZBZ_OPT_BOOL, offsetof(shared_options, huge_pages), "true", NULL, 0, 0,
	  "Take a new segment's memory at once, in pages of 2 MiB where the system has them: faster reads; off: as it "
	  "fills" },
	{ NULL, NULL, ZBZ_OPT_TEXT, 0, NULL, NULL, 0, 0, NULL }
};

/* ---- open ---- */

static void shared_close(void *self) {
	zbz_shared *sh = self;
	zbz_shared_forget(sh);
	zbz_segment_close(sh->segment);
	zbz_free(sh);
}

static zbz_status shared_open(void **self, const void *options, const zbz_clock *clock, zbz_err *err) {
	const shared_options *o = options;
	zbz_segment_want want = { o->name, o->zone, (uint64_t)o->size, (uint64_t)o->entry_size, o->mode, o->huge_pages };
	zbz_shared *sh = zbz_calloc(1, sizeof *sh);
	const zbz_shared_header *h;
	zbz_status status;
	if (sh == NULL) return zbz_fail_nomem(err);
	status = zbz_segment_open(&want, &sh->segment, err);
	if (status != ZBZ_OK) {
		zbz_free(sh);
		return status;
	}
	(void)clock; /* the front's calls bring the time */
	sh->base = zbz_segment_base(sh->segment);
	sh->g = *zbz_segment_geometry(sh->segment);
	h = (const zbz_shared_header *)(const void *)sh->base;
	memcpy(sh->secret, h->secret, sizeof sh->secret);
	sh->epoch = (uint32_t)h->epoch;
	zbz_shared_adopt(sh);
	*self = sh;
	return ZBZ_OK;
}

static void shared_caps(void *self, zbz_caps *out) {
	const zbz_shared *sh = self;
	uint32_t most = sh->g.most_units * 8 - 16; /* key and value */
	out->can = ZBZ_CAN_TTL | ZBZ_CAN_EXPIRE | ZBZ_CAN_ADD | ZBZ_CAN_PRESENT | ZBZ_CAN_VERSION | ZBZ_CAN_INCR |
	           ZBZ_CAN_KEYS | ZBZ_CAN_CLEAR | ZBZ_CAN_BATCH;
	out->emulated = 0;
	out->inline_ok = true;
	out->shared = true;
	out->unsigned_incr = false;
	out->exclusive = true;
	out->one_host = true;
	out->ttl_resolution_ms = 1;
	out->max_key = most / 2 < ZBZ_SHARED_KEY_MAX ? most / 2 : ZBZ_SHARED_KEY_MAX;
	out->max_value = most < ZBZ_SHARED_VALUE_MAX ? most : ZBZ_SHARED_VALUE_MAX;
}

/* A zone of the same name elsewhere is another one: its secret tells them apart. */
static zbz_status shared_identity(void *self, zbz_buf *out, zbz_err *err) {
	const zbz_shared *sh = self;
	const zbz_shared_header *h = (const zbz_shared_header *)(const void *)sh->base;
	zbz_status s = zbz_buf_append(out, &h->epoch, sizeof h->epoch, err);
	return s == ZBZ_OK ? zbz_buf_append(out, sh->secret, sizeof sh->secret, err) : s;
}

/* ---- one key ---- */

static void tell_version(const zbz_shared *sh, zbz_version *out, uint32_t version) {
	out->n = VERSION_BYTES;
	memcpy(out->b, &version, sizeof version);
	memcpy(out->b + sizeof version, &sh->epoch, sizeof sh->epoch);
}

static zbz_status shared_get(void *self, zbz_call *c, zbz_bytes key, zbz_buf *out, zbz_meta *meta) {
	zbz_shared *sh = self;
	zbz_shared_target t = zbz_shared_aim(sh, key, c->now);
	zbz_shared_seen seen;
	zbz_status status = zbz_shared_read(sh, &t, out, meta != NULL ? &seen : NULL, &c->err);
	if (status != ZBZ_OK || meta == NULL) return status;
	meta->expire_at = seen.expire_at;
	tell_version(sh, &meta->version, seen.version);
	return ZBZ_OK;
}

/* The gate has moved: was it for this bucket? Asked in the order in which a writer comes. */
static bool look_closer(zbz_seen *seen) {
	const zbz_half *word = seen->store;
	uint32_t gate = __atomic_load_n(seen->word, __ATOMIC_ACQUIRE);
	if (atomic_load_explicit(word, memory_order_acquire) != (uint32_t)seen->entry) return false;
	if ((gate & 1) == 0) seen->seq = gate;
	return true;
}

/* A use needs no mark: the read counted as one, and when the ring has gone round and counts anew, the entry moves. */
static zbz_status shared_get_seen(void *self, zbz_call *c, zbz_bytes key, zbz_buf *out, zbz_seen *seen) {
	zbz_shared *sh = self;
	zbz_shared_target t = zbz_shared_aim(sh, key, c->now);
	zbz_shared_seen what;
	zbz_status status = zbz_shared_read(sh, &t, out, &what, &c->err);
	if (status != ZBZ_OK) return status;
	seen->word = (const volatile uint32_t *)what.gate;
	seen->seq = what.opening;
	seen->expire_at = what.expire_at;
	seen->look = look_closer;
	seen->store = (void *)(uintptr_t)what.word;
	seen->entry = what.seq;
	return ZBZ_OK;
}

static zbz_status holds(zbz_shared *sh, zbz_call *c, const zbz_shared_target *t, const zbz_write *w) {
	zbz_shared_slot slot;
	zbz_shared_entry e;
	zbz_version version;
	bool there;
	if (w->only == ZBZ_ALWAYS) return ZBZ_OK;
	there = zbz_shared_live(sh, t, &slot, &e);
	if (w->only == ZBZ_ONLY_ABSENT) return there ? ZBZ_REFUSED : ZBZ_OK;
	if (w->only == ZBZ_ONLY_PRESENT) return there ? ZBZ_OK : ZBZ_REFUSED;
	if (!there) return zbz_fail(&c->err, ZBZ_E_CONFLICT, "the entry is gone");
	tell_version(sh, &version, zbz_entry_version(e));
	if (w->version->n == version.n && memcmp(w->version->b, version.b, version.n) == 0) return ZBZ_OK;
	return zbz_fail(&c->err, ZBZ_E_CONFLICT, "the entry was written by somebody else");
}

static zbz_status shared_set(void *self, zbz_call *c, const zbz_write *w, zbz_version *version_out) {
	zbz_shared *sh = self;
	zbz_shared_target t = zbz_shared_aim(sh, w->key, c->now);
	uint32_t version = 0;
	zbz_status status = zbz_shared_lock(sh, t.shard, c);
	if (status != ZBZ_OK) return status;
	status = holds(sh, c, &t, w);
	if (status == ZBZ_OK) status = zbz_shared_put(sh, &t, w->value, w->expire_at, &version, &c->err);
	zbz_shared_unlock(sh, t.shard);
	if (status == ZBZ_OK && version_out != NULL) tell_version(sh, version_out, version);
	return status;
}

static zbz_status shared_del(void *self, zbz_call *c, zbz_bytes key) {
	zbz_shared *sh = self;
	zbz_shared_target t = zbz_shared_aim(sh, key, c->now);
	zbz_shared_slot slot;
	zbz_shared_entry e;
	zbz_status status = zbz_shared_lock(sh, t.shard, c);
	if (status != ZBZ_OK) return status;
	if (zbz_shared_live(sh, &t, &slot, &e))
		zbz_shared_drop(sh, t.s, &slot);
	else
		status = ZBZ_MISS;
	zbz_shared_unlock(sh, t.shard);
	return status;
}

static zbz_status shared_ttl(void *self, zbz_call *c, zbz_bytes key, int64_t *expire_at) {
	zbz_shared *sh = self;
	zbz_shared_target t = zbz_shared_aim(sh, key, c->now);
	zbz_shared_seen seen;
	zbz_status status = zbz_shared_read(sh, &t, NULL, &seen, &c->err);
	if (status == ZBZ_OK && expire_at != NULL) *expire_at = seen.expire_at;
	return status;
}

static zbz_status shared_exists(void *self, zbz_call *c, zbz_bytes key) { return shared_ttl(self, c, key, NULL); }

static zbz_status shared_expire(void *self, zbz_call *c, zbz_bytes key, int64_t expire_at) {
	zbz_shared *sh = self;
	zbz_shared_target t = zbz_shared_aim(sh, key, c->now);
	zbz_status status = zbz_shared_lock(sh, t.shard, c);
	if (status != ZBZ_OK) return status;
	if (!zbz_shared_expire_at(sh, &t, expire_at)) status = ZBZ_MISS;
	zbz_shared_unlock(sh, t.shard);
	return status;
}

/* ---- counters ---- */

static zbz_status count_entry(zbz_shared *sh, zbz_call *c, const zbz_shared_target *t, const zbz_incr *how,
                              int64_t *value) {
	int64_t v = how->has_initial ? how->initial : how->delta, expire_at = how->expire_at;
	zbz_shared_slot slot;
	zbz_shared_entry e;
	zbz_status status;
	char text[24];
	int n;
	if (zbz_shared_live(sh, t, &slot, &e)) {
		size_t len = zbz_entry_vlen(e);
		if (len <= 20)
			zbz_shared_copy_out(sh->secret, t->hash, zbz_shared_at(t->s, zbz_slot_place(slot.word)), t->key.n, text,
			                    len, true);
		if (len > 20 || !zbz_parse_integer(zbz_b(text, len), &v))
			return zbz_fail(&c->err, ZBZ_E_TYPE, "the value is not a decimal integer");
		if (__builtin_add_overflow(v, how->delta, &v))
			return zbz_fail(&c->err, ZBZ_E_ARGUMENT, "the counter would leave the range of 64 bits");
		expire_at = zbz_entry_expire(e);
	}
	n = snprintf(text, sizeof text, "%lld", (long long)v);
	status = zbz_shared_put(sh, t, zbz_b(text, (size_t)n), expire_at, NULL, &c->err);
	if (status == ZBZ_OK) *value = v;
	return status;
}

static zbz_status shared_incr(void *self, zbz_call *c, zbz_bytes key, const zbz_incr *how, int64_t *value) {
	zbz_shared *sh = self;
	zbz_shared_target t = zbz_shared_aim(sh, key, c->now);
	zbz_status status = zbz_shared_lock(sh, t.shard, c);
	if (status != ZBZ_OK) return status;
	status = count_entry(sh, c, &t, how, value);
	zbz_shared_unlock(sh, t.shard);
	return status;
}

/* ---- batches ---- */

/* Fetches the lines of several keys at once, buckets first, then entries: the waits overlap. */
static void look_ahead(const zbz_shared *sh, zbz_shared_target *t, const zbz_bytes *keys, size_t n, int64_t now) {
	size_t i;
	uint32_t k;
	for (i = 0; i < n; i++) {
		t[i] = zbz_shared_aim(sh, keys[i], now);
		__builtin_prefetch(zbz_shared_bucket_at(sh, t[i].s, zbz_shared_home(sh, t[i].hash)));
	}
	for (i = 0; i < n; i++) {
		const zbz_shared_bucket *b = zbz_shared_bucket_at(sh, t[i].s, zbz_shared_home(sh, t[i].hash));
		for (k = 0; k < ZBZ_SHARED_SLOTS; k++) {
			uint64_t word = zbz_wload(&b->slot[k]);
			if (zbz_slot_tag(word) == zbz_shared_tag(t[i].hash) && word != 0)
				__builtin_prefetch((const char *)t[i].s + (uint64_t)zbz_slot_place(word) * 8);
		}
	}
}

static zbz_status shared_get_many(void *self, zbz_call *c, const zbz_bytes *keys, size_t n, zbz_buf *out,
                                  zbz_found *found) {
	zbz_shared *sh = self;
	zbz_shared_target t[AHEAD];
	zbz_shared_seen seen;
	size_t i;
	for (i = 0; i < n; i++) {
		if (i % AHEAD == 0) look_ahead(sh, t, keys + i, n - i < AHEAD ? n - i : AHEAD, c->now);
		found[i].off = out->n;
		found[i].status = zbz_shared_read(sh, &t[i % AHEAD], out, c->want_expiry ? &seen : NULL, &c->err);
		if (c->want_expiry && found[i].status == ZBZ_OK) found[i].expire_at = seen.expire_at;
		found[i].n = found[i].status == ZBZ_OK ? out->n - found[i].off : 0;
	}
	return ZBZ_OK;
}

static zbz_status shared_set_many(void *self, zbz_call *c, const zbz_write *writes, size_t n, zbz_status *status) {
	size_t i;
	for (i = 0; i < n; i++) status[i] = shared_set(self, c, &writes[i], NULL);
	return ZBZ_OK;
}

static zbz_status shared_del_many(void *self, zbz_call *c, const zbz_bytes *keys, size_t n, zbz_status *status) {
	size_t i;
	for (i = 0; i < n; i++) status[i] = shared_del(self, c, keys[i]);
	return ZBZ_OK;
}

/* ---- the store ---- */

static zbz_status shared_ping(void *self, zbz_call *c) {
	(void)self, (void)c;
	return ZBZ_OK;
}

static zbz_status shared_version(void *self, zbz_call *c, zbz_buf *out) {
	(void)self;
	return zbz_buf_append(out, ZBZ_VERSION, sizeof ZBZ_VERSION - 1, &c->err);
}

static void shared_stats(void *self, zbz_call *c, zbz_provider_stats *out) {
	zbz_shared_totals all, mine;
	(void)c;
	zbz_shared_totals_read(self, &all, &mine);
	out->keys = (int64_t)all.keys;
	out->memory = (int64_t)all.memory;
	out->evictions = (int64_t)all.evictions;
	out->expired = (int64_t)all.expired;
	out->retries = (int64_t)(mine.count[ZBZ_SHARED_BUSY] + mine.count[ZBZ_SHARED_LOST]);
}

static zbz_status put_counts(zbz_buf *out, const char *name, const zbz_shared_totals *t, zbz_err *err) {
	static const char *const names[ZBZ_SHARED_COUNTS] = {
		[ZBZ_SHARED_HITS] = "hits",   [ZBZ_SHARED_MISSES] = "misses",   [ZBZ_SHARED_SETS] = "sets",
		[ZBZ_SHARED_BUSY] = "busy",   [ZBZ_SHARED_LOST] = "lost_reads", [ZBZ_SHARED_DAMAGED] = "damaged",
		[ZBZ_SHARED_WIPED] = "wiped",
	};
	zbz_status status = zbz_pack_str(out, zbz_bstr(name), err);
	int i;
	if (status == ZBZ_OK) status = zbz_pack_map(out, ZBZ_SHARED_COUNTS, err);
	for (i = 0; i < ZBZ_SHARED_COUNTS && status == ZBZ_OK; i++)
		status = zbz_pack_named_int(out, names[i], (int64_t)t->count[i], err);
	return status;
}

static zbz_status shared_counters(void *self, zbz_call *c, zbz_buf *out) {
	zbz_shared_totals all, mine;
	zbz_status status = zbz_pack_map(out, 2, &c->err);
	zbz_shared_totals_read(self, &all, &mine);
	if (status == ZBZ_OK) status = put_counts(out, "total", &all, &c->err);
	if (status == ZBZ_OK) status = put_counts(out, "this_process", &mine, &c->err);
	return status;
}

/* hits_at_least counts to three: more is not kept. */
static zbz_status shared_inspect(void *self, zbz_call *c, zbz_bytes key, zbz_buf *out) {
	zbz_shared *sh = self;
	zbz_shared_target t = zbz_shared_aim(sh, key, c->now);
	zbz_shared_slot slot;
	zbz_shared_entry e = { 0, 0 };
	zbz_status status = zbz_shared_lock(sh, t.shard, c);
	bool there;
	if (status != ZBZ_OK) return status;
	there = zbz_shared_live(sh, &t, &slot, &e);
	zbz_shared_unlock(sh, t.shard);
	if (!there) return ZBZ_MISS;
	status = zbz_pack_map(out, 5, &c->err);
	if (status == ZBZ_OK) status = zbz_pack_named_int(out, "size", zbz_entry_vlen(e), &c->err);
	if (status == ZBZ_OK) status = zbz_pack_named_int(out, "memory", (int64_t)zbz_entry_units(e) * 8, &c->err);
	if (status == ZBZ_OK) status = zbz_pack_named_int(out, "hits_at_least", zbz_slot_freq(slot.word), &c->err);
	if (status == ZBZ_OK) status = zbz_pack_named_int(out, "expire_at", zbz_entry_expire(e), &c->err);
	if (status == ZBZ_OK) status = zbz_pack_named_int(out, "version", zbz_entry_version(e), &c->err);
	return status;
}

const zbz_cache_ops zbz_cache_shared = {
	.abi = ZBZ_ABI,
	.name = "shared",
	.schemes = "shared",
	.summary = "all processes of a host, one segment of memory bounded by bytes; readers take no lock; s3fifo eviction",
	.options_size = sizeof(shared_options),
	.options = shared_option_list,
	.open = shared_open,
	.close = shared_close,
	.caps = shared_caps,
	.get = shared_get,
	.set = shared_set,
	.del = shared_del,
	.exists = shared_exists,
	.ttl = shared_ttl,
	.expire = shared_expire,
	.incr = shared_incr,
	.get_many = shared_get_many,
	.set_many = shared_set_many,
	.del_many = shared_del_many,
	.scan_open = zbz_shared_scan_open,
	.scan_next = zbz_shared_scan_next,
	.scan_close = zbz_shared_scan_close,
	.clear = zbz_shared_clear,
	.ping = shared_ping,
	.version = shared_version,
	.stats = shared_stats,
	.inspect = shared_inspect,
	.identity = shared_identity,
	.get_seen = shared_get_seen,
	.counters = shared_counters,
};
