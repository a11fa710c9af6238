/* Watches: when they look (with times of the test's own), what they tell over a source that the test controls, and that nothing is
 * left behind. Files and servers are watched in spec/lua. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <zbz/zbz.h>

#include "check.h"

#include "provider/source_path.c"
#include "watch/pace.c"

#define PATIENCE_MS 20000

/* ---- when to look ---- */

static void pace_leads_when_quiet_and_trails_in_a_burst(void) {
	zbz_pace p;
	zbz_pace_init(&p, 100, 0);
	CHECK(zbz_pace_due(&p) == ZBZ_NEVER);
	zbz_pace_hint(&p, 1000);
	CHECK(zbz_pace_due(&p) == 1000); /* quiet: at once */
	zbz_pace_begin(&p, 1001);
	CHECK(zbz_pace_due(&p) == ZBZ_NEVER);
	zbz_pace_end(&p, 1002, ZBZ_LOOK_FINE, 60000);
	CHECK(zbz_pace_due(&p) == 61002);
	zbz_pace_hint(&p, 1010);
	CHECK(zbz_pace_due(&p) == 1110); /* a pause after the last hint */
	zbz_pace_hint(&p, 1050);
	CHECK(zbz_pace_due(&p) == 1150);
	zbz_pace_begin(&p, 1150);
	zbz_pace_end(&p, 1151, ZBZ_LOOK_FINE, 60000);
	zbz_pace_hint(&p, 1300);
	CHECK(zbz_pace_due(&p) == 1300); /* quiet again */
}

/* Hints every millisecond for a minute: a look every max_wait, none later, and one after the last hint. */
static void pace_never_waits_longer_than_five_pauses(void) {
	zbz_pace p;
	int64_t now, looks = 0, waiting_since = -1, longest = 0;
	zbz_pace_init(&p, 100, 0);
	for (now = 0; now <= 61000; now++) {
		if (now < 60000) {
			zbz_pace_hint(&p, now);
			if (waiting_since < 0) waiting_since = now;
		}
		if (zbz_pace_due(&p) > now) continue;
		if (now - waiting_since > longest) longest = now - waiting_since;
		waiting_since = -1;
		zbz_pace_begin(&p, now);
		zbz_pace_end(&p, now, ZBZ_LOOK_FINE, 600000);
		looks++;
	}
	CHECK(longest == ZBZ_PACE_WAITS * 100);
	CHECK(waiting_since == -1); /* the last hint was answered */
	CHECK(looks > 100 && looks < 130);
}

/* Any hints at all: every one is followed by a look within the bound, and looks are not many more than time allows. */
static void pace_answers_every_hint(void) {
	unsigned seed;
	bool late = false, many = false;
	for (seed = 1; seed <= 200; seed++) {
		zbz_pace p;
		int64_t now, oldest = -1, looks = 0;
		uint32_t x = seed * 2654435761u;
		zbz_pace_init(&p, 50, 0);
		for (now = 0; now < 5000; now++) {
			x = x * 1664525u + 1013904223u;
			if (now < 4000 && (x >> 16) % (1 + seed % 97) == 0) {
				zbz_pace_hint(&p, now);
				if (oldest < 0) oldest = now;
			}
			if (zbz_pace_due(&p) <= now) {
				zbz_pace_begin(&p, now);
				zbz_pace_end(&p, now, ZBZ_LOOK_FINE, 600000);
				oldest = -1;
				looks++;
			}
			late |= oldest >= 0 && now - oldest > 250;
		}
		late |= oldest >= 0;
		many |= looks > 5000 / 50 + 1;
	}
	CHECK(!late);
	CHECK(!many);
}

static void pace_backs_off_and_hurries_when_torn(void) {
	zbz_pace p;
	int64_t now = 1000, before = 0;
	int i;
	zbz_pace_init(&p, 100, 0);
	for (i = 0; i < 10; i++) {
		zbz_pace_begin(&p, now);
		zbz_pace_end(&p, now, ZBZ_LOOK_FAILED, 60000);
		CHECK(zbz_pace_due(&p) - now == (i < 6 ? 100 << i : 5000));
		now = zbz_pace_due(&p);
	}
	zbz_pace_begin(&p, now);
	zbz_pace_end(&p, now, ZBZ_LOOK_FAILED, 2000);
	CHECK(zbz_pace_due(&p) - now == 2000); /* never later than the poll */
	zbz_pace_end(&p, now, ZBZ_LOOK_TORN, 60000);
	CHECK(zbz_pace_due(&p) - now == 10);
	CHECK(p.torn_since == now);
	zbz_pace_end(&p, now + 10, ZBZ_LOOK_TORN, 60000);
	CHECK(zbz_pace_due(&p) - now == 30);
	zbz_pace_hint(&p, now + 12);
	CHECK(zbz_pace_due(&p) == now + 12); /* a mended value is not kept waiting by the back-off */
	zbz_pace_end(&p, now, ZBZ_LOOK_FINE, 60000);
	CHECK(p.torn_since == -1 && p.failures == 0);
	for (i = 1; i < 20; i++) { /* spread: never later, at most a quarter earlier */
		zbz_pace_init(&p, 100, (uint32_t)i * 2654435761u);
		zbz_pace_end(&p, 0, ZBZ_LOOK_FINE, 1000);
		CHECK(zbz_pace_due(&p) > 750 && zbz_pace_due(&p) <= 1000);
		CHECK(zbz_pace_due(&p) != before);
		before = zbz_pace_due(&p);
	}
}

/* ---- what a path means ---- */

static char folder[64];

static void shell(const char *script) {
	char line[600];
	snprintf(line, sizeof line, "cd %s && %s", folder, script);
	CHECK(system(line) == 0);
}

/* "kind dir name|..." with the folder as "@". */
static void trail_text(const char *key, char *out, size_t room, bool *there) {
	zbz_trail trail = { .n = 0 };
	zbz_err err;
	char path[200];
	size_t i, n = 0;
	snprintf(path, sizeof path, "%s/%s", folder, key);
	out[0] = '\0';
	CHECK(zbz_trail_walk(path, &trail, &err) == ZBZ_OK);
	*there = trail.there;
	for (i = 0; i < trail.n; i++) {
		const zbz_spot *s = &trail.spots[i];
		const char *dir = zbz_trail_text(&trail, s->path);
		if (strncmp(dir, folder, strlen(folder)) != 0) continue;
		n += (size_t)snprintf(out + n, room - n, "%c @%s %s|", "nfs"[s->kind], dir + strlen(folder),
		                      zbz_trail_text(&trail, s->name));
	}
	zbz_buf_clear(&trail.text);
}

static void trails_name_every_link_and_the_file(void) {
	char text[1000];
	bool there;
	shell("mkdir -p ..1 sub && echo x > ..1/app && ln -s ..1 ..data && ln -s ..data/app app && echo y > sub/plain && "
	      "ln -s loop loop && ln -s $PWD/sub/plain far");
	trail_text("sub/plain", text, sizeof text, &there);
	CHECK(there);
	CHECK_STR(text, "s @ |s @/sub |f @/sub plain|s @/sub/plain |");
	trail_text("app", text, sizeof text, &there);
	CHECK(there);
	CHECK_STR(text, "s @ |n @ app|n @ ..data|s @/..1 |f @/..1 app|s @/..1/app |");
	trail_text("none/deep/file", text, sizeof text, &there);
	CHECK(!there);
	CHECK_STR(text, "s @ |n @ none|");
	trail_text("sub/none", text, sizeof text, &there);
	CHECK(!there);
	CHECK_STR(text, "s @ |s @/sub |f @/sub none|");
	trail_text("far", text, sizeof text, &there); /* absolute: the way begins at the root once more */
	CHECK(there && strstr(text, "n @ far|") != NULL && strstr(text, "f @/sub plain|") != NULL);
	trail_text("sub/../sub/./plain", text, sizeof text, &there);
	CHECK(there && strstr(text, "f @/sub plain|") != NULL);
	trail_text("sub/plain/more", text, sizeof text, &there);
	CHECK(!there);
}

static void trails_end(void) {
	zbz_trail trail = { .n = 0 };
	zbz_err err;
	char path[5000];
	snprintf(path, sizeof path, "%s/loop", folder);
	CHECK(zbz_trail_walk(path, &trail, &err) == ZBZ_E_UNAVAILABLE);
	memset(path, 'a', sizeof path - 1);
	path[0] = '/';
	path[sizeof path - 1] = '\0';
	CHECK(zbz_trail_walk(path, &trail, &err) == ZBZ_E_KEY);
	path[300] = '\0'; /* one name that is too long */
	CHECK(zbz_trail_walk(path, &trail, &err) == ZBZ_E_KEY);
	zbz_buf_clear(&trail.text);
}

static void mounts_are_found_by_their_path(void) {
	const char *text = "22 27 0:21 / /sys rw,nosuid - sysfs sysfs rw\n"
	                   "612 27 8:1 /var/lib/kubelet/x /etc/app/app.json rw - ext4 /dev/sda1 rw\n"
	                   "613 27 8:1 / /mnt/with\\040blank\\134 rw - ext4 /dev/sda1 rw\n";
	CHECK(zbz_mount_point(text, "/sys"));
	CHECK(zbz_mount_point(text, "/etc/app/app.json"));
	CHECK(zbz_mount_point(text, "/mnt/with blank\\"));
	CHECK(!zbz_mount_point(text, "/etc/app"));
	CHECK(!zbz_mount_point(text, "/etc/app/app.jso"));
	CHECK(!zbz_mount_point(text, "/etc/app/app.jsonx"));
	CHECK(!zbz_mount_point("", "/sys"));
	CHECK(!zbz_mount_point("22 27 0:21", "/sys"));
}

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

static fake *fake_new(const char *value) {
	fake *f = calloc(1, sizeof *f);
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->moved, NULL);
	snprintf(f->value, sizeof f->value, "%s", value);
	return f;
}

static zbz_status fake_get(void *self, zbz_call *c, zbz_bytes key, void *sub, zbz_buf *out) {
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

static zbz_status fake_subscribe(void *self, zbz_call *c, zbz_bytes key, void (*on_hint)(void *ud), void *ud,
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

static void fake_unsubscribe(void *self, void *sub) {
	fake *f = self;
	pthread_mutex_lock(&f->lock);
	f->on_hint = NULL;
	f->unsubscribes++;
	pthread_mutex_unlock(&f->lock);
}

static void fake_state(void *self, void *sub, zbz_source_state *out) { out->mode = ZBZ_SOURCE_NATIVE; }

/* The fake stays, for the test to look at. */
static void fake_close(void *self) { ((fake *)self)->closed = true; }

static const zbz_source_ops fake_ops = {
	.abi = ZBZ_ABI,
	.name = "fake",
	.get = fake_get,
	.close = fake_close,
	.subscribe = fake_subscribe,
	.unsubscribe = fake_unsubscribe,
	.state = fake_state,
};

static void fake_put(fake *f, const char *value, zbz_status status) {
	pthread_mutex_lock(&f->lock);
	snprintf(f->value, sizeof f->value, "%s", value);
	f->status = status;
	if (f->on_hint != NULL) f->on_hint(f->ud);
	pthread_mutex_unlock(&f->lock);
}

static void fake_hold(fake *f, bool hold) {
	pthread_mutex_lock(&f->lock);
	f->hold = hold;
	pthread_cond_broadcast(&f->moved);
	pthread_mutex_unlock(&f->lock);
}

static void fake_await_held(fake *f) {
	pthread_mutex_lock(&f->lock);
	while (f->held == 0) pthread_cond_wait(&f->moved, &f->lock);
	pthread_mutex_unlock(&f->lock);
}

static unsigned fake_gets(fake *f) {
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

static bool on_news(void *ud) {
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

static int64_t now_ms(void) { return zbz_mono(zbz_clock_system()); }

static void owner_open(owner *o, fake *f, zbz_watch_opts opts) {
	memset(o, 0, sizeof *o);
	pthread_mutex_init(&o->lock, NULL);
	pthread_cond_init(&o->told, NULL);
	opts.on_news = on_news;
	opts.ud = o;
	o->f = f;
	if (f != NULL) CHECK(zbz_source_of(&fake_ops, f, &o->source, &o->err) == ZBZ_OK);
	CHECK(zbz_watch_open(o->source, zbz_bstr("key"), &opts, &o->w, &o->err) == ZBZ_OK);
}

static zbz_call a_call(void) {
	zbz_call c = { .clock = zbz_clock_system() };
	c.now = zbz_wall(c.clock);
	c.deadline = now_ms() + PATIENCE_MS;
	return c;
}

static zbz_status owner_begin(owner *o) {
	zbz_call c = a_call();
	zbz_status s = zbz_watch_begin(o->w, &c);
	o->err = c.err;
	return s;
}

static zbz_news owner_take(owner *o) { return zbz_watch_take(o->w, &o->value, &o->err); }

/* The next news that are some; NONE when none come in time. */
static zbz_news owner_await(owner *o) {
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

static bool value_is(const owner *o, const char *text) {
	return zbz_bytes_eq(zbz_buf_bytes(&o->value), zbz_bstr(text));
}

static bool reads_reach(owner *o, uint64_t n) {
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

static void settle(void) {
	zbz_err err;
	CHECK(zbz_watch_settle(now_ms() + PATIENCE_MS, &err) == ZBZ_OK);
}

static void owner_close(owner *o) {
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

/* ---- what is told ---- */

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

/* ---- threads ---- */

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

static void may_be_closed_while_it_begins(void) {
	owner o;
	pthread_t th;
	void *result;
	owner_open(&o, fake_new("one"), quick);
	fake_hold(o.f, true);
	zbz_watch_ref(o.w);
	CHECK(pthread_create(&th, NULL, begin_it, &o) == 0);
	fake_await_held(o.f);
	zbz_watch_close(o.w);
	fake_hold(o.f, false);
	pthread_join(th, &result);
	CHECK((intptr_t)result == ZBZ_E_CLOSED);
	zbz_source_unref(o.source);
	settle();
	CHECK(o.f->closed);
	free(o.f);
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

/* ---- files ---- */

static zbz_source *file_source(bool polling) {
	zbz_config *cfg = zbz_config_new();
	zbz_source *source = NULL;
	zbz_err err;
	CHECK(zbz_config_set_text(cfg, "provider", zbz_bstr("file"), &err) == ZBZ_OK);
	CHECK(zbz_config_set_text(cfg, "dir", zbz_bstr(folder), &err) == ZBZ_OK);
	CHECK(zbz_config_set_bool(cfg, "polling", polling, &err) == ZBZ_OK);
	CHECK(zbz_source_open(cfg, NULL, &source, &err) == ZBZ_OK);
	zbz_config_free(cfg);
	return source;
}

static void open_on_file(owner *o, bool polling, const char *key, const zbz_watch_opts *opts) {
	zbz_watch_opts with = *opts;
	memset(o, 0, sizeof *o);
	pthread_mutex_init(&o->lock, NULL);
	pthread_cond_init(&o->told, NULL);
	with.on_news = on_news;
	with.ud = o;
	o->source = file_source(polling);
	CHECK(zbz_watch_open(o->source, zbz_bstr(key), &with, &o->w, &o->err) == ZBZ_OK);
}

static void watches_files_and_polls_them(void) {
	int polling;
	for (polling = 0; polling < 2; polling++) {
		owner o;
		zbz_watch_info info;
		const zbz_watch_opts opts = { .debounce = 5, .poll = polling != 0 ? 10 : 0 };
		shell("echo one > f");
		open_on_file(&o, polling != 0, "f", &opts);
		CHECK(owner_begin(&o) == ZBZ_OK);
		CHECK(owner_take(&o) == ZBZ_NEWS_VALUE && value_is(&o, "one\n"));
		zbz_watch_info_read(o.w, &info);
		CHECK(info.mode == (polling != 0 ? ZBZ_SOURCE_POLLED : ZBZ_SOURCE_WATCHED));
		shell("echo two > f");
		CHECK(owner_await(&o) == ZBZ_NEWS_VALUE && value_is(&o, "two\n"));
		shell("echo six > f.new && touch -r f f.new && mv f.new f"); /* same size, same time */
		CHECK(owner_await(&o) == ZBZ_NEWS_VALUE && value_is(&o, "six\n"));
		owner_close(&o);
	}
}

static void files_of_exactly_the_limit_are_read(void) {
	owner o;
	shell("printf 12345 > f");
	open_on_file(&o, false, "f", &(zbz_watch_opts){ .max_size = 5 });
	CHECK(owner_begin(&o) == ZBZ_OK);
	CHECK(owner_take(&o) == ZBZ_NEWS_VALUE && value_is(&o, "12345"));
	shell("printf 123456 > f");
	CHECK(owner_await(&o) == ZBZ_NEWS_ERROR && o.err.status == ZBZ_E_TOO_LARGE);
	owner_close(&o);
}

static void a_forked_child_begins_anew(void) {
	owner o, child;
	int status;
	pid_t pid;
	shell("echo one > f");
	open_on_file(&o, false, "f", &quick);
	CHECK(owner_begin(&o) == ZBZ_OK);
	CHECK(owner_take(&o) == ZBZ_NEWS_VALUE);
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		zbz_watch_info info;
		bool fine;
		zbz_watch_info_read(o.w, &info);
		fine = !info.running && owner_begin(&o) == ZBZ_E_CLOSED && owner_take(&o) == ZBZ_NEWS_NONE;
		memset(&child, 0, sizeof child);
		pthread_mutex_init(&child.lock, NULL);
		pthread_cond_init(&child.told, NULL);
		fine = fine && zbz_watch_open(o.source, zbz_bstr("f"), &(zbz_watch_opts){ .on_news = on_news, .ud = &child },
		                              &child.w, &child.err) == ZBZ_OK;
		fine = fine && owner_begin(&child) == ZBZ_OK && owner_take(&child) == ZBZ_NEWS_VALUE;
		fine = fine && system("true") == 0;
		shell("echo two > f");
		fine = fine && owner_await(&child) == ZBZ_NEWS_VALUE && value_is(&child, "two\n");
		zbz_watch_close(o.w);
		zbz_watch_close(child.w);
		_exit(fine ? 0 : 1);
	}
	CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
	CHECK(owner_await(&o) == ZBZ_NEWS_VALUE && value_is(&o, "two\n")); /* the child took nothing away */
	owner_close(&o);
}

/* ---- memory that runs out ---- */

static atomic_long calls, fail_at, live;
static atomic_bool failed;

static void *counting(void *ud, void *ptr, size_t size) {
	void *p;
	if (size == 0) {
		if (ptr != NULL) atomic_fetch_sub(&live, 1);
		free(ptr);
		return NULL;
	}
	if (atomic_fetch_add(&calls, 1) + 1 == atomic_load(&fail_at)) {
		atomic_store(&failed, true);
		return NULL;
	}
	p = realloc(ptr, size);
	if (ptr == NULL && p != NULL) atomic_fetch_add(&live, 1);
	return p;
}

/* Everything once; what fails says why, and what is told in the end is right. */
static void whole_life(void) {
	zbz_config *cfg = zbz_config_new();
	zbz_source *source = NULL;
	zbz_watch *w = NULL;
	zbz_call c = a_call();
	zbz_buf out = { 0 };
	zbz_watch_opts opts = { .debounce = -1 };
	bool fine = cfg != NULL && zbz_config_set_text(cfg, "provider", zbz_bstr("file"), &c.err) == ZBZ_OK &&
	            zbz_config_set_text(cfg, "dir", zbz_bstr(folder), &c.err) == ZBZ_OK &&
	            zbz_source_open(cfg, NULL, &source, &c.err) == ZBZ_OK &&
	            zbz_watch_open(source, zbz_bstr("app"), &opts, &w, &c.err) == ZBZ_OK;
	if (fine && zbz_watch_begin(w, &c) == ZBZ_OK) {
		CHECK(zbz_watch_take(w, &out, &c.err) == ZBZ_NEWS_VALUE && zbz_bytes_eq(zbz_buf_bytes(&out), zbz_bstr("x\n")));
		zbz_watch_hint(w);
	}
	zbz_watch_close(w);
	zbz_source_unref(source);
	zbz_config_free(cfg);
	zbz_buf_clear(&out);
	settle();
}

static void nothing_leaks_when_memory_runs_out(void) {
	long n;
	whole_life(); /* what lasts as long as the process is there now */
	for (n = 1; n < 500; n++) {
		atomic_store(&calls, 0);
		atomic_store(&live, 0);
		atomic_store(&failed, false);
		atomic_store(&fail_at, n);
		zbz_set_alloc(counting, NULL);
		whole_life();
		zbz_set_alloc(NULL, NULL);
		CHECK(atomic_load(&live) == 0);
		if (!atomic_load(&failed)) break;
	}
	CHECK(n > 10 && n < 500);
}

static void sources_are_checked(void) {
	zbz_source_ops half = fake_ops;
	zbz_source *source;
	zbz_watch *w;
	zbz_call c = a_call();
	zbz_buf out = { 0 };
	void *sub;
	fake *f = fake_new("x");
	half.unsubscribe = NULL;
	CHECK(zbz_source_of(&half, f, &source, &c.err) == ZBZ_E_ARGUMENT && source == NULL);
	half.subscribe = NULL;
	half.abi++;
	CHECK(zbz_source_of(&half, f, &source, &c.err) == ZBZ_E_ARGUMENT);
	half.abi--;
	CHECK(zbz_source_of(&half, f, &source, &c.err) == ZBZ_OK);
	CHECK(zbz_source_get(source, &c, zbz_b("", 0), NULL, &out) == ZBZ_E_KEY);
	CHECK(zbz_source_get(source, &c, zbz_b("a\0b", 3), NULL, &out) == ZBZ_E_KEY);
	CHECK(zbz_source_subscribe(source, &c, zbz_bstr("k"), NULL, NULL, &sub) == ZBZ_E_UNSUPPORTED && sub == NULL);
	CHECK_STR(c.err.provider, "fake");
	CHECK(zbz_watch_open(source, zbz_bstr("k"), &(zbz_watch_opts){ .poll = -1 }, &w, &c.err) == ZBZ_E_ARGUMENT);
	zbz_source_unref(source);
	zbz_source_unref(NULL);
	CHECK(f->closed);
	free(f);
	source = file_source(false);
	CHECK(zbz_source_get(source, &c, zbz_bstr("../x"), NULL, &out) == ZBZ_E_KEY);
	CHECK(zbz_source_get(source, &c, zbz_bstr("/etc/passwd"), NULL, &out) == ZBZ_E_KEY);
	CHECK(zbz_source_get(source, &c, zbz_bstr("a/.."), NULL, &out) == ZBZ_E_KEY);
	CHECK(zbz_source_get(source, &c, zbz_bstr("..1/app"), NULL, &out) == ZBZ_OK && out.n == 2);
	CHECK(zbz_source_get(source, &c, zbz_bstr("none"), NULL, &out) == ZBZ_MISS && out.n == 2);
	CHECK(zbz_source_get(source, &c, zbz_bstr("sub"), NULL, &out) == ZBZ_E_TYPE);
	shell("mkfifo pipe");
	CHECK(zbz_source_get(source, &c, zbz_bstr("pipe"), NULL, &out) == ZBZ_E_TYPE);
	zbz_source_unref(source);
	zbz_buf_clear(&out);
}

int main(void) {
	snprintf(folder, sizeof folder, "/tmp/zbz-watch-XXXXXX");
	if (mkdtemp(folder) == NULL) return 1;
	RUN(pace_leads_when_quiet_and_trails_in_a_burst);
	RUN(pace_never_waits_longer_than_five_pauses);
	RUN(pace_answers_every_hint);
	RUN(pace_backs_off_and_hurries_when_torn);
	RUN(trails_name_every_link_and_the_file);
	RUN(trails_end);
	RUN(mounts_are_found_by_their_path);
	RUN(tells_values_once_and_equal_ones_never);
	RUN(tells_the_newest_to_who_takes_late);
	RUN(tells_an_error_once_and_its_end);
	RUN(waits_for_values_that_are_half_written);
	RUN(refuses_what_cannot_be_a_first_value);
	RUN(pauses_and_looks_when_it_goes_on);
	RUN(tells_again_when_there_was_no_room);
	RUN(reads_without_watching);
	RUN(polls_while_nobody_tells_and_listens_again);
	RUN(follows_an_injected_clock);
	RUN(asks_an_owner_without_a_source);
	RUN(never_misses_the_last_of_many_writes);
	RUN(closes_without_waiting_for_a_read);
	RUN(may_be_closed_while_it_begins);
	RUN(a_source_that_hangs_holds_up_nobody);
	RUN(there_are_not_too_many);
	RUN(watches_files_and_polls_them);
	RUN(files_of_exactly_the_limit_are_read);
	RUN(a_forked_child_begins_anew);
	RUN(nothing_leaks_when_memory_runs_out);
	RUN(sources_are_checked);
	CHECK(system("true") == 0);
	{
		char line[100];
		snprintf(line, sizeof line, "rm -rf %s", folder);
		CHECK(system(line) == 0);
	}
	return DONE();
}
