#include "filesystem_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/random.h"

static zbz_status corrupt(const zbz_fs *fs, zbz_err *err, const char *name, const char *why) {
	return zbz_fail(err, ZBZ_E_CORRUPT, "%s: file %s in %s", why, name, fs->base);
}

static ssize_t read_at(int fd, void *p, size_t n, uint64_t at) {
	size_t got = 0;
	while (got < n) {
		ssize_t k = pread(fd, (char *)p + got, n - got, (off_t)(at + got));
		if (k < 0 && errno == EINTR) continue;
		if (k < 0) return -1;
		if (k == 0) break;
		got += (size_t)k;
	}
	return (ssize_t)got;
}

static zbz_status key_read(const zbz_fs *fs, zbz_fs_file *f, const char *name, zbz_err *err) {
	size_t n = f->rec.key_len;
	if (ZBZ_FS_HEADER + n <= f->head_n) {
		f->key = zbz_b(f->head + ZBZ_FS_HEADER, n);
		return ZBZ_OK;
	}
	zbz_status s = zbz_buf_reserve(&f->long_key, n, err);
	if (s != ZBZ_OK) return s;
	ssize_t got = read_at(f->fd, f->long_key.p, n, ZBZ_FS_HEADER);
	if (got < 0) return zbz_fs_fail(fs, err, errno, "read", name);
	if ((size_t)got != n) return corrupt(fs, err, name, "truncated entry");
	f->long_key.n = n;
	f->key = zbz_buf_bytes(&f->long_key);
	return ZBZ_OK;
}

static zbz_status head_read(const zbz_fs *fs, zbz_fs_file *f, const char *name, zbz_err *err) {
	struct stat st;
	if (fstat(f->fd, &st) != 0) return zbz_fs_fail(fs, err, errno, "read", name);
	if (!S_ISREG(st.st_mode)) return corrupt(fs, err, name, "not a regular file");
	f->size = (uint64_t)st.st_size;
	f->inode = st.st_ino;
	ssize_t got = read_at(f->fd, f->head, f->size < sizeof f->head ? (size_t)f->size : sizeof f->head, 0);
	if (got < 0) return zbz_fs_fail(fs, err, errno, "read", name);
	f->head_n = (size_t)got;
	f->ours = zbz_fs_record_is(f->head, f->head_n);
	if (!f->ours) return corrupt(fs, err, name, "not a cache entry");
	if (f->head_n < ZBZ_FS_HEADER) return corrupt(fs, err, name, "truncated entry");
	if (!zbz_fs_record_unpack(f->head, &f->rec)) return corrupt(fs, err, name, "damaged header");
	zbz_status s = key_read(fs, f, name, err);
	if (s != ZBZ_OK) return s;
	if (!zbz_fs_record_verify(f->head, f->key)) return corrupt(fs, err, name, "damaged header");
	if (f->size != ZBZ_FS_HEADER + f->rec.key_len + f->rec.value_len) return corrupt(fs, err, name, "truncated entry");
	return ZBZ_OK;
}

zbz_status zbz_fs_file_open(const zbz_fs *fs, int leaf, const char *name, zbz_fs_file *f, zbz_err *err) {
	f->ours = false;
	f->long_key = (zbz_buf){ 0 };
	/* Not blocking: somebody may have put a pipe there. */
	f->fd = openat(leaf, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (f->fd < 0) return errno == ENOENT ? ZBZ_MISS : zbz_fs_fail(fs, err, errno, "open", name);
	zbz_status s = head_read(fs, f, name, err);
	if (s != ZBZ_OK) zbz_fs_file_close(f);
	return s;
}

zbz_status zbz_fs_file_find(const zbz_fs *fs, int leaf, const char *name, zbz_bytes key, int64_t now, zbz_fs_file *f,
                            bool *dead, zbz_err *err) {
	if (dead != NULL) *dead = false;
	zbz_status s = zbz_fs_file_open(fs, leaf, name, f, err);
	if (s != ZBZ_OK) return s;
	bool same = zbz_bytes_eq(f->key, key), gone = zbz_fs_dead(&f->rec, now);
	if (same && !gone) return ZBZ_OK;
	if (dead != NULL) *dead = gone;
	zbz_fs_file_close(f);
	return ZBZ_MISS;
}

zbz_status zbz_fs_file_value(const zbz_fs *fs, const zbz_fs_file *f, const char *name, zbz_buf *out, zbz_err *err) {
	size_t at = ZBZ_FS_HEADER + f->rec.key_len, n = (size_t)f->rec.value_len;
	size_t have = f->head_n > at ? f->head_n - at : 0;
	zbz_status s = zbz_buf_reserve(out, n, err);
	if (s != ZBZ_OK || n == 0) return s;
	char *p = out->p + out->n;
	if (have > n) have = n;
	memcpy(p, f->head + (have > 0 ? at : 0), have);
	ssize_t got = have < n ? read_at(f->fd, p + have, n - have, at + have) : 0;
	if (got < 0) return zbz_fs_fail(fs, err, errno, "read", name);
	if ((size_t)got != n - have) return corrupt(fs, err, name, "truncated entry");
	if (zbz_fs_crc(0, p, n) != f->rec.value_crc) return corrupt(fs, err, name, "damaged value");
	out->n += n;
	return ZBZ_OK;
}

void zbz_fs_file_close(zbz_fs_file *f) {
	if (f->fd >= 0) close(f->fd);
	f->fd = -1;
	zbz_buf_clear(&f->long_key);
}

/* Header and key, and as much of the value as fits beside them: one write for a small entry. *done is how much that was. */
static zbz_status head_write(const zbz_fs *fs, const zbz_fs_record *rec, zbz_bytes key, zbz_bytes value, size_t *done,
                             zbz_fs_temp *t, zbz_err *err) {
	uint8_t head[4096];
	size_t n = ZBZ_FS_HEADER;
	bool whole_key = key.n <= sizeof head - ZBZ_FS_HEADER;
	zbz_fs_record_pack(rec, key, head);
	if (whole_key) {
		memcpy(head + n, key.p, key.n);
		n += key.n;
	}
	*done = !whole_key ? 0 : value.n < sizeof head - n ? value.n : sizeof head - n;
	if (*done > 0) memcpy(head + n, value.p, *done);
	zbz_status s = zbz_fs_temp_write(fs, t, head, n + *done, err);
	return s != ZBZ_OK || whole_key ? s : zbz_fs_temp_write(fs, t, key.p, key.n, err);
}

zbz_status zbz_fs_file_new(const zbz_fs *fs, zbz_fs_record *rec, zbz_bytes key, zbz_bytes value, zbz_fs_temp *t,
                           zbz_err *err) {
	size_t done = 0;
	rec->value_len = value.n;
	rec->value_crc = zbz_fs_crc(0, value.p, value.n);
	rec->key_len = (uint32_t)key.n;
	zbz_status s = zbz_fs_temp_make(fs, t, err);
	if (s == ZBZ_OK) s = zbz_random(rec->version, sizeof rec->version, err);
	if (s == ZBZ_OK) s = head_write(fs, rec, key, value, &done, t, err);
	if (s == ZBZ_OK && done < value.n) s = zbz_fs_temp_write(fs, t, value.p + done, value.n - done, err);
	if (s != ZBZ_OK) zbz_fs_temp_drop(t);
	return s;
}

/* Copied, not changed in place: a reader never sees half a header. A damaged value stays recognisable, its checksum goes along. */
static zbz_status body_copy(const zbz_fs *fs, const zbz_fs_file *f, zbz_fs_temp *t, zbz_err *err) {
	char chunk[16384];
	uint64_t at = ZBZ_FS_HEADER + f->rec.key_len;
	while (at < f->size) {
		ssize_t got = read_at(f->fd, chunk, sizeof chunk, at);
		if (got < 0) return zbz_fs_fail(fs, err, errno, "copy", "");
		if (got == 0) return corrupt(fs, err, "", "truncated entry");
		zbz_status s = zbz_fs_temp_write(fs, t, chunk, (size_t)got, err);
		if (s != ZBZ_OK) return s;
		at += (uint64_t)got;
	}
	return ZBZ_OK;
}

zbz_status zbz_fs_file_copy(const zbz_fs *fs, const zbz_fs_file *f, int64_t expire_at, zbz_fs_temp *t, zbz_err *err) {
	zbz_fs_record rec = f->rec;
	size_t done;
	rec.expire_at = expire_at;
	zbz_status s = zbz_fs_temp_make(fs, t, err);
	if (s == ZBZ_OK) s = head_write(fs, &rec, f->key, zbz_b(NULL, 0), &done, t, err);
	if (s == ZBZ_OK) s = body_copy(fs, f, t, err);
	if (s != ZBZ_OK) zbz_fs_temp_drop(t);
	return s;
}

void zbz_fs_file_reap(zbz_fs *fs, zbz_call *c, int leaf, unsigned shard, const char *name) {
	zbz_fs_lock lock;
	zbz_fs_file f;
	if (zbz_fs_lock_take(fs, c, shard, true, &lock, NULL) != ZBZ_OK) return;
	if (zbz_fs_file_open(fs, leaf, name, &f, NULL) == ZBZ_OK) {
		if (zbz_fs_dead(&f.rec, c->now) && unlinkat(leaf, name, 0) == 0) atomic_fetch_add(&fs->expired, 1);
		zbz_fs_file_close(&f);
	}
	zbz_fs_lock_drop(fs, &lock);
}
