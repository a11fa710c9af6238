#include "shared_map.h"

#include <zbz/zbz.h>

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

#define HUGE_PAGE ((size_t)2 << 20)

enum { PATIENCE_MS = 500 };

static void trim(char *from, const char *to) {
	if (to > from) munmap(from, (size_t)(to - from));
}

/* In a reserve that is a large page longer, at the first of its addresses that begins one. */
static void *map_aligned(size_t size, int fd, int flags) {
	size_t page = (size_t)sysconf(_SC_PAGESIZE), whole = (size + page - 1) / page * page;
	char *reserve = mmap(NULL, whole + HUGE_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	char *at, *p;
	if (reserve == MAP_FAILED) return MAP_FAILED;
	at = reserve + (HUGE_PAGE - (uintptr_t)reserve % HUGE_PAGE) % HUGE_PAGE;
	p = mmap(at, size, PROT_READ | PROT_WRITE, flags | MAP_FIXED, fd, 0);
	trim(reserve, p == MAP_FAILED ? at + whole : at);
	trim(at + whole, reserve + whole + HUGE_PAGE);
	return p;
}

zbz_status zbz_shared_map(uint64_t size, int fd, unsigned char **base, zbz_err *err) {
	int flags = MAP_SHARED | (fd < 0 ? MAP_ANONYMOUS : 0);
	void *p = MAP_FAILED;
	if (size >= HUGE_PAGE) p = map_aligned((size_t)size, fd, flags);
	if (p == MAP_FAILED) p = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, flags, fd, 0);
	if (p == MAP_FAILED)
		return zbz_fail_errno(err, ZBZ_E_UNAVAILABLE, errno, "mapping %llu bytes of shared memory",
		                      (unsigned long long)size);
	*base = p;
	return ZBZ_OK;
}

void zbz_shared_map_huge(unsigned char *base, uint64_t size) {
#ifdef __linux__
	int64_t until = zbz_mono(zbz_clock_system()) + PATIENCE_MS;
	uint64_t at;
	madvise(base, (size_t)size, MADV_HUGEPAGE);
	for (at = 0; at + HUGE_PAGE <= size; at += HUGE_PAGE) {
		*(volatile unsigned char *)(base + at) = 0; /* a page that is all hole is not collapsed */
		if (madvise(base + at, HUGE_PAGE, MADV_COLLAPSE) != 0 || zbz_mono(zbz_clock_system()) > until) return;
	}
#else
	(void)base;
	(void)size;
#endif
}
