/* Pages of keys, what a listing asks for, integers as text, the hash's fixed secrets. */
#include <zbz/zbz.h>

#include "base/hash.h"
#include "base/page.h"
#include "base/scan.h"
#include "base/until.h"
#include "check.h"
#include "faults.h"

static void page_round_trip(void) {
	static const char bytes[] = "\x03\0\0\0one\0\0\0\0\x02\x01\0\0";
	char text[258];
	zbz_buf page = { 0 };
	zbz_err err;
	size_t at = 0;
	memset(text, 'x', sizeof text);
	CHECK(zbz_page_add(&page, zbz_bstr("one"), &err) == ZBZ_OK);
	CHECK(zbz_page_add(&page, zbz_b(NULL, 0), &err) == ZBZ_OK);
	CHECK(zbz_page_add(&page, zbz_b(text, sizeof text), &err) == ZBZ_OK);
	CHECK(page.n == 4 + 3 + 4 + 4 + sizeof text && memcmp(page.p, bytes, sizeof bytes - 1) == 0);
	CHECK(zbz_bytes_eq(zbz_page_take(zbz_buf_bytes(&page), &at), zbz_bstr("one")));
	CHECK(zbz_page_take(zbz_buf_bytes(&page), &at).n == 0);
	CHECK(zbz_bytes_eq(zbz_page_take(zbz_buf_bytes(&page), &at), zbz_b(text, sizeof text)));
	CHECK(at == page.n);
	zbz_buf_clear(&page);
	CHECK(zbz_u32_get("\xff\xfe\xfd\xfc") == 0xfcfdfeffu);
}

static void page_without_memory(void) {
	zbz_buf page = { .max = 10 };
	zbz_err err;
	long live;
	CHECK(zbz_page_add(&page, zbz_bstr("key"), &err) == ZBZ_OK && page.n == 7);
	CHECK(zbz_page_add(&page, zbz_b(NULL, 0), &err) == ZBZ_E_TOO_LARGE && page.n == 7);
	zbz_buf_clear(&page);
	faults_begin(1);
	page = (zbz_buf){ 0 };
	CHECK(zbz_page_add(&page, zbz_bstr("key"), &err) < 0 && page.n == 0);
	CHECK(faults_end(&live) && live == 0);
}

static bool wants(const char *prefix, const char *pattern, const char *key) {
	char room[32];
	zbz_key_filter f;
	zbz_key_filter_init(&f, room, zbz_bstr(prefix), zbz_bstr(pattern));
	return zbz_key_filter_wants(&f, zbz_bstr(key));
}

static void filter(void) {
	CHECK(wants("", "", "any") && wants("a:", "", "a:") && wants("a:", "", "a:b"));
	CHECK(!wants("a:", "", "a") && !wants("a:", "", "b:a:"));
	CHECK(wants("a:", "x*", "a:xyz") && !wants("a:", "x*", "a:y") && !wants("a:", "a*", "a:"));
}

static bool integer(const char *text, int64_t wanted) {
	int64_t v = 77;
	return zbz_parse_integer(zbz_bstr(text), &v) && v == wanted;
}

static bool no_integer(const char *text) {
	int64_t v = 77;
	return !zbz_parse_integer(zbz_bstr(text), &v) && v == 77;
}

static void integers(void) {
	CHECK(integer("0", 0) && integer("-0", 0) && integer("42", 42) && integer("-7", -7) && integer("007", 7));
	CHECK(integer("9223372036854775807", INT64_MAX) && integer("-9223372036854775808", INT64_MIN));
	CHECK(no_integer("9223372036854775808") && no_integer("-9223372036854775809"));
	CHECK(no_integer("99999999999999999999999") && no_integer("") && no_integer("-") && no_integer("+1"));
	CHECK(no_integer(" 1") && no_integer("1 ") && no_integer("1.0") && no_integer("0x1") && no_integer("--1"));
	CHECK(!zbz_parse_integer(zbz_b("1\0", 2), &(int64_t){ 0 }));
}

static int64_t left_ms(struct timespec until) {
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)(until.tv_sec - now.tv_sec) * 1000 + (until.tv_nsec - now.tv_nsec) / 1000000;
}

static void moments(void) {
	static const int64_t ms[] = { 100000, 100999, 123456789, ZBZ_UNTIL_MAX };
	size_t i;
	for (i = 0; i < sizeof ms / sizeof *ms; i++) {
		struct timespec t = zbz_until(ms[i]);
		CHECK(t.tv_nsec >= 0 && t.tv_nsec < 1000000000);
		CHECK(left_ms(t) <= ms[i] && left_ms(t) > ms[i] - 60000);
	}
	CHECK(left_ms(zbz_until(INT64_MAX)) <= ZBZ_UNTIL_MAX && left_ms(zbz_until(INT64_MIN)) <= 0);
}

static void fixed_hash(void) {
	uint64_t drawn = zbz_hash(zbz_bstr("key")), one, two;
	zbz_hash_fix(1);
	one = zbz_hash(zbz_bstr("key"));
	zbz_hash_fix(2);
	two = zbz_hash(zbz_bstr("key"));
	CHECK(one != two && one != drawn);
	zbz_hash_fix(1);
	CHECK(zbz_hash(zbz_bstr("key")) == one);
}

int main(void) {
	RUN(page_round_trip);
	RUN(page_without_memory);
	RUN(filter);
	RUN(integers);
	RUN(moments);
	RUN(fixed_hash);
	return DONE();
}
