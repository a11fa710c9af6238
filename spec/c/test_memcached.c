/* The memcached provider against a real server: options, keys of every kind, conditions, times, counters, commands. */
#include "memcached_rig.h"

static void options(void) {
	static const char *const bad[] = { "",     "host:0", "host:70000", "host:x", ":11211", "a b",
		                               "[::1", "h:1:0",  "h:1:2:3",    "h\n:1",  "a,,b" };
	static const char *const urls[] = { "memcached://user:pw@h", "memcached://h/db", "memcached://h?x=1",
		                                "memcached://" };
	mc m;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		if (i == 10) continue;
		zbz_status s = mc_open(&m, "servers", bad[i], NULL, NULL);
		CHECK(s == ZBZ_E_CONFIG);
		CHECK_STR(m.err.option, "servers");
	}
	for (size_t i = 0; i < 4; i++) {
		CHECK(mc_open(&m, "url", urls[i], NULL, NULL) == ZBZ_E_CONFIG);
		CHECK_STR(m.err.option, "url");
		CHECK(strstr(m.err.text, "pw@") == NULL);
	}
	CHECK(mc_open(&m, "servers", "[::1]:11211,localhost,h:1:3", NULL, NULL) == ZBZ_OK);
	mc_end(&m);
	CHECK(mc_open(&m, "servers", "h", "timeout", "0") == ZBZ_E_CONFIG);
	CHECK(mc_open(&m, "servers", "h", "max_retries", "-1") == ZBZ_E_CONFIG);
	char url[300];
	snprintf(url, sizeof url, "memcached://%s", shared);
	CHECK(mc_open(&m, "url", url, "timeout", "2s") == ZBZ_OK);
	CHECK(put(&m, key("u"), zbz_bstr("v"), 0) == ZBZ_OK && has(&m, key("u"), zbz_bstr("v")));
	zbz_caps caps;
	ops->caps(m.self, &caps);
	CHECK(caps.unsigned_incr && !caps.exclusive && caps.shared && caps.ttl_resolution_ms == 1000 &&
	      caps.max_value < 1048576);
	zbz_call c = call();
	zbz_buf b = { 0 };
	CHECK(ops->ping(m.self, &c) == ZBZ_OK && ops->version(m.self, &c, &b) == ZBZ_OK && b.n >= 3 && b.p[0] == '1');
	zbz_provider_stats st;
	ops->stats(m.self, &c, &st);
	CHECK(st.keys >= 1 && st.memory > 0 && st.connections == 1);
	zbz_buf_clear(&b);
	mc_end(&m);
}

static void round_trips(void) {
	mc m = mc_at(shared);
	zbz_buf b = { 0 };
	zbz_meta meta;
	zbz_caps caps;
	ops->caps(m.self, &caps);
	size_t n = (size_t)caps.max_value;
	char *big = malloc(n);
	for (size_t i = 0; i < n; i++) big[i] = (char)(i * 2654435761u >> 13);
	static const char *const values[] = { "",   "a",     "\r\n", "END\r\n", "VA 3\r\n",
		                                  "9 ", "10   ", " 9",   "9 x",     "123456789012345678901234567890  ",
		                                  "0",  "x " };
	CHECK(get(&m, key("k"), &b, NULL) == ZBZ_MISS && del(&m, key("k")) == ZBZ_MISS);
	for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
		CHECK(put(&m, key("k"), zbz_bstr(values[i]), 0) == ZBZ_OK && has(&m, key("k"), zbz_bstr(values[i])));
	}
	CHECK(put(&m, key("k"), zbz_b("a\0b\r\n\xff", 6), 0) == ZBZ_OK && has(&m, key("k"), zbz_b("a\0b\r\n\xff", 6)));
	CHECK(get(&m, key("k"), &b, &meta) == ZBZ_OK && meta.expire_at == ZBZ_NO_EXPIRY && meta.version.n == 8);
	CHECK(put(&m, key("big"), zbz_b(big, n), 0) == ZBZ_OK && has(&m, key("big"), zbz_b(big, n)));
	zbz_call c = call();
	CHECK(ops->exists(m.self, &c, key("k")) == ZBZ_OK && ops->exists(m.self, &c, key("none")) == ZBZ_MISS);
	b.n = 0;
	CHECK(ops->inspect(m.self, &c, key("k"), &b) == ZBZ_OK && memcmp(b.p, "\x83\xa4size\x06", 7) == 0);
	CHECK(del(&m, key("k")) == ZBZ_OK && get(&m, key("k"), &b, NULL) == ZBZ_MISS);
	del(&m, key("big"));
	zbz_buf_clear(&b);
	free(big);
	mc_end(&m);
}

static void odd_keys(void) {
	static char longest[32 * 1024], other[32 * 1024], bytes[256];
	mc m = mc_at(shared);
	zbz_bytes keys[64];
	zbz_buf b = { 0 };
	zbz_caps caps;
	size_t n = 0;
	static const char *const words[] = { "", " ", "a b", "%20", "zbz%", "zbz#", "a\tb", "\x7f", "\xc3\xa9", "a\nb" };
	static char whole[16][100];
	ops->caps(m.self, &caps);
	CHECK(caps.max_key == sizeof longest);
	memset(longest, 'L', sizeof longest);
	memcpy(longest, tag, strlen(tag));
	memcpy(other, longest, sizeof other);
	other[sizeof other - 1] = 'M';
	for (int i = 0; i < 256; i++) bytes[i] = (char)i;
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		keys[n++] = zbz_b(whole[i], (size_t)snprintf(whole[i], 100, "%so:%s", tag, words[i]));
	size_t tagged = n;
	for (size_t len = 247; len < 254; len++) keys[n++] = zbz_b(longest, len);
	keys[n++] = zbz_b(longest, sizeof longest);
	keys[n++] = zbz_b(other, sizeof other);
	keys[n++] = zbz_b(longest, 1000);
	keys[n++] = zbz_b(bytes, 256);
	keys[n++] = zbz_b("\0", 1);
	keys[n++] = zbz_b("\r\n", 2);
	keys[n++] = zbz_bstr("zbz%");
	keys[n++] = zbz_bstr("zbz%zbz%25");
	keys[n++] = zbz_bstr("zbz#");
	keys[n++] = zbz_bstr("zbz#0000000000000000000000000000000000000000000000000000000000000000#x");
	for (size_t i = 0; i < n; i++) CHECK(put(&m, keys[i], zbz_b(&i, sizeof i), 0) == ZBZ_OK);
	for (size_t i = 0; i < n; i++) {
		size_t times;
		CHECK(has(&m, keys[i], zbz_b(&i, sizeof i)));
		CHECK(list(&m, keys[i], 3, keys[i], &times) >= 1 && times == 1);
		if (keys[i].n > 1) { /* a prefix that ends inside */
			list(&m, zbz_b(keys[i].p, keys[i].n / 2), 3, keys[i], &times);
			CHECK(times == 1);
		}
	}
	CHECK(count(&m, "o:") == tagged);
	for (size_t i = 0; i < n; i++) CHECK(del(&m, keys[i]) == ZBZ_OK && get(&m, keys[i], &b, NULL) == ZBZ_MISS);
	zbz_buf_clear(&b);
	mc_end(&m);
}

/* What the bytes on a connection of another client say. */
static void raw(int port, const char *send_text, char *answer, size_t cap) {
	int fd = connected(port);
	size_t n = 0;
	CHECK(write(fd, send_text, strlen(send_text)) == (ssize_t)strlen(send_text));
	while (n + 1 < cap) {
		ssize_t k = read(fd, answer + n, cap - 1 - n);
		if (k <= 0) break;
		n += (size_t)k;
		answer[n] = '\0';
		if (strstr(answer, "MN\r\n") != NULL) break;
	}
	answer[n] = '\0';
	close(fd);
}

static void injection(void) {
	server s = server_start();
	mc m = mc_at(s.address);
	zbz_buf b = { 0 };
	char answer[4000], long_evil[700];
	static const char *const evil[] = {
		"a\r\nset evil 0 0 1\r\nx", "a\nset evil 0 0 1\r\nx",  "a 0 0 1\r\nx\r\nset evil 0 0 1\r\nx\r\n",
		"a\r\nflush_all",           "\r\nflush_all\r\n",       "a\r\nms evil 1\r\nx\r\n",
		"a v\r\nquit\r\n",          "a T0 b\r\nms evil 1\r\nx"
	};
	CHECK(put(&m, zbz_bstr("canary"), zbz_bstr("alive"), 0) == ZBZ_OK);
	memset(long_evil, 'e', sizeof long_evil);
	memcpy(long_evil, "x\r\nset evil 0 0 1\r\nx\r\n", 23);
	for (size_t i = 0; i <= sizeof evil / sizeof *evil; i++) {
		zbz_bytes k = i < sizeof evil / sizeof *evil ? zbz_bstr(evil[i]) : zbz_b(long_evil, sizeof long_evil);
		int64_t v;
		zbz_found found[2];
		zbz_status status[2];
		zbz_bytes two[2] = { k, zbz_bstr("canary") };
		zbz_write w[2] = { { .key = k, .value = zbz_bstr("1") },
			               { .key = zbz_bstr("canary"), .value = zbz_bstr("alive") } };
		zbz_call c = call();
		CHECK(put(&m, k, zbz_bstr("5"), 60000) == ZBZ_OK && has(&m, k, zbz_bstr("5")));
		CHECK(incr(&m, k, 2, &v) == ZBZ_OK && v == 7 && ttl(&m, k, &v) == ZBZ_OK);
		CHECK(ops->exists(m.self, &c, k) == ZBZ_OK && ops->expire(m.self, &c, k, c.now + 5000) == ZBZ_OK);
		CHECK(ops->set_many(m.self, &c, w, 2, status) == ZBZ_OK && status[0] == ZBZ_OK && status[1] == ZBZ_OK);
		b.n = 0;
		CHECK(ops->get_many(m.self, &c, two, 2, &b, found) == ZBZ_OK && found[0].status == ZBZ_OK &&
		      found[1].status == ZBZ_OK);
		CHECK(ops->inspect(m.self, &c, k, &b) == ZBZ_OK);
		CHECK(list(&m, k, 10, zbz_b(NULL, 0), NULL) == 1);
		CHECK(del(&m, k) == ZBZ_OK);
		zbz_bytes argv[2] = { zbz_bstr("mg"), k };
		size_t end = 2;
		CHECK(ops->command(m.self, &c, argv, &end, 1, &b) == ZBZ_E_ARGUMENT);
	}
	raw(s.port, "mg evil v\r\nmg canary v\r\nmn\r\n", answer, sizeof answer);
	CHECK_STR(answer, "EN\r\nVA 5\r\nalive\r\nMN\r\n");
	zbz_buf_clear(&b);
	mc_end(&m);
	server_end(&s, SIGKILL);
}

static void conditions_on(mc *m, zbz_bytes k) {
	zbz_version v1 = { 0 }, v2 = { 0 }, odd = { .n = 3 };
	del(m, k);
	CHECK(put_only(m, k, "1", ZBZ_ONLY_PRESENT, NULL, NULL) == ZBZ_REFUSED);
	CHECK(put_only(m, k, "1", ZBZ_ONLY_ABSENT, NULL, &v1) == ZBZ_OK && v1.n == 8);
	CHECK(put_only(m, k, "2", ZBZ_ONLY_ABSENT, NULL, NULL) == ZBZ_REFUSED && has(m, k, zbz_bstr("1")));
	CHECK(put_only(m, k, "3", ZBZ_ONLY_VERSION, &v1, &v2) == ZBZ_OK);
	CHECK(put_only(m, k, "4", ZBZ_ONLY_VERSION, &v1, NULL) == ZBZ_E_CONFLICT && has(m, k, zbz_bstr("3")));
	CHECK(put_only(m, k, "4", ZBZ_ONLY_VERSION, &odd, NULL) == ZBZ_E_CONFLICT);
	CHECK(put_only(m, k, "5", ZBZ_ONLY_PRESENT, NULL, NULL) == ZBZ_OK && has(m, k, zbz_bstr("5")));
	CHECK(del(m, k) == ZBZ_OK && put_only(m, k, "6", ZBZ_ONLY_VERSION, &v2, NULL) == ZBZ_E_CONFLICT);
}

static void conditions(void) {
	mc m = mc_at(shared);
	conditions_on(&m, key("cond"));
	conditions_on(&m, long_key('c'));
	mc_end(&m);
}

static void expiry(void) {
	mc m = mc_at(shared);
	int64_t left, days = 86400000;
	zbz_call c = call();
	zbz_meta meta;
	zbz_buf b = { 0 };
	static const int64_t ttls[] = { 1000, 1500, 60000, 3600000, 30 * 86400000ll, 31 * 86400000ll, 400 * 86400000ll };
	CHECK(ttl(&m, key("t"), &left) == ZBZ_MISS && ops->expire(m.self, &c, key("t"), c.now + 5000) == ZBZ_MISS);
	for (size_t i = 0; i < sizeof ttls / sizeof *ttls; i++) {
		CHECK(put(&m, key("t"), zbz_bstr("v"), ttls[i]) == ZBZ_OK);
		if (i < 2) continue; /* may be gone at the next tick */
		CHECK(ttl(&m, key("t"), &left) == ZBZ_OK && left > ttls[i] - 3000 && left <= ttls[i] + 2000);
		CHECK(has(&m, key("t"), zbz_bstr("v")));
		CHECK(get(&m, key("t"), &b, &meta) == ZBZ_OK && meta.expire_at > c.now + ttls[i] - 3000);
		c = call();
		CHECK(ops->expire(m.self, &c, key("t"), c.now + ttls[i] * 2) == ZBZ_OK);
		CHECK(ttl(&m, key("t"), &left) == ZBZ_OK && left > ttls[i] * 2 - 3000 && left <= ttls[i] * 2 + 2000);
	}
	CHECK(ops->expire(m.self, &c, key("t"), ZBZ_NO_EXPIRY) == ZBZ_OK && ttl(&m, key("t"), &left) == ZBZ_OK &&
	      left == -1);
	CHECK(put(&m, long_key('t'), zbz_bstr("v"), 31 * days) == ZBZ_OK && ttl(&m, long_key('t'), &left) == ZBZ_OK &&
	      left > 30 * days);
	CHECK(put(&m, key("soon"), zbz_bstr("v"), 1) == ZBZ_OK); /* rounded up, not "never" */
	int64_t until = mono() + 5000;
	while (has(&m, key("soon"), zbz_bstr("v")) && mono() < until) continue;
	CHECK(mono() < until && ttl(&m, key("soon"), &left) == ZBZ_MISS);
	/* a call whose own clock lives in another year */
	zbz_clock *fake = zbz_clock_fake_new(1000000000000);
	c.clock = fake;
	c.now = zbz_wall(fake);
	zbz_write w = { .key = key("f"), .value = zbz_bstr("v"), .expire_at = c.now + 40 * days };
	CHECK(ops->set(m.self, &c, &w, NULL) == ZBZ_OK && ops->ttl(m.self, &c, key("f"), &left) == ZBZ_OK &&
	      left > c.now + 39 * days);
	zbz_clock_fake_free(fake);
	zbz_buf_clear(&b);
	mc_end(&m);
}

static void counters_on(mc *m, zbz_bytes k) {
	zbz_call c = call();
	int64_t v = 0, left;
	zbz_incr how = { .delta = 5, .has_initial = true, .initial = 7, .expire_at = c.now + 100000 };
	del(m, k);
	CHECK(incr(m, k, 3, &v) == ZBZ_OK && v == 3 && has(m, k, zbz_bstr("3")));
	CHECK(incr(m, k, -10, &v) == ZBZ_OK && v == 0);
	CHECK(put(m, k, zbz_bstr("10"), 0) == ZBZ_OK && incr(m, k, -1, &v) == ZBZ_OK && v == 9 && has(m, k, zbz_bstr("9")));
	CHECK(incr(m, k, 1, &v) == ZBZ_OK && v == 10 && incr(m, k, 0, &v) == ZBZ_OK && v == 10);
	del(m, k);
	CHECK(incr(m, k, -4, &v) == ZBZ_OK && v == 0);
	del(m, k);
	CHECK(ops->incr(m->self, &c, k, &how, &v) == ZBZ_OK && v == 7 && ttl(m, k, &left) == ZBZ_OK && left > 90000);
	how.expire_at = c.now + 5000;
	CHECK(ops->incr(m->self, &c, k, &how, &v) == ZBZ_OK && v == 12 && ttl(m, k, &left) == ZBZ_OK && left > 90000);
	how.initial = -1;
	CHECK(ops->incr(m->self, &c, k, &how, &v) == ZBZ_E_ARGUMENT);
	CHECK(put(m, k, zbz_bstr("9223372036854775806"), 0) == ZBZ_OK && incr(m, k, 1, &v) == ZBZ_OK && v == INT64_MAX);
	CHECK(incr(m, k, 1, &v) == ZBZ_E_ARGUMENT && has(m, k, zbz_bstr("9223372036854775807")));
	CHECK(incr(m, k, INT64_MAX, &v) == ZBZ_E_ARGUMENT && has(m, k, zbz_bstr("9223372036854775807")));
	CHECK(incr(m, k, INT64_MIN, &v) == ZBZ_OK && v == 0);
	static const char *const bad[] = { "", "-5", "1.5", "abc", "x1" };
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		CHECK(put(m, k, zbz_bstr(bad[i]), 0) == ZBZ_OK && incr(m, k, 1, &v) == ZBZ_E_TYPE &&
		      has(m, k, zbz_bstr(bad[i])));
	del(m, k);
}

static void counters(void) {
	mc m = mc_at(shared);
	counters_on(&m, key("n"));
	counters_on(&m, long_key('n'));
	counters_on(&m, key("n with\nodd bytes"));
	mc_end(&m);
}

static bool replied(mc *m, const char *const *words, size_t n, const char *want, size_t want_n) {
	zbz_bytes argv[8];
	zbz_buf b = { 0 };
	zbz_call c = call();
	for (size_t i = 0; i < n; i++) argv[i] = zbz_bstr(words[i]);
	zbz_status s = ops->command(m->self, &c, argv, &n, 1, &b);
	bool ok = s == ZBZ_OK && zbz_bytes_eq(zbz_buf_bytes(&b), zbz_b(want, want_n));
	m->err = c.err;
	zbz_buf_clear(&b);
	return ok;
}
#define REPLIED(want, ...)                                                                                            \
	replied(&m, (const char *const[]){ __VA_ARGS__ }, sizeof((const char *[]){ __VA_ARGS__ }) / sizeof(char *), want, \
	        sizeof want - 1)

static void commands(void) {
	server s = server_start();
	mc m = mc_at(s.address);
	CHECK(put(&m, zbz_bstr("k"), zbz_bstr("10"), 0) == ZBZ_OK);
	CHECK(REPLIED("\x92\xa4VA 2\xa2"
	              "10",
	              "mg", "k", "v"));
	CHECK(REPLIED("\xa2"
	              "EN",
	              "mg", "none", "v"));
	CHECK(REPLIED("\xa2"
	              "11",
	              "incr", "k", "1"));
	CHECK(REPLIED("\x91\x92\xabVALUE k 0 2\xa2"
	              "11",
	              "get", "k"));
	CHECK(REPLIED("\x90", "get", "none"));
	CHECK(REPLIED("\xc7\55\1\x05\0CLIENT_ERROR invalid numeric delta argument", "incr", "k", "x"));
	CHECK(REPLIED("\xa7"
	              "DELETED",
	              "delete", "k"));
	CHECK(!REPLIED("", "ms", "k", "1") && m.err.status == ZBZ_E_UNSUPPORTED);
	CHECK(!REPLIED("", "mg", "k", "q") && m.err.status == ZBZ_E_ARGUMENT);
	CHECK(!REPLIED("", "delete", "k noreply") && m.err.status == ZBZ_E_ARGUMENT);
	CHECK(!REPLIED("", "get") && m.err.status == ZBZ_E_ARGUMENT);
	zbz_bytes argv[7] = { zbz_bstr("version"), zbz_bstr("mn"),  zbz_bstr("stats"), zbz_bstr("mg"),
		                  zbz_bstr("a"),       zbz_bstr("get"), zbz_bstr("b") };
	size_t ends[5] = { 1, 2, 3, 5, 7 };
	zbz_buf b = { 0 };
	zbz_call c = call();
	CHECK(ops->command(m.self, &c, argv, ends, 5, &b) == ZBZ_OK && b.n > 500 && memcmp(b.p + 1, "VERSION 1.", 10) == 0);
	CHECK(memcmp(b.p + b.n - 4,
	             "\xa2"
	             "EN\x90",
	             4) == 0);
	zbz_buf_clear(&b);
	mc_end(&m);
	server_end(&s, SIGKILL);
}

int main(void) {
	if (!rig_begin()) return 2;
	RUN(options);
	RUN(round_trips);
	RUN(odd_keys);
	RUN(injection);
	RUN(conditions);
	RUN(expiry);
	RUN(counters);
	RUN(commands);
	rig_end();
	return DONE();
}
