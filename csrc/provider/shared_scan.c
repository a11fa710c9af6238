/* Listings and clear, in slices of buckets: between two slices the lock is given up. An entry never changes its
 * bucket, so one that is there all the time is met once. */
#include "base/page.h"
#include "shared_store.h"

enum { SLICE = 32 };

struct zbz_cursor {
	uint32_t shard, bucket;
	zbz_key_filter filter;
};

zbz_status zbz_shared_scan_open(void *self, zbz_call *c, zbz_bytes prefix, zbz_bytes pattern, zbz_cursor **cursor) {
	zbz_cursor *k = zbz_calloc(1, sizeof *k + prefix.n + pattern.n);
	(void)self;
	if (k == NULL) return zbz_fail_nomem(&c->err);
	zbz_key_filter_init(&k->filter, (char *)(k + 1), prefix, pattern);
	*cursor = k;
	return ZBZ_OK;
}

/* The key of a slot, inside the segment: valid under the lock. false: empty, or it leads nowhere. */
static bool slot_key(const zbz_shared *sh, const zbz_shared_shard *s, uint64_t word, zbz_bytes *key,
                     zbz_shared_entry *e) {
	uint32_t place = zbz_slot_place(word);
	if (word == 0 || !zbz_shared_place_ok(&sh->g, place, ZBZ_SHARED_ENTRY_UNITS)) return false;
	*e = zbz_shared_entry_at(s, place);
	if (zbz_entry_klen(*e) == 0 || !zbz_shared_place_ok(&sh->g, place, zbz_entry_units(*e))) return false;
	*key = zbz_b((const char *)(uintptr_t)zbz_shared_at(s, place + ZBZ_SHARED_ENTRY_UNITS), zbz_entry_klen(*e));
	return true;
}

static zbz_status scan_bucket(const zbz_shared *sh, const zbz_shared_shard *s, zbz_call *c, const zbz_cursor *k,
                              zbz_buf *out, size_t *n) {
	zbz_shared_bucket *b = zbz_shared_bucket_at(sh, s, k->bucket);
	uint32_t i;
	for (i = 0; i < ZBZ_SHARED_SLOTS; i++) {
		zbz_bytes key;
		zbz_shared_entry e;
		zbz_status status;
		if (!slot_key(sh, s, zbz_wload(&b->slot[i]), &key, &e) || zbz_entry_dead(e, c->now) ||
		    !zbz_key_filter_wants(&k->filter, key))
			continue;
		status = zbz_page_add(out, key, &c->err);
		if (status != ZBZ_OK) return status;
		++*n;
	}
	return ZBZ_OK;
}

/* Whole buckets, so that a page never ends among the keys of one. */
static zbz_status scan_slice(zbz_shared *sh, zbz_call *c, zbz_cursor *k, size_t upto, zbz_buf *out, size_t *n) {
	zbz_shared_shard *s = zbz_shared_shard_at(sh, k->shard);
	zbz_status status = zbz_shared_lock(sh, k->shard, c);
	int seen;
	if (status != ZBZ_OK) return status;
	for (seen = 0; status == ZBZ_OK && seen < SLICE && k->bucket < sh->g.buckets && *n < upto; seen++) {
		status = scan_bucket(sh, s, c, k, out, n);
		if (status == ZBZ_OK) k->bucket++;
	}
	zbz_shared_unlock(sh, k->shard);
	if (status == ZBZ_OK && k->bucket == sh->g.buckets) {
		k->shard++;
		k->bucket = 0;
	}
	return status;
}

zbz_status zbz_shared_scan_next(void *self, zbz_call *c, zbz_cursor *k, size_t limit, zbz_buf *out, size_t *n) {
	zbz_shared *sh = self;
	uint32_t shard = k->shard, bucket = k->bucket;
	size_t upto = *n + (limit == 0 ? 1 : limit);
	zbz_status status = ZBZ_OK;
	while (status == ZBZ_OK && k->shard < sh->g.shards && *n < upto) status = scan_slice(sh, c, k, upto, out, n);
	if (status != ZBZ_OK) { /* the whole page once more */
		k->shard = shard;
		k->bucket = bucket;
		return status;
	}
	return k->shard < sh->g.shards ? ZBZ_OK : ZBZ_END;
}

void zbz_shared_scan_close(void *self, zbz_cursor *cursor) {
	(void)self;
	zbz_free(cursor);
}

/* ---- clear ---- */

static void clear_bucket(zbz_shared *sh, zbz_shared_shard *s, uint32_t bucket, int64_t now, zbz_bytes prefix,
                         uint64_t *removed) {
	zbz_shared_bucket *b = zbz_shared_bucket_at(sh, s, bucket);
	uint32_t i;
	for (i = 0; i < ZBZ_SHARED_SLOTS; i++) {
		zbz_shared_slot slot = { b, i, bucket, zbz_wload(&b->slot[i]) };
		zbz_bytes key;
		zbz_shared_entry e;
		if (!slot_key(sh, s, slot.word, &key, &e) || !zbz_bytes_has_prefix(key, prefix)) continue;
		*removed += !zbz_entry_dead(e, now);
		zbz_shared_drop(sh, s, &slot);
	}
}

static zbz_status clear_shard(zbz_shared *sh, zbz_call *c, uint32_t shard, zbz_bytes prefix, uint64_t *removed) {
	zbz_shared_shard *s = zbz_shared_shard_at(sh, shard);
	uint32_t at = 0, end;
	while (at < sh->g.buckets) {
		zbz_status status = zbz_shared_lock(sh, shard, c);
		if (status != ZBZ_OK) return status;
		for (end = sh->g.buckets - at > SLICE ? at + SLICE : sh->g.buckets; at < end; at++)
			clear_bucket(sh, s, at, c->now, prefix, removed);
		zbz_shared_unlock(sh, shard);
	}
	return ZBZ_OK;
}

zbz_status zbz_shared_clear(void *self, zbz_call *c, zbz_bytes prefix, uint64_t *removed) {
	zbz_shared *sh = self;
	zbz_status first = ZBZ_OK;
	uint32_t shard;
	*removed = 0;
	for (shard = 0; shard < sh->g.shards; shard++) { /* the others are cleared even if one is busy */
		zbz_status status = clear_shard(sh, c, shard, prefix, removed);
		if (status != ZBZ_OK) first = status;
	}
	return first;
}
