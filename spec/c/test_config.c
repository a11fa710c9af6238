/* Options: what the user wrote, checked against what a provider declares. */
#include <errno.h>
#include <math.h>
#include <stddef.h>

#include <zbz/cache.h>

#include "check.h"
#include "faults.h"

/* ---- a provider that does nothing, for options of type STORE ---- */

typedef struct idle_options {
	char *label;
	char *url;
	int64_t size;
	bool broken;
} idle_options;

static const zbz_option idle_list[] = {
	{ .name = "label", .type = ZBZ_OPT_TEXT, .offset = offsetof(idle_options, label) },
	{ .name = "url", .type = ZBZ_OPT_TEXT, .offset = offsetof(idle_options, url) },
	{ .name = "size", .type = ZBZ_OPT_SIZE, .offset = offsetof(idle_options, size), .dflt = "1MB" },
	{ .name = "broken", .type = ZBZ_OPT_BOOL, .offset = offsetof(idle_options, broken) },
	{ .name = NULL },
};

static int idle_open_count;

static zbz_status idle_open(void **self, const void *options, const zbz_clock *clock, zbz_err *err) {
	const idle_options *o = options;
	if (o->broken) return zbz_fail(err, ZBZ_E_UNAVAILABLE, "broken as asked");
	*self = zbz_malloc(1);
	if (*self == NULL) return zbz_fail_nomem(err);
	idle_open_count++;
	return ZBZ_OK;
}
static void idle_close(void *self) {
	idle_open_count--;
	zbz_free(self);
}
static void idle_caps(void *self, zbz_caps *out) {
	(void)self;
	(void)out;
}
static zbz_status idle_get(void *self, zbz_call *c, zbz_bytes key, zbz_buf *out, zbz_meta *meta) { return ZBZ_MISS; }
static zbz_status idle_set(void *self, zbz_call *c, const zbz_write *w, zbz_version *version_out) { return ZBZ_OK; }
static zbz_status idle_del(void *self, zbz_call *c, zbz_bytes key) { return ZBZ_OK; }

static const zbz_cache_ops idle = { .abi = ZBZ_ABI,
	                                .name = "idle",
	                                .schemes = "idle",
	                                .options_size = sizeof(idle_options),
	                                .options = idle_list,
	                                .open = idle_open,
	                                .close = idle_close,
	                                .caps = idle_caps,
	                                .get = idle_get,
	                                .set = idle_set,
	                                .del = idle_del };

/* ---- one struct with every type ---- */

typedef struct all {
	char *text, *secret;
	int64_t count;
	bool flag;
	int64_t wait, room, mode;
	int policy;
	zbz_list hosts;
	zbz_store *inner;
	int64_t level;
} all;

static const zbz_option all_list[] = {
	{ .name = "text", .alias = "words", .type = ZBZ_OPT_TEXT, .offset = offsetof(all, text), .dflt = "hello" },
	{ .name = "secret", .type = ZBZ_OPT_SECRET, .offset = offsetof(all, secret) },
	{ .name = "pool_size",
	  .alias = "max_conns",
	  .type = ZBZ_OPT_INT,
	  .offset = offsetof(all, count),
	  .dflt = "10",
	  .min = 1,
	  .max = 64 },
	{ .name = "flag", .type = ZBZ_OPT_BOOL, .offset = offsetof(all, flag), .dflt = "yes" },
	{ .name = "timeout",
	  .type = ZBZ_OPT_DURATION,
	  .offset = offsetof(all, wait),
	  .dflt = "5s",
	  .min = 1,
	  .max = 3600000 },
	{ .name = "max_size", .type = ZBZ_OPT_SIZE, .offset = offsetof(all, room), .dflt = "100MB" },
	{ .name = "permissions", .type = ZBZ_OPT_MODE, .offset = offsetof(all, mode), .dflt = "0644" },
	{ .name = "eviction",
	  .type = ZBZ_OPT_ENUM,
	  .offset = offsetof(all, policy),
	  .dflt = "lru",
	  .choices = "s3fifo|lru|lfu" },
	{ .name = "hosts", .type = ZBZ_OPT_LIST, .offset = offsetof(all, hosts), .dflt = "a, b" },
	{ .name = "inner", .type = ZBZ_OPT_STORE, .offset = offsetof(all, inner) },
	{ .name = "level", .type = ZBZ_OPT_INT, .offset = offsetof(all, level), .dflt = "-3", .min = -5, .max = 5 },
	{ .name = NULL },
};

static zbz_config *cfg;
static zbz_err err;
static all out;

static void fresh(void) {
	zbz_config_free(cfg);
	cfg = zbz_config_new();
	memset(&err, 0, sizeof err);
	memset(&out, 0, sizeof out);
}
static void text(const char *name, const char *value) {
	CHECK(zbz_config_set_text(cfg, name, zbz_bstr(value), &err) == ZBZ_OK);
}
static zbz_status parse(void) { return zbz_options_parse(cfg, all_list, &out, &err); }
static void clear(void) { zbz_options_clear(all_list, &out); }
static bool is_empty(void) {
	static const all zero;
	return memcmp(&out, &zero, sizeof out) == 0;
}
static bool says(const char *part) { return strstr(err.text, part) != NULL; }

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

/* ---- stores as options ---- */

static zbz_config *inner_config(const char *label) {
	zbz_config *inner = zbz_config_new();
	zbz_config_set_text(inner, "provider", zbz_bstr("idle"), NULL);
	zbz_config_set_text(inner, "label", zbz_bstr(label), NULL);
	return inner;
}

static void test_store_from_config(void) {
	fresh();
	CHECK(zbz_config_set_config(cfg, "inner", inner_config("deep"), &err) == ZBZ_OK);
	CHECK(parse() == ZBZ_OK && out.inner != NULL && idle_open_count == 1);
	CHECK(zbz_store_ops(out.inner) == &idle &&
	      strcmp(((const idle_options *)zbz_store_options(out.inner))->label, "deep") == 0);
	clear();
	CHECK(out.inner == NULL && idle_open_count == 0);
	text("inner", "idle"); /* a name alone */
	CHECK(parse() == ZBZ_OK && idle_open_count == 1);
	clear();
	text("inner", "idle://user:pw@host"); /* a URL alone */
	CHECK(parse() == ZBZ_OK &&
	      strcmp(((const idle_options *)zbz_store_options(out.inner))->url, "idle://user:pw@host") == 0);
	clear();
	CHECK(idle_open_count == 0);
}

static void test_store_given_open(void) {
	zbz_store *store;
	zbz_config *inner = inner_config("shared");
	fresh();
	CHECK(zbz_store_open(inner, NULL, &store, &err) == ZBZ_OK);
	CHECK(zbz_config_set_store(cfg, "inner", store, &err) == ZBZ_OK);
	zbz_store_unref(store);
	CHECK(idle_open_count == 1 && parse() == ZBZ_OK && out.inner == store);
	zbz_config_free(cfg); /* the configuration's reference goes, the options keep theirs */
	cfg = NULL;
	CHECK(idle_open_count == 1);
	clear();
	CHECK(idle_open_count == 0);
	zbz_config_free(inner);
}

static void test_store_failures(void) {
	zbz_config *inner = inner_config("x");
	fresh();
	zbz_config_set_bool(inner, "broken", true, NULL);
	CHECK(zbz_config_set_config(cfg, "inner", inner, &err) == ZBZ_OK);
	CHECK(parse() == ZBZ_E_UNAVAILABLE && is_empty() && idle_open_count == 0);
	CHECK_STR(err.provider, "idle");
	CHECK_STR(err.option, "inner");
	fresh();
	inner = inner_config("x");
	zbz_config_set_int(inner, "labl", 1, NULL);
	CHECK(zbz_config_set_config(cfg, "inner", inner, &err) == ZBZ_OK);
	CHECK(parse() == ZBZ_E_ARGUMENT && says("nearest: label") && is_empty());
	CHECK_STR(err.option, "labl");
	fresh();
	text("inner", "nonesuch");
	CHECK(parse() == ZBZ_E_UNKNOWN_PROVIDER && says("idle"));
	text("inner", "nonesuch://user:hunter2@h");
	CHECK(parse() == ZBZ_E_UNKNOWN_PROVIDER && !says("hunter2"));
	text("inner", "idle"); /* a later option fails: the open store is closed again */
	text("level", "99");
	CHECK(parse() == ZBZ_E_CONFIG && idle_open_count == 0 && is_empty());
	fresh();
	CHECK(zbz_config_set_int(cfg, "inner", 1, &err) == ZBZ_OK && parse() == ZBZ_E_CONFIG);
}

static void test_nesting_is_bounded(void) {
	zbz_config *c = inner_config("0");
	zbz_status s = ZBZ_OK;
	int depth = 0;
	while (s == ZBZ_OK && depth < 100) {
		zbz_config *outer = zbz_config_new();
		s = zbz_config_set_config(outer, "inner", c, &err); /* takes c, also when it fails */
		c = outer;
		depth++;
	}
	CHECK(s == ZBZ_E_CONFIG && depth > 4 && depth < 40);
	zbz_config_free(c);
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

/* ---- the n-th allocation fails ---- */

static zbz_status build_and_parse(void) {
	zbz_config *c = zbz_config_new(), *inner;
	zbz_buf echo = { 0 };
	zbz_status s = c != NULL ? ZBZ_OK : ZBZ_E_INTERNAL;
	if (s == ZBZ_OK) s = zbz_config_set_text(c, "provider", zbz_bstr("x"), &err);
	if (s == ZBZ_OK) s = zbz_config_set_text(c, "text", zbz_bstr("x"), &err);
	if (s == ZBZ_OK) s = zbz_config_set_text(c, "text", zbz_bstr("y"), &err);
	if (s == ZBZ_OK) s = zbz_config_set_int(c, "secret", 1, &err);
	if (s == ZBZ_OK) s = zbz_config_set_num(c, "timeout", 2, &err);
	for (int i = 0; i < 5 && s == ZBZ_OK; i++) s = zbz_config_add_text(c, "hosts", zbz_bstr("host"), &err);
	inner = s == ZBZ_OK ? zbz_config_new() : NULL;
	if (s == ZBZ_OK && inner == NULL) s = ZBZ_E_INTERNAL;
	if (s == ZBZ_OK && (s = zbz_config_set_text(inner, "provider", zbz_bstr("idle://x"), &err)) != ZBZ_OK)
		zbz_config_free(inner);
	if (s == ZBZ_OK) s = zbz_config_set_config(c, "inner", inner, &err);
	if (s == ZBZ_OK) s = zbz_options_parse(c, all_list, &out, &err);
	for (const zbz_option *o = all_list; o->name != NULL && s == ZBZ_OK; o++) s = zbz_option_echo(o, &out, &echo, &err);
	zbz_buf_clear(&echo);
	clear();
	zbz_config_free(c);
	return s;
}

static void test_without_memory(void) {
	bool failed = true;
	long n, live;
	fresh();
	for (n = 1; failed; n++) {
		zbz_status s;
		faults_begin(n);
		s = build_and_parse();
		failed = faults_end(&live);
		CHECK(failed ? s == ZBZ_E_INTERNAL && live == 0 : s == ZBZ_OK && live == 0);
		CHECK(idle_open_count == 0 && is_empty());
	}
	CHECK(n > 30);
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
	RUN(test_store_from_config);
	RUN(test_store_given_open);
	RUN(test_store_failures);
	RUN(test_nesting_is_bounded);
	RUN(test_echo);
	RUN(test_without_memory);
	zbz_config_free(cfg);
	return DONE();
}
