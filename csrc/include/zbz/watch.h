/* A watch: one key of one source, kept up to date.
 *
 *   hint, time passed  ->  read on the engine's pool  ->  other bytes than those taken last, or an error  ->  on_news
 *   owner: take()      ->  the newest bytes, or what the error is, or that it has passed
 *
 * It subscribes before it reads, so no change goes unnoticed; hints that come thick are answered by few reads (at once when it was
 * quiet, then after a pause, never later than five pauses), and the last write is always read. While something is wrong it
 * goes on looking. Nothing is queued: who takes late gets the newest bytes.
 *
 * Without a source the owner reads himself: take answers READ, he reads and calls answer. Thread-safe throughout. */
#ifndef ZBZ_WATCH_H
#define ZBZ_WATCH_H

#include "source.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct zbz_watch zbz_watch;

#define ZBZ_WATCH_MAX_SIZE ((size_t)10 << 20)
#define ZBZ_WATCH_MAX      4096 /* watches of a process */

typedef struct zbz_watch_opts { /* zero-initialised: the defaults, all times in ms */
	int64_t debounce;           /* the pause between reads while hints keep coming; 0: 100, -1: none */
	int64_t poll;               /* the longest time between two looks; 0: 2 s where only looking helps, else 60 s */
	int64_t deadline;           /* of one read; 0: 5 s */
	size_t max_size;            /* of a value; 0: ZBZ_WATCH_MAX_SIZE */
	bool allow_empty; /* an empty value is a value; else it is taken for a file half written, then for an error */
	/* There is something to take. Called once until take, on a thread of the engine's, under a lock: it must only enqueue. False: it could
	 * not; it is called again soon. Never called after close has answered. */
	bool (*on_news)(void *ud);
	void *ud;
	const zbz_clock *clock; /* NULL: the system's */
} zbz_watch_opts;

/* Starts nothing. source NULL: the owner reads. References are taken, bytes copied. */
ZBZ_API zbz_status zbz_watch_open(zbz_source *source, zbz_bytes key, const zbz_watch_opts *opts, zbz_watch **out,
                                  zbz_err *err);
ZBZ_API zbz_bytes zbz_watch_key(const zbz_watch *w); /* as long as w */
/* A reference for a thread that calls begin or read while the owner may close. */
ZBZ_API zbz_watch *zbz_watch_ref(zbz_watch *w);
ZBZ_API void zbz_watch_unref(zbz_watch *w); /* NULL allowed */
/* Ends it without waiting; a read under way ends on its own. The owner's reference is dropped. NULL allowed. */
ZBZ_API void zbz_watch_close(zbz_watch *w);

/* Subscribes, reads (until c->deadline), and goes on watching: OK, and the bytes are there to take. A read that fails, or finds no such key, is
 * the answer, and nothing is watched. With a source only, once. */
ZBZ_API zbz_status zbz_watch_begin(zbz_watch *w, zbz_call *c);
/* Goes on watching what was read or answered before, or begins with a look at once; on_news tells. Of no effect when it goes already. */
ZBZ_API zbz_status zbz_watch_start(zbz_watch *w, zbz_err *err);
/* Reads once and watches nothing. For processes that fork later. */
ZBZ_API zbz_status zbz_watch_read(zbz_watch *w, zbz_call *c);

typedef enum zbz_news {
	ZBZ_NEWS_NONE,
	ZBZ_NEWS_VALUE,  /* *out holds new bytes */
	ZBZ_NEWS_ERROR,  /* *err tells: the value cannot be read, or is not there; the same error is told once */
	ZBZ_NEWS_MENDED, /* the error has passed, and the bytes are those taken last */
	ZBZ_NEWS_READ    /* without a source: read, then answer */
} zbz_news;
/* Repeat until NONE. *out is replaced. */
ZBZ_API zbz_news zbz_watch_take(zbz_watch *w, zbz_buf *out, zbz_err *err);
/* Without a source: what the owner read. status OK, MISS, or an error that err tells. */
ZBZ_API void zbz_watch_answer(zbz_watch *w, zbz_status status, zbz_bytes bytes, const zbz_err *err);
/* "Look again", from any thread. */
ZBZ_API void zbz_watch_hint(zbz_watch *w);
/* What the source reads from was exchanged or closed (zbz_cache_swap, zbz_cache_close): looks again, and counts as polled until it has. */
ZBZ_API void zbz_watch_moved(zbz_watch *w);
/* Reads nothing and tells nothing, until resume: that looks at once. */
ZBZ_API void zbz_watch_pause(zbz_watch *w);
ZBZ_API void zbz_watch_resume(zbz_watch *w);

typedef struct zbz_watch_info {
	zbz_source_mode mode;
	int64_t delay; /* ms from a change to its news, at worst, while the source can be read */
	int64_t seen;  /* monotonic ms at which the newest successful read began; -1 none yet */
	bool running;  /* it began, in this process, and was not closed */
	bool paused;
	bool failing; /* the last read failed, or found nothing */
	uint64_t hints, reads, values, failures;
	char note[200];
} zbz_watch_info;
ZBZ_API void zbz_watch_info_read(zbz_watch *w, zbz_watch_info *out);

/* Waits until everything that was closed is gone, subscriptions and threads included: OK, or E_TIMEOUT at the deadline (monotonic
 * ms of the system's clock). For programs that end clean. */
ZBZ_API zbz_status zbz_watch_settle(int64_t deadline, zbz_err *err);

#ifdef __cplusplus
}
#endif
#endif
