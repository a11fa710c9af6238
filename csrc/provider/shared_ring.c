/* Where entries stand, and who makes room. Two logs in a circle per shard: new entries go to the head of the small
 * one, what was used there moves on to the main one, and what was used there goes round again; the rest ends at the
 * tail. That is S3-FIFO (Yang, Zhang, Qiu, Yue, Rashmi, 2023), promoting after one hit, over logs in the manner of
 * Rosenblum and Ousterhout (1991): gaps left by overwritten, deleted and expired entries are won back by moving the
 * living on before any of them has to go.
 *
 * Everything here runs under the shard's lock. Numbers that cannot be true mean damage: the shard is emptied. */
#include "shared_store.h"

enum {
	TO_SPARE = 3,        /* free slots of a bucket */
	STEPS = 512,         /* of one making of room; after that no second chances */
	GAPS_PART = 12,      /* more than a twelfth of the main ring in gaps: they go first */
	COARSE_SHIFT = 14,   /* coarse expiry: 16 s */
	COARSE_RANGE = 8190, /* 1 .. 8190, in a circle */
	COARSE_FAR = 8191    /* look at the entry itself */
};

/* ---- slots ---- */

static uint64_t coarse(int64_t at) { return 1 + (uint64_t)(at >> COARSE_SHIFT) % COARSE_RANGE; }

static uint64_t coarse_expiry(int64_t expire_at, int64_t now) {
	if (expire_at == 0) return 0;
	if (expire_at - now > (int64_t)(COARSE_RANGE / 2 - 2) << COARSE_SHIFT) return COARSE_FAR;
	return coarse(expire_at);
}

/* Perhaps: the entry knows. */
static bool may_be_dead(uint64_t slot, int64_t now) {
	uint32_t code = zbz_slot_expiry(slot), present = (uint32_t)coarse(now);
	if (code == 0) return false;
	if (code == COARSE_FAR) return true;
	return (present + COARSE_RANGE - code) % COARSE_RANGE < COARSE_RANGE / 2;
}

uint64_t zbz_slot_make(uint64_t hash, uint32_t place, int ring, uint32_t freq, int64_t expire_at, int64_t now) {
	return (uint64_t)zbz_shared_tag(hash) << 48 | (uint64_t)freq << 46 | (ring != 0 ? ZBZ_SLOT_MAIN : 0) |
	       coarse_expiry(expire_at, now) << 32 | place;
}

static bool entry_ok(const zbz_shared *sh, const zbz_shared_shard *s, uint32_t place, zbz_shared_entry *e) {
	if (!zbz_shared_place_ok(&sh->g, place, ZBZ_SHARED_ENTRY_UNITS)) return false;
	*e = zbz_shared_entry_at(s, place);
	return zbz_entry_klen(*e) != 0 && zbz_shared_place_ok(&sh->g, place, zbz_entry_units(*e));
}

static bool find_in(zbz_shared *sh, zbz_shared_shard *s, uint32_t bucket, uint64_t hash, const zbz_bytes *key,
                    uint32_t place, zbz_shared_slot *out) {
	zbz_shared_bucket *b = zbz_shared_bucket_at(sh, s, bucket);
	uint32_t tag = zbz_shared_tag(hash), i;
	for (i = 0; i < ZBZ_SHARED_SLOTS; i++) {
		uint64_t word = zbz_wload(&b->slot[i]);
		zbz_shared_entry e;
		if (word == 0 || zbz_slot_tag(word) != tag) continue;
		if (key == NULL) {
			if (zbz_slot_place(word) != place) continue;
		} else if (!entry_ok(sh, s, zbz_slot_place(word), &e) || zbz_entry_klen(e) != key->n ||
		           !zbz_shared_key_is(zbz_shared_at(s, zbz_slot_place(word)), *key)) {
			continue;
		}
		*out = (zbz_shared_slot){ b, i, bucket, word };
		return true;
	}
	return false;
}

static zbz_shared_slot find(zbz_shared *sh, zbz_shared_shard *s, uint64_t hash, const zbz_bytes *key, uint32_t place) {
	zbz_shared_slot slot = { 0 };
	if (!find_in(sh, s, zbz_shared_home(sh, hash), hash, key, place, &slot))
		find_in(sh, s, zbz_shared_second(sh, hash), hash, key, place, &slot);
	return slot;
}

zbz_shared_slot zbz_shared_find(zbz_shared *sh, const zbz_shared_target *t) {
	return find(sh, t->s, t->hash, &t->key, 0);
}

zbz_shared_slot zbz_shared_find_place(zbz_shared *sh, zbz_shared_shard *s, uint64_t hash, uint32_t place) {
	return find(sh, s, hash, NULL, place);
}

/* ---- dropping ---- */

static uint64_t hash_at(const zbz_shared *sh, const zbz_shared_shard *s, uint32_t place, zbz_shared_entry e) {
	return zbz_hash_keyed(sh->secret, zbz_b((const char *)(uintptr_t)zbz_shared_at(s, place + ZBZ_SHARED_ENTRY_UNITS),
	                                        zbz_entry_klen(e)));
}

static void fill(zbz_shared_shard *s, uint32_t place, uint32_t units) { zbz_wstore(zbz_shared_at(s, place), units); }

void zbz_shared_drop(zbz_shared *sh, zbz_shared_shard *s, const zbz_shared_slot *slot) {
	uint32_t place = zbz_slot_place(slot->word);
	zbz_shared_entry e;
	bool ok = entry_ok(sh, s, place, &e);
	uint64_t hash = ok ? hash_at(sh, s, place, e) : 0;
	zbz_half *gate = zbz_shared_enter(sh, s, slot->bucket);
	zbz_wstore(&slot->bucket->slot[slot->nth], 0);
	if (ok) fill(s, place, zbz_entry_units(e));
	zbz_shared_leave(slot->bucket, gate);
	zbz_hless(&s->items, 1);
	if (!ok) return;
	zbz_hless(&s->ring[place >= sh->g.ring_at[1]].live, zbz_entry_units(e));
	if (zbz_shared_home(sh, hash) != slot->bucket_i)
		zbz_hless(&zbz_shared_bucket_at(sh, s, zbz_shared_home(sh, hash))->away, 1);
}

static bool reap_slot(zbz_shared *sh, zbz_shared_shard *s, uint32_t bucket, uint32_t i, int64_t now) {
	zbz_shared_bucket *b = zbz_shared_bucket_at(sh, s, bucket);
	zbz_shared_slot slot = { b, i, bucket, zbz_wload(&b->slot[i]) };
	zbz_shared_entry e;
	if (slot.word == 0 || !may_be_dead(slot.word, now)) return false;
	if (entry_ok(sh, s, zbz_slot_place(slot.word), &e)) {
		if (!zbz_entry_dead(e, now)) return false;
		zbz_wadd(&s->expired, 1);
	}
	zbz_shared_drop(sh, s, &slot);
	return true;
}

void zbz_shared_reap(zbz_shared *sh, zbz_shared_shard *s, int64_t now, uint32_t buckets) {
	uint32_t at = zbz_hload(&s->reap), i;
	for (; buckets > 0; buckets--) {
		if (at >= sh->g.buckets) at = 0;
		for (i = 0; i < ZBZ_SHARED_SLOTS; i++) reap_slot(sh, s, at, i, now);
		at++;
	}
	zbz_hstore(&s->reap, at);
}

/* The number of free slots; *out is one of them, if there is any. */
static uint32_t vacant_in(zbz_shared *sh, zbz_shared_shard *s, uint32_t bucket, zbz_shared_slot *out) {
	zbz_shared_bucket *b = zbz_shared_bucket_at(sh, s, bucket);
	uint32_t i, n = 0;
	for (i = 0; i < ZBZ_SHARED_SLOTS; i++) {
		if (zbz_wload(&b->slot[i]) != 0) continue;
		*out = (zbz_shared_slot){ b, i, bucket, 0 };
		n++;
	}
	return n;
}

/* The first bucket while it has slots to spare, then the emptier one: reads end early, and both are rarely full. */
static bool vacant(zbz_shared *sh, zbz_shared_shard *s, const uint32_t bucket[2], zbz_shared_slot *out) {
	zbz_shared_slot second;
	uint32_t n = vacant_in(sh, s, bucket[0], out), m;
	if (n >= TO_SPARE) return true;
	m = vacant_in(sh, s, bucket[1], &second);
	if (m > n) *out = second;
	return n + m > 0;
}

/* Unused before used; of the unused those that have the shortest way to the tail, where the gap is soon gone. */
static uint32_t cheapness(uint64_t slot) { return zbz_slot_freq(slot) * 2 + (uint32_t)zbz_slot_ring(slot); }

static void least_used(zbz_shared *sh, zbz_shared_shard *s, uint32_t bucket, zbz_shared_slot *least) {
	zbz_shared_bucket *b = zbz_shared_bucket_at(sh, s, bucket);
	uint32_t i;
	for (i = 0; i < ZBZ_SHARED_SLOTS; i++) {
		uint64_t word = zbz_wload(&b->slot[i]);
		if (least->bucket == NULL || cheapness(word) < cheapness(least->word))
			*least = (zbz_shared_slot){ b, i, bucket, word };
	}
}

zbz_shared_slot zbz_shared_vacancy(zbz_shared *sh, zbz_shared_shard *s, uint64_t hash, int64_t now) {
	const uint32_t bucket[2] = { zbz_shared_home(sh, hash), zbz_shared_second(sh, hash) };
	zbz_shared_slot slot = { 0 };
	uint32_t k, i;
	if (vacant(sh, s, bucket, &slot)) return slot;
	for (k = 0; k < 2; k++)
		for (i = 0; i < ZBZ_SHARED_SLOTS; i++) reap_slot(sh, s, bucket[k], i, now);
	if (vacant(sh, s, bucket, &slot)) return slot;
	for (k = 0; k < 2; k++) least_used(sh, s, bucket[k], &slot);
	zbz_shared_drop(sh, s, &slot);
	zbz_wadd(&s->evictions, 1);
	slot.word = 0;
	return slot;
}

/* ---- the ghost: tags of what left the small ring unused ---- */

static uint16_t *ghost_set(const zbz_shared *sh, zbz_shared_shard *s, uint64_t hash) {
	uint16_t *all = (uint16_t *)(void *)zbz_shared_at(s, sh->g.ghosts_at);
	return all + (size_t)zbz_shared_range((uint32_t)(hash >> 12), sh->g.ghosts) * ZBZ_SHARED_GHOSTS;
}

static uint16_t ghost_mark(uint64_t hash) { return (uint16_t)(zbz_shared_tag(hash) | 1); }

static void ghost_add(const zbz_shared *sh, zbz_shared_shard *s, uint64_t hash) {
	uint16_t *set = ghost_set(sh, s, hash);
	memmove(set + 1, set, (ZBZ_SHARED_GHOSTS - 1) * sizeof *set);
	set[0] = ghost_mark(hash);
}

bool zbz_shared_ghost_take(zbz_shared *sh, zbz_shared_shard *s, uint64_t hash) {
	uint16_t *set = ghost_set(sh, s, hash), mark = ghost_mark(hash);
	uint32_t i;
	for (i = 0; i < ZBZ_SHARED_GHOSTS; i++) {
		if (set[i] != mark) continue;
		memmove(set + i, set + i + 1, (ZBZ_SHARED_GHOSTS - 1 - i) * sizeof *set);
		set[ZBZ_SHARED_GHOSTS - 1] = 0;
		return true;
	}
	return false;
}

/* ---- the rings ---- */

/* A ring's numbers, read once and believed only if they can be. */
typedef struct ring {
	zbz_shared_ring *shared;
	uint32_t at, units, head, tail, used;
} ring;

static bool ring_read(const zbz_shared *sh, zbz_shared_shard *s, int which, ring *r) {
	r->shared = &s->ring[which];
	r->at = sh->g.ring_at[which];
	r->units = sh->g.ring_units[which];
	r->head = zbz_hload(&r->shared->head);
	r->tail = zbz_hload(&r->shared->tail);
	r->used = zbz_hload(&r->shared->used);
	if (r->used == 0) r->head = r->tail = 0;
	return r->head < r->units && r->tail < r->units && r->used <= r->units && (r->tail + r->used) % r->units == r->head;
}

static void ring_write(const ring *r) {
	zbz_hstore(&r->shared->head, r->head);
	zbz_hstore(&r->shared->tail, r->tail);
	zbz_hstore(&r->shared->used, r->used);
}

static bool wrapped(const ring *r) { return r->used > 0 && r->head <= r->tail; }

/* A place at the head, if it is free already; the head moves. */
static uint32_t ring_take(zbz_shared_shard *s, ring *r, uint32_t units) {
	uint32_t place;
	if (!wrapped(r) && units > r->units - r->head) {
		if (units > r->tail) return 0;
		fill(s, r->at + r->head, r->units - r->head);
		r->used += r->units - r->head;
		r->head = 0;
	}
	if (wrapped(r) && units > r->tail - r->head) return 0;
	place = r->at + r->head;
	r->head = r->head + units == r->units ? 0 : r->head + units;
	r->used += units;
	return place;
}

static void ring_give(ring *r, uint32_t units) {
	r->tail = r->tail + units == r->units ? 0 : r->tail + units;
	r->used -= units;
	if (r->used == 0) r->head = r->tail = 0;
}

/* What stands at the tail. */
typedef struct oldest {
	uint32_t place, units;
	uint64_t hash;
	zbz_shared_entry entry;
	zbz_shared_slot slot; /* bucket NULL: a gap */
} oldest;

static bool ring_oldest(zbz_shared *sh, zbz_shared_shard *s, const ring *r, oldest *o) {
	uint64_t first = zbz_wload(zbz_shared_at(s, r->at + r->tail));
	o->place = r->at + r->tail;
	o->slot.bucket = NULL;
	o->entry = (zbz_shared_entry){ first, 0 };
	o->units = zbz_entry_units(o->entry);
	if (o->units == 0 || o->units > r->units - r->tail || o->units > r->used) return false;
	if (zbz_entry_klen(o->entry) == 0) return true;
	o->entry = zbz_shared_entry_at(s, o->place);
	o->hash = hash_at(sh, s, o->place, o->entry);
	o->slot = zbz_shared_find_place(sh, s, o->hash, o->place);
	return true;
}

/* Moves an entry to `to`, which may overlap it from below, or be where it is: its uses are counted anew, and a copy must be read again to
 * count. */
static void move(zbz_shared *sh, zbz_shared_shard *s, const oldest *o, uint32_t to, int from_ring, uint32_t freq) {
	uint64_t keep = o->slot.word & ~(ZBZ_SLOT_FREQ | ZBZ_SLOT_MAIN | 0xFFFFFFFFu);
	zbz_half *gate = zbz_shared_enter(sh, s, o->slot.bucket);
	zbz_shared_copy_down(zbz_shared_at(s, to), zbz_shared_at(s, o->place), o->units);
	ZBZ_SHARED_POINT();
	zbz_wstore(&o->slot.bucket->slot[o->slot.nth], keep | (uint64_t)freq << 46 | ZBZ_SLOT_MAIN | to);
	zbz_shared_leave(o->slot.bucket, gate);
	zbz_hless(&s->ring[from_ring].live, o->units);
	zbz_hmore(&s->ring[1].live, o->units);
}

static void evict(zbz_shared *sh, zbz_shared_shard *s, const oldest *o) {
	zbz_shared_drop(sh, s, &o->slot);
	zbz_wadd(&s->evictions, 1);
}

/* Gaps in the main ring, in units. */
static bool many_gaps(const zbz_shared_shard *s, const ring *r) {
	uint32_t live = zbz_hload(&s->ring[1].live);
	return r->used > live && r->used - live > r->units / GAPS_PART;
}

/* Takes the oldest of the main ring out, or sends it round again. */
static bool pop_main(zbz_shared *sh, zbz_shared_shard *s, ring *r, int64_t now, bool firm) {
	oldest o;
	uint32_t freq, to;
	if (!ring_oldest(sh, s, r, &o)) return false;
	freq = o.slot.bucket != NULL ? zbz_slot_freq(o.slot.word) : 0;
	if (o.slot.bucket != NULL && zbz_entry_dead(o.entry, now)) {
		zbz_wadd(&s->expired, 1);
		zbz_shared_drop(sh, s, &o.slot);
	} else if (o.slot.bucket != NULL && (firm || (freq == 0 && !many_gaps(s, r)))) {
		evict(sh, s, &o);
	} else if (o.slot.bucket != NULL) {
		ring_give(r, o.units);
		to = ring_take(s, r, o.units);
		if (to == 0) return false;
		move(sh, s, &o, to, 1, freq > 0 ? freq - 1 : 0);
		return true;
	}
	ring_give(r, o.units);
	return true;
}

static uint32_t room_in_main(zbz_shared *sh, zbz_shared_shard *s, uint32_t units, int64_t now) {
	ring r;
	uint32_t place = 0;
	int step;
	bool ok = ring_read(sh, s, 1, &r);
	for (step = 0; ok && (place = ring_take(s, &r, units)) == 0; step++) {
		if (step % 8 == 0) zbz_shared_reap(sh, s, now, 1);
		ok = pop_main(sh, s, &r, now, step > STEPS);
	}
	if (ok) {
		ring_write(&r);
		return place;
	}
	zbz_shared_wipe(sh, s);
	return 0;
}

/* Is it worth a place in the main ring? Whatever there is still room for, and otherwise what was used. */
static bool promotes(zbz_shared *sh, zbz_shared_shard *s, const oldest *o) {
	ring r;
	if (zbz_slot_freq(o->slot.word) > 0) return true;
	if (!ring_read(sh, s, 1, &r)) return true;                  /* and will be found out */
	return many_gaps(s, &r) || ring_take(s, &r, o->units) != 0; /* tried on a copy of its numbers */
}

/* false: the shard was wiped, or is to be. */
static bool pop_small(zbz_shared *sh, zbz_shared_shard *s, ring *r, int64_t now) {
	oldest o;
	uint32_t to;
	if (!ring_oldest(sh, s, r, &o)) return false;
	if (o.slot.bucket != NULL && zbz_entry_dead(o.entry, now)) {
		zbz_wadd(&s->expired, 1);
		zbz_shared_drop(sh, s, &o.slot);
	} else if (o.slot.bucket != NULL && promotes(sh, s, &o)) {
		to = room_in_main(sh, s, o.units, now);
		if (to == 0) return false;
		o.slot = zbz_shared_find_place(sh, s, o.hash, o.place); /* it may have been reaped meanwhile */
		if (o.slot.bucket != NULL)
			move(sh, s, &o, to, 0, 0);
		else
			fill(s, to, o.units);
	} else if (o.slot.bucket != NULL) {
		evict(sh, s, &o);
		ghost_add(sh, s, o.hash);
	}
	ring_give(r, o.units);
	return true;
}

static uint32_t room_in_small(zbz_shared *sh, zbz_shared_shard *s, uint32_t units, int64_t now) {
	ring r;
	uint32_t place = 0;
	bool ok = ring_read(sh, s, 0, &r);
	while (ok && (place = ring_take(s, &r, units)) == 0) ok = pop_small(sh, s, &r, now);
	if (ok) {
		ring_write(&r);
		return place;
	}
	zbz_shared_wipe(sh, s);
	return 0;
}

uint32_t zbz_shared_room(zbz_shared *sh, zbz_shared_shard *s, int ring_i, uint32_t units, int64_t now) {
	if (units > sh->g.most_units) return 0;
	return ring_i == 0 ? room_in_small(sh, s, units, now) : room_in_main(sh, s, units, now);
}
