/* What nobody knows for a while: whether a sink has what was on its way, and who had a spool when it was written. */
#include "spool_rig.h"

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

int main(void) {
	if (!dirs_make() || zbz_sink_register(&told_sink, NULL) != ZBZ_OK) return 1;
	doubt_sink = told_sink;
	doubt_sink.name = "doubt";
	doubt_sink.write = doubt_write;
	doubt_sink.mark = doubt_mark;
	doubt_sink.landed = doubt_landed;
	if (zbz_sink_register(&doubt_sink, NULL) != ZBZ_OK) return 1;
	snprintf(spool, sizeof spool, "%s/spool", work);
	if (mkdir(spool, 0700) != 0) return 1;
	RUN(nothing_is_given_up_unknown);
	dirs_remove();
	return DONE();
}
