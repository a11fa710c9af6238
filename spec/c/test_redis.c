/* The Redis provider against a real server: options, single keys, the server itself. REDIS_URL names the server
 * (spec/services/redis.lua); without it one of our own is started. */
#include "redis_rig.h"

/* ---- options -------------------------------------------------------------------------------------------------------- */

static void refused(const char *name, const char *value, const char *named) {
	rig r;
	zbz_status s = rig_open(&r, name, value, NULL);
	if (s != ZBZ_E_CONFIG || strcmp(r.err.option, named) != 0)
		fprintf(stderr, "  %s=%s: %d %s %s\n", name, value, s, r.err.option, r.err.text);
	CHECK(s == ZBZ_E_CONFIG && strcmp(r.err.option, named) == 0);
	CHECK(!strstr(r.err.text, "s3cret"));
	if (s == ZBZ_OK) rig_close(&r);
}

static void test_options(void) {
	rig r;
	static const char *const bad[] = {
		"redis//x",        "http://localhost",         "redis://localhost/one", "redis://localhost:99999",
		"redis://h:1/-1",  "redis://:s3cret@h:port/0", "redis+unix://",         "redis://h/0?name=s3cret",
		"redis://a:1,b:2", "redis://h/99999999",       "redis://h/1x",          "localhost:port"
	};
	static const char *const good[] = { "redis://localhost",
		                                "localhost:6379",
		                                "localhost",
		                                "redis://:pw@localhost:6379/1",
		                                "rediss://u:p%40@localhost",
		                                "redis+unix:///tmp/x.sock?db=3",
		                                "[::1]:7000",
		                                "redis://[::1]:7000/2" };
	size_t i;
	for (i = 0; i < sizeof bad / sizeof *bad; i++) refused("url", bad[i], "url");
	for (i = 0; i < sizeof good / sizeof *good; i++) {
		CHECK(rig_open(&r, "url", good[i], NULL) == ZBZ_OK);
		rig_close(&r);
	}
	refused("pool_size", "0", "pool_size");
	refused("port", "0", "port");
	refused("timeout", "soon", "timeout");
	refused("min_idle_conns", "11", "min_idle_conns");
	CHECK(rig_open(&r, "enable_ssl", "true", "tls_ca", "/does/not/exist", NULL) == ZBZ_E_CONFIG);
	CHECK_STR(r.err.option, "tls_ca");
	CHECK(rig_open(&r, "enable_ssl", "true", "tls_cert", "/does/not/exist", NULL) == ZBZ_E_CONFIG);
	CHECK_STR(r.err.option, "tls_cert");
	CHECK(rig_open(&r, "path", "/tmp/x", "enable_ssl", "true", NULL) == ZBZ_E_CONFIG);
	CHECK_STR(r.err.option, "enable_ssl");
	CHECK(rig_open(&r, "nonsense", "1", NULL) == ZBZ_E_ARGUMENT);
}

static void test_caps(void) {
	rig r = fresh();
	zbz_caps caps;
	ops->caps(r.self, &caps);
	CHECK(caps.shared && !caps.inline_ok && !caps.exclusive && !caps.unsigned_incr);
	CHECK(caps.ttl_resolution_ms == 1 && caps.max_value == (uint64_t)512 << 20);
	CHECK(caps.can & ZBZ_CAN_BATCH);
	rig_close(&r);
}

/* ---- single keys ---------------------------------------------------------------------------------------------------- */

static void test_get_set(void) {
	rig r = fresh();
	char all[256];
	zbz_buf out = { 0 };
	zbz_write w = { .key = zbz_b("bin\0\r\n\xff key", 11), .value = zbz_b(all, sizeof all) };
	size_t i;
	for (i = 0; i < sizeof all; i++) all[i] = (char)i;
	CHECK(rig_set(&r, "a", "1") == ZBZ_OK && rig_has(&r, "a", "1"));
	CHECK(rig_set(&r, "a", "") == ZBZ_OK && rig_has(&r, "a", ""));
	CHECK(rig_has(&r, "never", NULL));
	CHECK(ops->set(r.self, rig_call(&r, 0), &w, NULL) == ZBZ_OK);
	CHECK(zbz_buf_append(&out, "before", 6, NULL) == ZBZ_OK);
	CHECK(ops->get(r.self, rig_call(&r, 0), w.key, &out, NULL) == ZBZ_OK);
	CHECK(out.n == 262 && memcmp(out.p, "before", 6) == 0 && memcmp(out.p + 6, all, 256) == 0);
	CHECK(ops->exists(r.self, rig_call(&r, 0), w.key) == ZBZ_OK);
	CHECK(ops->del(r.self, rig_call(&r, 0), w.key) == ZBZ_OK);
	CHECK(ops->del(r.self, rig_call(&r, 0), w.key) == ZBZ_MISS);
	CHECK(ops->exists(r.self, rig_call(&r, 0), w.key) == ZBZ_MISS);
	zbz_buf_clear(&out);
	rig_close(&r);
}

static void test_conditions(void) {
	rig r = fresh();
	zbz_write w = { .key = zbz_bstr("cond"), .value = zbz_bstr("v"), .only = ZBZ_ONLY_PRESENT };
	ops->del(r.self, rig_call(&r, 0), w.key);
	CHECK(ops->set(r.self, rig_call(&r, 0), &w, NULL) == ZBZ_REFUSED && rig_has(&r, "cond", NULL));
	w.only = ZBZ_ONLY_ABSENT;
	CHECK(ops->set(r.self, rig_call(&r, 0), &w, NULL) == ZBZ_OK);
	w.value = zbz_bstr("w");
	CHECK(ops->set(r.self, rig_call(&r, 0), &w, NULL) == ZBZ_REFUSED && rig_has(&r, "cond", "v"));
	w.only = ZBZ_ONLY_PRESENT;
	w.expire_at = rig_call(&r, 0)->now + 60000;
	CHECK(ops->set(r.self, rig_call(&r, 0), &w, NULL) == ZBZ_OK && rig_has(&r, "cond", "w"));
	rig_close(&r);
}

static void test_ttl(void) {
	zbz_clock *fake = zbz_clock_fake_new(5000000); /* far from the server's time: only what is relative may count */
	rig r;
	int64_t at = -7;
	zbz_write w = { .key = zbz_bstr("ttl"), .value = zbz_bstr("v"), .expire_at = 5000000 + 30000 };
	zbz_meta meta;
	zbz_buf out = { 0 };
	CHECK(rig_open_at(&r, fake, "url", main_url, NULL) == ZBZ_OK);
	CHECK(ops->set(r.self, rig_call(&r, 0), &w, NULL) == ZBZ_OK);
	CHECK(ops->ttl(r.self, rig_call(&r, 0), w.key, &at) == ZBZ_OK && at > 5000000 + 20000 && at <= 5000000 + 30000);
	CHECK(ops->get(r.self, rig_call(&r, 0), w.key, &out, &meta) == ZBZ_OK && meta.expire_at > 5020000 &&
	      meta.version.n > 0);
	CHECK(ops->expire(r.self, rig_call(&r, 0), w.key, 5000000 + 90000) == ZBZ_OK);
	CHECK(ops->ttl(r.self, rig_call(&r, 0), w.key, &at) == ZBZ_OK && at > 5000000 + 80000);
	CHECK(ops->expire(r.self, rig_call(&r, 0), w.key, ZBZ_NO_EXPIRY) == ZBZ_OK);
	CHECK(ops->expire(r.self, rig_call(&r, 0), w.key, ZBZ_NO_EXPIRY) == ZBZ_OK); /* already without */
	CHECK(ops->ttl(r.self, rig_call(&r, 0), w.key, &at) == ZBZ_OK && at == ZBZ_NO_EXPIRY);
	CHECK(ops->expire(r.self, rig_call(&r, 0), w.key, INT64_MAX - 1) == ZBZ_OK); /* further than the server can count */
	CHECK(ops->del(r.self, rig_call(&r, 0), w.key) == ZBZ_OK);
	CHECK(ops->ttl(r.self, rig_call(&r, 0), w.key, &at) == ZBZ_MISS);
	CHECK(ops->expire(r.self, rig_call(&r, 0), w.key, ZBZ_NO_EXPIRY) == ZBZ_MISS);
	CHECK(ops->expire(r.self, rig_call(&r, 0), w.key, 5000000 + 90000) == ZBZ_MISS);
	w.expire_at = 5000000 + 1; /* one millisecond */
	CHECK(ops->set(r.self, rig_call(&r, 0), &w, NULL) == ZBZ_OK);
	while (ops->exists(r.self, rig_call(&r, 0), w.key) == ZBZ_OK) {}
	CHECK(rig_has(&r, "ttl", NULL));
	zbz_buf_clear(&out);
	rig_close(&r);
	zbz_clock_fake_free(fake);
}

static void test_versions(void) {
	rig r = fresh();
	zbz_version first, second;
	zbz_meta meta;
	zbz_buf out = { 0 };
	zbz_write w = { .key = zbz_bstr("ver"), .value = zbz_bstr("one") };
	int64_t at;
	CHECK(ops->set(r.self, rig_call(&r, 0), &w, &first) == ZBZ_OK && first.n == 20);
	CHECK(ops->get(r.self, rig_call(&r, 0), w.key, &out, &meta) == ZBZ_OK);
	CHECK(meta.version.n == 20 && memcmp(meta.version.b, first.b, 20) == 0 && meta.expire_at == ZBZ_NO_EXPIRY);
	w.only = ZBZ_ONLY_VERSION;
	w.version = &first;
	w.value = zbz_bstr("two");
	w.expire_at = rig_call(&r, 0)->now + 60000;
	zbz_buf_clear(&out);
	CHECK(rig_command(&r, "SCRIPT FLUSH", &out) == ZBZ_OK); /* so that the script has to be sent */
	CHECK(ops->set(r.self, rig_call(&r, 0), &w, &second) == ZBZ_OK && rig_has(&r, "ver", "two"));
	CHECK(ops->ttl(r.self, rig_call(&r, 0), w.key, &at) == ZBZ_OK && at > 0);
	w.value = zbz_bstr("three");
	CHECK(ops->set(r.self, rig_call(&r, 0), &w, NULL) == ZBZ_E_CONFLICT && r.c.err.status == ZBZ_E_CONFLICT &&
	      rig_has(&r, "ver", "two"));
	w.version = &second;
	w.expire_at = ZBZ_NO_EXPIRY;
	CHECK(ops->set(r.self, rig_call(&r, 0), &w, NULL) == ZBZ_OK && rig_has(&r, "ver", "three"));
	CHECK(ops->ttl(r.self, rig_call(&r, 0), w.key, &at) == ZBZ_OK && at == ZBZ_NO_EXPIRY);
	CHECK(ops->del(r.self, rig_call(&r, 0), w.key) == ZBZ_OK);
	CHECK(ops->set(r.self, rig_call(&r, 0), &w, NULL) == ZBZ_E_CONFLICT && rig_has(&r, "ver", NULL));
	CHECK(rig_command(&r, "RPUSH ver x", &out) == ZBZ_OK);
	CHECK(ops->set(r.self, rig_call(&r, 0), &w, NULL) == ZBZ_E_TYPE);
	CHECK(ops->get(r.self, rig_call(&r, 0), w.key, &out, NULL) == ZBZ_E_TYPE && !r.c.err.retryable);
	CHECK(ops->get(r.self, rig_call(&r, 0), w.key, &out, &meta) == ZBZ_E_TYPE);
	ops->del(r.self, rig_call(&r, 0), w.key);
	zbz_buf_clear(&out);
	rig_close(&r);
}

static void test_incr(void) {
	rig r = fresh();
	zbz_bytes key = zbz_bstr("count");
	zbz_incr how = { .delta = 5 };
	int64_t v = 0, at = 0;
	ops->del(r.self, rig_call(&r, 0), key);
	CHECK(ops->incr(r.self, rig_call(&r, 0), key, &how, &v) == ZBZ_OK && v == 5);
	how.delta = -7;
	CHECK(ops->incr(r.self, rig_call(&r, 0), key, &how, &v) == ZBZ_OK && v == -2 && rig_has(&r, "count", "-2"));
	ops->del(r.self, rig_call(&r, 0), key);
	how = (zbz_incr){
		.delta = 3, .has_initial = true, .initial = INT64_MAX - 10, .expire_at = rig_call(&r, 0)->now + 60000
	};
	CHECK(ops->incr(r.self, rig_call(&r, 0), key, &how, &v) == ZBZ_OK && v == INT64_MAX - 10);
	CHECK(ops->ttl(r.self, rig_call(&r, 0), key, &at) == ZBZ_OK && at > 0);
	CHECK(ops->incr(r.self, rig_call(&r, 0), key, &how, &v) == ZBZ_OK && v == INT64_MAX - 7); /* exact beyond 2^53 */
	how.delta = 100;
	CHECK(ops->incr(r.self, rig_call(&r, 0), key, &how, &v) == ZBZ_E_ARGUMENT &&
	      rig_has(&r, "count", "9223372036854775800"));
	how = (zbz_incr){ .delta = 100 };
	CHECK(ops->incr(r.self, rig_call(&r, 0), key, &how, &v) == ZBZ_E_ARGUMENT);
	how = (zbz_incr){ .delta = INT64_MIN };
	CHECK(ops->incr(r.self, rig_call(&r, 0), key, &how, &v) == ZBZ_OK && v == -8);
	CHECK(rig_set(&r, "count", "x") == ZBZ_OK);
	CHECK(ops->incr(r.self, rig_call(&r, 0), key, &how, &v) == ZBZ_E_TYPE);
	how.has_initial = true;
	CHECK(ops->incr(r.self, rig_call(&r, 0), key, &how, &v) == ZBZ_E_TYPE && rig_has(&r, "count", "x"));
	ops->del(r.self, rig_call(&r, 0), key);
	rig_close(&r);
}

/* ---- the server itself ---------------------------------------------------------------------------------------------- */

static void test_command(void) {
	rig r = fresh();
	zbz_buf out = { 0 };
	CHECK(replies(&r, "DEL h c", "", 0));
	CHECK(replies(&r, "PING", "\xa4PONG", 5));
	CHECK(replies(&r, "HSET h f 1 g 2", "\x02", 1));
	CHECK(replies(&r, "HGETALL h",
	              "\x94\xa1"
	              "f\xa1"
	              "1\xa1"
	              "g\xa1"
	              "2",
	              9));
	CHECK(replies(&r, "HMGET h f none",
	              "\x92\xa1"
	              "1\xc0",
	              4));
	CHECK(replies(&r, "GET none", "\xc0", 1));
	CHECK(replies(&r, "INCRBY c 300", "\xd1\x01\x2c", 3));
	CHECK(replies(&r, "INCRBY c -70000", "\xd2\xff\xfe\xef\xbc", 5));
	CHECK(replies(&r, "INCRBY c 9223372036854775807", "\xd3\x7f\xff\xff\xff\xff\xfe\xef\xbb", 9));
	CHECK(replies(&r, "NOSUCH x", "\xc7", 1));
	CHECK(replies(&r, "GET h", "\xc7\x43\x01\x06\0WRONGTYPE", 14));
	CHECK(replies(&r, "CONFIG GET nothing-like-this", "\x90", 1));
	CHECK(rig_command(&r, "SUBSCRIBE x", &out) == ZBZ_E_UNSUPPORTED &&
	      rig_command(&r, "hello 3", &out) == ZBZ_E_UNSUPPORTED);
	CHECK(rig_command(&r, "CLIENT REPLY OFF", &out) == ZBZ_E_UNSUPPORTED &&
	      rig_command(&r, "monitor", &out) == ZBZ_E_UNSUPPORTED);
	CHECK(replies(&r, "SELECT 3", "\xa2OK", 3)); /* must not leak into the next caller's commands */
	CHECK(rig_set(&r, "c", "here") == ZBZ_OK);
	CHECK(replies(&r, "SELECT 3", "\xa2OK", 3) && replies(&r, "GET c", "\xa4here", 5));
	CHECK(replies(&r, "MULTI", "\xa2OK", 3) && replies(&r, "GET c", "\xa4here", 5));
	CHECK(replies(&r, "DEL h c", "\x02", 1));
	zbz_buf_clear(&out);
	rig_close(&r);
}

static void test_server(void) {
	rig r = fresh();
	zbz_provider_stats st;
	zbz_buf out = { 0 };
	int64_t before;
	CHECK(ops->ping(r.self, rig_call(&r, 0)) == ZBZ_OK);
	CHECK(ops->version(r.self, rig_call(&r, 0), &out) == ZBZ_OK && out.n >= 5 && out.p[0] >= '2' &&
	      memchr(out.p, '.', out.n));
	ops->stats(r.self, rig_call(&r, 0), &st);
	before = st.keys;
	CHECK(st.keys >= 0 && st.memory > 100000 && st.connections == 1 && st.retries == 0);
	CHECK(rig_set(&r, "one-more-key", "v") == ZBZ_OK);
	ops->stats(r.self, rig_call(&r, 0), &st);
	CHECK(st.keys == before + 1);
	out.n = 0;
	CHECK(ops->inspect(r.self, rig_call(&r, 0), zbz_bstr("one-more-key"), &out) == ZBZ_OK &&
	      ((unsigned char)out.p[0] >> 4) == 8 && out.n > 20);
	ops->del(r.self, rig_call(&r, 0), zbz_bstr("one-more-key"));
	CHECK(ops->inspect(r.self, rig_call(&r, 0), zbz_bstr("one-more-key"), &out) == ZBZ_MISS);
	zbz_buf_clear(&out);
	rig_close(&r);
}

int main(void) {
	if (!rig_begin(true)) return 1;
	RUN(test_options);
	RUN(test_caps);
	RUN(test_get_set);
	RUN(test_conditions);
	RUN(test_ttl);
	RUN(test_versions);
	RUN(test_incr);
	RUN(test_command);
	RUN(test_server);
	rig_end();
	return DONE();
}
