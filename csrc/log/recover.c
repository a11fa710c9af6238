/* What dead processes have left is written without logging anything. */
#include "output.h"

/* Nothing to be looked at, nothing to be made. */
static bool nothing_left(const char *dir) { return access(dir, F_OK) != 0 && errno == ENOENT; }

static zbz_status drain(zbz_writer *w, zbz_call *c) {
	zbz_status status = zbz_writer_open(w, NULL, &c->err);
	while (status == ZBZ_OK && zbz_call_left(c) > 0) status = zbz_writer_step(w, c);
	if (status == ZBZ_OK) status = zbz_fail(&c->err, ZBZ_E_TIMEOUT, "the rings are not empty yet");
	if (status == ZBZ_AGAIN) status = zbz_writer_sync(w, c);
	if (status == ZBZ_OK) zbz_writer_bury(w);
	zbz_writer_close(w);
	return status;
}

zbz_status zbz_recover_rings(zbz_writer *w, zbz_call *c) {
	zbz_trouble trouble = { .sink = "" };
	zbz_visit *visit;
	zbz_status status;
	if (nothing_left(w->dir)) return ZBZ_OK;
	visit = zbz_calloc(1, sizeof *visit);
	if (visit == NULL) return zbz_fail_nomem(&c->err);
	w->journal = &visit->journal;
	w->trouble = &trouble;
	status = zbz_visit_begin(visit, w->dir, &c->err);
	if (status == ZBZ_OK && visit->journal.writing)
		status = drain(w, c); /* else whoever writes is alive, and does it */
	zbz_visit_end(visit, w->dir);
	w->journal = NULL;
	w->trouble = NULL;
	zbz_free(visit);
	return status;
}

zbz_status zbz_output_recover(const zbz_config *cfg, zbz_call *c, uint64_t *records) {
	zbz_writer_counts counts;
	zbz_writer w = { .clock = c->clock, .counts = &counts };
	zbz_stream_setup setup;
	const zbz_stream_options *o;
	zbz_buf identity = { 0 };
	zbz_dead dead;
	char *dir = NULL;
	zbz_status status = zbz_setup_parse(cfg, &w.ops, &setup, &c->err);
	*records = 0;
	if (status != ZBZ_OK) return status;
	o = setup.values;
	memset(&counts, 0, sizeof counts);
	if (!w.ops->terminal) {
		status = zbz_setup_open(w.ops, &setup, c->clock, &w.sink, &identity, &c->err);
		if (status == ZBZ_OK) status = zbz_place_name(o->ring, w.ops->name, zbz_buf_bytes(&identity), &dir, &c->err);
		if (status == ZBZ_OK) {
			dead = (zbz_dead){ o->dead_letter, o->dead_letter_size };
			w.dead = &dead;
			w.dir = dir;
			w.group = o->sync != 0;
			status = zbz_recover_rings(&w, c);
		}
		*records = atomic_load(&counts.recovered);
	}
	if (w.sink != NULL) w.ops->close(w.sink);
	zbz_buf_clear(&identity);
	zbz_setup_clear(&setup);
	zbz_free(dir);
	return status;
}
