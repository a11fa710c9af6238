/* A lock that gives up at the caller's deadline. A mutex cannot be awaited on the monotonic clock everywhere, a condition can. */
#include "store.h"

#include "base/fork.h"
#include "base/until.h"

#include <errno.h>
#include <sched.h>

static bool init(zbz_gate *g) {
	pthread_condattr_t attr;
	bool ok;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	ok = pthread_mutex_init(&g->lock, NULL) == 0 && pthread_cond_init(&g->freed, &attr) == 0;
	pthread_condattr_destroy(&attr);
	g->busy = false;
	atomic_store(&g->renewing, zbz_fork_generation());
	atomic_store(&g->generation, zbz_fork_generation());
	return ok;
}

/* The threads of a child wait until one of them has made the gate anew. */
static void fork_check(zbz_gate *g) {
	unsigned now = zbz_fork_generation(), seen = atomic_load(&g->renewing);
	if (atomic_load_explicit(&g->generation, memory_order_acquire) == now) return;
	if (seen != now && atomic_compare_exchange_strong(&g->renewing, &seen, now)) init(g);
	while (atomic_load_explicit(&g->generation, memory_order_acquire) != now) sched_yield();
}

zbz_gate *zbz_gate_new(void) {
	zbz_gate *g = zbz_malloc(sizeof *g);
	if (g != NULL && !init(g)) {
		zbz_free(g);
		g = NULL;
	}
	return g;
}

void zbz_gate_free(zbz_gate *g) {
	if (g == NULL) return;
	fork_check(g);
	pthread_cond_destroy(&g->freed);
	pthread_mutex_destroy(&g->lock);
	zbz_free(g);
}

zbz_status zbz_gate_enter(zbz_gate *g, const zbz_call *c, zbz_err *err) {
	zbz_status status = ZBZ_OK;
	fork_check(g);
	pthread_mutex_lock(&g->lock);
	if (g->busy) {
		int64_t left = c != NULL ? zbz_call_left(c) : INT64_MAX;
		struct timespec until = zbz_until(left);
		while (g->busy && status == ZBZ_OK) {
			if (left == INT64_MAX)
				pthread_cond_wait(&g->freed, &g->lock);
			else if (pthread_cond_timedwait(&g->freed, &g->lock, &until) == ETIMEDOUT && g->busy)
				status = zbz_fail(err, ZBZ_E_TIMEOUT, "the deadline passed while another call was using the provider");
		}
	}
	if (status == ZBZ_OK) g->busy = true;
	pthread_mutex_unlock(&g->lock);
	return status;
}

void zbz_gate_leave(zbz_gate *g) {
	pthread_mutex_lock(&g->lock);
	g->busy = false;
	pthread_cond_signal(&g->freed);
	pthread_mutex_unlock(&g->lock);
}
