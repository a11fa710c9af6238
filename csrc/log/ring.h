/* A process's ring of records for one output: a file that is mapped, data twice in a row, so that no record is ever cut in two.
 *
 *   page 0   zbz_ring_head              then `size` bytes of records, each at a multiple of 8
 *
 * Positions only grow; a record lies at position % size. The owner moves head, by one release store for each record; whoever writes
 * for the output moves tail. `hold` keeps the two apart where the owner drops its oldest records. Nothing that is read from a
 * ring is believed: a file may be damaged, or the work of another version. */
#ifndef ZBZ_LOG_RING_H
#define ZBZ_LOG_RING_H

#include "futex.h"

#include <zbz/sink.h>

enum { ZBZ_RING_LAYOUT = 1, ZBZ_RING_NAME = 48, ZBZ_RING_LEAST = 65536 };

enum { ZBZ_HOLD_NONE, ZBZ_HOLD_WRITER, ZBZ_HOLD_OWNER };

typedef struct zbz_ring_head {
	char magic[8];
	uint32_t layout, page;        /* page: where the records begin */
	uint64_t size, id, pid, born; /* born: start of the owner since boot; tells a reused pid */
	uint64_t check;               /* of all before it */
	_Alignas(64) _Atomic uint64_t head;
	_Alignas(64) _Atomic uint64_t tail;
	_Atomic uint64_t taken; /* what the sink has taken for good, flushed when that is asked for */
	zbz_futex hold;
	zbz_futex moved;                  /* counts moves of tail or taken that somebody waited for */
	_Atomic uint32_t waiting, closed; /* threads of the owner that wait for `moved`; the owner has ended in order */
	_Atomic uint64_t
	    early; /* bytes beyond the tail from which on the owner wakes a writer that waits; 0: half the ring */
	_Atomic uint32_t hurry;  /* threads of the owner that wait for `taken`: no batch waits to fill */
	_Atomic uint64_t urgent; /* the end of the last record that no batch waits for */
} zbz_ring_head;

typedef struct zbz_ring {
	zbz_ring_head *h; /* NULL: none */
	char *data;
	uint64_t size, id;
	size_t mapped;
	int fd; /* the owner's, with its lock; -1 */
	char name[ZBZ_RING_NAME];
} zbz_ring;

typedef struct zbz_ring_record {
	uint32_t check, size; /* size: with this head, the parts in their order and the padding */
	uint32_t text_n;
	uint16_t labels_n;
	uint8_t logger_n, level;
	int64_t at;
} zbz_ring_record; /* then logger, labels, text */

#define ZBZ_RING_RECORD_MAX ((size_t)1 << 20) /* logger, labels and text */

/* dir NULL: memory of this process that nobody else sees. E_UNAVAILABLE naming the option ring. Its pages are claimed at once: a full
 * file system must be an error here, not a signal later. A forked child does not have the mapping. */
ZBZ_API zbz_status zbz_ring_create(const char *dir, uint64_t size, zbz_ring *out, zbz_err *err);
/* Another process's. MISS: it is gone; E_CORRUPT; E_UNSUPPORTED: of another layout. */
ZBZ_API zbz_status zbz_ring_attach(const char *dir, const char *name, zbz_ring *out, zbz_err *err);
ZBZ_API void zbz_ring_unmap(zbz_ring *ring); /* and closes; NULL ring->h allowed */
/* "PATH what: reason", naming the option ring; e may be 0. */
zbz_status zbz_ring_fail(zbz_err *err, zbz_status status, int e, const char *path, const char *what);
/* Touches its pages, for the first round of records to meet none that are new. */
ZBZ_API void zbz_ring_warm(const zbz_ring *ring);
/* Is the owner gone? Only then may the file be removed. */
ZBZ_API bool zbz_ring_dead(const char *dir, const zbz_ring *ring);
bool zbz_ring_file_dead(const char *dir,
                        const char *name); /* the same for a file that cannot be attached: its lock alone */
ZBZ_API bool zbz_ring_name_ok(const char *name);

/* The record at `pos`, checked; NULL: what stands there is none. `end`: head. */
ZBZ_API const zbz_ring_record *zbz_ring_at(const zbz_ring *ring, uint64_t pos, uint64_t end);
/* The next position after `pos` at which a record stands; `end` when there is none. */
uint64_t zbz_ring_resume(const zbz_ring *ring, uint64_t pos, uint64_t end);
ZBZ_API uint32_t zbz_ring_check(uint64_t pos, const zbz_ring_record *r);
uint64_t zbz_ring_sum(uint64_t seed, const void *bytes,
                      size_t n); /* the sum behind it: equal in all processes, no secret */

static inline uint64_t zbz_ring_used(size_t n) { return (sizeof(zbz_ring_record) + n + 7) & ~(uint64_t)7; }
static inline char *zbz_ring_body(const zbz_ring_record *r) { return (char *)(uintptr_t)(r + 1); }

/* For whoever moves tail or taken. */
static inline void zbz_ring_tell(zbz_ring_head *h) {
	if (atomic_load(&h->waiting) == 0) return;
	atomic_fetch_add(&h->moved, 1);
	zbz_futex_wake(&h->moved);
}
static inline uint64_t zbz_ring_early(const zbz_ring *ring) {
	uint64_t early = atomic_load_explicit(&ring->h->early, memory_order_relaxed);
	return early > 0 && early < ring->size / 2 ? early : ring->size / 2;
}
/* Does the last urgent record end after `from`? Beyond the head it is one that comes this moment, perhaps after others. */
static inline bool zbz_ring_urgent(const zbz_ring *ring, uint64_t from) {
	return (int64_t)(atomic_load(&ring->h->urgent) - from) > 0;
}
/* head and tail as a pair that makes sense; false: they do not. */
static inline bool zbz_ring_span(const zbz_ring *ring, uint64_t *tail, uint64_t *head) {
	*tail = atomic_load_explicit(&ring->h->tail, memory_order_acquire);
	*head = atomic_load_explicit(&ring->h->head, memory_order_acquire);
	return *head - *tail <= ring->size && (*head & 7) == 0 && (*tail & 7) == 0;
}

#endif
