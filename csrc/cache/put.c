/* Writing values: what a put means in bytes and times, and conditions that look at the logical state. */
#include "front.h"

const zbz_put zbz_put_defaults = { .ttl = -1, .only = ZBZ_ALWAYS, .version = NULL, .stale_ttl = -1, .negative = false };

zbz_status zbz_put_check(const zbz_put *put, zbz_err *err) {
	if (put->ttl < -1) return zbz_fail(err, ZBZ_E_ARGUMENT, "a TTL is not negative");
	if (put->stale_ttl < -1) return zbz_fail(err, ZBZ_E_ARGUMENT, "a stale_ttl is not negative");
	if ((unsigned)put->only > ZBZ_ONLY_VERSION) return zbz_fail(err, ZBZ_E_ARGUMENT, "an unknown condition");
	if (put->only == ZBZ_ONLY_VERSION &&
	    (put->version == NULL || put->version->n == 0 || put->version->n > sizeof put->version->b))
		return zbz_fail(err, ZBZ_E_ARGUMENT, "a version to compare with is missing");
	return ZBZ_OK;
}

bool zbz_put_seal(const zbz_table *t, int64_t now, zbz_bytes value, const zbz_put *put, zbz_seal *seal,
                  int64_t *physical) {
	int64_t ttl = put->ttl >= 0 ? put->ttl : t->ttl;
	/* nobody wants to be told for longer that there was nothing */
	int64_t stale = put->negative ? 0 : put->stale_ttl >= 0 ? put->stale_ttl : t->stale_ttl;
	memset(seal, 0, sizeof *seal);
	seal->expire_at = zbz_expire_at(now, ttl);
	seal->stored_at = now > 0 ? now : 0;
	seal->negative = put->negative;
	*physical = seal->expire_at;
	if (ttl != 0 && stale != 0) *physical = zbz_expire_at(seal->expire_at, stale);
	return t->envelope || stale > 0 || put->negative || zbz_envelope_is(value);
}

zbz_status zbz_put_prepare(table_op *op, zbz_bytes value, const zbz_put *put, zbz_buf *sealed, zbz_write *w) {
	zbz_seal seal;
	zbz_status s;
	bool needed = zbz_put_seal(op->t, op->c->now, value, put, &seal, &w->expire_at);
	w->key = op->key;
	w->value = value;
	w->only = put->only;
	w->version = put->version;
	if (needed) {
		s = zbz_envelope_seal(&seal, value, sealed, &op->c->err);
		if (s != ZBZ_OK) return s;
		w->value = zbz_buf_bytes(sealed);
		atomic_store_explicit(&op->t->sealed, true, memory_order_relaxed);
	}
	return zbz_op_check_value(op, w->value.n, &op->c->err);
}

static zbz_status need_condition(const table_op *op, zbz_only only) {
	switch (only) {
	case ZBZ_ALWAYS: return ZBZ_OK;
	case ZBZ_ONLY_ABSENT: return zbz_op_need(op, ZBZ_CAN_ADD, "writing only where nothing is");
	case ZBZ_ONLY_PRESENT: return zbz_op_need(op, ZBZ_CAN_PRESENT, "writing only where something is");
	case ZBZ_ONLY_VERSION: return zbz_op_need(op, ZBZ_CAN_VERSION, "writing only over a version");
	}
	return zbz_fail(&op->c->err, ZBZ_E_ARGUMENT, "an unknown condition");
}

static zbz_status look(table_op *op, zbz_entry *entry) {
	zbz_buf bytes = { 0 };
	zbz_bytes value;
	zbz_status s = zbz_op_read(op, &bytes, true, &value, entry, NULL);
	zbz_buf_clear(&bytes);
	return s;
}

/* The provider refused because something is there; a dead entry kept as a fallback, a lease or a remembered absence is
 * nothing to the program that adds. Without versions it could not be replaced safely, and the refusal stands. */
static zbz_status add_over_dead(table_op *op, const zbz_write *w, zbz_version *version_out) {
	zbz_write over = *w;
	zbz_entry entry;
	int tries;
	for (tries = 0; tries < RACE_TRIES; tries++) {
		zbz_status s = look(op, &entry);
		if (s < 0) return s;
		if (s == ZBZ_OK && (entry_live(&entry) || entry.version.n == 0)) return ZBZ_REFUSED;
		over.only = s == ZBZ_MISS ? ZBZ_ONLY_ABSENT : ZBZ_ONLY_VERSION;
		over.version = s == ZBZ_MISS ? NULL : &entry.version;
		s = zbz_store_set(op->slot->store, op->c, &over, version_out);
		if (s != ZBZ_REFUSED && s != ZBZ_E_CONFLICT) return s;
	}
	return zbz_fail(&op->c->err, ZBZ_E_CONFLICT, "the key changes faster than it can be added");
}

static zbz_status write_conditional(table_op *op, const zbz_write *w, zbz_version *version_out) {
	zbz_entry entry;
	zbz_status s;
	if (w->only == ZBZ_ONLY_PRESENT && op_expects_sealed(op)) {
		s = look(op, &entry);
		if (s < 0) return s;
		if (s == ZBZ_MISS || !entry_live(&entry)) return ZBZ_REFUSED;
	}
	s = zbz_store_set(op->slot->store, op->c, w, version_out);
	if (s == ZBZ_REFUSED && w->only == ZBZ_ONLY_ABSENT && slot_can(op->slot, ZBZ_CAN_VERSION))
		s = add_over_dead(op, w, version_out);
	return s;
}

static zbz_status put(table_op *op, zbz_bytes value, const zbz_put *how, zbz_version *version_out) {
	zbz_buf sealed = { 0 };
	zbz_write w;
	zbz_status s = need_condition(op, how->only);
	if (s == ZBZ_OK) s = zbz_put_prepare(op, value, how, &sealed, &w);
	if (s == ZBZ_OK) {
		op_touch(op);
		if (how->only == ZBZ_ALWAYS || how->only == ZBZ_ONLY_VERSION)
			s = zbz_store_set(op->slot->store, op->c, &w, version_out);
		else
			s = write_conditional(op, &w, version_out);
		op_touch(op);
	}
	if (sealed.p != NULL) zbz_buf_clear(&sealed);
	return s;
}

zbz_status zbz_table_set(zbz_table *t, zbz_call *c, zbz_bytes key, zbz_bytes value, const zbz_put *how,
                         zbz_version *version_out) {
	table_op op;
	zbz_status s;
	if (how == NULL) how = &zbz_put_defaults;
	if (version_out != NULL) version_out->n = 0;
	s = zbz_put_check(how, &c->err);
	if (s != ZBZ_OK) return s;
	s = zbz_op_begin(&op, t, c, key);
	if (s != ZBZ_OK) return s;
	s = put(&op, value, how, version_out);
	if (zbz_op_wrote(&op, s) == ZBZ_OK) count_add(&op.counts->sets, 1);
	zbz_op_end(&op);
	return s;
}
