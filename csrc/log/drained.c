/* The rings a writer drains: how it finds them, whose they are, and when they go. */
#include "writer.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#define UNFINISHED_S 60
#define RINGS_MAX    1024
#define HELD_LONG    INT64_C(10000000) /* ns: an owner drops its oldest in microseconds */

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
	if (rename(from, to) == 0) zbz_counter_add(&w->counts->set_aside, 1);
}

/* For a moment: of descriptors or memory. */
static bool shortage(const zbz_err *err) {
	return err->sys_errno == EMFILE || err->sys_errno == ENFILE || err->sys_errno == ENOMEM;
}

/* false: it cannot be told now what is in it. */
static bool found(zbz_writer *w, const char *name) {
	zbz_err err = { .status = ZBZ_OK };
	zbz_ring ring;
	zbz_drained *d;
	uint64_t tail, head;
	zbz_status status = zbz_ring_attach(w->dir, name, &ring, &err);
	if (status == ZBZ_E_CORRUPT || status == ZBZ_E_UNSUPPORTED) set_aside(w, name);
	if (status != ZBZ_OK) return !shortage(&err);
	if (!zbz_ring_span(&ring, &tail, &head) && zbz_ring_dead(w->dir, &ring)) {
		zbz_ring_unmap(&ring);
		set_aside(w, name);
		return true;
	}
	d = add(w, &ring, false);
	if (d == NULL)
		zbz_ring_unmap(&ring); /* found again at the next look */
	else
		d->orphan = zbz_ring_dead(w->dir, &ring);
	return d != NULL;
}

/* Rings whose maker has died before they were finished. */
static void sweep(const zbz_writer *w, DIR *dir, const char *name) {
	struct stat st;
	if (strncmp(name, "new.", 4) != 0 || fstatat(dirfd(dir), name, &st, AT_SYMLINK_NOFOLLOW) != 0) return;
	if (time(NULL) - st.st_mtim.tv_sec > UNFINISHED_S && zbz_ring_file_dead(w->dir, name))
		unlinkat(dirfd(dir), name, 0);
}

bool zbz_writer_look(zbz_writer *w) {
	uint32_t seen = atomic_load(&w->journal->page->rings);
	DIR *dir;
	const struct dirent *e;
	size_t n = 0;
	bool all = true;
	w->looked = zbz_mono_ns();
	w->rings_seen = seen;
	if (w->dir == NULL) return true;
	dir = opendir(w->dir);
	if (dir == NULL) return errno == ENOENT;
	while ((e = readdir(dir)) != NULL && n < RINGS_MAX) {
		sweep(w, dir, e->d_name);
		if (!zbz_ring_name_ok(e->d_name)) continue;
		n++;
		if (known(w, e->d_name) == NULL) all = found(w, e->d_name) && all;
	}
	closedir(dir);
	return all;
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

zbz_status zbz_writer_open(zbz_writer *w, const zbz_ring *own, zbz_err *err) {
	size_t most = w->journal->room - ZBZ_RING_RECORD_MAX;
	if (w->batch_size > most) w->batch_size = most; /* the journal is of a process that wants less */
	w->records = zbz_calloc(w->journal->records, sizeof *w->records);
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

/* ---- held by their owners ---- */

static bool held(const zbz_drained *d) {
	return !d->orphan && atomic_load_explicit(&d->ring.h->hold, memory_order_relaxed) == ZBZ_HOLD_OWNER;
}

uint64_t zbz_drained_bytes(const zbz_drained *d) {
	uint64_t tail, head;
	if (held(d)) return 0;
	return zbz_ring_span(&d->ring, &tail, &head) ? head - tail : UINT64_MAX;
}

void zbz_drained_judge(const zbz_writer *w, zbz_drained *d) {
	int64_t now;
	if (!held(d)) {
		d->held_at = 0;
		return;
	}
	now = zbz_mono_ns();
	if (d->held_at == 0) d->held_at = now;
	if (d->own || w->dir == NULL || now - d->held_at < HELD_LONG) return;
	d->orphan = zbz_ring_dead(w->dir, &d->ring);
	d->held_at = now;
}
