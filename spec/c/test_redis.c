/* The Redis provider against a real server: every slot, every transport. REDIS_URL and its companions name the server
 * (spec/services/redis.lua); without them one of our own is started and the TLS, unix socket and ACL parts are left out. */
#include "redis_rig.h"

static server own;
static const char *url;

static rig fresh(void) {
	rig r;
	CHECK(rig_open(&r, "url", url, NULL) == ZBZ_OK);
	return r;
}

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
	CHECK(rig_open_at(&r, fake, "url", url, NULL) == ZBZ_OK);
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

/* ---- batches -------------------------------------------------------------------------------------------------------- */

enum { MANY = 5000 };

typedef struct many {
	char names[MANY][24];
	zbz_bytes keys[MANY];
	zbz_write writes[MANY];
	zbz_status status[MANY];
	zbz_found found[MANY];
} many;

static many *many_new(void) {
	many *m = calloc(1, sizeof *m);
	size_t i;
	for (i = 0; i < MANY; i++) {
		snprintf(m->names[i], sizeof m->names[i], "many:%zu", i);
		m->keys[i] = zbz_bstr(m->names[i]);
		m->writes[i] = (zbz_write){ .key = m->keys[i], .value = m->keys[i] };
	}
	return m;
}

static void run_batches(rig *r, many *m, size_t n) {
	zbz_buf out = { 0 };
	size_t i, good = 0;
	CHECK(ops->set_many(r->self, rig_call(r, 0), m->writes, n, m->status) == ZBZ_OK);
	for (i = 0; i < n; i++) good += m->status[i] == ZBZ_OK;
	CHECK(good == n);
	ops->del(r->self, rig_call(r, 0), m->keys[1]);
	CHECK(ops->get_many(r->self, rig_call(r, 0), m->keys, n, &out, m->found) == ZBZ_OK);
	for (good = i = 0; i < n; i++)
		good += m->found[i].status == ZBZ_OK && zbz_bytes_eq(zbz_b(out.p + m->found[i].off, m->found[i].n), m->keys[i]);
	CHECK(good == n - 1 && m->found[1].status == ZBZ_MISS);
	CHECK(ops->del_many(r->self, rig_call(r, 0), m->keys, n, m->status) == ZBZ_OK);
	for (good = i = 0; i < n; i++) good += m->status[i] == ZBZ_OK;
	CHECK(good == n - 1 && m->status[1] == ZBZ_MISS);
	zbz_buf_clear(&out);
}

static void test_batches(void) {
	many *m = many_new();
	rig r = fresh(), slow;
	run_batches(&r, m, MANY);
	run_batches(&r, m, 2);
	CHECK(rig_open(&slow, "url", url, "enable_pipelining", "false", NULL) == ZBZ_OK);
	run_batches(&slow, m, 50);
	m->keys[1] = m->keys[0]; /* the same key twice */
	CHECK(rig_set(&r, m->names[0], "x") == ZBZ_OK);
	CHECK(ops->del_many(r.self, rig_call(&r, 0), m->keys, 2, m->status) == ZBZ_OK && m->status[0] == ZBZ_OK &&
	      m->status[1] == ZBZ_MISS);
	rig_close(&slow);
	rig_close(&r);
	free(m);
}

static void test_batch_errors(void) {
	rig r = fresh(), slow;
	zbz_bytes keys[2] = { zbz_bstr("list"), zbz_bstr("a") };
	zbz_found found[2];
	zbz_buf out = { 0 };
	zbz_buf ignored = { 0 };
	zbz_call *c;
	CHECK(rig_open(&slow, "url", url, "enable_pipelining", "off", NULL) == ZBZ_OK);
	rig_set(&r, "a", "1");
	rig_command(&r, "DEL list", &ignored);
	rig_command(&r, "RPUSH list x", &ignored);
	CHECK(ops->get_many(r.self, rig_call(&r, 0), keys, 2, &out, found) == ZBZ_OK && found[0].status == ZBZ_MISS &&
	      found[1].status == ZBZ_OK);
	CHECK(ops->get_many(slow.self, rig_call(&slow, 0), keys, 2, &out, found) == ZBZ_OK && found[1].status == ZBZ_OK);
	c = rig_call(&r, 0);
	c->each = c->want_expiry = true; /* an error of its own for each key, and when each ends */
	CHECK(ops->get_many(r.self, c, keys, 2, &out, found) == ZBZ_OK && found[0].status == ZBZ_E_TYPE);
	CHECK(found[1].status == ZBZ_OK && found[1].expire_at == ZBZ_NO_EXPIRY && found[1].n == 1);
	c->each = c->want_expiry = false;
	rig_command(&r, "DEL list", &ignored);
	zbz_buf_clear(&out);
	zbz_buf_clear(&ignored);
	rig_close(&slow);
	rig_close(&r);
}

/* More bytes in both directions than the sockets hold: neither side may wait for the other. */
static void test_large(void) {
	enum { N = 6, SIZE = 9 << 20 };
	rig r = fresh();
	char *big = malloc(SIZE), names[N][8];
	zbz_write writes[N];
	zbz_bytes keys[N], argv[4 * N];
	size_t ends[2 * N], i;
	zbz_status status[N];
	zbz_found found[N];
	zbz_buf out = { 0 };
	for (i = 0; i < SIZE; i++) big[i] = (char)(i * 31 + i / 1000);
	for (i = 0; i < N; i++) {
		snprintf(names[i], sizeof names[i], "big%zu", i);
		keys[i] = zbz_bstr(names[i]);
		writes[i] = (zbz_write){ .key = keys[i], .value = zbz_b(big, SIZE - i) };
		argv[4 * i] = zbz_bstr("GETSET"), argv[4 * i + 1] = keys[i], argv[4 * i + 2] = zbz_b(big, SIZE),
		         argv[4 * i + 3] = zbz_bstr("PING");
		ends[2 * i] = 4 * i + 3, ends[2 * i + 1] = 4 * i + 4;
	}
	CHECK(ops->set_many(r.self, rig_call(&r, 0), writes, N, status) == ZBZ_OK);
	CHECK(ops->get_many(r.self, rig_call(&r, 0), keys, N, &out, found) == ZBZ_OK);
	for (i = 0; i < N; i++)
		CHECK(status[i] == ZBZ_OK && found[i].n == SIZE - i && memcmp(out.p + found[i].off, big, SIZE - i) == 0);
	out.n = 0;
	CHECK(ops->command(r.self, rig_call(&r, 0), argv, ends, 2 * N, &out) == ZBZ_OK && out.n > N * (size_t)(SIZE - N));
	CHECK(ops->del_many(r.self, rig_call(&r, 0), keys, N, status) == ZBZ_OK && status[N - 1] == ZBZ_OK);
	zbz_buf_clear(&out);
	free(big);
	rig_close(&r);
}

/* ---- listing -------------------------------------------------------------------------------------------------------- */

/* How many keys come, each of them counted once in `seen` by the number behind the last ':'. */
static size_t list(rig *r, const char *prefix, const char *pattern, size_t limit, char *seen) {
	zbz_cursor *cursor = NULL;
	zbz_buf out = { 0 };
	size_t total = 0, n, at, i;
	zbz_status s = ops->scan_open(r->self, rig_call(r, 0), zbz_bstr(prefix), zbz_bstr(pattern), &cursor);
	while (s == ZBZ_OK) {
		out.n = n = 0;
		s = ops->scan_next(r->self, rig_call(r, 0), cursor, limit, &out, &n);
		for (at = i = 0; i < n; i++) {
			uint32_t len;
			char text[64] = "";
			memcpy(&len, out.p + at, 4);
			CHECK(len >= strlen(prefix) && len < sizeof text && memcmp(out.p + at + 4, prefix, strlen(prefix)) == 0);
			memcpy(text, out.p + at + 4, len);
			if (seen) seen[atoi(strrchr(text, ':') + 1)] = 1;
			at += 4 + len;
		}
		CHECK(at == out.n);
		total += n;
	}
	CHECK(s == ZBZ_END);
	ops->scan_close(r->self, cursor);
	zbz_buf_clear(&out);
	return total;
}

static void test_scan_and_clear(void) {
	static const char *const tricky[] = { "s[a]*?\\^-:", "s*:", "s?:", "s\\:" };
	many *m = many_new();
	rig r = fresh();
	char seen[MANY] = { 0 };
	uint64_t removed = 0;
	size_t i, got = 0;
	CHECK(ops->set_many(r.self, rig_call(&r, 0), m->writes, 3000, m->status) == ZBZ_OK);
	CHECK(list(&r, "many:", "*", 100, seen) >= 3000);
	for (i = 0; i < 3000; i++) got += seen[i] == 1;
	CHECK(got == 3000);
	CHECK(list(&r, "many:", "12[0-3]", 7, NULL) >= 4);
	CHECK(list(&r, "many:", "12[!0-3]", 7, NULL) >= 6 && list(&r, "many:", "12[!0-3]", 7, NULL) < 100);
	CHECK(list(&r, "many:", "[", 7, NULL) >= 3000); /* not sure what is meant: everything, the front filters */
	CHECK(list(&r, "many:", "1\\", 500, NULL) >= 1);
	CHECK(list(&r, "many:", "*1*2*3*4*", 500, NULL) >= 1);
	CHECK(list(&r, "none:", "*", 10, NULL) == 0);
	CHECK(ops->clear(r.self, rig_call(&r, 0), zbz_bstr("many:1"), &removed) == ZBZ_OK && removed == 1111);
	CHECK(rig_has(&r, "many:2", "many:2") && rig_has(&r, "many:1", NULL));
	CHECK(ops->clear(r.self, rig_call(&r, 0), zbz_bstr("many:"), &removed) == ZBZ_OK && removed == 1889);
	for (i = 0; i < sizeof tricky / sizeof *tricky; i++) { /* a prefix is never a pattern */
		char key[32];
		snprintf(key, sizeof key, "%s1", tricky[i]);
		CHECK(rig_set(&r, key, "v") == ZBZ_OK && rig_set(&r, "sa:9", "v") == ZBZ_OK);
		CHECK(list(&r, tricky[i], "*", 10, NULL) == 1);
		CHECK(ops->clear(r.self, rig_call(&r, 0), zbz_bstr(tricky[i]), &removed) == ZBZ_OK && removed == 1 &&
		      rig_has(&r, "sa:9", "v"));
	}
	ops->del(r.self, rig_call(&r, 0), zbz_bstr("sa:9"));
	rig_close(&r);
	free(m);
}

/* ---- the server itself ---------------------------------------------------------------------------------------------- */

static bool replies(rig *r, const char *line, const char *want, size_t n) {
	zbz_buf out = { 0 };
	zbz_status s = rig_command(r, line, &out);
	bool ok = s == ZBZ_OK && out.n >= n && memcmp(out.p, want, n) == 0;
	if (!ok) fprintf(stderr, "  %s: %d %s\n", line, s, s < 0 ? r->c.err.text : "");
	zbz_buf_clear(&out);
	return ok;
}

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

/* ---- publish and subscribe ------------------------------------------------------------------------------------------ */

typedef struct inbox {
	pthread_mutex_t lock;
	pthread_cond_t came;
	int n;
	char last[64];
} inbox;

static void on_message(void *ud, zbz_bytes channel, zbz_bytes payload) {
	inbox *b = ud;
	pthread_mutex_lock(&b->lock);
	snprintf(b->last, sizeof b->last, "%.*s=%.*s", (int)channel.n, channel.p, (int)payload.n,
	         payload.p ? payload.p : "");
	b->n++;
	pthread_cond_broadcast(&b->came);
	pthread_mutex_unlock(&b->lock);
}

static bool await(inbox *b, int n) {
	struct timespec ts;
	bool ok;
	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_sec += 10;
	pthread_mutex_lock(&b->lock);
	while (b->n < n && pthread_cond_timedwait(&b->came, &b->lock, &ts) == 0) {}
	ok = b->n >= n;
	pthread_mutex_unlock(&b->lock);
	return ok;
}

static void test_subscribe(void) {
	rig r = fresh();
	inbox b = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, "" };
	zbz_bytes channels[2] = { zbz_bstr("zbz-news"), zbz_bstr("zbz-other") }, pattern = zbz_bstr("zbz-n*");
	void *sub = NULL, *psub = NULL;
	CHECK(ops->subscribe(r.self, rig_call(&r, 0), channels, 2, false, on_message, &b, &sub) == ZBZ_OK);
	CHECK(replies(&r, "PUBLISH zbz-news hello", "\x01", 1) && await(&b, 1));
	CHECK_STR(b.last, "zbz-news=hello");
	CHECK(replies(&r, "PUBLISH zbz-other you", "\x01", 1) && await(&b, 2));
	CHECK_STR(b.last, "zbz-other=you");
	CHECK(ops->subscribe(r.self, rig_call(&r, 0), &pattern, 1, true, on_message, &b, &psub) == ZBZ_OK);
	ops->unsubscribe(r.self, sub);
	CHECK(replies(&r, "PUBLISH zbz-nine 9", "\x01", 1) && await(&b, 3));
	CHECK_STR(b.last, "zbz-nine=9");
	ops->unsubscribe(r.self, psub);
	CHECK(replies(&r, "PUBLISH zbz-nine 10", "\x00", 1));
	CHECK(ops->subscribe(r.self, rig_call(&r, 0), channels, 1, false, on_message, &b, &sub) == ZBZ_OK);
	rig_close(&r); /* ends it too */
	CHECK(b.n == 3);
}

/* ---- threads -------------------------------------------------------------------------------------------------------- */

static void *hammer(void *ud) {
	rig mine = *(rig *)ud;
	char key[32];
	size_t i, bad = 0;
	snprintf(key, sizeof key, "thread:%lx", (unsigned long)pthread_self());
	for (i = 0; i < 200; i++) {
		char value[32];
		zbz_incr how = { .delta = 1 };
		int64_t v;
		snprintf(value, sizeof value, "%zu", i);
		bad += rig_set(&mine, key, value) != ZBZ_OK || !rig_has(&mine, key, value);
		bad += ops->incr(mine.self, rig_call(&mine, 0), zbz_bstr("thread:count"), &how, &v) != ZBZ_OK;
	}
	ops->del(mine.self, rig_call(&mine, 0), zbz_bstr(key));
	return bad ? ud : NULL;
}

static void test_threads(void) {
	enum { N = 8 };
	pthread_t threads[N];
	zbz_provider_stats st;
	rig r;
	size_t i;
	CHECK(rig_open(&r, "url", url, "pool_size", "3", "min_idle_conns", "2", NULL) == ZBZ_OK);
	ops->del(r.self, rig_call(&r, 0), zbz_bstr("thread:count"));
	for (i = 0; i < N; i++) pthread_create(&threads[i], NULL, hammer, &r);
	for (i = 0; i < N; i++) {
		void *bad;
		pthread_join(threads[i], &bad);
		CHECK(!bad);
	}
	CHECK(rig_has(&r, "thread:count", "1600"));
	ops->stats(r.self, rig_call(&r, 0), &st);
	CHECK(st.connections >= 2 && st.connections <= 3);
	ops->del(r.self, rig_call(&r, 0), zbz_bstr("thread:count"));
	rig_close(&r);
}

/* ---- ways in -------------------------------------------------------------------------------------------------------- */

static void works(rig *r) {
	CHECK(rig_set(r, "way", "in") == ZBZ_OK && rig_has(r, "way", "in"));
	if (r->c.err.status) fprintf(stderr, "  %s\n", r->c.err.text);
}

static void test_databases(void) {
	rig zero = fresh(), one;
	char text[256];
	snprintf(text, sizeof text, "%s/1", url);
	CHECK(rig_open(&one, "url", text, NULL) == ZBZ_OK);
	ops->del(one.self, rig_call(&one, 0), zbz_bstr("where"));
	CHECK(rig_set(&zero, "where", "zero") == ZBZ_OK && rig_has(&one, "where", NULL));
	CHECK(rig_set(&one, "where", "one") == ZBZ_OK && rig_has(&zero, "where", "zero"));
	rig_close(&one);
	snprintf(text, sizeof text, "%s/15000", url);
	CHECK(rig_open(&one, "url", text, NULL) == ZBZ_OK);
	CHECK(rig_set(&one, "where", "?") == ZBZ_E_CONFIG);
	CHECK_STR(one.c.err.option, "database");
	rig_close(&one);
	CHECK(rig_open(&one, "host", "127.0.0.1", "port", strrchr(url, ':') + 1, "database", "1", NULL) == ZBZ_OK);
	CHECK(rig_has(&one, "where", "one"));
	rig_close(&one);
	rig_close(&zero);
}

static void test_ways_in(void) {
	const char *socket_path = getenv("REDIS_SOCKET"), *user = getenv("REDIS_USER"),
	           *password = getenv("REDIS_USER_PASSWORD");
	rig r;
	char text[300];
	zbz_buf out = { 0 };
	if (!socket_path || !user || !password) return;
	CHECK(rig_open(&r, "path", socket_path, NULL) == ZBZ_OK);
	works(&r);
	rig_close(&r);
	snprintf(text, sizeof text, "redis+unix://%s?db=2", socket_path);
	CHECK(rig_open(&r, "url", text, NULL) == ZBZ_OK);
	works(&r);
	rig_close(&r);
	CHECK(rig_open(&r, "path", "/tmp/no/such/socket", "max_retries", "0", NULL) == ZBZ_OK);
	CHECK(rig_set(&r, "a", "b") == ZBZ_E_UNAVAILABLE && strstr(r.c.err.text, "/tmp/no/such/socket"));
	rig_close(&r);
	CHECK(rig_open(&r, "path", socket_path, "username", user, "password", password, NULL) == ZBZ_OK);
	works(&r);
	CHECK(rig_command(&r, "FLUSHALL", &out) == ZBZ_OK && out.p[0] == (char)0xc7 && memmem(out.p, out.n, "NOPERM", 6));
	rig_close(&r);
	CHECK(rig_open(&r, "path", socket_path, "username", user, "password", "wrong s3cret", NULL) == ZBZ_OK);
	CHECK(rig_set(&r, "a", "b") == ZBZ_E_DENIED && !r.c.err.retryable && !strstr(r.c.err.text, "s3cret"));
	zbz_buf_clear(&out);
	rig_close(&r);
}

static void test_tls(void) {
	const char *port = getenv("REDIS_TLS_PORT"), *ca = getenv("REDIS_CA");
	rig r;
	char text[100];
	if (!port || !ca) return;
	snprintf(text, sizeof text, "rediss://localhost:%s", port);
	CHECK(rig_open(&r, "url", text, "tls_ca", ca, NULL) == ZBZ_OK);
	works(&r);
	works(&r);
	rig_close(&r);
	CHECK(rig_open(&r, "host", "127.0.0.1", "port", port, "enable_ssl", "true", "tls_ca", ca, NULL) ==
	      ZBZ_OK); /* an address in the certificate */
	works(&r);
	rig_close(&r);
	CHECK(rig_open(&r, "url", text, NULL) == ZBZ_OK); /* nobody the system trusts */
	CHECK(rig_set(&r, "a", "b") == ZBZ_E_DENIED && strstr(r.c.err.text, "certificate"));
	rig_close(&r);
	CHECK(rig_open(&r, "url", text, "tls_verify", "false", NULL) == ZBZ_OK);
	works(&r);
	rig_close(&r);
	CHECK(rig_open(&r, "url", text, "tls_ca", ca, "tls_server_name", "elsewhere.example", NULL) == ZBZ_OK);
	CHECK(rig_set(&r, "a", "b") == ZBZ_E_DENIED);
	rig_close(&r);
	snprintf(text, sizeof text, "rediss://127.0.0.1:%s", strrchr(url, ':') + 1); /* TLS to a plain port */
	CHECK(rig_open(&r, "url", text, "tls_ca", ca, "timeout", "500ms", NULL) == ZBZ_OK);
	CHECK(rig_set(&r, "a", "b") < 0);
	rig_close(&r);
}

static void test_tls_large(void) {
	const char *port = getenv("REDIS_TLS_PORT"), *ca = getenv("REDIS_CA");
	many *m;
	char *big;
	rig r;
	zbz_buf out = { 0 };
	zbz_write w = { .key = zbz_bstr("tls-big") };
	if (!port || !ca) return;
	m = many_new();
	big = malloc(8 << 20);
	memset(big, 'x', 8 << 20);
	w.value = zbz_b(big, 8 << 20);
	CHECK(rig_open(&r, "host", "localhost", "port", port, "enable_ssl", "true", "tls_ca", ca, NULL) == ZBZ_OK);
	CHECK(ops->set(r.self, rig_call(&r, 0), &w, NULL) == ZBZ_OK);
	CHECK(ops->get(r.self, rig_call(&r, 0), w.key, &out, NULL) == ZBZ_OK && zbz_bytes_eq(zbz_buf_bytes(&out), w.value));
	run_batches(&r, m, MANY);
	CHECK(ops->del(r.self, rig_call(&r, 0), w.key) == ZBZ_OK);
	zbz_buf_clear(&out);
	rig_close(&r);
	free(big);
	free(m);
}

int main(void) {
	zbz_err err;
	if (zbz_cache_find("redis", &ops, &err) != ZBZ_OK) {
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	url = getenv("REDIS_URL");
	if (!url) {
		if (!server_start(&own, 0, NULL, NULL)) return 1;
		url = own.url;
	}
	RUN(test_options);
	RUN(test_caps);
	RUN(test_get_set);
	RUN(test_conditions);
	RUN(test_ttl);
	RUN(test_versions);
	RUN(test_incr);
	RUN(test_batches);
	RUN(test_batch_errors);
	RUN(test_large);
	RUN(test_scan_and_clear);
	RUN(test_command);
	RUN(test_server);
	RUN(test_subscribe);
	RUN(test_threads);
	RUN(test_databases);
	RUN(test_ways_in);
	RUN(test_tls);
	RUN(test_tls_large);
	server_end(&own);
	return DONE();
}
