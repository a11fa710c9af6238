/* What is counted of the log, for the whole program: a mapping that every process shares which was forked after zbz was loaded. Each view and each
 * stream has a place in it that it alone writes to, so that counting costs two moves; a total is the sum over the places of an account. A place
 * keeps its numbers when its owner goes, and the next of the same account goes on in it: totals never go down. */
#ifndef ZBZ_LOG_TALLY_H
#define ZBZ_LOG_TALLY_H

#include "writer.h"

enum {
	ZBZ_TALLY_PLACES = 4096, /* whoever finds none counts for its own process, as long as it lives */
	ZBZ_TALLY_COUNTERS = 26, /* the words before the gauges */
	ZBZ_TALLY_GAUGES = 30    /* those before what a place is */
};
#define ZBZ_TALLY_VIEWS UINT64_C(1) /* the account of all views */

typedef struct zbz_tally {
	/* By whoever holds a view, or a stream's latch; level 0: none of those there are. One line of the cache. */
	_Atomic uint64_t levels[ZBZ_LEVEL_OFF], bytes;
	_Atomic uint64_t dropped_full, dropped_large, dropped_closed;          /* of a stream, by any thread */
	_Atomic uint64_t sampled, limited, repeated, lost, truncated, nowhere; /* of a view */
	zbz_writer_counts counts;                                              /* of a stream's writer */
	_Atomic uint64_t account, owner; /* 0: none yet; the process, 0: it may be had */
} zbz_tally;

typedef struct zbz_tally_hold {
	zbz_tally *at;
	struct zbz_tally_hold *next;
	uint64_t account;
	uint64_t base[ZBZ_TALLY_COUNTERS]; /* what others have counted there before */
	zbz_tally own;                     /* when there is no place */
} zbz_tally_hold;

/* *h stays where it is until it is given back. A forked child's holds get places of their own. */
void zbz_tally_take(zbz_tally_hold *h, uint64_t account);
void zbz_tally_give(zbz_tally_hold *h);
/* What it has counted so far is another process's. */
void zbz_tally_restart(zbz_tally_hold *h);
/* Adds what another writer has counted. */
void zbz_tally_add(zbz_tally_hold *h, const zbz_writer_counts *counts);
/* Of a counter of h->at: what this process has counted. */
uint64_t zbz_tally_mine(const zbz_tally_hold *h, const _Atomic uint64_t *counter);
/* The whole program's; gauges of those that are alive. */
void zbz_tally_sum(uint64_t account, zbz_tally *sum);

/* A counter with one writer. */
static inline void zbz_count_by(_Atomic uint64_t *c, uint64_t n) {
	atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + n, memory_order_relaxed);
}
static inline void zbz_count(_Atomic uint64_t *c) { zbz_count_by(c, 1); }

#endif
