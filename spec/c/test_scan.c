/* Durations and sizes: from text, from numbers, and back. */
#include <math.h>

#include "base/scan.h"

#include "check.h"

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

int main(void) {
	RUN(test_durations);
	RUN(test_sizes);
	RUN(test_scan_takes_bytes);
	RUN(test_seconds);
	RUN(test_numbers_as_sizes);
	RUN(test_format);
	return DONE();
}
