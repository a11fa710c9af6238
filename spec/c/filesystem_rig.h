/* What the tests of the filesystem cache share: one in a folder of its own, driven through its table of functions, its calls in short, and
 * a look at the files it makes. */
#ifndef SPEC_FILESYSTEM_RIG_H
#define SPEC_FILESYSTEM_RIG_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "zbz/zbz.h"

static const zbz_cache_ops *ops;
static char root[256]; /* of all folders of this run */
static zbz_clock *fake;
static int folders;

typedef struct fs {
	void *self;
	void *options;
	char dir[300];
	zbz_err err;
} fs;

static inline zbz_status fs_open_at(fs *f, const char *dir, const char *mode, zbz_err *err) {
	zbz_config *cfg = zbz_config_new();
	zbz_status s;
	f->self = NULL;
	if (cfg == NULL) return zbz_fail_nomem(err);
	f->options = calloc(1, ops->options_size);
	s = zbz_config_set_text(cfg, "base_dir", zbz_bstr(dir), err);
	if (s == ZBZ_OK && mode != NULL) s = zbz_config_set_text(cfg, "permissions", zbz_bstr(mode), err);
	if (s == ZBZ_OK) s = zbz_options_parse(cfg, ops->options, f->options, err);
	zbz_config_free(cfg);
	if (s == ZBZ_OK) {
		s = ops->open(&f->self, f->options, fake, err);
		if (s != ZBZ_OK) zbz_options_clear(ops->options, f->options);
	}
	if (s != ZBZ_OK) {
		free(f->options);
		f->options = NULL;
	}
	snprintf(f->dir, sizeof f->dir, "%s", dir);
	return s;
}

static inline fs fs_new(void) {
	fs f;
	char dir[280];
	zbz_err err;
	snprintf(dir, sizeof dir, "%s/%d", root, ++folders);
	CHECK(fs_open_at(&f, dir, NULL, &err) == ZBZ_OK);
	return f;
}

static inline void fs_end(fs *f) {
	ops->close(f->self);
	zbz_options_clear(ops->options, f->options);
	free(f->options);
}

static inline zbz_call call(void) {
	zbz_call c = { .clock = fake, .now = zbz_wall(fake), .deadline = ZBZ_NEVER };
	return c;
}

static inline zbz_status put(fs *f, zbz_bytes key, zbz_bytes value, int64_t expire_at) {
	zbz_call c = call();
	zbz_write w = { .key = key, .value = value, .expire_at = expire_at };
	zbz_status s = ops->set(f->self, &c, &w, NULL);
	f->err = c.err;
	return s;
}

static inline zbz_status put_only(fs *f, const char *key, const char *value, zbz_only only, const zbz_version *v,
                                  zbz_version *out) {
	zbz_call c = call();
	zbz_write w = { .key = zbz_bstr(key), .value = zbz_bstr(value), .only = only, .version = v };
	zbz_status s = ops->set(f->self, &c, &w, out);
	f->err = c.err;
	return s;
}

static inline zbz_status get(fs *f, zbz_bytes key, zbz_buf *out, zbz_meta *meta) {
	zbz_call c = call();
	out->n = 0;
	zbz_status s = ops->get(f->self, &c, key, out, meta);
	f->err = c.err;
	return s;
}

static inline bool has(fs *f, const char *key, const char *value) {
	zbz_buf b = { 0 };
	bool ok = get(f, zbz_bstr(key), &b, NULL) == ZBZ_OK && zbz_bytes_eq(zbz_buf_bytes(&b), zbz_bstr(value));
	zbz_buf_clear(&b);
	return ok;
}

static inline zbz_status del(fs *f, zbz_bytes key) {
	zbz_call c = call();
	return ops->del(f->self, &c, key);
}

static inline zbz_status incr(fs *f, const char *key, int64_t delta, int64_t *v) {
	zbz_call c = call();
	zbz_incr how = { .delta = delta };
	zbz_status s = ops->incr(f->self, &c, zbz_bstr(key), &how, v);
	f->err = c.err;
	return s;
}

/* Number of listed keys with the prefix; `page` keys at a time. `want` counts how often it was among them. */
static inline size_t list(fs *f, zbz_bytes prefix, size_t page, zbz_bytes want, size_t *times) {
	zbz_call c = call();
	zbz_cursor *cur;
	zbz_buf b = { 0 };
	size_t total = 0, n = 0, at = 0;
	zbz_status s = ops->scan_open(f->self, &c, prefix, zbz_b(NULL, 0), &cur);
	CHECK(s == ZBZ_OK);
	while (s == ZBZ_OK) {
		n = 0;
		s = ops->scan_next(f->self, &c, cur, page, &b, &n);
		CHECK(n <= page);
		total += n;
	}
	CHECK(s == ZBZ_END);
	ops->scan_close(f->self, cur);
	if (times != NULL) *times = 0;
	for (; at + 4 <= b.n; at += n) {
		uint32_t len;
		memcpy(&len, b.p + at, 4);
		at += 4;
		n = len;
		CHECK(zbz_bytes_has_prefix(zbz_b(b.p + at, n), prefix));
		if (times != NULL && zbz_bytes_eq(zbz_b(b.p + at, n), want)) ++*times;
	}
	CHECK(at == b.n);
	zbz_buf_clear(&b);
	return total;
}

static inline size_t count(fs *f, const char *prefix) { return list(f, zbz_bstr(prefix), 7, zbz_b(NULL, 0), NULL); }

/* Calls fn with every regular file below base/X/Y; returns how many. */
static inline size_t each_file(const char *dir, void (*fn)(const char *path, void *ud), void *ud) {
	size_t n = 0;
	char path[4200];
	for (int i = 0; i < 256; i++) {
		snprintf(path, sizeof path, "%s/%x/%x", dir, i >> 4, i & 15);
		DIR *d = opendir(path);
		struct dirent *e;
		while (d != NULL && (e = readdir(d)) != NULL) {
			if (e->d_name[0] == '.') continue;
			snprintf(path, sizeof path, "%s/%x/%x/%s", dir, i >> 4, i & 15, e->d_name);
			n++;
			if (fn != NULL) fn(path, ud);
		}
		if (d != NULL) closedir(d);
	}
	return n;
}

static inline void keep_path(const char *path, void *ud) { snprintf(ud, 4200, "%s", path); }

static inline size_t temps(const char *dir) {
	char path[320];
	size_t n = 0;
	snprintf(path, sizeof path, "%s/tmp", dir);
	DIR *d = opendir(path);
	struct dirent *e;
	while (d != NULL && (e = readdir(d)) != NULL) n += e->d_name[0] != '.';
	if (d != NULL) closedir(d);
	return n;
}

static inline void remove_tree(const char *dir) {
	char cmd[600];
	snprintf(cmd, sizeof cmd, "rm -rf '%s'", dir);
	CHECK(system(cmd) == 0);
}

static inline bool rig_begin(void) {
	zbz_err err;
	const char *tmp = getenv("TMPDIR");
	snprintf(root, sizeof root, "%s/zbz-fs-test-XXXXXX", tmp != NULL ? tmp : "/tmp");
	if (mkdtemp(root) == NULL || zbz_cache_find("filesystem", &ops, &err) != ZBZ_OK) return false;
	fake = zbz_clock_fake_new(1700000000000);
	return true;
}

static inline void rig_end(void) {
	zbz_clock_fake_free(fake);
	remove_tree(root);
}

#endif
