/* The pool of threads that do the blocking work. Threads start when jobs wait for them, and stay until the process ends. */
#include "pool.h"

#include "base/signals.h"
#include "base/until.h"

#include <errno.h>
#include <stdint.h>

#define THREADS_MAX      64
#define THREADS_DEFAULT  4
#define STACK_SIZE       ((size_t)1 << 20)
#define EXIT_PATIENCE_MS 200 /* for running jobs at the end of the process */

static struct pool {
	pthread_mutex_t lock;
	pthread_cond_t work, gone;
	zbz_queue jobs;
	unsigned want, started, live, idle;
	bool begun, stopping;
	uint64_t last_ticket;
	struct {
		pthread_t id;
		zbz_job *job; /* it runs this one now */
		bool ended;
	} threads[THREADS_MAX];
	zbz_job *orphans; /* the parent's jobs, seen from a child: never touched, only kept reachable */
} pool = { .lock = PTHREAD_MUTEX_INITIALIZER, .want = THREADS_DEFAULT };

void zbz_engine_enter(void) { pthread_mutex_lock(&pool.lock); }
void zbz_engine_leave(void) { pthread_mutex_unlock(&pool.lock); }
pthread_mutex_t *zbz_engine_mutex(void) { return &pool.lock; }

void zbz_cond_init_mono(pthread_cond_t *cond) {
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(cond, &attr);
	pthread_condattr_destroy(&attr);
}

/* The child has none of the parent's threads and does none of its work; what its jobs hold may be half-done, so they are let lie. */
static void begin_anew(void) {
	if (pool.jobs.tail != NULL) {
		pool.jobs.tail->next = pool.orphans;
		pool.orphans = pool.jobs.head;
	}
	pool.jobs = (zbz_queue){ NULL, NULL, 0 };
	for (unsigned i = 0; i < pool.started; i++) {
		zbz_job *job = pool.threads[i].job;
		pool.threads[i].job = NULL;
		if (job == NULL) continue;
		job->next = pool.orphans;
		pool.orphans = job;
	}
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

static void run_one(size_t me) {
	zbz_job *job = zbz_queue_pop(&pool.jobs);
	zbz_mailbox *mb = job->mailbox, *last;
	bool unwanted;
	pool.threads[me].job = job;
	zbz_engine_leave();
	job->run(job);
	zbz_engine_enter();
	pool.threads[me].job = NULL;
	unwanted = zbz_mailbox_deliver(job);
	last = zbz_mailbox_let_go(mb);
	if (!unwanted && last == NULL) return;
	zbz_engine_leave();
	if (unwanted) job->drop(job);
	zbz_mailbox_destroy(last);
	zbz_engine_enter();
}

static void *work(void *arg) {
	size_t me = (size_t)(uintptr_t)arg;
	zbz_engine_enter();
	while (!pool.stopping) {
		if (pool.jobs.n > 0) {
			run_one(me);
			continue;
		}
		pool.idle++;
		pthread_cond_wait(&pool.work, &pool.lock);
		pool.idle--;
	}
	pool.threads[me].ended = true;
	pool.live--;
	pthread_cond_signal(&pool.gone);
	zbz_engine_leave();
	return NULL;
}

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

/* ---- jobs ---- */

uint64_t zbz_engine_ticket(void) { return ++pool.last_ticket; }

zbz_status zbz_pool_push(zbz_job *job, zbz_err *err) {
	if (pool.stopping) return zbz_fail(err, ZBZ_E_CLOSED, "the process is ending");
	pool.begun = true;
	if (pool.idle <= pool.jobs.n && pool.started < pool.want) {
		int problem = start_thread();
		if (problem != 0 && pool.live == 0)
			return zbz_fail_errno(err, ZBZ_E_UNAVAILABLE, problem, "no thread could be started");
	}
	zbz_queue_push(&pool.jobs, job);
	pthread_cond_signal(&pool.work);
	return ZBZ_OK;
}

void zbz_pool_withdraw(zbz_mailbox *mb, zbz_queue *out) {
	zbz_queue keep = { NULL, NULL, 0 };
	while (pool.jobs.n > 0) {
		zbz_job *job = zbz_queue_pop(&pool.jobs);
		zbz_queue_push(job->mailbox == mb ? out : &keep, job);
	}
	pool.jobs = keep;
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
