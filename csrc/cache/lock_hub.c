/* A store's channel for released locks: opened by the first wait, once per process, and kept. */
#include "lock.h"

#include "base/fork.h"

enum { RETRY_MS = 1000 };

struct zbz_locks { /* under the lock of lock_wait.c */
	void *watch;
	unsigned generation; /* of the process whose channel it is */
	bool stands, busy;
	int64_t retry_at; /* after a failure; CLOCK_MONOTONIC ms */
};

zbz_locks *zbz_locks_new(void) { return zbz_calloc(1, sizeof(zbz_locks)); }
void zbz_locks_free(zbz_locks *locks) { zbz_free(locks); }

void zbz_locks_end(zbz_locks *locks, zbz_store *store) {
	void *watch;
	if (locks == NULL) return;
	zbz_locks_enter();
	watch = locks->watch;
	locks->watch = NULL;
	locks->stands = false;
	zbz_locks_leave();
	zbz_store_off_unlock(store, watch);
}

static bool stands(const zbz_locks *hub) { return hub->stands && hub->generation == zbz_fork_generation(); }

bool zbz_locks_stand(const zbz_locks *hub) {
	bool yes;
	zbz_locks_enter();
	yes = stands(hub);
	zbz_locks_leave();
	return yes;
}

static void on_unlock(void *ud, zbz_bytes name, const uint8_t *token, zbz_outcome outcome) {
	zbz_locks_tell(ud, name, token, outcome);
}

/* One at a time: who comes meanwhile looks again soon. True: it is ours to open; *left_over is the parent's. */
static bool claim(zbz_locks *hub, void **left_over) {
	unsigned now = zbz_fork_generation();
	bool ours;
	*left_over = NULL;
	zbz_locks_enter();
	if (hub->generation != now) {
		*left_over = hub->watch;
		*hub = (zbz_locks){ .generation = now };
	}
	ours = !hub->busy && !hub->stands && zbz_host_now() >= hub->retry_at;
	if (ours) hub->busy = true;
	zbz_locks_leave();
	return ours;
}

bool zbz_locks_raise(zbz_locks *hub, zbz_store *store, zbz_call *c) {
	void *left_over, *watch = NULL;
	zbz_call sub = *c;
	bool ours = claim(hub, &left_over), yes;
	zbz_store_off_unlock(store, left_over);
	if (!ours) return zbz_locks_stand(hub);
	yes = zbz_store_on_unlock(store, &sub, on_unlock, hub, &watch) == ZBZ_OK;
	zbz_locks_enter();
	hub->busy = false;
	hub->stands = yes;
	hub->watch = watch;
	hub->retry_at = zbz_host_now() + RETRY_MS;
	zbz_locks_leave();
	return yes;
}
