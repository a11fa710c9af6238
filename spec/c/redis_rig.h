/* What the Redis tests share: the provider opened through its table of functions, servers of our own, and a peer that
 * answers what it was told to. */
#ifndef SPEC_REDIS_RIG_H
#define SPEC_REDIS_RIG_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "zbz/zbz.h"

static const zbz_cache_ops *ops;

static int64_t rig_now(void) {
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* ---- the provider --------------------------------------------------------------------------------------------------- */

typedef struct rig {
	void *self, *options;
	const zbz_clock *clock;
	zbz_call c; /* of the latest call */
	zbz_err err;
} rig;

/* name, value, name, value, ..., NULL */
static zbz_status rig_vopen(rig *r, const zbz_clock *clock, va_list args) {
	zbz_config *cfg = zbz_config_new();
	const char *name;
	zbz_status s;
	memset(r, 0, sizeof *r);
	s = cfg ? ZBZ_OK : zbz_fail_nomem(&r->err);
	r->clock = clock;
	r->options = calloc(1, ops->options_size);
	while (s == ZBZ_OK && (name = va_arg(args, const char *)) != NULL)
		s = zbz_config_set_text(cfg, name, zbz_bstr(va_arg(args, const char *)), &r->err);
	if (s == ZBZ_OK) s = zbz_options_parse(cfg, ops->options, r->options, &r->err);
	zbz_config_free(cfg);
	if (s == ZBZ_OK) {
		s = ops->open(&r->self, r->options, clock, &r->err);
		if (s != ZBZ_OK) zbz_options_clear(ops->options, r->options);
	}
	if (s != ZBZ_OK) {
		free(r->options);
		r->options = NULL;
	}
	return s;
}

static inline zbz_status rig_open(rig *r, ...) {
	va_list args;
	zbz_status s;
	va_start(args, r);
	s = rig_vopen(r, zbz_clock_system(), args);
	va_end(args);
	return s;
}

static inline zbz_status rig_open_at(rig *r, const zbz_clock *clock, ...) {
	va_list args;
	zbz_status s;
	va_start(args, clock);
	s = rig_vopen(r, clock, args);
	va_end(args);
	return s;
}

static inline void rig_close(rig *r) {
	if (!r->options) return;
	ops->close(r->self);
	zbz_options_clear(ops->options, r->options);
	free(r->options);
	r->options = NULL;
}

/* A call begun now; timeout_ms 0: no deadline. */
static inline zbz_call *rig_call(rig *r, int64_t timeout_ms) {
	memset(&r->c, 0, sizeof r->c);
	r->c.clock = r->clock;
	r->c.now = zbz_wall(r->clock);
	r->c.deadline = timeout_ms ? zbz_mono(r->clock) + timeout_ms : ZBZ_NEVER;
	return &r->c;
}

static inline zbz_status rig_set(rig *r, const char *key, const char *value) {
	zbz_write w = { .key = zbz_bstr(key), .value = zbz_bstr(value) };
	return ops->set(r->self, rig_call(r, 0), &w, NULL);
}

/* Compares the value; a NULL expects a miss. */
static inline bool rig_has(rig *r, const char *key, const char *value) {
	zbz_buf out = { 0 };
	zbz_status s = ops->get(r->self, rig_call(r, 0), zbz_bstr(key), &out, NULL);
	bool ok = value ? s == ZBZ_OK && zbz_bytes_eq(zbz_buf_bytes(&out), zbz_bstr(value)) : s == ZBZ_MISS;
	zbz_buf_clear(&out);
	return ok;
}

static inline zbz_status rig_get(rig *r, const char *key, int64_t deadline) {
	zbz_buf out = { 0 };
	zbz_status s = ops->get(r->self, rig_call(r, deadline), zbz_bstr(key), &out, NULL);
	zbz_buf_clear(&out);
	return s;
}

static inline int64_t rig_connections(rig *r) {
	zbz_provider_stats st;
	ops->stats(r->self, rig_call(r, 0), &st);
	return st.connections;
}

/* One command in words apart by one space; the reply, as MessagePack, is compared with `want` (n bytes). */
static inline zbz_status rig_command(rig *r, const char *line, zbz_buf *out) {
	zbz_bytes words[32];
	size_t n = 0;
	while (*line && n < 32) {
		size_t len = strcspn(line, " ");
		words[n++] = zbz_b(line, len);
		line += len + (line[len] == ' ');
	}
	out->n = 0;
	return ops->command(r->self, rig_call(r, 0), words, &n, 1, out);
}

static inline bool replies(rig *r, const char *line, const char *want, size_t n) {
	zbz_buf out = { 0 };
	zbz_status s = rig_command(r, line, &out);
	bool ok = s == ZBZ_OK && out.n >= n && memcmp(out.p, want, n) == 0;
	if (!ok) fprintf(stderr, "  %s: %d %s\n", line, s, s < 0 ? r->c.err.text : "");
	zbz_buf_clear(&out);
	return ok;
}

/* ---- servers of our own --------------------------------------------------------------------------------------------- */

typedef struct server {
	int port;
	pid_t pid;
	char text[8], url[64];
} server;

static int bound_socket(int port) {
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(fd, (struct sockaddr *)&a, sizeof a) != 0 || listen(fd, 64) != 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static int port_of(int fd) {
	struct sockaddr_in a;
	socklen_t n = sizeof a;
	getsockname(fd, (struct sockaddr *)&a, &n);
	return ntohs(a.sin_port);
}

static inline int free_port(void) {
	int fd = bound_socket(0), port = port_of(fd);
	close(fd);
	return port;
}

/* Answers +PONG (or that it wants a password) within the deadline, or has ended: false. */
static bool server_answers(server *v) {
	int64_t deadline = rig_now() + 20000;
	while (rig_now() < deadline && waitpid(v->pid, NULL, WNOHANG) == 0) {
		struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)v->port) };
		char answer[64];
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		bool ok;
		a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		ok = connect(fd, (struct sockaddr *)&a, sizeof a) == 0 && send(fd, "PING\r\n", 6, MSG_NOSIGNAL) == 6 &&
		     poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, 1000) == 1 &&
		     recv(fd, answer, sizeof answer, 0) > 4 &&
		     (memcmp(answer, "+PONG", 5) == 0 || memcmp(answer, "-NOAU", 5) == 0);
		close(fd);
		if (ok) return true;
		nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
	}
	return false;
}

/* port 0: a free one. `option` and `value`: one more line of its configuration, or NULL. */
static bool server_start(server *v, int port, const char *option, const char *value) {
	int tries;
	for (tries = 0; tries < 5; tries++) {
		v->port = port ? port : free_port();
		snprintf(v->text, sizeof v->text, "%d", v->port);
		snprintf(v->url, sizeof v->url, "redis://127.0.0.1:%d", v->port);
		v->pid = fork();
		if (v->pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that crashes leaves no server behind */
			if (!freopen("/dev/null", "w", stdout) || !freopen("/dev/null", "w", stderr)) _exit(1);
			execlp("redis-server", "redis-server", "--port", v->text, "--bind", "127.0.0.1", "--save", "", "--dir",
			       "/tmp", option, value, (char *)NULL);
			_exit(127);
		}
		if (server_answers(v)) return true;
		if (v->pid > 0) kill(v->pid, SIGKILL);
		waitpid(v->pid, NULL, 0);
	}
	return false;
}

static void server_end(server *v) {
	if (v->pid <= 0) return;
	kill(v->pid, SIGKILL);
	waitpid(v->pid, NULL, 0);
	v->pid = 0;
}

/* ---- a peer that answers what it was told to --------------------------------------------------------------------------- */

typedef struct peer {
	int fd, port;
	char url[64];
	const char *answer; /* sent for every piece received */
	size_t answer_n;
	bool then_close;
	bool quiet; /* reads nothing at all */
	int wake[2];
	pthread_t thread;
	atomic_int connections, pieces;
	atomic_bool stop;
} peer;

static void peer_serve(peer *p, int fd) {
	char in[65536];
	for (;;) {
		struct pollfd fds[2] = { { .fd = fd, .events = p->quiet ? 0 : POLLIN },
			                     { .fd = p->wake[0], .events = POLLIN } };
		if (poll(fds, 2, -1) < 0 || fds[1].revents) break;
		if (recv(fd, in, sizeof in, 0) <= 0) break;
		p->pieces++;
		if (p->answer_n && send(fd, p->answer, p->answer_n, MSG_NOSIGNAL) < 0) break;
		if (p->then_close) break;
	}
	close(fd);
}

static void *peer_main(void *ud) {
	peer *p = ud;
	while (!p->stop) {
		struct pollfd fds[2] = { { .fd = p->fd, .events = POLLIN }, { .fd = p->wake[0], .events = POLLIN } };
		int fd;
		if (poll(fds, 2, -1) < 0 || fds[1].revents) break;
		fd = accept(p->fd, NULL, NULL);
		if (fd < 0) continue;
		p->connections++;
		peer_serve(p, fd);
	}
	return NULL;
}

static inline void peer_start(peer *p, const char *answer, size_t n, bool then_close) {
	memset(p, 0, sizeof *p);
	p->answer = answer;
	p->answer_n = n;
	p->then_close = then_close;
	p->fd = bound_socket(0);
	p->port = port_of(p->fd);
	snprintf(p->url, sizeof p->url, "127.0.0.1:%d", p->port);
	CHECK(pipe(p->wake) == 0);
	pthread_create(&p->thread, NULL, peer_main, p);
}

static inline void peer_end(peer *p) {
	p->stop = true;
	CHECK(write(p->wake[1], "x", 1) == 1);
	pthread_join(p->thread, NULL);
	close(p->wake[0]);
	close(p->wake[1]);
	close(p->fd);
}

/* ---- what other threads tell --------------------------------------------------------------------------------------------- */

/* How often each of three kinds of things was told. */
typedef struct tally {
	pthread_mutex_t lock;
	pthread_cond_t moved;
	int n[3];
} tally;

#define TALLY \
	{ .lock = PTHREAD_MUTEX_INITIALIZER, .moved = PTHREAD_COND_INITIALIZER }

static inline void tally_add(tally *t, int kind) {
	t->n[kind]++;
	pthread_cond_broadcast(&t->moved);
}

static inline int tally_count(tally *t, int kind) {
	int n;
	pthread_mutex_lock(&t->lock);
	n = t->n[kind];
	pthread_mutex_unlock(&t->lock);
	return n;
}

/* Waits until `done`, looked at under the lock, for 20 seconds at most: is it? */
static inline bool tally_wait(tally *t, bool (*done)(const tally *t, const void *ud), const void *ud) {
	struct timespec ts;
	bool ok;
	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_sec += 20;
	pthread_mutex_lock(&t->lock);
	while (!done(t, ud) && pthread_cond_timedwait(&t->moved, &t->lock, &ts) == 0) {}
	ok = done(t, ud);
	pthread_mutex_unlock(&t->lock);
	return ok;
}

static inline bool tally_reaches(const tally *t, const void *ud) {
	const int *want = ud;
	return t->n[0] >= want[0] && t->n[1] >= want[1] && t->n[2] >= want[2];
}

static inline bool tally_await(tally *t, int first, int second, int third) {
	int want[3] = { first, second, third };
	return tally_wait(t, tally_reaches, want);
}

/* ---- the program ------------------------------------------------------------------------------------------------------------ */

static server live;          /* of our own, shared by the tests that leave it in order */
static const char *main_url; /* of the server that most tests use */

static inline rig fresh(void) {
	rig r;
	CHECK(rig_open(&r, "url", main_url, NULL) == ZBZ_OK);
	return r;
}

/* One that gives up soon. */
static inline rig quick(const char *at) {
	rig r;
	CHECK(rig_open(&r, "url", at, "timeout", "2s", "read_timeout", "300ms", "write_timeout", "300ms", "max_retries",
	               "1", NULL) == ZBZ_OK);
	return r;
}

/* Finds the provider and a server: the one of REDIS_URL if a common one will do and it is named, else one of our own. */
static bool rig_begin(bool common) {
	zbz_err err;
	if (zbz_cache_find("redis", &ops, &err) != ZBZ_OK) {
		fprintf(stderr, "%s\n", err.text);
		return false;
	}
	main_url = common ? getenv("REDIS_URL") : NULL;
	if (main_url != NULL) return true;
	main_url = live.url;
	return server_start(&live, 0, NULL, NULL);
}

static void rig_end(void) { server_end(&live); }

#endif
