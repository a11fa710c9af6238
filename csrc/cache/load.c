/* The table's side of a load: its store's flights, the lease that carries the fence to other processes, and the
 * commit. */
#include "front.h"

#include "base/random.h"

zbz_status zbz_table_flight(zbz_table *t, zbz_bytes key, const void *owner, zbz_flight **out, zbz_seat *seat,
                            zbz_err *err) {
	table_op op;
	zbz_call c;
	zbz_status s;
	*out = NULL;
	zbz_table_begin(t, &c, 0);
	s = zbz_op_begin(&op, t, &c, key);
	if (s != ZBZ_OK) {
		if (err != NULL) *err = c.err;
		return s;
	}
	s = zbz_flight_enter(op.slot->flights, op.key, owner, out, seat, err);
	zbz_op_end(&op);
	return s;
}

/* ---- lease ---- */

typedef struct lease_note {
	unsigned char token[16];
	zbz_buf sealed;
	zbz_write write;
} lease_note;

static zbz_status write_note(table_op *op, int64_t lease_ms, lease_note *note) {
	zbz_seal seal = { .expire_at = zbz_expire_at(op->c->now, lease_ms),
		              .stored_at = op->c->now > 0 ? op->c->now : 0,
		              .lease = true };
	zbz_status s = zbz_random(note->token, sizeof note->token, &op->c->err);
	memset(&note->sealed, 0, sizeof note->sealed);
	if (s == ZBZ_OK) s = zbz_envelope_seal(&seal, zbz_b(note->token, sizeof note->token), &note->sealed, &op->c->err);
	note->write = (zbz_write){ op->key, zbz_buf_bytes(&note->sealed), seal.expire_at, ZBZ_ONLY_ABSENT, NULL };
	return s;
}

/* Whatever is there now, ours or not: the load begins after this, so this is what it may replace. MISS: nothing. */
static zbz_status version_now(table_op *op, zbz_version *version) {
	zbz_buf bytes = { 0 };
	zbz_meta meta = { -1, { 0, { 0 } }, 0 };
	zbz_status s = zbz_store_get(op->slot->store, op->c, op->key, &bytes, &meta);
	zbz_buf_clear(&bytes);
	if (s == ZBZ_OK) *version = meta.version;
	return s;
}

static zbz_status place(table_op *op, int64_t lease_ms, zbz_version *version) {
	lease_note note;
	int tries;
	zbz_status s = write_note(op, lease_ms, &note);
	for (tries = 0; s == ZBZ_OK && tries < RACE_TRIES; tries++) {
		version->n = 0;
		s = zbz_store_set(op->slot->store, op->c, &note.write, version);
		if (s < 0 || (s == ZBZ_OK && version->n != 0)) break;
		s = version_now(op, version);
		if (s != ZBZ_MISS) break;
		s = ZBZ_OK; /* gone again between the two: once more */
	}
	if (tries == RACE_TRIES)
		s = zbz_fail(&op->c->err, ZBZ_E_CONFLICT, "the key comes and goes faster than it can be leased");
	zbz_buf_clear(&note.sealed);
	atomic_store_explicit(&op->t->sealed, true, memory_order_relaxed);
	return s;
}

zbz_status zbz_table_lease(zbz_table *t, zbz_call *c, zbz_bytes key, const zbz_entry *seen, int64_t lease_ms,
                           zbz_version *version_out) {
	table_op op;
	zbz_status s;
	version_out->n = 0;
	if (lease_ms <= 0) return zbz_fail(&c->err, ZBZ_E_ARGUMENT, "a lease lasts more than 0 ms");
	s = zbz_op_begin(&op, t, c, key);
	if (s != ZBZ_OK) return s;
	if (op.slot->caps.shared && slot_can(op.slot, ZBZ_CAN_ADD | ZBZ_CAN_VERSION)) {
		if (seen != NULL && seen->version.n != 0) {
			*version_out = seen->version;
		} else {
			s = seen != NULL ? version_now(&op, version_out) : ZBZ_MISS;
			if (s == ZBZ_MISS) s = place(&op, lease_ms, version_out);
		}
		if (s < 0) count_add(&op.counts->errors, 1);
	}
	zbz_op_end(&op);
	return s;
}

/* ---- commit ---- */

/* No touch of the key proceeds between the question and the answer. */
static zbz_status write_fenced(table_op *op, zbz_flight *f, const zbz_write *w) {
	zbz_status s = ZBZ_REFUSED;
	if (zbz_flight_commit_lock(f)) s = zbz_store_set(op->slot->store, op->c, w, NULL);
	zbz_flight_commit_unlock(f);
	return s == ZBZ_E_CONFLICT ? ZBZ_REFUSED : s;
}

static zbz_status commit(table_op *op, zbz_flight *f, zbz_bytes value, const zbz_put *put, const zbz_version *lease) {
	zbz_buf sealed = { 0 };
	zbz_write w;
	zbz_status s = zbz_put_prepare(op, value, put, &sealed, &w);
	if (lease != NULL && lease->n != 0) {
		w.only = ZBZ_ONLY_VERSION;
		w.version = lease;
	}
	if (s == ZBZ_OK) s = write_fenced(op, f, &w);
	zbz_buf_clear(&sealed);
	return s;
}

zbz_status zbz_table_commit(zbz_table *t, zbz_call *c, zbz_flight *f, zbz_bytes key, zbz_bytes value,
                            const zbz_put *put, const zbz_version *lease) {
	table_op op;
	zbz_status s;
	if (put == NULL) put = &zbz_put_defaults;
	if (f == NULL) return zbz_fail(&c->err, ZBZ_E_ARGUMENT, "a commit needs the flight it ends");
	s = zbz_put_check(put, &c->err);
	if (s != ZBZ_OK) return s;
	s = zbz_op_begin(&op, t, c, key);
	if (s != ZBZ_OK) return s;
	/* After a swap the flight belongs to the former store: what was written to the new one went unseen, so it is
	 * refused. */
	s = zbz_flight_leads_in(f, op.slot->flights) ? commit(&op, f, value, put, lease) : ZBZ_REFUSED;
	if (s == ZBZ_REFUSED) zbz_table_count(t, ZBZ_COUNT_FENCED);
	if (zbz_op_wrote(&op, s) == ZBZ_OK) count_add(&op.counts->sets, 1);
	zbz_op_end(&op);
	return s;
}
