/* What the tests of kept copies share: a table over a store with a clock of its own, and calls in short. */
#ifndef SPEC_L1_RIG_H
#define SPEC_L1_RIG_H

#include <zbz/zbz.h>

#include "check.h"

enum { T0 = 1000000 };

static zbz_clock *fake;
static zbz_store *store;
static zbz_cache *cache;
static zbz_table *table;
static zbz_call call;
static zbz_buf out;
static zbz_err err;

/* "provider=memory max_items=3" */
static inline zbz_store *open_store(const char *options, const zbz_clock *clock) {
	char text[256], *word, *rest = text;
	zbz_config *cfg = zbz_config_new();
	zbz_store *s = NULL;
	bool fine = cfg != NULL;
	snprintf(text, sizeof text, "%s", options);
	while (fine && (word = strtok_r(rest, " ", &rest)) != NULL) {
		char *value = strchr(word, '=');
		*value++ = '\0';
		fine = zbz_config_set_text(cfg, word, zbz_bstr(value), &err) == ZBZ_OK;
	}
	if (fine && zbz_store_open(cfg, clock, &s, &err) != ZBZ_OK) s = NULL;
	zbz_config_free(cfg);
	return s;
}

static inline void setup_as(const char *options, int64_t stale_ttl) {
	zbz_cache_opts o = { .key_prefix = zbz_bstr("p:") };
	zbz_table_opts to = { .name = zbz_bstr("t"), .ttl = -1, .deadline = -1, .stale_ttl = stale_ttl };
	fake = zbz_clock_fake_new(T0);
	o.clock = fake;
	store = open_store(options, fake);
	CHECK(store != NULL);
	CHECK(zbz_cache_new(store, &o, &cache, &err) == ZBZ_OK && zbz_table_new(cache, &to, &table, &err) == ZBZ_OK);
}
static inline void setup(const char *options) { setup_as(options, 0); }
static inline void teardown(void) {
	zbz_table_free(table);
	zbz_cache_unref(cache);
	zbz_store_unref(store);
	zbz_clock_fake_free(fake);
	zbz_buf_clear(&out);
}

static inline zbz_call *now(void) {
	zbz_table_begin(table, &call, -1);
	return &call;
}
static inline zbz_status set_for(const char *k, const char *v, int64_t ttl) {
	zbz_put p = { .ttl = ttl, .stale_ttl = -1 };
	return zbz_table_set(table, now(), zbz_bstr(k), zbz_bstr(v), &p, NULL);
}
static inline zbz_status set(const char *k, const char *v) { return set_for(k, v, -1); }
static inline zbz_status see(const char *k, zbz_kept *kept) {
	out.n = 0;
	return zbz_table_get_kept(table, now(), zbz_bstr(k), &out, NULL, kept);
}
static inline bool got(const char *v) { return zbz_bytes_eq(zbz_buf_bytes(&out), zbz_bstr(v)); }

/* Stores of which copies may be kept. */
static const char *const coherent[] = {
	"provider=memory",    "provider=memory eviction=lru",       "provider=memory eviction=ttl",
	"provider=ristretto", "provider=shared size=1MB zone=seen", NULL,
};

#endif
