/* Mailboxes: what the pool has finished and what others have posted, waiting for its owner; and the owner's doorbell. */
#include "pool.h"

#include "base/fork.h"

#include <zbz/alloc.h>

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

static zbz_mailbox
    *left_behind; /* the parent's mailboxes that this child has closed: not freed, their jobs may be half-done */

static bool foreign(const zbz_mailbox *mb) { return mb->generation != zbz_fork_generation(); }

static zbz_status closed(zbz_err *err, bool is_foreign) {
	if (is_foreign) return zbz_fail(err, ZBZ_E_CLOSED, "the mailbox belongs to the parent process");
	return zbz_fail(err, ZBZ_E_CLOSED, "the mailbox is closed");
}

zbz_status zbz_mailbox_new(size_t max_jobs, zbz_mailbox **out, zbz_err *err) {
	zbz_mailbox *mb;
	*out = NULL;
	if (max_jobs == 0) return zbz_fail(err, ZBZ_E_ARGUMENT, "a mailbox holds at least one job");
	mb = zbz_calloc(1, sizeof *mb);
	if (mb == NULL) return zbz_fail_nomem(err);
	mb->refs = 1;
	mb->generation = zbz_fork_generation();
	mb->max = max_jobs;
	mb->bell[0] = mb->bell[1] = mb->listener = -1;
	zbz_cond_init_mono(&mb->arrived);
	*out = mb;
	return ZBZ_OK;
}

void zbz_mailbox_destroy(zbz_mailbox *mb) {
	if (mb == NULL) return;
	pthread_cond_destroy(&mb->arrived);
	zbz_free(mb);
}

zbz_mailbox *zbz_mailbox_let_go(zbz_mailbox *mb) {
	if (--mb->refs > 0 || foreign(mb)) return NULL;
	return mb;
}

zbz_mailbox *zbz_mailbox_ref(zbz_mailbox *mb) {
	zbz_engine_enter();
	mb->refs++;
	zbz_engine_leave();
	return mb;
}

void zbz_mailbox_unref(zbz_mailbox *mb) {
	if (mb == NULL) return;
	zbz_engine_enter();
	mb = zbz_mailbox_let_go(mb);
	zbz_engine_leave();
	zbz_mailbox_destroy(mb);
}

/* ---- in ---- */

void zbz_mailbox_ring(zbz_mailbox *mb) {
	ssize_t sent;
	if (mb->bell[1] < 0 || mb->rung) return;
	do sent = send(mb->bell[1], "!", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (sent < 0 && errno == EINTR);
	mb->rung = true; /* a full socket is readable, too */
	mb->stats.doorbells++;
}

static void arrive(zbz_mailbox *mb, zbz_job *job) {
	zbz_queue_push(&mb->ready, job);
	if (mb->ready.n == 1) zbz_mailbox_ring(mb);
	pthread_cond_broadcast(&mb->arrived);
}

bool zbz_mailbox_deliver(zbz_job *job) {
	zbz_mailbox *mb = job->mailbox;
	mb->in_flight--;
	mb->stats.finished++;
	if (mb->closed) {
		mb->stats.dropped++;
		return true;
	}
	arrive(mb, job);
	return false;
}

/* May one more job come? */
static zbz_status admit(zbz_mailbox *mb, zbz_err *err) {
	if (mb->closed || foreign(mb)) return closed(err, foreign(mb));
	if (mb->in_flight + mb->ready.n >= mb->max) {
		mb->stats.refused++;
		return zbz_fail(err, ZBZ_E_UNAVAILABLE, "the mailbox is full: %zu jobs under way or undrained", mb->max);
	}
	return ZBZ_OK;
}

zbz_status zbz_submit(zbz_mailbox *mb, zbz_job *job, zbz_err *err) {
	zbz_status status;
	if (job->run == NULL || job->drop == NULL)
		return zbz_fail(err, ZBZ_E_ARGUMENT, "a job needs its functions run and drop");
	zbz_engine_enter();
	status = admit(mb, err);
	if (status == ZBZ_OK) {
		job->mailbox = mb;
		job->ticket = zbz_engine_ticket();
		status = zbz_pool_push(job, err);
	}
	if (status == ZBZ_OK) {
		mb->refs++;
		mb->in_flight++;
		mb->stats.submitted++;
	}
	zbz_engine_leave();
	return status;
}

zbz_status zbz_reserve(zbz_mailbox *mb, zbz_job *job, zbz_err *err) {
	zbz_status status;
	if (job->drop == NULL) return zbz_fail(err, ZBZ_E_ARGUMENT, "a reserved job needs its function drop");
	zbz_engine_enter();
	status = admit(mb, err);
	if (status == ZBZ_OK) {
		job->mailbox = mb;
		job->ticket = zbz_engine_ticket();
		mb->refs++;
		mb->in_flight++;
		mb->stats.submitted++;
	}
	zbz_engine_leave();
	return status;
}

void zbz_complete(zbz_job *job) {
	zbz_mailbox *last;
	bool unwanted;
	zbz_engine_enter();
	unwanted = zbz_mailbox_deliver(job);
	last = zbz_mailbox_let_go(job->mailbox);
	zbz_engine_leave();
	if (unwanted) job->drop(job);
	zbz_mailbox_destroy(last);
}

zbz_status zbz_post(zbz_mailbox *mb, zbz_job *job, zbz_err *err) {
	zbz_status status;
	if (job->drop == NULL) return zbz_fail(err, ZBZ_E_ARGUMENT, "a posted job needs its function drop");
	zbz_engine_enter();
	status = admit(mb, err);
	if (status == ZBZ_OK) {
		job->mailbox = mb;
		job->ticket = zbz_engine_ticket();
		mb->stats.posted++;
		arrive(mb, job);
	}
	zbz_engine_leave();
	return status;
}

/* ---- out ---- */

static void silence(zbz_mailbox *mb) {
	char bytes[64]; /* a kick may have added one */
	ssize_t got;
	if (!mb->rung) return;
	mb->rung = false;
	if (mb->bell[0] < 0) return;
	do got = recv(mb->bell[0], bytes, sizeof bytes, MSG_DONTWAIT);
	while (got < 0 && errno == EINTR);
}

zbz_job *zbz_mailbox_drain(zbz_mailbox *mb, size_t max) {
	zbz_queue out = { NULL, NULL, 0 };
	zbz_engine_enter();
	if (!foreign(mb)) {
		while (mb->ready.n > 0 && out.n < max) zbz_queue_push(&out, zbz_queue_pop(&mb->ready));
		if (mb->ready.n == 0) silence(mb);
	}
	zbz_engine_leave();
	return out.head;
}

/* Under the lock: waits for something to arrive, or for the end. */
static void await_arrival(zbz_mailbox *mb, int64_t deadline) {
	struct timespec until = { (time_t)(deadline / 1000), (long)(deadline % 1000) * 1000000 };
	int problem = 0;
	while (mb->ready.n == 0 && !mb->closed && problem != ETIMEDOUT)
		problem = deadline == ZBZ_NEVER ? pthread_cond_wait(&mb->arrived, zbz_engine_mutex())
		                                : pthread_cond_timedwait(&mb->arrived, zbz_engine_mutex(), &until);
}

zbz_status zbz_mailbox_wait(zbz_mailbox *mb, int64_t deadline, zbz_err *err) {
	zbz_status status = ZBZ_OK;
	zbz_mailbox *last;
	zbz_engine_enter();
	if (foreign(mb)) {
		zbz_engine_leave();
		return closed(err, true);
	}
	mb->refs++; /* it may be closed meanwhile */
	await_arrival(mb, deadline > 0 ? deadline : 0);
	if (mb->closed)
		status = closed(err, false);
	else if (mb->ready.n == 0)
		status = zbz_fail(err, ZBZ_E_TIMEOUT, "nothing arrived in the mailbox by the deadline");
	last = zbz_mailbox_let_go(mb);
	zbz_engine_leave();
	zbz_mailbox_destroy(last);
	return status;
}

int zbz_mailbox_fd(zbz_mailbox *mb, zbz_err *err) {
	int fd = -1;
	zbz_engine_enter();
	if (mb->closed || foreign(mb)) {
		closed(err, foreign(mb));
	} else if (mb->bell[0] < 0 && mb->bell[1] >= 0) {
		zbz_fail(err, ZBZ_E_UNSUPPORTED, "the host holds the wake socket itself");
	} else if (mb->bell[0] < 0 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, mb->bell) != 0) {
		mb->bell[0] = mb->bell[1] = -1;
		zbz_fail_errno(err, ZBZ_E_UNAVAILABLE, errno, "no wake socket");
	} else {
		fd = mb->bell[0];
		if (mb->ready.n > 0) zbz_mailbox_ring(mb);
	}
	zbz_engine_leave();
	return fd;
}

void zbz_mailbox_stats_read(zbz_mailbox *mb, zbz_mailbox_stats *out) {
	zbz_engine_enter();
	*out = mb->stats;
	out->waiting = foreign(mb) ? 0 : mb->ready.n;
	zbz_engine_leave();
}

/* ---- the end ---- */

static void close_bell(zbz_mailbox *mb) {
	for (int i = 0; i < 2; i++) {
		if (mb->bell[i] >= 0) close(mb->bell[i]);
		mb->bell[i] = -1;
	}
	if (mb->listener >= 0) close(mb->listener);
	mb->listener = -1;
	mb->rung = false;
}

/* Under the lock: all jobs that nobody will ask for any more. */
static zbz_queue give_up_jobs(zbz_mailbox *mb) {
	zbz_queue out = mb->ready, begun_never = { NULL, NULL, 0 };
	mb->ready = (zbz_queue){ NULL, NULL, 0 };
	zbz_pool_withdraw(mb, &begun_never);
	mb->in_flight -= begun_never.n;
	mb->refs -= (unsigned)begun_never.n; /* each held one; the owner's is still there */
	while (begun_never.n > 0) zbz_queue_push(&out, zbz_queue_pop(&begun_never));
	mb->stats.dropped += out.n;
	return out;
}

void zbz_mailbox_close(zbz_mailbox *mb) {
	zbz_queue jobs = { NULL, NULL, 0 };
	if (mb == NULL) return;
	zbz_engine_enter();
	close_bell(mb);
	mb->closed = true;
	if (foreign(mb)) {
		mb->next = left_behind;
		left_behind = mb;
		mb = NULL;
	} else {
		jobs = give_up_jobs(mb);
		pthread_cond_broadcast(&mb->arrived);
		mb = zbz_mailbox_let_go(mb);
	}
	zbz_engine_leave();
	while (jobs.n > 0) {
		zbz_job *job = zbz_queue_pop(&jobs);
		job->drop(job);
	}
	zbz_mailbox_destroy(mb);
}
