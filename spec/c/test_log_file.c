/* The file sink on real files: rotation, logrotate, and what others do to a file while it is written. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>

#include "log_help.h"

static zbz_clock *fake;
static char long_text[256];

typedef struct log {
	char dir[100], path[140];
	zbz_output *o;
} log;

static zbz_status try_open(log *l, const zbz_clock *clock, const char *more, zbz_err *err) {
	char options[500];
	zbz_config *cfg;
	zbz_status status;
	snprintf(options, sizeof options, "type=file path=%s max_retry_delay=20ms %s", l->path, more);
	cfg = log_config(options);
	l->o = NULL;
	status = zbz_output_open(cfg, clock, &l->o, err);
	zbz_config_free(cfg);
	return status;
}

static void open_log(log *l, const char *name, const char *more) {
	zbz_err err = { .text = "" };
	snprintf(l->dir, sizeof l->dir, "%s/%s", work, name);
	snprintf(l->path, sizeof l->path, "%s/a.log", l->dir);
	if (mkdir(l->dir, 0755) != 0 && errno != EEXIST) exit(1);
	if (try_open(l, strstr(more, "rotate") != NULL ? fake : zbz_clock_system(), more, &err) == ZBZ_OK) return;
	fprintf(stderr, "%s: %s\n", err.option, err.text);
	exit(1);
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* The names beside the file, sorted, with spaces between. */
static const char *others(const log *l) {
	static char text[2000];
	char *names[64];
	size_t n = 0;
	DIR *d = opendir(l->dir);
	const struct dirent *e;
	while (d != NULL && (e = readdir(d)) != NULL && n < 64)
		if (e->d_name[0] != '.' && strcmp(e->d_name, "a.log") != 0) names[n++] = strdup(e->d_name);
	if (d != NULL) closedir(d);
	qsort(names, n, sizeof *names, by_name);
	text[0] = '\0';
	for (size_t i = 0; i < n; i++) {
		snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s", i > 0 ? " " : "", names[i]);
		free(names[i]);
	}
	return text;
}

static void write_line(log *l, const char *line) {
	CHECK(say(l->o, line));
	CHECK(flush(l->o, 5000) == ZBZ_OK);
}

/* ---- a plain file ---- */

static void appended(void) {
	log l;
	struct stat st;
	open_log(&l, "plain", "mode=0600");
	CHECK(stat(l.path, &st) != 0); /* nothing before the first record */
	write_line(&l, "one\n");
	CHECK(stat(l.path, &st) == 0 && (st.st_mode & 0777) == 0600);
	zbz_output_unref(l.o);
	open_log(&l, "plain", "sync=group");
	write_line(&l, "two\n");
	CHECK(numbers(l.o).syncs == 1);
	CHECK_STR(slurp(l.path), "one\ntwo\n");
	zbz_output_unref(l.o);
}

/* A link to the directory, a link to the file: the same output. */
static void one_file_many_names(void) {
	log l, m;
	char target[160];
	open_log(&l, "names", "");
	write_line(&l, "a\n");
	snprintf(m.dir, sizeof m.dir, "%s/link", work);
	snprintf(m.path, sizeof m.path, "%s/b.log", m.dir);
	snprintf(target, sizeof target, "%s/b.log", l.dir);
	CHECK(symlink(l.dir, m.dir) == 0 && symlink("a.log", target) == 0);
	CHECK(try_open(&m, zbz_clock_system(), "", NULL) == ZBZ_OK);
	write_line(&m, "b\n");
	CHECK(numbers(m.o).records == 2); /* one ring for both */
	CHECK_STR(slurp(l.path), "a\nb\n");
	zbz_output_unref(l.o);
	zbz_output_unref(m.o);
}

/* ---- rotation ---- */

static void by_size(void) {
	log l;
	open_log(&l, "size", "rotate_size=10B keep=2");
	say(l.o, "111\n");
	say(l.o, "222\n");
	say(l.o, "333\n");
	say(l.o, "444\n");
	CHECK(flush(l.o, 5000) == ZBZ_OK);
	CHECK_STR(others(&l), "a.log.20231114-221320");
	CHECK_STR(slurp(l.path), "333\n444\n"); /* whole records, and no file beyond the limit */
	zbz_clock_fake_advance(fake, 1000);
	write_line(&l, "555\n");
	write_line(&l, "a record beyond the limit\n");
	write_line(&l, "666\n");
	CHECK_STR(others(&l), "a.log.20231114-221321.001 a.log.20231114-221321.002");
	CHECK_STR(slurp(l.path), "666\n");
	zbz_output_unref(l.o);
}

static void by_time(void) {
	log l;
	open_log(&l, "time", "rotate_every=1h keep_for=2h");
	write_line(&l, "1\n");
	zbz_clock_fake_advance(fake, 3600000);
	write_line(&l, "2\n");
	zbz_clock_fake_advance(fake, 1000);
	write_line(&l, "3\n");
	CHECK_STR(slurp(l.path), "2\n3\n");
	CHECK(strlen(others(&l)) == strlen("a.log.20231114-221320"));
	zbz_output_unref(l.o);
}

/* Former files go by their own age, strangers stay. */
static void old_ones_go(void) {
	log l;
	char path[240];
	const char *names[] = { "a.log.20200101-000000", "a.log.20200102-000000.gz", "a.log.20200101-000000.bak", "a.log.x",
		                    "b.log.20200101-000000" };
	open_log(&l, "old", "rotate_size=1B keep=1");
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		snprintf(path, sizeof path, "%s/%s", l.dir, names[i]);
		CHECK(close(open(path, O_WRONLY | O_CREAT, 0644)) == 0);
	}
	write_line(&l, "1\n");
	write_line(&l, "2\n");
	CHECK(strstr(others(&l), "a.log.20200101-000000 ") == NULL && strstr(others(&l), ".gz") == NULL);
	CHECK(strstr(others(&l), "a.log.20200101-000000.bak") != NULL && strstr(others(&l), "a.log.x") != NULL);
	CHECK(strstr(others(&l), "b.log.20200101-000000") != NULL && strstr(others(&l), "a.log.2023") != NULL);
	zbz_output_unref(l.o);
}

static bool packed_is(const log *l, const char *name, const char *expect) {
	char cmd[300], text[1000] = "";
	FILE *f;
	snprintf(cmd, sizeof cmd, "gzip -dc '%s/%s'", l->dir, name);
	f = popen(cmd, "r");
	if (f == NULL) return false;
	if (fread(text, 1, sizeof text - 1, f) == 0) return false;
	return pclose(f) == 0 && strcmp(text, expect) == 0;
}

/* Until the former files have the names that are expected. */
static bool await_others(const log *l, const char *expect) {
	zbz_call c = log_call(10000);
	while (strcmp(others(l), expect) != 0 && zbz_call_left(&c) > 0) sched_yield();
	return strcmp(others(l), expect) == 0;
}

static void packed(void) {
	log l;
	char path[240];
	FILE *f;
	zbz_err err;
	open_log(&l, "packed", "rotate_size=10B compress=gzip");
	snprintf(path, sizeof path, "%s.20200101-000000", l.path); /* left by a process that died */
	f = fopen(path, "w");
	CHECK(f != NULL && fputs("old\n", f) >= 0 && fclose(f) == 0);
	write_line(&l, "1111\n");
	CHECK(await_others(&l, "a.log.20200101-000000.gz"));
	CHECK(packed_is(&l, "a.log.20200101-000000.gz", "old\n"));
	write_line(&l, "2222\n");
	write_line(&l, "3333\n");
	CHECK(await_others(&l, "a.log.20200101-000000.gz a.log.20231114-231322.gz"));
	CHECK(packed_is(&l, "a.log.20231114-231322.gz", "1111\n2222\n"));
	write_line(&l, "4444\n");
	write_line(&l, "5555\n"); /* in the same second, and the name is taken by a packed one */
	CHECK(await_others(&l, "a.log.20200101-000000.gz a.log.20231114-231322.001.gz a.log.20231114-231322.gz"));
	CHECK_STR(slurp(l.path), "5555\n");
	zbz_output_unref(l.o);
	open_log(&l, "packed", "rotate_size=10B keep=2"); /* the first of a second goes before its second, packed or not */
	write_line(&l, "6666666\n");
	CHECK_STR(others(&l), "a.log.20231114-231322.001.gz a.log.20231114-231322.002");
	zbz_output_unref(l.o);
	CHECK(try_open(&l, fake, "compress=lz4", &err) == ZBZ_E_CONFIG);
	CHECK_STR(err.option, "compress");
}

/* ---- what others do ---- */

static void moved_by_logrotate(void) {
	log l;
	char to[160];
	zbz_call c = log_call(5000);
	open_log(&l, "moved", "");
	snprintf(to, sizeof to, "%s.1", l.path);
	write_line(&l, "1\n");
	CHECK(rename(l.path, to) == 0);
	write_line(&l, "2\n"); /* seen without being told */
	CHECK_STR(slurp(to), "1\n");
	CHECK_STR(slurp(l.path), "2\n");
	CHECK(rename(l.path, to) == 0);
	CHECK(zbz_output_reopen(l.o, &c) == ZBZ_OK);
	CHECK_STR(slurp(l.path), ""); /* there at once */
	CHECK(access(l.path, F_OK) == 0);
	zbz_output_unref(l.o);
}

static void emptied_in_place(void) {
	log l;
	open_log(&l, "emptied", "");
	write_line(&l, "1\n");
	CHECK(truncate(l.path, 0) == 0);
	write_line(&l, "2\n");
	CHECK_STR(slurp(l.path), "2\n");
	zbz_output_unref(l.o);
}

static void directory_removed(void) {
	log l;
	open_log(&l, "removed", "");
	write_line(&l, "1\n");
	CHECK(unlink(l.path) == 0 && rmdir(l.dir) == 0);
	write_line(&l, "2\n"); /* made anew */
	CHECK_STR(slurp(l.path), "2\n");
	zbz_output_unref(l.o);
}

/* Something stands in the way: nothing is lost while the ring holds. */
static void replaced_by_a_directory(void) {
	log l;
	open_log(&l, "replaced", "");
	write_line(&l, "1\n");
	CHECK(unlink(l.path) == 0 && mkdir(l.path, 0755) == 0);
	CHECK(say(l.o, "2\n"));
	CHECK(flush(l.o, 50) == ZBZ_E_TIMEOUT);
	CHECK(numbers(l.o).retries > 0 && numbers(l.o).dead_letters == 0);
	CHECK(say(l.o, "3\n"));
	CHECK(rmdir(l.path) == 0);
	CHECK(flush(l.o, 5000) == ZBZ_OK);
	CHECK_STR(slurp(l.path), "2\n3\n");
	zbz_output_unref(l.o);
}

/* Root may write anywhere, so the child that loses its right is somebody else. */
static int as_nobody(void (*body)(void)) {
	int status = -1;
	pid_t pid = fork();
	if (pid == 0) {
		if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0)) _exit(9);
		check_failed = 0;
		body();
		_exit(check_failed > 0);
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void permission_lost_body(void) {
	log l;
	char own[64] = "/tmp/zbz-test-XXXXXX", cmd[200];
	zbz_err err;
	if (mkdtemp(own) == NULL) _exit(8);
	snprintf(rings, sizeof rings, "%s", own);
	snprintf(l.dir, sizeof l.dir, "%s/logs", own);
	snprintf(l.path, sizeof l.path, "%s/a.log", l.dir);
	CHECK(mkdir(l.dir, 0755) == 0);
	CHECK(try_open(&l, zbz_clock_system(), "", &err) == ZBZ_OK);
	write_line(&l, "1\n");
	CHECK(unlink(l.path) == 0 && chmod(l.dir, 0500) == 0);
	CHECK(say(l.o, "2\n"));
	CHECK(flush(l.o, 50) == ZBZ_E_TIMEOUT);
	CHECK(chmod(l.dir, 0700) == 0);
	CHECK(flush(l.o, 5000) == ZBZ_OK);
	CHECK_STR(slurp(l.path), "2\n");
	zbz_output_unref(l.o);
	CHECK(chmod(l.dir, 0500) == 0 && chmod(l.path, 0400) == 0);
	CHECK(try_open(&l, zbz_clock_system(), "", &err) == ZBZ_E_CONFIG);
	CHECK_STR(err.option, "path");
	chmod(l.dir, 0700);
	snprintf(cmd, sizeof cmd, "rm -rf '%s'", own);
	CHECK(system(cmd) == 0);
}

static void permission_lost(void) { CHECK(as_nobody(permission_lost_body) == 0); }

/* What root has opened early its children write as somebody else, in a directory that is not theirs: also the rest of a batch
 * whose writer has died in the middle of a record. */
static int child_of_root(log *l, int (*body)(log *l)) {
	int status = -1;
	pid_t pid = fork();
	if (pid == 0) {
		if (setgid(65534) != 0 || setuid(65534) != 0) _exit(9);
		_exit(body(l));
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int dies_in_a_record(log *l) {
	const struct rlimit tight = { 1000, 1000 };
	char line[300];
	signal(SIGXFSZ, SIG_IGN);
	if (!say(l->o, "start\n") || flush(l->o, 5000) != ZBZ_OK) return 1;
	setrlimit(RLIMIT_FSIZE, &tight);
	for (int i = 0; i < 10; i++) {
		snprintf(line, sizeof line, "%d %.*s\n", i, 250, long_text);
		say(l->o, line);
	}
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
	char line[300];
	const char *text;
	int bad = 0;
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
	text = slurp(l.path);
	bad += strncmp(text, "start\n", 6) != 0;
	text += 6;
	for (int i = 0; i < 10; i++) {
		size_t n = (size_t)snprintf(line, sizeof line, "%d %.*s\n", i, 250, long_text);
		bad += strncmp(text, line, n) != 0;
		text += n;
	}
	CHECK(bad == 0);
	CHECK_STR(text, "end\n");
	zbz_output_unref(l.o);
}

/* Every step of it, with and without its kept file. */
static void early(void) {
	log l;
	zbz_err err;
	char to[160];
	struct stat st;
	int before, after;
	open_log(&l, "early", "early=true mode=0600");
	CHECK(stat(l.path, &st) == 0 && (st.st_mode & 0777) == 0600 && st.st_size == 0);
	snprintf(to, sizeof to, "%s.1", l.path);
	write_line(&l, "1\n");
	CHECK(rename(l.path, to) == 0);
	write_line(&l, "2\n"); /* who may, follows the path */
	CHECK_STR(slurp(l.path), "2\n");
	zbz_output_unref(l.o);
	before = dup(0);
	close(before);
	for (int i = 0; i < 3; i++) {
		CHECK(try_open(&l, zbz_clock_system(), "early=true", &err) == ZBZ_OK);
		zbz_output_unref(l.o);
	}
	after = dup(0);
	close(after);
	CHECK(before == after);
	CHECK(unlink(l.path) == 0 && mkfifo(l.path, 0600) == 0);
	CHECK(try_open(&l, zbz_clock_system(), "early=true", &err) == ZBZ_OK); /* a pipe that nobody reads yet */
	zbz_output_unref(l.o);
}

/* A limit on the file's size stands for the full disk: a write that ends in the middle of a record, and an error after it. */
static void full_body(void) {
	log l;
	char line[300];
	const struct rlimit tight = { 1000, RLIM_INFINITY }, wide = { RLIM_INFINITY, RLIM_INFINITY };
	const char *text;
	int bad = 0;
	signal(SIGXFSZ, SIG_IGN);
	open_log(&l, "full", "ring_size=64KB"); /* the ring's file is made before the limit */
	write_line(&l, "start\n");
	CHECK(setrlimit(RLIMIT_FSIZE, &tight) == 0);
	for (int i = 0; i < 10; i++) {
		snprintf(line, sizeof line, "%d %.*s\n", i, 250, long_text);
		CHECK(say(l.o, line));
	}
	CHECK(flush(l.o, 100) == ZBZ_E_TIMEOUT);
	CHECK(numbers(l.o).retries > 0);
	CHECK(strlen(slurp(l.path)) == 1000);
	CHECK(setrlimit(RLIMIT_FSIZE, &wide) == 0);
	CHECK(flush(l.o, 5000) == ZBZ_OK);
	text = slurp(l.path);
	bad += strncmp(text, "start\n", 6) != 0;
	text += 6;
	for (int i = 0; i < 10; i++) {
		size_t n = (size_t)snprintf(line, sizeof line, "%d %.*s\n", i, 250, long_text);
		bad += strncmp(text, line, n) != 0;
		text += n;
	}
	CHECK(bad == 0 && *text == '\0'); /* whole, once */
	CHECK(numbers(l.o).written == 11);
	zbz_output_unref(l.o);
}

static void disk_full(void) {
	int status = -1;
	pid_t pid = fork();
	if (pid == 0) {
		check_failed = 0;
		full_body();
		_exit(check_failed > 0);
	}
	waitpid(pid, &status, 0);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* ---- a batch that a dead writer has begun ---- */

/* Dies in the middle of a record; meanwhile somebody rotates; the rest goes where its beginning is. */
static void begun_and_rotated(void) {
	log l;
	char line[300], to[160];
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
		const struct rlimit tight = { 1000, 1000 };
		signal(SIGXFSZ, SIG_IGN);
		if (try_open(&l, zbz_clock_system(), "ring_size=64KB", NULL) != ZBZ_OK) _exit(1);
		say(l.o, "start\n");
		flush(l.o, 5000);
		setrlimit(RLIMIT_FSIZE, &tight);
		for (int i = 0; i < 10; i++) {
			snprintf(line, sizeof line, "%d %.*s\n", i, 250, long_text);
			say(l.o, line);
		}
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
	for (text += 6; *text != '\0' && n < 10; n++) {
		size_t len = (size_t)snprintf(line, sizeof line, "%zu %.*s\n", n, 250, long_text);
		CHECK(strncmp(text, line, len) == 0);
		text += strlen(text) < len ? strlen(text) : len;
	}
	CHECK(n > 3); /* at least the record that was torn; what had not begun may be in the new file */
	for (text = slurp(l.path); *text != '\0' && n < 10; n++) {
		size_t len = (size_t)snprintf(line, sizeof line, "%zu %.*s\n", n, 250, long_text);
		CHECK(strncmp(text, line, len) == 0);
		text += strlen(text) < len ? strlen(text) : len;
	}
	CHECK(n == 10);
	zbz_config_free(cfg);
}

int main(void) {
	fake = zbz_clock_fake_new(INT64_C(1700000000000));
	if (!dirs_make() || fake == NULL) return 1;
	memset(long_text, 'y', sizeof long_text - 1);
	RUN(appended);
	RUN(one_file_many_names);
	RUN(by_size);
	RUN(by_time);
	RUN(old_ones_go);
	RUN(packed);
	RUN(moved_by_logrotate);
	RUN(emptied_in_place);
	RUN(directory_removed);
	RUN(replaced_by_a_directory);
	RUN(early);
	if (CHILD_THREADS) {
		RUN(permission_lost);
		RUN(kept_for_others);
		RUN(disk_full);
		RUN(begun_and_rotated);
	}
	zbz_clock_fake_free(fake);
	dirs_remove();
	return DONE();
}
