/* The memcached provider: the servers' meta protocol on our own connections, libmemcached for the ring.
 *
 * Every operation is one meta command, answered atomically by the server. What the protocol cannot say is in caps: whole seconds, counters
 * without sign, no negative numbers. A server that refuses an item as too large has dropped the old value of that key: memcached does so on
 * purpose, a stale value would be worse. Seconds are the server's ticks, so an entry may go up to one second early. */
#include <stddef.h>
#include <stdio.h>

#include "memcached_impl.h"

#define MONTH         2592000 /* seconds; what is more, the server takes for a date */
#define ITEM_OVERHEAD 512
/* Marks a value that looks like a padded counter but was stored so; see zbz_mc_value. */
#define VERBATIM 0x7a627au

static const zbz_option mc_option_table[] = {
	{ "url", NULL, ZBZ_OPT_TEXT, offsetof(zbz_mc_options, url), NULL, NULL, 0, 0,
	  "memcached://host:port,host:port; instead of servers" },
	{ "servers", NULL, ZBZ_OPT_LIST, offsetof(zbz_mc_options, servers), "localhost:11211", NULL, 0, 0,
	  "host, host:port or host:port:weight each; keys spread by ketama" },
	{ "timeout", NULL, ZBZ_OPT_DURATION, offsetof(zbz_mc_options, timeout), "100ms", NULL, 1, 86400000,
	  "longest wait for a connection, and for a server that does not move" },
	{ "max_idle_conns", NULL, ZBZ_OPT_INT, offsetof(zbz_mc_options, max_idle_conns), "10", NULL, 0, 10000,
	  "connections kept open per server" },
	{ "max_retries", NULL, ZBZ_OPT_INT, offsetof(zbz_mc_options, max_retries), "2", NULL, 0, 100,
	  "further attempts of what may run twice, when a connection fails" },
	{ "max_item_size", NULL, ZBZ_OPT_SIZE, offsetof(zbz_mc_options, max_item_size), "1MB", NULL, 1024, ZBZ_BUF_MAX,
	  "what the servers were started with (-I)" },
	{ 0 }
};

static void mc_close(void *self) {
	zbz_mc *mc = self;
	zbz_mc_servers_free(mc);
	pthread_mutex_destroy(&mc->ring_mutex);
	zbz_free(mc);
}

static zbz_status mc_open(void **self, const void *options, const zbz_clock *clock, zbz_err *err) {
	(void)clock;
	zbz_mc *mc = zbz_calloc(1, sizeof *mc);
	if (mc == NULL) return zbz_fail_nomem(err);
	mc->o = options;
	zbz_status s = zbz_mc_servers_parse(mc, err);
	if (s != ZBZ_OK)
		mc_close(mc);
	else
		*self = mc;
	return s;
}

static void mc_caps(void *self, zbz_caps *out) {
	const zbz_mc *mc = self;
	*out = (zbz_caps){ .can = ZBZ_CAN_TTL | ZBZ_CAN_EXPIRE | ZBZ_CAN_ADD | ZBZ_CAN_PRESENT | ZBZ_CAN_VERSION |
		                      ZBZ_CAN_INCR | ZBZ_CAN_KEYS | ZBZ_CAN_CLEAR | ZBZ_CAN_NATIVE | ZBZ_CAN_BATCH,
		               .emulated = ZBZ_CAN_CLEAR,
		               .shared = true,
		               .unsigned_incr = true,
		               .ttl_resolution_ms = 1000,
		               .max_key = ZBZ_MC_MAX_KEY,
		               .max_value = (uint64_t)mc->o->max_item_size - ITEM_OVERHEAD };
}

/* ---- one request, one reply ---- */

static zbz_status one_reply(zbz_mc_lane *l, size_t index, const zbz_meta_reply *r, zbz_err *err) {
	zbz_mc_one *x = l->ud;
	(void)index, (void)err;
	x->status = r->code == ZBZ_META_ERROR ? zbz_meta_fail(r, &x->err) : x->done(x, r, &x->err);
	return ZBZ_OK;
}

zbz_status zbz_mc_odd(const zbz_meta_reply *r, zbz_err *err) {
	return zbz_fail(err, ZBZ_E_UNAVAILABLE, "unexpected answer: %.*s", r->line.n > 100 ? 100 : (int)r->line.n,
	                r->line.p);
}

static zbz_status one_run(zbz_mc *mc, zbz_call *c, zbz_mc_one *x, zbz_buf *request, bool again) {
	zbz_mc_lane lane = {
		.server = zbz_mc_server_of(mc, &x->wire), .expect = 1, .reply = one_reply, .ud = x, .out = *request
	};
	zbz_status s = zbz_mc_exchange(mc, c, &lane, 1, again);
	zbz_buf_clear(&lane.out);
	if (s == ZBZ_OK && x->status < 0) c->err = x->err;
	return s == ZBZ_OK ? x->status : s;
}

/* A request of one line around the key. */
zbz_status zbz_mc_one_line(zbz_mc *mc, zbz_call *c, zbz_mc_one *x, zbz_bytes key, const char *verb, const char *flags,
                           bool again) {
	zbz_buf b = { 0 };
	x->key = key;
	x->now = c->now;
	zbz_mc_key_make(key, &x->wire);
	zbz_status s = zbz_buf_printf(&b, &c->err, "%s %.*s%s\r\n", verb, (int)x->wire.n, x->wire.text, flags);
	if (s == ZBZ_OK) return one_run(mc, c, x, &b, again);
	zbz_buf_clear(&b);
	return s;
}

/* ---- reading ---- */

/* A server shortens a counter by padding it with spaces ("10" less 1 is "9 "); what was written comes back as a number again, unless
 * somebody wrote the spaces himself. */
size_t zbz_mc_counter_trim(zbz_bytes v) {
	size_t digits = 0, n = v.n;
	while (digits < n && v.p[digits] >= '0' && v.p[digits] <= '9') digits++;
	for (size_t i = digits; i < n; i++)
		if (v.p[i] != ' ') return n;
	return digits > 0 && n <= 24 ? digits : n;
}

zbz_status zbz_mc_value(const zbz_meta_reply *r, zbz_bytes key, bool framed, zbz_bytes *value) {
	int64_t flags = 0;
	zbz_bytes inside;
	*value = r->value;
	if (framed) return zbz_mc_frame_open(r->value, &inside, value) && zbz_bytes_eq(inside, key) ? ZBZ_OK : ZBZ_MISS;
	if (value->n > 0 && value->p[value->n - 1] == ' ' && !(zbz_meta_flag(r, 'f', &flags) && flags == VERBATIM))
		value->n = zbz_mc_counter_trim(*value);
	return ZBZ_OK;
}

void zbz_mc_meta_read(const zbz_meta_reply *r, int64_t now, zbz_meta *meta) {
	int64_t v;
	meta->expire_at = zbz_meta_flag(r, 't', &v) ? (v < 0 ? ZBZ_NO_EXPIRY : now + v * 1000) : -1;
	meta->version.n = zbz_meta_flag(r, 'c', &v) ? sizeof v : 0;
	if (meta->version.n > 0) memcpy(meta->version.b, &v, sizeof v);
}

static zbz_status get_done(zbz_mc_one *x, const zbz_meta_reply *r, zbz_err *err) {
	zbz_bytes value;
	if (r->code == ZBZ_META_EN) return ZBZ_MISS;
	if (r->code != ZBZ_META_VA) return zbz_mc_odd(r, err);
	if (zbz_mc_value(r, x->key, x->wire.framed, &value) != ZBZ_OK) return ZBZ_MISS;
	if (x->meta != NULL) zbz_mc_meta_read(r, x->now, x->meta);
	return zbz_buf_append(x->out, value.p, value.n, err);
}

zbz_status zbz_mc_get(void *self, zbz_call *c, zbz_bytes key, zbz_buf *out, zbz_meta *meta) {
	zbz_mc_one x = { .done = get_done, .out = out, .meta = meta };
	return zbz_mc_one_line(self, c, &x, key, "mg", meta != NULL ? " v f t c" : " v f", true);
}

static zbz_status ttl_done(zbz_mc_one *x, const zbz_meta_reply *r, zbz_err *err) {
	zbz_meta meta;
	if (r->code == ZBZ_META_EN || r->code == ZBZ_META_NF) return ZBZ_MISS;
	if (r->code != ZBZ_META_HD) return zbz_mc_odd(r, err);
	zbz_mc_meta_read(r, x->now, &meta);
	x->number = meta.expire_at;
	return ZBZ_OK;
}

static zbz_status mc_ttl(void *self, zbz_call *c, zbz_bytes key, int64_t *expire_at) {
	zbz_mc_one x = { .done = ttl_done };
	zbz_status s = zbz_mc_one_line(self, c, &x, key, "mg", " t", true);
	*expire_at = x.number;
	return s;
}

static zbz_status mc_exists(void *self, zbz_call *c, zbz_bytes key) {
	zbz_mc_one x = { .done = ttl_done };
	return zbz_mc_one_line(self, c, &x, key, "mg", "", true);
}

static zbz_status mc_expire(void *self, zbz_call *c, zbz_bytes key, int64_t expire_at) {
	char flags[32];
	zbz_mc_one x = { .done = ttl_done };
	snprintf(flags, sizeof flags, " T%lld", (long long)zbz_mc_ttl(c, expire_at));
	return zbz_mc_one_line(self, c, &x, key, "mg", flags, false);
}

static zbz_status mc_del(void *self, zbz_call *c, zbz_bytes key) {
	zbz_mc_one x = { .done = ttl_done };
	return zbz_mc_one_line(self, c, &x, key, "md", "", true);
}

/* ---- writing ---- */

int64_t zbz_mc_ttl(const zbz_call *c, int64_t expire_at) {
	if (expire_at == ZBZ_NO_EXPIRY) return 0;
	int64_t left = expire_at - c->now, s = left > 0 ? (left - 1) / 1000 + 1 : 1;
	return s <= MONTH ? s : zbz_wall(zbz_clock_system()) / 1000 + s;
}

/* Does it end like a counter that the server padded? Then a reader must know that it is none. */
static bool looks_padded(zbz_bytes v) { return v.n > 0 && v.p[v.n - 1] == ' ' && zbz_mc_counter_trim(v) != v.n; }

zbz_status zbz_mc_set_build(const zbz_call *c, const zbz_write *w, const zbz_mc_key *key, bool want_version,
                            zbz_buf *out, zbz_err *err) {
	static const char *const modes[] = { "", " ME", " MR", "" };
	size_t n = w->value.n + (key->framed ? ZBZ_MC_FRAME + w->key.n : 0);
	int64_t cas = 0;
	if (w->only == ZBZ_ONLY_VERSION) {
		if (w->version->n != sizeof cas)
			return zbz_fail(err, ZBZ_E_CONFLICT, "the version is not one of this provider's");
		memcpy(&cas, w->version->b, sizeof cas);
	}
	zbz_status s = zbz_buf_printf(out, err, "ms %.*s %zu T%lld%s", (int)key->n, key->text, n,
	                              (long long)zbz_mc_ttl(c, w->expire_at), modes[w->only]);
	if (s == ZBZ_OK && w->only == ZBZ_ONLY_VERSION) s = zbz_buf_printf(out, err, " C%llu", (unsigned long long)cas);
	if (s == ZBZ_OK && !key->framed && looks_padded(w->value)) s = zbz_buf_printf(out, err, " F%u", VERBATIM);
	if (s == ZBZ_OK) s = zbz_buf_printf(out, err, want_version ? " c\r\n" : "\r\n");
	if (s == ZBZ_OK && key->framed) s = zbz_mc_frame_put(w->key, out, err);
	if (s == ZBZ_OK) s = zbz_buf_append(out, w->value.p, w->value.n, err);
	return s == ZBZ_OK ? zbz_buf_append(out, "\r\n", 2, err) : s;
}

zbz_status zbz_mc_set_result(const zbz_meta_reply *r, zbz_only only, zbz_err *err) {
	switch (r->code) {
	case ZBZ_META_HD: return ZBZ_OK;
	case ZBZ_META_ERROR: return zbz_meta_fail(r, err);
	case ZBZ_META_NS:
		if (only == ZBZ_ONLY_ABSENT || only == ZBZ_ONLY_PRESENT) return ZBZ_REFUSED;
		return zbz_mc_odd(r, err);
	case ZBZ_META_EX:
	case ZBZ_META_NF:
		if (only == ZBZ_ONLY_VERSION)
			return zbz_fail(err, ZBZ_E_CONFLICT,
			                r->code == ZBZ_META_EX ? "the entry has another version" : "the entry is gone");
		return zbz_mc_odd(r, err);
	default: return zbz_mc_odd(r, err);
	}
}

static zbz_status set_done(zbz_mc_one *x, const zbz_meta_reply *r, zbz_err *err) {
	zbz_meta meta;
	zbz_status s = zbz_mc_set_result(r, x->only, err);
	if (s == ZBZ_OK && x->version != NULL) {
		zbz_mc_meta_read(r, x->now, &meta);
		*x->version = meta.version;
	}
	return s;
}

zbz_status zbz_mc_set(void *self, zbz_call *c, const zbz_write *w, zbz_version *version_out) {
	zbz_mc_one x = { .done = set_done, .key = w->key, .only = w->only, .version = version_out, .now = c->now };
	zbz_buf b = { 0 };
	zbz_mc_key_make(w->key, &x.wire);
	zbz_status s = zbz_mc_set_build(c, w, &x.wire, version_out != NULL, &b, &c->err);
	if (s == ZBZ_OK) return one_run(self, c, &x, &b, w->only == ZBZ_ALWAYS);
	zbz_buf_clear(&b);
	return s;
}

static zbz_status mc_identity(void *self, zbz_buf *out, zbz_err *err) {
	const zbz_mc *mc = self;
	zbz_status s = ZBZ_OK;
	for (size_t i = 0; s == ZBZ_OK && i < mc->n; i++)
		s = zbz_buf_printf(out, err, "%s:%d ", mc->servers[i].name, mc->servers[i].weight);
	return s;
}

static const zbz_cache_ops ops = {
	.abi = ZBZ_ABI,
	.name = "memcached",
	.schemes = "memcached",
	.needs = "libmemcached11",
	.summary = "memcached 1.6 servers, keys spread by ketama; any byte string is a safe key",
	.options_size = sizeof(zbz_mc_options),
	.options = mc_option_table,
	.open = mc_open,
	.close = mc_close,
	.caps = mc_caps,
	.get = zbz_mc_get,
	.set = zbz_mc_set,
	.del = mc_del,
	.exists = mc_exists,
	.ttl = mc_ttl,
	.expire = mc_expire,
	.incr = zbz_mc_incr,
	.get_many = zbz_mc_get_many,
	.set_many = zbz_mc_set_many,
	.del_many = zbz_mc_del_many,
	.scan_open = zbz_mc_scan_open,
	.scan_next = zbz_mc_scan_next,
	.scan_close = zbz_mc_scan_close,
	.clear = zbz_mc_clear,
	.ping = zbz_mc_ping,
	.version = zbz_mc_version,
	.stats = zbz_mc_stats,
	.inspect = zbz_mc_inspect,
	.command = zbz_mc_command,
	.identity = mc_identity,
};

ZBZ_API const zbz_cache_ops *zbz_cache_plugin(void);
const zbz_cache_ops *zbz_cache_plugin(void) { return &ops; }
