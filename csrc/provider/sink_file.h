/* The file sink: a path, what is open there, and when it gives way to a new file. */
#ifndef ZBZ_PROVIDER_SINK_FILE_H
#define ZBZ_PROVIDER_SINK_FILE_H

#include "log/sinks.h"

#include <sys/stat.h>

typedef struct zbz_file_options {
	char *path;
	int64_t mode, rotate_size, rotate_every, keep, keep_for;
} zbz_file_options;

typedef struct zbz_log_file {
	char *path; /* absolute, symbolic links of its directory and of itself resolved */
	mode_t mode;
	int64_t rotate_size, rotate_every, keep, keep_for; /* 0: not, for ever */
	int fd;                                            /* -1: closed */
	dev_t device;
	ino_t inode;
	uint64_t size;
	int64_t began; /* wall ms: the file's first record, as far as it can be told */
} zbz_log_file;

/* sink_rotate.c */

/* Does the file give way before `more` bytes? */
bool zbz_log_rotate_due(const zbz_log_file *f, int64_t now, uint64_t more);
/* Gives it its place in the past and closes it; old ones go. */
zbz_status zbz_log_rotate(zbz_log_file *f, zbz_call *c);
/* Opens the file of this mark, at the path or among those whose names begin with its name; -1: there is none. */
int zbz_log_file_find(const zbz_log_file *f, const zbz_sink_mark *mark);

#endif
