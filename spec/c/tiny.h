/* A tiny provider and its kin, for tests of the registry and of stores: what is mandatory, listing when asked for, one thread at a time,
 * and layers over them. */
#ifndef SPEC_TINY_H
#define SPEC_TINY_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <unistd.h>

#include <zbz/cache.h>

#include "check.h"

static zbz_err err;
static inline bool says(const char *part) { return strstr(err.text, part) != NULL; }

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

static inline zbz_status tiny_open(void **self, const void *options, const zbz_clock *clock, zbz_err *e) {
	*self = zbz_calloc(1, sizeof(tiny));
	if (*self == NULL) return zbz_fail_nomem(e);
	tiny_open_count++;
	tiny_clock = clock;
	return ZBZ_OK;
}
static inline void tiny_close(void *self) {
	tiny_open_count--;
	zbz_free(self);
}
static inline void tiny_caps(void *self, zbz_caps *out) {
	/* Claims more than its slots hold: the store mends that. */
	out->can = ZBZ_CAN_TTL | ZBZ_CAN_EXPIRE | ZBZ_CAN_INCR | ZBZ_CAN_KEYS | ZBZ_CAN_CLEAR | ZBZ_CAN_NATIVE |
	           ZBZ_CAN_ADD | ZBZ_CAN_BATCH;
	out->max_key = 15;
}

static inline tiny_entry *tiny_find(tiny *t, zbz_bytes key) {
	for (int i = 0; i < ROOM; i++)
		if (t->entries[i].used && zbz_bytes_eq(zbz_bstr(t->entries[i].key), key)) return &t->entries[i];
	return NULL;
}

static inline zbz_status tiny_get(void *self, zbz_call *c, zbz_bytes key, zbz_buf *out, zbz_meta *meta) {
	tiny_entry *e = tiny_find(self, key);
	if (zbz_bytes_eq(key, zbz_bstr("broken"))) {
		zbz_buf_append(out, "partial", 7, NULL);
		return zbz_fail(&c->err, ZBZ_E_UNAVAILABLE, "the wire broke");
	}
	if (zbz_bytes_eq(key, zbz_bstr("mute"))) return ZBZ_E_CORRUPT;
	if (e == NULL) return ZBZ_MISS;
	return zbz_buf_append(out, e->value, strlen(e->value), &c->err);
}

static inline zbz_status tiny_set(void *self, zbz_call *c, const zbz_write *w, zbz_version *version_out) {
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

static inline zbz_status tiny_del(void *self, zbz_call *c, zbz_bytes key) {
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

static inline zbz_status tiny_scan_open(void *self, zbz_call *c, zbz_bytes prefix, zbz_bytes pattern,
                                        zbz_cursor **cursor) {
	*cursor = zbz_calloc(1, sizeof **cursor);
	if (*cursor == NULL) return zbz_fail_nomem(&c->err);
	memcpy((*cursor)->prefix, prefix.p, prefix.n);
	(*cursor)->lies = tiny_lies;
	tiny_cursors++;
	return ZBZ_OK;
}

static inline zbz_status tiny_scan_next(void *self, zbz_call *c, zbz_cursor *cursor, size_t limit, zbz_buf *out,
                                        size_t *n) {
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

static inline void tiny_scan_close(void *self, zbz_cursor *cursor) {
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

static inline zbz_status slow_get(void *self, zbz_call *c, zbz_bytes key, zbz_buf *out, zbz_meta *meta) {
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

static inline zbz_status held_del(void *self, zbz_call *c, zbz_bytes key) {
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

static inline zbz_status layer_open(void **self, const void *options, const zbz_clock *clock, zbz_err *e) {
	*self = ((const layer_options *)options)->inner;
	return ZBZ_OK;
}
static inline void layer_close(void *self) {}
static inline void layer_caps(void *self, zbz_caps *out) { zbz_store_caps(self, out); }
static inline zbz_status layer_get(void *self, zbz_call *c, zbz_bytes key, zbz_buf *out, zbz_meta *meta) {
	if (zbz_bytes_eq(key, zbz_bstr("layer"))) return zbz_fail(&c->err, ZBZ_E_DENIED, "not for you");
	return zbz_store_get(self, c, key, out, meta);
}

#define LAYER                                                                                                        \
	.abi = ZBZ_ABI, .layer = true, .options_size = sizeof(layer_options), .options = layer_list, .open = layer_open, \
	.close = layer_close, .caps = layer_caps
static const zbz_cache_ops thru = { LAYER, .name = "thru" };
static const zbz_cache_ops half = { LAYER, .name = "half", .get = layer_get };

#endif
