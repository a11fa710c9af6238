/* Bucket `filesystem`: an object is a file below a directory. It is written under another name and then moved to its own, so that nobody sees a part. */
#include "bucket_filesystem.h"

#include "core/built_in.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/random.h"

#define ASIDE       ZBZ_OBJECT_ASIDE
#define ASIDE_OLD_S 3600 /* nobody writes that long at one object */

enum { NAMING_TRIES = 10 };

typedef struct fs_options {
	char *base_dir;
	int64_t mode;
	bool sync;
} fs_options;

static const zbz_option fs_option_list[] = { { "base_dir", "dir", ZBZ_OPT_TEXT, offsetof(fs_options, base_dir), NULL,
	                                           NULL, 0, 0,
	                                           "The directory; made when it is missing, if the one above is there" },
	                                         { "mode", "permissions", ZBZ_OPT_MODE, offsetof(fs_options, mode), "0640",
	                                           NULL, 0, 0777, "Access rights of new files, as the umask allows" },
	                                         { "sync", NULL, ZBZ_OPT_BOOL, offsetof(fs_options, sync), "false", NULL, 0,
	                                           0, "An object is on stable storage when its put has returned" },
	                                         { NULL, NULL, ZBZ_OPT_TEXT, 0, NULL, NULL, 0, 0, NULL } };

typedef struct fs_bucket {
	char *base; /* absolute */
	mode_t mode;
	bool sync;
} fs_bucket;

/* ---- open and close ---- */

/* What a killed writer has left of an object that never came to be. */
static void sweep(const char *base) {
	DIR *d = opendir(base);
	const struct dirent *e;
	struct stat st;
	while (d != NULL && (e = readdir(d)) != NULL)
		if (strncmp(e->d_name, ASIDE, sizeof ASIDE - 1) == 0 &&
		    fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && time(NULL) - st.st_mtim.tv_sec > ASIDE_OLD_S)
			unlinkat(dirfd(d), e->d_name, 0);
	if (d != NULL) closedir(d);
}

static zbz_status fs_open(void **self, const void *options, const zbz_clock *clock, zbz_err *err) {
	const fs_options *o = options;
	char real[PATH_MAX];
	fs_bucket *b;
	(void)clock;
	if (o->base_dir == NULL || o->base_dir[0] == '\0')
		return zbz_fail_option(err, "base_dir", "is needed: the directory of the objects");
	mkdir(o->base_dir, 0755);
	if (realpath(o->base_dir, real) == NULL || access(real, W_OK | X_OK) != 0)
		return zbz_fail_option(err, "base_dir", "no file can be made in %.120s: %s", o->base_dir, strerror(errno));
	b = zbz_calloc(1, sizeof *b);
	if (b != NULL) b->base = zbz_strdup(real);
	if (b == NULL || b->base == NULL) {
		zbz_free(b);
		return zbz_fail_nomem(err);
	}
	b->mode = (mode_t)o->mode;
	b->sync = o->sync;
	sweep(b->base);
	*self = b;
	return ZBZ_OK;
}

static void fs_close(void *self) {
	fs_bucket *b = self;
	zbz_free(b->base);
	zbz_free(b);
}

static zbz_status fs_identity(void *self, zbz_buf *out, zbz_err *err) {
	const fs_bucket *b = self;
	return zbz_buf_append(out, b->base, strlen(b->base), err);
}

/* ---- names ---- */

static zbz_status trouble(zbz_call *c, int e, const char *what, const char *path) {
	return zbz_fail_errno(&c->err, ZBZ_E_UNAVAILABLE, e, "%s %.140s", what, path);
}

static zbz_status path_of(const fs_bucket *b, zbz_call *c, zbz_bytes name, char path[PATH_MAX]) {
	if (name.n >= sizeof ASIDE - 1 && memcmp(name.p, ASIDE, sizeof ASIDE - 1) == 0)
		return zbz_fail(&c->err, ZBZ_E_KEY, "names that begin with " ASIDE " are the bucket's own");
	if (snprintf(path, PATH_MAX, "%s/%.*s", b->base, (int)name.n, name.p) >= PATH_MAX)
		return zbz_fail(&c->err, ZBZ_E_KEY, "the path of an object with %zu bytes of name is too long", name.n);
	return ZBZ_OK;
}

static void flush_dir(const char *path, size_t n) {
	char dir[PATH_MAX];
	int fd;
	snprintf(dir, sizeof dir, "%.*s", (int)n, path);
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) return;
	fsync(fd);
	close(fd);
}

/* The directories above it, from the base on, which may have been removed. */
static void make_dirs(const fs_bucket *b, char *path) {
	for (char *p = path + strlen(b->base); p != NULL; p = strchr(p + 1, '/')) {
		*p = '\0';
		if (mkdir(path, 0755) == 0 && b->sync && strrchr(path, '/') > path)
			flush_dir(path, (size_t)(strrchr(path, '/') - path));
		*p = '/';
	}
}

/* ---- put ---- */

static zbz_status write_all(int fd, zbz_call *c, zbz_bytes body, const char *path) {
	while (body.n > 0) {
		ssize_t put = write(fd, body.p, body.n);
		if (put < 0 && errno == EINTR) continue;
		if (put < 0) return trouble(c, errno, "writing", path);
		if (put == 0) return trouble(c, ENOSPC, "writing", path);
		body.p += put;
		body.n -= (size_t)put;
	}
	return ZBZ_OK;
}

static zbz_status move_to(const fs_bucket *b, zbz_call *c, const char *aside, char *path) {
	int moved = rename(aside, path);
	for (int i = 0; moved != 0 && errno == ENOENT && i < NAMING_TRIES; i++) {
		make_dirs(b, path); /* others may remove the last object in them, and them, at once */
		moved = rename(aside, path);
	}
	if (moved != 0) return trouble(c, errno, "naming", path);
	if (b->sync) flush_dir(path, (size_t)(strrchr(path, '/') - path));
	return ZBZ_OK;
}

static zbz_status fs_put(void *self, zbz_call *c, zbz_bytes name, zbz_bytes body) {
	const fs_bucket *b = self;
	char path[PATH_MAX], aside[PATH_MAX + 64];
	uint64_t id;
	int fd;
	zbz_status status = path_of(b, c, name, path);
	if (status == ZBZ_OK) status = zbz_random(&id, sizeof id, &c->err);
	if (status != ZBZ_OK) return status;
	snprintf(aside, sizeof aside, "%s/" ASIDE "%016llx", b->base, (unsigned long long)id);
	fd = open(aside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, b->mode);
	if (fd < 0 && errno == ENOENT && mkdir(b->base, 0755) == 0)
		fd = open(aside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, b->mode);
	if (fd < 0) return trouble(c, errno, "making a file in", b->base);
	status = write_all(fd, c, body, path);
	if (status == ZBZ_OK && b->sync && fsync(fd) != 0) status = trouble(c, errno, "flushing", path);
	if (close(fd) != 0 && status == ZBZ_OK) status = trouble(c, errno, "closing", path);
	if (status == ZBZ_OK) status = move_to(b, c, aside, path);
	if (status != ZBZ_OK) unlink(aside);
	return status;
}

/* ---- get and stat ---- */

static zbz_status open_object(const fs_bucket *b, zbz_call *c, zbz_bytes name, int *fd, struct stat *st) {
	char path[PATH_MAX];
	zbz_status status = path_of(b, c, name, path);
	if (status != ZBZ_OK) return status;
	*fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (*fd < 0) return errno == ENOENT || errno == ENOTDIR ? ZBZ_MISS : trouble(c, errno, "opening", path);
	if (fstat(*fd, st) == 0 && S_ISREG(st->st_mode)) return ZBZ_OK;
	close(*fd);
	return ZBZ_MISS;
}

static zbz_status fs_get(void *self, zbz_call *c, zbz_bytes name, zbz_buf *out) {
	struct stat st;
	int fd;
	zbz_status status = open_object(self, c, name, &fd, &st);
	size_t end;
	if (status != ZBZ_OK) return status;
	end = out->n + (size_t)st.st_size;
	status = zbz_buf_reserve(out, (size_t)st.st_size, &c->err);
	while (status == ZBZ_OK && out->n < end) {
		ssize_t got = read(fd, out->p + out->n, end - out->n);
		if (got < 0 && errno == EINTR) continue;
		if (got <= 0) status = trouble(c, got < 0 ? errno : EIO, "reading an object in", ((fs_bucket *)self)->base);
		if (got > 0) out->n += (size_t)got;
	}
	close(fd);
	return status;
}

static zbz_status fs_stat(void *self, zbz_call *c, zbz_bytes name, zbz_object_info *out) {
	struct stat st;
	int fd;
	zbz_status status = open_object(self, c, name, &fd, &st);
	if (status != ZBZ_OK) return status;
	close(fd);
	out->size = (uint64_t)st.st_size;
	out->modified = (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
	return ZBZ_OK;
}

static zbz_status fs_list(void *self, zbz_call *c, zbz_bytes prefix, zbz_bytes after, size_t limit, zbz_buf *out,
                          size_t *n) {
	return zbz_files_list(((const fs_bucket *)self)->base, c, prefix, after, limit, out, n);
}

/* ---- remove ---- */

/* A directory is there for the objects in it: made with the first, gone with the last. */
static void remove_dirs(const fs_bucket *b, char *path) {
	for (char *slash = strrchr(path, '/'); slash > path + strlen(b->base); slash = strrchr(path, '/')) {
		*slash = '\0';
		if (rmdir(path) != 0) return;
	}
}

static zbz_status fs_remove(void *self, zbz_call *c, zbz_bytes name) {
	const fs_bucket *b = self;
	char path[PATH_MAX];
	struct stat st;
	zbz_status status = path_of(b, c, name, path);
	if (status != ZBZ_OK) return status;
	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) return ZBZ_OK; /* no object */
	if (unlink(path) != 0) {
		if (errno == ENOENT || errno == ENOTDIR || errno == EISDIR) return ZBZ_OK;
		return trouble(c, errno, "removing", path);
	}
	if (b->sync) flush_dir(path, (size_t)(strrchr(path, '/') - path));
	remove_dirs(b, path);
	return ZBZ_OK;
}

const zbz_bucket_ops zbz_bucket_filesystem = {
	.abi = ZBZ_ABI,
	.name = "filesystem",
	.summary = "a file for each object, below a directory",
	.options_size = sizeof(fs_options),
	.options = fs_option_list,
	.open = fs_open,
	.close = fs_close,
	.put = fs_put,
	.get = fs_get,
	.stat = fs_stat,
	.list = fs_list,
	.remove = fs_remove,
	.identity = fs_identity,
};
