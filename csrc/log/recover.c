/* What dead processes have left is written without logging anything. */
#include "output.h"

enum { FIRST_MS = 1000 }; /* how long an open may recover */

/* Nothing to be looked at, nothing to be made. */
static bool nothing_left(const char *dir) { return access(dir, F_OK) != 0 && errno == ENOENT; }

void zbz_writer_set(zbz_writer *w, const zbz_stream_options *o) {
	w->group = o->sync != 0;
	w->batch_size = (size_t)o->batch_size;
	w->batch_wait = o->batch_wait * ZBZ_NS_PER_MS;
	w->retry_for = o->retry_timeout;
}

static zbz_status drain(zbz_writer *w, zbz_call *c) {
	zbz_status status = zbz_writer_open(w, NULL, &c->err);
	w->batch_wait = 0;
	while (status == ZBZ_OK && zbz_call_left(c) > 0) status = zbz_writer_step(w, c);
	if (status == ZBZ_OK) status = zbz_fail(&c->err, ZBZ_E_TIMEOUT, "the rings are not empty yet");
	if (status == ZBZ_AGAIN) status = zbz_writer_sync(w, c);
	if (status == ZBZ_OK) zbz_writer_bury(w);
	zbz_writer_close(w);
	return status;
}

zbz_status zbz_recover_rings(zbz_writer *w, const char *spool_dir, zbz_call *c) {
	zbz_trouble trouble = { .sink = "" };
	zbz_visit *visit;
	zbz_status status;
	bool spool = spool_dir != NULL && !nothing_left(spool_dir);
	if (nothing_left(w->dir) && !spool) return ZBZ_OK;
	visit = zbz_calloc(1, sizeof *visit);
	if (visit == NULL) return zbz_fail_nomem(&c->err);
	if (spool) visit->spool = zbz_spool_new(spool_dir, INT64_MAX);
	w->journal = &visit->journal;
	w->spool = visit->spool;
	w->trouble = &trouble;
	status = spool && w->spool == NULL ? zbz_fail_nomem(&c->err) : zbz_place_make(w->dir, &c->err);
	if (status == ZBZ_OK) {
		status = zbz_visit_begin(visit, w->dir, w->batch_size, &c->err);
		if (status == ZBZ_OK && visit->journal.writing)
			status = drain(w, c); /* else whoever writes is alive, and does it */
		zbz_spool_close(w->spool);
		zbz_visit_end(visit, w->dir);
	}
	zbz_spool_free(w->spool);
	w->journal = NULL;
	w->spool = NULL;
	w->trouble = NULL;
	zbz_free(visit);
	return status;
}

bool zbz_recover_first(const zbz_sink_ops *ops, void *sink, const zbz_stream_options *o, const char *dir,
                       const char *spool, const zbz_clock *clock, zbz_writer_counts *counts) {
	zbz_dead dead = { o->dead_letter, o->dead_letter_size };
	zbz_writer w = { .ops = ops, .sink = sink, .clock = clock, .dir = dir, .dead = &dead, .counts = counts };
	zbz_call c = { .clock = clock, .now = zbz_wall(clock), .deadline = zbz_mono(clock) + FIRST_MS };
	bool used;
	zbz_writer_set(&w, o);
	zbz_recover_rings(&w, spool, &c);
	used = atomic_load(&counts->written) + atomic_load(&counts->dead_letters) + atomic_load(&counts->failures) > 0;
	/* What is of now, not of ever, is found again by the writer. */
	atomic_store(&counts->failures, 0);
	atomic_store(&counts->spooled, 0);
	atomic_store(&counts->spooled_bytes, 0);
	atomic_store(&counts->spooled_at, 0);
	return used;
}

zbz_status zbz_output_recover(const zbz_config *cfg, zbz_call *c, uint64_t *records) {
	zbz_writer_counts counts;
	zbz_writer w = { .clock = c->clock, .counts = &counts };
	zbz_stream_setup setup;
	const zbz_stream_options *o;
	zbz_buf identity = { 0 };
	zbz_dead dead;
	char *dir = NULL, *spool = NULL;
	zbz_status status = zbz_setup_parse(cfg, &w.ops, &setup, &c->err);
	*records = 0;
	if (status != ZBZ_OK) return status;
	o = setup.values;
	memset(&counts, 0, sizeof counts);
	if (!w.ops->terminal) {
		status = zbz_setup_open(w.ops, &setup, c->clock, &w.sink, &identity, &c->err);
		if (status == ZBZ_OK) status = zbz_place_name(o->ring, w.ops->name, zbz_buf_bytes(&identity), &dir, &c->err);
		if (status == ZBZ_OK) status = zbz_place_spool(o, w.ops->name, zbz_buf_bytes(&identity), &spool, &c->err);
		if (status == ZBZ_OK) {
			dead = (zbz_dead){ o->dead_letter, o->dead_letter_size };
			w.dead = &dead;
			w.dir = dir;
			zbz_writer_set(&w, o);
			status = zbz_recover_rings(&w, spool, c);
		}
		*records = atomic_load(&counts.recovered);
	}
	if (w.sink != NULL) w.ops->close(w.sink);
	zbz_buf_clear(&identity);
	zbz_setup_clear(&setup);
	zbz_free(dir);
	zbz_free(spool);
	return status;
}
