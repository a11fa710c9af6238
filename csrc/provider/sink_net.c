/* Links: opening, closing, forks, and the writes of streams and of datagrams. */
#include "sink_net.h"

#include "base/hash.h"
#include "core/registry.h"
#include "tls.h"

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

enum { HEAR_BYTES = 4096, HEAR_TIMES = 16, PART_BYTES = 1 << 22 };

#define FIRST_REST_NS 50000
#define MOST_REST_NS  20000000

/* ---- forks ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static zbz_link *links;

static void enter(void) { pthread_mutex_lock(&lock); }
static void leave(void) { pthread_mutex_unlock(&lock); }

/* A connection that a child holds on to would stay open when the parent closes it. */
static void in_child(void) {
	for (zbz_link *l = links; l != NULL; l = l->next)
		if (l->net != NULL) zbz_net_abandon(l->net);
	leave();
}

/* Before the streams' own handlers (log/stream.c), so that a fork takes this lock after theirs, as those who close a sink do. */
__attribute__((constructor(1000))) static void watch_forks(void) { pthread_atfork(enter, leave, in_child); }

static void set_net(zbz_link *l, zbz_net *net) {
	enter();
	l->net = net;
	leave();
}

static void hang_up(zbz_link *l) {
	zbz_net *net = l->net;
	set_net(l, NULL);
	zbz_net_close(net);
	l->begun = false;
	l->sent = 0;
	l->turn++;
}

/* ---- open and close ---- */

static bool local(zbz_link_kind kind) { return kind >= ZBZ_LINK_UNIX; }

static zbz_status take_path(zbz_link *l, const char *path, zbz_err *err) {
	const size_t most = sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1;
	if (path[0] != '/')
		return zbz_fail_option(err, "address", "expects the absolute path of a socket, got '%.80s'", path);
	if (strlen(path) > most)
		return zbz_fail_option(err, "address", "a path of a socket has at most %zu bytes, this one %zu", most,
		                       strlen(path));
	snprintf(l->name, sizeof l->name, "%s", path);
	l->path = zbz_strdup(path);
	return l->path != NULL ? ZBZ_OK : zbz_fail_nomem(err);
}

/* A certificate beside a connection that is not encrypted is a mistake nobody would see. */
static zbz_status take_no_tls(const zbz_link_options *o, zbz_err *err) {
	const char *name = o->tls_ca != NULL            ? "tls_ca"
	                   : o->tls_cert != NULL        ? "tls_cert"
	                   : o->tls_key != NULL         ? "tls_key"
	                   : o->tls_server_name != NULL ? "tls_server_name"
	                                                : NULL;
	return name == NULL ? ZBZ_OK : zbz_fail_option(err, name, "is of no use without tls = true");
}

static zbz_status take_tls(zbz_link *l, const zbz_link_options *o, zbz_err *err) {
	const zbz_net_tls_opts opts = { o->tls_ca, o->tls_cert, o->tls_key, o->tls_server_name, o->tls_verify };
	const void *table;
	zbz_status status;
	if (!o->tls) return take_no_tls(o, err);
	if (l->kind != ZBZ_LINK_TCP) return zbz_fail_option(err, "tls", "goes with TCP only");
	status = zbz_plugin_table("tls", "libssl3", "zbz_tls_plugin", &table, err);
	if (status != ZBZ_OK) {
		if (err != NULL) snprintf(err->option, sizeof err->option, "tls");
		return status;
	}
	l->maker = table;
	return l->maker->make(&opts, &l->tls, err);
}

zbz_status zbz_link_open(zbz_link *l, zbz_link_kind kind, const zbz_link_options *o, int default_port, zbz_err *err) {
	zbz_status status;
	if (o->address == NULL)
		return zbz_fail_option(err, "address", "is needed: %s", local(kind) ? "the path of a socket" : "host:port");
	l->kind = kind;
	l->timeout = o->timeout;
	if (local(kind)) {
		status = take_path(l, o->address, err);
	} else {
		status = zbz_net_address(o->address, default_port, "address", &l->host, &l->port, err);
		if (status == ZBZ_OK)
			snprintf(l->name, sizeof l->name, strchr(l->host, ':') != NULL ? "[%s]:%d" : "%s:%d", l->host, l->port);
	}
	if (status == ZBZ_OK) status = take_tls(l, o, err);
	enter();
	l->next = links;
	links = l;
	leave();
	if (status != ZBZ_OK) zbz_link_close(l);
	return status;
}

void zbz_link_close(zbz_link *l) {
	zbz_link **at = &links;
	enter();
	while (*at != NULL && *at != l) at = &(*at)->next;
	if (*at == l) *at = l->next;
	leave();
	zbz_net_close(l->net);
	l->net = NULL;
	if (l->tls != NULL) l->maker->drop(l->tls);
	l->tls = NULL;
	zbz_buf_clear(&l->out);
	zbz_free(l->host);
	zbz_free(l->path);
	l->host = l->path = NULL;
}

void zbz_link_sink_close(void *self) {
	zbz_link_close(self);
	zbz_free(self);
}

zbz_status zbz_link_sink_identity(void *self, zbz_buf *out, zbz_err *err) {
	const zbz_link *l = self;
	return zbz_buf_append(out, l->name, strlen(l->name), err);
}

/* ---- connecting ---- */

static zbz_status connect_local(zbz_link *l, int64_t deadline, zbz_net **net, zbz_err *err) {
	zbz_err why = { 0 };
	zbz_status status = ZBZ_OK;
	l->datagrams = l->kind == ZBZ_LINK_UNIX_DATAGRAM;
	if (!l->datagrams) {
		status = zbz_net_connect_unix(l->path, deadline, net, &why);
		l->datagrams = status != ZBZ_OK && why.sys_errno == EPROTOTYPE && l->kind == ZBZ_LINK_UNIX;
	}
	if (l->datagrams) status = zbz_net_connect_unix_datagram(l->path, net, &why);
	if (status != ZBZ_OK) *err = why;
	return status;
}

static zbz_status dial(zbz_link *l, int64_t deadline, zbz_err *err) {
	zbz_net *net = NULL;
	zbz_status status;
	if (local(l->kind)) {
		status = connect_local(l, deadline, &net, err);
	} else if (l->kind == ZBZ_LINK_UDP) {
		l->datagrams = true;
		status = zbz_net_connect_udp(l->host, l->port, l->turn, deadline, &net, err);
	} else {
		status = zbz_net_connect_tcp(l->host, l->port, deadline, &net, err);
		if (status == ZBZ_OK && l->tls != NULL) status = l->maker->start(l->tls, l->host, &net, deadline, err);
	}
	if (status == ZBZ_OK) set_net(l, net);
	return status;
}

/* ---- what comes back ---- */

/* Nobody answers a log; what a peer sends all the same is thrown away, or closing would reset the connection and take what is under way with it.
 * OK: it is there; else it has gone. */
static zbz_status hear(zbz_link *l, zbz_err *err) {
	char bytes[HEAR_BYTES];
	size_t n;
	for (int i = 0; i < HEAR_TIMES; i++) {
		zbz_status status = l->net->read(l->net, bytes, sizeof bytes, &n, err);
		if (status == ZBZ_AGAIN) return ZBZ_OK;
		if (status != ZBZ_OK) return status;
	}
	return ZBZ_OK;
}

/* Bytes that the other side has not acknowledged (TCP) or read (unix). */
static int untaken(const zbz_link *l) {
	int bytes;
	return ioctl(l->net->fd, SIOCOUTQ, &bytes) == 0 ? bytes : 0;
}

/* It ended in good order, after it had read all: else there would have been a reset. TLS does not tell the two apart. */
static bool read_to_end(const zbz_link *l, const zbz_err *err) { return l->tls == NULL && err->sys_errno == 0; }

/* No event tells that the last byte was taken, so this looks again and again, each time after a longer rest. A reset empties the queue, too: the queue is
 * looked at first, the connection after it. */
static zbz_status await_taken(zbz_link *l, int64_t deadline, zbz_err *err) {
	struct timespec rest = { .tv_nsec = FIRST_REST_NS };
	struct pollfd p = { .fd = l->net->fd, .events = POLLIN };
	for (;;) {
		bool all = untaken(l) == 0;
		zbz_status status = hear(l, err);
		if (status != ZBZ_OK && (all || untaken(l) == 0) && read_to_end(l, err)) return ZBZ_OK;
		if (status != ZBZ_OK || all) return status;
		if (zbz_net_now() >= deadline)
			return zbz_fail(err, ZBZ_E_TIMEOUT, "what was sent was not taken in time (%d bytes left)", untaken(l));
		ppoll(&p, 1, &rest, NULL);
		if (rest.tv_nsec < MOST_REST_NS) rest.tv_nsec *= 2;
	}
}

/* Closed without another try to deliver what will come again over the next connection. */
static void give_up(zbz_link *l) {
	const struct linger at_once = { .l_onoff = 1, .l_linger = 0 };
	setsockopt(l->net->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
	hang_up(l);
}

/* A peer that hangs still acknowledges probes; a host that has gone does not, and the kernel would wait a quarter of an hour for it. */
static bool silent(const zbz_link *l) {
	struct tcp_info info;
	socklen_t n = sizeof info;
	if (l->kind != ZBZ_LINK_TCP || getsockopt(l->net->fd, IPPROTO_TCP, TCP_INFO, &info, &n) != 0) return false;
	return (info.tcpi_retransmits > 0 || info.tcpi_probes > 1) && (int64_t)info.tcpi_last_ack_recv >= l->timeout;
}

/* ---- streams ---- */

static zbz_status push(zbz_link *l, zbz_bytes run, int64_t deadline, zbz_err *err) {
	while (l->sent < run.n) {
		size_t n = 0;
		short seen = 0;
		zbz_status status = l->net->write(l->net, run.p + l->sent, run.n - l->sent, &n, err);
		l->sent += n;
		if (status == ZBZ_OK) continue;
		if (status == ZBZ_AGAIN)
			status = zbz_net_wait(l->net, (short)(l->net->wants | POLLIN), -1, deadline, &seen, err);
		if (status == ZBZ_OK && (seen & ~POLLOUT) != 0) status = hear(l, err);
		if (status == ZBZ_E_TIMEOUT || (status == ZBZ_OK && zbz_net_now() >= deadline))
			return zbz_fail(err, ZBZ_E_TIMEOUT, "it took no more bytes: %zu of %zu sent in time", l->sent, run.n);
		if (status != ZBZ_OK) return status;
	}
	return await_taken(l, deadline, err);
}

/* What goes out as one: the texts as they are, or the messages of the first of them, which may be larger than those by far. *n comes out as how
 * many; from the same records the same. */
static zbz_status stream_run(zbz_link *l, const zbz_framing *framing, const zbz_record *records, size_t *n,
                             zbz_bytes *run, zbz_err *err) {
	zbz_status status = ZBZ_OK;
	size_t i = 0;
	*run = zbz_record_run(records, *n);
	if (!framing->streams) return ZBZ_OK;
	zbz_buf_reset(&l->out);
	for (; i < *n && l->out.n < PART_BYTES && status == ZBZ_OK; i++)
		status = framing->put(framing->ud, &records[i], true, &l->out, err);
	*run = zbz_buf_bytes(&l->out);
	*n = i;
	return status;
}

/* ---- datagrams ---- */

/* UDP to a port of this host where nobody listens is refused before send returns, but told by the next call only. */
static zbz_status refusal(const zbz_link *l, zbz_err *err) {
	int problem = 0;
	socklen_t n = sizeof problem;
	if (l->kind != ZBZ_LINK_UDP) return ZBZ_OK;
	if (getsockopt(l->net->fd, SOL_SOCKET, SO_ERROR, &problem, &n) != 0 || problem == 0) return ZBZ_OK;
	return zbz_fail_errno(err, ZBZ_E_UNAVAILABLE, problem, "sending");
}

/* An end of the receiver empties its queue as well; a path that still leads to somebody shows that there was none. */
static zbz_status still_there(const zbz_link *l, zbz_err *err) {
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	memcpy(to.sun_path, l->path, strlen(l->path));
	if (connect(l->net->fd, (const struct sockaddr *)&to, sizeof to) == 0) return ZBZ_OK;
	return zbz_fail_errno(err, ZBZ_E_UNAVAILABLE, errno, "the receiver has gone");
}

static zbz_status send_one(zbz_link *l, zbz_bytes message, int64_t deadline, zbz_err *err) {
	for (;;) {
		size_t n = 0;
		zbz_status status = l->net->write(l->net, message.p, message.n, &n, err);
		if (status == ZBZ_OK) return refusal(l, err);
		if (status == ZBZ_AGAIN) status = zbz_net_wait(l->net, POLLOUT, -1, deadline, NULL, err);
		if (status != ZBZ_OK) return status;
	}
}

static zbz_status send_all(zbz_link *l, const zbz_framing *framing, const zbz_record *records, size_t n,
                           int64_t deadline, zbz_err *err) {
	zbz_status status = ZBZ_OK;
	while (l->sent < n && status == ZBZ_OK) {
		zbz_buf_reset(&l->out);
		status = framing->put(framing->ud, &records[l->sent], false, &l->out, err);
		if (status == ZBZ_OK) status = send_one(l, zbz_buf_bytes(&l->out), deadline, err);
		l->sent += status == ZBZ_OK;
	}
	if (status != ZBZ_OK || l->kind == ZBZ_LINK_UDP) return status;
	status = await_taken(l, deadline, err);
	return status == ZBZ_OK ? still_there(l, err) : status;
}

/* ---- a write ---- */

/* All of it can be mended while the records wait: a certificate, a name, a route. */
static zbz_status put_off(const zbz_link *l, zbz_call *c, zbz_status status) {
	zbz_err why = c->err;
	if (strstr(why.text, l->name) == NULL) zbz_fail(&c->err, status, "%.80s: %.160s", l->name, why.text);
	c->err.sys_errno = why.sys_errno;
	memcpy(c->err.option, why.option, sizeof why.option);
	c->err.retryable = true;
	return status;
}

/* Tells whether the same records come again: texts may repeat, times do not. */
static uint64_t mark_of(const zbz_record *records, size_t n) {
	const int64_t facts[] = { records[0].head.at, records[n - 1].head.at, (int64_t)n };
	return zbz_hash(zbz_record_run(records, n)) ^ zbz_hash(zbz_b(facts, sizeof facts));
}

/* A connection that is open and goes on with this very write, or is between two. A refusal of UDP that has come meanwhile means that
 * datagrams are lost: a rest is better than to lose more. */
static zbz_status get_ready(zbz_link *l, const zbz_record *records, size_t n, int64_t deadline, zbz_err *err) {
	zbz_status heard;
	if (l->begun && l->mark != mark_of(records, n)) hang_up(l); /* other records: on a line of their own */
	heard = l->net != NULL ? hear(l, err) : ZBZ_OK;
	if (heard != ZBZ_OK) hang_up(l);
	if (l->kind == ZBZ_LINK_UDP && heard != ZBZ_OK) return heard;
	return l->net != NULL ? ZBZ_OK : dial(l, deadline, err);
}

static zbz_status write_datagrams(zbz_link *l, zbz_call *c, const zbz_framing *framing, const zbz_record *records,
                                  size_t n, int64_t deadline, size_t *done) {
	zbz_status status = send_all(l, framing, records, n, deadline, &c->err);
	if (status == ZBZ_OK || l->kind == ZBZ_LINK_UDP) *done = l->sent;
	return status;
}

static zbz_status write_stream(zbz_link *l, zbz_call *c, const zbz_framing *framing, const zbz_record *records,
                               size_t n, int64_t deadline, size_t *done) {
	zbz_status status = ZBZ_OK;
	while (*done < n && status == ZBZ_OK) {
		size_t part = n - *done;
		zbz_bytes run;
		status = stream_run(l, framing, records + *done, &part, &run, &c->err);
		if (status == ZBZ_OK) status = push(l, run, deadline, &c->err);
		if (status != ZBZ_OK) break;
		*done += part;
		l->sent = 0;
	}
	return status;
}

static zbz_status too_large(zbz_link *l, zbz_call *c, size_t *done) {
	*done = l->sent;
	l->sent = 0;
	l->begun = false;
	return zbz_fail(&c->err, ZBZ_E_TOO_LARGE, "%.80s takes no datagram of %zu bytes", l->name, l->out.n);
}

zbz_status zbz_link_write(zbz_link *l, zbz_call *c, const zbz_framing *framing, const zbz_record *records, size_t n,
                          size_t *done) {
	int64_t deadline = zbz_net_deadline(c, l->timeout);
	zbz_status status = get_ready(l, records, n, deadline, &c->err);
	*done = 0;
	if (status != ZBZ_OK) return put_off(l, c, status);
	status = (l->datagrams ? write_datagrams : write_stream)(l, c, framing, records, n, deadline, done);
	if (status != ZBZ_OK && l->datagrams && c->err.sys_errno == EMSGSIZE) return too_large(l, c, done);
	if (status != ZBZ_OK && (status != ZBZ_E_TIMEOUT || l->kind == ZBZ_LINK_UDP || silent(l))) {
		give_up(l);
		return put_off(l, c, status);
	}
	l->begun = status != ZBZ_OK;
	if (!l->begun) {
		l->sent = 0;
		return ZBZ_OK;
	}
	l->mark = mark_of(records + *done, n - *done);
	return put_off(l, c, status);
}
