/* A thread that calls the sink for the writer, so that the writer can move records to the spool while the sink hangs. It does one call at a
 * time, and the writer waits for each: the sink sees no difference but the thread's number. */
#include "writer.h"

#include "base/signals.h"

#include <pthread.h>

#define PATIENCE   INT64_C(100000000) /* ns: a sink that takes longer may be hanging */
#define LOOK_EVERY INT64_C(1000000000)

enum { STACK_SIZE = 1 << 20 };
enum { IDLE, ON_ITS_WAY, QUIT };

struct zbz_courier {
	zbz_futex state;
	bool started;
	pthread_t id;
	zbz_writer *w;
	zbz_call call;
	zbz_status status;
};

zbz_courier *zbz_courier_new(void) { return zbz_calloc(1, sizeof(zbz_courier)); }

void zbz_courier_free(zbz_courier *k) {
	if (k == NULL) return;
	atomic_store(&k->state, QUIT);
	zbz_futex_wake(&k->state);
	if (k->started) pthread_join(k->id, NULL);
	zbz_free(k);
}

static void *run(void *arg) {
	zbz_courier *k = arg;
	uint32_t state;
	pthread_setname_np(pthread_self(), "zbz-log-sink");
	while ((state = atomic_load(&k->state)) != QUIT) {
		if (state == IDLE) {
			zbz_futex_wait(&k->state, IDLE, -1);
			continue;
		}
		k->status = zbz_batch_deliver(k->w, &k->call);
		atomic_store(&k->state, IDLE);
		zbz_futex_wake(&k->state);
		zbz_journal_ring(k->w->journal->page, ZBZ_NAPPING);
	}
	return NULL;
}

static bool start(zbz_courier *k, zbz_writer *w) {
	sigset_t block, before;
	pthread_attr_t attr;
	if (k->started) return true;
	k->w = w;
	zbz_signals_of_threads(&block);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	pthread_sigmask(SIG_SETMASK, &block, &before);
	k->started = pthread_create(&k->id, &attr, run, k) == 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	return k->started;
}

/* Until the sink answers, or a ring is half full. */
static void nap(const zbz_courier *k, const zbz_writer *w) {
	zbz_futex *sleeper = &w->journal->page->sleeper;
	atomic_exchange(sleeper, ZBZ_NAPPING);
	if (atomic_load(&k->state) == ON_ITS_WAY && !zbz_writer_pressed(w))
		zbz_futex_wait(sleeper, ZBZ_NAPPING, LOOK_EVERY);
	atomic_store(sleeper, ZBZ_AWAKE);
}

zbz_status zbz_courier_deliver(zbz_writer *w, zbz_call *c) {
	zbz_courier *k = w->courier;
	int64_t left, hangs_at = zbz_mono_ns() + (w->failing ? 0 : PATIENCE);
	if (!start(k, w)) return zbz_batch_deliver(w, c);
	k->call = *c;
	atomic_store(&k->state, ON_ITS_WAY);
	zbz_futex_wake(&k->state);
	while (atomic_load(&k->state) == ON_ITS_WAY) {
		left = hangs_at - zbz_mono_ns();
		if (left > 0) {
			zbz_futex_wait(&k->state, ON_ITS_WAY, left);
			continue;
		}
		zbz_writer_relieve(w);
		nap(k, w);
	}
	*c = k->call;
	return k->status;
}
