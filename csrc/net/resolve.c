/* Names are resolved on a short-lived thread, because getaddrinfo knows no deadline; a number in the place of a name never starts one.
 * There is a bound to the threads whose callers have given up. */
#include "net/net.h"

#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

enum { THREADS_MAX = 64 };
static atomic_int threads; /* on their way; about, for two callers may look at once */

static void in_child(void) { atomic_store(&threads, 0); }

__attribute__((constructor)) static void watch_forks(void) { pthread_atfork(NULL, NULL, in_child); }

typedef struct lookup { /* shared by the asking thread and the resolving one; the last to leave frees */
	pthread_mutex_t lock;
	pthread_cond_t ended;
	int users;
	bool done;
	int type, rc;
	struct addrinfo *found;
	char port[12];
	char host[];
} lookup;

static int resolve(const char *host, const char *port, int type, int flags, struct addrinfo **found) {
	struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = type, .ai_flags = flags | AI_NUMERICSERV };
	*found = NULL;
	return getaddrinfo(host, port, &hints, found);
}

static void lookup_leave(lookup *l) {
	bool last;
	pthread_mutex_lock(&l->lock);
	last = --l->users == 0;
	pthread_mutex_unlock(&l->lock);
	if (!last) return;
	if (l->found) freeaddrinfo(l->found);
	pthread_cond_destroy(&l->ended);
	pthread_mutex_destroy(&l->lock);
	zbz_free(l);
}

static void *lookup_run(void *ud) {
	lookup *l = ud;
	struct addrinfo *found;
	int rc = resolve(l->host, l->port, l->type, 0, &found);
	pthread_mutex_lock(&l->lock);
	l->rc = rc;
	l->found = found;
	l->done = true;
	pthread_cond_signal(&l->ended);
	pthread_mutex_unlock(&l->lock);
	lookup_leave(l);
	atomic_fetch_sub(&threads, 1);
	return NULL;
}

static lookup *lookup_new(const char *host, const char *port, int type) {
	size_t n = strlen(host) + 1;
	lookup *l = zbz_calloc(1, sizeof *l + n);
	pthread_condattr_t attr;
	if (!l) return NULL;
	memcpy(l->host, host, n);
	snprintf(l->port, sizeof l->port, "%s", port);
	l->type = type;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&l->ended, &attr);
	pthread_condattr_destroy(&attr);
	pthread_mutex_init(&l->lock, NULL);
	l->users = 2;
	return l;
}

static bool lookup_start(lookup *l) {
	pthread_t thread;
	pthread_attr_t attr;
	sigset_t all, old;
	int rc;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	atomic_fetch_add(&threads, 1);
	rc = pthread_create(&thread, &attr, lookup_run, l);
	if (rc != 0) atomic_fetch_sub(&threads, 1);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	return rc == 0;
}

static bool lookup_wait(lookup *l, int64_t deadline, int *rc, struct addrinfo **found) {
	bool done;
	pthread_mutex_lock(&l->lock);
	while (!l->done) {
		struct timespec ts = { .tv_sec = (time_t)(deadline / 1000), .tv_nsec = (long)(deadline % 1000) * 1000000 };
		if (deadline == ZBZ_NEVER)
			pthread_cond_wait(&l->ended, &l->lock);
		else if (pthread_cond_timedwait(&l->ended, &l->lock, &ts) == ETIMEDOUT)
			break;
	}
	done = l->done;
	*rc = l->rc;
	*found = l->found;
	if (done) l->found = NULL;
	pthread_mutex_unlock(&l->lock);
	return done;
}

zbz_status zbz_net_resolve(const char *host, int port, int type, int64_t deadline, struct addrinfo **found,
                           zbz_err *err) {
	char text[12];
	lookup *l;
	int rc;
	snprintf(text, sizeof text, "%d", port);
	if (resolve(host, text, type, AI_NUMERICHOST, found) == 0) return ZBZ_OK;
	if (atomic_load(&threads) >= THREADS_MAX)
		return zbz_fail(err, ZBZ_E_UNAVAILABLE, "cannot resolve %s: %d names are being resolved already", host,
		                THREADS_MAX);
	l = lookup_new(host, text, type);
	if (!l) return zbz_fail_nomem(err);
	if (!lookup_start(l)) { /* no thread to be had: better late than never */
		l->users = 1;
		l->rc = resolve(host, text, type, 0, &l->found);
		l->done = true;
	}
	if (!lookup_wait(l, deadline, &rc, found)) {
		lookup_leave(l);
		return zbz_fail(err, ZBZ_E_TIMEOUT, "the name %s was not resolved in time", host);
	}
	lookup_leave(l);
	return rc == 0 ? ZBZ_OK : zbz_fail(err, ZBZ_E_UNAVAILABLE, "cannot resolve %s: %s", host, gai_strerror(rc));
}
