#include "desk.h"

#include <pthread.h>
#include <signal.h>

#include "base/fork.h"

#define LOOKS_MAX    3 /* at once, so that sources that hang leave threads of the pool to others */
#define RETELL_MS    50
#define RESEND_MS    100
#define FOREIGN_TICK 5 /* a clock that is not the system's tells nobody when it moves */

static struct desk {
	pthread_mutex_t lock;
	pthread_cond_t gone;
	pthread_once_t prepared;
	zbz_watch *head, *left_behind; /* left_behind: the parent's, never touched, only kept reachable */
	zbz_mailbox *mailbox;          /* of the looks under way; lasts as long as the process */
	zbz_job poke;
	unsigned open, flying, looking; /* watches not yet freed; jobs with the pool; looks among them */
	bool poked, serving;
} desk = { .lock = PTHREAD_MUTEX_INITIALIZER, .prepared = PTHREAD_ONCE_INIT };

void zbz_desk_enter(void) { pthread_mutex_lock(&desk.lock); }
void zbz_desk_leave(void) { pthread_mutex_unlock(&desk.lock); }
bool zbz_desk_foreign(const zbz_watch *w) { return w->generation != zbz_fork_generation(); }

static zbz_watch *of_job(zbz_job *job) { return (zbz_watch *)(void *)((char *)job - offsetof(zbz_watch, job)); }

/* ---- forks ---- */

static void init_gone(void) {
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&desk.gone, &attr);
	pthread_condattr_destroy(&attr);
}

/* The thread is not here, and what its jobs hold may be half done. */
static void begin_anew(void) {
	zbz_watch *last = desk.head;
	while (last != NULL && last->next != NULL) last = last->next;
	if (last != NULL) {
		last->next = desk.left_behind;
		desk.left_behind = desk.head;
	}
	desk.head = NULL;
	desk.mailbox = NULL;
	desk.open = desk.flying = desk.looking = 0;
	desk.poked = desk.serving = false;
	init_gone();
	zbz_desk_leave();
}

static void prepare(void) {
	init_gone();
	pthread_atfork(zbz_desk_enter, zbz_desk_leave, begin_anew);
}

/* Late, so that at a fork this lock is taken before the engine's, as everywhere. */
void zbz_desk_prepare(void) { pthread_once(&desk.prepared, prepare); }

/* ---- the end of a watch ---- */

static void release(zbz_watch *w) {
	if (w->source != NULL) zbz_source_unsubscribe(w->source, w->sub);
	w->sub = NULL;
	zbz_source_unref(w->source);
	w->source = NULL;
}

static void destroy(zbz_watch *w) {
	zbz_buf_clear(&w->read);
	zbz_buf_clear(&w->fresh);
	zbz_free(w);
	desk.open--;
	pthread_cond_broadcast(&desk.gone);
}

static zbz_status send_job(zbz_watch *w) {
	zbz_status s = zbz_submit(desk.mailbox, &w->job, NULL);
	if (s == ZBZ_OK) desk.flying++;
	return s;
}

static bool serve_on(zbz_err *err);

/* Unsubscribing and closing a source may wait for its threads, so the pool does it. */
static void bury(zbz_watch *w) {
	w->burying = true;
	if (w->source != NULL && serve_on(NULL) && send_job(w) == ZBZ_OK) return;
	zbz_desk_leave();
	release(w);
	zbz_desk_enter();
	destroy(w);
}

void zbz_desk_let_go(zbz_watch *w) {
	if (zbz_desk_foreign(w)) return;
	if (--w->refs == 0) bury(w);
}

void zbz_desk_part(zbz_watch *w) {
	if (!w->listed || zbz_desk_foreign(w)) return;
	w->listed = false;
	if (w->prev != NULL)
		w->prev->next = w->next;
	else
		desk.head = w->next;
	if (w->next != NULL) w->next->prev = w->prev;
}

/* ---- looks ---- */

static void run(zbz_job *job) {
	zbz_watch *w = of_job(job);
	zbz_call c = { .clock = w->opts.clock };
	int64_t began;
	zbz_status s;
	if (w->burying) {
		release(w);
		return;
	}
	began = zbz_mono(c.clock);
	c.now = zbz_wall(c.clock);
	c.deadline = began + w->opts.deadline;
	s = zbz_watch_look(w, &c, true);
	zbz_watch_settled(w, began, s, &c.err);
}

/* The desk's mailbox is never closed. */
static void drop(zbz_job *job) { (void)job; }

/* A look has ended and its job is ours again. */
static void landed(zbz_watch *w) {
	desk.flying--;
	if (w->burying) {
		destroy(w);
		return;
	}
	desk.looking--;
	w->busy = false;
	zbz_desk_let_go(w);
}

static void collect(void) {
	zbz_job *job = zbz_mailbox_drain(desk.mailbox, SIZE_MAX), *next;
	if (job == NULL) return;
	zbz_desk_enter();
	for (; job != NULL; job = next) {
		next = job->next;
		if (job == &desk.poke)
			desk.poked = false;
		else
			landed(of_job(job));
	}
	zbz_desk_leave();
}

/* One look at a time for each source: one that hangs holds up its own keys only. */
static bool source_busy(const zbz_source *source) {
	const zbz_watch *w;
	for (w = desk.head; w != NULL && !(w->busy && w->source == source); w = w->next) {}
	return w != NULL;
}

static void ask_owner(zbz_watch *w, int64_t now) {
	zbz_pace_begin(&w->pace, now);
	w->busy = w->wants = true;
	w->ask_until = now + w->opts.deadline;
	zbz_desk_tell(w);
}

/* False: it cannot now; the end of another look wakes the desk. */
static bool send_look(zbz_watch *w, int64_t now) {
	if (desk.looking >= LOOKS_MAX || source_busy(w->source)) return false;
	zbz_pace_begin(&w->pace, now);
	if (send_job(w) != ZBZ_OK) {
		w->pace.look_at = now + RESEND_MS;
		return true;
	}
	w->busy = true;
	w->refs++;
	desk.looking++;
	return true;
}

static int64_t next_step(const zbz_watch *w) {
	if (w->busy) return w->source == NULL ? w->ask_until : ZBZ_NEVER;
	return w->paused ? ZBZ_NEVER : zbz_pace_due(&w->pace);
}

/* Milliseconds until this one needs the desk; ZBZ_NEVER. */
static int64_t attend(zbz_watch *w) {
	int64_t now = zbz_mono(w->opts.clock), due;
	if (w->retell <= now) zbz_desk_tell(w);
	if (next_step(w) <= now) {
		if (w->busy)
			zbz_watch_overdue(w, now);
		else if (w->source == NULL)
			ask_owner(w, now);
		else if (!send_look(w, now))
			return w->retell == ZBZ_NEVER ? ZBZ_NEVER : w->retell - now;
	}
	due = next_step(w);
	if (w->retell < due) due = w->retell;
	if (due == ZBZ_NEVER) return ZBZ_NEVER;
	return w->opts.clock == zbz_clock_system() || due - now < FOREIGN_TICK ? due - now : FOREIGN_TICK;
}

static void *serve(void *unused) {
	for (;;) {
		int64_t wait = ZBZ_NEVER, now;
		zbz_watch *w;
		collect();
		zbz_desk_enter();
		for (w = desk.head; w != NULL; w = w->next) {
			int64_t ms = attend(w);
			if (ms < wait) wait = ms;
		}
		if (desk.head == NULL && desk.flying == 0 && !desk.poked) break;
		zbz_desk_leave();
		now = zbz_mono(zbz_clock_system());
		zbz_mailbox_wait(desk.mailbox, wait == ZBZ_NEVER ? ZBZ_NEVER : now + wait, NULL);
	}
	desk.serving = false;
	zbz_desk_leave();
	return unused;
}

/* ---- the thread ---- */

static zbz_status start_thread(zbz_err *err) {
	pthread_t id;
	sigset_t all, before;
	int problem;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	problem = pthread_create(&id, NULL, serve, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (problem != 0) return zbz_fail_errno(err, ZBZ_E_UNAVAILABLE, problem, "no thread for watches");
	pthread_setname_np(id, "zbz-watch");
	pthread_detach(id);
	desk.serving = true;
	return ZBZ_OK;
}

static bool serve_on(zbz_err *err) {
	if (desk.mailbox == NULL && zbz_mailbox_new(4 * ZBZ_WATCH_MAX, &desk.mailbox, err) < 0) {
		desk.mailbox = NULL;
		return false;
	}
	desk.poke.drop = drop;
	return desk.serving || start_thread(err) == ZBZ_OK;
}

zbz_status zbz_desk_admit(zbz_watch *w, zbz_err *err) {
	if (desk.open >= ZBZ_WATCH_MAX)
		return zbz_fail(err, ZBZ_E_UNAVAILABLE, "more than %d watches in one process", ZBZ_WATCH_MAX);
	desk.open++;
	w->generation = zbz_fork_generation();
	w->job.run = run;
	w->job.drop = drop;
	return ZBZ_OK;
}

zbz_status zbz_desk_join(zbz_watch *w, zbz_err *err) {
	zbz_err local;
	if (!serve_on(err != NULL ? err : &local)) return err != NULL ? err->status : local.status;
	w->prev = NULL;
	w->next = desk.head;
	if (desk.head != NULL) desk.head->prev = w;
	desk.head = w;
	w->listed = true;
	zbz_desk_wake();
	return ZBZ_OK;
}

void zbz_desk_wake(void) {
	if (desk.poked || !desk.serving) return;
	desk.poked = zbz_post(desk.mailbox, &desk.poke, NULL) == ZBZ_OK;
}

void zbz_desk_tell(zbz_watch *w) {
	bool news = w->fresh_print.set || w->wants || w->failing != w->err_told ||
	            (w->failing && strcmp(w->err.text, w->told_err.text) != 0);
	w->retell = ZBZ_NEVER;
	if (!news || w->told || w->closed || w->paused || !w->listed || w->opts.on_news == NULL) return;
	w->told = w->opts.on_news(w->opts.ud);
	if (w->told) return;
	w->retell = zbz_mono(w->opts.clock) + RETELL_MS;
	zbz_desk_wake();
}

zbz_status zbz_watch_settle(int64_t deadline, zbz_err *err) {
	struct timespec until = { (time_t)(deadline / 1000), (long)(deadline % 1000) * 1000000 };
	zbz_status s = ZBZ_OK;
	int problem = 0;
	zbz_desk_prepare();
	zbz_desk_enter();
	while (desk.open > 0 && problem == 0) problem = pthread_cond_timedwait(&desk.gone, &desk.lock, &until);
	if (desk.open > 0) s = zbz_fail(err, ZBZ_E_TIMEOUT, "%u watches are not gone", desk.open);
	zbz_desk_leave();
	return s;
}
