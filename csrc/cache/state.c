/* Questions about an entry and changes to its state. Where sealed entries are to be expected, the logical state in the
 * envelope counts; elsewhere the provider is asked directly. */
#include "front.h"

/* What is there, for good or not at all. The bytes stay in *bytes, to be cleared. */
static zbz_status read_live(table_op *op, bool want_meta, zbz_buf *bytes, zbz_bytes *value, zbz_entry *entry,
                            int64_t *physical) {
	zbz_status s = zbz_op_read(op, bytes, want_meta, value, entry, physical);
	return s == ZBZ_OK && !entry_live(entry) ? ZBZ_MISS : s;
}

static zbz_status count_failure(table_op *op, zbz_status s) {
	if (s < 0) count_add(&op->counts->errors, 1);
	return s;
}

/* ---- exists, ttl ---- */

zbz_status zbz_table_exists(zbz_table *t, zbz_call *c, zbz_bytes key) {
	table_op op;
	zbz_status s = zbz_op_begin(&op, t, c, key);
	if (s != ZBZ_OK) return s;
	if (op_expects_sealed(&op)) {
		zbz_buf bytes = { 0 };
		zbz_bytes value;
		zbz_entry entry;
		s = read_live(&op, false, &bytes, &value, &entry, NULL);
		zbz_buf_clear(&bytes);
	} else {
		s = zbz_store_exists(op.slot->store, c, op.key);
	}
	count_failure(&op, s);
	zbz_op_end(&op);
	return s;
}

static zbz_status ask_end(table_op *op, int64_t *expire_at) {
	zbz_status s = zbz_op_need(op, ZBZ_CAN_TTL, "ttl");
	if (s != ZBZ_OK) return s;
	if (op_expects_sealed(op)) {
		zbz_buf bytes = { 0 };
		zbz_bytes value;
		zbz_entry entry;
		s = read_live(op, false, &bytes, &value, &entry, NULL);
		zbz_buf_clear(&bytes);
		if (s != ZBZ_OK) return s;
		*expire_at = entry.expire_at;
		if (entry.sealed) return s;
	}
	return zbz_store_ttl(op->slot->store, op->c, op->key, expire_at);
}

zbz_status zbz_table_ttl(zbz_table *t, zbz_call *c, zbz_bytes key, int64_t *left_ms) {
	table_op op;
	int64_t expire_at = ZBZ_NO_EXPIRY;
	zbz_status s = zbz_op_begin(&op, t, c, key);
	if (s != ZBZ_OK) return s;
	s = ask_end(&op, &expire_at);
	if (s == ZBZ_OK && expire_at == ZBZ_NO_EXPIRY)
		*left_ms = INT64_MAX;
	else if (s == ZBZ_OK && expire_at <= c->now)
		s = ZBZ_MISS;
	else if (s == ZBZ_OK)
		*left_ms = expire_at - c->now;
	count_failure(&op, s);
	zbz_op_end(&op);
	return s;
}

/* ---- rewriting a sealed entry in place ---- */

/* Over the entry that was read, and no other where the provider can tell. CONFLICT: it has changed meanwhile, look
 * again. */
static zbz_status rewrite(table_op *op, const zbz_seal *seal, zbz_bytes value, int64_t physical,
                          const zbz_version *version) {
	zbz_buf sealed = { 0 };
	zbz_write w;
	zbz_status s = zbz_envelope_seal(seal, value, &sealed, &op->c->err);
	w.key = op->key;
	w.value = zbz_buf_bytes(&sealed);
	w.expire_at = physical;
	w.only = version->n != 0 ? ZBZ_ONLY_VERSION : slot_can(op->slot, ZBZ_CAN_PRESENT) ? ZBZ_ONLY_PRESENT : ZBZ_ALWAYS;
	w.version = version;
	if (s == ZBZ_OK) s = zbz_store_set(op->slot->store, op->c, &w, NULL);
	zbz_buf_clear(&sealed);
	return s;
}

static zbz_status too_busy(table_op *op) {
	return zbz_fail(&op->c->err, ZBZ_E_CONFLICT, "the key changes faster than it can be rewritten");
}

/* How long after its logical end an entry is kept. */
static int64_t grace_of(const table_op *op, const zbz_entry *entry, int64_t physical) {
	if (op->t->stale_ttl > 0) return op->t->stale_ttl;
	return entry->expire_at > 0 && physical > entry->expire_at ? physical - entry->expire_at : 0;
}

static zbz_status expire_once(table_op *op, int64_t ttl_ms) {
	zbz_buf bytes = { 0 };
	zbz_bytes value;
	zbz_entry entry;
	int64_t physical, grace, end = zbz_expire_at(op->c->now, ttl_ms);
	zbz_status s = read_live(op, true, &bytes, &value, &entry, &physical);
	if (s == ZBZ_OK && !entry.sealed) {
		s = zbz_store_expire(op->slot->store, op->c, op->key, end);
	} else if (s == ZBZ_OK) {
		zbz_seal seal = { .expire_at = end, .stored_at = entry.stored_at };
		grace = grace_of(op, &entry, physical);
		s = rewrite(op, &seal, value, end == ZBZ_NO_EXPIRY || grace == 0 ? end : zbz_expire_at(end, grace),
		            &entry.version);
		if (s == ZBZ_REFUSED) s = ZBZ_MISS;
	}
	zbz_buf_clear(&bytes);
	return s;
}

static zbz_status expire_sealed(table_op *op, int64_t ttl_ms) {
	int tries;
	for (tries = 0; tries < RACE_TRIES; tries++) {
		zbz_status s = expire_once(op, ttl_ms);
		if (s != ZBZ_E_CONFLICT) return s;
	}
	return too_busy(op);
}

zbz_status zbz_table_expire(zbz_table *t, zbz_call *c, zbz_bytes key, int64_t ttl_ms) {
	table_op op;
	zbz_status s;
	if (ttl_ms < 0) return zbz_fail(&c->err, ZBZ_E_ARGUMENT, "a TTL is not negative");
	s = zbz_op_begin(&op, t, c, key);
	if (s != ZBZ_OK) return s;
	s = zbz_op_need(&op, ZBZ_CAN_EXPIRE, "expire");
	if (s == ZBZ_OK) {
		op_touch(&op);
		s = op_expects_sealed(&op) ? expire_sealed(&op, ttl_ms)
		                           : zbz_store_expire(op.slot->store, c, op.key, zbz_expire_at(c->now, ttl_ms));
		op_touch(&op);
	}
	zbz_op_wrote(&op, s);
	zbz_op_end(&op);
	return s;
}

/* ---- invalidate ---- */

/* The logical end moves to now, or one millisecond back if it has passed, so that the bytes and with them every kind
 * of version change: a loader in another process that began with this entry must notice. */
static zbz_status make_stale(table_op *op, zbz_bytes value, const zbz_entry *entry, int64_t physical) {
	int64_t now = op->c->now > 0 ? op->c->now : 1;
	zbz_seal seal = { .expire_at = now, .stored_at = entry->stored_at, .stale = true };
	if (entry->stale && entry->expire_at > 1) seal.expire_at = entry->expire_at - 1;
	if (physical == -1) physical = entry->expire_at;
	if (op->t->stale_ttl > 0) {
		int64_t last = zbz_expire_at(now, op->t->stale_ttl);
		if (physical == ZBZ_NO_EXPIRY || physical > last) physical = last;
	}
	if (physical != ZBZ_NO_EXPIRY && physical <= op->c->now) return zbz_store_del(op->slot->store, op->c, op->key);
	return rewrite(op, &seal, value, physical, &entry->version);
}

static zbz_status invalidate_once(table_op *op, bool hard) {
	zbz_buf bytes = { 0 };
	zbz_bytes value;
	zbz_entry entry;
	int64_t physical;
	zbz_status s = zbz_op_read(op, &bytes, true, &value, &entry, &physical);
	if (s == ZBZ_E_CORRUPT || (s == ZBZ_OK && (hard || !entry.sealed || entry.negative || entry.lease)))
		s = zbz_store_del(op->slot->store, op->c, op->key);
	else if (s == ZBZ_OK)
		s = make_stale(op, value, &entry, physical);
	zbz_buf_clear(&bytes);
	return s;
}

zbz_status zbz_table_invalidate(zbz_table *t, zbz_call *c, zbz_bytes key) {
	table_op op;
	int tries;
	zbz_status s = zbz_op_begin(&op, t, c, key);
	if (s != ZBZ_OK) return s;
	op_touch(&op);
	for (tries = 1, s = ZBZ_E_CONFLICT; s == ZBZ_E_CONFLICT && tries <= RACE_TRIES; tries++)
		s = invalidate_once(&op, tries == RACE_TRIES);
	op_touch(&op);
	if (zbz_op_wrote(&op, s) >= 0) {
		count_add(&op.counts->deletes, 1);
		s = ZBZ_OK;
	}
	zbz_op_end(&op);
	return s;
}
