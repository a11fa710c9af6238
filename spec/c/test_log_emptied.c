/* A full disk, and somebody who empties the log file while a write waits in the middle of a record: each whole record is in what he has
 * taken away or in what follows, never in both. */
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>

#include "log_help.h"

enum { RECORDS = 40, WIDE = 250 };

static char line[WIDE + 8], taken[1 << 16];
static size_t taken_n;

static const char *line_of(int i) {
	memset(line, 'y', WIDE);
	snprintf(line, 6, "%05d", i);
	line[5] = ' ';
	memcpy(line + WIDE, "\n", 2);
	return line;
}

/* As copytruncate does; a cut record at the end of the copy gets its own line. */
static void take_away(const char *path) {
	int fd = open(path, O_RDWR);
	ssize_t n = fd >= 0 ? read(fd, taken + taken_n, sizeof taken - 1 - taken_n) : -1;
	CHECK(n >= 0 && ftruncate(fd, 0) == 0);
	if (n > 0) taken_n += (size_t)n;
	if (n > 0 && taken[taken_n - 1] != '\n') taken[taken_n++] = '\n';
	taken[taken_n] = '\0';
	close(fd);
}

static int times(int i) {
	int found = 0;
	for (const char *at = taken; (at = strstr(at, line_of(i))) != NULL; at++) found++;
	return found;
}

static void await_retries(zbz_output *o, uint64_t n) {
	int tries = 0;
	while (numbers(o).retries < n && tries++ < 2000) flush(o, 5);
	CHECK(numbers(o).retries >= n);
}

static void body(void) {
	const struct rlimit tight = { 1000, RLIM_INFINITY }, wide = { RLIM_INFINITY, RLIM_INFINITY };
	char options[300], path[100];
	zbz_output *o;
	zbz_err err;
	signal(SIGXFSZ, SIG_IGN);
	snprintf(path, sizeof path, "%s/a.log", work);
	snprintf(options, sizeof options, "type=file path=%s max_retry_delay=20ms ring_size=64KB", path);
	CHECK(log_open(options, &o, &err) == ZBZ_OK);
	CHECK(say(o, line_of(0)) && flush(o, 5000) == ZBZ_OK); /* the ring's file is made before the limit */
	CHECK(setrlimit(RLIMIT_FSIZE, &tight) == 0);
	for (int i = 1; i < RECORDS; i++) CHECK(say(o, line_of(i)));
	for (int round = 0; round < 4; round++) {
		await_retries(o, numbers(o).retries + 2); /* it stands in the middle of a record */
		take_away(path);
	}
	CHECK(setrlimit(RLIMIT_FSIZE, &wide) == 0);
	CHECK(flush(o, 5000) == ZBZ_OK);
	take_away(path);
	for (int i = 0; i < RECORDS; i++) CHECK(times(i) == 1);
	CHECK(numbers(o).written == RECORDS);
	zbz_output_unref(o);
}

static void emptied_when_full(void) {
	int status = -1;
	pid_t pid = fork();
	if (pid == 0) {
		check_failed = 0;
		body();
		_exit(check_failed > 0);
	}
	waitpid(pid, &status, 0);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(void) {
	if (!dirs_make()) return 1;
	RUN_IF(CHILD_THREADS, emptied_when_full);
	dirs_remove();
	return DONE();
}
