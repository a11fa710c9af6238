/* Rotation of log files. A former file has the time of its end in its name, so that turning to a new one is a single rename: there is no
 * moment at which a crash could leave a row of files half moved. */
#include "sink_file.h"

#include "core/config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define STAMP   "%Y%m%d-%H%M%S"
#define STAMP_N 15

enum { SAME_SECOND = 1000 };

bool zbz_log_rotate_due(const zbz_log_file *f, int64_t now, uint64_t more) {
	if (f->size == 0 || !f->regular) return false;
	if (f->rotate_size > 0 && f->size + more > (uint64_t)f->rotate_size) return true;
	return f->rotate_every > 0 && now / f->rotate_every > f->began / f->rotate_every;
}

/* ---- names ---- */

static const char *base_of(const zbz_log_file *f) { return strrchr(f->path, '/') + 1; }

static bool digits(const char *p, size_t n) {
	for (size_t i = 0; i < n; i++)
		if (p[i] < '0' || p[i] > '9') return false;
	return true;
}

/* BASE.YYYYMMDD-HHMMSS, perhaps with .N behind, perhaps with .gz behind that. */
static bool is_past(const char *base, const char *name) {
	size_t n = strlen(base);
	const char *p = name + n + 1;
	if (strncmp(name, base, n) != 0 || name[n] != '.' || strlen(p) < STAMP_N) return false;
	if (!digits(p, 8) || p[8] != '-' || !digits(p + 9, 6)) return false;
	p += STAMP_N;
	if (*p == '.' && p[1] >= '0' && p[1] <= '9') p += 1 + strspn(p + 1, "0123456789");
	return *p == '\0' || strcmp(p, ".gz") == 0;
}

static bool name_past(const zbz_log_file *f, int64_t now, char out[PATH_MAX]) {
	char stamp[STAMP_N + 1], packed[PATH_MAX];
	struct tm tm;
	struct stat st;
	time_t seconds = (time_t)(now / 1000);
	gmtime_r(&seconds, &tm);
	if (strftime(stamp, sizeof stamp, STAMP, &tm) == 0) return false;
	for (int i = 0; i < SAME_SECOND; i++) {
		int n = i == 0 ? snprintf(out, PATH_MAX, "%s.%s", f->path, stamp)
		               : snprintf(out, PATH_MAX, "%s.%s.%03d", f->path, stamp, i);
		if (n >= PATH_MAX) return false;
		if (lstat(out, &st) == 0) continue;
		if (errno != ENOENT) return true; /* renaming will tell */
		if (snprintf(packed, sizeof packed, "%s.gz", out) < (int)sizeof packed && lstat(packed, &st) != 0) return true;
	}
	return false;
}

/* ---- the past ---- */

static DIR *open_dir(const zbz_log_file *f) {
	char dir[PATH_MAX];
	snprintf(dir, sizeof dir, "%.*s", (int)(base_of(f) - f->path), f->path);
	return opendir(dir);
}

static size_t unpacked(const char *name) {
	size_t n = strlen(name);
	return n > 3 && strcmp(name + n - 3, ".gz") == 0 ? n - 3 : n;
}

/* As their ends do; packed or not makes no difference. */
static int by_name(const void *a, const void *b) {
	const char *x = *(char *const *)a, *y = *(char *const *)b;
	size_t n = unpacked(x), m = unpacked(y);
	int order = memcmp(x, y, n < m ? n : m);
	return order != 0 ? order : (n > m) - (n < m);
}

zbz_status zbz_log_past(const zbz_log_file *f, zbz_list *names, int *dir) {
	const struct dirent *e;
	DIR *d = open_dir(f);
	zbz_status status = ZBZ_OK;
	*names = (zbz_list){ NULL, 0 };
	*dir = d != NULL ? dup(dirfd(d)) : -1;
	while (d != NULL && status == ZBZ_OK && (e = readdir(d)) != NULL)
		if (is_past(base_of(f), e->d_name)) status = zbz_list_add(names, zbz_bstr(e->d_name), NULL);
	if (d != NULL) closedir(d);
	if (names->n > 0) qsort(names->items, names->n, sizeof *names->items, by_name);
	if (*dir >= 0) return ZBZ_OK;
	zbz_list_clear(names);
	return ZBZ_E_UNAVAILABLE;
}

static void forget_old(const zbz_log_file *f, int64_t now) {
	zbz_list p;
	int dir;
	size_t keep = f->keep > 0 ? (size_t)f->keep : SIZE_MAX;
	if ((f->keep == 0 && f->keep_for == 0) || zbz_log_past(f, &p, &dir) != ZBZ_OK) return;
	for (size_t i = 0; i < p.n; i++) {
		struct stat st;
		bool old = f->keep_for > 0 && fstatat(dir, p.items[i], &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		           (int64_t)st.st_mtim.tv_sec * 1000 < now - f->keep_for;
		if (p.n - i > keep || old) unlinkat(dir, p.items[i], 0);
	}
	close(dir);
	zbz_list_clear(&p);
}

zbz_status zbz_log_rotate(zbz_log_file *f, zbz_call *c) {
	char to[PATH_MAX];
	if (!name_past(f, c->now, to))
		return zbz_fail(&c->err, ZBZ_E_UNAVAILABLE, "no name for the former %.120s", f->path);
	if (rename(f->path, to) != 0) {
		int e = errno;
		zbz_fail_errno(&c->err, ZBZ_E_UNAVAILABLE, e, "rotating %.120s", f->path);
		return e == EACCES || e == EPERM || e == EROFS ? ZBZ_REFUSED : ZBZ_E_UNAVAILABLE;
	}
	close(f->fd);
	f->fd = -1;
	forget_old(f, c->now);
	zbz_log_pack(f);
	return ZBZ_OK;
}

static bool is_marked(const struct stat *st, const zbz_sink_mark *mark) {
	return st->st_dev == mark->device && st->st_ino == mark->inode;
}

/* -1: another file, or none; *problem: it is the one, or it cannot be told. */
static int open_if(int dir, const char *name, const zbz_sink_mark *mark, int *problem) {
	struct stat st;
	int fd;
	if (fstatat(dir, name, &st, 0) != 0) {
		if (errno != ENOENT && errno != ENOTDIR) *problem = errno;
		return -1;
	}
	if (!is_marked(&st, mark)) return -1;
	fd = openat(dir, name, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0 && errno != ENOENT) *problem = errno;
	if (fd < 0 || (fstat(fd, &st) == 0 && is_marked(&st, mark))) return fd;
	close(fd);
	return -1;
}

static int open_if_kept(const zbz_log_file *f, const zbz_sink_mark *mark) {
	struct stat st;
	int fd = zbz_log_kept_fd(f->kept);
	if (fd < 0 || (fstat(fd, &st) == 0 && is_marked(&st, mark))) return fd;
	close(fd);
	return -1;
}

int zbz_log_file_find(const zbz_log_file *f, const zbz_sink_mark *mark) {
	const struct dirent *e;
	size_t n = strlen(base_of(f));
	int problem = ENOENT, fd = open_if(AT_FDCWD, f->path, mark, &problem);
	DIR *d;
	if (fd < 0) fd = open_if_kept(f, mark);
	if (fd >= 0) return fd;
	d = open_dir(f);
	if (d == NULL && errno != ENOENT && errno != ENOTDIR) problem = errno;
	while (fd < 0 && d != NULL && (e = readdir(d)) != NULL)
		if (strncmp(e->d_name, base_of(f), n) == 0) fd = open_if(dirfd(d), e->d_name, mark, &problem);
	if (d != NULL) closedir(d);
	errno = problem;
	return fd;
}
