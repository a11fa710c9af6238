/* What tests of spools share: numbered lines of 200 bytes, outputs that spool, what is on disk then, and waiting
 * for what the writer is on its way to. */
#ifndef SPEC_SPOOL_RIG_H
#define SPEC_SPOOL_RIG_H

#include "log_help.h"

enum { HUGE_N = 1000000 };

static char spool[128], line[1024];

static bool spool_rig_begin(void) {
	if (!dirs_make() || zbz_sink_register(&told_sink, NULL) != ZBZ_OK) return false;
	snprintf(spool, sizeof spool, "%s/spool", work);
	return mkdir(spool, 0700) == 0;
}

/* A line of 200 bytes with a number in it. */
static inline const char *numbered(int i) {
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

static inline int lines(void) { return (int)told_lines(); }

/* Small batches: what is on its way is in no ring, and so does not come into the spool. */
static inline zbz_output *spooling(const char *name, const char *more) {
	char options[600];
	snprintf(options, sizeof options,
	         "type=told name=%s ring_size=64KB max_retry_delay=5ms batch_size=4000B spool=%s %s", name, spool, more);
	return opened(options);
}

static inline void say_all(zbz_output *o, int from, int to) {
	int said = 0;
	for (int i = from; i < to; i++) said += say(o, numbered(i));
	CHECK(said == to - from);
}

/* The sink fails from now on: says the lines 0 .. n, of which more than `least` are on disk then. */
static inline void spool_down(zbz_output *o, int n, uint64_t least) {
	told_reset();
	told_set(&told.fail, HUGE_N);
	say_all(o, 0, n);
	AWAIT(numbers(o).spooled > least);
}

/* Exactly the lines from .. to, in their order. */
static inline bool told_numbers(int from, int to) {
	bool ok;
	pthread_mutex_lock(&told.lock);
	ok = told.n == (size_t)(to - from) * 200;
	for (int i = from; ok && i < to; i++) ok = memcmp(told.text + (size_t)(i - from) * 200, numbered(i), 200) == 0;
	pthread_mutex_unlock(&told.lock);
	return ok;
}

/* The numbered lines from 0 on, which is what it returns, and the notices of losses between them, which it adds up. */
static inline int told_with_notices(uint64_t *lost) {
	int next = 0;
	size_t at = 0;
	pthread_mutex_lock(&told.lock);
	while (at < told.n) {
		unsigned long long n;
		const char *end = memchr(told.text + at, '\n', told.n - at);
		if (sscanf(told.text + at, "zbz: %llu records", &n) == 1)
			*lost += n;
		else if (memcmp(told.text + at, numbered(next++), 200) != 0)
			next = -HUGE_N;
		at = end != NULL ? (size_t)(end - told.text) + 1 : told.n;
	}
	pthread_mutex_unlock(&told.lock);
	return next;
}

static inline const char *own_dir(void) { return output_dir(spool); }
static inline bool no_spool(void) { return own_dir()[0] == '\0'; }

/* The name of the first file in it that begins so. */
static inline const char *file_in(const char *start) {
	static char path[900];
	DIR *d = opendir(own_dir());
	const struct dirent *e;
	path[0] = '\0';
	while (d != NULL && (e = readdir(d)) != NULL)
		if (strncmp(e->d_name, start, strlen(start)) == 0) snprintf(path, sizeof path, "%s/%s", own_dir(), e->d_name);
	if (d != NULL) closedir(d);
	return path;
}

/* A child that leaves `n` records in the spool, the first one on its way. */
static inline void leave_spool(const char *name, int n) {
	pid_t pid = fork();
	if (pid == 0) {
		zbz_output *o;
		told_reset();
		told_set(&told.fail, HUGE_N);
		o = spooling(name, "linger=30ms batch_size=200B");
		say(o, numbered(0));
		told_await_calls(1);
		for (int i = 1; i < n; i++) say(o, numbered(i));
		zbz_output_unref(o);
		_exit(0);
	}
	CHECK(exit_code(pid) == 0);
	told_reset();
}

static inline off_t size_of(const char *path) {
	struct stat st;
	return stat(path, &st) == 0 ? st.st_size : -1;
}

#endif
