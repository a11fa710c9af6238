/* The thread behind an output: it waits for its turn among the processes, then writes until it is told to stop. */
#include "stream.h"

#include "base/random.h"
#include "base/signals.h"

#define STACK_SIZE ((size_t)1 << 20)
#define NAP_NS     INT64_C(200000)
#define SLEEP_NS   INT64_C(2000000000)

#define SPOOL_LOOK_NS INT64_C(1000000000)

enum { NAPS = 10, FIRST_DELAY_MS = 20, CALL_MS = 10000 };

static bool own_empty(const zbz_stream *s) { return atomic_load(&s->ring.h->taken) == atomic_load(&s->ring.h->head); }

/* ---- resting ---- */

/* While the writer naps, records cost their callers nothing; after some naps without any it sleeps, and the next one wakes it. */
static void rest(zbz_stream *s, const zbz_writer *w, unsigned *naps) {
	zbz_futex *sleeper = &s->journal.page->sleeper;
	int64_t waits = zbz_writer_waits(w), nap = NAP_NS;
	uint32_t depth = ++*naps <= NAPS || w->unsynced || waits >= 0 ? ZBZ_NAPPING : ZBZ_ASLEEP;
	if (depth == ZBZ_ASLEEP) nap = SLEEP_NS;
	if (waits >= 0 && !w->unsynced) nap = waits < SLEEP_NS ? waits : SLEEP_NS;
	atomic_exchange(sleeper, depth);
	if (!zbz_writer_has_work(w) && atomic_load(&s->stop_at) == 0 && !atomic_load(&s->swap) &&
	    atomic_load(&s->reopen_want) == atomic_load(&s->reopen_done))
		zbz_futex_wait(sleeper, depth, nap);
	else if (w->unsynced)
		zbz_futex_wait(sleeper, depth, NAP_NS);
	atomic_store(sleeper, ZBZ_AWAKE);
}

/* Until a nudge, or for a ring that is half full and can go to the spool meanwhile. */
static void wait_out(zbz_stream *s, zbz_writer *w, uint32_t nudge, int64_t until) {
	int64_t left;
	while (atomic_load(&s->nudge) == nudge && (left = until - zbz_mono_ns()) > 0) {
		zbz_futex *sleeper = &s->journal.page->sleeper;
		if (w == NULL || w->spool == NULL) {
			zbz_futex_wait(&s->nudge, nudge, left);
			continue;
		}
		zbz_writer_relieve(w);
		if (left > SPOOL_LOOK_NS) left = SPOOL_LOOK_NS;
		atomic_exchange(sleeper, ZBZ_NAPPING);
		if (atomic_load(&s->nudge) == nudge && !zbz_writer_pressed(w)) zbz_futex_wait(sleeper, ZBZ_NAPPING, left);
		atomic_store(sleeper, ZBZ_AWAKE);
	}
}

/* Doubling from attempt to attempt, and never the same for two processes that fail together. w NULL: not the sink has failed. */
static void back_off(zbz_stream *s, zbz_writer *w) {
	int64_t most = zbz_stream_opts(s)->max_retry_delay, delay = FIRST_DELAY_MS, stop_at;
	uint32_t nudge = atomic_load(&s->nudge), dice = 0;
	uint64_t failures = atomic_load(&s->tally.at->counts.failures);
	while (w != NULL && failures-- > 1 && delay < most) delay *= 2;
	if (delay > most) delay = most;
	zbz_random(&dice, sizeof dice, NULL);
	delay = delay * ZBZ_NS_PER_MS / 2 + delay * ZBZ_NS_PER_MS / 2 / 1000 * (dice % 1001);
	stop_at = atomic_load(&s->stop_at);
	if (stop_at != 0 && zbz_mono_ns() + delay > stop_at) delay = stop_at - zbz_mono_ns();
	if (delay > 0) wait_out(s, w, nudge, zbz_mono_ns() + delay);
}

/* ---- writing ---- */

static zbz_call call_of(const zbz_stream *s) {
	zbz_call c = { .clock = s->clock, .now = zbz_wall(s->clock) };
	c.deadline = zbz_mono(s->clock) + CALL_MS;
	return c;
}

/* Under the gate. The room of the journal is that of whoever made it. */
static void set(zbz_stream *s, zbz_writer *w) {
	size_t most = s->journal.room - ZBZ_RING_RECORD_MAX;
	zbz_writer_set(w, zbz_stream_opts(s));
	if (w->batch_size > most) w->batch_size = most;
	if (w->spool != NULL) w->spool->most = (uint64_t)zbz_stream_opts(s)->spool_size;
}

static bool same_spool(const zbz_stream *s, const zbz_writer *w) {
	if (w->spool == NULL || s->spool_dir == NULL) return w->spool == NULL && s->spool_dir == NULL;
	return strcmp(w->spool->dir, s->spool_dir) == 0;
}

static bool reads_spool(const zbz_writer *w) {
	const zbz_batch *b = &w->journal->page->batch;
	bool on_its_way = atomic_load(&b->state) != ZBZ_BATCH_EMPTY && zbz_batch_now(b)->kind == ZBZ_FROM_SPOOL;
	return on_its_way || zbz_spool_any(w->spool);
}

/* To the spool of the latest options. The one before is used until it is empty: its records are the older ones. */
static void turn_spool(zbz_stream *s, zbz_writer *w) {
	zbz_spool *old = w->spool, *made = NULL;
	zbz_err err;
	if (!same_spool(s, w)) {
		if (!w->ready || reads_spool(w)) return;
		if (s->spool_dir != NULL) made = zbz_spool_new(s->spool_dir, zbz_stream_opts(s)->spool_size);
		if (s->spool_dir != NULL && made == NULL) return;
		zbz_spool_close(old);
		zbz_streams_lock();
		w->spool = made;
		if (made != NULL && w->courier == NULL) w->courier = zbz_courier_new();
		zbz_streams_unlock();
		zbz_spool_free(old);
		zbz_writer_spool(w, false, &err);
		zbz_writer_spool_count(w);
	}
	s->spool_turn = false;
}

/* What others have asked for, between two steps. */
static void tend(zbz_stream *s, zbz_writer *w) {
	uint32_t want = atomic_load(&s->reopen_want);
	if (atomic_load(&s->swap)) {
		zbz_streams_lock();
		zbz_stream_swap(s);
		s->sink_used = true;
		w->sink = s->sink;
		set(s, w);
		zbz_stream_spool(s);
		s->spool_turn = true;
		zbz_streams_unlock();
	}
	if (s->spool_turn) turn_spool(s, w);
	if (want != atomic_load(&s->reopen_done)) {
		zbz_call c = call_of(s);
		if (s->ops->reopen != NULL) s->ops->reopen(w->sink, &c);
		atomic_store(&s->reopen_done, want);
		zbz_futex_wake(&s->reopen_done);
	}
}

static bool over(const zbz_stream *s, const zbz_writer *w) {
	int64_t stop_at = atomic_load(&s->stop_at);
	if (stop_at == 0) return false;
	if (zbz_mono_ns() >= stop_at) return true;
	return own_empty(s) && !w->unsynced && atomic_load(&s->journal.page->batch.state) == ZBZ_BATCH_EMPTY;
}

static void write_on(zbz_stream *s, zbz_writer *w) {
	unsigned naps = 0;
	while (!over(s, w)) {
		zbz_call c = call_of(s);
		zbz_status status;
		tend(s, w);
		status = zbz_writer_step(w, &c);
		if (status == ZBZ_OK) {
			naps = 0;
		} else if (status == ZBZ_AGAIN) {
			if (atomic_load(&s->unreported) != 0) zbz_stream_report(s);
			zbz_writer_tidy(w);
			rest(s, w, &naps);
		} else {
			back_off(s, w);
		}
	}
}

/* A spool calls for a courier; without the memory for either, the writer goes on as if there were none. */
static void begin(zbz_stream *s, zbz_writer *w) {
	zbz_spool *spool = s->spool_dir != NULL ? zbz_spool_new(s->spool_dir, zbz_stream_opts(s)->spool_size) : NULL;
	zbz_streams_lock();
	*w = (zbz_writer){ .ops = s->ops,
		               .sink = s->sink,
		               .clock = s->clock,
		               .dir = s->dir,
		               .journal = &s->journal,
		               .dead = &s->dead,
		               .counts = &s->tally.at->counts,
		               .trouble = &s->trouble,
		               .spool = spool,
		               .courier = spool != NULL ? zbz_courier_new() : NULL,
		               .stop_at = &s->stop_at };
	set(s, w);
	s->sink_used = true;
	s->writer = w;
	zbz_streams_unlock();
}

/* Comes back when it is to stop, or after a while without the memory it needs. */
static void serve(zbz_stream *s) {
	zbz_writer *w = zbz_calloc(1, sizeof *w);
	bool ready = false;
	if (w != NULL) {
		begin(s, w);
		ready = zbz_writer_open(w, &s->ring, NULL) == ZBZ_OK;
	}
	if (ready) {
		atomic_store(&s->writes, true);
		write_on(s, w);
		if (atomic_load(&s->stop_at) != 0) zbz_writer_relieve(w);
		zbz_writer_bury(w);
		atomic_store(&s->writes, false);
	} else {
		back_off(s, NULL);
	}
	if (w == NULL) return;
	zbz_courier_free(w->courier);
	zbz_spool_close(w->spool); /* while a fork can still find it */
	zbz_streams_lock();
	zbz_writer_close(w);
	s->writer = NULL;
	zbz_streams_unlock();
	zbz_spool_free(w->spool);
	zbz_free(w);
}

/* ---- the turn ---- */

/* One of the processes writes for all; false: this one is to stop before its turn has come. */
static bool await_turn(zbz_stream *s) {
	for (;;) {
		int64_t stop_at = atomic_load(&s->stop_at);
		bool mine;
		zbz_streams_lock();
		mine = zbz_journal_claim(&s->journal, s->dir);
		zbz_streams_unlock();
		if (mine) return true;
		if (stop_at == 0) {
			zbz_journal_wait(&s->journal, s->dir, s->stop_fd);
			continue;
		}
		if (own_empty(s) || zbz_mono_ns() >= stop_at) return false;
		zbz_futex_wait(&s->nudge, atomic_load(&s->nudge), ZBZ_NS_PER_MS); /* the other one drains our ring */
	}
}

static void *run(void *arg) {
	zbz_stream *s = arg;
	pthread_setname_np(pthread_self(), "zbz-log");
	zbz_ring_warm(&s->ring);
	while (await_turn(s)) {
		int64_t stop_at;
		serve(s);
		stop_at = atomic_load(&s->stop_at);
		if (stop_at != 0 && (own_empty(s) || zbz_mono_ns() >= stop_at)) break;
	}
	zbz_stream_thread_ends(s);
	return NULL;
}

bool zbz_thread_start(zbz_stream *s) {
	sigset_t block, before;
	pthread_attr_t attr;
	pthread_t id;
	int problem;
	zbz_signals_of_threads(&block);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	atomic_store(&s->thread, ZBZ_THREAD_RUNS);
	atomic_store(&s->ended, 0);
	s->refs++;
	pthread_sigmask(SIG_SETMASK, &block, &before); /* inherited, so there is no moment without it */
	problem = pthread_create(&id, &attr, run, s);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	if (problem == 0) return true;
	s->refs--;
	atomic_store(&s->thread, ZBZ_THREAD_NONE);
	return false;
}
