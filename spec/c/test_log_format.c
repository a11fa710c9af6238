/* The formatters: whatever a field holds, JSON is valid, lines are single and tame, values come back as they went in. */
#include "check.h"
#include "faults.h"
#include "log_json.h"

#include <zbz/log.h>
#include <zbz/pack.h>

#include <math.h>
#include <stdlib.h>

static zbz_log *log_;
static zbz_log_view *view;
static zbz_logger *logger;
static zbz_buf out;

static const zbz_format formats[] = { ZBZ_FORMAT_JSON, ZBZ_FORMAT_LOGFMT, ZBZ_FORMAT_CONSOLE, ZBZ_FORMAT_COLOUR };

/* One output that the caller writes: everything up to the line, nothing of rings. */
static bool open_log(size_t max_record, const zbz_log_redact_rule *rules, size_t rules_n, unsigned scan) {
	static const char *const names[] = { "own" };
	static const char *const durations[] = { "latency" };
	zbz_log_output_spec outputs[] = { { .name = "own" } };
	zbz_log_logger_spec loggers[] = {
		{ .name = "", .level = ZBZ_LEVEL_TRACE, .has_outputs = true, .outputs = names, .outputs_n = 1 }
	};
	zbz_log_settings set = { .outputs = outputs,
		                     .outputs_n = 1,
		                     .loggers = loggers,
		                     .loggers_n = 1,
		                     .max_record = max_record,
		                     .redact = rules,
		                     .redact_n = rules_n,
		                     .scan = scan,
		                     .durations = durations,
		                     .durations_n = 1,
		                     .hmac_key = zbz_bstr("0123456789abcdef") };
	zbz_err err;
	log_ = zbz_log_new(NULL);
	if (log_ == NULL) return false;
	if (zbz_log_configure(log_, &set, &err) != ZBZ_OK) return false;
	view = zbz_log_view_new(log_);
	logger = view != NULL ? zbz_logger_new(view, zbz_bstr("a.b")) : NULL;
	return logger != NULL;
}

static void close_log(void) {
	zbz_logger_free(logger);
	zbz_log_view_free(view);
	zbz_log_free(log_);
	zbz_buf_clear(&out);
	logger = NULL;
	view = NULL;
	log_ = NULL;
}

static zbz_field text(const char *name, zbz_bytes s) {
	zbz_field f = { .key = zbz_log_key_of(view, zbz_bstr(name)), .type = ZBZ_FIELD_TEXT, .v = { .s = s } };
	return f;
}
static zbz_field number(const char *name, double d) {
	zbz_field f = { .key = zbz_log_key_of(view, zbz_bstr(name)), .type = ZBZ_FIELD_DOUBLE, .v = { .d = d } };
	return f;
}
static zbz_field integer(const char *name, int64_t i) {
	zbz_field f = { .key = zbz_log_key_of(view, zbz_bstr(name)), .type = ZBZ_FIELD_INT, .v = { .i = i } };
	return f;
}

static void begin(void) {
	unsigned turn;
	zbz_logger_wants(logger, ZBZ_LEVEL_INFO, &turn);
}

static const char *line(zbz_format format, zbz_bytes msg, zbz_field *fields, size_t n) {
	zbz_logger_write(logger, ZBZ_LEVEL_INFO, msg, fields, n, false);
	out.n = 0;
	if (zbz_logger_render(logger, format, &out, NULL) != ZBZ_OK || zbz_buf_putc(&out, '\0', NULL) != ZBZ_OK) return "";
	out.n--;
	return out.p;
}

static bool has(const char *what) { return memmem(out.p, out.n, what, strlen(what)) != NULL; }

/* Of the line just made. */
static bool sound(zbz_format format) {
	if (out.n == 0 || out.p[out.n - 1] != '\n') return false;
	if (!line_is_tame(out.p, out.n - 1, format == ZBZ_FORMAT_COLOUR))
		return format == ZBZ_FORMAT_JSON && json_is_object(out.p, out.n - 1);
	return format != ZBZ_FORMAT_JSON || json_is_object(out.p, out.n - 1);
}

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

/* A limit of the record: never beyond it, always valid, and marked. */
static void limits(void) {
	enum { MAX = 4096 };
	char *big = malloc(100000);
	close_log();
	CHECK(open_log(MAX, NULL, 0, 0));
	for (size_t n = 0; n < 20000; n = n < 300 ? n + 37 : n * 5 / 4 + 1) {
		for (int fill = 0; fill < 3; fill++) {
			memset(big, fill == 0 ? 'x' : fill == 1 ? '\n' : 0xC3, 100000);
			for (size_t k = 0; k < 4; k++) {
				zbz_field f[3];
				begin();
				f[0] = text("a", zbz_b(big, n));
				f[1] = text("b", zbz_b(big, n / 2));
				f[2] = integer("c", 1);
				line(formats[k], zbz_b(big, n / 3), f, 3);
				CHECK(out.n <= MAX && sound(formats[k]));
				if (n > MAX) CHECK(has("truncated"));
				if (n < 100) CHECK(!has("truncated"));
			}
		}
	}
	{
		zbz_field f[ZBZ_LOG_FIELDS_MAX + 6];
		char names[ZBZ_LOG_FIELDS_MAX + 6][8];
		begin();
		for (size_t i = 0; i < sizeof f / sizeof *f; i++) {
			snprintf(names[i], sizeof names[i], "f%zu", i);
			f[i] = integer(names[i], (int64_t)i);
		}
		line(ZBZ_FORMAT_JSON, zbz_bstr("m"), f, sizeof f / sizeof *f);
		CHECK(sound(ZBZ_FORMAT_JSON) && has("\"f63\":63") && !has("\"f64\"") && has("\"truncated\":true"));
	}
	free(big);
	close_log();
	CHECK(open_log(0, NULL, 0, 0));
}

static void redaction(void) {
	static const zbz_log_redact_rule rules[] = { { "Password", ZBZ_REDACT_MASK },
		                                         { "*_token", ZBZ_REDACT_MASK },
		                                         { "user", ZBZ_REDACT_HASH },
		                                         { "phone", ZBZ_REDACT_PARTIAL },
		                                         { "ip", ZBZ_REDACT_IP } };
	zbz_buf pack = { 0 };
	zbz_field f[8];
	close_log();
	CHECK(open_log(0, rules, 5, ZBZ_SCAN_SSN | ZBZ_SCAN_CARD | ZBZ_SCAN_EMAIL));
	zbz_pack_map(&pack, 2, NULL);
	zbz_pack_str(&pack, zbz_bstr("PASSWORD"), NULL);
	zbz_pack_str(&pack, zbz_bstr("hunter2"), NULL);
	zbz_pack_str(&pack, zbz_bstr("note"), NULL);
	zbz_pack_str(&pack, zbz_bstr("write to bob@example.com"), NULL);
	begin();
	f[0] = text("password", zbz_bstr("hunter2"));
	f[1] = integer("API_TOKEN", 424242);
	f[2] = text("user", zbz_bstr("alice"));
	f[3] = text("phone", zbz_bstr("+49123456789"));
	f[4] = text("ip", zbz_bstr("203.0.113.9"));
	f[5] = (zbz_field){ .key = zbz_log_key_of(view, zbz_bstr("n")),
		                .type = ZBZ_FIELD_PACK,
		                .v = { .s = zbz_buf_bytes(&pack) } };
	f[6] =
	    text("free", zbz_bstr("ssn 078-05-1120, card 4111 1111 1111 1111; not 4111 1111 1111 1112, not 1078-05-11201"));
	f[7] = integer("pan", INT64_C(4111111111111111));
	line(ZBZ_FORMAT_JSON, zbz_bstr("mail bob.smith+x@mail.example.org now"), f, 8);
	CHECK(sound(ZBZ_FORMAT_JSON));
	CHECK(!has("hunter2") && !has("424242") && !has("alice") && !has("bob") && !has("078-05-1120,") &&
	      !has("4111111111111111"));
	CHECK(has("\"message\":\"mail [email] now\""));
	CHECK(has("\"free\":\"ssn [ssn], card [card]; not 4111 1111 1111 1112, not 1078-05-11201\""));
	CHECK(has("\"pan\":\"[card]\"") && has("\"phone\":\"+4...89\"") && has("\"ip\":\"203.0.113.0\""));
	CHECK(has("{\"PASSWORD\":\"***\",\"note\":\"write to [email]\"}"));
	/* python3: hmac.new(b"0123456789abcdef", b"alice", "sha256").hexdigest()[:16] */
	CHECK(has("\"user\":\"hmac:fdbf8b1cacd3d578\""));
	zbz_buf_clear(&pack);
	close_log();
	CHECK(open_log(0, NULL, 0, 0));
}

/* Every allocation fails once: the log does without, or the line is missing; nothing leaks, no line is wrong. */
static void no_memory(void) {
	static const zbz_log_redact_rule rules[] = { { "secret", ZBZ_REDACT_HASH } };
	bool failed = true;
	close_log();
	for (long n = 1; failed && n < 500; n++) {
		long live;
		bool wrong = false;
		faults_begin(n);
		if (open_log(0, rules, 1, ZBZ_SCAN_EMAIL)) {
			zbz_logger *plain = logger, *with;
			zbz_field f[2];
			begin();
			f[0] = text("a", zbz_bstr("x@example.com"));
			with = zbz_logger_with(logger, f, 1);
			if (with != NULL) logger = with;
			begin();
			f[0] = text("secret", zbz_bstr("hunter2"));
			f[1] = text("b", zbz_bstr("bob@example.com"));
			for (size_t k = 0; k < 4; k++) {
				const char *s = line(formats[k], zbz_bstr("to bob@example.com"), f, 2);
				if (s[0] == '\0') continue;
				wrong = wrong || !sound(formats[k]) || has("hunter2") || has("bob@");
				begin();
				f[0] = text("secret", zbz_bstr("hunter2"));
				f[1] = text("b", zbz_bstr("bob@example.com"));
			}
			logger = plain;
			zbz_logger_free(with);
		}
		close_log();
		failed = faults_end(&live);
		CHECK(live == 0 && !wrong);
	}
	CHECK(!failed);
	CHECK(open_log(0, NULL, 0, 0));
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
	RUN(limits);
	RUN(redaction);
	RUN(no_memory);
	close_log();
	return DONE();
}
