/* Options that are stores: from a configuration, given open, nested, failing, without memory. */
#include "config_rig.h"
#include "faults.h"

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
	RUN(test_store_from_config);
	RUN(test_store_given_open);
	RUN(test_store_failures);
	RUN(test_nesting_is_bounded);
	RUN(test_without_memory);
	zbz_config_free(cfg);
	return DONE();
}
