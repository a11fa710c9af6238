/* The options of the Loki sink, and the place they lead to. */
#include "sink_loki.h"

#include <errno.h>
#include <stdio.h>
#include <strings.h>
#include <unistd.h>

#define FIELD(name) offsetof(zbz_loki_options, name)
#define PUSH_PATH   "/loki/api/v1/push"

const zbz_option zbz_loki_option_list[] = {
	{ "url", NULL, ZBZ_OPT_TEXT, FIELD(url), NULL, NULL, 0, 0,
	  "http://host:3100 or https://user:password@host; the path is /loki/api/v1/push unless there is one" },
	{ "encoding", NULL, ZBZ_OPT_ENUM, FIELD(encoding), "protobuf", "protobuf|json", 0, 0,
	  "protobuf is compressed with snappy: a tenth of the bytes" },
	{ "tenant", "org_id", ZBZ_OPT_TEXT, FIELD(tenant), NULL, NULL, 0, 0, "sent as X-Scope-OrgID" },
	{ "labels", NULL, ZBZ_OPT_LIST, FIELD(labels), NULL, NULL, 0, 0,
	  "name=value of each: what the streams of this program are called; few, and the same for every record" },
	{ "level_as", NULL, ZBZ_OPT_ENUM, FIELD(level_as), "label", "label|metadata|none", 0, 0,
	  "a record's level as a label, as structured metadata, or only in the line" },
	{ "logger_as", NULL, ZBZ_OPT_ENUM, FIELD(logger_as), "label", "label|metadata|none", 0, 0,
	  "the same of its logger's name" },
	{ "max_line", NULL, ZBZ_OPT_SIZE, FIELD(max_line), "256KB", NULL, 64, 1 << 30,
	  "longer lines are cut, as the server would refuse them" },
	{ "timeout", NULL, ZBZ_OPT_DURATION, FIELD(timeout), "10s", NULL, 1, 3600000, "of one push, connecting included" },
	{ "username", NULL, ZBZ_OPT_TEXT, FIELD(username), NULL, NULL, 0, 0,
	  "for basic authentication, when the url names none" },
	{ "password", NULL, ZBZ_OPT_SECRET, FIELD(password), NULL, NULL, 0, 0, "its password" },
	{ "bearer_token", "token", ZBZ_OPT_SECRET, FIELD(bearer_token), NULL, NULL, 0, 0, "instead of a username" },
	{ "tls_ca", NULL, ZBZ_OPT_TEXT, FIELD(tls_ca), NULL, NULL, 0, 0,
	  "file of trusted certificates; default the system's" },
	{ "tls_cert", NULL, ZBZ_OPT_TEXT, FIELD(tls_cert), NULL, NULL, 0, 0, "client certificate" },
	{ "tls_key", NULL, ZBZ_OPT_TEXT, FIELD(tls_key), NULL, NULL, 0, 0, "its key; default in tls_cert's file" },
	{ "tls_server_name", NULL, ZBZ_OPT_TEXT, FIELD(tls_server_name), NULL, NULL, 0, 0,
	  "name expected in the server's certificate; default the host" },
	{ "tls_verify", NULL, ZBZ_OPT_BOOL, FIELD(tls_verify), "true", NULL, 0, 0, "false: any certificate will do" },
	{ NULL, NULL, ZBZ_OPT_TEXT, 0, NULL, NULL, 0, 0, NULL },
};

static bool filled(const char *s) { return s != NULL && *s != '\0'; }

static zbz_status copy(char **to, const char *from, zbz_err *err) {
	if (!filled(from)) return ZBZ_OK;
	*to = zbz_strdup(from);
	return *to != NULL ? ZBZ_OK : zbz_fail_nomem(err);
}

/* What goes into a header line: nothing that could end it. */
static bool header_safe(const char *s) {
	for (; s != NULL && *s != '\0'; s++)
		if ((unsigned char)*s < 0x20 || (unsigned char)*s == 0x7F) return false;
	return true;
}

/* scheme://[host][:port][/path] of the pieces; a host of an IPv6 address gets its brackets back. */
static zbz_status put_url(zbz_buf *out, const zbz_uri *u, const char *host, const char *path, zbz_err *err) {
	bool six = strchr(host, ':') != NULL;
	zbz_status s = zbz_buf_printf(out, err, "%s://%s%s%s", u->scheme, six ? "[" : "", host, six ? "]" : "");
	if (s == ZBZ_OK && u->port != 0) s = zbz_buf_printf(out, err, ":%d", u->port);
	if (s == ZBZ_OK) s = zbz_buf_append(out, path, strlen(path) + 1, err);
	return s;
}

/* The path as it was written: decoded and encoded again it might be another one. */
static const char *path_in(const char *url) {
	const char *host = strstr(url, "://"), *path = host != NULL ? strchr(host + 3, '/') : NULL;
	return path == NULL || strcmp(path, "/") == 0 ? PUSH_PATH : path;
}

/* The certificate's name stands in the url, so that curl sends and checks it; the connection goes to the host all the same. */
static zbz_status set_connect_to(zbz_loki_target *t, const zbz_uri *u, const char *name, zbz_err *err) {
	bool six = strchr(u->host, ':') != NULL;
	zbz_buf text = { 0 };
	int port = u->port != 0 ? u->port : 443;
	zbz_status s =
	    zbz_buf_printf(&text, err, "%s:%d:%s%s%s:%d", name, port, six ? "[" : "", u->host, six ? "]" : "", port);
	if (s == ZBZ_OK) s = zbz_buf_putc(&text, '\0', err);
	t->connect_to = text.p;
	return s;
}

static zbz_status take_uri(zbz_loki_target *t, const zbz_loki_options *o, const zbz_uri *u, zbz_err *err) {
	bool tls = strcasecmp(u->scheme, "https") == 0;
	const char *name = filled(o->tls_server_name) ? o->tls_server_name : NULL;
	zbz_buf url = { 0 };
	zbz_status s;
	if (!tls && strcasecmp(u->scheme, "http") != 0)
		return zbz_fail_option(err, "url", "must begin with http:// or https://, not %.20s:", u->scheme);
	if (!filled(u->host)) return zbz_fail_option(err, "url", "names no host");
	if (u->query.n > 0 || strchr(path_in(o->url), '#') != NULL)
		return zbz_fail_option(err, "url", "takes neither a query nor a fragment");
	if (name != NULL && !tls) return zbz_fail_option(err, "tls_server_name", "goes with https:// only");
	s = put_url(&url, u, name != NULL ? name : u->host, path_in(o->url), err);
	t->url = url.p;
	if (s == ZBZ_OK && name != NULL) s = set_connect_to(t, u, name, err);
	if (s == ZBZ_OK) s = copy(&t->username, filled(u->user) ? u->user : o->username, err);
	if (s == ZBZ_OK) s = copy(&t->password, filled(u->password) ? u->password : o->password, err);
	return s;
}

static zbz_status take_url(zbz_loki_target *t, const zbz_loki_options *o, zbz_err *err) {
	zbz_uri uri = { 0 };
	zbz_status s;
	if (!filled(o->url))
		return zbz_fail_option(err, "url", "is needed: where Loki listens, like http://localhost:3100");
	s = zbz_uri_parse(zbz_bstr(o->url), &uri, err);
	if (s != ZBZ_OK) {
		if (s == ZBZ_E_CONFIG && err != NULL) snprintf(err->option, sizeof err->option, "url");
		return s;
	}
	s = take_uri(t, o, &uri, err);
	zbz_uri_clear(&uri);
	return s;
}

static zbz_status take_file(char **to, const char *path, const char *option, zbz_err *err) {
	zbz_err full;
	if (filled(path) && access(path, R_OK) != 0) {
		zbz_fail_errno(&full, ZBZ_E_CONFIG, errno, "no file to read at %.160s", path);
		snprintf(full.option, sizeof full.option, "%s", option);
		if (err != NULL) *err = full;
		return ZBZ_E_CONFIG;
	}
	return copy(to, path, err);
}

static zbz_status check(const zbz_loki_target *t, zbz_err *err) {
	if (!header_safe(t->tenant)) return zbz_fail_option(err, "tenant", "holds a control character");
	if (!header_safe(t->bearer_token)) return zbz_fail_option(err, "bearer_token", "holds a control character");
	if (t->bearer_token != NULL && t->username != NULL)
		return zbz_fail_option(err, "bearer_token", "does not go with a username");
	if (t->password != NULL && t->username == NULL)
		return zbz_fail_option(err, "password", "goes with a username only");
	if (t->username != NULL && strchr(t->username, ':') != NULL)
		return zbz_fail_option(err, "username", "cannot hold a ':' in basic authentication");
	if (t->tls_key != NULL && t->tls_cert == NULL) return zbz_fail_option(err, "tls_key", "goes with tls_cert only");
	return ZBZ_OK;
}

zbz_status zbz_loki_target_init(zbz_loki_target *t, const zbz_loki_options *o, zbz_err *err) {
	zbz_status s = take_url(t, o, err);
	t->tls_verify = o->tls_verify;
	t->timeout = o->timeout;
	if (s == ZBZ_OK) s = copy(&t->tenant, o->tenant, err);
	if (s == ZBZ_OK) s = copy(&t->bearer_token, o->bearer_token, err);
	if (s == ZBZ_OK) s = take_file(&t->tls_ca, o->tls_ca, "tls_ca", err);
	if (s == ZBZ_OK) s = take_file(&t->tls_cert, o->tls_cert, "tls_cert", err);
	if (s == ZBZ_OK) s = take_file(&t->tls_key, o->tls_key, "tls_key", err);
	return s == ZBZ_OK ? check(t, err) : s;
}

/* Overwritten first: it is a secret. */
static void wipe(char *s) {
	if (s != NULL) explicit_bzero(s, strlen(s));
	zbz_free(s);
}

void zbz_loki_target_clear(zbz_loki_target *t) {
	char *plain[] = { t->url, t->tenant, t->username, t->tls_ca, t->tls_cert, t->tls_key, t->connect_to };
	for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) zbz_free(plain[i]);
	wipe(t->password);
	wipe(t->bearer_token);
	memset(t, 0, sizeof *t);
}
