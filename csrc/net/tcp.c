/* TCP connections, and what every stream socket shares: reading, writing, waiting. */
#include "net/net.h"

#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

int64_t zbz_net_now(void) {
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int64_t later(int64_t now, int64_t ms) { return ms >= ZBZ_NEVER - now ? ZBZ_NEVER : now + ms; }

int64_t zbz_net_deadline(const zbz_call *c, int64_t timeout_ms) {
	int64_t left = zbz_call_left(c);
	if (timeout_ms > 0 && timeout_ms < left) left = timeout_ms;
	return left == INT64_MAX ? ZBZ_NEVER : later(zbz_net_now(), left);
}

/* Rounded up to a millisecond by the caller's arithmetic; never negative, never "for ever" by accident. */
static int poll_timeout(int64_t deadline) {
	int64_t left;
	if (deadline == ZBZ_NEVER) return -1;
	left = deadline - zbz_net_now();
	if (left < 0) return 0;
	return left > INT_MAX - 1 ? INT_MAX - 1 : (int)left;
}

/* ---- waiting ------------------------------------------------------------------------------------------------------- */

static zbz_status poll_until(struct pollfd *fds, nfds_t n, int64_t deadline, zbz_err *err) {
	for (;;) {
		int timeout = poll_timeout(deadline);
		int rc = poll(fds, n, timeout);
		if (rc > 0) return ZBZ_OK;
		if (rc == 0 && (timeout == 0 || zbz_net_now() >= deadline))
			return zbz_fail(err, ZBZ_E_TIMEOUT, "no answer in time");
		if (rc < 0 && errno != EINTR && errno != EAGAIN) return zbz_fail_errno(err, ZBZ_E_INTERNAL, errno, "poll");
	}
}

zbz_status zbz_net_wait(zbz_net *net, short events, int wake_fd, int64_t deadline, short *revents, zbz_err *err) {
	struct pollfd fds[2] = { { .fd = net->fd, .events = events }, { .fd = wake_fd, .events = POLLIN } };
	zbz_status s;
	if ((events & POLLIN) && net->buffered && net->buffered(net)) {
		if (revents) *revents = POLLIN;
		return ZBZ_OK;
	}
	s = poll_until(fds, wake_fd >= 0 ? 2 : 1, deadline, err);
	if (revents) *revents = fds[0].revents;
	if (s == ZBZ_OK && wake_fd >= 0 && fds[1].revents) return ZBZ_AGAIN;
	return s;
}

zbz_status zbz_net_read(zbz_net *net, void *p, size_t cap, size_t *n, int64_t deadline, zbz_err *err) {
	for (;;) {
		zbz_status s = net->read(net, p, cap, n, err);
		if (s != ZBZ_AGAIN) return s;
		s = zbz_net_wait(net, net->wants, -1, deadline, NULL, err);
		if (s != ZBZ_OK) return s;
	}
}

zbz_status zbz_net_write(zbz_net *net, const void *p, size_t len, int64_t deadline, zbz_err *err) {
	size_t done = 0;
	while (done < len) {
		size_t n = 0;
		zbz_status s = net->write(net, (const char *)p + done, len - done, &n, err);
		if (s == ZBZ_AGAIN) s = zbz_net_wait(net, net->wants, -1, deadline, NULL, err);
		if (s != ZBZ_OK) return s;
		done += n;
	}
	return ZBZ_OK;
}

bool zbz_net_quiet(zbz_net *net) {
	char byte;
	size_t n;
	return net->read(net, &byte, 1, &n, NULL) == ZBZ_AGAIN;
}

void zbz_net_close(zbz_net *net) {
	if (net) net->close(net);
}

void zbz_net_abandon(zbz_net *net) {
	if (net->fd >= 0) close(net->fd);
	net->fd = -1;
}

/* ---- a plain stream socket ------------------------------------------------------------------------------------------ */

static zbz_status socket_read(zbz_net *net, void *p, size_t cap, size_t *n, zbz_err *err) {
	ssize_t got;
	do got = recv(net->fd, p, cap, MSG_DONTWAIT);
	while (got < 0 && errno == EINTR);
	if (got > 0) {
		*n = (size_t)got;
		return ZBZ_OK;
	}
	if (got == 0) return zbz_fail(err, ZBZ_E_UNAVAILABLE, "the server closed the connection");
	net->wants = POLLIN;
	if (errno == EAGAIN || errno == EWOULDBLOCK) return ZBZ_AGAIN;
	return zbz_fail_errno(err, ZBZ_E_UNAVAILABLE, errno, "reading from the server");
}

static zbz_status socket_write(zbz_net *net, const void *p, size_t len, size_t *n, zbz_err *err) {
	ssize_t put;
	do put = send(net->fd, p, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (put < 0 && errno == EINTR);
	if (put >= 0) {
		*n = (size_t)put;
		return ZBZ_OK;
	}
	net->wants = POLLOUT;
	if (errno == EAGAIN || errno == EWOULDBLOCK) return ZBZ_AGAIN;
	return zbz_fail_errno(err, ZBZ_E_UNAVAILABLE, errno, "writing to the server");
}

static void socket_close(zbz_net *net) {
	if (net->fd >= 0) close(net->fd);
	zbz_free(net);
}

zbz_status zbz_net_from_fd(int fd, zbz_net **out, zbz_err *err) {
	zbz_net *net = zbz_calloc(1, sizeof *net);
	if (!net) {
		close(fd);
		return zbz_fail_nomem(err);
	}
	net->fd = fd;
	net->read = socket_read;
	net->write = socket_write;
	net->close = socket_close;
	*out = net;
	return ZBZ_OK;
}

zbz_status zbz_net_await_connect(int fd, int64_t deadline, const char *what, zbz_err *err) {
	struct pollfd pfd = { .fd = fd, .events = POLLOUT };
	int failure = 0;
	socklen_t size = sizeof failure;
	if (poll_until(&pfd, 1, deadline, err) != ZBZ_OK)
		return zbz_fail(err, ZBZ_E_TIMEOUT, "no connection to %s in time", what);
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &size) != 0) failure = errno;
	return failure ? zbz_fail_errno(err, ZBZ_E_UNAVAILABLE, failure, "connecting to %s", what) : ZBZ_OK;
}

/* ---- connecting ----------------------------------------------------------------------------------------------------- */

static void tune(int fd) {
	int on = 1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
#ifdef TCP_KEEPIDLE
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &(int){ 60 }, sizeof(int));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &(int){ 20 }, sizeof(int));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &(int){ 3 }, sizeof(int));
#endif
}

static zbz_status connect_one(const struct addrinfo *a, const char *what, int64_t deadline, int *out, zbz_err *err) {
	zbz_status s = ZBZ_OK;
	int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
	if (fd < 0) return zbz_fail_errno(err, ZBZ_E_UNAVAILABLE, errno, "opening a socket for %s", what);
	tune(fd);
	if (connect(fd, a->ai_addr, a->ai_addrlen) != 0) {
		if (errno == EINPROGRESS || errno == EINTR)
			s = zbz_net_await_connect(fd, deadline, what, err);
		else
			s = zbz_fail_errno(err, ZBZ_E_UNAVAILABLE, errno, "connecting to %s", what);
	}
	if (s != ZBZ_OK)
		close(fd);
	else
		*out = fd;
	return s;
}

zbz_status zbz_net_connect_tcp(const char *host, int port, int64_t deadline, zbz_net **out, zbz_err *err) {
	struct addrinfo *found, *a;
	char what[280];
	int fd = -1, left = 0;
	zbz_status s = zbz_net_resolve(host, port, SOCK_STREAM, deadline, &found, err);
	if (s != ZBZ_OK) return s;
	snprintf(what, sizeof what, strchr(host, ':') ? "[%.255s]:%d" : "%.255s:%d", host, port);
	for (a = found; a; a = a->ai_next) left++;
	s = zbz_fail(err, ZBZ_E_UNAVAILABLE, "%s has no address", what);
	for (a = found; a; a = a->ai_next, left--) {
		int64_t now = zbz_net_now(), until = deadline;
		if (deadline != ZBZ_NEVER && left > 1) until = now + (deadline > now ? (deadline - now) / left : 0);
		s = connect_one(a, what, until, &fd, err);
		if (s == ZBZ_OK) break;
	}
	freeaddrinfo(found);
	return s == ZBZ_OK ? zbz_net_from_fd(fd, out, err) : s;
}
