#include "filesystem_scan.h"

#include "base/page.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define SWEEP_FILES 2
#define STATS_MS    2000

/* One folder's names, taken at one moment. */
typedef struct leaf_names {
	unsigned shard;
	int fd;       /* of the folder; -1 none */
	zbz_buf text; /* names, each with its NUL */
	size_t at;
} leaf_names;

struct zbz_cursor {
	leaf_names leaf;
	unsigned next; /* shard */
	zbz_buf prefix;
};

static void leaf_end(leaf_names *l) {
	if (l->fd >= 0) close(l->fd);
	l->fd = -1;
	zbz_buf_reset(&l->text);
	l->at = 0;
}

static zbz_status names_read(const zbz_fs *fs, leaf_names *l, zbz_err *err) {
	zbz_status s = ZBZ_OK;
	int fd = openat(l->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	if (d == NULL) {
		int e = errno;
		if (fd >= 0) close(fd);
		return zbz_fs_fail(fs, err, e, "list", "");
	}
	for (;;) {
		errno = 0;
		struct dirent *e = readdir(d);
		if (e == NULL) {
			if (errno != 0) s = zbz_fs_fail(fs, err, errno, "list", "");
			break;
		}
		if (!zbz_fs_name_is(e->d_name)) continue;
		s = zbz_buf_append(&l->text, e->d_name, strlen(e->d_name) + 1, err);
		if (s != ZBZ_OK) break;
	}
	closedir(d);
	return s;
}

/* OK, MISS when there is no such folder. The names are read under the lock: on some file systems a file that is replaced while the
 * folder is being read may show up in neither place. A folder that may only be read cannot be locked, and does not change. */
static zbz_status leaf_begin(zbz_fs *fs, zbz_call *c, unsigned shard, leaf_names *l) {
	zbz_fs_lock lock;
	leaf_end(l);
	l->shard = shard;
	zbz_status s = zbz_fs_leaf_open(fs, shard, false, &l->fd, &c->err);
	if (s != ZBZ_OK) return s;
	s = zbz_fs_lock_take(fs, c, shard, false, &lock, &c->err);
	bool read_only = s == ZBZ_E_UNAVAILABLE &&
	                 (c->err.sys_errno == EROFS || c->err.sys_errno == EACCES || c->err.sys_errno == EPERM);
	if (s != ZBZ_OK && !read_only) return s;
	s = names_read(fs, l, &c->err);
	if (!read_only) zbz_fs_lock_drop(fs, &lock);
	return s;
}

static const char *leaf_name(leaf_names *l) {
	if (l->at >= l->text.n) return NULL;
	const char *name = l->text.p + l->at;
	l->at += strlen(name) + 1;
	return name;
}

static zbz_status out_of_time(zbz_call *c) {
	return zbz_fail(&c->err, ZBZ_E_TIMEOUT, "the deadline passed while walking over the files");
}

zbz_status zbz_fs_scan_open(void *self, zbz_call *c, zbz_bytes prefix, zbz_bytes pattern, zbz_cursor **out) {
	(void)self, (void)pattern;
	zbz_cursor *cur = zbz_calloc(1, sizeof *cur);
	if (cur == NULL) return zbz_fail_nomem(&c->err);
	cur->leaf.fd = -1;
	zbz_status s = zbz_buf_append(&cur->prefix, prefix.p, prefix.n, &c->err);
	if (s != ZBZ_OK) {
		zbz_free(cur);
		return s;
	}
	*out = cur;
	return ZBZ_OK;
}

/* A damaged file is no key; reading it by its key says so. */
static zbz_status entry_list(zbz_fs *fs, zbz_call *c, zbz_cursor *cur, const char *name, zbz_buf *out, size_t *n) {
	zbz_fs_file f;
	zbz_bytes prefix = zbz_buf_bytes(&cur->prefix);
	if (!zbz_fs_name_may(name, prefix)) return ZBZ_OK;
	zbz_status s = zbz_fs_file_open(fs, cur->leaf.fd, name, &f, &c->err);
	if (s == ZBZ_MISS || s == ZBZ_E_CORRUPT) return ZBZ_OK;
	if (s != ZBZ_OK) return s;
	bool dead = zbz_fs_dead(&f.rec, c->now);
	if (!dead && zbz_bytes_has_prefix(f.key, prefix)) {
		s = zbz_page_add(out, f.key, &c->err);
		if (s == ZBZ_OK) ++*n;
	}
	zbz_fs_file_close(&f);
	if (dead) zbz_fs_file_reap(fs, c, cur->leaf.fd, cur->leaf.shard, name);
	return s;
}

/* A failure loses nothing: what was found before it is a page, and the next one begins where it happened. */
zbz_status zbz_fs_scan_next(void *self, zbz_call *c, zbz_cursor *cur, size_t limit, zbz_buf *out, size_t *n) {
	zbz_fs *fs = self;
	zbz_status s = ZBZ_OK;
	size_t first = *n;
	while (s == ZBZ_OK && *n - first < limit) {
		size_t at = cur->leaf.at, mark = out->n;
		const char *name = leaf_name(&cur->leaf);
		if (name != NULL) {
			s = zbz_call_left(c) == 0 ? out_of_time(c) : entry_list(fs, c, cur, name, out, n);
			if (s != ZBZ_OK) {
				cur->leaf.at = at;
				out->n = mark;
			}
		} else if (cur->next == ZBZ_FS_SHARDS) {
			leaf_end(&cur->leaf);
			return ZBZ_END;
		} else {
			s = zbz_call_left(c) == 0 ? out_of_time(c) : leaf_begin(fs, c, cur->next, &cur->leaf);
			if (s == ZBZ_MISS) s = ZBZ_OK;
			if (s == ZBZ_OK)
				cur->next++;
			else
				leaf_end(&cur->leaf);
		}
	}
	return *n > first ? ZBZ_OK : s;
}

void zbz_fs_scan_close(void *self, zbz_cursor *cur) {
	(void)self;
	leaf_end(&cur->leaf);
	zbz_buf_clear(&cur->leaf.text);
	zbz_buf_clear(&cur->prefix);
	zbz_free(cur);
}

/* With a damaged header the name alone tells the key, unless it is a hash. */
static bool clear_wants(zbz_status opened, const zbz_fs_file *f, const char *name, zbz_bytes prefix) {
	if (opened == ZBZ_OK) return zbz_bytes_has_prefix(f->key, prefix);
	return opened == ZBZ_E_CORRUPT && f->ours && (prefix.n == 0 || strncmp(name, "%h", 2) != 0);
}

static zbz_status entry_clear(zbz_fs *fs, zbz_call *c, const leaf_names *l, const char *name, zbz_bytes prefix,
                              uint64_t *removed) {
	zbz_fs_lock lock;
	zbz_fs_file f;
	if (!zbz_fs_name_may(name, prefix)) return ZBZ_OK;
	zbz_status s = zbz_fs_lock_take(fs, c, l->shard, false, &lock, &c->err);
	if (s != ZBZ_OK) return s;
	s = zbz_fs_file_open(fs, l->fd, name, &f, &c->err);
	if (clear_wants(s, &f, name, prefix)) {
		bool live = s == ZBZ_OK && !zbz_fs_dead(&f.rec, c->now);
		if (s == ZBZ_OK) zbz_fs_file_close(&f);
		s = ZBZ_OK;
		if (unlinkat(l->fd, name, 0) != 0 && errno != ENOENT)
			s = zbz_fs_fail(fs, &c->err, errno, "remove", name);
		else
			*removed += live;
	} else if (s == ZBZ_OK) {
		zbz_fs_file_close(&f);
	}
	zbz_fs_lock_drop(fs, &lock);
	return s == ZBZ_MISS || s == ZBZ_E_CORRUPT ? ZBZ_OK : s;
}

zbz_status zbz_fs_clear(void *self, zbz_call *c, zbz_bytes prefix, uint64_t *removed) {
	zbz_fs *fs = self;
	leaf_names l = { .fd = -1 };
	zbz_status s = ZBZ_OK;
	const char *name;
	*removed = 0;
	for (unsigned shard = 0; shard < ZBZ_FS_SHARDS && s == ZBZ_OK; shard++) {
		s = leaf_begin(fs, c, shard, &l);
		if (s == ZBZ_MISS) s = ZBZ_OK;
		while (s == ZBZ_OK && (name = leaf_name(&l)) != NULL)
			s = zbz_call_left(c) == 0 ? out_of_time(c) : entry_clear(fs, c, &l, name, prefix, removed);
	}
	leaf_end(&l);
	zbz_buf_clear(&l.text);
	return s;
}

/* Counting opens every file, so it gives up (both numbers unknown) instead of holding the caller for long. */
void zbz_fs_stats(void *self, zbz_call *c, zbz_provider_stats *out) {
	zbz_fs *fs = self;
	leaf_names l = { .fd = -1 };
	const zbz_clock *real = zbz_clock_system();
	int64_t until = zbz_mono(real) + STATS_MS, keys = 0, bytes = 0;
	bool whole = true;
	const char *name;
	for (unsigned shard = 0; shard < ZBZ_FS_SHARDS && whole; shard++) {
		leaf_end(&l);
		zbz_status s = zbz_fs_leaf_open(fs, shard, false, &l.fd, NULL);
		if (s == ZBZ_OK) s = names_read(fs, &l, NULL);
		whole = s == ZBZ_OK || s == ZBZ_MISS;
		while (whole && (name = leaf_name(&l)) != NULL) {
			zbz_fs_file f;
			whole = zbz_call_left(c) > 0 && zbz_mono(real) < until;
			if (zbz_fs_file_open(fs, l.fd, name, &f, NULL) != ZBZ_OK) continue;
			if (!zbz_fs_dead(&f.rec, c->now)) keys++, bytes += (int64_t)f.size;
			zbz_fs_file_close(&f);
		}
	}
	leaf_end(&l);
	zbz_buf_clear(&l.text);
	if (whole) out->keys = keys, out->memory = bytes;
	out->expired = atomic_load(&fs->expired);
}

static DIR *sweep_folder(zbz_fs *fs) {
	if (fs->sweep_dir == NULL) {
		int fd;
		fs->sweep_shard = (fs->sweep_shard + 1) % ZBZ_FS_SHARDS;
		if (zbz_fs_leaf_open(fs, fs->sweep_shard, false, &fd, NULL) != ZBZ_OK) return NULL;
		fs->sweep_dir = fdopendir(fd);
		if (fs->sweep_dir == NULL) close(fd);
	}
	return fs->sweep_dir;
}

void zbz_fs_sweep(zbz_fs *fs, zbz_call *c) {
	if (pthread_mutex_trylock(&fs->sweep) != 0) return;
	DIR *d = sweep_folder(fs);
	for (int i = 0; d != NULL && i < SWEEP_FILES; i++) {
		zbz_fs_file f;
		struct dirent *e = readdir(d);
		if (e == NULL) {
			zbz_fs_sweep_end(fs);
			break;
		}
		if (!zbz_fs_name_is(e->d_name) || zbz_fs_file_open(fs, dirfd(d), e->d_name, &f, NULL) != ZBZ_OK) continue;
		bool dead = zbz_fs_dead(&f.rec, c->now);
		zbz_fs_file_close(&f);
		if (dead) zbz_fs_file_reap(fs, c, dirfd(d), fs->sweep_shard, e->d_name);
	}
	pthread_mutex_unlock(&fs->sweep);
}

void zbz_fs_sweep_end(zbz_fs *fs) {
	if (fs->sweep_dir != NULL) closedir(fs->sweep_dir);
	fs->sweep_dir = NULL;
}
