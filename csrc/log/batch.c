/* The batch that is on its way: out of a ring, into the journal, to the sink; and on from wherever a dead writer left it. */
#include "writer.h"

static zbz_batch *batch_of(const zbz_writer *w) { return &w->journal->page->batch; }

static void count(_Atomic uint64_t *counter, uint64_t n) {
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* ---- out of the ring ---- */

static bool copy_in(zbz_batch *b, const zbz_ring_record *r) {
	size_t side = (size_t)r->logger_n + r->labels_n;
	zbz_batch_record *to = &b->record[b->n];
	if (b->n == ZBZ_BATCH_RECORDS || b->texts + b->sides + side + r->text_n > ZBZ_BATCH_ROOM) return false;
	if (b->n > 0 && b->texts + b->sides + side + r->text_n > ZBZ_BATCH_BYTES) return false;
	b->sides += (uint32_t)side;
	*to = (zbz_batch_record){
		.at = r->at,
		.side = (uint32_t)ZBZ_BATCH_ROOM - b->sides,
		.text = b->texts,
		.text_n = r->text_n,
		.labels_n = r->labels_n,
		.logger_n = r->logger_n,
		.level = r->level,
	};
	memcpy(b->bytes + to->side, zbz_ring_body(r), side);
	memcpy(b->bytes + to->text, zbz_ring_body(r) + side, r->text_n);
	b->texts += r->text_n;
	b->n++;
	return true;
}

static bool hold(zbz_ring_head *h, bool orphan) {
	uint32_t held = ZBZ_HOLD_NONE;
	if (atomic_compare_exchange_strong(&h->hold, &held, ZBZ_HOLD_WRITER)) return true;
	if (held == ZBZ_HOLD_OWNER && !orphan) return false; /* it drops its oldest just now */
	atomic_store(&h->hold, ZBZ_HOLD_WRITER);             /* a dead owner's, or that of the writer before this one */
	return true;
}

static uint64_t copy_all(zbz_writer *w, zbz_batch *b, const zbz_ring *ring, uint64_t pos, uint64_t end) {
	while (pos < end) {
		const zbz_ring_record *r = zbz_ring_at(ring, pos, end);
		if (r != NULL) {
			if (!copy_in(b, r)) break;
			pos += r->size;
			continue;
		}
		pos = zbz_ring_resume(ring, pos, end);
		count(&w->counts->damaged, 1);
	}
	return pos;
}

bool zbz_batch_take(zbz_writer *w, const zbz_ring *ring, bool orphan) {
	zbz_batch *b = batch_of(w);
	uint64_t tail, head, to;
	if (!zbz_ring_span(ring, &tail, &head)) {
		/* What is between positions that make no sense cannot be told any more; the owner, if it lives, brings its own back. */
		count(&w->counts->damaged, 1);
		atomic_store(&ring->h->tail, head & ~(uint64_t)7);
		atomic_store(&ring->h->head, head & ~(uint64_t)7);
		return true;
	}
	if (tail == head || !hold(ring->h, orphan)) return false;
	if (!zbz_ring_span(ring, &tail, &head)) tail = head;
	b->n = b->texts = b->sides = 0;
	to = copy_all(w, b, ring, tail, head);
	if (b->n > 0) {
		b->ring = ring->id;
		b->from = tail;
		b->to = to;
		b->check = zbz_batch_check(b);
		b->slots[0] = (zbz_batch_slot){ .n = b->n };
		atomic_store_explicit(&b->slot, 0, memory_order_relaxed);
		atomic_store_explicit(&b->state, ZBZ_BATCH_FILLED, memory_order_release);
	}
	atomic_store_explicit(&ring->h->tail, to, memory_order_release);
	atomic_store_explicit(&ring->h->hold, ZBZ_HOLD_NONE, memory_order_release);
	zbz_ring_tell(ring->h);
	w->batch_orphan = orphan;
	return true;
}

/* ---- to the sink ---- */

/* One store makes it count: a death before it leaves the former slot, whole. */
static void set_slot(zbz_batch *b, uint32_t first, uint32_t n, const zbz_sink_mark *mark) {
	uint32_t other = 1 - (atomic_load_explicit(&b->slot, memory_order_relaxed) & 1);
	b->slots[other] = (zbz_batch_slot){ .first = first, .n = n, .marked = mark != NULL };
	if (mark != NULL) b->slots[other].mark = *mark;
	atomic_store_explicit(&b->slot, other, memory_order_release);
}

/* Where to go on: record *first, after its first *skip bytes. */
static zbz_status locate(zbz_writer *w, zbz_call *c, uint32_t *first, size_t *skip) {
	zbz_batch *b = batch_of(w);
	const zbz_batch_slot *slot = &b->slots[atomic_load_explicit(&b->slot, memory_order_acquire) & 1];
	uint32_t i = slot->first < b->n ? slot->first : b->n;
	uint32_t end = slot->n < b->n - i ? i + slot->n : b->n;
	uint64_t bytes = 0;
	*skip = 0;
	if (slot->marked && w->ops->landed != NULL) {
		zbz_status status = w->ops->landed(w->sink, c, &slot->mark, &bytes);
		if (status != ZBZ_OK) return status;
	}
	for (; i < end && bytes >= b->record[i].text_n && slot->marked; i++) bytes -= b->record[i].text_n;
	if (i < end) *skip = (size_t)bytes;
	*first = i;
	return ZBZ_OK;
}

static uint32_t fitting(const zbz_batch *b, uint32_t first, uint64_t room) {
	uint32_t n = 0;
	uint64_t bytes = 0;
	for (uint32_t i = first; i < b->n; i++, n++) {
		bytes += b->record[i].text_n;
		if (bytes > room && n > 0) break;
	}
	return n;
}

static zbz_status begin_slot(zbz_writer *w, zbz_call *c, uint32_t first) {
	zbz_batch *b = batch_of(w);
	zbz_sink_mark mark = { 0, 0, 0 };
	uint64_t room = b->texts - b->record[first].text;
	zbz_status status;
	if (w->ops->mark == NULL) {
		set_slot(b, first, b->n - first, NULL);
		return ZBZ_OK;
	}
	status = w->ops->mark(w->sink, c, b->record[first].text_n, &mark, &room);
	if (status == ZBZ_OK) set_slot(b, first, fitting(b, first, room), &mark);
	return status;
}

static void fill_record(const zbz_batch *b, uint32_t i, zbz_record *out) {
	const zbz_batch_record *r = &b->record[i];
	out->head.at = r->at;
	out->head.level = (zbz_level)r->level;
	out->head.logger = zbz_b(b->bytes + r->side, r->logger_n);
	out->head.labels = zbz_b(b->bytes + r->side + r->logger_n, r->labels_n);
	out->text = zbz_b(b->bytes + r->text, r->text_n);
}

/* Writes the rest of the slot. *first moves over what needs no more care. */
static zbz_status write_slot(zbz_writer *w, zbz_call *c, uint32_t *first, size_t skip) {
	zbz_batch *b = batch_of(w);
	const zbz_batch_slot *slot = &b->slots[atomic_load_explicit(&b->slot, memory_order_relaxed) & 1];
	uint32_t n = slot->first + slot->n - *first;
	size_t done = 0;
	zbz_status status;
	for (uint32_t i = 0; i < n; i++) fill_record(b, *first + i, &w->records[i]);
	w->records[0].text.p += skip;
	w->records[0].text.n -= skip;
	status = w->ops->write(w->sink, c, w->records, n, &done);
	if (status >= 0 || done > n) done = n;
	count(&w->counts->written, done);
	for (size_t i = 0; i < done; i++) count(&w->counts->written_bytes, w->records[i].text.n);
	if (w->batch_orphan) count(&w->counts->recovered, done);
	*first += (uint32_t)done;
	if (status >= 0) return ZBZ_OK;
	if (!c->err.retryable && done < n) {
		zbz_trouble_note(w->trouble, w->trouble->sink, &c->err);
		zbz_dead_letter(w->dead, &w->records[done]);
		count(&w->counts->dead_letters, 1);
		*first += 1;
		set_slot(b, *first, b->n - *first, NULL);
		return ZBZ_OK;
	}
	if (w->ops->landed == NULL) set_slot(b, *first, b->n - *first, NULL);
	return status;
}

zbz_status zbz_batch_deliver(zbz_writer *w, zbz_call *c) {
	zbz_batch *b = batch_of(w);
	uint32_t first = 0;
	size_t skip = 0;
	zbz_status status = locate(w, c, &first, &skip);
	while (status == ZBZ_OK && first < b->n) {
		if (skip == 0) status = begin_slot(w, c, first);
		if (status == ZBZ_OK) status = write_slot(w, c, &first, skip);
		skip = 0;
	}
	return status;
}
