/* What dead processes have left is written without opening the output for logging. */
#include "output.h"

#define NS_PER_MS INT64_C(1000000)

typedef struct job {
	const zbz_sink_ops *ops;
	zbz_stream_setup setup;
	void *sink;
	char *dir;
	zbz_journal journal;
	zbz_writer_counts counts;
	zbz_dead dead;
} job;

/* Nothing to be looked at, nothing to be made. */
static bool nothing_left(const char *dir) { return access(dir, F_OK) != 0 && errno == ENOENT; }

static zbz_status prepare(job *j, const zbz_config *cfg, const zbz_clock *clock, zbz_err *err) {
	const zbz_stream_options *o;
	zbz_buf identity = { 0 };
	zbz_status status = zbz_setup_parse(cfg, &j->ops, &j->setup, err);
	if (status != ZBZ_OK) return status;
	if (j->ops->terminal) return ZBZ_END;
	status = zbz_setup_open(j->ops, &j->setup, clock, &j->sink, &identity, err);
	if (status != ZBZ_OK) return status;
	o = j->setup.values;
	j->dead = (zbz_dead){ o->dead_letter, o->dead_letter_size };
	status = zbz_place_name(o->ring, j->ops->name, zbz_buf_bytes(&identity), &j->dir, err);
	zbz_buf_clear(&identity);
	if (status == ZBZ_OK && nothing_left(j->dir)) return ZBZ_END;
	return status == ZBZ_OK ? zbz_place_make(j->dir, err) : status;
}

static zbz_status drain(job *j, zbz_call *c) {
	zbz_writer w = { .ops = j->ops,
		             .sink = j->sink,
		             .clock = c->clock,
		             .dir = j->dir,
		             .journal = &j->journal,
		             .dead = &j->dead,
		             .counts = &j->counts,
		             .group = ((const zbz_stream_options *)j->setup.values)->sync != 0 };
	zbz_status status = zbz_writer_open(&w, NULL, &c->err);
	while (status == ZBZ_OK && zbz_call_left(c) > 0) status = zbz_writer_step(&w, c);
	if (status == ZBZ_AGAIN) status = zbz_writer_sync(&w, c);
	if (status == ZBZ_OK) zbz_writer_bury(&w);
	zbz_writer_close(&w);
	return status;
}

static void clear(job *j) {
	if (j->journal.page != NULL) zbz_journal_close(&j->journal, j->dir);
	if (j->sink != NULL) j->ops->close(j->sink);
	zbz_setup_clear(&j->setup);
	zbz_free(j->dir);
}

/* Under the gate as far as locks are taken and given: a child that is forked meanwhile must not keep one. */
zbz_status zbz_output_recover(const zbz_config *cfg, zbz_call *c, uint64_t *records) {
	job j = { .journal = { .fd = -1, .pipe = -1 } };
	zbz_status status = prepare(&j, cfg, c->clock, &c->err);
	*records = 0;
	if (status == ZBZ_OK) {
		zbz_streams_lock();
		status = zbz_journal_open(j.dir, &j.journal, &c->err);
		/* Who holds it is alive, and does it. */
		if (status == ZBZ_OK) status = zbz_journal_claim(&j.journal, j.dir) ? drain(&j, c) : ZBZ_OK;
		clear(&j);
		zbz_streams_unlock();
		*records = atomic_load(&j.counts.recovered);
	} else {
		clear(&j);
	}
	return status < 0 ? status : ZBZ_OK;
}
