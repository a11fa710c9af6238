/* What the processes of one output share beside their rings: who writes, who sleeps, and the batch that is on its way.
 *
 * One file, `journal`, in the output's directory. Its locks are of the open file, so that they end with the process:
 *   byte 0   held by the one that writes       byte 1   shared by all that use the file; who holds it alone may remove it
 *   byte 2   held while the file is made
 * Beside it a pipe, `writer`, that the writing process has open: when it hangs up, those that wait for its place know.
 *
 * The batch has left its ring before the sink sees it, so a slow sink keeps no room of a ring. The steps, each of which the next
 * writer can finish: records copied, state FILLED, the ring's tail moved; a slot with the mark, write, the next slot ...; state EMPTY. */
#ifndef ZBZ_LOG_JOURNAL_H
#define ZBZ_LOG_JOURNAL_H

#include "ring.h"

enum { ZBZ_JOURNAL_LAYOUT = 1, ZBZ_BATCH_RECORDS = 1024, ZBZ_BATCH_BYTES = 1 << 18 };

/* One record of the largest size always fits. */
#define ZBZ_BATCH_ROOM (ZBZ_RING_RECORD_MAX + ZBZ_BATCH_BYTES)

enum { ZBZ_BATCH_EMPTY, ZBZ_BATCH_FILLED };
enum { ZBZ_AWAKE, ZBZ_NAPPING, ZBZ_ASLEEP }; /* the writer: urgent matters end a nap, any record a sleep */

typedef struct zbz_batch_record {
	int64_t at;
	uint32_t side, text, text_n; /* side: logger, then labels; texts lie end to end */
	uint16_t labels_n;
	uint8_t logger_n, level;
} zbz_batch_record;

/* Records first .. first+n are being written, at `mark` when marked; what is before is done. */
typedef struct zbz_batch_slot {
	uint32_t first, n, marked;
	zbz_sink_mark mark;
} zbz_batch_slot;

typedef struct zbz_batch {
	_Atomic uint32_t state;
	_Atomic uint32_t slot; /* which of the two counts */
	zbz_batch_slot slots[2];
	uint32_t n, texts, sides; /* records; bytes of texts; bytes of the other parts, from the end downwards */
	uint64_t ring, from, to;
	uint64_t check; /* of n .. to and of the records' places: what is read from here is bounded by them */
	zbz_batch_record record[ZBZ_BATCH_RECORDS];
	char bytes[ZBZ_BATCH_ROOM];
} zbz_batch;

typedef struct zbz_journal_head {
	char magic[8];
	uint32_t layout, spare;
	uint64_t size;
} zbz_journal_head;

typedef struct zbz_journal_page {
	zbz_journal_head head;
	_Alignas(64) zbz_futex sleeper;
	_Atomic uint32_t rings; /* counts rings that were made: look again */
	_Alignas(64) zbz_batch batch;
} zbz_journal_page;

typedef struct zbz_journal {
	zbz_journal_page *page; /* NULL: none */
	int fd;                 /* -1: private */
	int pipe;               /* the writer's end, or the end of one that waits; -1 */
	bool writing;           /* holds byte 0 */
} zbz_journal;

/* dir NULL: memory of this process, whose writer it is. */
zbz_status zbz_journal_open(const char *dir, zbz_journal *out, zbz_err *err);
/* Leaves no trace when nobody else uses the directory and nothing is left in it. dir NULL: only closes. */
void zbz_journal_close(zbz_journal *j, const char *dir);
/* The same at the end of a process, whose other threads may still use the page. */
void zbz_journal_leave(const zbz_journal *j, const char *dir);
/* The right to write; false: somebody else has it. */
bool zbz_journal_claim(zbz_journal *j, const char *dir);
/* Returns when it may have become free, when `stop` (an eventfd) is readable, or after a second. */
void zbz_journal_wait(zbz_journal *j, const char *dir, int stop);

uint64_t zbz_batch_check(const zbz_batch *b);

/* The writer looks again if it sleeps at least as deep: ZBZ_ASLEEP after a record, ZBZ_NAPPING for urgent matters. */
static inline void zbz_journal_ring(zbz_journal_page *p, uint32_t depth) {
	if (atomic_load(&p->sleeper) >= depth && atomic_exchange(&p->sleeper, ZBZ_AWAKE) != ZBZ_AWAKE)
		zbz_futex_wake(&p->sleeper);
}

#endif
