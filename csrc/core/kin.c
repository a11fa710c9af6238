/* Jobs that can be run together. While a thread runs some of a kin, those that arrive wait and are run together after it, so that the
 * more there is to do the less each costs. What waits behind a batch that takes its time gets further threads.
 *
 * A kin has as many leaders as threads that run, or are about to run, a batch of it. */
#include "pool.h"

#include <time.h>

enum { FAMILIES = 64, LEADERS_MAX = 4, BATCH_MAX = 128, PATIENCE_NS = 300000 };

typedef struct family {
	const void *kin; /* NULL: free */
	unsigned leaders;
	int64_t began; /* the latest of its batches */
	zbz_queue waiting;
} family;

static family families[FAMILIES];
static size_t used, waiting;

static int64_t now_ns(void) {
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static family *find(const void *kin) {
	size_t i, seen = 0;
	for (i = 0; i < FAMILIES && seen < used; i++) {
		if (families[i].kin == NULL) continue;
		if (families[i].kin == kin) return &families[i];
		seen++;
	}
	return NULL;
}

static family *found(const void *kin) {
	size_t i;
	for (i = 0; i < FAMILIES; i++)
		if (families[i].kin == NULL) {
			used++;
			families[i] = (family){ .kin = kin };
			return &families[i];
		}
	return NULL;
}

static bool may_lead(const family *f, int64_t now) {
	return f->leaders == 0 || (f->leaders < LEADERS_MAX && now - f->began > PATIENCE_NS);
}

static zbz_job *take(family *f) {
	waiting--;
	return zbz_queue_pop(&f->waiting);
}

static void lead(family *f, int64_t now) {
	f->leaders++;
	f->began = now;
}

static void leave(family *f) {
	if (--f->leaders > 0 || f->waiting.n > 0) return;
	f->kin = NULL;
	used--;
}

bool zbz_kin_waits(zbz_job *job) {
	family *f = find(job->kin);
	int64_t now = now_ns();
	if (f == NULL) f = found(job->kin);
	if (f == NULL) {
		job->kin = NULL; /* alone, then */
		return false;
	}
	if (may_lead(f, now)) {
		lead(f, now);
		return false;
	}
	zbz_queue_push(&f->waiting, job);
	waiting++;
	return true;
}

void zbz_kin_gather(zbz_job *first) {
	family *f = find(first->kin);
	zbz_queue batch = { first, first, 1 };
	f->began = now_ns();
	while (f->waiting.n > 0 && batch.n < BATCH_MAX) zbz_queue_push(&batch, take(f));
}

zbz_job *zbz_kin_next(const void *kin) {
	family *f = find(kin);
	if (f->waiting.n > 0) return take(f);
	leave(f);
	return NULL;
}

zbz_job *zbz_kin_overdue(void) {
	int64_t now;
	size_t i;
	if (waiting == 0) return NULL;
	now = now_ns();
	for (i = 0; i < FAMILIES; i++) {
		family *f = &families[i];
		if (f->kin == NULL || f->waiting.n == 0 || !may_lead(f, now)) continue;
		lead(f, now);
		return take(f);
	}
	return NULL;
}

void zbz_kin_resign(const void *kin) { leave(find(kin)); }

size_t zbz_kin_waiting(void) { return waiting; }

void zbz_kin_withdraw(const zbz_mailbox *mb, zbz_queue *out) {
	size_t i;
	for (i = 0; i < FAMILIES; i++) {
		zbz_queue keep = { NULL, NULL, 0 };
		while (families[i].waiting.n > 0) {
			zbz_job *job = zbz_queue_pop(&families[i].waiting);
			if (job->mailbox == mb) waiting--;
			zbz_queue_push(job->mailbox == mb ? out : &keep, job);
		}
		families[i].waiting = keep;
		if (families[i].kin == NULL || families[i].leaders > 0 || keep.n > 0) continue;
		families[i].kin = NULL;
		used--;
	}
}

void zbz_kin_forget(zbz_queue *orphans) {
	size_t i;
	for (i = 0; i < FAMILIES; i++) {
		while (families[i].waiting.n > 0) zbz_queue_push(orphans, zbz_queue_pop(&families[i].waiting));
		families[i].kin = NULL;
	}
	used = waiting = 0;
}
