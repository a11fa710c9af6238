/* One connection to Loki, over libcurl's easy interface: HTTP/1.1 with keep-alive, TLS, no redirects (credentials would go with them), no proxy of
 * the environment. Every wait is curl's own and ends by the call's deadline. */
#include "sink_loki.h"

#include "base/fork.h"

#include <curl/curl.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include <zbz/zbz.h>

enum { SOCKETS = 8, BODY_MOST = 1 << 16 }; /* SOCKETS: curl tries an address or two at a time */

struct zbz_loki_http {
	CURL *easy;
	struct curl_slist *headers, *connect_to;
	unsigned generation; /* of forks, when it was made */
	int fds[SOCKETS];    /* open ones, -1 */
	zbz_loki_answer *answer;
	size_t body; /* bytes of the answer's body so far */
	char error[CURL_ERROR_SIZE];
};

/* ---- once a process ---- */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static CURLcode ready;

/* A writer may still be inside TLS when the process exits: OpenSSL is not to take its state away under it. curl_global_init is safe beside that of
 * others from curl 7.84 on; ours runs in the thread that opens the output. */
static void prepare(void) {
	OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, NULL);
	ready = curl_global_init(CURL_GLOBAL_DEFAULT);
}

zbz_status zbz_loki_http_init(zbz_err *err) {
	pthread_once(&once, prepare);
	if (ready == CURLE_OK) return ZBZ_OK;
	return zbz_fail(err, ZBZ_E_UNAVAILABLE, "libcurl does not start: %s", curl_easy_strerror(ready));
}

/* ---- what curl calls ---- */

static curl_socket_t on_open(void *ud, curlsocktype purpose, struct curl_sockaddr *a) {
	zbz_loki_http *h = ud;
	int fd = socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol), i = 0;
	if (fd < 0) return CURL_SOCKET_BAD;
	while (i < SOCKETS && h->fds[i] >= 0) i++;
	if (i == SOCKETS) {
		close(fd);
		return CURL_SOCKET_BAD;
	}
	return h->fds[i] = fd;
}

static int on_close(void *ud, curl_socket_t fd) {
	zbz_loki_http *h = ud;
	for (int i = 0; i < SOCKETS; i++)
		if (h->fds[i] == fd) h->fds[i] = -1;
	return close(fd);
}

static size_t on_body(char *p, size_t size, size_t n, void *ud) {
	zbz_loki_http *h = ud;
	zbz_loki_answer *a = h->answer;
	size_t room = ZBZ_LOKI_ANSWER - a->n;
	n *= size;
	h->body += n;
	memcpy(a->text + a->n, p, n < room ? n : room);
	a->n += n < room ? n : room;
	a->text[a->n] = '\0';
	return h->body <= BODY_MOST ? n : 0; /* 0 ends the transfer; its status is known by then */
}

/* ---- making ---- */

static bool add_header(zbz_loki_http *h, const char *name, const char *value) {
	zbz_buf line = { 0 };
	struct curl_slist *list = NULL;
	if (zbz_buf_printf(&line, NULL, "%s: %s", name, value) == ZBZ_OK && zbz_buf_putc(&line, '\0', NULL) == ZBZ_OK)
		list = curl_slist_append(h->headers, line.p);
	if (list != NULL) h->headers = list;
	zbz_buf_clear(&line);
	return list != NULL;
}

#define SET(option, value) (ok = ok && curl_easy_setopt(h->easy, option, value) == CURLE_OK)

static bool set_plain(zbz_loki_http *h, const zbz_loki_target *t) {
	bool ok = true;
	SET(CURLOPT_URL, t->url);
	SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	SET(CURLOPT_POST, 1L);
	SET(CURLOPT_HTTPHEADER, h->headers);
	SET(CURLOPT_USERAGENT, "zbz/" ZBZ_VERSION);
	SET(CURLOPT_FOLLOWLOCATION, 0L);
	SET(CURLOPT_PROTOCOLS_STR, "http,https");
	SET(CURLOPT_PROXY, "");
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_QUICK_EXIT, 1L); /* a resolver that hangs is not waited for */
	SET(CURLOPT_MAXCONNECTS, 1L);
	SET(CURLOPT_TCP_KEEPALIVE, 1L);
	SET(CURLOPT_ERRORBUFFER, h->error);
	SET(CURLOPT_OPENSOCKETFUNCTION, on_open);
	SET(CURLOPT_OPENSOCKETDATA, h);
	SET(CURLOPT_CLOSESOCKETFUNCTION, on_close);
	SET(CURLOPT_CLOSESOCKETDATA, h);
	SET(CURLOPT_WRITEFUNCTION, on_body);
	SET(CURLOPT_WRITEDATA, h);
	return ok;
}

static bool set_rights(zbz_loki_http *h, const zbz_loki_target *t) {
	bool ok = true;
	if (t->username != NULL) {
		SET(CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
		SET(CURLOPT_USERNAME, t->username);
		SET(CURLOPT_PASSWORD, t->password != NULL ? t->password : "");
	}
	if (t->bearer_token != NULL) {
		SET(CURLOPT_HTTPAUTH, (long)CURLAUTH_BEARER);
		SET(CURLOPT_XOAUTH2_BEARER, t->bearer_token);
	}
	return ok;
}

static bool set_tls(zbz_loki_http *h, const zbz_loki_target *t) {
	bool ok = true;
	SET(CURLOPT_SSL_VERIFYPEER, t->tls_verify ? 1L : 0L);
	SET(CURLOPT_SSL_VERIFYHOST, t->tls_verify ? 2L : 0L);
	if (t->tls_ca != NULL) SET(CURLOPT_CAINFO, t->tls_ca);
	if (t->tls_cert != NULL) SET(CURLOPT_SSLCERT, t->tls_cert);
	if (t->tls_cert != NULL) SET(CURLOPT_SSLKEY, t->tls_key != NULL ? t->tls_key : t->tls_cert);
	if (t->connect_to != NULL) {
		struct curl_slist *list = curl_slist_append(NULL, t->connect_to);
		ok = ok && list != NULL;
		SET(CURLOPT_CONNECT_TO, list);
		h->connect_to = list;
	}
	return ok;
}

static zbz_loki_http *make(const zbz_loki_target *t, bool json) {
	zbz_loki_http *h = zbz_calloc(1, sizeof *h);
	bool ok;
	if (h == NULL) return NULL;
	for (int i = 0; i < SOCKETS; i++) h->fds[i] = -1;
	h->generation = zbz_fork_generation();
	h->easy = curl_easy_init();
	ok = h->easy != NULL && add_header(h, "Content-Type", json ? "application/json" : "application/x-protobuf");
	ok = ok && add_header(h, "Expect", ""); /* no question before the body: it costs a round trip */
	if (t->tenant != NULL) ok = ok && add_header(h, "X-Scope-OrgID", t->tenant);
	if (ok && set_plain(h, t) && set_rights(h, t) && set_tls(h, t)) return h;
	zbz_loki_http_free(h);
	return NULL;
}

/* In a child that has inherited it: the connection is the parent's, who goes on with it. Only the descriptors can be let go of without a word to
 * the server; curl's memory is left lying. */
static void abandon(zbz_loki_http *h) {
	for (int i = 0; i < SOCKETS; i++)
		if (h->fds[i] >= 0) close(h->fds[i]);
	zbz_free(h);
}

void zbz_loki_http_free(zbz_loki_http *h) {
	if (h == NULL) return;
	if (h->generation != zbz_fork_generation()) {
		abandon(h);
		return;
	}
	if (h->easy != NULL) curl_easy_cleanup(h->easy);
	curl_slist_free_all(h->headers);
	curl_slist_free_all(h->connect_to);
	zbz_free(h);
}

/* ---- one exchange ---- */

static zbz_status trouble(zbz_loki_http *h, const zbz_loki_target *t, CURLcode code, zbz_err *err) {
	zbz_status status = ZBZ_E_UNAVAILABLE;
	const char *why = h->error[0] != '\0' ? h->error : curl_easy_strerror(code);
	if (code == CURLE_OPERATION_TIMEDOUT) status = ZBZ_E_TIMEOUT;
	if (code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CERTPROBLEM) status = ZBZ_E_DENIED;
	zbz_fail(err, status, "%.100s: %s", t->url, why);
	err->retryable = true;
	return status;
}

static int64_t seconds_to_wait(zbz_loki_http *h) {
	curl_off_t s = 0;
	return curl_easy_getinfo(h->easy, CURLINFO_RETRY_AFTER, &s) == CURLE_OK && s > 0 ? (int64_t)s : 0;
}

static zbz_status ready_one(zbz_loki_http **at, const zbz_loki_target *t, bool json, zbz_err *err) {
	if (*at != NULL && (*at)->generation != zbz_fork_generation()) {
		abandon(*at);
		*at = NULL;
	}
	if (*at == NULL) *at = make(t, json);
	if (*at != NULL) return ZBZ_OK;
	zbz_fail_nomem(err);
	err->retryable = true;
	return ZBZ_E_INTERNAL;
}

zbz_status zbz_loki_http_post(zbz_loki_http **at, const zbz_loki_target *t, bool json, zbz_bytes body, zbz_call *c,
                              zbz_loki_answer *out) {
	int64_t left = zbz_call_left(c), most = left < t->timeout ? left : t->timeout;
	zbz_status status = ready_one(at, t, json, &c->err);
	zbz_loki_http *h = *at;
	CURLcode code;
	bool ok = true;
	if (status != ZBZ_OK) return status;
	*out = (zbz_loki_answer){ 0 };
	h->answer = out;
	h->body = 0;
	h->error[0] = '\0';
	SET(CURLOPT_POSTFIELDS, body.p);
	SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.n);
	SET(CURLOPT_TIMEOUT_MS, (long)(most > 0 ? most : 1));
	code = ok ? curl_easy_perform(h->easy) : CURLE_OUT_OF_MEMORY;
	curl_easy_getinfo(h->easy, CURLINFO_RESPONSE_CODE, &out->status);
	out->retry_after = seconds_to_wait(h);
	h->answer = NULL;
	if (code == CURLE_OK || (code == CURLE_WRITE_ERROR && out->status != 0)) return ZBZ_OK;
	return trouble(h, t, code, &c->err);
}
