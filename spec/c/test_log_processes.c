/* An output in several processes: forks, places taken over, records that the dead have left. */
#include "log_help.h"

#include <signal.h>

/* The child has a ring of its own, the parent's stays the parent's. */
static void forked(void) {
	char options[200], path[120];
	zbz_output *o;
	pid_t pid;
	snprintf(path, sizeof path, "%s/fork.log", work);
	snprintf(options, sizeof options, "type=file path=%s", path);
	o = opened(options);
	CHECK(say(o, "parent 1\n"));
	CHECK(flush(o, 5000) == ZBZ_OK);
	pid = fork();
	if (pid == 0) {
		bool ok = say(o, "child 1\n") && flush(o, 5000) == ZBZ_OK && numbers(o).records == 1 && !numbers(o).writer;
		zbz_output_unref(o);
		_exit(ok ? 0 : 1);
	}
	CHECK(exit_code(pid) == 0);
	CHECK(say(o, "parent 2\n"));
	CHECK(flush(o, 5000) == ZBZ_OK);
	CHECK_STR(slurp(path), "parent 1\nchild 1\nparent 2\n");
	zbz_output_unref(o);
	CHECK(no_rings());
}

/* The writer is killed; the one that waited for its place goes on, with the dead one's records first in their order. */
static void taken_over(void) {
	char options[200], path[120];
	zbz_output *o;
	pid_t pid;
	int ready[2];
	char byte;
	snprintf(path, sizeof path, "%s/over.log", work);
	snprintf(options, sizeof options, "type=file path=%s", path);
	CHECK(pipe(ready) == 0);
	pid = fork();
	if (pid == 0) {
		o = opened(options);
		say(o, "child 1\n");
		flush(o, 5000);
		if (write(ready[1], "x", 1) != 1) _exit(1);
		for (;;) pause();
	}
	CHECK(read(ready[0], &byte, 1) == 1);
	o = opened(options);
	CHECK(say(o, "parent 1\n") && flush(o, 5000) == ZBZ_OK);
	CHECK(!numbers(o).writer);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	CHECK(say(o, "parent 2\n") && flush(o, 5000) == ZBZ_OK);
	CHECK(numbers(o).writer);
	CHECK_STR(slurp(path), "child 1\nparent 1\nparent 2\n");
	zbz_output_unref(o);
	CHECK(no_rings());
	close(ready[0]);
	close(ready[1]);
}

/* A process that dies with records in its ring, because its sink hung. */
static void left_behind(const char *options) {
	pid_t pid = fork();
	if (pid == 0) {
		zbz_output *o;
		told_reset();
		told_hold(true);
		o = opened(options);
		say(o, "left 1\n");
		told_await_held();
		say(o, "left 2\n");
		say(o, "left 3\n");
		_exit(0);
	}
	CHECK(exit_code(pid) == 0);
}

static void recovered_on_request(void) {
	zbz_config *cfg = log_config("type=told name=recover");
	zbz_call c = log_call(5000);
	uint64_t n = 99;
	left_behind("type=told name=recover");
	CHECK(!no_rings());
	told_reset();
	CHECK(zbz_output_recover(cfg, &c, &n) == ZBZ_OK && n == 3);
	CHECK(told_is("left 1\nleft 2\nleft 3\n"));
	CHECK(no_rings());
	CHECK(zbz_output_recover(cfg, &c, &n) == ZBZ_OK && n == 0);
	zbz_config_free(cfg);
}

static void recovered_at_open(void) {
	zbz_output *o;
	left_behind("type=told name=atopen");
	told_reset();
	o = opened("type=told name=atopen");
	CHECK(told_is("left 1\nleft 2\nleft 3\n"));
	CHECK(numbers(o).recovered == 3 && no_rings());
	say(o, "new\n");
	CHECK(flush(o, 5000) == ZBZ_OK && told_is("left 1\nleft 2\nleft 3\nnew\n"));
	zbz_output_unref(o);
}

static void recovered_when_the_sink_comes_back(void) {
	zbz_output *o;
	left_behind("type=told name=later");
	told_reset();
	told_set(&told.fail, 1);
	o = opened("type=told name=later max_retry_delay=10ms");
	CHECK(told_is("")); /* not while it is opened */
	say(o, "new\n");
	CHECK(flush(o, 5000) == ZBZ_OK);
	CHECK(told_is("left 1\nleft 2\nleft 3\nnew\n"));
	CHECK(numbers(o).recovered == 3);
	zbz_output_unref(o);
}

/* Opened as root, used as somebody else, as in nginx: the rings belong to the one who logs. */
static void rights_given_up(void) {
	pid_t pid;
	if (geteuid() != 0) return;
	CHECK(chmod(rings, 01777) == 0);
	pid = fork();
	if (pid == 0) {
		zbz_output *o = opened("type=told name=nobody");
		bool ok = setgid(65534) == 0 && setuid(65534) == 0 && say(o, "x\n") && flush(o, 5000) == ZBZ_OK;
		char dir[200];
		zbz_output_unref(o);
		snprintf(dir, sizeof dir, "%s/zbz-log-65534", rings);
		ok = ok && rmdir(dir) == 0; /* and it is empty */
		_exit(ok ? 0 : 1);
	}
	CHECK(exit_code(pid) == 0);
}

/* A program that ends without closing its outputs has them written all the same, and leaves nothing in the directory of rings. */
static void ended_without_closing(void) {
	char options[200], path[120];
	pid_t pid;
	snprintf(path, sizeof path, "%s/exit.log", work);
	snprintf(options, sizeof options, "type=file path=%s", path);
	pid = fork();
	if (pid == 0) {
		zbz_output *o = opened(options);
		for (int i = 0; i < 100; i++) say(o, "line\n");
		exit(0);
	}
	CHECK(exit_code(pid) == 0);
	CHECK(strlen(slurp(path)) == 500 && no_rings());
}

int main(void) {
	if (!dirs_make() || zbz_sink_register(&told_sink, NULL) != ZBZ_OK) return 1;
	RUN_IF(CHILD_THREADS, forked);
	RUN_IF(CHILD_THREADS, taken_over);
	RUN_IF(CHILD_THREADS, recovered_on_request);
	RUN_IF(CHILD_THREADS, recovered_at_open);
	RUN_IF(CHILD_THREADS, recovered_when_the_sink_comes_back);
	RUN_IF(CHILD_THREADS, rights_given_up);
	RUN_IF(CHILD_THREADS, ended_without_closing);
	dirs_remove();
	return DONE();
}
