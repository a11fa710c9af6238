/* Jobs of one kin run together, what waits behind one that hangs is not left alone, and errands. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <zbz/alloc.h>
#include <zbz/engine.h>

#include "child.h"
#include "faults.h"

static zbz_err err;
static int64_t in_ms(int64_t ms) { return zbz_mono(zbz_clock_system()) + ms; }

typedef struct task {
	zbz_job job; /* first */
	int batch;   /* how many ran together with it, itself included; 0 by itself */
	bool hold;   /* stays in its thread until the gate opens */
	bool refuse; /* asks to be run alone the first time */
} task;

static struct {
	pthread_mutex_t lock;
	pthread_cond_t moved;
	int inside; /* have come since it was closed or opened */
	bool open;
} gate = { .lock = PTHREAD_MUTEX_INITIALIZER, .moved = PTHREAD_COND_INITIALIZER };

static atomic_int dropped, batches, ran;

static void pass_gate(void) {
	pthread_mutex_lock(&gate.lock);
	gate.inside++;
	pthread_cond_broadcast(&gate.moved);
	while (!gate.open) pthread_cond_wait(&gate.moved, &gate.lock);
	pthread_mutex_unlock(&gate.lock);
}

static void await_inside(int n) {
	pthread_mutex_lock(&gate.lock);
	while (gate.inside < n) pthread_cond_wait(&gate.moved, &gate.lock);
	pthread_mutex_unlock(&gate.lock);
}

static void set_gate(bool open) {
	pthread_mutex_lock(&gate.lock);
	gate.open = open;
	gate.inside = 0;
	pthread_cond_broadcast(&gate.moved);
	pthread_mutex_unlock(&gate.lock);
}

static void run_task(zbz_job *job) {
	task *t = (task *)(void *)job;
	atomic_fetch_add(&ran, 1);
	t->batch = 0;
	if (t->hold) pass_gate();
}

static void run_tasks(zbz_job *list) {
	zbz_job *job;
	int n = 0;
	bool hold = false;
	atomic_fetch_add(&batches, 1);
	for (job = list; job != NULL; job = job->next) n++;
	for (job = list; job != NULL; job = job->next) {
		task *t = (task *)(void *)job;
		t->batch = n;
		hold = hold || t->hold;
		job->alone = t->refuse;
		t->refuse = false;
	}
	if (hold) pass_gate();
}

static void drop_task(zbz_job *job) {
	atomic_fetch_add(&dropped, 1);
	free(job);
}

static task *new_task(const void *kin) {
	task *t = calloc(1, sizeof *t);
	t->job.run = run_task;
	t->job.drop = drop_task;
	t->job.kin = kin;
	t->job.run_kin = run_tasks;
	return t;
}

static void submit(zbz_mailbox *mb, task *t) { CHECK(zbz_submit(mb, &t->job, &err) == ZBZ_OK); }

static zbz_mailbox *new_mailbox(void) {
	zbz_mailbox *mb = NULL;
	CHECK(zbz_mailbox_new(10000, &mb, &err) == ZBZ_OK);
	return mb;
}

/* Waits for n jobs and frees them; the largest batch among them. */
static int collect(zbz_mailbox *mb, int n) {
	int largest = 0;
	while (n > 0) {
		zbz_job *job, *next;
		if (zbz_mailbox_wait(mb, in_ms(10000), &err) != ZBZ_OK) break;
		for (job = zbz_mailbox_drain(mb, 10000); job != NULL; job = next, n--) {
			next = job->next;
			if (((task *)(void *)job)->batch > largest) largest = ((task *)(void *)job)->batch;
			free(job);
		}
	}
	CHECK(n == 0);
	return largest;
}

static void what_arrives_meanwhile_runs_together(void) {
	zbz_mailbox *mb = new_mailbox();
	task *first = new_task(&gate);
	int i;
	set_gate(false);
	first->hold = true;
	submit(mb, first);
	await_inside(1);
	for (i = 0; i < 50; i++) submit(mb, new_task(&gate));
	set_gate(true);
	CHECK(collect(mb, 51) > 1);
	zbz_mailbox_close(mb);
}

/* Nobody submits any more, and the first hangs: the second is not left to it. */
static void a_hanging_batch_holds_up_nobody(void) {
	zbz_mailbox *mb = new_mailbox();
	task *first = new_task(&gate);
	set_gate(false);
	first->hold = true;
	submit(mb, first);
	await_inside(1);
	submit(mb, new_task(&gate));
	collect(mb, 1);
	set_gate(true);
	collect(mb, 1);
	zbz_mailbox_close(mb);
}

static void every_leader_hangs_and_the_rest_waits(void) {
	zbz_mailbox *mb = new_mailbox();
	int i;
	set_gate(false);
	for (i = 0; i < 4; i++) {
		task *t = new_task(&gate);
		t->hold = true;
		submit(mb, t);
		await_inside(i + 1);
	}
	for (i = 0; i < 10; i++) submit(mb, new_task(&gate));
	submit(mb, new_task(NULL)); /* of no kin: another thread's */
	CHECK(collect(mb, 1) == 0);
	set_gate(true);
	CHECK(collect(mb, 14) == 10);
	zbz_mailbox_close(mb);
}

static void what_is_refused_runs_alone(void) {
	zbz_mailbox *mb = new_mailbox();
	task *first = new_task(&gate);
	int i, before;
	set_gate(false);
	first->hold = true;
	submit(mb, first);
	await_inside(1);
	before = atomic_load(&ran);
	for (i = 0; i < 20; i++) {
		task *t = new_task(&gate);
		t->refuse = i % 2 == 0;
		submit(mb, t);
	}
	set_gate(true);
	collect(mb, 21);
	CHECK(atomic_load(&ran) - before == 10);
	zbz_mailbox_close(mb);
}

static void more_kins_than_are_known(void) {
	static const char kins[200];
	zbz_mailbox *mb = new_mailbox();
	int i;
	for (i = 0; i < 2000; i++) submit(mb, new_task(&kins[i % 200]));
	collect(mb, 2000);
	zbz_mailbox_close(mb);
}

static void closing_drops_what_waits_and_nothing_else(void) {
	zbz_mailbox *one = new_mailbox(), *two = new_mailbox();
	int i, before = atomic_load(&dropped);
	set_gate(false);
	for (i = 0; i < 4; i++) {
		task *t = new_task(&gate);
		t->hold = true;
		submit(one, t);
		await_inside(i + 1);
	}
	for (i = 0; i < 10; i++) submit(i % 2 == 0 ? one : two, new_task(&gate));
	zbz_mailbox_close(one);
	CHECK(atomic_load(&dropped) - before == 5);
	set_gate(true);
	collect(two, 5);
	zbz_mailbox_close(two);
	while (atomic_load(&dropped) - before < 9) sched_yield(); /* those that were running */
}

static void many_threads_submit(void) {
	zbz_mailbox *mb = new_mailbox();
	int i, before = atomic_load(&batches);
	set_gate(true);
	for (i = 0; i < 5000; i++) submit(mb, new_task(&gate));
	collect(mb, 5000);
	CHECK(atomic_load(&batches) - before <= 5000);
	zbz_mailbox_close(mb);
}

static void a_fork_in_the_middle(void) {
	zbz_mailbox *mb = new_mailbox();
	task *first = new_task(&gate);
	int i, status = 1;
	pid_t pid;
	set_gate(false);
	first->hold = true;
	submit(mb, first);
	await_inside(1);
	for (i = 0; i < 5; i++) submit(mb, new_task(&gate));
	pid = fork();
	if (pid == 0) {
		zbz_mailbox *own = NULL;
		gate.open = true;
		if (zbz_mailbox_new(100, &own, &err) != ZBZ_OK) _exit(2);
		if (CHILD_THREADS) {
			for (i = 0; i < 10; i++)
				if (zbz_submit(own, &new_task(&gate)->job, &err) != ZBZ_OK) _exit(3);
			check_failed = 0;
			collect(own, 10);
		}
		_exit(check_failed != 0 ? 4 : 0);
	}
	CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0);
	set_gate(true);
	collect(mb, 6);
	zbz_mailbox_close(mb);
}

/* ---- errands ---- */

static pthread_t errand_thread;
static atomic_int errands;

static void errand(void *ud) {
	CHECK(ud == &errands);
	errand_thread = pthread_self();
	atomic_fetch_add(&errands, 1);
}

static void an_errand_is_run_aside(void) {
	atomic_store(&errands, 0);
	zbz_aside(errand, &errands);
	while (atomic_load(&errands) == 0) sched_yield();
	CHECK(!pthread_equal(errand_thread, pthread_self()));
}

static void without_memory_it_is_run_at_once(void) {
	long live;
	atomic_store(&errands, 0);
	faults_begin(1);
	zbz_aside(errand, &errands);
	CHECK(faults_end(&live) && live == 0);
	CHECK(atomic_load(&errands) == 1);
	CHECK(pthread_equal(errand_thread, pthread_self()));
}

int main(void) {
	CHECK(zbz_engine_threads(8, &err) == ZBZ_OK);
	RUN(what_arrives_meanwhile_runs_together);
	RUN(a_hanging_batch_holds_up_nobody);
	RUN(every_leader_hangs_and_the_rest_waits);
	RUN(what_is_refused_runs_alone);
	RUN(more_kins_than_are_known);
	RUN(closing_drops_what_waits_and_nothing_else);
	RUN(many_threads_submit);
	RUN(a_fork_in_the_middle);
	RUN(an_errand_is_run_aside);
	RUN(without_memory_it_is_run_at_once);
	return DONE();
}
