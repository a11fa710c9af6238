/* The sink family: where log records go.
 *
 *   zbz_output     an opened output: a ring in shared memory in front, a writer thread behind, one sink at its end
 *   zbz_sink_ops   one kind of sink (file, console, loki, ...), a const table
 *
 * A record is formatted by the caller straight into the output's ring: when commit has returned it survives kill -9, SIGSEGV, abort and
 * _exit of this process (not a power cut: see `sync`). The writer hands whole records to the sink in the order of their commits. After a death the next process
 * that opens the same output, a sibling that waits for its place, or zbz_output_recover finishes the work: nothing lost, nothing twice, nothing torn
 * (a sink that cannot tell what it already has - no `landed` slot - may get the last batch twice).
 *
 * Several processes may log to one output (nginx workers): each has a ring of its own, one of them writes for all, and when it dies another takes over.
 * Rings and the writer start on the first record, per process: nothing of the parent's is used in a forked child. */
#ifndef ZBZ_SINK_H
#define ZBZ_SINK_H

#include "cache.h" /* ZBZ_ABI */
#include "config.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum zbz_level {
	ZBZ_LEVEL_TRACE = 1,
	ZBZ_LEVEL_DEBUG,
	ZBZ_LEVEL_INFO,
	ZBZ_LEVEL_WARN,
	ZBZ_LEVEL_ERROR,
	ZBZ_LEVEL_FATAL,
	ZBZ_LEVEL_OFF
} zbz_level;

/* What a sink may want to know of a record beside its text. Travels through the ring. */
typedef struct zbz_record_head {
	int64_t
	    at; /* wall nanoseconds; raised to be above that of the record before, unless a clock was set back by a second or more */
	zbz_level level;
	zbz_bytes logger; /* at most 255 bytes are kept */
	/* Further facts as a flat MessagePack map of texts (trace_id, ...), for sinks with metadata; may be empty; above 65535 bytes they are left out. */
	zbz_bytes labels;
} zbz_record_head;

typedef struct zbz_record {
	zbz_record_head head;
	zbz_bytes text; /* formatted, ends with \n */
} zbz_record;

/* The texts of a write, laid end to end. */
static inline zbz_bytes zbz_record_run(const zbz_record *records, size_t n) {
	const zbz_bytes *last = &records[n - 1].text;
	return zbz_b(records[0].text.p, (size_t)(last->p - records[0].text.p) + last->n);
}
/* How many whole records are in its first bytes; the rest goes out as *bytes. */
static inline size_t zbz_record_whole(const zbz_record *records, size_t n, size_t *bytes) {
	size_t whole = 0;
	while (whole < n && *bytes >= records[whole].text.n) *bytes -= records[whole++].text.n;
	return whole;
}

/* ---- 1. The contract of a sink ------------------------------------------------------------------------------------------ */

/* Where the next write of a sink begins, so that after a death it can be told how much of a batch has arrived. */
typedef struct zbz_sink_mark {
	uint64_t device, inode, size;
} zbz_sink_mark;

/* All slots but open and close run one at a time, on a thread of the writer's, not always the same; a wait ends by c->deadline. write, open and close are mandatory. */
typedef struct zbz_sink_ops {
	int abi;             /* ZBZ_ABI */
	const char *name;    /* "file" */
	const char *aliases; /* "a|b", or NULL */
	const char *needs;   /* Debian package of the library, or NULL */
	const char *summary;
	bool terminal; /* lost with the process: nothing is kept for a recovery (console, memory, function, null) */
	size_t options_size;
	/* Defaults of the options of these names, as text ("1MB", "1s"), for sinks that are better off with larger batches; NULL: 256KB, at once. */
	const char *batch_size, *batch_wait;
	const zbz_option
	    *options; /* its own; those of every output (level, format, policy, ring, ...) are added by the output */

	/* Checks what can be checked without waiting (a directory that cannot be written to is an error here). close does not wait either: it and read are
	 * called with the lock of all outputs held, which a fork takes in its prepare handler. So they call nothing of section 2, wait for no thread that
	 * logs, opens or closes, and take no lock that a pthread_atfork prepare handler of the plug-in takes: that one was registered after zbz's, so
	 * it runs before it, and the two would wait for each other. Such a lock is rather made anew by the child handler, which may do no more than
	 * that and close descriptors. The other slots are called without any lock of zbz's. A sink that a thread of the parent has used is never closed in a child; it opens its own with the same options. */
	zbz_status (*open)(void **self, const void *options, const zbz_clock *clock, zbz_err *err);
	void (*close)(void *self);
	/* n is at least 1, and the texts lie end to end in memory (zbz_record_run): a sink of bytes takes them as one.
	 * Takes records[0..*done) for good, in order. OK: all. A retryable error: the rest is offered again after a back-off. Another error: the record
	 * at *done can never be taken; it goes to the dead letters and the rest is offered again. */
	zbz_status (*write)(void *self, zbz_call *c, const zbz_record *records, size_t n, size_t *done);
	/* Optional, both or none. Before each write: where it begins; *mark comes in as the last one of whoever wrote before, all 0 when none is known.
	 * `least` is the size of its first text, *room comes in as that of all of them and goes out as how much may be written (the first text always may):
	 * the place to rotate, so that no write goes over two files. After an error or a death: how many bytes of the write that began at `mark` are there,
	 * texts laid end to end; the next write without a mark before it is the rest, from the middle of a text if need be, and belongs where the mark is. While
	 * landed fails nobody knows what is there: nothing of that batch is given up (retry_timeout) or written again. */
	zbz_status (*mark)(void *self, zbz_call *c, uint64_t least, zbz_sink_mark *mark, uint64_t *room);
	zbz_status (*landed)(void *self, zbz_call *c, const zbz_sink_mark *mark, uint64_t *bytes);
	zbz_status (*sync)(void *self, zbz_call *c);   /* on stable storage; NULL: nothing to do */
	zbz_status (*reopen)(void *self, zbz_call *c); /* logrotate has moved the file; NULL: nothing to do */
	/* Optional, for memory: appends the texts it holds; clear: and forgets them. From any thread. */
	zbz_status (*read)(void *self, zbz_call *c, bool clear, zbz_buf *out);
	/* Bytes that name what this sink writes to (a resolved path, a URL without its password): outputs with the same identity share a writer, and of
	 * one process a ring; the options of the last one opened hold. A terminal sink may have none, and is shared with nobody then. */
	zbz_status (*identity)(void *self, zbz_buf *out, zbz_err *err);
} zbz_sink_ops;

/* As for caches (cache.h): built in, registered, or in a plug-in NAME.so with the door `const zbz_sink_ops *zbz_sink_plugin(void)`. */
ZBZ_API zbz_status zbz_sink_register(const zbz_sink_ops *ops, zbz_err *err);
ZBZ_API zbz_status zbz_sink_find(const char *type, const zbz_sink_ops **ops, zbz_err *err);
ZBZ_API const char *zbz_sink_name_at(size_t index);

/* ---- 2. Outputs ------------------------------------------------------------------------------------------------------------ */

typedef struct zbz_output zbz_output;

typedef enum zbz_policy { ZBZ_POLICY_BLOCK, ZBZ_POLICY_DROP_NEWEST, ZBZ_POLICY_DROP_OLDEST } zbz_policy;

/* cfg's "type" names the sink. Options of every output: account (a name for its counters, see zbz_output_account), policy (block | drop_oldest | drop_newest), block_for (longest wait of one record, then it is dropped and
 * counted), ring (directory of the rings; default /dev/shm), ring_size, sync (none | group), batch_size, batch_wait (how long a batch may fill; flush, reopen and closing do not wait for it), flush_level (nor does a record of that level or above), spool (directory on disk for
 * records while the sink fails or hangs), spool_size, retry_timeout (age of a record at which a failing sink is given up on: it goes to the dead letters),
 * max_retry_delay, linger, dead_letter, dead_letter_size. Opened again while it runs, the latest options hold at once, but for ring_size and a batch_size
 * beyond the one it has begun with (zbz_output_stats tells), and a spool that still holds records, which is emptied first. `level`, `format` and
 * filters are the router's and are taken out before. Recovers first, for a second at most, what dead processes of the same output have left; what is not
 * done then, or fails, is done by the writer. Starts no thread and makes no ring: that is for the first record, in the process that logs it. clock NULL: the
 * system's. */
ZBZ_API zbz_status zbz_output_open(const zbz_config *cfg, const zbz_clock *clock, zbz_output **out, zbz_err *err);
ZBZ_API zbz_output *zbz_output_ref(zbz_output *o);
/* The last one stops the writer after at most `linger` ms of draining (and 100 ms for a sink that hangs); what is left stays in the ring for a recovery. After
 * zbz_output_never_wait it does not wait: the writer drains on by itself, and the end of the process waits for it as long. NULL allowed. */
ZBZ_API void zbz_output_unref(zbz_output *o);
/* By the holder of the last reference, who logs no more: the draining begins, unref waits for its end. So several linger together. */
ZBZ_API void zbz_output_leave(zbz_output *o);
ZBZ_API const zbz_sink_ops *zbz_output_ops(const zbz_output *o);

/* Room for a record whose text has at most `most` bytes, contiguous; NULL: dropped by the policy and counted (c->err tells nothing: a log call
 * does not fail). Holds the output's lock: format, then commit at once. n is the final length of the text; 0 gives the place back. Never yields. */
ZBZ_API char *zbz_output_reserve(zbz_output *o, const zbz_record_head *head, size_t most);
ZBZ_API void zbz_output_commit(zbz_output *o, size_t n);
/* The same for a text that stands ready; false: dropped. */
ZBZ_API bool zbz_output_append(zbz_output *o, const zbz_record_head *head, zbz_bytes text);
/* For signal handlers, event loops and phases that cannot wait: with policy block a full ring drops at once, and closing does not linger. */
ZBZ_API void zbz_output_never_wait(zbz_output *o, bool on);

/* Everything committed before the call has been taken by the sink (and synced, with sync = group): OK or E_TIMEOUT. */
ZBZ_API zbz_status zbz_output_flush(zbz_output *o, zbz_call *c);
ZBZ_API zbz_status zbz_output_reopen(zbz_output *o, zbz_call *c);

/* What a sink of type memory holds, after a flush; clear: and forgets it. E_UNSUPPORTED by others. */
ZBZ_API zbz_status zbz_output_read(zbz_output *o, zbz_call *c, bool clear, zbz_buf *out);

/* Makes a record of this output's format of a message of the output itself ("zbz: 12 records dropped"): at most `room` bytes at `to`, the newline
 * included; returns how many, 0 for none. Called by any thread that logs and by the writer, with the output's lock held: it must not log. Without one, or
 * with NULL, the message itself is the line. The losses of a handle come as one record as soon as there is room again: before
 * its next record, on flush and close, or when the writer has caught up. */
typedef size_t (*zbz_notice_fn)(void *ud, const zbz_record_head *head, zbz_bytes message, char *to, size_t room);
ZBZ_API void zbz_output_on_notice(zbz_output *o, zbz_notice_fn format, void *ud);

typedef struct zbz_output_stats {
	uint64_t records, bytes;         /* committed by this process */
	uint64_t written, written_bytes; /* taken by the sink, of all processes this writer serves */
	/* By this process. full: by the policy; large: above 1 MiB or half of the ring; closed: there was no ring to be had, or the process is ending. */
	uint64_t dropped_full, dropped_large, dropped_closed;
	uint64_t retries, dead_letters, recovered, syncs;
	uint64_t
	    dead_letters_lost; /* of the dead letters: not in the file, because none is named, it is full or cannot be written */
	uint64_t damaged,
	    set_aside; /* places in rings where no record was to be read; rings nobody can read, kept as aside.* */
	/* In effect, which may be less than was asked for: both are made by the first record of the first process, and stay while anybody uses them.
	 * ring_size 0: there is no ring yet. */
	uint64_t ring_size, batch_size;
	size_t lag;                      /* bytes of this process's ring that the sink does not have yet */
	bool writer;                     /* does this process write? What follows is told by the one that does. */
	uint64_t failures;               /* attempts in a row that the sink has failed */
	uint64_t spooled, spooled_bytes; /* records in the spool now; their bytes */
	int64_t spool_age;               /* ms since the oldest of them came there */
	char last_error[256];            /* of the last attempt that failed, or why the last dead letter is one; "" none */
	char spool_error[256];           /* why the spool takes nothing; "" it does */
	uint64_t levels[ZBZ_LEVEL_OFF];  /* the records by level; 0: of none of those */
} zbz_output_stats;
ZBZ_API void zbz_output_stats_read(zbz_output *o, zbz_output_stats *out);

/* What the program counts of it (as zbz_log_totals_read) stands under an account: outputs of the same type and identity have the same, where there is
 * no identity those of the same option `account`. It outlives the output; one that comes back goes on in it. Of the stats everything but lag, writer
 * and the errors, which are this process's; the numbers of a process that has died hold what it had counted. */
ZBZ_API uint64_t zbz_output_account(const zbz_output *o);
ZBZ_API void zbz_account_read(uint64_t account, zbz_output_stats *out);

/* Writes what dead processes of this output have left, without opening it for logging; *records of them. */
ZBZ_API zbz_status zbz_output_recover(const zbz_config *cfg, zbz_call *c, uint64_t *records);

#ifdef __cplusplus
}
#endif
#endif
