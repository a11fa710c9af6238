/* What watches tell, over a source that the test controls. Files and servers are watched in spec/lua. */
#include "watch_rig.h"

static void tells_values_once_and_equal_ones_never(void) {
	owner o;
	zbz_watch_info info;
	owner_open(&o, fake_new("one"), quick);
	CHECK(owner_begin(&o) == ZBZ_OK);
	CHECK(owner_take(&o) == ZBZ_NEWS_VALUE && value_is(&o, "one"));
	CHECK(owner_take(&o) == ZBZ_NEWS_NONE);
	fake_put(o.f, "two", ZBZ_OK);
	CHECK(owner_await(&o) == ZBZ_NEWS_VALUE && value_is(&o, "two"));
	zbz_watch_info_read(o.w, &info);
	CHECK(info.running && info.mode == ZBZ_SOURCE_NATIVE && info.values == 2 && !info.failing && info.seen > 0);
	fake_put(o.f, "two", ZBZ_OK);
	CHECK(reads_reach(&o, info.reads + 1));
	CHECK(owner_take(&o) == ZBZ_NEWS_NONE);
	CHECK(owner_begin(&o) == ZBZ_E_ARGUMENT);
	owner_close(&o);
}

static void tells_the_newest_to_who_takes_late(void) {
	owner o;
	owner_open(&o, fake_new("a"), quick);
	CHECK(owner_begin(&o) == ZBZ_OK);
	CHECK(owner_take(&o) == ZBZ_NEWS_VALUE);
	fake_put(o.f, "b", ZBZ_OK);
	CHECK(reads_reach(&o, 2));
	fake_put(o.f, "c", ZBZ_OK);
	CHECK(reads_reach(&o, 3));
	CHECK(o.calls == 1); /* told once until it is taken */
	CHECK(owner_take(&o) == ZBZ_NEWS_VALUE && value_is(&o, "c"));
	CHECK(owner_take(&o) == ZBZ_NEWS_NONE);
	fake_put(o.f, "d", ZBZ_OK);
	CHECK(reads_reach(&o, 4));
	fake_put(o.f, "c", ZBZ_OK); /* there and back */
	CHECK(reads_reach(&o, 5));
	CHECK(owner_take(&o) == ZBZ_NEWS_NONE);
	owner_close(&o);
}

static void tells_an_error_once_and_its_end(void) {
	owner o;
	unsigned gets;
	owner_open(&o, fake_new("one"), quick);
	CHECK(owner_begin(&o) == ZBZ_OK);
	CHECK(owner_take(&o) == ZBZ_NEWS_VALUE);
	fake_put(o.f, "", ZBZ_E_UNAVAILABLE);
	CHECK(owner_await(&o) == ZBZ_NEWS_ERROR && o.err.status == ZBZ_E_UNAVAILABLE);
	CHECK_STR(o.err.provider, "fake");
	gets = fake_gets(o.f);
	CHECK(reads_reach(&o, gets + 3)); /* it goes on looking by itself */
	CHECK(owner_take(&o) == ZBZ_NEWS_NONE);
	fake_put(o.f, "", ZBZ_E_DENIED);
	CHECK(owner_await(&o) == ZBZ_NEWS_ERROR && o.err.status == ZBZ_E_DENIED);
	fake_put(o.f, "one", ZBZ_OK);
	CHECK(owner_await(&o) == ZBZ_NEWS_MENDED);
	CHECK(owner_take(&o) == ZBZ_NEWS_NONE);
	fake_put(o.f, "", ZBZ_E_UNAVAILABLE);
	CHECK(owner_await(&o) == ZBZ_NEWS_ERROR);
	fake_put(o.f, "two", ZBZ_OK);
	CHECK(owner_await(&o) == ZBZ_NEWS_VALUE && value_is(&o, "two")); /* ends the error, too */
	CHECK(owner_take(&o) == ZBZ_NEWS_NONE);
	owner_close(&o);
}

static void waits_for_values_that_are_half_written(void) {
	owner o;
	zbz_watch_info info;
	owner_open(&o, fake_new("one"), quick);
	CHECK(owner_begin(&o) == ZBZ_OK);
	CHECK(owner_take(&o) == ZBZ_NEWS_VALUE);
	fake_put(o.f, "half", ZBZ_AGAIN);
	zbz_watch_info_read(o.w, &info);
	CHECK(reads_reach(&o, info.reads + 3));
	CHECK(owner_take(&o) == ZBZ_NEWS_NONE);
	fake_put(o.f, "whole", ZBZ_OK);
	CHECK(owner_await(&o) == ZBZ_NEWS_VALUE && value_is(&o, "whole"));
	fake_put(o.f, "", ZBZ_MISS); /* away for a moment, as in a save that renames */
	zbz_watch_info_read(o.w, &info);
	CHECK(reads_reach(&o, info.reads + 2));
	CHECK(owner_take(&o) == ZBZ_NEWS_NONE);
	fake_put(o.f, "back", ZBZ_OK);
	CHECK(owner_await(&o) == ZBZ_NEWS_VALUE && value_is(&o, "back"));
	fake_put(o.f, "", ZBZ_OK); /* empty */
	CHECK(owner_await(&o) == ZBZ_NEWS_ERROR && o.err.status == ZBZ_E_DECODE);
	fake_put(o.f, "", ZBZ_MISS); /* gone for good */
	CHECK(owner_await(&o) == ZBZ_NEWS_ERROR && o.err.status == ZBZ_E_UNAVAILABLE);
	fake_put(o.f, "back", ZBZ_OK);
	CHECK(owner_await(&o) == ZBZ_NEWS_MENDED);
	owner_close(&o);
}

static void refuses_what_cannot_be_a_first_value(void) {
	owner o;
	fake *f;
	owner_open(&o, fake_new("too much of it"), (zbz_watch_opts){ .max_size = 5 });
	CHECK(owner_begin(&o) == ZBZ_E_TOO_LARGE);
	CHECK(strstr(o.err.text, "5 bytes") != NULL);
	fake_put(o.f, "fits", ZBZ_OK);
	CHECK(owner_begin(&o) == ZBZ_OK); /* nothing was watched, so it may begin again */
	CHECK(owner_take(&o) == ZBZ_NEWS_VALUE && value_is(&o, "fits"));
	owner_close(&o);
	f = fake_new("");
	f->status = ZBZ_MISS;
	owner_open(&o, f, quick);
	CHECK(owner_begin(&o) == ZBZ_E_UNAVAILABLE);
	CHECK(strstr(o.err.text, "no 'key'") != NULL);
	owner_close(&o);
	owner_open(&o, fake_new(""), quick);
	CHECK(owner_begin(&o) == ZBZ_E_DECODE);
	owner_close(&o);
	owner_open(&o, fake_new(""), (zbz_watch_opts){ .allow_empty = true });
	CHECK(owner_begin(&o) == ZBZ_OK);
	CHECK(owner_take(&o) == ZBZ_NEWS_VALUE && o.value.n == 0);
	owner_close(&o);
}

static void pauses_and_looks_when_it_goes_on(void) {
	owner o;
	unsigned gets;
	owner_open(&o, fake_new("one"), quick);
	CHECK(owner_begin(&o) == ZBZ_OK);
	CHECK(owner_take(&o) == ZBZ_NEWS_VALUE);
	zbz_watch_pause(o.w);
	gets = fake_gets(o.f);
	fake_put(o.f, "two", ZBZ_OK);
	fake_put(o.f, "three", ZBZ_OK);
	CHECK(owner_take(&o) == ZBZ_NEWS_NONE);
	zbz_watch_resume(o.w);
	CHECK(owner_await(&o) == ZBZ_NEWS_VALUE && value_is(&o, "three"));
	CHECK(fake_gets(o.f) == gets + 1);
	fake_put(o.f, "four", ZBZ_OK);
	CHECK(reads_reach(&o, gets + 2));
	zbz_watch_pause(o.w); /* after it was told, before it was taken */
	CHECK(owner_take(&o) == ZBZ_NEWS_NONE);
	gets = o.calls;
	zbz_watch_resume(o.w);
	CHECK(o.calls == gets + 1);
	CHECK(owner_take(&o) == ZBZ_NEWS_VALUE && value_is(&o, "four"));
	zbz_watch_resume(o.w);
	owner_close(&o);
}

static void tells_again_when_there_was_no_room(void) {
	owner o;
	owner_open(&o, fake_new("one"), quick);
	CHECK(owner_begin(&o) == ZBZ_OK);
	CHECK(owner_take(&o) == ZBZ_NEWS_VALUE);
	pthread_mutex_lock(&o.lock);
	o.refuse = 3;
	pthread_mutex_unlock(&o.lock);
	fake_put(o.f, "two", ZBZ_OK);
	pthread_mutex_lock(&o.lock);
	while (o.calls < 4) pthread_cond_wait(&o.told, &o.lock);
	pthread_mutex_unlock(&o.lock);
	CHECK(owner_take(&o) == ZBZ_NEWS_VALUE && value_is(&o, "two"));
	owner_close(&o);
}

static void reads_without_watching(void) {
	owner o;
	zbz_call c = a_call();
	owner_open(&o, fake_new("one"), quick);
	CHECK(zbz_watch_read(o.w, &c) == ZBZ_OK);
	CHECK(owner_take(&o) == ZBZ_NEWS_VALUE && value_is(&o, "one"));
	CHECK(o.f->subscribes == 0);
	CHECK(zbz_watch_start(o.w, &c.err) == ZBZ_OK);
	CHECK(reads_reach(&o, 2));
	fake_put(o.f, "two", ZBZ_OK);
	CHECK(owner_await(&o) == ZBZ_NEWS_VALUE && value_is(&o, "two"));
	CHECK(zbz_watch_start(o.w, &c.err) == ZBZ_OK);
	owner_close(&o);
}

static void polls_while_nobody_tells_and_listens_again(void) {
	owner o;
	zbz_watch_info info;
	fake *f = fake_new("one");
	f->deaf = true;
	owner_open(&o, f, (zbz_watch_opts){ .poll = 10 });
	CHECK(owner_begin(&o) == ZBZ_OK);
	CHECK(owner_take(&o) == ZBZ_NEWS_VALUE);
	zbz_watch_info_read(o.w, &info);
	CHECK(info.mode == ZBZ_SOURCE_POLLED && info.delay >= 10);
	fake_put(f, "two", ZBZ_OK); /* hints nobody */
	CHECK(owner_await(&o) == ZBZ_NEWS_VALUE && value_is(&o, "two"));
	CHECK(f->subscribes == 1); /* not with every look */
	owner_close(&o);
}

static void looks_at_once_when_its_source_was_exchanged(void) {
	fake *f = fake_new("one");
	owner o;
	zbz_watch_info info;
	owner_open(&o, f, quick);
	CHECK(owner_begin(&o) == ZBZ_OK && owner_take(&o) == ZBZ_NEWS_VALUE);
	zbz_watch_info_read(o.w, &info);
	CHECK(info.mode == ZBZ_SOURCE_NATIVE);
	fake_hold(f, true);
	pthread_mutex_lock(&f->lock);
	strcpy(f->value, "two"); /* and nobody hints */
	pthread_mutex_unlock(&f->lock);
	zbz_watch_moved(o.w);
	fake_await_held(f);
	zbz_watch_info_read(o.w, &info);
	CHECK(info.mode == ZBZ_SOURCE_POLLED && info.reads == 1);
	fake_hold(f, false);
	CHECK(owner_await(&o) == ZBZ_NEWS_VALUE && value_is(&o, "two"));
	zbz_watch_info_read(o.w, &info);
	CHECK(info.mode == ZBZ_SOURCE_NATIVE);
	owner_close(&o);
}

static void follows_an_injected_clock(void) {
	zbz_clock *clock = zbz_clock_fake_new(1000000);
	owner o;
	zbz_call c = { .clock = clock, .deadline = ZBZ_NEVER };
	fake *f = fake_new("one");
	f->deaf = true;
	owner_open(&o, f, (zbz_watch_opts){ .clock = clock, .poll = 3600000 });
	CHECK(zbz_watch_begin(o.w, &c) == ZBZ_OK);
	CHECK(owner_take(&o) == ZBZ_NEWS_VALUE);
	fake_put(f, "two", ZBZ_OK);
	CHECK(fake_gets(f) == 1);
	zbz_clock_fake_advance(clock, 3600000);
	CHECK(owner_await(&o) == ZBZ_NEWS_VALUE && value_is(&o, "two"));
	owner_close(&o);
	zbz_clock_fake_free(clock);
}

/* ---- an owner that reads himself ---- */

static void asks_an_owner_without_a_source(void) {
	owner o;
	zbz_err late = { .status = ZBZ_E_TIMEOUT };
	owner_open(&o, NULL, (zbz_watch_opts){ .debounce = 5, .poll = 600000, .deadline = 20 });
	CHECK(owner_begin(&o) == ZBZ_E_ARGUMENT);
	zbz_watch_answer(o.w, ZBZ_OK, zbz_bstr("one"), NULL);
	CHECK(owner_take(&o) == ZBZ_NEWS_VALUE && value_is(&o, "one"));
	CHECK(zbz_watch_start(o.w, &o.err) == ZBZ_OK);
	zbz_watch_hint(o.w);
	CHECK(owner_await(&o) == ZBZ_NEWS_READ);
	zbz_watch_answer(o.w, ZBZ_OK, zbz_bstr("two"), NULL);
	CHECK(owner_await(&o) == ZBZ_NEWS_VALUE && value_is(&o, "two"));
	zbz_watch_hint(o.w);
	CHECK(owner_await(&o) == ZBZ_NEWS_READ); /* and he does not answer */
	CHECK(owner_await(&o) == ZBZ_NEWS_ERROR && o.err.status == ZBZ_E_TIMEOUT);
	CHECK(owner_await(&o) == ZBZ_NEWS_READ); /* he is asked again */
	zbz_watch_answer(o.w, ZBZ_E_TIMEOUT, zbz_b(NULL, 0), &late);
	CHECK(owner_await(&o) != ZBZ_NEWS_NONE);
	owner_close(&o);
}

int main(void) {
	RUN(tells_values_once_and_equal_ones_never);
	RUN(tells_the_newest_to_who_takes_late);
	RUN(tells_an_error_once_and_its_end);
	RUN(waits_for_values_that_are_half_written);
	RUN(refuses_what_cannot_be_a_first_value);
	RUN(pauses_and_looks_when_it_goes_on);
	RUN(tells_again_when_there_was_no_room);
	RUN(reads_without_watching);
	RUN(polls_while_nobody_tells_and_listens_again);
	RUN(looks_at_once_when_its_source_was_exchanged);
	RUN(follows_an_injected_clock);
	RUN(asks_an_owner_without_a_source);
	return DONE();
}
