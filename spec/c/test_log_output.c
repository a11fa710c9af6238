/* Outputs from their handles: records, policies, losses, failing and hanging sinks, forks, several processes, recovery. */
#include <signal.h>
#include <sys/resource.h>

#include "faults.h"
#include "log_help.h"

/* ---- records ---- */

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

/* ---- a full ring ---- */

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

/* ---- sinks that fail ---- */

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

/* ---- several handles, threads, processes ---- */

static void one_identity(void) {
	zbz_output *a, *b, *c;
	told_reset();
	a = opened("type=told name=same");
	say(a, "a\n");
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

/* The child has a ring of its own, the parent's stays the parent's. */
static void forked(void) {
	char options[200], path[120];
	zbz_output *o;
	pid_t pid;
	snprintf(path, sizeof path, "%s/fork.log", work);
	snprintf(options, sizeof options, "type=file path=%s", path);
	o = opened(options);
	CHECK(say(o, "parent 1\n"));
	CHECK(flush(o, 5000) == ZBZ_OK);
	pid = fork();
	if (pid == 0) {
		bool ok = say(o, "child 1\n") && flush(o, 5000) == ZBZ_OK && numbers(o).records == 1 && !numbers(o).writer;
		zbz_output_unref(o);
		_exit(ok ? 0 : 1);
	}
	CHECK(exit_code(pid) == 0);
	CHECK(say(o, "parent 2\n"));
	CHECK(flush(o, 5000) == ZBZ_OK);
	CHECK_STR(slurp(path), "parent 1\nchild 1\nparent 2\n");
	zbz_output_unref(o);
	CHECK(no_rings());
}

/* The writer is killed; the one that waited for its place goes on, with the dead one's records first in their order. */
static void taken_over(void) {
	char options[200], path[120];
	zbz_output *o;
	pid_t pid;
	int ready[2];
	char byte;
	snprintf(path, sizeof path, "%s/over.log", work);
	snprintf(options, sizeof options, "type=file path=%s", path);
	CHECK(pipe(ready) == 0);
	pid = fork();
	if (pid == 0) {
		o = opened(options);
		say(o, "child 1\n");
		flush(o, 5000);
		if (write(ready[1], "x", 1) != 1) _exit(1);
		for (;;) pause();
	}
	CHECK(read(ready[0], &byte, 1) == 1);
	o = opened(options);
	CHECK(say(o, "parent 1\n") && flush(o, 5000) == ZBZ_OK);
	CHECK(!numbers(o).writer);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	CHECK(say(o, "parent 2\n") && flush(o, 5000) == ZBZ_OK);
	CHECK(numbers(o).writer);
	CHECK_STR(slurp(path), "child 1\nparent 1\nparent 2\n");
	zbz_output_unref(o);
	CHECK(no_rings());
	close(ready[0]);
	close(ready[1]);
}

/* A process that dies with records in its ring, because its sink hung. */
static void left_behind(const char *options) {
	pid_t pid = fork();
	if (pid == 0) {
		zbz_output *o;
		told_reset();
		told_hold(true);
		o = opened(options);
		say(o, "left 1\n");
		told_await_held();
		say(o, "left 2\n");
		say(o, "left 3\n");
		_exit(0);
	}
	CHECK(exit_code(pid) == 0);
}

static void recovered_on_request(void) {
	zbz_config *cfg = log_config("type=told name=recover");
	zbz_call c = log_call(5000);
	uint64_t n = 99;
	left_behind("type=told name=recover");
	CHECK(!no_rings());
	told_reset();
	CHECK(zbz_output_recover(cfg, &c, &n) == ZBZ_OK && n == 3);
	CHECK(told_is("left 1\nleft 2\nleft 3\n"));
	CHECK(no_rings());
	CHECK(zbz_output_recover(cfg, &c, &n) == ZBZ_OK && n == 0);
	zbz_config_free(cfg);
}

static void recovered_at_open(void) {
	zbz_output *o;
	left_behind("type=told name=atopen");
	told_reset();
	o = opened("type=told name=atopen");
	CHECK(told_is("left 1\nleft 2\nleft 3\n"));
	CHECK(numbers(o).recovered == 3 && no_rings());
	say(o, "new\n");
	CHECK(flush(o, 5000) == ZBZ_OK && told_is("left 1\nleft 2\nleft 3\nnew\n"));
	zbz_output_unref(o);
}

static void recovered_when_the_sink_comes_back(void) {
	zbz_output *o;
	left_behind("type=told name=later");
	told_reset();
	told_set(&told.fail, 1);
	o = opened("type=told name=later max_retry_delay=10ms");
	CHECK(told_is("")); /* not while it is opened */
	say(o, "new\n");
	CHECK(flush(o, 5000) == ZBZ_OK);
	CHECK(told_is("left 1\nleft 2\nleft 3\nnew\n"));
	CHECK(numbers(o).recovered == 3);
	zbz_output_unref(o);
}

/* ---- bad input ---- */

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

/* Opened as root, used as somebody else, as in nginx: the rings belong to the one who logs. */
static void rights_given_up(void) {
	pid_t pid;
	if (geteuid() != 0) return;
	CHECK(chmod(rings, 01777) == 0);
	pid = fork();
	if (pid == 0) {
		zbz_output *o = opened("type=told name=nobody");
		bool ok = setgid(65534) == 0 && setuid(65534) == 0 && say(o, "x\n") && flush(o, 5000) == ZBZ_OK;
		char dir[200];
		zbz_output_unref(o);
		snprintf(dir, sizeof dir, "%s/zbz-log-65534", rings);
		ok = ok && rmdir(dir) == 0; /* and it is empty */
		_exit(ok ? 0 : 1);
	}
	CHECK(exit_code(pid) == 0);
}

/* A program that ends without closing its outputs has them written all the same, and leaves nothing in the directory of rings. */
static void ended_without_closing(void) {
	char options[200], path[120];
	pid_t pid;
	snprintf(path, sizeof path, "%s/exit.log", work);
	snprintf(options, sizeof options, "type=file path=%s", path);
	pid = fork();
	if (pid == 0) {
		zbz_output *o = opened(options);
		for (int i = 0; i < 100; i++) say(o, "line\n");
		exit(0);
	}
	CHECK(exit_code(pid) == 0);
	CHECK(strlen(slurp(path)) == 500 && no_rings());
}

/* ---- memory ---- */

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
	memset(long_line, 'x', 800);
	long_line[800] = '\n';
	RUN(what_a_sink_sees);
	RUN(times_rise);
	RUN(last_words);
	RUN(a_place_given_back);
	RUN(round_and_round);
	RUN(the_largest);
	RUN(newest_dropped);
	RUN(oldest_dropped);
	RUN(lag_has_a_bound);
	RUN(blocked_in_vain);
	RUN(blocked_until_there_is_room);
	RUN(tried_again);
	RUN(half_taken);
	RUN(refused_for_good);
	RUN(hangs);
	RUN(synced_by_group);
	RUN(reopened);
	RUN(one_identity);
	RUN(threads);
	RUN(swapped_under_load);
	if (CHILD_THREADS) {
		RUN(forked);
		RUN(taken_over);
		RUN(recovered_on_request);
		RUN(recovered_at_open);
		RUN(recovered_when_the_sink_comes_back);
		RUN(little_room_for_a_ring);
		RUN(rights_given_up);
		RUN(ended_without_closing);
	}
	RUN(bad_options);
	RUN(bad_rings);
	RUN(no_room_for_a_ring);
	RUN(allocation_fails);
	dirs_remove();
	return DONE();
}
