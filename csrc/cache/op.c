/* What every call of a table begins and ends with. */
#include "front.h"

/* Threads have stacks of their own, megabytes apart: a local address tells them apart for free. */
static unsigned stripe_here(const void *local) {
	uintptr_t at = (uintptr_t)local >> 16;
	return (unsigned)((at ^ at >> 5 ^ at >> 10) % STRIPES);
}

static zbz_status too_late(zbz_call *c) { return zbz_fail(&c->err, ZBZ_E_TIMEOUT, "the deadline has passed"); }

zbz_status zbz_op_open(table_op *op, zbz_table *t, zbz_call *c) {
	op->t = t;
	op->c = c;
	op->heap = NULL;
	op->key = zbz_b(NULL, 0);
	op->stripe = stripe_here(op);
	op->counts = &t->stripes[op->stripe];
	op->slot = zbz_cache_enter(t->cache, op->stripe);
	atomic_store_explicit(&op->counts->last_access, c->now, memory_order_relaxed);
	if (op->slot == NULL) return zbz_fail(&c->err, ZBZ_E_CLOSED, "the cache is closed");
	if (c->deadline != ZBZ_NEVER && zbz_call_left(c) == 0) {
		zbz_cache_leave(t->cache, op->slot, op->stripe);
		return too_late(c);
	}
	return ZBZ_OK;
}

zbz_status zbz_op_check_key(const table_op *op, size_t key_n, zbz_err *err) {
	uint64_t max = op->slot->caps.max_key;
	size_t full;
	if (key_n == 0) return zbz_fail(err, ZBZ_E_KEY, "an empty key");
	if (key_n > SIZE_MAX - op->t->prefix.n) return zbz_fail(err, ZBZ_E_KEY, "a key of %zu bytes", key_n);
	full = op->t->prefix.n + key_n;
	if (max == 0 || full <= max) return ZBZ_OK;
	return zbz_fail(err, ZBZ_E_KEY, "a key of %zu bytes with its prefix; the provider's limit is %llu", full,
	                (unsigned long long)max);
}

zbz_status zbz_op_check_value(const table_op *op, size_t stored_n, zbz_err *err) {
	uint64_t max = op->slot->caps.max_value;
	if (max == 0 || stored_n <= max) return ZBZ_OK;
	return zbz_fail(err, ZBZ_E_TOO_LARGE, "a value of %zu bytes as stored; the provider's limit is %llu", stored_n,
	                (unsigned long long)max);
}

static zbz_status build_key(table_op *op, zbz_bytes key) {
	size_t n = op->t->prefix.n + key.n;
	char *p = op->room;
	if (n > sizeof op->room) {
		p = op->heap = zbz_malloc(n);
		if (p == NULL) return zbz_fail_nomem(&op->c->err);
	}
	memcpy(p, op->t->prefix.p, op->t->prefix.n);
	memcpy(p + op->t->prefix.n, key.p, key.n);
	op->key = zbz_b(p, n);
	return ZBZ_OK;
}

zbz_status zbz_key_refuse_reserved(zbz_err *err) {
	return zbz_fail(err, ZBZ_E_KEY, "the key begins with bytes that zbz keeps for itself");
}

zbz_status zbz_op_begin(table_op *op, zbz_table *t, zbz_call *c, zbz_bytes key) {
	zbz_status s = zbz_op_open(op, t, c);
	if (s == ZBZ_OK) {
		s = zbz_op_check_key(op, key.n, &c->err);
		if (s == ZBZ_OK) s = build_key(op, key);
		if (s == ZBZ_OK && key_reserved(op->key)) s = zbz_key_refuse_reserved(&c->err);
		if (s == ZBZ_OK) return s;
		zbz_op_end(op);
	}
	count_add(&op->counts->errors, 1);
	return s;
}

void zbz_op_end(table_op *op) {
	zbz_free(op->heap);
	zbz_cache_leave(op->t->cache, op->slot, op->stripe);
}

zbz_status zbz_op_need(const table_op *op, uint32_t bit, const char *what) {
	zbz_status s;
	const char *name = zbz_store_ops(op->slot->store)->name;
	if (slot_can(op->slot, bit)) return ZBZ_OK;
	s = zbz_fail(&op->c->err, ZBZ_E_UNSUPPORTED, "the %s provider does not support %s", name, what);
	strncat(op->c->err.provider, name, sizeof op->c->err.provider - 1);
	return s;
}

zbz_status zbz_op_wrote(table_op *op, zbz_status status) {
	if (status >= 0) return status;
	count_add(&op->counts->errors, 1);
	if (status == ZBZ_E_UNAVAILABLE || status == ZBZ_E_TIMEOUT) count_add(&op->counts->lost_writes, 1);
	return status;
}

int64_t zbz_expire_at(int64_t now, int64_t ttl) {
	if (ttl == 0) return ZBZ_NO_EXPIRY;
	return ttl > INT64_MAX - now ? INT64_MAX : now + ttl;
}
