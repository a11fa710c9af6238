/* The one who writes for an output: it drains the rings of all processes into the sink, by way of the journal's batch. The same on a
 * thread of its own and for a recovery. Only who has claimed the journal may step. */
#ifndef ZBZ_LOG_WRITER_H
#define ZBZ_LOG_WRITER_H

#include "dead.h"
#include "journal.h"

typedef struct zbz_writer_counts {
	_Atomic uint64_t written, written_bytes, retries, dead_letters, recovered, syncs, damaged, set_aside;
} zbz_writer_counts;

/* What the sink said last; "": nothing. Written by the writer, read by whoever asks. */
typedef struct zbz_trouble {
	zbz_latch latch;
	char sink[sizeof((zbz_err *)0)->text];
} zbz_trouble;

typedef struct zbz_drained zbz_drained; /* a ring and how far it has come */

typedef struct zbz_writer {
	const zbz_sink_ops *ops;
	void *sink;
	const zbz_clock *clock;
	const char *dir; /* NULL: nothing is shared */
	zbz_journal *journal;
	zbz_dead *dead;
	zbz_writer_counts *counts;
	zbz_trouble *trouble;
	bool group;                /* tell of records only after a sync */
	zbz_drained *rings, *turn; /* turn: whose is next */
	zbz_record *records;       /* what the sink is given */
	uint32_t rings_seen;       /* of the journal's count */
	int64_t looked, synced_at; /* mono ns */
	bool ready, unsynced,
	    batch_orphan;        /* ready: the directory was looked through; batch_orphan: its records' process is dead */
	struct zbz_writer *next; /* among those a forked child let lie */
} zbz_writer;

/* own: this process's ring, borrowed, or NULL. Takes nothing over on failure. */
zbz_status zbz_writer_open(zbz_writer *w, const zbz_ring *own, zbz_err *err);
void zbz_writer_close(zbz_writer *w);

/* One batch. OK: something was done; AGAIN: nothing to do; an error: the sink is to be tried again later. */
zbz_status zbz_writer_step(zbz_writer *w, zbz_call *c);
/* Is there anything in a ring or on its way? */
bool zbz_writer_has_work(const zbz_writer *w);
/* Rings of dead processes go when they are empty. */
void zbz_writer_bury(zbz_writer *w);
/* The same once in a while, and a look for rings. */
void zbz_writer_tidy(zbz_writer *w);
void zbz_trouble_note(zbz_trouble *t, char *what, const zbz_err *err);
/* Flushes the sink now and tells those that wait. */
zbz_status zbz_writer_sync(zbz_writer *w, zbz_call *c);

/* ---- its batch (batch.c) ---- */

/* Copies what fits from the ring; false: there was nothing. Bad records are skipped and counted. */
bool zbz_batch_take(zbz_writer *w, const zbz_ring *ring, bool orphan);
/* Hands the batch to the sink, from wherever it stands. OK: the sink has all of it. */
zbz_status zbz_batch_deliver(zbz_writer *w, zbz_call *c);

#endif
