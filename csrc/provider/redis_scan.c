/* Listing and clearing: SCAN, never KEYS. A SCAN cursor lives in its text alone, so any connection may go on with it. */
#include "base/page.h"
#include "provider/redis_impl.h"

#define PAGE_MIN  10
#define PAGE_MAX  1000
#define STARS_MAX 3 /* more of them could keep the server's matcher busy for long */

struct zbz_cursor {
	char at[24]; /* "0" to begin with */
	bool ended;
	int64_t page;
	size_t prefix_n;
	zbz_buf match; /* prefix as it is, then the whole MATCH pattern behind it */
};

static zbz_bytes prefix_of(const zbz_cursor *k) { return zbz_b(k->match.p, k->prefix_n); }
static zbz_bytes match_of(const zbz_cursor *k) { return zbz_b(k->match.p + k->prefix_n, k->match.n - k->prefix_n); }

/* ---- the MATCH pattern ---------------------------------------------------------------------------------------------- */

static zbz_status escape(zbz_buf *out, zbz_bytes text, zbz_err *err) {
	zbz_status s = zbz_buf_reserve(out, 2 * text.n, err);
	size_t i;
	for (i = 0; s == ZBZ_OK && i < text.n; i++) {
		if (text.p[i] && strchr("*?[]\\^", text.p[i])) out->p[out->n++] = '\\';
		out->p[out->n++] = text.p[i];
	}
	return s;
}

static bool plain(char ch) {
	return (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') || ch == '_';
}

/* Length of a class that every glob dialect reads alike, up to its ']'; 0 for any other. */
static size_t class_length(zbz_bytes p, size_t at) {
	size_t i = at + 1;
	if (i < p.n && (p.p[i] == '!' || p.p[i] == '^')) i++;
	if (i >= p.n || !plain(p.p[i])) return 0;
	for (; i < p.n && p.p[i] != ']'; i++) {
		if (plain(p.p[i])) continue;
		if (p.p[i] != '-' || i + 1 >= p.n || !plain(p.p[i + 1]) || !plain(p.p[i - 1])) return 0;
	}
	return i < p.n ? i + 1 - at : 0;
}

/* The pattern is a hint and may match more than it should, never less: at the first doubt the rest becomes "*". */
static zbz_status hint(zbz_buf *out, zbz_bytes p, zbz_err *err) {
	size_t i = 0, stars = 0, n;
	zbz_status s = ZBZ_OK;
	while (s == ZBZ_OK && i < p.n) {
		n = 1;
		if (p.p[i] == '*' && ++stars > STARS_MAX) return zbz_buf_putc(out, '*', err);
		if (p.p[i] == '\\') n = i + 1 < p.n ? 2 : 0;
		if (p.p[i] == '[') n = class_length(p, i);
		if (n == 0) return zbz_buf_putc(out, '*', err);
		s = zbz_buf_append(out, p.p + i, n, err);
		if (s == ZBZ_OK && p.p[i] == '[' && p.p[i + 1] == '!') out->p[out->n - n + 1] = '^';
		i += n;
	}
	return s;
}

zbz_status redis_scan_open(void *ud, zbz_call *c, zbz_bytes prefix, zbz_bytes pattern, zbz_cursor **cursor) {
	zbz_cursor *k = zbz_calloc(1, sizeof *k);
	zbz_status s;
	(void)ud;
	if (!k) return zbz_fail_nomem(&c->err);
	k->at[0] = '0';
	k->prefix_n = prefix.n;
	s = zbz_buf_append(&k->match, prefix.p, prefix.n, &c->err);
	if (s == ZBZ_OK) s = escape(&k->match, prefix, &c->err);
	if (s == ZBZ_OK) s = pattern.n ? hint(&k->match, pattern, &c->err) : zbz_buf_putc(&k->match, '*', &c->err);
	if (s != ZBZ_OK)
		redis_scan_close(ud, k);
	else
		*cursor = k;
	return s;
}

void redis_scan_close(void *ud, zbz_cursor *k) {
	(void)ud;
	if (!k) return;
	zbz_buf_clear(&k->match);
	zbz_free(k);
}

/* ---- one page ------------------------------------------------------------------------------------------------------- */

typedef struct page {
	zbz_bytes prefix;
	char at[sizeof((zbz_cursor *)0)->at]; /* the next cursor */
	zbz_buf *out;                         /* u32 length and key, as scan_next wants them */
	size_t n;
	zbz_status failed; /* an error reply */
	unsigned reply;    /* which reply of the exchange: clear's first one is UNLINK's */
	unsigned scan_reply;
	int64_t removed;
} page;

static zbz_status refuse(zbz_err *err) {
	return zbz_fail(err, ZBZ_E_UNAVAILABLE, "the server's reply does not fit the command");
}

static zbz_status take_cursor(page *g, const zbz_resp_item *item, zbz_err *err) {
	if (item->type != ZBZ_RESP_BULK || item->bytes.n == 0 || item->bytes.n >= sizeof g->at) return refuse(err);
	memcpy(g->at, item->bytes.p, item->bytes.n);
	g->at[item->bytes.n] = '\0';
	return ZBZ_OK;
}

static zbz_status take_key(page *g, zbz_bytes key, zbz_err *err) {
	if (!zbz_bytes_has_prefix(key, g->prefix)) return ZBZ_OK;
	g->n++;
	return zbz_page_add(g->out, key, err);
}

static zbz_status page_item(void *ud, const zbz_resp_item *item, zbz_err *err) {
	page *g = ud;
	if (item->depth == 0) {
		unsigned which = g->reply++;
		if (item->type == ZBZ_RESP_ERROR) {
			g->failed = redis_reply_error(item->bytes, err);
			return ZBZ_OK;
		}
		if (which != g->scan_reply && item->type == ZBZ_RESP_INTEGER) {
			g->removed += item->integer;
			return ZBZ_OK;
		}
		return item->type == ZBZ_RESP_ARRAY && item->integer == 2 ? ZBZ_OK : refuse(err);
	}
	if (item->depth == 1 && item->index == 0) return take_cursor(g, item, err);
	if (item->depth == 1) return item->type == ZBZ_RESP_ARRAY ? ZBZ_OK : refuse(err);
	return item->type == ZBZ_RESP_BULK ? take_key(g, item->bytes, err) : refuse(err);
}

static zbz_status write_scan(zbz_buf *out, const zbz_cursor *k, zbz_err *err) {
	return zbz_resp_command(out, err, "SCAN %b MATCH %b COUNT %l", zbz_bstr(k->at), match_of(k), k->page);
}

static void advance(zbz_cursor *k, const page *g) {
	memcpy(k->at, g->at, sizeof k->at);
	k->ended = strcmp(k->at, "0") == 0;
}

static zbz_status next_page(redis_self *self, zbz_call *c, zbz_cursor *k, zbz_buf *out, size_t *n) {
	size_t start = out->n;
	redis_attempt a;
	page g;
	zbz_status s;
	redis_attempt_init(&a, self, c, true);
	do {
		out->n = start;
		g = (page){ .prefix = prefix_of(k), .out = out };
		s = redis_attempt_begin(&a);
		if (s == ZBZ_OK) s = write_scan(&a.conn->out, k, &c->err);
		if (s == ZBZ_OK) s = redis_exchange(a.conn, self->opt, a.deadline, 1, page_item, &g, &c->err);
		if (s == ZBZ_OK) s = g.failed;
	} while (redis_attempt_again(&a, s));
	if (s != ZBZ_OK) return s;
	advance(k, &g);
	*n += g.n;
	return ZBZ_OK;
}

/* A page without a key is no end; where keys are rare the pages grow. */
zbz_status redis_scan_next(void *ud, zbz_call *c, zbz_cursor *k, size_t limit, zbz_buf *out, size_t *n) {
	size_t found = 0;
	zbz_status s = ZBZ_OK;
	k->page = limit > PAGE_MAX ? PAGE_MAX : limit < PAGE_MIN ? PAGE_MIN : (int64_t)limit;
	while (s == ZBZ_OK && !k->ended && found == 0) {
		s = next_page(ud, c, k, out, &found);
		if (k->page < PAGE_MAX) k->page *= 2;
	}
	*n += found;
	return s == ZBZ_OK && k->ended ? ZBZ_END : s;
}

/* ---- clear ---------------------------------------------------------------------------------------------------------- */

static zbz_status write_unlink(zbz_buf *out, const zbz_buf *keys, size_t n, zbz_err *err) {
	size_t at = 0;
	zbz_status s = zbz_resp_begin(out, n + 1, err);
	if (s == ZBZ_OK) s = zbz_resp_word(out, zbz_bstr("UNLINK"), err);
	while (s == ZBZ_OK && at < keys->n) s = zbz_resp_word(out, zbz_page_take(zbz_buf_bytes(keys), &at), err);
	return s;
}

/* One round trip: removes the keys of the page before and asks for the next. */
static zbz_status clear_step(redis_self *self, zbz_call *c, zbz_cursor *k, const zbz_buf *keys, size_t keys_n,
                             page *g) {
	redis_attempt a;
	zbz_status s;
	redis_attempt_init(&a, self, c, true);
	do {
		g->out->n = g->n = g->reply = 0;
		g->removed = 0;
		g->failed = ZBZ_OK;
		g->scan_reply = keys_n ? 1 : 0;
		s = redis_attempt_begin(&a);
		if (s == ZBZ_OK && keys_n) s = write_unlink(&a.conn->out, keys, keys_n, &c->err);
		if (s == ZBZ_OK && !k->ended) s = write_scan(&a.conn->out, k, &c->err);
		if (s == ZBZ_OK)
			s = redis_exchange(a.conn, self->opt, a.deadline, (keys_n != 0) + !k->ended, page_item, g, &c->err);
		if (s == ZBZ_OK) s = g->failed;
	} while (redis_attempt_again(&a, s));
	return s;
}

zbz_status redis_clear(void *ud, zbz_call *c, zbz_bytes prefix, uint64_t *removed) {
	zbz_buf buffers[2] = { { 0 } };
	size_t old_n = 0;
	int turn = 0;
	zbz_cursor *k;
	zbz_status s = redis_scan_open(ud, c, prefix, zbz_b("*", 1), &k);
	*removed = 0;
	if (s != ZBZ_OK) return s;
	k->page = PAGE_MAX;
	while (s == ZBZ_OK && (!k->ended || old_n)) {
		page g = { .prefix = prefix, .out = &buffers[turn], .at = "0" };
		s = clear_step(ud, c, k, &buffers[!turn], old_n, &g);
		if (s != ZBZ_OK) break;
		*removed += (uint64_t)g.removed;
		if (!k->ended) advance(k, &g);
		old_n = g.n;
		turn = !turn;
	}
	redis_scan_close(ud, k);
	zbz_buf_clear(&buffers[0]);
	zbz_buf_clear(&buffers[1]);
	return s;
}
