/* Watches while threads write, close, begin, or hang. */
#include "watch_rig.h"

enum { WRITES = 10000 };

static void *write_much(void *ud) {
	fake *f = ud;
	char text[32];
	int i;
	for (i = 1; i <= WRITES; i++) {
		snprintf(text, sizeof text, "%d", i);
		fake_put(f, text, ZBZ_OK);
	}
	return NULL;
}

static void never_misses_the_last_of_many_writes(void) {
	int round;
	for (round = 0; round < 5; round++) {
		owner o;
		pthread_t writer;
		long last = 0, values = 0;
		bool forward = true;
		owner_open(&o, fake_new("0"), (zbz_watch_opts){ .debounce = 1 });
		CHECK(owner_begin(&o) == ZBZ_OK);
		CHECK(pthread_create(&writer, NULL, write_much, o.f) == 0);
		while (last < WRITES && owner_await(&o) == ZBZ_NEWS_VALUE) {
			long n;
			zbz_buf_putc(&o.value, '\0', NULL);
			n = atol(o.value.p);
			forward &= n >= last;
			last = n;
			values++;
		}
		pthread_join(writer, NULL);
		CHECK(last == WRITES);
		CHECK(forward);
		CHECK(values >= 1 && values < WRITES);
		owner_close(&o);
	}
}

static void closes_without_waiting_for_a_read(void) {
	owner o;
	int64_t began;
	owner_open(&o, fake_new("one"), quick);
	CHECK(owner_begin(&o) == ZBZ_OK);
	fake_hold(o.f, true);
	fake_put(o.f, "two", ZBZ_OK);
	fake_await_held(o.f);
	began = now_ms();
	zbz_watch_close(o.w);
	zbz_source_unref(o.source);
	CHECK(now_ms() - began < 2000);
	CHECK(zbz_watch_settle(now_ms() + 20, &o.err) == ZBZ_E_TIMEOUT);
	CHECK(!o.f->closed);
	fake_hold(o.f, false);
	settle();
	CHECK(o.f->closed && o.f->unsubscribes == 1);
	CHECK(o.calls == 0); /* nothing was told after the close */
	free(o.f);
	zbz_buf_clear(&o.value);
}

static void *begin_it(void *ud) {
	owner *o = ud;
	zbz_call c = a_call();
	zbz_status s = zbz_watch_begin(o->w, &c);
	zbz_watch_unref(o->w);
	return (void *)(intptr_t)s;
}

/* The watch begins on a thread of its own, and is held in its first look. */
static pthread_t begin_held(owner *o) {
	pthread_t th;
	owner_open(o, fake_new("one"), quick);
	fake_hold(o->f, true);
	zbz_watch_ref(o->w);
	CHECK(pthread_create(&th, NULL, begin_it, o) == 0);
	fake_await_held(o->f);
	return th;
}
/* Let go, what does the beginning answer? */
static zbz_status begun(owner *o, pthread_t th) {
	void *result;
	fake_hold(o->f, false);
	pthread_join(th, &result);
	return (zbz_status)(intptr_t)result;
}

static void may_be_closed_while_it_begins(void) {
	owner o;
	pthread_t th = begin_held(&o);
	zbz_watch_close(o.w);
	CHECK(begun(&o, th) == ZBZ_E_CLOSED);
	zbz_source_unref(o.source);
	settle();
	CHECK(o.f->closed);
	free(o.f);
}

static void may_be_started_while_it_begins(void) {
	owner o;
	pthread_t th = begin_held(&o);
	CHECK(zbz_watch_start(o.w, &o.err) == ZBZ_OK);
	CHECK(begun(&o, th) == ZBZ_OK);
	CHECK(owner_await(&o) == ZBZ_NEWS_VALUE && value_is(&o, "one"));
	fake_put(o.f, "two", ZBZ_OK);
	CHECK(owner_await(&o) == ZBZ_NEWS_VALUE && value_is(&o, "two"));
	zbz_watch_close(o.w);
	zbz_source_unref(o.source);
	settle();
	CHECK(o.f->closed && o.f->unsubscribes == 1);
	free(o.f);
	zbz_buf_clear(&o.value);
}

/* One source hangs; another one's keys go on. */
static void a_source_that_hangs_holds_up_nobody(void) {
	owner stuck[4], fine;
	int i;
	for (i = 0; i < 2; i++) {
		owner_open(&stuck[i], fake_new("s"), quick);
		CHECK(owner_begin(&stuck[i]) == ZBZ_OK);
		fake_hold(stuck[i].f, true);
		fake_put(stuck[i].f, "t", ZBZ_OK);
		fake_await_held(stuck[i].f);
	}
	owner_open(&fine, fake_new("one"), quick);
	CHECK(owner_begin(&fine) == ZBZ_OK);
	CHECK(owner_take(&fine) == ZBZ_NEWS_VALUE);
	fake_put(fine.f, "two", ZBZ_OK);
	CHECK(owner_await(&fine) == ZBZ_NEWS_VALUE && value_is(&fine, "two"));
	for (i = 0; i < 2; i++) fake_hold(stuck[i].f, false);
	for (i = 0; i < 2; i++) {
		zbz_watch_close(stuck[i].w);
		zbz_source_unref(stuck[i].source);
	}
	owner_close(&fine);
	for (i = 0; i < 2; i++) free(stuck[i].f);
}

static void there_are_not_too_many(void) {
	static zbz_watch *all[ZBZ_WATCH_MAX];
	const zbz_watch_opts opts = { .poll = 600000 };
	zbz_watch *extra = NULL;
	zbz_err err;
	size_t i;
	bool fine = true;
	for (i = 0; i < ZBZ_WATCH_MAX; i++)
		fine &= zbz_watch_open(NULL, zbz_bstr("k"), &opts, &all[i], &err) == ZBZ_OK &&
		        zbz_watch_start(all[i], &err) == ZBZ_OK;
	CHECK(fine);
	CHECK(zbz_watch_open(NULL, zbz_bstr("k"), &opts, &extra, &err) == ZBZ_E_UNAVAILABLE && extra == NULL);
	for (i = 0; i < ZBZ_WATCH_MAX; i++) zbz_watch_close(all[i]);
	settle();
	CHECK(zbz_watch_open(NULL, zbz_bstr("k"), &opts, &extra, &err) == ZBZ_OK);
	zbz_watch_close(extra);
	zbz_watch_close(NULL);
	settle();
}

int main(void) {
	RUN(never_misses_the_last_of_many_writes);
	RUN(closes_without_waiting_for_a_read);
	RUN(may_be_closed_while_it_begins);
	RUN(may_be_started_while_it_begins);
	RUN(a_source_that_hangs_holds_up_nobody);
	RUN(there_are_not_too_many);
	return DONE();
}
