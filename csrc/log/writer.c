/* Draining the rings of an output, one batch of one ring at a time, in turn. */
#include "writer.h"

#define LOOK_EVERY INT64_C(1000000000) /* ns: for rings of the dead, and in case a count was missed */
#define SYNC_EVERY INT64_C(5000000)

/* ---- telling ---- */

static void tell(zbz_drained *d) {
	if (atomic_load_explicit(&d->ring.h->taken, memory_order_relaxed) == d->written) return;
	atomic_store_explicit(&d->ring.h->taken, d->written, memory_order_release);
	zbz_ring_tell(d->ring.h);
}

zbz_status zbz_writer_sync(zbz_writer *w, zbz_call *c) {
	zbz_status status = ZBZ_OK;
	if (w->group && w->unsynced && w->ops->sync != NULL) {
		status = w->ops->sync(w->sink, c);
		if (status != ZBZ_OK) return status;
		zbz_counter_add(&w->counts->syncs, 1);
		w->synced_at = zbz_mono_ns();
	}
	w->unsynced = false;
	for (zbz_drained *d = w->rings; d != NULL; d = d->next) tell(d);
	return ZBZ_OK;
}

static bool awaited(const zbz_writer *w) {
	for (const zbz_drained *d = w->rings; d != NULL; d = d->next)
		if (atomic_load_explicit(&d->ring.h->waiting, memory_order_relaxed) != 0) return true;
	return false;
}

static bool sync_due(const zbz_writer *w) {
	return w->unsynced && (zbz_mono_ns() - w->synced_at >= SYNC_EVERY || awaited(w));
}

/* ---- trouble ---- */

void zbz_trouble_note(zbz_trouble *t, char *what, const zbz_err *err) {
	zbz_latch_take(&t->latch);
	if (err == NULL)
		what[0] = '\0';
	else
		memcpy(what, err->text, sizeof err->text);
	zbz_latch_drop(&t->latch);
}

/* ---- one step ---- */

bool zbz_writer_stopping(const zbz_writer *w) { return w->stop_at != NULL && atomic_load(w->stop_at) != 0; }

static bool any_records(const zbz_writer *w) {
	for (const zbz_drained *d = w->rings; d != NULL; d = d->next)
		if (zbz_drained_bytes(d) > 0) return true;
	return false;
}

static zbz_drained *batch_ring(const zbz_writer *w, const zbz_batch_fill *f) {
	zbz_drained *d = w->rings;
	while (d != NULL && d->ring.id != f->ring) d = d->next;
	return d;
}

/* All that has left the rings is in the sink, when nothing is on its way and nothing in the spool. What was dropped by an owner needs no sink. */
static void level(zbz_writer *w) {
	if (zbz_spool_any(w->spool)) return;
	for (zbz_drained *d = w->rings; d != NULL; d = d->next) {
		d->written = atomic_load(&d->ring.h->tail);
		if (!w->unsynced) tell(d);
	}
}

static bool own_spool(const zbz_writer *w, const zbz_batch_fill *f) {
	return zbz_spool_is_open(w->spool) && (f->ring == w->spool->id || f->ring == 0);
}

/* The sink has the batch. */
static void finish(zbz_writer *w) {
	zbz_batch *b = &w->journal->page->batch;
	const zbz_batch_fill *f = zbz_batch_now(b);
	if (f->kind == ZBZ_FROM_SPOOL && own_spool(w, f)) {
		zbz_spool_move(w, &f->after);
		zbz_writer_spool_count(w);
	} else if (f->kind == ZBZ_FROM_SPOOL && f->ring != 0) {
		zbz_spool_debt debt = { .spool = f->ring, .taken = f->after };
		debt.check = zbz_debt_check(&debt);
		w->journal->page->debt = debt;
	}
	atomic_store_explicit(&b->state, ZBZ_BATCH_EMPTY, memory_order_release);
}

static zbz_status deliver(zbz_writer *w, zbz_call *c) {
	zbz_batch *b = &w->journal->page->batch;
	zbz_status status = w->courier != NULL ? zbz_courier_deliver(w, c) : zbz_batch_deliver(w, c);
	if (status != ZBZ_OK) {
		w->failing = true;
		zbz_trouble_note(w->trouble, w->trouble->sink, &c->err);
		zbz_counter_add(&w->counts->retries, 1);
		zbz_counter_add(&w->counts->failures, 1);
		return status;
	}
	if (c->err.status < 0)
		zbz_trouble_note(w->trouble, w->trouble->sink, &c->err); /* it went well, but for something */
	if (!w->failing) atomic_store(&w->counts->failures, 0);
	atomic_store_explicit(&b->state, ZBZ_BATCH_TAKEN, memory_order_release);
	finish(w);
	w->unsynced = w->unsynced || w->group;
	level(w);
	return sync_due(w) ? zbz_writer_sync(w, c) : ZBZ_OK;
}

static bool sound(const zbz_journal *j, const zbz_batch_fill *f) {
	return f->n <= j->records && f->texts <= j->room && f->sides <= j->room - f->texts &&
	       f->check == zbz_batch_check(j, f);
}

/* A batch that another writer has left: its records are in the journal, perhaps in the ring as well. */
static void adopt(zbz_writer *w) {
	zbz_batch *b = &w->journal->page->batch;
	uint32_t state = atomic_load(&b->state);
	const zbz_batch_fill *f = zbz_batch_now(b);
	zbz_drained *d;
	if (state == ZBZ_BATCH_EMPTY) return;
	if (!sound(w->journal, f) || state > ZBZ_BATCH_TAKEN) {
		zbz_counter_add(&w->counts->damaged, 1);
		atomic_store(&b->state, ZBZ_BATCH_EMPTY);
		return;
	}
	d = f->kind == ZBZ_FROM_RING ? batch_ring(w, f) : NULL;
	if (d != NULL && atomic_load(&d->ring.h->tail) == f->from) {
		atomic_store(&d->ring.h->tail, f->to);
		atomic_store(&d->ring.h->hold, ZBZ_HOLD_NONE);
		zbz_ring_tell(d->ring.h);
	}
	if (state == ZBZ_BATCH_FILLING) zbz_batch_seal(w);
	if (state == ZBZ_BATCH_TAKEN) finish(w);
	w->batch_orphan = true;
}

/* The dead before the living, these in turn. */
static void gather(zbz_writer *w) {
	zbz_drained *d, *first;
	for (d = w->rings; d != NULL; d = d->next) zbz_drained_judge(w, d);
	for (d = w->rings; d != NULL && !w->full; d = d->next)
		if (d->orphan) zbz_batch_take(w, &d->ring, true);
	first = d = w->turn != NULL ? w->turn : w->rings;
	while (d != NULL && !w->full) {
		zbz_drained *next = d->next != NULL ? d->next : w->rings;
		w->turn = next;
		zbz_batch_take(w, &d->ring, d->orphan);
		if (next == first) return;
		d = next;
	}
}

/* What a batch still takes is what the owners wake a waiting writer for. */
static void set_early(const zbz_writer *w, uint64_t bytes) {
	for (const zbz_drained *d = w->rings; d != NULL; d = d->next)
		atomic_store_explicit(&d->ring.h->early, bytes, memory_order_relaxed);
}

static bool hurried(const zbz_writer *w) {
	for (const zbz_drained *d = w->rings; d != NULL; d = d->next)
		if (atomic_load(&d->ring.h->hurry) != 0) return true;
	return false;
}

static bool due(const zbz_writer *w) {
	if (w->full || w->urgent || w->batch_wait == 0 || hurried(w) || zbz_writer_stopping(w)) return true;
	return w->filling_since != 0 && zbz_mono_ns() - w->filling_since >= w->batch_wait;
}

/* OK: a batch is ready for the sink; AGAIN: there is nothing, or it may still grow. */
static zbz_status fill(zbz_writer *w, zbz_err *err) {
	const zbz_batch *b = &w->journal->page->batch;
	zbz_status status = ZBZ_OK;
	if (atomic_load(&b->state) == ZBZ_BATCH_FILLED) return ZBZ_OK;
	while (status == ZBZ_OK && atomic_load(&b->state) == ZBZ_BATCH_EMPTY && zbz_spool_any(w->spool))
		status = zbz_spool_read(w, err);
	if (status < 0) zbz_trouble_note(w->trouble, w->trouble->spool, err);
	if (status < 0) return status;
	if (atomic_load(&b->state) == ZBZ_BATCH_EMPTY || zbz_batch_now(b)->kind == ZBZ_FROM_RING) {
		w->full = false;
		gather(w);
		if (atomic_load(&b->state) == ZBZ_BATCH_EMPTY) return ZBZ_AGAIN;
		w->full = w->full || zbz_batch_now(b)->texts >= w->batch_size;
		if (!due(w)) {
			set_early(w, w->batch_size - zbz_batch_now(b)->texts);
			return ZBZ_AGAIN;
		}
		if (w->batch_wait != 0) set_early(w, 0);
	}
	zbz_batch_seal(w);
	return ZBZ_OK;
}

/* The batch that the former writer has left may still be in a ring as well: nothing is written before that is known. */
static zbz_status no_look(const zbz_writer *w, zbz_err *err) {
	zbz_fail(err, ZBZ_E_UNAVAILABLE, "the rings in %.160s cannot be looked at now", w->dir);
	zbz_trouble_note(w->trouble, w->trouble->sink, err);
	return ZBZ_E_UNAVAILABLE;
}

zbz_status zbz_writer_step(zbz_writer *w, zbz_call *c) {
	bool fresh = !w->ready, all = true;
	zbz_status status = ZBZ_OK;
	if (fresh || w->rings_seen != atomic_load(&w->journal->page->rings)) all = zbz_writer_look(w);
	if (fresh && !all) return no_look(w, &c->err);
	if (fresh) {
		/* So may the last chunk of its spool. */
		status = zbz_writer_spool(w, false, &c->err);
		if (status != ZBZ_OK && status != ZBZ_E_LOCKED) return status;
		adopt(w);
		w->ready = true;
	}
	status = fill(w, &c->err);
	if (status < 0) return status;
	if (status == ZBZ_OK) return deliver(w, c);
	if (atomic_load(&w->journal->page->batch.state) == ZBZ_BATCH_EMPTY) level(w);
	if (!w->unsynced || !sync_due(w)) return ZBZ_AGAIN;
	return zbz_writer_sync(w, c);
}

static bool beyond_early(const zbz_writer *w) {
	for (const zbz_drained *d = w->rings; d != NULL; d = d->next)
		if (zbz_drained_bytes(d) > zbz_ring_early(&d->ring)) return true;
	return false;
}

static bool urgent(const zbz_writer *w) {
	for (const zbz_drained *d = w->rings; d != NULL; d = d->next) {
		uint64_t tail, head;
		if (zbz_ring_span(&d->ring, &tail, &head) && tail != head && zbz_ring_urgent(&d->ring, tail)) return true;
	}
	return false;
}

bool zbz_writer_has_work(const zbz_writer *w) {
	uint32_t state = atomic_load(&w->journal->page->batch.state);
	if (state == ZBZ_BATCH_FILLED || w->unsynced || zbz_spool_any(w->spool)) return true;
	if (w->rings_seen != atomic_load(&w->journal->page->rings)) return true;
	if (state == ZBZ_BATCH_EMPTY) return any_records(w);
	return due(w) || beyond_early(w) || urgent(w);
}

int64_t zbz_writer_waits(const zbz_writer *w) {
	int64_t left;
	if (w->filling_since == 0) return -1;
	left = w->filling_since + w->batch_wait - zbz_mono_ns();
	return left > 0 ? left : 0;
}

void zbz_writer_tidy(zbz_writer *w) {
	zbz_err err;
	if (w->dir == NULL || zbz_mono_ns() - w->looked < LOOK_EVERY) return;
	zbz_writer_bury(w);
	zbz_writer_look(w);
	zbz_writer_spool(w, false, &err); /* in case it could not be opened before */
}
