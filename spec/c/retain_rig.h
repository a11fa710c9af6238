/* What tests of retention share: a storage output over a directory whose listings and removals fail when told to, a clock that goes ahead, and what is
 * there then. */
#ifndef SPEC_RETAIN_RIG_H
#define SPEC_RETAIN_RIG_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>

#include <zbz/bucket.h>

#include "storage_rig.h"

/* ---- the bucket's directory, with faults ---- */

static _Atomic int listings, removals, list_error, remove_error;
static char undeletable[200];

ZBZ_API DIR *opendir(const char *path) {
	size_t n = strlen(base);
	int fd;
	if (n > 0 && strncmp(path, base, n) == 0 && strcmp(path + n, "/") == 0) {
		listings++;
		errno = list_error;
		if (list_error != 0) return NULL;
	}
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? NULL : fdopendir(fd);
}

ZBZ_API int unlink(const char *path) {
	size_t n = strlen(base);
	if (n > 0 && strncmp(path, base, n) == 0 && strstr(path, ".zbz-new.") == NULL) {
		removals++;
		errno = remove_error;
		if (remove_error != 0) return -1;
		errno = EPERM;
		if (undeletable[0] != '\0' && strstr(path, undeletable) != NULL) return -1;
	}
	return unlinkat(AT_FDCWD, path, 0);
}

/* The system's, so much later. */
static _Atomic int64_t later;
static int64_t wall_later(void *ud) { return zbz_wall(zbz_clock_system()) + later; }
static int64_t mono_now(void *ud) { return zbz_mono(zbz_clock_system()); }
static const zbz_clock clock_later = { .wall_ms = wall_later, .mono_ms = mono_now };

/* ---- the output ---- */

static inline void begin_at(const char *name) {
	use_base(name);
	storage_clock = &clock_later;
	listings = removals = list_error = remove_error = 0;
	undeletable[0] = '\0';
	later = 0;
}

/* Each write is a batch. */
static inline zbz_output *keeping(const char *more) {
	char options[300];
	snprintf(options, sizeof options, "batch_wait=0s %s", more);
	return storing(options);
}

/* One object. */
static inline void write_one(zbz_output *o, int i) {
	snprintf(line, sizeof line, "%06d\n", i);
	CHECK(say(o, line) && flush(o, 20000) == ZBZ_OK);
}

static inline int shell(const char *what) {
	char cmd[1000];
	snprintf(cmd, sizeof cmd, "mkdir -p '%s' && cd '%s' && %s", base, base, what);
	return system(cmd);
}

static inline const char *answer(const char *what) {
	static char text[1 << 16];
	char cmd[1000];
	FILE *p;
	size_t n;
	snprintf(cmd, sizeof cmd, "cd '%s' 2>/dev/null && %s", base, what);
	p = popen(cmd, "r");
	n = p != NULL ? fread(text, 1, sizeof text - 1, p) : 0;
	if (p != NULL) pclose(p);
	text[n] = '\0';
	return text;
}

static int objects(void) { return atoi(answer("find . -name '*.log' -o -name '*.log.gz' | wc -l")); }

/* The lines of all objects, in the order of their names, are those from..to-1. */
static inline bool holds(int from, int to) {
	const char *text = answer("find . -name '*.log' | sort | xargs -r cat");
	for (int i = from; i < to; i++, text += 7) {
		snprintf(line, sizeof line, "%06d\n", i);
		if (strncmp(text, line, 7) == 0) continue;
		fprintf(stderr, "%s: expected %.6s, found %.20s\n", check_name, line, text);
		return false;
	}
	return *text == '\0';
}

/* Of an object that another writer made, long ago. */
#define WHEN  "20200101T000000.000Z"
#define WHOSE "0123456789abcdef"

#endif
