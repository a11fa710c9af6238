/* One connection to a Redis server: opening it, and one exchange of commands and replies. */
#include "provider/redis_impl.h"

#include <openssl/crypto.h>

#define MAX_REPLY (REDIS_MAX_BULK + ((size_t)1 << 20)) /* unfinished bytes held by the parser */

/* ---- what error replies mean ---------------------------------------------------------------------------------------- */

static const struct {
	const char *word; /* the reply's first word, or text found in it when `inside` */
	zbz_status status;
	bool retryable, inside;
} meanings[] = {
	{ "WRONGTYPE", ZBZ_E_TYPE, false, false },
	{ "NOAUTH", ZBZ_E_DENIED, false, false },
	{ "NOPERM", ZBZ_E_DENIED, false, false },
	{ "WRONGPASS", ZBZ_E_DENIED, false, false },
	{ "DENIED", ZBZ_E_DENIED, false, false }, /* protected mode */
	{ "OOM", ZBZ_E_UNAVAILABLE, true, false },
	{ "READONLY", ZBZ_E_UNAVAILABLE, true, false },
	{ "LOADING", ZBZ_E_UNAVAILABLE, true, false },
	{ "MASTERDOWN", ZBZ_E_UNAVAILABLE, true, false },
	{ "BUSY", ZBZ_E_UNAVAILABLE, true, false },
	{ "TRYAGAIN", ZBZ_E_UNAVAILABLE, true, false },
	{ "CLUSTERDOWN", ZBZ_E_UNAVAILABLE, true, false },
	{ "NOREPLICAS", ZBZ_E_UNAVAILABLE, true, false },
	{ "MISCONF", ZBZ_E_UNAVAILABLE, false, false },
	{ "NOPROTO", ZBZ_E_UNSUPPORTED, false, false },
	{ "max number of clients", ZBZ_E_UNAVAILABLE, true, true },
	{ "not an integer", ZBZ_E_TYPE, false, true },
	{ "would overflow", ZBZ_E_ARGUMENT, false, true },
	{ "unknown command", ZBZ_E_UNSUPPORTED, false, true },
	{ "string exceeds maximum", ZBZ_E_TOO_LARGE, false, true },
	{ "invalid bulk length", ZBZ_E_TOO_LARGE, false, true },
};

static bool contains(zbz_bytes text, const char *word) { return memmem(text.p, text.n, word, strlen(word)) != NULL; }

static bool first_word_is(zbz_bytes text, const char *word) {
	size_t n = strlen(word);
	return text.n >= n && memcmp(text.p, word, n) == 0 && (text.n == n || text.p[n] == ' ');
}

zbz_status redis_reply_error(zbz_bytes text, zbz_err *err) {
	int shown = text.n > 200 ? 200 : (int)text.n;
	zbz_status s = ZBZ_E_UNAVAILABLE;
	bool retryable = false;
	size_t i;
	for (i = 0; i < sizeof meanings / sizeof *meanings; i++) {
		if (meanings[i].inside ? !contains(text, meanings[i].word) : !first_word_is(text, meanings[i].word)) continue;
		s = meanings[i].status;
		retryable = meanings[i].retryable;
		break;
	}
	zbz_fail(err, s, "the server says: %.*s", shown, text.p);
	if (err) err->retryable = retryable;
	return s;
}

/* ---- simple answers ------------------------------------------------------------------------------------------------- */

static zbz_status keep_bytes(redis_answers *all, redis_answer *a, zbz_bytes bytes, zbz_err *err) {
	if (!all->out) return ZBZ_OK;
	a->off = all->out->n;
	a->n = bytes.n;
	return zbz_buf_append(all->out, bytes.p, bytes.n, err);
}

static bool expected(char letter, zbz_resp_type type) {
	switch (type) {
	case ZBZ_RESP_ERROR: return true;
	case ZBZ_RESP_INTEGER: return letter == 'i' || letter == 'n';
	case ZBZ_RESP_BULK: return letter == 'b';
	case ZBZ_RESP_STATUS: return letter == 's';
	case ZBZ_RESP_NIL: return letter != 'i';
	default: return false;
	}
}

zbz_status redis_answers_item(void *ud, const zbz_resp_item *item, zbz_err *err) {
	redis_answers *all = ud;
	redis_answer *a = &all->list[all->seen];
	if (!expected(all->expect[all->seen++], item->type))
		return zbz_fail(err, ZBZ_E_UNAVAILABLE, "the server's reply does not fit the command");
	a->type = item->type;
	a->integer = item->integer;
	if (item->type == ZBZ_RESP_ERROR) {
		a->noscript = first_word_is(item->bytes, "NOSCRIPT");
		a->status = redis_reply_error(item->bytes, err);
		return ZBZ_OK;
	}
	a->status = ZBZ_OK;
	a->noscript = false;
	return item->type == ZBZ_RESP_BULK || item->type == ZBZ_RESP_STATUS ? keep_bytes(all, a, item->bytes, err) : ZBZ_OK;
}

/* ---- an exchange ---------------------------------------------------------------------------------------------------- */

static int64_t sooner(int64_t deadline, int64_t timeout_ms) {
	int64_t limit = timeout_ms > 0 ? zbz_net_now() + timeout_ms : ZBZ_NEVER;
	return limit < deadline ? limit : deadline;
}

zbz_status redis_conn_take(redis_conn *conn, size_t want, size_t *got, zbz_resp_fn fn, void *ud, zbz_err *err) {
	size_t n = 0;
	zbz_status s = conn->net->read(conn->net, conn->in, sizeof conn->in, &n, err);
	if (s != ZBZ_OK) return s;
	s = zbz_resp_feed(conn->resp, conn->in, n, err);
	while (s == ZBZ_OK && *got < want) {
		s = zbz_resp_next(conn->resp, fn, ud, err);
		if (s == ZBZ_AGAIN) return ZBZ_OK;
		if (s == ZBZ_OK) ++*got;
	}
	return s;
}

/* A server that does not read on may itself be waiting for us to read: so both ways are served while writing. */
static zbz_status send_all(redis_conn *conn, int64_t deadline, size_t want, size_t *got, zbz_resp_fn fn, void *ud,
                           zbz_err *err) {
	size_t sent = 0;
	while (sent < conn->out.n) {
		size_t n = 0;
		short seen = 0;
		zbz_status s = conn->net->write(conn->net, conn->out.p + sent, conn->out.n - sent, &n, err);
		if (s < 0) return s;
		if (s == ZBZ_OK) {
			conn->touched = true;
			sent += n;
			continue;
		}
		s = zbz_net_wait(conn->net, (short)(conn->net->wants | POLLIN), -1, deadline, &seen, err);
		if (s == ZBZ_OK && (seen & ~POLLOUT)) s = redis_conn_take(conn, want, got, fn, ud, err);
		if (s == ZBZ_E_TIMEOUT)
			return zbz_fail(err, s, "the server took no more bytes: %zu of %zu sent in time", sent, conn->out.n);
		if (s < 0) return s;
		if (*got == want) return zbz_fail(err, ZBZ_E_UNAVAILABLE, "the server answered before it was asked");
	}
	return ZBZ_OK;
}

static zbz_status receive(redis_conn *conn, int64_t deadline, size_t want, size_t *got, zbz_resp_fn fn, void *ud,
                          zbz_err *err) {
	bool wait = true;
	while (*got < want) {
		zbz_status s = ZBZ_OK;
		if (wait) s = zbz_net_wait(conn->net, POLLIN, -1, deadline, NULL, err);
		if (s == ZBZ_E_TIMEOUT)
			return zbz_fail(err, s, "the server did not answer in time (%zu of %zu replies)", *got, want);
		if (s == ZBZ_OK) s = redis_conn_take(conn, want, got, fn, ud, err);
		if (s < 0) return s;
		wait = s == ZBZ_AGAIN;
		if (!wait && zbz_net_now() >= deadline && *got < want)
			return zbz_fail(err, ZBZ_E_TIMEOUT, "the server did not answer in time (%zu of %zu replies)", *got, want);
	}
	if (zbz_resp_held(conn->resp)) conn->broken = true;
	return ZBZ_OK;
}

zbz_status redis_exchange(redis_conn *conn, const redis_options *opt, int64_t deadline, size_t replies, zbz_resp_fn fn,
                          void *ud, zbz_err *err) {
	size_t got = 0;
	zbz_status s = send_all(conn, sooner(deadline, opt->write_timeout), replies, &got, fn, ud, err);
	if (s == ZBZ_OK) s = receive(conn, sooner(deadline, opt->read_timeout), replies, &got, fn, ud, err);
	if (s != ZBZ_OK) conn->broken = true;
	zbz_buf_reset(&conn->out);
	return s;
}

/* ---- opening -------------------------------------------------------------------------------------------------------- */

/* Old servers repeat the words of a command they refuse, so no text of an AUTH's reply may be shown. */
static zbz_status check_auth(const redis_answer *a, const redis_target *t, zbz_err *err) {
	bool retryable = err->retryable;
	if (a->status == ZBZ_OK) return ZBZ_OK;
	if (a->status == ZBZ_E_UNAVAILABLE && retryable) return a->status;
	return zbz_fail(err, ZBZ_E_DENIED, "the server refused the %s", t->username ? "user name or password" : "password");
}

static zbz_status hello(redis_conn *conn, const redis_target *t, int64_t deadline, zbz_err *err) {
	redis_answer a[2] = { { 0 } };
	redis_answers all = { .list = a, .expect = "ss" };
	size_t n;
	zbz_status s = ZBZ_OK;
	bool auth = t->password || t->username;
	if (auth && t->username)
		s = zbz_resp_command(&conn->out, err, "AUTH %b %b", zbz_bstr(t->username),
		                     zbz_bstr(t->password ? t->password : ""));
	else if (auth)
		s = zbz_resp_command(&conn->out, err, "AUTH %b", zbz_bstr(t->password));
	n = auth;
	if (s == ZBZ_OK && t->database) {
		s = zbz_resp_command(&conn->out, err, "SELECT %l", t->database);
		n++;
	}
	if (s != ZBZ_OK || n == 0) return s;
	{
		redis_options limits = *t->opt;
		limits.write_timeout = limits.read_timeout = 0;
		s = redis_exchange(conn, &limits, deadline, n, redis_answers_item, &all, err);
		if (conn->out.p) OPENSSL_cleanse(conn->out.p, conn->out.cap);
	}
	if (s == ZBZ_OK && auth) s = check_auth(&a[0], t, err);
	if (s == ZBZ_OK && t->database && a[auth].status != ZBZ_OK) {
		s = a[auth].status;
		if (s == ZBZ_E_UNAVAILABLE && !err->retryable)
			s = zbz_fail_option(err, "database", "the server has no database %lld", (long long)t->database);
	}
	return s;
}

static zbz_status dial(const redis_target *t, int64_t deadline, zbz_net **net, zbz_err *err) {
	zbz_status s;
	if (t->path) return zbz_net_connect_unix(t->path, deadline, net, err);
	s = zbz_net_connect_tcp(t->host, t->port, deadline, net, err);
	return s == ZBZ_OK && t->tls ? zbz_net_tls_start(t->tls, t->host, net, deadline, err) : s;
}

zbz_status redis_conn_open(const redis_target *t, int64_t deadline, redis_conn **out, zbz_err *err) {
	redis_conn *conn = zbz_malloc(sizeof *conn);
	zbz_err local = { 0 };
	zbz_status s;
	if (!err) err = &local;
	if (!conn) return zbz_fail_nomem(err);
	memset(conn, 0, offsetof(redis_conn, in));
	conn->resp = zbz_resp_new(MAX_REPLY);
	s = conn->resp ? ZBZ_OK : zbz_fail_nomem(err);
	if (s == ZBZ_OK) s = dial(t, deadline, &conn->net, err);
	if (s == ZBZ_OK) s = hello(conn, t, deadline, err);
	if (s != ZBZ_OK) {
		redis_conn_close(conn);
		return s;
	}
	conn->born = zbz_net_now();
	conn->touched = false;
	*out = conn;
	return ZBZ_OK;
}

void redis_conn_close(redis_conn *conn) {
	if (!conn) return;
	zbz_net_close(conn->net);
	zbz_resp_free(conn->resp);
	zbz_buf_clear(&conn->out);
	zbz_free(conn);
}
