/* What stands between a copy of a value and the store it came from. Whoever has the copies, a Lua state, asks for every hit whether
 * the version word below is still what it was, so no writer anywhere has to know of the copy.
 *
 * Who makes room is found by CLOCK (Corbato, 1968): a hand that passes over the places and takes the first one not hit since. */
#include "front.h"

/* ---- reading ---- */

static uint32_t epoch_of(const zbz_table *t) { return atomic_load_explicit(&t->cache->epoch, memory_order_acquire); }

void zbz_kept_clear(zbz_kept *kept) {
	zbz_store *store = kept->store;
	kept->store = NULL;
	zbz_store_unref(store);
}

/* Where the store promises nothing (after a swap) it is an ordinary read. */
static zbz_status read_seen(table_op *op, bool want_meta, zbz_buf *out, zbz_seen *seen) {
	zbz_meta meta = { .expire_at = -1 };
	zbz_status s;
	if (zbz_store_promises(op->slot->store)) {
		s = zbz_store_get_seen(op->slot->store, op->c, op->key, out, seen);
		if (seen->word == NULL && seen->expire_at == ZBZ_NO_EXPIRY) seen->expire_at = -1; /* nothing was promised */
		if (s != ZBZ_E_UNSUPPORTED) return s;
	}
	memset(seen, 0, sizeof *seen);
	s = zbz_store_get(op->slot->store, op->c, op->key, out, want_meta ? &meta : NULL);
	seen->expire_at = meta.expire_at;
	return s;
}

static void note(const table_op *op, const zbz_entry *entry, zbz_kept *kept) {
	zbz_seen *seen = &kept->seen;
	kept->expire_at = entry->expire_at;
	kept->stored_at = entry->stored_at;
	if (seen->word == NULL || !entry_live(entry)) return;
	if (entry->sealed && entry->expire_at != ZBZ_NO_EXPIRY &&
	    (seen->expire_at == ZBZ_NO_EXPIRY || entry->expire_at < seen->expire_at))
		seen->expire_at = entry->expire_at;
	kept->store = zbz_store_ref(op->slot->store);
}

static zbz_status read_open(table_op *op, bool want_meta, zbz_buf *out, zbz_entry *entry, zbz_kept *kept) {
	size_t start = out->n;
	zbz_bytes value;
	zbz_status s = read_seen(op, want_meta, out, &kept->seen);
	if (s != ZBZ_OK) return s;
	s = zbz_envelope_open(zbz_b(out->p + start, out->n - start), op->c->now, &value, entry, &op->c->err);
	if (s != ZBZ_OK) return s;
	zbz_op_strip(out, start, value);
	if (entry->sealed)
		atomic_store_explicit(&op->t->sealed, true, memory_order_relaxed);
	else
		entry->expire_at = kept->seen.capped ? kept->seen.ends_at : kept->seen.expire_at;
	return ZBZ_OK;
}

zbz_status zbz_table_get_kept(zbz_table *t, zbz_call *c, zbz_bytes key, zbz_buf *out, zbz_entry *entry,
                              zbz_kept *kept) {
	table_op op;
	size_t start = out->n;
	zbz_entry own = { 0 };
	zbz_entry *e = entry != NULL ? entry : &own;
	zbz_status s, counted;
	kept->store = NULL;
	kept->epoch = epoch_of(t); /* before the store is looked up: of one that is replaced meanwhile nothing is kept */
	s = zbz_op_begin(&op, t, c, key);
	if (s != ZBZ_OK) return s;
	counted = s = read_open(&op, entry != NULL, out, e, kept);
	if (s == ZBZ_OK && entry == NULL && !entry_live(e)) counted = s = ZBZ_MISS;
	if (s == ZBZ_OK && entry != NULL) counted = s = zbz_op_ask_ttl(&op, e);
	if (s == ZBZ_OK && (e->stale || e->lease)) counted = ZBZ_MISS;
	if (s == ZBZ_OK)
		note(&op, e, kept);
	else
		out->n = start;
	zbz_op_count_read(&op, counted);
	zbz_op_end(&op);
	return s;
}

/* ---- places ---- */

/* What a hit looks at, two in a line of a processor's cache; and the rest. */
typedef struct place {
	const volatile uint32_t *word; /* NULL: empty */
	int64_t expire_at;             /* of the copy */
	uint32_t seq, stamp;           /* stamp: of the value in it */
	bool marked;                   /* a use is to be told below */
} place;

typedef struct behind {
	zbz_seen seen;
	int64_t expire_at, stored_at;
	uint32_t next; /* of an empty one: the next of them */
} behind;

struct zbz_l1 {
	zbz_l1_face face; /* used: since the hand was here; another epoch of the cache, and all places are worth nothing */
	zbz_table *t;
	zbz_store *store; /* that all places are from; NULL when all are empty */
	uint32_t most, n, room, hand, empty, stamps;
	place *places;
	behind *rest; /* of the same place */
	double noted; /* hits that last_access knows of */
	int64_t last_access;
};
_Static_assert(sizeof(atomic_uint) == sizeof(uint32_t), "the epoch of a cache is read as it is");

zbz_status zbz_l1_new(zbz_table *t, uint32_t places, zbz_l1 **out, zbz_err *err) {
	zbz_store *store = zbz_cache_store(t->cache);
	zbz_status s = ZBZ_OK;
	zbz_l1 *l1;
	uint8_t *used;
	*out = NULL;
	if (store == NULL) return zbz_fail(err, ZBZ_E_CLOSED, "the cache is closed");
	if (!zbz_store_promises(store))
		s = zbz_fail(err, ZBZ_E_UNSUPPORTED,
		             "the %s provider cannot tell whether a kept value is still the present one",
		             zbz_store_ops(store)->name);
	zbz_store_unref(store);
	if (s != ZBZ_OK) return s;
	if (places == 0) places = 1;
	l1 = zbz_calloc(1, sizeof *l1);
	used =
	    zbz_calloc(places, 1); /* all of them, since the face's users keep its address; untouched ones cost nothing */
	if (l1 == NULL || used == NULL) {
		zbz_free(l1);
		zbz_free(used);
		return zbz_fail_nomem(err);
	}
	l1->t = zbz_table_ref(t);
	l1->face.cache_epoch = (const volatile uint32_t *)&t->cache->epoch;
	l1->face.used = used;
	l1->most = places;
	*out = l1;
	return ZBZ_OK;
}

void zbz_l1_clear(zbz_l1 *l1) {
	zbz_store *store = l1->store;
	l1->store = NULL;
	l1->face.generation++;
	l1->n = l1->hand = l1->empty = 0;
	zbz_store_unref(store);
}

void zbz_l1_free(zbz_l1 *l1) {
	if (l1 == NULL) return;
	zbz_l1_clear(l1);
	zbz_table_free(l1->t);
	zbz_free(l1->places);
	zbz_free(l1->rest);
	zbz_free(l1->face.used);
	zbz_free(l1);
}

static void vacate(zbz_l1 *l1, uint32_t i) {
	l1->places[i - 1].word = NULL;
	l1->rest[i - 1].next = l1->empty;
	l1->empty = i;
}

static bool expired(const place *p, int64_t now) { return p->expire_at != ZBZ_NO_EXPIRY && p->expire_at <= now; }

/* Its word has moved. */
static bool stands(zbz_l1 *l1, uint32_t i) {
	zbz_seen *seen = &l1->rest[i - 1].seen;
	bool yes = zbz_seen_stands(seen);
	l1->places[i - 1].seq = seen->seq;
	return yes;
}

bool zbz_l1_hit(zbz_l1 *l1, uint32_t i, uint32_t stamp) {
	place *p;
	int64_t now;
	if (i - 1 >= l1->n) return false; /* 0 too */
	if (epoch_of(l1->t) != l1->face.epoch) {
		zbz_l1_clear(l1);
		return false;
	}
	p = &l1->places[i - 1];
	if (p->stamp != stamp || p->word == NULL) return false;
	now = zbz_wall(l1->t->clock);
	if ((__atomic_load_n(p->word, __ATOMIC_ACQUIRE) != p->seq && !stands(l1, i)) || expired(p, now)) {
		vacate(l1, i);
		return false;
	}
	if (p->marked) zbz_seen_use(&l1->rest[i - 1].seen);
	l1->face.used[i - 1] = 1;
	l1->face.hits += 1;
	l1->noted = l1->face.hits;
	l1->last_access = now;
	return true;
}

static bool grow(zbz_l1 *l1) {
	uint32_t room = l1->room == 0 ? 16 : l1->room * 2;
	place *places;
	behind *rest;
	if (room > l1->most || room < l1->room) room = l1->most;
	places = zbz_realloc(l1->places, room * sizeof *places);
	if (places == NULL) return false;
	l1->places = places;
	rest = zbz_realloc(l1->rest, room * sizeof *rest);
	if (rest == NULL) return false;
	l1->rest = rest;
	l1->room = room;
	return true;
}

static uint32_t sweep(zbz_l1 *l1) {
	for (;;) {
		uint8_t *used;
		if (l1->hand >= l1->n) l1->hand = 0;
		used = &l1->face.used[l1->hand++];
		if (*used == 0) return l1->hand;
		*used = 0;
	}
}

static uint32_t place_for(zbz_l1 *l1) {
	uint32_t i = l1->empty;
	if (i != 0) {
		l1->empty = l1->rest[i - 1].next;
		return i;
	}
	if (l1->n < l1->room || (l1->n < l1->most && grow(l1))) return ++l1->n;
	return l1->n > 0 ? sweep(l1) : 0;
}

uint32_t zbz_l1_keep(zbz_l1 *l1, zbz_kept *kept, uint32_t *stamp) {
	uint32_t i = 0, now = epoch_of(l1->t);
	if (kept->store == NULL || kept->epoch != now || (now & 1) != 0) {
		zbz_kept_clear(kept);
		return 0;
	}
	if (l1->store != kept->store || l1->face.epoch != now) {
		zbz_l1_clear(l1);
		l1->store = kept->store;
		l1->face.epoch = now;
		kept->store = NULL;
	}
	zbz_kept_clear(kept);
	i = place_for(l1);
	if (i == 0) return 0;
	*stamp = ++l1->stamps;
	l1->places[i - 1] =
	    (place){ kept->seen.word, kept->seen.expire_at, kept->seen.seq, *stamp, kept->seen.mark != NULL };
	l1->rest[i - 1] = (behind){ kept->seen, kept->expire_at, kept->stored_at, 0 };
	l1->face.used[i - 1] = 0;
	return i;
}

const volatile uint32_t *zbz_l1_word(const zbz_l1 *l1, uint32_t i, uint32_t *seq, int64_t *expire_at) {
	const place *p;
	*expire_at = ZBZ_NO_EXPIRY;
	if (i - 1 >= l1->n) return NULL;
	p = &l1->places[i - 1];
	*seq = p->seq;
	*expire_at = p->expire_at;
	if (p->expire_at != ZBZ_NO_EXPIRY && l1->t->clock != zbz_clock_system()) return NULL;
	return p->marked ? NULL : p->word;
}

void zbz_l1_times(const zbz_l1 *l1, uint32_t i, int64_t *expire_at, int64_t *stored_at) {
	*expire_at = -1;
	*stored_at = 0;
	if (i - 1 >= l1->n) return;
	*expire_at = l1->rest[i - 1].expire_at;
	*stored_at = l1->rest[i - 1].stored_at;
}

void zbz_l1_stats(zbz_l1 *l1, uint64_t *hits, int64_t *last_access) {
	if (l1->noted < l1->face.hits) {
		l1->noted = l1->face.hits;
		l1->last_access = zbz_wall(l1->t->clock);
	}
	*hits = (uint64_t)l1->face.hits;
	*last_access = l1->last_access;
}
