/* What the watch tests share: a source that the test controls, and an owner of a watch that waits for its news. */
#ifndef SPEC_WATCH_RIG_H
#define SPEC_WATCH_RIG_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include <zbz/zbz.h>

#include "check.h"

#define PATIENCE_MS 20000

/* ---- a source that the test controls ---- */

typedef struct fake {
	pthread_mutex_t lock;
	pthread_cond_t moved;
	char value[64];
	zbz_status status; /* of get */
	bool deaf;         /* subscribe fails */
	bool hold;         /* get waits */
	unsigned held, gets, subscribes, unsubscribes;
	void (*on_hint)(void *ud);
	void *ud;
	bool closed;
} fake;

static inline fake *fake_new(const char *value) {
	fake *f = calloc(1, sizeof *f);
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->moved, NULL);
	snprintf(f->value, sizeof f->value, "%s", value);
	return f;
}

static inline zbz_status fake_get(void *self, zbz_call *c, zbz_bytes key, void *sub, zbz_buf *out) {
	fake *f = self;
	zbz_status s;
	pthread_mutex_lock(&f->lock);
	f->gets++;
	f->held++;
	pthread_cond_broadcast(&f->moved);
	while (f->hold) pthread_cond_wait(&f->moved, &f->lock);
	f->held--;
	s = f->status;
	if (s == ZBZ_OK) s = zbz_buf_append(out, f->value, strlen(f->value), &c->err);
	if (s < 0) zbz_fail(&c->err, s, "failing with %d", (int)s);
	pthread_mutex_unlock(&f->lock);
	return s;
}

static inline zbz_status fake_subscribe(void *self, zbz_call *c, zbz_bytes key, void (*on_hint)(void *ud), void *ud,
                                        void **sub) {
	fake *f = self;
	zbz_status s = ZBZ_OK;
	pthread_mutex_lock(&f->lock);
	f->subscribes++;
	if (f->deaf) {
		s = zbz_fail(&c->err, ZBZ_E_UNAVAILABLE, "deaf");
	} else {
		f->on_hint = on_hint;
		f->ud = ud;
		*sub = f;
	}
	pthread_mutex_unlock(&f->lock);
	return s;
}

static inline void fake_unsubscribe(void *self, void *sub) {
	fake *f = self;
	pthread_mutex_lock(&f->lock);
	f->on_hint = NULL;
	f->unsubscribes++;
	pthread_mutex_unlock(&f->lock);
}

static inline void fake_state(void *self, void *sub, zbz_source_state *out) { out->mode = ZBZ_SOURCE_NATIVE; }

/* The fake stays, for the test to look at. */
static inline void fake_close(void *self) { ((fake *)self)->closed = true; }

static const zbz_source_ops fake_ops = {
	.abi = ZBZ_ABI,
	.name = "fake",
	.get = fake_get,
	.close = fake_close,
	.subscribe = fake_subscribe,
	.unsubscribe = fake_unsubscribe,
	.state = fake_state,
};

static inline void fake_put(fake *f, const char *value, zbz_status status) {
	pthread_mutex_lock(&f->lock);
	snprintf(f->value, sizeof f->value, "%s", value);
	f->status = status;
	if (f->on_hint != NULL) f->on_hint(f->ud);
	pthread_mutex_unlock(&f->lock);
}

static inline void fake_hold(fake *f, bool hold) {
	pthread_mutex_lock(&f->lock);
	f->hold = hold;
	pthread_cond_broadcast(&f->moved);
	pthread_mutex_unlock(&f->lock);
}

static inline void fake_await_held(fake *f) {
	pthread_mutex_lock(&f->lock);
	while (f->held == 0) pthread_cond_wait(&f->moved, &f->lock);
	pthread_mutex_unlock(&f->lock);
}

static inline unsigned fake_gets(fake *f) {
	unsigned n;
	pthread_mutex_lock(&f->lock);
	n = f->gets;
	pthread_mutex_unlock(&f->lock);
	return n;
}

/* ---- an owner ---- */

typedef struct owner {
	fake *f;
	zbz_source *source;
	zbz_watch *w;
	pthread_mutex_t lock;
	pthread_cond_t told;
	unsigned calls;
	unsigned refuse; /* the next calls of on_news have no room */
	zbz_buf value;
	zbz_err err;
} owner;

static inline bool on_news(void *ud) {
	owner *o = ud;
	bool room;
	pthread_mutex_lock(&o->lock);
	o->calls++;
	room = o->refuse == 0;
	if (!room) o->refuse--;
	pthread_cond_broadcast(&o->told);
	pthread_mutex_unlock(&o->lock);
	return room;
}

static inline int64_t now_ms(void) { return zbz_mono(zbz_clock_system()); }

static inline void owner_open(owner *o, fake *f, zbz_watch_opts opts) {
	memset(o, 0, sizeof *o);
	pthread_mutex_init(&o->lock, NULL);
	pthread_cond_init(&o->told, NULL);
	opts.on_news = on_news;
	opts.ud = o;
	o->f = f;
	if (f != NULL) CHECK(zbz_source_of(&fake_ops, f, &o->source, &o->err) == ZBZ_OK);
	CHECK(zbz_watch_open(o->source, zbz_bstr("key"), &opts, &o->w, &o->err) == ZBZ_OK);
}

static inline zbz_call a_call(void) {
	zbz_call c = { .clock = zbz_clock_system() };
	c.now = zbz_wall(c.clock);
	c.deadline = now_ms() + PATIENCE_MS;
	return c;
}

static inline zbz_status owner_begin(owner *o) {
	zbz_call c = a_call();
	zbz_status s = zbz_watch_begin(o->w, &c);
	o->err = c.err;
	return s;
}

static inline zbz_news owner_take(owner *o) { return zbz_watch_take(o->w, &o->value, &o->err); }

/* The next news that are some; NONE when none come in time. */
static inline zbz_news owner_await(owner *o) {
	int64_t till = now_ms() + PATIENCE_MS;
	for (;;) {
		zbz_news news = owner_take(o);
		struct timespec ts;
		unsigned calls;
		if (news != ZBZ_NEWS_NONE || now_ms() > till) return news;
		clock_gettime(CLOCK_REALTIME, &ts);
		ts.tv_nsec += 2000000;
		if (ts.tv_nsec >= 1000000000) ts.tv_sec++, ts.tv_nsec -= 1000000000;
		pthread_mutex_lock(&o->lock);
		calls = o->calls;
		if (calls == o->calls) pthread_cond_timedwait(&o->told, &o->lock, &ts);
		pthread_mutex_unlock(&o->lock);
	}
}

static inline bool value_is(const owner *o, const char *text) {
	return zbz_bytes_eq(zbz_buf_bytes(&o->value), zbz_bstr(text));
}

static inline bool reads_reach(owner *o, uint64_t n) {
	int64_t till = now_ms() + PATIENCE_MS;
	zbz_watch_info info;
	do {
		struct timespec ms = { 0, 1000000 };
		zbz_watch_info_read(o->w, &info);
		if (info.reads >= n) return true;
		nanosleep(&ms, NULL);
	} while (now_ms() < till);
	return false;
}

static inline void settle(void) {
	zbz_err err;
	CHECK(zbz_watch_settle(now_ms() + PATIENCE_MS, &err) == ZBZ_OK);
}

static inline void owner_close(owner *o) {
	zbz_watch_close(o->w);
	zbz_source_unref(o->source);
	settle();
	if (o->f != NULL) {
		CHECK(o->f->closed);
		CHECK(o->f->subscribes == 0 || o->f->deaf || o->f->unsubscribes == 1);
		free(o->f);
	}
	zbz_buf_clear(&o->value);
}

static const zbz_watch_opts quick = { .debounce = 5 };

#endif
