/* The file that the processes of one output share. */
#include "journal.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define MAGIC "zbz-jrnl"
#define NAME  "journal"
#define PIPE  "writer"

enum { BYTE_WRITER, BYTE_USERS, BYTE_MAKING };
enum { OPEN_TRIES = 100, LOCK_TRIES = 2000, WAIT_MS = 1000 };

static int lock_byte(int fd, int byte, short type) {
	struct flock lock = { .l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };
	return fcntl(fd, F_OFD_SETLK, &lock);
}

/* What others hold for microseconds; one that was stopped in the middle shall not stop this process too. */
static int await_byte(int fd, int byte, short type) {
	static const struct timespec nap = { 0, 1000000 };
	int got = lock_byte(fd, byte, type);
	for (int i = 0; got != 0 && (errno == EAGAIN || errno == EACCES || errno == EINTR) && i < LOCK_TRIES; i++) {
		nanosleep(&nap, NULL);
		got = lock_byte(fd, byte, type);
	}
	return got;
}

uint64_t zbz_batch_check(const zbz_journal *j, const zbz_batch_fill *f) {
	uint64_t h = zbz_ring_sum(0, f, offsetof(zbz_batch_fill, check));
	return zbz_ring_sum(h, j->table, f->n * sizeof *j->table);
}

uint64_t zbz_debt_check(const zbz_spool_debt *d) { return zbz_ring_sum(0, d, offsetof(zbz_spool_debt, check)); }

/* ---- making ---- */

static zbz_status trouble(zbz_err *err, int e, const char *path) {
	return zbz_ring_fail(err, ZBZ_E_UNAVAILABLE, e, path, "cannot be used");
}

static uint64_t size_of(const zbz_journal_head *h) {
	return sizeof(zbz_journal_page) + h->records * sizeof(zbz_batch_record) + h->room;
}

static zbz_journal_head head_of(size_t batch) {
	zbz_journal_head h = { .layout = ZBZ_JOURNAL_LAYOUT, .records = ZBZ_BATCH_RECORDS };
	if (batch > ZBZ_BATCH_BYTES_MAX) batch = ZBZ_BATCH_BYTES_MAX;
	if (batch / ZBZ_BATCH_RECORD_BYTES > h.records) h.records = (uint32_t)(batch / ZBZ_BATCH_RECORD_BYTES);
	h.room = ZBZ_RING_RECORD_MAX + batch;
	h.size = size_of(&h);
	memcpy(h.magic, MAGIC, sizeof h.magic);
	return h;
}

static bool sound(const zbz_journal_head *h, uint64_t size) {
	return memcmp(h->magic, MAGIC, sizeof h->magic) == 0 && h->layout == ZBZ_JOURNAL_LAYOUT &&
	       h->records >= ZBZ_BATCH_RECORDS && h->records <= ZBZ_BATCH_BYTES_MAX / ZBZ_BATCH_RECORD_BYTES &&
	       h->room >= ZBZ_RING_RECORD_MAX && h->room <= ZBZ_RING_RECORD_MAX + ZBZ_BATCH_BYTES_MAX &&
	       h->size == size_of(h) && h->size == size;
}

/* Under the lock of its making. What is there and of no use to us is moved out of the way, unless somebody uses it. */
static zbz_status prepare(int fd, const char *path, size_t batch, bool *again, zbz_err *err) {
	zbz_journal_head head = { .size = 0 };
	char aside[PATH_MAX + 8];
	const ssize_t n = sizeof head;
	struct stat st;
	int e;
	*again = false;
	if (fstat(fd, &st) != 0) return trouble(err, errno, path);
	*again = st.st_nlink == 0;
	if (*again || (st.st_size > 0 && pread(fd, &head, sizeof head, 0) == n && sound(&head, (uint64_t)st.st_size)))
		return ZBZ_OK;
	if (st.st_size > 0 && lock_byte(fd, BYTE_USERS, F_WRLCK) != 0)
		return zbz_fail(err, ZBZ_E_UNAVAILABLE, "%s is in use by another version of zbz", path);
	if (st.st_size > 0 && head.size == 0 && ftruncate(fd, 0) == 0)
		st.st_size = 0; /* its maker died before the head was written */
	if (st.st_size > 0) {
		snprintf(aside, sizeof aside, "%s.aside", path);
		*again = rename(path, aside) == 0;
		return *again ? ZBZ_OK : trouble(err, errno, path);
	}
	head = head_of(batch);
	do e = posix_fallocate(fd, 0, (off_t)head.size);
	while (e == EINTR);
	if (e != 0) {
		unlink(path);
		return trouble(err, e, path);
	}
	return pwrite(fd, &head, sizeof head, 0) == n ? ZBZ_OK : trouble(err, errno, path);
}

/* AGAIN: the file was removed meanwhile by the last who used it. */
static zbz_status open_once(const char *path, size_t batch, int *fd, zbz_err *err) {
	bool again = false;
	zbz_status status;
	*fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (*fd < 0) return trouble(err, errno, path);
	if (await_byte(*fd, BYTE_MAKING, F_WRLCK) != 0) return trouble(err, errno, path);
	status = prepare(*fd, path, batch, &again, err);
	if (status == ZBZ_OK && !again && await_byte(*fd, BYTE_USERS, F_RDLCK) != 0) status = trouble(err, errno, path);
	lock_byte(*fd, BYTE_MAKING, F_UNLCK);
	return again && status == ZBZ_OK ? ZBZ_AGAIN : status;
}

static zbz_status open_file(const char *dir, size_t batch, zbz_journal *out, zbz_err *err) {
	char path[PATH_MAX];
	zbz_status status = ZBZ_AGAIN;
	if (snprintf(path, sizeof path, "%s/" NAME, dir) >= (int)sizeof path)
		return zbz_fail_option(err, "ring", "the path is too long");
	for (int i = 0; i < OPEN_TRIES && status == ZBZ_AGAIN; i++) {
		mkdir(dir, 0700); /* its last user may have removed it just now */
		status = open_once(path, batch, &out->fd, err);
		if (status != ZBZ_OK && out->fd >= 0) {
			close(out->fd);
			out->fd = -1;
		}
	}
	return status == ZBZ_AGAIN ? trouble(err, EAGAIN, path) : status;
}

static zbz_status map(int fd, size_t size, zbz_journal *out, zbz_err *err) {
	void *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | (fd < 0 ? MAP_ANONYMOUS : 0), fd, 0);
	if (page != MAP_FAILED && madvise(page, size, MADV_DONTFORK) == 0) {
		out->page = page;
		out->mapped = size;
		return ZBZ_OK;
	}
	zbz_fail_errno(err, ZBZ_E_UNAVAILABLE, errno, "mapping the journal of a log");
	if (page != MAP_FAILED) munmap(page, size);
	return ZBZ_E_UNAVAILABLE;
}

/* What the head says is read once, and holds for as long as the file is mapped. */
static zbz_status place(zbz_journal *j, zbz_err *err) {
	zbz_journal_head h = j->page->head;
	if (!sound(&h, j->mapped)) return zbz_fail(err, ZBZ_E_CORRUPT, "the journal of a log has changed its shape");
	j->records = h.records;
	j->room = (size_t)h.room;
	j->table = (zbz_batch_record *)(void *)(j->page + 1);
	j->bytes = (char *)(j->table + h.records);
	return ZBZ_OK;
}

zbz_status zbz_journal_open(const char *dir, size_t batch, zbz_journal *out, zbz_err *err) {
	zbz_journal_head h = head_of(batch);
	struct stat st;
	zbz_status status = ZBZ_OK;
	*out = (zbz_journal){ .fd = -1, .pipe = -1 };
	if (dir != NULL) status = open_file(dir, batch, out, err);
	if (status == ZBZ_OK && dir != NULL && fstat(out->fd, &st) != 0) status = trouble(err, errno, dir);
	if (status == ZBZ_OK) status = map(out->fd, dir != NULL ? (size_t)st.st_size : (size_t)h.size, out, err);
	if (status == ZBZ_OK && dir == NULL) out->page->head = h;
	if (status == ZBZ_OK) status = place(out, err);
	if (status == ZBZ_OK) return ZBZ_OK;
	if (out->page != NULL) munmap(out->page, out->mapped);
	if (out->fd >= 0) close(out->fd);
	*out = (zbz_journal){ .fd = -1, .pipe = -1 };
	return status;
}

/* ---- who writes ---- */

static int open_pipe(const char *dir, int how) {
	char path[PATH_MAX];
	if (snprintf(path, sizeof path, "%s/" PIPE, dir) >= (int)sizeof path) return -1;
	if (mkfifo(path, 0600) != 0 && errno != EEXIST) return -1;
	return open(path, how | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
}

static void close_pipe(zbz_journal *j) {
	if (j->pipe >= 0) close(j->pipe);
	j->pipe = -1;
}

bool zbz_journal_claim(zbz_journal *j, const char *dir) {
	if (j->writing || j->fd < 0) return true;
	if (lock_byte(j->fd, BYTE_WRITER, F_WRLCK) != 0) return false;
	close_pipe(j);
	j->pipe = open_pipe(dir, O_RDWR); /* without it the others look once a second */
	return j->writing = true;
}

void zbz_journal_wait(zbz_journal *j, const char *dir, int stop) {
	struct pollfd p[2] = { { .fd = stop, .events = POLLIN }, { .events = POLLIN } };
	bool fresh = j->pipe < 0;
	if (fresh) j->pipe = open_pipe(dir, O_RDONLY);
	p[1].fd = j->pipe;
	if (fresh) return; /* whoever hung up before this end was open has left its lock as well: ask for that first */
	/* A process that dies may close its pipe a moment before its lock. */
	if (poll(p, 2, WAIT_MS) > 0 && (p[1].revents & POLLHUP) != 0) poll(p, 1, 1);
}

/* ---- closing ---- */

/* No files but the journal itself; leftovers of rings that were never finished go, nobody else is here. */
static bool deserted(const char *dir) {
	DIR *d = opendir(dir);
	const struct dirent *e;
	bool empty = true;
	while (d != NULL && (e = readdir(d)) != NULL) {
		if (strcmp(e->d_name, NAME) == 0 || strcmp(e->d_name, PIPE) == 0 || e->d_name[strspn(e->d_name, ".")] == '\0')
			continue;
		if (strncmp(e->d_name, "new.", 4) == 0 && unlinkat(dirfd(d), e->d_name, 0) == 0) continue;
		empty = false;
	}
	if (d == NULL) return false;
	closedir(d);
	return empty;
}

static void remove_if_last(const zbz_journal *j, const char *dir) {
	char path[PATH_MAX], pipe[PATH_MAX];
	if (await_byte(j->fd, BYTE_MAKING, F_WRLCK) != 0) return;
	if (lock_byte(j->fd, BYTE_USERS, F_WRLCK) != 0 || atomic_load(&j->page->batch.state) != ZBZ_BATCH_EMPTY) return;
	if (j->page->debt.spool != 0) return;
	if (!deserted(dir) || snprintf(path, sizeof path, "%s/" NAME, dir) >= (int)sizeof path ||
	    snprintf(pipe, sizeof pipe, "%s/" PIPE, dir) >= (int)sizeof pipe)
		return;
	unlink(pipe);
	unlink(path);
	rmdir(dir);
}

void zbz_journal_leave(const zbz_journal *j, const char *dir) {
	if (j->fd >= 0) remove_if_last(j, dir);
}

void zbz_journal_close(zbz_journal *j, const char *dir) {
	if (j->page != NULL && j->fd >= 0 && dir != NULL) remove_if_last(j, dir);
	if (j->page != NULL) munmap(j->page, j->mapped);
	if (j->fd >= 0) close(j->fd); /* and all of its locks; only then may the others be told */
	close_pipe(j);
	*j = (zbz_journal){ .fd = -1, .pipe = -1 };
}
