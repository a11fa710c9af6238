/* The pool of threads that do the blocking work. Threads start when jobs wait for them, and stay until the process ends. */
#include "pool.h"

#include "base/signals.h"
#include "base/until.h"

#include <errno.h>
#include <stdint.h>

#include <zbz/alloc.h>

#define THREADS_MAX      64
#define THREADS_DEFAULT  4
#define STACK_SIZE       ((size_t)1 << 20)
#define EXIT_PATIENCE_MS 200 /* for running jobs at the end of the process */
#define WATCH_NS         1000000L

static struct pool {
	pthread_mutex_t lock;
	pthread_cond_t work, gone;
	zbz_queue jobs;
	unsigned want, started, live, idle;
	bool begun, stopping;
	bool called, watched; /* an idle thread will soon look after jobs that wait for their kin; does so */
	uint64_t last_ticket;
	struct {
		pthread_t id;
		zbz_job *job; /* it runs this one now, and those linked to it */
		bool ended;
	} threads[THREADS_MAX];
	zbz_job *orphans; /* the parent's jobs, seen from a child: never touched, only kept reachable */
} pool = { .lock = PTHREAD_MUTEX_INITIALIZER, .want = THREADS_DEFAULT };

void zbz_engine_enter(void) { pthread_mutex_lock(&pool.lock); }
void zbz_engine_leave(void) { pthread_mutex_unlock(&pool.lock); }
pthread_mutex_t *zbz_engine_mutex(void) { return &pool.lock; }

/* The child has none of the parent's threads and does none of its work; what its jobs hold may be half-done, so they are let lie. */
static void begin_anew(void) {
	zbz_kin_forget(&pool.jobs);
	zbz_row_forget(&pool.jobs);
	for (unsigned i = 0; i < pool.started; i++) {
		zbz_job *job = pool.threads[i].job, *next;
		pool.threads[i].job = NULL;
		for (; job != NULL; job = next) {
			next = job->next;
			zbz_queue_push(&pool.jobs, job);
		}
	}
	if (pool.jobs.tail != NULL) {
		pool.jobs.tail->next = pool.orphans;
		pool.orphans = pool.jobs.head;
	}
	pool.jobs = (zbz_queue){ NULL, NULL, 0 };
	pool.called = pool.watched = false;
	pool.started = pool.live = pool.idle = 0;
	pool.begun = false;
	zbz_cond_init_mono(&pool.work); /* those who waited are not here */
	zbz_cond_init_mono(&pool.gone);
	zbz_engine_leave();
}

__attribute__((constructor)) static void prepare(void) {
	zbz_cond_init_mono(&pool.work);
	zbz_cond_init_mono(&pool.gone);
	pthread_atfork(zbz_engine_enter, zbz_engine_leave, begin_anew);
}

/* ---- threads ---- */

static void *work(void *arg);

static int start_thread(void) {
	sigset_t block, before;
	pthread_attr_t attr;
	int problem;
	size_t slot = pool.started;
	zbz_signals_of_threads(&block);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	pthread_sigmask(SIG_SETMASK, &block, &before); /* inherited, so there is no moment without it */
	pool.threads[slot].ended = false;
	problem = pthread_create(&pool.threads[slot].id, &attr, work, (void *)(uintptr_t)slot);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	if (problem != 0) return problem;
	pthread_setname_np(pool.threads[slot].id, "zbz-pool");
	pool.started++;
	pool.live++;
	return 0;
}

/* There is an idle thread that is not spoken for, or there are enough. */
static int want_thread(size_t needed) { return pool.idle <= needed && pool.started < pool.want ? start_thread() : 0; }

/* Somebody has to look after what waits. Without a thread to spare its leader comes back in the end. */
static void call_watch(void) {
	if (pool.watched || pool.called) return;
	pool.called = true;
	want_thread(pool.jobs.n);
	pthread_cond_signal(&pool.work);
}

/* Each with a thread, if there is one to be had; those that run look for them in any case. */
static void let_go_on(zbz_queue *jobs) {
	while (jobs->n > 0) {
		want_thread(pool.jobs.n);
		zbz_queue_push(&pool.jobs, zbz_queue_pop(jobs));
		pthread_cond_signal(&pool.work);
	}
}

static void leave_row(const zbz_job *job) {
	zbz_queue next = { NULL, NULL, 0 };
	if (job->row == NULL) return;
	zbz_row_leave(job, &next);
	let_go_on(&next);
}

static void hand_over(zbz_job *job) {
	zbz_mailbox *mb = job->mailbox, *last;
	bool unwanted = mb == NULL || zbz_mailbox_deliver(job);
	last = mb != NULL ? zbz_mailbox_let_go(mb) : NULL;
	if (!unwanted && last == NULL) return;
	zbz_engine_leave();
	if (unwanted) job->drop(job);
	zbz_mailbox_destroy(last);
	zbz_engine_enter();
}

static void run_one(size_t me, zbz_job *job) {
	pool.threads[me].job = job;
	zbz_engine_leave();
	job->run(job);
	zbz_engine_enter();
	pool.threads[me].job = NULL;
	leave_row(job);
	hand_over(job);
}

static void run_alone(zbz_job *job) {
	job->alone = false;
	job->kin = NULL;
	want_thread(pool.jobs.n);
	zbz_queue_push(&pool.jobs, job);
	pthread_cond_signal(&pool.work);
}

/* Until none of the kin waits any more. */
static void run_kin(size_t me, zbz_job *first) {
	const void *kin = first->kin;
	while (first != NULL) {
		zbz_job *job, *next;
		zbz_kin_gather(first);
		pool.threads[me].job = first;
		zbz_engine_leave();
		first->run_kin(first);
		zbz_engine_enter();
		pool.threads[me].job = NULL;
		for (job = first; job != NULL; job = next) {
			next = job->next;
			if (job->alone)
				run_alone(job);
			else
				hand_over(job);
		}
		first = zbz_kin_next(kin);
	}
}

static void run_any(size_t me, zbz_job *job) {
	if (zbz_kin_waiting() > 0) call_watch();
	if (job->kin != NULL)
		run_kin(me, job);
	else
		run_one(me, job);
}

/* What waits for its kin is looked after by one idle thread: its leader may have met a server that does not answer. */
static void rest(void) {
	struct timespec until;
	pool.idle++;
	if (zbz_kin_waiting() > 0 && !pool.watched) {
		pool.watched = true;
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_nsec += WATCH_NS;
		if (until.tv_nsec >= 1000000000) {
			until.tv_sec++;
			until.tv_nsec -= 1000000000;
		}
		pthread_cond_timedwait(&pool.work, &pool.lock, &until);
		pool.watched = false;
	} else {
		pthread_cond_wait(&pool.work, &pool.lock);
	}
	pool.idle--;
}

static void *work(void *arg) {
	size_t me = (size_t)(uintptr_t)arg;
	zbz_engine_enter();
	while (!pool.stopping) {
		zbz_job *job;
		pool.called = false; /* this one looks; before it runs something it calls the next */
		job = pool.jobs.n > 0 ? zbz_queue_pop(&pool.jobs) : zbz_kin_overdue();
		if (job != NULL)
			run_any(me, job);
		else
			rest();
	}
	pool.threads[me].ended = true;
	pool.live--;
	pthread_cond_signal(&pool.gone);
	zbz_engine_leave();
	return NULL;
}

/* ---- jobs ---- */

uint64_t zbz_engine_ticket(void) { return ++pool.last_ticket; }

zbz_status zbz_pool_push(zbz_job *job, zbz_err *err) {
	int problem;
	bool waits = false;
	zbz_status status;
	if (pool.stopping) return zbz_fail(err, ZBZ_E_CLOSED, "the process is ending");
	pool.begun = true;
	if (job->kin != NULL && zbz_kin_waits(job)) {
		call_watch();
		return ZBZ_OK;
	}
	status = job->row != NULL ? zbz_row_enter(job, &waits, err) : ZBZ_OK;
	if (status != ZBZ_OK || waits) return status;
	problem = want_thread(pool.jobs.n);
	if (problem != 0 && pool.live == 0) {
		if (job->kin != NULL) zbz_kin_resign(job->kin);
		leave_row(job);
		return zbz_fail_errno(err, ZBZ_E_UNAVAILABLE, problem, "no thread could be started");
	}
	zbz_queue_push(&pool.jobs, job);
	pthread_cond_signal(&pool.work);
	return ZBZ_OK;
}

void zbz_pool_withdraw(zbz_mailbox *mb, zbz_queue *out) {
	zbz_queue keep = { NULL, NULL, 0 }, next = { NULL, NULL, 0 };
	zbz_kin_withdraw(mb, out);
	zbz_row_withdraw(mb, out, &next);
	while (pool.jobs.n > 0) {
		zbz_job *job = zbz_queue_pop(&pool.jobs);
		if (job->mailbox == mb && job->kin != NULL) zbz_kin_resign(job->kin);
		if (job->mailbox == mb && job->row != NULL) zbz_row_leave(job, &next);
		zbz_queue_push(job->mailbox == mb ? out : &keep, job);
	}
	pool.jobs = keep;
	let_go_on(&next);
	if (zbz_kin_waiting() > 0) call_watch();
}

zbz_status zbz_engine_threads(unsigned n, zbz_err *err) {
	zbz_status status = ZBZ_OK;
	if (n < 1 || n > THREADS_MAX)
		return zbz_fail(err, ZBZ_E_ARGUMENT, "the pool has 1 to %d threads, not %u", THREADS_MAX, n);
	zbz_engine_enter();
	if (pool.begun)
		status = zbz_fail(err, ZBZ_E_ARGUMENT, "the pool is running already; its size is set before the first job");
	else
		pool.want = n;
	zbz_engine_leave();
	return status;
}

/* ---- errands: jobs without a mailbox ---- */

typedef struct errand {
	zbz_job job;
	void (*fn)(void *ud);
	void *ud;
} errand;

static void run_errand(zbz_job *job) {
	errand *e = (errand *)(void *)job;
	e->fn(e->ud);
}

static void drop_errand(zbz_job *job) { zbz_free(job); }

void zbz_aside(void (*fn)(void *ud), void *ud) {
	errand *e = zbz_calloc(1, sizeof *e);
	zbz_status status = ZBZ_E_INTERNAL;
	if (e != NULL) {
		e->job.run = run_errand;
		e->job.drop = drop_errand;
		e->fn = fn;
		e->ud = ud;
		zbz_engine_enter();
		status = zbz_pool_push(&e->job, NULL);
		zbz_engine_leave();
	}
	if (status == ZBZ_OK) return;
	zbz_free(e);
	fn(ud);
}

/* ---- the end of the process ---- */

/* Idle threads leave at once; one in the middle of a long job is left behind, or exit would hang with it. */
__attribute__((destructor)) static void stop(void) {
	struct timespec until = zbz_until(EXIT_PATIENCE_MS);
	zbz_engine_enter();
	pool.stopping = true;
	pthread_cond_broadcast(&pool.work);
	while (pool.live > 0 && pthread_cond_timedwait(&pool.gone, &pool.lock, &until) != ETIMEDOUT) {}
	for (unsigned i = 0; i < pool.started; i++) {
		if (pool.threads[i].ended)
			pthread_join(pool.threads[i].id, NULL);
		else
			pthread_detach(pool.threads[i].id);
	}
	pool.started = 0;
	zbz_engine_leave();
}
