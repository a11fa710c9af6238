/* Jobs in rows: those that share a place keep their order, the others run side by side, whatever ends in between. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <zbz/alloc.h>
#include <zbz/engine.h>

#include "check.h"

enum { THREADS = 6, MANY = 20000 };

static const char here, there; /* rows */
static zbz_err err;
static int64_t in_ms(int64_t ms) { return zbz_mono(zbz_clock_system()) + ms; }

typedef struct numbered {
	zbz_job job; /* first */
	unsigned n;
} numbered;

static struct {
	pthread_mutex_t lock;
	pthread_cond_t moved;
	unsigned began[MANY], ends[MANY]; /* when, by the count below */
	unsigned moment, inside, most;
	uint64_t places; /* of those that run */
	bool clash, shut;
	unsigned held; /* jobs of this number stay while it is shut */
} seen = { .lock = PTHREAD_MUTEX_INITIALIZER, .moved = PTHREAD_COND_INITIALIZER };
static atomic_uint dropped;

static void reset(void) {
	pthread_mutex_lock(&seen.lock);
	seen.moment = seen.most = 0;
	seen.clash = seen.shut = false;
	atomic_store(&dropped, 0);
	pthread_mutex_unlock(&seen.lock);
}

static void run(zbz_job *job) {
	const numbered *j = (numbered *)job;
	pthread_mutex_lock(&seen.lock);
	seen.began[j->n] = ++seen.moment;
	seen.clash = seen.clash || (seen.places & job->places) != 0;
	seen.places |= job->places;
	if (++seen.inside > seen.most) seen.most = seen.inside;
	pthread_cond_broadcast(&seen.moved);
	while (seen.shut && j->n == seen.held) pthread_cond_wait(&seen.moved, &seen.lock);
	if (j->n % 7 == 0 && !seen.shut) { /* now and then one that takes its time */
		pthread_mutex_unlock(&seen.lock);
		sched_yield();
		pthread_mutex_lock(&seen.lock);
	}
	seen.inside--;
	seen.places &= ~job->places;
	seen.ends[j->n] = ++seen.moment;
	pthread_cond_broadcast(&seen.moved);
	pthread_mutex_unlock(&seen.lock);
}

static void drop(zbz_job *job) {
	pthread_mutex_lock(&seen.lock);
	atomic_fetch_add(&dropped, 1);
	pthread_cond_broadcast(&seen.moved);
	pthread_mutex_unlock(&seen.lock);
	free(job);
}

static zbz_status send_job(zbz_mailbox *mb, const void *row, uint64_t places, unsigned n) {
	numbered *j = calloc(1, sizeof *j);
	zbz_status s;
	j->n = n;
	j->job.run = run;
	j->job.drop = drop;
	j->job.row = row;
	j->job.places = places;
	s = zbz_submit(mb, &j->job, &err);
	if (s != ZBZ_OK) free(j);
	return s;
}

static unsigned collect(zbz_mailbox *mb, unsigned n) {
	unsigned got = 0;
	while (got < n && zbz_mailbox_wait(mb, in_ms(20000), &err) == ZBZ_OK)
		for (zbz_job *job = zbz_mailbox_drain(mb, 100), *next; job != NULL; job = next, got++) {
			next = job->next;
			free(job);
		}
	return got;
}

static void hold(unsigned n) {
	pthread_mutex_lock(&seen.lock);
	seen.shut = true;
	seen.held = n;
	pthread_mutex_unlock(&seen.lock);
}
static void let_go(void) {
	pthread_mutex_lock(&seen.lock);
	seen.shut = false;
	pthread_cond_broadcast(&seen.moved);
	pthread_mutex_unlock(&seen.lock);
}
static void await_moment(unsigned moment) {
	pthread_mutex_lock(&seen.lock);
	while (seen.moment < moment) pthread_cond_wait(&seen.moved, &seen.lock);
	pthread_mutex_unlock(&seen.lock);
}

static zbz_mailbox *mailbox(void) {
	zbz_mailbox *mb = NULL;
	CHECK(zbz_mailbox_new(MANY, &mb, &err) == ZBZ_OK);
	return mb;
}

static void one_place(void) {
	zbz_mailbox *mb = mailbox();
	bool ordered = true;
	reset();
	for (unsigned i = 0; i < 2000; i++) CHECK(send_job(mb, &here, 4, i) == ZBZ_OK);
	CHECK(collect(mb, 2000) == 2000);
	for (unsigned i = 1; i < 2000; i++) ordered = ordered && seen.began[i] > seen.ends[i - 1];
	CHECK(ordered && seen.most == 1);
	zbz_mailbox_close(mb);
}

/* What waits behind a slow one holds up nobody who has nothing to do with it. */
static void others_pass(void) {
	zbz_mailbox *mb = mailbox();
	reset();
	hold(0);
	send_job(mb, &here, 1, 0);
	send_job(mb, &here, 1, 1);
	send_job(mb, &here, 3, 2); /* needs both places: waits for 1, and 3 for it */
	send_job(mb, &here, 2, 3);
	send_job(mb, &here, 4, 4);
	send_job(mb, &there, 1, 5);
	send_job(mb, NULL, 0, 6);
	CHECK(collect(mb, 3) == 3); /* 4, 5, 6 */
	await_moment(7);            /* and the first has begun */
	CHECK(seen.moment == 7 && seen.inside == 1);
	let_go();
	CHECK(collect(mb, 4) == 4);
	CHECK(seen.ends[0] < seen.began[1] && seen.ends[1] < seen.began[2] && seen.ends[2] < seen.began[3]);
	zbz_mailbox_close(mb);
}

/* All 64 places: after everything before it, before everything behind it. */
static void a_whole_row(void) {
	zbz_mailbox *mb = mailbox();
	bool ordered = true;
	reset();
	for (unsigned i = 0; i < 401; i++) send_job(mb, &here, i == 200 ? UINT64_MAX : (uint64_t)1 << i % 64, i);
	CHECK(collect(mb, 401) == 401);
	for (unsigned i = 0; i < 200; i++)
		ordered = ordered && seen.ends[i] < seen.began[200] && seen.began[201 + i] > seen.ends[200];
	CHECK(ordered && !seen.clash);
	zbz_mailbox_close(mb);
}

static uint64_t dice = 88172645463325252u;
static uint64_t roll(void) {
	dice ^= dice << 13;
	dice ^= dice >> 7;
	return dice ^= dice << 17;
}

/* Any mixture: whoever shares a place runs in turn, and there are always several at work. */
static void at_random(void) {
	static uint64_t places[MANY];
	static unsigned last[64];
	zbz_mailbox *mb = mailbox();
	bool ordered = true;
	reset();
	for (unsigned i = 0; i < MANY; i++) {
		uint64_t one = (uint64_t)1 << (roll() >> 20) % 64, more = roll() & roll() & roll() & roll();
		places[i] = i % 50 == 0 ? one | more : one;
		CHECK(send_job(mb, &here, places[i], i) == ZBZ_OK);
	}
	CHECK(collect(mb, MANY) == MANY);
	for (unsigned p = 0; p < 64; p++) last[p] = MANY;
	for (unsigned i = 0; i < MANY; i++)
		for (unsigned p = 0; p < 64; p++) {
			if ((places[i] >> p & 1) == 0) continue;
			ordered = ordered && (last[p] == MANY || seen.began[i] > seen.ends[last[p]]);
			last[p] = i;
		}
	CHECK(ordered && !seen.clash && seen.most > 1);
	zbz_mailbox_close(mb);
}

/* Those of a mailbox that closes are dropped; those of another one behind them go on. */
static void closed_meanwhile(void) {
	zbz_mailbox *mb = mailbox(), *other = mailbox();
	reset();
	hold(0);
	send_job(mb, &here, 1, 0);
	await_moment(1);
	for (unsigned i = 1; i <= 50; i++) send_job(mb, &here, 1, i);
	send_job(other, &here, 1, 51);
	zbz_mailbox_close(mb);
	CHECK(atomic_load(&dropped) == 50); /* and the one that runs, at its end */
	let_go();
	CHECK(collect(other, 1) == 1 && seen.ends[0] < seen.began[51] && seen.moment == 4);
	zbz_mailbox_close(other);
	pthread_mutex_lock(&seen.lock);
	while (atomic_load(&dropped) < 51) pthread_cond_wait(&seen.moved, &seen.lock); /* by the thread that ran it */
	pthread_mutex_unlock(&seen.lock);
	CHECK(atomic_load(&dropped) == 51);
}

static void *no_memory(void *ud, void *p, size_t n) { return (void)ud, (void)p, (void)n, NULL; }

static void without_memory(void) {
	zbz_mailbox *mb = mailbox();
	reset();
	zbz_set_alloc(no_memory, NULL);
	CHECK(send_job(mb, &here, 1, 0) == ZBZ_E_INTERNAL);
	zbz_set_alloc(NULL, NULL);
	CHECK(send_job(mb, &here, 1, 1) == ZBZ_OK && collect(mb, 1) == 1 && seen.moment == 2);
	zbz_mailbox_close(mb);
}

/* A child has none of the parent's jobs, nor their places. */
static void forked(void) {
	zbz_mailbox *mb = mailbox();
	int status = -1;
	pid_t pid;
	reset();
	hold(0);
	for (unsigned i = 0; i < 10; i++) send_job(mb, &here, 1, i);
	await_moment(1);
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		zbz_mailbox *own = NULL;
		seen.shut = false;
#if defined(__SANITIZE_THREAD__)
		_exit(0); /* it cannot start threads in a child of a process with threads */
#endif
		if (zbz_mailbox_new(10, &own, &err) != ZBZ_OK || send_job(own, &here, 1, 20) != ZBZ_OK) _exit(1);
		_exit(collect(own, 1) == 1 ? 0 : 2);
	}
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	let_go();
	CHECK(collect(mb, 10) == 10);
	zbz_mailbox_close(mb);
}

int main(void) {
	CHECK(zbz_engine_threads(THREADS, &err) == ZBZ_OK);
	RUN(one_place);
	RUN(others_pass);
	RUN(a_whole_row);
	RUN(at_random);
	RUN(closed_meanwhile);
	RUN(without_memory);
	RUN(forked);
	return DONE();
}
