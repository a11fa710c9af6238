/* What a log meets in the world: a disk that is really full, a pipe nobody reads, forks that end in _exit, two processes that rotate one file. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>

#include "who_lines.h"

static zbz_output *open_file(const char *path, const char *more) {
	char options[500];
	zbz_output *o = NULL;
	zbz_err err = { .text = "" };
	snprintf(options, sizeof options, "type=file path=%s max_retry_delay=20ms %s", path, more);
	if (log_open(options, &o, &err) == ZBZ_OK) return o;
	fprintf(stderr, "%s: %s\n", err.option, err.text);
	exit(1);
}

static char text[16 << 20];

static size_t read_all(const char *path, size_t at) {
	FILE *f = fopen(path, "r");
	size_t n = f != NULL ? fread(text + at, 1, sizeof text - 1 - at, f) : 0;
	if (f != NULL) fclose(f);
	text[at + n] = '\0';
	return at + n;
}

/* ---- a full disk ---- */

static bool small_disk(char dir[100]) {
	snprintf(dir, 100, "%s/disk", work);
	return mkdir(dir, 0755) == 0 && mount("none", dir, "tmpfs", 0, "size=256k") == 0;
}

/* Records, and how many are missing as the records among them say that tell of losses. */
static void count_losses(uint64_t *lines, uint64_t *losses) {
	char *rest = text, *line;
	*lines = *losses = 0;
	while ((line = strtok_r(rest, "\n", &rest)) != NULL) {
		unsigned long lost;
		if (sscanf(line, "zbz: %lu records dropped", &lost) == 1)
			*losses += lost;
		else
			++*lines;
	}
}

/* Nothing is lost while the ring holds; what it does not hold is counted; the error is told; it goes on by itself. */
static void disk_full(void) {
	char dir[100], path[140];
	zbz_output *o, *other;
	unsigned n = 0;
	uint64_t lines, told_of;
	struct stat st;
	if (!small_disk(dir)) {
		printf("SKIP disk_full: no file system can be mounted: %s\n", strerror(errno));
		return;
	}
	snprintf(path, sizeof path, "%s/beside.log", work);
	other = open_file(path, "");
	snprintf(path, sizeof path, "%s/a.log", dir);
	o = open_file(path, "ring_size=1MB block_for=1ms");
	for (; n < 8000; n++) CHECK(say_number(o, 0, n) && say_number(other, 0, n)); /* 550 KB */
	CHECK(flush(o, 100) == ZBZ_E_TIMEOUT);
	CHECK(flush(other, 5000) == ZBZ_OK);
	CHECK(numbers(o).failures > 0 && strstr(numbers(o).last_error, "No space left") != NULL &&
	      strstr(numbers(o).last_error, path) != NULL);
	CHECK(numbers(o).lag > 0 && numbers(o).retries > 0 && numbers(o).dropped_full == 0);
	CHECK(stat(path, &st) == 0 && st.st_size <= 256 << 10);
	CHECK(mount("none", dir, "tmpfs", MS_REMOUNT, "size=4m") == 0);
	CHECK(flush(o, 5000) == ZBZ_OK);
	read_all(path, 0);
	CHECK(lines_of(text, 1, n) == n);
	CHECK(numbers(o).failures == 0 && numbers(o).lag == 0 && numbers(o).written == n);
	/* more than the ring: what was dropped is what is missing, and a record tells of it */
	CHECK(truncate(path, 0) == 0 && mount("none", dir, "tmpfs", MS_REMOUNT, "size=64k") == 0);
	zbz_output_never_wait(o, true);
	for (unsigned i = 0; i < 40000; i++) say_number(o, 0, i);
	CHECK(numbers(o).dropped_full > 0);
	CHECK(mount("none", dir, "tmpfs", MS_REMOUNT, "size=8m") == 0);
	CHECK(flush(o, 5000) == ZBZ_OK);
	read_all(path, 0);
	count_losses(&lines, &told_of);
	CHECK(lines + numbers(o).dropped_full == 40000 && told_of == numbers(o).dropped_full);
	zbz_output_never_wait(o, false); /* or its writer closes the file a moment later */
	zbz_output_unref(o);
	zbz_output_unref(other);
	CHECK(umount(dir) == 0);
}

/* ---- a pipe ---- */

static void drain(int fd, size_t want) {
	size_t n = 0;
	while (n < want) {
		ssize_t got = read(fd, text + n, sizeof text - 1 - n);
		if (got <= 0 && errno != EAGAIN && errno != EINTR) break;
		if (got > 0) n += (size_t)got;
	}
	text[n] = '\0';
}

/* Nobody reads: callers and other outputs go on, records wait; a reader gets all of them, once. */
static void pipe_with(const char *options) {
	char path[140], beside[140];
	zbz_output *o, *other;
	const unsigned n = 10000;
	size_t bytes = 0;
	int64_t began;
	int fd;
	snprintf(path, sizeof path, "%s/pipe", work);
	snprintf(beside, sizeof beside, "%s/beside2.log", work);
	CHECK(mkfifo(path, 0600) == 0);
	o = open_file(path, options);
	other = open_file(beside, "");
	began = zbz_mono(zbz_clock_system());
	for (unsigned i = 0; i < n; i++) CHECK(say_number(o, 0, i) && say_number(other, 0, i));
	CHECK(flush(other, 5000) == ZBZ_OK);
	CHECK(zbz_mono(zbz_clock_system()) - began < 5000);
	bytes = read_all(beside, 0);
	CHECK(lines_of(text, 1, n) == n);
	CHECK(flush(o, 50) == ZBZ_E_TIMEOUT && numbers(o).dropped_full == 0 && numbers(o).failures > 0);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	CHECK(flush(o, 200) == ZBZ_E_TIMEOUT); /* a pipe holds 64 KB, the reader sleeps */
	CHECK(numbers(o).lag > 0);
	drain(fd, bytes);
	CHECK(lines_of(text, 1, n) == n); /* in spite of writes that were cut in the middle of a line */
	CHECK(flush(o, 5000) == ZBZ_OK && access(path, F_OK) == 0);
	zbz_output_unref(o);
	zbz_output_unref(other);
	close(fd);
	CHECK(unlink(path) == 0 && unlink(beside) == 0);
}

static void pipe_unread(void) {
	pipe_with("ring_size=2MB");
	pipe_with("ring_size=2MB rotate_size=4KB"); /* which means nothing to a pipe */
}

/* ---- several processes ---- */

/* A child that leaves by _exit without a flush; its records are the parent's to write. */
static void forked_and_left(void) {
	char path[140];
	zbz_output *o;
	snprintf(path, sizeof path, "%s/left.log", work);
	o = open_file(path, "");
	for (unsigned i = 0; i < 50; i++) CHECK(say_number(o, 0, i));
	for (unsigned child = 1; child <= 3; child++) {
		pid_t pid = fork();
		if (pid == 0) {
			bool ok = true;
			for (unsigned i = 0; i < 100; i++) ok = say_number(o, child, i) && ok;
			_exit(ok ? 0 : 1);
		}
		CHECK(say_number(o, 0, 49 + child));
		CHECK(exit_code(pid) == 0);
	}
	for (unsigned i = 53; i < 100; i++) CHECK(say_number(o, 0, i));
	zbz_output_unref(o);
	o = open_file(path, ""); /* looks for what is left */
	CHECK(flush(o, 5000) == ZBZ_OK);
	zbz_output_unref(o);
	read_all(path, 0);
	CHECK(lines_of(text, 4, 100) == 400);
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* All files of the directory into `text`, the former ones first. */
static size_t read_rotated(const char *dir, unsigned *files) {
	static char *names[2000];
	char path[400];
	size_t n = 0, at = 0;
	DIR *d = opendir(dir);
	const struct dirent *e;
	while (d != NULL && (e = readdir(d)) != NULL && n < 2000)
		if (e->d_name[0] != '.' && strcmp(e->d_name, "a.log") != 0) names[n++] = strdup(e->d_name);
	if (d != NULL) closedir(d);
	qsort(names, n, sizeof *names, by_name);
	for (size_t i = 0; i < n; i++) {
		struct stat st;
		snprintf(path, sizeof path, "%s/%s", dir, names[i]);
		CHECK(stat(path, &st) == 0 && st.st_size <= 16 << 10);
		at = read_all(path, at);
		free(names[i]);
	}
	snprintf(path, sizeof path, "%s/a.log", dir);
	*files = (unsigned)n + 1;
	return read_all(path, at);
}

/* One file, rotated by size while two write: no line lost, cut or out of its process's order; no file larger than it may be. */
static void two_rotate(void) {
	char dir[100], path[140];
	const unsigned n = 5000;
	unsigned files = 0;
	pid_t pids[2];
	snprintf(dir, sizeof dir, "%s/two", work);
	snprintf(path, sizeof path, "%s/a.log", dir);
	CHECK(mkdir(dir, 0755) == 0);
	for (unsigned who = 0; who < 2; who++) {
		pids[who] = fork();
		if (pids[who] == 0) {
			zbz_output *o = open_file(path, "rotate_size=16KB block_for=30s");
			bool ok = true;
			for (unsigned i = 0; i < n; i++) ok = say_number(o, who, i) && ok;
			ok = flush(o, 20000) == ZBZ_OK && ok;
			zbz_output_unref(o);
			_exit(ok ? 0 : 1);
		}
	}
	CHECK(exit_code(pids[0]) == 0 && exit_code(pids[1]) == 0);
	read_rotated(dir, &files);
	CHECK(lines_of(text, 2, n) == 2 * n);
	CHECK(files > 40);
}

int main(void) {
	if (!dirs_make()) return 1;
	RUN(disk_full);
	RUN(pipe_unread);
	RUN_IF(CHILD_THREADS, forked_and_left);
	RUN_IF(CHILD_THREADS, two_rotate);
	dirs_remove();
	return DONE();
}
