/* Outputs that do not open, or not as they were meant to: options, rings, no room, no memory. */
#include "log_help.h"

#include <signal.h>
#include <sys/resource.h>

#include "faults.h"

static void bad_options(void) {
	zbz_config *cfg = zbz_config_new();
	zbz_output *o;
	zbz_err err;
	CHECK(zbz_output_open(cfg, zbz_clock_system(), &o, &err) == ZBZ_E_CONFIG);
	CHECK_STR(err.option, "type");
	CHECK(zbz_config_set_text(cfg, "type", zbz_bstr("null"), NULL) == ZBZ_OK);
	CHECK(zbz_config_set_text(cfg, "polizy", zbz_bstr("block"), NULL) == ZBZ_OK);
	CHECK(zbz_output_open(cfg, zbz_clock_system(), &o, &err) == ZBZ_E_ARGUMENT);
	CHECK_STR(err.option, "polizy");
	CHECK(strstr(err.text, "nearest: policy") != NULL);
	zbz_config_free(cfg);
	err = refused("type=fiel");
	CHECK(err.status == ZBZ_E_UNKNOWN_PROVIDER && strstr(err.text, "nearest: file") != NULL);
	err = refused("type=told");
	CHECK(err.status == ZBZ_E_ARGUMENT && strstr(err.text, "'told'") != NULL);
	err = refused("type=null policy=wait");
	CHECK_STR(err.option, "policy");
	err = refused("type=file");
	CHECK_STR(err.option, "path");
	err = refused("type=file path=/tmp");
	CHECK_STR(err.option, "path");
	err = refused("type=file path=/nowhere/at/all.log");
	CHECK_STR(err.option, "path");
	CHECK(strstr(err.text, "/nowhere/at") != NULL);
	err = refused("type=null dead_letter=/nowhere/at/all.log");
	CHECK_STR(err.option, "dead_letter");
}

static void the_clock_of_the_system(void) {
	zbz_config *cfg = log_config("type=null");
	zbz_output *o = NULL;
	zbz_call c = { .deadline = ZBZ_NEVER };
	CHECK(cfg != NULL && zbz_output_open(cfg, NULL, &o, &c.err) == ZBZ_OK);
	CHECK(say(o, "a\n") && zbz_output_flush(o, &c) == ZBZ_OK);
	zbz_output_unref(o);
	zbz_config_free(cfg);
}

static zbz_err refused_ring(const char *ring) {
	zbz_config *cfg = zbz_config_new();
	zbz_output *o;
	zbz_err err = { .text = "" };
	CHECK(zbz_config_set_text(cfg, "type", zbz_bstr("told"), NULL) == ZBZ_OK);
	CHECK(zbz_config_set_text(cfg, "name", zbz_bstr("rings"), NULL) == ZBZ_OK);
	CHECK(zbz_config_set_text(cfg, "ring", zbz_bstr(ring), NULL) == ZBZ_OK);
	CHECK(zbz_output_open(cfg, zbz_clock_system(), &o, &err) < 0);
	zbz_config_free(cfg);
	CHECK_STR(err.option, "ring");
	return err;
}

static void bad_rings(void) {
	char dir[120], path[300];
	zbz_err err = refused_ring("relative");
	CHECK(err.status == ZBZ_E_CONFIG);
	err = refused_ring("/proc/nothing");
	CHECK(err.status == ZBZ_E_CONFIG && strstr(err.text, "/proc/nothing/zbz-log-") != NULL);
	snprintf(dir, sizeof dir, "%s/open", work);
	CHECK(mkdir(dir, 0700) == 0);
	snprintf(path, sizeof path, "%s/zbz-log-%lu", dir, (unsigned long)geteuid());
	CHECK(mkdir(path, 0700) == 0 && chmod(path, 0777) == 0);
	err = refused_ring(dir);
	CHECK(err.status == ZBZ_E_DENIED);
}

/* The directory of rings is gone when the first record comes: the call tells nothing, the numbers do. */
static void no_room_for_a_ring(void) {
	char dir[120], cmd[300];
	zbz_config *cfg = zbz_config_new();
	zbz_output *o;
	snprintf(dir, sizeof dir, "%s/gone", work);
	CHECK(mkdir(dir, 0700) == 0);
	CHECK(zbz_config_set_text(cfg, "type", zbz_bstr("told"), NULL) == ZBZ_OK);
	CHECK(zbz_config_set_text(cfg, "name", zbz_bstr("gone"), NULL) == ZBZ_OK);
	CHECK(zbz_config_set_text(cfg, "ring", zbz_bstr(dir), NULL) == ZBZ_OK);
	CHECK(zbz_output_open(cfg, zbz_clock_system(), &o, NULL) == ZBZ_OK);
	snprintf(cmd, sizeof cmd, "rm -rf '%s'", dir);
	CHECK(system(cmd) == 0);
	CHECK(!say(o, "x\n") && !say(o, "y\n"));
	CHECK(numbers(o).dropped_closed == 2 && numbers(o).records == 0);
	CHECK(flush(o, 100) == ZBZ_OK);
	zbz_output_unref(o);
	zbz_config_free(cfg);
}

/* A limit on the size of files stands for a nearly full /dev/shm: a smaller ring is better than none. */
static void little_room_for_a_ring(void) {
	pid_t pid = fork();
	if (pid == 0) {
		const struct rlimit tight = { 2000000, 2000000 };
		zbz_output *o;
		bool ok;
		signal(SIGXFSZ, SIG_IGN);
		setrlimit(RLIMIT_FSIZE, &tight);
		ok = log_open("type=told name=little ring_size=4MB", &o, NULL) == ZBZ_OK && say(o, "x\n") &&
		     flush(o, 5000) == ZBZ_OK;
		zbz_output_unref(o);
		_exit(ok ? 0 : 1);
	}
	CHECK(exit_code(pid) == 0);
}

static bool all_of(const char *options) {
	zbz_output *o = NULL;
	zbz_err err;
	zbz_status status = log_open(options, &o, &err);
	if (status != ZBZ_OK) {
		CHECK(status == ZBZ_E_INTERNAL);
		return false;
	}
	say(o, "x\n");
	zbz_output_unref(o);
	return true;
}

/* Opening, and a first record whose thread finds no memory: an error or a dropped record, never a leak. One thread at a time allocates. */
static void allocation_fails(void) {
	static const char *const cases[] = { "type=null linger=100ms", "type=memory linger=100ms",
		                                 "type=told name=alloc linger=100ms", "type=file path=/dev/null linger=100ms",
		                                 "type=file path=/dev/null early=true linger=100ms" };
	for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
		bool failed = true;
		for (long n = 1; failed; n++) {
			long live;
			faults_begin(n);
			all_of(cases[k]);
			failed = faults_end(&live);
			CHECK(live == 0);
			told_reset();
		}
	}
}

int main(void) {
	if (!dirs_make() || zbz_sink_register(&told_sink, NULL) != ZBZ_OK) return 1;
	RUN(bad_options);
	RUN(the_clock_of_the_system);
	RUN(bad_rings);
	RUN(no_room_for_a_ring);
	RUN_IF(CHILD_THREADS, little_room_for_a_ring);
	RUN(allocation_fails);
	dirs_remove();
	return DONE();
}
