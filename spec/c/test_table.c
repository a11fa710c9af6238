/* Tables over a small provider: keys, times, envelopes, conditions, values. */
#include "table_rig.h"

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
	return DONE();
}
