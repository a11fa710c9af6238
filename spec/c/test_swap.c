/* Changing the provider of a cache, and closing it, while other threads use it. */
#include <sched.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "testmap.h"

#include "gate.h"

static zbz_cache *cache;
static zbz_table *table;

static void setup(zbz_store *first) {
	zbz_cache_opts o = { .key_prefix = zbz_bstr("p:") };
	zbz_table_opts to = { .name = zbz_bstr("t"), .ttl = -1, .deadline = -1 };
	zbz_err err;
	CHECK(first != NULL);
	CHECK(zbz_cache_new(first, &o, &cache, &err) == ZBZ_OK && zbz_table_new(cache, &to, &table, &err) == ZBZ_OK);
	zbz_store_unref(first);
}

static void teardown(void) {
	zbz_table_free(table);
	zbz_cache_unref(cache);
	CHECK(map_opened == map_closed);
}

static zbz_status swap_to(zbz_store *next, int64_t timeout_ms) {
	zbz_call c;
	zbz_table_begin(table, &c, timeout_ms);
	return zbz_cache_swap(cache, &c, next);
}

static zbz_status set(const char *key) {
	zbz_call c;
	zbz_table_begin(table, &c, 0);
	return zbz_table_set(table, &c, zbz_bstr(key), zbz_bstr("v"), NULL, NULL);
}

static bool present(const char *key) {
	zbz_call c;
	zbz_table_begin(table, &c, 0);
	return zbz_table_exists(table, &c, zbz_bstr(key)) == ZBZ_OK;
}

/* ---- under load ---- */

enum { WRITERS = 4, WRITES = 2500 };
static atomic_int errors, finished;
static atomic_bool last_switch;                    /* has happened */
static atomic_bool written_after[WRITERS][WRITES]; /* the set began after it */

static void *write_many(void *arg) {
	int who = *(int *)arg, i;
	char key[32];
	for (i = 0; i < WRITES; i++) {
		bool after = atomic_load(&last_switch);
		snprintf(key, sizeof key, "%d.%d", who, i);
		if (set(key) != ZBZ_OK) atomic_fetch_add(&errors, 1);
		atomic_store(&written_after[who][i], after);
		if (i % 50 == 0) sched_yield();
	}
	atomic_fetch_add(&finished, 1);
	return NULL;
}

static void nothing_is_lost_under_load(void) {
	pthread_t threads[WRITERS];
	int who[WRITERS], i, j, swaps = 0, after = 0, missing = 0;
	char key[32];
	zbz_store *other[2] = { map_store("", NULL), map_store("", NULL) }, *last = map_store("", NULL);
	setup(map_store("", NULL));
	for (i = 0; i < WRITERS; i++) {
		who[i] = i;
		pthread_create(&threads[i], NULL, write_many, &who[i]);
	}
	while (atomic_load(&finished) == 0 && swaps < 300) {
		if (swap_to(other[swaps % 2], 0) != ZBZ_OK) atomic_fetch_add(&errors, 1);
		swaps++;
		if (swaps == 20) break; /* early, so that many writes follow the last one */
	}
	CHECK(swap_to(last, 0) == ZBZ_OK);
	atomic_store(&last_switch, true);
	for (i = 0; i < WRITERS; i++) pthread_join(threads[i], NULL);
	for (i = 0; i < WRITERS; i++)
		for (j = 0; j < WRITES; j++) {
			if (!atomic_load(&written_after[i][j])) continue;
			after++;
			snprintf(key, sizeof key, "%d.%d", i, j);
			missing += !present(key);
		}
	CHECK(errors == 0 && missing == 0 && swaps > 0);
	CHECK(after > 0);
	zbz_store_unref(other[0]);
	zbz_store_unref(other[1]);
	zbz_store_unref(last);
	teardown();
}

static void *swap_many(void *arg) {
	zbz_store **two = arg;
	int i;
	for (i = 0; i < 300; i++)
		if (swap_to(two[i % 2], 0) != ZBZ_OK) atomic_fetch_add(&errors, 1);
	return NULL;
}

static void two_may_swap_at_once(void) {
	zbz_store *two[2] = { map_store("", NULL), map_store("inline", NULL) };
	pthread_t threads[4];
	int who[2] = { 0, 1 };
	errors = 0;
	setup(map_store("", NULL));
	pthread_create(&threads[0], NULL, swap_many, two);
	pthread_create(&threads[1], NULL, swap_many, two);
	pthread_create(&threads[2], NULL, write_many, &who[0]);
	pthread_create(&threads[3], NULL, write_many, &who[1]);
	for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
	CHECK(errors == 0);
	zbz_store_unref(two[0]);
	zbz_store_unref(two[1]);
	teardown();
}

/* ---- one step at a time ---- */

static zbz_store *failing_store(void) {
	zbz_config *cfg = zbz_config_new();
	zbz_store *inner = map_store("", NULL), *s = NULL;
	zbz_err err;
	zbz_config_set_text(cfg, "provider", zbz_bstr("fault"), &err);
	zbz_config_set_store(cfg, "inner", inner, &err);
	zbz_config_set_int(cfg, "fail_per_mille", 1000, &err);
	CHECK(zbz_store_open(cfg, NULL, &s, &err) == ZBZ_OK);
	zbz_config_free(cfg);
	zbz_store_unref(inner);
	return s;
}

static void a_failed_ping_changes_nothing(void) {
	zbz_store *bad = failing_store(), *before, *after;
	setup(map_store("", NULL));
	before = zbz_cache_store(cache);
	CHECK(set("k") == ZBZ_OK && swap_to(bad, 0) == ZBZ_E_UNAVAILABLE);
	after = zbz_cache_store(cache);
	CHECK(before == after && present("k"));
	zbz_store_unref(before);
	zbz_store_unref(after);
	zbz_store_unref(bad);
	teardown();
}

static void *set_held(void *arg) { return set("held") == ZBZ_OK ? NULL : arg; }

static void a_call_under_way_ends_on_the_old_store(void) {
	zbz_store *next = map_store("", NULL);
	pthread_t thread;
	void *failed;
	int closed;
	setup(map_store("", NULL));
	map_hook = gate_hook;
	gate_close("set");
	pthread_create(&thread, NULL, set_held, &cache);
	gate_await(1);
	closed = map_closed;
	CHECK(swap_to(next, 20) == ZBZ_E_TIMEOUT); /* switched all the same, and nothing closed under the call */
	CHECK(map_closed == closed && !present("held"));
	gate_open();
	pthread_join(thread, &failed);
	CHECK(failed == NULL && map_closed == closed + 1); /* the last one out closed it */
	CHECK(set("k") == ZBZ_OK && present("k"));
	map_hook = NULL;
	zbz_store_unref(next);
	teardown();
}

static void a_listing_outlives_a_swap(void) {
	zbz_store *next = map_store("", NULL);
	zbz_listing *l;
	zbz_call c;
	zbz_buf out = { 0 };
	size_t n = 0;
	zbz_status s;
	char key[16];
	setup(map_store("", NULL));
	for (int i = 0; i < 20; i++) {
		snprintf(key, sizeof key, "%d", i);
		CHECK(set(key) == ZBZ_OK);
	}
	zbz_table_begin(table, &c, 0);
	CHECK(zbz_table_keys_open(table, &c, zbz_bstr("*"), &l) == ZBZ_OK);
	CHECK(zbz_table_keys_next(l, &c, 3, &out, &n) == ZBZ_OK);
	CHECK(swap_to(next, 0) == ZBZ_OK);
	while ((s = zbz_table_keys_next(l, &c, 3, &out, &n)) == ZBZ_OK) {}
	CHECK(s == ZBZ_END && n == 20);
	zbz_table_keys_close(l);
	zbz_buf_clear(&out);
	zbz_store_unref(next);
	teardown();
}

/* ---- closing ---- */

static atomic_int in_use;

static void *use_until_closed(void *arg) {
	zbz_status s = ZBZ_OK;
	while (s >= 0) {
		zbz_call c;
		zbz_buf out = { 0 };
		zbz_table_begin(table, &c, 0);
		s = zbz_table_set(table, &c, zbz_bstr("k"), zbz_bstr("v"), NULL, NULL);
		if (s == ZBZ_OK) s = zbz_table_get(table, &c, zbz_bstr("k"), &out);
		zbz_buf_clear(&out);
		atomic_fetch_add(&in_use, 1);
	}
	return s == ZBZ_E_CLOSED ? NULL : arg;
}

static void *close_it(void *arg) {
	zbz_cache_close(cache);
	return NULL;
}

static void closing_under_load(void) {
	pthread_t threads[4], closer;
	void *failed;
	int i, closed;
	setup(map_store("", NULL));
	closed = map_closed;
	for (i = 0; i < 4; i++) pthread_create(&threads[i], NULL, use_until_closed, &cache);
	while (atomic_load(&in_use) < 1000) sched_yield();
	pthread_create(&closer, NULL, close_it, NULL);
	zbz_cache_close(cache);
	pthread_join(closer, NULL);
	pthread_mutex_lock(&map_census);
	CHECK(map_closed == closed + 1);
	pthread_mutex_unlock(&map_census);
	for (i = 0; i < 4; i++) {
		pthread_join(threads[i], &failed);
		CHECK(failed == NULL);
	}
	teardown();
}

static void closing_waits_for_the_call(void) {
	zbz_store *store;
	pthread_t thread, closer;
	void *failed;
	int closed;
	setup(map_store("", NULL));
	closed = map_closed;
	map_hook = gate_hook;
	gate_close("set");
	pthread_create(&thread, NULL, set_held, &cache);
	gate_await(1);
	pthread_create(&closer, NULL, close_it, NULL);
	do { /* the closer is at work once this is refused */
		store = zbz_cache_store(cache);
		zbz_store_unref(store);
		sched_yield();
	} while (store != NULL);
	pthread_mutex_lock(&map_census);
	CHECK(map_closed == closed);
	pthread_mutex_unlock(&map_census);
	gate_open();
	pthread_join(thread, &failed);
	pthread_join(closer, NULL);
	CHECK(failed == NULL && map_closed == closed + 1);
	map_hook = NULL;
	teardown();
}

/* ---- fork ---- */

static int in_child(void) {
	alarm(30);
	map_hook = NULL;
	if (set("child") != ZBZ_OK) return 1;
	zbz_table_free(table);
	zbz_cache_unref(cache); /* closes: must not wait for a thread of the parent */
	return 0;
}

static void a_child_does_not_wait_for_the_parents_calls(void) {
	pthread_t thread;
	void *failed;
	pid_t pid;
	int status = -1;
	setup(map_store("", NULL));
	map_hook = gate_hook;
	gate_close("set");
	pthread_create(&thread, NULL, set_held, &cache);
	gate_await(1);
	fflush(NULL);
	pid = fork();
	if (pid == 0) _exit(in_child());
	CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
	gate_open();
	pthread_join(thread, &failed);
	CHECK(failed == NULL);
	map_hook = NULL;
	teardown();
}

int main(void) {
	RUN(nothing_is_lost_under_load);
	RUN(two_may_swap_at_once);
	RUN(a_failed_ping_changes_nothing);
	RUN(a_call_under_way_ends_on_the_old_store);
	RUN(a_listing_outlives_a_swap);
	RUN(closing_under_load);
	RUN(closing_waits_for_the_call);
	RUN(a_child_does_not_wait_for_the_parents_calls);
	return DONE();
}
