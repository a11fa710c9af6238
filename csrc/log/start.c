/* How a stream starts, with its first record: its sink, its place, the journal, a ring and the thread. */
#include "stream.h"

#include <sys/eventfd.h>

#define RETRY_NS INT64_C(1000000000)

/* A smaller ring is better than none. */
static zbz_status make_ring(zbz_stream *s, zbz_ring *ring, zbz_err *err) {
	int64_t size = zbz_stream_opts(s)->ring_size;
	zbz_status status = zbz_ring_create(s->dir, (uint64_t)size, ring, err);
	for (; status == ZBZ_E_UNAVAILABLE && size > ZBZ_RING_LEAST; size /= 4)
		status = zbz_ring_create(s->dir, (uint64_t)size / 4, ring, err);
	return status;
}

static zbz_status own_sink(zbz_stream *s, zbz_err *err) {
	if (s->sink != NULL) return ZBZ_OK;
	if (s->next_sink != NULL) {
		zbz_stream_swap(s);
		return ZBZ_OK;
	}
	return s->ops->open(&s->sink, (const char *)s->setup.values + ZBZ_SINK_OPTIONS_AT, s->clock, err);
}

void zbz_stream_spool(zbz_stream *s) {
	zbz_err problem;
	zbz_free(s->spool_dir);
	s->spool_dir = NULL;
	if (s->dir == NULL) return;
	zbz_place_spool(zbz_stream_opts(s), s->ops->name, zbz_buf_bytes(&s->identity), &s->spool_dir, &problem);
	if (s->spool_dir == NULL && zbz_stream_opts(s)->spool != NULL)
		zbz_trouble_note(&s->trouble, s->trouble.spool, &problem); /* logging goes on without */
}

/* The user may be another one than at the open: a server that gives up its rights, a worker of nginx. */
static zbz_status own_place(zbz_stream *s, zbz_err *err) {
	char *dir;
	zbz_status status = zbz_place_name(zbz_stream_opts(s)->ring, s->ops->name, zbz_buf_bytes(&s->identity), &dir, err);
	if (status != ZBZ_OK) return status;
	zbz_free(s->dir);
	s->dir = dir;
	status = zbz_place_make(dir, err);
	if (status != ZBZ_OK) return status;
	zbz_stream_spool(s);
	return ZBZ_OK;
}

void zbz_stream_set_wake(zbz_stream *s) {
	const zbz_stream_options *o = zbz_stream_opts(s);
	s->wake = s->ring.size / 2;
	if (o->batch_wait > 0 && (uint64_t)o->batch_size < s->wake) s->wake = (uint64_t)o->batch_size;
	s->early = s->wake;
	s->press = false;
	s->urgent = o->batch_wait > 0 && o->flush_level > 0 ? (uint8_t)o->flush_level : UINT8_MAX;
}

static zbz_status start(zbz_stream *s, zbz_err *err) {
	zbz_ring ring;
	zbz_status status = own_sink(s, err);
	if (status == ZBZ_OK && s->dir != NULL) status = own_place(s, err);
	if (status == ZBZ_OK) status = zbz_journal_open(s->dir, (size_t)zbz_stream_opts(s)->batch_size, &s->journal, err);
	if (status != ZBZ_OK) return status;
	status = make_ring(s, &ring, err);
	if (status != ZBZ_OK) {
		zbz_journal_close(&s->journal, s->dir);
		return status;
	}
	s->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	zbz_latch_take(&s->latch);
	s->ring = ring;
	s->head = s->tail_seen = 0;
	zbz_stream_set_wake(s);
	zbz_latch_drop(&s->latch);
	atomic_fetch_add(&s->journal.page->rings, 1);
	zbz_thread_start(s); /* without one, another process may still write for us */
	zbz_journal_ring(s->journal.page, ZBZ_NAPPING);
	return ZBZ_OK;
}

static void start_or_tell(zbz_stream *s) {
	zbz_err err = { .status = ZBZ_OK };
	if (start(s, &err) == ZBZ_OK) return;
	s->retry_at = zbz_mono_ns() + RETRY_NS;
	zbz_trouble_note(&s->trouble, s->trouble.sink, &err);
}

bool zbz_stream_start(zbz_stream *s) {
	bool ok;
	zbz_streams_lock();
	if (s->ring.h == NULL && atomic_load(&s->stop_at) == 0 && zbz_mono_ns() >= s->retry_at) start_or_tell(s);
	ok = s->ring.h != NULL;
	if (ok && atomic_load(&s->thread) == ZBZ_THREAD_NONE && atomic_load(&s->stop_at) == 0) zbz_thread_start(s);
	zbz_streams_unlock();
	return ok;
}
