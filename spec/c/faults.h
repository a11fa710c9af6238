/* An allocator that fails the n-th time, or from the n-th on, and counts what is still out. */
#ifndef SPEC_FAULTS_H
#define SPEC_FAULTS_H

#include <stdatomic.h>
#include <stdlib.h>

#include <zbz/alloc.h>

static struct faults {
	atomic_long calls;  /* allocations so far */
	atomic_long fail;   /* which of them fails; 0 none */
	atomic_long live;   /* blocks not freed */
	atomic_bool lasts;  /* those that follow fail too */
	atomic_bool failed; /* it has happened */
} faults;

static void *faults_alloc(void *ud, void *ptr, size_t size) {
	void *p;
	long call;
	(void)ud;
	if (size == 0) {
		if (ptr != NULL) faults.live--;
		free(ptr);
		return NULL;
	}
	call = ++faults.calls;
	if (call == faults.fail || (faults.lasts && call > faults.fail)) {
		faults.failed = true;
		return NULL;
	}
	p = realloc(ptr, size);
	if (ptr == NULL && p != NULL) faults.live++;
	return p;
}

/* From here to faults_end the n-th allocation fails. */
static inline void faults_begin(long n) {
	faults.calls = faults.live = 0;
	faults.failed = faults.lasts = false;
	faults.fail = n;
	zbz_set_alloc(faults_alloc, NULL);
}

/* The same for all from the n-th (1, 2, ...) on. */
static inline void faults_begin_lasting(long n) {
	faults_begin(n);
	faults.lasts = true;
}

/* Did the failure happen? Leaves the number of blocks still out in *blocks. */
static inline bool faults_end(long *blocks) {
	zbz_set_alloc(NULL, NULL);
	*blocks = faults.live;
	return faults.failed;
}

#endif
