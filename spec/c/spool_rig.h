/* What tests of spools share: numbered lines of 200 bytes, outputs that must open, and waiting for what the writer is on its way to. */
#ifndef SPEC_SPOOL_RIG_H
#define SPEC_SPOOL_RIG_H

#include "log_help.h"

static char spool[128], line[1024];

/* A line of 200 bytes with a number in it. */
static const char *numbered(int i) {
	int n = snprintf(line, sizeof line, "%06d ", i);
	memset(line + n, 'x', (size_t)(199 - n));
	memcpy(line + 199, "\n", 2);
	return line;
}

/* Waits for what the numbers tell: the condition itself is the event. */
#define AWAIT(cond)                                                 \
	do {                                                            \
		struct timespec tick = { 0, 1000000 };                      \
		int turns_left = 10000;                                     \
		while (!(cond) && turns_left-- > 0) nanosleep(&tick, NULL); \
		CHECK(cond);                                                \
	} while (0)

static int lines(void) { return (int)told_lines(); }

#endif
