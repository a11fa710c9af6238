/* Finding or making the file of the host-wide locks. It is repaired where it lies, never replaced: two processes that hold different files
 * under one name would not see each other's locks. */
#include "host_layout.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define DIRECTORY "/dev/shm"

enum { USERS = 8, PATH_N = 96, GATE_TRIES = 1000, GATE_NAP_NS = 1000000 };

static const uint64_t magic = 0x736b636f6c7a627a; /* "zbzlocks" */

/* A mapping stays for the life of the process: a claim may point into it. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static zbz_host_segment segments[USERS];

static void enter(void) { pthread_mutex_lock(&lock); }
static void leave(void) { pthread_mutex_unlock(&lock); }

__attribute__((constructor)) static void watch_forks(void) { pthread_atfork(enter, leave, leave); }

/* Processes that cannot see each other's numbers could not tell whether a holder lives: each such world has a file of its own. */
static void name_file(char path[PATH_N], uint32_t uid) {
	struct stat st;
	unsigned long world = stat("/proc/self/ns/pid", &st) == 0 ? (unsigned long)st.st_ino : 0;
	snprintf(path, PATH_N, DIRECTORY "/zbz-locks.%u.%lu.%d", (unsigned)uid, world, ZBZ_HOST_LAYOUT);
}

static bool sound(const zbz_host_header *h) {
	return atomic_load(&h->magic) == magic && h->layout == ZBZ_HOST_LAYOUT && h->buckets == ZBZ_HOST_BUCKETS &&
	       h->slots == ZBZ_HOST_SLOTS && h->slot_size == sizeof(zbz_host_slot);
}

/* One at a time looks and repairs. */
static zbz_status gate(int fd, const char *path, zbz_err *err) {
	static const struct timespec nap = { 0, GATE_NAP_NS };
	int i;
	for (i = 0; i < GATE_TRIES; i++) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0) return ZBZ_OK;
		if (errno != EWOULDBLOCK && errno != EINTR) break;
		nanosleep(&nap, NULL);
	}
	return zbz_fail_errno(err, ZBZ_E_UNAVAILABLE, errno, "waiting for others that open %s", path);
}

/* The memory is claimed now: a full file system must be an error here, not a signal later. It never shrinks under those who have it mapped. */
static zbz_status size_file(int fd, const char *path, const struct stat *st, zbz_err *err) {
	int e = 0;
	if (st->st_size < (off_t)sizeof(zbz_host_file) || st->st_blocks * 512 < (off_t)sizeof(zbz_host_file)) {
		do e = posix_fallocate(fd, 0, (off_t)sizeof(zbz_host_file));
		while (e == EINTR);
	}
	return e == 0 ? ZBZ_OK : zbz_fail_errno(err, ZBZ_E_UNAVAILABLE, e, "making %s", path);
}

static zbz_host_file *map(int fd, const char *path, zbz_err *err) {
	void *p = mmap(NULL, sizeof(zbz_host_file), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p != MAP_FAILED) return p;
	zbz_fail_errno(err, ZBZ_E_UNAVAILABLE, errno, "mapping %s", path);
	return NULL;
}

/* The magic comes last: whoever dies before that leaves a file that the next one formats anew. Tickets go on, so that a claim from before
 * is nobody's now. */
static void format(zbz_host_file *f) {
	zbz_host_header *h = &f->head;
	atomic_store(&h->magic, 0);
	memset(f->buckets, 0, sizeof f->buckets);
	h->layout = ZBZ_HOST_LAYOUT;
	h->buckets = ZBZ_HOST_BUCKETS;
	h->slots = ZBZ_HOST_SLOTS;
	h->slot_size = sizeof(zbz_host_slot);
	atomic_store(&h->magic, magic);
}

static zbz_host_file *adopt(int fd, const char *path, uint32_t uid, zbz_err *err) {
	struct stat st;
	zbz_host_file *file;
	if (fstat(fd, &st) != 0) {
		zbz_fail_errno(err, ZBZ_E_UNAVAILABLE, errno, "%s", path);
		return NULL;
	}
	if (!S_ISREG(st.st_mode) || st.st_uid != uid || st.st_nlink != 1 || (st.st_mode & 022) != 0) {
		zbz_fail(err, ZBZ_E_DENIED, "%s is not a file that this user alone can write", path);
		return NULL;
	}
	if (gate(fd, path, err) != ZBZ_OK || size_file(fd, path, &st, err) != ZBZ_OK) return NULL;
	file = map(fd, path, err);
	if (file != NULL && !sound(&file->head)) format(file);
	return file;
}

static zbz_host_file *open_file(uint32_t uid, zbz_err *err) {
	char path[PATH_N];
	zbz_host_file *file;
	int fd, e;
	name_file(path, uid);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	e = errno;
	if (fd < 0) {
		zbz_fail_errno(err, e == EACCES || e == ELOOP || e == EPERM ? ZBZ_E_DENIED : ZBZ_E_UNAVAILABLE, e,
		               "lock = \"host\": opening %s", path);
		return NULL;
	}
	file = adopt(fd, path, uid, err);
	close(fd); /* and with it the gate */
	return file;
}

static zbz_host_segment *find_or_make(uint32_t uid, zbz_err *err) {
	zbz_host_segment *s = segments;
	while (s < segments + USERS && s->file != NULL && s->uid != uid) s++;
	if (s == segments + USERS) {
		zbz_fail(err, ZBZ_E_UNAVAILABLE, "the process was more than %d users", USERS);
		return NULL;
	}
	if (s->file == NULL) {
		s->file = open_file(uid, err);
		s->uid = uid;
	}
	return s->file != NULL ? s : NULL;
}

zbz_host_segment *zbz_host_segment_of(zbz_err *err) {
#ifdef __linux__
	zbz_host_segment *s;
	enter();
	s = find_or_make((uint32_t)geteuid(), err);
	leave();
	return s;
#else
	zbz_fail(err, ZBZ_E_UNSUPPORTED, "lock = \"host\" needs Linux");
	return NULL;
#endif
}

zbz_status zbz_host_open(zbz_err *err) {
	zbz_err local;
	if (err == NULL) err = &local;
	return zbz_host_segment_of(err) != NULL ? ZBZ_OK : err->status;
}
