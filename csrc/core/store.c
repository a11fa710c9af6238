/* A store's operations: the nearest layer or provider that has the slot answers; what a provider lacks is said, or built
 * from what it has (emulate.c). */
#include "emulate.h"
#include "store.h"

#define LIKELY(x) __builtin_expect(!!(x), 1)

/* In a layer an empty slot passes to the next store. */
#define ROUTE(s, slot) \
	while ((s)->ops->slot == NULL && (s)->inner != NULL) (s) = (s)->inner

/* One call of a provider, alone if it must be. */
#define CALL(s, c, expression)                          \
	((s)->gate == NULL                ? (expression)    \
	 : gate_first((s), (c)) != ZBZ_OK ? (c)->err.status \
	                                  : gate_after((s), (expression)))

static zbz_status gate_first(zbz_store *s, zbz_call *c) { return zbz_gate_enter(s->gate, c, &c->err); }
static zbz_status gate_after(zbz_store *s, zbz_status status) {
	zbz_gate_leave(s->gate);
	return status;
}

/* Every error that leaves a store says whose it is. */
static zbz_status blame(const zbz_store *s, zbz_err *err, zbz_status status) {
	if (status >= 0) return status;
	if (err->status != status) zbz_fail(err, status, "%s failed and did not say why", s->ops->name);
	if (err->provider[0] == '\0') {
		size_t n = strnlen(s->ops->name, sizeof err->provider - 1);
		memcpy(err->provider, s->ops->name, n);
		err->provider[n] = '\0';
	}
	return status;
}

static inline zbz_status done(const zbz_store *s, zbz_call *c, zbz_status status) {
	return LIKELY(status >= 0) ? status : blame(s, &c->err, status);
}

/* The same for calls that append: without success nothing stays. */
static inline zbz_status done_out(const zbz_store *s, zbz_call *c, zbz_status status, zbz_buf *out, size_t mark) {
	if (LIKELY(status == ZBZ_OK)) return status;
	out->n = mark;
	return done(s, c, status);
}

static zbz_status lacks(const zbz_store *s, zbz_call *c, const char *what) {
	return blame(s, &c->err,
	             zbz_fail(&c->err, ZBZ_E_UNSUPPORTED, "the %s provider does not support %s", s->ops->name, what));
}

/* ---- one key ---- */

zbz_status zbz_store_get(zbz_store *s, zbz_call *c, zbz_bytes key, zbz_buf *out, zbz_meta *meta) {
	size_t mark = out->n;
	ROUTE(s, get);
	if (meta != NULL) {
		meta->expire_at = -1;
		meta->version.n = 0;
		meta->tier = 0;
	}
	return done_out(s, c, CALL(s, c, s->ops->get(s->self, c, key, out, meta)), out, mark);
}

zbz_status zbz_store_set(zbz_store *s, zbz_call *c, const zbz_write *w, zbz_version *version_out) {
	ROUTE(s, set);
	if (version_out != NULL) version_out->n = 0;
	return done(s, c, CALL(s, c, s->ops->set(s->self, c, w, version_out)));
}

zbz_status zbz_store_del(zbz_store *s, zbz_call *c, zbz_bytes key) {
	ROUTE(s, del);
	return done(s, c, CALL(s, c, s->ops->del(s->self, c, key)));
}

zbz_status zbz_store_exists(zbz_store *s, zbz_call *c, zbz_bytes key) {
	ROUTE(s, exists);
	if (s->ops->exists == NULL) return done(s, c, zbz_emulate_exists(s, c, key));
	return done(s, c, CALL(s, c, s->ops->exists(s->self, c, key)));
}

zbz_status zbz_store_ttl(zbz_store *s, zbz_call *c, zbz_bytes key, int64_t *expire_at) {
	ROUTE(s, ttl);
	if (s->ops->ttl == NULL) return lacks(s, c, "ttl");
	return done(s, c, CALL(s, c, s->ops->ttl(s->self, c, key, expire_at)));
}

zbz_status zbz_store_expire(zbz_store *s, zbz_call *c, zbz_bytes key, int64_t expire_at) {
	ROUTE(s, expire);
	if (s->ops->expire == NULL) return lacks(s, c, "expire");
	return done(s, c, CALL(s, c, s->ops->expire(s->self, c, key, expire_at)));
}

zbz_status zbz_store_incr(zbz_store *s, zbz_call *c, zbz_bytes key, const zbz_incr *how, int64_t *value) {
	ROUTE(s, incr);
	if (s->ops->incr == NULL) return lacks(s, c, "incr");
	return done(s, c, CALL(s, c, s->ops->incr(s->self, c, key, how, value)));
}

/* ---- batches ---- */

zbz_status zbz_store_get_many(zbz_store *s, zbz_call *c, const zbz_bytes *keys, size_t n, zbz_buf *out,
                              zbz_found *found) {
	size_t mark = out->n, i;
	for (i = 0; c->want_expiry && i < n; i++) found[i].expire_at = -1;
	ROUTE(s, get_many);
	if (s->ops->get_many == NULL) return done(s, c, zbz_emulate_get_many(s, c, keys, n, out, found));
	return done_out(s, c, CALL(s, c, s->ops->get_many(s->self, c, keys, n, out, found)), out, mark);
}

zbz_status zbz_store_set_many(zbz_store *s, zbz_call *c, const zbz_write *writes, size_t n, zbz_status *status) {
	ROUTE(s, set_many);
	if (s->ops->set_many == NULL) return done(s, c, zbz_emulate_set_many(s, c, writes, n, status));
	return done(s, c, CALL(s, c, s->ops->set_many(s->self, c, writes, n, status)));
}

zbz_status zbz_store_del_many(zbz_store *s, zbz_call *c, const zbz_bytes *keys, size_t n, zbz_status *status) {
	ROUTE(s, del_many);
	if (s->ops->del_many == NULL) return done(s, c, zbz_emulate_del_many(s, c, keys, n, status));
	return done(s, c, CALL(s, c, s->ops->del_many(s->self, c, keys, n, status)));
}

/* ---- listings ---- */

zbz_status zbz_store_scan_open(zbz_store *s, zbz_call *c, zbz_bytes prefix, zbz_bytes pattern, zbz_cursor **cursor) {
	*cursor = NULL;
	ROUTE(s, scan_open);
	if (s->ops->scan_open == NULL) return lacks(s, c, "keys");
	return done(s, c, CALL(s, c, s->ops->scan_open(s->self, c, prefix, pattern, cursor)));
}

/* The one that opened the cursor goes on with it: all three follow the slot of scan_open. */
zbz_status zbz_store_scan_next(zbz_store *s, zbz_call *c, zbz_cursor *cursor, size_t limit, zbz_buf *out, size_t *n) {
	size_t mark = out->n, before = *n;
	zbz_status status;
	ROUTE(s, scan_open);
	if (s->ops->scan_next == NULL) return lacks(s, c, "keys");
	status = CALL(s, c, s->ops->scan_next(s->self, c, cursor, limit, out, n));
	if (LIKELY(status >= 0)) return status;
	*n = before;
	return done_out(s, c, status, out, mark);
}

void zbz_store_scan_close(zbz_store *s, zbz_cursor *cursor) {
	ROUTE(s, scan_open);
	if (cursor == NULL || s->ops->scan_close == NULL) return;
	if (s->gate != NULL) zbz_gate_enter(s->gate, NULL, NULL);
	s->ops->scan_close(s->self, cursor);
	if (s->gate != NULL) zbz_gate_leave(s->gate);
}

zbz_status zbz_store_clear(zbz_store *s, zbz_call *c, zbz_bytes prefix, uint64_t *removed) {
	*removed = 0;
	if (prefix.n == 0 && !s->caps.exclusive)
		return blame(
		    s, &c->err,
		    zbz_fail(&c->err, ZBZ_E_UNSUPPORTED, "clear without a key prefix would empty a store that others share"));
	ROUTE(s, clear);
	if (s->ops->clear == NULL) return done(s, c, zbz_emulate_clear(s, c, prefix, removed));
	return done(s, c, CALL(s, c, s->ops->clear(s->self, c, prefix, removed)));
}

/* ---- the store itself ---- */

zbz_status zbz_store_ping(zbz_store *s, zbz_call *c) {
	ROUTE(s, ping);
	if (s->ops->ping == NULL) return lacks(s, c, "ping");
	return done(s, c, CALL(s, c, s->ops->ping(s->self, c)));
}

zbz_status zbz_store_version(zbz_store *s, zbz_call *c, zbz_buf *out) {
	size_t mark = out->n;
	ROUTE(s, version);
	if (s->ops->version == NULL) return lacks(s, c, "version");
	return done_out(s, c, CALL(s, c, s->ops->version(s->self, c, out)), out, mark);
}

void zbz_store_stats(zbz_store *s, zbz_call *c, zbz_provider_stats *out) {
	memset(out, 0xFF, sizeof *out); /* all -1 */
	ROUTE(s, stats);
	if (s->ops->stats == NULL) return;
	if (s->gate != NULL && zbz_gate_enter(s->gate, c, NULL) != ZBZ_OK) return;
	s->ops->stats(s->self, c, out);
	if (s->gate != NULL) zbz_gate_leave(s->gate);
}

zbz_status zbz_store_inspect(zbz_store *s, zbz_call *c, zbz_bytes key, zbz_buf *out) {
	size_t mark = out->n;
	ROUTE(s, inspect);
	if (s->ops->inspect == NULL) return lacks(s, c, "inspect");
	return done_out(s, c, CALL(s, c, s->ops->inspect(s->self, c, key, out)), out, mark);
}

zbz_status zbz_store_counters(zbz_store *s, zbz_call *c, zbz_buf *out) {
	size_t mark = out->n;
	ROUTE(s, counters);
	if (s->ops->counters == NULL) return ZBZ_MISS;
	return done_out(s, c, CALL(s, c, s->ops->counters(s->self, c, out)), out, mark);
}

zbz_status zbz_store_command(zbz_store *s, zbz_call *c, const zbz_bytes *argv, const size_t *ends, size_t count,
                             zbz_buf *out) {
	size_t mark = out->n;
	ROUTE(s, command);
	if (s->ops->command == NULL) return lacks(s, c, "native commands");
	return done_out(s, c, CALL(s, c, s->ops->command(s->self, c, argv, ends, count, out)), out, mark);
}

zbz_status zbz_store_subscribe(zbz_store *s, zbz_call *c, const zbz_bytes *channels, size_t n, bool pattern,
                               void (*on_message)(void *ud, zbz_bytes channel, zbz_bytes payload), void *ud,
                               void **subscription) {
	*subscription = NULL;
	ROUTE(s, subscribe);
	if (s->ops->subscribe == NULL) return lacks(s, c, "subscribe");
	return done(s, c, CALL(s, c, s->ops->subscribe(s->self, c, channels, n, pattern, on_message, ud, subscription)));
}

void zbz_store_unsubscribe(zbz_store *s, void *subscription) {
	ROUTE(s, subscribe);
	if (subscription == NULL || s->ops->unsubscribe == NULL) return;
	if (s->gate != NULL) zbz_gate_enter(s->gate, NULL, NULL);
	s->ops->unsubscribe(s->self, subscription);
	if (s->gate != NULL) zbz_gate_leave(s->gate);
}

bool zbz_store_promises(const zbz_store *s) {
	ROUTE(s, get);
	return s->ops->get_seen != NULL;
}

zbz_status zbz_store_get_seen(zbz_store *s, zbz_call *c, zbz_bytes key, zbz_buf *out, zbz_seen *seen) {
	size_t mark = out->n;
	memset(seen, 0, sizeof *seen);
	ROUTE(s, get); /* who changes what get answers must answer here too */
	if (s->ops->get_seen == NULL) return lacks(s, c, "get_seen");
	return done_out(s, c, CALL(s, c, s->ops->get_seen(s->self, c, key, out, seen)), out, mark);
}

zbz_status zbz_store_track(zbz_store *s, zbz_call *c, zbz_bytes prefix,
                           void (*on_change)(void *ud, zbz_bytes key, bool lost), void *ud, void **tracking) {
	*tracking = NULL;
	ROUTE(s, track);
	if (s->ops->track == NULL) return lacks(s, c, "telling of changes");
	return done(s, c, CALL(s, c, s->ops->track(s->self, c, prefix, on_change, ud, tracking)));
}

void zbz_store_untrack(zbz_store *s, void *tracking) {
	ROUTE(s, track);
	if (tracking == NULL || s->ops->untrack == NULL) return;
	if (s->gate != NULL) zbz_gate_enter(s->gate, NULL, NULL);
	s->ops->untrack(s->self, tracking);
	if (s->gate != NULL) zbz_gate_leave(s->gate);
}

/* ---- locks ---- */

zbz_status zbz_store_lock(zbz_store *s, zbz_call *c, zbz_bytes name, const uint8_t *token, int64_t lease_ms,
                          zbz_holder *holder) {
	ROUTE(s, lock);
	holder->left = -1;
	holder->outcome = ZBZ_OUTCOME_UNKNOWN;
	if (s->ops->lock == NULL) return done(s, c, zbz_emulate_lock(s, c, name, token, lease_ms, holder));
	return done(s, c, CALL(s, c, s->ops->lock(s->self, c, name, token, lease_ms, holder)));
}

zbz_status zbz_store_unlock(zbz_store *s, zbz_call *c, zbz_bytes name, const uint8_t *token, zbz_outcome outcome) {
	ROUTE(s, lock);
	if (s->ops->unlock == NULL) return done(s, c, zbz_emulate_unlock(s, c, name, token, outcome));
	return done(s, c, CALL(s, c, s->ops->unlock(s->self, c, name, token, outcome)));
}

zbz_status zbz_store_on_unlock(zbz_store *s, zbz_call *c,
                               void (*fn)(void *ud, zbz_bytes name, const uint8_t *token, zbz_outcome outcome),
                               void *ud, void **watch) {
	*watch = NULL;
	ROUTE(s, lock);
	if (s->ops->on_unlock == NULL) return lacks(s, c, "telling of unlocks");
	return done(s, c, CALL(s, c, s->ops->on_unlock(s->self, c, fn, ud, watch)));
}

void zbz_store_off_unlock(zbz_store *s, void *watch) {
	ROUTE(s, lock);
	if (watch == NULL || s->ops->off_unlock == NULL) return;
	if (s->gate != NULL) zbz_gate_enter(s->gate, NULL, NULL);
	s->ops->off_unlock(s->self, watch);
	if (s->gate != NULL) zbz_gate_leave(s->gate);
}

static zbz_status echo_options(const zbz_store *s, zbz_buf *out, zbz_err *err) {
	const zbz_option *o = s->ops->options;
	zbz_status status = ZBZ_OK;
	for (; status == ZBZ_OK && o != NULL && o->name != NULL; o++) {
		status = zbz_buf_putc(out, '\0', err);
		if (status == ZBZ_OK) status = zbz_option_echo(o, s->options, out, err);
	}
	return status;
}

zbz_status zbz_store_identity(zbz_store *s, zbz_buf *out, zbz_err *err) {
	zbz_status status;
	ROUTE(s, identity);
	status = zbz_buf_printf(out, err, "%s%c", s->ops->name, '\0');
	if (status != ZBZ_OK) return status;
	return s->ops->identity != NULL ? s->ops->identity(s->self, out, err) : echo_options(s, out, err);
}
