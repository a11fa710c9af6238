/* The layer `multitier`: opening, writing. See multitier.h. */
#include <stddef.h>

#include "core/built_in.h"
#include "multitier.h"

#define FIELD(name) offsetof(tier_options, name)
static const zbz_option tier_option_table[] = {
	{ "l2", NULL, ZBZ_OPT_STORE, FIELD(l2), NULL, NULL, 0, 0, "the store behind: what is true stands there" },
	{ "l1", NULL, ZBZ_OPT_STORE, FIELD(l1), NULL, NULL, 0, 0, "the tier in front: memory, ristretto or shared" },
	{ "l1_ttl", NULL, ZBZ_OPT_DURATION, FIELD(l1_ttl), "0", NULL, 0, 0,
	  "how old an entry of l1 may be; 0: as old as in l2, which must tell of changes then" },
	{ "l2_ttl", NULL, ZBZ_OPT_DURATION, FIELD(l2_ttl), "0", NULL, 0, 0,
	  "how long l2 keeps an entry at most; 0: no bound" },
	{ "promote_hits", NULL, ZBZ_OPT_BOOL, FIELD(promote_hits), "true", NULL, 0, 0,
	  "what is read from l2 goes into l1; false: only what is written here, if l2's server does not tell of it" },
	{ "invalidation", NULL, ZBZ_OPT_ENUM, FIELD(invalidation), "auto", "auto|tracking|pubsub|off", 0, 0,
	  "how l1 hears of changes by others: tracking, told by the server; pubsub, told by the other caches; auto, the "
	  "first that the server allows; off, not at all" },
	{ "prefix", NULL, ZBZ_OPT_TEXT, FIELD(prefix), NULL, NULL, 0, 0,
	  "keys that begin so go through l1, and changes of no others are told; a cache's key_prefix when it opens the "
	  "layer itself" },
	{ NULL, NULL, ZBZ_OPT_TEXT, 0, NULL, NULL, 0, 0, NULL },
};

/* ---- opening ---- */

static zbz_status check_l1(const tier *t, zbz_err *err) {
	const uint32_t needs = ZBZ_CAN_ADD | ZBZ_CAN_VERSION | ZBZ_CAN_CLEAR;
	if (t->l1 == NULL) return zbz_fail_option(err, "l1", "is missing: multitier has two tiers");
	if (t->l1_caps.inline_ok && (t->l1_caps.can & needs) == needs && (t->l1_caps.exclusive || t->prefix.n > 0))
		return ZBZ_OK;
	return zbz_fail_option(err, "l1",
	                       "must answer without waiting and compare versions: memory, ristretto or shared, "
	                       "not %s",
	                       zbz_store_ops(zbz_store_bottom(t->l1))->name);
}

static zbz_status tier_open(void **self, const void *options, const zbz_clock *clock, zbz_err *err) {
	const tier_options *o = options;
	tier *t = zbz_calloc(1, sizeof *t);
	zbz_status s;
	if (t == NULL) return zbz_fail_nomem(err);
	t->o = o;
	t->clock = clock;
	t->l1 = o->l1;
	t->l2 = o->l2;
	t->prefix = o->prefix != NULL ? zbz_bstr(o->prefix) : zbz_b("", 0);
	if (t->l1 != NULL) zbz_store_caps(t->l1, &t->l1_caps);
	zbz_store_caps(t->l2, &t->l2_caps);
	t->quick = t->l2_caps.inline_ok || t->l2_caps.inline_hits;
	s = check_l1(t, err);
	if (s == ZBZ_OK) s = tier_channel_open(t, err);
	if (s == ZBZ_OK)
		*self = t;
	else
		zbz_free(t);
	return s;
}

static void tier_close(void *self) {
	tier_channel_close(self);
	zbz_free(self);
}

static void tier_caps(void *self, zbz_caps *out) {
	const tier *t = self;
	*out = t->l2_caps;
	out->inline_hits = true;
	if (atomic_load(&t->kind) == ZBZ_CHANNEL_NONE) out->can &= ~(uint32_t)ZBZ_CAN_TRACK;
}

/* ---- one key ---- */

/* Something may have been written, by us or before us: what l1 has is old, and so is what is being read into it. */
static zbz_status wrote(tier *t, zbz_call *c, zbz_bytes key, zbz_status s) {
	tier_drop(t, c, key);
	return tier_tell(t, c, &key, 1, s);
}

/* Is it known who has to be told? Asked before a write, so that none goes untold. */
static bool begin_write(tier *t, zbz_call *c) { return tier_ready(t, c); }

/* The value goes into l1 as well, unless the server would tell us of our own write, which removes it again. */
static zbz_status write_through(tier *t, zbz_call *c, const zbz_write *w, zbz_version *version_out) {
	zbz_version lease, version = { 0 };
	zbz_buf scratch = { 0 };
	tier_tail tail;
	bool leased, kept;
	zbz_status s;
	tier_drop(t, c, w->key);
	leased = tier_lease(t, c, w->key, &lease);
	s = zbz_store_set(t->l2, c, w, &version);
	tail.expire_at = w->expire_at;
	tail.version = version;
	kept = s == ZBZ_OK && leased && tier_fill(t, c, w->key, &lease, w->value, &tail, &scratch);
	zbz_buf_clear(&scratch);
	if (version_out != NULL) *version_out = version;
	return kept ? tier_tell(t, c, &w->key, 1, s) : wrote(t, c, w->key, s);
}

static zbz_status tier_set(void *self, zbz_call *c, const zbz_write *w, zbz_version *version_out) {
	tier *t = self;
	zbz_write capped = *w;
	bool ready = begin_write(t, c);
	capped.expire_at = tier_cap(w->expire_at, c->now, t->o->l2_ttl);
	if (ready && w->only == ZBZ_ALWAYS && atomic_load(&t->kind) != ZBZ_CHANNEL_TRACKING &&
	    tier_fits(t, w->key, w->value.n))
		return write_through(t, c, &capped, version_out);
	return wrote(t, c, w->key, zbz_store_set(t->l2, c, &capped, version_out));
}

static zbz_status tier_del(void *self, zbz_call *c, zbz_bytes key) {
	begin_write(self, c);
	return wrote(self, c, key, zbz_store_del(((tier *)self)->l2, c, key));
}

static zbz_status tier_expire(void *self, zbz_call *c, zbz_bytes key, int64_t expire_at) {
	tier *t = self;
	begin_write(t, c);
	return wrote(t, c, key, zbz_store_expire(t->l2, c, key, tier_cap(expire_at, c->now, t->o->l2_ttl)));
}

static zbz_status tier_incr(void *self, zbz_call *c, zbz_bytes key, const zbz_incr *how, int64_t *value) {
	tier *t = self;
	zbz_incr capped = *how;
	begin_write(t, c);
	capped.expire_at = tier_cap(how->expire_at, c->now, t->o->l2_ttl);
	return wrote(t, c, key, zbz_store_incr(t->l2, c, key, &capped, value));
}

/* ---- batches ---- */

/* How a batch ended for those who hear of it: OK when anything may have been written. */
static zbz_status wrote_many(tier *t, zbz_call *c, const zbz_bytes *keys, size_t n, zbz_status s) {
	size_t i;
	for (i = 0; i < n; i++) tier_drop(t, c, keys[i]);
	return tier_tell(t, c, keys, n, s);
}

static zbz_status tier_set_many(void *self, zbz_call *c, const zbz_write *writes, size_t n, zbz_status *status) {
	tier *t = self;
	zbz_write *capped = zbz_calloc(n, sizeof *capped + sizeof(zbz_bytes));
	zbz_bytes *keys;
	zbz_status s;
	size_t i;
	if (capped == NULL) return zbz_fail_nomem(&c->err);
	keys = (zbz_bytes *)(void *)(capped + n);
	for (i = 0; i < n; i++) {
		capped[i] = writes[i];
		capped[i].expire_at = tier_cap(writes[i].expire_at, c->now, t->o->l2_ttl);
		keys[i] = writes[i].key;
	}
	begin_write(t, c);
	s = wrote_many(t, c, keys, n, zbz_store_set_many(t->l2, c, capped, n, status));
	zbz_free(capped);
	return s;
}

static zbz_status tier_del_many(void *self, zbz_call *c, const zbz_bytes *keys, size_t n, zbz_status *status) {
	begin_write(self, c);
	return wrote_many(self, c, keys, n, zbz_store_del_many(((tier *)self)->l2, c, keys, n, status));
}

static zbz_status tier_clear(void *self, zbz_call *c, zbz_bytes prefix, uint64_t *removed) {
	tier *t = self;
	uint64_t dropped;
	zbz_status s;
	zbz_call l;
	bool within = zbz_bytes_has_prefix(prefix, t->prefix);
	begin_write(t, c);
	s = zbz_store_clear(t->l2, c, prefix, removed);
	tier_beside(&l, c);
	l.deadline = ZBZ_NEVER;
	/* An l1 that others share may have entries there that are not ours. */
	if ((within || zbz_bytes_has_prefix(t->prefix, prefix)) &&
	    zbz_store_clear(t->l1, &l, within ? prefix : t->prefix, &dropped) < 0)
		tier_taint(t);
	return tier_tell_prefix(t, c, prefix, s);
}

/* ---- the whole ---- */

static void tier_stats(void *self, zbz_call *c, zbz_provider_stats *out) {
	tier *t = self;
	zbz_provider_stats l1;
	zbz_call l;
	tier_beside(&l, c);
	zbz_store_stats(t->l1, &l, &l1);
	zbz_store_stats(t->l2, c, out);
	out->tier1_keys = l1.keys;
	out->tier1_memory = l1.memory;
	out->tier1_hits = atomic_load(&t->l1_hits);
	out->tier2_hits = atomic_load(&t->l2_hits);
	out->promotions = atomic_load(&t->promotions);
	out->invalidations = atomic_load(&t->invalidations);
	out->channel_losses = atomic_load(&t->losses);
	out->channel = tier_channel_now(t);
}

const zbz_cache_ops zbz_cache_multitier = {
	.abi = ZBZ_ABI,
	.name = "multitier",
	.summary = "a local tier (memory, shared) in front of another store; changes by others are told to it",
	.layer = true,
	.options_size = sizeof(tier_options),
	.options = tier_option_table,
	.open = tier_open,
	.close = tier_close,
	.caps = tier_caps,
	.get = tier_get,
	.set = tier_set,
	.del = tier_del,
	.exists = tier_exists,
	.ttl = tier_ttl,
	.expire = tier_expire,
	.incr = tier_incr,
	.get_many = tier_get_many,
	.set_many = tier_set_many,
	.del_many = tier_del_many,
	.clear = tier_clear,
	.stats = tier_stats,
	.get_seen = tier_get_seen,
	.track = tier_track,
	.untrack = tier_untrack,
};
