/* Processes die while they write objects: every record is in one object, and in one only. */
#include "storage_rig.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>

#include "dice.h"

enum { WHO = 3 };
static _Atomic int *returned;

static void log_on(int who) {
	zbz_output *o = storing("batch_size=3000B batch_wait=1ms block_for=60s ring_size=64KB");
	for (int i = 0;; i++) {
		if (!say(o, numbered(who, i))) _exit(1);
		atomic_store(&returned[who], i + 1);
	}
}

static zbz_status recover(void) {
	zbz_config *cfg = storage_config("batch_size=3000B");
	zbz_call c = log_call(30000);
	uint64_t n;
	zbz_status status = zbz_output_recover(cfg, &c, &n);
	if (status != ZBZ_OK) fprintf(stderr, "%s\n", c.err.text);
	zbz_config_free(cfg);
	return status;
}

/* Processes are killed in the middle of anything, recoveries too: every record is in one object, and in one only. */
static void killed_at_any_time(void) {
	char cmd[300];
	use_base("killed");
	for (int trial = 0; trial < 40 && check_failed == 0; trial++) {
		static bool seen[WHO][1 << 20];
		pid_t pid[WHO];
		char *text;
		size_t n, twice = 0, bad = 0, lost = 0;
		for (int w = 0; w < WHO; w++) {
			atomic_store(&returned[w], 0);
			pid[w] = fork();
			if (pid[w] == 0) log_on(w);
		}
		for (int w = 0; w < WHO; w++) {
			nap(1000 + (int64_t)roll(15000));
			kill(pid[w], SIGKILL);
			waitpid(pid[w], NULL, 0);
		}
		pid[0] = fork();
		if (pid[0] == 0) _exit(recover() == ZBZ_OK ? 0 : 1);
		nap((int64_t)roll(3000));
		kill(pid[0], SIGKILL);
		waitpid(pid[0], NULL, 0);
		CHECK(recover() == ZBZ_OK);
		text = all_text(&n);
		memset(seen, 0, sizeof seen);
		for (size_t at = 0; at + 100 <= n; at += 100) {
			int who = -1, i = -1;
			if (sscanf(text + at, "%d %d ", &who, &i) != 2 || who < 0 || who >= WHO || i < 0 || i >= 1 << 20 ||
			    memcmp(text + at, numbered(who, i), 100) != 0) {
				bad++;
				continue;
			}
			twice += seen[who][i];
			seen[who][i] = true;
		}
		for (int w = 0; w < WHO; w++)
			for (int i = 0; i < atomic_load(&returned[w]); i++) lost += !seen[w][i];
		CHECK(n % 100 == 0 && bad == 0 && twice == 0 && lost == 0);
		if (twice + lost + bad > 0) fprintf(stderr, "trial %d: lost %zu twice %zu bad %zu\n", trial, lost, twice, bad);
		snprintf(cmd, sizeof cmd, "rm -rf '%s'", base);
		CHECK(system(cmd) == 0);
	}
}

/* The object has its name, the journal does not know yet: whoever finishes the batch must find that object, and make no other. */
static _Atomic int renames, die_at;

ZBZ_API int rename(const char *from, const char *to) {
	bool now = die_at != 0 && strstr(from, ".zbz-new.") != NULL && ++renames == die_at;
	int result = renameat(AT_FDCWD, from, AT_FDCWD, to);
	if (now) kill(getpid(), SIGKILL);
	return result;
}

static void killed_behind_a_put(void) {
	use_base("behind");
	for (int at = 1; at <= 6; at++) {
		char cmd[300], *text;
		int status;
		size_t n;
		pid_t pid = fork();
		if (pid == 0) {
			zbz_output *o = storing("batch_size=1000B batch_wait=600s");
			die_at = at;
			for (int i = 0; i < 100; i++) say(o, numbered(0, i));
			flush(o, 20000);
			_exit(0);
		}
		waitpid(pid, &status, 0);
		CHECK(WIFSIGNALED(status));
		CHECK(recover() == ZBZ_OK);
		text = all_text(&n);
		CHECK(n % 100 == 0 && n >= (size_t)at * 1000);
		for (size_t i = 0; i < n / 100; i++) {
			int found = 0; /* whose objects come first is by chance: another process has finished it */
			for (size_t k = 0; k < n / 100; k++) found += memcmp(text + k * 100, numbered(0, (int)i), 100) == 0;
			CHECK(found == 1);
		}
		snprintf(cmd, sizeof cmd, "rm -rf '%s'", base);
		CHECK(system(cmd) == 0);
	}
}

int main(void) {
	if (!dirs_make()) return 1;
	returned = mmap(NULL, sizeof *returned * WHO, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (returned == MAP_FAILED) return 1;
	RUN_IF(CHILD_THREADS, killed_at_any_time);
	RUN_IF(CHILD_THREADS, killed_behind_a_put);
	dirs_remove();
	return DONE();
}
