/* The file sink: a path, what is open there, and when it gives way to a new file. */
#ifndef ZBZ_PROVIDER_SINK_FILE_H
#define ZBZ_PROVIDER_SINK_FILE_H

#include "log/sinks.h"

#include <sys/stat.h>

typedef struct zbz_file_options {
	char *path;
	int64_t mode, rotate_size, rotate_every, keep, keep_for;
	int compress;
	bool early;
} zbz_file_options;

typedef struct zbz_log_packing zbz_log_packing;
typedef struct zbz_log_kept zbz_log_kept;

typedef struct zbz_log_file {
	char *path; /* absolute, symbolic links of its directory and of itself resolved */
	mode_t mode;
	int64_t rotate_size, rotate_every, keep, keep_for; /* 0: not, for ever */
	int fd;                                            /* -1: closed */
	bool looked;                                       /* it has been written to */
	dev_t device;
	ino_t inode;
	bool regular;
	uint64_t size;       /* of what is none (a pipe, a terminal): what has been written to it since it was opened */
	zbz_sink_mark begun; /* where the write under way began, */
	uint64_t put, whole; /* what of it this process has put there, and up to the end of a record */
	zbz_log_packing *packing; /* NULL: former files stay as they are */
	int64_t began;            /* wall ms: the file's first record, as far as it can be told */
	int64_t stuck_until;      /* wall ms: it cannot be rotated, and is not tried again before */
	zbz_log_kept *kept;       /* for want of rights; NULL: none */
} zbz_log_file;

/* sink_rotate.c */

/* Does the file give way before `more` bytes? */
bool zbz_log_rotate_due(const zbz_log_file *f, int64_t now, uint64_t more);
/* Gives it its place in the past and closes it; old ones go. */
zbz_status zbz_log_rotate(zbz_log_file *f, zbz_call *c); /* REFUSED, with an error: this process may not */
/* Names of the former files, sorted, which is by age; *dir is to be closed. */
zbz_status zbz_log_past(const zbz_log_file *f, zbz_list *names, int *dir);
/* Opens the file of this mark, at the path or among those whose names begin with its name, or is it the kept one; -1 with errno ENOENT: it is
 * gone; another one: it cannot be told, or not be opened. */
int zbz_log_file_find(const zbz_log_file *f, const zbz_sink_mark *mark);

/* sink_kept.c */

/* Opens the file and keeps it open, for this process and its children, under the name it was asked for. */
zbz_status zbz_log_keep(const char *asked, const char *path, mode_t mode, zbz_log_kept **out, zbz_err *err);
/* One more user of what is kept under that name; NULL: nothing. */
zbz_log_kept *zbz_log_kept_find(const char *asked, const char **path);
void zbz_log_kept_close(zbz_log_kept *k); /* NULL allowed */
/* A descriptor of its own for the kept file; -1 when that has no name any more, or k is NULL. */
int zbz_log_kept_fd(zbz_log_kept *k);
/* From now on this file is kept instead. */
void zbz_log_kept_renew(zbz_log_kept *k, int fd);

/* sink_pack.c */

/* E_UNSUPPORTED naming the package when the plug-in is not here. */
zbz_status zbz_log_packing_open(zbz_log_file *f, zbz_err *err);
/* Stops in the middle of a file if need be; what is not packed is found the next time. */
void zbz_log_packing_close(zbz_log_file *f);
/* On a thread of its own: packs all former files that are not. */
void zbz_log_pack(zbz_log_file *f);

#endif
