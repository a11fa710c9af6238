/* The engine when something ends: mailboxes that are closed at any moment, forks, processes that leave with jobs under way. */
#include <fcntl.h>
#include <signal.h>

#include "engine_rig.h"

/* ---- closing ---- */

static void test_close_with_everything_under_way(void) {
	zbz_mailbox *mb = new_mailbox(100);
	long ran_before = atomic_load(&ran);
	atomic_store(&dropped, 0);
	for (int i = 0; i < 10; i++) { /* 4 run, 6 wait for a thread */
		sum_job *j = new_sum(i);
		j->job.run = run_gated;
		CHECK(zbz_submit(mb, &j->job, &err) == ZBZ_OK);
	}
	gate_await(4);
	for (int i = 0; i < 5; i++) CHECK(zbz_post(mb, &new_sum(i)->job, &err) == ZBZ_OK);
	CHECK(zbz_mailbox_fd(mb, &err) >= 0);
	zbz_mailbox_close(mb);
	CHECK(atomic_load(&dropped) == 11); /* the undrained and the unbegun, at once */
	gate_set(true);
	gate_await(0);
	CHECK(await_drops(15) && atomic_load(&ran) == ran_before + 4);
	gate_set(false);
	atomic_store(&dropped, 0);
}

typedef struct echo_job {
	sum_job sum;
	zbz_mailbox *home;
	zbz_status posted;
} echo_job;

static _Atomic int echo_status;

/* Runs until told, then posts to its own mailbox, which is closed by then. */
static void run_echo(zbz_job *job) {
	echo_job *e = (echo_job *)job;
	sum_job *more = new_sum(1);
	zbz_err local;
	run_gated(job);
	e->posted = zbz_post(e->home, &more->job, &local);
	atomic_store(&echo_status, e->posted);
	if (e->posted != ZBZ_OK) free(more);
}

static void test_post_to_a_closed_mailbox(void) {
	zbz_mailbox *mb = new_mailbox(10);
	echo_job *e = calloc(1, sizeof *e);
	e->sum.job.run = run_echo;
	e->sum.job.drop = drop_sum;
	e->home = mb;
	CHECK(zbz_submit(mb, &e->sum.job, &err) == ZBZ_OK);
	gate_await(1);
	zbz_mailbox_close(mb);
	gate_set(true);
	CHECK(await_drops(1) && atomic_load(&echo_status) == ZBZ_E_CLOSED);
	gate_set(false);
	atomic_store(&dropped, 0);
}

static void test_references(void) {
	zbz_mailbox *mb = new_mailbox(10);
	sum_job *s = new_sum(1);
	zbz_mailbox_stats stats;
	CHECK(zbz_mailbox_ref(mb) == mb);
	zbz_mailbox_close(mb);
	CHECK(zbz_post(mb, &s->job, &err) == ZBZ_E_CLOSED && zbz_submit(mb, &s->job, &err) == ZBZ_E_CLOSED &&
	      !err.retryable);
	CHECK(zbz_mailbox_wait(mb, ZBZ_NEVER, &err) == ZBZ_E_CLOSED && zbz_mailbox_fd(mb, &err) == -1 &&
	      err.status == ZBZ_E_CLOSED);
	CHECK(zbz_mailbox_drain(mb, 1) == NULL);
	zbz_mailbox_stats_read(mb, &stats);
	CHECK(stats.posted == 0);
	zbz_mailbox_unref(mb);
	zbz_mailbox_unref(NULL);
	free(s);
}

static void *wait_for_ever(void *mb) {
	zbz_err e;
	return zbz_mailbox_wait(mb, ZBZ_NEVER, &e) == ZBZ_E_CLOSED ? mb : NULL;
}

static void test_close_wakes_a_waiter(void) {
	zbz_mailbox *mb = zbz_mailbox_ref(new_mailbox(10)); /* the waiter may begin after the close */
	pthread_t t;
	void *result = NULL;
	pthread_create(&t, NULL, wait_for_ever, mb);
	zbz_mailbox_close(mb);
	pthread_join(t, &result);
	CHECK(result == mb);
	zbz_mailbox_unref(mb);
}

/* ---- forks ---- */

/* In the child of a process whose threads are busy. Exit code 0: all well. */
static int child(zbz_mailbox *parents, int parents_fd) {
	zbz_mailbox *mb = NULL;
	sum_job *s = new_sum(5);
	zbz_mailbox_stats stats;
	zbz_err e;
	if (zbz_submit(parents, &s->job, &e) != ZBZ_E_CLOSED || strstr(e.text, "parent") == NULL) return 1;
	if (zbz_post(parents, &s->job, &e) != ZBZ_E_CLOSED || zbz_mailbox_drain(parents, 10) != NULL) return 2;
	if (zbz_mailbox_wait(parents, ZBZ_NEVER, &e) != ZBZ_E_CLOSED || zbz_mailbox_fd(parents, &e) != -1) return 3;
	zbz_mailbox_stats_read(parents, &stats);
	zbz_mailbox_close(parents);
	if (fcntl(parents_fd, F_GETFD) != -1) return 4; /* the child's copy is closed */
	if (zbz_engine_threads(2, &e) != ZBZ_OK) return 5;
	for (int round = 0; round < 20 && CHILD_THREADS; round++) {
		zbz_job *back;
		if (zbz_mailbox_new(4, &mb, &e) != ZBZ_OK || zbz_submit(mb, &s->job, &e) != ZBZ_OK) return 6;
		if (zbz_mailbox_wait(mb, in_ms(10000), &e) != ZBZ_OK) return 7;
		back = zbz_mailbox_drain(mb, 4);
		if (back != &s->job || s->result != 10) return 8;
		zbz_mailbox_close(mb);
	}
	free(s);
	return 0;
}

static void test_fork_of_a_busy_engine(void) {
	zbz_mailbox *mb = new_mailbox(100);
	submitter s = { .mb = mb };
	int fd = zbz_mailbox_fd(mb, &err), status = -1;
	pid_t pid;
	for (int i = 0; i < 8; i++) {
		sum_job *j = new_sum(i);
		j->job.run = run_gated;
		CHECK(zbz_submit(mb, &j->job, &err) == ZBZ_OK);
	}
	CHECK(zbz_post(mb, &new_sum(9)->job, &err) == ZBZ_OK);
	gate_await(4);
	fflush(stdout);
	pid = fork();
	if (pid == 0) _exit(child(mb, fd));
	CHECK(waitpid(pid, &status, 0) == pid);
	if (status != 0) fprintf(stderr, "  child: %x\n", (unsigned)status);
	CHECK(status == 0 && readable(fd)); /* the child did not silence the parent's bell */
	gate_set(true);
	while (s.got < 9 && zbz_mailbox_wait(mb, in_ms(10000), &err) == ZBZ_OK) take(&s);
	CHECK(s.got == 9);
	zbz_mailbox_close(mb);
	gate_set(false);
}

static atomic_bool stop_forking;

static void *churn(void *arg) {
	submitter *s = arg;
	zbz_err e;
	while (!atomic_load(&stop_forking)) {
		sum_job *j = new_sum(1);
		if (zbz_submit(s->mb, &j->job, &e) != ZBZ_OK) free(j);
		take(s);
	}
	return NULL;
}

/* The lock is in somebody's hands at most of these forks. */
static void test_forks_at_any_moment(void) {
	submitter s = { .mb = new_mailbox(50) };
	pthread_t t;
	int bad = 0;
	atomic_store(&stop_forking, false);
	atomic_store(&dropped, 0);
	pthread_create(&t, NULL, churn, &s);
	for (int i = 0; i < 30; i++) {
		int status = -1;
		pid_t pid = fork();
		if (pid == 0) {
			zbz_mailbox_stats stats;
			zbz_mailbox_stats_read(s.mb, &stats);
			/* By a signal, so that no leak checker asks for what the parent's other thread held in its hands. */
			if (zbz_mailbox_drain(s.mb, 1) == NULL && zbz_engine_threads(2, &err) == ZBZ_OK) kill(getpid(), SIGKILL);
			_exit(1);
		}
		waitpid(pid, &status, 0);
		bad += !WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL;
	}
	atomic_store(&stop_forking, true);
	pthread_join(t, NULL);
	CHECK(bad == 0);
	zbz_mailbox_close(s.mb);
}

/* ---- the end ---- */

/* A process that ends while a job sits on a thread for ever must end all the same. */
static void test_exit_with_a_stuck_job(void) {
	int status = -1;
	pid_t pid;
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		static zbz_mailbox *mb; /* static: the leak checker does not see what the stuck thread holds */
		static sum_job *j;
		alarm(20);
		j = new_sum(1);
		j->job.run = run_gated; /* the gate stays shut */
		if (zbz_mailbox_new(4, &mb, &err) != ZBZ_OK || zbz_submit(mb, &j->job, &err) != ZBZ_OK) _exit(1);
		gate_await(1);
		exit(7);
	}
	CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 7);
}

int main(void) {
	RUN(test_exit_with_a_stuck_job); /* first: from a process without threads */
	CHECK(zbz_engine_threads(4, &err) == ZBZ_OK);
	RUN(test_close_with_everything_under_way);
	RUN(test_post_to_a_closed_mailbox);
	RUN(test_references);
	RUN(test_close_wakes_a_waiter);
	RUN(test_fork_of_a_busy_engine);
	RUN(test_forks_at_any_moment);
	return DONE();
}
