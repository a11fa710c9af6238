/* What the memcached tests share: servers of our own, the provider opened through its table of functions, its calls in short, and the
 * program around the tests. */
#ifndef SPEC_MEMCACHED_RIG_H
#define SPEC_MEMCACHED_RIG_H

#include <arpa/inet.h>
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

static inline int bound_socket(int *port) {
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	if (bind(fd, (struct sockaddr *)&a, sizeof a) != 0 || getsockname(fd, (struct sockaddr *)&a, &n) != 0) exit(2);
	*port = ntohs(a.sin_port);
	return fd;
}

static inline int connected(int port) {
	struct sockaddr_in a = { .sin_family = AF_INET,
		                     .sin_port = htons((uint16_t)port),
		                     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(fd, (struct sockaddr *)&a, sizeof a) == 0) return fd;
	close(fd);
	return -1;
}

/* Something else may have taken the port: the server is asked for its pid. */
static inline bool server_answers(const server *s) {
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

static inline bool server_launch(server *s) {
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

static inline server server_start(void) {
	server s;
	for (int i = 0; i < 5; i++) {
		close(bound_socket(&s.port));
		if (server_launch(&s)) return s;
	}
	fprintf(stderr, "memcached does not start\n");
	exit(2);
}

static inline void server_end(server *s, int sig) {
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
static inline zbz_status mc_open(mc *m, const char *name, const char *value, const char *name2, const char *value2) {
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

static inline mc mc_at(const char *servers) {
	mc m;
	CHECK(mc_open(&m, "servers", servers, "timeout", "2s") == ZBZ_OK);
	return m;
}

static inline void mc_end(mc *m) {
	ops->close(m->self);
	zbz_options_clear(ops->options, m->options);
	free(m->options);
}

static inline zbz_call call(void) {
	const zbz_clock *k = zbz_clock_system();
	zbz_call c = { .clock = k, .now = zbz_wall(k), .deadline = ZBZ_NEVER };
	return c;
}

static inline int64_t mono(void) { return zbz_mono(zbz_clock_system()); }

/* tag + rest, in a ring of buffers */
static inline zbz_bytes key(const char *rest) {
	static char bufs[16][600];
	static int at;
	char *b = bufs[at++ % 16];
	return zbz_b(b, (size_t)snprintf(b, 600, "%s%s", tag, rest));
}

static inline zbz_status put(mc *m, zbz_bytes k, zbz_bytes v, int64_t ttl_ms) {
	zbz_call c = call();
	zbz_write w = { .key = k, .value = v, .expire_at = ttl_ms > 0 ? c.now + ttl_ms : ZBZ_NO_EXPIRY };
	zbz_status s = ops->set(m->self, &c, &w, NULL);
	m->err = c.err;
	return s;
}

static inline zbz_status put_only(mc *m, zbz_bytes k, const char *v, zbz_only only, const zbz_version *ver,
                                  zbz_version *out) {
	zbz_call c = call();
	zbz_write w = { .key = k, .value = zbz_bstr(v), .only = only, .version = ver };
	zbz_status s = ops->set(m->self, &c, &w, out);
	m->err = c.err;
	return s;
}

static inline zbz_status get(mc *m, zbz_bytes k, zbz_buf *out, zbz_meta *meta) {
	zbz_call c = call();
	out->n = 0;
	zbz_status s = ops->get(m->self, &c, k, out, meta);
	m->err = c.err;
	return s;
}

static inline bool has(mc *m, zbz_bytes k, zbz_bytes v) {
	zbz_buf b = { 0 };
	bool ok = get(m, k, &b, NULL) == ZBZ_OK && zbz_bytes_eq(zbz_buf_bytes(&b), v);
	zbz_buf_clear(&b);
	return ok;
}

static inline zbz_status del(mc *m, zbz_bytes k) {
	zbz_call c = call();
	zbz_status s = ops->del(m->self, &c, k);
	m->err = c.err;
	return s;
}

static inline zbz_status incr(mc *m, zbz_bytes k, int64_t delta, int64_t *v) {
	zbz_call c = call();
	zbz_incr how = { .delta = delta };
	zbz_status s = ops->incr(m->self, &c, k, &how, v);
	m->err = c.err;
	return s;
}

static inline zbz_status ttl(mc *m, zbz_bytes k, int64_t *left) {
	zbz_call c = call();
	int64_t at;
	zbz_status s = ops->ttl(m->self, &c, k, &at);
	*left = s != ZBZ_OK ? -2 : at == ZBZ_NO_EXPIRY ? -1 : at - c.now;
	return s;
}

static inline size_t list(mc *m, zbz_bytes prefix, size_t page, zbz_bytes want, size_t *times) {
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

static inline size_t count(mc *m, const char *rest) { return list(m, key(rest), 9, zbz_b(NULL, 0), NULL); }

static inline zbz_bytes long_key(char fill) {
	static char bufs[4][400];
	static int at;
	char *b = bufs[at++ % 4];
	memset(b, fill, 400);
	memcpy(b, tag, strlen(tag));
	return zbz_b(b, 400);
}

/* ---- the program ---- */

static server own;

/* Finds the provider and a server: the common one, or one of our own. */
static bool rig_begin(void) {
	zbz_err err;
	const char *given = getenv("MEMCACHED_SERVERS");
	signal(SIGPIPE, SIG_DFL); /* nothing may raise it */
	if (zbz_cache_find("memcached", &ops, &err) != ZBZ_OK) {
		fprintf(stderr, "%s\n", err.text);
		return false;
	}
	if (given == NULL || *given == '\0') own = server_start(), given = own.address;
	snprintf(shared, sizeof shared, "%s", given);
	snprintf(tag, sizeof tag, "t%ld:", (long)getpid());
	return true;
}

static void rig_end(void) { server_end(&own, SIGKILL); }

#endif
