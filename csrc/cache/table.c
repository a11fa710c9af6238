/* A table: making one, and the calls on a single key. */
#include "front.h"

/* ---- making ---- */

static zbz_status check_opts(const zbz_table_opts *opts, zbz_err *err) {
	if (opts->prefix.p == NULL && opts->name.n != 0 && memchr(opts->name.p, ':', opts->name.n) != NULL)
		return zbz_fail(err, ZBZ_E_ARGUMENT, "a table's name holds no ':'");
	if (opts->ttl < -1) return zbz_fail(err, ZBZ_E_ARGUMENT, "a table's TTL is not negative");
	if (opts->deadline < -1) return zbz_fail(err, ZBZ_E_ARGUMENT, "a table's deadline is not negative");
	if (opts->stale_ttl < 0) return zbz_fail(err, ZBZ_E_ARGUMENT, "a table's stale_ttl is not negative");
	return ZBZ_OK;
}

static void append(char **to, zbz_bytes s) {
	if (s.n != 0) memcpy(*to, s.p, s.n);
	*to += s.n;
}

static void build_prefix(zbz_table *t, const zbz_table_opts *opts) {
	char *start = (char *)(t + 1), *p = start;
	if (opts->prefix.p != NULL) {
		append(&p, opts->prefix);
	} else {
		append(&p, t->cache->key_prefix);
		append(&p, opts->name);
		if (opts->name.n != 0) append(&p, zbz_b(":", 1));
	}
	t->prefix = zbz_b(start, (size_t)(p - start));
}

zbz_status zbz_table_new(zbz_cache *cache, const zbz_table_opts *opts, zbz_table **out, zbz_err *err) {
	zbz_status s = check_opts(opts, err);
	zbz_table *t;
	*out = NULL;
	if (s != ZBZ_OK) return s;
	t = zbz_calloc(1, sizeof *t + opts->prefix.n + cache->key_prefix.n + opts->name.n + 1);
	if (t == NULL) return zbz_fail_nomem(err);
	t->cache = zbz_cache_ref(cache);
	t->clock = cache->clock;
	t->ttl = opts->ttl >= 0 ? opts->ttl : cache->default_ttl;
	t->deadline = opts->deadline >= 0 ? opts->deadline : cache->deadline;
	t->stale_ttl = opts->stale_ttl;
	t->envelope = opts->envelope || opts->stale_ttl > 0;
	atomic_store(&t->sealed, t->envelope);
	t->created_at = zbz_wall(t->clock);
	atomic_store(&t->refs, 1);
	build_prefix(t, opts);
	*out = t;
	return ZBZ_OK;
}

void zbz_table_free(zbz_table *t) {
	if (t == NULL || atomic_fetch_sub(&t->refs, 1) != 1) return;
	zbz_cache_unref(t->cache);
	zbz_free(t);
}

zbz_table *zbz_table_ref(zbz_table *t) {
	atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
	return t;
}

bool zbz_table_inline(const zbz_table *t) { return zbz_cache_inline(t->cache); }
bool zbz_table_inline_hits(const zbz_table *t) {
	return atomic_load_explicit(&t->cache->inline_hits, memory_order_relaxed);
}

zbz_bytes zbz_table_prefix(const zbz_table *t) { return t->prefix; }

void zbz_table_begin(zbz_table *t, zbz_call *c, int64_t timeout_ms) {
	int64_t ms = timeout_ms >= 0 ? timeout_ms : t->deadline;
	c->clock = t->clock;
	c->now = zbz_wall(t->clock);
	c->deadline = ZBZ_NEVER;
	c->err.status = ZBZ_OK;
	c->no_wait = c->want_expiry = false;
	if (ms > 0 && !atomic_load_explicit(&t->cache->inline_ok, memory_order_relaxed))
		c->deadline = zbz_expire_at(zbz_mono(t->clock), ms);
}

/* ---- reading ---- */

void zbz_op_strip(zbz_buf *out, size_t start, zbz_bytes value) {
	if (value.n != 0 && value.p != out->p + start) memmove(out->p + start, value.p, value.n);
	out->n = start + value.n;
}

static zbz_status open_live(zbz_table *t, zbz_call *c, zbz_buf *out, size_t start) {
	zbz_bytes value;
	zbz_entry entry;
	zbz_status s = zbz_envelope_open(zbz_b(out->p + start, out->n - start), c->now, &value, &entry, &c->err);
	if (s != ZBZ_OK) return s;
	atomic_store_explicit(&t->sealed, true, memory_order_relaxed);
	if (!entry_live(&entry)) return ZBZ_MISS;
	zbz_op_strip(out, start, value);
	return ZBZ_OK;
}

void zbz_op_count_read(table_op *op, zbz_status s) {
	if (s == ZBZ_AGAIN) return;
	count_add(s == ZBZ_OK ? &op->counts->hits : s == ZBZ_MISS ? &op->counts->misses : &op->counts->errors, 1);
}

zbz_status zbz_table_get(zbz_table *t, zbz_call *c, zbz_bytes key, zbz_buf *out) {
	table_op op;
	size_t start = out->n;
	zbz_status s = zbz_op_begin(&op, t, c, key);
	if (s != ZBZ_OK) return s;
	s = zbz_store_get(op.slot->store, c, op.key, out, NULL);
	if (s == ZBZ_OK && zbz_envelope_is(zbz_b(out->p + start, out->n - start))) s = open_live(t, c, out, start);
	if (s != ZBZ_OK) out->n = start;
	zbz_op_count_read(&op, s);
	zbz_op_end(&op);
	return s;
}

zbz_status zbz_op_read(table_op *op, zbz_buf *out, bool want_meta, zbz_bytes *value, zbz_entry *entry,
                       int64_t *physical) {
	zbz_meta meta = { -1, { 0, { 0 } }, 0 };
	size_t start = out->n;
	zbz_status s = zbz_store_get(op->slot->store, op->c, op->key, out, want_meta ? &meta : NULL);
	if (s != ZBZ_OK) return s;
	s = zbz_envelope_open(zbz_b(out->p + start, out->n - start), op->c->now, value, entry, &op->c->err);
	if (s != ZBZ_OK) {
		out->n = start;
		return s;
	}
	if (entry->sealed)
		atomic_store_explicit(&op->t->sealed, true, memory_order_relaxed);
	else
		entry->expire_at = meta.expire_at;
	entry->version = meta.version;
	entry->tier = meta.tier;
	if (physical != NULL) *physical = meta.expire_at;
	return ZBZ_OK;
}

zbz_status zbz_op_ask_ttl(table_op *op, zbz_entry *entry) {
	zbz_status s;
	if (entry->sealed || entry->expire_at != -1 || !slot_can(op->slot, ZBZ_CAN_TTL)) return ZBZ_OK;
	s = zbz_store_ttl(op->slot->store, op->c, op->key, &entry->expire_at);
	if (s == ZBZ_MISS) entry->expire_at = op->c->now; /* ended between the two questions */
	return s < 0 ? s : ZBZ_OK;
}

zbz_status zbz_table_entry(zbz_table *t, zbz_call *c, zbz_bytes key, bool want_meta, zbz_buf *out, zbz_entry *entry) {
	table_op op;
	size_t start = out->n;
	zbz_bytes value;
	zbz_status s = zbz_op_begin(&op, t, c, key);
	bool hit;
	if (s != ZBZ_OK) return s;
	s = zbz_op_read(&op, out, want_meta, &value, entry, NULL);
	if (s == ZBZ_OK) {
		zbz_op_strip(out, start, value);
		if (want_meta) s = zbz_op_ask_ttl(&op, entry);
	}
	hit = s == ZBZ_OK && !entry->stale && !entry->lease;
	if (s != ZBZ_OK) out->n = start;
	zbz_op_count_read(&op, s == ZBZ_OK && !hit ? ZBZ_MISS : s);
	zbz_op_end(&op);
	return s;
}

/* Nothing a program has stored, only the note that it is being loaded. */
static bool is_lease(zbz_bytes stored, int64_t now) {
	zbz_bytes value;
	zbz_entry entry;
	return zbz_envelope_is(stored) && zbz_envelope_open(stored, now, &value, &entry, NULL) == ZBZ_OK && entry.lease;
}

zbz_status zbz_table_get_raw(zbz_table *t, zbz_call *c, zbz_bytes key, zbz_buf *out) {
	table_op op;
	size_t start = out->n;
	zbz_status s = zbz_op_begin(&op, t, c, key);
	if (s != ZBZ_OK) return s;
	s = zbz_store_get(op.slot->store, c, op.key, out, NULL);
	if (s == ZBZ_OK && is_lease(zbz_b(out->p + start, out->n - start), c->now)) s = ZBZ_MISS;
	if (s != ZBZ_OK) out->n = start;
	zbz_op_count_read(&op, s);
	zbz_op_end(&op);
	return s;
}

/* ---- writing ---- */

zbz_status zbz_table_del(zbz_table *t, zbz_call *c, zbz_bytes key) {
	table_op op;
	zbz_status s = zbz_op_begin(&op, t, c, key);
	if (s != ZBZ_OK) return s;
	op_touch(&op);
	s = zbz_store_del(op.slot->store, c, op.key);
	op_touch(&op);
	if (zbz_op_wrote(&op, s) >= 0) count_add(&op.counts->deletes, 1);
	zbz_op_end(&op);
	return s;
}

zbz_status zbz_table_set_raw(zbz_table *t, zbz_call *c, zbz_bytes key, zbz_bytes value, int64_t ttl_ms) {
	table_op op;
	zbz_write w = { { NULL, 0 }, { NULL, 0 }, 0, ZBZ_ALWAYS, NULL };
	zbz_status s;
	if (ttl_ms < -1) return zbz_fail(&c->err, ZBZ_E_ARGUMENT, "a TTL is not negative");
	s = zbz_op_begin(&op, t, c, key);
	if (s != ZBZ_OK) return s;
	s = zbz_op_check_value(&op, value.n, &c->err);
	if (s == ZBZ_OK) {
		w.key = op.key;
		w.value = value;
		w.expire_at = zbz_expire_at(c->now, ttl_ms >= 0 ? ttl_ms : t->ttl);
		if (zbz_envelope_is(value)) atomic_store_explicit(&t->sealed, true, memory_order_relaxed);
		op_touch(&op);
		s = zbz_store_set(op.slot->store, c, &w, NULL);
		op_touch(&op);
	}
	if (zbz_op_wrote(&op, s) >= 0) count_add(&op.counts->sets, 1);
	zbz_op_end(&op);
	return s;
}

/* ---- counters ---- */

void zbz_table_count(zbz_table *t, zbz_counter which) {
	if ((unsigned)which < sizeof t->fetch / sizeof t->fetch[0]) count_add(&t->fetch[which], 1);
}

static uint64_t read_counter(const atomic_uint_least64_t *counter) {
	return atomic_load_explicit(counter, memory_order_relaxed);
}

void zbz_table_stats_read(const zbz_table *t, zbz_table_stats *out) {
	unsigned i;
	memset(out, 0, sizeof *out);
	for (i = 0; i < STRIPES; i++) {
		const table_stripe *s = &t->stripes[i];
		int64_t access = atomic_load_explicit(&s->last_access, memory_order_relaxed);
		out->hits += read_counter(&s->hits);
		out->misses += read_counter(&s->misses);
		out->sets += read_counter(&s->sets);
		out->deletes += read_counter(&s->deletes);
		out->errors += read_counter(&s->errors);
		out->lost_writes += read_counter(&s->lost_writes);
		if (access > out->last_access) out->last_access = access;
	}
	out->loads = read_counter(&t->fetch[ZBZ_COUNT_LOADS]);
	out->load_failures = read_counter(&t->fetch[ZBZ_COUNT_LOAD_FAILURES]);
	out->waits = read_counter(&t->fetch[ZBZ_COUNT_WAITS]);
	out->stale_served = read_counter(&t->fetch[ZBZ_COUNT_STALE_SERVED]);
	out->fenced = read_counter(&t->fetch[ZBZ_COUNT_FENCED]);
	out->lock_waits = read_counter(&t->fetch[ZBZ_COUNT_LOCK_WAITS]);
	out->unlocked = read_counter(&t->fetch[ZBZ_COUNT_UNLOCKED]);
	out->created_at = t->created_at;
}
