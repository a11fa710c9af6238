/* Reading without a lock: look at the sequence, look up, copy, look at the sequence again (the seqlock of Hemminger and Lameter,
 * in the form of Boehm, "Can seqlocks get along with programming language memory models?", 2012). */
#include "shared_store.h"

enum { TRIES = 32, ROUNDS = 4, SEEN_LARGE = 512 };

typedef enum outcome { ABSENT, FOUND, RACE, DAMAGED, FAILED } outcome;

static inline void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

static inline bool moved(const zbz_shared_bucket *b, uint32_t seq) {
	zbz_shared_fence(memory_order_acquire);
	return zbz_hload(&b->seq) != seq;
}

/* Once a slot says three, its line is not written by readers any more. */
static inline void note_use(zbz_word *slot, uint64_t word) {
	if ((word & ZBZ_SLOT_FREQ) != ZBZ_SLOT_FREQ)
		atomic_compare_exchange_strong_explicit(slot, &word, word + ZBZ_SLOT_ONE, memory_order_relaxed, memory_order_relaxed);
}

/* Is there an entry of this key at that place? Its words may be of any age. */
static inline bool matches(const zbz_shared *sh, const zbz_shared_target *t, uint32_t place, zbz_shared_entry *e) {
	if (!zbz_shared_place_ok(&sh->g, place, ZBZ_SHARED_ENTRY_UNITS)) return false;
	*e = zbz_shared_entry_at(t->s, place);
	if (zbz_entry_klen(*e) != t->key.n || !zbz_shared_place_ok(&sh->g, place, zbz_entry_units(*e))) return false;
	return zbz_shared_key_is(zbz_shared_at(t->s, place), t->key);
}

static inline void tell(zbz_shared_seen *seen, zbz_shared_entry e, const zbz_shared_bucket *b, uint32_t seq) {
	if (seen == NULL) return;
	seen->expire_at = zbz_entry_expire(e);
	seen->version = zbz_entry_version(e);
	seen->word = &b->seq;
	seen->seq = seq;
}

/* Copies the value behind what is in `out`, whose length stays: only the caller knows whether the copy may be trusted. */
static inline outcome copy_value(const zbz_shared_target *t, zbz_shared_bucket *b, uint32_t seq, uint32_t place, zbz_shared_entry e,
                                 zbz_buf *out, zbz_err *err) {
	size_t n = zbz_entry_vlen(e);
	if (n > SEEN_LARGE || out->cap - out->n < n) {
		if (moved(b, seq)) return RACE; /* or a length that never was asks for memory */
		if (zbz_buf_reserve(out, n, err) != ZBZ_OK) return FAILED;
	}
	zbz_shared_copy_out(zbz_shared_at(t->s, place), t->key.n, out->p + out->n, n);
	return FOUND;
}

static inline outcome take(const zbz_shared *sh, const zbz_shared_target *t, zbz_shared_bucket *b, uint32_t seq, uint32_t i,
                           uint64_t word, zbz_shared_entry e, zbz_buf *out, zbz_shared_seen *seen, zbz_err *err) {
	outcome got = FOUND;
	if (zbz_entry_dead(e, t->now)) return moved(b, seq) ? RACE : ABSENT;
	if (out != NULL) got = copy_value(t, b, seq, zbz_slot_place(word), e, out, err);
	if (got != FOUND) return got;
	if (moved(b, seq)) return RACE;
	if (out != NULL) {
		size_t n = zbz_entry_vlen(e);
		if (zbz_shared_check(sh->secret, t->hash, zbz_b(out->p + out->n, n), e) != zbz_entry_check(e)) return DAMAGED;
		out->n += n;
	}
	note_use(&b->slot[i], word);
	tell(seen, e, b, seq);
	return FOUND;
}

/* A bucket whose sequence stood at an even number. */
static inline outcome probe(const zbz_shared *sh, const zbz_shared_target *t, zbz_shared_bucket *b, uint32_t seq, zbz_buf *out,
                            zbz_shared_seen *seen, zbz_err *err) {
	uint32_t tag = zbz_shared_tag(t->hash), i;
	for (i = 0; i < ZBZ_SHARED_SLOTS; i++) {
		uint64_t word = zbz_wload(&b->slot[i]);
		zbz_shared_entry e;
		if (zbz_slot_tag(word) != tag || word == 0) continue;
		if (matches(sh, t, zbz_slot_place(word), &e)) return take(sh, t, b, seq, i, word, e, out, seen, err);
	}
	return moved(b, seq) ? RACE : ABSENT;
}

static inline outcome probe_one(const zbz_shared *sh, const zbz_shared_target *t, uint32_t bucket, bool *away, zbz_buf *out,
                                zbz_shared_seen *seen, zbz_err *err) {
	zbz_shared_bucket *b = zbz_shared_bucket_at(sh, t->s, bucket);
	uint32_t seq = atomic_load_explicit(&b->seq, memory_order_acquire);
	if ((seq & 1) != 0) return RACE;
	*away = zbz_hload(&b->away) != 0;
	return probe(sh, t, b, seq, out, seen, err);
}

static inline outcome look(const zbz_shared *sh, const zbz_shared_target *t, zbz_buf *out, zbz_shared_seen *seen, zbz_err *err) {
	bool away;
	outcome got = probe_one(sh, t, zbz_shared_home(sh, t->hash), &away, out, seen, err);
	if (got == ABSENT && away) got = probe_one(sh, t, zbz_shared_second(sh, t->hash), &away, out, seen, err);
	return got;
}

/* With the lock nobody writes: a sequence that is odd now was left so by damage. */
static outcome look_locked(zbz_shared *sh, const zbz_shared_target *t, zbz_buf *out, zbz_shared_seen *seen, zbz_err *err) {
	outcome got = look(sh, t, out, seen, err);
	if (got != RACE) return got;
	zbz_shared_wipe(sh, t->s);
	return ABSENT;
}

static outcome look_hard(zbz_shared *sh, const zbz_shared_target *t, zbz_buf *out, zbz_shared_seen *seen, zbz_err *err) {
	int round, i;
	for (round = 0; round < ROUNDS; round++) {
		for (i = 0; i < TRIES; i++) {
			outcome got;
			relax();
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
static void drop_damaged(zbz_shared *sh, const zbz_shared_target *t) {
	zbz_shared_slot slot;
	zbz_wadd(&zbz_shared_line_of(sh)->damaged, 1);
	if (!zbz_shared_trylock(sh, t->shard)) return;
	slot = zbz_shared_find(sh, t);
	if (slot.bucket != NULL) zbz_shared_drop(sh, t->s, &slot);
	zbz_shared_unlock(sh, t->shard);
}

zbz_status zbz_shared_read(zbz_shared *sh, const zbz_shared_target *t, zbz_buf *out, zbz_shared_seen *seen, zbz_err *err) {
	outcome got = look(sh, t, out, seen, err);
	zbz_shared_line *line;
	if (__builtin_expect(got == RACE, 0)) got = look_hard(sh, t, out, seen, err);
	line = zbz_shared_line_of(sh);
	if (got == FOUND) {
		zbz_wadd(&line->hits, 1);
		return ZBZ_OK;
	}
	if (got == FAILED) return err != NULL ? err->status : ZBZ_E_INTERNAL;
	if (got == DAMAGED) drop_damaged(sh, t);
	if (got == RACE) zbz_wadd(&line->lost, 1);
	zbz_wadd(&line->misses, 1);
	return ZBZ_MISS;
}
