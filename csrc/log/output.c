/* The handles, and the way of a record into the ring. */
#include "output.h"

#include <sched.h>

#define SHORT_NS (10 * ZBZ_NS_PER_MS) /* how long "at once" may take: for a neighbour to end its record */

enum { HOLD_TRIES = 1000, ROUND_NS = 1000000 };

/* ---- open and close ---- */

zbz_status zbz_output_open(const zbz_config *cfg, const zbz_clock *clock, zbz_output **out, zbz_err *err) {
	const zbz_sink_ops *ops;
	zbz_stream_setup setup;
	zbz_stream_options o;
	zbz_buf identity = { 0 };
	void *sink;
	zbz_output *made;
	zbz_status status = zbz_setup_parse(cfg, &ops, &setup, err);
	if (status != ZBZ_OK) return status;
	if (clock == NULL) clock = zbz_clock_system();
	o = *(const zbz_stream_options *)setup.values;
	made = zbz_calloc(1, sizeof *made);
	status = made != NULL ? zbz_setup_open(ops, &setup, clock, &sink, &identity, err) : zbz_fail_nomem(err);
	if (status == ZBZ_OK)
		status = zbz_stream_open(ops, sink, &setup, &identity, clock, &made->stream, err);
	else
		zbz_setup_clear(&setup);
	if (status != ZBZ_OK) {
		zbz_free(made);
		return status;
	}
	atomic_init(&made->refs, 1);
	made->policy = (zbz_policy)o.policy;
	made->block_for = o.block_for * ZBZ_NS_PER_MS;
	zbz_latch_take(&made->stream->latch);
	made->next = made->stream->outputs;
	made->stream->outputs = made;
	zbz_latch_drop(&made->stream->latch);
	*out = made;
	return ZBZ_OK;
}

zbz_output *zbz_output_ref(zbz_output *o) {
	atomic_fetch_add(&o->refs, 1);
	return o;
}

void zbz_output_leave(zbz_output *o) {
	if (o->left || atomic_load(&o->refs) != 1) return;
	if (atomic_load(&o->stream->unreported) != 0) zbz_stream_report(o->stream);
	o->left = true;
	o->last = zbz_stream_leave(o->stream);
}

void zbz_output_unref(zbz_output *o) {
	zbz_stream *s;
	zbz_output **at;
	bool last, wait;
	if (o == NULL || atomic_fetch_sub(&o->refs, 1) != 1) return;
	s = o->stream;
	if (!o->left && atomic_load(&s->unreported) != 0) zbz_stream_report(s);
	zbz_latch_take(&s->latch);
	for (at = &s->outputs; *at != o;) at = &(*at)->next;
	*at = o->next;
	if (o->lost > 0) atomic_fetch_sub(&s->unreported, 1);
	zbz_latch_drop(&s->latch);
	last = o->left ? o->last : zbz_stream_leave(s);
	wait = !atomic_load(&o->never_wait);
	zbz_free(o);
	if (last) zbz_stream_close(s, wait);
}

const zbz_sink_ops *zbz_output_ops(const zbz_output *o) { return o->stream->ops; }
void zbz_output_never_wait(zbz_output *o, bool on) { atomic_store(&o->never_wait, on); }

void zbz_output_on_notice(zbz_output *o, zbz_notice_fn format, void *ud) {
	zbz_latch_take(&o->stream->latch);
	o->notice = format;
	o->notice_ud = ud;
	zbz_latch_drop(&o->stream->latch);
}

/* ---- records ---- */

static size_t side_of(const zbz_record_head *head) {
	return (head->logger.n < UINT8_MAX ? head->logger.n : UINT8_MAX) +
	       (head->labels.n <= UINT16_MAX ? head->labels.n : 0);
}

static bool fits(zbz_stream *s, uint64_t need) {
	if (s->head + need - s->tail_seen <= s->early) return true;
	s->tail_seen = atomic_load_explicit(&s->ring.h->tail, memory_order_acquire);
	s->early = zbz_ring_early(&s->ring);
	if (s->head - s->tail_seen > s->ring.size) s->tail_seen = s->head; /* its writer has lost its way */
	s->press = s->head + need - s->tail_seen > s->early;
	if (s->early > s->wake) s->early = s->wake;
	return s->head + need - s->tail_seen <= s->ring.size;
}

/* Strictly rising, so that no two records of a process share a time: Loki takes two equal lines of one moment for one, and sorts by it. A clock that
 * was set back by more than this is believed. */
#define STEP_NS (1000 * ZBZ_NS_PER_MS)

static int64_t time_of(zbz_stream *s, int64_t at) {
	if (at <= s->last_at && s->last_at - at < STEP_NS) at = s->last_at + 1;
	return s->last_at = at;
}

char *zbz_record_begin(zbz_stream *s, const zbz_record_head *head, size_t most) {
	zbz_ring_record *r;
	char *body;
	if (!fits(s, zbz_ring_used(side_of(head) + most))) return NULL;
	s->at = s->ring.data + (s->head & (s->ring.size - 1));
	r = (zbz_ring_record *)(void *)s->at;
	body = zbz_ring_body(r);
	r->logger_n = (uint8_t)(head->logger.n < UINT8_MAX ? head->logger.n : UINT8_MAX);
	r->labels_n = (uint16_t)(head->labels.n <= UINT16_MAX ? head->labels.n : 0); /* a map cannot be cut */
	r->level = (uint8_t)head->level;
	r->at = time_of(s, head->at);
	if (r->logger_n > 0) memcpy(body, head->logger.p, r->logger_n);
	if (r->labels_n > 0) memcpy(body + r->logger_n, head->labels.p, r->labels_n);
	return body + r->logger_n + r->labels_n;
}

void zbz_record_end(zbz_stream *s, size_t n) {
	zbz_ring_record *r = (zbz_ring_record *)(void *)s->at;
	zbz_tally *t = s->tally.at;
	s->at = NULL;
	r->text_n = (uint32_t)n;
	r->size = (uint32_t)zbz_ring_used((size_t)r->logger_n + r->labels_n + n);
	r->check = zbz_ring_check(s->head, r);
	s->head += r->size;
	if (__builtin_expect(r->level >= s->urgent, 0)) { /* before the head: whoever takes the record knows */
		atomic_store_explicit(&s->ring.h->urgent, s->head, memory_order_relaxed);
		s->press = true;
	}
	atomic_store_explicit(&s->ring.h->head, s->head, memory_order_release);
	zbz_count(&t->levels[r->level < ZBZ_LEVEL_OFF ? r->level : 0]);
	zbz_count_by(&t->bytes, n);
}

/* ---- a full ring ---- */

void zbz_output_lose(zbz_output *o, _Atomic uint64_t *counter, uint64_t n) {
	if (counter != NULL) zbz_counter_add(counter, n);
	if (o->lost == 0 && n > 0) atomic_fetch_add(&o->stream->unreported, 1);
	o->lost += n;
}

/* The writer holds a ring for the microseconds of a copy, never for those of a sink. */
static bool drop_oldest(zbz_output *o, uint64_t need) {
	zbz_stream *s = o->stream;
	uint64_t pos, n = 0;
	uint32_t held = ZBZ_HOLD_NONE;
	for (int i = 0; !atomic_compare_exchange_strong(&s->ring.h->hold, &held, ZBZ_HOLD_OWNER); held = ZBZ_HOLD_NONE) {
		if (++i == HOLD_TRIES) return false;
		sched_yield();
	}
	pos = atomic_load_explicit(&s->ring.h->tail, memory_order_acquire);
	while (s->head + need - pos > s->ring.size && pos != s->head) {
		const zbz_ring_record *r = zbz_ring_at(&s->ring, pos, s->head);
		pos = r != NULL ? pos + r->size : zbz_ring_resume(&s->ring, pos, s->head);
		n++;
	}
	s->tail_seen = pos;
	atomic_store_explicit(&s->ring.h->tail, pos, memory_order_release);
	atomic_store_explicit(&s->ring.h->hold, ZBZ_HOLD_NONE, memory_order_release);
	zbz_output_lose(o, &s->tally.at->dropped_full, n);
	return true;
}

/* Lets go of the latch until the tail moves, for a round at most. The ring stays while the caller has its handle. */
static void await_room(zbz_stream *s, int64_t until) {
	zbz_ring_head *h = s->ring.h;
	zbz_journal_page *page = s->journal.page;
	uint64_t tail = s->tail_seen;
	int64_t left = until - zbz_mono_ns();
	uint32_t moved;
	zbz_latch_drop(&s->latch);
	atomic_fetch_add(&h->waiting, 1);
	moved = atomic_load(&h->moved);
	zbz_journal_ring(page, ZBZ_NAPPING);
	if (left > 0 && atomic_load(&h->tail) == tail) zbz_futex_wait(&h->moved, moved, left < ROUND_NS ? left : ROUND_NS);
	atomic_fetch_sub(&h->waiting, 1);
	zbz_latch_take(&s->latch);
}

/* Under the latch, also when it comes back; NULL: no room. */
static char *make_room(zbz_output *o, const zbz_record_head *head, size_t most, int64_t until) {
	zbz_stream *s = o->stream;
	char *text;
	if (o->policy == ZBZ_POLICY_DROP_OLDEST && drop_oldest(o, zbz_ring_used(side_of(head) + most)))
		return zbz_record_begin(s, head, most);
	while (o->policy == ZBZ_POLICY_BLOCK && !atomic_load(&o->never_wait) && zbz_mono_ns() < until) {
		await_room(s, until);
		if (s->ring.h == NULL) break;
		text = zbz_record_begin(s, head, most);
		if (text != NULL) return text;
	}
	return NULL;
}

/* ---- the door ---- */

static bool enter(zbz_output *o, int64_t *until) {
	zbz_stream *s = o->stream;
	if (zbz_latch_try(&s->latch)) return true;
	if (*until == 0) *until = zbz_mono_ns() + (atomic_load(&o->never_wait) ? SHORT_NS : o->block_for + SHORT_NS);
	return zbz_latch_take_slowly(&s->latch, *until);
}

static char *refuse(zbz_output *o, _Atomic uint64_t *counter) {
	zbz_output_lose(o, counter, 1);
	zbz_latch_drop(&o->stream->latch);
	return NULL;
}

/* Under the latch, lets go of it for the start. */
static bool started(zbz_output *o) {
	zbz_stream *s = o->stream;
	if (s->ring.h != NULL) return true;
	zbz_latch_drop(&s->latch);
	zbz_stream_start(s);
	zbz_latch_take(&s->latch);
	return s->ring.h != NULL;
}

char *zbz_output_reserve(zbz_output *o, const zbz_record_head *head, size_t most) {
	zbz_stream *s = o->stream;
	int64_t until = 0;
	char *text;
	size_t body = side_of(head) + most;
	/* Somebody holds it who does not go on, or this is a signal handler inside its own record. */
	if (!enter(o, &until)) {
		atomic_fetch_add(&o->stuck, 1);
		zbz_counter_add(&s->tally.at->dropped_full, 1);
		return NULL;
	}
	if (__builtin_expect(s->ring.h == NULL, 0) && !started(o)) return refuse(o, &s->tally.at->dropped_closed);
	if (body > ZBZ_RING_RECORD_MAX || zbz_ring_used(body) > s->ring.size / 2)
		return refuse(o, &s->tally.at->dropped_large);
	if (__builtin_expect(o->lost > 0, 0)) zbz_output_report(o);
	text = zbz_record_begin(s, head, most);
	if (__builtin_expect(text != NULL, 1)) return text;
	if (until == 0) until = zbz_mono_ns() + o->block_for;
	text = make_room(o, head, most, until);
	return text != NULL ? text : refuse(o, &s->tally.at->dropped_full);
}

void zbz_output_commit(zbz_output *o, size_t n) {
	zbz_stream *s = o->stream;
	zbz_journal_page *page = s->journal.page;
	uint32_t depth;
	if (n > 0)
		zbz_record_end(s, n);
	else
		s->at = NULL;
	depth = s->press ? ZBZ_NAPPING : ZBZ_ASLEEP;
	s->press = false;
	zbz_latch_drop(&s->latch);
	if (atomic_load(&page->sleeper) >= depth) zbz_journal_ring(page, depth);
}

bool zbz_output_append(zbz_output *o, const zbz_record_head *head, zbz_bytes text) {
	char *to = zbz_output_reserve(o, head, text.n);
	if (to == NULL) return false;
	if (text.n > 0) memcpy(to, text.p, text.n);
	zbz_output_commit(o, text.n);
	return true;
}
