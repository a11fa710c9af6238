/* What the files of the file source share: the source, a subscription, the listener. */
#ifndef ZBZ_PROVIDER_SOURCE_FILE_H
#define ZBZ_PROVIDER_SOURCE_FILE_H

#include <pthread.h>

#include <zbz/source.h>

#include "source_path.h"

/* A spot of a subscription's trail, as the kernel names it. */
typedef struct file_spot {
	zbz_spot_kind kind;
	int wd;
	size_t name; /* in the subscription's names */
} file_spot;

typedef struct file_sub {
	struct file_sub *next, *prev;
	char *path;
	void (*on_hint)(void *ud);
	void *ud;
	/* the looker's */
	bool heard; /* every spot is watched, and the system tells of changes there */
	bool bound; /* the file is a mount of its own */
	char note[200];
	/* under the listener's lock */
	file_spot *spots;
	size_t n;
	zbz_buf names;
	int64_t writing_since, quiet_at; /* monotonic ms; 0: nobody writes */
	bool settled;                    /* the writer has closed the file, or moved it here whole */
} file_sub;

typedef struct file_wd {
	int wd;
	unsigned users;
} file_wd;

/* One inotify instance and its thread, begun with the first subscription and anew in a forked child. */
typedef struct file_listener {
	pthread_mutex_t plan; /* held while a trail is laid: one at a time; taken before `lock` */
	pthread_mutex_t lock;
	struct file_listener *next, *prev; /* among all, for forks */
	unsigned generation;
	int fd, wake; /* -1: not begun */
	pthread_t thread;
	file_sub *subs;
	file_wd *wds;
	size_t n, cap;
	const zbz_clock *clock;
} file_listener;

zbz_status zbz_file_listener_init(file_listener *l, const zbz_clock *clock);
void zbz_file_listener_clear(file_listener *l);
/* Adds the subscription; begins when that was not done. A system that has no inotify left is no failure: sub->heard stays false. */
void zbz_file_listen(file_listener *l, file_sub *sub);
void zbz_file_unlisten(file_listener *l, file_sub *sub);
/* Lays the trail to the subscription's file; from the answer on what changes on it is hinted. */
zbz_status zbz_file_lay(file_listener *l, file_sub *sub, bool *there, zbz_err *err);

/* Is somebody in the middle of writing it? */
bool zbz_file_is_written(file_listener *l, file_sub *sub, bool *settled);

/* Appends the file's bytes: OK, MISS, AGAIN when it changed meanwhile (or, unless settled, was written a moment ago). */
zbz_status zbz_file_read(const char *path, bool settled, zbz_buf *out, zbz_err *err);

#endif
