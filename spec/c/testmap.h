/* A small provider for the tests of the front: a map under one mutex, its capabilities chosen by options, with a hook
 * in front of every operation at which a test can hold a call. Registered as "testmap". */
#ifndef SPEC_TESTMAP_H
#define SPEC_TESTMAP_H

#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <stdio.h>

#include <zbz/zbz.h>

enum { MAP_BUCKETS = 256 };

typedef struct map_options {
	bool is_private, inline_ok, no_versions, quiet, exclusive, no_ttl;
	int64_t max_key, max_value;
} map_options;

static const zbz_option map_option_table[] = {
	{ "private", NULL, ZBZ_OPT_BOOL, offsetof(map_options, is_private), NULL, NULL, 0, 0, "only this process sees it" },
	{ "inline", NULL, ZBZ_OPT_BOOL, offsetof(map_options, inline_ok), NULL, NULL, 0, 0, "answers without waiting" },
	{ "no_versions", NULL, ZBZ_OPT_BOOL, offsetof(map_options, no_versions), NULL, NULL, 0, 0, "has no versions" },
	{ "quiet", NULL, ZBZ_OPT_BOOL, offsetof(map_options, quiet), NULL, NULL, 0, 0,
	  "does not tell the version it wrote" },
	{ "exclusive", NULL, ZBZ_OPT_BOOL, offsetof(map_options, exclusive), NULL, NULL, 0, 0, "may be cleared whole" },
	{ "no_ttl", NULL, ZBZ_OPT_BOOL, offsetof(map_options, no_ttl), NULL, NULL, 0, 0, "cannot tell the time left" },
	{ "max_key", NULL, ZBZ_OPT_INT, offsetof(map_options, max_key), NULL, NULL, 0, 0, "longest key" },
	{ "max_value", NULL, ZBZ_OPT_INT, offsetof(map_options, max_value), NULL, NULL, 0, 0, "longest value" },
	{ NULL, NULL, ZBZ_OPT_TEXT, 0, NULL, NULL, 0, 0, NULL },
};

typedef struct map_entry {
	struct map_entry *next;
	int64_t expire_at;
	uint64_t version;
	size_t key_n, value_n;
	char bytes[];
} map_entry;

typedef struct map {
	const map_options *o;
	pthread_mutex_t lock;
	uint64_t versions;
	map_entry *buckets[MAP_BUCKETS];
} map;

/* Called before each operation, without the lock; op is the slot's name. */
static void (*map_hook)(const char *op, zbz_bytes key);
static int map_opened, map_closed; /* stores, over the whole program */
static pthread_mutex_t map_census = PTHREAD_MUTEX_INITIALIZER;

static zbz_status map_open(void **self, const void *options, const zbz_clock *clock, zbz_err *err) {
	map *m = zbz_calloc(1, sizeof *m);
	if (m == NULL) return zbz_fail_nomem(err);
	m->o = options;
	pthread_mutex_init(&m->lock, NULL);
	pthread_mutex_lock(&map_census);
	map_opened++;
	pthread_mutex_unlock(&map_census);
	*self = m;
	return ZBZ_OK;
}

static void map_close(void *self) {
	map *m = self;
	size_t i;
	map_entry *e, *next;
	for (i = 0; i < MAP_BUCKETS; i++)
		for (e = m->buckets[i]; e != NULL; e = next) {
			next = e->next;
			zbz_free(e);
		}
	pthread_mutex_destroy(&m->lock);
	zbz_free(m);
	pthread_mutex_lock(&map_census);
	map_closed++;
	pthread_mutex_unlock(&map_census);
}

static void map_caps(void *self, zbz_caps *out) {
	const map_options *o = ((map *)self)->o;
	memset(out, 0, sizeof *out);
	out->can = ZBZ_CAN_TTL | ZBZ_CAN_EXPIRE | ZBZ_CAN_ADD | ZBZ_CAN_PRESENT | ZBZ_CAN_VERSION | ZBZ_CAN_INCR |
	           ZBZ_CAN_KEYS | ZBZ_CAN_CLEAR;
	if (o->no_versions) out->can &= ~(uint32_t)ZBZ_CAN_VERSION;
	if (o->no_ttl) out->can &= ~(uint32_t)ZBZ_CAN_TTL;
	out->shared = !o->is_private;
	out->inline_ok = o->inline_ok;
	out->exclusive = o->exclusive;
	out->ttl_resolution_ms = 1;
	out->max_key = (uint64_t)o->max_key;
	out->max_value = (uint64_t)o->max_value;
}

/* Where the key's live entry hangs; a dead one is freed on the way. */
static map_entry **map_at(map *m, const zbz_call *c, zbz_bytes key) {
	size_t h = 5381, i;
	map_entry **at, *e;
	for (i = 0; i < key.n; i++) h = h * 33 + (unsigned char)key.p[i];
	at = &m->buckets[h % MAP_BUCKETS];
	while ((e = *at) != NULL) {
		if (e->expire_at != ZBZ_NO_EXPIRY && e->expire_at <= c->now) {
			*at = e->next;
			zbz_free(e);
			continue;
		}
		if (zbz_bytes_eq(zbz_b(e->bytes, e->key_n), key)) break;
		at = &e->next;
	}
	return at;
}

static map *map_enter(void *self, const char *op, zbz_bytes key) {
	map *m = self;
	if (map_hook != NULL) map_hook(op, key);
	pthread_mutex_lock(&m->lock);
	return m;
}
static zbz_status map_leave(map *m, zbz_status s) {
	pthread_mutex_unlock(&m->lock);
	return s;
}

static zbz_version map_version(const map *m, uint64_t v) {
	zbz_version out = { 0, { 0 } };
	if (m->o->no_versions) return out;
	out.n = sizeof v;
	memcpy(out.b, &v, sizeof v);
	return out;
}

static zbz_status map_get(void *self, zbz_call *c, zbz_bytes key, zbz_buf *out, zbz_meta *meta) {
	map *m = map_enter(self, "get", key);
	map_entry *e = *map_at(m, c, key);
	if (e == NULL) return map_leave(m, ZBZ_MISS);
	if (meta != NULL) {
		meta->expire_at = e->expire_at;
		meta->version = map_version(m, e->version);
	}
	return map_leave(m, zbz_buf_append(out, e->bytes + e->key_n, e->value_n, &c->err));
}

static zbz_status map_put(map *m, zbz_call *c, zbz_bytes key, zbz_bytes value, int64_t expire_at) {
	map_entry **at, *e = zbz_malloc(sizeof *e + key.n + value.n), *old;
	if (e == NULL) return zbz_fail_nomem(&c->err);
	e->expire_at = expire_at;
	e->version = ++m->versions;
	e->key_n = key.n;
	e->value_n = value.n;
	memcpy(e->bytes, key.p, key.n);
	if (value.n != 0) memcpy(e->bytes + key.n, value.p, value.n);
	at = map_at(m, c, key);
	old = *at;
	e->next = old != NULL ? old->next : NULL;
	*at = e;
	zbz_free(old);
	return ZBZ_OK;
}

static zbz_status map_set(void *self, zbz_call *c, const zbz_write *w, zbz_version *version_out) {
	map *m = map_enter(self, "set", w->key);
	map_entry *e = *map_at(m, c, w->key);
	zbz_status s;
	if (w->only == ZBZ_ONLY_ABSENT && e != NULL) return map_leave(m, ZBZ_REFUSED);
	if (w->only == ZBZ_ONLY_PRESENT && e == NULL) return map_leave(m, ZBZ_REFUSED);
	if (w->only == ZBZ_ONLY_VERSION) {
		zbz_version v = map_version(m, e != NULL ? e->version : 0);
		if (v.n != w->version->n || memcmp(v.b, w->version->b, v.n) != 0)
			return map_leave(m, zbz_fail(&c->err, ZBZ_E_CONFLICT, "another version"));
	}
	s = map_put(m, c, w->key, w->value, w->expire_at);
	if (s == ZBZ_OK && version_out != NULL && !m->o->quiet) *version_out = map_version(m, m->versions);
	return map_leave(m, s);
}

static zbz_status map_del(void *self, zbz_call *c, zbz_bytes key) {
	map *m = map_enter(self, "del", key);
	map_entry **at = map_at(m, c, key), *e = *at;
	if (e == NULL) return map_leave(m, ZBZ_MISS);
	*at = e->next;
	zbz_free(e);
	return map_leave(m, ZBZ_OK);
}

static zbz_status map_ttl(void *self, zbz_call *c, zbz_bytes key, int64_t *expire_at) {
	map *m = map_enter(self, "ttl", key);
	map_entry *e = *map_at(m, c, key);
	if (e != NULL) *expire_at = e->expire_at;
	return map_leave(m, e != NULL ? ZBZ_OK : ZBZ_MISS);
}

static zbz_status map_expire(void *self, zbz_call *c, zbz_bytes key, int64_t expire_at) {
	map *m = map_enter(self, "expire", key);
	map_entry *e = *map_at(m, c, key);
	if (e != NULL) e->expire_at = expire_at;
	return map_leave(m, e != NULL ? ZBZ_OK : ZBZ_MISS);
}

static zbz_status map_incr(void *self, zbz_call *c, zbz_bytes key, const zbz_incr *how, int64_t *value) {
	map *m = map_enter(self, "incr", key);
	map_entry *e = *map_at(m, c, key);
	char text[32] = "", *end;
	long long v = how->has_initial ? how->initial : how->delta;
	if (e != NULL) {
		if (e->value_n == 0 || e->value_n >= sizeof text)
			return map_leave(m, zbz_fail(&c->err, ZBZ_E_TYPE, "not an integer"));
		memcpy(text, e->bytes + e->key_n, e->value_n);
		v = strtoll(text, &end, 10);
		if (*end != '\0' || end != text + e->value_n)
			return map_leave(m, zbz_fail(&c->err, ZBZ_E_TYPE, "not an integer"));
		if (__builtin_add_overflow(v, how->delta, &v))
			return map_leave(m, zbz_fail(&c->err, ZBZ_E_ARGUMENT, "overflow"));
	}
	snprintf(text, sizeof text, "%lld", v);
	*value = v;
	return map_leave(m, map_put(m, c, key, zbz_bstr(text), e != NULL ? e->expire_at : how->expire_at));
}

struct zbz_cursor {
	size_t bucket, prefix_n;
	char prefix[];
};

static zbz_status map_scan_open(void *self, zbz_call *c, zbz_bytes prefix, zbz_bytes pattern, zbz_cursor **cursor) {
	zbz_cursor *k = zbz_calloc(1, sizeof *k + prefix.n);
	if (k == NULL) return zbz_fail_nomem(&c->err);
	memcpy(k->prefix, prefix.p, prefix.n);
	k->prefix_n = prefix.n;
	*cursor = k;
	return ZBZ_OK;
}

static zbz_status map_scan_next(void *self, zbz_call *c, zbz_cursor *k, size_t limit, zbz_buf *out, size_t *n) {
	map *m = map_enter(self, "scan", zbz_b(k->prefix, k->prefix_n));
	size_t found = 0;
	map_entry *e;
	zbz_status s = ZBZ_OK;
	for (; s == ZBZ_OK && k->bucket < MAP_BUCKETS && found < limit; k->bucket++)
		for (e = m->buckets[k->bucket]; s == ZBZ_OK && e != NULL; e = e->next) {
			uint32_t len = (uint32_t)e->key_n;
			if (e->expire_at != ZBZ_NO_EXPIRY && e->expire_at <= c->now) continue;
			if (!zbz_bytes_has_prefix(zbz_b(e->bytes, e->key_n), zbz_b(k->prefix, k->prefix_n))) continue;
			s = zbz_buf_append(out, &len, 4, &c->err);
			if (s == ZBZ_OK) s = zbz_buf_append(out, e->bytes, e->key_n, &c->err);
			found++;
		}
	*n += found;
	return map_leave(m, s != ZBZ_OK ? s : k->bucket == MAP_BUCKETS ? ZBZ_END : ZBZ_OK);
}

static void map_scan_close(void *self, zbz_cursor *k) { zbz_free(k); }
static zbz_status map_ping(void *self, zbz_call *c) {
	if (map_hook != NULL) map_hook("ping", zbz_b(NULL, 0));
	return ZBZ_OK;
}

static const zbz_cache_ops map_ops = {
	.abi = ZBZ_ABI,
	.name = "testmap",
	.options_size = sizeof(map_options),
	.options = map_option_table,
	.open = map_open,
	.close = map_close,
	.caps = map_caps,
	.get = map_get,
	.set = map_set,
	.del = map_del,
	.ttl = map_ttl,
	.expire = map_expire,
	.incr = map_incr,
	.scan_open = map_scan_open,
	.scan_next = map_scan_next,
	.scan_close = map_scan_close,
	.ping = map_ping,
};

/* "option,option": each is set to true; "name=value" as text. NULL on failure. */
__attribute__((unused)) static zbz_store *map_store(const char *options, const zbz_clock *clock) {
	zbz_err err;
	zbz_store *store = NULL;
	zbz_config *cfg;
	char list[200], *word, *save = NULL, *value;
	snprintf(list, sizeof list, "%s", options);
	zbz_cache_register(&map_ops, &err);
	cfg = zbz_config_new();
	if (cfg == NULL || zbz_config_set_text(cfg, "provider", zbz_bstr("testmap"), &err) != ZBZ_OK) goto done;
	for (word = strtok_r(list, ",", &save); word != NULL; word = strtok_r(NULL, ",", &save)) {
		value = strchr(word, '=');
		if (value != NULL) *value++ = '\0';
		if (zbz_config_set_text(cfg, word, zbz_bstr(value != NULL ? value : "true"), &err) != ZBZ_OK) goto done;
	}
	if (zbz_store_open(cfg, clock, &store, &err) != ZBZ_OK) store = NULL;
done:
	zbz_config_free(cfg);
	return store;
}

#endif
