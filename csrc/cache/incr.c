/* Counters. The provider counts in decimal text; a number in an envelope is counted here, by version. */
#include "front.h"

#include "base/scan.h"

#include <stdio.h>

static bool add(int64_t a, int64_t b, int64_t *sum) {
	if (b > 0 ? a > INT64_MAX - b : a < INT64_MIN - b) return false;
	*sum = a + b;
	return true;
}

/* Over exactly what was read; a live number keeps its envelope and its end, a dead entry gives way to plain text. */
static zbz_status write_number(table_op *op, int64_t number, const zbz_entry *entry, int64_t physical, bool live,
                               int64_t expire_at) {
	char text[24];
	int n = snprintf(text, sizeof text, "%lld", (long long)number);
	zbz_buf sealed = { 0 };
	zbz_write w = { op->key, zbz_b(text, (size_t)n), expire_at, ZBZ_ONLY_VERSION, &entry->version };
	zbz_status s = ZBZ_OK;
	if (live) {
		zbz_seal seal = { .expire_at = entry->expire_at, .stored_at = op->c->now > 0 ? op->c->now : 0 };
		s = zbz_envelope_seal(&seal, w.value, &sealed, &op->c->err);
		w.value = zbz_buf_bytes(&sealed);
		w.expire_at = physical != -1 ? physical : entry->expire_at;
	}
	if (s == ZBZ_OK) s = zbz_store_set(op->slot->store, op->c, &w, NULL);
	zbz_buf_clear(&sealed);
	return s;
}

/* The provider found no integer, and this is what is there. */
static zbz_status count_over(table_op *op, const zbz_incr *how, zbz_bytes text, const zbz_entry *entry,
                             int64_t physical, int64_t *value) {
	bool live = entry_live(entry);
	int64_t number = how->has_initial ? how->initial : how->delta;
	zbz_status s;
	if (!entry->sealed || entry->version.n == 0 || (live && !zbz_parse_integer(text, &number))) return ZBZ_E_TYPE;
	if (live && !add(number, how->delta, &number))
		return zbz_fail(&op->c->err, ZBZ_E_TOO_LARGE, "the counter would leave the range of 64 bits");
	if (op->slot->caps.unsigned_incr && number < 0) number = 0;
	s = write_number(op, number, entry, physical, live, how->expire_at);
	if (s == ZBZ_OK) *value = number;
	return s;
}

static zbz_status count_sealed_once(table_op *op, const zbz_incr *how, int64_t *value) {
	zbz_buf bytes = { 0 };
	zbz_bytes text;
	zbz_entry entry;
	int64_t physical;
	zbz_status s = zbz_op_read(op, &bytes, true, &text, &entry, &physical);
	if (s == ZBZ_OK)
		s = count_over(op, how, text, &entry, physical, value);
	else if (s == ZBZ_MISS)
		s = zbz_store_incr(op->slot->store, op->c, op->key, how, value);
	zbz_buf_clear(&bytes);
	return s;
}

static zbz_status count(table_op *op, const zbz_incr *how, int64_t *value) {
	zbz_status s = zbz_store_incr(op->slot->store, op->c, op->key, how, value);
	zbz_err refusal;
	int tries;
	if (s != ZBZ_E_TYPE || !slot_can(op->slot, ZBZ_CAN_VERSION)) return s;
	refusal = op->c->err;
	for (tries = 0; tries < RACE_TRIES; tries++) {
		s = count_sealed_once(op, how, value);
		if (s == ZBZ_E_TYPE) op->c->err = refusal; /* in the provider's words */
		if (s != ZBZ_E_CONFLICT) return s;
	}
	return zbz_fail(&op->c->err, ZBZ_E_CONFLICT, "the counter changes faster than it can be rewritten");
}

zbz_status zbz_table_incr(zbz_table *t, zbz_call *c, zbz_bytes key, int64_t delta, bool has_initial, int64_t initial,
                          int64_t ttl_ms, int64_t *value) {
	table_op op;
	zbz_incr how = { delta, has_initial, initial, ZBZ_NO_EXPIRY };
	zbz_status s;
	if (ttl_ms < -1) return zbz_fail(&c->err, ZBZ_E_ARGUMENT, "a TTL is not negative");
	s = zbz_op_begin(&op, t, c, key);
	if (s != ZBZ_OK) return s;
	how.expire_at = zbz_expire_at(c->now, ttl_ms >= 0 ? ttl_ms : t->ttl);
	s = zbz_op_need(&op, ZBZ_CAN_INCR, "incr");
	if (s == ZBZ_OK) {
		op_touch(&op);
		s = count(&op, &how, value);
		op_touch(&op);
	}
	/* the arguments have been looked at: what is out of range is the number in the store */
	if (s == ZBZ_E_ARGUMENT) c->err.status = s = ZBZ_E_TOO_LARGE;
	if (zbz_op_wrote(&op, s) == ZBZ_OK) count_add(&op.counts->sets, 1);
	zbz_op_end(&op);
	return s;
}
