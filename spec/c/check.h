/* The whole test framework of the C programs: CHECK counts, RUN names, DONE reports in the suite's closing form. */
#ifndef SPEC_CHECK_H
#define SPEC_CHECK_H

#include <stdio.h>
#include <string.h>

/* Under a sanitizer everything takes several times as long, and under ThreadSanitizer, which has nothing to say where there is one thread, most. */
#if defined(__SANITIZE_THREAD__)
enum { THREAD_SANITIZED = 1 };
#else
enum { THREAD_SANITIZED = 0 };
#endif
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

static int check_passed, check_failed, check_skipped;
static const char *check_name = "";

#define CHECK(cond)                                                                            \
	do {                                                                                       \
		if (cond) {                                                                            \
			check_passed++;                                                                    \
		} else {                                                                               \
			check_failed++;                                                                    \
			fprintf(stderr, "%s:%d: %s: failed: %s\n", __FILE__, __LINE__, check_name, #cond); \
		}                                                                                      \
	} while (0)
#define CHECK_STR(a, b) CHECK(strcmp((a), (b)) == 0)
#define RUN(fn)           \
	do {                  \
		check_name = #fn; \
		fn();             \
	} while (0)

/* What cannot be run in this build counts as skipped. */
#define RUN_IF(can, fn)                                                  \
	do {                                                                 \
		if (can)                                                         \
			RUN(fn);                                                     \
		else {                                                           \
			check_skipped++;                                             \
			fprintf(stderr, "skipped: %s, for want of %s\n", #fn, #can); \
		}                                                                \
	} while (0)
#define DONE() \
	(printf("%d passed, %d failed, %d skipped\n", check_passed, check_failed, check_skipped), check_failed != 0)

#endif
