/* Former objects of a storage output go: by their number, in the order of the times in their names, or by how long ago they were written. A listing of all
 * would be dear for each object, so the oldest of one are remembered, and from then on those that are written are counted. It is listed again when the
 * oldest run out, and after sixteen objects for each page that it took: others may write under the prefix too. */
#include "sink_storage.h"

#include <stdlib.h>

enum { OLDEST_MOST = 16384 }; /* half of them, after a listing of more */
enum { OBJECTS_A_PAGE = 16 }; /* written for each page of a listing */
enum { MOMENT_MS = 50 };
enum { WAIT_MOST = 64 };

void zbz_retain_init(zbz_retain *r, zbz_bucket *bucket, const char *prefix, int64_t keep, int64_t keep_for) {
	*r = (zbz_retain){ .bucket = bucket, .prefix = prefix, .keep = keep, .keep_for = keep_for };
}

static void forget(zbz_retain *r) {
	r->n = 0;
	r->known = r->since = 0;
	r->listed = r->listing = r->more = false;
}

void zbz_retain_clear(zbz_retain *r) {
	zbz_free(r->oldest);
	zbz_buf_clear(&r->page);
}

/* ---- 1. The oldest ---- */

static int by_time(const void *a, const void *b) {
	const zbz_sink_mark *x = &((const zbz_former *)a)->mark, *y = &((const zbz_former *)b)->mark;
	if (x->device != y->device) return x->device > y->device ? 1 : -1;
	if (x->inode != y->inode) return x->inode > y->inode ? 1 : -1;
	return (x->size > y->size) - (x->size < y->size);
}

/* All up to the bound are remembered, and none behind it. */
static bool beyond(const zbz_retain *r, const zbz_former *f) { return r->more && by_time(f, &r->bound) > 0; }

static zbz_status make_room(zbz_retain *r, zbz_err *err) {
	size_t cap = r->cap == 0 ? 16 : 2 * r->cap;
	zbz_former *oldest;
	if (r->n < r->cap) return ZBZ_OK;
	if (r->cap == OLDEST_MOST) {
		qsort(r->oldest, r->n, sizeof *r->oldest, by_time);
		r->n /= 2;
		r->bound = r->oldest[r->n - 1];
		r->more = true;
		return ZBZ_OK;
	}
	oldest = zbz_realloc(r->oldest, cap * sizeof *oldest);
	if (oldest == NULL) return zbz_fail_nomem(err);
	r->oldest = oldest;
	r->cap = cap;
	return ZBZ_OK;
}

static zbz_status add(zbz_retain *r, const zbz_former *f, zbz_err *err) {
	zbz_status status = beyond(r, f) ? ZBZ_OK : make_room(r, err);
	r->known++;
	if (status == ZBZ_OK && !beyond(r, f)) r->oldest[r->n++] = *f;
	return status;
}

/* The last one, which was added to those in order. */
static void settle(zbz_retain *r) {
	for (size_t i = r->n; i > 1 && by_time(&r->oldest[i - 2], &r->oldest[i - 1]) > 0; i--) {
		zbz_former f = r->oldest[i - 2];
		r->oldest[i - 2] = r->oldest[i - 1];
		r->oldest[i - 1] = f;
	}
}

/* ---- 2. Listing ---- */

static zbz_bytes fixed_part(const char *prefix) { return zbz_b(prefix, strcspn(prefix, "%")); }

static void begin(zbz_retain *r) {
	forget(r);
	r->listing = true;
	r->pages = 0;
	r->after_n = 0;
}

static zbz_status list_page(zbz_retain *r, zbz_call *c) {
	zbz_object_entry e;
	zbz_former f;
	zbz_status status;
	size_t n, at = 0;
	r->page.n = 0;
	status = zbz_bucket_list(r->bucket, c, fixed_part(r->prefix), zbz_b(r->after, r->after_n), ZBZ_OBJECT_PAGE_MAX,
	                         &r->page, &n);
	if (status < 0) return status;
	r->pages++;
	r->listing = status != ZBZ_END;
	r->listed = !r->listing;
	status = ZBZ_OK;
	while (status == ZBZ_OK && zbz_object_page_take(zbz_buf_bytes(&r->page), &at, &e)) {
		memcpy(r->after, e.name.p, e.name.n);
		r->after_n = e.name.n;
		if (!zbz_storage_mark(r->prefix, e.name, &f.mark)) continue;
		f.modified = e.info.modified;
		status = add(r, &f, &c->err);
	}
	if (!r->listed) return status;
	if (r->n > 1) qsort(r->oldest, r->n, sizeof *r->oldest, by_time);
	zbz_buf_clear(&r->page);
	return status;
}

/* An object more; one that a listing under way has still before it is left to that. */
static zbz_status count(zbz_retain *r, zbz_call *c, const zbz_sink_mark *mark) {
	const zbz_former f = { *mark, c->now };
	char name[ZBZ_OBJECT_NAME_MAX + 1];
	zbz_status status = ZBZ_OK;
	size_t n;
	r->since++;
	if (r->listing && zbz_storage_name(r->prefix, mark, name, &n)) {
		int order = memcmp(name, r->after, n < r->after_n ? n : r->after_n);
		if (order > 0 || (order == 0 && n > r->after_n)) return ZBZ_OK;
	}
	if (r->listed || r->listing) status = add(r, &f, &c->err);
	if (r->listed) settle(r);
	return status;
}

/* ---- 3. Removing ---- */

static bool same(const zbz_sink_mark *a, const zbz_sink_mark *b) {
	return a->device == b->device && a->inode == b->inode && a->size == b->size;
}

static bool too_many(const zbz_retain *r) { return r->keep > 0 && r->known > (uint64_t)r->keep; }

static bool due(const zbz_retain *r, const zbz_former *f, int64_t now) {
	return too_many(r) || (r->keep_for > 0 && f->modified < now - r->keep_for);
}

static zbz_status take_away(zbz_retain *r, zbz_call *c, const zbz_former *f) {
	char name[ZBZ_OBJECT_NAME_MAX + 1];
	size_t n;
	r->known--; /* also when it cannot be done: none that should stay goes in its place */
	if (!zbz_storage_name(r->prefix, &f->mark, name, &n)) return ZBZ_OK;
	return zbz_bucket_remove(r->bucket, c, zbz_b(name, n));
}

static zbz_status take_away_due(zbz_retain *r, zbz_call *c, const zbz_sink_mark *stays, int64_t until) {
	zbz_status status = ZBZ_OK;
	size_t left = 0, i;
	for (i = 0; i < r->n && status == ZBZ_OK; i++) {
		const zbz_former f = r->oldest[i];
		bool goes = due(r, &f, c->now) && !same(&f.mark, stays);
		if (goes && zbz_mono(c->clock) >= until) break;
		if (goes) status = take_away(r, c, &f);
		if (!goes) r->oldest[left++] = f;
	}
	if (left < i) memmove(r->oldest + left, r->oldest + i, (r->n - i) * sizeof *r->oldest);
	r->n -= i - left;
	return status;
}

/* ---- 4. A moment of it ---- */

static bool stale(const zbz_retain *r) {
	if (!r->listed || r->since >= OBJECTS_A_PAGE * r->pages) return true;
	return r->n == 0 && r->more && (too_many(r) || r->keep_for > 0);
}

static zbz_status work(zbz_retain *r, zbz_call *c, const zbz_sink_mark *stays) {
	int64_t until = zbz_mono(c->clock) + MOMENT_MS;
	zbz_status status = ZBZ_OK;
	if (!r->listing && stale(r)) begin(r);
	while (status == ZBZ_OK && r->listing && zbz_mono(c->clock) < until) status = list_page(r, c);
	if (status < 0) forget(r);
	if (status == ZBZ_OK && r->listed) status = take_away_due(r, c, stays, until);
	return status;
}

void zbz_retain_after(zbz_retain *r, zbz_call *c, const zbz_sink_mark *mark, zbz_status status) {
	zbz_call own = { .clock = c->clock, .now = c->now, .deadline = c->deadline };
	zbz_status mine = ZBZ_OK;
	if (r->keep == 0 && r->keep_for == 0) return;
	if (status == ZBZ_OK && r->doubt) forget(r);
	r->doubt = status != ZBZ_OK; /* whether it is there is not known */
	if (status == ZBZ_OK) mine = count(r, &own, mark);
	if (mine < 0) forget(r);
	if (mine == ZBZ_OK && r->wait > 0) {
		r->wait--;
		return;
	}
	if (mine == ZBZ_OK) mine = work(r, &own, mark);
	r->failures = mine < 0 ? r->failures + 1 : 0;
	if (mine >= 0) return;
	r->wait = r->failures < 7 ? (uint64_t)1 << (r->failures - 1) : WAIT_MOST;
	if (status == ZBZ_OK) c->err = own.err;
}
