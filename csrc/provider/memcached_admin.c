/* What concerns the servers themselves, and the details of one entry. */
#include "memcached_impl.h"
#include "zbz/pack.h"

static zbz_status ping_reply(zbz_mc_lane *l, size_t index, const zbz_meta_reply *r, zbz_err *err) {
	(void)l, (void)index;
	if (r->code == ZBZ_META_ERROR) return zbz_meta_fail(r, err);
	return r->code == ZBZ_META_MN ? ZBZ_OK : zbz_mc_odd(r, err);
}

/* The same request to every server. */
static zbz_status ask_all(zbz_mc *mc, zbz_call *c, const char *request, bool again,
                          zbz_status (*reply)(zbz_mc_lane *, size_t, const zbz_meta_reply *, zbz_err *), void *ud) {
	zbz_mc_lane *lanes = zbz_calloc(mc->n, sizeof *lanes);
	zbz_status s = lanes != NULL ? ZBZ_OK : zbz_fail_nomem(&c->err);
	if (lanes == NULL) return s;
	for (size_t i = 0; i < mc->n && s == ZBZ_OK; i++) {
		lanes[i] = (zbz_mc_lane){ .server = i, .expect = 1, .reply = reply, .ud = ud };
		s = zbz_buf_append(&lanes[i].out, request, strlen(request), &c->err);
	}
	if (s == ZBZ_OK) s = zbz_mc_exchange(mc, c, lanes, mc->n, again);
	for (size_t i = 0; i < mc->n; i++) zbz_buf_clear(&lanes[i].out);
	zbz_free(lanes);
	return s;
}

zbz_status zbz_mc_ping(void *self, zbz_call *c) { return ask_all(self, c, "mn\r\n", true, ping_reply, NULL); }

static zbz_status version_reply(zbz_mc_lane *l, size_t index, const zbz_meta_reply *r, zbz_err *err) {
	(void)index;
	if (!zbz_bytes_has_prefix(r->line, zbz_bstr("VERSION "))) return zbz_mc_odd(r, err);
	return zbz_buf_append(l->ud, r->line.p + 8, r->line.n - 8, err);
}

zbz_status zbz_mc_version(void *self, zbz_call *c, zbz_buf *out) {
	zbz_mc_lane lane = { .expect = 1, .reply = version_reply, .ud = out };
	zbz_status s = zbz_buf_append(&lane.out, "version\r\n", 9, &c->err);
	if (s == ZBZ_OK) s = zbz_mc_exchange(self, c, &lane, 1, false);
	zbz_buf_clear(&lane.out);
	return s;
}

static void stat_add(zbz_bytes line, const char *name, int64_t *sum) {
	size_t n = strlen(name), i = 5 + n + 1;
	int64_t v = 0;
	if (line.n <= i || memcmp(line.p, "STAT ", 5) != 0 || memcmp(line.p + 5, name, n) != 0 || line.p[5 + n] != ' ')
		return;
	for (; i < line.n && line.p[i] >= '0' && line.p[i] <= '9' && v < INT64_MAX / 10 - 1; i++)
		v = v * 10 + (line.p[i] - '0');
	*sum += v;
}

static zbz_status stats_reply(zbz_mc_lane *l, size_t index, const zbz_meta_reply *r, zbz_err *err) {
	zbz_provider_stats *st = l->ud;
	(void)index;
	if (r->code == ZBZ_META_ERROR) return zbz_meta_fail(r, err);
	if (zbz_bytes_eq(r->line, zbz_bstr("END"))) return ZBZ_OK;
	stat_add(r->line, "curr_items", &st->keys);
	stat_add(r->line, "bytes", &st->memory);
	stat_add(r->line, "evictions", &st->evictions);
	stat_add(r->line, "expired_unfetched", &st->expired);
	return ZBZ_AGAIN;
}

void zbz_mc_stats(void *self, zbz_call *c, zbz_provider_stats *out) {
	zbz_mc *mc = self;
	zbz_provider_stats sum;
	memset(&sum, 0, sizeof sum);
	if (ask_all(mc, c, "stats\r\n", false, stats_reply, &sum) != ZBZ_OK) memset(&sum, 0xFF, sizeof sum); /* all -1 */
	out->keys = sum.keys;
	out->memory = sum.memory;
	out->evictions = sum.evictions;
	out->expired = sum.expired;
	out->connections = atomic_load(&mc->open);
	out->retries = atomic_load(&mc->retries);
}

static zbz_status inspect_done(zbz_mc_one *x, const zbz_meta_reply *r, zbz_err *err) {
	zbz_meta meta;
	int64_t size = 0, idle = 0;
	if (r->code == ZBZ_META_EN) return ZBZ_MISS;
	if (r->code != ZBZ_META_HD) return zbz_mc_odd(r, err);
	zbz_mc_meta_read(r, x->now, &meta);
	zbz_meta_flag(r, 's', &size);
	zbz_meta_flag(r, 'l', &idle);
	if (x->wire.framed) size -= ZBZ_MC_FRAME + (int64_t)x->key.n;
	zbz_status s = zbz_pack_map(x->out, 3, err);
	if (s == ZBZ_OK) s = zbz_pack_named_int(x->out, "size", size, err);
	if (s == ZBZ_OK) s = zbz_pack_named_int(x->out, "idle_ms", idle * 1000, err);
	return s == ZBZ_OK ? zbz_pack_named_int(x->out, "expire_at", meta.expire_at, err) : s;
}

zbz_status zbz_mc_inspect(void *self, zbz_call *c, zbz_bytes key, zbz_buf *out) {
	zbz_mc_one x = { .done = inspect_done, .out = out };
	return zbz_mc_one_line(self, c, &x, key, "mg", " s t l", false);
}
