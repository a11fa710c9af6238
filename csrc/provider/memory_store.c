#include "memory_store.h"

#include "base/hash.h"
#include "base/page.h"
#include "memory_policy.h"
#include "zbz/pack.h"

/* ---- open and close ---- */

static void before_fork(atfork_node *node) { pthread_mutex_lock(&((zbz_mem_store *)(void *)node)->lock); }
static void after_fork(atfork_node *node) { pthread_mutex_unlock(&((zbz_mem_store *)(void *)node)->lock); }

zbz_status zbz_mem_store_open(void **self, const zbz_mem_config *config, const zbz_clock *clock, zbz_err *err) {
	zbz_mem_store *s = zbz_calloc(1, sizeof *s);
	zbz_status status;
	if (s == NULL) return zbz_fail_nomem(err);
	status = zbz_mem_init(&s->mem, config, zbz_wall(clock), err);
	if (status != ZBZ_OK) {
		zbz_mem_clear(&s->mem);
		zbz_free(s);
		return status;
	}
	/* a version seen in one store must not pass for one of another */
	s->mem.version = (uint32_t)zbz_hash(zbz_b(&s->mem.epoch, sizeof s->mem.epoch)) ^ (uint32_t)((uintptr_t)s >> 4);
	pthread_mutex_init(&s->lock, NULL);
	s->fork = (atfork_node){ NULL, NULL, before_fork, after_fork, after_fork };
	zbz_atfork_watch(&s->fork);
	*self = s;
	return ZBZ_OK;
}

void zbz_mem_store_close(void *self) {
	zbz_mem_store *s = self;
	zbz_atfork_forget(&s->fork);
	pthread_mutex_destroy(&s->lock);
	zbz_mem_clear(&s->mem);
	zbz_free(s);
}

/* ---- listings ---- */

enum { SLICE = 2048 };

struct zbz_cursor {
	zbz_index_at at;
	uint32_t nth;
	zbz_key_filter filter;
};

zbz_status zbz_mem_scan_open(void *self, zbz_call *c, zbz_bytes prefix, zbz_bytes pattern, zbz_cursor **cursor) {
	zbz_cursor *k = zbz_calloc(1, sizeof *k + prefix.n + pattern.n);
	(void)self;
	if (k == NULL) return zbz_fail_nomem(&c->err);
	zbz_key_filter_init(&k->filter, (char *)(k + 1), prefix, pattern);
	*cursor = k;
	return ZBZ_OK;
}

/* Pages end between hashes, never among keys of the same one: what has been listed is told by the hash alone. */
static zbz_status scan_slice(zbz_mem *m, zbz_call *c, zbz_cursor *k, size_t limit, zbz_buf *out, size_t *n) {
	int seen;
	for (seen = 0;; seen++) {
		uint32_t id = zbz_index_next(&m->index, &k->at, &k->nth);
		const zbz_mem_entry *e;
		zbz_status status;
		if (id == 0) return ZBZ_END;
		if (k->nth == 1 && (*n >= limit || seen >= SLICE)) {
			k->nth = 0;
			return ZBZ_OK;
		}
		e = zbz_mem_at(m, id);
		if (zbz_mem_dead(e, c->now) || !zbz_key_filter_wants(&k->filter, zbz_mem_key_bytes(e))) continue;
		status = zbz_page_add(out, zbz_mem_key_bytes(e), &c->err);
		if (status != ZBZ_OK) return status;
		++*n;
	}
}

zbz_status zbz_mem_scan_next(void *self, zbz_call *c, zbz_cursor *k, size_t limit, zbz_buf *out, size_t *n) {
	zbz_mem_store *s = self;
	size_t before = *n, upto = before + (limit == 0 ? 1 : limit);
	zbz_status status;
	do {
		zbz_cursor place = *k;
		pthread_mutex_lock(&s->lock);
		zbz_mem_tick(&s->mem, c->now);
		status = scan_slice(&s->mem, c, k, upto, out, n);
		pthread_mutex_unlock(&s->lock);
		if (status < 0) *k = place;
	} while (status == ZBZ_OK && *n == before);
	return status;
}

void zbz_mem_scan_close(void *self, zbz_cursor *cursor) {
	(void)self;
	zbz_free(cursor);
}

/* ---- clear ---- */

static bool clear_slice(zbz_mem *m, int64_t now, zbz_bytes prefix, zbz_index_at *at, uint32_t *nth, uint64_t *removed) {
	int seen;
	for (seen = 0; seen < SLICE; seen++) {
		uint32_t id = zbz_index_next(&m->index, at, nth);
		zbz_bytes key;
		if (id == 0) return false;
		key = zbz_mem_key_bytes(zbz_mem_at(m, id));
		if (!zbz_bytes_has_prefix(key, prefix)) continue;
		*removed += !zbz_mem_dead(zbz_mem_at(m, id), now);
		zbz_mem_remove(m, id, zbz_hash_inline(key), false);
		--*nth;
	}
	if (*nth > 0) *nth = 0; /* keys of this hash are looked at once more: between slices others may come and go */
	return true;
}

zbz_status zbz_mem_clear_prefix(void *self, zbz_call *c, zbz_bytes prefix, uint64_t *removed) {
	zbz_mem_store *s = self;
	zbz_index_at at = { 0, 0 };
	uint32_t nth = 0;
	bool more = true;
	*removed = 0;
	while (more) {
		pthread_mutex_lock(&s->lock);
		if (prefix.n == 0) {
			zbz_mem_cleanup(&s->mem, c->now);
			*removed = s->mem.items;
			zbz_mem_remove_all(&s->mem);
			more = false;
		} else {
			more = clear_slice(&s->mem, c->now, prefix, &at, &nth, removed);
			if (!more) zbz_mem_cleanup(&s->mem, c->now);
		}
		pthread_mutex_unlock(&s->lock);
	}
	return ZBZ_OK;
}

/* ---- inspect ---- */

typedef struct detail {
	const char *name;
	int64_t value;
} detail;

/* hits counts to 255; hits_at_least says that it has. idle_ms has a resolution of 16 ms. */
zbz_status zbz_mem_inspect(void *self, zbz_call *c, zbz_bytes key, zbz_buf *out) {
	zbz_mem_store *s = self;
	zbz_mem *m = &s->mem;
	detail d[6];
	size_t n = 0, i;
	zbz_status status = ZBZ_MISS;
	uint32_t id;
	pthread_mutex_lock(&s->lock);
	zbz_mem_tick(m, c->now);
	id = zbz_mem_find_live(m, key, zbz_hash_inline(key), c->now);
	if (id != 0) {
		const zbz_mem_entry *e = zbz_mem_at(m, id);
		int64_t idle = c->now - m->epoch - ((int64_t)e->stamp << 4);
		d[n++] = (detail){ "size", (int64_t)zbz_mem_vlen(e) };
		d[n++] = (detail){ "memory", (int64_t)zbz_mem_weight(m, e) };
		d[n++] = (detail){ e->hits == UINT8_MAX ? "hits_at_least" : "hits", e->hits };
		d[n++] = (detail){ "idle_ms", idle < 0 ? 0 : idle };
		d[n++] = (detail){ "expire_at", zbz_mem_expire(e) };
		d[n++] = (detail){ "version", e->version };
		status = ZBZ_OK;
	}
	pthread_mutex_unlock(&s->lock);
	if (status != ZBZ_OK) return status;
	status = zbz_pack_map(out, n, &c->err);
	for (i = 0; i < n && status == ZBZ_OK; i++) status = zbz_pack_named_int(out, d[i].name, d[i].value, &c->err);
	return status;
}
