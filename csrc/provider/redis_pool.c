/* The pool: at most pool_size sockets, the one used last first (LIFO), so that those not needed grow old at the bottom.
 *
 * A fork: every pool stands in one list; while a process forks, all their locks are held, and the child closes the
 * descriptors it inherited without a word to the server. What another thread of the parent had in use is nobody's in the
 * child: its memory stays. */
#include "provider/redis_impl.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

#define TOP_UP_MS    250  /* the most a call may be held up by opening a connection ahead of need */
#define TOP_UP_PAUSE 1000 /* after a failure to do so */

struct redis_pool {
	redis_pool *next, *prev; /* in the list of all pools */
	const redis_target *target;
	pthread_mutex_t lock;
	pthread_cond_t freed;
	redis_conn *newest, *oldest; /* parked */
	redis_conn *all;
	int64_t open, parked, waiting;
	int64_t top_up_after;
};

/* ---- forks ---------------------------------------------------------------------------------------------------------- */

static pthread_mutex_t pools_lock = PTHREAD_MUTEX_INITIALIZER;
static redis_pool *pools;

static void before_fork(void) {
	redis_pool *p;
	pthread_mutex_lock(&pools_lock);
	for (p = pools; p; p = p->next) pthread_mutex_lock(&p->lock);
}

static void after_fork_parent(void) {
	redis_pool *p;
	for (p = pools; p; p = p->next) pthread_mutex_unlock(&p->lock);
	pthread_mutex_unlock(&pools_lock);
}

static void init_condition(redis_pool *p) {
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&p->freed, &attr);
	pthread_condattr_destroy(&attr);
}

static void after_fork_child(void) {
	redis_pool *p;
	for (p = pools; p; p = p->next) {
		redis_conn *conn;
		for (conn = p->all; conn; conn = conn->all_next) zbz_net_abandon(conn->net);
		p->open = p->parked;
		p->waiting = 0;
		p->all = NULL;
		for (conn = p->newest; conn; conn = conn->older) {
			conn->all_prev = NULL;
			conn->all_next = p->all;
			if (p->all) p->all->all_prev = conn;
			p->all = conn;
		}
		init_condition(p); /* those who waited are not here */
		pthread_mutex_unlock(&p->lock);
	}
	pthread_mutex_unlock(&pools_lock);
}

static void watch_forks(void) { pthread_atfork(before_fork, after_fork_parent, after_fork_child); }

/* ---- the stack of parked connections, under the lock ------------------------------------------------------------------ */

static void park(redis_pool *p, redis_conn *conn) {
	conn->parked = true;
	conn->newer = NULL;
	conn->older = p->newest;
	if (p->newest)
		p->newest->newer = conn;
	else
		p->oldest = conn;
	p->newest = conn;
	p->parked++;
}

static void unpark(redis_pool *p, redis_conn *conn) {
	if (conn->newer)
		conn->newer->older = conn->older;
	else
		p->newest = conn->older;
	if (conn->older)
		conn->older->newer = conn->newer;
	else
		p->oldest = conn->newer;
	conn->parked = false;
	p->parked--;
}

static void enlist(redis_pool *p, redis_conn *conn) {
	conn->all_prev = NULL;
	conn->all_next = p->all;
	if (p->all) p->all->all_prev = conn;
	p->all = conn;
}

static void delist(redis_pool *p, redis_conn *conn) {
	if (conn->all_prev)
		conn->all_prev->all_next = conn->all_next;
	else
		p->all = conn->all_next;
	if (conn->all_next) conn->all_next->all_prev = conn->all_prev;
}

static bool too_old(const redis_pool *p, const redis_conn *conn) {
	int64_t lifetime = p->target->opt->conn_max_lifetime;
	return lifetime > 0 && zbz_net_now() - conn->born >= lifetime;
}

static void vacate(redis_pool *p) {
	p->open--;
	if (p->waiting) pthread_cond_signal(&p->freed);
}

static void discard(redis_pool *p, redis_conn *conn) {
	pthread_mutex_lock(&p->lock);
	delist(p, conn);
	vacate(p);
	pthread_mutex_unlock(&p->lock);
	redis_conn_close(conn);
}

/* ---- public --------------------------------------------------------------------------------------------------------- */

zbz_status redis_pool_new(const redis_target *t, redis_pool **out, zbz_err *err) {
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	redis_pool *p = zbz_calloc(1, sizeof *p);
	if (!p) return zbz_fail_nomem(err);
	p->target = t;
	init_condition(p);
	pthread_mutex_init(&p->lock, NULL);
	pthread_once(&once, watch_forks);
	pthread_mutex_lock(&pools_lock);
	p->next = pools;
	if (pools) pools->prev = p;
	pools = p;
	pthread_mutex_unlock(&pools_lock);
	*out = p;
	return ZBZ_OK;
}

void redis_pool_free(redis_pool *p) {
	if (!p) return;
	pthread_mutex_lock(&pools_lock);
	if (p->prev)
		p->prev->next = p->next;
	else
		pools = p->next;
	if (p->next) p->next->prev = p->prev;
	pthread_mutex_unlock(&pools_lock);
	while (p->newest) {
		redis_conn *conn = p->newest;
		unpark(p, conn);
		delist(p, conn);
		redis_conn_close(conn);
	}
	pthread_cond_destroy(&p->freed);
	pthread_mutex_destroy(&p->lock);
	zbz_free(p);
}

/* The place in p->open is already taken. */
static zbz_status open_one(redis_pool *p, int64_t deadline, redis_conn **out, zbz_err *err) {
	zbz_status s = redis_conn_open(p->target, deadline, out, err);
	pthread_mutex_lock(&p->lock);
	if (s == ZBZ_OK)
		enlist(p, *out);
	else
		vacate(p);
	pthread_mutex_unlock(&p->lock);
	return s;
}

static int64_t connect_by(const redis_pool *p, int64_t deadline) {
	int64_t timeout = p->target->opt->timeout, limit;
	if (timeout <= 0) return deadline;
	limit = zbz_net_now() + timeout;
	return limit < deadline ? limit : deadline;
}

/* False at the deadline. */
static bool await_vacancy(redis_pool *p, int64_t deadline) {
	struct timespec ts = { .tv_sec = (time_t)(deadline / 1000), .tv_nsec = (long)(deadline % 1000) * 1000000 };
	bool late = false;
	p->waiting++;
	while (!late && !p->newest && p->open >= p->target->opt->pool_size) {
		if (deadline == ZBZ_NEVER)
			pthread_cond_wait(&p->freed, &p->lock);
		else
			late = pthread_cond_timedwait(&p->freed, &p->lock, &ts) == ETIMEDOUT;
	}
	p->waiting--;
	return p->newest || p->open < p->target->opt->pool_size;
}

/* A parked connection, NULL when a new one may be opened (its place is taken then), or an error. */
static zbz_status reserve(redis_pool *p, int64_t deadline, redis_conn **out, zbz_err *err) {
	zbz_status s = ZBZ_OK;
	*out = NULL;
	pthread_mutex_lock(&p->lock);
	if (!p->newest && p->open >= p->target->opt->pool_size && !await_vacancy(p, connect_by(p, deadline)))
		s = zbz_fail(err, ZBZ_E_TIMEOUT, "all %lld connections of the pool are in use",
		             (long long)p->target->opt->pool_size);
	else if (p->newest)
		unpark(p, *out = p->newest);
	else
		p->open++;
	pthread_mutex_unlock(&p->lock);
	return s;
}

zbz_status redis_pool_take(redis_pool *p, int64_t deadline, redis_conn **out, zbz_err *err) {
	for (;;) {
		zbz_status s = reserve(p, deadline, out, err);
		if (s != ZBZ_OK) return s;
		if (!*out) return open_one(p, connect_by(p, deadline), out, err);
		if ((*out)->net->fd >= 0 && !too_old(p, *out) && zbz_net_quiet((*out)->net)) break;
		discard(p, *out);
	}
	(*out)->touched = false;
	zbz_buf_reset(&(*out)->out);
	return ZBZ_OK;
}

void redis_pool_give(redis_pool *p, redis_conn *conn) {
	redis_conn *old = NULL;
	if (conn->broken || too_old(p, conn)) {
		discard(p, conn);
		return;
	}
	pthread_mutex_lock(&p->lock);
	park(p, conn);
	if (p->oldest != conn && too_old(p, p->oldest)) {
		old = p->oldest;
		unpark(p, old);
	}
	if (p->waiting) pthread_cond_signal(&p->freed);
	pthread_mutex_unlock(&p->lock);
	if (old) discard(p, old);
}

static bool wants_more(redis_pool *p) {
	const redis_options *opt = p->target->opt;
	bool yes;
	pthread_mutex_lock(&p->lock);
	yes = p->parked < opt->min_idle_conns && p->open < opt->pool_size && zbz_net_now() >= p->top_up_after;
	if (yes) p->open++;
	pthread_mutex_unlock(&p->lock);
	return yes;
}

void redis_pool_top_up(redis_pool *p, int64_t deadline) {
	redis_conn *conn;
	int64_t limit;
	if (p->target->opt->min_idle_conns == 0 || !wants_more(p)) return;
	limit = zbz_net_now() + TOP_UP_MS;
	if (open_one(p, connect_by(p, limit < deadline ? limit : deadline), &conn, NULL) == ZBZ_OK) {
		redis_pool_give(p, conn);
		return;
	}
	pthread_mutex_lock(&p->lock);
	p->top_up_after = zbz_net_now() + TOP_UP_PAUSE;
	pthread_mutex_unlock(&p->lock);
}

int64_t redis_pool_open_count(redis_pool *p) {
	int64_t n;
	pthread_mutex_lock(&p->lock);
	n = p->open;
	pthread_mutex_unlock(&p->lock);
	return n;
}
