/* Shared by the tests of the memory provider: a store over a fake clock, short forms of the calls, a counting allocator. */
#ifndef SPEC_MEMORY_HELP_H
#define SPEC_MEMORY_HELP_H

#include <stdatomic.h>
#include <stdlib.h>

#include <zbz/zbz.h>

#include "check.h"
#include "core/store.h"
#include "provider/memory_store.h"

#define T0 INT64_C(1700000000000)

typedef struct fixture {
	zbz_clock *clock;
	zbz_store *store;
	zbz_call call;
	zbz_buf out;
} fixture;

/* options: "max_items=3 eviction=lru"; the provider is memory unless "provider=" says otherwise. */
static zbz_status fixture_open(fixture *f, const char *options) {
	char text[256], *word, *rest = text;
	zbz_config *cfg = zbz_config_new();
	zbz_status status = ZBZ_E_INTERNAL;
	memset(f, 0, sizeof *f);
	f->clock = zbz_clock_fake_new(T0);
	if (cfg == NULL || f->clock == NULL) goto done;
	f->call = (zbz_call){ .clock = f->clock, .now = T0, .deadline = ZBZ_NEVER };
	snprintf(text, sizeof text, "%s", options);
	status = strstr(options, "provider=") != NULL
	             ? ZBZ_OK
	             : zbz_config_set_text(cfg, "provider", zbz_bstr("memory"), &f->call.err);
	while (status == ZBZ_OK && (word = strtok_r(rest, " ", &rest)) != NULL) {
		char *value = strchr(word, '=');
		*value++ = '\0';
		status = zbz_config_set_text(cfg, word, zbz_bstr(value), &f->call.err);
	}
	if (status == ZBZ_OK) status = zbz_store_open(cfg, f->clock, &f->store, &f->call.err);
done:
	zbz_config_free(cfg);
	return status;
}

static void fixture_close(fixture *f) {
	zbz_store_unref(f->store);
	zbz_buf_clear(&f->out);
	zbz_clock_fake_free(f->clock);
}

static inline void pass(fixture *f, int64_t ms) {
	zbz_clock_fake_advance(f->clock, ms);
	f->call.now = zbz_wall(f->clock);
}

static inline zbz_status put_bytes(fixture *f, const char *key, zbz_bytes value, int64_t ttl) {
	zbz_write w = { zbz_bstr(key), value, ttl == 0 ? ZBZ_NO_EXPIRY : f->call.now + ttl, ZBZ_ALWAYS, NULL };
	return zbz_store_set(f->store, &f->call, &w, NULL);
}
static inline zbz_status put(fixture *f, const char *key, const char *value) {
	return put_bytes(f, key, zbz_bstr(value), 0);
}
static inline zbz_status put_ttl(fixture *f, const char *key, const char *value, int64_t ttl) {
	return put_bytes(f, key, zbz_bstr(value), ttl);
}
static inline zbz_status get(fixture *f, const char *key) {
	zbz_buf_reset(&f->out);
	return zbz_store_get(f->store, &f->call, zbz_bstr(key), &f->out, NULL);
}
static inline bool is(fixture *f, const char *key, const char *value) {
	return get(f, key) == ZBZ_OK && zbz_bytes_eq(zbz_buf_bytes(&f->out), zbz_bstr(value));
}
/* Looks without counting as a use. */
static inline bool has(fixture *f, const char *key) {
	return zbz_store_exists(f->store, &f->call, zbz_bstr(key)) == ZBZ_OK;
}

static inline zbz_provider_stats stats(fixture *f) {
	zbz_provider_stats s;
	zbz_store_stats(f->store, &f->call, &s);
	return s;
}
static inline zbz_mem *engine(fixture *f) { return &((zbz_mem_store *)f->store->self)->mem; }
static inline bool audit(fixture *f) {
	char why[160] = "";
	if (zbz_mem_audit(engine(f), why, sizeof why)) return true;
	fprintf(stderr, "audit: %s\n", why);
	return false;
}

/* ---- an allocator that counts, and fails when told to ---- */

static atomic_long live_bytes, live_blocks,
    calls_left = -1; /* calls_left: -1 never fails, 0 fails from now on (once) */

static inline void *counting(void *ud, void *ptr, size_t n) {
	size_t *block = ptr == NULL ? NULL : (size_t *)ptr - 2, old = block == NULL ? 0 : *block;
	(void)ud;
	if (n == 0) {
		atomic_fetch_sub(&live_bytes, (long)old);
		atomic_fetch_sub(&live_blocks, 1);
		free(block);
		return NULL;
	}
	if (atomic_load(&calls_left) >= 0 && atomic_fetch_sub(&calls_left, 1) == 0) return NULL;
	block = realloc(block, n + 2 * sizeof *block);
	if (block == NULL) return NULL;
	*block = n;
	atomic_fetch_add(&live_bytes, (long)(n - old));
	if (ptr == NULL) atomic_fetch_add(&live_blocks, 1);
	return block + 2;
}

/* xorshift: the same numbers everywhere */
static inline uint64_t next_random(uint64_t *x) {
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

#endif
