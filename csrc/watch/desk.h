/* What a watch is inside, and the desk: the one thread of a process that knows which watch looks next and sends its look to the
 * engine's pool. The thread itself never waits for a source. One lock for all of it; what is done under it takes microseconds.
 *
 * A look has one looker at a time, the one that set `busy`: a job in the pool, or a caller of begin. */
#ifndef ZBZ_WATCH_DESK_H
#define ZBZ_WATCH_DESK_H

#include <zbz/engine.h>
#include <zbz/watch.h>

#include "pace.h"

typedef struct zbz_print { /* tells two values apart without keeping them */
	bool set;
	size_t n;
	uint64_t hash;
} zbz_print;

struct zbz_watch {
	zbz_watch *next, *prev; /* among the desk's */
	zbz_job job;
	unsigned generation; /* of the process it was opened in */
	zbz_source *source;  /* NULL: the owner reads */
	zbz_bytes key;
	zbz_watch_opts opts; /* without zeroes */

	/* the looker's */
	void *sub;
	int64_t subscribe_at; /* not before; monotonic */
	zbz_buf read;

	/* under the lock */
	unsigned refs; /* the owner, whoever asked for one, a look under way */
	bool listed, busy, closed, paused, burying;
	bool told, wants;  /* on_news was called; the owner shall read */
	int64_t ask_until; /* when an owner that was asked to read has had his time */
	int64_t retell;    /* on_news had no room: when to try again; ZBZ_NEVER */
	zbz_pace pace;
	zbz_print fresh_print, taken_print;
	zbz_buf fresh; /* read and not taken */
	bool failing, err_told;
	zbz_err err, told_err;
	zbz_source_mode mode;
	int64_t seen;
	uint64_t hints, reads, values, failures;
	char note[200];
};

void zbz_desk_prepare(void); /* before anything else: forks are watched from then on */
void zbz_desk_enter(void);
void zbz_desk_leave(void);

/* All below: under the lock. */
bool zbz_desk_foreign(const zbz_watch *w);             /* opened by the parent process */
zbz_status zbz_desk_admit(zbz_watch *w, zbz_err *err); /* counts it; at most ZBZ_WATCH_MAX */
zbz_status zbz_desk_join(zbz_watch *w, zbz_err *err);  /* the desk sends its looks from now on */
void zbz_desk_part(zbz_watch *w);
void zbz_desk_wake(void);           /* something is due earlier than it was */
void zbz_desk_let_go(zbz_watch *w); /* drops a reference */
void zbz_desk_tell(zbz_watch *w);   /* on_news, when there is news that was not told */

int64_t zbz_watch_interval(const zbz_watch *w);
/* Under the lock: the owner was asked to read and has not answered. */
void zbz_watch_overdue(zbz_watch *w, int64_t now);
/* A look's end: what was read stands in w->read. False: torn, and to be repeated soon. */
bool zbz_watch_settled(zbz_watch *w, int64_t began, zbz_status s, const zbz_err *err);
/* Outside the lock, by the looker. `listen`: subscribe first. */
zbz_status zbz_watch_look(zbz_watch *w, zbz_call *c, bool listen);

#endif
