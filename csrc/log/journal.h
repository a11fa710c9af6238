/* What the processes of one output share beside their rings: who writes, who sleeps, and the batch that is on its way.
 *
 * One file, `journal`, in the output's directory. Its locks are of the open file, so that they end with the process:
 *   byte 0   held by the one that writes       byte 1   shared by all that use the file; who holds it alone may remove it
 *   byte 2   held while the file is made
 * Beside it a pipe, `writer`, that the writing process has open: when it hangs up, those that wait for its place know.
 *
 * The batch has left its ring before the sink sees it, so a slow sink keeps no room of a ring. The steps, each of which the next
 * writer can finish: records copied, a fill that counts them, state FILLING, the ring's tail moved; more of them from this ring or another, until the batch is
 * large enough or has waited long enough; state FILLED; a slot with the mark, write, the next slot ...; state TAKEN; the spool's place moved, if they came
 * from there; state EMPTY. */
#ifndef ZBZ_LOG_JOURNAL_H
#define ZBZ_LOG_JOURNAL_H

#include "ring.h"

enum {
	ZBZ_JOURNAL_LAYOUT = 2,
	ZBZ_BATCH_RECORDS = 1024, /* at least, and one for so many bytes: */
	ZBZ_BATCH_RECORD_BYTES = 128,
	ZBZ_BATCH_BYTES_MAX = 1 << 26
};

enum { ZBZ_BATCH_EMPTY, ZBZ_BATCH_FILLING, ZBZ_BATCH_FILLED, ZBZ_BATCH_TAKEN };
enum { ZBZ_FROM_RING, ZBZ_FROM_SPOOL };
enum { ZBZ_AWAKE, ZBZ_NAPPING, ZBZ_ASLEEP }; /* the writer: urgent matters end a nap, any record a sleep */

enum { ZBZ_BATCH_LEVEL = 0x7f, ZBZ_BATCH_ORPHAN = 0x80 }; /* in `level`: its process was dead already */

typedef struct zbz_batch_record {
	int64_t at;
	uint32_t side, text, text_n; /* side: logger, then labels; texts lie end to end */
	uint16_t labels_n;
	uint8_t logger_n, level;
} zbz_batch_record;

/* Records first .. first+n are being written, at `mark` when marked, else that is the last one known; what is before is done. */
typedef struct zbz_batch_slot {
	uint32_t first, n, marked;
	zbz_sink_mark mark;
} zbz_batch_slot;

/* In the spool: the next record is at `offset`, the one after `done` others of the chunk at `chunk`. */
typedef struct zbz_spool_place {
	uint64_t segment, chunk, offset, done;
} zbz_spool_place;

/* How far the batch is filled, and what filled it last. */
typedef struct zbz_batch_fill {
	uint32_t kind, n, texts, sides; /* records; bytes of texts; bytes of the other parts, from the end downwards */
	uint64_t ring, from, to;        /* kind FROM_RING; of kind FROM_SPOOL, ring is the spool's id, 0: not known */
	zbz_spool_place after;          /* kind FROM_SPOOL: where reading goes on */
	uint64_t check; /* of all before it and of the records' places: what is read from here is bounded by them */
} zbz_batch_fill;

typedef struct zbz_batch {
	_Atomic uint32_t state;
	_Atomic uint32_t slot, fill; /* which of the two counts */
	zbz_batch_slot slots[2];
	zbz_batch_fill fills[2];
} zbz_batch;

/* A batch of a spool that its writer did not have: what is before the place has been taken by the sink. For whoever opens that spool next. */
typedef struct zbz_spool_debt {
	uint64_t spool; /* its id; 0: none */
	zbz_spool_place taken;
	uint64_t check; /* of all before it */
} zbz_spool_debt;

typedef struct zbz_journal_head {
	char magic[8];
	uint32_t layout, records; /* how many the batch may have */
	uint64_t room, size;      /* of their texts and other parts; of the file */
} zbz_journal_head;

typedef struct zbz_journal_page {
	zbz_journal_head head;
	_Alignas(64) zbz_futex sleeper;
	_Atomic uint32_t rings; /* counts rings that were made: look again */
	zbz_spool_debt debt;
	_Alignas(64) zbz_batch batch;
} zbz_journal_page; /* then the table of the batch's records, then its bytes */

typedef struct zbz_journal {
	zbz_journal_page *page; /* NULL: none */
	zbz_batch_record *table;
	char *bytes;
	uint32_t records; /* of the table */
	size_t room, mapped;
	int fd;       /* -1: private */
	int pipe;     /* the writer's end, or the end of one that waits; -1 */
	bool writing; /* holds byte 0 */
} zbz_journal;

/* With room for batches of so many bytes of text, and for a larger single record; a journal that is in use keeps its own. dir NULL: memory
 * of this process, whose writer it is. */
zbz_status zbz_journal_open(const char *dir, size_t batch, zbz_journal *out, zbz_err *err);
/* Leaves no trace when nobody else uses the directory and nothing is left in it. dir NULL: only closes. */
void zbz_journal_close(zbz_journal *j, const char *dir);
/* The same at the end of a process, whose other threads may still use the page. */
void zbz_journal_leave(const zbz_journal *j, const char *dir);
/* The right to write; false: somebody else has it. */
bool zbz_journal_claim(zbz_journal *j, const char *dir);
/* Returns when it may have become free, when `stop` (an eventfd) is readable, or after a second. */
void zbz_journal_wait(zbz_journal *j, const char *dir, int stop);

static inline const zbz_batch_fill *zbz_batch_now(const zbz_batch *b) {
	return &b->fills[atomic_load_explicit(&b->fill, memory_order_acquire) & 1];
}
uint64_t zbz_batch_check(const zbz_journal *j, const zbz_batch_fill *f);
uint64_t zbz_debt_check(const zbz_spool_debt *d);

/* The writer looks again if it sleeps at least as deep: ZBZ_ASLEEP after a record, ZBZ_NAPPING for urgent matters. */
static inline void zbz_journal_ring(zbz_journal_page *p, uint32_t depth) {
	if (atomic_load(&p->sleeper) >= depth && atomic_exchange(&p->sleeper, ZBZ_AWAKE) != ZBZ_AWAKE)
		zbz_futex_wake(&p->sleeper);
}

#endif
