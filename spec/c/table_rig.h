/* What the table tests share: a cache over the small provider with a clock of the test's own, and a table's calls in short. */
#ifndef SPEC_TABLE_RIG_H
#define SPEC_TABLE_RIG_H

#include "check.h"
#include "testmap.h"

enum { T0 = 1000000 };

static zbz_clock *fake;
static zbz_cache *cache;
static zbz_store *store;
static zbz_buf out;

static inline void open_cache(const char *options, const char *prefix, int64_t ttl) {
	zbz_cache_opts o = { .key_prefix = zbz_bstr(prefix), .default_ttl = ttl };
	zbz_err err;
	fake = zbz_clock_fake_new(T0);
	o.clock = fake;
	store = map_store(options, fake);
	CHECK(store != NULL);
	CHECK(zbz_cache_new(store, &o, &cache, &err) == ZBZ_OK);
}

static inline void close_cache(void) {
	zbz_cache_unref(cache);
	zbz_store_unref(store);
	zbz_clock_fake_free(fake);
	zbz_buf_clear(&out);
	CHECK(map_opened == map_closed);
}

static inline zbz_table *table(const char *name, int64_t ttl, int64_t stale_ttl, bool envelope) {
	zbz_table_opts o = {
		.name = zbz_bstr(name), .ttl = ttl, .deadline = -1, .stale_ttl = stale_ttl, .envelope = envelope
	};
	zbz_err err;
	zbz_table *t;
	CHECK(zbz_table_new(cache, &o, &t, &err) == ZBZ_OK);
	return t;
}

/* ---- calls in short ---- */

static zbz_call call;

static inline zbz_call *at(zbz_table *t) {
	zbz_table_begin(t, &call, -1);
	return &call;
}
static inline zbz_status get(zbz_table *t, const char *k) {
	out.n = 0;
	return zbz_table_get(t, at(t), zbz_bstr(k), &out);
}
static inline bool holds(zbz_table *t, const char *k, const char *v) {
	return get(t, k) == ZBZ_OK && zbz_bytes_eq(zbz_buf_bytes(&out), zbz_bstr(v));
}
static inline zbz_status put_as(zbz_table *t, const char *k, const char *v, zbz_put p) {
	return zbz_table_set(t, at(t), zbz_bstr(k), zbz_bstr(v), &p, NULL);
}
static inline zbz_status set(zbz_table *t, const char *k, const char *v, int64_t ttl) {
	return put_as(t, k, v, (zbz_put){ .ttl = ttl, .stale_ttl = -1 });
}
static inline zbz_status add(zbz_table *t, const char *k, const char *v) {
	return put_as(t, k, v, (zbz_put){ .ttl = -1, .stale_ttl = -1, .only = ZBZ_ONLY_ABSENT });
}
static inline zbz_status del(zbz_table *t, const char *k) { return zbz_table_del(t, at(t), zbz_bstr(k)); }
static inline zbz_status exists(zbz_table *t, const char *k) { return zbz_table_exists(t, at(t), zbz_bstr(k)); }
static inline int64_t ttl(zbz_table *t, const char *k) {
	int64_t left = -7;
	zbz_status s = zbz_table_ttl(t, at(t), zbz_bstr(k), &left);
	return s == ZBZ_OK ? left : -(int64_t)s - 1000;
}
static inline zbz_status expire(zbz_table *t, const char *k, int64_t ms) {
	return zbz_table_expire(t, at(t), zbz_bstr(k), ms);
}
static inline zbz_status entry(zbz_table *t, const char *k, zbz_entry *e) {
	out.n = 0;
	return zbz_table_entry(t, at(t), zbz_bstr(k), true, &out, e);
}
static inline zbz_status incr(zbz_table *t, const char *k, int64_t by, int64_t *v) {
	return zbz_table_incr(t, at(t), zbz_bstr(k), by, false, 0, -1, v);
}
static inline zbz_status raw(const char *full_key) { /* what the store holds */
	zbz_call c = { .clock = fake, .now = zbz_wall(fake), .deadline = ZBZ_NEVER };
	out.n = 0;
	return zbz_store_get(store, &c, zbz_bstr(full_key), &out, NULL);
}
enum { GONE = -(int)ZBZ_MISS - 1000 };

#endif
