/* What nobody knows for a while: whether a sink has what was on its way, and who had a spool when it was written. */
#include "child.h"
#include "spool_rig.h"

#include <signal.h>

/* ---- a sink with marks, which takes a write and says that it failed, and cannot be asked for a while ---- */

static struct doubt {
	_Atomic int lies;  /* writes that are taken and said to have failed */
	_Atomic int mute;  /* questions that fail */
	_Atomic int asked; /* that failed */
	_Atomic uint64_t size;
	char text[1 << 16];
} doubt;

static zbz_status doubt_write(void *self, zbz_call *c, const zbz_record *records, size_t n, size_t *done) {
	zbz_bytes run = zbz_record_run(records, n);
	uint64_t at = atomic_load(&doubt.size);
	(void)self;
	*done = 0;
	if (at + run.n > sizeof doubt.text) return zbz_fail(&c->err, ZBZ_E_TOO_LARGE, "the test writes too much");
	memcpy(doubt.text + at, run.p, run.n);
	atomic_store(&doubt.size, at + run.n);
	if (doubt.lies > 0) {
		doubt.lies--;
		return zbz_fail(&c->err, ZBZ_E_TIMEOUT, "no answer");
	}
	*done = n;
	return ZBZ_OK;
}

static zbz_status doubt_mark(void *self, zbz_call *c, uint64_t least, zbz_sink_mark *mark, uint64_t *room) {
	(void)self, (void)c, (void)least, (void)room;
	*mark = (zbz_sink_mark){ 1, 1, atomic_load(&doubt.size) };
	return ZBZ_OK;
}

static zbz_status doubt_landed(void *self, zbz_call *c, const zbz_sink_mark *mark, uint64_t *bytes) {
	(void)self;
	if (doubt.mute > 0) {
		doubt.mute--;
		doubt.asked++;
		return zbz_fail(&c->err, ZBZ_E_UNAVAILABLE, "nobody answers");
	}
	*bytes = atomic_load(&doubt.size) - mark->size;
	return ZBZ_OK;
}

static zbz_sink_ops doubt_sink;

/* Lines are of 1970: old enough to be given up at once. */
static void nothing_is_given_up_unknown(void) {
	zbz_output *o = opened("type=doubt name=unknown retry_timeout=1ms max_retry_delay=5ms");
	zbz_output_stats st;
	doubt.lies = 1;
	doubt.mute = 5;
	CHECK(say(o, "first\n"));
	CHECK(flush(o, 10000) == ZBZ_OK);
	st = numbers(o);
	CHECK(doubt.asked == 5 && doubt.mute == 0);
	CHECK(st.dead_letters == 0 && st.written == 0);
	CHECK(atomic_load(&doubt.size) == 6 && memcmp(doubt.text, "first\n", 6) == 0);
	CHECK(say(o, "second\n") && flush(o, 10000) == ZBZ_OK);
	CHECK(atomic_load(&doubt.size) == 13 && memcmp(doubt.text, "first\nsecond\n", 13) == 0);
	CHECK(numbers(o).dead_letters == 0);
	zbz_output_unref(o);
	CHECK(no_rings());
}

/* ---- a batch from a spool, and a writer without it ---- */

enum { RECORDS = 400 };

static _Atomic int ration; /* writes that go well; the others fail */
static _Atomic int refusals;

static zbz_status rationed_write(void *self, zbz_call *c, const zbz_record *records, size_t n, size_t *done) {
	if (ration > 0) {
		ration--;
		return told_write(self, c, records, n, done);
	}
	*done = 0;
	refusals++;
	return zbz_fail(&c->err, ZBZ_E_UNAVAILABLE, "no ration");
}

static zbz_sink_ops rationed_sink;

static zbz_output *rationed(const char *dir) {
	char options[500];
	snprintf(options, sizeof options,
	         "type=rationed name=bread ring_size=64KB max_retry_delay=5ms batch_size=4000B linger=5s%s%s",
	         dir != NULL ? " spool=" : "", dir != NULL ? dir : "");
	return opened(options);
}

/* Killed with a batch from the spool on its way; 20 lines have gone before it. */
static void die_reading(void) {
	pid_t pid;
	told_reset();
	ration = 0;
	pid = fork();
	if (pid == 0) {
		zbz_output *o = rationed(spool);
		int before;
		for (int i = 0; i < RECORDS; i++) say(o, numbered(i));
		while (numbers(o).spooled == 0) sched_yield();
		ration = 1;
		while (ration > 0) sched_yield();
		before = refusals;
		while (refusals < before + 2) sched_yield(); /* the first may have been of the batch before */
		kill(getpid(), SIGKILL);
	}
	waitpid(pid, NULL, 0);
}

/* How often each line is there; the first that is not there `times` times, or -1. */
static int odd_line(int from, int to, int times) {
	int seen[RECORDS] = { 0 }, odd = -1;
	pthread_mutex_lock(&told.lock);
	for (size_t at = 0; at < told.n; at += 200) {
		int i = atoi(told.text + at);
		if (i >= 0 && i < RECORDS) seen[i]++;
	}
	pthread_mutex_unlock(&told.lock);
	for (int i = to - 1; i >= from; i--)
		if (seen[i] != times) odd = i;
	return odd;
}

static void drain_with(const char *dir) {
	zbz_output *o;
	ration = RECORDS;
	o = rationed(dir);
	CHECK(say(o, numbered(0)) && flush(o, 10000) == ZBZ_OK);
	zbz_output_unref(o);
}

/* `between` works without the spool, or with another one. */
static void a_batch_of_a_spool_comes_once(const char *between) {
	int middle, first;
	die_reading();
	told_reset();
	drain_with(between);
	middle = lines();
	CHECK(middle > 1 && middle < RECORDS - 20);
	drain_with(spool);
	first = atoi(told.text); /* what the child had written is not here */
	CHECK(first >= 20 && first < RECORDS);
	CHECK(lines() == RECORDS - first + 2);
	CHECK(odd_line(first, RECORDS, 1) == -1);
	CHECK(no_rings());
}

static void without_the_spool(void) { a_batch_of_a_spool_comes_once(NULL); }

static void with_another_spool(void) {
	char other[200];
	snprintf(other, sizeof other, "%s/other", work);
	CHECK(mkdir(other, 0700) == 0);
	a_batch_of_a_spool_comes_once(other);
}

int main(void) {
	if (!spool_rig_begin()) return 1;
	doubt_sink = told_sink;
	doubt_sink.name = "doubt";
	doubt_sink.write = doubt_write;
	doubt_sink.mark = doubt_mark;
	doubt_sink.landed = doubt_landed;
	rationed_sink = told_sink;
	rationed_sink.name = "rationed";
	rationed_sink.write = rationed_write;
	if (zbz_sink_register(&doubt_sink, NULL) != ZBZ_OK || zbz_sink_register(&rationed_sink, NULL) != ZBZ_OK) return 1;
	RUN(nothing_is_given_up_unknown);
	RUN_IF(CHILD_THREADS, without_the_spool);
	RUN_IF(CHILD_THREADS, with_another_spool);
	dirs_remove();
	return DONE();
}
