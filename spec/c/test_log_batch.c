/* Batches: how large they grow, how long they wait, and who does not wait for them. */
#include "spool_rig.h"

static void a_batch_waits_to_fill(void) {
	zbz_output *o = opened("type=told name=wait batch_size=1000B batch_wait=600s");
	told_reset();
	for (int i = 0; i < 4; i++) say(o, numbered(i));
	AWAIT(numbers(o).writer);
	CHECK(told_get(&told.calls) == 0);
	say(o, numbered(4)); /* makes it 1000 bytes */
	told_await_bytes(1000);
	CHECK(told_get(&told.calls) == 1 && told_numbers(0, 5));
	zbz_output_unref(o);
}

/* Never more than its size in one write, but for a record that is larger by itself. */
static void a_batch_is_no_larger(void) {
	zbz_output *o = opened("type=told name=most batch_size=500B");
	char big[900];
	told_reset();
	told_hold(true);
	say(o, "first\n");
	told_await_held();
	memset(big, 'y', 898);
	memcpy(big + 898, "\n", 2);
	for (int i = 0; i < 4; i++) say(o, numbered(i));
	say(o, big);
	say(o, "last\n");
	told_hold(false);
	CHECK(flush(o, 5000) == ZBZ_OK);
	CHECK(told_get(&told.calls) == 5); /* first, 0 1, 2 3, big, last */
	CHECK(lines() == 7);
	zbz_output_unref(o);
}

static void a_batch_ends_with_its_time(void) {
	zbz_output *o = opened("type=told name=time batch_size=1MB batch_wait=80ms");
	int64_t began = ms_now();
	told_reset();
	say(o, numbered(0));
	told_await_bytes(200);
	CHECK(ms_now() - began >= 75);
	CHECK(told_get(&told.calls) == 1);
	zbz_output_unref(o);
}

static void nobody_waits_for_a_batch(void) {
	int64_t began = ms_now();
	zbz_output *o = opened("type=told name=urgent batch_size=1MB batch_wait=600s linger=100s");
	zbz_call c = log_call(5000);
	told_reset();
	say(o, "a\n");
	CHECK(flush(o, 50000) == ZBZ_OK && told_is("a\n"));
	say(o, "b\n");
	CHECK(zbz_output_reopen(o, &c) == ZBZ_OK);
	zbz_output_unref(o); /* closing */
	CHECK(told_is("a\nb\n"));
	CHECK(ms_now() - began < 20000);
}

/* More than a ring holds, in one write: the batch takes the records out of the ring while it waits. */
static void a_batch_larger_than_the_ring(void) {
	zbz_output *o = opened("type=told name=larger ring_size=64KB batch_size=400KB batch_wait=600s block_for=60s");
	told_reset();
	say_all(o, 0, 2048); /* 400 KB of text */
	told_await_bytes((size_t)2048 * 200);
	CHECK(told_get(&told.calls) == 1 && told_numbers(0, 2048));
	zbz_output_unref(o);
}

/* A process dies while its batch fills. */
static void a_batch_left_half_filled(void) {
	zbz_config *cfg = log_config("type=told name=half batch_size=1MB batch_wait=600s ring_size=64KB");
	zbz_call c = log_call(5000);
	uint64_t n = 0;
	pid_t pid = fork();
	if (pid == 0) {
		zbz_output *o;
		told_reset();
		o = opened("type=told name=half batch_size=1MB batch_wait=600s ring_size=64KB block_for=60s");
		for (int i = 0; i < 600; i++) say(o, numbered(i)); /* twice the ring: part of it is in the journal */
		_exit(told_get(&told.calls) == 0 ? 0 : 1);
	}
	CHECK(exit_code(pid) == 0);
	told_reset();
	CHECK(zbz_output_recover(cfg, &c, &n) == ZBZ_OK && n == 600);
	CHECK(told_numbers(0, 600));
	zbz_config_free(cfg);
}

int main(void) {
	if (!spool_rig_begin()) return 1;
	RUN(a_batch_waits_to_fill);
	RUN(a_batch_is_no_larger);
	RUN(a_batch_ends_with_its_time);
	RUN(nobody_waits_for_a_batch);
	RUN(a_batch_larger_than_the_ring);
	RUN_IF(CHILD_THREADS, a_batch_left_half_filled);
	dirs_remove();
	return DONE();
}
