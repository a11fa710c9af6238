/* Sinks that fail, refuse and hang: what is tried again, what becomes a dead letter, and when it is too old to be tried. */
#include "spool_rig.h"

#include <sched.h>

static void tried_again(void) {
	zbz_output *o = opened("type=told name=retry max_retry_delay=20ms");
	told_reset();
	told_set(&told.fail, 3);
	say(o, "a\n");
	say(o, "b\n");
	CHECK(flush(o, 5000) == ZBZ_OK);
	CHECK(told_is("a\nb\n"));
	CHECK(numbers(o).retries == 3 && numbers(o).written == 2);
	zbz_output_unref(o);
}

/* A sink without marks tells how far it came, and gets the rest. */
static void half_taken(void) {
	zbz_output *o = opened("type=told name=half max_retry_delay=5ms");
	told_reset();
	told_hold(true);
	say(o, "0\n");
	told_await_held();
	for (int i = 1; i < 6; i++) say(o, (char[]){ (char)('0' + i), '\n', '\0' });
	pthread_mutex_lock(&told.lock);
	told.fail = 3;
	told.most = 2;
	pthread_mutex_unlock(&told.lock);
	told_hold(false);
	CHECK(flush(o, 5000) == ZBZ_OK);
	CHECK(told_is("0\n1\n2\n3\n4\n5\n"));
	CHECK(numbers(o).written == 6);
	zbz_output_unref(o);
}

static void refused_for_good(void) {
	char path[200], text[64] = "";
	char options[300];
	FILE *f;
	zbz_output *o;
	snprintf(path, sizeof path, "%s/dead", work);
	snprintf(options, sizeof options, "type=told name=dead dead_letter=%s dead_letter_size=10B", path);
	o = opened(options);
	told_reset();
	told_hold(true);
	say(o, "zero\n");
	told_await_held();
	say(o, "one\n");
	say(o, "two\n");
	say(o, "three\n");
	told_set(&told.refuse, 3);
	told_hold(false);
	CHECK(flush(o, 5000) == ZBZ_OK);
	CHECK(told_is("three\n"));
	CHECK(numbers(o).dead_letters == 3 && numbers(o).written == 1 && numbers(o).retries == 0);
	CHECK(numbers(o).dead_letters_lost == 1);
	f = fopen(path, "r");
	CHECK(f != NULL && fread(text, 1, sizeof text - 1, f) == 9);
	CHECK_STR(text, "zero\none\n"); /* the third did not fit */
	if (f != NULL) fclose(f);
	zbz_output_unref(o);
}

/* Why attempts fail, and why a record became a dead letter. */
static void last_words(void) {
	zbz_output *o = opened("type=told name=words max_retry_delay=1ms");
	told_reset();
	told.fail = 1;
	say(o, "one\n");
	CHECK(flush(o, 5000) == ZBZ_OK);
	CHECK_STR(numbers(o).last_error, "not now");
	told.refuse = 1;
	say(o, "two\n");
	say(o, "three\n");
	CHECK(flush(o, 5000) == ZBZ_OK && numbers(o).dead_letters == 1);
	CHECK_STR(numbers(o).last_error, "never");
	zbz_output_unref(o);
}

static void hangs(void) {
	zbz_output *o = opened("type=told name=hang linger=50ms");
	int64_t began;
	told_reset();
	told_hold(true);
	say(o, "x\n");
	told_await_held();
	CHECK(flush(o, 30) == ZBZ_E_TIMEOUT);
	began = ms_now();
	zbz_output_unref(o);
	CHECK(ms_now() - began < 2000);
	told_hold(false);
	while (told_get(&told.closes) == 0) sched_yield(); /* the thread that was given up ends on its own */
	CHECK(told_is("x\n"));
}

/* ---- limits ---- */

static size_t file_size(const char *path) { return size_of(path) > 0 ? (size_t)size_of(path) : 0; }

/* Records of `say` are of 1970: too old at the first failure. Without one, age does not matter. */
static void given_up(void) {
	char options[300], dead[160];
	zbz_output *o;
	snprintf(dead, sizeof dead, "%s/given-up", work);
	snprintf(options, sizeof options, "retry_timeout=1h dead_letter=%s", dead);
	o = spooling("old", options);
	told_reset();
	say_all(o, 0, 10);
	CHECK(flush(o, 5000) == ZBZ_OK && told_numbers(0, 10) && numbers(o).dead_letters == 0);
	told_set(&told.fail, 1);
	say_all(o, 10, 20);
	AWAIT(numbers(o).dead_letters > 0);
	CHECK(flush(o, 5000) == ZBZ_OK);
	CHECK(numbers(o).dead_letters + numbers(o).written == 20);
	CHECK(file_size(dead) == numbers(o).dead_letters * 200);
	zbz_output_unref(o);
	CHECK(no_spool());
}

static bool say_now(zbz_output *o, const char *text) {
	zbz_record_head head = { .level = ZBZ_LEVEL_INFO, .logger = zbz_bstr("app") };
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	head.at = (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
	return zbz_output_append(o, &head, zbz_bstr(text));
}

static void young_ones_are_kept(void) {
	zbz_output *o = spooling("young", "retry_timeout=1h");
	told_reset();
	told_set(&told.fail, 5);
	for (int i = 0; i < 10; i++) CHECK(say_now(o, numbered(i)));
	CHECK(flush(o, 5000) == ZBZ_OK && told_numbers(0, 10));
	CHECK(numbers(o).dead_letters == 0 && numbers(o).retries == 5);
	zbz_output_unref(o);
}

/* A whole spool of old records goes at the first failure, without an attempt for each batch. */
static void a_spool_of_old_ones(void) {
	zbz_output *o;
	leave_spool("oldest", 2000);
	o = spooling("oldest", "retry_timeout=1h batch_size=2000B");
	told_set(&told.fail, HUGE_N);
	CHECK(flush(o, 10) == ZBZ_OK); /* nothing of its own */
	zbz_output_unref(o);
	leave_spool("aged", 2000);
	told_set(&told.fail, HUGE_N);
	o = spooling("aged", "retry_timeout=1h batch_size=2000B");
	say(o, numbered(0));
	AWAIT(numbers(o).dead_letters + numbers(o).written >= 1);
	CHECK(flush(o, 10000) == ZBZ_OK);
	CHECK(numbers(o).written == 0 && told_get(&told.calls) < 10);
	told_reset();
	zbz_output_unref(o);
}

int main(void) {
	if (!spool_rig_begin()) return 1;
	RUN(tried_again);
	RUN(half_taken);
	RUN(refused_for_good);
	RUN(last_words);
	RUN(hangs);
	RUN(given_up);
	RUN(young_ones_are_kept);
	RUN_IF(CHILD_THREADS, a_spool_of_old_ones);
	dirs_remove();
	return DONE();
}
