#include "shared_segment.h"

#include "base/scan.h"
#include "shared_map.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define DIRECTORY "/dev/shm"

enum { SEGMENTS = 64, NAME_MAX_N = 64, PATH_N = 128, GATE_TRIES = 2000, GATE_NAP_NS = 1000000 };

/* A file's descriptor stays open: its shared flock tells other processes that the segment is in use. */
struct zbz_segment {
	bool taken, named;
	char name[NAME_MAX_N + 1];
	unsigned refs; /* stores of this process */
	unsigned char *base;
	int fd;
	zbz_shared_geometry g;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static zbz_segment segments[SEGMENTS];

static void enter(void) { pthread_mutex_lock(&lock); }
static void leave(void) { pthread_mutex_unlock(&lock); }

/* A thread of the parent may hold the lock at the moment of a fork. */
__attribute__((constructor)) static void watch_forks(void) { pthread_atfork(enter, leave, leave); }

unsigned char *zbz_segment_base(const zbz_segment *segment) { return segment->base; }
const zbz_shared_geometry *zbz_segment_geometry(const zbz_segment *segment) { return &segment->g; }

static const char *label(const zbz_segment_want *want) { return want->name != NULL ? want->name : want->zone; }

static bool same(const zbz_shared_geometry *g, const zbz_segment_want *want) {
	return g->size == want->size && g->entry_size == want->entry_size;
}

static zbz_status differs(const zbz_shared_geometry *g, const zbz_segment_want *want, zbz_err *err) {
	char has[ZBZ_SCAN_TEXT], asked[ZBZ_SCAN_TEXT];
	bool size = g->size != want->size;
	return zbz_fail_option(err, size ? "size" : "entry_size", "the segment '%s' is in use with %s, not %s", label(want),
	                       zbz_format_size((int64_t)(size ? g->size : g->entry_size), has),
	                       zbz_format_size((int64_t)(size ? want->size : want->entry_size), asked));
}

/* ---- anonymous ---- */

static zbz_status make_anonymous(zbz_segment *g, bool huge, zbz_err *err) {
	zbz_status status = zbz_shared_map(g->g.size, -1, &g->base, err);
	if (status != ZBZ_OK) return status;
	if (huge) zbz_shared_map_huge(g->base, g->g.size);
	status = zbz_shared_format(g->base, &g->g, err);
	if (status != ZBZ_OK) munmap(g->base, (size_t)g->g.size);
	return status;
}

/* ---- named ---- */

static bool name_ok(const char *name) {
	size_t n = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");
	return n > 0 && n <= NAME_MAX_N && name[n] == '\0';
}

/* Finding, judging and making a file is one step against all other processes that do the same. */
static zbz_status gate_open(int *gate, zbz_err *err) {
	static const struct timespec nap = { 0, GATE_NAP_NS };
	int i, e = 0;
	*gate = open(DIRECTORY, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*gate < 0) return zbz_fail_errno(err, ZBZ_E_UNAVAILABLE, errno, "named segments need " DIRECTORY);
	for (i = 0; i < GATE_TRIES; i++) {
		if (flock(*gate, LOCK_EX | LOCK_NB) == 0) return ZBZ_OK;
		e = errno;
		if (e != EWOULDBLOCK && e != EINTR) break;
		nanosleep(&nap, NULL);
	}
	close(*gate);
	return zbz_fail_errno(err, ZBZ_E_UNAVAILABLE, e, "waiting for others that open segments in " DIRECTORY);
}

/* The file's memory is claimed now: a full file system must be an error here, not a signal later. */
static int claim(int fd, uint64_t size) {
	int e;
	do e = posix_fallocate(fd, 0, (off_t)size);
	while (e == EINTR);
	return e;
}

static zbz_status fill_file(zbz_segment *g, int fd, const char *path, const zbz_segment_want *want, zbz_err *err) {
	zbz_status status;
	int e = fchmod(fd, (mode_t)want->mode) != 0 ? errno : claim(fd, g->g.size);
	if (e != 0) return zbz_fail_errno(err, ZBZ_E_UNAVAILABLE, e, "making %s", path);
	status = zbz_shared_map(g->g.size, fd, &g->base, err);
	if (status != ZBZ_OK) return status;
	if (want->huge_pages) zbz_shared_map_huge(g->base, g->g.size);
	status = zbz_shared_format(g->base, &g->g, err);
	if (status == ZBZ_OK && flock(fd, LOCK_SH | LOCK_NB) != 0)
		status = zbz_fail_errno(err, ZBZ_E_UNAVAILABLE, errno, "locking %s", path);
	if (status != ZBZ_OK) munmap(g->base, (size_t)g->g.size);
	return status;
}

/* Made aside and renamed: whoever has the former one open keeps it. */
static zbz_status make_file(zbz_segment *g, const char *path, const zbz_segment_want *want, zbz_err *err) {
	char aside[PATH_N + 24];
	zbz_status status;
	int fd;
	snprintf(aside, sizeof aside, "%s.%ld.new", path, (long)getpid());
	unlink(aside); /* of a dead process that had this number */
	fd = open(aside, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0) return zbz_fail_errno(err, ZBZ_E_UNAVAILABLE, errno, "making %s", aside);
	status = fill_file(g, fd, aside, want, err);
	if (status == ZBZ_OK && rename(aside, path) != 0) {
		status = zbz_fail_errno(err, ZBZ_E_UNAVAILABLE, errno, "making %s", path);
		munmap(g->base, (size_t)g->g.size);
	}
	if (status == ZBZ_OK) {
		g->fd = fd;
		return ZBZ_OK;
	}
	unlink(aside);
	close(fd);
	return status;
}

/* A segment that nobody has open: whatever lock is held belongs to the dead. */
static zbz_status renew_locks(zbz_segment *g, zbz_err *err) {
	zbz_status status = ZBZ_OK;
	uint32_t i;
	for (i = 0; i < g->g.shards && status == ZBZ_OK; i++) {
		zbz_shared_shard *s = zbz_shared_shard_in(&g->g, g->base, i);
		int e = zbz_shared_lock_sound(s) ? pthread_mutex_trylock(&s->lock) : EINVAL;
		if (e == 0) {
			pthread_mutex_unlock(&s->lock);
			continue;
		}
		zbz_shared_empty(&g->g, g->base, i);
		if (e == EOWNERDEAD) {
			pthread_mutex_consistent(&s->lock);
			pthread_mutex_unlock(&s->lock);
		} else {
			status = zbz_shared_format_lock(s, err);
		}
	}
	return status;
}

static zbz_status map_file(zbz_segment *g, int fd, const char *path, bool alone, zbz_err *err) {
	zbz_status status = zbz_shared_map(g->g.size, fd, &g->base, err);
	if (status != ZBZ_OK) return status;
	if (alone) status = renew_locks(g, err);
	if (status == ZBZ_OK && flock(fd, LOCK_SH | LOCK_NB) != 0)
		status = zbz_fail_errno(err, ZBZ_E_UNAVAILABLE, errno, "locking %s", path);
	if (status != ZBZ_OK) munmap(g->base, (size_t)g->g.size);
	return status;
}

/* OK: mapped; MISS: there is none, or none that is worth keeping. */
static zbz_status judge_file(zbz_segment *g, int fd, const char *path, const zbz_segment_want *want, zbz_err *err) {
	zbz_shared_header h;
	zbz_shared_geometry found;
	struct stat st;
	bool alone;
	zbz_status status;
	if (fstat(fd, &st) != 0) return zbz_fail_errno(err, ZBZ_E_UNAVAILABLE, errno, "%s", path);
	if (!S_ISREG(st.st_mode) || (st.st_uid != geteuid() && st.st_uid != 0))
		return zbz_fail(err, ZBZ_E_DENIED, "%s is not a file of this user", path);
	alone = flock(fd, LOCK_EX | LOCK_NB) == 0;
	if (pread(fd, &h, sizeof h, 0) != (ssize_t)sizeof h) return ZBZ_MISS;
	if (!zbz_shared_check_header(&h, (uint64_t)st.st_size, &found)) return ZBZ_MISS;
	if (!same(&found, want)) return alone ? ZBZ_MISS : differs(&found, want, err);
	g->g = found;
	status = map_file(g, fd, path, alone, err);
	if (status == ZBZ_OK) g->fd = fd;
	return status;
}

static zbz_status find_file(zbz_segment *g, const char *path, const zbz_segment_want *want, zbz_err *err) {
	zbz_status status;
	int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 && errno == ENOENT) return ZBZ_MISS;
	if (fd < 0)
		return zbz_fail_errno(err, errno == EACCES || errno == ELOOP ? ZBZ_E_DENIED : ZBZ_E_UNAVAILABLE, errno, "%s",
		                      path);
	status = judge_file(g, fd, path, want, err);
	if (status != ZBZ_OK) close(fd);
	return status;
}

static zbz_status open_named(zbz_segment *g, const zbz_segment_want *want, zbz_err *err) {
	char path[PATH_N];
	int gate;
	zbz_status status = gate_open(&gate, err);
	if (status != ZBZ_OK) return status;
	snprintf(path, sizeof path, DIRECTORY "/zbz-%s.%d", want->name, ZBZ_SHARED_LAYOUT);
	status = find_file(g, path, want, err);
	if (status == ZBZ_MISS) status = make_file(g, path, want, err);
	close(gate);
	return status;
}

/* ---- the list of this process ---- */

static zbz_segment *known(const zbz_segment_want *want) {
	for (int i = 0; i < SEGMENTS; i++) {
		zbz_segment *g = &segments[i];
		if (g->taken && g->named == (want->name != NULL) && strcmp(g->name, label(want)) == 0) return g;
	}
	return NULL;
}

static void give_up(zbz_segment *g) {
	munmap(g->base, (size_t)g->g.size);
	if (g->fd >= 0) close(g->fd);
	g->taken = false;
}

static zbz_status make(const zbz_segment_want *want, zbz_segment **out, zbz_err *err) {
	zbz_segment *g = NULL;
	zbz_status status;
	for (int i = 0; i < SEGMENTS && g == NULL; i++)
		if (!segments[i].taken) g = &segments[i];
	if (g == NULL) return zbz_fail(err, ZBZ_E_CONFIG, "more than %d shared segments in one process", SEGMENTS);
	*g = (zbz_segment){ .fd = -1, .named = want->name != NULL };
	zbz_shared_plan(want->size, want->entry_size, &g->g);
	snprintf(g->name, sizeof g->name, "%s", label(want));
	status = g->named ? open_named(g, want, err) : make_anonymous(g, want->huge_pages, err);
	if (status != ZBZ_OK) return status;
	g->taken = true;
	*out = g;
	return ZBZ_OK;
}

static zbz_status find_or_make(const zbz_segment_want *want, zbz_segment **out, zbz_err *err) {
	*out = known(want);
	if (*out != NULL && !same(&(*out)->g, want)) {
		if ((*out)->refs > 0) return differs(&(*out)->g, want, err);
		give_up(*out); /* a zone that no store uses any more: other processes keep what they have */
		*out = NULL;
	}
	return *out != NULL ? ZBZ_OK : make(want, out, err);
}

zbz_status zbz_segment_open(const zbz_segment_want *want, zbz_segment **out, zbz_err *err) {
	zbz_status status;
	if (!name_ok(label(want)))
		return zbz_fail_option(err, want->name != NULL ? "name" : "zone", "expects 1 to %d of A-Z a-z 0-9 . _ -",
		                       NAME_MAX_N);
	enter();
	status = find_or_make(want, out, err);
	if (status == ZBZ_OK) (*out)->refs++;
	leave();
	return status;
}

void zbz_segment_close(zbz_segment *segment) {
	enter();
	segment->refs--;
	if (segment->refs == 0 && segment->named) give_up(segment);
	leave();
}
