/* Providers by name, plug-ins from files, and stores: passing through layers, emulation, errors that say whose they are. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <zbz/source.h>

#include "check.h"
#include "faults.h"

static zbz_err err;
static bool says(const char *part) { return strstr(err.text, part) != NULL; }

/* ---- a tiny provider: what is mandatory, and listing when asked for ---- */

#define ROOM 600

typedef struct tiny_entry {
	bool used;
	char key[16], value[16];
} tiny_entry;

typedef struct tiny {
	tiny_entry entries[ROOM];
} tiny;

typedef struct tiny_options {
	char *url;
} tiny_options;

static const zbz_option tiny_list[] = { { .name = "url", .type = ZBZ_OPT_TEXT, .offset = offsetof(tiny_options, url) },
	                                    { .name = NULL } };

static int tiny_open_count;
static const zbz_clock *tiny_clock; /* of the last one opened */

static zbz_status tiny_open(void **self, const void *options, const zbz_clock *clock, zbz_err *e) {
	*self = zbz_calloc(1, sizeof(tiny));
	if (*self == NULL) return zbz_fail_nomem(e);
	tiny_open_count++;
	tiny_clock = clock;
	return ZBZ_OK;
}
static void tiny_close(void *self) {
	tiny_open_count--;
	zbz_free(self);
}
static void tiny_caps(void *self, zbz_caps *out) {
	/* Claims more than its slots hold: the store mends that. */
	out->can = ZBZ_CAN_TTL | ZBZ_CAN_EXPIRE | ZBZ_CAN_INCR | ZBZ_CAN_KEYS | ZBZ_CAN_CLEAR | ZBZ_CAN_NATIVE |
	           ZBZ_CAN_ADD | ZBZ_CAN_BATCH;
	out->max_key = 15;
}

static tiny_entry *tiny_find(tiny *t, zbz_bytes key) {
	for (int i = 0; i < ROOM; i++)
		if (t->entries[i].used && zbz_bytes_eq(zbz_bstr(t->entries[i].key), key)) return &t->entries[i];
	return NULL;
}

static zbz_status tiny_get(void *self, zbz_call *c, zbz_bytes key, zbz_buf *out, zbz_meta *meta) {
	tiny_entry *e = tiny_find(self, key);
	if (zbz_bytes_eq(key, zbz_bstr("broken"))) {
		zbz_buf_append(out, "partial", 7, NULL);
		return zbz_fail(&c->err, ZBZ_E_UNAVAILABLE, "the wire broke");
	}
	if (zbz_bytes_eq(key, zbz_bstr("mute"))) return ZBZ_E_CORRUPT;
	if (e == NULL) return ZBZ_MISS;
	return zbz_buf_append(out, e->value, strlen(e->value), &c->err);
}

static zbz_status tiny_set(void *self, zbz_call *c, const zbz_write *w, zbz_version *version_out) {
	tiny *t = self;
	tiny_entry *e = tiny_find(t, w->key);
	if (zbz_bytes_eq(w->key, zbz_bstr("broken"))) return zbz_fail(&c->err, ZBZ_E_UNAVAILABLE, "the wire broke");
	for (int i = 0; i < ROOM && e == NULL; i++)
		if (!t->entries[i].used) e = &t->entries[i];
	if (e == NULL) return zbz_fail(&c->err, ZBZ_E_TOO_LARGE, "full");
	memset(e, 0, sizeof *e);
	e->used = true;
	memcpy(e->key, w->key.p, w->key.n);
	memcpy(e->value, w->value.p, w->value.n);
	return ZBZ_OK;
}

static zbz_status tiny_del(void *self, zbz_call *c, zbz_bytes key) {
	tiny_entry *e = tiny_find(self, key);
	if (zbz_bytes_eq(key, zbz_bstr("broken"))) return zbz_fail(&c->err, ZBZ_E_UNAVAILABLE, "the wire broke");
	if (e == NULL) return ZBZ_MISS;
	e->used = false;
	return ZBZ_OK;
}

struct zbz_cursor {
	int at;
	char prefix[16];
	bool lies; /* lists foreign keys */
};
static bool tiny_lies;
static int tiny_cursors;

static zbz_status tiny_scan_open(void *self, zbz_call *c, zbz_bytes prefix, zbz_bytes pattern, zbz_cursor **cursor) {
	*cursor = zbz_calloc(1, sizeof **cursor);
	if (*cursor == NULL) return zbz_fail_nomem(&c->err);
	memcpy((*cursor)->prefix, prefix.p, prefix.n);
	(*cursor)->lies = tiny_lies;
	tiny_cursors++;
	return ZBZ_OK;
}

static zbz_status tiny_scan_next(void *self, zbz_call *c, zbz_cursor *cursor, size_t limit, zbz_buf *out, size_t *n) {
	tiny *t = self;
	for (size_t added = 0; added < limit && cursor->at < ROOM; cursor->at++) {
		const tiny_entry *e = &t->entries[cursor->at];
		uint32_t len = (uint32_t)strlen(e->key);
		char head[4] = { (char)len, 0, 0, 0 };
		if (!e->used || (!cursor->lies && strncmp(e->key, cursor->prefix, strlen(cursor->prefix)) != 0)) continue;
		if (zbz_buf_append(out, head, 4, &c->err) < 0 || zbz_buf_append(out, e->key, len, &c->err) < 0)
			return c->err.status;
		added++;
		++*n;
	}
	return cursor->at == ROOM ? ZBZ_END : ZBZ_OK;
}

static void tiny_scan_close(void *self, zbz_cursor *cursor) {
	tiny_cursors--;
	zbz_free(cursor);
}

#define TINY                                                                                       \
	.abi = ZBZ_ABI, .options_size = sizeof(tiny_options), .options = tiny_list, .open = tiny_open, \
	.close = tiny_close, .caps = tiny_caps, .get = tiny_get, .set = tiny_set, .del = tiny_del

static const zbz_cache_ops bare = { TINY, .name = "bare", .aliases = "bear|plain", .schemes = "bare|bares" };
static const zbz_cache_ops listing = { TINY, .name = "listing", .scan_open = tiny_scan_open,
	                                   .scan_next = tiny_scan_next, .scan_close = tiny_scan_close };

/* One caller at a time: counts how many are inside. */
static atomic_int single_inside, single_most;

static zbz_status slow_get(void *self, zbz_call *c, zbz_bytes key, zbz_buf *out, zbz_meta *meta) {
	int now = atomic_fetch_add(&single_inside, 1) + 1;
	if (now > atomic_load(&single_most)) atomic_store(&single_most, now);
	for (volatile int i = 0; i < 2000; i++) {}
	atomic_fetch_sub(&single_inside, 1);
	return ZBZ_MISS;
}

/* A call that stays inside until told to leave. */
static pthread_mutex_t held_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t held_moved = PTHREAD_COND_INITIALIZER;
static int held_state; /* 1: inside, 2: may leave */

static zbz_status held_del(void *self, zbz_call *c, zbz_bytes key) {
	pthread_mutex_lock(&held_lock);
	held_state = 1;
	pthread_cond_broadcast(&held_moved);
	while (held_state != 2) pthread_cond_wait(&held_moved, &held_lock);
	pthread_mutex_unlock(&held_lock);
	return ZBZ_OK;
}

static const zbz_cache_ops single = { .abi = ZBZ_ABI,
	                                  .name = "single",
	                                  .single_thread = true,
	                                  .options_size = sizeof(tiny_options),
	                                  .options = tiny_list,
	                                  .open = tiny_open,
	                                  .close = tiny_close,
	                                  .caps = tiny_caps,
	                                  .get = slow_get,
	                                  .set = tiny_set,
	                                  .del = held_del };

/* ---- layers: one that passes everything on, one that answers get itself ---- */

typedef struct layer_options {
	zbz_store *inner;
} layer_options;

static const zbz_option layer_list[] = {
	{ .name = "inner", .type = ZBZ_OPT_STORE, .offset = offsetof(layer_options, inner) }, { .name = NULL }
};

static zbz_status layer_open(void **self, const void *options, const zbz_clock *clock, zbz_err *e) {
	*self = ((const layer_options *)options)->inner;
	return ZBZ_OK;
}
static void layer_close(void *self) {}
static void layer_caps(void *self, zbz_caps *out) { zbz_store_caps(self, out); }
static zbz_status layer_get(void *self, zbz_call *c, zbz_bytes key, zbz_buf *out, zbz_meta *meta) {
	if (zbz_bytes_eq(key, zbz_bstr("layer"))) return zbz_fail(&c->err, ZBZ_E_DENIED, "not for you");
	return zbz_store_get(self, c, key, out, meta);
}

#define LAYER                                                                                                        \
	.abi = ZBZ_ABI, .layer = true, .options_size = sizeof(layer_options), .options = layer_list, .open = layer_open, \
	.close = layer_close, .caps = layer_caps
static const zbz_cache_ops thru = { LAYER, .name = "thru" };
static const zbz_cache_ops half = { LAYER, .name = "half", .get = layer_get };

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

/* ---- stores ---- */

static zbz_store *open_as(const char *provider) {
	zbz_config *cfg = zbz_config_new();
	zbz_store *s = NULL;
	CHECK(zbz_config_set_text(cfg, "provider", zbz_bstr(provider), &err) == ZBZ_OK);
	CHECK(zbz_store_open(cfg, NULL, &s, &err) == ZBZ_OK);
	zbz_config_free(cfg);
	return s;
}

static zbz_store *open_over(const char *layer, zbz_store *inner) {
	zbz_config *cfg = zbz_config_new();
	zbz_store *s = NULL;
	CHECK(zbz_config_set_text(cfg, "provider", zbz_bstr(layer), &err) == ZBZ_OK &&
	      zbz_config_set_store(cfg, "inner", inner, &err) == ZBZ_OK);
	CHECK(zbz_store_open(cfg, NULL, &s, &err) == ZBZ_OK);
	zbz_config_free(cfg);
	zbz_store_unref(inner);
	return s;
}

static zbz_call call(void) {
	return (zbz_call){ .clock = zbz_clock_system(), .now = zbz_wall(zbz_clock_system()), .deadline = ZBZ_NEVER };
}

static zbz_status put(zbz_store *s, zbz_call *c, const char *key, const char *value) {
	zbz_write w = { .key = zbz_bstr(key), .value = zbz_bstr(value) };
	return zbz_store_set(s, c, &w, NULL);
}

static void test_open(void) {
	zbz_config *cfg = zbz_config_new();
	zbz_store *s = (zbz_store *)(uintptr_t)1;
	CHECK(zbz_store_open(cfg, NULL, &s, &err) == ZBZ_E_CONFIG && s == NULL && strcmp(err.option, "provider") == 0);
	CHECK(zbz_store_open(cfg, NULL, &s, NULL) == ZBZ_E_CONFIG);
	zbz_config_set_text(cfg, "url", zbz_bstr("bares://h/1"), NULL); /* the scheme alone names the provider */
	CHECK(zbz_store_open(cfg, NULL, &s, &err) == ZBZ_OK && zbz_store_ops(s) == &bare && zbz_store_bottom(s) == s);
	CHECK_STR(((const tiny_options *)zbz_store_options(s))->url, "bares://h/1");
	CHECK(zbz_store_ref(s) == s);
	zbz_store_unref(s);
	CHECK(tiny_open_count == 1);
	zbz_store_unref(s);
	zbz_store_unref(NULL);
	CHECK(tiny_open_count == 0);
	zbz_config_set_text(cfg, "provider", zbz_bstr("bare://h"), NULL);
	CHECK(zbz_store_open(cfg, NULL, &s, &err) == ZBZ_E_CONFIG && says("'url'"));
	zbz_config_set_text(cfg, "url", zbz_bstr("nothing"), NULL);
	zbz_config_set_int(cfg, "provider", 5, NULL);
	CHECK(zbz_store_open(cfg, NULL, &s, &err) == ZBZ_E_CONFIG && strcmp(err.option, "provider") == 0);
	zbz_config_free(cfg);
	cfg = zbz_config_new();
	zbz_config_set_text(cfg, "url", zbz_bstr("secret-hunter2"), NULL);
	CHECK(zbz_store_open(cfg, NULL, &s, &err) == ZBZ_E_CONFIG && strcmp(err.option, "url") == 0 && !says("hunter2"));
	zbz_config_set_text(cfg, "url", zbz_bstr("gopher://u:hunter2@h"), NULL);
	CHECK(zbz_store_open(cfg, NULL, &s, &err) == ZBZ_E_UNKNOWN_PROVIDER && says("gopher") && !says("hunter2"));
	zbz_config_free(cfg);
	cfg = zbz_config_new();
	zbz_config_set_text(cfg, "provider", zbz_bstr("thru"), NULL);
	CHECK(zbz_store_open(cfg, NULL, &s, &err) == ZBZ_E_CONFIG && strcmp(err.option, "inner") == 0 &&
	      strcmp(err.provider, "thru") == 0);
	zbz_config_free(cfg);
}

static void test_the_clock_goes_down(void) {
	zbz_clock *fake = zbz_clock_fake_new(1);
	zbz_config *cfg = zbz_config_new(), *middle = zbz_config_new();
	zbz_store *s = NULL;
	CHECK(zbz_config_set_text(middle, "provider", zbz_bstr("half"), &err) == ZBZ_OK &&
	      zbz_config_set_text(middle, "inner", zbz_bstr("bare:"), &err) == ZBZ_OK);
	CHECK(zbz_config_set_text(cfg, "provider", zbz_bstr("thru"), &err) == ZBZ_OK &&
	      zbz_config_set_config(cfg, "inner", middle, &err) == ZBZ_OK);
	CHECK(zbz_store_open(cfg, fake, &s, &err) == ZBZ_OK && tiny_clock == fake);
	CHECK_STR(zbz_store_ops(zbz_store_bottom(s))->name, "bare");
	zbz_store_unref(s);
	CHECK(zbz_store_open(cfg, NULL, &s, &err) == ZBZ_OK &&
	      tiny_clock == zbz_clock_system()); /* and again from the same configuration */
	zbz_store_unref(s);
	zbz_config_free(cfg);
	zbz_clock_fake_free(fake);
	CHECK(tiny_open_count == 0);
}

static void test_caps_tell_the_truth(void) {
	zbz_store *s = open_as("bare");
	zbz_caps caps;
	zbz_store_caps(s, &caps);
	CHECK(caps.can == ZBZ_CAN_ADD && caps.emulated == 0 && caps.max_key == 15);
	zbz_store_unref(s);
	s = open_over("thru", open_as("listing"));
	zbz_store_caps(s, &caps);
	CHECK(caps.can == (ZBZ_CAN_ADD | ZBZ_CAN_KEYS | ZBZ_CAN_CLEAR) && caps.emulated == ZBZ_CAN_CLEAR);
	zbz_store_unref(s);
}

static void check_lacks(zbz_store *s, const char *who) {
	zbz_call c = call();
	zbz_buf out = { 0 };
	zbz_provider_stats stats;
	zbz_cursor *cursor;
	zbz_incr how = { .delta = 1 };
	void *subscription;
	int64_t n;
	size_t end = 1;
	uint64_t removed;
	zbz_bytes k = zbz_bstr("k");
	zbz_status all[] = { zbz_store_ttl(s, &c, k, &n),
		                 zbz_store_expire(s, &c, k, 0),
		                 zbz_store_incr(s, &c, k, &how, &n),
		                 zbz_store_scan_open(s, &c, k, k, &cursor),
		                 zbz_store_clear(s, &c, k, &removed),
		                 zbz_store_ping(s, &c),
		                 zbz_store_version(s, &c, &out),
		                 zbz_store_inspect(s, &c, k, &out),
		                 zbz_store_command(s, &c, &k, &end, 1, &out),
		                 zbz_store_subscribe(s, &c, &k, 1, false, NULL, NULL, &subscription) };
	for (size_t i = 0; i < sizeof all / sizeof *all; i++) CHECK(all[i] == ZBZ_E_UNSUPPORTED);
	CHECK_STR(c.err.provider, who);
	CHECK(strstr(c.err.text, "subscribe") != NULL && strstr(c.err.text, who) != NULL);
	zbz_store_stats(s, &c, &stats);
	CHECK(stats.keys == -1 && stats.retries == -1);
	zbz_store_scan_close(s, NULL);
	zbz_store_unsubscribe(s, NULL);
	zbz_buf_clear(&out);
}

static void test_empty_slots(void) {
	zbz_store *s = open_as("bare");
	check_lacks(s, "bare");
	zbz_store_unref(s);
	s = open_over("thru", open_over("half", open_as("bare")));
	check_lacks(s, "bare");
	CHECK(zbz_store_ops(zbz_store_bottom(s)) == &bare);
	zbz_store_unref(s);
	CHECK(tiny_open_count == 0);
}

static void check_values(zbz_store *s) {
	zbz_call c = call();
	zbz_buf out = { 0 };
	zbz_meta meta = { 77, { 3, { 1 } }, 9 };
	zbz_version version = { 5, { 0 } };
	zbz_write w = { .key = zbz_bstr("k"), .value = zbz_bstr("v") };
	CHECK(zbz_store_get(s, &c, zbz_bstr("k"), &out, NULL) == ZBZ_MISS &&
	      zbz_store_exists(s, &c, zbz_bstr("k")) == ZBZ_MISS);
	CHECK(zbz_store_set(s, &c, &w, &version) == ZBZ_OK && version.n == 0);
	CHECK(zbz_store_get(s, &c, zbz_bstr("k"), &out, &meta) == ZBZ_OK && out.n == 1 && out.p[0] == 'v');
	CHECK(meta.expire_at == -1 && meta.version.n == 0); /* the provider did not say */
	CHECK(zbz_store_exists(s, &c, zbz_bstr("k")) == ZBZ_OK && out.n == 1);
	CHECK(zbz_store_get(s, &c, zbz_bstr("broken"), &out, NULL) == ZBZ_E_UNAVAILABLE &&
	      out.n == 1); /* partial bytes are gone */
	CHECK(strcmp(c.err.provider, "bare") == 0 && strcmp(c.err.text, "the wire broke") == 0 && c.err.retryable);
	CHECK(zbz_store_get(s, &c, zbz_bstr("mute"), &out, NULL) == ZBZ_E_CORRUPT && c.err.status == ZBZ_E_CORRUPT &&
	      c.err.text[0] != '\0');
	CHECK_STR(c.err.provider, "bare");
	CHECK(zbz_store_del(s, &c, zbz_bstr("k")) == ZBZ_OK && zbz_store_del(s, &c, zbz_bstr("k")) == ZBZ_MISS);
	zbz_buf_clear(&out);
}

static void test_values(void) {
	zbz_store *s = open_as("bare");
	zbz_call c = call();
	zbz_buf out = { 0 };
	check_values(s);
	zbz_store_unref(s);
	s = open_over("thru", open_as("bare"));
	check_values(s);
	zbz_store_unref(s);
	s = open_over("half", open_as("bare"));
	check_values(s);
	CHECK(zbz_store_get(s, &c, zbz_bstr("layer"), &out, NULL) == ZBZ_E_DENIED && strcmp(c.err.provider, "half") == 0);
	zbz_store_unref(s);
}

static void test_batches_from_single_calls(void) {
	zbz_store *s = open_over("thru", open_as("bare"));
	zbz_call c = call();
	zbz_buf out = { 0 };
	zbz_bytes keys[] = { zbz_bstr("a"), zbz_bstr("none"), zbz_bstr("broken"), zbz_bstr("a"), zbz_bstr("b") };
	zbz_write writes[] = { { .key = zbz_bstr("a"), .value = zbz_bstr("1") },
		                   { .key = zbz_bstr("broken") },
		                   { .key = zbz_bstr("b"), .value = zbz_bstr("22") } };
	zbz_found found[5];
	zbz_status each[5];
	CHECK(zbz_store_set_many(s, &c, writes, 3, each) == ZBZ_OK && each[0] == ZBZ_OK && each[1] == ZBZ_E_UNAVAILABLE &&
	      each[2] == ZBZ_OK);
	CHECK(zbz_store_get_many(s, &c, keys, 5, &out, found) == ZBZ_OK && out.n == 4);
	CHECK(found[0].status == ZBZ_OK && found[1].status == ZBZ_MISS && found[2].status == ZBZ_E_UNAVAILABLE &&
	      found[3].status == ZBZ_OK);
	CHECK(found[4].n == 2 && memcmp(out.p + found[4].off, "22", 2) == 0 && found[2].n == 0 && found[3].off == 1);
	CHECK(zbz_store_get_many(s, &c, keys + 2, 1, &out, found) == ZBZ_E_UNAVAILABLE &&
	      out.n == 4); /* nothing can be said of any key */
	CHECK(zbz_store_del_many(s, &c, keys, 5, each) == ZBZ_OK && each[0] == ZBZ_OK && each[1] == ZBZ_MISS &&
	      each[2] < 0 && each[3] == ZBZ_MISS && each[4] == ZBZ_OK);
	c.deadline = 1; /* long gone */
	CHECK(zbz_store_get_many(s, &c, keys, 5, &out, found) == ZBZ_E_TIMEOUT && found[4].status == ZBZ_E_TIMEOUT &&
	      strcmp(c.err.provider, "bare") == 0);
	CHECK(zbz_store_set_many(s, &c, writes, 3, each) == ZBZ_E_TIMEOUT &&
	      zbz_store_del_many(s, &c, keys, 5, each) == ZBZ_E_TIMEOUT);
	zbz_buf_clear(&out);
	zbz_store_unref(s);
}

static void test_clear_from_listing(void) {
	zbz_store *s = open_over("thru", open_as("listing"));
	zbz_call c = call();
	uint64_t removed = 99;
	char key[16];
	for (int i = 0; i < 520; i++) {
		snprintf(key, sizeof key, "a:%d", i);
		CHECK(put(s, &c, key, "x") == ZBZ_OK);
	}
	CHECK(put(s, &c, "b:1", "x") == ZBZ_OK && put(s, &c, "a", "x") == ZBZ_OK);
	CHECK(zbz_store_clear(s, &c, zbz_bstr(""), &removed) == ZBZ_E_UNSUPPORTED && removed == 0); /* not exclusive */
	CHECK(zbz_store_clear(s, &c, zbz_bstr("a:"), &removed) == ZBZ_OK && removed == 520 && tiny_cursors == 0);
	CHECK(zbz_store_exists(s, &c, zbz_bstr("b:1")) == ZBZ_OK && zbz_store_exists(s, &c, zbz_bstr("a")) == ZBZ_OK);
	CHECK(zbz_store_clear(s, &c, zbz_bstr("a:"), &removed) == ZBZ_OK && removed == 0);
	tiny_lies = true;
	CHECK(zbz_store_clear(s, &c, zbz_bstr("b:"), &removed) == ZBZ_E_INTERNAL && tiny_cursors == 0);
	tiny_lies = false;
	CHECK(zbz_store_exists(s, &c, zbz_bstr("b:1")) == ZBZ_OK &&
	      zbz_store_exists(s, &c, zbz_bstr("a")) == ZBZ_OK); /* nothing foreign went */
	CHECK(put(s, &c, "c:1", "x") == ZBZ_OK);
	c.deadline = 1;
	CHECK(zbz_store_clear(s, &c, zbz_bstr("c:"), &removed) == ZBZ_E_TIMEOUT && tiny_cursors == 0);
	zbz_store_unref(s);
}

static void *hammer(void *store) {
	zbz_call c = call();
	zbz_buf out = { 0 };
	for (int i = 0; i < 300; i++) zbz_store_get(store, &c, zbz_bstr("x"), &out, NULL);
	zbz_buf_clear(&out);
	return NULL;
}

static void *hold(void *store) {
	zbz_call c = call();
	return zbz_store_del(store, &c, zbz_bstr("x")) == ZBZ_OK ? store : NULL;
}

static void set_held(int state) {
	pthread_mutex_lock(&held_lock);
	held_state = state;
	pthread_cond_broadcast(&held_moved);
	pthread_mutex_unlock(&held_lock);
}

static void test_one_thread_at_a_time(void) {
	zbz_store *s = open_as("single");
	zbz_call c = call();
	zbz_buf out = { 0 };
	pthread_t threads[4];
	void *held = NULL;
	int alone;
	for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, hammer, s);
	for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
	CHECK(atomic_load(&single_most) == 1);
	pthread_create(&threads[0], NULL, hold, s);
	pthread_mutex_lock(&held_lock);
	while (held_state != 1) pthread_cond_wait(&held_moved, &held_lock);
	pthread_mutex_unlock(&held_lock);
	c.deadline = zbz_mono(c.clock) + 20;
	CHECK(zbz_store_get(s, &c, zbz_bstr("x"), &out, NULL) == ZBZ_E_TIMEOUT && zbz_mono(c.clock) >= c.deadline);
	CHECK_STR(c.err.provider, "single");
	set_held(2);
	pthread_join(threads[0], &held);
	CHECK(held == s);
	c.deadline = ZBZ_NEVER;
	CHECK(zbz_store_get(s, &c, zbz_bstr("x"), &out, NULL) == ZBZ_MISS);
	alone = fork(); /* a child goes on with the store it inherits */
	if (alone == 0) _exit(zbz_store_get(s, &c, zbz_bstr("x"), &out, NULL) == ZBZ_MISS ? 0 : 1);
	CHECK(waitpid(alone, &held_state, 0) == alone && held_state == 0);
	zbz_buf_clear(&out);
	zbz_store_unref(s);
}

static void test_without_memory(void) {
	bool failed = true;
	for (long n = 1; failed; n++) {
		zbz_store *s = NULL;
		zbz_status status = ZBZ_E_INTERNAL;
		zbz_config *cfg, *inner;
		long live;
		faults_begin(n);
		cfg = zbz_config_new();
		inner = cfg != NULL ? zbz_config_new() : NULL;
		if (inner != NULL) {
			status = zbz_config_set_text(inner, "provider", zbz_bstr("bare://h"), &err);
			if (status == ZBZ_OK) status = zbz_config_set_text(cfg, "provider", zbz_bstr("thru"), &err);
			if (status == ZBZ_OK)
				status = zbz_config_set_config(cfg, "inner", inner, &err);
			else
				zbz_config_free(inner);
		}
		if (status == ZBZ_OK) status = zbz_store_open(cfg, NULL, &s, &err);
		CHECK((status == ZBZ_OK) == (s != NULL));
		zbz_store_unref(s);
		zbz_config_free(cfg);
		failed = faults_end(&live);
		CHECK(failed == (status != ZBZ_OK) && live == 0 && tiny_open_count == 0);
	}
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
	RUN(test_open);
	RUN(test_the_clock_goes_down);
	RUN(test_caps_tell_the_truth);
	RUN(test_empty_slots);
	RUN(test_values);
	RUN(test_batches_from_single_calls);
	RUN(test_clear_from_listing);
	RUN(test_one_thread_at_a_time);
	RUN(test_without_memory);
	snprintf(command, sizeof command, "rm -rf %s", dir);
	CHECK(system(command) == 0);
	return DONE();
}
