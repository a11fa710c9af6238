/* The ways into Redis: databases, unix sockets, users, TLS. The companions of REDIS_URL name them (spec/services/redis.lua); without
 * them those parts are left out. */
#include "redis_rig.h"

static void works(rig *r) {
	CHECK(rig_set(r, "way", "in") == ZBZ_OK && rig_has(r, "way", "in"));
	if (r->c.err.status) fprintf(stderr, "  %s\n", r->c.err.text);
}

static void test_databases(void) {
	rig zero = fresh(), one;
	char text[256];
	snprintf(text, sizeof text, "%s/1", main_url);
	CHECK(rig_open(&one, "url", text, NULL) == ZBZ_OK);
	ops->del(one.self, rig_call(&one, 0), zbz_bstr("where"));
	CHECK(rig_set(&zero, "where", "zero") == ZBZ_OK && rig_has(&one, "where", NULL));
	CHECK(rig_set(&one, "where", "one") == ZBZ_OK && rig_has(&zero, "where", "zero"));
	rig_close(&one);
	snprintf(text, sizeof text, "%s/15000", main_url);
	CHECK(rig_open(&one, "url", text, NULL) == ZBZ_OK);
	CHECK(rig_set(&one, "where", "?") == ZBZ_E_CONFIG);
	CHECK_STR(one.c.err.option, "database");
	rig_close(&one);
	CHECK(rig_open(&one, "host", "127.0.0.1", "port", strrchr(main_url, ':') + 1, "database", "1", NULL) == ZBZ_OK);
	CHECK(rig_has(&one, "where", "one"));
	rig_close(&one);
	rig_close(&zero);
}

static void test_ways_in(void) {
	const char *socket_path = getenv("REDIS_SOCKET"), *user = getenv("REDIS_USER"),
	           *password = getenv("REDIS_USER_PASSWORD");
	rig r;
	char text[300];
	zbz_buf out = { 0 };
	if (!socket_path || !user || !password) return;
	CHECK(rig_open(&r, "path", socket_path, NULL) == ZBZ_OK);
	works(&r);
	rig_close(&r);
	snprintf(text, sizeof text, "redis+unix://%s?db=2", socket_path);
	CHECK(rig_open(&r, "url", text, NULL) == ZBZ_OK);
	works(&r);
	rig_close(&r);
	CHECK(rig_open(&r, "path", "/tmp/no/such/socket", "max_retries", "0", NULL) == ZBZ_OK);
	CHECK(rig_set(&r, "a", "b") == ZBZ_E_UNAVAILABLE && strstr(r.c.err.text, "/tmp/no/such/socket"));
	rig_close(&r);
	CHECK(rig_open(&r, "path", socket_path, "username", user, "password", password, NULL) == ZBZ_OK);
	works(&r);
	CHECK(rig_command(&r, "FLUSHALL", &out) == ZBZ_OK && out.p[0] == (char)0xc7 && memmem(out.p, out.n, "NOPERM", 6));
	rig_close(&r);
	CHECK(rig_open(&r, "path", socket_path, "username", user, "password", "wrong s3cret", NULL) == ZBZ_OK);
	CHECK(rig_set(&r, "a", "b") == ZBZ_E_DENIED && !r.c.err.retryable && !strstr(r.c.err.text, "s3cret"));
	zbz_buf_clear(&out);
	rig_close(&r);
}

static void test_tls(void) {
	const char *port = getenv("REDIS_TLS_PORT"), *ca = getenv("REDIS_CA");
	rig r;
	char text[100];
	if (!port || !ca) return;
	snprintf(text, sizeof text, "rediss://localhost:%s", port);
	CHECK(rig_open(&r, "url", text, "tls_ca", ca, NULL) == ZBZ_OK);
	works(&r);
	works(&r);
	rig_close(&r);
	CHECK(rig_open(&r, "host", "127.0.0.1", "port", port, "enable_ssl", "true", "tls_ca", ca, NULL) ==
	      ZBZ_OK); /* an address in the certificate */
	works(&r);
	rig_close(&r);
	CHECK(rig_open(&r, "url", text, NULL) == ZBZ_OK); /* nobody the system trusts */
	CHECK(rig_set(&r, "a", "b") == ZBZ_E_DENIED && strstr(r.c.err.text, "certificate"));
	rig_close(&r);
	CHECK(rig_open(&r, "url", text, "tls_verify", "false", NULL) == ZBZ_OK);
	works(&r);
	rig_close(&r);
	CHECK(rig_open(&r, "url", text, "tls_ca", ca, "tls_server_name", "elsewhere.example", NULL) == ZBZ_OK);
	CHECK(rig_set(&r, "a", "b") == ZBZ_E_DENIED);
	rig_close(&r);
	snprintf(text, sizeof text, "rediss://127.0.0.1:%s", strrchr(main_url, ':') + 1); /* TLS to a plain port */
	CHECK(rig_open(&r, "url", text, "tls_ca", ca, "timeout", "500ms", NULL) == ZBZ_OK);
	CHECK(rig_set(&r, "a", "b") < 0);
	rig_close(&r);
}

int main(void) {
	if (!rig_begin(true)) return 1;
	RUN(test_databases);
	RUN(test_ways_in);
	RUN(test_tls);
	rig_end();
	return DONE();
}
