/* What a process has of one output: its ring, its writer thread, the sink. Outputs (the handles) with the same identity share one.
 *
 * Locks: the gate of all streams guards what starts and ends (lists, threads, files) and is held over a fork; a stream's latch guards
 * its ring from reserve to commit. The gate may be held while the latch is taken, never the other way round. */
#ifndef ZBZ_LOG_STREAM_H
#define ZBZ_LOG_STREAM_H

#include "tally.h"

#include <pthread.h>

typedef struct zbz_stream_options {
	int policy, sync, flush_level;
	int64_t block_for, ring_size, max_retry_delay, linger, dead_letter_size, batch_size, batch_wait, spool_size,
	    retry_timeout;
	char *type, *account, *ring, *dead_letter, *spool;
} zbz_stream_options;

#define ZBZ_SINK_OPTIONS_AT ((sizeof(zbz_stream_options) + 15) & ~(size_t)15)

/* The parsed options of an output: those of every output, then those of its sink. */
typedef struct zbz_stream_setup {
	zbz_option *list;
	void *values; /* zbz_stream_options, then the sink's at ZBZ_SINK_OPTIONS_AT */
} zbz_stream_setup;

enum { ZBZ_THREAD_NONE, ZBZ_THREAD_RUNS, ZBZ_THREAD_ENDED };

typedef struct zbz_stream {
	/* the hot path, under the latch */
	zbz_latch latch;
	zbz_ring ring;                   /* h NULL: not started in this process */
	uint64_t head, tail_seen, early; /* its own head; tail and early (ring.h) as it last looked */
	uint64_t wake;                   /* most that early may be: what makes a batch, if batches wait */
	bool press;                      /* the record that is being written goes beyond early, or is urgent */
	uint8_t urgent;                  /* from this level on records are, and no batch waits for more */
	char *at;                        /* the record being written; NULL none */
	int64_t last_at;                 /* the time of the record before */
	zbz_tally_hold tally;            /* what it counts, the writer's numbers as well */
	zbz_output *outputs;

	/* under the gate */
	struct zbz_stream *next;
	unsigned handles, refs; /* refs: the handles together, and the thread */
	zbz_stream_setup setup;
	const zbz_sink_ops *ops;
	const zbz_clock *clock;
	void *sink;      /* NULL in a forked child, until it opens its own */
	bool sink_used;  /* a thread of this process has had it */
	void *next_sink; /* of a later open, with its options; the thread takes it over */
	zbz_stream_setup next_setup;
	_Atomic bool swap;
	char *dir;       /* NULL: not shared */
	char *spool_dir; /* NULL: none */
	bool spool_turn; /* the writer's is another one still: what is in it goes first */
	zbz_buf identity;
	zbz_journal journal;
	zbz_writer *writer;
	zbz_dead dead;
	zbz_trouble trouble;
	int64_t retry_at; /* mono ns: not before this is a failed start tried again */
	int stop_fd;
	_Atomic uint32_t thread;
	zbz_futex nudge, ended; /* nudge: of a thread that waits out a delay */
	_Atomic uint32_t reopen_want, reopen_done;
	_Atomic int64_t stop_at; /* mono ns; 0: go on */
	_Atomic bool writes;
	_Atomic uint32_t unreported; /* handles with losses that no record tells of yet */
} zbz_stream;

static inline const zbz_stream_options *zbz_stream_opts(const zbz_stream *s) { return s->setup.values; }

void zbz_streams_lock(void);
void zbz_streams_unlock(void);

void zbz_setup_clear(zbz_stream_setup *setup);

/* The journal of an output that is not opened for logging; a forked child lets go of it. *v stays where it is in between. */
typedef struct zbz_visit {
	struct zbz_visit *next;
	zbz_spool *spool;    /* NULL: none; borrowed */
	zbz_journal journal; /* writing: the right to write was free */
} zbz_visit;
zbz_status zbz_visit_begin(zbz_visit *v, const char *dir, size_t batch, zbz_err *err);
void zbz_visit_end(zbz_visit *v, const char *dir); /* also after a failed begin */

/* Drains what is in w->dir, and in the spool of that directory if there is one; w has all but its journal and its spool. */
zbz_status zbz_recover_rings(zbz_writer *w, const char *spool_dir, zbz_call *c);
/* Before the first record: with the sink that nobody uses yet, for a second at most. What fails is left to the writer. true: the
 * sink has been written to. */
bool zbz_recover_first(const zbz_sink_ops *ops, void *sink, const zbz_stream_options *o, const char *dir,
                       const char *spool, const zbz_clock *clock, zbz_writer_counts *counts);
/* What a writer needs of the options. */
void zbz_writer_set(zbz_writer *w, const zbz_stream_options *o);

/* The stream of this identity, or a new one. Takes the setup and the sink over, also on failure. */
zbz_status zbz_stream_open(const zbz_sink_ops *ops, void *sink, zbz_stream_setup *setup, zbz_buf *identity,
                           const zbz_clock *clock, zbz_stream **out, zbz_err *err);
/* A handle goes; the last one's tells the thread to end within the linger. true: it was the last. */
bool zbz_stream_leave(zbz_stream *s);
/* After the last has left: lets go, when the thread has ended, or at once, and the thread does the rest. */
void zbz_stream_close(zbz_stream *s, bool wait);
/* Ring, journal and thread of this process; false: there is no room or no sink, tried again a second later. Without the latch. */
bool zbz_stream_start(zbz_stream *s);
/* Under the latch: from how many waiting bytes, and which levels, on the writer is woken. */
void zbz_stream_set_wake(zbz_stream *s);
void zbz_stream_nudge(zbz_stream *s);
/* Takes over the sink of a later open. Under the gate; not while the sink is in use. */
void zbz_stream_swap(zbz_stream *s);

/* Where its spool is, by its options of now. Under the gate. */
void zbz_stream_spool(zbz_stream *s);

/* The thread (thread.c). Under the gate. */
bool zbz_thread_start(zbz_stream *s);
void zbz_stream_thread_ends(zbz_stream *s); /* outside the gate */

/* Puts what was lost into the stream's records, if there is room (losses.c). */
void zbz_stream_report(zbz_stream *s);

/* The directory of an output's rings (place.c); *dir is to be freed. */
zbz_status zbz_place_name(const char *ring, const char *sink, zbz_bytes identity, char **dir, zbz_err *err);
/* The spool's of this output, NULL when it has none; its place is looked at, and made in part. */
zbz_status zbz_place_spool(const zbz_stream_options *o, const char *sink, zbz_bytes identity, char **dir, zbz_err *err);
/* Makes what is missing of it, all but its last part; E_CONFIG, E_DENIED or E_UNAVAILABLE naming the option ring. */
zbz_status zbz_place_make(const char *dir, zbz_err *err);

#endif
