/* The file sink on real files: what it appends, and what others do to the file and its place meanwhile. */
#include "file_rig.h"

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
	pid_t pid = fork();
	if (pid == 0) {
		if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0)) _exit(9);
		check_failed = 0;
		body();
		_exit(check_failed > 0);
	}
	return exit_code(pid);
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

int main(void) {
	if (!rig_begin()) return 1;
	RUN(appended);
	RUN(one_file_many_names);
	RUN(moved_by_logrotate);
	RUN(emptied_in_place);
	RUN(directory_removed);
	RUN(replaced_by_a_directory);
	RUN(early);
	RUN_IF(CHILD_THREADS, permission_lost);
	rig_end();
	return DONE();
}
