/* The file sink when a write ends in the middle of a record: who goes on, and where the rest goes. */
#include "file_rig.h"

#include <signal.h>
#include <sys/resource.h>

static char long_text[256];

/* Ten long lines with their numbers; how many were taken? */
static int say_ten(log *l) {
	char line[300];
	int said = 0;
	for (int i = 0; i < 10; i++) {
		snprintf(line, sizeof line, "%d %.*s\n", i, 250, long_text);
		said += say(l->o, line);
	}
	return said;
}

/* Reads on in the ten, from the *n-th as far as the text goes; what comes behind it. */
static const char *read_ten(const char *text, size_t *n) {
	char line[300];
	for (; *text != '\0' && *n < 10; ++*n) {
		size_t len = (size_t)snprintf(line, sizeof line, "%zu %.*s\n", *n, 250, long_text);
		CHECK(strncmp(text, line, len) == 0);
		text += strlen(text) < len ? strlen(text) : len;
	}
	return text;
}

/* In their middle no more fits, as on a full disk; no_more: for good. */
static void limit_files(bool no_more) {
	const struct rlimit tight = { 1000, no_more ? 1000 : RLIM_INFINITY };
	signal(SIGXFSZ, SIG_IGN);
	CHECK(setrlimit(RLIMIT_FSIZE, &tight) == 0);
}

/* The start and the ten, whole and once; what comes behind them. */
static const char *start_and_ten(const char *text) {
	size_t n = 0;
	CHECK(strncmp(text, "start\n", 6) == 0);
	text = read_ten(text + 6, &n);
	CHECK(n == 10);
	return text;
}

/* What root has opened early its children write as somebody else, in a directory that is not theirs: also the rest of a batch
 * whose writer has died in the middle of a record. */
static int child_of_root(log *l, int (*body)(log *l)) {
	pid_t pid = fork();
	if (pid == 0) {
		if (setgid(65534) != 0 || setuid(65534) != 0) _exit(9);
		_exit(body(l));
	}
	return exit_code(pid);
}

static int dies_in_a_record(log *l) {
	if (!say(l->o, "start\n") || flush(l->o, 5000) != ZBZ_OK) return 1;
	limit_files(true);
	say_ten(l);
	return flush(l->o, 100) == ZBZ_E_TIMEOUT ? 0 : 2;
}

static int ends_it(log *l) { return say(l->o, "end\n") && flush(l->o, 5000) == ZBZ_OK ? 0 : 1; }

static int refused_without(log *l) {
	say(l->o, "never\n");
	return flush(l->o, 50) == ZBZ_E_TIMEOUT && numbers(l->o).failures > 0 &&
	               strstr(numbers(l->o).last_error, "opening") != NULL
	           ? 0
	           : 1;
}

static void kept_for_others(void) {
	log l, without;
	if (geteuid() != 0) {
		printf("SKIP kept_for_others: only root can become somebody else\n");
		return;
	}
	CHECK(chmod(work, 0755) == 0 && chmod(rings, 01777) == 0);
	open_log(&without, "refused", "");
	CHECK(child_of_root(&without, refused_without) == 0);
	zbz_output_unref(without.o);
	open_log(&l, "kept", "early=true ring_size=64KB linger=0");
	CHECK(access(l.path, F_OK) == 0);
	CHECK(child_of_root(&l, dies_in_a_record) == 0);
	CHECK(strlen(slurp(l.path)) == 1000);
	CHECK(child_of_root(&l, ends_it) == 0);
	CHECK_STR(start_and_ten(slurp(l.path)), "end\n");
	zbz_output_unref(l.o);
}

/* A limit on the file's size stands for the full disk: a write that ends in the middle of a record, and an error after it. */
static void full_body(void) {
	log l;
	const struct rlimit wide = { RLIM_INFINITY, RLIM_INFINITY };
	open_log(&l, "full", "ring_size=64KB"); /* the ring's file is made before the limit */
	write_line(&l, "start\n");
	limit_files(false);
	CHECK(say_ten(&l) == 10);
	CHECK(flush(l.o, 100) == ZBZ_E_TIMEOUT);
	CHECK(numbers(l.o).retries > 0);
	CHECK(strlen(slurp(l.path)) == 1000);
	CHECK(setrlimit(RLIMIT_FSIZE, &wide) == 0);
	CHECK(flush(l.o, 5000) == ZBZ_OK);
	CHECK_STR(start_and_ten(slurp(l.path)), "");
	CHECK(numbers(l.o).written == 11);
	zbz_output_unref(l.o);
}

static void disk_full(void) {
	pid_t pid = fork();
	if (pid == 0) {
		check_failed = 0;
		full_body();
		_exit(check_failed > 0);
	}
	CHECK(exit_code(pid) == 0);
}

/* ---- a batch that a dead writer has begun ---- */

/* Dies in the middle of a record; meanwhile somebody rotates; the rest goes where its beginning is. */
static void begun_and_rotated(void) {
	log l;
	char to[160];
	pid_t pid;
	size_t n = 0;
	const char *text;
	zbz_config *cfg;
	char options[300];
	zbz_call c = log_call(5000);
	uint64_t found = 0;
	snprintf(l.dir, sizeof l.dir, "%s/begun", work);
	snprintf(l.path, sizeof l.path, "%s/a.log", l.dir);
	snprintf(to, sizeof to, "%s.1", l.path);
	CHECK(mkdir(l.dir, 0755) == 0);
	pid = fork();
	if (pid == 0) {
		if (try_open(&l, zbz_clock_system(), "ring_size=64KB", NULL) != ZBZ_OK) _exit(1);
		say(l.o, "start\n");
		flush(l.o, 5000);
		limit_files(true);
		say_ten(&l);
		flush(l.o, 100);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	CHECK(strlen(slurp(l.path)) == 1000);
	CHECK(rename(l.path, to) == 0);
	snprintf(options, sizeof options, "type=file path=%s", l.path);
	cfg = log_config(options);
	CHECK(zbz_output_recover(cfg, &c, &found) == ZBZ_OK);
	CHECK(found >= 7);
	text = slurp(to);
	CHECK(strncmp(text, "start\n", 6) == 0);
	read_ten(text + 6, &n);
	CHECK(n > 3); /* at least the record that was torn; what had not begun may be in the new file */
	read_ten(slurp(l.path), &n);
	CHECK(n == 10);
	zbz_config_free(cfg);
}

int main(void) {
	if (!rig_begin()) return 1;
	memset(long_text, 'y', sizeof long_text - 1);
	RUN_IF(CHILD_THREADS, kept_for_others);
	RUN_IF(CHILD_THREADS, disk_full);
	RUN_IF(CHILD_THREADS, begun_and_rotated);
	rig_end();
	return DONE();
}
