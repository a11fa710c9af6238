/* What the pool of threads and the mailboxes know of each other. One lock for all of it: what is done under it takes less
 * than a microsecond, jobs take many, and a fork has one lock to bring over. */
#ifndef ZBZ_CORE_POOL_H
#define ZBZ_CORE_POOL_H

#include <pthread.h>

#include <zbz/engine.h>

#include "base/until.h"

/* First in, first out, linked by ->next. */
typedef struct zbz_queue {
	zbz_job *head, *tail;
	size_t n;
} zbz_queue;

static inline void zbz_queue_push(zbz_queue *q, zbz_job *job) {
	job->next = NULL;
	if (q->tail != NULL)
		q->tail->next = job;
	else
		q->head = job;
	q->tail = job;
	q->n++;
}
static inline zbz_job *zbz_queue_pop(zbz_queue *q) {
	zbz_job *job = q->head;
	q->head = job->next;
	if (q->head == NULL) q->tail = NULL;
	q->n--;
	job->next = NULL;
	return job;
}

struct zbz_mailbox {
	zbz_mailbox *next;     /* among those a forked child closed without freeing */
	unsigned refs;         /* the owner, who asked for one, every job on its way through the pool */
	unsigned generation;   /* of the process it belongs to */
	size_t max, in_flight; /* jobs with the pool */
	zbz_queue ready;       /* finished or posted, undrained */
	bool closed;
	bool rung;    /* a byte is on its way to the owner */
	int bell[2];  /* read end, write end; -1 until asked for, and the read end when the host holds it */
	int listener; /* -1 but between listen and accept */
	pthread_cond_t arrived;
	zbz_mailbox_stats stats;
};

void zbz_engine_enter(void);
void zbz_engine_leave(void);
pthread_mutex_t *zbz_engine_mutex(void); /* for conditions */

/* All below: under the lock. */
uint64_t zbz_engine_ticket(void);
zbz_status zbz_pool_push(zbz_job *job,
                         zbz_err *err); /* starts threads as needed; on failure the job stays the caller's */
void zbz_pool_withdraw(zbz_mailbox *mb, zbz_queue *out); /* the mailbox's jobs that no thread has begun */
bool zbz_mailbox_deliver(zbz_job *job); /* a finished job; true: nobody wants it, drop it outside the lock */
zbz_mailbox *
zbz_mailbox_let_go(zbz_mailbox *mb); /* drops a reference; the mailbox when it was the last: free it outside */

void zbz_mailbox_ring(zbz_mailbox *mb);    /* under the lock */
void zbz_mailbox_destroy(zbz_mailbox *mb); /* outside the lock; NULL allowed */

/* ---- kin.c, under the lock ---- */

/* True: a leader of its kin will run it. False: it leads, or has lost its kin because there are too many. */
bool zbz_kin_waits(zbz_job *job);
void zbz_kin_gather(zbz_job *first);    /* links behind a leading job those that wait for it */
zbz_job *zbz_kin_next(const void *kin); /* after a batch: one that leads the next; NULL: that leader has gone */
void zbz_kin_resign(const void *kin);   /* a leader that will run nothing */
zbz_job *zbz_kin_overdue(void);         /* one that has waited for too long, and leads now */
size_t zbz_kin_waiting(void);
void zbz_kin_withdraw(const zbz_mailbox *mb, zbz_queue *out);
void zbz_kin_forget(zbz_queue *orphans); /* in a forked child */

/* ---- row.c, under the lock; of jobs that have a row ---- */

/* *waits: it is kept until its turn. Else it has its places from now on. */
zbz_status zbz_row_enter(zbz_job *job, bool *waits, zbz_err *err);
void zbz_row_leave(const zbz_job *job, zbz_queue *free_to_go); /* done, or never begun: whose turn is it now? */
void zbz_row_withdraw(const zbz_mailbox *mb, zbz_queue *out,
                      zbz_queue *free_to_go); /* those of the mailbox that wait */
void zbz_row_forget(zbz_queue *orphans);      /* in a forked child */

#endif
