/* A full ring: what each policy keeps, how long a call waits, and what is told of the losses. */
#include "log_help.h"

static size_t upper(void *ud, const zbz_record_head *head, zbz_bytes message, char *to, size_t room) {
	++*(int *)ud;
	if (head->level != ZBZ_LEVEL_WARN || room < message.n + 3) return 0;
	to[0] = '!';
	memcpy(to + 1, message.p, message.n);
	to[message.n + 1] = '\n';
	return message.n + 2;
}

static char long_line[1024];

/* Fills the ring while the sink holds its first batch: one record with it, the rest in the ring. */
static uint64_t fill(zbz_output *o) {
	uint64_t n = 0;
	told_hold(true);
	say(o, "first\n");
	told_await_held();
	for (; numbers(o).dropped_full == 0 && n < 1000; n++) say(o, long_line);
	return n;
}

static void newest_dropped(void) {
	zbz_output *o = opened("type=told name=newest ring_size=64KB policy=drop_newest");
	uint64_t tried, dropped;
	int told_of = 0;
	char text[64];
	told_reset();
	zbz_output_on_notice(o, upper, &told_of);
	tried = fill(o);
	for (int i = 0; i < 10; i++, tried++) CHECK(!say(o, long_line));
	dropped = numbers(o).dropped_full;
	CHECK(dropped == 11);
	told_hold(false);
	CHECK(flush(o, 5000) == ZBZ_OK);
	CHECK(told_lines() == 1 + tried - dropped + 1);
	CHECK(told_of >= 1);
	snprintf(text, sizeof text, "!zbz: %llu records dropped\n", (unsigned long long)dropped);
	CHECK(told.n > strlen(text) && memcmp(told.text + told.n - strlen(text), text, strlen(text)) == 0);
	CHECK(numbers(o).records == 1 + tried - dropped + 1);
	zbz_output_unref(o);
}

static void oldest_dropped(void) {
	zbz_output *o = opened("type=told name=oldest ring_size=64KB policy=drop_oldest");
	uint64_t dropped;
	size_t fit = 0;
	told_reset();
	told_hold(true);
	say(o, "first\n");
	told_await_held();
	while (numbers(o).dropped_full == 0) {
		char line[1024];
		snprintf(line, sizeof line, "%zu %.900s", fit++, long_line);
		CHECK(say(o, line));
	}
	CHECK(say(o, "last\n"));
	dropped = numbers(o).dropped_full;
	CHECK(dropped >= 1 && dropped < fit);
	told_hold(false);
	CHECK(flush(o, 5000) == ZBZ_OK);
	CHECK(told_lines() == 1 + fit - dropped + 1 + 1);
	CHECK(memcmp(told.text, "first\n", 6) == 0); /* it was with the sink already */
	CHECK((unsigned long)strtoul(told.text + 6, NULL, 10) == dropped);
	CHECK(strstr(told.text, "last\n") != NULL && strstr(told.text, "records dropped\n") != NULL);
	zbz_output_unref(o);
}

static void lag_has_a_bound(void) {
	zbz_output *o = opened("type=told name=lag ring_size=64KB policy=drop_oldest");
	told_reset();
	told_hold(true);
	say(o, "first\n");
	told_await_held();
	for (int i = 0; i < 1000; i++) CHECK(say(o, long_line));
	CHECK(numbers(o).lag > 0 && numbers(o).lag <= 64 * 1024 + 256 * 1024); /* the ring and a batch */
	told_hold(false);
	CHECK(flush(o, 5000) == ZBZ_OK && numbers(o).lag == 0);
	zbz_output_unref(o);
}

static void blocked_in_vain(void) {
	zbz_output *o = opened("type=told name=block ring_size=64KB policy=block block_for=30ms");
	int64_t began;
	told_reset();
	fill(o);
	CHECK(numbers(o).dropped_full == 1);
	began = ms_now();
	CHECK(!say(o, long_line));
	CHECK(ms_now() - began >= 29);
	zbz_output_never_wait(o, true);
	began = ms_now();
	for (int i = 0; i < 100; i++) CHECK(!say(o, long_line));
	CHECK(ms_now() - began < 1000);
	CHECK(numbers(o).dropped_full == 102);
	told_hold(false);
	CHECK(flush(o, 5000) == ZBZ_OK);
	zbz_output_unref(o);
}

static void *let_go(void *o) {
	(void)o;
	told_hold(false);
	return NULL;
}

static void blocked_until_there_is_room(void) {
	zbz_output *o = opened("type=told name=wait ring_size=64KB policy=drop_newest");
	zbz_output *waits = opened("type=told name=wait ring_size=64KB policy=block block_for=60s");
	pthread_t id;
	told_reset();
	fill(o);
	pthread_create(&id, NULL, let_go, NULL);
	CHECK(say(waits, long_line));
	pthread_join(id, NULL);
	CHECK(flush(o, 5000) == ZBZ_OK && numbers(o).dropped_full == 1);
	zbz_output_unref(o);
	zbz_output_unref(waits);
}

int main(void) {
	if (!dirs_make() || zbz_sink_register(&told_sink, NULL) != ZBZ_OK) return 1;
	memset(long_line, 'x', 800);
	long_line[800] = '\n';
	RUN(newest_dropped);
	RUN(oldest_dropped);
	RUN(lag_has_a_bound);
	RUN(blocked_in_vain);
	RUN(blocked_until_there_is_room);
	dirs_remove();
	return DONE();
}
