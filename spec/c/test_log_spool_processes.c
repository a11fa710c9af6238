/* A spool and several processes: left to the next one, found by one that shares nothing else with it, taken over, forked, kept apart. */
#include "spool_rig.h"

#include <sched.h>
#include <signal.h>
#include <sys/mman.h>

/* 0 .. middle, and middle .. to: each in its order, whatever comes between. */
static bool told_two(int middle, int to) {
	int next[2] = { 0, middle };
	bool ok = true;
	pthread_mutex_lock(&told.lock);
	for (size_t at = 0; at < told.n && ok; at += 200) {
		int *n = &next[atoi(told.text + at) >= middle];
		ok = memcmp(told.text + at, numbered((*n)++), 200) == 0;
	}
	pthread_mutex_unlock(&told.lock);
	return ok && next[0] == middle && next[1] == to;
}

/* In a child: with the sink down, the lines 0 .. n. */
static zbz_output *child_spools(const char *name, const char *more, int n) {
	zbz_output *o;
	told_reset();
	told_set(&told.fail, HUGE_N);
	o = spooling(name, more);
	for (int i = 0; i < n; i++) say(o, numbered(i));
	return o;
}

/* Ended with the sink down: the ring goes to disk, and the next process goes on. */
static void left_to_the_next(void) {
	zbz_output *o;
	pid_t pid = fork();
	if (pid == 0) {
		o = child_spools("next", "linger=30ms", 500);
		zbz_output_unref(o);
		_exit(told.n == 0 ? 0 : 1);
	}
	CHECK(exit_code(pid) == 0);
	CHECK(file_in("seg.")[0] != '\0');
	told_reset();
	o = spooling("next", "");
	say_all(o, 500, 600);
	CHECK(flush(o, 10000) == ZBZ_OK && told_numbers(0, 600));
	CHECK(numbers(o).recovered == 500);
	zbz_output_unref(o);
	CHECK(no_spool());
}

/* The rings are gone, the spool is not: how many records come out of it? */
static uint64_t recovered_on_a_new_host(const char *name) {
	char cmd[300], options[300];
	zbz_config *cfg;
	zbz_call c = log_call(5000);
	uint64_t n = 0;
	snprintf(cmd, sizeof cmd, "rm -rf %s/zbz-log-*", rings);
	CHECK(system(cmd) == 0);
	told_reset();
	snprintf(options, sizeof options, "type=told name=%s spool=%s", name, spool);
	cfg = log_config(options);
	CHECK(zbz_output_recover(cfg, &c, &n) == ZBZ_OK);
	zbz_config_free(cfg);
	return n;
}

static void after_a_restart_of_the_host(void) {
	leave_spool("host", 500);
	CHECK(recovered_on_a_new_host("host") == 499);
	CHECK(told_numbers(1, 500)); /* all but the batch that was on its way, of one record */
	CHECK(no_spool());
}

/* The same in the middle of draining: what the sink has had does not come again, what was on its way does. */
static void after_a_restart_while_it_drained(void) {
	int *taken = mmap(NULL, sizeof *taken, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pid = fork();
	if (pid == 0) {
		zbz_output *o;
		o = child_spools("middle", "linger=30ms", 1500);
		while (numbers(o).spooled < 1000) sched_yield();
		told_hold(true);
		told_set(&told.fail, 0);
		told_pass(20);
		told_set(&told.fail, HUGE_N);
		told_hold(false);
		zbz_output_unref(o);
		*taken = lines();
		_exit(0);
	}
	CHECK(exit_code(pid) == 0);
	CHECK(*taken >= 100 && *taken < 1400);
	recovered_on_a_new_host("middle");
	CHECK(told_numbers(*taken, 1500));
	CHECK(no_spool());
	munmap(taken, sizeof *taken);
}

/* The one that spools is killed; the one that waited for its place finds its spool and goes on. */
static void taken_over(void) {
	zbz_output *o;
	int ready[2];
	char byte;
	pid_t pid;
	CHECK(pipe(ready) == 0);
	pid = fork();
	if (pid == 0) {
		o = child_spools("over", "block_for=60s", 1000);
		while (numbers(o).spooled < 500) sched_yield();
		if (write(ready[1], "x", 1) != 1) _exit(1);
		for (;;) pause();
	}
	CHECK(read(ready[0], &byte, 1) == 1);
	told_reset();
	o = spooling("over", "block_for=60s");
	say_all(o, 1000, 1100);
	CHECK(!numbers(o).writer && told.n == 0);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	CHECK(flush(o, 10000) == ZBZ_OK && numbers(o).writer);
	AWAIT(lines() == 1100);
	CHECK(told_two(1000, 1100));
	zbz_output_unref(o);
	CHECK(no_spool());
	close(ready[0]);
	close(ready[1]);
}

/* The parent spools; the child has a ring of its own, and closes nothing of the parent's. */
static void forked(void) {
	zbz_output *o = spooling("fork", "block_for=60s");
	pid_t pid;
	spool_down(o, 1000, 500);
	pid = fork();
	if (pid == 0) {
		bool ok = say(o, "child\n") && !numbers(o).writer && numbers(o).spooled == 0;
		_exit(ok ? 0 : 1);
	}
	CHECK(exit_code(pid) == 0);
	say_all(o, 1000, 2000);
	told_set(&told.fail, 0);
	CHECK(flush(o, 10000) == ZBZ_OK);
	AWAIT(lines() == 2001); /* the child's among them */
	CHECK(numbers(o).damaged == 0);
	zbz_output_unref(o);
	CHECK(no_spool());
}

/* Another ring directory is another journal: the lock of the spool itself keeps the second one out of it. */
static void two_who_do_not_know_each_other(void) {
	char options[400], other[160];
	zbz_output *o = spooling("two", "block_for=60s");
	pid_t pid;
	snprintf(other, sizeof other, "%s/rings", work);
	CHECK(mkdir(other, 0700) == 0);
	snprintf(options, sizeof options,
	         "type=told name=two ring_size=64KB max_retry_delay=5ms spool=%s policy=drop_newest linger=1ms", spool);
	spool_down(o, 1000, 500);
	pid = fork();
	if (pid == 0) {
		zbz_config *cfg = log_config_in(other, options);
		zbz_output *second;
		int said = 0;
		told_reset();
		told_set(&told.fail, HUGE_N);
		if (zbz_output_open(cfg, zbz_clock_system(), &second, NULL) != ZBZ_OK) _exit(2);
		for (int i = 0; i < 1000; i++) said += say(second, numbered(i));
		while (numbers(second).spool_error[0] == '\0') sched_yield();
		_exit(strstr(numbers(second).spool_error, "used by another process") != NULL ? 0 : 1);
	}
	CHECK(exit_code(pid) == 0);
	told_set(&told.fail, 0);
	CHECK(flush(o, 10000) == ZBZ_OK && told_numbers(0, 1000));
	zbz_output_unref(o);
}

int main(void) {
	if (!spool_rig_begin()) return 1;
	RUN_IF(CHILD_THREADS, left_to_the_next);
	RUN_IF(CHILD_THREADS, after_a_restart_of_the_host);
	RUN_IF(CHILD_THREADS, after_a_restart_while_it_drained);
	RUN_IF(CHILD_THREADS, taken_over);
	RUN_IF(CHILD_THREADS, forked);
	RUN_IF(CHILD_THREADS, two_who_do_not_know_each_other);
	dirs_remove();
	return DONE();
}
