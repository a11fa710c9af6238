/* A whole stack (store, cache, table) over any provider, and every call of it once: for tests of what goes wrong around it. */
#ifndef SPEC_STACK_H
#define SPEC_STACK_H

#include <stdlib.h>
#include <unistd.h>

#include <zbz/zbz.h>

#include "check.h"

/* ---- a stack ---- */

typedef struct stack {
	zbz_store *store;
	zbz_cache *cache;
	zbz_table *t;
	zbz_caps caps;
} stack;

static zbz_bytes b(const char *s) { return zbz_bstr(s); }

/* One option besides the provider is all these tests need, and patience with a busy machine. "inner" names the provider below. */
static zbz_status configure(zbz_config *cfg, const char *provider, const char *name, const char *value, zbz_err *err) {
	zbz_status s = cfg != NULL ? zbz_config_set_text(cfg, "provider", b(provider), err) : zbz_fail_nomem(err);
	if (s == ZBZ_OK && strcmp(provider, "memcached") == 0) s = zbz_config_set_text(cfg, "timeout", b("5s"), err);
	if (s != ZBZ_OK || name == NULL) return s;
	if (strcmp(name, "inner") == 0) {
		zbz_config *inner = zbz_config_new();
		s = configure(inner, value, NULL, NULL, err);
		if (s == ZBZ_OK) return zbz_config_set_config(cfg, name, inner, err);
		zbz_config_free(inner);
		return s;
	}
	return zbz_config_set_text(cfg, name, b(value), err);
}

static zbz_status stack_open(stack *k, const char *provider, const char *name, const char *value, zbz_err *err) {
	char prefix[48];
	zbz_cache_opts o = { .deadline = 10000 };
	zbz_table_opts to = { .name = b("t"), .ttl = 0, .deadline = -1 };
	zbz_config *cfg = zbz_config_new();
	zbz_status s = configure(cfg, provider, name, value, err);
	*k = (stack){ 0 };
	snprintf(prefix, sizeof prefix, "zbz-faults-%ld:", (long)getpid());
	o.key_prefix = b(prefix);
	if (s == ZBZ_OK) s = zbz_store_open(cfg, NULL, &k->store, err);
	if (s == ZBZ_OK) s = zbz_cache_new(k->store, &o, &k->cache, err);
	if (s == ZBZ_OK) s = zbz_table_new(k->cache, &to, &k->t, err);
	if (s == ZBZ_OK) zbz_store_caps(k->store, &k->caps);
	zbz_config_free(cfg);
	return s;
}

static void stack_close(stack *k) {
	zbz_table_free(k->t);
	zbz_cache_unref(k->cache);
	zbz_store_unref(k->store);
	*k = (stack){ 0 };
}

static zbz_status put(stack *k, const char *key, const char *value) {
	zbz_call c;
	zbz_table_begin(k->t, &c, -1);
	return zbz_table_set(k->t, &c, b(key), b(value), NULL, NULL);
}

static bool holds(stack *k, const char *key, const char *value) {
	zbz_buf out = { 0 };
	zbz_call c;
	bool ok;
	zbz_table_begin(k->t, &c, -1);
	ok = zbz_table_get(k->t, &c, b(key), &out) == ZBZ_OK && zbz_bytes_eq(zbz_buf_bytes(&out), b(value));
	zbz_buf_clear(&out);
	return ok;
}

/* ---- every call once ---- */

/* A call that fails says why; memory that ran out is the only reason it has. */
static bool told(zbz_status s, const zbz_call *c) { return s >= 0 || (s == ZBZ_E_INTERNAL && c->err.text[0] != '\0'); }

static bool batch_told(zbz_status s, const zbz_status *each, size_t n, const zbz_call *c) {
	size_t i;
	for (i = 0; s >= 0 && i < n; i++)
		if (each[i] < 0 && each[i] != ZBZ_E_INTERNAL) return false;
	return told(s, c);
}

static int batches(stack *k, zbz_call *c, zbz_buf *out, bool *all) {
	zbz_bytes keys[2] = { b("one"), b("two") }, values[2] = { b("1"), b("2") };
	zbz_status s, st[2];
	zbz_found f[2];
	s = zbz_table_set_many(k->t, c, keys, values, NULL, 2, st);
	if (!batch_told(s, st, 2, c)) return 11;
	*all = *all && s == ZBZ_OK && st[0] == ZBZ_OK && st[1] == ZBZ_OK;
	zbz_buf_reset(out);
	s = zbz_table_get_many(k->t, c, keys, 2, out, f);
	st[0] = f[0].status, st[1] = f[1].status;
	if (!batch_told(s, st, 2, c)) return 12;
	if (s == ZBZ_OK && st[1] == ZBZ_OK && !zbz_bytes_eq(zbz_b(out->p + f[1].off, f[1].n), values[1])) return 13;
	*all = *all && s == ZBZ_OK && st[0] == ZBZ_OK && st[1] == ZBZ_OK;
	s = zbz_table_del_many(k->t, c, keys, 2, st);
	*all = *all && s == ZBZ_OK;
	return batch_told(s, st, 2, c) ? 0 : 14;
}

static int listing(stack *k, zbz_call *c, zbz_buf *out, bool *all) {
	zbz_listing *l = NULL;
	size_t n = 0;
	zbz_status s = zbz_table_keys_open(k->t, c, b("*"), &l);
	zbz_buf_reset(out);
	while (s == ZBZ_OK) s = zbz_table_keys_next(l, c, 10, out, &n);
	zbz_table_keys_close(l);
	*all = *all && s == ZBZ_END && n > 0;
	return told(s, c) ? 0 : 21;
}

static int flight(stack *k, zbz_call *c, const char *key, bool *all) {
	zbz_flight *f = NULL, *w = NULL;
	zbz_seat seat = ZBZ_LEADS;
	zbz_version v = { 0 };
	zbz_status s = zbz_table_flight(k->t, b(key), NULL, &f, &seat, &c->err);
	bool ok = s == ZBZ_OK;
	int at = told(s, c) ? seat == ZBZ_LEADS ? 0 : 32 : 31;
	if (s == ZBZ_OK) {
		s = zbz_table_flight(k->t, b(key), NULL, &w, &seat, &c->err);
		if (at == 0 && !told(s, c)) at = 33;
		ok = ok && s == ZBZ_OK;
		s = zbz_table_lease(k->t, c, b(key), NULL, 5000, &v);
		if (at == 0 && !told(s, c)) at = 34;
		ok = ok && s >= 0;
		s = zbz_table_commit(k->t, c, f, b(key), b("loaded"), NULL, &v);
		if (at == 0 && !told(s, c)) at = 35;
		ok = ok && s == ZBZ_OK;
		s = zbz_flight_land(f, ZBZ_LANDED_VALUE, b("loaded"), &c->err);
		if (at == 0 && !told(s, c)) at = 36;
		if (at == 0 && w != NULL && zbz_flight_wait(w, zbz_clock_system(), ZBZ_NEVER, &c->err) != ZBZ_OK) at = 37;
	}
	zbz_flight_leave(f);
	zbz_flight_leave(w);
	*all = *all && ok;
	return at;
}

/* 0, or the step that broke a promise. *all: every call did what it is for. */
static int every_call(stack *k, const char *loaded, bool *all) {
	zbz_buf out = { 0 };
	zbz_entry entry;
	zbz_call c;
	int64_t v;
	int at = 0;
	zbz_status s;
#define STEP(number, call, good)         \
	if (at == 0) {                       \
		zbz_table_begin(k->t, &c, -1);   \
		s = (call);                      \
		if (!told(s, &c)) at = (number); \
		*all = *all && (good);           \
	}
	*all = true;
	STEP(1, zbz_table_set(k->t, &c, b("k"), b("v"), NULL, NULL), s == ZBZ_OK)
	STEP(2, zbz_table_get(k->t, &c, b("k"), &out), s == ZBZ_OK && zbz_bytes_eq(zbz_buf_bytes(&out), b("v")))
	STEP(3, zbz_table_entry(k->t, &c, b("k"), true, &out, &entry), s == ZBZ_OK)
	STEP(4, zbz_table_exists(k->t, &c, b("k")), s == ZBZ_OK)
	STEP(5, zbz_table_expire(k->t, &c, b("k"), 60000), s == ZBZ_OK)
	STEP(6, zbz_table_ttl(k->t, &c, b("k"), &v), s == ZBZ_OK)
	STEP(7, zbz_table_incr(k->t, &c, b("n"), 1, false, 0, 60000, &v), s == ZBZ_OK)
	STEP(8, zbz_table_invalidate(k->t, &c, b("k")), s == ZBZ_OK)
	if (at == 0) at = batches(k, &c, &out, all);
	if (at == 0) at = listing(k, &c, &out, all);
	if (at == 0) at = flight(k, &c, loaded, all);
	STEP(9, zbz_table_del(k->t, &c, b("n")), s >= 0)
	STEP(10, zbz_table_del(k->t, &c, b(loaded)), s >= 0)
#undef STEP
	zbz_buf_clear(&out);
	return at;
}

#endif
