/* Shared by the tests of outputs on the network: sinks opened through their table of functions, and receivers that read, stop reading, reset
 * or go away when told to. */
#ifndef SPEC_NET_RIG_H
#define SPEC_NET_RIG_H

#include "log_help.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

enum { PATIENCE = 20000 }; /* ms: longer than anything takes that works */

static zbz_err err;
__attribute__((unused)) static bool says(const char *part) { return strstr(err.text, part) != NULL; }

/* ---- a sink without an output around it ---- */

typedef struct rig {
	const zbz_sink_ops *ops;
	void *self, *options;
	size_t done;
	zbz_call c;
} rig;

/* "tcp address=... timeout=..." */
static inline zbz_status rig_open(rig *r, const char *line) {
	char text[900], *word, *rest = text;
	zbz_config *cfg = zbz_config_new();
	zbz_status status;
	memset(r, 0, sizeof *r);
	snprintf(text, sizeof text, "%s", line);
	word = strtok_r(rest, " ", &rest);
	status = cfg != NULL ? zbz_sink_find(word, &r->ops, &err) : zbz_fail_nomem(&err);
	while (status == ZBZ_OK && (word = strtok_r(rest, " ", &rest)) != NULL) {
		char *value = strchr(word, '=');
		*value++ = '\0';
		status = zbz_config_set_text(cfg, word, zbz_bstr(value), &err);
	}
	if (status == ZBZ_OK) {
		r->options = zbz_calloc(1, r->ops->options_size);
		status = r->options != NULL ? zbz_options_parse(cfg, r->ops->options, r->options, &err) : zbz_fail_nomem(&err);
		if (status == ZBZ_OK) {
			status = r->ops->open(&r->self, r->options, zbz_clock_system(), &err);
			if (status != ZBZ_OK) zbz_options_clear(r->ops->options, r->options);
		}
		if (status != ZBZ_OK) {
			zbz_free(r->options);
			r->options = NULL;
		}
	}
	zbz_config_free(cfg);
	return status;
}

static inline void rig_close(rig *r) {
	if (r->options == NULL) return;
	r->ops->close(r->self);
	zbz_options_clear(r->ops->options, r->options);
	zbz_free(r->options);
	r->options = NULL;
}

static int64_t rig_time = 7; /* of the records */

/* Every line of the text is a record. */
static inline zbz_status rig_write(rig *r, const char *text, int64_t ms) {
	static zbz_record records[2048];
	size_t n = 0;
	zbz_status status;
	while (*text != '\0' && n < 2048) {
		size_t len = strcspn(text, "\n") + 1;
		records[n++] = (zbz_record){ .head = { .at = rig_time, .level = ZBZ_LEVEL_INFO, .logger = zbz_bstr("app") },
			                         .text = zbz_b(text, len) };
		text += len;
	}
	r->c = log_call(ms);
	r->done = 99999;
	status = r->ops->write(r->self, &r->c, records, n, &r->done);
	err = r->c.err;
	return status;
}

/* An error naming this option? */
static inline bool rig_refuses(const char *line, const char *option, const char *part) {
	rig r;
	zbz_status status = rig_open(&r, line);
	bool ok = status == ZBZ_E_CONFIG && strcmp(err.option, option) == 0 && says(part);
	if (status == ZBZ_OK) rig_close(&r);
	if (!ok) fprintf(stderr, "%s: %d, option %s: %s\n", line, status, err.option, err.text);
	return ok;
}

/* ---- receivers ---- */

typedef struct receiver {
	int fd, port, type; /* fd: listens, or takes datagrams */
	char path[100], address[120];
	int wake[2];
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t moved;
	/* under the lock */
	char *text; /* all that came, connection after connection */
	size_t n, cap;
	size_t begins[256]; /* where in it the connections begin */
	size_t sizes[4096]; /* of datagrams */
	int connections, ended, datagrams;
	size_t reset_at; /* a reset once so much has come; 0 never */
	bool hang, stop, chatty;
} receiver;

/* Lets the thread look at what has changed. */
static inline void receiver_tell(receiver *r) {
	if (write(r->wake[1], "x", 1) != 1) abort();
}

static inline void receiver_keep(receiver *r, const char *p, size_t n) {
	pthread_mutex_lock(&r->lock);
	if (r->n + n > r->cap) {
		r->cap = 2 * (r->n + n);
		r->text = realloc(r->text, r->cap);
	}
	memcpy(r->text + r->n, p, n);
	r->n += n;
	if (r->type == SOCK_DGRAM && r->datagrams < 4096) r->sizes[r->datagrams++] = n;
	pthread_cond_broadcast(&r->moved);
	pthread_mutex_unlock(&r->lock);
}

/* false: the connection is over. */
static inline bool receiver_take(receiver *r, int fd) {
	const struct linger at_once = { .l_onoff = 1, .l_linger = 0 };
	char bytes[70000];
	ssize_t n = recv(fd, bytes, sizeof bytes, 0);
	bool reset, chatty;
	if (n <= 0 && r->type != SOCK_DGRAM) return false;
	receiver_keep(r, bytes, n > 0 ? (size_t)n : 0);
	pthread_mutex_lock(&r->lock);
	chatty = r->chatty;
	reset = r->reset_at > 0 && r->n >= r->reset_at;
	if (reset) r->reset_at = 0;
	pthread_mutex_unlock(&r->lock);
	if (chatty && send(fd, "thank you\n", 10, MSG_NOSIGNAL) != 10) return false;
	if (reset) setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once); /* its close is a reset */
	return !reset;
}

static inline void *receiver_main(void *ud) {
	receiver *r = ud;
	int fd = r->type == SOCK_DGRAM ? r->fd : -1;
	for (;;) {
		bool hang, stop;
		struct pollfd p[3] = { { .fd = r->wake[0], .events = POLLIN } };
		char byte;
		pthread_mutex_lock(&r->lock);
		hang = r->hang;
		stop = r->stop;
		pthread_mutex_unlock(&r->lock);
		if (stop) break;
		p[1] = (struct pollfd){ .fd = hang ? -1 : fd, .events = POLLIN };
		p[2] = (struct pollfd){ .fd = fd < 0 ? r->fd : -1, .events = POLLIN };
		if (poll(p, 3, -1) < 0) continue;
		if (p[0].revents != 0 && read(r->wake[0], &byte, 1) == 1) continue;
		if (p[1].revents != 0 && !receiver_take(r, fd)) {
			close(fd);
			fd = -1;
			pthread_mutex_lock(&r->lock);
			r->ended++;
			pthread_cond_broadcast(&r->moved);
			pthread_mutex_unlock(&r->lock);
		}
		if (p[2].revents != 0) {
			fd = accept(r->fd, NULL, NULL);
			pthread_mutex_lock(&r->lock);
			r->begins[r->connections++ % 256] = r->n;
			pthread_cond_broadcast(&r->moved);
			pthread_mutex_unlock(&r->lock);
		}
	}
	if (fd >= 0 && fd != r->fd) close(fd);
	close(r->fd);
	return NULL;
}

static inline int bound(int family, int type, int port, const char *path) {
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6,
		                        .sin6_port = htons((uint16_t)port),
		                        .sin6_addr = in6addr_loopback };
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int on = 1, fd = socket(family, type | SOCK_CLOEXEC, 0), small = 65536;
	bool ok;
	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (type == SOCK_STREAM && family != AF_UNIX) {
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small); /* a hanging peer is soon full */
	}
	if (family == AF_UNIX) {
		snprintf(un.sun_path, sizeof un.sun_path, "%s", path);
		unlink(path);
		ok = bind(fd, (struct sockaddr *)&un, sizeof un) == 0;
	} else if (family == AF_INET6) {
		ok = bind(fd, (struct sockaddr *)&in6, sizeof in6) == 0;
	} else {
		ok = bind(fd, (struct sockaddr *)&in, sizeof in) == 0;
	}
	if (ok && type == SOCK_STREAM) ok = listen(fd, 16) == 0;
	if (ok) return fd;
	close(fd);
	return -1;
}

static inline int port_of(int fd) {
	struct sockaddr_in6 a;
	socklen_t n = sizeof a;
	getsockname(fd, (struct sockaddr *)&a, &n);
	return ntohs(a.sin6_port);
}

/* A port where nobody listens. */
static inline int free_port(int type) {
	int fd = bound(AF_INET, type, 0, NULL), port = port_of(fd);
	close(fd);
	return port;
}

/* port 0: a free one; path NULL: not of the file system. */
static inline bool receiver_start(receiver *r, int family, int type, int port, const char *path) {
	memset(r, 0, sizeof *r);
	r->type = type;
	r->fd = bound(family, type, port, path);
	if (r->fd < 0 || pipe(r->wake) != 0) return false;
	r->port = family == AF_UNIX ? 0 : port_of(r->fd);
	if (family == AF_UNIX)
		snprintf(r->address, sizeof r->address, "%s", path != NULL ? path : "");
	else
		snprintf(r->address, sizeof r->address, family == AF_INET6 ? "[::1]:%d" : "127.0.0.1:%d", r->port);
	pthread_mutex_init(&r->lock, NULL);
	pthread_cond_init(&r->moved, NULL);
	return pthread_create(&r->thread, NULL, receiver_main, r) == 0;
}

static inline void receiver_end(receiver *r) {
	pthread_mutex_lock(&r->lock);
	r->stop = true;
	pthread_mutex_unlock(&r->lock);
	receiver_tell(r);
	pthread_join(r->thread, NULL);
	close(r->wake[0]);
	close(r->wake[1]);
	free(r->text);
	r->text = NULL;
}

/* Changes one of: hang, chatty, reset_at. */
#define RECEIVER_SET(r, field, value)     \
	do {                                  \
		pthread_mutex_lock(&(r)->lock);   \
		(r)->field = (value);             \
		pthread_mutex_unlock(&(r)->lock); \
		receiver_tell(r);                 \
	} while (0)

static inline struct timespec in_ms(int64_t ms) {
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	t.tv_sec += ms / 1000;
	return t;
}

/* Until so many bytes have come. */
static inline bool receiver_await(receiver *r, size_t bytes) {
	struct timespec until = in_ms(PATIENCE);
	bool ok;
	pthread_mutex_lock(&r->lock);
	while (r->n < bytes && pthread_cond_timedwait(&r->moved, &r->lock, &until) == 0) {}
	ok = r->n >= bytes;
	pthread_mutex_unlock(&r->lock);
	return ok;
}

/* Until a counter has come so far: of connections, or of their ends. */
static inline bool receiver_await_count(receiver *r, const int *counter, int n) {
	struct timespec until = in_ms(PATIENCE);
	bool ok;
	pthread_mutex_lock(&r->lock);
	while (*counter < n && pthread_cond_timedwait(&r->moved, &r->lock, &until) == 0) {}
	ok = *counter >= n;
	pthread_mutex_unlock(&r->lock);
	return ok;
}
static inline bool receiver_await_ends(receiver *r, int n) { return receiver_await_count(r, &r->ended, n); }

static inline bool receiver_has(receiver *r, const char *text) {
	bool ok = receiver_await(r, strlen(text));
	pthread_mutex_lock(&r->lock);
	ok = ok && r->n == strlen(text) && memcmp(r->text, text, r->n) == 0;
	if (!ok) fprintf(stderr, "received: %.*s\n", (int)(r->n < 400 ? r->n : 400), r->text != NULL ? r->text : "");
	pthread_mutex_unlock(&r->lock);
	return ok;
}
static inline int receiver_connections(receiver *r) {
	int n;
	pthread_mutex_lock(&r->lock);
	n = r->connections;
	pthread_mutex_unlock(&r->lock);
	return n;
}

/* ---- numbered lines ---- */

#define LINE_N 60
static inline void line_make(char line[LINE_N + 1], int i) {
	snprintf(line, LINE_N + 1, "%08u %050u\n", (unsigned)i % 100000000, (unsigned)i % 100000000);
}

typedef struct counted {
	int torn, doubled, disorder; /* torn: not at the end of a connection */
	int seen;                    /* different ones */
} counted;

/* Lines of one connection; seen[i] counts. */
static inline void count_lines(const char *p, size_t n, unsigned char *seen, int most, counted *c) {
	const char *end = p + n;
	int last = -1;
	while (end - p >= LINE_N) {
		char want[LINE_N + 1];
		int i = atoi(p);
		line_make(want, i);
		if (i < 0 || i >= most || memcmp(p, want, LINE_N) != 0) {
			c->torn++;
			return;
		}
		c->disorder += i <= last;
		last = i;
		if (seen[i] == 0)
			c->seen++;
		else
			c->doubled++;
		if (seen[i] < 255) seen[i]++;
		p += LINE_N;
	}
}

static inline counted receiver_count(receiver *r, unsigned char *seen, int most) {
	counted c = { 0 };
	pthread_mutex_lock(&r->lock);
	for (int i = 0; i < r->connections; i++) {
		size_t from = r->begins[i], to = i + 1 < r->connections ? r->begins[i + 1] : r->n;
		count_lines(r->text + from, to - from, seen, most, &c);
	}
	pthread_mutex_unlock(&r->lock);
	return c;
}

static inline bool say_line(zbz_output *o, int i) {
	char line[LINE_N + 1];
	line_make(line, i);
	return say(o, line);
}

/* Until the writer has tried and failed so many times. */
static inline bool await_retries(zbz_output *o, uint64_t n) {
	for (int i = 0; i < PATIENCE && numbers(o).retries < n; i++)
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	return numbers(o).retries >= n;
}

#endif
