/* The storage sink: what its objects are called, and how long they stay. */
#ifndef ZBZ_PROVIDER_SINK_STORAGE_H
#define ZBZ_PROVIDER_SINK_STORAGE_H

#include "log/sinks.h"

#include <zbz/bucket.h>

/* The name that a mark (ms since 1970, number of the writer, count * 2 + packed) stands for; false: there is none. `prefix` as strftime has it. */
bool zbz_storage_name(const char *prefix, const zbz_sink_mark *m, char out[ZBZ_OBJECT_NAME_MAX + 1], size_t *n);
/* Is it the name of an object of this prefix, of whatever writer? Then *m is what it stands for. */
bool zbz_storage_mark(const char *prefix, zbz_bytes name, zbz_sink_mark *m);

/* ---- former objects go (sink_retain.c) ---- */

/* An object that is there. */
typedef struct zbz_former {
	zbz_sink_mark mark;
	int64_t modified; /* wall ms */
} zbz_former;

/* What is known of the prefix's objects, so that most writes need no listing. */
typedef struct zbz_retain {
	zbz_bucket *bucket; /* borrowed, as the prefix is */
	const char *prefix;
	int64_t keep, keep_for; /* 0: all, for ever */
	zbz_former *oldest;     /* in the order of their times, but while listing */
	size_t n, cap;
	bool listed, listing; /* neither: nothing is known */
	bool more;            /* there are newer ones than `oldest` has, behind `bound` */
	bool doubt;           /* the last write has failed */
	zbz_former bound;
	uint64_t known;                  /* how many there are */
	uint64_t pages;                  /* of the last listing */
	uint64_t since;                  /* objects written since */
	unsigned failures;               /* in a row */
	uint64_t wait;                   /* writes, until it is tried again */
	char after[ZBZ_OBJECT_NAME_MAX]; /* where the listing goes on */
	size_t after_n;
	zbz_buf page;
} zbz_retain;

/* Does not wait. */
void zbz_retain_init(zbz_retain *r, zbz_bucket *bucket, const char *prefix, int64_t keep, int64_t keep_for);
void zbz_retain_clear(zbz_retain *r);
/* After a write that ended with `status`, of the object of this mark: which stays. Takes a moment at most, unless the bucket does: what is left to be done
 * is for the next write. What goes wrong is told in c->err when the write went well. */
void zbz_retain_after(zbz_retain *r, zbz_call *c, const zbz_sink_mark *mark, zbz_status status);

#endif
