/* Listing by the server's crawler, "lru_crawler metadump hash": it walks the hash table, whose entries stay where they are, so a key that
 * is there all the time is seen. The dump of one server is taken in one go, keeping only keys of the prefix: while it waits
 * for a slow reader, the server's crawler waits too. */
#include "base/page.h"
#include "memcached_impl.h"

#define FETCH      100
#define CLEAR_PAGE 1000

struct zbz_cursor {
	size_t server; /* next to be dumped */
	zbz_buf prefix;
	zbz_buf keys; /* u32 length, key */
	size_t at;
	zbz_buf hashed; /* wire keys whose key is in the value: u8 length, text */
	bool busy, unknown;
};

zbz_status zbz_mc_scan_open(void *self, zbz_call *c, zbz_bytes prefix, zbz_bytes pattern, zbz_cursor **out) {
	(void)self, (void)pattern;
	zbz_cursor *cur = zbz_calloc(1, sizeof *cur);
	if (cur == NULL) return zbz_fail_nomem(&c->err);
	zbz_status s = zbz_buf_append(&cur->prefix, prefix.p, prefix.n, &c->err);
	if (s == ZBZ_OK)
		*out = cur;
	else
		zbz_free(cur);
	return s;
}

void zbz_mc_scan_close(void *self, zbz_cursor *cur) {
	(void)self;
	zbz_buf_clear(&cur->prefix);
	zbz_buf_clear(&cur->keys);
	zbz_buf_clear(&cur->hashed);
	zbz_free(cur);
}

static int hex_any(char c) {
	if (c >= '0' && c <= '9') return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The dump's own percent-encoding of the wire key; 0 when it is none or too long. */
static size_t dump_key(zbz_bytes line, char *wire) {
	size_t n = 0;
	for (size_t i = 4; i < line.n && line.p[i] != ' '; i++) {
		int c = (unsigned char)line.p[i];
		if (n == ZBZ_MC_KEY_MAX) return 0;
		if (c == '%') {
			int hi = i + 2 < line.n ? hex_any(line.p[i + 1]) : -1, lo = hi >= 0 ? hex_any(line.p[i + 2]) : -1;
			if (lo < 0) return 0;
			c = hi << 4 | lo;
			i += 2;
		}
		wire[n++] = (char)c;
	}
	return n;
}

static zbz_status key_keep(zbz_cursor *cur, zbz_bytes wire, zbz_err *err) {
	size_t start = cur->keys.n;
	if (!zbz_mc_key_may(wire, zbz_buf_bytes(&cur->prefix))) return ZBZ_OK;
	zbz_status s = zbz_buf_append(&cur->keys, "\0\0\0", 4, err);
	if (s == ZBZ_OK) s = zbz_mc_key_back(wire, &cur->keys, err);
	if (s == ZBZ_OK) {
		zbz_u32_put(cur->keys.p + start, (uint32_t)(cur->keys.n - start - 4));
		return ZBZ_OK;
	}
	cur->keys.n = start;
	if (s != ZBZ_AGAIN) return s < 0 ? s : ZBZ_OK;
	s = zbz_buf_putc(&cur->hashed, (char)wire.n, err);
	return s == ZBZ_OK ? zbz_buf_append(&cur->hashed, wire.p, wire.n, err) : s;
}

static zbz_status dump_reply(zbz_mc_lane *l, size_t index, const zbz_meta_reply *r, zbz_err *err) {
	zbz_cursor *cur = l->ud;
	char wire[ZBZ_MC_KEY_MAX];
	(void)index;
	if (r->code == ZBZ_META_ERROR) {
		cur->unknown = true;
		return zbz_fail(err, ZBZ_E_UNSUPPORTED, "the server does not list its keys: %.*s",
		                r->line.n > 100 ? 100 : (int)r->line.n, r->line.p);
	}
	if (zbz_bytes_has_prefix(r->line, zbz_bstr("BUSY"))) {
		cur->busy = true;
		return zbz_fail(err, ZBZ_E_UNAVAILABLE, "the server is listing its keys for somebody else");
	}
	if (zbz_bytes_eq(r->line, zbz_bstr("END"))) return ZBZ_OK;
	if (!zbz_bytes_has_prefix(r->line, zbz_bstr("key="))) return ZBZ_AGAIN;
	size_t n = dump_key(r->line, wire);
	zbz_status s = n > 0 ? key_keep(cur, zbz_b(wire, n), err) : ZBZ_OK;
	return s == ZBZ_OK ? ZBZ_AGAIN : s;
}

static zbz_status dump_once(zbz_mc *mc, zbz_call *c, zbz_cursor *cur, const char *request) {
	zbz_mc_lane lane = { .server = cur->server, .expect = 1, .reply = dump_reply, .ud = cur, .fresh = true };
	cur->busy = cur->unknown = false;
	cur->at = 0;
	zbz_buf_reset(&cur->keys);
	zbz_buf_reset(&cur->hashed);
	zbz_status s = zbz_buf_append(&lane.out, request, strlen(request), &c->err);
	if (s == ZBZ_OK) s = zbz_mc_exchange(mc, c, &lane, 1, false);
	zbz_buf_clear(&lane.out);
	return s;
}

/* One crawl at a time is all a server does; another client's ends soon. */
static zbz_status dump(zbz_mc *mc, zbz_call *c, zbz_cursor *cur) {
	const char *request = "lru_crawler metadump hash\r\n";
	zbz_status s = ZBZ_OK;
	for (int busy = 0, lost = 0; busy < 100;) {
		s = dump_once(mc, c, cur, request);
		if (s != ZBZ_E_UNAVAILABLE && s != ZBZ_E_UNSUPPORTED) return s;
		if (cur->unknown) { /* before 1.6.10 or so */
			if (strstr(request, "all") != NULL) return s;
			request = "lru_crawler metadump all\r\n";
			continue;
		}
		if (cur->busy)
			busy++;
		else if (lost++ == mc->o->max_retries)
			return s;
		if (!zbz_mc_pause(c, cur->busy ? 2 : lost))
			return zbz_fail(&c->err, ZBZ_E_TIMEOUT, "the deadline passed while listing keys");
	}
	return s;
}

static zbz_status frame_reply(zbz_mc_lane *l, size_t index, const zbz_meta_reply *r, zbz_err *err) {
	zbz_cursor *cur = l->ud;
	zbz_bytes key, value;
	(void)index;
	if (r->code != ZBZ_META_VA || !zbz_mc_frame_open(r->value, &key, &value))
		return ZBZ_OK; /* gone meanwhile, or not ours */
	if (key.n == 0 || !zbz_bytes_has_prefix(key, zbz_buf_bytes(&cur->prefix))) return ZBZ_OK;
	return zbz_page_add(&cur->keys, key, err);
}

/* Reads the values of the hashed keys, which name them. Not retried: a key would come twice, and once is promised enough. */
static zbz_status hashed_resolve(zbz_mc *mc, zbz_call *c, zbz_cursor *cur) {
	zbz_status s = ZBZ_OK;
	for (size_t at = 0; at < cur->hashed.n && s == ZBZ_OK;) {
		zbz_mc_lane lane = { .server = cur->server, .reply = frame_reply, .ud = cur };
		for (; lane.expect < FETCH && at < cur->hashed.n && s == ZBZ_OK; lane.expect++) {
			int n = (unsigned char)cur->hashed.p[at];
			s = zbz_buf_printf(&lane.out, &c->err, "mg %.*s v\r\n", n, cur->hashed.p + at + 1);
			at += 1 + (size_t)n;
		}
		if (s == ZBZ_OK) s = zbz_mc_exchange(mc, c, &lane, 1, false);
		zbz_buf_clear(&lane.out);
	}
	return s;
}

zbz_status zbz_mc_scan_next(void *self, zbz_call *c, zbz_cursor *cur, size_t limit, zbz_buf *out, size_t *n) {
	zbz_mc *mc = self;
	size_t end = cur->at, k = 0;
	while (cur->at == cur->keys.n) {
		if (cur->server == mc->n) return ZBZ_END;
		zbz_status s = dump(mc, c, cur);
		if (s == ZBZ_OK) s = hashed_resolve(mc, c, cur);
		if (s != ZBZ_OK) {
			cur->at = cur->keys.n = 0;
			return s;
		}
		cur->server++;
		end = 0;
	}
	for (; k < limit && end < cur->keys.n; k++) zbz_page_take(zbz_buf_bytes(&cur->keys), &end);
	zbz_status s = zbz_buf_append(out, cur->keys.p + cur->at, end - cur->at, &c->err);
	if (s != ZBZ_OK) return s;
	*n += k;
	cur->at = end;
	return cur->at == cur->keys.n && cur->server == mc->n ? ZBZ_END : ZBZ_OK;
}

static zbz_status page_delete(zbz_mc *mc, zbz_call *c, const zbz_buf *page, size_t n, uint64_t *removed) {
	zbz_bytes *keys = zbz_calloc(n, sizeof *keys);
	zbz_status *status = zbz_calloc(n, sizeof *status);
	zbz_status s = keys != NULL && status != NULL ? ZBZ_OK : zbz_fail_nomem(&c->err);
	for (size_t i = 0, at = 0; i < n && s == ZBZ_OK; i++) keys[i] = zbz_page_take(zbz_buf_bytes(page), &at);
	if (s == ZBZ_OK) s = zbz_mc_del_many(mc, c, keys, n, status);
	for (size_t i = 0; i < n && s == ZBZ_OK; i++) {
		if (status[i] == ZBZ_OK)
			++*removed;
		else if (status[i] < 0)
			s = status[i];
	}
	zbz_free(keys);
	zbz_free(status);
	return s;
}

zbz_status zbz_mc_clear(void *self, zbz_call *c, zbz_bytes prefix, uint64_t *removed) {
	zbz_mc *mc = self;
	zbz_cursor *cur;
	zbz_buf page = { 0 };
	*removed = 0;
	zbz_status s = zbz_mc_scan_open(mc, c, prefix, zbz_b(NULL, 0), &cur), last = ZBZ_OK;
	if (s != ZBZ_OK) return s;
	while (s == ZBZ_OK && last != ZBZ_END) {
		size_t n = 0;
		page.n = 0;
		s = last = zbz_mc_scan_next(mc, c, cur, CLEAR_PAGE, &page, &n);
		if (s >= 0) s = n > 0 ? page_delete(mc, c, &page, n, removed) : ZBZ_OK;
	}
	zbz_mc_scan_close(mc, cur);
	zbz_buf_clear(&page);
	return s;
}
