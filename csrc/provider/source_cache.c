/* The keys of a cache, watched: read through the cache's own window (prefix, envelopes, whatever store it has now), told of by the
 * provider where it can (zbz_store_track, else keyspace messages), polled where it cannot. */
#include <zbz/source.h>

#include <stdatomic.h>
#include <stdio.h>

#define KEYSPACE "__keyspace@*__:"

typedef struct cache_self {
	zbz_cache *cache;
	zbz_table *window;
} cache_self;

typedef struct cache_sub {
	void (*on_hint)(void *ud);
	void *ud;
	zbz_bytes full;   /* the key as the store has it */
	zbz_store *store; /* that tells; NULL: none does */
	void *tracking;   /* native */
	void *messages;   /* or keyspace messages */
	bool again;       /* neither, for a reason that may pass */
	atomic_bool lost; /* the channel is down: only looking helps */
	char name[];
} cache_sub;

/* ---- what the store tells, on its threads ---- */

static void on_change(void *ud, zbz_bytes key, bool lost) {
	cache_sub *sub = ud;
	atomic_store(&sub->lost, lost);
	if (key.p == NULL || zbz_bytes_eq(key, sub->full)) sub->on_hint(sub->ud);
}

static void on_message(void *ud, zbz_bytes channel, zbz_bytes payload) {
	cache_sub *sub = ud;
	(void)channel;
	(void)payload;
	sub->on_hint(sub->ud);
}

/* ---- listening ---- */

static bool has(zbz_bytes s, char what) { return s.n > 0 && memchr(s.p, what, s.n) != NULL; }

/* "notify-keyspace-events" with K, and classes that cover plain values: A, or g, $ and x together. The reply is one MessagePack array of two strings;
 * the flags stand in its last one. */
static bool tells_keyspace(zbz_store *store, zbz_call *c) {
	const zbz_bytes words[] = { zbz_bstr("CONFIG"), zbz_bstr("GET"), zbz_bstr("notify-keyspace-events") };
	const size_t ends[] = { 3 };
	zbz_buf out = { 0 };
	zbz_bytes flags = { NULL, 0 };
	bool tells = false;
	if (zbz_store_command(store, c, words, ends, 1, &out) == ZBZ_OK) {
		const char *name = out.n > 22 ? memmem(out.p, out.n, words[2].p, words[2].n) : NULL;
		if (name != NULL) flags = zbz_b(name + words[2].n, out.n - (size_t)(name - out.p) - words[2].n);
		tells = has(flags, 'K') && (has(flags, 'A') || (has(flags, 'g') && has(flags, '$') && has(flags, 'x')));
	}
	zbz_buf_clear(&out);
	return tells;
}

/* The key as a channel pattern, in any database. */
static zbz_status keyspace_pattern(zbz_bytes key, zbz_buf *out, zbz_err *err) {
	zbz_status s = zbz_buf_append(out, KEYSPACE, sizeof KEYSPACE - 1, err);
	size_t i;
	for (i = 0; i < key.n && s == ZBZ_OK; i++) {
		if (strchr("*?[]\\^-", key.p[i]) != NULL) s = zbz_buf_putc(out, '\\', err);
		if (s == ZBZ_OK) s = zbz_buf_putc(out, key.p[i], err);
	}
	return s;
}

static void listen_to_messages(cache_sub *sub, zbz_call *c) {
	zbz_buf pattern = { 0 };
	zbz_bytes channel;
	if (!tells_keyspace(sub->store, c) || keyspace_pattern(sub->full, &pattern, &c->err) != ZBZ_OK) {
		zbz_buf_clear(&pattern);
		return;
	}
	channel = zbz_buf_bytes(&pattern);
	if (zbz_store_subscribe(sub->store, c, &channel, 1, true, on_message, sub, &sub->messages) != ZBZ_OK)
		sub->messages = NULL;
	zbz_buf_clear(&pattern);
}

static void listen_to(cache_sub *sub, zbz_call *c, zbz_store *store) {
	zbz_status s;
	sub->store = store;
	atomic_store(&sub->lost, false);
	s = zbz_store_track(store, c, sub->full, on_change, sub, &sub->tracking);
	sub->again = s != ZBZ_OK && s != ZBZ_E_UNSUPPORTED && s != ZBZ_E_DENIED;
	if (s == ZBZ_OK) return;
	sub->tracking = NULL;
	listen_to_messages(sub, c);
	if (sub->messages != NULL) sub->again = false;
}

static void stop_listening(cache_sub *sub) {
	if (sub->store == NULL) return;
	zbz_store_untrack(sub->store, sub->tracking);
	zbz_store_unsubscribe(sub->store, sub->messages);
	zbz_store_unref(sub->store);
	sub->store = NULL;
	sub->tracking = sub->messages = NULL;
}

/* ---- the source ---- */

static void cache_close(void *ud) {
	cache_self *self = ud;
	zbz_table_free(self->window);
	zbz_cache_unref(self->cache);
	zbz_free(self);
}

/* The cache may have another store than when we began to listen, or one that can tell by now. */
static void follow_store(cache_self *self, cache_sub *sub, zbz_call *c) {
	zbz_store *now = zbz_cache_store(self->cache);
	if (now != NULL && now == sub->store && !sub->again) {
		zbz_store_unref(now);
		return;
	}
	stop_listening(sub);
	if (now == NULL) return; /* closed */
	listen_to(sub, c, now);
	memset(&c->err, 0, sizeof c->err);
}

static zbz_status cache_get(void *ud, zbz_call *c, zbz_bytes key, void *sub, zbz_buf *out) {
	cache_self *self = ud;
	zbz_call own;
	zbz_status s;
	if (sub != NULL) follow_store(self, sub, c);
	zbz_table_begin(self->window, &own, 0); /* the cache's clock tells what has expired */
	if (c->deadline != ZBZ_NEVER) own.deadline = zbz_mono(own.clock) + zbz_call_left(c);
	s = zbz_table_get(self->window, &own, key, out);
	c->err = own.err;
	return s;
}

static zbz_status cache_subscribe(void *ud, zbz_call *c, zbz_bytes key, void (*on_hint)(void *ud), void *hint_ud,
                                  void **out) {
	cache_self *self = ud;
	zbz_bytes prefix = zbz_table_prefix(self->window);
	zbz_store *store = zbz_cache_store(self->cache);
	cache_sub *sub;
	if (store == NULL) return zbz_fail(&c->err, ZBZ_E_CLOSED, "the cache is closed");
	sub = zbz_calloc(1, sizeof *sub + prefix.n + key.n);
	if (sub == NULL) {
		zbz_store_unref(store);
		return zbz_fail_nomem(&c->err);
	}
	if (prefix.n > 0) memcpy(sub->name, prefix.p, prefix.n);
	memcpy(sub->name + prefix.n, key.p, key.n);
	sub->full = zbz_b(sub->name, prefix.n + key.n);
	sub->on_hint = on_hint;
	sub->ud = hint_ud;
	listen_to(sub, c, store);
	*out = sub;
	return ZBZ_OK;
}

static void cache_unsubscribe(void *ud, void *subscription) {
	(void)ud;
	stop_listening(subscription);
	zbz_free(subscription);
}

static void cache_state(void *ud, void *subscription, zbz_source_state *out) {
	cache_sub *sub = subscription;
	(void)ud;
	if (sub->tracking != NULL && !atomic_load(&sub->lost))
		out->mode = ZBZ_SOURCE_NATIVE;
	else if (sub->messages != NULL)
		out->mode = ZBZ_SOURCE_WATCHED;
}

static const zbz_source_ops ops = {
	.abi = ZBZ_ABI,
	.name = "cache",
	.summary = "keys of a cache: Redis tells of changes, other providers are polled",
	.get = cache_get,
	.close = cache_close,
	.subscribe = cache_subscribe,
	.unsubscribe = cache_unsubscribe,
	.state = cache_state,
};

zbz_status zbz_source_of_cache(zbz_cache *cache, zbz_source **out, zbz_err *err) {
	const zbz_table_opts opts = { .ttl = -1, .deadline = -1 };
	cache_self *self = zbz_calloc(1, sizeof *self);
	zbz_status s;
	*out = NULL;
	if (self == NULL) return zbz_fail_nomem(err);
	s = zbz_table_new(cache, &opts, &self->window, err);
	if (s != ZBZ_OK) {
		zbz_free(self);
		return s;
	}
	self->cache = zbz_cache_ref(cache);
	s = zbz_source_of(&ops, self, out, err);
	if (s != ZBZ_OK) cache_close(self);
	return s;
}
