/* What a line does not show: what is beyond its limits, what is redacted, what there is no memory for. */
#include "faults.h"
#include "format_rig.h"

#include <stdlib.h>

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
	RUN(limits);
	RUN(redaction);
	RUN(no_memory);
	close_log();
	return DONE();
}
