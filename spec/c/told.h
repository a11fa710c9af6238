/* What the tests of multitier share: `told`, a test map whose changes by others are told when the test says so, a pub/sub
 * over it that can be made to refuse, stores stacked over both, and calls in short. */
#ifndef SPEC_TOLD_H
#define SPEC_TOLD_H

#include <stdatomic.h>

#include "check.h"
#include "testmap.h"

/* ---- the provider ---- */

enum { TRACKERS = 8, T0 = 1700000000 };

typedef struct tracker {
	char prefix[16];
	void (*on_change)(void *ud, zbz_bytes key, bool lost);
	void (*on_message)(void *ud, zbz_bytes channel, zbz_bytes payload);
	void *ud;
} tracker;

static tracker trackers[TRACKERS]; /* in the order they came */
static pthread_mutex_t trackers_lock = PTHREAD_MUTEX_INITIALIZER;
static zbz_status told_refuses;    /* what track answers, if not OK */
static zbz_status publish_refuses; /* what a PUBLISH answers; positive: with an error reply */
static bool publish_is_heard = true;
static int published;
static zbz_cache_ops told_ops, talk_ops;

static void *tracker_add(const tracker *t) {
	void *at = NULL;
	int i;
	pthread_mutex_lock(&trackers_lock);
	for (i = 0; at == NULL && i < TRACKERS; i++)
		if (trackers[i].ud == NULL) *(tracker *)(at = &trackers[i]) = *t;
	pthread_mutex_unlock(&trackers_lock);
	return at;
}

static void told_untrack(void *self, void *tracking) {
	pthread_mutex_lock(&trackers_lock);
	if (tracking != NULL) ((tracker *)tracking)->ud = NULL;
	pthread_mutex_unlock(&trackers_lock);
}

static zbz_status told_track(void *self, zbz_call *c, zbz_bytes prefix,
                             void (*on_change)(void *ud, zbz_bytes key, bool lost), void *ud, void **tracking) {
	tracker t = { .on_change = on_change, .ud = ud };
	snprintf(t.prefix, sizeof t.prefix, "%.*s", (int)prefix.n, prefix.p);
	if (map_hook != NULL) map_hook("track", prefix);
	if (told_refuses != ZBZ_OK) return zbz_fail(&c->err, told_refuses, "tracking refused");
	*tracking = tracker_add(&t);
	return ZBZ_OK;
}

/* A read can be held after it has its answer. */
static zbz_status told_get(void *self, zbz_call *c, zbz_bytes key, zbz_buf *out, zbz_meta *meta) {
	zbz_status s = map_get(self, c, key, out, meta);
	if (map_hook != NULL) map_hook("got", key);
	return s;
}

static void told_caps(void *self, zbz_caps *out) {
	map_caps(self, out);
	out->can |= ZBZ_CAN_TRACK;
}

static zbz_status talk_subscribe(void *self, zbz_call *c, const zbz_bytes *channels, size_t n, bool pattern,
                                 void (*on_message)(void *ud, zbz_bytes channel, zbz_bytes payload), void *ud,
                                 void **subscription) {
	tracker t = { .on_message = on_message, .ud = ud };
	*subscription = tracker_add(&t);
	return ZBZ_OK;
}

static void say(zbz_bytes channel, zbz_bytes payload) {
	int i;
	for (i = 0; i < TRACKERS; i++)
		if (trackers[i].ud != NULL && trackers[i].on_message != NULL)
			trackers[i].on_message(trackers[i].ud, channel, payload);
}

static zbz_status talk_command(void *self, zbz_call *c, const zbz_bytes *argv, const size_t *ends, size_t count,
                               zbz_buf *out) {
	size_t i;
	zbz_status s = ZBZ_OK;
	if (publish_refuses < 0) return zbz_fail(&c->err, publish_refuses, "publishing refused");
	for (i = 0; s == ZBZ_OK && i < count; i++) {
		const zbz_bytes *words = argv + (i == 0 ? 0 : ends[i - 1]);
		CHECK(zbz_bytes_eq(words[0], zbz_bstr("PUBLISH")) && zbz_bytes_eq(words[1], zbz_bstr("zbz:invalidate")));
		if (publish_refuses > 0) {
			s = zbz_pack_error(out, ZBZ_E_DENIED, false, zbz_bstr("NOPERM"), &c->err);
			continue;
		}
		published++;
		if (publish_is_heard) say(words[1], words[2]);
		s = zbz_pack_int(out, 200, &c->err);
	}
	return s;
}

/* ---- others change things ---- */

/* key NULL: everything, or a loss. `which` tracker, or -1 all. */
static void tell(int which, const char *key, bool lost) {
	zbz_bytes k = key != NULL ? zbz_bstr(key) : zbz_b(NULL, 0);
	int i;
	for (i = 0; i < TRACKERS; i++)
		if (trackers[i].ud != NULL && trackers[i].on_change != NULL && (which < 0 || which == i))
			trackers[i].on_change(trackers[i].ud, k, lost);
}

/* ---- stores ---- */

static zbz_clock *clock_;
static zbz_store *l2; /* of the tests that need one below */

/* "l1.provider=memory l1_ttl=1s ...": of the option l2 the store above, unless it is given. */
static zbz_config *config_of(const char *text, const char *path, zbz_store *below) {
	zbz_config *cfg = zbz_config_new();
	char copy[300], *word, *save = NULL, inner[64];
	zbz_err err;
	snprintf(copy, sizeof copy, "%s", text);
	for (word = strtok_r(copy, " ", &save); word != NULL; word = strtok_r(NULL, " ", &save)) {
		char *value = strchr(word, '='), *name = word + strlen(path), *dot;
		if (strncmp(word, path, strlen(path)) != 0 || value == NULL) continue;
		*value++ = '\0';
		dot = strchr(name, '.');
		if (dot == NULL) {
			CHECK(zbz_config_set_text(cfg, name, zbz_bstr(value), &err) == ZBZ_OK);
		} else if (strcmp(dot, ".provider") == 0) {
			snprintf(inner, sizeof inner, "%.*s", (int)(dot + 1 - word), word);
			*dot = '\0';
			CHECK(zbz_config_set_config(cfg, name, config_of(text, inner, NULL), &err) == ZBZ_OK);
		}
	}
	if (below != NULL) CHECK(zbz_config_set_store(cfg, "l2", below, &err) == ZBZ_OK);
	return cfg;
}

static zbz_status try_open(const char *options, zbz_store *below, zbz_store **out, zbz_err *err) {
	char text[300];
	zbz_config *cfg;
	zbz_status s;
	snprintf(text, sizeof text, "%s%s", strncmp(options, "provider=", 9) == 0 ? "" : "provider=multitier ", options);
	cfg = config_of(text, "", below);
	s = zbz_store_open(cfg, clock_, out, err);
	zbz_config_free(cfg);
	return s;
}

static zbz_store *open_over(const char *options, zbz_store *below) {
	zbz_store *out = NULL;
	zbz_err err = { 0 };
	zbz_status s = try_open(options, below, &out, &err);
	if (s != ZBZ_OK) fprintf(stderr, "%s: %s\n", options, err.text);
	CHECK(s == ZBZ_OK);
	return out;
}

static void register_all(void) {
	zbz_err err;
	told_ops = map_ops;
	told_ops.name = "told";
	told_ops.caps = told_caps;
	told_ops.get = told_get;
	told_ops.track = told_track;
	told_ops.untrack = told_untrack;
	talk_ops = told_ops;
	talk_ops.name = "talk";
	talk_ops.subscribe = talk_subscribe;
	talk_ops.unsubscribe = told_untrack;
	talk_ops.command = talk_command;
	CHECK(zbz_cache_register(&map_ops, &err) == ZBZ_OK && zbz_cache_register(&told_ops, &err) == ZBZ_OK &&
	      zbz_cache_register(&talk_ops, &err) == ZBZ_OK);
	clock_ = zbz_clock_fake_new((int64_t)T0 * 1000);
}

static void below(const char *options) { l2 = open_over(options, NULL); }
static void done_below(void) {
	zbz_store_unref(l2);
	l2 = NULL;
}

/* ---- calls in short ---- */

static atomic_int odd; /* what must not be, seen by any thread */
static _Thread_local zbz_call call_;

static zbz_call *now(void) {
	memset(&call_, 0, sizeof call_);
	call_.clock = clock_;
	call_.now = zbz_wall(clock_);
	call_.deadline = ZBZ_NEVER;
	return &call_;
}
__attribute__((unused)) static zbz_call *at_once(void) {
	now()->no_wait = true;
	return &call_;
}
static zbz_status put(zbz_store *s, const char *key, const char *value, int64_t ttl) {
	zbz_write w = { .key = zbz_bstr(key), .value = zbz_bstr(value) };
	zbz_call *c = now();
	w.expire_at = ttl > 0 ? c->now + ttl : ZBZ_NO_EXPIRY;
	return zbz_store_set(s, c, &w, NULL);
}
/* "value" or "value@tier" for what is there; "-" for a miss, the status' name for anything else. */
static const char *got(zbz_store *s, zbz_call *c, const char *key, bool with_tier) {
	static _Thread_local char text[64];
	zbz_buf out = { 0 };
	zbz_meta meta;
	zbz_status st = zbz_store_get(s, c, zbz_bstr(key), &out, with_tier ? &meta : NULL);
	if (st == ZBZ_OK && with_tier)
		snprintf(text, sizeof text, "%.*s@%d", (int)out.n, out.p, meta.tier);
	else if (st == ZBZ_OK)
		snprintf(text, sizeof text, "%.*s", (int)out.n, out.n ? out.p : "");
	else
		snprintf(text, sizeof text, "%s", st == ZBZ_MISS ? "-" : zbz_status_name(st));
	odd += st != ZBZ_OK && out.n != 0;
	zbz_buf_clear(&out);
	return text;
}
static const char *get(zbz_store *s, const char *key) { return got(s, now(), key, false); }
static const char *tier_of(zbz_store *s, const char *key) { return got(s, now(), key, true); }
static zbz_provider_stats stats(zbz_store *s) {
	zbz_provider_stats st;
	zbz_store_stats(s, now(), &st);
	return st;
}

#endif
