/* Writing, under the lock of the shard. A new value is written where nobody looks, then its slot is turned to it;
 * only a small one of the old size is written over. */
#include "shared_store.h"

enum { IN_PLACE_UNITS = 128, REAPED_PER_PUT = 2, SMALL_SHARE = 4 };

typedef struct put {
	const zbz_shared_target *t;
	zbz_bytes value;
	int64_t expire_at;
	uint32_t units, version;
	zbz_shared_entry entry; /* without its check */
} put;

bool zbz_shared_live(zbz_shared *sh, const zbz_shared_target *t, zbz_shared_slot *slot, zbz_shared_entry *entry) {
	*slot = zbz_shared_find(sh, t);
	if (slot->bucket == NULL) return false;
	*entry = zbz_shared_entry_at(t->s, zbz_slot_place(slot->word));
	if (!zbz_entry_dead(*entry, t->now)) return true;
	zbz_wadd(&t->s->expired, 1);
	zbz_shared_drop(sh, t->s, slot);
	slot->bucket = NULL;
	return false;
}

static zbz_shared_entry make_entry(const put *p) {
	uint64_t at = (uint64_t)p->expire_at;
	zbz_shared_entry e = { p->value.n | (uint64_t)p->t->key.n << 25 | (at & 0x7FFFFF) << 41,
		                   at >> 23 | (uint64_t)p->version << 20 };
	return e;
}

static void write_entry(const zbz_shared *sh, const put *p, uint32_t place) {
	zbz_word *at = zbz_shared_at(p->t->s, place);
	uint64_t sum;
	zbz_wstore(at, p->entry.w0);
	ZBZ_SHARED_POINT();
	zbz_shared_copy_in(at, p->t->key, p->value);
	ZBZ_SHARED_POINT();
	sum = zbz_shared_copy_out(sh->secret, p->t->hash, at, p->t->key.n, NULL, p->value.n, false);
	zbz_wstore(at + 1, p->entry.w1 | (uint64_t)zbz_shared_check(sh->secret, sum, p->entry) << 48);
}

static uint32_t used_again(uint64_t slot) { return zbz_slot_freq(slot) < 3 ? zbz_slot_freq(slot) + 1 : 3; }

static void overwrite(zbz_shared *sh, const put *p, const zbz_shared_slot *slot) {
	uint32_t place = zbz_slot_place(slot->word);
	zbz_half *gate = zbz_shared_enter(sh, p->t->s, slot->bucket);
	write_entry(sh, p, place);
	zbz_wstore(&slot->bucket->slot[slot->nth], zbz_slot_make(p->t->hash, place, zbz_slot_ring(slot->word),
	                                                         used_again(slot->word), p->expire_at, p->t->now));
	zbz_shared_leave(slot->bucket, gate);
}

static void turn(zbz_shared *sh, const put *p, const zbz_shared_slot *slot, uint32_t place, int which) {
	zbz_shared_shard *s = p->t->s;
	uint32_t old = zbz_slot_place(slot->word), units = zbz_entry_units(zbz_shared_entry_at(s, old));
	zbz_half *gate = zbz_shared_enter(sh, s, slot->bucket);
	zbz_wstore(&slot->bucket->slot[slot->nth],
	           zbz_slot_make(p->t->hash, place, which, used_again(slot->word), p->expire_at, p->t->now));
	zbz_wstore(zbz_shared_at(s, old), units); /* a gap now */
	zbz_shared_leave(slot->bucket, gate);
	zbz_hless(&s->ring[zbz_slot_ring(slot->word)].live, units);
	zbz_hmore(&s->ring[which].live, p->units);
}

static void add(zbz_shared *sh, const put *p, uint32_t place, int which) {
	zbz_shared_shard *s = p->t->s;
	zbz_shared_slot slot = zbz_shared_vacancy(sh, s, p->t->hash, p->t->now);
	uint32_t home = zbz_shared_home(sh, p->t->hash);
	zbz_half *gate;
	if (slot.bucket_i != home) zbz_hmore(&zbz_shared_bucket_at(sh, s, home)->away, 1);
	gate = zbz_shared_enter(sh, s, slot.bucket);
	zbz_wstore(&slot.bucket->slot[slot.nth], zbz_slot_make(p->t->hash, place, which, 0, p->expire_at, p->t->now));
	zbz_shared_leave(slot.bucket, gate);
	zbz_hmore(&s->items, 1);
	zbz_hmore(&s->ring[which].live, p->units);
}

/* false: the shard turned out damaged and is empty now. */
static bool put_once(zbz_shared *sh, const put *p) {
	zbz_shared_shard *s = p->t->s;
	zbz_shared_slot slot = zbz_shared_find(sh, p->t);
	bool large = p->units > sh->g.ring_units[0] / SMALL_SHARE;
	int which;
	uint32_t place;
	if (slot.bucket != NULL && p->units <= IN_PLACE_UNITS &&
	    zbz_entry_units(zbz_shared_entry_at(s, zbz_slot_place(slot.word))) == p->units) {
		overwrite(sh, p, &slot);
		return true;
	}
	if (slot.bucket != NULL)
		which = large || zbz_slot_ring(slot.word) != 0;
	else
		which = zbz_shared_ghost_take(sh, s, p->t->hash) || large;
	place = zbz_shared_room(sh, s, which, p->units, p->t->now);
	if (place == 0) return false;
	write_entry(sh, p, place);
	slot = zbz_shared_find(sh, p->t); /* it may have been moved for the room, or evicted */
	if (slot.bucket != NULL)
		turn(sh, p, &slot, place, which);
	else
		add(sh, p, place, which);
	return true;
}

zbz_status zbz_shared_put(zbz_shared *sh, const zbz_shared_target *t, zbz_bytes value, int64_t expire_at,
                          uint32_t *version, zbz_err *err) {
	put p = { .t = t, .value = value, .expire_at = expire_at > ZBZ_EXPIRE_MAX ? 0 : expire_at };
	if (value.n <= ZBZ_SHARED_VALUE_MAX) p.units = zbz_shared_units(t->key.n, value.n);
	if (p.units == 0 || p.units > sh->g.most_units)
		return zbz_fail(err, ZBZ_E_TOO_LARGE, "an entry of %zu bytes: the parts of this segment take %zu at most",
		                t->key.n + value.n, (size_t)sh->g.most_units * 8 - 16);
	zbz_shared_reap(sh, t->s, t->now, REAPED_PER_PUT);
	p.version = (zbz_hload(&t->s->version) + 1) & 0xFFFFFFF;
	zbz_hstore(&t->s->version, p.version);
	p.entry = make_entry(&p);
	if (!put_once(sh, &p) && !put_once(sh, &p))
		return zbz_fail(err, ZBZ_E_CORRUPT, "part %u of the segment is damaged", (unsigned)t->shard);
	if (version != NULL) *version = p.version;
	zbz_shared_count(sh, ZBZ_SHARED_SETS);
	return ZBZ_OK;
}

bool zbz_shared_expire_at(zbz_shared *sh, const zbz_shared_target *t, int64_t expire_at) {
	zbz_shared_slot slot;
	zbz_shared_entry e, n;
	zbz_word *at;
	zbz_half *gate;
	uint64_t when = expire_at > ZBZ_EXPIRE_MAX ? 0 : (uint64_t)expire_at;
	uint32_t sum;
	if (!zbz_shared_live(sh, t, &slot, &e)) return false;
	sum = zbz_entry_check(e) ^ zbz_shared_frame(sh->secret, e);
	n.w0 = (e.w0 & (((uint64_t)1 << 41) - 1)) | (when & 0x7FFFFF) << 41;
	n.w1 = (e.w1 & 0xFFFFFFF00000u) | when >> 23;
	n.w1 |= (uint64_t)(sum ^ zbz_shared_frame(sh->secret, n)) << 48;
	at = zbz_shared_at(t->s, zbz_slot_place(slot.word));
	gate = zbz_shared_enter(sh, t->s, slot.bucket);
	zbz_wstore(at, n.w0);
	ZBZ_SHARED_POINT();
	zbz_wstore(at + 1, n.w1);
	zbz_wstore(&slot.bucket->slot[slot.nth], zbz_slot_make(t->hash, zbz_slot_place(slot.word), zbz_slot_ring(slot.word),
	                                                       zbz_slot_freq(slot.word), (int64_t)when, t->now));
	zbz_shared_leave(slot.bucket, gate);
	return true;
}
