/* Asking an output: flush, reopen, numbers, what it holds. */
#include "output.h"

static int64_t until_of(const zbz_call *c) {
	int64_t left = zbz_call_left(c);
	return left > INT64_MAX / (2 * ZBZ_NS_PER_MS) ? ZBZ_NEVER : zbz_mono_ns() + left * ZBZ_NS_PER_MS;
}

static zbz_status too_late(zbz_call *c, const char *what) {
	return zbz_fail(&c->err, ZBZ_E_TIMEOUT, "the output did not %s within the deadline", what);
}

static zbz_status await_taken(zbz_stream *s, zbz_ring_head *h, uint64_t goal, zbz_call *c) {
	int64_t until = until_of(c);
	zbz_status status = ZBZ_OK;
	atomic_fetch_add(&h->waiting, 1);
	atomic_fetch_add(&h->hurry, 1);
	zbz_stream_nudge(s);
	while (status == ZBZ_OK) {
		uint32_t moved = atomic_load(&h->moved);
		int64_t left = until == ZBZ_NEVER ? -1 : until - zbz_mono_ns();
		if ((int64_t)(atomic_load(&h->taken) - goal) >= 0) break;
		if (until != ZBZ_NEVER && left <= 0)
			status = too_late(c, "take all records");
		else
			zbz_futex_wait(&h->moved, moved, left);
	}
	atomic_fetch_sub(&h->hurry, 1);
	atomic_fetch_sub(&h->waiting, 1);
	return status;
}

/* A second time when there was no room to tell of losses before. */
zbz_status zbz_output_flush(zbz_output *o, zbz_call *c) {
	zbz_stream *s = o->stream;
	zbz_status status = ZBZ_OK;
	bool untold = true;
	for (int i = 0; i < 2 && untold && status == ZBZ_OK; i++) {
		zbz_ring_head *h;
		uint64_t goal;
		zbz_latch_take(&s->latch);
		zbz_output_report(o);
		untold = o->lost > 0;
		h = s->ring.h;
		goal = s->head;
		zbz_latch_drop(&s->latch);
		if (h == NULL) return ZBZ_OK;
		zbz_stream_start(s); /* the thread, if there was none to be had before */
		status = await_taken(s, h, goal, c);
	}
	return status;
}

zbz_status zbz_output_reopen(zbz_output *o, zbz_call *c) {
	zbz_stream *s = o->stream;
	int64_t until = until_of(c);
	uint32_t want, done;
	/* Who does not write has nothing open; the one who does sees for itself that its file was moved. */
	if (s->ops->reopen == NULL || !atomic_load(&s->writes)) return ZBZ_OK;
	want = atomic_fetch_add(&s->reopen_want, 1) + 1;
	zbz_stream_nudge(s);
	while ((int32_t)((done = atomic_load(&s->reopen_done)) - want) < 0) {
		int64_t left = until == ZBZ_NEVER ? -1 : until - zbz_mono_ns();
		if (until != ZBZ_NEVER && left <= 0) return too_late(c, "reopen its file");
		if (!atomic_load(&s->writes)) break;
		zbz_futex_wait(&s->reopen_done, done, left);
	}
	return ZBZ_OK;
}

/* What the policy has dropped is not behind: no more is than the ring holds and a batch that has left it. */
static size_t lag_of(zbz_stream *s) {
	uint64_t behind = s->head - atomic_load(&s->ring.h->taken);
	uint64_t held = s->head - atomic_load(&s->ring.h->tail) + (uint64_t)zbz_stream_opts(s)->batch_size;
	return (size_t)(behind < held ? behind : held);
}

static void read_gauges(const zbz_writer_counts *n, int64_t now, zbz_output_stats *out) {
	int64_t spooled_at = atomic_load(&n->spooled_at);
	out->failures = atomic_load(&n->failures);
	out->spooled = atomic_load(&n->spooled);
	out->spooled_bytes = atomic_load(&n->spooled_bytes);
	out->spool_age = spooled_at > 0 && now > spooled_at ? now - spooled_at : 0;
}

/* base: a hold of *t that says what to leave out; NULL: nothing. */
static void read_counters(const zbz_tally *t, const zbz_tally_hold *base, zbz_output_stats *out) {
	const zbz_writer_counts *n = &t->counts;
	struct {
		const _Atomic uint64_t *from;
		uint64_t *to;
	} all[] = {
		{ &t->bytes, &out->bytes },
		{ &t->dropped_full, &out->dropped_full },
		{ &t->dropped_large, &out->dropped_large },
		{ &t->dropped_closed, &out->dropped_closed },
		{ &n->written, &out->written },
		{ &n->written_bytes, &out->written_bytes },
		{ &n->retries, &out->retries },
		{ &n->dead_letters, &out->dead_letters },
		{ &n->dead_letters_lost, &out->dead_letters_lost },
		{ &n->recovered, &out->recovered },
		{ &n->syncs, &out->syncs },
		{ &n->damaged, &out->damaged },
		{ &n->set_aside, &out->set_aside },
	};
	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		*all[i].to = base != NULL ? zbz_tally_mine(base, all[i].from) : atomic_load(all[i].from);
	for (size_t i = 0; i < ZBZ_LEVEL_OFF; i++) {
		out->levels[i] = base != NULL ? zbz_tally_mine(base, &t->levels[i]) : atomic_load(&t->levels[i]);
		out->records += out->levels[i];
	}
}

void zbz_output_stats_read(zbz_output *o, zbz_output_stats *out) {
	zbz_stream *s = o->stream;
	*out = (zbz_output_stats){ 0 };
	zbz_latch_take(&s->latch);
	read_counters(s->tally.at, &s->tally, out);
	out->batch_size = (uint64_t)zbz_stream_opts(s)->batch_size;
	if (s->ring.h != NULL) {
		const uint64_t most = s->journal.room - ZBZ_RING_RECORD_MAX;
		out->lag = lag_of(s);
		out->ring_size = s->ring.size;
		if (out->batch_size > most) out->batch_size = most;
	}
	zbz_latch_drop(&s->latch);
	out->writer = atomic_load(&s->writes);
	read_gauges(&s->tally.at->counts, zbz_wall(s->clock), out);
	zbz_latch_take(&s->trouble.latch);
	memcpy(out->last_error, s->trouble.sink, sizeof out->last_error);
	memcpy(out->spool_error, s->trouble.spool, sizeof out->spool_error);
	zbz_latch_drop(&s->trouble.latch);
}

uint64_t zbz_output_account(const zbz_output *o) { return o->stream->tally.account; }

void zbz_account_read(uint64_t account, zbz_output_stats *out) {
	zbz_tally sum;
	struct timespec now;
	*out = (zbz_output_stats){ 0 };
	zbz_tally_sum(account, &sum);
	clock_gettime(CLOCK_REALTIME, &now);
	read_counters(&sum, NULL, out);
	read_gauges(&sum.counts, (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000, out);
}

zbz_status zbz_output_read(zbz_output *o, zbz_call *c, bool clear, zbz_buf *out) {
	zbz_stream *s = o->stream;
	zbz_status status;
	if (s->ops->read == NULL)
		return zbz_fail(&c->err, ZBZ_E_UNSUPPORTED, "an output of type %s cannot be read", s->ops->name);
	status = zbz_output_flush(o, c);
	if (status != ZBZ_OK) return status;
	zbz_streams_lock();
	status = s->sink != NULL ? s->ops->read(s->sink, c, clear, out) : ZBZ_OK;
	zbz_streams_unlock();
	return status;
}
