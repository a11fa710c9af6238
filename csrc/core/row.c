/* Jobs that keep their order. A row is whatever its jobs are about; a job takes some of its 64 places, and begins when none of those before it in
 * the row that share a place with it is left: many sequences side by side, and now and then a job that belongs to several of them. */
#include "pool.h"

#include <zbz/alloc.h>

typedef struct row {
	struct row *next;
	const void *id;
	uint64_t busy;   /* places of jobs that have begun, or may */
	uint64_t wanted; /* at least the places of those that wait */
	zbz_queue waiting;
} row;

static row *rows; /* as many as have jobs: mailboxes are bounded */

static row **find(const void *id) {
	row **at = &rows;
	while (*at != NULL && (*at)->id != id) at = &(*at)->next;
	return at;
}

static void remove_if_empty(row **at) {
	row *r = *at;
	if (r->busy != 0 || r->waiting.n > 0) return;
	*at = r->next;
	zbz_free(r);
}

zbz_status zbz_row_enter(zbz_job *job, bool *waits, zbz_err *err) {
	row **at = find(job->row), *r = *at;
	*waits = false;
	if (r == NULL) {
		r = *at = zbz_calloc(1, sizeof *r);
		if (r == NULL) return zbz_fail_nomem(err);
		r->id = job->row;
	}
	*waits = (job->places & (r->busy | r->wanted)) != 0;
	if (*waits) {
		r->wanted |= job->places;
		zbz_queue_push(&r->waiting, job);
	} else {
		r->busy |= job->places;
	}
	return ZBZ_OK;
}

/* From the front on, whoever is not in the way of another: begun ones and those before it. It ends where all places that anybody wants
 * are taken, so that a long row of one place costs one look. */
static void advance(row *r, zbz_queue *free_to_go) {
	zbz_queue keep = { NULL, NULL, 0 };
	uint64_t taken = r->busy, wanted = 0;
	while (r->waiting.n > 0 && (r->wanted & ~taken) != 0) {
		zbz_job *job = zbz_queue_pop(&r->waiting);
		bool goes = (job->places & taken) == 0;
		taken |= job->places;
		if (goes)
			r->busy |= job->places;
		else
			wanted |= job->places;
		zbz_queue_push(goes ? free_to_go : &keep, job);
	}
	if (r->waiting.n == 0) {
		r->waiting = keep;
		r->wanted = wanted;
	} else if (keep.n > 0) {
		keep.tail->next = r->waiting.head;
		r->waiting.head = keep.head;
		r->waiting.n += keep.n;
	}
}

void zbz_row_leave(const zbz_job *job, zbz_queue *free_to_go) {
	row **at = find(job->row);
	(*at)->busy &= ~job->places;
	advance(*at, free_to_go);
	remove_if_empty(at);
}

void zbz_row_withdraw(const zbz_mailbox *mb, zbz_queue *out, zbz_queue *free_to_go) {
	row **at = &rows;
	while (*at != NULL) {
		row *r = *at;
		zbz_queue keep = { NULL, NULL, 0 };
		r->wanted = 0;
		while (r->waiting.n > 0) {
			zbz_job *job = zbz_queue_pop(&r->waiting);
			if (job->mailbox != mb) r->wanted |= job->places;
			zbz_queue_push(job->mailbox == mb ? out : &keep, job);
		}
		r->waiting = keep;
		advance(r, free_to_go);
		remove_if_empty(at);
		if (*at == r) at = &r->next;
	}
}

void zbz_row_forget(zbz_queue *orphans) {
	while (rows != NULL) {
		row *r = rows;
		rows = r->next;
		while (r->waiting.n > 0) zbz_queue_push(orphans, zbz_queue_pop(&r->waiting));
		zbz_free(r);
	}
}
