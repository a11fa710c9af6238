/* An output's records on disk, while its sink does not take them: segments in a directory, appended to and read from by the one who
 * writes for the output.
 *
 *   cursor       where reading goes on; locked by the one who uses the spool
 *   seg.NUMBER   a head, then chunks: a head (how much of which ring), then records as they lie in a ring
 *
 * A ring's tail moves when the whole chunk is in the file, and the cursor when the sink has taken the records. So each step can be finished by the next
 * writer: a chunk that is not whole is cut off, its records are in the ring; a chunk that is whole with the ring's tail still before it moves the tail.
 * Nothing that is read is believed: heads and records carry checks, and what is damaged is skipped up to the next that is not. */
#ifndef ZBZ_LOG_SPOOL_H
#define ZBZ_LOG_SPOOL_H

#include "journal.h"

enum { ZBZ_SPOOL_LAYOUT = 1, ZBZ_SPOOL_CHUNK = 1 << 18 };

/* One record of the largest size always fits. */
#define ZBZ_SPOOL_CHUNK_MAX (zbz_ring_used(ZBZ_RING_RECORD_MAX) + ZBZ_SPOOL_CHUNK)

typedef struct zbz_segment_head {
	char magic[8];
	uint32_t layout, spare;
	uint64_t number, check;
} zbz_segment_head;

typedef struct zbz_chunk_head {
	uint32_t magic, n;           /* records */
	uint64_t size;               /* of the records; without this head */
	uint64_t ring, from, to, at; /* at: wall ms */
	uint64_t check;              /* of all before it, in its place */
} zbz_chunk_head;

typedef struct zbz_spool {
	char *dir;
	uint64_t id;                 /* of dir; not 0 */
	uint64_t most, segment_most; /* bytes of all segments; of one */
	int lock, in, out;           /* -1; changed under the gate of all streams only, for a forked child closes them */
	zbz_spool_place at;          /* what is before it has been taken by the sink */
	uint64_t first, last, end;   /* segments, 0: there is none; good bytes of the last */
	uint64_t used;               /* bytes on disk */
	uint64_t records, bytes;     /* behind `at` */
	bool sealed;                 /* what comes goes into a new segment */
	zbz_spool_place least;       /* the sink has what is before it, whatever the cursor says */
	zbz_spool_place found;       /* the end of what a former writer has left */
	int64_t resume_at;           /* mono ns: not before this is a failed write tried again */
	zbz_buf chunk;               /* that is being made */
	zbz_buf loaded;              /* that is being read; from loaded_from, empty: none */
	zbz_chunk_head loaded_head;
	zbz_spool_place loaded_from;
	uint64_t in_number;
	zbz_chunk_head newest; /* of the last chunk */
} zbz_spool;

/* Of this directory, whether it exists or not. */
zbz_spool *zbz_spool_new(const char *dir, int64_t most);
/* Opens it and finds what is there; make: or makes it. OK also when it is open already; MISS: there is none. *aside and *damaged count. */
zbz_status zbz_spool_open(zbz_spool *s, bool make, _Atomic uint64_t *aside, _Atomic uint64_t *damaged, zbz_err *err);
/* Leaves nothing behind when it is empty. NULL allowed, for both. */
void zbz_spool_close(zbz_spool *s);
void zbz_spool_free(zbz_spool *s); /* after a close */
/* In a forked child: the parent's descriptors, and with them its lock. */
void zbz_spool_forget(zbz_spool *s);

static inline bool zbz_spool_is_open(const zbz_spool *s) { return s != NULL && s->lock >= 0; }
static inline bool zbz_place_after(const zbz_spool_place *a, const zbz_spool_place *b) {
	return a->segment > b->segment || (a->segment == b->segment && a->offset > b->offset);
}
static inline bool zbz_spool_any(const zbz_spool *s) {
	return zbz_spool_is_open(s) && s->last != 0 &&
	       (s->at.segment < s->last || (s->at.segment == s->last && s->at.offset < s->end));
}

/* Moves all that a ring holds. E_TOO_LARGE: the spool is full; or what the disk says. The rest stays in the ring. */
zbz_status zbz_spool_take(zbz_spool *s, const zbz_ring *ring, bool orphan, int64_t now, _Atomic uint64_t *damaged,
                          zbz_err *err);

/* ---- files (spool_file.c) ---- */

void zbz_spool_path(const zbz_spool *s, const char *kind, uint64_t number, char path[PATH_MAX]);
/* Sets *fd under the gate; -1 and errno. */
int zbz_spool_open_file(int *fd, const char *path, int how);
void zbz_spool_close_file(int *fd);
void zbz_chunk_sign(zbz_chunk_head *h, uint64_t segment, uint64_t offset);
/* The whole chunk at `offset`, of which at least the head is read. OK; END: nothing is left that could be one, *offset stays; a
 * damaged stretch before it is skipped, which *skipped tells. */
zbz_status zbz_chunk_find(int fd, uint64_t segment, uint64_t size, uint64_t *offset, zbz_chunk_head *h, bool *skipped);
zbz_status zbz_spool_fail(zbz_err *err, int e, const char *path, const char *what);
zbz_status zbz_cursor_write(const zbz_spool *s, zbz_err *err);
bool zbz_cursor_read(const zbz_spool *s, zbz_spool_place *out);

#endif
