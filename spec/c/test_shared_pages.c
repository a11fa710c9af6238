/* The memory of a `shared` segment: where it is mapped, and in which pages. */
#include "provider/shared_map.c"

#include <zbz/cache.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "check.h"
#include "child.h"
#include "log_help.h"

enum { MB = 1 << 20 };

static zbz_err err;

/* What all mappings of this process have together in kB: a field of /proc/self/smaps. */
static long smaps(const char *field) {
	char line[512];
	size_t n = strlen(field);
	long sum = 0;
	FILE *f = fopen("/proc/self/smaps", "r");
	while (f != NULL && fgets(line, sizeof line, f) != NULL)
		if (strncmp(line, field, n) == 0 && line[n] == ':') sum += strtol(line + n + 1, NULL, 10);
	if (f != NULL) fclose(f);
	return sum;
}

static bool all_zero(const unsigned char *p, size_t n) {
	size_t i;
	for (i = 0; i < n && p[i] == 0; i++) continue;
	return i == n;
}

/* Whether this system gives large pages, asked without the code under test. */
static bool large_pages(void) {
	char *reserve = mmap(NULL, 8 * MB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *at = reserve + (2 * MB - (uintptr_t)reserve % (2 * MB));
	bool can = mmap(at, 4 * MB, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == at;
	can = can && (at[0] = at[2 * MB] = 1) && madvise(at, 4 * MB, MADV_COLLAPSE) == 0 && smaps("ShmemPmdMapped") == 4096;
	munmap(reserve, 8 * MB);
	return can;
}

static const size_t sizes[] = { 4096, 2 * MB - 1, 2 * MB, 2 * MB + 1, 5 * MB + 4097, 32 * MB };
enum { SIZES = sizeof sizes / sizeof *sizes };

static void mapped(size_t size, int fd) {
	long before = smaps("Size");
	unsigned char *p;
	CHECK(zbz_shared_map(size, fd, &p, &err) == ZBZ_OK);
	CHECK(size < 2 * MB || (uintptr_t)p % (2 * MB) == 0);
	CHECK(smaps("Size") - before == (long)((size + 4095) / 4096 * 4));
	p[size - 1] = 7;
	zbz_shared_map_huge(p, size);
	CHECK(p[size - 1] == 7 && all_zero(p, size - 1));
	memset(p, 1, size);
	CHECK(munmap(p, size) == 0);
	CHECK(smaps("Size") == before);
}

static void of_any_size(void) {
	for (int i = 0; i < SIZES; i++) mapped(sizes[i], -1);
}

static void of_a_file(void) {
	for (int i = 0; i < SIZES; i++) {
		int fd = memfd_create("pages", MFD_CLOEXEC);
		unsigned char last = 0;
		CHECK(posix_fallocate(fd, 0, (off_t)sizes[i]) == 0);
		mapped(sizes[i], fd);
		CHECK(pread(fd, &last, 1, (off_t)sizes[i] - 1) == 1 && last == 1);
		close(fd);
	}
}

static void in_large_pages(void) {
	unsigned char *p;
	int child;
	CHECK(zbz_shared_map(5 * MB, -1, &p, &err) == ZBZ_OK);
	zbz_shared_map_huge(p, 5 * MB);
	CHECK(smaps("ShmemPmdMapped") == 4096);
	p[0] = p[2 * MB] = p[5 * MB - 1] = 9;
	if ((child = fork()) == 0) {
		bool same = p[0] == 9 && p[2 * MB] == 9 && p[5 * MB - 1] == 9;
		p[1] = 8;
		_exit(same && smaps("ShmemPmdMapped") == 4096 ? 0 : 1);
	}
	CHECK(exit_code(child) == 0 && p[1] == 8);
	munmap(p, 5 * MB);
}

static void store_of(const char *options, long large) {
	long before = smaps("ShmemPmdMapped");
	zbz_config *cfg = config_of(options);
	zbz_store *store = NULL;
	CHECK(zbz_store_open(cfg, NULL, &store, &err) == ZBZ_OK);
	CHECK(smaps("ShmemPmdMapped") - before == large);
	zbz_store_unref(store);
	zbz_config_free(cfg);
}

static void only_if_wanted(void) {
	char named[64];
	store_of("provider=shared size=4MB zone=small huge_pages=false", 0);
	store_of("provider=shared size=4MB zone=large", 4096);
	snprintf(named, sizeof named, "provider=shared size=4MB name=pages-%ld", (long)getpid());
	store_of(named, 4096);
	store_of(named, 4096); /* the file that is there */
	snprintf(named, sizeof named, "/dev/shm/zbz-pages-%ld.3", (long)getpid());
	CHECK(unlink(named) == 0);
}

/* Where the address space has no room for the reserve, the segment comes into memory all the same. */
static void with_little_room(void) {
	int child = fork();
	if (child == 0) {
		struct rlimit room;
		unsigned char *p;
		size_t used = (size_t)smaps("Size") << 10;
		room.rlim_cur = room.rlim_max = used + 9 * MB;
		if (setrlimit(RLIMIT_AS, &room) != 0) _exit(2);
		if (zbz_shared_map(8 * MB, -1, &p, &err) != ZBZ_OK) _exit(3);
		p[8 * MB - 1] = 1;
		munmap(p, 8 * MB);
		if (zbz_shared_map(16 * MB, -1, &p, &err) != ZBZ_E_UNAVAILABLE) _exit(4);
		_exit(strstr(err.text, "mapping 16777216 bytes") != NULL ? 0 : 5);
	}
	CHECK(exit_code(child) == 0);
}

int main(void) {
	bool LARGE_PAGES = large_pages();
	RUN(of_any_size);
	RUN(of_a_file);
	RUN_IF(LARGE_PAGES, in_large_pages);
	RUN_IF(LARGE_PAGES, only_if_wanted);
	RUN_IF(!SANITIZED, with_little_room);
	return DONE();
}
