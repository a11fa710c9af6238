/* The engine: jobs through the pool and back, many at once, bounds, the doorbell, signals. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>

#include "engine_rig.h"

static void test_threads_before_the_first_job(void) {
	CHECK(zbz_engine_threads(0, &err) == ZBZ_E_ARGUMENT && zbz_engine_threads(65, &err) == ZBZ_E_ARGUMENT &&
	      says("65"));
	CHECK(zbz_engine_threads(3, &err) == ZBZ_OK && zbz_engine_threads(4, &err) == ZBZ_OK);
}

static void test_one_job(void) {
	zbz_mailbox *mb = new_mailbox(10);
	sum_job *s = new_sum(21);
	zbz_job *back;
	zbz_mailbox_stats stats;
	CHECK(zbz_mailbox_drain(mb, 10) == NULL);
	CHECK(zbz_submit(mb, &s->job, &err) == ZBZ_OK && s->job.ticket != 0);
	CHECK(zbz_mailbox_wait(mb, in_ms(10000), &err) == ZBZ_OK);
	back = zbz_mailbox_drain(mb, 10);
	CHECK(back == &s->job && back->next == NULL && s->result == 42 && !pthread_equal(s->ran_on, pthread_self()));
	CHECK(zbz_mailbox_drain(mb, 10) == NULL);
	zbz_mailbox_stats_read(mb, &stats);
	CHECK(stats.submitted == 1 && stats.finished == 1 && stats.posted == 0 && stats.refused == 0 &&
	      stats.waiting == 0 && stats.doorbells == 0);
	CHECK(zbz_engine_threads(5, &err) == ZBZ_E_ARGUMENT); /* too late */
	zbz_mailbox_close(mb);
	free(s);
	zbz_mailbox_close(NULL);
}

static void test_posts_in_order(void) {
	zbz_mailbox *mb = new_mailbox(100);
	uint64_t last = 0;
	long expect = 0;
	for (int i = 0; i < 10; i++) CHECK(zbz_post(mb, &new_sum(i)->job, &err) == ZBZ_OK);
	for (size_t max = 3; max <= 7; max += 4) {
		zbz_job *j = zbz_mailbox_drain(mb, max), *next;
		for (size_t n = 0; j != NULL; j = next, n++) {
			next = j->next;
			CHECK(n < max && ((sum_job *)j)->n == expect++ && j->ticket > last);
			last = j->ticket;
			free(j);
		}
	}
	CHECK(expect == 10 && zbz_mailbox_drain(mb, 0) == NULL);
	zbz_mailbox_close(mb);
}

static void test_misuse(void) {
	zbz_mailbox *mb = NULL;
	sum_job *s = new_sum(1);
	CHECK(zbz_mailbox_new(0, &mb, &err) == ZBZ_E_ARGUMENT && mb == NULL);
	mb = new_mailbox(1);
	s->job.run = NULL;
	CHECK(zbz_submit(mb, &s->job, &err) == ZBZ_E_ARGUMENT);
	s->job.drop = NULL;
	CHECK(zbz_post(mb, &s->job, &err) == ZBZ_E_ARGUMENT);
	free(s);
	zbz_mailbox_close(mb);
}

static void *no_memory(void *ud, void *p, size_t n) { return NULL; }

static void test_without_memory(void) {
	zbz_mailbox *mb = (zbz_mailbox *)(uintptr_t)1;
	zbz_status s;
	zbz_set_alloc(no_memory, NULL);
	s = zbz_mailbox_new(1, &mb, &err);
	zbz_set_alloc(NULL, NULL);
	CHECK(s == ZBZ_E_INTERNAL && mb == NULL && err.sys_errno == ENOMEM); /* the only allocation there is */
}

/* ---- many ---- */

#define SUBMITTERS 4
#define PER_THREAD 2500

/* Own mailbox, smaller than its number of jobs: drains whenever it is refused. */
static void *submit_many(void *arg) {
	submitter *s = arg;
	zbz_err e;
	while (s->sent < PER_THREAD) {
		sum_job *j = new_sum(s->sent);
		while (zbz_submit(s->mb, &j->job, &e) != ZBZ_OK) {
			if (zbz_mailbox_wait(s->mb, in_ms(10000), &e) != ZBZ_OK) return NULL;
			take(s);
		}
		s->sent++;
	}
	while (s->got < PER_THREAD && zbz_mailbox_wait(s->mb, in_ms(10000), &e) == ZBZ_OK) take(s);
	return s;
}

static void test_ten_thousand_jobs(void) {
	pthread_t threads[SUBMITTERS];
	submitter subs[SUBMITTERS];
	for (int i = 0; i < SUBMITTERS; i++) {
		subs[i] = (submitter){ .mb = new_mailbox(100) };
		if (i % 2 == 1) CHECK(zbz_mailbox_fd(subs[i].mb, &err) >= 0);
		pthread_create(&threads[i], NULL, submit_many, &subs[i]);
	}
	for (int i = 0; i < SUBMITTERS; i++) {
		zbz_mailbox_stats stats;
		pthread_join(threads[i], NULL);
		zbz_mailbox_stats_read(subs[i].mb, &stats);
		CHECK(subs[i].got == PER_THREAD && subs[i].sum == (long)PER_THREAD * (PER_THREAD - 1));
		CHECK(stats.submitted == PER_THREAD && stats.finished == PER_THREAD && stats.waiting == 0 &&
		      stats.dropped == 0);
		CHECK(stats.doorbells <= PER_THREAD && (stats.doorbells > 0) == (i % 2 == 1));
		zbz_mailbox_close(subs[i].mb);
	}
}

typedef struct poster {
	zbz_mailbox *mb;
	long accepted, refused;
} poster;

static void *post_many(void *arg) {
	poster *p = arg;
	zbz_err e;
	for (int i = 0; i < 500; i++) {
		sum_job *j = new_sum(1);
		if (zbz_post(p->mb, &j->job, &e) == ZBZ_OK) {
			p->accepted++;
		} else {
			p->refused++;
			free(j);
		}
	}
	return NULL;
}

static void test_many_posters(void) {
	zbz_mailbox *mb = new_mailbox(1000);
	poster posters[3] = { { mb, 0, 0 }, { mb, 0, 0 }, { mb, 0, 0 } };
	pthread_t threads[3];
	zbz_mailbox_stats stats;
	submitter all = { .mb = mb };
	for (int i = 0; i < 3; i++) pthread_create(&threads[i], NULL, post_many, &posters[i]);
	for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
	zbz_mailbox_stats_read(mb, &stats);
	CHECK(stats.posted == 1000 && stats.refused == 500 && stats.waiting == 1000);
	CHECK(posters[0].accepted + posters[1].accepted + posters[2].accepted == 1000);
	while (all.got < 1000) take(&all);
	zbz_mailbox_close(mb);
}

/* ---- bounds ---- */

static void test_bound(void) {
	zbz_mailbox *mb = new_mailbox(3);
	sum_job *fourth = new_sum(4);
	zbz_mailbox_stats stats;
	submitter s = { .mb = mb };
	for (int i = 0; i < 2; i++) {
		sum_job *j = new_sum(i);
		j->job.run = run_gated;
		CHECK(zbz_submit(mb, &j->job, &err) == ZBZ_OK);
	}
	CHECK(zbz_post(mb, &new_sum(3)->job, &err) == ZBZ_OK);
	CHECK(zbz_submit(mb, &fourth->job, &err) == ZBZ_E_UNAVAILABLE && err.retryable && says("3"));
	CHECK(zbz_post(mb, &fourth->job, &err) == ZBZ_E_UNAVAILABLE);
	take(&s); /* the posted one makes room */
	CHECK(s.got == 1 && zbz_post(mb, &fourth->job, &err) == ZBZ_OK);
	gate_set(true);
	while (s.got < 4 && zbz_mailbox_wait(mb, in_ms(10000), &err) == ZBZ_OK) take(&s);
	zbz_mailbox_stats_read(mb, &stats);
	CHECK(s.got == 4 && stats.refused == 2 && stats.submitted == 2 && stats.posted == 2 && stats.finished == 2);
	zbz_mailbox_close(mb);
	gate_set(false);
}

static void test_wait_ends_by_its_deadline(void) {
	zbz_mailbox *mb = new_mailbox(3);
	int64_t until = in_ms(30);
	CHECK(zbz_mailbox_wait(mb, until, &err) == ZBZ_E_TIMEOUT && err.retryable && zbz_mono(zbz_clock_system()) >= until);
	CHECK(zbz_mailbox_wait(mb, in_ms(-5), &err) == ZBZ_E_TIMEOUT && zbz_mailbox_wait(mb, -1, NULL) == ZBZ_E_TIMEOUT);
	CHECK(zbz_post(mb, &new_sum(1)->job, &err) == ZBZ_OK);
	CHECK(zbz_mailbox_wait(mb, ZBZ_NEVER, &err) == ZBZ_OK && zbz_mailbox_wait(mb, 0, &err) == ZBZ_OK);
	zbz_mailbox_close(mb);
	CHECK(await_drops(1));
	atomic_store(&dropped, 0);
}

static void *post_one(void *mb) {
	zbz_err e;
	return zbz_post(mb, &new_sum(1)->job, &e) == ZBZ_OK ? mb : NULL;
}

static void test_wait_wakes(void) {
	zbz_mailbox *mb = new_mailbox(3);
	submitter s = { .mb = mb };
	pthread_t t;
	pthread_create(&t, NULL, post_one, mb);
	CHECK(zbz_mailbox_wait(mb, ZBZ_NEVER, &err) == ZBZ_OK);
	take(&s);
	pthread_join(t, NULL);
	CHECK(s.got == 1);
	zbz_mailbox_close(mb);
}

/* ---- the doorbell ---- */

static void test_doorbell(void) {
	zbz_mailbox *mb = new_mailbox(10);
	int fd = zbz_mailbox_fd(mb, &err), type = 0;
	socklen_t n = sizeof type;
	zbz_mailbox_stats stats;
	CHECK(fd >= 0 && zbz_mailbox_fd(mb, &err) == fd && !readable(fd));
	CHECK(getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) == 0 && type == SOCK_STREAM);
	CHECK((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0 && (fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
	for (int i = 0; i < 5; i++) CHECK(zbz_post(mb, &new_sum(i)->job, &err) == ZBZ_OK && readable(fd));
	for (int i = 0; i < 5; i++) {
		CHECK(readable(fd)); /* while there is work */
		free(zbz_mailbox_drain(mb, 1));
	}
	CHECK(!readable(fd)); /* and not after */
	zbz_mailbox_stats_read(mb, &stats);
	CHECK(stats.doorbells == 1); /* one change from empty to not */
	CHECK(zbz_submit(mb, &new_sum(1)->job, &err) == ZBZ_OK);
	CHECK(zbz_mailbox_wait(mb, in_ms(10000), &err) == ZBZ_OK && readable(fd));
	free(zbz_mailbox_drain(mb, 10));
	CHECK(!readable(fd));
	zbz_mailbox_close(mb);
}

static void test_doorbell_read_by_the_host(void) { /* as a cosocket does */
	zbz_mailbox *mb = new_mailbox(10);
	char byte;
	int fd;
	CHECK(zbz_post(mb, &new_sum(1)->job, &err) == ZBZ_OK);
	fd = zbz_mailbox_fd(mb, &err);
	CHECK(readable(fd)); /* asked for when there was work already */
	CHECK(read(fd, &byte, 1) == 1);
	free(zbz_mailbox_drain(mb, 10));
	CHECK(!readable(fd) && zbz_post(mb, &new_sum(1)->job, &err) == ZBZ_OK && readable(fd)); /* rings again */
	free(zbz_mailbox_drain(mb, 10));
	zbz_mailbox_close(mb);
}

static void test_no_descriptors_leak(void) {
	int before = dup(0), after;
	close(before);
	for (int i = 0; i < 50; i++) {
		zbz_mailbox *mb = new_mailbox(1);
		CHECK(zbz_mailbox_fd(mb, &err) >= 0);
		zbz_mailbox_close(mb);
	}
	after = dup(0);
	close(after);
	CHECK(before == after);
}

/* ---- signals ---- */

static _Atomic pthread_t signalled;
static volatile sig_atomic_t signals;
static void on_signal(int number) {
	signals++;
	atomic_store(&signalled, pthread_self());
}

static void test_signals_come_to_the_program(void) {
	struct sigaction action = { .sa_handler = on_signal }, before;
	sigset_t set, old;
	sigaction(SIGUSR1, &action, &before);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, &old); /* nobody but a pool thread could take it now */
	kill(getpid(), SIGUSR1);
	CHECK(signals == 0);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	for (int64_t until = in_ms(5000); signals == 0 && zbz_mono(zbz_clock_system()) < until;) sched_yield();
	CHECK(signals == 1 && pthread_equal(atomic_load(&signalled), pthread_self()));
	sigaction(SIGUSR1, &before, NULL);
}

int main(void) {
	RUN(test_threads_before_the_first_job);
	RUN(test_without_memory);
	RUN(test_one_job);
	RUN(test_posts_in_order);
	RUN(test_misuse);
	RUN(test_ten_thousand_jobs);
	RUN(test_many_posters);
	RUN(test_bound);
	RUN(test_wait_ends_by_its_deadline);
	RUN(test_wait_wakes);
	RUN(test_doorbell);
	RUN(test_doorbell_read_by_the_host);
	RUN(test_no_descriptors_leak);
	RUN(test_signals_come_to_the_program);
	return DONE();
}
