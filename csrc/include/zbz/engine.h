/* The engine: blocking work done by a small pool of threads, answers collected in a mailbox whose wake fd an event loop can watch.
 *
 *   submit(mailbox, job)  ->  a pool thread runs job->run  ->  mailbox  ->  drain() hands the job back to its owner
 *   post(mailbox, job)    ->  mailbox                          (events: a pub/sub message, a landed flight)
 *
 * One mailbox per Lua state. Threads start on first use, per process: after a fork the child begins anew (no thread, no job
 * of the parent). Pool threads block all signals. Every queue is bounded; what it refuses is counted. */
#ifndef ZBZ_ENGINE_H
#define ZBZ_ENGINE_H

#include "call.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct zbz_mailbox zbz_mailbox;

/* Embed it first in your own struct. The engine owns it from a successful submit or post until drain returns it. */
typedef struct zbz_job {
	struct zbz_job *next;          /* engine's */
	zbz_mailbox *mailbox;          /* engine's */
	uint64_t ticket;               /* set by submit and post; unique per process, never 0 */
	void (*run)(struct zbz_job *); /* on a pool thread; NULL for posted events */
	/* Jobs of one kin (not NULL) may be run together: run_kin gets some, linked by ->next, in place of their run. Those it marks `alone`
	 * it has not done: each is run by itself. */
	const void *kin;
	void (*run_kin)(struct zbz_job *);
	bool alone;
	/* Jobs of one row (not NULL) whose places share a bit are run one after the other, in the order of their submits. Not with a kin. */
	const void *row;
	uint64_t places;
	void (*drop)(struct zbz_job *); /* frees it, when its mailbox closed before it was drained; any thread */
} zbz_job;

/* Pool size for this process; only before the first submit (E_ARGUMENT after). Default 4, at most 64. */
ZBZ_API zbz_status zbz_engine_threads(unsigned n, zbz_err *err);

ZBZ_API zbz_status zbz_mailbox_new(size_t max_jobs, zbz_mailbox **out,
                                   zbz_err *err); /* bound of jobs in flight and undrained */
/* Refuses new jobs, drops undrained ones; jobs still running are dropped when they end. NULL allowed. */
ZBZ_API void zbz_mailbox_close(zbz_mailbox *mb);
/* For a poster that may outlive the owner (a subscription's thread): the closed mailbox answers E_CLOSED until the last one lets go. */
ZBZ_API zbz_mailbox *zbz_mailbox_ref(zbz_mailbox *mb);
ZBZ_API void zbz_mailbox_unref(zbz_mailbox *mb); /* NULL allowed */
/* E_UNAVAILABLE (retryable) when the bound is reached: the job stays the caller's. E_CLOSED. */
ZBZ_API zbz_status zbz_submit(zbz_mailbox *mb, zbz_job *job, zbz_err *err);
ZBZ_API zbz_status zbz_post(zbz_mailbox *mb, zbz_job *job, zbz_err *err);
/* For a job that somebody else will finish: its place is kept, so that complete (any thread, once) cannot be refused. A closed mailbox
 * drops it. */
ZBZ_API zbz_status zbz_reserve(zbz_mailbox *mb, zbz_job *job, zbz_err *err);
ZBZ_API void zbz_complete(zbz_job *job);
/* Finished and posted jobs, oldest first, linked by ->next; NULL when there are none. Silences the doorbell. */
ZBZ_API zbz_job *zbz_mailbox_drain(zbz_mailbox *mb, size_t max);
/* Blocks until there is something to drain: OK, or E_TIMEOUT at the deadline (monotonic ms of the system clock). */
ZBZ_API zbz_status zbz_mailbox_wait(zbz_mailbox *mb, int64_t deadline, zbz_err *err);
/* A stream socket that is readable while drain has work. One byte per empty-to-non-empty change; drain reads it. Owned by the mailbox;
 * made on first ask; -1 and err on failure. */
ZBZ_API int zbz_mailbox_fd(zbz_mailbox *mb, zbz_err *err);
/* The same for hosts whose sockets can only connect: listen makes a unix socket in a directory of mode 0700 and tells its path; the
 * host connects; accept takes that connection if it comes from this process, removes the path, and from then on rings there.
 * The host reads the bytes. */
#define ZBZ_BELL_PATH 108
ZBZ_API zbz_status zbz_mailbox_listen(zbz_mailbox *mb, char path[ZBZ_BELL_PATH], zbz_err *err);
ZBZ_API zbz_status zbz_mailbox_accept(zbz_mailbox *mb, const char *path, zbz_err *err);
/* Rings although nothing has arrived: whoever waits looks again. */
ZBZ_API void zbz_mailbox_kick(zbz_mailbox *mb);

/* Runs fn(ud) on a thread of the pool: for work whose end nobody waits for, as giving up what may take its time. Where no thread can be
 * had it runs here and now. */
ZBZ_API void zbz_aside(void (*fn)(void *ud), void *ud);

typedef struct zbz_mailbox_stats {
	uint64_t submitted, posted, finished, refused, dropped, doorbells;
	size_t waiting; /* undrained now */
} zbz_mailbox_stats;
ZBZ_API void zbz_mailbox_stats_read(zbz_mailbox *mb, zbz_mailbox_stats *out);

#ifdef __cplusplus
}
#endif
#endif
