/* Files of a directory, watched. Own code over inotify(7). */
#include "source_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define READ_CHUNK ((size_t)65536)
#define FRESH_MS   20 /* without a word from the system, a file changed this recently may not be whole */

typedef struct file_options {
	char *dir;
	bool polling;
} file_options;

typedef struct file_self {
	char *dir; /* absolute */
	bool polling;
	file_listener listener;
} file_self;

/* ---- reading ---- */

static zbz_status open_failed(const char *path, zbz_err *err) {
	if (errno == ENOENT || errno == ENOTDIR) return ZBZ_MISS;
	if (errno == EACCES || errno == EPERM) return zbz_fail_errno(err, ZBZ_E_DENIED, errno, "cannot open %.160s", path);
	return zbz_fail_errno(err, ZBZ_E_UNAVAILABLE, errno, "cannot open %.160s", path);
}

/* Is there anything after what fits? */
static zbz_status expect_end(int fd, const char *path, const zbz_buf *out, zbz_err *err) {
	char more;
	if (read(fd, &more, 1) <= 0) return ZBZ_OK;
	return zbz_fail(err, ZBZ_E_TOO_LARGE, "%.120s has more than %zu bytes", path, out->max);
}

static zbz_status read_all(int fd, const char *path, size_t size, zbz_buf *out, zbz_err *err) {
	size_t max = out->max > 0 ? out->max : ZBZ_BUF_MAX, chunk = size + 1;
	while (out->n < max) {
		ssize_t got;
		zbz_status s;
		if (chunk > max - out->n) chunk = max - out->n;
		if (out->cap == out->n && (s = zbz_buf_reserve(out, chunk, err)) != ZBZ_OK) return s;
		if (chunk > out->cap - out->n) chunk = out->cap - out->n;
		got = read(fd, out->p + out->n, chunk);
		if (got < 0 && errno == EINTR) continue;
		if (got < 0) return zbz_fail_errno(err, ZBZ_E_UNAVAILABLE, errno, "cannot read %.160s", path);
		if (got == 0) return ZBZ_OK;
		out->n += (size_t)got;
		chunk = READ_CHUNK;
	}
	return expect_end(fd, path, out, err);
}

static bool same_time(const struct timespec *a, const struct timespec *b) {
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static bool is_fresh(const struct stat *st) {
	struct timespec now;
	int64_t age;
	clock_gettime(CLOCK_REALTIME, &now);
	age = (now.tv_sec - st->st_mtim.tv_sec) * INT64_C(1000) + (now.tv_nsec - st->st_mtim.tv_nsec) / 1000000;
	return age >= 0 && age < FRESH_MS;
}

/* Did the bytes and the file's size and times agree, before and after? Files of /proc say size 0. */
static zbz_status read_stable(int fd, const char *path, bool settled, zbz_buf *out, zbz_err *err) {
	struct stat before, after;
	size_t mark = out->n;
	zbz_status s;
	if (fstat(fd, &before) != 0) return open_failed(path, err);
	if (!S_ISREG(before.st_mode)) return zbz_fail(err, ZBZ_E_TYPE, "%.160s is no regular file", path);
	if (out->max > 0 && (uint64_t)before.st_size > out->max - mark)
		return zbz_fail(err, ZBZ_E_TOO_LARGE, "%.120s has %lld bytes, the most is %zu", path, (long long)before.st_size,
		                out->max);
	s = read_all(fd, path, (size_t)before.st_size, out, err);
	if (s != ZBZ_OK) return s;
	if (fstat(fd, &after) != 0) return open_failed(path, err);
	if (before.st_size != after.st_size || !same_time(&before.st_mtim, &after.st_mtim) ||
	    !same_time(&before.st_ctim, &after.st_ctim) ||
	    (after.st_size > 0 && (uint64_t)after.st_size != (uint64_t)(out->n - mark)))
		return ZBZ_AGAIN;
	return !settled && is_fresh(&after) ? ZBZ_AGAIN : ZBZ_OK;
}

zbz_status zbz_file_read(const char *path, bool settled, zbz_buf *out, zbz_err *err) {
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); /* somebody may have put a pipe there */
	zbz_status s;
	if (fd < 0) return open_failed(path, err);
	s = read_stable(fd, path, settled, out, err);
	close(fd);
	return s;
}

/* ---- the source ---- */

static zbz_status file_open(void **out, const void *options, const zbz_clock *clock, zbz_err *err) {
	const file_options *o = options;
	file_self *self;
	char cwd[PATH_MAX] = "";
	size_t n;
	zbz_status s;
	if (o->dir == NULL || o->dir[0] == '\0') return zbz_fail_option(err, "dir", "is missing: which directory?");
	if (o->dir[0] != '/' && getcwd(cwd, sizeof cwd) == NULL)
		return zbz_fail_errno(err, ZBZ_E_UNAVAILABLE, errno, "no current directory");
	self = zbz_calloc(1, sizeof *self);
	n = strlen(cwd) + 1 + strlen(o->dir) + 1;
	if (self == NULL || (self->dir = zbz_malloc(n)) == NULL) {
		zbz_free(self);
		return zbz_fail_nomem(err);
	}
	snprintf(self->dir, n, "%s%s%s", cwd, cwd[0] != '\0' ? "/" : "", o->dir);
	self->polling = o->polling;
	s = zbz_file_listener_init(&self->listener, clock);
	if (s != ZBZ_OK) {
		zbz_free(self->dir);
		zbz_free(self);
		return zbz_fail_nomem(err);
	}
	*out = self;
	return ZBZ_OK;
}

static void file_close(void *ud) {
	file_self *self = ud;
	zbz_file_listener_clear(&self->listener);
	zbz_free(self->dir);
	zbz_free(self);
}

/* A key stays below the directory; links in it may lead wherever its owner wants. */
static zbz_status check_key(zbz_bytes key, zbz_err *err) {
	size_t i, start = 0;
	if (key.p[0] == '/') return zbz_fail(err, ZBZ_E_KEY, "a file is named relative to the directory, not '/...'");
	for (i = 0; i <= key.n; i++) {
		if (i < key.n && key.p[i] != '/') continue;
		if (i - start == 2 && key.p[start] == '.' && key.p[start + 1] == '.')
			return zbz_fail(err, ZBZ_E_KEY, "a key with '..' leads out of the directory");
		start = i + 1;
	}
	return ZBZ_OK;
}

static zbz_status join(const file_self *self, zbz_bytes key, char path[PATH_MAX], zbz_err *err) {
	zbz_status s = check_key(key, err);
	if (s != ZBZ_OK) return s;
	if (strlen(self->dir) + 1 + key.n >= PATH_MAX) return zbz_fail(err, ZBZ_E_KEY, "the path is too long");
	snprintf(path, PATH_MAX, "%s/%.*s", self->dir, (int)key.n, key.p);
	return ZBZ_OK;
}

static zbz_status file_get(void *ud, zbz_call *c, zbz_bytes key, void *subscription, zbz_buf *out) {
	file_self *self = ud;
	file_sub *sub = subscription;
	char path[PATH_MAX];
	bool settled = false, there = true;
	zbz_status s = join(self, key, path, &c->err);
	if (s == ZBZ_OK && sub != NULL && !self->polling) {
		s = zbz_file_lay(&self->listener, sub, &there, &c->err);
		if (s == ZBZ_OK && there && zbz_file_is_written(&self->listener, sub, &settled)) return ZBZ_AGAIN;
	}
	return s == ZBZ_OK ? zbz_file_read(path, settled, out, &c->err) : s;
}

static zbz_status file_subscribe(void *ud, zbz_call *c, zbz_bytes key, void (*on_hint)(void *ud), void *hint_ud,
                                 void **out) {
	file_self *self = ud;
	file_sub *sub;
	char path[PATH_MAX];
	bool there;
	zbz_status s = join(self, key, path, &c->err);
	if (s != ZBZ_OK) return s;
	sub = zbz_calloc(1, sizeof *sub);
	if (sub == NULL || (sub->path = zbz_strdup(path)) == NULL) {
		zbz_free(sub);
		return zbz_fail_nomem(&c->err);
	}
	sub->on_hint = on_hint;
	sub->ud = hint_ud;
	if (!self->polling) {
		zbz_file_listen(&self->listener, sub);
		zbz_file_lay(&self->listener, sub, &there, &c->err); /* what fails here fails again in get, which tells */
	}
	*out = sub;
	return ZBZ_OK;
}

static void file_unsubscribe(void *ud, void *subscription) {
	file_self *self = ud;
	file_sub *sub = subscription;
	if (!self->polling) zbz_file_unlisten(&self->listener, sub);
	zbz_free(sub->path);
	zbz_free(sub->spots);
	zbz_buf_clear(&sub->names);
	zbz_free(sub);
}

static void file_state(void *ud, void *subscription, zbz_source_state *out) {
	const file_sub *sub = subscription;
	(void)ud;
	out->mode = sub->heard ? ZBZ_SOURCE_WATCHED : ZBZ_SOURCE_POLLED;
	out->note = sub->bound ? sub->note : NULL;
}

static const zbz_option options[] = {
	{ "dir", "base_dir", ZBZ_OPT_TEXT, offsetof(file_options, dir), NULL, NULL, 0, 0, "directory of the files" },
	{ "polling", NULL, ZBZ_OPT_BOOL, offsetof(file_options, polling), "false", NULL, 0, 0,
	  "true: never asks the system to tell of changes, only looks; for file systems that do not tell and hide what "
	  "they are" },
	{ NULL, NULL, ZBZ_OPT_TEXT, 0, NULL, NULL, 0, 0, NULL },
};

const zbz_source_ops zbz_source_file = {
	.abi = ZBZ_ABI,
	.name = "file",
	.summary = "files of a directory, watched by inotify, polled where that does not work",
	.local = true,
	.options_size = sizeof(file_options),
	.options = options,
	.open = file_open,
	.close = file_close,
	.get = file_get,
	.subscribe = file_subscribe,
	.unsubscribe = file_unsubscribe,
	.state = file_state,
};
