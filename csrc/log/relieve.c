/* When a writer makes use of its spool. */
#include "writer.h"

#define SPOOL_AGAIN INT64_C(1000000000) /* ns: after a write to it has failed */

void zbz_writer_spool_count(const zbz_writer *w) {
	const zbz_spool *s = w->spool;
	bool any = zbz_spool_any(s);
	int64_t since = atomic_load(&w->counts->spooled_at);
	atomic_store(&w->counts->spooled, any ? s->records : 0);
	atomic_store(&w->counts->spooled_bytes, any ? s->bytes : 0);
	if (!any)
		atomic_store(&w->counts->spooled_at, 0);
	else if (s->loaded_head.at != 0)
		atomic_store(&w->counts->spooled_at, (int64_t)s->loaded_head.at);
	else if (since == 0)
		atomic_store(&w->counts->spooled_at, (int64_t)s->newest.at);
}

/* The former writer may have died between a chunk and the move of its ring's tail. */
static void spool_adopt(zbz_writer *w) {
	const zbz_chunk_head *h = &w->spool->newest;
	for (zbz_drained *d = w->rings; d != NULL; d = d->next) {
		if (d->ring.id != h->ring || atomic_load(&d->ring.h->tail) != h->from) continue;
		atomic_store(&d->ring.h->tail, h->to);
		atomic_store(&d->ring.h->hold, ZBZ_HOLD_NONE);
		zbz_ring_tell(d->ring.h);
	}
}

/* A writer without this spool may have taken from it what another one had left on its way. */
static void spool_debt(const zbz_writer *w) {
	const zbz_spool_debt *d = &w->journal->page->debt;
	w->spool->least = (zbz_spool_place){ 0 };
	if (d->spool == w->spool->id && d->check == zbz_debt_check(d)) w->spool->least = d->taken;
}

/* Once it is in the cursor. */
static void spool_settle(const zbz_writer *w) {
	zbz_spool_debt *d = &w->journal->page->debt;
	zbz_err err;
	if (d->spool != w->spool->id || zbz_cursor_write(w->spool, &err) != ZBZ_OK) return;
	*d = (zbz_spool_debt){ 0 };
}

zbz_status zbz_writer_spool(zbz_writer *w, bool make, zbz_err *err) {
	zbz_status status;
	if (w->spool == NULL || zbz_spool_is_open(w->spool)) return ZBZ_OK;
	spool_debt(w);
	status = zbz_spool_open(w->spool, make, &w->counts->set_aside, &w->counts->damaged, err);
	if (status < 0) zbz_trouble_note(w->trouble, w->trouble->spool, err);
	if (status != ZBZ_OK) return status < 0 ? status : ZBZ_OK;
	spool_settle(w);
	spool_adopt(w);
	zbz_writer_spool_count(w);
	return ZBZ_OK;
}

/* A ring whose positions make sense, with enough in it; not before it is known what the former writer has left, in the spool and on its way. */
bool zbz_writer_pressed(const zbz_writer *w) {
	bool all = zbz_writer_stopping(w);
	if (w->spool == NULL || !w->ready || zbz_mono_ns() < w->spool->resume_at) return false;
	for (const zbz_drained *d = w->rings; d != NULL; d = d->next) {
		uint64_t bytes = zbz_drained_bytes(d);
		if (bytes != UINT64_MAX && bytes > (all ? 0 : d->ring.size / 2)) return true;
	}
	return false;
}

void zbz_writer_relieve(zbz_writer *w) {
	zbz_err err;
	zbz_status status;
	if (w->rings_seen != atomic_load(&w->journal->page->rings)) zbz_writer_look(w);
	for (zbz_drained *d = w->rings; d != NULL; d = d->next) zbz_drained_judge(w, d);
	if (!zbz_writer_pressed(w)) return;
	status = zbz_writer_spool(w, true, &err);
	for (zbz_drained *d = w->rings; d != NULL && status == ZBZ_OK; d = d->next) {
		status = zbz_spool_take(w->spool, &d->ring, d->orphan, zbz_wall(w->clock), &w->counts->damaged, &err);
	}
	zbz_writer_spool_count(w);
	if (status < 0) w->spool->resume_at = zbz_mono_ns() + SPOOL_AGAIN;
	zbz_trouble_note(w->trouble, w->trouble->spool, status < 0 ? &err : NULL);
}
