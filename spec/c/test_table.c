/* Tables over a small provider: keys, times, envelopes, conditions, batches, listings, errors, and memory that runs
 * out. */
#include "check.h"
#include "faults.h"
#include "testmap.h"

enum { T0 = 1000000 };

static zbz_clock *fake;
static zbz_cache *cache;
static zbz_store *store;
static zbz_buf out;

static void open_cache(const char *options, const char *prefix, int64_t ttl) {
	zbz_cache_opts o = { .key_prefix = zbz_bstr(prefix), .default_ttl = ttl };
	zbz_err err;
	fake = zbz_clock_fake_new(T0);
	o.clock = fake;
	store = map_store(options, fake);
	CHECK(store != NULL);
	CHECK(zbz_cache_new(store, &o, &cache, &err) == ZBZ_OK);
}

static void close_cache(void) {
	zbz_cache_unref(cache);
	zbz_store_unref(store);
	zbz_clock_fake_free(fake);
	zbz_buf_clear(&out);
	CHECK(map_opened == map_closed);
}

static zbz_table *table(const char *name, int64_t ttl, int64_t stale_ttl, bool envelope) {
	zbz_table_opts o = {
		.name = zbz_bstr(name), .ttl = ttl, .deadline = -1, .stale_ttl = stale_ttl, .envelope = envelope
	};
	zbz_err err;
	zbz_table *t;
	CHECK(zbz_table_new(cache, &o, &t, &err) == ZBZ_OK);
	return t;
}

/* ---- calls in short ---- */

static zbz_call call;

static zbz_call *at(zbz_table *t) {
	zbz_table_begin(t, &call, -1);
	return &call;
}
static zbz_status get(zbz_table *t, const char *k) {
	out.n = 0;
	return zbz_table_get(t, at(t), zbz_bstr(k), &out);
}
static bool holds(zbz_table *t, const char *k, const char *v) {
	return get(t, k) == ZBZ_OK && zbz_bytes_eq(zbz_buf_bytes(&out), zbz_bstr(v));
}
static zbz_status put_as(zbz_table *t, const char *k, const char *v, zbz_put p) {
	return zbz_table_set(t, at(t), zbz_bstr(k), zbz_bstr(v), &p, NULL);
}
static zbz_status set(zbz_table *t, const char *k, const char *v, int64_t ttl) {
	return put_as(t, k, v, (zbz_put){ .ttl = ttl, .stale_ttl = -1 });
}
static zbz_status add(zbz_table *t, const char *k, const char *v) {
	return put_as(t, k, v, (zbz_put){ .ttl = -1, .stale_ttl = -1, .only = ZBZ_ONLY_ABSENT });
}
static zbz_status del(zbz_table *t, const char *k) { return zbz_table_del(t, at(t), zbz_bstr(k)); }
static zbz_status exists(zbz_table *t, const char *k) { return zbz_table_exists(t, at(t), zbz_bstr(k)); }
static int64_t ttl(zbz_table *t, const char *k) {
	int64_t left = -7;
	zbz_status s = zbz_table_ttl(t, at(t), zbz_bstr(k), &left);
	return s == ZBZ_OK ? left : -(int64_t)s - 1000;
}
static zbz_status expire(zbz_table *t, const char *k, int64_t ms) {
	return zbz_table_expire(t, at(t), zbz_bstr(k), ms);
}
static zbz_status entry(zbz_table *t, const char *k, zbz_entry *e) {
	out.n = 0;
	return zbz_table_entry(t, at(t), zbz_bstr(k), true, &out, e);
}
static zbz_status incr(zbz_table *t, const char *k, int64_t by, int64_t *v) {
	return zbz_table_incr(t, at(t), zbz_bstr(k), by, false, 0, -1, v);
}
static zbz_status raw(const char *full_key) { /* what the store holds */
	zbz_call c = { .clock = fake, .now = zbz_wall(fake), .deadline = ZBZ_NEVER };
	out.n = 0;
	return zbz_store_get(store, &c, zbz_bstr(full_key), &out, NULL);
}
enum { GONE = -(int)ZBZ_MISS - 1000 };

/* ---- tests ---- */

static void keys_and_prefixes(void) {
	zbz_table *users, *self, *bare;
	zbz_table_opts o = { .prefix = zbz_b("", 0), .ttl = -1, .deadline = -1 };
	zbz_err err;
	char longest[600];
	open_cache("max_key=600", "my:", 0);
	users = table("users", -1, 0, false);
	self = table("", -1, 0, false);
	CHECK(zbz_table_new(cache, &o, &bare, &err) == ZBZ_OK);
	CHECK(zbz_bytes_eq(zbz_table_prefix(users), zbz_bstr("my:users:")));
	CHECK(zbz_bytes_eq(zbz_table_prefix(self), zbz_bstr("my:")));
	CHECK(zbz_table_prefix(bare).n == 0);
	CHECK(set(users, "1", "alice", -1) == ZBZ_OK);
	CHECK(raw("my:users:1") == ZBZ_OK && zbz_bytes_eq(zbz_buf_bytes(&out), zbz_bstr("alice")));
	CHECK(holds(self, "users:1", "alice"));
	CHECK(holds(bare, "my:users:1", "alice"));
	CHECK(get(users, "") == ZBZ_E_KEY);
	memset(longest, 'k', sizeof longest);
	CHECK(zbz_table_set(users, at(users), zbz_b(longest, 591), zbz_bstr("v"), NULL, NULL) == ZBZ_OK);
	out.n = 0;
	CHECK(zbz_table_get(users, at(users), zbz_b(longest, 591), &out) == ZBZ_OK);
	CHECK(zbz_table_get(users, at(users), zbz_b(longest, 592), &out) == ZBZ_E_KEY);
	CHECK(strstr(call.err.text, "601") != NULL && strstr(call.err.text, "600") != NULL);
	CHECK(zbz_table_set(users, at(users), zbz_b("\0\n\xFF:", 4), zbz_bstr("binary"), NULL, NULL) == ZBZ_OK);
	out.n = 0;
	CHECK(zbz_table_get(users, at(users), zbz_b("\0\n\xFF:", 4), &out) == ZBZ_OK && out.n == 6);
	zbz_table_free(users);
	zbz_table_free(self);
	zbz_table_free(bare);
	close_cache();
}

static void bad_options(void) {
	zbz_table_opts o = { .name = zbz_bstr("a:b"), .ttl = -1, .deadline = -1 };
	zbz_cache_opts bad = { .default_ttl = -1 };
	zbz_table *t;
	zbz_cache *c2;
	zbz_err err;
	open_cache("", "", 0);
	CHECK(zbz_table_new(cache, &o, &t, &err) == ZBZ_E_ARGUMENT && t == NULL);
	o = (zbz_table_opts){ .ttl = -2, .deadline = -1 };
	CHECK(zbz_table_new(cache, &o, &t, &err) == ZBZ_E_ARGUMENT);
	o = (zbz_table_opts){ .ttl = -1, .deadline = -2 };
	CHECK(zbz_table_new(cache, &o, &t, &err) == ZBZ_E_ARGUMENT);
	o = (zbz_table_opts){ .ttl = -1, .deadline = -1, .stale_ttl = -1 };
	CHECK(zbz_table_new(cache, &o, &t, &err) == ZBZ_E_ARGUMENT);
	CHECK(zbz_cache_new(store, &bad, &c2, &err) == ZBZ_E_ARGUMENT && c2 == NULL);
	close_cache();
}

static void times(void) {
	zbz_table *t, *u;
	open_cache("", "", 5000);
	t = table("t", -1, 0, false);
	u = table("u", 100, 0, false);
	CHECK(set(t, "default", "v", -1) == ZBZ_OK && ttl(t, "default") == 5000);
	CHECK(set(u, "own", "v", -1) == ZBZ_OK && ttl(u, "own") == 100);
	CHECK(set(u, "call", "v", 7) == ZBZ_OK && ttl(u, "call") == 7);
	CHECK(set(u, "never", "v", 0) == ZBZ_OK && ttl(u, "never") == INT64_MAX);
	CHECK(set(u, "huge", "v", INT64_MAX) == ZBZ_OK && ttl(u, "huge") > INT64_MAX / 2);
	CHECK(set(u, "k", "v", -2) == ZBZ_E_ARGUMENT);
	zbz_clock_fake_advance(fake, 7);
	CHECK(get(u, "call") == ZBZ_MISS && ttl(u, "call") == GONE && exists(u, "call") == ZBZ_MISS);
	CHECK(exists(u, "own") == ZBZ_OK && ttl(u, "own") == 93);
	CHECK(expire(u, "own", 500) == ZBZ_OK && ttl(u, "own") == 500);
	CHECK(expire(u, "own", 0) == ZBZ_OK && ttl(u, "own") == INT64_MAX);
	CHECK(expire(u, "own", -1) == ZBZ_E_ARGUMENT);
	CHECK(expire(u, "absent", 5) == ZBZ_MISS);
	CHECK(zbz_table_set_raw(u, at(u), zbz_bstr("raw"), zbz_bstr("v"), -1) == ZBZ_OK && ttl(u, "raw") == 100);
	CHECK(zbz_table_set_raw(u, at(u), zbz_bstr("raw"), zbz_bstr("v"), -3) == ZBZ_E_ARGUMENT);
	zbz_table_free(t);
	zbz_table_free(u);
	close_cache();
}

static void sealed_state(void) {
	zbz_table *t;
	zbz_entry e;
	int64_t stored_at;
	open_cache("", "", 0);
	t = table("t", 1000, 500, false);
	CHECK(set(t, "k", "v", -1) == ZBZ_OK);
	CHECK(raw("t:k") == ZBZ_OK && zbz_envelope_is(zbz_buf_bytes(&out)));
	CHECK(holds(t, "k", "v") && ttl(t, "k") == 1000 && exists(t, "k") == ZBZ_OK);
	stored_at = T0;
	zbz_clock_fake_advance(fake, 400);
	CHECK(expire(t, "k", 2000) == ZBZ_OK && ttl(t, "k") == 2000);
	CHECK(entry(t, "k", &e) == ZBZ_OK && e.sealed && !e.stale && e.stored_at == stored_at && e.version.n == 8);
	zbz_clock_fake_advance(fake, 2000);
	CHECK(get(t, "k") == ZBZ_MISS && exists(t, "k") == ZBZ_MISS && ttl(t, "k") == GONE &&
	      expire(t, "k", 5) == ZBZ_MISS);
	CHECK(entry(t, "k", &e) == ZBZ_OK && e.stale && zbz_bytes_eq(zbz_buf_bytes(&out), zbz_bstr("v")));
	zbz_clock_fake_advance(fake, 500);
	CHECK(entry(t, "k", &e) == ZBZ_MISS && raw("t:k") == ZBZ_MISS);
	zbz_table_free(t);
	close_cache();
}

static void adding_over_the_dead(void) {
	zbz_table *t;
	zbz_entry e;
	open_cache("", "", 0);
	t = table("t", 100, 500, false);
	CHECK(set(t, "k", "old", -1) == ZBZ_OK && add(t, "k", "no") == ZBZ_REFUSED);
	zbz_clock_fake_advance(fake, 100);
	CHECK(put_as(t, "k", "no", (zbz_put){ .ttl = -1, .only = ZBZ_ONLY_PRESENT }) == ZBZ_REFUSED);
	CHECK(add(t, "k", "new") == ZBZ_OK && holds(t, "k", "new"));
	CHECK(put_as(t, "n", "", (zbz_put){ .ttl = 50, .stale_ttl = -1, .negative = true }) == ZBZ_OK);
	CHECK(get(t, "n") == ZBZ_MISS && exists(t, "n") == ZBZ_MISS);
	CHECK(entry(t, "n", &e) == ZBZ_OK && e.negative && out.n == 0);
	CHECK(add(t, "n", "now") == ZBZ_OK && holds(t, "n", "now"));
	CHECK(put_as(t, "n", "then", (zbz_put){ .ttl = -1, .only = ZBZ_ONLY_PRESENT }) == ZBZ_OK && holds(t, "n", "then"));
	zbz_table_free(t);
	close_cache();
}

static void negatives_are_not_kept_longer(void) {
	zbz_table *t;
	zbz_entry e;
	open_cache("", "", 0);
	t = table("t", 1000, 5000, false);
	CHECK(put_as(t, "n", "ignored", (zbz_put){ .ttl = 50, .stale_ttl = -1, .negative = true }) == ZBZ_OK);
	zbz_clock_fake_advance(fake, 50);
	CHECK(entry(t, "n", &e) == ZBZ_MISS);
	zbz_table_free(t);
	close_cache();
}

static void versions(void) {
	zbz_table *t;
	zbz_entry e;
	zbz_version v, none = { 0, { 0 } };
	zbz_put p = { .ttl = -1, .stale_ttl = -1, .only = ZBZ_ONLY_VERSION };
	open_cache("", "", 0);
	t = table("t", -1, 0, false);
	CHECK(zbz_table_set(t, at(t), zbz_bstr("k"), zbz_bstr("1"), NULL, &v) == ZBZ_OK && v.n == 8);
	CHECK(entry(t, "k", &e) == ZBZ_OK && e.version.n == v.n && memcmp(e.version.b, v.b, v.n) == 0 && !e.sealed);
	p.version = &v;
	CHECK(put_as(t, "k", "2", p) == ZBZ_OK);
	CHECK(put_as(t, "k", "3", p) == ZBZ_E_CONFLICT && holds(t, "k", "2"));
	p.version = &none;
	CHECK(put_as(t, "k", "3", p) == ZBZ_E_ARGUMENT);
	p.version = NULL;
	CHECK(put_as(t, "k", "3", p) == ZBZ_E_ARGUMENT);
	zbz_table_free(t);
	close_cache();
}

static void what_is_missing_is_said(void) {
	zbz_table *t;
	zbz_version v = { 1, { 1 } };
	open_cache("no_versions,no_ttl", "", 0);
	t = table("t", -1, 0, false);
	CHECK(put_as(t, "k", "v", (zbz_put){ .ttl = -1, .only = ZBZ_ONLY_VERSION, .version = &v }) == ZBZ_E_UNSUPPORTED);
	CHECK_STR(call.err.provider, "testmap");
	CHECK(set(t, "k", "v", 50) == ZBZ_OK && ttl(t, "k") == -(int64_t)ZBZ_E_UNSUPPORTED - 1000);
	zbz_table_free(t);
	t = table("", -1, 0, false);
	CHECK(zbz_table_clear(t, at(t), NULL) == ZBZ_E_UNSUPPORTED);
	CHECK(raw("t:k") == ZBZ_OK);
	zbz_table_free(t);
	close_cache();
}

static void without_versions_states_still_change(void) {
	zbz_table *t;
	zbz_entry e;
	open_cache("no_versions", "", 0);
	t = table("t", 100, 500, false);
	CHECK(set(t, "k", "v", -1) == ZBZ_OK && expire(t, "k", 300) == ZBZ_OK && ttl(t, "k") == 300);
	CHECK(zbz_table_invalidate(t, at(t), zbz_bstr("k")) == ZBZ_OK);
	CHECK(get(t, "k") == ZBZ_MISS && entry(t, "k", &e) == ZBZ_OK && e.stale);
	CHECK(add(t, "k", "x") == ZBZ_REFUSED);
	zbz_table_free(t);
	close_cache();
}

static void invalidation(void) {
	zbz_table *t, *plain;
	zbz_entry e, again;
	open_cache("", "", 0);
	t = table("t", 10000, 500, false);
	plain = table("p", -1, 0, false);
	CHECK(zbz_table_invalidate(t, at(t), zbz_bstr("absent")) == ZBZ_OK);
	CHECK(set(t, "k", "v", -1) == ZBZ_OK);
	zbz_clock_fake_advance(fake, 10);
	CHECK(zbz_table_invalidate(t, at(t), zbz_bstr("k")) == ZBZ_OK && get(t, "k") == ZBZ_MISS);
	CHECK(entry(t, "k", &e) == ZBZ_OK && e.stale && e.expire_at == T0 + 10 && e.stored_at == T0);
	CHECK(zbz_bytes_eq(zbz_buf_bytes(&out), zbz_bstr("v")));
	CHECK(zbz_table_invalidate(t, at(t), zbz_bstr("k")) == ZBZ_OK);
	CHECK(entry(t, "k", &again) == ZBZ_OK && again.stale && again.expire_at == T0 + 9);
	zbz_clock_fake_advance(fake, 500); /* kept for stale_ttl after it became stale, not after its old end */
	CHECK(entry(t, "k", &e) == ZBZ_MISS);
	CHECK(set(plain, "k", "v", -1) == ZBZ_OK && zbz_table_invalidate(plain, at(plain), zbz_bstr("k")) == ZBZ_OK &&
	      raw("p:k") == ZBZ_MISS);
	CHECK(put_as(t, "n", "", (zbz_put){ .ttl = 50, .negative = true }) == ZBZ_OK);
	CHECK(zbz_table_invalidate(t, at(t), zbz_bstr("n")) == ZBZ_OK && raw("t:n") == ZBZ_MISS);
	CHECK(zbz_table_set_raw(t, at(t), zbz_bstr("bad"), zbz_b("\xC1zbz\x09", 5), 0) == ZBZ_OK);
	CHECK(zbz_table_invalidate(t, at(t), zbz_bstr("bad")) == ZBZ_OK && raw("t:bad") == ZBZ_MISS);
	zbz_table_free(t);
	zbz_table_free(plain);
	close_cache();
}

static void magic_is_sealed(void) {
	zbz_table *t;
	zbz_entry e;
	static const char magic[] = "\xC1zbz and more";
	open_cache("", "", 0);
	t = table("t", -1, 0, false);
	CHECK(set(t, "k", magic, 60) == ZBZ_OK && holds(t, "k", magic));
	CHECK(raw("t:k") == ZBZ_OK && out.n == 22 + sizeof magic - 1);
	CHECK(ttl(t, "k") == 60 && entry(t, "k", &e) == ZBZ_OK && e.sealed && e.expire_at == T0 + 60);
	out.n = 0;
	CHECK(zbz_table_get_raw(t, at(t), zbz_bstr("k"), &out) == ZBZ_OK && out.n == 22 + sizeof magic - 1);
	CHECK(zbz_table_set_raw(t, at(t), zbz_bstr("bad"), zbz_bstr(magic), -1) == ZBZ_OK &&
	      get(t, "bad") == ZBZ_E_CORRUPT && out.n == 0);
	CHECK(set(t, "bad", "good", -1) == ZBZ_OK && holds(t, "bad", "good"));
	zbz_table_free(t);
	close_cache();
}

static void values(void) {
	zbz_table *t;
	char *big = malloc(1 << 20);
	size_t i;
	zbz_buf tail = { 0 };
	open_cache("max_value=1048576", "", 0);
	t = table("t", -1, 0, false);
	CHECK(set(t, "empty", "", -1) == ZBZ_OK && holds(t, "empty", ""));
	for (i = 0; i < 1 << 20; i++) big[i] = (char)i;
	CHECK(zbz_table_set(t, at(t), zbz_bstr("big"), zbz_b(big, 1 << 20), NULL, NULL) == ZBZ_OK);
	CHECK(get(t, "big") == ZBZ_OK && zbz_bytes_eq(zbz_buf_bytes(&out), zbz_b(big, 1 << 20)));
	CHECK(zbz_table_set(t, at(t), zbz_bstr("big"), zbz_b(big, 1 << 20), &(zbz_put){ .ttl = 5, .stale_ttl = 5 }, NULL) ==
	      ZBZ_E_TOO_LARGE);
	CHECK(strstr(call.err.text, "1048576") != NULL);
	CHECK(get(t, "big") == ZBZ_OK);
	CHECK(zbz_buf_append(&tail, "before", 6, NULL) == ZBZ_OK); /* what stood in the buffer stays */
	CHECK(zbz_table_get(t, at(t), zbz_bstr("nothing"), &tail) == ZBZ_MISS && tail.n == 6);
	CHECK(zbz_table_get(t, at(t), zbz_bstr("empty"), &tail) == ZBZ_OK && tail.n == 6);
	tail.max = 100;
	CHECK(zbz_table_get(t, at(t), zbz_bstr("big"), &tail) == ZBZ_E_TOO_LARGE && tail.n == 6);
	zbz_buf_clear(&tail);
	free(big);
	zbz_table_free(t);
	close_cache();
}

static void counters(void) {
	zbz_table *t, *s;
	int64_t v = 0;
	open_cache("", "", 0);
	t = table("t", 1000, 0, false);
	s = table("s", 1000, 500, false);
	CHECK(incr(t, "n", 5, &v) == ZBZ_OK && v == 5 && incr(t, "n", -7, &v) == ZBZ_OK && v == -2 && ttl(t, "n") == 1000);
	CHECK(zbz_table_incr(t, at(t), zbz_bstr("m"), 5, true, 100, 0, &v) == ZBZ_OK && v == 100 &&
	      ttl(t, "m") == INT64_MAX);
	CHECK(set(t, "text", "abc", -1) == ZBZ_OK && incr(t, "text", 1, &v) == ZBZ_E_TYPE && holds(t, "text", "abc"));
	CHECK(zbz_table_incr(t, at(t), zbz_bstr("m"), 1, false, 0, -2, &v) == ZBZ_E_ARGUMENT);
	/* a number in an envelope stays one, with its end */
	CHECK(set(s, "n", "41", 300) == ZBZ_OK && incr(s, "n", 1, &v) == ZBZ_OK && v == 42 && holds(s, "n", "42") &&
	      ttl(s, "n") == 300);
	CHECK(set(s, "n", "9223372036854775807", 300) == ZBZ_OK && incr(s, "n", 1, &v) == ZBZ_E_TOO_LARGE &&
	      holds(s, "n", "9223372036854775807"));
	CHECK(incr(s, "n", -1, &v) == ZBZ_OK && v == INT64_MAX - 1);
	CHECK(set(s, "n", "-9223372036854775808", 300) == ZBZ_OK && incr(s, "n", 0, &v) == ZBZ_OK && v == INT64_MIN);
	CHECK(set(s, "n", "9223372036854775808", 300) == ZBZ_OK && incr(s, "n", 0, &v) == ZBZ_E_TYPE);
	CHECK(set(s, "n", "4x", 300) == ZBZ_OK && incr(s, "n", 1, &v) == ZBZ_E_TYPE);
	CHECK(set(s, "n", "7", 300) == ZBZ_OK);
	zbz_clock_fake_advance(fake, 300);
	CHECK(incr(s, "n", 3, &v) == ZBZ_OK && v == 3 && ttl(s, "n") == 1000); /* the dead number does not count */
	zbz_table_free(t);
	zbz_table_free(s);
	close_cache();
}

static void batches(void) {
	zbz_table *t;
	zbz_bytes keys[] = { { "a", 1 }, { "", 0 }, { "b", 1 }, { "a", 1 }, { "waytoolong", 10 }, { "c", 1 } };
	zbz_bytes vals[] = { { "1", 1 }, { "2", 1 }, { "3", 1 },
		                 { "4", 1 }, { "5", 1 }, { "toobig...........................", 32 } };
	zbz_put fresh = { .ttl = 50, .stale_ttl = 10 }, bad = { .ttl = -9 },
	        only = { .ttl = -1, .stale_ttl = -1, .only = ZBZ_ONLY_ABSENT };
	const zbz_put *puts[] = { NULL, NULL, &fresh, NULL, NULL, NULL };
	const zbz_put *odd[] = { &only, &bad, &only };
	zbz_bytes three[] = { { "a", 1 }, { "z", 1 }, { "y", 1 } };
	zbz_status st[6];
	zbz_found f[6];
	zbz_table_stats stats;
	open_cache("max_key=5,max_value=30", "", 0);
	t = table("t", -1, 0, false);
	CHECK(zbz_table_set_many(t, at(t), keys, vals, puts, 6, st) == ZBZ_OK);
	CHECK(st[0] == ZBZ_OK && st[1] == ZBZ_E_KEY && st[2] == ZBZ_OK && st[3] == ZBZ_OK && st[4] == ZBZ_E_KEY &&
	      st[5] == ZBZ_E_TOO_LARGE);
	out.n = 0;
	CHECK(zbz_table_get_many(t, at(t), keys, 6, &out, f) == ZBZ_OK);
	CHECK(f[0].status == ZBZ_OK && zbz_bytes_eq(zbz_b(out.p + f[0].off, f[0].n), zbz_bstr("4")));
	CHECK(f[1].status == ZBZ_E_KEY && f[4].status == ZBZ_E_KEY && f[5].status == ZBZ_MISS);
	CHECK(f[2].status == ZBZ_OK && zbz_bytes_eq(zbz_b(out.p + f[2].off, f[2].n), zbz_bstr("3")));
	CHECK(f[3].status == ZBZ_OK && zbz_bytes_eq(zbz_b(out.p + f[3].off, f[3].n), zbz_bstr("4")));
	zbz_table_stats_read(t, &stats);
	CHECK(stats.sets == 3 && stats.hits == 3 && stats.misses == 1 && stats.errors == 5);
	zbz_clock_fake_advance(fake, 50); /* b is sealed and stale now */
	out.n = 0;
	CHECK(zbz_table_get_many(t, at(t), keys + 2, 1, &out, f) == ZBZ_OK && f[0].status == ZBZ_MISS);
	CHECK(zbz_table_set_many(t, at(t), three, vals, odd, 3, st) == ZBZ_OK);
	CHECK(st[0] == ZBZ_REFUSED && st[1] == ZBZ_E_ARGUMENT && st[2] == ZBZ_OK && holds(t, "y", "3"));
	CHECK(zbz_table_set_many(t, at(t), three, vals, NULL, 3, st) == ZBZ_OK && holds(t, "z", "2"));
	CHECK(zbz_table_del_many(t, at(t), keys, 6, st) == ZBZ_OK);
	CHECK(st[0] == ZBZ_OK && st[1] == ZBZ_E_KEY && st[2] == ZBZ_OK && st[3] == ZBZ_MISS && st[5] == ZBZ_MISS);
	CHECK(zbz_table_get_many(t, at(t), keys, 0, &out, f) == ZBZ_OK &&
	      zbz_table_set_many(t, at(t), keys, vals, NULL, 0, st) == ZBZ_OK);
	CHECK(zbz_table_get_many(t, at(t), keys + 1, 1, &out, f) == ZBZ_OK &&
	      f[0].status == ZBZ_E_KEY); /* no good key at all */
	zbz_table_free(t);
	close_cache();
}

static size_t list(zbz_table *t, const char *pattern, zbz_status *last) {
	zbz_listing *l;
	size_t n = 0;
	out.n = 0;
	*last = zbz_table_keys_open(t, at(t), zbz_bstr(pattern), &l);
	if (*last != ZBZ_OK) return 0;
	do *last = zbz_table_keys_next(l, at(t), 7, &out, &n);
	while (*last == ZBZ_OK);
	zbz_table_keys_close(l);
	return n;
}

static void listings(void) {
	zbz_table *t, *other;
	char key[20];
	int i;
	uint64_t removed;
	zbz_status s;
	zbz_listing *l;
	size_t n = 0;
	open_cache("", "p*:", 0); /* a glob character in the prefix is an ordinary byte */
	t = table("t", -1, 0, false);
	other = table("tt", -1, 0, false);
	for (i = 0; i < 100; i++) {
		snprintf(key, sizeof key, "k%02d", i);
		CHECK(set(t, key, "v", -1) == ZBZ_OK);
	}
	CHECK(set(other, "k01", "v", -1) == ZBZ_OK);
	CHECK(list(t, "*", &s) == 100 && s == ZBZ_END);
	CHECK(list(t, "", &s) == 100 && s == ZBZ_END);
	CHECK(list(t, "k0?", &s) == 10 && out.n == 70 && memcmp(out.p, "\3\0\0\0k0", 6) == 0);
	CHECK(list(t, "x*", &s) == 0 && s == ZBZ_END);
	CHECK(zbz_table_keys_open(t, at(t), zbz_bstr("*"), &l) == ZBZ_OK);
	zbz_table_clear(t, at(t), &removed);
	CHECK(removed == 100 && list(t, "*", &s) == 0 && list(other, "*", &s) == 1);
	zbz_cache_close(cache);
	CHECK(zbz_table_keys_next(l, at(t), 7, &out, &n) == ZBZ_E_CLOSED);
	zbz_table_keys_close(l);
	zbz_table_keys_close(NULL);
	CHECK(list(t, "*", &s) == 0 && s == ZBZ_E_CLOSED);
	zbz_table_free(t);
	zbz_table_free(other);
	close_cache();
}

static void closing(void) {
	zbz_table *t;
	zbz_err err;
	zbz_flight *f;
	zbz_seat seat;
	zbz_status st[1];
	zbz_bytes k = { "k", 1 };
	zbz_found fd[1];
	int64_t v;
	open_cache("", "", 0);
	t = table("t", -1, 0, false);
	zbz_cache_close(cache);
	zbz_cache_close(cache);
	CHECK(zbz_cache_store(cache) == NULL);
	CHECK(get(t, "k") == ZBZ_E_CLOSED && set(t, "k", "v", -1) == ZBZ_E_CLOSED && del(t, "k") == ZBZ_E_CLOSED &&
	      exists(t, "k") == ZBZ_E_CLOSED);
	CHECK(incr(t, "k", 1, &v) == ZBZ_E_CLOSED && expire(t, "k", 5) == ZBZ_E_CLOSED &&
	      zbz_table_clear(t, at(t), NULL) == ZBZ_E_CLOSED);
	CHECK(zbz_table_get_many(t, at(t), &k, 1, &out, fd) == ZBZ_E_CLOSED &&
	      zbz_table_set_many(t, at(t), &k, &k, NULL, 1, st) == ZBZ_E_CLOSED);
	CHECK(zbz_table_del_many(t, at(t), &k, 1, st) == ZBZ_E_CLOSED &&
	      zbz_table_flight(t, k, NULL, &f, &seat, &err) == ZBZ_E_CLOSED);
	CHECK(zbz_cache_swap(cache, at(t), store) == ZBZ_E_CLOSED);
	zbz_cache_unref(cache);
	CHECK(get(t, "k") == ZBZ_E_CLOSED); /* the table keeps the cache alive */
	cache = NULL;
	zbz_table_free(t);
	zbz_table_free(NULL);
	close_cache();
}

static void deadlines(void) {
	zbz_table *t;
	zbz_table_stats stats;
	open_cache("", "", 0);
	t = table("t", -1, 0, false);
	zbz_table_begin(t, &call, 100);
	CHECK(call.deadline == zbz_mono(fake) + 100);
	zbz_clock_fake_advance(fake, 100);
	CHECK(zbz_table_get(t, &call, zbz_bstr("k"), &out) == ZBZ_E_TIMEOUT && call.err.retryable);
	zbz_table_begin(t, &call, 0);
	CHECK(call.deadline == ZBZ_NEVER);
	CHECK(get(t, "k") == ZBZ_MISS);
	zbz_table_stats_read(t, &stats);
	CHECK(stats.errors == 1 && stats.misses == 1 && stats.created_at == T0 && stats.last_access == T0 + 100);
	zbz_table_free(t);
	close_cache();
	open_cache("inline", "", 0);
	t = table("t", -1, 0, false);
	zbz_table_begin(t, &call, 100);
	CHECK(call.deadline == ZBZ_NEVER); /* it never waits */
	zbz_table_free(t);
	close_cache();
}

/* ---- the fault layer ---- */

/* The test's store under the layer, with options "name=value name=value". */
static zbz_store *faulty(const char *options) {
	zbz_config *cfg = zbz_config_new();
	zbz_store *s = NULL;
	zbz_err err;
	char list[100], *word, *value, *save = NULL;
	snprintf(list, sizeof list, "%s", options);
	CHECK(zbz_config_set_text(cfg, "provider", zbz_bstr("fault"), &err) == ZBZ_OK);
	CHECK(zbz_config_set_store(cfg, "inner", store, &err) == ZBZ_OK);
	for (word = strtok_r(list, " ", &save); word != NULL; word = strtok_r(NULL, " ", &save)) {
		value = strchr(word, '=');
		*value++ = '\0';
		CHECK(zbz_config_set_text(cfg, word, zbz_bstr(value), &err) == ZBZ_OK);
	}
	if (zbz_store_open(cfg, fake, &s, &err) != ZBZ_OK) s = NULL;
	zbz_config_free(cfg);
	return s;
}

static void under(zbz_table *t, const char *options) {
	zbz_store *s = faulty(options);
	CHECK(s != NULL && zbz_cache_swap(cache, at(t), s) == ZBZ_OK);
	zbz_store_unref(s);
}

static uint64_t failing_gets(zbz_table *t, const char *options) { /* which of 64 */
	uint64_t bits = 0;
	int i;
	under(t, options);
	for (i = 0; i < 64; i++) bits |= (uint64_t)(get(t, "k") == ZBZ_E_UNAVAILABLE) << i;
	return bits;
}

static void faults_are_made(void) {
	zbz_table *t;
	uint64_t bits;
	open_cache("", "", 0);
	t = table("t", -1, 0, false);
	under(t, "");
	CHECK(set(t, "k", "value", -1) == ZBZ_OK && holds(t, "k", "value"));
	under(t, "truncate=true");
	CHECK(holds(t, "k", "valu"));
	CHECK(faulty("fail_ops=get,unheard_of") == NULL && faulty("fail_per_mille=1001") == NULL &&
	      faulty("error=odd") == NULL);
	bits = failing_gets(t, "fail_per_mille=300 fail_ops=get seed=7");
	CHECK(__builtin_popcountll(bits) > 5 && __builtin_popcountll(bits) < 40);
	CHECK(failing_gets(t, "fail_per_mille=300 fail_ops=get seed=7") == bits);
	CHECK(failing_gets(t, "fail_per_mille=300 fail_ops=get seed=8") != bits);
	CHECK(failing_gets(t, "fail_per_mille=1000 fail_ops=get") == UINT64_MAX);
	CHECK_STR(call.err.provider, "fault");
	CHECK(failing_gets(t, "fail_per_mille=1000 fail_ops=set") == 0);
	zbz_table_free(t);
	close_cache();
}

static void faults_are_counted(void) {
	zbz_config *cfg = zbz_config_new();
	zbz_table *t;
	zbz_table_stats stats;
	zbz_store *s;
	zbz_err err;
	open_cache("", "", 0);
	CHECK(zbz_config_set_text(cfg, "provider", zbz_bstr("fault"), &err) == ZBZ_OK);
	CHECK(zbz_config_set_store(cfg, "inner", store, &err) == ZBZ_OK);
	CHECK(zbz_config_set_text(cfg, "fail_ops", zbz_bstr("set,get"), &err) == ZBZ_OK);
	CHECK(zbz_config_set_int(cfg, "fail_first", 2, &err) == ZBZ_OK);
	CHECK(zbz_config_set_int(cfg, "fail_after", 4, &err) == ZBZ_OK);
	CHECK(zbz_config_set_text(cfg, "error", zbz_bstr("timeout"), &err) == ZBZ_OK);
	CHECK(zbz_config_set_bool(cfg, "lose_reply", true, &err) == ZBZ_OK);
	CHECK(zbz_store_open(cfg, fake, &s, &err) == ZBZ_OK);
	t = table("t", -1, 0, false);
	CHECK(zbz_cache_swap(cache, at(t), s) == ZBZ_OK);
	CHECK(set(t, "k", "v", -1) == ZBZ_E_TIMEOUT && raw("t:k") == ZBZ_OK); /* carried out, the answer lost */
	CHECK(get(t, "k") == ZBZ_E_TIMEOUT && out.n == 0);
	CHECK(del(t, "none") == ZBZ_MISS);
	CHECK(get(t, "k") == ZBZ_OK && set(t, "k", "w", -1) == ZBZ_OK && get(t, "k") == ZBZ_E_TIMEOUT &&
	      get(t, "k") == ZBZ_E_TIMEOUT);
	zbz_table_stats_read(t, &stats);
	CHECK(stats.lost_writes == 1 && stats.errors == 4);
	zbz_table_free(t);
	zbz_store_unref(s);
	zbz_config_free(cfg);
	close_cache();
}

static void a_delay_ends_at_the_deadline(void) {
	zbz_table *t;
	zbz_caps caps;
	zbz_store *s;
	int64_t start = zbz_mono(zbz_clock_system());
	open_cache("inline", "", 0);
	t = table("t", -1, 0, false);
	s = faulty("delay=1h");
	CHECK(s != NULL);
	zbz_store_caps(s, &caps);
	CHECK(!caps.inline_ok);
	zbz_table_begin(t, &call, 0);
	call.deadline = zbz_mono(fake) + 20;
	CHECK(zbz_store_ping(s, &call) == ZBZ_E_TIMEOUT);
	CHECK(zbz_mono(zbz_clock_system()) - start < 20000);
	zbz_store_unref(s);
	zbz_table_free(t);
	close_cache();
}

/* ---- memory that runs out ---- */

static zbz_status every_call(zbz_table *t, zbz_call *c) {
	zbz_bytes k = zbz_bstr("k"), keys[2] = { { "k", 1 }, { "l", 1 } }, vals[2] = { { "1", 1 }, { "2", 1 } };
	static char longkey[700];
	zbz_buf b = { 0 };
	zbz_entry e;
	zbz_found f[2];
	zbz_status st[2], s;
	zbz_listing *l = NULL;
	zbz_flight *fl = NULL, *waiter = NULL;
	zbz_seat seat;
	zbz_version v = { 0, { 0 } };
	zbz_put p = { .ttl = 50, .stale_ttl = 50 };
	int64_t num;
	uint64_t removed;
	size_t n = 0;
	memset(longkey, 'k', sizeof longkey);
#define STEP(call_)           \
	do {                      \
		s = (call_);          \
		if (s < 0) goto done; \
	} while (0)
	STEP(zbz_table_flight(t, k, NULL, &fl, &seat, &c->err));
	STEP(zbz_table_flight(t, k, NULL, &waiter, &seat, &c->err));
	STEP(zbz_table_lease(t, c, k, NULL, 1000, &v));
	STEP(zbz_table_commit(t, c, fl, k, zbz_bstr("1"), &p, &v));
	STEP(zbz_flight_land(fl, ZBZ_LANDED_VALUE, zbz_bstr("1"), &c->err));
	STEP(zbz_table_get(t, c, k, &b));
	STEP(zbz_table_entry(t, c, k, true, &b, &e));
	STEP(zbz_table_exists(t, c, k));
	STEP(zbz_table_expire(t, c, k, 70));
	STEP(zbz_table_incr(t, c, k, 1, false, 0, -1, &num));
	STEP(zbz_table_invalidate(t, c, k));
	p.only = ZBZ_ONLY_ABSENT;
	STEP(zbz_table_set(t, c, k, zbz_bstr("1"), &p, NULL));
	STEP(zbz_table_set(t, c, zbz_b(longkey, sizeof longkey), zbz_bstr("1"), NULL, NULL));
	STEP(zbz_table_set_many(t, c, keys, vals, NULL, 2, st));
	STEP(zbz_table_get_many(t, c, keys, 2, &b, f));
	STEP(zbz_table_del_many(t, c, keys, 2, st));
	STEP(zbz_table_keys_open(t, c, zbz_bstr("*"), &l));
	STEP(zbz_table_keys_next(l, c, 10, &b, &n));
	STEP(zbz_table_clear(t, c, &removed));
#undef STEP
	s = ZBZ_OK;
done:
	zbz_table_keys_close(l);
	zbz_flight_leave(fl);
	zbz_flight_leave(waiter);
	zbz_buf_clear(&b);
	return s;
}

static zbz_status whole_life(void) {
	zbz_cache_opts o = { .key_prefix = zbz_bstr("p:"), .clock = fake };
	zbz_table_opts to = { .name = zbz_bstr("t"), .ttl = 100, .deadline = -1, .stale_ttl = 100 };
	zbz_store *s1 = map_store("", fake), *s2 = map_store("quiet", fake);
	zbz_cache *c1 = NULL;
	zbz_table *t = NULL;
	zbz_call c;
	zbz_status s = ZBZ_E_INTERNAL;
	if (s1 == NULL || s2 == NULL) goto done;
	s = zbz_cache_new(s1, &o, &c1, &c.err);
	if (s == ZBZ_OK) s = zbz_table_new(c1, &to, &t, &c.err);
	if (s != ZBZ_OK) goto done;
	zbz_table_begin(t, &c, 0);
	s = every_call(t, &c);
	if (s == ZBZ_OK) s = zbz_cache_swap(c1, &c, s2);
	if (s == ZBZ_OK) s = every_call(t, &c);
	if (s < 0) CHECK(c.err.status == s && c.err.text[0] != '\0');
done:
	zbz_table_free(t);
	zbz_cache_unref(c1);
	zbz_store_unref(s1);
	zbz_store_unref(s2);
	return s;
}

static void out_of_memory(void) {
	long n, live;
	bool failed = true;
	fake = zbz_clock_fake_new(T0);
	for (n = 1; failed && n < 2000; n++) {
		zbz_status s;
		faults_begin(n);
		s = whole_life();
		failed = faults_end(&live);
		CHECK(live == 0);
		CHECK(s == ZBZ_OK || (failed && s == ZBZ_E_INTERNAL));
	}
	CHECK(!failed && n > 40);
	zbz_clock_fake_free(fake);
}

int main(void) {
	RUN(keys_and_prefixes);
	RUN(bad_options);
	RUN(times);
	RUN(sealed_state);
	RUN(adding_over_the_dead);
	RUN(negatives_are_not_kept_longer);
	RUN(versions);
	RUN(what_is_missing_is_said);
	RUN(without_versions_states_still_change);
	RUN(invalidation);
	RUN(magic_is_sealed);
	RUN(values);
	RUN(counters);
	RUN(batches);
	RUN(listings);
	RUN(closing);
	RUN(deadlines);
	RUN(faults_are_made);
	RUN(faults_are_counted);
	RUN(a_delay_ends_at_the_deadline);
	RUN(out_of_memory);
	return DONE();
}
