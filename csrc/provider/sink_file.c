/* Sink `file`: appends to a file that others may move, remove or fill the disk of meanwhile. */
#include "sink_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { STUCK_MS = 1000 };

static const zbz_option file_option_list[] = {
	{ "path", "filename", ZBZ_OPT_TEXT, offsetof(zbz_file_options, path), NULL, NULL, 0, 0,
	  "The file; one process writes for all that log to it" },
	{ "mode", "permissions", ZBZ_OPT_MODE, offsetof(zbz_file_options, mode), "0640", NULL, 0, 0777,
	  "Access rights of a new file, as the umask allows" },
	{ "rotate_size", NULL, ZBZ_OPT_SIZE, offsetof(zbz_file_options, rotate_size), NULL, NULL, 0, 0,
	  "A new file before this one would grow beyond; the former is called PATH.YYYYMMDD-HHMMSS (UTC)" },
	{ "rotate_every", "rotate_time", ZBZ_OPT_DURATION, offsetof(zbz_file_options, rotate_every), NULL, NULL, 0, 0,
	  "A new file whenever a multiple of this time since midnight of 1970-01-01 (UTC) has passed" },
	{ "keep", NULL, ZBZ_OPT_INT, offsetof(zbz_file_options, keep), NULL, NULL, 0, 0,
	  "How many former files stay; 0: all" },
	{ "keep_for", NULL, ZBZ_OPT_DURATION, offsetof(zbz_file_options, keep_for), NULL, NULL, 0, 0,
	  "How long former files stay; 0: for ever" },
	{ "compress", NULL, ZBZ_OPT_ENUM, offsetof(zbz_file_options, compress), "none", "none|gzip", 0, 0,
	  "Former files are packed, aside of the writing; gzip needs zlib" },
	{ "early", NULL, ZBZ_OPT_BOOL, offsetof(zbz_file_options, early), "false", NULL, 0, 0,
	  "Opened when it is configured, with the rights of that moment, and kept open for processes that may not; in "
	  "nginx the default in init_by_lua" },
	{ NULL, NULL, ZBZ_OPT_TEXT, 0, NULL, NULL, 0, 0, NULL }
};

/* ---- open and close ---- */

static zbz_status wrong_path(zbz_err *err, int e, const char *what, const char *path) {
	zbz_err full;
	zbz_fail_errno(&full, ZBZ_E_CONFIG, e, "%s %.160s", what, path);
	snprintf(full.option, sizeof full.option, "path");
	if (err != NULL) *err = full;
	return ZBZ_E_CONFIG;
}

static zbz_status resolve_new(const char *path, char **out, zbz_err *err) {
	char dir[PATH_MAX], real[PATH_MAX], whole[2 * PATH_MAX];
	const char *slash = strrchr(path, '/');
	snprintf(dir, sizeof dir, "%.*s", slash == NULL || slash == path ? 1 : (int)(slash - path),
	         slash == NULL ? "." : path);
	if (realpath(dir, real) == NULL || access(real, W_OK | X_OK) != 0)
		return wrong_path(err, errno, "no file can be made in the directory", dir);
	snprintf(whole, sizeof whole, "%s/%s", strcmp(real, "/") == 0 ? "" : real, slash != NULL ? slash + 1 : path);
	*out = zbz_strdup(whole);
	return *out != NULL ? ZBZ_OK : zbz_fail_nomem(err);
}

/* The file may not exist, its directory must. */
static zbz_status resolve(const char *path, char **out, zbz_err *err) {
	char real[PATH_MAX];
	struct stat st;
	size_t n = strlen(path);
	if (n == 0 || n >= PATH_MAX || path[n - 1] == '/') return zbz_fail_option(err, "path", "is no name of a file");
	if (realpath(path, real) == NULL) return resolve_new(path, out, err);
	if (stat(real, &st) == 0 && S_ISDIR(st.st_mode)) return wrong_path(err, EISDIR, "no file can be written at", path);
	if (access(real, W_OK) != 0) return wrong_path(err, errno, "no file can be written at", path);
	*out = zbz_strdup(real);
	return *out != NULL ? ZBZ_OK : zbz_fail_nomem(err);
}

/* What an earlier process of more rights has kept will do where this one is refused. */
static zbz_status find_file(zbz_log_file *f, const zbz_file_options *o, zbz_err *err) {
	const char *path = NULL;
	zbz_status status = resolve(o->path, &f->path, err);
	if (!o->early) return status;
	if (status == ZBZ_OK) status = zbz_log_keep(o->path, f->path, (mode_t)o->mode, &f->kept, err);
	if (f->kept == NULL) f->kept = zbz_log_kept_find(o->path, &path);
	if (status == ZBZ_OK || f->kept == NULL) return status;
	if (f->path == NULL) f->path = zbz_strdup(path);
	return f->path != NULL ? ZBZ_OK : zbz_fail_nomem(err);
}

static void free_file(zbz_log_file *f) {
	zbz_log_kept_close(f->kept);
	zbz_free(f->path);
	zbz_free(f);
}

static zbz_status file_open(void **self, const void *options, const zbz_clock *clock, zbz_err *err) {
	const zbz_file_options *o = options;
	zbz_log_file *f;
	zbz_status status;
	(void)clock; /* each call brings the time */
	if (o->path == NULL) return zbz_fail_option(err, "path", "is needed: the file to write to");
	f = zbz_calloc(1, sizeof *f);
	if (f == NULL) return zbz_fail_nomem(err);
	status = find_file(f, o, err);
	f->mode = (mode_t)o->mode;
	f->rotate_size = o->rotate_size;
	f->rotate_every = o->rotate_every;
	f->keep = o->keep;
	f->keep_for = o->keep_for;
	f->fd = -1;
	if (status == ZBZ_OK && o->compress != 0) status = zbz_log_packing_open(f, err);
	if (status == ZBZ_OK)
		*self = f;
	else
		free_file(f);
	return status;
}

static void shut(zbz_log_file *f) {
	if (f->fd >= 0) close(f->fd);
	f->fd = -1;
}

static void file_close(void *self) {
	zbz_log_file *f = self;
	shut(f);
	zbz_log_packing_close(f);
	free_file(f);
}

static zbz_status file_identity(void *self, zbz_buf *out, zbz_err *err) {
	const zbz_log_file *f = self;
	return zbz_buf_append(out, f->path, strlen(f->path), err);
}

/* ---- the file under the path ---- */

static const zbz_sink_mark unknown = { 0, 0, 0 };

static zbz_status trouble(const zbz_log_file *f, zbz_call *c, const char *what) {
	int e = errno;
	zbz_fail_errno(&c->err, ZBZ_E_UNAVAILABLE, e, "%s %.120s", what, f->path);
	return ZBZ_E_UNAVAILABLE; /* all of it may be mended while the ring waits: room, rights, a directory */
}

/* A directory that somebody has removed comes back, but not a whole tree of them. */
static bool make_directory(const zbz_log_file *f) {
	char dir[PATH_MAX];
	snprintf(dir, sizeof dir, "%.*s", (int)(strrchr(f->path, '/') - f->path), f->path);
	return mkdir(dir, 0755) == 0;
}

static bool refused(int e) { return e == EACCES || e == EPERM || e == EROFS; }

/* What was kept may have been moved since: then the writer before this one knows best, by its mark. A moved file is written to as long as it has a
 * name, as any program does that was not told. */
static int open_kept(const zbz_log_file *f, const zbz_sink_mark *last) {
	struct stat here, kept;
	int fd = zbz_log_kept_fd(f->kept), found = -1;
	if (fd >= 0 && stat(f->path, &here) == 0 && fstat(fd, &kept) == 0 && here.st_dev == kept.st_dev &&
	    here.st_ino == kept.st_ino)
		return fd;
	if (last->inode != 0) found = zbz_log_file_find(f, last);
	if (found < 0) return fd;
	if (fd >= 0) close(fd);
	return found;
}

static int open_file(zbz_log_file *f, const zbz_sink_mark *last) {
	const int how = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
	int fd = open(f->path, how, f->mode), e;
	if (fd < 0 && errno == ENOENT && make_directory(f)) fd = open(f->path, how, f->mode);
	if (fd < 0 && refused(errno) && f->kept != NULL) {
		e = errno;
		fd = open_kept(f, last);
		errno = e;
	}
	if (fd >= 0) zbz_log_kept_renew(f->kept, fd);
	return fd;
}

static zbz_status open_path(zbz_log_file *f, zbz_call *c, const zbz_sink_mark *last) {
	struct stat st;
	f->fd = open_file(f, last);
	if (f->fd < 0) return trouble(f, c, "opening");
	if (fstat(f->fd, &st) != 0) return trouble(f, c, "opening");
	f->device = st.st_dev;
	f->inode = st.st_ino;
	f->regular = S_ISREG(st.st_mode);
	f->size = f->regular ? (uint64_t)st.st_size : 0;
	f->began = st.st_size == 0 ? c->now : (int64_t)st.st_mtim.tv_sec * 1000;
	return ZBZ_OK;
}

/* Whatever is at the path now is the file: logrotate, a mount or somebody's rm may have changed it. */
static zbz_status look(zbz_log_file *f, zbz_call *c, const zbz_sink_mark *last) {
	struct stat st;
	if (f->fd >= 0 && (stat(f->path, &st) != 0 || st.st_dev != f->device || st.st_ino != f->inode)) shut(f);
	if (f->fd < 0) return open_path(f, c, last);
	if (!f->regular) return ZBZ_OK;
	if ((uint64_t)st.st_size < f->size) f->began = c->now; /* emptied in place */
	f->size = (uint64_t)st.st_size;
	return ZBZ_OK;
}

/* To a new file, when it is time. Who may not rename goes on in the old one: c->err tells why, the records are worth more than the limit. */
static zbz_status turn(zbz_log_file *f, zbz_call *c, uint64_t least, const zbz_sink_mark *last) {
	zbz_status status;
	if (c->now < f->stuck_until && f->stuck_until - c->now <= STUCK_MS) return ZBZ_OK;
	f->stuck_until = 0;
	if (!zbz_log_rotate_due(f, c->now, least)) return ZBZ_OK;
	status = zbz_log_rotate(f, c);
	if (status == ZBZ_OK) return look(f, c, last);
	if (status != ZBZ_REFUSED) return status;
	f->stuck_until = c->now + STUCK_MS;
	return ZBZ_OK;
}

static zbz_status file_mark(void *self, zbz_call *c, uint64_t least, zbz_sink_mark *mark, uint64_t *room) {
	zbz_log_file *f = self;
	zbz_status status = look(f, c, mark);
	if (status == ZBZ_OK && !f->looked) zbz_log_pack(f); /* what the process before this one did not finish */
	f->looked = true;
	if (status == ZBZ_OK) status = turn(f, c, least, mark);
	if (status != ZBZ_OK) return status;
	if (f->rotate_size > 0 && f->regular && f->stuck_until == 0 && *room > (uint64_t)f->rotate_size - f->size)
		*room = f->size < (uint64_t)f->rotate_size ? (uint64_t)f->rotate_size - f->size : 0;
	*mark = f->begun = (zbz_sink_mark){ f->device, f->inode, f->size };
	f->put = f->whole = 0;
	return ZBZ_OK;
}

/* Somebody who has emptied the file meanwhile, as one does with a full disk, has what was in it: the records that are whole do not come again. */
static uint64_t there(zbz_log_file *f, const zbz_sink_mark *mark) {
	if (mark->device != f->begun.device || mark->inode != f->begun.inode || mark->size != f->begun.size)
		f->put = f->whole = 0; /* another process's */
	if (f->regular && f->size < mark->size + f->put) return f->whole;
	return f->size > mark->size ? f->size - mark->size : 0;
}

/* What is left of the write belongs into the same file, wherever that has gone; the next mark turns to the path again. */
static zbz_status file_landed(void *self, zbz_call *c, const zbz_sink_mark *mark, uint64_t *bytes) {
	zbz_log_file *f = self;
	struct stat st;
	*bytes = 0;
	if (f->fd < 0 || f->device != mark->device || f->inode != mark->inode || fstat(f->fd, &st) != 0 ||
	    st.st_nlink == 0) {
		shut(f);
		f->fd = zbz_log_file_find(f, mark);
		if (f->fd < 0 && errno != ENOENT) return trouble(f, c, "looking for the rest of");
		if (f->fd < 0) return ZBZ_OK; /* removed, and what was written with it */
		f->device = (dev_t)mark->device;
		f->inode = (ino_t)mark->inode;
	}
	if (fstat(f->fd, &st) != 0) return trouble(f, c, "looking at");
	f->regular = S_ISREG(st.st_mode);
	if (f->regular) f->size = (uint64_t)st.st_size;
	*bytes = there(f, mark);
	f->begun = *mark;
	f->put = *bytes;
	return ZBZ_OK;
}

/* ---- writing ---- */

/* Cut in the middle of a record: `landed` tells where, and the rest of it is what comes next. */
static zbz_status file_write(void *self, zbz_call *c, const zbz_record *records, size_t n, size_t *done) {
	zbz_log_file *f = self;
	zbz_bytes run = zbz_record_run(records, n);
	size_t sent = 0, part;
	zbz_status status = f->fd < 0 ? open_path(f, c, &unknown) : ZBZ_OK;
	while (status == ZBZ_OK && sent < run.n) {
		ssize_t put = write(f->fd, run.p + sent, run.n - sent);
		if (put > 0)
			sent += (size_t)put;
		else if (put == 0 || errno != EINTR)
			status = trouble(f, c, "writing to");
	}
	f->size += sent;
	part = sent;
	*done = zbz_record_whole(records, n, &part);
	if (*done > 0) f->whole = f->put + sent - part;
	f->put += sent;
	return status;
}

static zbz_status file_sync(void *self, zbz_call *c) {
	zbz_log_file *f = self;
	if (f->fd < 0 || fdatasync(f->fd) == 0 || errno == EINVAL || errno == EROFS) return ZBZ_OK;
	return trouble(f, c, "flushing");
}

static zbz_status file_reopen(void *self, zbz_call *c) {
	zbz_log_file *f = self;
	shut(f);
	return look(f, c, &unknown);
}

const zbz_sink_ops zbz_sink_file = {
	.abi = ZBZ_ABI,
	.name = "file",
	.summary = "a file, with rotation by size and time; follows logrotate",
	.options_size = sizeof(zbz_file_options),
	.options = file_option_list,
	.open = file_open,
	.close = file_close,
	.write = file_write,
	.mark = file_mark,
	.landed = file_landed,
	.sync = file_sync,
	.reopen = file_reopen,
	.identity = file_identity,
};
