/* Outputs from their handles: what a sink sees of records, syncs and reopening; several handles and threads on one output. */
#include "log_help.h"

static void what_a_sink_sees(void) {
	char logger[300];
	zbz_record_head head = { .at = 1234567890123456789,
		                     .level = ZBZ_LEVEL_ERROR,
		                     .labels = zbz_bstr("\x81\xa1k\xa1v") };
	zbz_output *o = opened("type=told name=a");
	memset(logger, 'l', sizeof logger);
	head.logger = zbz_b(logger, sizeof logger);
	told_reset();
	CHECK(zbz_output_append(o, &head, zbz_bstr("one\n")));
	CHECK(flush(o, 5000) == ZBZ_OK);
	CHECK(told_is("one\n"));
	CHECK(told.last.head.at == head.at && told.last.head.level == ZBZ_LEVEL_ERROR);
	CHECK(strlen(told.logger) == 255 && told.logger[254] == 'l');
	CHECK_STR(told.labels, "\x81\xa1k\xa1v");
	CHECK(numbers(o).records == 1 && numbers(o).bytes == 4 && numbers(o).written == 1 && numbers(o).written_bytes == 4);
	CHECK(numbers(o).lag == 0 && numbers(o).writer);
	zbz_output_unref(o);
	CHECK(no_rings());
}

/* No two records share a time; a clock that goes back a little is not followed, one that was set back is. */
static void times_rise(void) {
	static const int64_t said[] = {
		5000000000, 5000000000, 4999999999, 4500000000, 5000000010, 3900000000, 3900000000
	};
	static const int64_t kept[] = {
		5000000000, 5000000001, 5000000002, 5000000003, 5000000010, 3900000000, 3900000001
	};
	zbz_output *o = opened("type=told name=times");
	told_reset();
	for (size_t i = 0; i < sizeof said / sizeof *said; i++) {
		zbz_record_head head = { .at = said[i], .level = ZBZ_LEVEL_INFO };
		CHECK(zbz_output_append(o, &head, zbz_bstr("x\n")) && flush(o, 5000) == ZBZ_OK);
		CHECK(told.last.head.at == kept[i]);
	}
	zbz_output_unref(o);
}

static void a_place_given_back(void) {
	zbz_record_head head = { .at = 1, .level = ZBZ_LEVEL_INFO };
	zbz_output *o = opened("type=memory");
	zbz_call c = log_call(5000);
	zbz_buf out = { 0 };
	char *to = zbz_output_reserve(o, &head, 100);
	CHECK(to != NULL);
	zbz_output_commit(o, 0);
	to = zbz_output_reserve(o, &head, 100);
	CHECK(to != NULL);
	memcpy(to, "ab\n", 3);
	zbz_output_commit(o, 3);
	CHECK(zbz_output_read(o, &c, true, &out) == ZBZ_OK && zbz_bytes_eq(zbz_buf_bytes(&out), zbz_bstr("ab\n")));
	zbz_buf_reset(&out);
	CHECK(zbz_output_read(o, &c, false, &out) == ZBZ_OK && out.n == 0);
	zbz_buf_clear(&out);
	zbz_output_unref(o);
}

/* The ring turns over many times; nothing is lost, torn or out of order. */
static void round_and_round(void) {
	enum { N = 20000 };
	zbz_output *o = opened("type=told name=round ring_size=64KB policy=block block_for=60s");
	char line[200];
	size_t at = 0;
	int i, bad = 0;
	told_reset();
	for (i = 0; i < N; i++) {
		snprintf(line, sizeof line, "%d %.*s\n", i % 1000, i % 37, "......................................");
		CHECK(say(o, line));
		if (i % 1000 != 999) continue;
		CHECK(flush(o, 20000) == ZBZ_OK);
		for (int k = i - 999; k <= i; k++) {
			int n =
			    snprintf(line, sizeof line, "%d %.*s\n", k % 1000, k % 37, "......................................");
			bad += at + (size_t)n > told.n || memcmp(told.text + at, line, (size_t)n) != 0;
			at += (size_t)n;
		}
		at = 0;
		told_reset();
	}
	CHECK(bad == 0);
	CHECK(numbers(o).records == N && numbers(o).written == N && numbers(o).damaged == 0);
	zbz_output_unref(o);
}

static void the_largest(void) {
	zbz_record_head head = { .at = 1, .level = ZBZ_LEVEL_INFO };
	zbz_output *o = opened("type=null ring_size=4MB");
	size_t n = (size_t)1 << 20;
	char *big = malloc(n + 1);
	memset(big, 'x', n + 1);
	CHECK(zbz_output_append(o, &head, zbz_b(big, n)));
	CHECK(!zbz_output_append(o, &head, zbz_b(big, n + 1)));
	CHECK(numbers(o).dropped_large == 1);
	CHECK(flush(o, 5000) == ZBZ_OK);
	zbz_output_unref(o);
	o = opened("type=null ring_size=64KB");
	CHECK(!zbz_output_append(o, &head, zbz_b(big, 40000)) && numbers(o).dropped_large == 1);
	CHECK(zbz_output_append(o, &head, zbz_b(big, 32000)));
	CHECK(flush(o, 5000) == ZBZ_OK && numbers(o).written == 2); /* and the loss was told of */
	zbz_output_unref(o);
	free(big);
}

static void synced_by_group(void) {
	zbz_output *o = opened("type=told name=sync sync=group");
	told_reset();
	for (int i = 0; i < 1000; i++) say(o, "s\n");
	CHECK(flush(o, 5000) == ZBZ_OK);
	CHECK(told_lines() == 1000);
	CHECK(told_get(&told.syncs) >= 1 && told_get(&told.syncs) < 100);
	CHECK(numbers(o).syncs == (uint64_t)told_get(&told.syncs));
	zbz_output_unref(o);
}

static void reopened(void) {
	zbz_output *o = opened("type=told name=reopen");
	zbz_call c = log_call(5000);
	told_reset();
	CHECK(zbz_output_reopen(o, &c) == ZBZ_OK && told_get(&told.reopens) == 0); /* nothing is open */
	say(o, "x\n");
	CHECK(flush(o, 5000) == ZBZ_OK);
	CHECK(zbz_output_reopen(o, &c) == ZBZ_OK && told_get(&told.reopens) == 1);
	zbz_output_unref(o);
}

/* ---- several handles, threads ---- */

static void one_identity(void) {
	zbz_output *a, *b, *c;
	told_reset();
	a = opened("type=told name=same");
	say(a, "a\n");
	CHECK(flush(a, 5000) == ZBZ_OK); /* there is a writer: the next open does not write for it */
	b = opened("type=told name=same sync=group");
	c = opened("type=told name=other");
	say(b, "b\n");
	say(a, "c\n");
	CHECK(flush(a, 5000) == ZBZ_OK);
	CHECK(told_is("a\nb\nc\n"));
	CHECK(numbers(b).records == 3 && numbers(c).records == 0);
	CHECK(told_get(&told.opens) == 3 && told_get(&told.closes) == 1); /* the second sink took the place of the first */
	CHECK(told_get(&told.syncs) > 0);                                 /* and its options hold */
	zbz_output_unref(a);
	say(b, "d\n");
	CHECK(flush(b, 5000) == ZBZ_OK && told_is("a\nb\nc\nd\n"));
	zbz_output_unref(b);
	zbz_output_unref(c);
	CHECK(told_get(&told.closes) == 3);
	CHECK(no_rings());
}

static void *many(void *arg) {
	zbz_output *o = arg;
	for (int i = 0; i < 5000; i++)
		if (!say(o, "line\n")) return o;
	return NULL;
}

static void threads(void) {
	zbz_output *o = opened("type=told name=threads ring_size=64KB block_for=60s");
	pthread_t id[4];
	int failed = 0;
	void *result;
	told_reset();
	for (int i = 0; i < 4; i++) pthread_create(&id[i], NULL, many, o);
	for (int i = 0; i < 4; i++) {
		pthread_join(id[i], &result);
		failed += result != NULL;
	}
	CHECK(failed == 0 && flush(o, 20000) == ZBZ_OK);
	CHECK(told_lines() == 20000 && numbers(o).records == 20000);
	zbz_output_unref(o);
}

static void swapped_under_load(void) {
	zbz_output *o = opened("type=told name=swap block_for=60s");
	pthread_t id;
	void *result;
	told_reset();
	pthread_create(&id, NULL, many, o);
	for (int i = 0; i < 1000; i++) zbz_output_unref(opened("type=told name=swap"));
	pthread_join(id, &result);
	CHECK(result == NULL && flush(o, 5000) == ZBZ_OK);
	CHECK(told_lines() == 5000);
	zbz_output_unref(o);
	CHECK(told_get(&told.opens) == told_get(&told.closes) - 1); /* the first was opened before the reset */
}

int main(void) {
	if (!dirs_make() || zbz_sink_register(&told_sink, NULL) != ZBZ_OK) return 1;
	RUN(what_a_sink_sees);
	RUN(times_rise);
	RUN(a_place_given_back);
	RUN(round_and_round);
	RUN(the_largest);
	RUN(synced_by_group);
	RUN(reopened);
	RUN(one_identity);
	RUN(threads);
	RUN(swapped_under_load);
	dirs_remove();
	return DONE();
}
