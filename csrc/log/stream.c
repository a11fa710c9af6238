/* The streams of this process: which there are, how they come and end, and what a fork leaves of them. */
#include "stream.h"

#include "base/hash.h"

#include <stdio.h>

enum { PATIENCE_MS = 100 }; /* beyond the linger, for a thread to come out of its sink */

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static zbz_stream *streams;
static zbz_visit *visits;
static zbz_writer *orphans; /* of threads a forked child does not have: never touched, only kept reachable */

void zbz_streams_lock(void) { pthread_mutex_lock(&gate); }
void zbz_streams_unlock(void) { pthread_mutex_unlock(&gate); }

/* ---- forks ---- */

static void shut(int *fd) {
	if (*fd >= 0) close(*fd);
	*fd = -1;
}

/* The mappings do not exist here. The descriptors do, and with them the parent's locks: closed, they are the parent's alone. */
static void forget(zbz_stream *s) {
	shut(&s->ring.fd);
	shut(&s->journal.fd);
	shut(&s->journal.pipe);
	shut(&s->stop_fd);
	s->ring.h = NULL;
	s->journal.page = NULL;
	s->journal.writing = false;
	if (s->writer != NULL) {
		if (s->writer->spool != NULL) zbz_spool_forget(s->writer->spool);
		s->writer->next = orphans;
		orphans = s->writer;
		s->writer = NULL;
	}
	if (s->sink_used) s->sink = NULL; /* in the middle of who knows what */
	s->sink_used = false;
	s->refs = s->handles > 0 ? 1 : 0;
	s->retry_at = 0;
	s->at = NULL;
	zbz_tally_restart(&s->tally);
	memset(&s->trouble, 0, sizeof s->trouble);
	atomic_store(&s->latch.word, 0);
	atomic_store(&s->thread, ZBZ_THREAD_NONE);
	atomic_store(&s->writes, false);
	atomic_store(&s->stop_at, 0);
}

static void in_child(void) {
	for (; visits != NULL; visits = visits->next) { /* by threads that are not here */
		shut(&visits->journal.fd);
		shut(&visits->journal.pipe);
		if (visits->spool != NULL) zbz_spool_forget(visits->spool);
	}
	for (zbz_stream *s = streams; s != NULL; s = s->next) forget(s);
	zbz_streams_unlock();
}

__attribute__((constructor)) static void watch_forks(void) {
	pthread_atfork(zbz_streams_lock, zbz_streams_unlock, in_child);
}

/* ---- visits ---- */

zbz_status zbz_visit_begin(zbz_visit *v, const char *dir, size_t batch, zbz_err *err) {
	zbz_status status;
	zbz_streams_lock();
	status = zbz_journal_open(dir, batch, &v->journal, err);
	if (status == ZBZ_OK) zbz_journal_claim(&v->journal, dir);
	v->next = visits;
	visits = v;
	zbz_streams_unlock();
	return status;
}

void zbz_visit_end(zbz_visit *v, const char *dir) {
	zbz_visit **at = &visits;
	zbz_streams_lock();
	while (*at != v) at = &(*at)->next;
	*at = v->next;
	zbz_journal_close(&v->journal, dir);
	zbz_streams_unlock();
}

/* ---- opening ---- */

void zbz_stream_swap(zbz_stream *s) {
	void *sink = s->sink;
	zbz_stream_setup setup = s->setup;
	if (s->next_sink == NULL) return;
	s->sink = s->next_sink;
	s->next_sink = NULL;
	s->sink_used = false;
	zbz_latch_take(&s->latch); /* whoever asks for numbers reads the options under it */
	s->setup = s->next_setup;
	s->next_setup = (zbz_stream_setup){ NULL, NULL };
	s->dead = (zbz_dead){ zbz_stream_opts(s)->dead_letter, zbz_stream_opts(s)->dead_letter_size };
	zbz_stream_set_wake(s);
	zbz_latch_drop(&s->latch);
	atomic_store(&s->swap, false);
	if (sink != NULL) s->ops->close(sink);
	zbz_setup_clear(&setup);
}

/* Under the gate. */
static zbz_stream *known(const zbz_sink_ops *ops, const char *dir, zbz_bytes identity) {
	for (zbz_stream *s = streams; s != NULL; s = s->next)
		if (s->handles > 0 && s->ops == ops && identity.n > 0 && zbz_bytes_eq(zbz_buf_bytes(&s->identity), identity) &&
		    (dir == NULL) == (s->dir == NULL) && (dir == NULL || strcmp(dir, s->dir) == 0))
			return s;
	return NULL;
}

static void nudge(zbz_stream *s) {
	atomic_fetch_add(&s->nudge, 1);
	zbz_futex_wake(&s->nudge);
	if (s->journal.page != NULL) zbz_journal_ring(s->journal.page, ZBZ_NAPPING);
}

/* The latest options win, and at once: they may be what a failing sink has waited for. */
static void renew(zbz_stream *s, void *sink, zbz_stream_setup *setup) {
	s->handles++;
	if (s->next_sink != NULL) {
		s->ops->close(s->next_sink);
		zbz_setup_clear(&s->next_setup);
	}
	s->next_sink = sink;
	s->next_setup = *setup;
	*setup = (zbz_stream_setup){ NULL, NULL };
	if (atomic_load(&s->thread) != ZBZ_THREAD_RUNS) {
		zbz_stream_swap(s);
		return;
	}
	atomic_store(&s->swap, true);
	nudge(s);
}

static uint64_t account_of(const zbz_stream *s) {
	zbz_bytes what = s->identity.n > 0 ? zbz_buf_bytes(&s->identity) : zbz_bstr(zbz_stream_opts(s)->account);
	uint64_t account = zbz_hash(zbz_bstr(s->ops->name)) * 31 + zbz_hash(what);
	return account > ZBZ_TALLY_VIEWS ? account : ~account;
}

static zbz_stream *make(const zbz_sink_ops *ops, void *sink, zbz_stream_setup *setup, zbz_buf *identity, char *dir,
                        const zbz_clock *clock) {
	zbz_stream *s = zbz_calloc(1, sizeof *s);
	if (s == NULL) return NULL;
	s->handles = s->refs = 1;
	s->ops = ops;
	s->sink = sink;
	s->clock = clock;
	s->setup = *setup;
	s->identity = *identity;
	s->dir = dir;
	s->ring.fd = s->journal.fd = s->journal.pipe = s->stop_fd = -1;
	s->dead = (zbz_dead){ zbz_stream_opts(s)->dead_letter, zbz_stream_opts(s)->dead_letter_size };
	*setup = (zbz_stream_setup){ NULL, NULL };
	*identity = (zbz_buf){ 0 };
	zbz_tally_take(&s->tally, account_of(s));
	s->next = streams;
	streams = s;
	return s;
}

zbz_status zbz_stream_open(const zbz_sink_ops *ops, void *sink, zbz_stream_setup *setup, zbz_buf *identity,
                           const zbz_clock *clock, zbz_stream **out, zbz_err *err) {
	const zbz_stream_options *o = setup->values;
	zbz_writer_counts counts;
	char *dir = NULL, *spool = NULL;
	zbz_status status = ZBZ_OK;
	memset(&counts, 0, sizeof counts);
	if (!ops->terminal) {
		status = zbz_place_name(o->ring, ops->name, zbz_buf_bytes(identity), &dir, err);
		if (status == ZBZ_OK) status = zbz_place_make(dir, err);
		if (status == ZBZ_OK) status = zbz_place_spool(o, ops->name, zbz_buf_bytes(identity), &spool, err);
		if (status == ZBZ_OK && zbz_recover_first(ops, sink, o, dir, spool, clock, &counts)) {
			ops->close(sink); /* its connection would stand idle for as long as another process writes */
			sink = NULL;
			status = ops->open(&sink, (const char *)o + ZBZ_SINK_OPTIONS_AT, clock, err);
		}
	}
	zbz_streams_lock();
	*out = status == ZBZ_OK ? known(ops, dir, zbz_buf_bytes(identity)) : NULL;
	if (*out != NULL) {
		renew(*out, sink, setup);
		sink = NULL;
	} else if (status == ZBZ_OK) {
		*out = make(ops, sink, setup, identity, dir, clock);
		if (*out == NULL)
			status = zbz_fail_nomem(err);
		else
			sink = dir = NULL;
	}
	if (*out != NULL) zbz_tally_add(&(*out)->tally, &counts);
	zbz_streams_unlock();
	if (sink != NULL) ops->close(sink);
	zbz_free(dir);
	zbz_free(spool);
	zbz_setup_clear(setup);
	zbz_buf_clear(identity);
	return status;
}

/* ---- ending ---- */

/* An empty ring leaves nothing behind; what is in one waits for the next who comes. */
static void end_ring(zbz_stream *s) {
	char path[PATH_MAX];
	uint64_t tail, head;
	if (s->dir != NULL && zbz_ring_span(&s->ring, &tail, &head) && tail == head &&
	    snprintf(path, sizeof path, "%s/%s", s->dir, s->ring.name) < (int)sizeof path)
		unlink(path);
	atomic_store(&s->ring.h->closed, 1);
}

static void destroy(zbz_stream *s) {
	if (s->ring.h != NULL) {
		end_ring(s);
		zbz_ring_unmap(&s->ring);
	}
	if (s->journal.page != NULL) zbz_journal_close(&s->journal, s->dir);
	shut(&s->stop_fd);
	zbz_tally_give(&s->tally);
	if (s->next_sink != NULL) s->ops->close(s->next_sink);
	if (s->sink != NULL) s->ops->close(s->sink);
	zbz_setup_clear(&s->next_setup);
	zbz_setup_clear(&s->setup);
	zbz_buf_clear(&s->identity);
	zbz_free(s->dir);
	zbz_free(s->spool_dir);
	zbz_free(s);
}

/* Its descriptors are closed under the gate: no child shall inherit a lock of a stream it does not know. */
static void release(zbz_stream *s) {
	zbz_stream **at = &streams;
	if (--s->refs > 0) return;
	while (*at != s) at = &(*at)->next;
	*at = s->next;
	destroy(s);
}

/* The thread's last act, unless it was given up: whoever waits for it finds it done with everything. */
void zbz_stream_thread_ends(zbz_stream *s) {
	zbz_streams_lock();
	if (s->refs > 1) {
		atomic_store(&s->thread, ZBZ_THREAD_ENDED);
		atomic_store(&s->ended, 1);
		zbz_futex_wake(&s->ended);
	}
	release(s);
	zbz_streams_unlock();
}

void zbz_stream_nudge(zbz_stream *s) {
	uint64_t one = 1;
	zbz_streams_lock();
	nudge(s);
	if (s->stop_fd >= 0 && atomic_load(&s->stop_at) != 0 && write(s->stop_fd, &one, sizeof one) < 0) {}
	zbz_streams_unlock();
}

static void stop(zbz_stream *s) {
	int64_t end;
	zbz_streams_lock();
	end = zbz_mono_ns() + zbz_stream_opts(s)->linger * ZBZ_NS_PER_MS;
	zbz_streams_unlock();
	atomic_store(&s->stop_at, end);
	zbz_stream_nudge(s);
}

static int64_t patience_left(zbz_stream *s) {
	return atomic_load(&s->stop_at) + PATIENCE_MS * ZBZ_NS_PER_MS - zbz_mono_ns();
}

static void await_end(zbz_stream *s) {
	int64_t left;
	while (atomic_load(&s->thread) == ZBZ_THREAD_RUNS && (left = patience_left(s)) > 0)
		zbz_futex_wait(&s->ended, 0, left);
}

bool zbz_stream_leave(zbz_stream *s) {
	bool last;
	zbz_streams_lock();
	last = --s->handles == 0;
	zbz_streams_unlock();
	if (last) stop(s);
	return last;
}

void zbz_stream_close(zbz_stream *s, bool wait) {
	if (wait) await_end(s);
	zbz_streams_lock();
	release(s);
	zbz_streams_unlock();
}

/* The end of a process that has not closed its outputs. */
static zbz_stream *unstopped(void) {
	zbz_stream *s;
	zbz_streams_lock();
	for (s = streams; s != NULL; s = s->next)
		if (s->handles > 0 && atomic_load(&s->thread) == ZBZ_THREAD_RUNS && atomic_load(&s->stop_at) == 0) break;
	zbz_streams_unlock();
	return s;
}

/* One that was closed without a wait, and is not done yet; to be closed once more. */
static zbz_stream *leaving(void) {
	zbz_stream *s;
	zbz_streams_lock();
	for (s = streams; s != NULL; s = s->next)
		if (s->handles == 0 && atomic_load(&s->thread) == ZBZ_THREAD_RUNS && patience_left(s) > 0) break;
	if (s != NULL) s->refs++;
	zbz_streams_unlock();
	return s;
}

/* Other threads may still log: they find no ring, and the mappings stay. */
static void leave(zbz_stream *s) {
	zbz_latch_take(&s->latch);
	end_ring(s);
	s->ring.h = NULL;
	zbz_latch_drop(&s->latch);
	if (s->dir != NULL) zbz_journal_leave(&s->journal, s->dir);
}

__attribute__((destructor)) static void at_exit(void) {
	zbz_stream *s;
	while ((s = leaving()) != NULL) zbz_stream_close(s, true);
	while ((s = unstopped()) != NULL) {
		stop(s);
		await_end(s);
		zbz_streams_lock();
		if (atomic_load(&s->thread) == ZBZ_THREAD_ENDED) leave(s);
		zbz_streams_unlock();
	}
}
