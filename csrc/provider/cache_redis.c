/* The Redis provider. Single keys are here; what else it does stands in redis_*.c beside (redis_impl.h has the map). */
#include "provider/redis_impl.h"

/* Relative times only: the call's clock need not be the server's. A date too far for the server's arithmetic is far enough. */
int64_t redis_ttl_ms(const zbz_call *c, int64_t expire_at) {
	int64_t ttl = expire_at - c->now;
	if (ttl < 1) return 1;
	return ttl > INT64_MAX / 4 ? INT64_MAX / 4 : ttl;
}

zbz_status redis_write_set(zbz_buf *out, const zbz_call *c, const zbz_write *w, zbz_err *err) {
	bool expires = w->expire_at != ZBZ_NO_EXPIRY, conditional = w->only != ZBZ_ALWAYS;
	int64_t ttl = expires ? redis_ttl_ms(c, w->expire_at) : 0;
	zbz_bytes condition = zbz_bstr(w->only == ZBZ_ONLY_ABSENT ? "NX" : "XX");
	if (expires && conditional)
		return zbz_resp_command(out, err, "SET %b %b PX %l %b", w->key, w->value, ttl, condition);
	if (expires) return zbz_resp_command(out, err, "SET %b %b PX %l", w->key, w->value, ttl);
	if (conditional) return zbz_resp_command(out, err, "SET %b %b %b", w->key, w->value, condition);
	return zbz_resp_command(out, err, "SET %b %b", w->key, w->value);
}

/* ---- reading -------------------------------------------------------------------------------------------------------- */

int64_t redis_expiry_from(const zbz_call *c, int64_t pttl) {
	if (pttl == -1) return ZBZ_NO_EXPIRY;
	if (pttl < 0) return -1; /* it was written between the two commands */
	return c->now + (pttl > 0 ? pttl : 1);
}

static zbz_status get(void *ud, zbz_call *c, zbz_bytes key, zbz_buf *out, zbz_meta *meta) {
	redis_self *self = ud;
	redis_answer answers[2], *value = &answers[meta ? 1 : 0];
	size_t start = out->n;
	redis_attempt a;
	zbz_status s;
	redis_attempt_init(&a, self, c, true);
	do {
		out->n = start;
		s = redis_attempt_begin(&a);
		if (s == ZBZ_OK && meta) s = zbz_resp_command(&a.conn->out, &c->err, "PTTL %b", key);
		if (s == ZBZ_OK) s = zbz_resp_command(&a.conn->out, &c->err, "GET %b", key);
		if (s == ZBZ_OK) s = redis_attempt_ask(&a, answers, meta ? "ib" : "b", out);
	} while (redis_attempt_again(&a, s));
	if (s != ZBZ_OK) return s;
	if (value->type == ZBZ_RESP_NIL) return ZBZ_MISS;
	if (!meta) return ZBZ_OK;
	meta->expire_at = redis_expiry_from(c, answers[0].integer);
	return redis_digest(self, zbz_b(out->p + value->off, value->n), &meta->version, &c->err);
}

/* One command whose reply is an integer. */
#define ASK_ONE(self_, c_, repeatable_, answer_, attempt_, ...)                                    \
	do {                                                                                           \
		redis_attempt_init(&(attempt_), (self_), (c_), (repeatable_));                             \
		do {                                                                                       \
			s = redis_attempt_begin(&(attempt_));                                                  \
			if (s == ZBZ_OK) s = zbz_resp_command(&(attempt_).conn->out, &(c_)->err, __VA_ARGS__); \
			if (s == ZBZ_OK) s = redis_attempt_ask(&(attempt_), (answer_), "i", NULL);             \
		} while (redis_attempt_again(&(attempt_), s));                                             \
	} while (0)

static zbz_status exists(void *ud, zbz_call *c, zbz_bytes key) {
	redis_answer answer = { 0 };
	redis_attempt a;
	zbz_status s;
	ASK_ONE(ud, c, true, &answer, a, "EXISTS %b", key);
	return s == ZBZ_OK && answer.integer == 0 ? ZBZ_MISS : s;
}

static zbz_status ttl(void *ud, zbz_call *c, zbz_bytes key, int64_t *expire_at) {
	redis_answer answer = { 0 };
	redis_attempt a;
	zbz_status s;
	ASK_ONE(ud, c, true, &answer, a, "PTTL %b", key);
	if (s != ZBZ_OK) return s;
	if (answer.integer == -2) return ZBZ_MISS;
	*expire_at = redis_expiry_from(c, answer.integer);
	return ZBZ_OK;
}

/* ---- writing -------------------------------------------------------------------------------------------------------- */

static zbz_status set(void *ud, zbz_call *c, const zbz_write *w, zbz_version *version_out) {
	redis_self *self = ud;
	redis_answer answer = { 0 };
	redis_attempt a;
	zbz_status s;
	if (w->only == ZBZ_ONLY_VERSION) {
		s = redis_set_if_version(self, c, w);
	} else {
		redis_attempt_init(&a, self, c, w->only == ZBZ_ALWAYS);
		do {
			s = redis_attempt_begin(&a);
			if (s == ZBZ_OK) s = redis_write_set(&a.conn->out, c, w, &c->err);
			if (s == ZBZ_OK) s = redis_attempt_ask(&a, &answer, "s", NULL);
		} while (redis_attempt_again(&a, s));
		if (s == ZBZ_OK && answer.type == ZBZ_RESP_NIL) return ZBZ_REFUSED;
	}
	return s == ZBZ_OK && version_out ? redis_digest(self, w->value, version_out, &c->err) : s;
}

static zbz_status del(void *ud, zbz_call *c, zbz_bytes key) {
	redis_answer answer = { 0 };
	redis_attempt a;
	zbz_status s;
	ASK_ONE(ud, c, true, &answer, a, "UNLINK %b", key);
	return s == ZBZ_OK && answer.integer == 0 && !a.doubtful ? ZBZ_MISS : s;
}

/* PERSIST answers 0 for "no such key" and for "no expiry" alike, so EXISTS goes with it. */
static zbz_status persist(redis_self *self, zbz_call *c, zbz_bytes key) {
	redis_answer answers[2] = { { 0 } };
	redis_attempt a;
	zbz_status s;
	redis_attempt_init(&a, self, c, false);
	do {
		s = redis_attempt_begin(&a);
		if (s == ZBZ_OK) s = zbz_resp_command(&a.conn->out, &c->err, "PERSIST %b", key);
		if (s == ZBZ_OK) s = zbz_resp_command(&a.conn->out, &c->err, "EXISTS %b", key);
		if (s == ZBZ_OK) s = redis_attempt_ask(&a, answers, "ii", NULL);
	} while (redis_attempt_again(&a, s));
	return s == ZBZ_OK && answers[1].integer == 0 ? ZBZ_MISS : s;
}

static zbz_status expire(void *ud, zbz_call *c, zbz_bytes key, int64_t expire_at) {
	redis_answer answer = { 0 };
	redis_attempt a;
	zbz_status s;
	if (expire_at == ZBZ_NO_EXPIRY) return persist(ud, c, key);
	ASK_ONE(ud, c, false, &answer, a, "PEXPIRE %b %l", key, redis_ttl_ms(c, expire_at));
	return s == ZBZ_OK && answer.integer == 0 ? ZBZ_MISS : s;
}

/* ---- opening -------------------------------------------------------------------------------------------------------- */

static void close_self(void *ud) {
	redis_self *self = ud;
	if (!self) return;
	redis_stop_listening(self);
	redis_pool_free(self->pool);
	redis_target_clear(&self->target);
	EVP_MD_free(self->sha1);
	zbz_free(self);
}

static zbz_status open_self(void **out, const void *options, const zbz_clock *clock, zbz_err *err) {
	redis_self *self = zbz_calloc(1, sizeof *self);
	zbz_status s;
	(void)clock;
	if (!self) return zbz_fail_nomem(err);
	self->opt = options;
	s = redis_target_init(&self->target, options, err);
	if (s == ZBZ_OK) s = redis_scripts_init(self, err);
	if (s == ZBZ_OK) s = redis_pool_new(&self->target, &self->pool, err);
	if (s != ZBZ_OK)
		close_self(self);
	else
		*out = self;
	return s;
}

static void caps(void *ud, zbz_caps *out) {
	const redis_self *self = ud;
	memset(out, 0, sizeof *out);
	out->can = ZBZ_CAN_TTL | ZBZ_CAN_EXPIRE | ZBZ_CAN_ADD | ZBZ_CAN_PRESENT | ZBZ_CAN_VERSION | ZBZ_CAN_INCR |
	           ZBZ_CAN_KEYS | ZBZ_CAN_CLEAR | ZBZ_CAN_NATIVE | ZBZ_CAN_TRACK;
	if (self->opt->enable_pipelining) out->can |= ZBZ_CAN_BATCH;
	out->emulated = ZBZ_CAN_VERSION | ZBZ_CAN_CLEAR;
	out->shared = true;
	out->ttl_resolution_ms = 1;
	out->max_key = out->max_value = REDIS_MAX_BULK;
}

static zbz_status identity(void *ud, zbz_buf *out, zbz_err *err) {
	const redis_target *t = &((const redis_self *)ud)->target;
	return zbz_buf_printf(out, err, "%s:%d/%lld", t->path ? t->path : t->host, t->path ? 0 : t->port,
	                      (long long)t->database);
}

static const zbz_cache_ops ops = {
	.abi = ZBZ_ABI,
	.name = "redis",
	.schemes = "redis|rediss|redis+unix",
	.needs = "libhiredis0.14",
	.summary = "Redis over TCP, TLS or a unix socket: pool, pipelines, pub/sub",
	.options_size = sizeof(redis_options),
	.options = redis_option_list,
	.open = open_self,
	.close = close_self,
	.caps = caps,
	.get = get,
	.set = set,
	.del = del,
	.exists = exists,
	.ttl = ttl,
	.expire = expire,
	.incr = redis_incr,
	.get_many = redis_get_many,
	.set_many = redis_set_many,
	.del_many = redis_del_many,
	.scan_open = redis_scan_open,
	.scan_next = redis_scan_next,
	.scan_close = redis_scan_close,
	.clear = redis_clear,
	.ping = redis_ping,
	.version = redis_version,
	.stats = redis_stats,
	.inspect = redis_inspect,
	.command = redis_command,
	.subscribe = redis_subscribe,
	.unsubscribe = redis_unsubscribe,
	.track = redis_track,
	.untrack = redis_untrack,
	.lock = redis_lock,
	.unlock = redis_unlock,
	.on_unlock = redis_on_unlock,
	.off_unlock = redis_off_unlock,
	.identity = identity,
};

ZBZ_API const zbz_cache_ops *zbz_cache_plugin(void);
const zbz_cache_ops *zbz_cache_plugin(void) { return &ops; }
