/* Listing and clearing a table's keys. */
#include "front.h"

#include "base/page.h"

struct zbz_listing {
	zbz_cache *cache;
	zbz_store *store; /* the one it began on, whatever the cache uses by now */
	zbz_cursor *cursor;
	bool ended;
	zbz_bytes prefix, pattern;
};

static zbz_listing *new_listing(const table_op *op, zbz_bytes pattern) {
	zbz_bytes prefix = op->t->prefix;
	zbz_listing *l;
	char *p;
	if (pattern.n > SIZE_MAX / 2) return NULL;
	l = zbz_calloc(1, sizeof *l + prefix.n + pattern.n);
	if (l == NULL) return NULL;
	p = (char *)(l + 1);
	memcpy(p, prefix.p, prefix.n);
	memcpy(p + prefix.n, pattern.p, pattern.n);
	l->prefix = zbz_b(p, prefix.n);
	l->pattern = zbz_b(p + prefix.n, pattern.n);
	l->cache = zbz_cache_ref(op->t->cache);
	l->store = zbz_store_ref(op->slot->store);
	return l;
}

zbz_status zbz_table_keys_open(zbz_table *t, zbz_call *c, zbz_bytes pattern, zbz_listing **out) {
	table_op op;
	zbz_listing *l;
	zbz_status s = zbz_op_open(&op, t, c);
	*out = NULL;
	if (pattern.n == 0) pattern = zbz_b("*", 1); /* no key is empty, so the empty pattern would be of no use */
	if (s == ZBZ_OK) {
		s = zbz_op_need(&op, ZBZ_CAN_KEYS, "keys");
		l = s == ZBZ_OK ? new_listing(&op, pattern) : NULL;
		if (s == ZBZ_OK && l == NULL) s = zbz_fail_nomem(&c->err);
		zbz_op_end(&op);
		if (s == ZBZ_OK) s = zbz_store_scan_open(l->store, c, l->prefix, l->pattern, &l->cursor);
		if (s == ZBZ_OK)
			*out = l;
		else
			zbz_table_keys_close(l);
	}
	if (s != ZBZ_OK) count_add(&op.counts->errors, 1);
	return s;
}

/* Keeps what matches, without the prefix; in place, for it only gets shorter. */
static zbz_status narrow(const zbz_listing *l, zbz_buf *out, size_t start, size_t *kept, zbz_err *err) {
	size_t from = start, to = start, n = 0;
	while (from < out->n) {
		zbz_bytes key, rest;
		if (out->n - from < 4) return zbz_fail(err, ZBZ_E_CORRUPT, "a listing with a length cut short");
		key = zbz_b(out->p + from + 4, zbz_u32_get(out->p + from));
		if (key.n > out->n - from - 4)
			return zbz_fail(err, ZBZ_E_CORRUPT, "a listing with a key of %zu bytes beyond its page", key.n);
		from += 4 + key.n;
		if (key.n <= l->prefix.n || !zbz_bytes_has_prefix(key, l->prefix) || key_reserved(key)) continue;
		rest = zbz_b(key.p + l->prefix.n, key.n - l->prefix.n);
		if (!zbz_glob_match(l->pattern, rest)) continue;
		memmove(out->p + to + 4, rest.p, rest.n);
		zbz_u32_put(out->p + to, (uint32_t)rest.n);
		to += 4 + rest.n;
		n++;
	}
	out->n = to;
	*kept = n;
	return ZBZ_OK;
}

static bool is_closed(zbz_cache *cache) { return atomic_load(&cache->slot) == NULL; }

zbz_status zbz_table_keys_next(zbz_listing *l, zbz_call *c, size_t limit, zbz_buf *out, size_t *n) {
	size_t start = out->n, ignored = 0, kept = 0;
	zbz_status s, narrowed;
	if (is_closed(l->cache)) return zbz_fail(&c->err, ZBZ_E_CLOSED, "the cache is closed");
	if (l->ended) return ZBZ_END;
	if (c->deadline != ZBZ_NEVER && zbz_call_left(c) == 0)
		return zbz_fail(&c->err, ZBZ_E_TIMEOUT, "the deadline has passed");
	s = zbz_store_scan_next(l->store, c, l->cursor, limit != 0 ? limit : 1, out, &ignored);
	narrowed = s >= 0 ? narrow(l, out, start, &kept, &c->err) : s;
	if (narrowed < 0) {
		out->n = start;
		return narrowed;
	}
	l->ended = s == ZBZ_END;
	*n += kept;
	return s;
}

void zbz_table_keys_close(zbz_listing *l) {
	if (l == NULL) return;
	if (l->cursor != NULL) zbz_store_scan_close(l->store, l->cursor);
	zbz_store_unref(l->store);
	zbz_cache_unref(l->cache);
	zbz_free(l);
}

zbz_status zbz_table_clear(zbz_table *t, zbz_call *c, uint64_t *removed) {
	table_op op;
	uint64_t n = 0;
	zbz_status s = zbz_op_open(&op, t, c);
	if (removed != NULL) *removed = 0;
	if (s != ZBZ_OK) {
		count_add(&op.counts->errors, 1);
		return s;
	}
	if (t->prefix.n == 0 && !op.slot->caps.exclusive)
		s = zbz_fail(&c->err, ZBZ_E_UNSUPPORTED,
		             "clear without a key prefix would remove keys of others from a shared store");
	if (s == ZBZ_OK) s = zbz_op_need(&op, ZBZ_CAN_CLEAR, "clear");
	if (s == ZBZ_OK) {
		zbz_flights_touch_prefix(op.slot->flights, t->prefix);
		s = zbz_store_clear(op.slot->store, c, t->prefix, &n);
		zbz_flights_touch_prefix(op.slot->flights, t->prefix);
		if (removed != NULL) *removed = n;
	}
	if (zbz_op_wrote(&op, s) >= 0) count_add(&op.counts->deletes, n);
	zbz_op_end(&op);
	return s;
}
