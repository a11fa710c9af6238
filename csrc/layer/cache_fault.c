/* The layer `fault`: passes everything on, except that chosen operations fail, wait or lose a byte, the same ones in
 * every run with the same seed. For tests of what stands above it. Without options it is transparent.
 *
 * Which calls fail by chance is drawn with splitmix64 (Sebastiano Vigna, public domain algorithm) from seed and call
 * number. */
#include <stdatomic.h>
#include <stddef.h>
#include <time.h>

#include <zbz/cache.h>

#include "base/until.h"

extern const zbz_cache_ops zbz_cache_fault;

enum { /* in the order of op_names */
	   OP_GET,
	   OP_SET,
	   OP_DEL,
	   OP_EXISTS,
	   OP_TTL,
	   OP_EXPIRE,
	   OP_INCR,
	   OP_GET_MANY,
	   OP_SET_MANY,
	   OP_DEL_MANY,
	   OP_SCAN,
	   OP_CLEAR,
	   OP_PING,
	   OP_VERSION,
	   OP_INSPECT,
	   OP_COMMAND,
	   OP_SUBSCRIBE,
	   OP_LOCK,
	   OP_UNLOCK,
	   OPS
};
static const char *const op_names[OPS] = { "get",      "set",      "del",       "exists", "ttl",   "expire", "incr",
	                                       "get_many", "set_many", "del_many",  "scan",   "clear", "ping",   "version",
	                                       "inspect",  "command",  "subscribe", "lock",   "unlock" };

typedef struct fault_options {
	zbz_store *inner;
	int64_t seed, fail_per_mille, fail_first, fail_after, delay;
	zbz_list fail_ops;
	int error;
	bool truncate, lose_reply;
} fault_options;

#define FIELD(name) offsetof(fault_options, name)
static const zbz_option fault_option_table[] = {
	{ "inner", NULL, ZBZ_OPT_STORE, FIELD(inner), NULL, NULL, 0, 0, "the provider whose operations are to fail" },
	{ "seed", NULL, ZBZ_OPT_INT, FIELD(seed), "1", NULL, 0, INT64_MAX,
	  "which calls fail by chance: the same seed, the same calls" },
	{ "fail_per_mille", NULL, ZBZ_OPT_INT, FIELD(fail_per_mille), "0", NULL, 0, 1000,
	  "how many of 1000 calls fail by chance" },
	{ "fail_ops", NULL, ZBZ_OPT_LIST, FIELD(fail_ops), NULL, NULL, 0, 0,
	  "names of the operations meant (get, set, get_many, ...); default all" },
	{ "error", NULL, ZBZ_OPT_ENUM, FIELD(error), "unavailable", "unavailable|timeout|corrupt", 0, 0, "how they fail" },
	{ "fail_first", NULL, ZBZ_OPT_INT, FIELD(fail_first), "0", NULL, 0, INT64_MAX, "the first n calls fail" },
	{ "fail_after", NULL, ZBZ_OPT_INT, FIELD(fail_after), "-1", NULL, -1, INT64_MAX,
	  "all calls after the n-th fail; -1 none" },
	{ "delay", NULL, ZBZ_OPT_DURATION, FIELD(delay), "0", NULL, 0, 0,
	  "waited before each call, at most to its deadline" },
	{ "truncate", NULL, ZBZ_OPT_BOOL, FIELD(truncate), "false", NULL, 0, 0, "values read lose their last byte" },
	{ "lose_reply", NULL, ZBZ_OPT_BOOL, FIELD(lose_reply), "false", NULL, 0, 0,
	  "a failing call is carried out, and then fails" },
	{ NULL, NULL, ZBZ_OPT_TEXT, 0, NULL, NULL, 0, 0, NULL },
};

typedef struct fault {
	const fault_options *o;
	zbz_store *inner;
	uint32_t meant; /* bits of the operations */
	atomic_uint_least64_t calls;
} fault;

static zbz_status mark_op(fault *f, const char *name, zbz_err *err) {
	unsigned op;
	for (op = 0; op < OPS; op++) {
		if (strcmp(op_names[op], name) != 0) continue;
		f->meant |= 1u << op;
		return ZBZ_OK;
	}
	return zbz_fail_option(err, "fail_ops", "no operation is called '%.40s'", name);
}

static zbz_status fault_open(void **self, const void *options, const zbz_clock *clock, zbz_err *err) {
	const fault_options *o = options;
	fault *f = zbz_calloc(1, sizeof *f);
	zbz_status s = f != NULL ? ZBZ_OK : zbz_fail_nomem(err);
	size_t i;
	for (i = 0; s == ZBZ_OK && i < o->fail_ops.n; i++) s = mark_op(f, o->fail_ops.items[i], err);
	if (s != ZBZ_OK) {
		zbz_free(f);
		return s;
	}
	if (o->fail_ops.n == 0) f->meant = (1u << OPS) - 1;
	f->o = o;
	f->inner = o->inner;
	*self = f;
	return ZBZ_OK;
}

static void fault_close(void *self) { zbz_free(self); }

static void fault_caps(void *self, zbz_caps *out) {
	const fault *f = self;
	zbz_store_caps(f->inner, out);
	if (f->o->delay > 0) out->inline_ok = false;
}

/* ---- what happens to a call ---- */

static uint64_t mix(uint64_t x) {
	x += 0x9E3779B97F4A7C15u;
	x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
	x = (x ^ x >> 27) * 0x94D049BB133111EBu;
	return x ^ x >> 31;
}

static bool is_struck(fault *f) {
	const fault_options *o = f->o;
	uint64_t n = atomic_fetch_add_explicit(&f->calls, 1, memory_order_relaxed);
	if (n < (uint64_t)o->fail_first) return true;
	if (o->fail_after >= 0 && n >= (uint64_t)o->fail_after) return true;
	return o->fail_per_mille != 0 && mix(mix((uint64_t)o->seed) + n) % 1000 < (uint64_t)o->fail_per_mille;
}

static zbz_status failure(const fault *f, zbz_call *c, unsigned op) {
	static const zbz_status statuses[] = { ZBZ_E_UNAVAILABLE, ZBZ_E_TIMEOUT, ZBZ_E_CORRUPT };
	return zbz_fail(&c->err, statuses[f->o->error], "%s made to fail%s", op_names[op],
	                f->o->lose_reply ? " after it was carried out" : "");
}

static zbz_status wait_delay(const fault *f, zbz_call *c) {
	int64_t left = zbz_call_left(c), ms = f->o->delay < left ? f->o->delay : left;
	struct timespec until = zbz_until(ms);
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) != 0) {}
	return f->o->delay < left ? ZBZ_OK : zbz_fail(&c->err, ZBZ_E_TIMEOUT, "made to wait until the deadline");
}

/* A negative status ends the call here; *late: carry it out, then fail. */
static zbz_status before(fault *f, zbz_call *c, unsigned op, bool *late) {
	zbz_status s = ZBZ_OK;
	*late = false;
	if ((f->meant >> op & 1) == 0) return ZBZ_OK;
	if (f->o->delay > 0) s = wait_delay(f, c);
	if (s != ZBZ_OK || !is_struck(f)) return s;
	*late = f->o->lose_reply;
	return *late ? ZBZ_OK : failure(f, c, op);
}

static zbz_status after(fault *f, zbz_call *c, unsigned op, bool late, zbz_status s) {
	return late && s >= 0 ? failure(f, c, op) : s;
}

/* The body of a slot that does nothing but pass on. */
#define PASS(op, call)                      \
	fault *f = self;                        \
	bool late;                              \
	zbz_status s = before(f, c, op, &late); \
	return s != ZBZ_OK ? s : after(f, c, op, late, (call))

/* ---- the slots ---- */

static zbz_status fault_get(void *self, zbz_call *c, zbz_bytes key, zbz_buf *out, zbz_meta *meta) {
	fault *f = self;
	bool late;
	size_t start = out->n;
	zbz_status s = before(f, c, OP_GET, &late);
	if (s != ZBZ_OK) return s;
	s = zbz_store_get(f->inner, c, key, out, meta);
	if (s == ZBZ_OK && f->o->truncate && (f->meant >> OP_GET & 1) != 0 && out->n > start) out->n--;
	return after(f, c, OP_GET, late, s);
}

static zbz_status fault_get_many(void *self, zbz_call *c, const zbz_bytes *keys, size_t n, zbz_buf *out,
                                 zbz_found *found) {
	fault *f = self;
	bool late;
	size_t i;
	zbz_status s = before(f, c, OP_GET_MANY, &late);
	if (s != ZBZ_OK) return s;
	s = zbz_store_get_many(f->inner, c, keys, n, out, found);
	if (s == ZBZ_OK && f->o->truncate && (f->meant >> OP_GET_MANY & 1) != 0)
		for (i = 0; i < n; i++)
			if (found[i].status == ZBZ_OK && found[i].n > 0) found[i].n--;
	return after(f, c, OP_GET_MANY, late, s);
}

static zbz_status fault_set(void *self, zbz_call *c, const zbz_write *w, zbz_version *version_out) {
	PASS(OP_SET, zbz_store_set(f->inner, c, w, version_out));
}
static zbz_status fault_del(void *self, zbz_call *c, zbz_bytes key) { PASS(OP_DEL, zbz_store_del(f->inner, c, key)); }
static zbz_status fault_exists(void *self, zbz_call *c, zbz_bytes key) {
	PASS(OP_EXISTS, zbz_store_exists(f->inner, c, key));
}
static zbz_status fault_ttl(void *self, zbz_call *c, zbz_bytes key, int64_t *expire_at) {
	PASS(OP_TTL, zbz_store_ttl(f->inner, c, key, expire_at));
}
static zbz_status fault_expire(void *self, zbz_call *c, zbz_bytes key, int64_t expire_at) {
	PASS(OP_EXPIRE, zbz_store_expire(f->inner, c, key, expire_at));
}
static zbz_status fault_incr(void *self, zbz_call *c, zbz_bytes key, const zbz_incr *how, int64_t *value) {
	PASS(OP_INCR, zbz_store_incr(f->inner, c, key, how, value));
}
static zbz_status fault_set_many(void *self, zbz_call *c, const zbz_write *writes, size_t n, zbz_status *status) {
	PASS(OP_SET_MANY, zbz_store_set_many(f->inner, c, writes, n, status));
}
static zbz_status fault_del_many(void *self, zbz_call *c, const zbz_bytes *keys, size_t n, zbz_status *status) {
	PASS(OP_DEL_MANY, zbz_store_del_many(f->inner, c, keys, n, status));
}
/* A cursor whose opening then fails would be lost: opening fails before or not at all. */
static zbz_status fault_scan_open(void *self, zbz_call *c, zbz_bytes prefix, zbz_bytes pattern, zbz_cursor **cursor) {
	fault *f = self;
	bool late;
	zbz_status s = before(f, c, OP_SCAN, &late);
	if (late) s = failure(f, c, OP_SCAN);
	return s != ZBZ_OK ? s : zbz_store_scan_open(f->inner, c, prefix, pattern, cursor);
}
static zbz_status fault_scan_next(void *self, zbz_call *c, zbz_cursor *cursor, size_t limit, zbz_buf *out, size_t *n) {
	PASS(OP_SCAN, zbz_store_scan_next(f->inner, c, cursor, limit, out, n));
}
static void fault_scan_close(void *self, zbz_cursor *cursor) { zbz_store_scan_close(((fault *)self)->inner, cursor); }
static zbz_status fault_clear(void *self, zbz_call *c, zbz_bytes prefix, uint64_t *removed) {
	PASS(OP_CLEAR, zbz_store_clear(f->inner, c, prefix, removed));
}
static zbz_status fault_ping(void *self, zbz_call *c) { PASS(OP_PING, zbz_store_ping(f->inner, c)); }
static zbz_status fault_version(void *self, zbz_call *c, zbz_buf *out) {
	PASS(OP_VERSION, zbz_store_version(f->inner, c, out));
}
static void fault_stats(void *self, zbz_call *c, zbz_provider_stats *out) {
	zbz_store_stats(((fault *)self)->inner, c, out);
}
static zbz_status fault_inspect(void *self, zbz_call *c, zbz_bytes key, zbz_buf *out) {
	PASS(OP_INSPECT, zbz_store_inspect(f->inner, c, key, out));
}
static zbz_status fault_command(void *self, zbz_call *c, const zbz_bytes *argv, const size_t *ends, size_t count,
                                zbz_buf *out) {
	PASS(OP_COMMAND, zbz_store_command(f->inner, c, argv, ends, count, out));
}
/* The same reason as for listings: a subscription is made or it is not. */
static zbz_status fault_subscribe(void *self, zbz_call *c, const zbz_bytes *channels, size_t n, bool pattern,
                                  void (*on_message)(void *ud, zbz_bytes channel, zbz_bytes payload), void *ud,
                                  void **subscription) {
	fault *f = self;
	bool late;
	zbz_status s = before(f, c, OP_SUBSCRIBE, &late);
	if (late) s = failure(f, c, OP_SUBSCRIBE);
	return s != ZBZ_OK ? s : zbz_store_subscribe(f->inner, c, channels, n, pattern, on_message, ud, subscription);
}
static void fault_unsubscribe(void *self, void *subscription) {
	zbz_store_unsubscribe(((fault *)self)->inner, subscription);
}

static zbz_status fault_lock(void *self, zbz_call *c, zbz_bytes name, const uint8_t *token, int64_t lease_ms,
                             zbz_holder *holder) {
	PASS(OP_LOCK, zbz_store_lock(f->inner, c, name, token, lease_ms, holder));
}
static zbz_status fault_unlock(void *self, zbz_call *c, zbz_bytes name, const uint8_t *token, zbz_outcome outcome) {
	PASS(OP_UNLOCK, zbz_store_unlock(f->inner, c, name, token, outcome));
}
static zbz_status fault_on_unlock(void *self, zbz_call *c,
                                  void (*fn)(void *ud, zbz_bytes name, const uint8_t *token, zbz_outcome outcome),
                                  void *ud, void **watch) {
	return zbz_store_on_unlock(((fault *)self)->inner, c, fn, ud, watch);
}
static void fault_off_unlock(void *self, void *watch) { zbz_store_off_unlock(((fault *)self)->inner, watch); }

const zbz_cache_ops zbz_cache_fault = {
	.abi = ZBZ_ABI,
	.name = "fault",
	.summary = "makes chosen operations of another provider fail, wait or lose a byte; for tests",
	.layer = true,
	.options_size = sizeof(fault_options),
	.options = fault_option_table,
	.open = fault_open,
	.close = fault_close,
	.caps = fault_caps,
	.get = fault_get,
	.set = fault_set,
	.del = fault_del,
	.exists = fault_exists,
	.ttl = fault_ttl,
	.expire = fault_expire,
	.incr = fault_incr,
	.get_many = fault_get_many,
	.set_many = fault_set_many,
	.del_many = fault_del_many,
	.scan_open = fault_scan_open,
	.scan_next = fault_scan_next,
	.scan_close = fault_scan_close,
	.clear = fault_clear,
	.ping = fault_ping,
	.version = fault_version,
	.stats = fault_stats,
	.inspect = fault_inspect,
	.command = fault_command,
	.subscribe = fault_subscribe,
	.unsubscribe = fault_unsubscribe,
	.lock = fault_lock,
	.unlock = fault_unlock,
	.on_unlock = fault_on_unlock,
	.off_unlock = fault_off_unlock,
};
