/* Finding the rings of an output and draining them, one batch of one ring at a time, in turn. */
#include "writer.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#define UNFINISHED_S 60
#define RINGS_MAX    1024
#define LOOK_EVERY   INT64_C(1000000000) /* ns: for rings of the dead, and in case a count was missed */
#define SYNC_EVERY   INT64_C(5000000)

struct zbz_drained {
	zbz_drained *next;
	zbz_ring ring;
	bool own, orphan; /* own: borrowed; orphan: its process is dead */
	uint64_t written; /* the sink has all before this */
};

static void count(_Atomic uint64_t *counter, uint64_t n) {
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* ---- finding ---- */

static zbz_drained *known(const zbz_writer *w, const char *name) {
	zbz_drained *d = w->rings;
	while (d != NULL && strcmp(d->ring.name, name) != 0) d = d->next;
	return d;
}

static zbz_drained *add(zbz_writer *w, const zbz_ring *ring, bool own) {
	zbz_drained *d = zbz_calloc(1, sizeof *d), **end = &w->rings;
	if (d == NULL) return NULL;
	while (*end != NULL) end = &(*end)->next;
	d->ring = *ring;
	d->own = own;
	d->written = atomic_load(&ring->h->taken);
	*end = d;
	return d;
}

/* A ring nobody here can read. While its process lives it is left to it; then it is kept under another name, for a human. */
static void set_aside(zbz_writer *w, const char *name) {
	char from[PATH_MAX], to[PATH_MAX];
	if (!zbz_ring_file_dead(w->dir, name)) return;
	if (snprintf(from, sizeof from, "%s/%s", w->dir, name) >= (int)sizeof from ||
	    snprintf(to, sizeof to, "%s/aside.%s", w->dir, name) >= (int)sizeof to)
		return;
	if (rename(from, to) == 0) count(&w->counts->set_aside, 1);
}

static void found(zbz_writer *w, const char *name) {
	zbz_ring ring;
	zbz_drained *d;
	uint64_t tail, head;
	zbz_status status = zbz_ring_attach(w->dir, name, &ring, NULL);
	if (status == ZBZ_E_CORRUPT || status == ZBZ_E_UNSUPPORTED) set_aside(w, name);
	if (status != ZBZ_OK) return;
	if (!zbz_ring_span(&ring, &tail, &head) && zbz_ring_dead(w->dir, &ring)) {
		zbz_ring_unmap(&ring);
		set_aside(w, name);
		return;
	}
	d = add(w, &ring, false);
	if (d == NULL)
		zbz_ring_unmap(&ring); /* found again at the next look */
	else
		d->orphan = zbz_ring_dead(w->dir, &ring);
}

/* Rings whose maker has died before they were finished. */
static void sweep(const zbz_writer *w, DIR *dir, const char *name) {
	struct stat st;
	if (strncmp(name, "new.", 4) != 0 || fstatat(dirfd(dir), name, &st, AT_SYMLINK_NOFOLLOW) != 0) return;
	if (time(NULL) - st.st_mtim.tv_sec > UNFINISHED_S && zbz_ring_file_dead(w->dir, name))
		unlinkat(dirfd(dir), name, 0);
}

static void look(zbz_writer *w) {
	uint32_t seen = atomic_load(&w->journal->page->rings);
	DIR *dir;
	const struct dirent *e;
	size_t n = 0;
	w->looked = zbz_mono_ns();
	w->rings_seen = seen;
	w->ready = true;
	if (w->dir == NULL) return;
	dir = opendir(w->dir);
	if (dir == NULL) return;
	while ((e = readdir(dir)) != NULL && n < RINGS_MAX) {
		sweep(w, dir, e->d_name);
		if (!zbz_ring_name_ok(e->d_name)) continue;
		n++;
		if (known(w, e->d_name) == NULL) found(w, e->d_name);
	}
	closedir(dir);
}

/* ---- letting go ---- */

static void drop(zbz_drained *d) {
	if (!d->own) zbz_ring_unmap(&d->ring);
	zbz_free(d);
}

static bool finished(const zbz_writer *w, zbz_drained *d) {
	uint64_t tail, head;
	if (d->own || w->unsynced || !zbz_ring_span(&d->ring, &tail, &head) || tail != head) return false;
	if (!d->orphan) d->orphan = zbz_ring_dead(w->dir, &d->ring);
	/* Once more: it may have written its last between the two looks. */
	return d->orphan && zbz_ring_span(&d->ring, &tail, &head) && tail == head;
}

void zbz_writer_bury(zbz_writer *w) {
	char path[PATH_MAX];
	if (w->dir == NULL) return;
	for (zbz_drained **at = &w->rings; *at != NULL;) {
		zbz_drained *d = *at;
		if (!finished(w, d)) {
			at = &d->next;
			continue;
		}
		if (snprintf(path, sizeof path, "%s/%s", w->dir, d->ring.name) < (int)sizeof path) unlink(path);
		*at = d->next;
		if (w->turn == d) w->turn = NULL;
		drop(d);
	}
}

void zbz_writer_tidy(zbz_writer *w) {
	if (w->dir == NULL || zbz_mono_ns() - w->looked < LOOK_EVERY) return;
	zbz_writer_bury(w);
	look(w);
}

zbz_status zbz_writer_open(zbz_writer *w, const zbz_ring *own, zbz_err *err) {
	w->records = zbz_calloc(ZBZ_BATCH_RECORDS, sizeof *w->records);
	if (w->records == NULL) return zbz_fail_nomem(err);
	w->synced_at = zbz_mono_ns();
	w->unsynced = w->group; /* the writer before this one may have died between a write and its flush */
	if (own == NULL || own->h == NULL || add(w, own, true) != NULL) return ZBZ_OK;
	zbz_writer_close(w);
	return zbz_fail_nomem(err);
}

void zbz_writer_close(zbz_writer *w) {
	while (w->rings != NULL) {
		zbz_drained *d = w->rings;
		w->rings = d->next;
		drop(d);
	}
	zbz_free(w->records);
	w->records = NULL;
	w->turn = NULL;
}

/* ---- telling ---- */

static void tell(zbz_drained *d) {
	if (atomic_load_explicit(&d->ring.h->taken, memory_order_relaxed) == d->written) return;
	atomic_store_explicit(&d->ring.h->taken, d->written, memory_order_release);
	zbz_ring_tell(d->ring.h);
}

zbz_status zbz_writer_sync(zbz_writer *w, zbz_call *c) {
	zbz_status status = ZBZ_OK;
	if (w->group && w->unsynced && w->ops->sync != NULL) {
		status = w->ops->sync(w->sink, c);
		if (status != ZBZ_OK) return status;
		count(&w->counts->syncs, 1);
		w->synced_at = zbz_mono_ns();
	}
	w->unsynced = false;
	for (zbz_drained *d = w->rings; d != NULL; d = d->next) tell(d);
	return ZBZ_OK;
}

static bool awaited(const zbz_writer *w) {
	for (const zbz_drained *d = w->rings; d != NULL; d = d->next)
		if (atomic_load_explicit(&d->ring.h->waiting, memory_order_relaxed) != 0) return true;
	return false;
}

static bool sync_due(const zbz_writer *w) {
	return w->unsynced && (zbz_mono_ns() - w->synced_at >= SYNC_EVERY || awaited(w));
}

void zbz_trouble_note(zbz_trouble *t, char *what, const zbz_err *err) {
	zbz_latch_take(&t->latch);
	memcpy(what, err->text, sizeof err->text);
	zbz_latch_drop(&t->latch);
}

/* ---- one step ---- */

static zbz_drained *batch_ring(const zbz_writer *w) {
	uint64_t id = w->journal->page->batch.ring;
	zbz_drained *d = w->rings;
	while (d != NULL && d->ring.id != id) d = d->next;
	return d;
}

static zbz_status deliver(zbz_writer *w, zbz_call *c) {
	zbz_batch *b = &w->journal->page->batch;
	zbz_status status = zbz_batch_deliver(w, c);
	zbz_drained *d;
	if (status != ZBZ_OK) {
		zbz_trouble_note(w->trouble, w->trouble->sink, &c->err);
		count(&w->counts->retries, 1);
		return status;
	}
	d = batch_ring(w);
	if (d != NULL) d->written = b->to;
	atomic_store_explicit(&b->state, ZBZ_BATCH_EMPTY, memory_order_release);
	if (w->group)
		w->unsynced = true;
	else if (d != NULL)
		tell(d);
	return sync_due(w) ? zbz_writer_sync(w, c) : ZBZ_OK;
}

static bool sound(const zbz_batch *b) {
	return b->n <= ZBZ_BATCH_RECORDS && b->texts <= ZBZ_BATCH_ROOM && b->sides <= ZBZ_BATCH_ROOM - b->texts &&
	       b->check == zbz_batch_check(b);
}

/* A batch that another writer has left: its records are in the journal, perhaps in the ring as well. */
static void adopt(zbz_writer *w) {
	zbz_batch *b = &w->journal->page->batch;
	zbz_drained *d = batch_ring(w);
	if (!sound(b)) {
		count(&w->counts->damaged, 1);
		atomic_store(&b->state, ZBZ_BATCH_EMPTY);
		return;
	}
	w->batch_orphan = true;
	if (d == NULL || atomic_load(&d->ring.h->tail) != b->from) return;
	atomic_store(&d->ring.h->tail, b->to);
	atomic_store(&d->ring.h->hold, ZBZ_HOLD_NONE);
	zbz_ring_tell(d->ring.h);
}

/* The dead before the living, these in turn. */
static bool take_next(zbz_writer *w) {
	zbz_drained *d, *first;
	for (d = w->rings; d != NULL; d = d->next)
		if (d->orphan && zbz_batch_take(w, &d->ring, true)) return true;
	first = d = w->turn != NULL ? w->turn : w->rings;
	while (d != NULL) {
		zbz_drained *next = d->next != NULL ? d->next : w->rings;
		w->turn = next;
		if (zbz_batch_take(w, &d->ring, d->orphan)) return true;
		if (next == first) return false;
		d = next;
	}
	return false;
}

/* What was dropped by an owner needs no sink. */
static void level(zbz_writer *w) {
	for (zbz_drained *d = w->rings; d != NULL; d = d->next) {
		d->written = atomic_load(&d->ring.h->tail);
		if (!w->unsynced) tell(d);
	}
}

zbz_status zbz_writer_step(zbz_writer *w, zbz_call *c) {
	const zbz_batch *b = &w->journal->page->batch;
	bool fresh = !w->ready;
	if (fresh || w->rings_seen != atomic_load(&w->journal->page->rings)) look(w);
	if (fresh && atomic_load(&b->state) == ZBZ_BATCH_FILLED) adopt(w);
	if (atomic_load(&b->state) == ZBZ_BATCH_FILLED) return deliver(w, c);
	if (take_next(w)) return atomic_load(&b->state) == ZBZ_BATCH_FILLED ? deliver(w, c) : ZBZ_OK;
	level(w);
	if (!w->unsynced) return ZBZ_AGAIN;
	if (!sync_due(w)) return ZBZ_AGAIN;
	return zbz_writer_sync(w, c);
}

bool zbz_writer_has_work(const zbz_writer *w) {
	uint64_t tail, head;
	if (atomic_load(&w->journal->page->batch.state) == ZBZ_BATCH_FILLED || w->unsynced) return true;
	if (w->rings_seen != atomic_load(&w->journal->page->rings)) return true;
	for (const zbz_drained *d = w->rings; d != NULL; d = d->next)
		if (!zbz_ring_span(&d->ring, &tail, &head) || tail != head) return true;
	return false;
}
