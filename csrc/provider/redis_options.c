/* The options of the Redis provider, and the place they lead to. */
#include "provider/redis_impl.h"

#include <errno.h>
#include <stdlib.h>

#define FIELD(name) offsetof(redis_options, name)

const zbz_option redis_option_list[] = {
	{ "url", NULL, ZBZ_OPT_TEXT, FIELD(url), NULL, NULL, 0, 0,
	  "redis://user:password@host:6379/0, rediss:// for TLS, redis+unix:///path?db=0, or host:port; default "
	  "redis://localhost:6379" },
	{ "host", NULL, ZBZ_OPT_TEXT, FIELD(host), "localhost", NULL, 0, 0, "server, when there is no url" },
	{ "port", NULL, ZBZ_OPT_INT, FIELD(port), "6379", NULL, 1, 65535, "port, when there is no url" },
	{ "path", NULL, ZBZ_OPT_TEXT, FIELD(path), NULL, NULL, 0, 0, "unix socket instead of host and port" },
	{ "database", "db", ZBZ_OPT_INT, FIELD(database), "0", NULL, 0, 1000000,
	  "database number, when the url names none" },
	{ "username", NULL, ZBZ_OPT_TEXT, FIELD(username), NULL, NULL, 0, 0, "ACL user, when the url names none" },
	{ "password", NULL, ZBZ_OPT_SECRET, FIELD(password), NULL, NULL, 0, 0, "password, when the url names none" },
	{ "timeout", "dial_timeout", ZBZ_OPT_DURATION, FIELD(timeout), "5s", NULL, 0, 0,
	  "for connecting, and for waiting until a connection of the pool is free; 0: none" },
	{ "read_timeout", NULL, ZBZ_OPT_DURATION, FIELD(read_timeout), "5s", NULL, 0, 0,
	  "from the last byte sent until the whole reply; 0: none" },
	{ "write_timeout", NULL, ZBZ_OPT_DURATION, FIELD(write_timeout), "3s", NULL, 0, 0,
	  "until the whole command is sent; 0: none" },
	{ "pool_size", NULL, ZBZ_OPT_INT, FIELD(pool_size), "10", NULL, 1, 10000, "most connections" },
	{ "min_idle_conns", NULL, ZBZ_OPT_INT, FIELD(min_idle_conns), "0", NULL, 0, 10000,
	  "connections kept open ahead of need, once in use" },
	{ "conn_max_lifetime", NULL, ZBZ_OPT_DURATION, FIELD(conn_max_lifetime), "0", NULL, 0, 0,
	  "a connection older than this is replaced; 0: never" },
	{ "max_retries", NULL, ZBZ_OPT_INT, FIELD(max_retries), "3", NULL, 0, 100,
	  "further attempts of operations that may run twice" },
	{ "enable_pipelining", NULL, ZBZ_OPT_BOOL, FIELD(enable_pipelining), "true", NULL, 0, 0,
	  "false: batches go key by key" },
	{ "enable_ssl", "tls", ZBZ_OPT_BOOL, FIELD(enable_ssl), "false", NULL, 0, 0, "TLS, as rediss:// does" },
	{ "tls_ca", NULL, ZBZ_OPT_TEXT, FIELD(tls_ca), NULL, NULL, 0, 0,
	  "file of trusted certificates; default the system's" },
	{ "tls_cert", NULL, ZBZ_OPT_TEXT, FIELD(tls_cert), NULL, NULL, 0, 0, "client certificate" },
	{ "tls_key", NULL, ZBZ_OPT_TEXT, FIELD(tls_key), NULL, NULL, 0, 0, "its key; default in tls_cert's file" },
	{ "tls_server_name", NULL, ZBZ_OPT_TEXT, FIELD(tls_server_name), NULL, NULL, 0, 0,
	  "name expected in the server's certificate; default the host" },
	{ "tls_verify", NULL, ZBZ_OPT_BOOL, FIELD(tls_verify), "true", NULL, 0, 0, "false: any certificate will do" },
	{ NULL, NULL, ZBZ_OPT_TEXT, 0, NULL, NULL, 0, 0, NULL },
};

static bool filled(const char *s) { return s && *s; }

static zbz_status copy(char **to, const char *from, zbz_err *err) {
	if (!filled(from)) return ZBZ_OK;
	*to = zbz_strdup(from);
	return *to ? ZBZ_OK : zbz_fail_nomem(err);
}

static zbz_status take_database(redis_target *t, const char *text, zbz_err *err) {
	char *end;
	long n;
	errno = 0;
	n = strtol(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || errno || n > 1000000)
		return zbz_fail_option(err, "url", "the database must be a number");
	t->database = n;
	return ZBZ_OK;
}

static zbz_status take_query(redis_target *t, const zbz_list *query, zbz_err *err) {
	size_t i;
	zbz_status s = ZBZ_OK;
	for (i = 0; s == ZBZ_OK && i + 1 < query->n; i += 2) {
		if (strcmp(query->items[i], "db") == 0 || strcmp(query->items[i], "database") == 0)
			s = take_database(t, query->items[i + 1], err);
		else
			s = zbz_fail_option(err, "url", "knows no parameter but db");
	}
	return s;
}

static zbz_status take_uri(redis_target *t, const zbz_uri *u, bool *tls, zbz_err *err) {
	const char *path = u->path ? u->path : "";
	zbz_status s;
	bool local = strcmp(u->scheme, "redis+unix") == 0 || strcmp(u->scheme, "unix") == 0;
	*tls = strcmp(u->scheme, "rediss") == 0;
	if (!local && !*tls && strcmp(u->scheme, "redis") != 0)
		return zbz_fail_option(err, "url",
		                       "must begin with redis://, rediss:// or redis+unix://, not %.20s:", u->scheme);
	if (local && !filled(path)) return zbz_fail_option(err, "url", "redis+unix:// needs the path of a socket");
	if (u->host && strchr(u->host, ',')) return zbz_fail_option(err, "url", "names more than one server");
	if (local)
		s = copy(&t->path, path, err);
	else
		s = copy(&t->host, filled(u->host) ? u->host : "localhost", err);
	if (!local && s == ZBZ_OK) {
		if (u->port)
			t->port = u->port;
		else
			t->port = 6379;
		path += *path == '/';
		if (*path) s = take_database(t, path, err);
	}
	if (s == ZBZ_OK) s = copy(&t->username, u->user, err);
	if (s == ZBZ_OK) s = copy(&t->password, u->password, err);
	return s == ZBZ_OK ? take_query(t, &u->query, err) : s;
}

/* host, host:port and user:password@host:port/db are read as if redis:// stood before them. */
static zbz_status take_url(redis_target *t, const char *url, bool *tls, zbz_err *err) {
	zbz_uri uri = { 0 };
	zbz_buf text = { 0 };
	zbz_status s = strstr(url, "://") ? ZBZ_OK : zbz_buf_append(&text, "redis://", 8, err);
	if (s == ZBZ_OK) s = zbz_buf_append(&text, url, strlen(url), err);
	if (s == ZBZ_OK) {
		s = zbz_uri_parse(zbz_buf_bytes(&text), &uri, err);
		if (s == ZBZ_E_CONFIG && err && !err->option[0]) memcpy(err->option, "url", 4);
	}
	if (s == ZBZ_OK) {
		s = take_uri(t, &uri, tls, err);
		zbz_uri_clear(&uri);
	}
	zbz_buf_clear(&text);
	return s;
}

static zbz_status take_tls(redis_target *t, zbz_err *err) {
	zbz_net_tls_opts o = { .ca = t->opt->tls_ca,
		                   .cert = t->opt->tls_cert,
		                   .key = t->opt->tls_key,
		                   .server_name = t->opt->tls_server_name,
		                   .verify = t->opt->tls_verify };
	if (t->path) return zbz_fail_option(err, "enable_ssl", "does not go with a unix socket");
	return zbz_net_tls_new(&o, &t->tls, err);
}

zbz_status redis_target_init(redis_target *t, const redis_options *opt, zbz_err *err) {
	zbz_status s = ZBZ_OK;
	bool tls = false;
	t->opt = opt;
	t->database = opt->database;
	t->port = (int)opt->port;
	if (filled(opt->url))
		s = take_url(t, opt->url, &tls, err);
	else if (filled(opt->path))
		s = copy(&t->path, opt->path, err);
	else
		s = copy(&t->host, filled(opt->host) ? opt->host : "localhost", err);
	if (s == ZBZ_OK && !t->username) s = copy(&t->username, opt->username, err);
	if (s == ZBZ_OK && !t->password) s = copy(&t->password, opt->password, err);
	if (s == ZBZ_OK && (tls || opt->enable_ssl)) s = take_tls(t, err);
	if (s == ZBZ_OK && opt->min_idle_conns > opt->pool_size)
		s = zbz_fail_option(err, "min_idle_conns", "is larger than pool_size");
	if (s != ZBZ_OK) redis_target_clear(t);
	return s;
}

void redis_target_clear(redis_target *t) {
	zbz_net_tls_free(t->tls);
	zbz_free(t->host);
	zbz_free(t->path);
	zbz_free(t->username);
	if (t->password) OPENSSL_cleanse(t->password, strlen(t->password));
	zbz_free(t->password);
	memset(t, 0, sizeof *t);
}
