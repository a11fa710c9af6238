/* Limits of retries: what is too old when the sink fails becomes a dead letter. */
#include "spool_rig.h"

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
	RUN(given_up);
	RUN(young_ones_are_kept);
	if (CHILD_THREADS) RUN(a_spool_of_old_ones);
	dirs_remove();
	return DONE();
}
