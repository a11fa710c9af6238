/* One operation and its further attempts: back-off with jitter, within the deadline. */
#include "provider/redis_impl.h"

#include <errno.h>
#include <time.h>

#define BACKOFF_MIN_MS 8
#define BACKOFF_MAX_MS 512

void redis_attempt_init(redis_attempt *a, redis_self *self, zbz_call *c, bool repeatable) {
	a->self = self;
	a->c = c;
	a->conn = NULL;
	a->deadline = zbz_net_deadline(c, 0);
	a->tries = 0;
	a->repeatable = repeatable;
	a->doubtful = false;
}

zbz_status redis_attempt_begin(redis_attempt *a) {
	return redis_pool_take(a->self->pool, a->deadline, &a->conn, &a->c->err);
}

zbz_status redis_attempt_ask(redis_attempt *a, redis_answer *answers, const char *expect, zbz_buf *out) {
	redis_answers all = { .list = answers, .expect = expect, .out = out };
	size_t n = strlen(expect);
	zbz_status s = redis_exchange(a->conn, a->self->opt, a->deadline, n, redis_answers_item, &all, &a->c->err);
	size_t i;
	for (i = 0; s == ZBZ_OK && i < n; i++) s = answers[i].status;
	return s;
}

/* Half of the step is certain, half is chance (splitmix64, Steele, Lea and Flood 2014, over time and address). */
static int64_t backoff(int tries, const void *salt) {
	int64_t step = tries < 6 ? BACKOFF_MIN_MS << tries : BACKOFF_MAX_MS;
	struct timespec ts;
	uint64_t z;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	z = (uint64_t)ts.tv_nsec + (uint64_t)(uintptr_t)salt + 0x9e3779b97f4a7c15u;
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return step / 2 + (int64_t)((z ^ (z >> 31)) % (uint64_t)(step / 2 + 1));
}

static void rest(int64_t ms) {
	struct timespec ts = { .tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000 };
	while (nanosleep(&ts, &ts) != 0 && errno == EINTR) {}
}

/* A time-out is not tried again: the user has already waited for as long as was allowed. */
static bool worth_it(const redis_attempt *a, zbz_status s, bool touched) {
	if (s != ZBZ_E_UNAVAILABLE || !a->c->err.retryable) return false;
	return a->tries < a->self->opt->max_retries && (a->repeatable || !touched);
}

bool redis_attempt_again(redis_attempt *a, zbz_status s) {
	bool touched = a->conn && a->conn->touched;
	int64_t pause;
	if (a->conn) {
		redis_pool_give(a->self->pool, a->conn);
		a->conn = NULL;
		if (s >= 0) redis_pool_top_up(a->self->pool, a->deadline);
	}
	if (s >= 0 || !worth_it(a, s, touched)) return false;
	pause = backoff(a->tries, a);
	if (a->deadline != ZBZ_NEVER && zbz_net_now() + pause >= a->deadline) return false;
	rest(pause);
	a->tries++;
	a->doubtful = a->doubtful || touched;
	atomic_fetch_add_explicit(&a->self->retries, 1, memory_order_relaxed);
	return true;
}
