/* Options: what the user wrote, checked against what a provider declares. */
#include <errno.h>
#include <math.h>

#include "config_rig.h"

static void test_defaults(void) {
	fresh();
	CHECK(parse() == ZBZ_OK);
	CHECK_STR(out.text, "hello");
	CHECK(out.secret == NULL && out.count == 10 && out.flag && out.wait == 5000 && out.room == 104857600 &&
	      out.mode == 0644);
	CHECK(out.policy == 1 && out.inner == NULL && out.level == -3);
	CHECK(out.hosts.n == 2 && strcmp(out.hosts.items[0], "a") == 0 && strcmp(out.hosts.items[1], "b") == 0);
	clear();
	CHECK(is_empty());
	clear();
}

static void test_texts(void) {
	fresh();
	text("provider", "whatever");
	text("words", "alias");
	text("secret", "hunter2");
	text("pool_size", "64");
	text("flag", "OFF");
	text("timeout", "1m");
	text("max_size", "1.5GB");
	text("permissions", "0600");
	text("eviction", "lfu");
	text("hosts", " h1:1 ,h2:2,, h3 ");
	text("level", "-5");
	CHECK(parse() == ZBZ_OK);
	CHECK_STR(out.text, "alias");
	CHECK_STR(out.secret, "hunter2");
	CHECK(out.count == 64 && !out.flag && out.wait == 60000 && out.room == 1610612736 && out.mode == 0600 &&
	      out.policy == 2 && out.level == -5);
	CHECK(out.hosts.n == 3 && strcmp(out.hosts.items[0], "h1:1") == 0 && strcmp(out.hosts.items[2], "h3") == 0);
	clear();
}

static void test_numbers(void) {
	fresh();
	CHECK(zbz_config_set_int(cfg, "text", 42, &err) == ZBZ_OK);
	CHECK(zbz_config_set_int(cfg, "secret", 12345, &err) == ZBZ_OK);
	CHECK(zbz_config_set_num(cfg, "pool_size", 8.0, &err) == ZBZ_OK);
	CHECK(zbz_config_set_bool(cfg, "flag", false, &err) == ZBZ_OK);
	CHECK(zbz_config_set_num(cfg, "timeout", 0.25, &err) == ZBZ_OK);
	CHECK(zbz_config_set_int(cfg, "max_size", 4096, &err) == ZBZ_OK);
	CHECK(zbz_config_set_int(cfg, "permissions", 0600, &err) == ZBZ_OK);
	CHECK(zbz_config_add_text(cfg, "hosts", zbz_bstr("one,two"), &err) == ZBZ_OK);
	CHECK(zbz_config_add_text(cfg, "hosts", zbz_bstr("three"), &err) == ZBZ_OK);
	CHECK(parse() == ZBZ_OK);
	CHECK_STR(out.text, "42");
	CHECK_STR(out.secret, "12345");
	CHECK(out.count == 8 && !out.flag && out.wait == 250 && out.room == 4096 && out.mode == 0600);
	CHECK(out.hosts.n == 2 && strcmp(out.hosts.items[0], "one,two") == 0); /* a list is not split again */
	clear();
	CHECK(zbz_config_set_int(cfg, "timeout", 30, &err) == ZBZ_OK && zbz_config_set_int(cfg, "flag", 1, &err) == ZBZ_OK);
	CHECK(parse() == ZBZ_OK && out.wait == 30000 && out.flag);
	clear();
}

static void test_wrong_texts(void) {
	static const char *const cases[][3] = { /* option, value, what the message must hold */
		                                    { "pool_size", "ten", "whole number" },
		                                    { "pool_size", "0", "from 1 to 64" },
		                                    { "pool_size", "65", "65" },
		                                    { "pool_size", "1.5", "'1.5'" },
		                                    { "pool_size", "", "whole number" },
		                                    { "pool_size", "99999999999999999999", "whole number" },
		                                    { "pool_size", "5x", "'5x'" },
		                                    { "flag", "maybe", "true or false" },
		                                    { "flag", "", "true or false" },
		                                    { "flag", "2", "true or false" },
		                                    { "timeout", "5 parsecs", "5 parsecs" },
		                                    { "timeout", "-1", "negative" },
		                                    { "timeout", "0", "from 1ms to 1h" },
		                                    { "timeout", "2h", "2h" },
		                                    { "timeout", "", "empty" },
		                                    { "max_size", "big", "'big'" },
		                                    { "max_size", "-5MB", "negative" },
		                                    { "permissions", "0999", "octal" },
		                                    { "permissions", "", "octal" },
		                                    { "permissions", "777777", "octal" },
		                                    { "permissions", "rw-r--r--", "0644" },
		                                    { "eviction", "fifo", "s3fifo|lru|lfu" },
		                                    { "eviction", "", "s3fifo" },
		                                    { "eviction", "lr", "'lr'" },
		                                    { "eviction", "lru|lfu", "one of" },
		                                    { "level", "-6", "from -5 to 5" },
		                                    { "level", "6", "got 6" }
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		fresh();
		text(cases[i][0], cases[i][1]);
		CHECK(parse() == ZBZ_E_CONFIG && is_empty());
		if (!says(cases[i][2])) fprintf(stderr, "  %s = '%s': %s\n", cases[i][0], cases[i][1], err.text);
		CHECK(says(cases[i][2]));
		CHECK_STR(err.option, cases[i][0]);
	}
}

static void test_wrong_numbers(void) {
	static const double nums[] = { NAN, INFINITY, -INFINITY, -1, -0.001, 1e300 };
	for (size_t i = 0; i < sizeof nums / sizeof *nums; i++) {
		static const char *const names[] = { "timeout", "max_size", "pool_size", "permissions",
			                                 "flag",    "eviction", "hosts",     "inner" };
		for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
			fresh();
			CHECK(zbz_config_set_num(cfg, names[k], nums[i], &err) == ZBZ_OK);
			CHECK(parse() == ZBZ_E_CONFIG && is_empty());
			CHECK_STR(err.option, names[k]);
		}
	}
	fresh();
	CHECK(zbz_config_set_int(cfg, "timeout", -1, &err) == ZBZ_OK && parse() == ZBZ_E_CONFIG);
	CHECK(zbz_config_set_int(cfg, "timeout", INT64_MAX, &err) == ZBZ_OK && parse() == ZBZ_E_CONFIG);
	fresh();
	CHECK(zbz_config_set_int(cfg, "max_size", -1, &err) == ZBZ_OK && parse() == ZBZ_E_CONFIG);
	CHECK(zbz_config_set_num(cfg, "max_size", 1.5, &err) == ZBZ_OK && parse() == ZBZ_E_CONFIG);
	fresh();
	CHECK(zbz_config_set_int(cfg, "permissions", 644, &err) == ZBZ_OK); /* Lua's 0644: decimal */
	CHECK(parse() == ZBZ_E_CONFIG && says("0644"));
	fresh();
	CHECK(zbz_config_set_bool(cfg, "text", true, &err) == ZBZ_OK && parse() == ZBZ_E_CONFIG && says("a boolean"));
	fresh();
	CHECK(zbz_config_set_int(cfg, "flag", 2, &err) == ZBZ_OK && parse() == ZBZ_E_CONFIG);
}

static void test_unknown_options(void) {
	fresh();
	text("pol_size", "5");
	CHECK(parse() == ZBZ_E_ARGUMENT && is_empty());
	CHECK(says("unknown option 'pol_size' (nearest: pool_size; known: text, secret, pool_size"));
	CHECK_STR(err.option, "pol_size");
	fresh();
	text("max_conn", "5"); /* near an alias: the name proper is told */
	CHECK(parse() == ZBZ_E_ARGUMENT && says("nearest: pool_size"));
	fresh();
	text("a\nb%s", "5");
	CHECK(parse() == ZBZ_E_ARGUMENT && says("'a?b%s'"));
	fresh();
	text("max_conns", "5");
	text("pool_size", "6");
	CHECK(parse() == ZBZ_E_CONFIG && says("twice"));
	CHECK(zbz_options_parse(cfg, all_list + 11, &out, NULL) == ZBZ_E_ARGUMENT); /* no options at all, no error wanted */
}

static void test_secrets_stay_inside(void) {
	fresh();
	CHECK(zbz_config_set_bool(cfg, "secret", true, &err) == ZBZ_OK && parse() == ZBZ_E_CONFIG);
	CHECK(!says("hunter2"));
	fresh();
	text("secret", "hunter2");
	text("pool_size", "0");
	CHECK(parse() == ZBZ_E_CONFIG && !says("hunter2") && is_empty());
}

static void test_bounds_of_config(void) {
	char name[16];
	zbz_status s = ZBZ_OK;
	fresh();
	CHECK(zbz_config_set_text(cfg, "text", zbz_b("a\0b", 3), &err) == ZBZ_E_CONFIG && says("zero byte"));
	CHECK_STR(err.option, "text");
	CHECK(zbz_config_add_text(cfg, "hosts", zbz_b("\0", 1), &err) == ZBZ_E_CONFIG);
	CHECK(zbz_config_set_int(cfg, "", 1, &err) == ZBZ_E_ARGUMENT &&
	      zbz_config_set_int(cfg, NULL, 1, &err) == ZBZ_E_ARGUMENT);
	CHECK(zbz_config_set_store(cfg, "inner", NULL, &err) == ZBZ_E_ARGUMENT &&
	      zbz_config_set_config(cfg, "inner", NULL, &err) == ZBZ_E_ARGUMENT);
	CHECK(zbz_config_set_config(cfg, "inner", cfg, &err) == ZBZ_E_ARGUMENT);
	text("text", "x");
	CHECK(zbz_config_add_text(cfg, "text", zbz_bstr("y"), &err) == ZBZ_E_CONFIG);
	CHECK_STR(zbz_config_text(cfg, "text"), "x");
	text("text", "replaced");
	CHECK_STR(zbz_config_text(cfg, "text"), "replaced");
	CHECK(zbz_config_text(cfg, "none") == NULL && zbz_config_set_int(cfg, "text", 1, &err) == ZBZ_OK &&
	      zbz_config_text(cfg, "text") == NULL);
	for (int i = 0; i < 2000 && s == ZBZ_OK; i++) {
		snprintf(name, sizeof name, "o%d", i);
		s = zbz_config_set_int(cfg, name, i, &err);
	}
	CHECK(s == ZBZ_E_ARGUMENT);
	zbz_config_free(NULL);
}

/* ---- echo ---- */

static bool echoes(const char *name, const char *want) {
	const zbz_option *o = all_list;
	zbz_buf b = { 0 };
	bool ok;
	while (o->name != NULL && strcmp(o->name, name) != 0) o++;
	ok = zbz_option_echo(o, &out, &b, &err) == ZBZ_OK && zbz_bytes_eq(zbz_buf_bytes(&b), zbz_bstr(want));
	if (!ok) fprintf(stderr, "  %s: '%.*s'\n", name, (int)b.n, b.p);
	zbz_buf_clear(&b);
	return ok;
}

static void test_echo(void) {
	fresh();
	CHECK(parse() == ZBZ_OK);
	CHECK(echoes("text", "hello") && echoes("secret", "") && echoes("pool_size", "10") && echoes("flag", "true") &&
	      echoes("timeout", "5s"));
	CHECK(echoes("max_size", "100MB") && echoes("permissions", "0644") && echoes("eviction", "lru") &&
	      echoes("hosts", "a,b"));
	CHECK(echoes("inner", "") && echoes("level", "-3"));
	clear();
	text("text", "redis://u:hunter2@h:1");
	text("secret", "hunter2");
	text("hosts", "redis://:hunter2@a,b");
	text("timeout", "1h");
	text("inner", "idle");
	CHECK(parse() == ZBZ_OK);
	CHECK(echoes("text", "redis://u:***@h:1") && echoes("secret", "***") && echoes("hosts", "redis://:***@a,b"));
	CHECK(echoes("timeout", "1h") && echoes("inner", "idle"));
	clear();
}

int main(void) {
	CHECK(zbz_cache_register(&idle, &err) == ZBZ_OK);
	RUN(test_defaults);
	RUN(test_texts);
	RUN(test_numbers);
	RUN(test_wrong_texts);
	RUN(test_wrong_numbers);
	RUN(test_unknown_options);
	RUN(test_secrets_stay_inside);
	RUN(test_bounds_of_config);
	RUN(test_echo);
	zbz_config_free(cfg);
	return DONE();
}
