/* The formatters: whatever a field holds, JSON is valid, lines are single and tame, values come back as they went in. */
#include "format_rig.h"

#include <math.h>
#include <stdlib.h>

static void plain_fields(void) {
	zbz_field f[4];
	begin();
	f[0] = text("user", zbz_bstr("alice"));
	f[1] = integer("big", INT64_MIN);
	f[2] = number("pi", 3.141592653589793);
	f[3] = (zbz_field){ .key = zbz_log_key_of(view, zbz_bstr("u")), .type = ZBZ_FIELD_UINT, .v = { .u = UINT64_MAX } };
	line(ZBZ_FORMAT_JSON, zbz_bstr("hello"), f, 4);
	CHECK(sound(ZBZ_FORMAT_JSON));
	CHECK(has("\"level\":\"info\",\"logger\":\"a.b\",\"message\":\"hello\",\"big\":-9223372036854775808,\"pi\":3."
	          "141592653589793,"
	          "\"u\":18446744073709551615,\"user\":\"alice\"}\n"));
	line(ZBZ_FORMAT_LOGFMT, zbz_bstr("hello you"), f, 4);
	CHECK(has("Z level=info logger=a.b msg=\"hello you\" big=-9223372036854775808 pi=3.141592653589793 "
	          "u=18446744073709551615 user=alice\n"));
	line(ZBZ_FORMAT_CONSOLE, zbz_bstr("hello you"), f, 4);
	CHECK(has("Z INFO  a.b: hello you big="));
}

/* Every byte, alone and between others, in a message, a value and a name. */
static void every_byte(void) {
	for (int c = 0; c < 256; c++) {
		for (int shape = 0; shape < 3; shape++) {
			char s[12] = "abcdefghijk", name[4] = "n";
			size_t n = shape == 0 ? 1 : 11;
			zbz_field f[2];
			s[shape == 2 ? 9 : 0] = (char)c;
			name[1] = (char)c;
			for (size_t k = 0; k < 4; k++) {
				begin();
				f[0] = text("v", zbz_b(s, n));
				f[1] = integer("x", 1);
				f[1].key = zbz_log_key_of(view, zbz_b(name, 2));
				line(formats[k], zbz_b(s, n), f, 2);
				if (!sound(formats[k])) {
					fprintf(stderr, "byte %d shape %d format %zu: %.*s\n", c, shape, k, (int)out.n, out.p);
					CHECK(false);
				}
			}
		}
	}
	CHECK(true);
}

static void bad_utf8(void) {
	static const char *const bad[] = { "\xff",         "\xc3",         "\xc0\xaf",
		                               "\xe2\x82",     "\xed\xa0\x80", "\xf4\x90\x80\x80",
		                               "\xf0\x9f\x98", "a\x80z" };
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		zbz_field f[1];
		begin();
		f[0] = text("v", zbz_bstr(bad[i]));
		line(ZBZ_FORMAT_JSON, zbz_bstr("m"), f, 1);
		CHECK(sound(ZBZ_FORMAT_JSON));
		CHECK(has("\xEF\xBF\xBD"));
	}
	{
		zbz_field f[1];
		begin();
		f[0] = text("v", zbz_bstr("\xE2\x80\xAE"
		                          "evil \xC2\x9B"
		                          "31m"));
		line(ZBZ_FORMAT_CONSOLE, zbz_bstr("\033]0;title\007\r\n2026 forged"), f, 1);
		CHECK(has("\\u001b]0;title\\u0007\\r\\n2026 forged"));
		CHECK(has("\\u202eevil \\u009b31m"));
	}
}

static void odd_numbers(void) {
	zbz_field f[3];
	begin();
	f[0] = number("a", NAN);
	f[1] = number("b", INFINITY);
	f[2] = number("c", -INFINITY);
	line(ZBZ_FORMAT_JSON, zbz_bstr("m"), f, 3);
	CHECK(has("\"a\":null,\"b\":null,\"c\":null}"));
	line(ZBZ_FORMAT_LOGFMT, zbz_bstr("m"), f, 3);
	CHECK(has("a=NaN b=+Inf c=-Inf\n"));
	srand(7);
	for (int i = 0; i < 20000; i++) {
		double d = i % 3 == 0 ? (rand() % 2000000 - 1000000) / 1000.0
		                      : ldexp((double)rand() / RAND_MAX - 0.5, rand() % 200 - 100);
		zbz_field one;
		begin();
		one = number("d", d);
		line(ZBZ_FORMAT_JSON, zbz_bstr("m"), &one, 1);
		if (strtod(strstr(out.p, "\"d\":") + 4, NULL) != d) {
			CHECK(false);
			break;
		}
	}
	CHECK(true);
}

static void times_and_durations(void) {
	static const struct {
		int64_t ns;
		const char *shown;
	} spans[] = { { 0, "0s" },
		          { 42000000, "42ms" },
		          { 42500000, "42.5ms" },
		          { 999, "999ns" },
		          { 1500, "1.5us" },
		          { 1000000000, "1s" },
		          { 90000000000, "1m30s" },
		          { 3600000000000, "1h" },
		          { -1000000, "-1ms" },
		          { 3661001000000, "1h1m1.001s" },
		          { INT64_MIN, "-2562047h47m16.854775808s" } };
	zbz_field f[1];
	for (size_t i = 0; i < sizeof spans / sizeof *spans; i++) {
		char want[64];
		begin();
		f[0] = (zbz_field){ .key = zbz_log_key_of(view, zbz_bstr("d")),
			                .type = ZBZ_FIELD_DURATION,
			                .v = { .i = spans[i].ns } };
		snprintf(want, sizeof want, "\"d\":\"%s\"", spans[i].shown);
		line(ZBZ_FORMAT_JSON, zbz_bstr("m"), f, 1);
		CHECK(has(want));
	}
	begin();
	f[0] = (zbz_field){ .key = zbz_log_key_of(view, zbz_bstr("t")),
		                .type = ZBZ_FIELD_TIME,
		                .v = { .i = INT64_C(951827696123456789) } };
	line(ZBZ_FORMAT_JSON, zbz_bstr("m"), f, 1);
	CHECK(has("\"t\":\"2000-02-29T12:34:56.123456789Z\""));
	begin();
	f[0] = number("latency", 0.042);
	line(ZBZ_FORMAT_JSON, zbz_bstr("m"), f, 1);
	CHECK(has("\"latency\":\"42ms\""));
}

static void names_twice(void) {
	zbz_field f[6];
	begin();
	f[0] = integer("a", 1);
	f[1] = integer("level", 2);
	f[2] = integer("a", 3);
	f[3] = integer("time", 4);
	f[4] = integer("fields.level", 5);
	f[5] = integer("", 6);
	line(ZBZ_FORMAT_JSON, zbz_bstr("m"), f, 6);
	CHECK(sound(ZBZ_FORMAT_JSON));
	CHECK(has("\"a\":3") && !has("\"a\":1") && has("\"fields.level\":5") && has("\"fields.time\":4") && has("\"\":6"));
}

static void bound_fields(void) {
	zbz_logger *plain = logger, *with, *more;
	zbz_field f[2];
	begin();
	f[0] = text("request_id", zbz_bstr("r1"));
	f[1] = text("user", zbz_bstr("u1"));
	with = zbz_logger_with(logger, f, 2);
	begin();
	f[0] = text("user", zbz_bstr("u2"));
	more = zbz_logger_with(with, f, 1);
	CHECK(with != NULL && more != NULL);
	logger = more;
	for (int again = 0; again < 2; again++) {
		begin();
		f[0] = integer("x", 1);
		line(ZBZ_FORMAT_JSON, zbz_bstr("m"), f, 1);
		CHECK(has("\"message\":\"m\",\"request_id\":\"r1\",\"user\":\"u2\",\"x\":1}"));
		begin();
		f[0] = integer("request_id", 7);
		line(ZBZ_FORMAT_JSON, zbz_bstr("m"), f, 1);
		CHECK(sound(ZBZ_FORMAT_JSON) && has("\"user\":\"u2\",\"request_id\":7}"));
	}
	line(ZBZ_FORMAT_LOGFMT, zbz_bstr("m"), f, 0);
	CHECK(has("msg=m request_id=r1 user=u2\n"));
	logger = plain;
	zbz_logger_free(with);
	zbz_logger_free(more);
}

static void nested(void) {
	zbz_buf pack = { 0 };
	zbz_field f[1];
	zbz_pack_map(&pack, 3, NULL);
	zbz_pack_str(&pack, zbz_bstr("a\"\n"), NULL);
	zbz_pack_array(&pack, 2, NULL);
	zbz_pack_int(&pack, -5, NULL);
	zbz_pack_nil(&pack, NULL);
	zbz_pack_int(&pack, 7, NULL);
	zbz_pack_str(&pack, zbz_bstr("x \033 y"), NULL);
	zbz_pack_str(&pack, zbz_bstr("password"), NULL);
	zbz_pack_str(&pack, zbz_bstr("hunter2"), NULL);
	begin();
	f[0] = (zbz_field){ .key = zbz_log_key_of(view, zbz_bstr("n")),
		                .type = ZBZ_FIELD_PACK,
		                .v = { .s = zbz_buf_bytes(&pack) } };
	for (size_t k = 0; k < 4; k++) {
		begin();
		f[0].key = zbz_log_key_of(view, zbz_bstr("n"));
		line(formats[k], zbz_bstr("m"), f, 1);
		CHECK(sound(formats[k]));
		if (k == 0) CHECK(has("\"n\":{\"a\\\"\\n\":[-5,null],\"7\":\"x \\u001b y\",\"password\":\"hunter2\"}"));
	}
	/* Bytes that are no MessagePack: a mark instead, and the line stands. */
	for (size_t cut = 0; cut < pack.n; cut++) {
		begin();
		f[0].key = zbz_log_key_of(view, zbz_bstr("n"));
		f[0].type = ZBZ_FIELD_PACK;
		f[0].v.s = zbz_b(pack.p, cut);
		line(ZBZ_FORMAT_JSON, zbz_bstr("m"), f, 1);
		CHECK(sound(ZBZ_FORMAT_JSON) && has("\"n\":\"...\"") && has("\"truncated\":true"));
	}
	zbz_buf_clear(&pack);
}

int main(void) {
	if (!open_log(0, NULL, 0, 0)) return 1;
	RUN(plain_fields);
	RUN(every_byte);
	RUN(bad_utf8);
	RUN(odd_numbers);
	RUN(times_and_durations);
	RUN(names_twice);
	RUN(bound_fields);
	RUN(nested);
	close_log();
	return DONE();
}
