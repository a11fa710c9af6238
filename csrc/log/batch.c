/* The batch that is on its way: out of a ring, into the journal, to the sink; and on from wherever a dead writer left it. */
#include "writer.h"

static zbz_batch *batch_of(const zbz_writer *w) { return &w->journal->page->batch; }

static const zbz_batch_slot *slot_now(const zbz_batch *b) {
	return &b->slots[atomic_load_explicit(&b->slot, memory_order_acquire) & 1];
}

/* ---- filling ---- */

bool zbz_batch_add(zbz_writer *w, zbz_batch_fill *f, const zbz_ring_record *r, bool orphan) {
	const zbz_journal *j = w->journal;
	size_t side = (size_t)r->logger_n + r->labels_n;
	zbz_batch_record *to = &j->table[f->n];
	w->full = f->n == j->records || f->texts + f->sides + side + r->text_n > j->room ||
	          (f->n > 0 && f->texts + r->text_n > w->batch_size);
	if (w->full) return false;
	f->sides += (uint32_t)side;
	*to = (zbz_batch_record){
		.at = r->at,
		.side = (uint32_t)(j->room - f->sides),
		.text = f->texts,
		.text_n = r->text_n,
		.labels_n = r->labels_n,
		.logger_n = r->logger_n,
		.level = (uint8_t)((r->level & ZBZ_BATCH_LEVEL) | (orphan ? ZBZ_BATCH_ORPHAN : 0)),
	};
	memcpy(j->bytes + to->side, zbz_ring_body(r), side);
	memcpy(j->bytes + to->text, zbz_ring_body(r) + side, r->text_n);
	f->texts += r->text_n;
	f->n++;
	return true;
}

/* One store makes the fill count, or the batch itself when it is the first. */
void zbz_batch_commit(zbz_writer *w, zbz_batch_fill *f) {
	zbz_batch *b = batch_of(w);
	uint32_t other = 1 - (atomic_load_explicit(&b->fill, memory_order_relaxed) & 1);
	f->check = zbz_batch_check(w->journal, f);
	b->fills[other] = *f;
	atomic_store_explicit(&b->fill, other, memory_order_release);
	if (atomic_load_explicit(&b->state, memory_order_relaxed) == ZBZ_BATCH_FILLING) return;
	w->filling_since = zbz_mono_ns();
	w->batch_orphan = false;
	atomic_store_explicit(&b->state, ZBZ_BATCH_FILLING, memory_order_release);
}

void zbz_batch_seal(zbz_writer *w) {
	zbz_batch *b = batch_of(w);
	b->slots[0] = (zbz_batch_slot){ .n = zbz_batch_now(b)->n, .mark = slot_now(b)->mark };
	atomic_store_explicit(&b->slot, 0, memory_order_relaxed);
	atomic_store_explicit(&b->state, ZBZ_BATCH_FILLED, memory_order_release);
	w->filling_since = 0;
	w->full = w->urgent = false;
}

/* ---- out of the ring ---- */

bool zbz_ring_hold(zbz_ring_head *h, bool orphan) {
	uint32_t held = ZBZ_HOLD_NONE;
	if (atomic_compare_exchange_strong(&h->hold, &held, ZBZ_HOLD_WRITER)) return true;
	if (held == ZBZ_HOLD_OWNER && !orphan) return false; /* it drops its oldest just now */
	atomic_store(&h->hold, ZBZ_HOLD_WRITER);             /* a dead owner's, or that of the writer before this one */
	return true;
}

static uint64_t copy_all(zbz_writer *w, zbz_batch_fill *f, const zbz_ring *ring, uint64_t pos, uint64_t end,
                         bool orphan) {
	while (pos < end) {
		const zbz_ring_record *r = zbz_ring_at(ring, pos, end);
		if (r != NULL) {
			if (!zbz_batch_add(w, f, r, orphan)) break;
			pos += r->size;
			continue;
		}
		pos = zbz_ring_resume(ring, pos, end);
		zbz_counter_add(&w->counts->damaged, 1);
	}
	return pos;
}

bool zbz_batch_take(zbz_writer *w, const zbz_ring *ring, bool orphan) {
	zbz_batch *b = batch_of(w);
	zbz_batch_fill f = { .kind = ZBZ_FROM_RING, .ring = ring->id };
	uint64_t tail, head;
	uint32_t before;
	if (!zbz_ring_span(ring, &tail, &head)) {
		/* What is between positions that make no sense cannot be told any more; the owner, if it lives, brings its own back. */
		zbz_counter_add(&w->counts->damaged, 1);
		atomic_store(&ring->h->tail, head & ~(uint64_t)7);
		atomic_store(&ring->h->head, head & ~(uint64_t)7);
		return true;
	}
	if (tail == head || !zbz_ring_hold(ring->h, orphan)) return false;
	if (!zbz_ring_span(ring, &tail, &head)) tail = head;
	if (atomic_load(&b->state) == ZBZ_BATCH_FILLING) {
		const zbz_batch_fill *now = zbz_batch_now(b);
		f.n = now->n;
		f.texts = now->texts;
		f.sides = now->sides;
	}
	before = f.n;
	f.from = tail;
	f.to = copy_all(w, &f, ring, tail, head, orphan);
	if (f.n > before) zbz_batch_commit(w, &f);
	if (w->batch_wait != 0) /* before the tail: an owner that sees that one knows what is still wanted */
		atomic_store_explicit(&ring->h->early, f.texts < w->batch_size ? w->batch_size - f.texts : 0,
		                      memory_order_relaxed);
	w->urgent = w->urgent || zbz_ring_urgent(ring, tail);
	atomic_store_explicit(&ring->h->tail, f.to, memory_order_release);
	atomic_store_explicit(&ring->h->hold, ZBZ_HOLD_NONE, memory_order_release);
	if (f.to != tail) zbz_ring_tell(ring->h);
	return f.to != tail;
}

/* ---- to the sink ---- */

/* One store makes it count: a death before it leaves the former slot, whole. mark NULL: the last one stays known, and does not count. */
static void set_slot(zbz_batch *b, uint32_t first, uint32_t n, const zbz_sink_mark *mark) {
	uint32_t other = 1 - (atomic_load_explicit(&b->slot, memory_order_relaxed) & 1);
	b->slots[other] = (zbz_batch_slot){ .first = first, .n = n, .marked = mark != NULL };
	b->slots[other].mark = mark != NULL ? *mark : slot_now(b)->mark;
	atomic_store_explicit(&b->slot, other, memory_order_release);
}

/* Where to go on: record *first, after its first *skip bytes. */
static zbz_status locate(zbz_writer *w, zbz_call *c, uint32_t *first, size_t *skip) {
	const zbz_batch *b = batch_of(w);
	const zbz_batch_record *table = w->journal->table;
	const zbz_batch_slot *slot = slot_now(b);
	uint32_t n = zbz_batch_now(b)->n, i = slot->first < n ? slot->first : n;
	uint32_t end = slot->n < n - i ? i + slot->n : n;
	uint64_t bytes = 0;
	*first = i;
	*skip = 0;
	if (slot->marked && w->ops->landed != NULL) {
		zbz_status status = w->ops->landed(w->sink, c, &slot->mark, &bytes);
		if (status != ZBZ_OK) return status;
	}
	for (; i < end && bytes >= table[i].text_n && slot->marked; i++) bytes -= table[i].text_n;
	if (i < end) *skip = (size_t)bytes;
	*first = i;
	return ZBZ_OK;
}

static uint32_t fitting(const zbz_writer *w, uint32_t first, uint64_t room) {
	uint32_t n = 0, all = zbz_batch_now(batch_of(w))->n;
	uint64_t bytes = 0;
	for (uint32_t i = first; i < all; i++, n++) {
		bytes += w->journal->table[i].text_n;
		if (bytes > room && n > 0) break;
	}
	return n;
}

static zbz_status begin_slot(zbz_writer *w, zbz_call *c, uint32_t first) {
	zbz_batch *b = batch_of(w);
	const zbz_batch_fill *f = zbz_batch_now(b);
	const zbz_batch_record *r = &w->journal->table[first];
	zbz_sink_mark mark = slot_now(b)->mark;
	uint64_t room = f->texts - r->text;
	zbz_status status;
	if (w->ops->mark == NULL) {
		set_slot(b, first, f->n - first, NULL);
		return ZBZ_OK;
	}
	status = w->ops->mark(w->sink, c, r->text_n, &mark, &room);
	if (status == ZBZ_OK) set_slot(b, first, fitting(w, first, room), &mark);
	return status;
}

static void fill_record(const zbz_journal *j, uint32_t i, zbz_record *out) {
	const zbz_batch_record *r = &j->table[i];
	out->head.at = r->at;
	out->head.level = (zbz_level)(r->level & ZBZ_BATCH_LEVEL);
	out->head.logger = zbz_b(j->bytes + r->side, r->logger_n);
	out->head.labels = zbz_b(j->bytes + r->side + r->logger_n, r->labels_n);
	out->text = zbz_b(j->bytes + r->text, r->text_n);
}

static void count_done(zbz_writer *w, uint32_t first, size_t done) {
	zbz_counter_add(&w->counts->written, done);
	for (size_t i = 0; i < done; i++) {
		zbz_counter_add(&w->counts->written_bytes, w->records[i].text.n);
		if (w->batch_orphan || (w->journal->table[first + i].level & ZBZ_BATCH_ORPHAN) != 0)
			zbz_counter_add(&w->counts->recovered, 1);
	}
}

static void bury(zbz_writer *w, const zbz_record *r) {
	zbz_counter_add(&w->counts->dead_letters, 1);
	if (!zbz_dead_letter(w->dead, r)) zbz_counter_add(&w->counts->dead_letters_lost, 1);
}

/* Writes the rest of the slot. *first moves over what needs no more care. */
static zbz_status write_slot(zbz_writer *w, zbz_call *c, uint32_t *first, size_t skip) {
	zbz_batch *b = batch_of(w);
	const zbz_batch_slot *slot = slot_now(b);
	uint32_t all = zbz_batch_now(b)->n, n = slot->first + slot->n - *first;
	size_t done = 0;
	zbz_status status;
	for (uint32_t i = 0; i < n; i++) fill_record(w->journal, *first + i, &w->records[i]);
	w->records[0].text.p += skip;
	w->records[0].text.n -= skip;
	status = w->ops->write(w->sink, c, w->records, n, &done);
	if (status >= 0 || done > n) done = n;
	count_done(w, *first, done);
	*first += (uint32_t)done;
	if (done > 0) w->failing = false;
	if (status >= 0) return ZBZ_OK;
	if (!c->err.retryable && done < n) {
		w->failing = false; /* it has answered */
		zbz_trouble_note(w->trouble, w->trouble->sink, &c->err);
		bury(w, &w->records[done]);
		*first += 1;
		set_slot(b, *first, all - *first, NULL);
		return ZBZ_OK;
	}
	if (w->ops->landed == NULL) set_slot(b, *first, all - *first, NULL);
	return status;
}

/* Records that the sink has failed to take for too long. What is in the sink in part is not given up. */
static bool give_up(zbz_writer *w, const zbz_call *c, uint32_t *first, size_t skip) {
	zbz_batch *b = batch_of(w);
	uint32_t n = zbz_batch_now(b)->n, i = *first;
	if (!w->failing || w->retry_for == 0 || skip > 0) return false;
	for (; i < n && c->now - w->journal->table[i].at / ZBZ_NS_PER_MS > w->retry_for; i++) {
		fill_record(w->journal, i, &w->records[0]);
		bury(w, &w->records[0]);
	}
	if (i == *first) return false;
	set_slot(b, i, n - i, NULL);
	*first = i;
	return true;
}

zbz_status zbz_batch_deliver(zbz_writer *w, zbz_call *c) {
	uint32_t n = zbz_batch_now(batch_of(w))->n, first = 0;
	size_t skip = 0;
	zbz_status status = locate(w, c, &first, &skip);
	if (status != ZBZ_OK) return status; /* the sink may have what would be given up */
	if (first == n) w->failing = false;  /* and has it */
	if (give_up(w, c, &first, skip) && first == n) return ZBZ_OK;
	while (status == ZBZ_OK && first < n) {
		if (skip == 0) status = begin_slot(w, c, first);
		if (status == ZBZ_OK) status = write_slot(w, c, &first, skip);
		skip = 0;
	}
	return status;
}
