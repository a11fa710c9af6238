/* What the tests of the engine share: jobs that double a number, a gate at which they can be held, and taking what comes back. */
#ifndef SPEC_ENGINE_RIG_H
#define SPEC_ENGINE_RIG_H

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <zbz/alloc.h>
#include <zbz/engine.h>

#include "child.h"

static zbz_err err;
static inline bool says(const char *part) { return strstr(err.text, part) != NULL; }

static inline int64_t in_ms(int64_t ms) { return zbz_mono(zbz_clock_system()) + ms; }

typedef struct sum_job {
	zbz_job job; /* first */
	long n, result;
	pthread_t ran_on;
} sum_job;

static atomic_long dropped, ran;

static inline void run_sum(zbz_job *job) {
	sum_job *s = (sum_job *)job;
	s->result = s->n * 2;
	s->ran_on = pthread_self();
	atomic_fetch_add(&ran, 1);
}

static inline void drop_sum(zbz_job *job) {
	atomic_fetch_add(&dropped, 1);
	free(job);
}

static inline sum_job *new_sum(long n) {
	sum_job *s = calloc(1, sizeof *s);
	s->n = n;
	s->job.run = run_sum;
	s->job.drop = drop_sum;
	return s;
}

static inline zbz_mailbox *new_mailbox(size_t max) {
	zbz_mailbox *mb = NULL;
	CHECK(zbz_mailbox_new(max, &mb, &err) == ZBZ_OK && mb != NULL);
	return mb;
}

/* A job that stays on its thread until the gate opens, and tells when it is there. */
static struct gate {
	pthread_mutex_t lock;
	pthread_cond_t moved;
	int inside;
	bool open;
} gate = { .lock = PTHREAD_MUTEX_INITIALIZER, .moved = PTHREAD_COND_INITIALIZER };

static inline void run_gated(zbz_job *job) {
	pthread_mutex_lock(&gate.lock);
	gate.inside++;
	pthread_cond_broadcast(&gate.moved);
	while (!gate.open) pthread_cond_wait(&gate.moved, &gate.lock);
	gate.inside--;
	pthread_cond_broadcast(&gate.moved);
	pthread_mutex_unlock(&gate.lock);
	run_sum(job);
}

static inline void gate_await(int inside) {
	pthread_mutex_lock(&gate.lock);
	while (gate.inside != inside) pthread_cond_wait(&gate.moved, &gate.lock);
	pthread_mutex_unlock(&gate.lock);
}

static inline void gate_set(bool open) {
	pthread_mutex_lock(&gate.lock);
	gate.open = open;
	pthread_cond_broadcast(&gate.moved);
	pthread_mutex_unlock(&gate.lock);
}

/* Waits for the number of drops: jobs that run are dropped by their threads. */
static inline bool await_drops(long want) {
	int64_t until = in_ms(10000);
	while (atomic_load(&dropped) < want && zbz_mono(zbz_clock_system()) < until) sched_yield();
	return atomic_load(&dropped) == want;
}

static inline bool readable(int fd) {
	struct pollfd p = { .fd = fd, .events = POLLIN };
	return poll(&p, 1, 0) == 1;
}

typedef struct submitter {
	zbz_mailbox *mb;
	long sent, got, sum;
} submitter;

static inline void take(submitter *s) {
	zbz_job *j = zbz_mailbox_drain(s->mb, 64), *next;
	for (; j != NULL; j = next) {
		next = j->next;
		s->got++;
		s->sum += ((sum_job *)j)->result;
		free(j);
	}
}

#endif
