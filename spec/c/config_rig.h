/* What the tests of options share: a provider that does nothing, for options of type STORE, and a struct with an option of every type. */
#ifndef SPEC_CONFIG_RIG_H
#define SPEC_CONFIG_RIG_H

#include <stddef.h>

#include <zbz/cache.h>

#include "check.h"

/* ---- the provider ---- */

typedef struct idle_options {
	char *label;
	char *url;
	int64_t size;
	bool broken;
} idle_options;

static const zbz_option idle_list[] = {
	{ .name = "label", .type = ZBZ_OPT_TEXT, .offset = offsetof(idle_options, label) },
	{ .name = "url", .type = ZBZ_OPT_TEXT, .offset = offsetof(idle_options, url) },
	{ .name = "size", .type = ZBZ_OPT_SIZE, .offset = offsetof(idle_options, size), .dflt = "1MB" },
	{ .name = "broken", .type = ZBZ_OPT_BOOL, .offset = offsetof(idle_options, broken) },
	{ .name = NULL },
};

static int idle_open_count;

static inline zbz_status idle_open(void **self, const void *options, const zbz_clock *clock, zbz_err *err) {
	const idle_options *o = options;
	if (o->broken) return zbz_fail(err, ZBZ_E_UNAVAILABLE, "broken as asked");
	*self = zbz_malloc(1);
	if (*self == NULL) return zbz_fail_nomem(err);
	idle_open_count++;
	return ZBZ_OK;
}
static inline void idle_close(void *self) {
	idle_open_count--;
	zbz_free(self);
}
static inline void idle_caps(void *self, zbz_caps *out) {
	(void)self;
	(void)out;
}
static inline zbz_status idle_get(void *self, zbz_call *c, zbz_bytes key, zbz_buf *out, zbz_meta *meta) {
	return ZBZ_MISS;
}
static inline zbz_status idle_set(void *self, zbz_call *c, const zbz_write *w, zbz_version *version_out) {
	return ZBZ_OK;
}
static inline zbz_status idle_del(void *self, zbz_call *c, zbz_bytes key) { return ZBZ_OK; }

static const zbz_cache_ops idle = { .abi = ZBZ_ABI,
	                                .name = "idle",
	                                .schemes = "idle",
	                                .options_size = sizeof(idle_options),
	                                .options = idle_list,
	                                .open = idle_open,
	                                .close = idle_close,
	                                .caps = idle_caps,
	                                .get = idle_get,
	                                .set = idle_set,
	                                .del = idle_del };

/* ---- one struct with every type ---- */

typedef struct all {
	char *text, *secret;
	int64_t count;
	bool flag;
	int64_t wait, room, mode;
	int policy;
	zbz_list hosts;
	zbz_store *inner;
	int64_t level;
} all;

static const zbz_option all_list[] = {
	{ .name = "text", .alias = "words", .type = ZBZ_OPT_TEXT, .offset = offsetof(all, text), .dflt = "hello" },
	{ .name = "secret", .type = ZBZ_OPT_SECRET, .offset = offsetof(all, secret) },
	{ .name = "pool_size",
	  .alias = "max_conns",
	  .type = ZBZ_OPT_INT,
	  .offset = offsetof(all, count),
	  .dflt = "10",
	  .min = 1,
	  .max = 64 },
	{ .name = "flag", .type = ZBZ_OPT_BOOL, .offset = offsetof(all, flag), .dflt = "yes" },
	{ .name = "timeout",
	  .type = ZBZ_OPT_DURATION,
	  .offset = offsetof(all, wait),
	  .dflt = "5s",
	  .min = 1,
	  .max = 3600000 },
	{ .name = "max_size", .type = ZBZ_OPT_SIZE, .offset = offsetof(all, room), .dflt = "100MB" },
	{ .name = "permissions", .type = ZBZ_OPT_MODE, .offset = offsetof(all, mode), .dflt = "0644" },
	{ .name = "eviction",
	  .type = ZBZ_OPT_ENUM,
	  .offset = offsetof(all, policy),
	  .dflt = "lru",
	  .choices = "s3fifo|lru|lfu" },
	{ .name = "hosts", .type = ZBZ_OPT_LIST, .offset = offsetof(all, hosts), .dflt = "a, b" },
	{ .name = "inner", .type = ZBZ_OPT_STORE, .offset = offsetof(all, inner) },
	{ .name = "level", .type = ZBZ_OPT_INT, .offset = offsetof(all, level), .dflt = "-3", .min = -5, .max = 5 },
	{ .name = NULL },
};

static zbz_config *cfg;
static zbz_err err;
static all out;

static inline void fresh(void) {
	zbz_config_free(cfg);
	cfg = zbz_config_new();
	memset(&err, 0, sizeof err);
	memset(&out, 0, sizeof out);
}
static inline void text(const char *name, const char *value) {
	CHECK(zbz_config_set_text(cfg, name, zbz_bstr(value), &err) == ZBZ_OK);
}
static inline zbz_status parse(void) { return zbz_options_parse(cfg, all_list, &out, &err); }
static inline void clear(void) { zbz_options_clear(all_list, &out); }
static inline bool is_empty(void) {
	static const all zero;
	return memcmp(&out, &zero, sizeof out) == 0;
}
static inline bool says(const char *part) { return strstr(err.text, part) != NULL; }

#endif
