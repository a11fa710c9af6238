/* TLS over any of our stream sockets, through OpenSSL. The BIO under it is our own: OpenSSL's socket BIO writes with write(2)
 * and a peer that has gone would then raise SIGPIPE in the host program. */
#include "net/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { VERDICT_MS = 300 };

struct zbz_net_tls {
	SSL_CTX *ctx;
	BIO_METHOD *method;
	char *server_name;
	bool verify;
};

typedef struct tls_net {
	zbz_net net;
	zbz_net *below;
	SSL *ssl;
	bool asked; /* the server wants to see a certificate */
} tls_net;

/* ---- the BIO over zbz_net ------------------------------------------------------------------------------------------- */

static int below_result(BIO *bio, zbz_status s, size_t n, int retry_flag) {
	BIO_clear_retry_flags(bio);
	if (s == ZBZ_OK) return (int)n;
	if (s == ZBZ_AGAIN) BIO_set_flags(bio, retry_flag | BIO_FLAGS_SHOULD_RETRY);
	return -1;
}

static int below_read(BIO *bio, char *p, int cap) {
	zbz_net *below = BIO_get_data(bio);
	size_t n = 0;
	zbz_status s;
	if (cap <= 0) return 0;
	s = below->read(below, p, (size_t)cap, &n, NULL);
	return below_result(bio, s, n, BIO_FLAGS_READ);
}

static int below_write(BIO *bio, const char *p, int len) {
	zbz_net *below = BIO_get_data(bio);
	size_t n = 0;
	zbz_status s;
	if (len <= 0) return 0;
	s = below->write(below, p, (size_t)len, &n, NULL);
	return below_result(bio, s, n, BIO_FLAGS_WRITE);
}

static long below_ctrl(BIO *bio, int command, long arg, void *p) {
	(void)bio, (void)arg, (void)p;
	return command == BIO_CTRL_FLUSH;
}

static int below_create(BIO *bio) {
	BIO_set_init(bio, 1);
	return 1;
}

static BIO_METHOD *below_method(void) {
	BIO_METHOD *m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "zbz_net");
	if (!m) return NULL;
	BIO_meth_set_read(m, below_read);
	BIO_meth_set_write(m, below_write);
	BIO_meth_set_ctrl(m, below_ctrl);
	BIO_meth_set_create(m, below_create);
	return m;
}

/* ---- reading and writing -------------------------------------------------------------------------------------------- */

static zbz_status tls_result(tls_net *t, int rc, zbz_err *err) {
	switch (SSL_get_error(t->ssl, rc)) {
	case SSL_ERROR_WANT_READ: t->net.wants = POLLIN; return ZBZ_AGAIN;
	case SSL_ERROR_WANT_WRITE: t->net.wants = POLLOUT; return ZBZ_AGAIN;
	case SSL_ERROR_ZERO_RETURN: return zbz_fail(err, ZBZ_E_UNAVAILABLE, "the server closed the connection");
	case SSL_ERROR_SSL: {
		const char *reason = ERR_reason_error_string(ERR_peek_error());
		return zbz_fail(err, ZBZ_E_UNAVAILABLE, "TLS: %s", reason ? reason : "protocol error");
	}
	default: return zbz_fail(err, ZBZ_E_UNAVAILABLE, "the server closed the connection");
	}
}

static zbz_status tls_read(zbz_net *net, void *p, size_t cap, size_t *n, zbz_err *err) {
	tls_net *t = (tls_net *)net;
	int rc;
	ERR_clear_error();
	rc = SSL_read_ex(t->ssl, p, cap, n);
	return rc == 1 ? ZBZ_OK : tls_result(t, rc, err);
}

static zbz_status tls_write(zbz_net *net, const void *p, size_t len, size_t *n, zbz_err *err) {
	tls_net *t = (tls_net *)net;
	int rc;
	ERR_clear_error();
	rc = SSL_write_ex(t->ssl, p, len, n);
	return rc == 1 ? ZBZ_OK : tls_result(t, rc, err);
}

static bool tls_buffered(zbz_net *net) { return SSL_pending(((tls_net *)net)->ssl) > 0; }

static void tls_close(zbz_net *net) {
	tls_net *t = (tls_net *)net;
	if (t->net.fd < 0)
		t->below->fd = -1;
	else if (SSL_is_init_finished(t->ssl))
		SSL_shutdown(t->ssl);
	ERR_clear_error();
	SSL_free(t->ssl);
	zbz_net_close(t->below);
	zbz_free(t);
}

/* ---- rules ---------------------------------------------------------------------------------------------------------- */

static zbz_status fail_file(zbz_err *err, const char *option, const char *file) {
	const char *reason = ERR_reason_error_string(ERR_peek_last_error());
	int unreadable = access(file, R_OK) != 0 ? errno : 0;
	if (unreadable != 0) reason = strerror(unreadable);
	zbz_status s = zbz_fail_option(err, option, "%s: %s", file, reason ? reason : "cannot be used");
	ERR_clear_error();
	return s;
}

static zbz_status load_files(SSL_CTX *ctx, const zbz_net_tls_opts *o, zbz_err *err) {
	const char *key = o->key ? o->key : o->cert;
	if (o->ca && SSL_CTX_load_verify_locations(ctx, o->ca, NULL) != 1) return fail_file(err, "tls_ca", o->ca);
	if (!o->ca && o->verify && SSL_CTX_set_default_verify_paths(ctx) != 1)
		return fail_file(err, "tls_ca", "the system's certificates");
	if (!o->cert && o->key) return zbz_fail_option(err, "tls_cert", "is missing beside tls_key");
	if (!o->cert) return ZBZ_OK;
	if (SSL_CTX_use_certificate_chain_file(ctx, o->cert) != 1) return fail_file(err, "tls_cert", o->cert);
	if (SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1 || SSL_CTX_check_private_key(ctx) != 1)
		return fail_file(err, "tls_key", key);
	return ZBZ_OK;
}

zbz_status zbz_net_tls_new(const zbz_net_tls_opts *opts, zbz_net_tls **out, zbz_err *err) {
	zbz_net_tls *tls = zbz_calloc(1, sizeof *tls);
	zbz_status s = tls ? ZBZ_OK : zbz_fail_nomem(err);
	if (s == ZBZ_OK && opts->server_name && !(tls->server_name = zbz_strdup(opts->server_name)))
		s = zbz_fail_nomem(err);
	if (s == ZBZ_OK) {
		tls->verify = opts->verify;
		tls->method = below_method();
		tls->ctx = SSL_CTX_new(TLS_client_method());
		if (!tls->method || !tls->ctx) s = zbz_fail(err, ZBZ_E_INTERNAL, "OpenSSL cannot make a context");
	}
	if (s == ZBZ_OK) {
		SSL_CTX_set_min_proto_version(tls->ctx, TLS1_2_VERSION);
		SSL_CTX_set_mode(tls->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
		                               SSL_MODE_RELEASE_BUFFERS);
		SSL_CTX_set_verify(tls->ctx, opts->verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
		s = load_files(tls->ctx, opts, err);
	}
	if (s != ZBZ_OK) {
		zbz_net_tls_free(tls);
		return s;
	}
	*out = tls;
	return ZBZ_OK;
}

void zbz_net_tls_free(zbz_net_tls *tls) {
	if (!tls) return;
	SSL_CTX_free(tls->ctx);
	BIO_meth_free(tls->method);
	zbz_free(tls->server_name);
	zbz_free(tls);
}

/* ---- the handshake -------------------------------------------------------------------------------------------------- */

/* SNI carries names only; an address in the certificate is another field than a name. */
static bool expect_name(const zbz_net_tls *tls, SSL *ssl, const char *name) {
	unsigned char raw[16];
	bool address = inet_pton(AF_INET, name, raw) == 1 || inet_pton(AF_INET6, name, raw) == 1;
	if (!address && SSL_set_tlsext_host_name(ssl, name) != 1) return false;
	if (!tls->verify) return true;
	if (address) return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1;
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return SSL_set1_host(ssl, name) == 1;
}

/* The option that is likely wrong, when it is not the server. */
static const char *option_behind(long why) {
	switch (why) {
	case X509_V_ERR_HOSTNAME_MISMATCH:
	case X509_V_ERR_IP_ADDRESS_MISMATCH: return "tls_server_name";
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN: return "tls_ca";
	default: return "";
	}
}

static zbz_status refuse(long why, zbz_err *err) {
	const char *option = option_behind(why);
	zbz_fail(err, ZBZ_E_DENIED, "the server's certificate is refused: %s%s%s", X509_verify_cert_error_string(why),
	         *option ? "; see the option " : "", option);
	if (err) snprintf(err->option, sizeof err->option, "%s", option);
	return ZBZ_E_DENIED;
}

static zbz_status shake(tls_net *t, int64_t deadline, zbz_err *err) {
	for (;;) {
		int rc;
		long why;
		zbz_status s;
		ERR_clear_error();
		rc = SSL_connect(t->ssl);
		if (rc == 1) return ZBZ_OK;
		s = tls_result(t, rc, err);
		why = SSL_get_verify_result(t->ssl);
		ERR_clear_error();
		if (s < 0 && why != X509_V_OK) return refuse(why, err);
		if (s < 0) return s;
		s = zbz_net_wait(&t->net, t->net.wants, -1, deadline, NULL, err);
		if (s != ZBZ_OK) return zbz_fail(err, s, "the TLS handshake did not end in time");
	}
}

static void on_message(int sent, int version, int type, const void *bytes, size_t n, SSL *ssl, void *ud) {
	tls_net *t = ud;
	(void)version, (void)ssl;
	if (!sent && type == SSL3_RT_HANDSHAKE && n > 0 && *(const unsigned char *)bytes == SSL3_MT_CERTIFICATE_REQUEST)
		t->asked = true;
}

/* In TLS 1.3 the client has done when the server begins to look at its certificate; what is sent before a refusal has come would be lost. A ticket shows
 * that it was taken; a server that sends none is waited for a while. */
static zbz_status hear_verdict(tls_net *t, int64_t deadline, zbz_err *err) {
	int64_t until = zbz_net_now() + VERDICT_MS;
	char byte;
	int rc;
	if (!t->asked || SSL_version(t->ssl) < TLS1_3_VERSION) return ZBZ_OK;
	if (zbz_net_wait(&t->net, POLLIN, -1, until < deadline ? until : deadline, NULL, err) != ZBZ_OK) return ZBZ_OK;
	ERR_clear_error();
	rc = SSL_peek(t->ssl, &byte, 1);
	if (rc == 1 || tls_result(t, rc, err) == ZBZ_AGAIN) return ZBZ_OK;
	{
		const char *reason = ERR_reason_error_string(ERR_peek_error());
		zbz_fail(err, ZBZ_E_DENIED, "the server refuses the client's certificate: %s; see the option tls_cert",
		         reason ? reason : "it closed the connection");
		if (err) snprintf(err->option, sizeof err->option, "tls_cert");
	}
	ERR_clear_error();
	return ZBZ_E_DENIED;
}

static tls_net *tls_wrap(zbz_net_tls *tls, zbz_net *below) {
	tls_net *t = zbz_calloc(1, sizeof *t);
	BIO *bio = BIO_new(tls->method);
	SSL *ssl = SSL_new(tls->ctx);
	if (!t || !bio || !ssl) {
		zbz_free(t);
		BIO_free(bio);
		SSL_free(ssl);
		ERR_clear_error();
		return NULL;
	}
	SSL_set_msg_callback(ssl, on_message);
	SSL_set_msg_callback_arg(ssl, t);
	BIO_set_data(bio, below);
	SSL_set_bio(ssl, bio, bio);
	t->ssl = ssl;
	t->below = below;
	t->net.fd = below->fd;
	t->net.read = tls_read;
	t->net.write = tls_write;
	t->net.buffered = tls_buffered;
	t->net.close = tls_close;
	return t;
}

zbz_status zbz_net_tls_start(zbz_net_tls *tls, const char *host, zbz_net **net, int64_t deadline, zbz_err *err) {
	tls_net *t = tls_wrap(tls, *net);
	const char *name = tls->server_name ? tls->server_name : host;
	zbz_status s;
	if (!t) {
		zbz_net_close(*net);
		*net = NULL;
		return zbz_fail_nomem(err);
	}
	s = expect_name(tls, t->ssl, name) ? shake(t, deadline, err)
	                                   : zbz_fail_option(err, "tls_server_name", "%s is no host name", name);
	if (s == ZBZ_OK) s = hear_verdict(t, deadline, err);
	*net = s == ZBZ_OK ? &t->net : NULL;
	if (s != ZBZ_OK) tls_close(&t->net);
	return s;
}
