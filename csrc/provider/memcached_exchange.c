/* Requests are written while replies are read: a server that is not read from stops reading, and two that wait for each other wait for
 * ever. Replies come in the order of the requests, one each, so that an error line can be told whose it is; the protocol's
 * quiet mode would save a few bytes and lose that. */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <time.h>

#include "memcached_impl.h"

#define READ_CHUNK 16384
#define POLL_MAX   ZBZ_MC_MAX_SERVERS

static zbz_status lane_start(zbz_mc *mc, zbz_call *c, zbz_mc_lane *l) {
	l->sent = l->got = l->parsed = 0;
	return zbz_mc_conn_take(mc, l->server, zbz_net_deadline(c, mc->o->timeout), l->fresh, &l->conn, &l->err);
}

static bool lane_done(const zbz_mc_lane *l) { return l->got == l->expect && l->sent == l->out.n; }

static zbz_status lane_write(zbz_mc_lane *l, bool *moved) {
	while (l->sent < l->out.n) {
		size_t n = 0;
		zbz_status s = l->conn->net->write(l->conn->net, l->out.p + l->sent, l->out.n - l->sent, &n, &l->err);
		if (s != ZBZ_OK) return s;
		l->sent += n;
		*moved = true;
	}
	return ZBZ_OK;
}

static zbz_status lane_parse(zbz_mc_lane *l) {
	zbz_buf *in = &l->conn->in;
	while (l->got < l->expect) {
		zbz_meta_reply r;
		size_t used;
		zbz_status s = zbz_meta_parse(zbz_b(in->p + l->parsed, in->n - l->parsed), &r, &used, &l->err);
		if (s != ZBZ_OK) return s;
		l->parsed += used;
		s = l->reply(l, l->got, &r, &l->err);
		if (s < 0) return s;
		if (s == ZBZ_OK) l->got++;
	}
	if (l->parsed < in->n) return zbz_fail(&l->err, ZBZ_E_UNAVAILABLE, "the server sends more than was asked for");
	return ZBZ_OK;
}

/* A long reply grows the buffer as it comes, doubling: its length is only the server's word. */
static zbz_status lane_read(zbz_mc_lane *l, bool *moved) {
	zbz_buf *in = &l->conn->in;
	while (l->got < l->expect) {
		size_t n = 0;
		if (l->parsed > 0 && l->parsed >= in->n / 2) {
			memmove(in->p, in->p + l->parsed, in->n - l->parsed);
			in->n -= l->parsed;
			l->parsed = 0;
		}
		zbz_status s = zbz_buf_reserve(in, READ_CHUNK, &l->err);
		if (s == ZBZ_OK) s = l->conn->net->read(l->conn->net, in->p + in->n, in->cap - in->n, &n, &l->err);
		if (s != ZBZ_OK) return s;
		in->n += n;
		*moved = true;
		s = lane_parse(l);
		if (s < 0) return s;
	}
	return ZBZ_OK;
}

static void lane_end(zbz_mc *mc, zbz_mc_lane *l, zbz_status s) {
	if (l->conn != NULL) zbz_mc_conn_give(mc, l->server, l->conn, s == ZBZ_OK && !l->fresh);
	l->conn = NULL;
	l->status = s;
	if (s >= 0) return;
	/* Say which server it was. */
	char text[sizeof l->err.text];
	snprintf(text, sizeof text, "%s", l->err.text);
	int e = l->err.sys_errno;
	zbz_fail(&l->err, s, strstr(text, mc->servers[l->server].name) != NULL ? "%.0s%s" : "%s: %s",
	         mc->servers[l->server].name, text);
	l->err.sys_errno = e;
}

/* OK when it is finished, AGAIN to wait. Just begun, there is nothing to be read yet. */
static zbz_status lane_move(zbz_mc *mc, zbz_mc_lane *l, bool begun) {
	bool moved = false;
	zbz_status w = lane_write(l, &moved), r = w < 0 ? w : begun ? ZBZ_AGAIN : lane_read(l, &moved);
	if (moved) l->patience = zbz_net_now() + mc->o->timeout;
	if (r < 0) return r;
	return lane_done(l) ? ZBZ_OK : ZBZ_AGAIN;
}

static int wait_ms(int64_t until) {
	int64_t left = until - zbz_net_now();
	return until == ZBZ_NEVER ? -1 : left < 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left;
}

/* Waits until one of the lanes under way can move. */
static void lanes_wait(zbz_mc_lane **active, size_t n, int64_t deadline) {
	struct pollfd fds[POLL_MAX];
	int64_t until = deadline;
	size_t k = n < POLL_MAX ? n : POLL_MAX;
	for (size_t i = 0; i < k; i++) {
		fds[i] = (struct pollfd){ .fd = active[i]->conn->net->fd, .events = POLLIN };
		if (active[i]->sent < active[i]->out.n) fds[i].events |= POLLOUT;
		if (active[i]->patience < until) until = active[i]->patience;
	}
	poll(fds, (nfds_t)k, wait_ms(until));
}

static void lanes_pump(zbz_mc *mc, zbz_mc_lane **active, size_t n, int64_t deadline) {
	for (bool first = true; n > 0; first = false) {
		if (!first) lanes_wait(active, n, deadline);
		int64_t now = zbz_net_now();
		for (size_t i = 0; i < n;) {
			zbz_mc_lane *l = active[i];
			zbz_status s = lane_move(mc, l, first);
			if (s == ZBZ_AGAIN && now >= (l->patience < deadline ? l->patience : deadline))
				s = zbz_fail(&l->err, ZBZ_E_TIMEOUT, "no answer from the server in time");
			if (s == ZBZ_AGAIN) {
				i++;
				continue;
			}
			lane_end(mc, l, s);
			active[i] = active[--n];
		}
	}
}

/* One attempt at every lane whose status is AGAIN. `active` has room for n. */
static void lanes_try(zbz_mc *mc, zbz_call *c, zbz_mc_lane *lanes, size_t n, zbz_mc_lane **active) {
	size_t k = 0;
	for (size_t i = 0; i < n; i++) {
		if (lanes[i].status != ZBZ_AGAIN) continue;
		zbz_status s = lane_start(mc, c, &lanes[i]);
		if (s != ZBZ_OK)
			lane_end(mc, &lanes[i], s);
		else
			active[k++] = &lanes[i];
	}
	for (size_t i = 0; i < k; i++) active[i]->patience = zbz_net_now() + mc->o->timeout;
	lanes_pump(mc, active, k, zbz_net_deadline(c, 0));
}

bool zbz_mc_pause(zbz_call *c, int attempt) {
	int64_t ms = (int64_t)5 << (attempt < 6 ? attempt : 6), left = zbz_call_left(c);
	if (left == 0) return false;
	if (ms > left) ms = left;
	struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };
	nanosleep(&t, NULL);
	return true;
}

zbz_status zbz_mc_exchange(zbz_mc *mc, zbz_call *c, zbz_mc_lane *lanes, size_t n, bool again) {
	zbz_mc_lane *few[8], **active = n <= 8 ? few : zbz_calloc(n, sizeof *active);
	zbz_status s = ZBZ_OK;
	if (active == NULL) return zbz_fail_nomem(&c->err);
	for (size_t i = 0; i < n; i++) lanes[i].status = lanes[i].expect > 0 ? ZBZ_AGAIN : ZBZ_OK;
	for (int attempt = 0;; attempt++) {
		bool more = false;
		lanes_try(mc, c, lanes, n, active);
		if (!again || attempt >= mc->o->max_retries) break;
		for (size_t i = 0; i < n; i++) more = more || lanes[i].status == ZBZ_E_UNAVAILABLE;
		if (!more || !zbz_mc_pause(c, attempt)) break;
		for (size_t i = 0; i < n; i++) {
			if (lanes[i].status != ZBZ_E_UNAVAILABLE) continue;
			lanes[i].status = ZBZ_AGAIN;
			atomic_fetch_add(&mc->retries, 1);
		}
	}
	for (size_t i = 0; i < n; i++) {
		if (lanes[i].status >= 0) continue;
		s = lanes[i].status;
		c->err = lanes[i].err;
	}
	if (active != few) zbz_free(active);
	return s;
}
