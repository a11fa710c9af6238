/* Making and mapping rings, and telling a record from what is none. */
#include "ring.h"

#include "base/hash.h"
#include "base/random.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define MAGIC      "zbz-ring"
#define RING_MAX   ((uint64_t)1 << 30)
#define NAME_START "ring."

/* ---- check words ---- */

/* Constant, because unrelated processes must agree: this finds damage, it does not keep anybody out. */
static const uint64_t salt[3] = { 0x9e3779b97f4a7c15u, 0xd1b54a32d192ed03u, 0x8cb92ba72f3d8dd7u };

uint64_t zbz_ring_sum(uint64_t seed, const void *bytes, size_t n) {
	const unsigned char *p = bytes;
	uint64_t a = seed ^ salt[0], b = seed ^ salt[1], x = 0, y = 0;
	for (; n >= 32; p += 32, n -= 32) { /* two lanes: neither waits for the other's multiplication */
		a = zbz_hash_fold(zbz_hash_read8(p) ^ salt[1], zbz_hash_read8(p + 8) ^ a);
		b = zbz_hash_fold(zbz_hash_read8(p + 16) ^ salt[2], zbz_hash_read8(p + 24) ^ b);
	}
	if (n >= 16) {
		a = zbz_hash_fold(zbz_hash_read8(p) ^ salt[1], zbz_hash_read8(p + 8) ^ a);
		p += 16;
		n -= 16;
	}
	if (n >= 8) {
		x = zbz_hash_read8(p);
		p += 8;
		n -= 8;
	}
	for (size_t i = 0; i < n; i++) y |= (uint64_t)p[i] << (8 * i);
	return zbz_hash_fold(a ^ x ^ salt[2], b ^ y ^ ((uint64_t)n << 56));
}

uint32_t zbz_ring_check(uint64_t pos, const zbz_ring_record *r) {
	size_t n = sizeof *r - sizeof r->check + r->logger_n + r->labels_n + r->text_n;
	uint64_t h = zbz_ring_sum(pos, (const char *)r + sizeof r->check, n);
	return (uint32_t)(h ^ h >> 32);
}

static uint64_t head_check(const zbz_ring_head *h) { return zbz_ring_sum(0, h, offsetof(zbz_ring_head, check)); }

const zbz_ring_record *zbz_ring_at(const zbz_ring *ring, uint64_t pos, uint64_t end) {
	const zbz_ring_record *r = (const zbz_ring_record *)(const void *)(ring->data + (pos & (ring->size - 1)));
	uint64_t n, left = end - pos;
	if (left < sizeof *r || left > ring->size || r->size > left || r->text_n > ZBZ_RING_RECORD_MAX) return NULL;
	n = zbz_ring_used((size_t)r->logger_n + r->labels_n + r->text_n);
	return n == r->size && r->check == zbz_ring_check(pos, r) ? r : NULL;
}

uint64_t zbz_ring_resume(const zbz_ring *ring, uint64_t pos, uint64_t end) {
	for (pos += 8; pos < end; pos += 8)
		if (zbz_ring_at(ring, pos, end) != NULL) return pos;
	return end;
}

zbz_status zbz_ring_fail(zbz_err *err, zbz_status status, int e, const char *path, const char *what) {
	zbz_err full;
	zbz_fail_errno(&full, status, e, "%.160s %s", path, what);
	snprintf(full.option, sizeof full.option, "ring");
	if (err != NULL) *err = full;
	return status;
}

/* ---- mapping ---- */

static zbz_status map(int fd, uint64_t page, uint64_t size, zbz_ring *out, zbz_err *err) {
	size_t all = (size_t)(page + 2 * size), once = (size_t)(page + size);
	char *base = mmap(NULL, all, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (base == MAP_FAILED) return zbz_fail_errno(err, ZBZ_E_UNAVAILABLE, errno, "mapping a ring of the log");
	if (mmap(base, once, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED ||
	    mmap(base + once, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, (off_t)page) ==
	        MAP_FAILED ||
	    madvise(base, all, MADV_DONTFORK) != 0) {
		int e = errno;
		munmap(base, all);
		return zbz_fail_errno(err, ZBZ_E_UNAVAILABLE, e, "mapping a ring of the log");
	}
	out->h = (zbz_ring_head *)(void *)base;
	out->data = base + page;
	out->size = size;
	out->mapped = all;
	return ZBZ_OK;
}

void zbz_ring_unmap(zbz_ring *ring) {
	if (ring->h != NULL) munmap(ring->h, ring->mapped);
	if (ring->fd >= 0) close(ring->fd);
	ring->h = NULL;
	ring->fd = -1;
}

void zbz_ring_warm(const zbz_ring *ring) {
#ifdef MADV_POPULATE_WRITE
	madvise(ring->h, ring->mapped, MADV_POPULATE_WRITE);
#else
	(void)ring;
#endif
}

/* ---- whose ---- */

/* Start of a process in ticks since boot, the 22nd field of its stat; 0 when it cannot be told. */
static uint64_t born(uint64_t pid) {
	char path[40], text[1024], *p;
	int field, fd;
	ssize_t n;
	snprintf(path, sizeof path, "/proc/%llu/stat", (unsigned long long)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) return 0;
	n = read(fd, text, sizeof text - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	p = strrchr(text, ')'); /* the name may hold anything */
	for (field = 2; p != NULL && field < 22; field++) p = strchr(p + 1, ' ');
	return p != NULL ? strtoull(p + 1, NULL, 10) : 0;
}

/* A lock of the open file, not of the process: closing another descriptor of it does not give it away. */
static int lock_owner(int fd) {
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	return fcntl(fd, F_OFD_SETLK, &lock);
}

static bool locked(int fd) {
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	return fcntl(fd, F_OFD_GETLK, &lock) != 0 || lock.l_type != F_UNLCK;
}

static int open_file(const char *dir, const char *name) {
	char path[PATH_MAX];
	if (snprintf(path, sizeof path, "%s/%s", dir, name) >= (int)sizeof path) return -1;
	return open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
}

bool zbz_ring_file_dead(const char *dir, const char *name) {
	int fd = open_file(dir, name);
	bool dead;
	if (fd < 0) return errno == ENOENT;
	dead = !locked(fd);
	close(fd);
	return dead;
}

bool zbz_ring_dead(const char *dir, const zbz_ring *ring) {
	if (atomic_load(&ring->h->closed) != 0) return true;
	if (!zbz_ring_file_dead(dir, ring->name)) return false;
	/* A program that closes all descriptors gives its lock away and goes on logging. */
	return ring->h->born == 0 || born(ring->h->pid) != ring->h->born;
}

bool zbz_ring_name_ok(const char *name) {
	size_t n = sizeof NAME_START - 1;
	return strncmp(name, NAME_START, n) == 0 && strlen(name) < ZBZ_RING_NAME &&
	       name[n + strspn(name + n, "0123456789abcdef.")] == '\0';
}

/* ---- making ---- */

static zbz_status no_room(zbz_err *err, int e, const char *dir) {
	return zbz_ring_fail(err, ZBZ_E_UNAVAILABLE, e, dir != NULL ? dir : "memory", "takes no ring");
}

static int claim(int fd, uint64_t size) {
	int e;
	do e = posix_fallocate(fd, 0, (off_t)size);
	while (e == EINTR);
	return e;
}

static zbz_status fill(zbz_ring *out, uint64_t page, uint64_t size, zbz_err *err) {
	zbz_status status = map(out->fd, page, size, out, err);
	zbz_ring_head *h = out->h;
	if (status != ZBZ_OK) return status;
	memcpy(h->magic, MAGIC, sizeof h->magic);
	h->layout = ZBZ_RING_LAYOUT;
	h->page = (uint32_t)page;
	h->size = size;
	h->id = out->id;
	h->pid = (uint64_t)getpid();
	h->born = born(h->pid);
	h->check = head_check(h);
	return ZBZ_OK;
}

/* Under another name until it is whole: who looks through the directory finds it finished and locked. */
static zbz_status create_file(const char *dir, uint64_t page, uint64_t size, zbz_ring *out, zbz_err *err) {
	char aside[PATH_MAX], path[PATH_MAX];
	zbz_status status;
	int e;
	snprintf(out->name, sizeof out->name, NAME_START "%llx", (unsigned long long)out->id);
	if (snprintf(aside, sizeof aside, "%s/new.%llx", dir, (unsigned long long)out->id) >= (int)sizeof aside ||
	    snprintf(path, sizeof path, "%s/%s", dir, out->name) >= (int)sizeof path)
		return zbz_fail_option(err, "ring", "the path is too long");
	out->fd = open(aside, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (out->fd < 0) return no_room(err, errno, dir);
	e = claim(out->fd, page + size);
	if (e == 0 && lock_owner(out->fd) != 0) e = errno;
	status = e == 0 ? fill(out, page, size, err) : no_room(err, e, dir);
	if (status == ZBZ_OK && rename(aside, path) != 0) status = no_room(err, errno, dir);
	if (status != ZBZ_OK) unlink(aside);
	return status;
}

zbz_status zbz_ring_create(const char *dir, uint64_t size, zbz_ring *out, zbz_err *err) {
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), rounded = page > ZBZ_RING_LEAST ? page : ZBZ_RING_LEAST;
	zbz_status status;
	*out = (zbz_ring){ .fd = -1 };
	if (page < sizeof(zbz_ring_head)) page = ZBZ_RING_LEAST;
	while (rounded < size && rounded < RING_MAX) rounded *= 2;
	status = zbz_random(&out->id, sizeof out->id, err);
	if (status != ZBZ_OK) return status;
	if (dir != NULL) {
		status = create_file(dir, page, rounded, out, err);
	} else {
		out->fd = memfd_create("zbz-log", MFD_CLOEXEC);
		if (out->fd < 0 || ftruncate(out->fd, (off_t)(page + rounded)) != 0) status = no_room(err, errno, dir);
		if (status == ZBZ_OK) status = fill(out, page, rounded, err);
		if (status == ZBZ_OK) {
			close(out->fd);
			out->fd = -1;
		}
	}
	if (status != ZBZ_OK) zbz_ring_unmap(out);
	return status;
}

/* ---- attaching ---- */

static zbz_status judge(int fd, const char *name, zbz_ring_head *h, zbz_err *err) {
	struct stat st;
	if (fstat(fd, &st) != 0) return zbz_fail_errno(err, ZBZ_E_UNAVAILABLE, errno, "%s", name);
	if (pread(fd, h, sizeof *h, 0) != (ssize_t)sizeof *h || memcmp(h->magic, MAGIC, sizeof h->magic) != 0)
		return zbz_fail(err, ZBZ_E_CORRUPT, "%s is no ring", name);
	if (h->layout != ZBZ_RING_LAYOUT)
		return zbz_fail(err, ZBZ_E_UNSUPPORTED, "%s has layout %u, this zbz writes %d", name, h->layout,
		                ZBZ_RING_LAYOUT);
	if (h->check != head_check(h) || h->size < ZBZ_RING_LEAST || h->size > RING_MAX || (h->size & (h->size - 1)) != 0 ||
	    h->page < sizeof *h || (uint64_t)st.st_size != h->page + h->size)
		return zbz_fail(err, ZBZ_E_CORRUPT, "%s is damaged", name);
	return ZBZ_OK;
}

zbz_status zbz_ring_attach(const char *dir, const char *name, zbz_ring *out, zbz_err *err) {
	zbz_ring_head h;
	zbz_status status;
	int fd = open_file(dir, name);
	*out = (zbz_ring){ .fd = -1 };
	if (fd < 0) return errno == ENOENT ? ZBZ_MISS : zbz_fail_errno(err, ZBZ_E_UNAVAILABLE, errno, "%s", name);
	status = judge(fd, name, &h, err);
	if (status == ZBZ_OK) status = map(fd, h.page, h.size, out, err);
	if (status == ZBZ_OK) {
		out->id = h.id;
		snprintf(out->name, sizeof out->name, "%s", name);
	}
	close(fd);
	return status;
}
