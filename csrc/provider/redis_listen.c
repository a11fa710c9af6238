/* Listeners: their thread, its way back after a loss, and forks. */
#include "provider/redis_listen.h"

#include <errno.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define RECONNECT_MS   1000 /* limit of the first attempt to come back; doubled up to the option timeout */
#define BACKOFF_MIN_MS 20
#define BACKOFF_MAX_MS 2000
#define SILENCE_MS     15000 /* when read_timeout is off */

/* ---- forks ---------------------------------------------------------------------------------------------------------- */

static pthread_mutex_t listeners_lock = PTHREAD_MUTEX_INITIALIZER;
static redis_listener *listeners;
/* In a child: what the parent's threads were in the middle of; never touched, only kept reachable. */
static redis_conn *left_behind;

static void before_fork(void) {
	redis_listener *l;
	pthread_mutex_lock(&listeners_lock);
	for (l = listeners; l; l = l->next) pthread_mutex_lock(&l->lock);
}

static void after_fork_parent(void) {
	redis_listener *l;
	for (l = listeners; l; l = l->next) pthread_mutex_unlock(&l->lock);
	pthread_mutex_unlock(&listeners_lock);
}

static void after_fork_child(void) {
	redis_listener *l;
	for (l = listeners; l; l = l->next) {
		if (l->rests)
			zbz_net_abandon(l->conn->net);
		else if (l->fd >= 0)
			close(l->fd);
		if (l->wake >= 0) close(l->wake);
		l->fd = l->wake = -1;
		pthread_cond_init(&l->told, NULL); /* who waited is not here */
		pthread_mutex_unlock(&l->lock);
	}
	pthread_mutex_unlock(&listeners_lock);
}

static void watch_forks(void) { pthread_atfork(before_fork, after_fork_parent, after_fork_child); }

/* What the thread had, for the child's end of the listener. */
static void drop_inherited(redis_listener *l) {
	if (l->rests) {
		redis_conn_close(l->conn);
	} else if (l->conn != NULL) {
		l->conn->all_next = left_behind;
		left_behind = l->conn;
	}
}

static void set_rests(redis_listener *l, bool rests) {
	pthread_mutex_lock(&l->lock);
	l->rests = rests;
	pthread_mutex_unlock(&l->lock);
}

static void enlist(redis_listener *l) {
	pthread_mutex_lock(&listeners_lock);
	l->next = listeners;
	if (listeners) listeners->prev = l;
	listeners = l;
	pthread_mutex_unlock(&listeners_lock);
}

static void delist(redis_listener *l) {
	pthread_mutex_lock(&listeners_lock);
	if (l->prev)
		l->prev->next = l->next;
	else
		listeners = l->next;
	if (l->next) l->next->prev = l->prev;
	pthread_mutex_unlock(&listeners_lock);
}

/* ---- the thread ----------------------------------------------------------------------------------------------------- */

zbz_status redis_listener_read(redis_listener *l, int64_t deadline, zbz_err *err) {
	size_t got = 0;
	zbz_status s;
	set_rests(l, true);
	s = zbz_net_wait(l->conn->net, POLLIN, l->wake, deadline, NULL, err);
	set_rests(l, false);
	if (s != ZBZ_OK) return s;
	s = redis_conn_take(l->conn, SIZE_MAX, &got, l->how->item, l, err);
	return s == ZBZ_AGAIN ? ZBZ_OK : s;
}

static zbz_status attach(redis_listener *l, int64_t deadline, zbz_err *err) {
	zbz_status s = redis_conn_open(&l->self->target, deadline, &l->conn, err);
	if (s != ZBZ_OK) return s;
	pthread_mutex_lock(&l->lock);
	l->fd = l->conn->net->fd;
	pthread_mutex_unlock(&l->lock);
	return l->how->ask(l, deadline, err);
}

static void detach(redis_listener *l) {
	redis_conn *conn = l->conn;
	pthread_mutex_lock(&l->lock);
	l->conn = NULL;
	l->fd = -1;
	pthread_mutex_unlock(&l->lock);
	redis_conn_close(conn);
}

/* Until the connection is lost (negative) or the thread shall end (AGAIN). Half of the time for silence, half for the answer. */
static zbz_status listen_on(redis_listener *l, zbz_err *err) {
	int64_t timeout = l->self->opt->read_timeout > 0 ? l->self->opt->read_timeout : SILENCE_MS;
	int64_t silence = timeout / 2 > 0 ? timeout / 2 : 1;
	bool probed = false;
	for (;;) {
		int64_t deadline = zbz_net_now() + silence;
		zbz_status s = redis_listener_read(l, deadline, err);
		if (s == ZBZ_E_TIMEOUT && !probed) {
			s = zbz_net_write(l->conn->net, "*1\r\n$4\r\nPING\r\n", 14, deadline + silence, err);
			probed = true;
		} else {
			probed = false;
		}
		if (s != ZBZ_OK) return s;
	}
}

/* False: the thread shall end. */
static bool pause_for(redis_listener *l, int failures) {
	struct pollfd pfd = { .fd = l->wake, .events = POLLIN };
	int ms = failures < 7 ? BACKOFF_MIN_MS << failures : BACKOFF_MAX_MS;
	int rc;
	do rc = poll(&pfd, 1, ms - (int)((uintptr_t)l / 64 % (unsigned)(ms / 4 + 1)));
	while (rc < 0 && errno == EINTR);
	return rc == 0;
}

static void tell_first(redis_listener *l, const zbz_err *err, zbz_status s) {
	pthread_mutex_lock(&l->lock);
	l->err = *err;
	l->err.status = s;
	l->known = true;
	pthread_cond_signal(&l->told);
	pthread_mutex_unlock(&l->lock);
}

static int64_t reconnect_deadline(const redis_listener *l, int failures) {
	int64_t ms = failures < 4 ? RECONNECT_MS << failures : RECONNECT_MS << 4, timeout = l->self->opt->timeout;
	return zbz_net_now() + (timeout > 0 && timeout < ms ? timeout : ms);
}

static void *thread_main(void *ud) {
	redis_listener *l = ud;
	zbz_err err = { 0 };
	int failures = 0;
	zbz_status s = attach(l, l->first_deadline, &err);
	tell_first(l, &err, s);
	if (s != ZBZ_OK) {
		detach(l);
		return NULL;
	}
	for (;;) {
		if (s == ZBZ_OK) {
			failures = 0;
			s = listen_on(l, &err);
			if (s != ZBZ_AGAIN) l->how->lost(l);
		}
		detach(l);
		if (s == ZBZ_AGAIN || !pause_for(l, failures)) return NULL;
		s = attach(l, reconnect_deadline(l, failures++), &err);
		if (s == ZBZ_OK) l->how->back(l);
	}
}

/* ---- starting and stopping -------------------------------------------------------------------------------------------- */

static bool start_thread(redis_listener *l) {
	sigset_t all, old;
	int rc;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&l->thread, NULL, thread_main, l);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return rc == 0;
}

/* The thread's own words about the first attempt. */
static zbz_status await_first(redis_listener *l, zbz_err *err) {
	pthread_mutex_lock(&l->lock);
	while (!l->known) pthread_cond_wait(&l->told, &l->lock);
	*err = l->err;
	pthread_mutex_unlock(&l->lock);
	return err->status;
}

void redis_listener_stop(redis_listener *l) {
	if (l->pid == getpid()) {
		uint64_t one = 1;
		while (write(l->wake, &one, sizeof one) < 0 && errno == EINTR) {}
		pthread_join(l->thread, NULL);
	} else if (l->pid != 0) {
		drop_inherited(l);
	}
	delist(l);
	pthread_cond_destroy(&l->told);
	pthread_mutex_destroy(&l->lock);
	if (l->wake >= 0) close(l->wake);
	l->how->free(l);
}

zbz_status redis_listener_start(redis_listener *l, redis_self *self, const redis_listening *how, zbz_call *c) {
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	zbz_err err;
	zbz_status s;
	l->self = self;
	l->how = how;
	l->fd = -1;
	l->pid = getpid();
	l->first_deadline = zbz_net_deadline(c, self->opt->timeout);
	l->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (l->wake < 0) {
		s = zbz_fail_errno(&c->err, ZBZ_E_UNAVAILABLE, errno, "eventfd");
		how->free(l);
		return s;
	}
	pthread_mutex_init(&l->lock, NULL);
	pthread_cond_init(&l->told, NULL);
	pthread_once(&once, watch_forks);
	enlist(l);
	if (!start_thread(l)) {
		l->pid = 0; /* nothing to join */
		redis_listener_stop(l);
		return zbz_fail(&c->err, ZBZ_E_UNAVAILABLE, "no thread to listen with");
	}
	s = await_first(l, &err);
	if (s == ZBZ_OK) return s;
	c->err = err;
	redis_listener_stop(l);
	return s;
}

static redis_listener *one_of(const redis_self *self) {
	redis_listener *l;
	pthread_mutex_lock(&listeners_lock);
	for (l = listeners; l && l->self != self; l = l->next) {}
	pthread_mutex_unlock(&listeners_lock);
	return l;
}

void redis_stop_listening(redis_self *self) {
	redis_listener *l;
	while ((l = one_of(self)) != NULL) redis_listener_stop(l);
}
