/* Encrypted fields: known answers, what is damaged, keys in all their forms, and that nothing is ever shown when something is missing. */
#include "check.h"
#include "faults.h"

#include <zbz/log.h>

#include <stdlib.h>

#define KEY    "0123456789abcdef0123456789abcdef"
#define HEX    "3031323334353637383961626364656630313233343536373839616263646566"
#define BASE64 "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

/* Made by an AES-256-GCM written for the purpose from FIPS 197 and SP 800-38D, after it had passed test case 16 of the GCM specification. */
#define SEALED "enc:2026-01:AAECAwQFBgcICQoLTInSH7xYt9TJsQHSFOGya4uO27Gs6XpsBLrS48S16DN1"
#define EMPTY  "enc:2026-01:AAECAwQFBgcICQoLTxHQhsKXbJD63rkJTIbXRw=="
#define TEXT   "alice@example.com"

static zbz_status unseal(const char *text, const char *key, char out[64], zbz_err *err) {
	zbz_buf b = { 0 };
	zbz_status status = zbz_log_unseal(zbz_bstr(text), zbz_bstr(key), &b, err);
	snprintf(out, 64, "%.*s", (int)b.n, b.n > 0 ? b.p : "");
	zbz_buf_clear(&b);
	return status;
}

static void known_answers(void) {
	static const char *const keys[] = { KEY, HEX, BASE64 };
	char out[64];
	zbz_bytes id;
	zbz_err err;
	for (size_t i = 0; i < 3; i++) {
		CHECK(unseal(SEALED, keys[i], out, &err) == ZBZ_OK);
		CHECK_STR(out, TEXT);
	}
	CHECK(unseal(EMPTY, KEY, out, &err) == ZBZ_OK && out[0] == '\0');
	CHECK(zbz_log_sealed_with(zbz_bstr(SEALED), &id, &err) == ZBZ_OK && zbz_bytes_eq(id, zbz_bstr("2026-01")));
}

static void damage_is_seen(void) {
	static const char *const others[] = { "",           "enc:",       "enc:a",
		                                  "enc::AAAA",  "enc:a:",     "enc:a b:AAAA",
		                                  "ENC:a:AAAA", "enc:a:AAAA", "plain text" };
	char text[] = SEALED, out[64], key[] = KEY;
	zbz_err err;
	for (size_t i = 0; i + 1 < sizeof text; i++) { /* id, nonce, text, tag: each byte counts */
		char was = text[i];
		text[i] = was == 'A' ? 'B' : 'A';
		CHECK(unseal(text, KEY, out, &err) == ZBZ_E_CORRUPT && out[0] == '\0');
		text[i] = was;
	}
	for (size_t n = 0; n + 1 < sizeof text; n++) {
		char cut[sizeof text];
		memcpy(cut, text, n);
		cut[n] = '\0';
		CHECK(unseal(cut, KEY, out, &err) == ZBZ_E_CORRUPT);
	}
	for (size_t i = 0; i < sizeof others / sizeof *others; i++)
		CHECK(unseal(others[i], KEY, out, &err) == ZBZ_E_CORRUPT);
	/* The last digit before the padding has bits that stand for nothing. */
	CHECK(unseal("enc:2026-01:AAECAwQFBgcICQoLTxHQhsKXbJD63rkJTIbXRx==", KEY, out, &err) == ZBZ_E_CORRUPT);
	key[31] ^= 1;
	CHECK(unseal(SEALED, key, out, &err) == ZBZ_E_CORRUPT);
	CHECK(unseal(SEALED, "too short", out, &err) == ZBZ_E_CONFIG);
	CHECK_STR(err.option, "encryption");
	CHECK(strstr(err.text, "too short") == NULL);
}

/* ---- through the log ---- */

static const zbz_log_redact_rule by_name[] = { { "email", ZBZ_REDACT_ENCRYPT } };

typedef struct rig {
	zbz_output *output;
	zbz_log *log;
	zbz_log_view *view;
	zbz_logger *logger;
} rig;

static zbz_status configure(rig *r, const char *id, const char *key, bool rule, zbz_err *err) {
	static const char *const outputs[] = { "m" };
	zbz_log_output_spec output = { .name = "m", .output = r->output };
	zbz_log_logger_spec root = { .name = "", .has_outputs = true, .outputs = outputs, .outputs_n = 1 };
	zbz_log_settings set = { .outputs = &output, .outputs_n = 1, .loggers = &root, .loggers_n = 1 };
	set.redact = by_name;
	set.redact_n = rule;
	if (id != NULL) set.cipher_id = zbz_bstr(id);
	if (key != NULL) set.cipher_key = zbz_bstr(key);
	return zbz_log_configure(r->log, &set, err);
}

static bool rig_open(rig *r) {
	zbz_config *cfg = zbz_config_new();
	zbz_err err;
	memset(r, 0, sizeof *r);
	zbz_config_set_text(cfg, "type", zbz_bstr("memory"), &err);
	CHECK(zbz_output_open(cfg, zbz_clock_system(), &r->output, &err) == ZBZ_OK);
	zbz_config_free(cfg);
	r->log = zbz_log_new(NULL);
	r->view = zbz_log_view_new(r->log);
	r->logger = zbz_logger_new(r->view, zbz_bstr(""));
	return r->logger != NULL;
}

static void rig_close(rig *r) {
	zbz_logger_free(r->logger);
	zbz_log_view_free(r->view);
	zbz_log_free(r->log);
	zbz_output_unref(r->output);
}

static void say(rig *r, const char *name, zbz_guard guard, zbz_bytes value) {
	zbz_field f;
	unsigned turn;
	if (!zbz_logger_wants(r->logger, ZBZ_LEVEL_INFO, &turn)) return;
	f = (zbz_field){ zbz_log_key_of(r->view, zbz_bstr(name)), ZBZ_FIELD_TEXT, guard, { .s = value } };
	zbz_logger_write(r->logger, ZBZ_LEVEL_INFO, zbz_bstr("m"), &f, 1, false);
}

/* The value of the only field of the next record; freed by the caller. */
static char *shown(rig *r, const char *name) {
	zbz_call c = { .clock = zbz_clock_system(), .deadline = ZBZ_NEVER };
	zbz_buf text = { 0 };
	char start[40], *value = NULL, *end;
	CHECK(zbz_output_read(r->output, &c, true, &text) == ZBZ_OK);
	zbz_buf_putc(&text, '\0', NULL);
	snprintf(start, sizeof start, "\"%s\":\"", name);
	value = strstr(text.p, start);
	value = value != NULL ? strdup(value + strlen(start)) : NULL;
	end = value != NULL ? strchr(value, '"') : NULL;
	if (end != NULL) *end = '\0';
	zbz_buf_clear(&text);
	return value;
}

static void fields_are_encrypted(void) {
	char out[64], *first, *second, long_text[16385];
	zbz_err err;
	rig r;
	CHECK(rig_open(&r));
	CHECK(configure(&r, "k", KEY, true, &err) == ZBZ_OK);
	say(&r, "email", ZBZ_GUARD_NONE, zbz_bstr(TEXT));
	first = shown(&r, "email");
	say(&r, "other", ZBZ_GUARD_ENCRYPT, zbz_bstr(TEXT));
	second = shown(&r, "other");
	CHECK(first != NULL && second != NULL && strcmp(first, second) != 0); /* no nonce twice */
	CHECK(unseal(first, KEY, out, &err) == ZBZ_OK && strcmp(out, TEXT) == 0);
	CHECK(unseal(second, KEY, out, &err) == ZBZ_OK && strcmp(out, TEXT) == 0);
	free(first);
	free(second);
	memset(long_text, 'x', sizeof long_text);
	say(&r, "email", ZBZ_GUARD_NONE, zbz_b(long_text, sizeof long_text));
	first = shown(&r, "email");
	CHECK_STR(first, "***");
	free(first);
	say(&r, "email", ZBZ_GUARD_NONE, zbz_b(long_text, sizeof long_text - 1));
	first = shown(&r, "email");
	CHECK(strncmp(first, "enc:k:", 6) == 0);
	free(first);
	rig_close(&r);
}

static void without_a_key_it_is_masked(void) {
	zbz_err err;
	char *value;
	rig r;
	CHECK(rig_open(&r));
	CHECK(configure(&r, NULL, NULL, true, &err) == ZBZ_E_CONFIG);
	CHECK_STR(err.option, "encryption");
	CHECK(configure(&r, "k", NULL, true, &err) == ZBZ_E_CONFIG);
	CHECK(configure(&r, "", KEY, true, &err) == ZBZ_E_CONFIG);
	CHECK(configure(&r, "a:b", KEY, true, &err) == ZBZ_E_CONFIG);
	CHECK(configure(&r, "123456789012345678901234567890123", KEY, true, &err) == ZBZ_E_CONFIG);
	CHECK(configure(&r, NULL, NULL, false, &err) == ZBZ_OK);
	for (zbz_guard g = ZBZ_GUARD_SECRET; g <= ZBZ_GUARD_ENCRYPT; g++) {
		if (g == ZBZ_GUARD_PARTIAL) continue;
		say(&r, "x", g, zbz_bstr(TEXT));
		value = shown(&r, "x");
		CHECK_STR(value, "***");
		free(value);
	}
	rig_close(&r);
}

/* Whatever is short of memory: a record has the value encrypted, masked, or is not there. */
static void nothing_shows_without_memory(void) {
	zbz_call c = { .clock = zbz_clock_system(), .deadline = ZBZ_NEVER };
	zbz_buf text = { 0 };
	int rounds_whole = 0;
	zbz_err err;
	long live;
	bool failed;
	rig r;
	CHECK(rig_open(&r));
	for (long nth = 1; nth <= 60; nth++) {
		faults_begin(nth);
		configure(&r, "k", KEY, true, &err);
		say(&r, "email", ZBZ_GUARD_NONE, zbz_bstr(TEXT));
		say(&r, "x", ZBZ_GUARD_ENCRYPT, zbz_bstr(TEXT));
		failed = faults_end(&live);
		if (!failed) rounds_whole++;
	}
	CHECK(rounds_whole > 0); /* the sweep went through all of it */
	CHECK(configure(&r, "k", KEY, true, &err) == ZBZ_OK);
	CHECK(zbz_output_read(r.output, &c, true, &text) == ZBZ_OK);
	zbz_buf_putc(&text, '\0', NULL);
	CHECK(strstr(text.p, "\"email\":\"enc:k:") != NULL);
	CHECK(strstr(text.p, "alice") == NULL);
	zbz_buf_clear(&text);
	rig_close(&r);
}

int main(void) {
	RUN(known_answers);
	RUN(damage_is_seen);
	RUN(fields_are_encrypted);
	RUN(without_a_key_it_is_masked);
	RUN(nothing_shows_without_memory);
	return DONE();
}
