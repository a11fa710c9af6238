/* The places where the program counts: claimed, left, and summed up. */
#include "tally.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

typedef struct board {
	_Atomic uint64_t used; /* places that were ever claimed: the first ones */
	uint64_t pad[31];
	zbz_tally places[ZBZ_TALLY_PLACES];
} board;

_Static_assert(sizeof(zbz_tally) == 256 && offsetof(zbz_tally, account) == 8 * ZBZ_TALLY_GAUGES, "words");
_Static_assert(offsetof(zbz_tally, counts.failures) == 8 * ZBZ_TALLY_COUNTERS, "gauges follow the counters");
_Static_assert(offsetof(board, places) == 256, "places begin a line of the cache");

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static zbz_tally_hold *holds; /* of this process */
static board *shared;         /* NULL: there is no memory for it */

static _Atomic uint64_t *words(zbz_tally *t) { return (_Atomic uint64_t *)(void *)t; }
static uint64_t word(const zbz_tally *t, size_t i) {
	return atomic_load_explicit((const _Atomic uint64_t *)(const void *)t + i, memory_order_relaxed);
}

/* ---- places ---- */

/* Another user's is. A child that has forked itself into another namespace of processes cannot tell, and may share a place: then counts are lost. */
static bool alive(uint64_t pid) { return pid != 0 && (kill((pid_t)pid, 0) == 0 || errno != ESRCH); }

/* One that another owner of this account has left. */
static zbz_tally *find(uint64_t account, uint64_t pid) {
	uint64_t n = atomic_load(&shared->used);
	for (uint64_t i = 0; i < n; i++) {
		zbz_tally *t = &shared->places[i];
		uint64_t owner;
		if (atomic_load_explicit(&t->account, memory_order_acquire) != account) continue;
		owner = atomic_load(&t->owner);
		if (!alive(owner) && atomic_compare_exchange_strong(&t->owner, &owner, pid)) return t;
	}
	return NULL;
}

static zbz_tally *add(uint64_t account, uint64_t pid) {
	uint64_t n = atomic_load(&shared->used);
	while (n < ZBZ_TALLY_PLACES && !atomic_compare_exchange_weak(&shared->used, &n, n + 1)) {}
	if (n >= ZBZ_TALLY_PLACES) return NULL;
	atomic_store(&shared->places[n].owner, pid);
	atomic_store_explicit(&shared->places[n].account, account, memory_order_release);
	return &shared->places[n];
}

static void settle_gauges(zbz_tally *t) {
	for (size_t i = ZBZ_TALLY_COUNTERS; i < ZBZ_TALLY_GAUGES; i++) atomic_store(words(t) + i, 0);
}

static void claim(zbz_tally_hold *h) {
	uint64_t pid = (uint64_t)getpid();
	h->at = shared != NULL ? find(h->account, pid) : NULL;
	if (h->at == NULL && shared != NULL) h->at = add(h->account, pid);
	if (h->at == NULL) {
		memset(&h->own, 0, sizeof h->own);
		h->at = &h->own;
	}
	settle_gauges(h->at);
}

static void set_base(zbz_tally_hold *h, const uint64_t *counted) {
	for (size_t i = 0; i < ZBZ_TALLY_COUNTERS; i++) h->base[i] = word(h->at, i) - (counted != NULL ? counted[i] : 0);
}

/* ---- forks ---- */

static void enter(void) { pthread_mutex_lock(&lock); }
static void leave(void) { pthread_mutex_unlock(&lock); }

/* The parent goes on in its places. */
static void in_child(void) {
	for (zbz_tally_hold *h = holds; h != NULL; h = h->next) {
		uint64_t counted[ZBZ_TALLY_COUNTERS];
		for (size_t i = 0; i < ZBZ_TALLY_COUNTERS; i++) counted[i] = word(h->at, i) - h->base[i];
		claim(h);
		set_base(h, counted);
	}
	leave();
}

/* Before those of the streams, which take places with their gate locked. */
__attribute__((constructor(1000))) static void begin(void) {
	void *p = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	shared = p != MAP_FAILED ? p : NULL;
	pthread_atfork(enter, leave, in_child);
}

/* ---- holds ---- */

void zbz_tally_take(zbz_tally_hold *h, uint64_t account) {
	enter();
	h->account = account;
	claim(h);
	set_base(h, NULL);
	h->next = holds;
	holds = h;
	leave();
}

void zbz_tally_give(zbz_tally_hold *h) {
	zbz_tally_hold **at = &holds;
	enter();
	while (*at != h) at = &(*at)->next;
	*at = h->next;
	settle_gauges(h->at);
	atomic_store(&h->at->owner, 0);
	leave();
}

void zbz_tally_add(zbz_tally_hold *h, const zbz_writer_counts *counts) {
	_Atomic uint64_t *to = &h->at->counts.written;
	const _Atomic uint64_t *from = &counts->written, *end = &counts->failures;
	for (; from < end; from++, to++) zbz_counter_add(to, atomic_load(from));
}

void zbz_tally_restart(zbz_tally_hold *h) { set_base(h, NULL); }

uint64_t zbz_tally_mine(const zbz_tally_hold *h, const _Atomic uint64_t *counter) {
	size_t i = (size_t)(counter - words(h->at));
	return word(h->at, i) - h->base[i];
}

/* ---- totals ---- */

static void add_up(zbz_tally *sum, const zbz_tally *t, bool owned) {
	int64_t since = atomic_load(&t->counts.spooled_at), first = atomic_load(&sum->counts.spooled_at);
	for (size_t i = 0; i < ZBZ_TALLY_COUNTERS; i++) zbz_count_by(words(sum) + i, word(t, i));
	if (!owned) return;
	zbz_count_by(&sum->counts.failures, atomic_load(&t->counts.failures));
	zbz_count_by(&sum->counts.spooled, atomic_load(&t->counts.spooled));
	zbz_count_by(&sum->counts.spooled_bytes, atomic_load(&t->counts.spooled_bytes));
	if (since > 0 && (first == 0 || since < first)) atomic_store(&sum->counts.spooled_at, since);
}

void zbz_tally_sum(uint64_t account, zbz_tally *sum) {
	uint64_t n = shared != NULL ? atomic_load(&shared->used) : 0;
	memset(sum, 0, sizeof *sum);
	for (uint64_t i = 0; i < n; i++) {
		const zbz_tally *t = &shared->places[i];
		if (atomic_load_explicit(&t->account, memory_order_acquire) == account)
			add_up(sum, t, alive(atomic_load(&t->owner)));
	}
	enter();
	for (const zbz_tally_hold *h = holds; h != NULL; h = h->next)
		if (h->account == account && h->at == &h->own) add_up(sum, h->at, true);
	leave();
}
