/* Frame of the fuzz targets. A target is one file fuzz_NAME.c with LLVMFuzzerTestOneInput; fuzz.mk builds and runs
 * every one it finds, starting from corpus/NAME. One that includes fuzz_lua.h is built for each Lua. */
#ifndef SPEC_FUZZ_H
#define SPEC_FUZZ_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <zbz/zbz.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define HOLDS(cond)                                                                   \
	do {                                                                              \
		if (!(cond)) {                                                                \
			fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #cond); \
			abort();                                                                  \
		}                                                                             \
	} while (0)

/* An allocator that fails once, at the n-th request from now; 0: never. */
static unsigned long fuzz_countdown;

static inline void *fuzz_alloc(void *ud, void *ptr, size_t size) {
	(void)ud;
	if (size == 0) {
		free(ptr);
		return NULL;
	}
	if (fuzz_countdown != 0 && --fuzz_countdown == 0) return NULL;
	return realloc(ptr, size);
}

#endif
