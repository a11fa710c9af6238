/* Reading without a lock: look at the sequence, look up, copy, look at the sequence again (the seqlock of Hemminger
 * and Lameter, in the form of Boehm, "Can seqlocks get along with programming language memory models?", 2012). */
#include "shared_store.h"

/* One path from the hash to the copied bytes: on it a call costs as much as its work. */
#define HOT  inline __attribute__((always_inline))
#define COLD __attribute__((noinline))

enum { TRIES = 32, ROUNDS = 4, SEEN_LARGE = 512 };

typedef enum outcome { ABSENT, FOUND, RACE, DAMAGED, FAILED } outcome;

static HOT bool moved(const zbz_shared_bucket *b, uint32_t seq) {
	zbz_shared_fence(memory_order_acquire);
	return zbz_hload(&b->seq) != seq;
}

/* Once a slot says three, its line is not written by readers any more. */
static HOT void note_use(zbz_word *slot, uint64_t word) {
	if ((word & ZBZ_SLOT_FREQ) != ZBZ_SLOT_FREQ)
		atomic_compare_exchange_strong_explicit(slot, &word, word + ZBZ_SLOT_ONE, memory_order_relaxed,
		                                        memory_order_relaxed);
}

/* Is there an entry of this key at that place? Its words may be of any age: no more is asked than that they are in
 * the shard. */
static HOT bool matches(const zbz_shared *sh, const zbz_shared_target *t, uint32_t place, zbz_shared_entry *e) {
	uint32_t from = sh->g.ring_at[0], units = sh->g.ring_units[0] + sh->g.ring_units[1];
	if (place - from >= units - 1) return false; /* also what is below, by wrapping round */
	*e = zbz_shared_entry_at(t->s, place);
	if (zbz_entry_klen(*e) != t->key.n) return false;
	if (zbz_shared_units(t->key.n, zbz_entry_vlen(*e)) > units - (place - from)) return false;
	return zbz_shared_key_is(zbz_shared_at(t->s, place), t->key);
}

static HOT void tell(zbz_shared_seen *seen, zbz_shared_entry e, const zbz_shared_bucket *b, uint32_t seq) {
	if (seen == NULL) return;
	seen->expire_at = zbz_entry_expire(e);
	seen->version = zbz_entry_version(e);
	seen->word = &b->seq;
	seen->seq = seq;
}

/* Before the bucket is looked at. An odd gate is noted as what it was before: it never is that again. */
static HOT void tell_gate(const zbz_shared *sh, const zbz_shared_target *t, uint32_t bucket, zbz_shared_seen *seen) {
	if (seen == NULL) return;
	seen->gate = zbz_shared_gate_at(sh, t->shard, bucket);
	seen->opening = atomic_load_explicit(seen->gate, memory_order_acquire) & ~1u;
}

/* Copies the value behind what is in `out`, whose length stays: only the caller knows whether the copy may be
 * trusted. */
static HOT outcome copy_value(const zbz_shared *sh, const zbz_shared_target *t, zbz_shared_bucket *b, uint32_t seq,
                              uint32_t place, zbz_shared_entry e, zbz_buf *out, uint64_t *sum, zbz_err *err) {
	size_t n = zbz_entry_vlen(e);
	if (n > SEEN_LARGE || out->cap - out->n < n) {
		if (moved(b, seq)) return RACE; /* or a length that never was asks for memory */
		if (zbz_buf_reserve(out, n, err) != ZBZ_OK) return FAILED;
	}
	*sum = zbz_shared_copy_out(sh->secret, t->hash, zbz_shared_at(t->s, place), t->key.n, out->p + out->n, n, true);
	return FOUND;
}

static HOT outcome take(const zbz_shared *sh, const zbz_shared_target *t, zbz_shared_bucket *b, uint32_t seq,
                        uint32_t i, uint64_t word, zbz_shared_entry e, zbz_buf *out, zbz_shared_seen *seen,
                        zbz_err *err) {
	outcome got = FOUND;
	uint64_t sum = 0;
	if (zbz_entry_dead(e, t->now)) return moved(b, seq) ? RACE : ABSENT;
	if (out != NULL) got = copy_value(sh, t, b, seq, zbz_slot_place(word), e, out, &sum, err);
	if (got != FOUND) return got;
	if (moved(b, seq)) return RACE;
	tell(seen, e, b, seq);
	if (out != NULL) {
		if (zbz_shared_check(sh->secret, sum, e) != zbz_entry_check(e)) return DAMAGED;
		out->n += zbz_entry_vlen(e);
		note_use(&b->slot[i], word);
	}
	return FOUND;
}

/* Which slots have the tag, one bit each; an empty slot may pass for tag 0. Without a branch per slot: where an entry
 * stands in its bucket cannot be foretold, and a wrong guess would hold up the next read until this bucket has come
 * from memory. */
static HOT uint32_t candidates(const zbz_shared_bucket *b, uint32_t tag, uint64_t word[ZBZ_SHARED_SLOTS]) {
	uint32_t found = 0;
#define LOOK(i)                       \
	word[i] = zbz_wload(&b->slot[i]); \
	found |= (uint32_t)(zbz_slot_tag(word[i]) == tag) << (i)
	LOOK(0);
	LOOK(1);
	LOOK(2);
	LOOK(3);
	LOOK(4);
	LOOK(5);
	LOOK(6);
#undef LOOK
	return found;
}

/* A bucket whose sequence stood at an even number. */
static HOT outcome probe(const zbz_shared *sh, const zbz_shared_target *t, zbz_shared_bucket *b, uint32_t seq,
                         zbz_buf *out, zbz_shared_seen *seen, zbz_err *err) {
	uint64_t word[ZBZ_SHARED_SLOTS];
	uint32_t found = candidates(b, zbz_shared_tag(t->hash), word);
	for (; found != 0; found &= found - 1) {
		uint32_t i = (uint32_t)__builtin_ctz(found);
		zbz_shared_entry e;
		if (matches(sh, t, zbz_slot_place(word[i]), &e)) return take(sh, t, b, seq, i, word[i], e, out, seen, err);
	}
	return moved(b, seq) ? RACE : ABSENT;
}

static HOT outcome probe_one(const zbz_shared *sh, const zbz_shared_target *t, uint32_t bucket, bool *away,
                             zbz_buf *out, zbz_shared_seen *seen, zbz_err *err) {
	zbz_shared_bucket *b = zbz_shared_bucket_at(sh, t->s, bucket);
	uint32_t seq;
	tell_gate(sh, t, bucket, seen);
	seq = atomic_load_explicit(&b->seq, memory_order_acquire);
	if ((seq & 1) != 0) return RACE;
	*away = zbz_hload(&b->away) != 0;
	return probe(sh, t, b, seq, out, seen, err);
}

static HOT outcome look(const zbz_shared *sh, const zbz_shared_target *t, zbz_buf *out, zbz_shared_seen *seen,
                        zbz_err *err) {
	bool away;
	outcome got = probe_one(sh, t, zbz_shared_home(sh, t->hash), &away, out, seen, err);
	if (got == ABSENT && away) got = probe_one(sh, t, zbz_shared_second(sh, t->hash), &away, out, seen, err);
	return got;
}

/* With the lock nobody writes: a sequence that is odd now was left so by damage. */
static COLD outcome look_locked(zbz_shared *sh, const zbz_shared_target *t, zbz_buf *out, zbz_shared_seen *seen,
                                zbz_err *err) {
	outcome got = look(sh, t, out, seen, err);
	if (got != RACE) return got;
	zbz_shared_wipe(sh, t->s);
	return ABSENT;
}

static COLD outcome look_hard(zbz_shared *sh, const zbz_shared_target *t, zbz_buf *out, zbz_shared_seen *seen,
                              zbz_err *err) {
	int round, i;
	for (round = 0; round < ROUNDS; round++) {
		for (i = 0; i < TRIES; i++) {
			outcome got;
			zbz_shared_pause();
			got = look(sh, t, out, seen, err);
			if (got != RACE) return got;
		}
		if (zbz_shared_trylock(sh, t->shard)) {
			outcome got = look_locked(sh, t, out, seen, err);
			zbz_shared_unlock(sh, t->shard);
			return got;
		}
	}
	return RACE;
}

/* What fails its check is of no use to anybody; if the lock is not to be had, the next reader sees to it. */
static COLD void drop_damaged(zbz_shared *sh, const zbz_shared_target *t, zbz_buf *out, zbz_err *err) {
	size_t mark = out->n;
	zbz_shared_slot slot;
	zbz_shared_count(sh, ZBZ_SHARED_DAMAGED);
	if (!zbz_shared_trylock(sh, t->shard)) return;
	if (look(sh, t, out, NULL, err) == DAMAGED) { /* still: nobody has written it anew meanwhile */
		slot = zbz_shared_find(sh, t);
		if (slot.bucket != NULL) zbz_shared_drop(sh, t->s, &slot);
	}
	out->n = mark;
	zbz_shared_unlock(sh, t->shard);
}

zbz_status zbz_shared_read(zbz_shared *sh, const zbz_shared_target *t, zbz_buf *out, zbz_shared_seen *seen,
                           zbz_err *err) {
	outcome got = look(sh, t, out, seen, err);
	if (__builtin_expect(got == RACE, 0)) got = look_hard(sh, t, out, seen, err);
	if (got == FAILED) return err->status;
	if (got == DAMAGED) drop_damaged(sh, t, out, err);
	if (got == RACE) zbz_shared_count(sh, ZBZ_SHARED_LOST);
	if (out != NULL) zbz_shared_count(sh, got == FOUND ? ZBZ_SHARED_HITS : ZBZ_SHARED_MISSES);
	return got == FOUND ? ZBZ_OK : ZBZ_MISS;
}
