/* Bytes, time, text: everything in csrc/base. */
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <zbz/call.h>
#include <zbz/config.h>

#include "base/fork.h"
#include "base/hash.h"
#include "base/nearest.h"
#include "base/random.h"
#include "base/scan.h"
#include "base/uri.h"

#include "check.h"
#include "faults.h"

/* ---- durations and sizes ---- */

#define BAD (-1)

typedef struct scan_case {
	const char *text;
	int64_t want; /* BAD: refused */
} scan_case;

static const scan_case durations[] = {
	{ "0", 0 },
	{ "5", 5000 },
	{ "0.25", 250 },
	{ ".5", 500 },
	{ "5.", 5000 },
	{ "0.0001", 1 },
	{ "1.0005", 1001 },
	{ "0s", 0 },
	{ "100ms", 100 },
	{ "30m", 1800000 },
	{ "1h30m", 5400000 },
	{ "7d", 604800000 },
	{ "2w", 1209600000 },
	{ "1.5h", 5400000 },
	{ "1ns", 1 },
	{ "1us", 1 },
	{ "1000us", 1 },
	{ "1001us", 2 },
	{ "999999ns", 1 },
	{ "1000000ns", 1 },
	{ "1000001ns", 2 },
	{ "1500\xC2\xB5s", 2 },
	{ "1500\xCE\xBCs", 2 },
	{ "1d2h3m4s5ms", 93784005 },
	{ "0.1s", 100 },
	{ "0.3s", 300 },
	{ "16.1", 16100 },
	{ "0.0000000000000000000000001", 1 },
	{ "1.00000000000000000000000000", 1000 },
	{ "007", 7000 },
	{ "1h0.5s", 3600500 },
	{ "9007199254740s", 9007199254740000 },
	{ "9007199254740992ms", 9007199254740992 },
	{ "9007199254740993ms", BAD },
	{ "99999999999999999999", BAD },
	{ "999999999999w", BAD },
	{ "18446744073709551616ns", BAD },
	{ "9007199254740991ms999999999999999999us", BAD },
	{ "9007199254740992ms1ns", BAD },
	{ "", BAD },
	{ "-1", BAD },
	{ "-5s", BAD },
	{ "+5", BAD },
	{ "abc", BAD },
	{ "s", BAD },
	{ ".", BAD },
	{ "1.2.3", BAD },
	{ "5 s", BAD },
	{ " 5", BAD },
	{ "5 ", BAD },
	{ "1h30", BAD },
	{ "30m1h", BAD },
	{ "1m1m", BAD },
	{ "1H", BAD },
	{ "5x", BAD },
	{ "1e3", BAD },
	{ "nan", BAD },
	{ "inf", BAD },
	{ "0x10", BAD },
	{ "1,5", BAD },
	{ "1m30", BAD },
	{ "1mss", BAD },
	{ "5\n", BAD },
};

static const scan_case sizes[] = {
	{ "0", 0 },
	{ "4096", 4096 },
	{ "1B", 1 },
	{ "1b", 1 },
	{ "1K", 1024 },
	{ "1kb", 1024 },
	{ "1KiB", 1024 },
	{ "50MB", 52428800 },
	{ "1.5GB", 1610612736 },
	{ "1TB", 1099511627776 },
	{ "1t", 1099511627776 },
	{ "0.5k", 512 },
	{ ".25MB", 262144 },
	{ "1.0", 1 },
	{ "0.1KB", 103 },
	{ "2gib", 2147483648 },
	{ "9223372036854775807", INT64_MAX },
	{ "8388607TB", 8388607 * ((int64_t)1 << 40) },
	{ "9223372036854775808", BAD },
	{ "8388608TB", BAD },
	{ "99999999999999999999999", BAD },
	{ "", BAD },
	{ "-1", BAD },
	{ "-1MB", BAD },
	{ "1.5", BAD },
	{ "1.5B", BAD },
	{ "MB", BAD },
	{ "50 MB", BAD },
	{ "50XB", BAD },
	{ "50MBB", BAD },
	{ "50Mi", BAD },
	{ "50MiX", BAD },
	{ "1e6", BAD },
	{ "0x10", BAD },
	{ "ten", BAD },
	{ "1PB", BAD },
	{ "+1", BAD },
	{ " 1", BAD },
	{ "1MB ", BAD },
	{ "1.2.3", BAD },
};

typedef zbz_status (*parser)(zbz_bytes, int64_t *, zbz_err *);

static void scan_all(parser parse, const scan_case *cases, size_t n) {
	for (size_t i = 0; i < n; i++) {
		zbz_err err = { 0 };
		int64_t got = -2;
		zbz_status s = parse(zbz_bstr(cases[i].text), &got, &err);
		bool ok = cases[i].want == BAD ? s == ZBZ_E_CONFIG && got == -2 && err.text[0] != '\0'
		                               : s == ZBZ_OK && got == cases[i].want;
		if (!ok) fprintf(stderr, "  '%s': status %d, %lld\n", cases[i].text, (int)s, (long long)got);
		CHECK(ok);
	}
}

static void test_durations(void) { scan_all(zbz_parse_duration, durations, sizeof durations / sizeof *durations); }
static void test_sizes(void) { scan_all(zbz_parse_size, sizes, sizeof sizes / sizeof *sizes); }

static void test_scan_takes_bytes(void) { /* no zero byte behind the text, and one inside */
	const char text[] = { '5', 's', '9' };
	int64_t v;
	CHECK(zbz_parse_duration(zbz_b(text, 2), &v, NULL) == ZBZ_OK && v == 5000);
	CHECK(zbz_parse_duration(zbz_b("5s\0", 3), &v, NULL) == ZBZ_E_CONFIG);
	CHECK(zbz_parse_size(zbz_b("5\0", 2), &v, NULL) == ZBZ_E_CONFIG);
	CHECK(zbz_parse_size(zbz_b(text, 1), &v, NULL) == ZBZ_OK && v == 5);
	CHECK(zbz_parse_duration(zbz_b(NULL, 0), &v, NULL) == ZBZ_E_CONFIG);
}

static void test_seconds(void) {
	static const struct {
		double s;
		int64_t want;
	} cases[] = { { 0, 0 },        { 1, 1000 },    { 0.25, 250 }, { 0.1, 100 },      { 16.1, 16100 },     { 0.29, 290 },
		          { 1.001, 1001 }, { 0.0001, 1 },  { 1e-9, 1 },   { 4.35, 4350 },    { 1.0000001, 1001 }, { -0.0, 0 },
		          { -1, BAD },     { 1e300, BAD }, { NAN, BAD },  { INFINITY, BAD }, { -INFINITY, BAD } };
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		int64_t ms = BAD;
		zbz_status s = zbz_duration_from_seconds(cases[i].s, &ms, NULL);
		CHECK(ms == cases[i].want && s == (cases[i].want == BAD ? ZBZ_E_CONFIG : ZBZ_OK));
	}
	for (int i = 0; i < 100000; i++) { /* every millisecond survives the way through a double */
		int64_t ms = -1;
		zbz_duration_from_seconds(i / 1000.0, &ms, NULL);
		if (ms != i) CHECK(ms == i);
	}
}

static void test_numbers_as_sizes(void) {
	int64_t n = 0;
	CHECK(zbz_size_from_number(4096, &n, NULL) == ZBZ_OK && n == 4096);
	CHECK(zbz_size_from_number(1.5, &n, NULL) == ZBZ_E_CONFIG);
	CHECK(zbz_size_from_number(-1, &n, NULL) == ZBZ_E_CONFIG);
	CHECK(zbz_size_from_number(NAN, &n, NULL) == ZBZ_E_CONFIG);
	CHECK(zbz_size_from_number(1e19, &n, NULL) == ZBZ_E_CONFIG);
	CHECK(n == 4096);
}

static void test_format(void) {
	static const int64_t values[] = { 0, 1, 999, 1000, 1001, 60000, 5400000, 604800000, 93784005, ZBZ_DURATION_MAX };
	static const int64_t bytes[] = { 0, 1, 1000, 1024, 52428800, 1610612736, INT64_MAX, (int64_t)1 << 62 };
	char room[ZBZ_SCAN_TEXT];
	int64_t back;
	for (size_t i = 0; i < sizeof values / sizeof *values; i++)
		CHECK(zbz_parse_duration(zbz_bstr(zbz_format_duration(values[i], room)), &back, NULL) == ZBZ_OK &&
		      back == values[i]);
	for (size_t i = 0; i < sizeof bytes / sizeof *bytes; i++)
		CHECK(zbz_parse_size(zbz_bstr(zbz_format_size(bytes[i], room)), &back, NULL) == ZBZ_OK && back == bytes[i]);
	CHECK_STR(zbz_format_duration(5400000, room), "1h30m");
	CHECK_STR(zbz_format_duration(0, room), "0s");
	CHECK_STR(zbz_format_size(104857600, room), "100MB");
	CHECK_STR(zbz_format_size(1000, room), "1000B");
}

/* ---- URLs ---- */

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

/* ---- globs ---- */

typedef struct glob_case {
	const char *pattern, *text;
	bool want;
} glob_case;

static const glob_case globs[] = {
	{ "", "", true },
	{ "", "a", false },
	{ "*", "", true },
	{ "*", "anything", true },
	{ "**", "x", true },
	{ "?", "", false },
	{ "?", "x", true },
	{ "a*", "abc", true },
	{ "*c", "abc", true },
	{ "a*c", "abc", true },
	{ "a*c", "ac", true },
	{ "a*d", "abc", false },
	{ "a?c", "abc", true },
	{ "*b*", "abc", true },
	{ "*bc*bc", "abcbc", true },
	{ "*bc*bc", "abc", false },
	{ "ab*ba", "aba", false },
	{ "a*a", "a", false },
	{ "[abc]", "b", true },
	{ "[abc]", "d", false },
	{ "[a-c]x", "bx", true },
	{ "[!a-c]", "d", true },
	{ "[^a-c]", "a", false },
	{ "[!a]", "", false },
	{ "[c-a]", "b", true },
	{ "[]]", "]", true },
	{ "[]a]", "a", true },
	{ "[!]]", "]", false },
	{ "[!]]", "x", true },
	{ "[a-]", "-", true },
	{ "[-a]", "-", true },
	{ "[a\\-c]", "b", false },
	{ "[a\\-c]", "-", true },
	{ "[\\]]", "]", true },
	{ "[\\\\]", "\\", true },
	{ "[", "[", true },
	{ "[a", "[a", true },
	{ "[a", "a", false },
	{ "[!", "[!", true },
	{ "x[y[z", "x[y[z", true },
	{ "[[]", "[", true },
	{ "\\*", "*", true },
	{ "\\*", "x", false },
	{ "\\?x", "?x", true },
	{ "\\", "\\", true },
	{ "a\\", "a\\", true },
	{ "\\a", "a", true },
	{ "[a-c]*[x-z]", "bqqy", true },
	{ "user:*:name", "user:12:name", true },
	{ "user:*:name", "user::name", true },
	{ "user:*:name", "user:name", false },
	{ "*?", "", false },
	{ "*?", "a", true },
	{ "*[ab]?*", "xxaxx", true },
	{ "*[ab]?*", "xxa", false },
	{ "*\\**", "a*b", true },
	{ "*\\**", "ab", false },
	{ "[*]", "*", true },
	{ "[*]", "x", false },
	{ "[?]", "x", false },
	{ "\xFF*", "\xFF\x01", true },
	{ "[\x80-\xFF]", "\xC3", true },
	{ "[\x01-\x7F]", "\xC3", false },
};

static void test_globs(void) {
	for (size_t i = 0; i < sizeof globs / sizeof *globs; i++) {
		bool ok = zbz_glob_match(zbz_bstr(globs[i].pattern), zbz_bstr(globs[i].text)) == globs[i].want;
		if (!ok) fprintf(stderr, "  '%s' on '%s'\n", globs[i].pattern, globs[i].text);
		CHECK(ok);
	}
	CHECK(zbz_glob_match(zbz_b("*", 1), zbz_b(NULL, 0)) && zbz_glob_match(zbz_b(NULL, 0), zbz_b(NULL, 0)));
	CHECK(zbz_glob_match(zbz_b("a\0*", 3), zbz_b("a\0b", 3)) && !zbz_glob_match(zbz_b("a\0*", 3), zbz_b("a", 1)));
}

/* The definition, exponential and obvious. Without classes. */
static bool slow_match(const char *p, const char *t) {
	if (*p == '\0') return *t == '\0';
	if (*p == '*') return slow_match(p + 1, t) || (*t != '\0' && slow_match(p, t + 1));
	return *t != '\0' && (*p == '?' || *p == *t) && slow_match(p + 1, t + 1);
}

static unsigned next_random(unsigned *state) { return *state = *state * 1664525u + 1013904223u; }

static void test_globs_against_the_definition(void) {
	static const char letters[] = "ab?*";
	unsigned state = 42;
	int wrong = 0;
	for (int round = 0; round < 60000; round++) {
		char p[9], t[13];
		size_t np = (next_random(&state) >> 16) % 9, nt = (next_random(&state) >> 16) % 13;
		for (size_t i = 0; i < np; i++) p[i] = letters[(next_random(&state) >> 16) % 4];
		for (size_t i = 0; i < nt; i++) t[i] = letters[(next_random(&state) >> 16) % 2];
		p[np] = t[nt] = '\0';
		wrong += slow_match(p, t) != zbz_glob_match(zbz_bstr(p), zbz_bstr(t));
	}
	CHECK(wrong == 0);
}

static void test_hostile_globs(void) {
	enum { N = 60000 };
	const zbz_clock *clock = zbz_clock_system();
	char *text = malloc(N), *pattern = malloc(N);
	size_t n = 0;
	int64_t start = zbz_mono(clock);
	memset(text, 'a', N);
	for (n = 0; n + 2 < N; n += 2) memcpy(pattern + n, "a*", 2);
	pattern[n++] = 'b';
	CHECK(!zbz_glob_match(zbz_b(pattern, n), zbz_b(text, N)));
	pattern[0] = '*';
	for (n = 1; n < 400; n += 4) memcpy(pattern + n, "[ab]", 4);
	memcpy(pattern + n, "c*", 2); /* wildcards, then a byte that never comes */
	CHECK(!zbz_glob_match(zbz_b(pattern, n + 2), zbz_b(text, N)));
	CHECK(!zbz_glob_match(zbz_b("*?a?a?a?a?a?a?ab*", 17), zbz_b(text, N)));
	pattern[0] = '*';
	memset(pattern + 1, '?', 60);
	memcpy(pattern + 61, "b*", 2);
	CHECK(!zbz_glob_match(zbz_b(pattern, 63), zbz_b(text, N)));
	memset(pattern, '*', N);
	CHECK(zbz_glob_match(zbz_b(pattern, N), zbz_b(text, N)));
	memset(pattern, '[', N);
	CHECK(!zbz_glob_match(zbz_b(pattern, N), zbz_b(text, N)));
	memset(pattern, '?', N);
	CHECK(zbz_glob_match(zbz_b(pattern, N), zbz_b(text, N)));
	pattern[0] = pattern[N - 1] = '*'; /* a piece far longer than a machine word */
	CHECK(zbz_glob_match(zbz_b(pattern, N), zbz_b(text, N)));
	pattern[N - 2] = 'b';
	CHECK(!zbz_glob_match(zbz_b(pattern, N), zbz_b(text, N)));
	memset(pattern, 'a', N);
	pattern[0] = pattern[N - 1] = '*';
	pattern[N - 2] = 'b';
	CHECK(!zbz_glob_match(zbz_b(pattern, N), zbz_b(text, N)));
	CHECK(zbz_mono(clock) - start < 5000);
	free(text);
	free(pattern);
}

/* Whatever comes in: an answer, no crash, nothing left behind (the sanitizers watch). */
static void test_random_text(void) {
	static const char alphabet[] = "01259.-hmsdwKMGTiBb:/@%?&=[],*!^\\]#ar \xC2\xB5\x00";
	unsigned state = 7;
	for (int round = 0; round < 40000; round++) {
		char *a, *b, bytes[24];
		size_t na = (next_random(&state) >> 16) % 24, nb = (next_random(&state) >> 16) % 24;
		int64_t v = 0;
		zbz_uri uri;
		zbz_buf out = { 0 };
		a = malloc(na + 1); /* of the exact size, so that a step too far is seen */
		b = malloc(nb + 1);
		for (size_t i = 0; i < na; i++) bytes[i] = alphabet[(next_random(&state) >> 16) % (sizeof alphabet - 1)];
		a = realloc(memcpy(a, bytes, na), na > 0 ? na : 1);
		for (size_t i = 0; i < nb; i++) bytes[i] = alphabet[(next_random(&state) >> 16) % (sizeof alphabet - 1)];
		b = realloc(memcpy(b, bytes, nb), nb > 0 ? nb : 1);
		if (zbz_parse_duration(zbz_b(a, na), &v, NULL) == ZBZ_OK && v < 0) CHECK(v >= 0);
		if (zbz_parse_size(zbz_b(a, na), &v, NULL) == ZBZ_OK && v < 0) CHECK(v >= 0);
		zbz_glob_match(zbz_b(a, na), zbz_b(b, nb));
		if (zbz_uri_redact(zbz_b(a, na), &out, NULL) != ZBZ_OK) CHECK(!"redacting fails only without memory");
		zbz_buf_clear(&out);
		if (na >= 2 && round % 2 == 0) memcpy(a, "a:", 2);
		if (na >= 4 && round % 4 == 0) memcpy(a, "a://", 4);
		if (zbz_uri_parse(zbz_b(a, na), &uri, NULL) == ZBZ_OK)
			CHECK(uri.scheme != NULL && uri.port >= 0 && uri.port <= 65535);
		zbz_uri_clear(&uri);
		free(a);
		free(b);
	}
}

/* ---- buffers ---- */

static void test_buffers(void) {
	zbz_buf b = { .max = 10 };
	zbz_err err = { 0 };
	CHECK(zbz_buf_append(&b, "12345", 5, &err) == ZBZ_OK && b.n == 5);
	CHECK(zbz_buf_append(&b, "123456", 6, &err) == ZBZ_E_TOO_LARGE && b.n == 5 && memcmp(b.p, "12345", 5) == 0);
	CHECK(strstr(err.text, "10") != NULL);
	CHECK(zbz_buf_append(&b, "67890", 5, &err) == ZBZ_OK && b.n == 10);
	CHECK(zbz_buf_putc(&b, 'x', &err) == ZBZ_E_TOO_LARGE && b.n == 10);
	CHECK(zbz_buf_reserve(&b, SIZE_MAX, &err) == ZBZ_E_TOO_LARGE && zbz_buf_reserve(&b, 0, &err) == ZBZ_OK);
	zbz_buf_clear(&b);
	CHECK(b.p == NULL && b.n == 0 && b.max == 10 && zbz_buf_putc(&b, 'x', &err) == ZBZ_OK);
	zbz_buf_clear(&b);
}

static void test_buffers_print(void) {
	zbz_buf b = { 0 };
	char *wide = malloc(1001);
	memset(wide, 'w', 1000);
	wide[1000] = '\0';
	CHECK(zbz_buf_printf(&b, NULL, "%d-%s", 42, "x") == ZBZ_OK && zbz_bytes_eq(zbz_buf_bytes(&b), zbz_bstr("42-x")));
	CHECK(zbz_buf_printf(&b, NULL, "[%s]", wide) == ZBZ_OK && b.n == 4 + 1002 && b.p[1005] == ']');
	zbz_buf_reset(&b);
	CHECK(b.n == 0 && b.cap > 0);
	zbz_buf_clear(&b);
	b.max = 1002;
	CHECK(zbz_buf_printf(&b, NULL, "[%s]", wide) == ZBZ_OK && b.n == 1002); /* exactly full */
	CHECK(zbz_buf_printf(&b, NULL, "x") == ZBZ_E_TOO_LARGE && b.n == 1002);
	zbz_buf_clear(&b);
	b.max = 0;
	CHECK(zbz_buf_reserve(&b, 2 << 20, NULL) == ZBZ_OK);
	zbz_buf_reset(&b);
	CHECK(b.cap == 0); /* a large one gives its memory back */
	free(wide);
}

static void test_buffers_without_memory(void) {
	char text[600];
	bool failed = true;
	memset(text, 'x', 599);
	text[599] = '\0';
	for (long n = 1; failed; n++) {
		zbz_buf b = { 0 };
		zbz_err err = { 0 };
		zbz_status s;
		long live;
		faults_begin(n);
		s = zbz_buf_append(&b, "abc", 3, &err);
		if (s == ZBZ_OK) s = zbz_buf_printf(&b, &err, "%s", text);
		CHECK(s == ZBZ_OK ? b.n == 602 : err.sys_errno == ENOMEM && (b.n == 0 || b.n == 3));
		zbz_buf_clear(&b);
		failed = faults_end(&live);
		CHECK(live == 0);
	}
}

/* ---- errors, memory ---- */

static void test_errors(void) {
	zbz_err err;
	char wide[400];
	memset(&err, 'x', sizeof err);
	CHECK(zbz_fail(&err, ZBZ_E_TIMEOUT, "after %d ms\n\tand \x7F", 5) == ZBZ_E_TIMEOUT);
	CHECK_STR(err.text, "after 5 ms??and ?");
	CHECK(err.retryable && err.sys_errno == 0 && err.provider[0] == '\0' && err.option[0] == '\0' &&
	      err.status == ZBZ_E_TIMEOUT);
	CHECK(zbz_fail(&err, ZBZ_E_CONFIG, "again: %s", err.text) == ZBZ_E_CONFIG && !err.retryable); /* from itself */
	CHECK_STR(err.text, "again: after 5 ms??and ?");
	memset(wide, 'y', sizeof wide);
	wide[sizeof wide - 1] = '\0';
	zbz_fail(&err, ZBZ_E_UNAVAILABLE, "%s", wide);
	CHECK(strlen(err.text) == 255 && strcmp(err.text + 252, "...") == 0 && err.text[251] == 'y' && err.retryable);
	for (size_t i = 0; i + 2 < sizeof wide; i += 2) memcpy(wide + i, "\xC3\xA4", 2);
	zbz_fail(&err, ZBZ_E_LOCKED, "%s", wide);
	CHECK(strcmp(err.text + strlen(err.text) - 3, "...") == 0 && (unsigned char)err.text[strlen(err.text) - 4] == 0xA4);
	CHECK(zbz_fail(NULL, ZBZ_E_CORRUPT, "x") == ZBZ_E_CORRUPT && zbz_fail_nomem(NULL) == ZBZ_E_INTERNAL &&
	      zbz_fail_option(NULL, "o", "x") == ZBZ_E_CONFIG);
	CHECK(zbz_fail_errno(&err, ZBZ_E_UNAVAILABLE, ECONNREFUSED, "connect to %s", "h") == ZBZ_E_UNAVAILABLE &&
	      err.sys_errno == ECONNREFUSED);
	CHECK_STR(err.text, "connect to h: Connection refused");
	CHECK(zbz_fail_option(&err, "pool_size", "expects %d", 1) == ZBZ_E_CONFIG);
	CHECK_STR(err.option, "pool_size");
	zbz_fail_option(&err, wide, "x");
	CHECK(strlen(err.option) == sizeof err.option - 1);
	zbz_fail_nomem(&err);
	CHECK(err.status == ZBZ_E_INTERNAL && err.sys_errno == ENOMEM && !err.retryable);
}

static void test_status_names(void) {
	for (int s = ZBZ_E_INTERNAL; s <= ZBZ_END; s++) CHECK(zbz_status_name((zbz_status)s) != NULL);
	CHECK_STR(zbz_status_name(ZBZ_OK), "ok");
	CHECK_STR(zbz_status_name(ZBZ_END), "end");
	CHECK_STR(zbz_status_name(ZBZ_E_CONFIG), "invalid_config");
	CHECK_STR(zbz_status_name(ZBZ_E_PROVIDER_MISMATCH), "provider_mismatch");
	CHECK_STR(zbz_status_name(ZBZ_E_INTERNAL), "internal");
	CHECK_STR(zbz_status_name((zbz_status)-99), "internal");
	CHECK_STR(zbz_status_name((zbz_status)99), "internal");
}

static void test_memory(void) {
	char *s;
	void *p = zbz_malloc(0);
	long live;
	CHECK(p != NULL);
	zbz_free(p);
	zbz_free(NULL);
	CHECK(zbz_calloc(SIZE_MAX / 2, 3) == NULL);
	p = zbz_calloc(0, 8);
	CHECK(p != NULL);
	zbz_free(p);
	CHECK(zbz_strdup(NULL) == NULL);
	faults_begin(3);
	s = zbz_strdup("abc");
	CHECK(s != NULL && strcmp(s, "abc") == 0);
	p = zbz_calloc(4, 4);
	CHECK(p != NULL && memcmp(p, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16) == 0);
	CHECK(zbz_realloc(s, 100) == NULL && strcmp(s, "abc") == 0);
	s = zbz_realloc(s, 100);
	CHECK(s != NULL && strcmp(s, "abc") == 0);
	zbz_free(s);
	zbz_free(p);
	CHECK(faults_end(&live) && live == 0);
}

/* ---- clocks ---- */

static void *push_clock(void *clock) {
	for (int i = 0; i < 1000; i++) zbz_clock_fake_advance(clock, 1);
	return NULL;
}

static void test_clocks(void) {
	const zbz_clock *sys = zbz_clock_system();
	zbz_clock *fake = zbz_clock_fake_new(5000);
	zbz_call call = { .clock = fake, .deadline = ZBZ_NEVER };
	int64_t mono = zbz_mono(fake);
	pthread_t threads[2];
	CHECK(zbz_wall(sys) > 1600000000000 && zbz_mono(sys) <= zbz_mono(sys));
	CHECK(zbz_wall(fake) == 5000 && zbz_wall(fake) == 5000);
	for (int i = 0; i < 2; i++) pthread_create(&threads[i], NULL, push_clock, fake);
	for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
	CHECK(zbz_wall(fake) == 7000 && zbz_mono(fake) == mono + 2000);
	CHECK(zbz_call_left(&call) == INT64_MAX);
	call.deadline = zbz_mono(fake) + 10;
	CHECK(zbz_call_left(&call) == 10);
	zbz_clock_fake_advance(fake, 20);
	CHECK(zbz_call_left(&call) == 0);
	zbz_clock_fake_free(fake);
	zbz_clock_fake_free(NULL);
}

/* ---- hash, random, names, forks ---- */

static void test_hash(void) {
	char text[80];
	unsigned buckets[256] = { 0 }, worst = 0;
	int flips = 0;
	for (int i = 0; i < 80; i++) text[i] = (char)i;
	for (size_t n = 0; n < 72; n++) {
		char moved[81];
		uint64_t h = zbz_hash(zbz_b(text, n));
		memcpy(moved + 1, text, n); /* elsewhere, differently aligned */
		CHECK(zbz_hash(zbz_b(moved + 1, n)) == h);
		CHECK(n == 0 || zbz_hash(zbz_b(text, n - 1)) != h);
		for (size_t bit = 0; bit < n * 8; bit++) {
			text[bit / 8] = (char)(text[bit / 8] ^ 1 << bit % 8);
			if (zbz_hash(zbz_b(text, n)) == h) CHECK(!"a flipped bit changes the hash");
			if (n == 20) flips += __builtin_popcountll(h ^ zbz_hash(zbz_b(text, n)));
			text[bit / 8] = (char)(text[bit / 8] ^ 1 << bit % 8);
		}
	}
	CHECK(flips > 160 * 28 && flips < 160 * 36); /* of 64 bits about half change */
	for (int i = 0; i < 65536; i++) {
		int n = snprintf(text, sizeof text, "user:%d", i);
		buckets[zbz_hash(zbz_b(text, (size_t)n)) & 255]++;
	}
	for (int i = 0; i < 256; i++)
		if (buckets[i] > worst) worst = buckets[i];
	CHECK(worst < 256 + 6 * 16);
	CHECK(zbz_hash(zbz_b(NULL, 0)) == zbz_hash(zbz_b("", 0)));
}

static void test_random(void) {
	unsigned char a[1000] = { 0 }, b[1000] = { 0 };
	size_t same_bytes = 0;
	CHECK(zbz_random(a, sizeof a, NULL) == ZBZ_OK && zbz_random(b, sizeof b, NULL) == ZBZ_OK);
	for (size_t i = 0; i < sizeof a; i++) same_bytes += a[i] == b[i];
	CHECK(same_bytes < 40);
	CHECK(zbz_random(NULL, 0, NULL) == ZBZ_OK);
}

static void test_distance(void) {
	char wide[100];
	memset(wide, 'a', 99);
	wide[99] = '\0';
	CHECK(zbz_edit_distance("", "") == 0 && zbz_edit_distance("abc", "") == 3 && zbz_edit_distance("", "ab") == 2);
	CHECK(zbz_edit_distance("pol_size", "pool_size") == 1 && zbz_edit_distance("pool_szie", "pool_size") == 1);
	CHECK(zbz_edit_distance("kitten", "sitting") == 3 && zbz_edit_distance("url", "url") == 0);
	CHECK(zbz_edit_distance(wide, "a") == 62);
}

static void test_fork_generation(void) {
	unsigned mine = zbz_fork_generation();
	int status = 0;
	pid_t pid = fork();
	if (pid == 0) _exit(zbz_fork_generation() == mine + 1 ? 0 : 1);
	CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0);
	CHECK(zbz_fork_generation() == mine);
}

int main(void) {
	RUN(test_durations);
	RUN(test_sizes);
	RUN(test_scan_takes_bytes);
	RUN(test_seconds);
	RUN(test_numbers_as_sizes);
	RUN(test_format);
	RUN(test_uris);
	RUN(test_uri_query);
	RUN(test_bad_uris);
	RUN(test_uri_limits);
	RUN(test_redact);
	RUN(test_uri_without_memory);
	RUN(test_globs);
	RUN(test_globs_against_the_definition);
	RUN(test_hostile_globs);
	RUN(test_random_text);
	RUN(test_buffers);
	RUN(test_buffers_print);
	RUN(test_buffers_without_memory);
	RUN(test_errors);
	RUN(test_status_names);
	RUN(test_memory);
	RUN(test_clocks);
	RUN(test_hash);
	RUN(test_random);
	RUN(test_distance);
	RUN(test_fork_generation);
	return DONE();
}
