/* From a spool to the batch, and what is done with a segment that has been read. */
#include "writer.h"

#include <fcntl.h>
#include <sys/stat.h>

#define NAME "seg"

static bool same(const zbz_spool_place *a, const zbz_spool_place *b) {
	return a->segment == b->segment && a->offset == b->offset;
}

/* ---- one chunk at a time ---- */

static zbz_status open_segment(zbz_spool *s, uint64_t number, zbz_err *err) {
	char path[PATH_MAX];
	if (s->in >= 0 && s->in_number == number) return ZBZ_OK;
	zbz_spool_close_file(&s->in);
	zbz_spool_path(s, NAME, number, path);
	if (zbz_spool_open_file(&s->in, path, O_RDONLY) < 0)
		return errno == ENOENT ? ZBZ_MISS : zbz_spool_fail(err, errno, path, "cannot be opened");
	s->in_number = number;
	return ZBZ_OK;
}

/* Reads *short* of the end when somebody has cut the file. */
static zbz_status read_body(zbz_spool *s, uint64_t at, size_t n, zbz_err *err) {
	zbz_status status = zbz_buf_reserve(&s->loaded, n, err);
	s->loaded.n = 0;
	while (status == ZBZ_OK && s->loaded.n < n) {
		ssize_t got = pread(s->in, s->loaded.p + s->loaded.n, n - s->loaded.n, (off_t)(at + s->loaded.n));
		if (got < 0 && errno == EINTR) continue;
		if (got < 0) {
			s->loaded.n = 0; /* a part of a chunk is none */
			return zbz_spool_fail(err, errno, s->dir, "cannot be read");
		}
		if (got == 0) memset(s->loaded.p + s->loaded.n, 0, n - s->loaded.n);
		s->loaded.n += got == 0 ? n - s->loaded.n : (size_t)got;
	}
	return status;
}

static uint64_t end_of(zbz_spool *s, uint64_t number) {
	struct stat st;
	if (number == s->last) return s->end;
	return fstat(s->in, &st) == 0 ? (uint64_t)st.st_size : 0;
}

static bool is_loaded(const zbz_spool *s, const zbz_spool_place *p) {
	return s->loaded.n > 0 && s->loaded_from.segment == p->segment && s->loaded_from.chunk == p->chunk;
}

static zbz_status load(zbz_writer *w, zbz_spool_place *p, uint64_t end, zbz_err *err) {
	zbz_spool *s = w->spool;
	bool skipped;
	uint64_t chunk = p->chunk;
	zbz_status status = zbz_chunk_find(s->in, p->segment, end, &chunk, &s->loaded_head, &skipped);
	s->loaded.n = 0;
	if (status == ZBZ_END) {
		if (p->offset < end) zbz_counter_add(&w->counts->damaged, 1);
		return ZBZ_END;
	}
	if (skipped) zbz_counter_add(&w->counts->damaged, 1);
	if (skipped || p->offset <= chunk) *p = (zbz_spool_place){ p->segment, chunk, chunk + sizeof s->loaded_head, 0 };
	s->loaded_from = *p;
	return read_body(s, chunk + sizeof s->loaded_head, (size_t)s->loaded_head.size, err);
}

/* The chunk *p is in, or the first one after it. OK; END: nothing is left; *p moves over what is not there or cannot be read. */
static zbz_status reach(zbz_writer *w, zbz_spool_place *p, zbz_err *err) {
	zbz_spool *s = w->spool;
	while (p->segment <= s->last) {
		zbz_status status = is_loaded(s, p) ? ZBZ_OK : open_segment(s, p->segment, err);
		if (status == ZBZ_OK && !is_loaded(s, p)) status = load(w, p, end_of(s, p->segment), err);
		if (status == ZBZ_OK || status < 0) return status;
		if (status == ZBZ_MISS) zbz_counter_add(&w->counts->damaged, 1);
		if (p->segment == s->last) {
			p->chunk = p->offset = s->end;
			p->done = 0;
			return ZBZ_END;
		}
		*p = (zbz_spool_place){ p->segment + 1, sizeof(zbz_segment_head), sizeof(zbz_segment_head), 0 };
	}
	return ZBZ_END;
}

/* false: the batch is full. */
static bool copy_chunk(zbz_writer *w, zbz_batch_fill *f, zbz_spool_place *p) {
	zbz_spool *s = w->spool;
	/* Laid out as a ring that is never gone round. */
	const zbz_ring body = { .data = s->loaded.p, .size = (uint64_t)1 << 62 };
	uint64_t base = s->loaded_from.chunk + sizeof s->loaded_head, end = s->loaded.n, pos = p->offset - base;
	bool orphan = p->segment < s->found.segment || (p->segment == s->found.segment && p->offset < s->found.offset);
	while (pos < end) {
		const zbz_ring_record *r = zbz_ring_at(&body, pos, end);
		if (r == NULL) {
			pos = zbz_ring_resume(&body, pos, end);
			zbz_counter_add(&w->counts->damaged, 1);
			continue;
		}
		if (!zbz_batch_add(w, f, r, orphan)) {
			p->offset = base + pos;
			return false;
		}
		pos += r->size;
		p->done++;
	}
	*p = (zbz_spool_place){ p->segment, base + end, base + end, 0 };
	return true;
}

zbz_status zbz_spool_read(zbz_writer *w, zbz_err *err) {
	zbz_spool *s = w->spool;
	zbz_batch_fill f = { .kind = ZBZ_FROM_SPOOL, .ring = s->id };
	zbz_spool_place p = s->at;
	zbz_status status;
	do status = reach(w, &p, err);
	while (status == ZBZ_OK && copy_chunk(w, &f, &p));
	if (f.n > 0) {
		f.after = p;
		zbz_batch_commit(w, &f);
		return ZBZ_OK;
	}
	if (status < 0) return status;
	if (same(&p, &s->at)) return ZBZ_AGAIN;
	zbz_spool_move(w, &p);
	return ZBZ_OK;
}

/* ---- going on ---- */

static void drop_segments(zbz_spool *s, uint64_t before) {
	char path[PATH_MAX];
	struct stat st;
	for (; s->first < before && s->first <= s->last; s->first++) {
		zbz_spool_path(s, NAME, s->first, path);
		if (stat(path, &st) == 0) s->used -= (uint64_t)st.st_size < s->used ? (uint64_t)st.st_size : s->used;
		unlink(path);
	}
}

/* The whole of it was read: the next segment begins with the next number, so that a place never means two things. */
static void start_over(zbz_writer *w) {
	zbz_spool *s = w->spool;
	drop_segments(s, s->last + 1);
	zbz_spool_close_file(&s->in);
	zbz_spool_close_file(&s->out);
	s->at = (zbz_spool_place){ s->last + 1, sizeof(zbz_segment_head), sizeof(zbz_segment_head), 0 };
	s->first = s->last = s->end = s->used = s->records = s->bytes = 0;
	s->loaded.n = 0;
	s->loaded_head.at = 0;
}

void zbz_spool_move(zbz_writer *w, const zbz_spool_place *to) {
	zbz_spool *s = w->spool;
	const zbz_batch_fill *f = zbz_batch_now(&w->journal->page->batch);
	zbz_err err;
	if (!zbz_place_after(to, &s->at)) return; /* the writer before this one has done it */
	if (to->segment > s->last || (to->segment == s->last && to->offset > s->end))
		return; /* of a spool that somebody has removed */
	if (to == &f->after) {
		uint64_t bytes = f->texts + f->sides + f->n * sizeof(zbz_ring_record);
		s->records -= f->n < s->records ? f->n : s->records;
		s->bytes -= bytes < s->bytes ? bytes : s->bytes;
	}
	s->at = *to;
	if (zbz_cursor_write(s, &err) != ZBZ_OK) zbz_trouble_note(w->trouble, w->trouble->spool, &err);
	drop_segments(s, s->at.segment);
	if (!zbz_spool_any(s)) {
		start_over(w);
		if (zbz_cursor_write(s, &err) != ZBZ_OK) zbz_trouble_note(w->trouble, w->trouble->spool, &err);
	}
}
