/* What the tests of loads share: a table over the small provider, a load's seat and its commit in short. */
#ifndef SPEC_LOAD_RIG_H
#define SPEC_LOAD_RIG_H

#include "check.h"
#include "testmap.h"

static zbz_cache *cache;
static zbz_store *store;
static zbz_table *table;
static const zbz_bytes K = { "k", 1 };

static inline void setup(const char *options) {
	zbz_cache_opts o = { .key_prefix = zbz_bstr("p:") };
	zbz_table_opts to = { .name = zbz_bstr("t"), .ttl = -1, .deadline = -1 };
	zbz_err err;
	store = map_store(options, NULL);
	CHECK(store != NULL);
	CHECK(zbz_cache_new(store, &o, &cache, &err) == ZBZ_OK && zbz_table_new(cache, &to, &table, &err) == ZBZ_OK);
}

static inline void teardown(void) {
	zbz_table_free(table);
	zbz_cache_unref(cache);
	zbz_store_unref(store);
	CHECK(map_opened == map_closed);
}

static inline zbz_call begin(void) {
	zbz_call c;
	zbz_table_begin(table, &c, 0);
	return c;
}

static inline zbz_flight *enter(const char *key, const void *owner, zbz_seat want) {
	zbz_flight *f;
	zbz_seat seat;
	zbz_err err;
	CHECK(zbz_table_flight(table, zbz_bstr(key), owner, &f, &seat, &err) == ZBZ_OK && seat == want);
	return f;
}

static inline zbz_status get(const char *key, char *text, size_t size) {
	zbz_call c = begin();
	zbz_buf out = { 0 };
	zbz_status s = zbz_table_get(table, &c, zbz_bstr(key), &out);
	snprintf(text, size, "%.*s", (int)out.n, out.n != 0 ? out.p : "");
	zbz_buf_clear(&out);
	return s;
}

static inline zbz_status commit(zbz_flight *f, const char *key, const char *value, const zbz_version *lease) {
	zbz_call c = begin();
	return zbz_table_commit(table, &c, f, zbz_bstr(key), zbz_bstr(value), NULL, lease);
}

#endif
