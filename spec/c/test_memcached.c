/* The memcached provider against real servers: the one of MEMCACHED_SERVERS, and its own ones where faults are made. */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "zbz/zbz.h"

static const zbz_cache_ops *ops;
static char shared[256]; /* address of the common server */
static char tag[32];     /* in front of every key, as others may use that server */

/* ---- servers ---- */

typedef struct server {
	pid_t pid;
	int port;
	char address[32];
} server;

static int bound_socket(int *port) {
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	if (bind(fd, (struct sockaddr *)&a, sizeof a) != 0 || getsockname(fd, (struct sockaddr *)&a, &n) != 0) exit(2);
	*port = ntohs(a.sin_port);
	return fd;
}

static int connected(int port) {
	struct sockaddr_in a = { .sin_family = AF_INET,
		                     .sin_port = htons((uint16_t)port),
		                     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(fd, (struct sockaddr *)&a, sizeof a) == 0) return fd;
	close(fd);
	return -1;
}

/* Something else may have taken the port: the server is asked for its pid. */
static bool server_answers(const server *s) {
	char answer[4096], want[40];
	size_t n = 0;
	int fd = connected(s->port);
	if (fd < 0) return false;
	ssize_t k = write(fd, "stats\r\nquit\r\n", 13);
	while (k > 0 && n + 1 < sizeof answer) {
		k = read(fd, answer + n, sizeof answer - 1 - n);
		if (k > 0) n += (size_t)k;
	}
	answer[n] = '\0';
	close(fd);
	snprintf(want, sizeof want, "STAT pid %ld\r\n", (long)s->pid);
	return strstr(answer, want) != NULL;
}

static bool server_launch(server *s) {
	char port[12];
	char *argv[] = { "memcached", "-l", "127.0.0.1", "-p", port, "-U", "0", "-m", "64", "-t", "2", "-u", "root", NULL };
	snprintf(port, sizeof port, "%d", s->port);
	snprintf(s->address, sizeof s->address, "127.0.0.1:%d", s->port);
	if (getuid() != 0) argv[11] = NULL;
	s->pid = fork();
	if (s->pid == 0) {
		execvp(argv[0], argv);
		_exit(127);
	}
	for (int i = 0; i < 2000 && !server_answers(s); i++) {
		struct timespec t = { .tv_nsec = 5000000 };
		nanosleep(&t, NULL);
		if (waitpid(s->pid, NULL, WNOHANG) == s->pid) return false;
	}
	return true;
}

static server server_start(void) {
	server s;
	for (int i = 0; i < 5; i++) {
		close(bound_socket(&s.port));
		if (server_launch(&s)) return s;
	}
	fprintf(stderr, "memcached does not start\n");
	exit(2);
}

static void server_end(server *s, int sig) {
	if (s->pid <= 0) return;
	kill(s->pid, SIGCONT);
	kill(s->pid, sig);
	waitpid(s->pid, NULL, 0);
	s->pid = 0;
}

/* ---- the provider ---- */

typedef struct mc {
	void *self, *options;
	zbz_err err;
} mc;

/* With a second option, a busy machine gets two seconds instead of the default timeout. */
static zbz_status mc_open(mc *m, const char *name, const char *value, const char *name2, const char *value2) {
	zbz_config *cfg = zbz_config_new();
	m->self = NULL;
	m->options = NULL;
	if (cfg == NULL) return zbz_fail_nomem(&m->err);
	m->options = calloc(1, ops->options_size);
	zbz_status s = zbz_config_set_text(cfg, name, zbz_bstr(value), &m->err);
	if (s == ZBZ_OK && name2 != NULL) s = zbz_config_set_text(cfg, name2, zbz_bstr(value2), &m->err);
	if (s == ZBZ_OK && name2 != NULL && strcmp(name2, "timeout") != 0)
		s = zbz_config_set_text(cfg, "timeout", zbz_bstr("2s"), &m->err);
	if (s == ZBZ_OK) s = zbz_options_parse(cfg, ops->options, m->options, &m->err);
	zbz_config_free(cfg);
	if (s == ZBZ_OK) {
		s = ops->open(&m->self, m->options, zbz_clock_system(), &m->err);
		if (s != ZBZ_OK) zbz_options_clear(ops->options, m->options);
	}
	if (s != ZBZ_OK) free(m->options);
	return s;
}

static mc mc_at(const char *servers) {
	mc m;
	CHECK(mc_open(&m, "servers", servers, "timeout", "2s") == ZBZ_OK);
	return m;
}

static void mc_end(mc *m) {
	ops->close(m->self);
	zbz_options_clear(ops->options, m->options);
	free(m->options);
}

static zbz_call call(void) {
	const zbz_clock *k = zbz_clock_system();
	zbz_call c = { .clock = k, .now = zbz_wall(k), .deadline = ZBZ_NEVER };
	return c;
}

static int64_t mono(void) { return zbz_mono(zbz_clock_system()); }

/* tag + rest, in a ring of buffers */
static zbz_bytes key(const char *rest) {
	static char bufs[16][600];
	static int at;
	char *b = bufs[at++ % 16];
	return zbz_b(b, (size_t)snprintf(b, 600, "%s%s", tag, rest));
}

static zbz_status put(mc *m, zbz_bytes k, zbz_bytes v, int64_t ttl_ms) {
	zbz_call c = call();
	zbz_write w = { .key = k, .value = v, .expire_at = ttl_ms > 0 ? c.now + ttl_ms : ZBZ_NO_EXPIRY };
	zbz_status s = ops->set(m->self, &c, &w, NULL);
	m->err = c.err;
	return s;
}

static zbz_status put_only(mc *m, zbz_bytes k, const char *v, zbz_only only, const zbz_version *ver, zbz_version *out) {
	zbz_call c = call();
	zbz_write w = { .key = k, .value = zbz_bstr(v), .only = only, .version = ver };
	zbz_status s = ops->set(m->self, &c, &w, out);
	m->err = c.err;
	return s;
}

static zbz_status get(mc *m, zbz_bytes k, zbz_buf *out, zbz_meta *meta) {
	zbz_call c = call();
	out->n = 0;
	zbz_status s = ops->get(m->self, &c, k, out, meta);
	m->err = c.err;
	return s;
}

static bool has(mc *m, zbz_bytes k, zbz_bytes v) {
	zbz_buf b = { 0 };
	bool ok = get(m, k, &b, NULL) == ZBZ_OK && zbz_bytes_eq(zbz_buf_bytes(&b), v);
	zbz_buf_clear(&b);
	return ok;
}

static zbz_status del(mc *m, zbz_bytes k) {
	zbz_call c = call();
	zbz_status s = ops->del(m->self, &c, k);
	m->err = c.err;
	return s;
}

static zbz_status incr(mc *m, zbz_bytes k, int64_t delta, int64_t *v) {
	zbz_call c = call();
	zbz_incr how = { .delta = delta };
	zbz_status s = ops->incr(m->self, &c, k, &how, v);
	m->err = c.err;
	return s;
}

static zbz_status ttl(mc *m, zbz_bytes k, int64_t *left) {
	zbz_call c = call();
	int64_t at;
	zbz_status s = ops->ttl(m->self, &c, k, &at);
	*left = s != ZBZ_OK ? -2 : at == ZBZ_NO_EXPIRY ? -1 : at - c.now;
	return s;
}

static size_t list(mc *m, zbz_bytes prefix, size_t page, zbz_bytes want, size_t *times) {
	zbz_call c = call();
	zbz_cursor *cur;
	zbz_buf b = { 0 };
	size_t total = 0, n, at = 0;
	zbz_status s = ops->scan_open(m->self, &c, prefix, zbz_b(NULL, 0), &cur);
	while (s == ZBZ_OK) {
		n = 0;
		s = ops->scan_next(m->self, &c, cur, page, &b, &n);
		CHECK(n <= page);
		total += n;
	}
	CHECK(s == ZBZ_END);
	ops->scan_close(m->self, cur);
	if (times != NULL) *times = 0;
	for (; at + 4 <= b.n; at += n) {
		const uint8_t *p = (uint8_t *)b.p + at;
		n = p[0] | (size_t)p[1] << 8 | (size_t)p[2] << 16;
		at += 4;
		CHECK(zbz_bytes_has_prefix(zbz_b(b.p + at, n), prefix));
		if (times != NULL && zbz_bytes_eq(zbz_b(b.p + at, n), want)) ++*times;
	}
	CHECK(at == b.n);
	zbz_buf_clear(&b);
	return total;
}

static size_t count(mc *m, const char *rest) { return list(m, key(rest), 9, zbz_b(NULL, 0), NULL); }

/* ---- tests ---- */

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

static zbz_bytes long_key(char fill) {
	static char bufs[4][400];
	static int at;
	char *b = bufs[at++ % 4];
	memset(b, fill, 400);
	memcpy(b, tag, strlen(tag));
	return zbz_b(b, 400);
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

typedef struct worker {
	mc *m;
	zbz_bytes plain, hashed;
	intptr_t bad, won;
} worker;

static void *worker_main(void *ud) {
	worker *w = ud;
	for (int i = 0; i < 150; i++) {
		int64_t v;
		char name[64];
		mc m = *w->m;
		w->bad += incr(&m, w->plain, 1, &v) != ZBZ_OK;
		w->bad += incr(&m, w->hashed, 1, &v) != ZBZ_OK;
		snprintf(name, sizeof name, "%sadd%d", tag, i);
		w->won += put_only(&m, zbz_bstr(name), "x", ZBZ_ONLY_ABSENT, NULL, NULL) == ZBZ_OK;
		w->bad += !has(&m, zbz_bstr(name), zbz_bstr("x"));
	}
	return NULL;
}

static void threads(void) {
	mc m;
	CHECK(mc_open(&m, "servers", shared, "max_idle_conns", "3") == ZBZ_OK);
	worker w[6];
	pthread_t t[6];
	int64_t v;
	zbz_bytes plain = key("count"), hashed = long_key('#');
	for (int i = 0; i < 6; i++) {
		w[i] = (worker){ .m = &m, .plain = plain, .hashed = hashed };
		pthread_create(&t[i], NULL, worker_main, &w[i]);
	}
	intptr_t won = 0;
	for (int i = 0; i < 6; i++) {
		pthread_join(t[i], NULL);
		CHECK(w[i].bad == 0);
		won += w[i].won;
	}
	CHECK(won == 150);
	CHECK(incr(&m, plain, 0, &v) == ZBZ_OK && v == 900 && incr(&m, hashed, 0, &v) == ZBZ_OK && v == 900);
	zbz_call c = call();
	zbz_provider_stats st;
	ops->stats(m.self, &c, &st);
	CHECK(st.connections >= 1 && st.connections <= 3);
	mc_end(&m);
}

#define MANY 1200

static void batches_at(const char *servers) {
	static char names[MANY][64];
	static char value[60000];
	mc m = mc_at(servers);
	zbz_bytes keys[MANY + 2];
	zbz_write writes[MANY];
	zbz_status status[MANY + 2];
	zbz_found found[MANY + 2];
	zbz_buf b = { 0 };
	zbz_call c = call();
	size_t wrong = 0;
	memset(value, 'v', sizeof value);
	for (int i = 0; i < MANY; i++) {
		keys[i] = zbz_b(names[i], (size_t)snprintf(names[i], 64, "%sb%s%d", tag, i % 5 == 0 ? " " : ":", i));
		writes[i] = (zbz_write){ .key = keys[i],
			                     .value = zbz_b(value, (size_t)i % 7 * 10000),
			                     .expire_at = i % 2 ? c.now + 100000 : ZBZ_NO_EXPIRY };
	}
	keys[MANY] = keys[3];
	keys[MANY + 1] = key("absent");
	CHECK(ops->set_many(m.self, &c, writes, MANY, status) == ZBZ_OK);
	for (int i = 0; i < MANY; i++) wrong += status[i] != ZBZ_OK;
	CHECK(wrong == 0);
	CHECK(ops->get_many(m.self, &c, keys, MANY + 2, &b, found) ==
	      ZBZ_OK); /* about 36 MB: more than any socket buffer */
	for (int i = 0; i < MANY + 1; i++) {
		size_t n = (size_t)(i < MANY ? i : 3) % 7 * 10000;
		wrong += found[i].status != ZBZ_OK || found[i].n != n || memcmp(b.p + found[i].off, value, n) != 0;
	}
	CHECK(wrong == 0 && found[MANY + 1].status == ZBZ_MISS);
	CHECK(count(&m, "b:") == MANY - MANY / 5 && count(&m, "b ") == MANY / 5);
	uint64_t removed;
	CHECK(ops->clear(m.self, &c, key("b "), &removed) == ZBZ_OK && removed == MANY / 5);
	CHECK(ops->del_many(m.self, &c, keys, MANY + 2, status) == ZBZ_OK);
	for (int i = 0; i < MANY; i++) wrong += status[i] != (i % 5 == 0 ? ZBZ_MISS : ZBZ_OK);
	CHECK(wrong == 0 && status[MANY] == ZBZ_MISS && status[MANY + 1] == ZBZ_MISS && count(&m, "b") == 0);
	zbz_buf_clear(&b);
	mc_end(&m);
}

static void batches(void) {
	server s[3] = { server_start(), server_start(), server_start() };
	char all[120];
	snprintf(all, sizeof all, "%s,%s,%s", s[0].address, s[1].address, s[2].address);
	batches_at(shared);
	batches_at(all);
	for (int i = 0; i < 3; i++) server_end(&s[i], SIGKILL);
}

#if defined(__has_include) && __has_include(<libmemcached/memcached.h>)
#include <libmemcached/memcached.h>

/* libmemcached, set up for ketama as programs in other languages do, finds what we wrote. The library comes from the plug-in's own dependencies. */
static void ring_agrees(void) {
	void *lib = dlopen("libmemcached.so.11", RTLD_NOW);
	CHECK(lib != NULL);
	if (lib == NULL) return;
	memcached_st *(*create)(memcached_st *);
	memcached_return_t (*set)(memcached_st *, memcached_behavior_t, uint64_t),
	    (*add)(memcached_st *, const char *, in_port_t);
	char *(*fetch)(memcached_st *, const char *, size_t, size_t *, uint32_t *, memcached_return_t *);
	void (*release)(memcached_st *);
	*(void **)&create = dlsym(lib, "memcached_create");
	*(void **)&set = dlsym(lib, "memcached_behavior_set");
	*(void **)&add = dlsym(lib, "memcached_server_add");
	*(void **)&fetch = dlsym(lib, "memcached_get");
	*(void **)&release = dlsym(lib, "memcached_free");
	server s[3] = { server_start(), server_start(), server_start() };
	char all[120];
	int same = 0, total = 0;
	snprintf(all, sizeof all, "%s,%s,%s", s[0].address, s[1].address, s[2].address);
	memcached_st *st = create(NULL);
	set(st, MEMCACHED_BEHAVIOR_KETAMA_WEIGHTED, 1);
	for (int i = 0; i < 3; i++) add(st, "127.0.0.1", (in_port_t)s[i].port);
	mc m = mc_at(all);
	for (int i = 0; i < 300; i++) {
		char k[40];
		size_t len;
		uint32_t flags;
		memcached_return_t rc;
		snprintf(k, sizeof k, "user:%d", i);
		CHECK(put(&m, zbz_bstr(k), zbz_bstr(k), 0) == ZBZ_OK);
		char *v = fetch(st, k, strlen(k), &len, &flags, &rc);
		same += v != NULL && len == strlen(k) && memcmp(v, k, len) == 0;
		free(v);
	}
	CHECK(same == 300);
	for (int i = 0; i < 3; i++) {
		mc one = mc_at(s[i].address);
		int on = (int)list(&one, zbz_bstr("user:"), 100, zbz_b(NULL, 0), NULL);
		CHECK(on > 30);
		total += on;
		mc_end(&one);
	}
	CHECK(total == 300);
	release(st);
	mc_end(&m);
	for (int i = 0; i < 3; i++) server_end(&s[i], SIGKILL);
}
#else
static void ring_agrees(void) { fprintf(stderr, "ring_agrees: skipped, no libmemcached headers\n"); }
#endif

static void listing_under_writes(void) {
	server s = server_start();
	mc m = mc_at(s.address);
	char k[300];
	for (int i = 0; i < 500; i++) {
		int n = snprintf(k, sizeof k, "k%d%s", i, i % 50 == 0 ? " odd" : "");
		if (i % 100 == 1) memset(k + n, 'x', sizeof k - (size_t)n), n = sizeof k;
		CHECK(put(&m, zbz_b(k, (size_t)n), zbz_bstr("v"), 0) == ZBZ_OK);
	}
	pid_t kid = fork();
	if (kid == 0)
		for (unsigned i = 2;; i++) {
			if (i % 50 < 2) continue;
			snprintf(k, sizeof k, "k%u", i % 500);
			if (put(&m, zbz_bstr(k), zbz_bstr("w"), 0) != ZBZ_OK) _exit(1);
		}
	for (int i = 0; i < 50; i++) {
		size_t n = list(&m, zbz_bstr("k"), 64, zbz_b(NULL, 0), NULL);
		CHECK(n >= 500);
	}
	kill(kid, SIGKILL);
	waitpid(kid, NULL, 0);
	mc_end(&m);
	server_end(&s, SIGKILL);
}

static void too_large(void) {
	mc m = mc_at(shared);
	size_t n = 1048576;
	char *big = calloc(n, 1);
	zbz_buf b = { 0 };
	zbz_call c = call();
	CHECK(put(&m, key("L"), zbz_bstr("old"), 0) == ZBZ_OK);
	CHECK(put(&m, key("L"), zbz_b(big, n), 0) == ZBZ_E_TOO_LARGE && !m.err.retryable);
	CHECK(get(&m, key("L"), &b, NULL) == ZBZ_MISS); /* the server drops the old one: see the provider's head */
	CHECK(put(&m, key("L"), zbz_bstr("new"), 0) == ZBZ_OK && has(&m, key("L"), zbz_bstr("new")));
	zbz_status status[3];
	zbz_write w[3] = { { .key = key("L1"), .value = zbz_bstr("1") },
		               { .key = key("L2"), .value = zbz_b(big, n) },
		               { .key = key("L3"), .value = zbz_bstr("3") } };
	CHECK(ops->set_many(m.self, &c, w, 3, status) == ZBZ_OK && status[0] == ZBZ_OK && status[1] == ZBZ_E_TOO_LARGE &&
	      status[2] == ZBZ_OK);
	CHECK(has(&m, key("L3"), zbz_bstr("3")));
	zbz_buf_clear(&b);
	free(big);
	mc_end(&m);
}

static void absent_server(void) {
	int port;
	char address[40];
	mc m;
	zbz_buf b = { 0 };
	int64_t v;
	close(bound_socket(&port));
	snprintf(address, sizeof address, "127.0.0.1:%d", port);
	CHECK(mc_open(&m, "servers", address, NULL, NULL) == ZBZ_OK); /* opening talks to nobody */
	int64_t t0 = mono();
	CHECK(get(&m, key("k"), &b, NULL) == ZBZ_E_UNAVAILABLE && m.err.retryable && m.err.sys_errno == ECONNREFUSED);
	CHECK(strstr(m.err.text, address) != NULL);
	CHECK(put(&m, key("k"), zbz_bstr("v"), 0) == ZBZ_E_UNAVAILABLE && del(&m, key("k")) == ZBZ_E_UNAVAILABLE);
	CHECK(incr(&m, key("k"), 1, &v) == ZBZ_E_UNAVAILABLE && ttl(&m, key("k"), &v) == ZBZ_E_UNAVAILABLE);
	CHECK(mono() - t0 < 2000);
	zbz_call c = call();
	zbz_provider_stats st;
	ops->stats(m.self, &c, &st);
	CHECK(st.keys == -1 && st.retries >= 6 && st.connections == 0);
	zbz_bytes two[2] = { key("a"), key("b") };
	zbz_found found[2];
	CHECK(ops->get_many(m.self, &c, two, 2, &b, found) == ZBZ_E_UNAVAILABLE &&
	      ops->ping(m.self, &c) == ZBZ_E_UNAVAILABLE);
	mc_end(&m);
	CHECK(mc_open(&m, "servers", "no-such-host.invalid", "timeout", "2s") == ZBZ_OK);
	zbz_status s = get(&m, key("k"), &b, NULL);
	CHECK(s == ZBZ_E_UNAVAILABLE || s == ZBZ_E_TIMEOUT);
	zbz_buf_clear(&b);
	mc_end(&m);
}

static void stopped_server(void) {
	server s = server_start();
	mc m;
	zbz_buf b = { 0 };
	CHECK(mc_open(&m, "servers", s.address, NULL, NULL) == ZBZ_OK); /* timeout 100ms */
	CHECK(put(&m, key("k"), zbz_bstr("v"), 0) == ZBZ_OK);
	kill(s.pid, SIGSTOP);
	waitpid(s.pid, NULL, WUNTRACED); /* all its threads stand still */
	for (int i = 0; i < 2; i++) {
		int64_t t0 = mono();
		CHECK(get(&m, key("k"), &b, NULL) == ZBZ_E_TIMEOUT && m.err.retryable);
		CHECK(mono() - t0 >= 90 && mono() - t0 < 400);
	}
	zbz_call c = call();
	c.deadline = mono() + 30;
	int64_t t0 = mono();
	CHECK(ops->get(m.self, &c, key("k"), &b, NULL) == ZBZ_E_TIMEOUT && mono() - t0 < 95);
	kill(s.pid, SIGCONT);
	mc_end(&m);
	m = mc_at(s.address);
	CHECK(has(&m, key("k"), zbz_bstr("v")));
	zbz_buf_clear(&b);
	mc_end(&m);
	server_end(&s, SIGKILL);
}

static void restarted_server(void) {
	server s = server_start();
	mc m = mc_at(s.address);
	zbz_buf b = { 0 };
	int64_t v;
	CHECK(put(&m, key("k"), zbz_bstr("v"), 0) == ZBZ_OK);
	server_end(&s, SIGKILL);
	CHECK(get(&m, key("k"), &b, NULL) == ZBZ_E_UNAVAILABLE);
	CHECK(server_launch(&s));
	CHECK(get(&m, key("k"), &b, NULL) == ZBZ_MISS && put(&m, key("k"), zbz_bstr("w"), 0) == ZBZ_OK);
	server_end(&s, SIGKILL);
	CHECK(server_launch(&s));
	CHECK(incr(&m, key("n"), 1, &v) == ZBZ_OK && v == 1); /* the parked connection is known to be dead beforehand */
	zbz_buf_clear(&b);
	mc_end(&m);
	server_end(&s, SIGKILL);
}

/* Ends the server as soon as the first items of the batch are there. */
static void *killer(void *ud) {
	server *s = ud;
	char answer[64];
	int fd = connected(s->port);
	ssize_t n = 0;
	while (fd >= 0 && n >= 0 && !(n >= 2 && memcmp(answer, "HD", 2) == 0))
		n = write(fd, "mg key9\r\n", 9) == 9 ? read(fd, answer, sizeof answer) : -1;
	kill(s->pid, SIGKILL);
	if (fd >= 0) close(fd);
	return NULL;
}

static void killed_in_a_batch(void) {
	static char value[100000];
	for (int round = 0; round < 5; round++) {
		server s = server_start();
		mc m = mc_at(s.address);
		pthread_t t;
		zbz_bytes keys[400];
		zbz_write w[400];
		zbz_status status[400];
		char names[400][20];
		zbz_call c = call();
		for (int i = 0; i < 400; i++) {
			keys[i] = zbz_b(names[i], (size_t)snprintf(names[i], 20, "key%d", i));
			w[i] = (zbz_write){ .key = keys[i], .value = zbz_b(value, sizeof value) };
			status[i] = ZBZ_AGAIN;
		}
		pthread_create(&t, NULL, killer, &s);
		zbz_status st = ZBZ_OK;
		for (int i = 0; i < 100 && st == ZBZ_OK; i++) st = ops->set_many(m.self, &c, w, 400, status);
		CHECK(st == ZBZ_E_UNAVAILABLE);
		for (int i = 0; i < 400; i++) CHECK(status[i] == ZBZ_E_UNAVAILABLE);
		pthread_join(t, NULL);
		waitpid(s.pid, NULL, 0);
		mc_end(&m);
	}
}

static void one_of_three_down(void) {
	server s[3] = { server_start(), server_start(), server_start() };
	char all[120];
	zbz_bytes keys[90];
	zbz_found found[90];
	char names[90][20];
	int down = 0, up = 0;
	zbz_buf b = { 0 };
	zbz_call c = call();
	uint64_t removed;
	snprintf(all, sizeof all, "%s,%s,%s", s[0].address, s[1].address, s[2].address);
	mc m = mc_at(all);
	for (int i = 0; i < 90; i++) {
		keys[i] = zbz_b(names[i], (size_t)snprintf(names[i], 20, "key%d", i));
		CHECK(put(&m, keys[i], zbz_bstr("v"), 0) == ZBZ_OK);
	}
	server_end(&s[1], SIGKILL);
	for (int i = 0; i < 90; i++) {
		zbz_status st = get(&m, keys[i], &b, NULL);
		CHECK(st == ZBZ_OK || (st == ZBZ_E_UNAVAILABLE && strstr(m.err.text, s[1].address) != NULL)); /* never a miss */
		down += st != ZBZ_OK;
	}
	CHECK(down > 5 && down < 60);
	CHECK(ops->get_many(m.self, &c, keys, 90, &b, found) == ZBZ_OK);
	for (int i = 0; i < 90; i++) up += found[i].status == ZBZ_OK;
	CHECK(up == 90 - down);
	CHECK(ops->ping(m.self, &c) == ZBZ_E_UNAVAILABLE && strstr(c.err.text, s[1].address) != NULL);
	CHECK(ops->clear(m.self, &c, zbz_bstr("key"), &removed) == ZBZ_E_UNAVAILABLE); /* not "all removed" */
	CHECK(server_launch(&s[1]));
	CHECK(get(&m, keys[0], &b, NULL) >= 0 && ops->ping(m.self, &c) == ZBZ_OK &&
	      ops->clear(m.self, &c, zbz_bstr("key"), &removed) == ZBZ_OK);
	zbz_buf_clear(&b);
	mc_end(&m);
	for (int i = 0; i < 3; i++) server_end(&s[i], SIGKILL);
}

/* A peer that answers every connection's first bytes with the given ones, and closes. */
typedef struct liar {
	int fd, port;
	const char *answer;
	size_t n;
} liar;

static void *liar_main(void *ud) {
	liar *l = ud;
	char in[4096];
	for (;;) {
		int fd = accept(l->fd, NULL, NULL);
		if (fd < 0) return NULL;
		if (read(fd, in, sizeof in) > 0 && l->n > 0) (void)!write(fd, l->answer, l->n);
		close(fd);
	}
}

static void garbage(void) {
	static char line[20000];
	memset(line, 'x', sizeof line);
	static const char *const answers[] = { "",
		                                   "HTTP/1.1 400 Bad Request\r\n\r\n",
		                                   "VA",
		                                   "VA \r\n",
		                                   "VA x\r\n",
		                                   "VA 99999999999999999999\r\n",
		                                   "VA -1\r\n",
		                                   "VA 2000000000\r\n",
		                                   "VA 3 f0\r\nabcdeXX",
		                                   "VA 5 f0\r\nab",
		                                   "EN\r\nEN\r\n",
		                                   "\r\n",
		                                   "\n",
		                                   "HD\r\n",
		                                   "SERVER_ERROR out of memory\r\n",
		                                   "NS\r\n",
		                                   NULL };
	for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
		liar l = { .answer = answers[i] != NULL ? answers[i] : line,
			       .n = answers[i] != NULL ? strlen(answers[i]) : sizeof line };
		pthread_t t;
		char address[40];
		mc m;
		zbz_buf b = { 0 };
		int64_t v;
		l.fd = bound_socket(&l.port);
		listen(l.fd, 16);
		pthread_create(&t, NULL, liar_main, &l);
		snprintf(address, sizeof address, "127.0.0.1:%d", l.port);
		CHECK(mc_open(&m, "servers", address, "max_retries", "0") == ZBZ_OK);
		CHECK(get(&m, key("k"), &b, NULL) == ZBZ_E_UNAVAILABLE && b.n == 0);
		zbz_status s = incr(&m, key("k"), 1, &v);
		CHECK(s == ZBZ_E_UNAVAILABLE);
		zbz_call c = call();
		zbz_bytes two[2] = { key("a"), key("b") };
		zbz_found found[2];
		s = ops->get_many(m.self, &c, two, 2, &b, found);
		CHECK(s == ZBZ_E_UNAVAILABLE || (s == ZBZ_OK && strcmp(l.answer, "EN\r\nEN\r\n") == 0));
		zbz_provider_stats st;
		ops->stats(m.self, &c, &st);
		CHECK(ops->ping(m.self, &c) == ZBZ_E_UNAVAILABLE);
		zbz_buf_clear(&b);
		mc_end(&m);
		shutdown(l.fd, SHUT_RDWR);
		pthread_join(t, NULL);
		close(l.fd);
	}
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

static int count_sockets(void) {
	DIR *d = opendir("/proc/self/fd");
	struct dirent *e;
	int n = 0;
	while ((e = readdir(d)) != NULL) {
		char to[16] = "";
		n += readlinkat(dirfd(d), e->d_name, to, sizeof to - 1) > 0 && strncmp(to, "socket:", 7) == 0;
	}
	closedir(d);
	return n;
}

static void *get_patiently(void *ud) {
	zbz_buf b = { 0 };
	zbz_status s = get(ud, key("k"), &b, NULL);
	zbz_buf_clear(&b);
	return s == ZBZ_OK ? ud : NULL;
}

/* One call waits for a server that stands still: its connection is not for the child to keep open. */
static void forked_in_a_call(void) {
	server s = server_start();
	pthread_t thread;
	void *got = NULL;
	mc m;
	int before = count_sockets(), status = -1;
	CHECK(mc_open(&m, "servers", s.address, "timeout", "30s") == ZBZ_OK &&
	      put(&m, key("k"), zbz_bstr("v"), 0) == ZBZ_OK);
	kill(s.pid, SIGSTOP);
	waitpid(s.pid, NULL, WUNTRACED);
	pthread_create(&thread, NULL, get_patiently, &m);
	CHECK(count_sockets() == before + 1);
	pid_t pid = fork();
	if (pid == 0) {
		int bad = count_sockets() != before;
		alarm(20);
		ops->close(m.self);
		_exit(bad);
	}
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	kill(s.pid, SIGCONT);
	pthread_join(thread, &got);
	CHECK(got != NULL);
	mc_end(&m);
	server_end(&s, SIGKILL);
}

static void forked(void) {
	mc m = mc_at(shared);
	int64_t v;
	CHECK(incr(&m, key("fork"), 1, &v) == ZBZ_OK);
	for (int i = 0; i < 4; i++)
		if (fork() == 0) {
			int bad = 0;
			for (int k = 0; k < 50; k++) bad += incr(&m, key("fork"), 1, &v) != ZBZ_OK;
			ops->close(m.self);
			_exit(bad);
		}
	for (int k = 0; k < 50; k++) CHECK(incr(&m, key("fork"), 1, &v) == ZBZ_OK);
	for (int i = 0; i < 4; i++) {
		int status = 1;
		wait(&status);
		CHECK(status == 0);
	}
	CHECK(incr(&m, key("fork"), 0, &v) == ZBZ_OK && v == 251);
	mc_end(&m);
}

/* ---- the n-th allocation fails ---- */

static long countdown = -1, live;

static void *failing(void *ud, void *p, size_t n) {
	(void)ud;
	if (n == 0) {
		live -= p != NULL;
		free(p);
		return NULL;
	}
	if (countdown == 0) return NULL;
	if (countdown > 0) countdown--;
	live += p == NULL;
	return realloc(p, n);
}

static zbz_status everything(zbz_err *err) {
	mc m;
	zbz_buf b = { 0 };
	zbz_status s, worst = mc_open(&m, "servers", shared, "timeout", "2s"), status[3];
	if (worst != ZBZ_OK) {
		*err = m.err;
		return worst;
	}
	zbz_call c = call();
	zbz_bytes k = long_key('a'), keys[3] = { k, key("a1"), key("a 2") }, argv[2] = { zbz_bstr("mg"), zbz_bstr("x") };
	zbz_write w[3] = { { .key = k, .value = zbz_bstr("1") },
		               { .key = keys[1], .value = zbz_bstr("2") },
		               { .key = keys[2], .value = zbz_bstr("3") } };
	zbz_found found[3];
	zbz_incr how = { .delta = 1 };
	zbz_provider_stats st;
	uint64_t removed;
	int64_t v;
	size_t end = 2;
#define STEP(step)                          \
	do {                                    \
		s = (step);                         \
		if (s < 0) worst = s, *err = c.err; \
	} while (0)
#define EACH()                  \
	for (int i = 0; i < 3; i++) \
		if (s == ZBZ_OK && status[i] < 0) worst = status[i], *err = c.err
	STEP(ops->set(m.self, &c, w, NULL));
	STEP(ops->get(m.self, &c, k, &b, NULL));
	STEP(ops->incr(m.self, &c, k, &how, &v));
	STEP(ops->set_many(m.self, &c, w, 3, status));
	EACH();
	STEP(ops->get_many(m.self, &c, keys, 3, &b, found));
	for (int i = 0; i < 3; i++)
		if (s == ZBZ_OK && found[i].status < 0) worst = found[i].status, *err = c.err;
	STEP(ops->command(m.self, &c, argv, &end, 1, &b));
	STEP(ops->version(m.self, &c, &b));
	ops->stats(m.self, &c, &st);
	STEP(ops->inspect(m.self, &c, k, &b));
	STEP(ops->clear(m.self, &c, key("aaa"), &removed));
	STEP(ops->del_many(m.self, &c, keys, 3, status));
	EACH();
	zbz_buf_clear(&b);
	mc_end(&m);
	return worst;
}

static void allocations(void) {
	zbz_err err;
	zbz_status s = ZBZ_E_INTERNAL;
	zbz_set_alloc(failing, NULL);
	for (long i = 0; i < 2000 && s != ZBZ_OK; i++) {
		countdown = i;
		s = everything(&err);
		CHECK(s == ZBZ_OK || (s == ZBZ_E_INTERNAL && err.sys_errno == ENOMEM));
		if (s != ZBZ_OK && s != ZBZ_E_INTERNAL) fprintf(stderr, "allocation %ld: %d %s\n", i, s, err.text);
		CHECK(live == 0);
	}
	CHECK(s == ZBZ_OK);
	zbz_set_alloc(NULL, NULL);
}

int main(void) {
	zbz_err err;
	server own = { 0 };
	const char *given = getenv("MEMCACHED_SERVERS");
	signal(SIGPIPE, SIG_DFL); /* nothing may raise it */
	if (zbz_cache_find("memcached", &ops, &err) != ZBZ_OK) {
		fprintf(stderr, "%s\n", err.text);
		return 2;
	}
	if (given == NULL || *given == '\0') own = server_start(), given = own.address;
	snprintf(shared, sizeof shared, "%s", given);
	snprintf(tag, sizeof tag, "t%ld:", (long)getpid());
	RUN(options);
	RUN(round_trips);
	RUN(odd_keys);
	RUN(injection);
	RUN(conditions);
	RUN(expiry);
	RUN(counters);
	RUN(threads);
	RUN(batches);
	RUN(ring_agrees);
	RUN(listing_under_writes);
	RUN(too_large);
	RUN(absent_server);
	RUN(stopped_server);
	RUN(restarted_server);
	RUN(killed_in_a_batch);
	RUN(one_of_three_down);
	RUN(garbage);
	RUN(commands);
	RUN(forked);
	RUN(forked_in_a_call);
	RUN(allocations);
	server_end(&own, SIGKILL);
	return DONE();
}
