/* Options that change while an output runs: its spool comes, goes and moves; what cannot change is told. */
#include "spool_rig.h"

enum { FAILS = 1000000 };

static char other[200];

static zbz_output *with(const char *name, const char *dir) {
	char options[500];
	snprintf(options, sizeof options, "type=told name=%s ring_size=64KB max_retry_delay=5ms batch_size=4000B%s%s", name,
	         dir != NULL ? " spool=" : "", dir != NULL ? dir : "");
	return opened(options);
}

static bool holds(const char *dir) {
	char cmd[300];
	snprintf(cmd, sizeof cmd, "test -n \"$(find '%s' -name 'seg.*')\"", dir);
	return system(cmd) == 0;
}

/* From one spool to another, NULL none, with records in the first if it can have them. */
static void changes(const char *name, const char *from, const char *to) {
	zbz_output *o, *next;
	told_reset();
	told_set(&told.fail, FAILS);
	o = with(name, from);
	say_all(o, 0, from != NULL ? 300 : 100);
	if (from != NULL) AWAIT(numbers(o).spooled > 0 && holds(from));
	AWAIT(numbers(o).failures > 0);
	next = with(name, to);
	zbz_output_unref(o);
	if (from == NULL) {
		say_all(next, 100, 300);
		AWAIT(numbers(next).spooled > 0 && holds(to));
	}
	told_set(&told.fail, 0);
	CHECK(flush(next, 10000) == ZBZ_OK);
	CHECK(told_numbers(0, 300));
	if (from != NULL) AWAIT(!holds(from));
	/* And once more, now by the options of the second. */
	told_set(&told.fail, FAILS);
	say_all(next, 300, to != NULL ? 600 : 400);
	if (to != NULL) AWAIT(numbers(next).spooled > 0 && holds(to));
	CHECK(from == NULL || !holds(from));
	told_set(&told.fail, 0);
	CHECK(flush(next, 10000) == ZBZ_OK);
	CHECK(told_numbers(0, to != NULL ? 600 : 400));
	CHECK(numbers(next).spool_error[0] == '\0');
	zbz_output_unref(next);
	CHECK(no_rings());
}

static void a_spool_comes(void) { changes("comes", NULL, spool); }
static void a_spool_goes(void) { changes("goes", spool, NULL); }
static void a_spool_moves(void) { changes("moves", spool, other); }

static void what_cannot_change_is_told(void) {
	zbz_output *o = opened("type=told name=fixed ring_size=64KB batch_size=1000B"), *next;
	told_reset();
	CHECK(numbers(o).ring_size == 0 && numbers(o).batch_size == 1000);
	say(o, numbered(0));
	CHECK(numbers(o).ring_size == 65536 && numbers(o).batch_size == 1000);
	next = opened("type=told name=fixed ring_size=1MB batch_size=4194304B");
	CHECK(numbers(next).ring_size == 65536 && numbers(next).batch_size == 1000);
	zbz_output_unref(o);
	o = opened("type=told name=fixed ring_size=1MB batch_size=500B");
	AWAIT(numbers(next).batch_size == 500); /* less can be had */
	zbz_output_unref(o);
	zbz_output_unref(next);
	o = opened("type=told name=fixed ring_size=1MB batch_size=4194304B");
	say(o, numbered(0));
	CHECK(numbers(o).ring_size == 1 << 20 && numbers(o).batch_size == 1 << 22);
	zbz_output_unref(o);
}

/* A failing sink rests for an hour, and new options do not wait for that. */
static void new_options_hold_at_once(void) {
	zbz_output *o, *next;
	told_reset();
	told_set(&told.fail, 12);
	o = opened("type=told name=rests max_retry_delay=1h");
	say(o, numbered(0));
	AWAIT(numbers(o).failures >= 6);
	told_set(&told.fail, 0);
	next = opened("type=told name=rests max_retry_delay=1h");
	AWAIT(lines() == 1);
	zbz_output_unref(o);
	zbz_output_unref(next);
}

int main(void) {
	if (!spool_rig_begin()) return 1;
	snprintf(other, sizeof other, "%s/other", work);
	if (mkdir(other, 0700) != 0) return 1;
	RUN(a_spool_comes);
	RUN(a_spool_goes);
	RUN(a_spool_moves);
	RUN(what_cannot_change_is_told);
	RUN(new_options_hold_at_once);
	dirs_remove();
	return DONE();
}
