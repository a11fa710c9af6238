/* Own code over POSIX calls; the lock is flock(2), whose owner's death frees it. */
#include "filesystem_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fork.h"
#include "base/random.h"

#define LOCK_WAIT_MS 10000
#define TEMP_LIFE_S  3600
#define TEMP_LOOK    4096

zbz_status zbz_fs_fail(const zbz_fs *fs, zbz_err *err, int sys_errno, const char *what, const char *name) {
	if (sys_errno == ENOMEM) return zbz_fail_nomem(err);
	return zbz_fail_errno(err, ZBZ_E_UNAVAILABLE, sys_errno, "cannot %s %s%s%s", what, fs->base, *name ? "/" : "",
	                      name);
}

static zbz_status base_fail(const zbz_fs *fs, zbz_err *err, int sys_errno, const char *what) {
	zbz_status s = zbz_fail_errno(err, ZBZ_E_CONFIG, sys_errno, "option base_dir: cannot %s %s", what, fs->base);
	if (err != NULL) snprintf(err->option, sizeof err->option, "base_dir");
	return s;
}

/* The mode is set apart from the creation: mkdir's is cut by the umask. */
static int dir_make(const zbz_fs *fs, const char *path) {
	if (mkdir(path, fs->dir_mode) != 0) return errno == EEXIST ? 0 : -1;
	return chmod(path, fs->dir_mode);
}

static zbz_status base_try(const zbz_fs *fs) {
	char path[PATH_MAX];
	size_t n = strlen(fs->base);
	if (n >= sizeof path) {
		errno = ENAMETOOLONG;
		return ZBZ_E_UNAVAILABLE;
	}
	memcpy(path, fs->base, n + 1);
	for (size_t i = 1; i <= n; i++) {
		if (path[i] != '/' && path[i] != '\0') continue;
		char keep = path[i];
		path[i] = '\0';
		struct stat st;
		if (stat(path, &st) != 0 && dir_make(fs, path) != 0) return ZBZ_E_UNAVAILABLE;
		path[i] = keep;
	}
	return ZBZ_OK;
}

zbz_status zbz_fs_base_make(const zbz_fs *fs, zbz_err *err) {
	if (base_try(fs) != ZBZ_OK) return base_fail(fs, err, errno, "create");
	int fd = open(fs->base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) return base_fail(fs, err, errno, "open");
	close(fd);
	return ZBZ_OK;
}

/* Opens a folder in a folder; -1 and errno. A link of that name is ENOTDIR or ELOOP. */
static int sub_open(const zbz_fs *fs, int parent, const char *name, bool make) {
	const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	int fd = openat(parent, name, flags);
	if (fd >= 0 || errno != ENOENT || !make) return fd;
	bool made = mkdirat(parent, name, fs->dir_mode) == 0;
	if (!made && errno != EEXIST) return -1;
	fd = openat(parent, name, flags);
	if (fd >= 0 && made && fchmod(fd, fs->dir_mode) != 0) {
		int e = errno;
		close(fd);
		errno = e;
		return -1;
	}
	return fd;
}

static int base_open(const zbz_fs *fs, bool make) {
	int fd = open(fs->base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0 || errno != ENOENT || !make) return fd;
	return base_try(fs) == ZBZ_OK ? open(fs->base, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
}

static zbz_status walk(const zbz_fs *fs, const char *const *names, size_t n, bool make, int *out, zbz_err *err) {
	int fd = base_open(fs, make);
	for (size_t i = 0; i < n && fd >= 0; i++) {
		int sub = sub_open(fs, fd, names[i], make), e = errno;
		close(fd);
		errno = e;
		fd = sub;
	}
	*out = fd;
	if (fd >= 0) return ZBZ_OK;
	if (errno == ENOENT) return make ? ZBZ_AGAIN : ZBZ_MISS;
	return zbz_fs_fail(fs, err, errno, "open folder", n == 1 ? names[0] : "");
}

zbz_status zbz_fs_dir_open(const zbz_fs *fs, const char *name, bool make, int *fd, zbz_err *err) {
	return walk(fs, &name, 1, make, fd, err);
}

zbz_status zbz_fs_leaf_open(const zbz_fs *fs, unsigned shard, bool make, int *fd, zbz_err *err) {
	static const char digits[16][2] = {
		"0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "a", "b", "c", "d", "e", "f"
	};
	const char *names[2] = { digits[shard >> 4 & 15], digits[shard & 15] };
	return walk(fs, names, 2, make, fd, err);
}

static int64_t real_now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void zbz_fs_seats_init(zbz_fs *fs) {
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_mutex_init(&fs->mutex, NULL);
	pthread_mutex_init(&fs->sweep, NULL);
	pthread_cond_init(&fs->freed, &attr);
	pthread_condattr_destroy(&attr);
	memset(fs->held, 0, sizeof fs->held);
	atomic_store(&fs->renewing, zbz_fork_generation());
	atomic_store_explicit(&fs->generation, zbz_fork_generation(), memory_order_release);
}

/* The position in a folder being swept is one with the parent's, so that sweep begins anew. */
static void renew(zbz_fs *fs) {
	if (fs->sweep_dir != NULL) closedir(fs->sweep_dir);
	fs->sweep_dir = NULL;
	zbz_fs_seats_init(fs);
}

void zbz_fs_fork_check(zbz_fs *fs) {
	unsigned now = zbz_fork_generation(), seen = atomic_load(&fs->renewing);
	if (atomic_load_explicit(&fs->generation, memory_order_acquire) == now) return;
	if (seen != now && atomic_compare_exchange_strong(&fs->renewing, &seen, now)) renew(fs);
	while (atomic_load_explicit(&fs->generation, memory_order_acquire) != now) sched_yield();
}

static bool seat_take(zbz_fs *fs, unsigned shard, int64_t until, bool try_only) {
	struct timespec t = { .tv_sec = until / 1000, .tv_nsec = until % 1000 * 1000000 };
	int rc = 0;
	zbz_fs_fork_check(fs);
	pthread_mutex_lock(&fs->mutex);
	while (fs->held[shard] && !try_only && rc == 0) rc = pthread_cond_timedwait(&fs->freed, &fs->mutex, &t);
	bool mine = !fs->held[shard];
	if (mine) fs->held[shard] = true;
	pthread_mutex_unlock(&fs->mutex);
	return mine;
}

static void seat_drop(zbz_fs *fs, unsigned shard) {
	pthread_mutex_lock(&fs->mutex);
	fs->held[shard] = false;
	pthread_cond_broadcast(&fs->freed);
	pthread_mutex_unlock(&fs->mutex);
}

/* Opened for writing, because network file systems turn flock into a record lock, which asks for it. */
static zbz_status lock_open(const zbz_fs *fs, unsigned shard, int *out, zbz_err *err) {
	char name[4];
	int dir, fd = -1;
	snprintf(name, sizeof name, "%02x", shard);
	zbz_status s = zbz_fs_dir_open(fs, "lock", true, &dir, err);
	if (s != ZBZ_OK) return s;
	for (int i = 0; i < 4 && fd < 0; i++) {
		fd = openat(dir, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
		if (fd >= 0 || errno != ENOENT) break;
		fd = openat(dir, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (fd >= 0 && fchmod(fd, fs->file_mode) == 0) break;
		if (errno != EEXIST) break;
	}
	int e = errno;
	close(dir);
	*out = fd;
	if (fd >= 0) return ZBZ_OK;
	return e == ENOENT ? ZBZ_AGAIN : zbz_fs_fail(fs, err, e, "open lock file in", "lock");
}

/* A lock file that was unlinked guards nothing any more. */
static bool lock_lives(int fd) {
	struct stat st;
	return fstat(fd, &st) == 0 && st.st_nlink > 0;
}

static zbz_status lock_wait(const zbz_fs *fs, zbz_call *c, int fd, int64_t until, bool try_only, zbz_err *err) {
	long pause_us = 100;
	while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		if (errno == EINTR) continue;
		if (errno != EWOULDBLOCK) return zbz_fs_fail(fs, err, errno, "lock", "lock");
		if (try_only) return ZBZ_AGAIN;
		if (real_now() >= until || zbz_call_left(c) == 0)
			return zbz_fail(err, ZBZ_E_TIMEOUT, "another process holds a lock in %s/lock", fs->base);
		struct timespec t = { .tv_nsec = pause_us * 1000 };
		nanosleep(&t, NULL);
		if (pause_us < 4000) pause_us += pause_us / 2;
	}
	return ZBZ_OK;
}

zbz_status zbz_fs_lock_take(zbz_fs *fs, zbz_call *c, unsigned shard, bool try_only, zbz_fs_lock *lock, zbz_err *err) {
	int64_t left = zbz_call_left(c), until = real_now() + (left < LOCK_WAIT_MS ? left : LOCK_WAIT_MS);
	lock->shard = shard;
	lock->fd = -1;
	if (!seat_take(fs, shard, until, try_only))
		return try_only ? ZBZ_AGAIN
		                : zbz_fail(err, ZBZ_E_TIMEOUT, "another thread holds the key's lock in %s", fs->base);
	zbz_status s = ZBZ_AGAIN;
	for (int i = 0; i < 8 && s == ZBZ_AGAIN; i++) {
		s = lock_open(fs, shard, &lock->fd, err);
		if (s != ZBZ_OK) continue;
		s = lock_wait(fs, c, lock->fd, until, try_only, err);
		if (s == ZBZ_OK && lock_lives(lock->fd)) return ZBZ_OK;
		close(lock->fd);
		lock->fd = -1;
		if (s == ZBZ_OK)
			s = ZBZ_AGAIN;
		else if (try_only)
			break;
	}
	seat_drop(fs, shard);
	return s == ZBZ_AGAIN && !try_only ? zbz_fs_fail(fs, err, ENOENT, "keep a lock file in", "lock") : s;
}

void zbz_fs_lock_drop(zbz_fs *fs, zbz_fs_lock *lock) {
	if (lock->fd < 0) return;
	flock(lock->fd, LOCK_UN); /* closing alone would leave it to a child forked meanwhile */
	close(lock->fd);
	lock->fd = -1;
	seat_drop(fs, lock->shard);
}

zbz_status zbz_fs_temp_make(const zbz_fs *fs, zbz_fs_temp *t, zbz_err *err) {
	uint64_t r;
	t->fd = t->dir = -1;
	zbz_status s = ZBZ_AGAIN;
	for (int i = 0; i < 4 && s == ZBZ_AGAIN; i++) s = zbz_fs_dir_open(fs, "tmp", true, &t->dir, err);
	if (s == ZBZ_AGAIN) return zbz_fs_fail(fs, err, ENOENT, "create", "tmp");
	if (s != ZBZ_OK) return s;
	s = zbz_random(&r, sizeof r, err);
	if (s != ZBZ_OK) return s;
	snprintf(t->name, sizeof t->name, "w%016llx", (unsigned long long)r);
	t->fd = openat(t->dir, t->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (t->fd < 0) return zbz_fs_fail(fs, err, errno, "create a file in", "tmp");
	if (fchmod(t->fd, fs->file_mode) != 0) return zbz_fs_fail(fs, err, errno, "set permissions in", "tmp");
	return ZBZ_OK;
}

zbz_status zbz_fs_temp_write(const zbz_fs *fs, zbz_fs_temp *t, const void *data, size_t n, zbz_err *err) {
	const char *p = data;
	while (n > 0) {
		ssize_t done = write(t->fd, p, n);
		if (done < 0 && errno == EINTR) continue;
		if (done < 0) return zbz_fs_fail(fs, err, errno, "write a file in", "tmp");
		p += done;
		n -= (size_t)done;
	}
	return ZBZ_OK;
}

zbz_status zbz_fs_temp_commit(const zbz_fs *fs, zbz_fs_temp *t, int leaf, const char *name, zbz_err *err) {
	if (fs->sync && fdatasync(t->fd) != 0) return zbz_fs_fail(fs, err, errno, "flush a file in", "tmp");
	if (renameat(t->dir, t->name, leaf, name) != 0)
		return errno == ENOENT ? ZBZ_AGAIN : zbz_fs_fail(fs, err, errno, "put in place", name);
	t->name[0] = '\0';
	if (fs->sync && fsync(leaf) != 0) return zbz_fs_fail(fs, err, errno, "flush the folder of", name);
	return ZBZ_OK;
}

void zbz_fs_temp_drop(zbz_fs_temp *t) {
	if (t->fd >= 0) {
		close(t->fd);
		if (t->name[0] != '\0') unlinkat(t->dir, t->name, 0);
	}
	if (t->dir >= 0) close(t->dir);
	t->fd = t->dir = -1;
}

static bool temp_name_is(const char *name) {
	return name[0] == 'w' && strspn(name + 1, "0123456789abcdef") == 16 && name[17] == '\0';
}

void zbz_fs_temp_sweep(const zbz_fs *fs) {
	int fd;
	struct timespec now;
	if (zbz_fs_dir_open(fs, "tmp", false, &fd, NULL) != ZBZ_OK) return;
	DIR *d = fdopendir(fd);
	if (d == NULL) {
		close(fd);
		return;
	}
	clock_gettime(CLOCK_REALTIME, &now);
	struct dirent *e;
	for (int i = 0; i < TEMP_LOOK && (e = readdir(d)) != NULL; i++) {
		struct stat st;
		if (!temp_name_is(e->d_name) || fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0) continue;
		if (S_ISREG(st.st_mode) && st.st_mtim.tv_sec < now.tv_sec - TEMP_LIFE_S) unlinkat(fd, e->d_name, 0);
	}
	closedir(d);
}
