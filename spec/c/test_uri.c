/* URLs: their parts, what is refused, and what may be shown of them. */
#include <errno.h>

#include "base/uri.h"

#include "check.h"
#include "faults.h"

typedef struct uri_case {
	const char *text, *scheme, *user, *password, *host;
	int port;
	const char *path;
} uri_case;

static const uri_case uris[] = {
	{ "redis://127.0.0.1:6379/0", "redis", NULL, NULL, "127.0.0.1", 6379, "/0" },
	{ "REDISS://h", "rediss", NULL, NULL, "h", 0, NULL },
	{ "redis://user:pa%40ss%3A%2F@h:1/2", "redis", "user", "pa@ss:/", "h", 1, "/2" },
	{ "redis://:secret@h", "redis", NULL, "secret", "h", 0, NULL },
	{ "redis://user@h", "redis", "user", NULL, "h", 0, NULL },
	{ "redis://user:@h", "redis", "user", "", "h", 0, NULL },
	{ "redis://u:a:b@c@h", "redis", "u", "a:b@c", "h", 0, NULL },
	{ "redis://[::1]:6379", "redis", NULL, NULL, "::1", 6379, NULL },
	{ "redis://[fe80::1%25eth0]", "redis", NULL, NULL, "fe80::1%eth0", 0, NULL },
	{ "redis+unix:///run/redis.sock?db=1", "redis+unix", NULL, NULL, NULL, 0, "/run/redis.sock" },
	{ "redis+unix://u:p@/run/r.sock", "redis+unix", "u", "p", NULL, 0, "/run/r.sock" },
	{ "memcached://h1:1,h2:2", "memcached", NULL, NULL, "h1:1,h2:2", 0, NULL },
	{ "memcached://u:p@[::1]:1,h2/x", "memcached", "u", "p", "[::1]:1,h2", 0, "/x" },
	{ "sqlite:cache.db", "sqlite", NULL, NULL, NULL, 0, "cache.db" },
	{ "memory:", "memory", NULL, NULL, NULL, 0, NULL },
	{ "memory://", "memory", NULL, NULL, NULL, 0, NULL },
	{ "filesystem:/var/cache/a%20b", "filesystem", NULL, NULL, NULL, 0, "/var/cache/a b" },
	{ "http://h:/x", "http", NULL, NULL, "h", 0, "/x" },
	{ "http://h\xC3\xA4/x", "http", NULL, NULL, "h\xC3\xA4", 0, "/x" },
	{ "redis://h?x=1", "redis", NULL, NULL, "h", 0, NULL },
};

static bool same(const char *a, const char *b) { return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0; }

static void test_uris(void) {
	for (size_t i = 0; i < sizeof uris / sizeof *uris; i++) {
		const uri_case *want = &uris[i];
		zbz_uri u;
		zbz_err err = { 0 };
		zbz_status s = zbz_uri_parse(zbz_bstr(want->text), &u, &err);
		bool ok = s == ZBZ_OK && same(u.scheme, want->scheme) && same(u.user, want->user) &&
		          same(u.password, want->password) && same(u.host, want->host) && u.port == want->port &&
		          same(u.path, want->path);
		if (!ok) fprintf(stderr, "  %s: %s\n", want->text, err.text);
		CHECK(ok);
		zbz_uri_clear(&u);
	}
}

static void test_uri_query(void) {
	zbz_uri u;
	CHECK(zbz_uri_parse(zbz_bstr("redis://h/1?a=1&b=x%26y&&c&d=%3D="), &u, NULL) == ZBZ_OK);
	CHECK(u.query.n == 8);
	CHECK(u.query.n == 8 && strcmp(u.query.items[1], "1") == 0 && strcmp(u.query.items[3], "x&y") == 0);
	CHECK(u.query.n == 8 && strcmp(u.query.items[4], "c") == 0 && strcmp(u.query.items[5], "") == 0 &&
	      strcmp(u.query.items[7], "==") == 0);
	zbz_uri_clear(&u);
	CHECK(u.query.items == NULL && u.scheme == NULL);
	zbz_uri_clear(&u);
}

static void test_bad_uris(void) {
	static const char *const bad[] = { "",
		                               "redis//x",
		                               "redis",
		                               "localhost",
		                               "127.0.0.1:6379",
		                               "://h",
		                               "1redis://h",
		                               "-x://h",
		                               "redis://h:0",
		                               "redis://h:65536",
		                               "redis://h:123456",
		                               "redis://h:12a",
		                               "redis://h:-1",
		                               "redis://::1:6379",
		                               "redis://[::1",
		                               "redis://[]",
		                               "redis://[::1]x",
		                               "redis://:6379",
		                               "redis://h/%",
		                               "redis://h/%4",
		                               "redis://h/%zz",
		                               "redis://h/%00",
		                               "redis://h/a b",
		                               "redis://h/a\nb",
		                               "redis://h/\x7F",
		                               "redis://:p#ss@h",
		                               "redis://h?=v",
		                               "redis://u:hunter2/x@h:1",
		                               "red is://h",
		                               "redis://u:hunter2%@h",
		                               "redis://u:hunter2@h:port",
		                               "redis://hunter2"
		                               "\x01"
		                               "@h" };
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		zbz_uri u;
		zbz_err err = { 0 };
		zbz_status s = zbz_uri_parse(zbz_bstr(bad[i]), &u, &err);
		if (s != ZBZ_E_CONFIG) fprintf(stderr, "  accepted: %s\n", bad[i]);
		CHECK(s == ZBZ_E_CONFIG && u.scheme == NULL && u.query.items == NULL);
		CHECK(err.text[0] != '\0' && strstr(err.text, "hunter2") == NULL && strstr(err.text, "ss@") == NULL);
	}
}

static void test_uri_limits(void) {
	size_t n = 70000;
	char *text = malloc(n);
	zbz_uri u;
	memset(text, 'a', n);
	memcpy(text, "redis://h/", 10);
	CHECK(zbz_uri_parse(zbz_b(text, n), &u, NULL) == ZBZ_E_CONFIG);
	CHECK(zbz_uri_parse(zbz_b(text, 60000), &u, NULL) == ZBZ_OK);
	zbz_uri_clear(&u);
	CHECK(zbz_uri_parse(zbz_b("redis://h\0x", 11), &u, NULL) == ZBZ_E_CONFIG);
	free(text);
}

static void test_redact(void) {
	static const char *const cases[][2] = {
		{ "redis://user:pw@h:1/2", "redis://user:***@h:1/2" },
		{ "redis://:pw@h", "redis://:***@h" },
		{ "redis://h:1/2", "redis://h:1/2" },
		{ "redis://u:p/w?x@h", "redis://u:***@h" },
		{ "redis://u:p@q@h", "redis://u:***@h" },
		{ "plain text", "plain text" },
		{ "", "" },
		{ "http://h/x?token=abc&a=1&Password=q", "http://h/x?token=***&a=1&Password=***" },
		{ "http://h/x?a&b=2", "http://h/x?a&b=2" },
		{ "redis://u:p@h?password=z", "redis://u:***@h?password=***" },
		{ "redis://user@h", "redis://user@h" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		zbz_buf out = { 0 };
		CHECK(zbz_uri_redact(zbz_bstr(cases[i][0]), &out, NULL) == ZBZ_OK);
		CHECK(zbz_bytes_eq(zbz_buf_bytes(&out), zbz_bstr(cases[i][1])));
		zbz_buf_clear(&out);
	}
}

static void test_uri_without_memory(void) {
	bool failed = true;
	for (long n = 1; failed; n++) {
		zbz_uri u;
		zbz_err err = { 0 };
		zbz_status s;
		long live;
		faults_begin(n);
		s = zbz_uri_parse(zbz_bstr("redis://user:pw@host:1/path?a=b&c=d"), &u, &err);
		CHECK(s == ZBZ_OK || (s == ZBZ_E_INTERNAL && err.sys_errno == ENOMEM));
		zbz_uri_clear(&u);
		failed = faults_end(&live);
		CHECK(failed == (s != ZBZ_OK) && live == 0);
	}
}

int main(void) {
	RUN(test_uris);
	RUN(test_uri_query);
	RUN(test_bad_uris);
	RUN(test_uri_limits);
	RUN(test_redact);
	RUN(test_uri_without_memory);
	return DONE();
}
