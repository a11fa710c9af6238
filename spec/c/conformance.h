/* What the parts of the conformance program share: the provider under test, opened from the command line. */
#ifndef SPEC_CONFORMANCE_H
#define SPEC_CONFORMANCE_H

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <zbz/zbz.h>

#include "check.h"

enum { START_MS = 1700000000, PATIENCE_MS = 10000 };

static struct subject {
	zbz_store *store;
	zbz_cache *cache;
	zbz_table *t, *foreign; /* a table, and a neighbour whose keys nobody may touch */
	zbz_clock *fake;        /* NULL: real time */
	zbz_caps caps;
	char prefix[40];
} subject;

/* ---- configuration: "provider=fault" "inner.provider=memory" ... ---- */

/* Is it "<path>name=value"? name may be "inner.": then the nested part's length is in *nested. */
static const char *argument(const char *arg, const char *path, size_t *name_n, size_t *nested) {
	const char *rest = arg + strlen(path), *equal, *dot;
	if (strncmp(arg, path, strlen(path)) != 0 || (equal = strchr(rest, '=')) == NULL) return NULL;
	dot = memchr(rest, '.', (size_t)(equal - rest));
	*nested = dot != NULL ? (size_t)(dot - rest) : 0;
	*name_n = (size_t)(equal - rest);
	return rest;
}

static zbz_config *configure(int argc, char **argv, const char *path, zbz_err *err) {
	zbz_config *cfg = zbz_config_new();
	zbz_status s = cfg != NULL ? ZBZ_OK : zbz_fail_nomem(err);
	int i;
	for (i = 1; s == ZBZ_OK && i < argc; i++) {
		char name[64], below[128];
		size_t n, nested;
		const char *rest = argument(argv[i], path, &n, &nested);
		if (rest == NULL || strncmp(argv[i], "clock=", 6) == 0) continue;
		snprintf(name, sizeof name, "%.*s", (int)(nested != 0 ? nested : n), rest);
		if (nested == 0) {
			s = zbz_config_set_text(cfg, name, zbz_bstr(rest + n + 1), err);
		} else if (strncmp(rest + nested, ".provider=", 10) == 0) {
			snprintf(below, sizeof below, "%s%s.", path, name);
			zbz_config *inner = configure(argc, argv, below, err);
			s = inner != NULL ? zbz_config_set_config(cfg, name, inner, err) : err->status;
		}
	}
	if (s == ZBZ_OK) return cfg;
	zbz_config_free(cfg);
	return NULL;
}

static zbz_status make_table(const char *name, zbz_table **t, zbz_err *err) {
	zbz_table_opts o = { .name = zbz_bstr(name), .ttl = -1, .deadline = -1 };
	return zbz_table_new(subject.cache, &o, t, err);
}

static zbz_status open_subject(int argc, char **argv, zbz_err *err) {
	zbz_cache_opts o = { .deadline = PATIENCE_MS };
	zbz_config *cfg = configure(argc, argv, "", err);
	zbz_status s = cfg != NULL ? ZBZ_OK : err->status;
	int i;
	for (i = 1; i < argc; i++)
		if (strcmp(argv[i], "clock=fake") == 0 && (subject.fake = zbz_clock_fake_new((int64_t)START_MS * 1000)) == NULL)
			s = zbz_fail_nomem(err);
	snprintf(subject.prefix, sizeof subject.prefix, "zbz-conformance-%ld:", (long)getpid());
	o.key_prefix = zbz_bstr(subject.prefix);
	o.clock = subject.fake;
	if (s == ZBZ_OK) s = zbz_store_open(cfg, subject.fake, &subject.store, err);
	if (s == ZBZ_OK) s = zbz_cache_new(subject.store, &o, &subject.cache, err);
	if (s == ZBZ_OK) s = make_table("t", &subject.t, err);
	if (s == ZBZ_OK) s = make_table("tt", &subject.foreign, err);
	if (s == ZBZ_OK) zbz_store_caps(subject.store, &subject.caps);
	zbz_config_free(cfg);
	return s;
}

static void close_subject(void) {
	zbz_table_free(subject.t);
	zbz_table_free(subject.foreign);
	zbz_cache_unref(subject.cache);
	zbz_store_unref(subject.store);
	zbz_clock_fake_free(subject.fake);
}

/* ---- calls in short ---- */

static zbz_call call;
static zbz_buf out;

static zbz_call *now(void) {
	zbz_table_begin(subject.t, &call, -1);
	return &call;
}
static bool can(uint32_t bit) { return (subject.caps.can & bit) != 0; }
static bool fits(size_t key_n, size_t value_n) {
	const zbz_caps *c = &subject.caps;
	return (c->max_key == 0 || zbz_table_prefix(subject.t).n + key_n <= c->max_key) &&
	       (c->max_value == 0 || value_n <= c->max_value);
}

static zbz_status put_b(zbz_bytes k, zbz_bytes v, int64_t ttl, zbz_only only) {
	zbz_put p = { .ttl = ttl, .only = only };
	return zbz_table_set(subject.t, now(), k, v, &p, NULL);
}
static zbz_status put(const char *k, const char *v, int64_t ttl) {
	return put_b(zbz_bstr(k), zbz_bstr(v), ttl, ZBZ_ALWAYS);
}
static zbz_status get_b(zbz_bytes k) {
	zbz_buf_reset(&out);
	return zbz_table_get(subject.t, now(), k, &out);
}
static zbz_status get(const char *k) { return get_b(zbz_bstr(k)); }
static bool holds_b(zbz_bytes k, zbz_bytes v) { return get_b(k) == ZBZ_OK && zbz_bytes_eq(zbz_buf_bytes(&out), v); }
static bool holds(const char *k, const char *v) { return holds_b(zbz_bstr(k), zbz_bstr(v)); }
static zbz_status del(const char *k) { return zbz_table_del(subject.t, now(), zbz_bstr(k)); }
static zbz_status exists(const char *k) { return zbz_table_exists(subject.t, now(), zbz_bstr(k)); }
static zbz_status incr(const char *k, int64_t by, int64_t *v) {
	return zbz_table_incr(subject.t, now(), zbz_bstr(k), by, false, 0, 0, v);
}

/* A TTL that every resolution can tell from none, and that ends soon. */
static int64_t short_ttl(void) { return subject.caps.ttl_resolution_ms > 150 ? subject.caps.ttl_resolution_ms : 150; }

/* The entry's time passes. Asks again until it is gone: a server has a clock of its own. */
static bool passes(const char *k, int64_t ttl) {
	const struct timespec pause = { 0, 5000000 };
	int64_t until = zbz_mono(zbz_clock_system()) + ttl + PATIENCE_MS;
	if (subject.fake != NULL) {
		zbz_clock_fake_advance(subject.fake, ttl + subject.caps.ttl_resolution_ms);
		return get(k) == ZBZ_MISS;
	}
	while (get(k) == ZBZ_OK && zbz_mono(zbz_clock_system()) < until) nanosleep(&pause, NULL);
	return get(k) == ZBZ_MISS;
}

#endif
