/* Providers by name, and plug-ins from files. */
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <zbz/source.h>

#include "tiny.h"

/* ---- registry ---- */

static void test_register(void) {
	static const zbz_cache_ops other = { TINY, .name = "bare" };
	static const zbz_cache_ops old = { .abi = ZBZ_ABI + 1, .name = "old" };
	static const zbz_cache_ops odd = { TINY, .name = "Odd Name" };
	static const zbz_cache_ops wide = { TINY, .name = "a_name_of_more_than_23_bytes" };
	static const zbz_cache_ops holes = {
		.abi = ZBZ_ABI, .name = "holes", .options = tiny_list, .open = tiny_open, .close = tiny_close, .caps = tiny_caps
	};
	CHECK(zbz_cache_register(&bare, &err) == ZBZ_OK && zbz_cache_register(&bare, &err) == ZBZ_OK);
	CHECK(zbz_cache_register(&listing, &err) == ZBZ_OK && zbz_cache_register(&single, &err) == ZBZ_OK);
	CHECK(zbz_cache_register(&thru, &err) == ZBZ_OK && zbz_cache_register(&half, &err) == ZBZ_OK);
	CHECK(zbz_cache_register(&other, &err) == ZBZ_E_ARGUMENT && says("'bare'"));
	CHECK(zbz_cache_register(&old, &err) == ZBZ_E_ARGUMENT && says("2"));
	CHECK(zbz_cache_register(&odd, &err) == ZBZ_E_ARGUMENT && zbz_cache_register(&wide, &err) == ZBZ_E_ARGUMENT);
	CHECK(zbz_cache_register(&holes, &err) == ZBZ_E_ARGUMENT && says("holes"));
}

static void test_find(void) {
	const zbz_cache_ops *ops = NULL;
	CHECK(zbz_cache_find("bare", &ops, &err) == ZBZ_OK && ops == &bare);
	CHECK(zbz_cache_find("plain", &ops, &err) == ZBZ_OK && ops == &bare);
	CHECK(zbz_cache_find("memory", &ops, &err) == ZBZ_OK && strcmp(ops->name, "memory") == 0);
	CHECK(zbz_cache_find("redsi", &ops, &err) == ZBZ_E_UNKNOWN_PROVIDER && says("'redsi'") && says("nearest: redis") &&
	      says("memory, ristretto, filesystem"));
	CHECK(zbz_cache_find("", &ops, &err) == ZBZ_E_UNKNOWN_PROVIDER &&
	      zbz_cache_find("../bare", &ops, &err) == ZBZ_E_UNKNOWN_PROVIDER);
	CHECK(zbz_cache_find("be", &ops, &err) == ZBZ_E_UNKNOWN_PROVIDER &&
	      zbz_cache_find("bear|plain", &ops, NULL) == ZBZ_E_UNKNOWN_PROVIDER);
}

static void test_schemes_and_names(void) {
	static const char *const want[] = { "memory",    "ristretto", "filesystem", "shared", "multitier", "fault", "redis",
		                                "memcached", "bare",      "listing",    "single", "thru",      "half" };
	CHECK_STR(zbz_cache_scheme("redis"), "redis");
	CHECK_STR(zbz_cache_scheme("rediss"), "redis");
	CHECK_STR(zbz_cache_scheme("redis+unix"), "redis");
	CHECK_STR(zbz_cache_scheme("memcached"), "memcached");
	CHECK_STR(zbz_cache_scheme("bares"), "bare");
	CHECK(zbz_cache_scheme("gopher") == NULL && zbz_cache_scheme("") == NULL);
	for (size_t i = 0; i < sizeof want / sizeof *want; i++)
		CHECK(zbz_cache_name_at(i) != NULL && strcmp(zbz_cache_name_at(i), want[i]) == 0);
	CHECK(zbz_cache_name_at(sizeof want / sizeof *want) == NULL);
}

/* ---- plug-ins ---- */

static char dir[] = "/tmp/zbz-registry-XXXXXX";

static void write_file(const char *name, const char *text) {
	char path[128];
	FILE *f;
	snprintf(path, sizeof path, "%s/%s", dir, name);
	f = fopen(path, "w");
	CHECK(f != NULL && fputs(text, f) >= 0 && fclose(f) == 0);
}

static void remove_file(const char *name) {
	char path[128];
	snprintf(path, sizeof path, "%s/%s", dir, name);
	unlink(path);
}

/* Compiles `code` as NAME.so in the directory. */
static bool build_plugin(const char *name, const char *code) {
	char command[512], source[64];
	snprintf(source, sizeof source, "%s.c", name);
	write_file(source, code);
	snprintf(command, sizeof command,
	         "${CC:-cc} -shared -fPIC -I\"$(dirname %s)/../../csrc/include\" -o %s/%s.so %s/%s.c", __FILE__, dir, name,
	         dir, name);
	return system(command) == 0;
}

static const char plugin_head[] =
    "#include <zbz/cache.h>\n"
    "static zbz_status o(void **s, const void *p, const zbz_clock *c, zbz_err *e) { return ZBZ_OK; }\n"
    "static void cl(void *s) {}\nstatic void ca(void *s, zbz_caps *c) { c->can = 0; }\n"
    "static zbz_status g(void *s, zbz_call *c, zbz_bytes k, zbz_buf *b, zbz_meta *m) { return ZBZ_MISS; }\n"
    "static zbz_status st(void *s, zbz_call *c, const zbz_write *w, zbz_version *v) { return ZBZ_OK; }\n"
    "static zbz_status d(void *s, zbz_call *c, zbz_bytes k) { return ZBZ_MISS; }\n"
    "static const zbz_option none[1];\n";

static bool build_provider(const char *file, const char *name, const char *abi, const char *more) {
	char code[2048];
	snprintf(code, sizeof code,
	         "%s const zbz_cache_ops *zbz_cache_plugin(void);\nconst zbz_cache_ops *zbz_cache_plugin(void) {\n"
	         "static const zbz_cache_ops ops = { .abi = %s, .name = \"%s\", .options = none, .open = o, .close = cl, "
	         ".caps = ca, .get = g, .set = st, .del = d, %s };\n"
	         "return &ops; }\n",
	         plugin_head, abi, name, more);
	return build_plugin(file, code);
}

static void test_plugin_of_others(void) {
	const zbz_cache_ops *ops = NULL, *again = NULL;
	zbz_config *cfg = zbz_config_new();
	zbz_store *store = NULL;
	CHECK(build_provider("thirdparty", "thirdparty", "ZBZ_ABI", ".schemes = \"third\""));
	CHECK(zbz_cache_find("thirdparty", &ops, &err) == ZBZ_E_UNKNOWN_PROVIDER); /* not before its directory is known */
	CHECK(zbz_plugin_dir(dir, &err) == ZBZ_OK);
	CHECK(zbz_cache_find("thirdparty", &ops, &err) == ZBZ_OK && strcmp(ops->name, "thirdparty") == 0);
	CHECK(zbz_cache_find("thirdparty", &again, &err) == ZBZ_OK && again == ops);
	CHECK(zbz_cache_scheme("third") != NULL && strcmp(zbz_cache_scheme("third"), "thirdparty") == 0);
	CHECK(zbz_config_set_text(cfg, "provider", zbz_bstr("thirdparty"), &err) == ZBZ_OK &&
	      zbz_store_open(cfg, NULL, &store, &err) == ZBZ_OK);
	zbz_store_unref(store);
	zbz_config_free(cfg);
}

static void test_plugin_path_of_the_environment(void) {
	const zbz_cache_ops *ops = NULL;
	char path[128];
	CHECK(zbz_plugin_dir(NULL, &err) == ZBZ_OK);
	CHECK(build_provider("fromenv", "fromenv", "ZBZ_ABI", ".needs = 0"));
	snprintf(path, sizeof path, ":/nonexistent:%s", dir);
	setenv("ZBZ_PLUGIN_PATH", path, 1);
	CHECK(zbz_cache_find("fromenv", &ops, &err) == ZBZ_OK);
	unsetenv("ZBZ_PLUGIN_PATH");
	CHECK(zbz_plugin_dir(dir, &err) == ZBZ_OK);
}

static void test_unusable_plugins(void) {
	const zbz_cache_ops *ops = NULL;
	CHECK(build_provider("badabi", "badabi", "ZBZ_ABI + 5", ".needs = 0"));
	CHECK(zbz_cache_find("badabi", &ops, &err) == ZBZ_E_UNSUPPORTED && says("interface 6"));
	CHECK(build_provider("misnamed", "another", "ZBZ_ABI", ".needs = 0"));
	CHECK(zbz_cache_find("misnamed", &ops, &err) == ZBZ_E_UNSUPPORTED && says("'another'"));
	CHECK(build_plugin("nodoor", "int nothing;\n"));
	CHECK(zbz_cache_find("nodoor", &ops, &err) == ZBZ_E_UNSUPPORTED && says("zbz_cache_plugin"));
	write_file("garbage.so", "this is no shared object");
	CHECK(zbz_cache_find("garbage", &ops, &err) == ZBZ_E_UNSUPPORTED && says("garbage.so"));
	write_file("memcached.so", "this neither"); /* a known one: the package is named, and what the linker said */
	CHECK(zbz_cache_find("memcached", &ops, &err) == ZBZ_E_UNSUPPORTED && says("libmemcached11") &&
	      says("memcached.so"));
	remove_file("memcached.so");
}

static zbz_status open_source(const char *name) {
	zbz_config *cfg = zbz_config_new();
	zbz_source *source;
	zbz_status status;
	if (name != NULL) zbz_config_set_text(cfg, "provider", zbz_bstr(name), NULL);
	status = zbz_source_open(cfg, NULL, &source, &err);
	CHECK((status == ZBZ_OK) == (source != NULL));
	if (status == ZBZ_OK) CHECK_STR(zbz_source_table(source)->name, name);
	zbz_source_unref(source);
	zbz_config_free(cfg);
	return status;
}

static bool build_source(const char *name, const char *more) {
	char code[2048];
	snprintf(code, sizeof code,
	         "#include <zbz/source.h>\n"
	         "static zbz_status o(void **s, const void *p, const zbz_clock *c, zbz_err *e) { return ZBZ_OK; }\n"
	         "static void cl(void *s) {}\n"
	         "static zbz_status g(void *s, zbz_call *c, zbz_bytes k, void *b, zbz_buf *o) { return ZBZ_MISS; }\n"
	         "static const zbz_option none[1];\n"
	         "const zbz_source_ops *zbz_source_plugin(void);\nconst zbz_source_ops *zbz_source_plugin(void) {\n"
	         "static const zbz_source_ops ops = { .abi = ZBZ_ABI, .name = \"%s\", .options = none, .options_size = 8, "
	         ".open = o, .close = cl, %s };\nreturn &ops; }\n",
	         name, more);
	return build_plugin(name, code);
}

static void test_sources(void) {
	CHECK(build_source("thirdsource", ".get = g") && build_source("blindsource", ".get = 0"));
	CHECK(open_source("thirdsource") == ZBZ_OK && open_source("thirdsource") == ZBZ_OK);
	CHECK(open_source("blindsource") == ZBZ_E_ARGUMENT && says("source 'blindsource' lacks"));
	CHECK(open_source("fiel") == ZBZ_E_UNKNOWN_PROVIDER && says("unknown source 'fiel' (nearest: file;") &&
	      strcmp(err.option, "provider") == 0);
	CHECK(open_source("thirdparty") == ZBZ_E_UNSUPPORTED && says("zbz_source_plugin")); /* names a cache */
	CHECK(open_source(NULL) == ZBZ_E_CONFIG && strcmp(err.option, "provider") == 0);
}

/* A copy of the core in an empty place finds no plug-in beside it. */
static void test_missing_plugin(void) {
	const zbz_cache_ops *ops = NULL;
	zbz_status s = zbz_cache_find("memcached", &ops, &err);
	if (s == ZBZ_OK) {
		CHECK_STR(ops->name, "memcached"); /* built beside the core */
	} else {
		CHECK(s == ZBZ_E_UNSUPPORTED && says("libmemcached11") && says("memcached"));
	}
}

static void *find_in_thread(void *name) {
	const zbz_cache_ops *ops = NULL;
	return zbz_cache_find(name, &ops, NULL) == ZBZ_OK ? (void *)(uintptr_t)ops : NULL;
}

static void test_loading_from_threads(void) {
	pthread_t threads[4];
	char name[] = "manytimes";
	void *got[4];
	CHECK(build_provider(name, name, "ZBZ_ABI", ".needs = 0"));
	for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, find_in_thread, name);
	for (int i = 0; i < 4; i++) pthread_join(threads[i], &got[i]);
	for (int i = 0; i < 4; i++) CHECK(got[i] != NULL && got[i] == got[0]);
}

static void test_registry_in_a_child(void) {
	int status = 1;
	pid_t pid = fork();
	if (pid == 0) {
		const zbz_cache_ops *ops;
		_exit(zbz_cache_find("bare", &ops, NULL) == ZBZ_OK &&
		              zbz_cache_find("nonesuch", &ops, NULL) == ZBZ_E_UNKNOWN_PROVIDER
		          ? 0
		          : 1);
	}
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

int main(void) {
	char command[64];
	CHECK(mkdtemp(dir) != NULL);
	RUN(test_register);
	RUN(test_find);
	RUN(test_schemes_and_names);
	RUN(test_plugin_of_others);
	RUN(test_plugin_path_of_the_environment);
	RUN(test_unusable_plugins);
	RUN(test_sources);
	RUN(test_missing_plugin);
	RUN(test_loading_from_threads);
	RUN(test_registry_in_a_child);
	snprintf(command, sizeof command, "rm -rf %s", dir);
	CHECK(system(command) == 0);
	return DONE();
}
