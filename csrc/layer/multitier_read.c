/* Reads: l1 first, then l2, whose answer is kept in l1 if it may be.
 *
 * An entry of l1 is the value, the bytes of l2's version, its expiry (8 bytes, little endian, -1 unknown) and the number of
 * version bytes; a lease is the one byte LEASE. */
#include <zbz/table.h>

#include "multitier.h"

enum { LEASE = 0xFF, TAIL_TIME = 8, TAIL_MOST = (int)sizeof(((zbz_version *)0)->b) + TAIL_TIME + 1 };
enum { LEASE_MS = 10000 }; /* of a reader that died; a slower one does not keep what it read */

/* ---- the tail ---- */

static size_t write_tail(const tier_tail *tail, char to[TAIL_MOST]) {
	uint64_t time = (uint64_t)tail->expire_at;
	size_t n = tail->version.n;
	int i;
	memcpy(to, tail->version.b, n);
	for (i = 0; i < TAIL_TIME; i++) to[n + (size_t)i] = (char)(time >> (8 * i) & 0xFF);
	to[n + TAIL_TIME] = (char)n;
	return n + TAIL_TIME + 1;
}

/* Bytes of the tail, or 0: this is no value. */
static size_t read_tail(zbz_bytes stored, tier_tail *tail) {
	const uint8_t *end = (const uint8_t *)stored.p + stored.n;
	uint64_t time = 0;
	size_t n;
	int i;
	if (stored.n < TAIL_TIME + 1 || end[-1] > sizeof tail->version.b || stored.n < end[-1] + (size_t)TAIL_TIME + 1)
		return 0;
	tail->version.n = end[-1];
	n = tail->version.n;
	end -= TAIL_TIME + 1;
	for (i = 0; i < TAIL_TIME; i++) time |= (uint64_t)end[i] << (8 * i);
	tail->expire_at = (int64_t)time;
	memcpy(tail->version.b, end - n, n);
	return n + TAIL_TIME + 1;
}

/* ---- into l1 ---- */

bool tier_fits(const tier *t, zbz_bytes key, size_t value_n) {
	const zbz_caps *c = &t->l1_caps;
	return zbz_bytes_has_prefix(key, t->prefix) && (c->max_key == 0 || key.n <= c->max_key) &&
	       (c->max_value == 0 || (c->max_value > TAIL_MOST && value_n <= c->max_value - TAIL_MOST));
}

void tier_drop(tier *t, const zbz_call *c, zbz_bytes key) {
	zbz_call l;
	if (!tier_fits(t, key, 0)) return;
	tier_beside(&l, c);
	l.deadline = ZBZ_NEVER; /* late or not, it must be done */
	if (zbz_store_del(t->l1, &l, key) < 0) tier_taint(t);
}

bool tier_lease(tier *t, const zbz_call *c, zbz_bytes key, zbz_version *lease) {
	static const char mark = (char)LEASE;
	zbz_write w = { .key = key, .value = { &mark, 1 }, .expire_at = c->now + LEASE_MS, .only = ZBZ_ONLY_ABSENT };
	zbz_call l;
	tier_beside(&l, c);
	lease->n = 0;
	return zbz_store_set(t->l1, &l, &w, lease) == ZBZ_OK && lease->n > 0;
}

/* A note that a value is being loaded says nothing a moment later. */
static bool passing(zbz_bytes value, int64_t now) {
	zbz_bytes inside;
	zbz_entry entry;
	return zbz_envelope_is(value) && (zbz_envelope_open(value, now, &inside, &entry, NULL) != ZBZ_OK || entry.lease);
}

bool tier_fill(tier *t, const zbz_call *c, zbz_bytes key, const zbz_version *lease, zbz_bytes value,
               const tier_tail *tail, zbz_buf *scratch) {
	zbz_write w = { .key = key, .only = ZBZ_ONLY_VERSION, .version = lease };
	bool borrowed = scratch->p == NULL || value.p != scratch->p + scratch->n - value.n; /* not at the end of scratch */
	size_t start = scratch->n, at = borrowed ? start : start - value.n;
	char bytes[TAIL_MOST];
	size_t n = write_tail(tail, bytes);
	zbz_status s = ZBZ_OK;
	zbz_call l;
	if (tail->expire_at < 0 && t->o->l1_ttl == 0) return false; /* when it ends in l2 is not known */
	w.expire_at = tier_cap(tail->expire_at < 0 ? ZBZ_NO_EXPIRY : tail->expire_at, c->now, t->o->l1_ttl);
	if (w.expire_at != ZBZ_NO_EXPIRY && w.expire_at <= c->now) return false;
	if (!tier_fits(t, key, value.n) || passing(value, c->now)) return false;
	if (borrowed) s = zbz_buf_append(scratch, value.p, value.n, NULL);
	if (s == ZBZ_OK) s = zbz_buf_append(scratch, bytes, n, NULL);
	w.value = zbz_b(scratch->p + at, scratch->n - at);
	tier_beside(&l, c);
	if (s == ZBZ_OK) s = zbz_store_set(t->l1, &l, &w, NULL);
	scratch->n = start;
	return s == ZBZ_OK;
}

/* The answer of l2 is in: keeps it, or gives the place up. */
static void promote(tier *t, const zbz_call *c, zbz_bytes key, const zbz_version *lease, zbz_bytes value,
                    const tier_tail *tail, zbz_buf *scratch) {
	if (tier_fill(t, c, key, lease, value, tail, scratch))
		tier_count(&t->promotions, 1);
	else
		tier_drop(t, c, key);
}

/* ---- out of l1 ---- */

/* OK; MISS for whatever is no answer. *thin: a value is there, without the version that is wanted. */
static zbz_status look(tier *t, const zbz_call *c, zbz_bytes key, zbz_buf *out, bool whole, tier_tail *tail,
                       bool *thin) {
	size_t start = out->n, tail_n = 0;
	zbz_call l;
	*thin = false;
	if (!tier_fits(t, key, 0)) return ZBZ_MISS;
	tier_beside(&l, c);
	if (zbz_store_get(t->l1, &l, key, out, NULL) != ZBZ_OK) return ZBZ_MISS;
	tail_n = read_tail(zbz_b(out->p + start, out->n - start), tail);
	*thin = tail_n > 0 && whole &&
	        (tail->expire_at == -1 || (tail->version.n == 0 && (t->l2_caps.can & ZBZ_CAN_VERSION) != 0));
	if (tail_n == 0 || *thin) {
		out->n = start;
		return ZBZ_MISS;
	}
	out->n -= tail_n;
	tier_count(&t->l1_hits, 1);
	return ZBZ_OK;
}

/* Where the call may not wait and l2 would have to. */
static bool must_wait(const tier *t, const zbz_call *c) { return c->no_wait && !t->quick; }

static zbz_status read_l2(tier *t, zbz_call *c, zbz_bytes key, zbz_buf *out, zbz_meta *meta) {
	zbz_status s = zbz_store_get(t->l2, c, key, out, meta);
	if (s == ZBZ_OK) tier_count(&t->l2_hits, 1);
	if (s == ZBZ_OK && meta != NULL) meta->tier = (uint8_t)(meta->tier > 0 ? meta->tier + 1 : 2);
	return s;
}

/* A value whose end the read did not tell is asked for it: l1 must not outlive l2. */
static void ask_end(tier *t, const zbz_call *c, zbz_bytes key, tier_tail *tail) {
	zbz_call beside;
	if (tail->expire_at != -1 || (t->l2_caps.can & ZBZ_CAN_TTL) == 0) return;
	tier_beside(&beside, c);
	if (zbz_store_ttl(t->l2, &beside, key, &tail->expire_at) != ZBZ_OK) tail->expire_at = -1;
}

static zbz_status read_and_keep(tier *t, zbz_call *c, zbz_bytes key, const zbz_version *lease, zbz_buf *out,
                                zbz_meta *meta) {
	size_t start = out->n;
	zbz_meta told;
	tier_tail tail;
	zbz_status s = read_l2(t, c, key, out, &told);
	if (s != ZBZ_OK) {
		tier_drop(t, c, key);
		return s;
	}
	tail.expire_at = told.expire_at;
	tail.version = told.version;
	ask_end(t, c, key, &tail);
	promote(t, c, key, lease, zbz_b(out->p + start, out->n - start), &tail, out);
	if (meta != NULL) *meta = told;
	return s;
}

zbz_status tier_get(void *self, zbz_call *c, zbz_bytes key, zbz_buf *out, zbz_meta *meta) {
	tier *t = self;
	zbz_version lease;
	tier_tail tail;
	bool thin = false, ready = tier_fits(t, key, 0) && tier_ready(t, c);
	if (ready && look(t, c, key, out, meta != NULL, &tail, &thin) == ZBZ_OK) {
		if (meta != NULL) *meta = (zbz_meta){ tail.expire_at, tail.version, 1 };
		return ZBZ_OK;
	}
	if (must_wait(t, c)) return ZBZ_AGAIN;
	if (thin) tier_drop(t, c, key);
	if (ready && t->o->promote_hits && tier_lease(t, c, key, &lease))
		return read_and_keep(t, c, key, &lease, out, meta);
	return read_l2(t, c, key, out, meta);
}

zbz_status tier_get_seen(void *self, zbz_call *c, zbz_bytes key, zbz_buf *out, zbz_seen *seen) {
	tier *t = self;
	size_t start = out->n, tail_n;
	zbz_status s = ZBZ_MISS;
	tier_tail tail;
	zbz_call l;
	if (tier_fits(t, key, 0) && tier_ready(t, c)) {
		tier_beside(&l, c);
		s = zbz_store_get_seen(t->l1, &l, key, out, seen);
		if (s == ZBZ_E_UNSUPPORTED) return zbz_fail(&c->err, s, "l1 cannot tell whether what it gave still stands");
		tail_n = s == ZBZ_OK ? read_tail(zbz_b(out->p + start, out->n - start), &tail) : 0;
		out->n = tail_n > 0 ? out->n - tail_n : start;
		if (tail_n > 0) {
			tier_count(&t->l1_hits, 1);
			seen->capped = true;
			seen->ends_at = tail.expire_at;
			return ZBZ_OK;
		}
	}
	memset(seen, 0, sizeof *seen);
	return tier_get(self, c, key, out, NULL);
}

/* No answer of l1 that is as good as one of l2 has no value: it is read to have its tail. */
static zbz_status look_only(tier *t, zbz_call *c, zbz_bytes key, bool whole, tier_tail *tail) {
	zbz_buf bytes = { 0 };
	bool thin;
	zbz_status s = ZBZ_MISS;
	if (tier_fits(t, key, 0) && tier_ready(t, c)) s = look(t, c, key, &bytes, whole, tail, &thin);
	zbz_buf_clear(&bytes);
	return s != ZBZ_OK && must_wait(t, c) ? ZBZ_AGAIN : s;
}

zbz_status tier_exists(void *self, zbz_call *c, zbz_bytes key) {
	tier *t = self;
	tier_tail tail;
	zbz_status s = look_only(t, c, key, false, &tail);
	return s == ZBZ_MISS ? zbz_store_exists(t->l2, c, key) : s;
}

zbz_status tier_ttl(void *self, zbz_call *c, zbz_bytes key, int64_t *expire_at) {
	tier *t = self;
	tier_tail tail;
	zbz_status s = look_only(t, c, key, true, &tail);
	if (s == ZBZ_OK) *expire_at = tail.expire_at;
	return s == ZBZ_MISS ? zbz_store_ttl(t->l2, c, key, expire_at) : s;
}

/* ---- batches ---- */

typedef struct rest { /* what l1 did not have */
	size_t n;
	size_t *at; /* positions */
	zbz_bytes *keys;
	zbz_found *found;
	zbz_version *leases; /* n 0: none */
} rest;

static bool rest_new(rest *r, size_t n) {
	char *p = zbz_calloc(n, sizeof *r->keys + sizeof *r->found + sizeof *r->at + sizeof *r->leases);
	r->n = 0;
	r->keys = (zbz_bytes *)(void *)p;
	if (p == NULL) return false;
	r->found = (zbz_found *)(void *)(r->keys + n);
	r->at = (size_t *)(void *)(r->found + n);
	r->leases = (zbz_version *)(r->at + n);
	return true;
}

static void look_many(tier *t, zbz_call *c, bool ready, const zbz_bytes *keys, size_t n, zbz_buf *out, zbz_found *found,
                      size_t *missing) {
	size_t i;
	*missing = 0;
	for (i = 0; i < n; i++) {
		tier_tail tail;
		bool thin;
		size_t start = out->n;
		found[i].status = ready ? look(t, c, keys[i], out, c->want_expiry, &tail, &thin) : ZBZ_MISS;
		if (found[i].status == ZBZ_OK) {
			found[i].off = start;
			found[i].n = out->n - start;
			if (c->want_expiry) found[i].expire_at = tail.expire_at;
		} else {
			++*missing;
		}
	}
}

static void gather(tier *t, const zbz_call *c, bool ready, const zbz_bytes *keys, size_t n, const zbz_found *found,
                   rest *r) {
	size_t i;
	for (i = 0; i < n; i++) {
		if (found[i].status == ZBZ_OK) continue;
		r->at[r->n] = i;
		r->keys[r->n] = keys[i];
		if (ready && t->o->promote_hits && tier_fits(t, keys[i], 0)) tier_lease(t, c, keys[i], &r->leases[r->n]);
		r->n++;
	}
}

/* Every lease is used or given up, whatever became of the batch. */
static void settle_rest(tier *t, const zbz_call *c, rest *r, zbz_buf *out, zbz_status s) {
	zbz_buf scratch = { 0 };
	size_t i, hits = 0;
	for (i = 0; i < r->n; i++) {
		const zbz_found *f = &r->found[i];
		tier_tail tail = { f->expire_at, { 0, { 0 } } };
		bool hit = s == ZBZ_OK && f->status == ZBZ_OK;
		hits += hit;
		if (r->leases[i].n == 0) continue;
		if (hit)
			promote(t, c, r->keys[i], &r->leases[i], zbz_b(out->p + f->off, f->n), &tail, &scratch);
		else
			tier_drop(t, c, r->keys[i]);
	}
	tier_count(&t->l2_hits, (int64_t)hits);
	zbz_buf_clear(&scratch);
}

static zbz_status read_rest(tier *t, zbz_call *c, rest *r, zbz_buf *out) {
	bool asked = c->want_expiry;
	zbz_status s;
	c->want_expiry = true;
	s = zbz_store_get_many(t->l2, c, r->keys, r->n, out, r->found);
	c->want_expiry = asked;
	settle_rest(t, c, r, out, s);
	return s;
}

zbz_status tier_get_many(void *self, zbz_call *c, const zbz_bytes *keys, size_t n, zbz_buf *out, zbz_found *found) {
	tier *t = self;
	bool ready = tier_ready(t, c);
	size_t missing, start = out->n, i;
	zbz_status s;
	rest r;
	look_many(t, c, ready, keys, n, out, found, &missing);
	if (missing == 0) return ZBZ_OK;
	if (must_wait(t, c)) {
		out->n = start;
		return ZBZ_AGAIN;
	}
	if (!rest_new(&r, missing)) return zbz_fail_nomem(&c->err);
	gather(t, c, ready, keys, n, found, &r);
	s = read_rest(t, c, &r, out);
	for (i = 0; i < r.n; i++) {
		if (s == ZBZ_OK)
			found[r.at[i]] = r.found[i];
		else
			found[r.at[i]].status = s;
	}
	zbz_free(r.keys);
	if (s == ZBZ_AGAIN) out->n = start;
	return s < 0 && missing < n ? ZBZ_OK : s; /* l1 has something to say */
}
