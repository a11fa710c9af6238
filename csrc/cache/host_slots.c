/* Taking and releasing host-wide locks. */
#include "host_layout.h"

#include <limits.h>
#include <sched.h>
#include <time.h>
#include <unistd.h>

#ifdef __linux__
#include <linux/futex.h>
#include <sys/syscall.h>
#endif

enum { SPINS = 200, YIELDS = 50, NAP_NS = 50000, PATIENCE_MS = 20 };

#ifndef ZBZ_HOST_POINT /* where a test has a process die */
#define ZBZ_HOST_POINT() ((void)0)
#endif

int64_t zbz_host_now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- the word that sleepers watch ---- */

uint32_t zbz_host_seen(const zbz_host_segment *segment) { return atomic_load(&segment->file->head.released); }

#ifdef __linux__
void zbz_host_sleep(zbz_host_segment *segment, uint32_t seen, int64_t ms) {
	struct timespec t = { (time_t)(ms / 1000), (long)(ms % 1000) * 1000000 };
	syscall(SYS_futex, &segment->file->head.released, FUTEX_WAIT, seen, &t, NULL, 0);
}
static void wake(zbz_host_segment *segment) {
	atomic_fetch_add(&segment->file->head.released, 1);
	syscall(SYS_futex, &segment->file->head.released, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}
#else
void zbz_host_sleep(zbz_host_segment *segment, uint32_t seen, int64_t ms) { (void)segment, (void)seen, (void)ms; }
static void wake(zbz_host_segment *segment) { (void)segment; }
#endif

/* ---- the entry of a bucket ---- */

enum { START_BITS = 42 }; /* no pid has more than 22 */

static uint64_t mark_of(zbz_life life) {
	return (uint64_t)life.pid << START_BITS | (life.start & (((uint64_t)1 << START_BITS) - 1));
}

/* Is whoever stands in the entry gone? */
static bool deserted(uint64_t mark) {
	zbz_life life = { (uint32_t)(mark >> START_BITS), mark & (((uint64_t)1 << START_BITS) - 1) };
	return zbz_life_over(life);
}

static void pause_for(int round) {
	static const struct timespec nap = { 0, NAP_NS };
	if (round < YIELDS)
		sched_yield();
	else
		nanosleep(&nap, NULL);
}

/* A dead one is stepped over; a stopped one is not waited for. */
static bool bucket_enter(zbz_host_bucket *b, uint64_t me) {
	int64_t until = 0;
	uint64_t there = 0;
	int i;
	for (i = 0; i < SPINS; i++, there = 0)
		if (atomic_compare_exchange_weak(&b->entry, &there, me)) return true;
	for (i = 0;; i++, there = 0) {
		if (atomic_compare_exchange_strong(&b->entry, &there, me)) return true;
		if (i % YIELDS == YIELDS - 1 && deserted(there) && atomic_compare_exchange_strong(&b->entry, &there, me))
			return true;
		pause_for(i);
		if (until == 0)
			until = zbz_host_now() + PATIENCE_MS;
		else if (zbz_host_now() >= until)
			return deserted(there) && atomic_compare_exchange_strong(&b->entry, &there, me);
	}
}

/* Only if nobody took it for dead meanwhile. */
static void bucket_leave(zbz_host_bucket *b, uint64_t me) { atomic_compare_exchange_strong(&b->entry, &me, 0); }

/* ---- slots ---- */

static zbz_host_claim read_slot(zbz_host_segment *segment, zbz_host_slot *slot, uint64_t ticket) {
	zbz_host_claim c = { .segment = segment, .slot = slot, .ticket = ticket };
	c.until = (int64_t)atomic_load(&slot->until);
	c.holder.pid = atomic_load(&slot->pid);
	c.holder.start = atomic_load(&slot->start);
	return c;
}

static bool lapsed(const zbz_host_claim *c) {
	int64_t now = zbz_host_now();
	return c->until <= now || c->until - now > ZBZ_HOST_LEASE_MAX || zbz_life_over(c->holder);
}

static bool give_up(const zbz_host_claim *c) {
	uint64_t ticket = c->ticket;
	return atomic_compare_exchange_strong(&c->slot->ticket, &ticket, 0);
}

static bool is_of(const zbz_host_slot *slot, const uint64_t id[2]) {
	return atomic_load(&slot->id[0]) == id[0] && atomic_load(&slot->id[1]) == id[1];
}

/* The slot of this id: OK; or REFUSED and *out its holder. Else a free one, by force if there is none. */
static zbz_status find_slot(zbz_host_segment *segment, zbz_host_bucket *b, const uint64_t id[2], zbz_host_claim *out,
                            bool *cleared) {
	zbz_host_slot *free_one = NULL;
	int i;
	for (i = 0; i < ZBZ_HOST_SLOTS; i++) {
		zbz_host_slot *slot = &b->slots[i];
		uint64_t ticket = atomic_load(&slot->ticket);
		if (ticket != 0 && is_of(slot, id)) {
			*out = read_slot(segment, slot, ticket);
			if (!lapsed(out)) return ZBZ_REFUSED;
			*cleared = give_up(out) || *cleared;
			ticket = 0;
		}
		if (ticket == 0 && free_one == NULL) free_one = slot;
	}
	for (i = 0; i < ZBZ_HOST_SLOTS && free_one == NULL; i++) {
		*out = read_slot(segment, &b->slots[i], atomic_load(&b->slots[i].ticket));
		if (out->ticket == 0 || (lapsed(out) && give_up(out))) free_one = &b->slots[i];
		*cleared = *cleared || free_one != NULL;
	}
	out->slot = free_one;
	return free_one != NULL ? ZBZ_OK : ZBZ_MISS;
}

static uint64_t next_ticket(zbz_host_segment *segment) {
	uint64_t ticket;
	do ticket = (atomic_fetch_add(&segment->file->head.tickets, 1) + 1) & (UINT64_MAX >> 2);
	while (ticket == 0);
	return ticket;
}

static void fill_slot(zbz_host_claim *c, const uint64_t id[2]) {
	zbz_host_slot *slot = c->slot;
	atomic_store(&slot->id[0], id[0]);
	ZBZ_HOST_POINT();
	atomic_store(&slot->id[1], id[1]);
	atomic_store(&slot->pid, c->holder.pid);
	ZBZ_HOST_POINT();
	atomic_store(&slot->start, c->holder.start);
	atomic_store(&slot->until, (uint64_t)c->until);
	ZBZ_HOST_POINT();
	atomic_store(&slot->ticket, c->ticket);
}

zbz_status zbz_host_take(const uint8_t id[ZBZ_LOCK_ID], int64_t lease_ms, zbz_host_claim *out, zbz_err *err) {
	zbz_host_segment *segment = zbz_host_segment_of(err);
	zbz_life self = zbz_life_self();
	uint64_t words[2], me = mark_of(self);
	zbz_host_bucket *b;
	bool cleared = false;
	zbz_status s;
	if (segment == NULL) return err->status;
	memcpy(words, id, sizeof words);
	b = &segment->file->buckets[words[0] % ZBZ_HOST_BUCKETS];
	if (!bucket_enter(b, me)) return ZBZ_MISS;
	ZBZ_HOST_POINT();
	s = find_slot(segment, b, words, out, &cleared);
	if (s == ZBZ_OK) {
		int64_t lease = lease_ms < ZBZ_HOST_LEASE_MAX ? lease_ms : ZBZ_HOST_LEASE_MAX;
		out->segment = segment;
		out->ticket = next_ticket(segment);
		out->until = zbz_host_now() + lease;
		out->holder = self;
		ZBZ_HOST_POINT();
		fill_slot(out, words);
	}
	ZBZ_HOST_POINT();
	bucket_leave(b, me);
	if (cleared) wake(segment);
	return s;
}

bool zbz_host_release(const zbz_host_claim *claim, zbz_outcome outcome) {
	bool ours;
	if (atomic_load(&claim->slot->ticket) == claim->ticket)
		atomic_store(&claim->slot->last, claim->ticket << 2 | (uint64_t)outcome);
	ZBZ_HOST_POINT();
	ours = give_up(claim);
	ZBZ_HOST_POINT();
	if (ours) wake(claim->segment);
	return ours;
}

bool zbz_host_over(const zbz_host_claim *claim, zbz_outcome *outcome) {
	uint64_t last;
	*outcome = ZBZ_OUTCOME_UNKNOWN;
	if (atomic_load(&claim->slot->ticket) == claim->ticket) return false;
	last = atomic_load(&claim->slot->last);
	if (last >> 2 == claim->ticket) *outcome = (zbz_outcome)(last & 3);
	return true;
}

bool zbz_host_reap(const zbz_host_claim *claim, zbz_outcome *outcome) {
	if (zbz_host_over(claim, outcome)) return true;
	if (!lapsed(claim)) return false;
	if (give_up(claim)) wake(claim->segment);
	return true;
}
