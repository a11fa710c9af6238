/* Opening a spool, finding what is in it, and moving records from a ring to it. */
#include "spool.h"
#include "writer.h"
#include "stream.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define MAGIC  "zbz-spol"
#define CURSOR "cursor"
#define NAME   "seg"

enum { OPEN_TRIES = 100, NUMBERS_MAX = 65536, SEGMENTS = 8 };

#define SEGMENT_LEAST ((uint64_t)1 << 16)
#define SEGMENT_MOST  ((uint64_t)1 << 24)

zbz_spool *zbz_spool_new(const char *dir, int64_t most) {
	zbz_spool *s = zbz_calloc(1, sizeof *s);
	if (s == NULL) return NULL;
	s->dir = zbz_strdup(dir);
	if (s->dir == NULL) {
		zbz_free(s);
		return NULL;
	}
	s->id = zbz_ring_sum(0, dir, strlen(dir)) | 1;
	s->most = (uint64_t)most;
	s->segment_most = s->most / SEGMENTS;
	if (s->segment_most < SEGMENT_LEAST) s->segment_most = SEGMENT_LEAST;
	if (s->segment_most > SEGMENT_MOST) s->segment_most = SEGMENT_MOST;
	s->lock = s->in = s->out = -1;
	return s;
}

/* ---- what is there ---- */

static uint64_t head_check(const zbz_segment_head *h) { return zbz_ring_sum(0, h, offsetof(zbz_segment_head, check)); }

/* OK; E_UNSUPPORTED, E_CORRUPT: not to be read by this zbz. */
static zbz_status judge(int fd, uint64_t number) {
	zbz_segment_head h;
	if (pread(fd, &h, sizeof h, 0) != (ssize_t)sizeof h || memcmp(h.magic, MAGIC, sizeof h.magic) != 0)
		return ZBZ_E_CORRUPT;
	if (h.layout != ZBZ_SPOOL_LAYOUT) return ZBZ_E_UNSUPPORTED;
	return h.check == head_check(&h) && h.number == number ? ZBZ_OK : ZBZ_E_CORRUPT;
}

static uint64_t size_of(int fd) {
	struct stat st;
	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
}

static void set_aside(const zbz_spool *s, uint64_t number, _Atomic uint64_t *aside) {
	char from[PATH_MAX], to[PATH_MAX];
	zbz_spool_path(s, NAME, number, from);
	zbz_spool_path(s, "aside." NAME, number, to);
	if (rename(from, to) == 0) zbz_counter_add(aside, 1);
}

/* A segment that was made and not begun: its maker died between. */
static bool unborn(int fd) { return size_of(fd) < sizeof(zbz_segment_head); }

static int by_number(const void *a, const void *b) {
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return (x > y) - (x < y);
}

/* The numbers of all segments, sorted; to be freed. */
static zbz_status numbers(const zbz_spool *s, uint64_t **all, size_t *n, zbz_err *err) {
	DIR *d = opendir(s->dir);
	const struct dirent *e;
	*n = 0;
	if (d == NULL) return zbz_spool_fail(err, errno, s->dir, "cannot be opened");
	*all = zbz_calloc(NUMBERS_MAX, sizeof **all);
	while (*all != NULL && (e = readdir(d)) != NULL && *n < NUMBERS_MAX) {
		char *end;
		uint64_t number;
		if (strncmp(e->d_name, NAME ".", sizeof NAME) != 0 || strlen(e->d_name) != sizeof NAME + 16) continue;
		number = strtoull(e->d_name + sizeof NAME, &end, 16);
		if (*end == '\0' && number > 0 && number < UINT64_MAX / 2) (*all)[(*n)++] = number;
	}
	closedir(d);
	if (*all == NULL) return zbz_fail_nomem(err);
	qsort(*all, *n, sizeof **all, by_number);
	return ZBZ_OK;
}

static void drop_segment(zbz_spool *s, uint64_t number) {
	char path[PATH_MAX];
	zbz_spool_path(s, NAME, number, path);
	unlink(path);
}

/* Counts what is behind `at`. The last segment's good bytes end behind its last whole chunk. */
static void walk(zbz_spool *s, int fd, uint64_t number, _Atomic uint64_t *damaged) {
	uint64_t size = size_of(fd), offset = sizeof(zbz_segment_head);
	zbz_chunk_head h;
	bool skipped;
	while (zbz_chunk_find(fd, number, size, &offset, &h, &skipped) == ZBZ_OK) {
		uint64_t end = offset + sizeof h + h.size;
		const zbz_spool_place *at = &s->at;
		bool here = at->segment == number && at->chunk == offset && at->offset > offset;
		if (skipped) zbz_counter_add(damaged, 1);
		if (number > at->segment || end > at->offset) {
			s->records += h.n > at->done || !here ? h.n - (here ? at->done : 0) : 0;
			s->bytes += here ? end - at->offset : h.size;
		}
		s->newest = h;
		offset = end;
	}
	s->last = number;
	s->end = offset;
	s->used += offset;
}

/* What cannot be looked at now must not be taken for what is not there: its number would be given to the next. */
static zbz_status look_at(zbz_spool *s, uint64_t number, _Atomic uint64_t *aside, _Atomic uint64_t *damaged,
                          zbz_err *err) {
	char path[PATH_MAX];
	int fd;
	zbz_spool_path(s, NAME, number, path);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 && errno != ENOENT && errno != ELOOP) return zbz_spool_fail(err, errno, path, "cannot be opened");
	if (fd < 0) {
		set_aside(s, number, aside); /* a link is none of ours */
		return ZBZ_OK;
	}
	if (number < s->at.segment || unborn(fd)) {
		unlink(path);
	} else if (judge(fd, number) != ZBZ_OK || (s->first != 0 && number - s->first >= NUMBERS_MAX)) {
		set_aside(s, number, aside);
	} else {
		if (s->first == 0) s->first = number;
		walk(s, fd, number, damaged);
	}
	close(fd);
	return ZBZ_OK;
}

static bool has(const uint64_t *all, size_t n, uint64_t number) {
	return n > 0 && bsearch(&number, all, n, sizeof *all, by_number) != NULL;
}

static zbz_status survey(zbz_spool *s, _Atomic uint64_t *aside, _Atomic uint64_t *damaged, zbz_err *err) {
	size_t n;
	uint64_t *all;
	zbz_status status = numbers(s, &all, &n, err);
	if (status != ZBZ_OK) return status;
	s->first = s->last = s->end = s->used = s->records = s->bytes = 0;
	s->newest = (zbz_chunk_head){ 0 };
	if (!zbz_cursor_read(s, &s->at)) s->at = (zbz_spool_place){ .segment = 1 };
	if (zbz_place_after(&s->least, &s->at) && has(all, n, s->least.segment)) s->at = s->least;
	for (size_t i = 0; i < n && status == ZBZ_OK; i++) status = look_at(s, all[i], aside, damaged, err);
	zbz_free(all);
	if (status != ZBZ_OK) return status;
	if (s->first > s->at.segment) s->at = (zbz_spool_place){ .segment = s->first };
	if (s->at.offset == 0) s->at.chunk = s->at.offset = sizeof(zbz_segment_head);
	s->sealed =
	    s->at.segment == s->last && s->at.offset > s->end; /* somebody has cut it: what follows is not read yet */
	s->found = (zbz_spool_place){ .segment = s->last, .offset = s->end };
	return ZBZ_OK;
}

/* ---- open and close ---- */

static int lock_file(int fd) {
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	return fcntl(fd, F_OFD_SETLK, &lock);
}

static zbz_status make_dir(const zbz_spool *s, zbz_err *err) {
	zbz_status status = zbz_place_make(s->dir, err);
	if (status == ZBZ_OK && mkdir(s->dir, 0700) != 0 && errno != EEXIST)
		status = zbz_spool_fail(err, errno, s->dir, "cannot be made");
	return status;
}

/* AGAIN: whoever was here before has removed it just now. */
static zbz_status open_once(zbz_spool *s, bool make, zbz_err *err) {
	char path[PATH_MAX];
	struct stat st;
	zbz_status status = make ? make_dir(s, err) : ZBZ_OK;
	if (status != ZBZ_OK) return status;
	zbz_spool_path(s, CURSOR, 0, path);
	if (access(s->dir, F_OK) != 0 && errno == ENOENT) return make ? ZBZ_AGAIN : ZBZ_MISS;
	if (zbz_spool_open_file(&s->lock, path, O_RDWR | O_CREAT) < 0)
		return zbz_spool_fail(err, errno, path, "cannot be opened");
	if (lock_file(s->lock) != 0) {
		status = zbz_fail(err, ZBZ_E_LOCKED, "spool: %.140s is used by another process", s->dir);
	} else if (fstat(s->lock, &st) != 0 || st.st_nlink == 0) {
		status = ZBZ_AGAIN;
	}
	if (status != ZBZ_OK) zbz_spool_close_file(&s->lock);
	return status;
}

zbz_status zbz_spool_open(zbz_spool *s, bool make, _Atomic uint64_t *aside, _Atomic uint64_t *damaged, zbz_err *err) {
	zbz_status status = ZBZ_AGAIN;
	if (s->lock >= 0) return ZBZ_OK;
	for (int i = 0; i < OPEN_TRIES && status == ZBZ_AGAIN; i++) status = open_once(s, make, err);
	if (status == ZBZ_AGAIN) return zbz_spool_fail(err, EAGAIN, s->dir, "cannot be used");
	if (status != ZBZ_OK) return status;
	zbz_spool_close_file(&s->in);
	zbz_spool_close_file(&s->out);
	s->loaded.n = 0;
	status = survey(s, aside, damaged, err);
	if (status == ZBZ_OK && make)
		status = zbz_cursor_write(s, err); /* it has its place on the disk before that is full */
	if (status != ZBZ_OK) zbz_spool_close_file(&s->lock);
	return status;
}

/* Under the lock: who comes meanwhile finds that the file it has opened is gone, and makes another. */
static void remove_all(zbz_spool *s) {
	char path[PATH_MAX];
	for (uint64_t i = s->first; s->last != 0 && i <= s->last; i++) drop_segment(s, i);
	zbz_spool_path(s, CURSOR, 0, path);
	unlink(path);
	rmdir(s->dir);
}

void zbz_spool_close(zbz_spool *s) {
	if (s == NULL) return;
	if (s->lock >= 0 && !zbz_spool_any(s)) remove_all(s);
	zbz_spool_close_file(&s->in);
	zbz_spool_close_file(&s->out);
	zbz_spool_close_file(&s->lock);
}

void zbz_spool_free(zbz_spool *s) {
	if (s == NULL) return;
	zbz_buf_clear(&s->chunk);
	zbz_buf_clear(&s->loaded);
	zbz_free(s->dir);
	zbz_free(s);
}

/* ---- from a ring ---- */

static zbz_status write_at(int fd, const void *p, size_t n, uint64_t at) {
	while (n > 0) {
		ssize_t put = pwrite(fd, p, n, (off_t)at);
		if (put < 0 && errno == EINTR) continue;
		if (put <= 0) return ZBZ_E_UNAVAILABLE;
		p = (const char *)p + put;
		n -= (size_t)put;
		at += (uint64_t)put;
	}
	return ZBZ_OK;
}

static zbz_status begin_segment(zbz_spool *s, uint64_t number, zbz_err *err) {
	char path[PATH_MAX];
	zbz_segment_head h = { .layout = ZBZ_SPOOL_LAYOUT, .number = number };
	memcpy(h.magic, MAGIC, sizeof h.magic);
	h.check = head_check(&h);
	zbz_spool_path(s, NAME, number, path);
	zbz_spool_close_file(&s->out);
	if (zbz_spool_open_file(&s->out, path, O_WRONLY | O_CREAT | O_TRUNC) < 0)
		return zbz_spool_fail(err, errno, path, "cannot be made");
	if (write_at(s->out, &h, sizeof h, 0) != ZBZ_OK) {
		zbz_spool_fail(err, errno, path, "cannot be written");
		unlink(path);
		zbz_spool_close_file(&s->out);
		return ZBZ_E_UNAVAILABLE;
	}
	if (s->last == 0) {
		s->first = number;
		s->at = (zbz_spool_place){ number, sizeof h, sizeof h, 0 };
	}
	s->last = number;
	s->end = sizeof h;
	s->used += sizeof h;
	s->sealed = false;
	return ZBZ_OK;
}

/* The last segment, or a new one when that is full, gone, or there is none. */
static zbz_status segment_for(zbz_spool *s, size_t n, zbz_err *err) {
	char path[PATH_MAX];
	struct stat st;
	/* Where the cursor in the file has been, no record comes again. */
	if (s->last == 0) return begin_segment(s, s->at.segment + (s->at.offset > sizeof(zbz_segment_head)), err);
	if (s->sealed) return begin_segment(s, s->last + 1, err);
	if (s->end > sizeof(zbz_segment_head) && s->end + n > s->segment_most) return begin_segment(s, s->last + 1, err);
	zbz_spool_path(s, NAME, s->last, path);
	if (s->out < 0) zbz_spool_open_file(&s->out, path, O_WRONLY);
	if (s->out >= 0 && fstat(s->out, &st) == 0 && st.st_nlink > 0 &&
	    ((uint64_t)st.st_size <= s->end || ftruncate(s->out, (off_t)s->end) == 0))
		return ZBZ_OK;
	if (mkdir(s->dir, 0700) == 0) zbz_spool_close_file(&s->lock); /* all of it was removed: it is to be opened anew */
	if (s->lock < 0) return zbz_spool_fail(err, ENOENT, s->dir, "has been removed");
	return begin_segment(s, s->last + 1, err);
}

static zbz_status put_chunk(zbz_spool *s, zbz_err *err) {
	char path[PATH_MAX];
	zbz_chunk_head *h;
	zbz_status status;
	if (s->used + s->chunk.n > s->most) return zbz_fail(err, ZBZ_E_TOO_LARGE, "spool: %.140s is full", s->dir);
	status = segment_for(s, s->chunk.n, err);
	if (status != ZBZ_OK) return status;
	h = (zbz_chunk_head *)(void *)s->chunk.p;
	zbz_chunk_sign(h, s->last, s->end);
	if (write_at(s->out, s->chunk.p, s->chunk.n, s->end) != ZBZ_OK) {
		zbz_spool_path(s, NAME, s->last, path);
		zbz_spool_fail(err, errno, path, "cannot be written");
		if (ftruncate(s->out, (off_t)s->end) != 0) {
		} /* what is there of it is no whole chunk, and the next one goes over it */
		return ZBZ_E_UNAVAILABLE;
	}
	s->end += s->chunk.n;
	s->used += s->chunk.n;
	s->records += h->n;
	s->bytes += h->size;
	s->newest = *h;
	return ZBZ_OK;
}

/* A copy of a record has another place, and so another check. */
static void add_record(zbz_spool *s, const zbz_ring_record *r) {
	char *to = s->chunk.p + s->chunk.n;
	zbz_ring_record *copy = (zbz_ring_record *)(void *)to;
	memcpy(to, r, r->size);
	copy->check = zbz_ring_check(s->chunk.n - sizeof(zbz_chunk_head), copy);
	s->chunk.n += r->size;
}

/* The ring is held meanwhile: an owner that would drop its oldest records drops its newest instead, for as long as the disk takes. */
static zbz_status take_chunk(zbz_spool *s, const zbz_ring *ring, int64_t now, _Atomic uint64_t *damaged, zbz_err *err) {
	zbz_chunk_head h = { .ring = ring->id, .at = (uint64_t)now };
	uint64_t tail, head, pos;
	zbz_status status = ZBZ_OK;
	if (!zbz_ring_span(ring, &tail, &head)) return ZBZ_OK; /* the batch knows what to do about it */
	s->chunk.n = sizeof h;
	for (pos = tail; pos < head;) {
		const zbz_ring_record *r = zbz_ring_at(ring, pos, head);
		if (r == NULL) {
			pos = zbz_ring_resume(ring, pos, head);
			zbz_counter_add(damaged, 1);
			continue;
		}
		if (h.n > 0 && s->chunk.n + r->size > ZBZ_SPOOL_CHUNK) break;
		add_record(s, r);
		h.n++;
		pos += r->size;
	}
	h.size = s->chunk.n - sizeof h;
	h.from = tail;
	h.to = pos;
	memcpy(s->chunk.p, &h, sizeof h);
	if (h.n > 0) status = put_chunk(s, err);
	if (status == ZBZ_OK) atomic_store_explicit(&ring->h->tail, pos, memory_order_release);
	return status;
}

zbz_status zbz_spool_take(zbz_spool *s, const zbz_ring *ring, bool orphan, int64_t now, _Atomic uint64_t *damaged,
                          zbz_err *err) {
	uint64_t tail, head;
	zbz_status status = zbz_buf_reserve(&s->chunk, sizeof(zbz_chunk_head) + ZBZ_SPOOL_CHUNK_MAX, err);
	/* As far as it goes now: what is logged meanwhile comes the next time. */
	uint64_t end = atomic_load(&ring->h->head);
	while (status == ZBZ_OK && zbz_ring_span(ring, &tail, &head) && tail < end) {
		if (!zbz_ring_hold(ring->h, orphan)) return ZBZ_OK;
		status = take_chunk(s, ring, now, damaged, err);
		atomic_store_explicit(&ring->h->hold, ZBZ_HOLD_NONE, memory_order_release);
		zbz_ring_tell(ring->h);
	}
	return status;
}
