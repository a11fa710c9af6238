/* The filesystem cache: one file per key, replaced by rename, so that a reader or a crash sees the old value or the new one.
 * Own code over POSIX calls. The format is in filesystem_record.h, the folders in filesystem_dir.h.
 *
 * Writers to a shard (1 of 256) take turns under its lock file, which is what makes add, incr, conditions and expire atomic between
 * processes. Readers take no lock. What is slow (writing the value) is done before the lock where it can be. */
#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#include "core/built_in.h"
#include "filesystem_scan.h"
#include "zbz/pack.h"

#define RETRIES 4 /* when the folders are removed under our hands */

typedef struct fs_options {
	char *base_dir;
	int64_t permissions;
	bool fsync;
} fs_options;

static const zbz_option fs_option_table[] = {
	{ "base_dir", "dir", ZBZ_OPT_TEXT, offsetof(fs_options, base_dir), "/tmp/zbz-cache", NULL, 0, 0,
	  "folder of the files; made when missing" },
	{ "permissions", NULL, ZBZ_OPT_MODE, offsetof(fs_options, permissions), "0644", NULL, 0, 0,
	  "of the files, whatever the umask; folders get x where it has r" },
	{ "fsync", NULL, ZBZ_OPT_BOOL, offsetof(fs_options, fsync), "false", NULL, 0, 0,
	  "a write that was answered survives a power cut; slow" },
	{ 0 }
};

static void fs_close(void *self) {
	zbz_fs *fs = self;
	zbz_fs_fork_check(fs);
	zbz_fs_sweep_end(fs);
	pthread_mutex_destroy(&fs->sweep);
	pthread_mutex_destroy(&fs->mutex);
	pthread_cond_destroy(&fs->freed);
	zbz_free(fs->base);
	zbz_free(fs);
}

/* Absolute, because a program may change its working directory later. */
static zbz_status path_absolute(const char *dir, char **out, zbz_err *err) {
	char cwd[PATH_MAX];
	zbz_buf b = { 0 };
	zbz_status s = ZBZ_OK;
	if (dir == NULL || *dir == '\0') return zbz_fail_option(err, "base_dir", "expects a folder, got nothing");
	size_t n = strlen(dir);
	if (*dir != '/') {
		if (getcwd(cwd, sizeof cwd) == NULL)
			return zbz_fail_errno(err, ZBZ_E_CONFIG, errno, "base_dir: no working directory for %s", dir);
		s = zbz_buf_printf(&b, err, "%s/", cwd);
	}
	while (n > 1 && dir[n - 1] == '/') n--;
	if (s == ZBZ_OK) s = zbz_buf_append(&b, dir, n, err);
	if (s == ZBZ_OK) s = zbz_buf_putc(&b, '\0', err);
	*out = s == ZBZ_OK ? zbz_strdup(b.p) : NULL;
	zbz_buf_clear(&b);
	return s == ZBZ_OK && *out == NULL ? zbz_fail_nomem(err) : s;
}

static zbz_status fs_open(void **self, const void *options, const zbz_clock *clock, zbz_err *err) {
	const fs_options *o = options;
	if (o->permissions > 0777 || (o->permissions & 0600) != 0600)
		return zbz_fail_option(err, "permissions",
		                       "expects a mode from 0600 to 0777 that lets the owner read and write, got 0%llo",
		                       (unsigned long long)o->permissions);
	zbz_fs *fs = zbz_calloc(1, sizeof *fs);
	if (fs == NULL) return zbz_fail_nomem(err);
	fs->file_mode = (mode_t)o->permissions;
	fs->dir_mode = (mode_t)(o->permissions | (o->permissions & 0444) >> 2);
	fs->sync = o->fsync;
	fs->clock = clock;
	zbz_fs_seats_init(fs);
	zbz_status s = path_absolute(o->base_dir, &fs->base, err);
	if (s == ZBZ_OK) s = zbz_fs_base_make(fs, err);
	if (s != ZBZ_OK) {
		fs_close(fs);
		return s;
	}
	zbz_fs_temp_sweep(fs);
	*self = fs;
	return ZBZ_OK;
}

static void fs_caps(void *self, zbz_caps *out) {
	(void)self;
	*out = (zbz_caps){ .can = ZBZ_CAN_TTL | ZBZ_CAN_EXPIRE | ZBZ_CAN_ADD | ZBZ_CAN_PRESENT | ZBZ_CAN_VERSION |
		                      ZBZ_CAN_INCR | ZBZ_CAN_KEYS | ZBZ_CAN_CLEAR,
		               .emulated = ZBZ_CAN_EXPIRE | ZBZ_CAN_PRESENT | ZBZ_CAN_VERSION | ZBZ_CAN_INCR,
		               .shared = true,
		               .exclusive = true,
		               .ttl_resolution_ms = 1,
		               .max_key = ZBZ_FS_MAX_KEY,
		               .max_value = ZBZ_BUF_MAX };
}

/* Where a key's file stands; a read-only look. OK, MISS. */
static zbz_status look(zbz_fs *fs, zbz_call *c, zbz_bytes key, int *leaf, char *name, zbz_fs_file *f) {
	bool dead;
	zbz_status s = zbz_fs_leaf_open(fs, zbz_fs_shard(key), false, leaf, &c->err);
	if (s != ZBZ_OK) return s;
	zbz_fs_name(key, name);
	s = zbz_fs_file_find(fs, *leaf, name, key, c->now, f, &dead, &c->err);
	if (dead) zbz_fs_file_reap(fs, c, *leaf, zbz_fs_shard(key), name);
	if (s != ZBZ_OK) close(*leaf);
	return s;
}

static void meta_fill(const zbz_fs_record *r, zbz_meta *meta) {
	meta->expire_at = r->expire_at;
	meta->version.n = sizeof r->version;
	memcpy(meta->version.b, r->version, sizeof r->version);
}

static zbz_status fs_get(void *self, zbz_call *c, zbz_bytes key, zbz_buf *out, zbz_meta *meta) {
	zbz_fs *fs = self;
	int leaf;
	char name[ZBZ_FS_NAME_SIZE];
	zbz_fs_file f;
	zbz_status s = look(fs, c, key, &leaf, name, &f);
	if (s != ZBZ_OK) return s;
	s = zbz_fs_file_value(fs, &f, name, out, &c->err);
	if (s == ZBZ_OK && meta != NULL) meta_fill(&f.rec, meta);
	zbz_fs_file_close(&f);
	close(leaf);
	return s;
}

static zbz_status fs_ttl(void *self, zbz_call *c, zbz_bytes key, int64_t *expire_at) {
	int leaf;
	char name[ZBZ_FS_NAME_SIZE];
	zbz_fs_file f;
	zbz_status s = look(self, c, key, &leaf, name, &f);
	if (s != ZBZ_OK) return s;
	*expire_at = f.rec.expire_at;
	zbz_fs_file_close(&f);
	close(leaf);
	return ZBZ_OK;
}

static zbz_status fs_exists(void *self, zbz_call *c, zbz_bytes key) {
	int64_t ignored;
	return fs_ttl(self, c, key, &ignored);
}

/* A shard held for writing. */
typedef struct fs_hold {
	zbz_fs *fs;
	zbz_fs_lock lock;
	int leaf;
	char name[ZBZ_FS_NAME_SIZE];
} fs_hold;

static zbz_status hold(zbz_fs *fs, zbz_call *c, zbz_bytes key, bool make, fs_hold *h) {
	h->fs = fs;
	zbz_fs_name(key, h->name);
	zbz_status s = zbz_fs_lock_take(fs, c, zbz_fs_shard(key), false, &h->lock, &c->err);
	if (s != ZBZ_OK) return s;
	s = zbz_fs_leaf_open(fs, h->lock.shard, make, &h->leaf, &c->err);
	if (s != ZBZ_OK) zbz_fs_lock_drop(fs, &h->lock);
	return s;
}

static void unhold(fs_hold *h) {
	close(h->leaf);
	zbz_fs_lock_drop(h->fs, &h->lock);
}

/* A damaged file counts as absent here: writing the key is what mends it. */
static zbz_status condition(const fs_hold *h, zbz_call *c, const zbz_write *w) {
	zbz_fs_file f;
	if (w->only == ZBZ_ALWAYS) return ZBZ_OK;
	zbz_status s = zbz_fs_file_find(h->fs, h->leaf, h->name, w->key, c->now, &f, NULL, &c->err);
	bool there = s == ZBZ_OK, same = false;
	if (there) {
		same = w->only == ZBZ_ONLY_VERSION && w->version->n == sizeof f.rec.version &&
		       memcmp(f.rec.version, w->version->b, w->version->n) == 0;
		zbz_fs_file_close(&f);
	} else if (s != ZBZ_MISS && s != ZBZ_E_CORRUPT) {
		return s;
	}
	if (w->only == ZBZ_ONLY_VERSION) {
		if (same) return ZBZ_OK;
		return zbz_fail(&c->err, ZBZ_E_CONFLICT, there ? "the entry has another version" : "the entry is gone");
	}
	return there == (w->only == ZBZ_ONLY_PRESENT) ? ZBZ_OK : ZBZ_REFUSED;
}

/* AGAIN: the folders vanished meanwhile. */
static zbz_status set_once(zbz_fs *fs, zbz_call *c, const zbz_write *w, zbz_fs_record *rec) {
	fs_hold h;
	zbz_fs_temp t;
	zbz_status s = zbz_fs_file_new(fs, rec, w->key, w->value, &t, &c->err);
	if (s != ZBZ_OK) return s;
	s = hold(fs, c, w->key, true, &h);
	if (s == ZBZ_OK) {
		s = condition(&h, c, w);
		if (s == ZBZ_OK) s = zbz_fs_temp_commit(fs, &t, h.leaf, h.name, &c->err);
		unhold(&h);
	}
	zbz_fs_temp_drop(&t);
	return s;
}

static zbz_status vanished(const zbz_fs *fs, zbz_call *c) {
	return zbz_fs_fail(fs, &c->err, ENOENT, "keep folders in", "");
}

static zbz_status fs_set(void *self, zbz_call *c, const zbz_write *w, zbz_version *version_out) {
	zbz_fs *fs = self;
	zbz_fs_record rec = { .expire_at = w->expire_at, .stored_at = c->now };
	zbz_meta meta;
	zbz_status s = ZBZ_AGAIN;
	for (int i = 0; i < RETRIES && s == ZBZ_AGAIN; i++) s = set_once(fs, c, w, &rec);
	if (s == ZBZ_AGAIN) return vanished(fs, c);
	if (s != ZBZ_OK) return s;
	if (version_out != NULL) {
		meta_fill(&rec, &meta);
		*version_out = meta.version;
	}
	zbz_fs_sweep(fs, c);
	return ZBZ_OK;
}

static zbz_status fs_del(void *self, zbz_call *c, zbz_bytes key) {
	zbz_fs *fs = self;
	fs_hold h;
	zbz_fs_file f;
	bool dead;
	zbz_status s = hold(fs, c, key, false, &h);
	if (s != ZBZ_OK) return s == ZBZ_AGAIN ? ZBZ_MISS : s;
	s = zbz_fs_file_find(fs, h.leaf, h.name, key, c->now, &f, &dead, &c->err);
	if (s == ZBZ_OK) zbz_fs_file_close(&f);
	if (s == ZBZ_E_CORRUPT) s = ZBZ_OK;
	if ((s == ZBZ_OK || dead) && unlinkat(h.leaf, h.name, 0) != 0)
		s = errno == ENOENT ? ZBZ_MISS : zbz_fs_fail(fs, &c->err, errno, "remove", h.name);
	unhold(&h);
	return s;
}

static zbz_status expire_once(zbz_fs *fs, zbz_call *c, zbz_bytes key, int64_t expire_at) {
	fs_hold h;
	zbz_fs_file f;
	zbz_fs_temp t;
	zbz_status s = hold(fs, c, key, false, &h);
	if (s != ZBZ_OK) return s;
	s = zbz_fs_file_find(fs, h.leaf, h.name, key, c->now, &f, NULL, &c->err);
	if (s == ZBZ_OK) {
		s = zbz_fs_file_copy(fs, &f, expire_at, &t, &c->err);
		if (s == ZBZ_OK) {
			s = zbz_fs_temp_commit(fs, &t, h.leaf, h.name, &c->err);
			zbz_fs_temp_drop(&t);
		}
		zbz_fs_file_close(&f);
	}
	unhold(&h);
	return s;
}

static zbz_status fs_expire(void *self, zbz_call *c, zbz_bytes key, int64_t expire_at) {
	zbz_status s = ZBZ_AGAIN;
	for (int i = 0; i < RETRIES && s == ZBZ_AGAIN; i++) s = expire_once(self, c, key, expire_at);
	return s == ZBZ_AGAIN ? vanished(self, c) : s;
}

static bool int_parse(zbz_bytes text, int64_t *out) {
	size_t i = text.n > 0 && text.p[0] == '-';
	bool negative = i == 1;
	uint64_t v = 0, limit = negative ? (uint64_t)INT64_MAX + 1 : (uint64_t)INT64_MAX;
	if (i == text.n) return false;
	for (; i < text.n; i++) {
		unsigned d = (unsigned)(text.p[i] - '0');
		if (text.p[i] < '0' || d > 9 || v > (limit - d) / 10) return false;
		v = v * 10 + d;
	}
	*out = negative ? (int64_t)(0 - v) : (int64_t)v;
	return true;
}

/* What the counter is now: OK and its value, MISS. */
static zbz_status counter_read(const fs_hold *h, zbz_call *c, zbz_bytes key, zbz_fs_record *rec, int64_t *value) {
	zbz_fs_file f;
	zbz_buf text = { 0 };
	zbz_status s = zbz_fs_file_find(h->fs, h->leaf, h->name, key, c->now, &f, NULL, &c->err);
	if (s != ZBZ_OK) return s;
	if (f.rec.value_len > 20) s = zbz_fail(&c->err, ZBZ_E_TYPE, "the value is no integer");
	if (s == ZBZ_OK) s = zbz_fs_file_value(h->fs, &f, h->name, &text, &c->err);
	if (s == ZBZ_OK && !int_parse(zbz_buf_bytes(&text), value))
		s = zbz_fail(&c->err, ZBZ_E_TYPE, "the value is no integer");
	rec->expire_at = f.rec.expire_at;
	zbz_buf_clear(&text);
	zbz_fs_file_close(&f);
	return s;
}

static zbz_status counter_write(const fs_hold *h, zbz_call *c, zbz_bytes key, zbz_fs_record *rec, int64_t value) {
	char digits[24];
	zbz_fs_temp t;
	int n = snprintf(digits, sizeof digits, "%lld", (long long)value);
	zbz_status s = zbz_fs_file_new(h->fs, rec, key, zbz_b(digits, (size_t)n), &t, &c->err);
	if (s != ZBZ_OK) return s;
	s = zbz_fs_temp_commit(h->fs, &t, h->leaf, h->name, &c->err);
	zbz_fs_temp_drop(&t);
	return s;
}

static zbz_status incr_once(zbz_fs *fs, zbz_call *c, zbz_bytes key, const zbz_incr *how, int64_t *value) {
	fs_hold h;
	zbz_fs_record rec = { .expire_at = how->expire_at, .stored_at = c->now };
	int64_t v = 0;
	zbz_status s = hold(fs, c, key, true, &h);
	if (s != ZBZ_OK) return s;
	s = counter_read(&h, c, key, &rec, &v);
	if (s == ZBZ_MISS) {
		v = how->has_initial ? how->initial : how->delta;
		s = ZBZ_OK;
	} else if (s == ZBZ_OK && __builtin_add_overflow(v, how->delta, &v)) {
		s = zbz_fail(&c->err, ZBZ_E_ARGUMENT, "the counter would leave the range of 64-bit integers");
	}
	if (s == ZBZ_OK) s = counter_write(&h, c, key, &rec, v);
	if (s == ZBZ_OK) *value = v;
	unhold(&h);
	return s;
}

static zbz_status fs_incr(void *self, zbz_call *c, zbz_bytes key, const zbz_incr *how, int64_t *value) {
	zbz_status s = ZBZ_AGAIN;
	for (int i = 0; i < RETRIES && s == ZBZ_AGAIN; i++) s = incr_once(self, c, key, how, value);
	return s == ZBZ_AGAIN ? vanished(self, c) : s;
}

static zbz_status fs_ping(void *self, zbz_call *c) {
	zbz_fs *fs = self;
	int fd;
	zbz_status s = zbz_fs_dir_open(fs, "tmp", true, &fd, &c->err);
	if (s == ZBZ_OK) close(fd);
	return s == ZBZ_AGAIN ? vanished(fs, c) : s;
}

static zbz_status fs_inspect(void *self, zbz_call *c, zbz_bytes key, zbz_buf *out) {
	zbz_fs *fs = self;
	int leaf;
	char name[ZBZ_FS_NAME_SIZE], file[ZBZ_FS_NAME_SIZE + 16];
	zbz_fs_file f;
	zbz_status s = look(fs, c, key, &leaf, name, &f);
	if (s != ZBZ_OK) return s;
	s = zbz_pack_map(out, 4, &c->err);
	if (s == ZBZ_OK) s = zbz_pack_named_int(out, "size", (int64_t)f.rec.value_len, &c->err);
	if (s == ZBZ_OK)
		s = zbz_pack_named_int(out, "age_ms", c->now > f.rec.stored_at ? c->now - f.rec.stored_at : 0, &c->err);
	if (s == ZBZ_OK) s = zbz_pack_named_int(out, "expire_at", f.rec.expire_at, &c->err);
	if (s == ZBZ_OK) s = zbz_pack_str(out, zbz_bstr("file"), &c->err);
	snprintf(file, sizeof file, "%x/%x/%s", zbz_fs_shard(key) >> 4 & 15, zbz_fs_shard(key) & 15, name);
	if (s == ZBZ_OK) s = zbz_pack_str(out, zbz_bstr(file), &c->err);
	zbz_fs_file_close(&f);
	close(leaf);
	return s;
}

static zbz_status fs_identity(void *self, zbz_buf *out, zbz_err *err) {
	const zbz_fs *fs = self;
	return zbz_buf_append(out, fs->base, strlen(fs->base), err);
}

const zbz_cache_ops zbz_cache_filesystem = {
	.abi = ZBZ_ABI,
	.name = "filesystem",
	.aliases = "file",
	.summary = "one file per key in a folder, atomic, shared by processes, survives restarts",
	.options_size = sizeof(fs_options),
	.options = fs_option_table,
	.open = fs_open,
	.close = fs_close,
	.caps = fs_caps,
	.get = fs_get,
	.set = fs_set,
	.del = fs_del,
	.exists = fs_exists,
	.ttl = fs_ttl,
	.expire = fs_expire,
	.incr = fs_incr,
	.scan_open = zbz_fs_scan_open,
	.scan_next = zbz_fs_scan_next,
	.scan_close = zbz_fs_scan_close,
	.clear = zbz_fs_clear,
	.ping = fs_ping,
	.stats = zbz_fs_stats,
	.inspect = fs_inspect,
	.identity = fs_identity,
};
