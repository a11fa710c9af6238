/* The file sink: a path, what is open there, and when it gives way to a new file. */
#ifndef ZBZ_PROVIDER_SINK_FILE_H
#define ZBZ_PROVIDER_SINK_FILE_H

#include "log/sinks.h"

#include <sys/stat.h>

typedef struct zbz_file_options {
	char *path;
	int64_t mode, rotate_size, rotate_every, keep, keep_for;
	int compress;
} zbz_file_options;

typedef struct zbz_log_packing zbz_log_packing;

typedef struct zbz_log_file {
	char *path; /* absolute, symbolic links of its directory and of itself resolved */
	mode_t mode;
	int64_t rotate_size, rotate_every, keep, keep_for; /* 0: not, for ever */
	int fd;                                            /* -1: closed */
	bool looked;                                       /* it has been written to */
	dev_t device;
	ino_t inode;
	uint64_t size;
	zbz_log_packing *packing; /* NULL: former files stay as they are */
	int64_t began;            /* wall ms: the file's first record, as far as it can be told */
} zbz_log_file;

/* sink_rotate.c */

/* Does the file give way before `more` bytes? */
bool zbz_log_rotate_due(const zbz_log_file *f, int64_t now, uint64_t more);
/* Gives it its place in the past and closes it; old ones go. */
zbz_status zbz_log_rotate(zbz_log_file *f, zbz_call *c);
/* Names of the former files, sorted, which is by age; *dir is to be closed. */
zbz_status zbz_log_past(const zbz_log_file *f, zbz_list *names, int *dir);
/* Opens the file of this mark, at the path or among those whose names begin with its name; -1: there is none. */
int zbz_log_file_find(const zbz_log_file *f, const zbz_sink_mark *mark);

/* sink_pack.c */

/* E_UNSUPPORTED naming the package when the plug-in is not here. */
zbz_status zbz_log_packing_open(zbz_log_file *f, zbz_err *err);
/* Stops in the middle of a file if need be; what is not packed is found the next time. */
void zbz_log_packing_close(zbz_log_file *f);
/* On a thread of its own: packs all former files that are not. */
void zbz_log_pack(zbz_log_file *f);

#endif
