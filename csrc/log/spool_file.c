/* The files of a spool: their names, heads and descriptors. */
#include "spool.h"
#include "stream.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#define CHUNK_MAGIC  0x6b6e6863u
#define CURSOR_MAGIC "zbz-curs"
#define WINDOW       4096

typedef struct cursor {
	char magic[8];
	uint64_t layout;
	zbz_spool_place at;
	uint64_t check;
} cursor;

zbz_status zbz_spool_fail(zbz_err *err, int e, const char *path, const char *what) {
	zbz_err full;
	zbz_fail_errno(&full, ZBZ_E_UNAVAILABLE, e, "spool: %.140s %s", path, what);
	snprintf(full.option, sizeof full.option, "spool");
	if (err != NULL) *err = full;
	return ZBZ_E_UNAVAILABLE;
}

void zbz_spool_path(const zbz_spool *s, const char *kind, uint64_t number, char path[PATH_MAX]) {
	if (number == 0)
		snprintf(path, PATH_MAX, "%s/%s", s->dir, kind);
	else
		snprintf(path, PATH_MAX, "%s/%s.%016llx", s->dir, kind, (unsigned long long)number);
}

int zbz_spool_open_file(int *fd, const char *path, int how) {
	int e;
	zbz_streams_lock();
	*fd = open(path, how | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	e = errno;
	zbz_streams_unlock();
	errno = e;
	return *fd;
}

void zbz_spool_close_file(int *fd) {
	zbz_streams_lock();
	if (*fd >= 0) close(*fd);
	*fd = -1;
	zbz_streams_unlock();
}

void zbz_spool_forget(zbz_spool *s) {
	int *const all[] = { &s->lock, &s->in, &s->out };
	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		if (*all[i] >= 0) close(*all[i]);
}

/* ---- chunks ---- */

static uint64_t check_of(const zbz_chunk_head *h, uint64_t segment, uint64_t offset) {
	return zbz_ring_sum(segment * 0x9e3779b97f4a7c15u + offset, h, offsetof(zbz_chunk_head, check));
}

static bool is_chunk(const zbz_chunk_head *h, uint64_t segment, uint64_t offset) {
	return h->magic == CHUNK_MAGIC && h->size > 0 && h->size <= ZBZ_SPOOL_CHUNK_MAX && (h->size & 7) == 0 &&
	       h->check == check_of(h, segment, offset);
}

void zbz_chunk_sign(zbz_chunk_head *h, uint64_t segment, uint64_t offset) {
	h->magic = CHUNK_MAGIC;
	h->check = check_of(h, segment, offset);
}

static zbz_status head_at(int fd, uint64_t segment, uint64_t size, uint64_t offset, zbz_chunk_head *h) {
	if (offset + sizeof *h > size || pread(fd, h, sizeof *h, (off_t)offset) != (ssize_t)sizeof *h) return ZBZ_END;
	return is_chunk(h, segment, offset) ? ZBZ_OK : ZBZ_MISS;
}

/* The next place whose word looks like a chunk's; size: none. */
static uint64_t candidate(int fd, uint64_t size, uint64_t offset) {
	char window[WINDOW];
	while (offset < size) {
		ssize_t n = pread(fd, window, sizeof window, (off_t)offset);
		uint32_t word;
		if (n < (ssize_t)sizeof word) break;
		for (ssize_t i = 0; i + (ssize_t)sizeof word <= n; i += 8) {
			memcpy(&word, window + i, sizeof word);
			if (word == CHUNK_MAGIC) return offset + (uint64_t)i;
		}
		offset += sizeof window;
	}
	return size;
}

zbz_status zbz_chunk_find(int fd, uint64_t segment, uint64_t size, uint64_t *offset, zbz_chunk_head *h, bool *skipped) {
	uint64_t at = *offset;
	zbz_status status = head_at(fd, segment, size, at, h);
	*skipped = false;
	while (status == ZBZ_MISS) {
		at = candidate(fd, size, at + 8);
		status = head_at(fd, segment, size, at, h);
	}
	if (status != ZBZ_OK || at + sizeof *h + h->size > size) return ZBZ_END; /* torn: the writer died in it */
	*skipped = at != *offset;
	*offset = at;
	return ZBZ_OK;
}

/* ---- the cursor ---- */

zbz_status zbz_cursor_write(const zbz_spool *s, zbz_err *err) {
	cursor c = { .layout = ZBZ_SPOOL_LAYOUT, .at = s->at };
	memcpy(c.magic, CURSOR_MAGIC, sizeof c.magic);
	c.check = zbz_ring_sum(0, &c, offsetof(cursor, check));
	if (pwrite(s->lock, &c, sizeof c, 0) == (ssize_t)sizeof c) return ZBZ_OK;
	return zbz_spool_fail(err, errno, s->dir, "takes no cursor");
}

bool zbz_cursor_read(const zbz_spool *s, zbz_spool_place *out) {
	cursor c;
	if (pread(s->lock, &c, sizeof c, 0) != (ssize_t)sizeof c || memcmp(c.magic, CURSOR_MAGIC, sizeof c.magic) != 0 ||
	    c.layout != ZBZ_SPOOL_LAYOUT || c.check != zbz_ring_sum(0, &c, offsetof(cursor, check)))
		return false;
	*out = c.at;
	return true;
}
