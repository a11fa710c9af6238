/* Former objects of a storage output go over faults, deaths and several writers. */
#include <signal.h>
#include <sys/mman.h>

#include "child.h"
#include "retain_rig.h"

/* ---- faults ---- */

static void listing_fails(void) {
	zbz_output *o;
	int tries;
	begin_at("nolist");
	o = keeping("keep=2");
	list_error = EIO;
	for (int i = 0; i < 100; i++) write_one(o, i);
	tries = listings;
	CHECK(tries > 1 && tries <= 8); /* ever more seldom */
	CHECK(holds(0, 100));
	CHECK(numbers(o).written == 100 && numbers(o).retries == 0 && numbers(o).failures == 0);
	CHECK(strstr(numbers(o).last_error, "listing") != NULL && strstr(numbers(o).last_error, base) != NULL);
	list_error = 0;
	for (int i = 100; i < 165; i++) write_one(o, i);
	CHECK(holds(163, 165));
	zbz_output_unref(o);
}

static void removing_fails(void) {
	zbz_output *o;
	begin_at("noremove");
	o = keeping("keep=2");
	write_one(o, 0);
	remove_error = EACCES;
	for (int i = 1; i < 100; i++) write_one(o, i);
	CHECK(removals > 1 && removals < 20);
	CHECK(holds(0, 100) && numbers(o).retries == 0 && numbers(o).failures == 0 && numbers(o).dead_letters == 0);
	CHECK(strstr(numbers(o).last_error, "removing") != NULL && strstr(numbers(o).last_error, base) != NULL);
	remove_error = 0;
	for (int i = 100; i < 200; i++) write_one(o, i);
	CHECK(holds(198, 200));
	zbz_output_unref(o);
}

/* One object that does not go is no reason for others to go in its place, or to stay. */
static void one_stays_whatever(void) {
	zbz_output *o;
	begin_at("stuck");
	CHECK(shell("touch " WHEN "-" WHOSE "-000001.log") == 0);
	snprintf(undeletable, sizeof undeletable, "%s", WHOSE);
	o = keeping("keep=3 prefix=");
	for (int i = 0; i < 60; i++) {
		write_one(o, i);
		CHECK(shell("test -e " WHEN "-" WHOSE "-000001.log") == 0);
		CHECK(objects() >= (i < 3 ? i + 1 : 3) + 1 && objects() <= 3 + 1 + 2);
	}
	CHECK(numbers(o).retries == 0 && strstr(numbers(o).last_error, WHOSE) != NULL);
	zbz_output_unref(o);
}

static void the_directory_vanishes(void) {
	zbz_output *o;
	char aside[260], cmd[300];
	begin_at("gone");
	o = keeping("keep=3");
	for (int i = 0; i < 10; i++) write_one(o, i);
	snprintf(cmd, sizeof cmd, "rm -rf '%s'", base);
	CHECK(system(cmd) == 0);
	for (int i = 10; i < 14; i++) write_one(o, i);
	CHECK(holds(11, 14)); /* those that went with it were no more than what there is now */
	snprintf(aside, sizeof aside, "%s.aside", base);
	CHECK(rename(base, aside) == 0);
	snprintf(cmd, sizeof cmd, "touch '%s'", base);
	CHECK(system(cmd) == 0);
	say(o, "000014\n");
	CHECK(flush(o, 100) == ZBZ_E_TIMEOUT && numbers(o).failures > 0);
	CHECK(unlinkat(AT_FDCWD, base, 0) == 0 && rename(aside, base) == 0);
	CHECK(flush(o, 20000) == ZBZ_OK);
	write_one(o, 15);
	CHECK(holds(13, 16));
	zbz_output_unref(o);
}

static void others_remove_too(void) {
	zbz_output *o;
	begin_at("others");
	o = keeping("keep=5 prefix=");
	for (int i = 0; i < 5; i++) write_one(o, i);
	CHECK(shell("rm $(ls | head -4)") == 0);
	for (int i = 5; i < 40; i++) write_one(o, i);
	CHECK(holds(35, 40) && numbers(o).last_error[0] == '\0');
	zbz_output_unref(o);
}

/* ---- several processes ---- */

static _Atomic int *shared;

static void log_many(const char *options, int from, int n) {
	zbz_output *o = keeping(options);
	for (int i = 0; i < n; i++) write_one(o, from + i);
	zbz_output_unref(o);
	_exit(check_failed == 0 ? 0 : 1);
}

static bool ended_well(pid_t pid) {
	int status;
	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* They share a writer: the bound holds as with one. */
static void two_of_one_output(void) {
	pid_t pid[2];
	zbz_output *o;
	begin_at("two");
	for (int w = 0; w < 2; w++)
		if ((pid[w] = fork()) == 0) log_many("keep=7 prefix=", w * 1000, 60);
	CHECK(ended_well(pid[0]) && ended_well(pid[1]));
	CHECK(objects() <= 8); /* one that another has finished */
	o = keeping("keep=7 prefix=");
	write_one(o, 5000);
	CHECK(objects() == 7);
	zbz_output_unref(o);
}

/* As on two hosts: each counts the other's when it lists. */
static void two_writers(void) {
	pid_t pid[2];
	zbz_output *o;
	char options[200];
	begin_at("apart");
	CHECK(shell("mkdir ../ring0 ../ring1 && touch foreign") == 0);
	for (int w = 0; w < 2; w++) {
		snprintf(options, sizeof options, "keep=7 prefix= ring=%s/ring%d", work, w);
		if ((pid[w] = fork()) == 0) log_many(options, w * 1000, 100);
	}
	CHECK(ended_well(pid[0]) && ended_well(pid[1]));
	CHECK(objects() >= 7 && objects() <= 7 + 2 * 16);
	o = keeping("keep=7 prefix=");
	write_one(o, 5000);
	CHECK(objects() == 7 && shell("test -e foreign") == 0);
	zbz_output_unref(o);
}

static void log_until_killed(int at) {
	zbz_output *o = keeping("keep=4 prefix= ");
	for (int i = at;; i++) {
		snprintf(line, sizeof line, "%06d\n", i);
		if (!say(o, line)) _exit(1);
		atomic_store(shared, i + 1);
		flush(o, 20000);
	}
}

/* Whatever it was doing: the last records are there once, in order, and no more objects than there should be. */
static void killed_at_any_time(void) {
	for (int trial = 0; trial < 25 && check_failed == 0; trial++) {
		zbz_config *cfg;
		zbz_call c;
		uint64_t n;
		int last;
		pid_t pid;
		const struct timespec nap = { 0, 1000000 + trial * 700000 };
		begin_at("killed");
		atomic_store(shared, 0);
		pid = fork();
		if (pid == 0) log_until_killed(0);
		while (atomic_load(shared) < 6) sched_yield();
		nanosleep(&nap, NULL);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		c = log_call(30000);
		cfg = storage_config("batch_wait=0s keep=4 prefix=");
		CHECK(zbz_output_recover(cfg, &c, &n) == ZBZ_OK);
		zbz_config_free(cfg);
		last = atoi(answer("cat $(ls | tail -1) | tail -1")) + 1;
		CHECK(last >= atomic_load(shared));
		/* A batch of several records comes to be by a recovery only. */
		CHECK(objects() >= 4 && objects() <= 5);
		CHECK(holds(atoi(answer("cat $(ls | head -1)")), last));
		CHECK(system("true") == 0 && shell("rm -f *.log") == 0);
	}
}

int main(void) {
	if (!dirs_make()) return 1;
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED) return 1;
	RUN_IF(CHILD_THREADS, two_of_one_output);
	RUN_IF(CHILD_THREADS, two_writers);
	RUN_IF(CHILD_THREADS, killed_at_any_time);
	RUN(listing_fails);
	RUN(removing_fails);
	RUN(one_stays_whatever);
	RUN(the_directory_vanishes);
	RUN(others_remove_too);
	dirs_remove();
	return DONE();
}
