/* Operations a provider lacks, built from those it has. */
#include "emulate.h"

#include "base/page.h"

#define PAGE 256 /* keys listed and deleted at a time */

zbz_status zbz_emulate_exists(zbz_store *s, zbz_call *c, zbz_bytes key) {
	zbz_buf value = { 0 };
	zbz_status status = zbz_store_get(s, c, key, &value, NULL);
	zbz_buf_clear(&value);
	return status;
}

/* How a batch of single calls ended. It ran when anything can be said of any key. */
typedef struct tally {
	bool said;
	zbz_status last;
} tally;

static zbz_status late(zbz_call *c) {
	return zbz_call_left(c) == 0 ? zbz_fail(&c->err, ZBZ_E_TIMEOUT, "the deadline passed in the middle of a batch")
	                             : ZBZ_OK;
}

static void count(tally *t, zbz_status status) {
	if (status >= 0)
		t->said = true;
	else
		t->last = status;
}

zbz_status zbz_emulate_get_many(zbz_store *s, zbz_call *c, const zbz_bytes *keys, size_t n, zbz_buf *out,
                                zbz_found *found) {
	tally t = { n == 0, ZBZ_OK };
	zbz_meta meta;
	for (size_t i = 0; i < n; i++) {
		zbz_status status = late(c);
		found[i].off = out->n;
		if (status == ZBZ_OK) status = zbz_store_get(s, c, keys[i], out, c->want_expiry ? &meta : NULL);
		if (status == ZBZ_OK && c->want_expiry) found[i].expire_at = meta.expire_at;
		found[i].status = status;
		found[i].n = out->n - found[i].off;
		count(&t, status);
	}
	return t.said ? ZBZ_OK : t.last;
}

zbz_status zbz_emulate_set_many(zbz_store *s, zbz_call *c, const zbz_write *writes, size_t n, zbz_status *status) {
	tally t = { n == 0, ZBZ_OK };
	for (size_t i = 0; i < n; i++) {
		status[i] = late(c);
		if (status[i] == ZBZ_OK) status[i] = zbz_store_set(s, c, &writes[i], NULL);
		count(&t, status[i]);
	}
	return t.said ? ZBZ_OK : t.last;
}

zbz_status zbz_emulate_del_many(zbz_store *s, zbz_call *c, const zbz_bytes *keys, size_t n, zbz_status *status) {
	tally t = { n == 0, ZBZ_OK };
	for (size_t i = 0; i < n; i++) {
		status[i] = late(c);
		if (status[i] == ZBZ_OK) status[i] = zbz_store_del(s, c, keys[i]);
		count(&t, status[i]);
	}
	return t.said ? ZBZ_OK : t.last;
}

/* ---- clear ---- */

/* Takes up to PAGE keys off the front of a listing's page. */
static size_t cut_keys(zbz_bytes *page, zbz_bytes keys[PAGE]) {
	size_t n = 0;
	while (n < PAGE && page->n >= 4) {
		size_t len = zbz_u32_get(page->p);
		if (len > page->n - 4) break;
		keys[n++] = zbz_b(page->p + 4, len);
		page->p += 4 + len;
		page->n -= 4 + len;
	}
	return n;
}

static zbz_status delete_page(zbz_store *s, zbz_call *c, zbz_bytes page, zbz_bytes prefix, uint64_t *removed) {
	zbz_bytes keys[PAGE];
	zbz_status each[PAGE], status;
	size_t n;
	while ((n = cut_keys(&page, keys)) > 0) {
		for (size_t i = 0; i < n; i++)
			if (!zbz_bytes_has_prefix(keys[i], prefix))
				return zbz_fail(&c->err, ZBZ_E_INTERNAL,
				                "a listing returned a key outside its prefix; nothing of it was removed");
		if ((status = zbz_store_del_many(s, c, keys, n, each)) < 0) return status;
		for (size_t i = 0; i < n; i++) {
			if (each[i] < 0)
				return each[i] == c->err.status ? each[i] : zbz_fail(&c->err, each[i], "a key could not be removed");
			if (each[i] == ZBZ_OK) ++*removed;
		}
	}
	return page.n == 0 ? ZBZ_OK : zbz_fail(&c->err, ZBZ_E_INTERNAL, "a listing returned a broken page");
}

zbz_status zbz_emulate_clear(zbz_store *s, zbz_call *c, zbz_bytes prefix, uint64_t *removed) {
	zbz_cursor *cursor;
	zbz_buf page = { 0 };
	zbz_status status = zbz_store_scan_open(s, c, prefix, zbz_b("*", 1), &cursor), listed = ZBZ_OK;
	if (status != ZBZ_OK) return status;
	while (status >= 0 && listed != ZBZ_END) {
		size_t n = 0;
		zbz_buf_reset(&page);
		status = listed = late(c);
		if (status == ZBZ_OK) status = listed = zbz_store_scan_next(s, c, cursor, PAGE, &page, &n);
		if (status >= 0) status = delete_page(s, c, zbz_buf_bytes(&page), prefix, removed);
	}
	zbz_store_scan_close(s, cursor);
	zbz_buf_clear(&page);
	return status < 0 ? status : ZBZ_OK;
}
