/* Who holds locks and who waits for them in this process. Waiters of a backend's locks are woken by its channel; for the host-wide ones a
 * thread sleeps on the segment while there are waiters, and looks after holders that may have died. */
#include "lock.h"

#include <signal.h>
#include <time.h>

#include "atfork.h"
#include "await.h"
#include "base/fork.h"

enum { LIVENESS_MS = 250, LINGER_MS = 1000 };

static struct {
	atfork_node fork;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	zbz_lock *held, *waiting;
	size_t on_host; /* waiting for a host-wide lock */
	bool running;   /* the thread */
} all = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

void zbz_locks_enter(void) { pthread_mutex_lock(&all.lock); }
void zbz_locks_leave(void) { pthread_mutex_unlock(&all.lock); }

/* ---- lists ---- */

static void unlink_it(zbz_lock *l) {
	if (l->at == NULL) return;
	*l->at = l->next;
	if (l->next != NULL) l->next->at = l->at;
	l->at = NULL;
	if (l->waits && l->reach == ZBZ_REACH_HOST) all.on_host--;
	l->held = l->waits = false;
}

static void link_to(zbz_lock **list, zbz_lock *l) {
	unlink_it(l);
	l->next = *list;
	l->at = list;
	if (*list != NULL) (*list)->at = &l->next;
	*list = l;
}

static void set_waiting(zbz_lock *l) {
	link_to(&all.waiting, l);
	l->waits = true;
	if (l->reach == ZBZ_REACH_HOST) all.on_host++;
}

/* The callbacks, to be run without the lock. */
static callback *end(zbz_lock *l, zbz_outcome outcome) {
	callback *list = l->callbacks;
	l->callbacks = NULL;
	l->ended = true;
	l->outcome = outcome;
	unlink_it(l);
	pthread_cond_broadcast(&l->cond);
	return list;
}

static callback *joined(callback *list, callback *more) {
	callback *last = more;
	if (more == NULL) return list;
	while (last->next != NULL) last = last->next;
	last->next = list;
	return more;
}

/* ---- fork: locks of the parent are none of the child's ---- */

static void lock_for_fork(atfork_node *node) {
	(void)node;
	zbz_locks_enter();
}
static void unlock_for_fork(atfork_node *node) {
	(void)node;
	zbz_locks_leave();
}

static void forget(zbz_lock *list) {
	zbz_lock *next;
	for (; list != NULL; list = next) {
		next = list->next;
		list->at = NULL;
		list->held = list->waits = false;
		list->ended = true;
		zbz_await_init(&list->cond);
	}
}

static void renew_in_child(atfork_node *node) {
	(void)node;
	forget(all.held);
	forget(all.waiting);
	all.held = all.waiting = NULL;
	all.on_host = 0;
	all.running = false;
	zbz_await_init(&all.changed);
	zbz_locks_leave();
}

__attribute__((constructor)) static void prepare(void) {
	zbz_await_init(&all.changed);
	all.fork.lock = lock_for_fork;
	all.fork.unlock = unlock_for_fork;
	all.fork.renew = renew_in_child;
	zbz_atfork_watch(&all.fork);
}

/* ---- the thread ---- */

/* Looks at every host-wide lock that is waited for; with `reap` also whether its holder lives. */
static callback *scan(bool reap) {
	callback *done = NULL;
	zbz_lock *l, *next;
	for (l = all.waiting; l != NULL; l = next) {
		zbz_outcome outcome;
		next = l->next;
		if (l->reach != ZBZ_REACH_HOST) continue;
		if (reap ? zbz_host_reap(&l->claim, &outcome) : zbz_host_over(&l->claim, &outcome))
			done = joined(done, end(l, outcome));
	}
	return done;
}

static zbz_host_segment *watched(void) {
	const zbz_lock *l = all.waiting;
	while (l != NULL && l->reach != ZBZ_REACH_HOST) l = l->next;
	return l != NULL ? l->claim.segment : NULL;
}

/* False: nobody has come for a while. */
static bool await_work(void) {
	bool late = false;
	struct timespec until;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += LINGER_MS / 1000;
	while (all.on_host == 0 && !late) late = pthread_cond_timedwait(&all.changed, &all.lock, &until) != 0;
	return all.on_host > 0;
}

static void *watch(void *unused) {
	int64_t next_look = 0;
	zbz_locks_enter();
	while (await_work()) {
		zbz_host_segment *segment = watched();
		uint32_t seen = zbz_host_seen(segment); /* before the scan: what is released after it ends the sleep */
		int64_t now = zbz_host_now();
		bool reap = now >= next_look;
		callback *done = scan(reap);
		bool more = all.on_host > 0;
		if (reap) next_look = now + LIVENESS_MS;
		zbz_locks_leave();
		callbacks_run(done);
		if (more) zbz_host_sleep(segment, seen, LIVENESS_MS);
		zbz_locks_enter();
	}
	all.running = false;
	zbz_locks_leave();
	return unused;
}

static bool start_thread(void) {
	sigset_t block, before;
	pthread_attr_t attr;
	pthread_t id;
	int problem;
	sigfillset(&block);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_sigmask(SIG_SETMASK, &block, &before);
	problem = pthread_create(&id, &attr, watch, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	return problem == 0;
}

static bool ensure_thread(void) {
	if (all.running)
		pthread_cond_signal(&all.changed);
	else
		all.running = start_thread();
	return all.running;
}

/* ---- one lock ---- */

void zbz_lock_begin_try(zbz_lock *l) {
	callback *list;
	zbz_locks_enter();
	list = end(l, ZBZ_OUTCOME_UNKNOWN);
	l->ended = l->told = l->told_gap = false;
	l->trying = true;
	zbz_locks_leave();
	callbacks_run(list);
}

void zbz_lock_listen(zbz_lock *l) {
	zbz_locks_enter();
	set_waiting(l);
	zbz_locks_leave();
}

void zbz_lock_delist(zbz_lock *l) {
	zbz_locks_enter();
	l->trying = false;
	unlink_it(l);
	zbz_locks_leave();
}

bool zbz_lock_is_held(zbz_lock *l) {
	bool held;
	zbz_locks_enter();
	held = l->held;
	zbz_locks_leave();
	return held;
}

void zbz_lock_forget(zbz_lock *l) {
	callback *next;
	for (; l->callbacks != NULL; l->callbacks = next) {
		next = l->callbacks->next;
		zbz_free(l->callbacks);
	}
}

void zbz_lock_note_held(zbz_lock *l) {
	zbz_locks_enter();
	l->trying = false;
	link_to(&all.held, l);
	l->held = true;
	zbz_locks_leave();
}

static bool holds_this(const zbz_lock *mine, const zbz_lock *l) {
	if (mine->owner != l->owner || mine->reach != l->reach) return false;
	if (l->reach == ZBZ_REACH_HOST) return mine->claim.ticket == l->claim.ticket && mine->claim.slot == l->claim.slot;
	return memcmp(mine->token, l->holder.token, ZBZ_LOCK_TOKEN) == 0;
}

static bool is_own(const zbz_lock *l) {
	const zbz_lock *mine = all.held;
	if (l->owner == NULL) return false;
	while (mine != NULL && !holds_this(mine, l)) mine = mine->next;
	return mine != NULL;
}

/* What was told while the answer was under way, or came with it. */
static bool ended_already(zbz_lock *l, zbz_outcome *outcome) {
	*outcome = l->holder.outcome;
	if (l->reach == ZBZ_REACH_HOST) return zbz_host_over(&l->claim, outcome);
	if (*outcome != ZBZ_OUTCOME_UNKNOWN) return true;
	if (l->told && memcmp(l->told_token, l->holder.token, ZBZ_LOCK_TOKEN) == 0) *outcome = l->told_outcome;
	return l->told || l->told_gap;
}

bool zbz_lock_note_refused(zbz_lock *l, const zbz_holder *holder) {
	callback *list = NULL;
	zbz_outcome outcome;
	bool told = true;
	zbz_locks_enter();
	l->trying = false;
	if (holder != NULL) l->holder = *holder;
	l->own = is_own(l);
	if (!l->waits && l->reach == ZBZ_REACH_HOST) set_waiting(l);
	told = l->reach == ZBZ_REACH_HOST ? ensure_thread() : l->waits;
	if (ended_already(l, &outcome)) list = end(l, outcome);
	zbz_locks_leave();
	callbacks_run(list);
	return told;
}

static void note(zbz_lock *l, const uint8_t *token, zbz_outcome outcome) {
	l->told = true;
	memcpy(l->told_token, token, ZBZ_LOCK_TOKEN);
	l->told_outcome = outcome;
}

void zbz_locks_tell(const zbz_locks *hub, zbz_bytes name, const uint8_t *token, zbz_outcome outcome) {
	callback *done = NULL;
	zbz_lock *l, *next;
	zbz_locks_enter();
	for (l = all.waiting; l != NULL; l = next) {
		next = l->next;
		if (!zbz_lock_hears(l, hub)) continue;
		if (name.p != NULL && !zbz_bytes_eq(name, zbz_b(l->name, sizeof l->name))) continue;
		if (l->trying && name.p != NULL) {
			note(l, token, outcome);
		} else if (l->trying) {
			l->told_gap = true;
		} else {
			bool known = name.p != NULL && memcmp(token, l->holder.token, ZBZ_LOCK_TOKEN) == 0;
			done = joined(done, end(l, known ? outcome : ZBZ_OUTCOME_UNKNOWN));
		}
	}
	zbz_locks_leave();
	callbacks_run(done);
}

/* ---- waiting ---- */

bool zbz_lock_ended(zbz_lock *l) {
	bool ended;
	zbz_locks_enter();
	ended = l->ended;
	zbz_locks_leave();
	return ended;
}

zbz_outcome zbz_lock_outcome(zbz_lock *l) {
	zbz_outcome outcome;
	zbz_locks_enter();
	outcome = l->outcome;
	zbz_locks_leave();
	return outcome;
}

zbz_status zbz_lock_wait(zbz_lock *l, const zbz_clock *clock, int64_t deadline, zbz_err *err) {
	bool ended;
	zbz_locks_enter();
	ended = zbz_await(&l->cond, &all.lock, &l->ended, clock, deadline);
	zbz_locks_leave();
	return ended ? ZBZ_OK : zbz_fail(err, ZBZ_E_TIMEOUT, "another process was still loading the key at the deadline");
}

zbz_status zbz_lock_on_end(zbz_lock *l, void (*fn)(void *ud), void *ud, zbz_err *err) {
	callback *cb = callback_new(fn, ud);
	bool ended;
	if (cb == NULL) return zbz_fail_nomem(err);
	zbz_locks_enter();
	ended = l->ended;
	if (!ended) {
		cb->next = l->callbacks;
		l->callbacks = cb;
	}
	zbz_locks_leave();
	if (ended) callbacks_run(cb);
	return ZBZ_OK;
}
