/* Globs beside their definition and under hostile patterns; then random text for all that reads text. */
#include <stdlib.h>

#include <zbz/clock.h>

#include "base/scan.h"
#include "base/uri.h"

#include "check.h"

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

int main(void) {
	RUN(test_globs);
	RUN(test_globs_against_the_definition);
	RUN(test_hostile_globs);
	RUN(test_random_text);
	return DONE();
}
