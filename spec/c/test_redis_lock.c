/* Locks on a Redis server: whose they are, when they end, and what is told of it. */
#include "faults.h"
#include "redis_rig.h"

#define NAME zbz_bstr(ZBZ_RESERVED "lock:one")

static const uint8_t token_a[ZBZ_LOCK_TOKEN] = "aaaaaaaa\0\n\r aaa", token_b[ZBZ_LOCK_TOKEN] = "bbbbbbbbbbbbbbb";

static zbz_status lock(rig *r, const uint8_t *token, int64_t lease, zbz_holder *holder) {
	*holder = (zbz_holder){ .left = -1 };
	return ops->lock(r->self, rig_call(r, 0), NAME, token, lease, holder);
}
static zbz_status unlock(rig *r, const uint8_t *token, zbz_outcome outcome) {
	return ops->unlock(r->self, rig_call(r, 0), NAME, token, outcome);
}

/* ---- what was told --------------------------------------------------------------------------------------------------- */

typedef struct told {
	tally n; /* unlocks, gaps */
	bool ours;
	uint8_t token[ZBZ_LOCK_TOKEN];
	zbz_outcome outcome;
} told;

static void on_unlock(void *ud, zbz_bytes name, const uint8_t *token, zbz_outcome outcome) {
	told *t = ud;
	pthread_mutex_lock(&t->n.lock);
	if (name.p) {
		tally_add(&t->n, 0);
		t->ours = zbz_bytes_eq(name, NAME);
		memcpy(t->token, token, sizeof t->token);
		t->outcome = outcome;
	} else {
		tally_add(&t->n, 1);
	}
	pthread_mutex_unlock(&t->n.lock);
}

static bool await(told *t, int times, int gaps) {
	return tally_await(&t->n, times, gaps, 0) && tally_count(&t->n, 0) == times;
}

/* ---- tests ------------------------------------------------------------------------------------------------------------ */

static void test_lock(void) {
	rig r;
	zbz_holder h;
	CHECK(rig_open(&r, "url", live.url, NULL) == ZBZ_OK);
	CHECK(lock(&r, token_a, 60000, &h) == ZBZ_OK);
	CHECK(lock(&r, token_a, 60000, &h) == ZBZ_OK); /* the first answer may have been lost */
	CHECK(lock(&r, token_b, 60000, &h) == ZBZ_REFUSED && memcmp(h.token, token_a, ZBZ_LOCK_TOKEN) == 0);
	CHECK(h.left > 50000 && h.left <= 60000 && h.outcome == ZBZ_OUTCOME_UNKNOWN);
	CHECK(lock(&r, token_b, 60000, &h) == ZBZ_REFUSED && h.left > 50000);
	CHECK(lock(&r, token_a, 60000, &h) == ZBZ_OK); /* although it is marked by now */
	CHECK(unlock(&r, token_b, ZBZ_OUTCOME_VALUE) == ZBZ_MISS);
	CHECK(unlock(&r, token_a, ZBZ_OUTCOME_VALUE) == ZBZ_OK && unlock(&r, token_a, ZBZ_OUTCOME_VALUE) == ZBZ_MISS);
	CHECK(lock(&r, token_a, 1, &h) == ZBZ_OK);
	while (lock(&r, token_b, 60000, &h) == ZBZ_REFUSED) CHECK(h.left <= 1);
	CHECK(unlock(&r, token_a, ZBZ_OUTCOME_VALUE) == ZBZ_MISS && unlock(&r, token_b, ZBZ_OUTCOME_VALUE) == ZBZ_OK);
	/* What is no lock of ours is refused and left alone. */
	CHECK(ops->del(r.self, rig_call(&r, 0), NAME) == ZBZ_MISS);
	CHECK(rig_set(&r, ZBZ_RESERVED "lock:one", "short") == ZBZ_OK && lock(&r, token_a, 60000, &h) == ZBZ_E_CORRUPT);
	CHECK(ops->del(r.self, rig_call(&r, 0), NAME) == ZBZ_OK);
	rig_close(&r);
}

static void test_told(void) {
	told t = { .n = TALLY }, elsewhere = { .n = TALLY };
	rig r, other;
	zbz_holder h;
	void *watch, *far;
	CHECK(rig_open(&r, "url", live.url, NULL) == ZBZ_OK &&
	      rig_open(&other, "url", live.url, "database", "1", NULL) == ZBZ_OK);
	CHECK(ops->on_unlock(r.self, rig_call(&r, 0), on_unlock, &t, &watch) == ZBZ_OK);
	CHECK(ops->on_unlock(other.self, rig_call(&other, 0), on_unlock, &elsewhere, &far) == ZBZ_OK);
	CHECK(lock(&r, token_a, 60000, &h) == ZBZ_OK &&
	      unlock(&r, token_a, ZBZ_OUTCOME_VALUE) == ZBZ_OK); /* nobody was refused */
	CHECK(lock(&r, token_a, 60000, &h) == ZBZ_OK && lock(&r, token_b, 60000, &h) == ZBZ_REFUSED);
	CHECK(unlock(&r, token_a, ZBZ_OUTCOME_FAILED) == ZBZ_OK && await(&t, 1, 0));
	CHECK(t.ours && t.outcome == ZBZ_OUTCOME_FAILED && memcmp(t.token, token_a, ZBZ_LOCK_TOKEN) == 0);
	CHECK(lock(&other, token_a, 60000, &h) == ZBZ_OK && lock(&other, token_b, 60000, &h) == ZBZ_REFUSED);
	CHECK(unlock(&other, token_a, ZBZ_OUTCOME_ABSENT) == ZBZ_OK && await(&elsewhere, 1, 0));
	CHECK(elsewhere.outcome == ZBZ_OUTCOME_ABSENT && tally_count(&t.n, 0) == 1);
	server_end(&live);
	CHECK(server_start(&live, live.port, NULL, NULL));
	CHECK(await(&t, 1, 1));
	ops->off_unlock(r.self, watch);
	ops->off_unlock(other.self, far);
	rig_close(&other);
	rig_close(&r);
}

/* ---- many threads over two stores: one channel each, everybody gets a turn, nobody is left behind ------------------- */

enum { THREADS = 6, TURNS = 15 };

static struct side {
	zbz_store *store;
	zbz_cache *cache;
	zbz_table *table;
} sides[2];
static long turns; /* under the lock */

static bool side_open(struct side *s) {
	zbz_config *cfg = zbz_config_new();
	zbz_cache_opts o = { .key_prefix = zbz_bstr("locks:") };
	zbz_table_opts to = { .name = zbz_bstr("t"), .ttl = -1, .deadline = -1 };
	zbz_err err;
	bool ok = zbz_config_set_text(cfg, "provider", zbz_bstr(live.url), &err) == ZBZ_OK &&
	          zbz_store_open(cfg, NULL, &s->store, &err) == ZBZ_OK;
	zbz_config_free(cfg);
	return ok && zbz_cache_new(s->store, &o, &s->cache, &err) == ZBZ_OK &&
	       zbz_table_new(s->cache, &to, &s->table, &err) == ZBZ_OK;
}

static void side_close(struct side *s) {
	zbz_table_free(s->table);
	zbz_cache_unref(s->cache);
	zbz_store_unref(s->store);
}

static zbz_status take_turn(zbz_lock *l, const struct side *s) {
	const zbz_clock *clock = zbz_clock_system();
	zbz_status status;
	zbz_call c;
	zbz_err err;
	zbz_table_begin(s->table, &c, 0);
	while ((status = zbz_lock_try(l, &c, 60000)) == ZBZ_REFUSED)
		zbz_lock_wait(l, clock, zbz_mono(clock) + zbz_lock_patience(l), &err);
	if (status != ZBZ_OK) return status;
	turns++;
	return zbz_lock_release(l, &c, ZBZ_OUTCOME_VALUE);
}

static void *take_turns(void *side) {
	int i;
	for (i = 0; i < TURNS; i++) {
		const struct side *s = side;
		zbz_lock *l;
		zbz_err err;
		if (zbz_table_lock(s->table, zbz_bstr("k"), ZBZ_REACH_CLUSTER, NULL, &l, &err) != ZBZ_OK) return NULL;
		if (take_turn(l, s) != ZBZ_OK) side = NULL;
		zbz_lock_unref(l);
		if (side == NULL) return NULL;
	}
	return side;
}

static void test_threads(void) {
	pthread_t threads[THREADS];
	void *fine;
	int64_t began = rig_now();
	int i;
	turns = 0;
	CHECK(side_open(&sides[0]) && side_open(&sides[1]));
	for (i = 0; i < THREADS; i++) CHECK(pthread_create(&threads[i], NULL, take_turns, &sides[i % 2]) == 0);
	for (i = 0; i < THREADS; i++) {
		pthread_join(threads[i], &fine);
		CHECK(fine != NULL);
	}
	CHECK(turns == (long)THREADS * TURNS);
	CHECK(rig_now() - began < 25000); /* no wait took a whole lease */
	side_close(&sides[0]);
	side_close(&sides[1]);
}

static void test_no_memory(void) {
	told t = { .n = TALLY };
	bool failed = true;
	long n, left;
	for (n = 1; n < 500 && failed; n++) {
		void *watch = NULL;
		zbz_holder h;
		zbz_status s;
		rig r;
		faults_begin(n);
		s = rig_open(&r, "url", live.url, NULL);
		if (s == ZBZ_OK) {
			s = lock(&r, token_a, 60000, &h);
			if (s == ZBZ_OK) s = lock(&r, token_b, 60000, &h) == ZBZ_REFUSED ? ZBZ_OK : ZBZ_E_INTERNAL;
			if (s == ZBZ_OK) s = unlock(&r, token_a, ZBZ_OUTCOME_VALUE);
			if (s == ZBZ_OK) s = ops->on_unlock(r.self, rig_call(&r, 0), on_unlock, &t, &watch);
			if (s == ZBZ_OK) ops->off_unlock(r.self, watch);
			rig_close(&r);
		}
		failed = faults_end(&left);
		CHECK(left == 0 && (failed || s == ZBZ_OK));
	}
	CHECK(!failed && n > 5);
}

int main(void) {
	if (!rig_begin(false)) return 1;
	RUN(test_lock);
	RUN(test_told);
	RUN(test_threads);
	RUN(test_no_memory);
	rig_end();
	return DONE();
}
