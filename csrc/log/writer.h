/* The one who writes for an output: it drains the rings of all processes into the sink, by way of the journal's batch. The same on a
 * thread of its own and for a recovery. Only who has claimed the journal may step. */
#ifndef ZBZ_LOG_WRITER_H
#define ZBZ_LOG_WRITER_H

#include "dead.h"
#include "journal.h"
#include "spool.h"

typedef struct zbz_writer_counts {
	_Atomic uint64_t written, written_bytes, retries, dead_letters, dead_letters_lost, recovered, syncs, damaged,
	    set_aside;
	_Atomic uint64_t failures;               /* attempts in a row */
	_Atomic uint64_t spooled, spooled_bytes; /* records in the spool now; their bytes */
	_Atomic int64_t spooled_at;              /* wall ms: when the oldest of them came there; 0 none */
} zbz_writer_counts;

static inline void zbz_counter_add(_Atomic uint64_t *counter, uint64_t n) {
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* What went wrong last. */
typedef struct zbz_trouble {
	zbz_latch latch;
	char sink[sizeof((zbz_err *)0)->text],
	    spool[sizeof((zbz_err *)0)->text]; /* "": nothing; spool: and has not gone well since */
} zbz_trouble;
void zbz_trouble_note(zbz_trouble *t, char *what, const zbz_err *err); /* what: its sink or spool; err NULL: none */

/* A ring and how far it has come. */
typedef struct zbz_drained {
	struct zbz_drained *next;
	zbz_ring ring;
	bool own, orphan; /* own: borrowed; orphan: its process is dead */
	uint64_t written; /* the sink has all before this */
	int64_t held_at;  /* mono ns: when its owner was first seen to hold it, or was last looked for; 0: it does not */
} zbz_drained;

typedef struct zbz_courier zbz_courier;

typedef struct zbz_writer {
	const zbz_sink_ops *ops;
	void *sink;
	const zbz_clock *clock;
	const char *dir; /* NULL: nothing is shared */
	zbz_journal *journal;
	zbz_dead *dead;
	zbz_writer_counts *counts;
	zbz_trouble *trouble;
	zbz_spool *spool;               /* NULL: none; owned */
	zbz_courier *courier;           /* NULL: the sink is called on this thread; owned */
	const _Atomic int64_t *stop_at; /* not 0: nothing waits for a batch to fill; NULL: never */
	size_t batch_size;              /* bytes of text, unless one record has more */
	int64_t batch_wait, retry_for;  /* ns; ms, 0 for ever */
	int64_t filling_since;          /* mono ns; 0: the batch is empty */
	bool full;                      /* no more fits the batch */
	bool urgent;                    /* a record in it waits for no others */
	bool failing;                   /* the last attempt did */
	bool group;                     /* tell of records only after a sync */
	zbz_drained *rings, *turn;      /* turn: whose is next */
	zbz_record *records;            /* what the sink is given */
	uint32_t rings_seen;            /* of the journal's count */
	int64_t looked, synced_at;      /* mono ns */
	bool ready, unsynced,
	    batch_orphan; /* ready: it is known what the former writer has left; batch_orphan: another writer has left the batch */
	struct zbz_writer *next; /* among those a forked child let lie */
} zbz_writer;

/* own: this process's ring, borrowed, or NULL. Takes nothing over on failure. */
zbz_status zbz_writer_open(zbz_writer *w, const zbz_ring *own, zbz_err *err);
void zbz_writer_close(zbz_writer *w);

/* One batch. OK: something was done; AGAIN: nothing to do; an error: the sink is to be tried again later. */
zbz_status zbz_writer_step(zbz_writer *w, zbz_call *c);
/* Is there anything to be done now? */
bool zbz_writer_has_work(const zbz_writer *w);
/* ns until the batch that fills is due; negative: there is none. */
int64_t zbz_writer_waits(const zbz_writer *w);
/* The sink takes nothing now: rings that are half full, or all when the writer is to stop, go to the spool. From the writer's thread. */
void zbz_writer_relieve(zbz_writer *w);
/* Opens the spool, if there is one; make: or makes it. Also OK when there is none. */
zbz_status zbz_writer_spool(zbz_writer *w, bool make, zbz_err *err);
void zbz_writer_spool_count(const zbz_writer *w); /* what the numbers tell of it */
bool zbz_writer_stopping(const zbz_writer *w);
/* Finds rings that are not known yet; false: there may be more, which cannot be looked at now. */
bool zbz_writer_look(zbz_writer *w);
/* Bytes of a ring that can be taken: none while its owner drops its oldest. UINT64_MAX: its positions make no sense. */
uint64_t zbz_drained_bytes(const zbz_drained *d);
/* Before it is taken from: an owner that holds it may have died so. */
void zbz_drained_judge(const zbz_writer *w, zbz_drained *d);
/* Might the next call of it have something to do? */
bool zbz_writer_pressed(const zbz_writer *w);
/* Rings of dead processes go when they are empty. */
void zbz_writer_bury(zbz_writer *w);
/* The same once in a while, and a look for rings. */
void zbz_writer_tidy(zbz_writer *w);
/* Flushes the sink now and tells those that wait. */
zbz_status zbz_writer_sync(zbz_writer *w, zbz_call *c);

/* ---- its batch (batch.c) ---- */

/* Adds what fits from the ring; false: nothing. Bad records are skipped and counted. */
bool zbz_batch_take(zbz_writer *w, const zbz_ring *ring, bool orphan);
/* The right to move a ring's tail; false: its owner does so just now. */
bool zbz_ring_hold(zbz_ring_head *h, bool orphan);
/* One record behind those of *f; false: it does not fit, and the batch is full. */
bool zbz_batch_add(zbz_writer *w, zbz_batch_fill *f, const zbz_ring_record *r, bool orphan);
/* Makes *f count. */
void zbz_batch_commit(zbz_writer *w, zbz_batch_fill *f);
void zbz_batch_seal(zbz_writer *w);
/* Hands the batch to the sink, from wherever it stands. OK: the sink has all of it. */
zbz_status zbz_batch_deliver(zbz_writer *w, zbz_call *c);

/* ---- its spool (spool_read.c) ---- */

/* Fills the batch with the spool's oldest. OK: it did, or skipped what cannot be read; AGAIN: there is nothing. */
zbz_status zbz_spool_read(zbz_writer *w, zbz_err *err);
/* What is before the place has been taken by the sink. */
void zbz_spool_move(zbz_writer *w, const zbz_spool_place *to);

/* ---- a thread that calls the sink, so that a sink that hangs does not stop the writer (courier.c) ---- */

zbz_courier *zbz_courier_new(void);
void zbz_courier_free(zbz_courier *k); /* NULL allowed; not while it is on its way */
zbz_status zbz_courier_deliver(zbz_writer *w, zbz_call *c);

#endif
