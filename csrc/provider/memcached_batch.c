/* Many keys: one trip to each server that has some of them, all servers at once. */
#include "memcached_impl.h"

typedef struct batch {
	zbz_mc *mc;
	zbz_call *c;
	size_t n;
	const zbz_bytes *keys;
	const zbz_write *writes;
	zbz_buf *out;
	zbz_found *found;
	zbz_status *status;
	/* owned */
	zbz_mc_lane *lanes;
	size_t *ids;      /* positions, grouped by server */
	uint16_t *server; /* of each position */
} batch;

static zbz_bytes batch_key(const batch *b, size_t i) { return b->keys != NULL ? b->keys[i] : b->writes[i].key; }

static void batch_status(batch *b, size_t i, zbz_status s) {
	if (b->found != NULL)
		b->found[i].status = s;
	else
		b->status[i] = s;
}

static void batch_end(batch *b) {
	for (size_t i = 0; b->lanes != NULL && i < b->mc->n; i++) zbz_buf_clear(&b->lanes[i].out);
	zbz_free(b->lanes);
	zbz_free(b->ids);
	zbz_free(b->server);
}

static zbz_status batch_begin(batch *b) {
	size_t at = 0, *fill;
	zbz_mc *mc = b->mc;
	b->lanes = zbz_calloc(mc->n, sizeof *b->lanes);
	b->ids = zbz_calloc(b->n, sizeof *b->ids);
	b->server = zbz_calloc(b->n, sizeof *b->server);
	fill = zbz_calloc(mc->n, sizeof *fill);
	if (b->lanes == NULL || b->ids == NULL || b->server == NULL || fill == NULL) {
		zbz_free(fill);
		return zbz_fail_nomem(&b->c->err);
	}
	for (size_t i = 0; i < b->n; i++) {
		zbz_mc_key wire;
		zbz_mc_key_make(batch_key(b, i), &wire);
		b->server[i] = (uint16_t)zbz_mc_server_of(mc, &wire);
		b->lanes[b->server[i]].expect++;
	}
	for (size_t k = 0; k < mc->n; k++) {
		b->lanes[k].server = k;
		b->lanes[k].ud = b;
		b->lanes[k].ids = b->ids + at;
		fill[k] = at;
		at += b->lanes[k].expect;
	}
	for (size_t i = 0; i < b->n; i++) b->ids[fill[b->server[i]]++] = i;
	zbz_free(fill);
	return ZBZ_OK;
}

static zbz_status request_build(batch *b, size_t i, const char *verb, const char *flags, zbz_buf *out) {
	zbz_mc_key wire;
	zbz_mc_key_make(batch_key(b, i), &wire);
	if (b->writes != NULL) return zbz_mc_set_build(b->c, &b->writes[i], &wire, false, out, &b->c->err);
	return zbz_buf_printf(out, &b->c->err, "%s %.*s%s\r\n", verb, (int)wire.n, wire.text, flags);
}

/* A lane that failed fails its keys; the batch as a whole only when no server answered. */
static zbz_status batch_run(batch *b, const char *verb, const char *flags,
                            zbz_status (*reply)(zbz_mc_lane *, size_t, const zbz_meta_reply *, zbz_err *)) {
	size_t used = 0, failed = 0;
	zbz_status s = batch_begin(b), worst = ZBZ_OK;
	for (size_t i = 0; i < b->n && s == ZBZ_OK; i++) s = request_build(b, i, verb, flags, &b->lanes[b->server[i]].out);
	if (s == ZBZ_OK) {
		for (size_t k = 0; k < b->mc->n; k++) b->lanes[k].reply = reply;
		worst = zbz_mc_exchange(b->mc, b->c, b->lanes, b->mc->n, true);
		for (size_t k = 0; k < b->mc->n; k++) {
			zbz_mc_lane *l = &b->lanes[k];
			used += l->expect > 0;
			failed += l->expect > 0 && l->status < 0;
			for (size_t i = 0; l->status < 0 && i < l->expect; i++) batch_status(b, l->ids[i], l->status);
		}
		if (failed == used) s = worst;
	}
	batch_end(b);
	return s;
}

static zbz_status get_reply(zbz_mc_lane *l, size_t index, const zbz_meta_reply *r, zbz_err *err) {
	batch *b = l->ud;
	size_t i = l->ids[index];
	zbz_found *f = &b->found[i];
	zbz_mc_key wire;
	zbz_bytes value;
	zbz_meta meta;
	f->status = ZBZ_MISS;
	f->off = f->n = 0;
	if (r->code == ZBZ_META_EN) return ZBZ_OK;
	if (r->code == ZBZ_META_ERROR) {
		f->status = zbz_meta_fail(r, &b->c->err);
		return ZBZ_OK;
	}
	if (r->code != ZBZ_META_VA) return zbz_fail(err, ZBZ_E_UNAVAILABLE, "unexpected answer to mg");
	zbz_mc_key_make(b->keys[i], &wire);
	if (zbz_mc_value(r, b->keys[i], wire.framed, &value) != ZBZ_OK) return ZBZ_OK;
	if (b->c->want_expiry) {
		zbz_mc_meta_read(r, b->c->now, &meta);
		f->expire_at = meta.expire_at;
	}
	f->off = b->out->n;
	f->n = value.n;
	f->status = ZBZ_OK;
	return zbz_buf_append(b->out, value.p, value.n, err);
}

static zbz_status set_reply(zbz_mc_lane *l, size_t index, const zbz_meta_reply *r, zbz_err *err) {
	batch *b = l->ud;
	(void)err;
	b->status[l->ids[index]] = zbz_mc_set_result(r, ZBZ_ALWAYS, &b->c->err);
	return ZBZ_OK;
}

static zbz_status del_reply(zbz_mc_lane *l, size_t index, const zbz_meta_reply *r, zbz_err *err) {
	batch *b = l->ud;
	zbz_status *s = &b->status[l->ids[index]];
	if (r->code == ZBZ_META_HD)
		*s = ZBZ_OK;
	else if (r->code == ZBZ_META_NF)
		*s = ZBZ_MISS;
	else if (r->code == ZBZ_META_ERROR)
		*s = zbz_meta_fail(r, &b->c->err);
	else
		return zbz_fail(err, ZBZ_E_UNAVAILABLE, "unexpected answer to md");
	return ZBZ_OK;
}

zbz_status zbz_mc_get_many(void *self, zbz_call *c, const zbz_bytes *keys, size_t n, zbz_buf *out, zbz_found *found) {
	batch b = { .mc = self, .c = c, .n = n, .keys = keys, .out = out, .found = found };
	return batch_run(&b, "mg", c->want_expiry ? " v f t" : " v f", get_reply);
}

zbz_status zbz_mc_set_many(void *self, zbz_call *c, const zbz_write *writes, size_t n, zbz_status *status) {
	batch b = { .mc = self, .c = c, .n = n, .writes = writes, .status = status };
	return batch_run(&b, "ms", "", set_reply);
}

zbz_status zbz_mc_del_many(void *self, zbz_call *c, const zbz_bytes *keys, size_t n, zbz_status *status) {
	batch b = { .mc = self, .c = c, .n = n, .keys = keys, .status = status };
	return batch_run(&b, "md", "", del_reply);
}
