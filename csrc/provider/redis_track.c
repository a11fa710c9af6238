/* Which keys change, told by the server itself (CLIENT TRACKING, Redis 6 and later) in its broadcasting mode, so that
 * nothing is remembered there about who read what, and writes of this process are told like all others.
 *
 * RESP2 has no pushes but those of subscriptions, hence the messages are redirected: to this very connection. Losing it
 * ends both at once, where two connections could lose one another without a word. */
#include "provider/redis_listen.h"

typedef struct tracking {
	redis_listener listener;
	zbz_buf prefix;
	void (*on_change)(void *ud, zbz_bytes key, bool lost);
	void *ud;
	int64_t id; /* of the connection; 0 until the server has told it */
	bool message, granted, stands;
} tracking;

/* Before it stands, replies come one after another: the id, the status of CLIENT TRACKING, the subscription. */
static zbz_status reply_item(tracking *t, const zbz_resp_item *item, zbz_err *err) {
	switch (item->type) {
	case ZBZ_RESP_ERROR: return redis_reply_error(item->bytes, err);
	case ZBZ_RESP_INTEGER:
		if (!t->granted) t->id = item->integer;
		return ZBZ_OK;
	case ZBZ_RESP_STATUS: t->granted = true; return ZBZ_OK;
	default: return ZBZ_OK;
	}
}

/* ["subscribe", channel, 1], ["message", channel, nil or [key, ...]], ["pong", ""] */
static zbz_status push_item(void *ud, const zbz_resp_item *item, zbz_err *err) {
	tracking *t = ud;
	if (item->depth == 0) {
		t->message = false;
		return reply_item(t, item, err);
	}
	if (item->depth == 1 && item->index == 0) {
		t->message = item->type == ZBZ_RESP_BULK && zbz_bytes_eq(item->bytes, zbz_bstr("message"));
		t->stands |= item->type == ZBZ_RESP_BULK && zbz_bytes_eq(item->bytes, zbz_bstr("subscribe"));
		return ZBZ_OK;
	}
	if (!t->message) return ZBZ_OK;
	if (item->depth == 1 && item->index == 2 && item->type == ZBZ_RESP_NIL) /* FLUSHALL, FLUSHDB */
		t->on_change(t->ud, zbz_b(NULL, 0), false);
	else if (item->depth == 2 && item->type == ZBZ_RESP_BULK)
		t->on_change(t->ud, item->bytes.n ? item->bytes : zbz_b("", 0), false);
	return ZBZ_OK;
}

static zbz_status send_out(redis_listener *l, int64_t deadline, zbz_err *err) {
	zbz_status s = zbz_net_write(l->conn->net, l->conn->out.p, l->conn->out.n, deadline, err);
	zbz_buf_reset(&l->conn->out);
	return s;
}

/* What the server answers to words it does not know, or knows and keeps to itself. */
static zbz_status refused(zbz_status s, zbz_err *err) {
	bool said = s == ZBZ_E_UNAVAILABLE && !err->retryable;
	if (!said && s != ZBZ_E_ARGUMENT) return s;
	return zbz_fail(err, ZBZ_E_UNSUPPORTED, "the server does not tell of changes (CLIENT TRACKING, Redis 6 or later)");
}

static zbz_status ask(redis_listener *l, int64_t deadline, zbz_err *err) {
	tracking *t = (tracking *)l;
	zbz_bytes prefix = zbz_buf_bytes(&t->prefix);
	zbz_buf *out = &l->conn->out;
	zbz_status s = zbz_resp_command(out, err, "CLIENT ID");
	t->id = 0;
	t->message = t->granted = t->stands = false;
	if (s == ZBZ_OK) s = send_out(l, deadline, err);
	while (s == ZBZ_OK && t->id == 0) s = redis_listener_read(l, deadline, err);
	if (s == ZBZ_OK && prefix.n)
		s = zbz_resp_command(out, err, "CLIENT TRACKING on REDIRECT %l BCAST PREFIX %b", t->id, prefix);
	else if (s == ZBZ_OK)
		s = zbz_resp_command(out, err, "CLIENT TRACKING on REDIRECT %l BCAST", t->id);
	if (s == ZBZ_OK) s = zbz_resp_command(out, err, "SUBSCRIBE __redis__:invalidate");
	if (s == ZBZ_OK) s = send_out(l, deadline, err);
	while (s == ZBZ_OK && !(t->granted && t->stands)) s = redis_listener_read(l, deadline, err);
	return refused(s, err);
}

static void lost(redis_listener *l) {
	tracking *t = (tracking *)l;
	t->on_change(t->ud, zbz_b(NULL, 0), true);
}

static void back(redis_listener *l) {
	tracking *t = (tracking *)l;
	t->on_change(t->ud, zbz_b(NULL, 0), false);
}

static void tracking_free(redis_listener *l) {
	tracking *t = (tracking *)l;
	zbz_buf_clear(&t->prefix);
	zbz_free(t);
}

zbz_status redis_track(void *ud, zbz_call *c, zbz_bytes prefix, void (*on_change)(void *ud, zbz_bytes key, bool lost),
                       void *change_ud, void **out) {
	static const redis_listening how = {
		.ask = ask, .item = push_item, .lost = lost, .back = back, .free = tracking_free
	};
	tracking *t = zbz_calloc(1, sizeof *t);
	zbz_status s;
	if (!t) return zbz_fail_nomem(&c->err);
	t->on_change = on_change;
	t->ud = change_ud;
	s = zbz_buf_append(&t->prefix, prefix.p, prefix.n, &c->err);
	if (s != ZBZ_OK) {
		tracking_free(&t->listener);
		return s;
	}
	s = redis_listener_start(&t->listener, ud, &how, c);
	if (s == ZBZ_OK) *out = t;
	return s;
}

void redis_untrack(void *ud, void *tracking_) {
	(void)ud;
	if (tracking_) redis_listener_stop(tracking_);
}
