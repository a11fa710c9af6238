/* A process that spools dies at every step it takes on the disk: nothing is lost, nothing comes twice. */
#include "spool_rig.h"

#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>

/* What changes files passes here, and a child that is told to dies at the n-th of these calls: before it, in its middle, or after it. */
enum { NEVER, BEFORE, HALF, AFTER, WAYS };
static _Atomic int steps, die_at;
static int die_how;

static bool step_begins(void) {
	bool now = die_at != 0 && ++steps == die_at;
	if (now && die_how == BEFORE) kill(getpid(), SIGKILL);
	return now;
}
static void step_ends(bool now) {
	if (now) kill(getpid(), SIGKILL);
}

ZBZ_API ssize_t pwrite(int fd, const void *p, size_t n, off_t at) {
	bool now = step_begins();
	ssize_t put = (ssize_t)syscall(SYS_pwrite64, fd, p, now && die_how == HALF ? n / 2 : n, at);
	step_ends(now);
	return put;
}
ZBZ_API ssize_t write(int fd, const void *p, size_t n) {
	bool now = step_begins();
	ssize_t put = (ssize_t)syscall(SYS_write, fd, p, now && die_how == HALF ? n / 2 : n);
	step_ends(now);
	return put;
}
ZBZ_API int unlink(const char *path) {
	bool now = step_begins();
	int result = (int)syscall(SYS_unlink, path);
	step_ends(now);
	return result;
}

static zbz_sink_ops flaky; /* the sink `file`, that can fail */
static zbz_status (*file_write)(void *self, zbz_call *c, const zbz_record *records, size_t n, size_t *done);
static _Atomic bool flaky_fails;

static zbz_status flaky_write(void *self, zbz_call *c, const zbz_record *records, size_t n, size_t *done) {
	*done = 0;
	if (flaky_fails) return zbz_fail(&c->err, ZBZ_E_UNAVAILABLE, "not now");
	return file_write(self, c, records, n, done);
}

static void flaky_options(char out[400]) {
	snprintf(out, 400,
	         "type=flaky path=%s/steps.log ring_size=64KB batch_size=8000B spool_size=1MB max_retry_delay=1ms "
	         "block_for=60s spool=%s",
	         work, spool);
}

static int *steps_said;

/* Spools, then drains, twice. */
static void walk_and_die(int at, int how) {
	char options[400];
	zbz_output *o;
	die_how = how;
	flaky_options(options);
	o = opened(options);
	die_at = at;
	for (int round = 0; round < 2; round++) {
		flaky_fails = true;
		for (int i = 0; i < 700; i++) {
			if (!say(o, numbered(*steps_said))) _exit(1);
			++*steps_said;
		}
		while (numbers(o).spooled < 300) sched_yield();
		flaky_fails = false;
		if (flush(o, 20000) != ZBZ_OK) _exit(2);
	}
	zbz_output_unref(o);
	_exit(0);
}

/* *said lines in their order, and perhaps the one that was being said. */
static bool steps_are_all_there(void) {
	char path[160], got[256];
	FILE *f;
	int n = 0;
	bool ok = true;
	snprintf(path, sizeof path, "%s/steps.log", work);
	f = fopen(path, "r");
	while (f != NULL && ok && fgets(got, sizeof got, f) != NULL) ok = strcmp(got, numbered(n++)) == 0;
	if (f != NULL) fclose(f);
	if (!ok || n < *steps_said) fprintf(stderr, "line %d of %d: %.20s\n", n, *steps_said, got);
	remove(path);
	return ok && (n == *steps_said || n == *steps_said + 1);
}

static void dead_at_every_step(void) {
	const zbz_sink_ops *file;
	char options[400];
	CHECK(zbz_sink_find("file", &file, NULL) == ZBZ_OK);
	flaky = *file;
	file_write = file->write;
	flaky.name = "flaky";
	flaky.write = flaky_write;
	CHECK(zbz_sink_register(&flaky, NULL) == ZBZ_OK);
	flaky_options(options);
	steps_said = mmap(NULL, sizeof *steps_said, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (int how = BEFORE; how < WAYS; how++) {
		bool died = true;
		for (int at = 1; died && check_failed == 0; at++) {
			zbz_config *cfg = log_config(options);
			zbz_call c = log_call(20000);
			uint64_t n;
			int status;
			pid_t pid;
			*steps_said = 0;
			pid = fork();
			if (pid == 0) walk_and_die(at, how);
			waitpid(pid, &status, 0);
			died = WIFSIGNALED(status);
			CHECK(died || WEXITSTATUS(status) == 0);
			CHECK(zbz_output_recover(cfg, &c, &n) == ZBZ_OK);
			CHECK(steps_are_all_there());
			CHECK(no_spool());
			CHECK(no_rings());
			zbz_config_free(cfg);
			if (check_failed > 0) fprintf(stderr, "dead at step %d, how %d\n", at, how);
		}
	}
	munmap(steps_said, sizeof *steps_said);
}

int main(void) {
	if (!spool_rig_begin()) return 1;
	RUN_IF(CHILD_THREADS, dead_at_every_step);
	dirs_remove();
	return DONE();
}
