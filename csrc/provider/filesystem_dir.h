/* The folders of the filesystem cache: base/X/Y/ hold the entries, base/lock/ one lock file a shard, base/tmp/ files being written.
 *
 * Nothing is kept open between calls, so that a base folder that was removed, moved or mounted anew is simply used as it is now, and
 * a fork has nothing to undo. Below the base no symbolic link is followed. */
#ifndef ZBZ_PROVIDER_FILESYSTEM_DIR_H
#define ZBZ_PROVIDER_FILESYSTEM_DIR_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "filesystem_record.h"

typedef struct zbz_fs {
	char *base; /* absolute */
	mode_t file_mode, dir_mode;
	bool sync;
	const zbz_clock *clock;
	/* Threads of this process wait here, in order not to poll for a lock file that a neighbour holds. */
	pthread_mutex_t mutex;
	pthread_cond_t freed;
	bool held[ZBZ_FS_SHARDS];
	_Atomic unsigned generation, renewing; /* the process they belong to */
	pthread_mutex_t sweep;                 /* guards the folder being swept a little with every write */
	void *sweep_dir;                       /* DIR *, or NULL */
	unsigned sweep_shard;
	_Atomic int64_t expired;
} zbz_fs;

typedef struct zbz_fs_lock {
	unsigned shard;
	int fd;
} zbz_fs_lock;

typedef struct zbz_fs_temp {
	int dir, fd;
	char name[24];
} zbz_fs_temp;

/* E_UNAVAILABLE with the reason; a failure of memory or of the format has its own code. */
zbz_status zbz_fs_fail(const zbz_fs *fs, zbz_err *err, int sys_errno, const char *what, const char *name);

void zbz_fs_seats_init(zbz_fs *fs);
/* After a fork the child inherits marks and locks of threads it does not have; its own threads wait here until one of them has
 * wiped these. Before any of the locks is used or destroyed. */
void zbz_fs_fork_check(zbz_fs *fs);

/* Makes the base folder and its parents where they are missing. E_CONFIG naming base_dir. */
zbz_status zbz_fs_base_make(const zbz_fs *fs, zbz_err *err);

/* Descriptor of a folder below the base: "tmp", "lock". MISS when it is not there and `make` is false. */
zbz_status zbz_fs_dir_open(const zbz_fs *fs, const char *name, bool make, int *fd, zbz_err *err);
zbz_status zbz_fs_leaf_open(const zbz_fs *fs, unsigned shard, bool make, int *fd, zbz_err *err);

/* Everything that changes a shard holds its lock, in this process and in all others. Waits until the call's deadline, at most
 * ten seconds: E_TIMEOUT. try: AGAIN instead of waiting. The kernel frees the lock of a process that dies. */
zbz_status zbz_fs_lock_take(zbz_fs *fs, zbz_call *c, unsigned shard, bool try_only, zbz_fs_lock *lock, zbz_err *err);
void zbz_fs_lock_drop(zbz_fs *fs, zbz_fs_lock *lock);

zbz_status zbz_fs_temp_make(const zbz_fs *fs, zbz_fs_temp *t, zbz_err *err);
zbz_status zbz_fs_temp_write(const zbz_fs *fs, zbz_fs_temp *t, const void *p, size_t n, zbz_err *err);
/* Makes it the file `name` of the leaf, at once and for all readers. AGAIN when a folder has vanished meanwhile. Drop it all the same. */
zbz_status zbz_fs_temp_commit(const zbz_fs *fs, zbz_fs_temp *t, int leaf, const char *name, zbz_err *err);
void zbz_fs_temp_drop(zbz_fs_temp *t); /* removes what was not committed; fd -1: nothing */
/* Removes what writers that died have left for more than an hour. */
void zbz_fs_temp_sweep(const zbz_fs *fs);

#endif
