/* An allocator that fails the n-th time and counts what is still out. Plain counters: for tests with one thread. */
#ifndef SPEC_FAULTS_H
#define SPEC_FAULTS_H

#include <stdlib.h>

#include <zbz/alloc.h>

static struct faults {
	long calls;  /* allocations so far */
	long fail;   /* which of them fails; 0 none */
	long live;   /* blocks not freed */
	bool failed; /* it has happened */
} faults;

static void *faults_alloc(void *ud, void *ptr, size_t size) {
	void *p;
	(void)ud;
	if (size == 0) {
		if (ptr != NULL) faults.live--;
		free(ptr);
		return NULL;
	}
	if (++faults.calls == faults.fail) {
		faults.failed = true;
		return NULL;
	}
	p = realloc(ptr, size);
	if (ptr == NULL && p != NULL) faults.live++;
	return p;
}

/* From here to faults_end the n-th allocation fails. */
static inline void faults_begin(long n) {
	faults = (struct faults){ .fail = n };
	zbz_set_alloc(faults_alloc, NULL);
}

/* Did the failure happen? Leaves the number of blocks still out in *live. */
static inline bool faults_end(long *live) {
	zbz_set_alloc(NULL, NULL);
	*live = faults.live;
	return faults.failed;
}

#endif
