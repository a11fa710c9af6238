/* Single flight and fence: one loader at a time, everybody gets its answer, and no older value survives a write. */
#include <sched.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "testmap.h"

#include "gate.h"

static zbz_cache *cache;
static zbz_store *store;
static zbz_table *table;

static void setup(const char *options) {
	zbz_cache_opts o = { .key_prefix = zbz_bstr("p:") };
	zbz_table_opts to = { .name = zbz_bstr("t"), .ttl = -1, .deadline = -1 };
	zbz_err err;
	store = map_store(options, NULL);
	CHECK(store != NULL);
	CHECK(zbz_cache_new(store, &o, &cache, &err) == ZBZ_OK && zbz_table_new(cache, &to, &table, &err) == ZBZ_OK);
}

static void teardown(void) {
	zbz_table_free(table);
	zbz_cache_unref(cache);
	zbz_store_unref(store);
	CHECK(map_opened == map_closed);
}

static zbz_call begin(void) {
	zbz_call c;
	zbz_table_begin(table, &c, 0);
	return c;
}

static zbz_flight *enter(const char *key, const void *owner, zbz_seat want) {
	zbz_flight *f;
	zbz_seat seat;
	zbz_err err;
	CHECK(zbz_table_flight(table, zbz_bstr(key), owner, &f, &seat, &err) == ZBZ_OK && seat == want);
	return f;
}

static zbz_status get(const char *key, char *text, size_t size) {
	zbz_call c = begin();
	zbz_buf out = { 0 };
	zbz_status s = zbz_table_get(table, &c, zbz_bstr(key), &out);
	snprintf(text, size, "%.*s", (int)out.n, out.n != 0 ? out.p : "");
	zbz_buf_clear(&out);
	return s;
}

static zbz_status commit(zbz_flight *f, const char *key, const char *value, const zbz_version *lease) {
	zbz_call c = begin();
	return zbz_table_commit(table, &c, f, zbz_bstr(key), zbz_bstr(value), NULL, lease);
}

/* ---- seats and landings ---- */

static void seats(void) {
	zbz_flight *lead, *wait, *self, *next;
	zbz_landing how;
	zbz_bytes result;
	zbz_err err;
	int state;
	setup("private");
	lead = enter("k", &state, ZBZ_LEADS);
	wait = enter("k", NULL, ZBZ_WAITS);
	self = enter("k", &state, ZBZ_WAITS_FOR_SELF);
	zbz_flight_leave(enter("other", NULL, ZBZ_LEADS));
	CHECK(!zbz_flight_landed(wait) && zbz_flight_result(wait, false, &how, &result) == ZBZ_AGAIN);
	CHECK(zbz_flight_land(wait, ZBZ_LANDED_VALUE, zbz_bstr("x"), &err) == ZBZ_E_ARGUMENT);
	CHECK(zbz_flight_land(lead, ZBZ_LANDED_VALUE, zbz_bstr("value"), &err) == ZBZ_OK);
	CHECK(zbz_flight_land(lead, ZBZ_LANDED_VALUE, zbz_bstr("value"), &err) == ZBZ_E_ARGUMENT);
	CHECK(zbz_flight_result(wait, false, &how, &result) == ZBZ_OK && how == ZBZ_LANDED_VALUE &&
	      zbz_bytes_eq(result, zbz_bstr("value")));
	CHECK(zbz_flight_result(self, true, &how, &result) == ZBZ_AGAIN);
	zbz_flight_leave(lead);
	next = enter("k", NULL, ZBZ_LEADS); /* the key is free though waiters still read */
	CHECK(zbz_flight_result(wait, false, &how, &result) == ZBZ_OK && zbz_bytes_eq(result, zbz_bstr("value")));
	zbz_flight_leave(wait);
	zbz_flight_leave(self);
	wait = enter("k", NULL, ZBZ_WAITS);
	zbz_flight_leave(next); /* without landing */
	CHECK(zbz_flight_wait(wait, zbz_clock_system(), ZBZ_NEVER, &err) == ZBZ_OK);
	CHECK(zbz_flight_result(wait, false, &how, &result) == ZBZ_OK && how == ZBZ_LANDED_FAILED &&
	      zbz_bytes_eq(result, zbz_bstr("abandoned")));
	zbz_flight_leave(wait);
	zbz_flight_leave(NULL);
	teardown();
}

static void calls_back(void *ud) { ++*(int *)ud; }

static void callbacks(void) {
	zbz_flight *lead, *wait;
	zbz_landing how;
	zbz_bytes result;
	zbz_err err;
	int called = 0;
	setup("private");
	lead = enter("k", NULL, ZBZ_LEADS);
	wait = enter("k", NULL, ZBZ_WAITS);
	CHECK(zbz_flight_on_land(wait, calls_back, &called, &err) == ZBZ_OK && called == 0);
	CHECK(zbz_flight_land(lead, ZBZ_LANDED_NEGATIVE, zbz_b(NULL, 0), &err) == ZBZ_OK && called == 1);
	CHECK(zbz_flight_on_land(wait, calls_back, &called, &err) == ZBZ_OK && called == 2);
	zbz_flight_leave(lead);
	zbz_flight_leave(wait);
	lead = enter("k", NULL, ZBZ_LEADS);
	wait = enter("k", NULL, ZBZ_WAITS);
	CHECK(zbz_flight_land(lead, ZBZ_LANDED_NOTHING, zbz_b(NULL, 0), &err) == ZBZ_OK && zbz_flight_landed(wait));
	CHECK(zbz_flight_result(wait, false, &how, &result) == ZBZ_AGAIN);
	zbz_flight_leave(lead);
	zbz_flight_leave(wait);
	teardown();
}

static void waits_end(void) {
	zbz_clock *fake = zbz_clock_fake_new(5000);
	zbz_flight *lead, *wait;
	zbz_err err;
	setup("private");
	lead = enter("k", NULL, ZBZ_LEADS);
	wait = enter("k", NULL, ZBZ_WAITS);
	CHECK(zbz_flight_wait(wait, zbz_clock_system(), zbz_mono(zbz_clock_system()) + 5, &err) == ZBZ_E_TIMEOUT &&
	      err.retryable);
	CHECK(zbz_flight_wait(wait, fake, zbz_mono(fake) + 5, &err) == ZBZ_E_TIMEOUT);
	CHECK(zbz_flight_wait(wait, fake, zbz_mono(fake) - 5, &err) == ZBZ_E_TIMEOUT);
	zbz_flight_leave(lead);
	CHECK(zbz_flight_wait(wait, fake, zbz_mono(fake) - 5, &err) == ZBZ_OK);
	zbz_flight_leave(wait);
	zbz_clock_fake_free(fake);
	teardown();
}

static void many_keys_at_once(void) {
	enum { MANY = 1000 };
	static zbz_flight *flights[MANY];
	char key[16];
	int i;
	setup("private");
	for (i = 0; i < MANY; i++) {
		snprintf(key, sizeof key, "%d", i);
		flights[i] = enter(key, NULL, ZBZ_LEADS);
	}
	for (i = 0; i < MANY; i += 7) {
		snprintf(key, sizeof key, "%d", i);
		zbz_flight_leave(enter(key, NULL, ZBZ_WAITS));
	}
	for (i = 0; i < MANY; i++) zbz_flight_leave(flights[i]);
	teardown();
}

static void a_flight_outlives_its_registry(void) {
	zbz_flights *fs = zbz_flights_new();
	zbz_flight *lead, *wait;
	zbz_seat seat;
	zbz_err err;
	zbz_landing how;
	zbz_bytes result;
	CHECK(zbz_flight_enter(fs, zbz_bstr("k"), NULL, &lead, &seat, &err) == ZBZ_OK && seat == ZBZ_LEADS);
	CHECK(zbz_flight_enter(fs, zbz_bstr("k"), NULL, &wait, &seat, &err) == ZBZ_OK && seat == ZBZ_WAITS);
	zbz_flights_free(fs);
	CHECK(zbz_flight_land(lead, ZBZ_LANDED_FAILED, zbz_bstr("why"), &err) == ZBZ_OK);
	zbz_flight_leave(lead);
	CHECK(zbz_flight_result(wait, false, &how, &result) == ZBZ_OK && zbz_bytes_eq(result, zbz_bstr("why")));
	zbz_flight_leave(wait);
}

/* ---- sixteen threads, one key ---- */

enum { THREADS = 16, ROUNDS = 200 };
static atomic_int running, loads, bad, answers;

static void *crowd(void *arg) {
	int i;
	for (i = 0; i < ROUNDS; i++) {
		zbz_flight *f;
		zbz_seat seat;
		zbz_err err;
		char text[16];
		if (zbz_table_flight(table, zbz_bstr("k"), arg, &f, &seat, &err) != ZBZ_OK) {
			atomic_fetch_add(&bad, 1);
		} else if (seat == ZBZ_LEADS) {
			if (atomic_fetch_add(&running, 1) != 0) atomic_fetch_add(&bad, 1);
			snprintf(text, sizeof text, "%d", atomic_fetch_add(&loads, 1));
			sched_yield();
			atomic_fetch_sub(&running, 1);
			if (zbz_flight_land(f, ZBZ_LANDED_VALUE, zbz_bstr(text), &err) != ZBZ_OK) atomic_fetch_add(&bad, 1);
		} else {
			zbz_landing how;
			zbz_bytes result;
			if (zbz_flight_wait(f, zbz_clock_system(), zbz_mono(zbz_clock_system()) + 60000, &err) != ZBZ_OK)
				atomic_fetch_add(&bad, 1);
			if (zbz_flight_result(f, false, &how, &result) != ZBZ_OK || how != ZBZ_LANDED_VALUE || result.n == 0)
				atomic_fetch_add(&bad, 1);
			atomic_fetch_add(&answers, 1);
		}
		zbz_flight_leave(f);
	}
	return NULL;
}

static void one_loader_at_a_time(void) {
	static char owners[THREADS];
	pthread_t threads[THREADS];
	int i;
	setup("private");
	for (i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, crowd, &owners[i]);
	for (i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
	CHECK(bad == 0 && loads + answers == THREADS * ROUNDS && loads > 0);
	teardown();
}

/* ---- the fence ---- */

typedef zbz_status writer(zbz_call *c);
static const zbz_bytes K = { "k", 1 };
static const zbz_bytes pair[2] = { { "x", 1 }, { "k", 1 } };

static zbz_status w_del(zbz_call *c) { return zbz_table_del(table, c, K); }
static zbz_status w_set(zbz_call *c) { return zbz_table_set(table, c, K, zbz_bstr("new"), NULL, NULL); }
static zbz_status w_raw(zbz_call *c) { return zbz_table_set_raw(table, c, K, zbz_bstr("new"), -1); }
static zbz_status w_clear(zbz_call *c) { return zbz_table_clear(table, c, NULL); }
static zbz_status w_invalidate(zbz_call *c) { return zbz_table_invalidate(table, c, K); }
static zbz_status w_expire(zbz_call *c) { return zbz_table_expire(table, c, K, 1000); }
static zbz_status w_incr(zbz_call *c) {
	int64_t v;
	return zbz_table_incr(table, c, K, 1, false, 0, -1, &v);
}
static zbz_status w_set_many(zbz_call *c) {
	zbz_status st[2];
	return zbz_table_set_many(table, c, pair, pair, NULL, 2, st);
}
static zbz_status w_del_many(zbz_call *c) {
	zbz_status st[2];
	return zbz_table_del_many(table, c, pair, 2, st);
}
static zbz_status w_other_table(zbz_call *c) { /* the same full key through another window of the same store */
	zbz_table_opts o = { .prefix = zbz_bstr("p:t:"), .ttl = -1, .deadline = -1 };
	zbz_table *t;
	zbz_status s = zbz_table_new(cache, &o, &t, &c->err);
	if (s == ZBZ_OK) s = zbz_table_del(t, c, K);
	zbz_table_free(t);
	return s;
}

static void *write_once(void *arg) {
	writer *const *w = arg;
	zbz_call c = begin();
	return (*w)(&c) < 0 ? arg : NULL;
}

static void a_write_fences_the_load(void) {
	static writer *const writers[] = { w_del,    w_set,  w_raw,      w_clear,    w_invalidate,
		                               w_expire, w_incr, w_set_many, w_del_many, w_other_table };
	const size_t n = sizeof writers / sizeof *writers;
	zbz_table_stats stats;
	size_t i;
	char before[40], after[40];
	setup("private");
	for (i = 0; i < n; i++) {
		zbz_flight *f = enter("k", NULL, ZBZ_LEADS), *unrelated = enter("zz", NULL, ZBZ_LEADS);
		pthread_t thread;
		void *failed;
		zbz_status had;
		pthread_create(&thread, NULL, write_once, (void *)&writers[i]);
		pthread_join(thread, &failed);
		CHECK(failed == NULL && zbz_flight_moved(f) && zbz_flight_moved(unrelated) == (writers[i] == w_clear));
		had = get("k", before, sizeof before);
		CHECK(commit(f, "k", "older", NULL) == ZBZ_REFUSED);
		CHECK(get("k", after, sizeof after) == had && strcmp(before, after) == 0);
		zbz_flight_leave(f);
		zbz_flight_leave(unrelated);
		f = enter("k", NULL, ZBZ_LEADS);
		CHECK(commit(f, "k", "1", NULL) == ZBZ_OK && get("k", after, sizeof after) == ZBZ_OK &&
		      strcmp(after, "1") == 0);
		zbz_flight_leave(f);
	}
	zbz_table_stats_read(table, &stats);
	CHECK(stats.fenced == n);
	teardown();
}

static void newcomers_do_not_trust_a_moved_flight(void) {
	zbz_flight *lead, *early, *late;
	zbz_landing how;
	zbz_bytes result;
	zbz_err err;
	zbz_call c;
	setup("private");
	lead = enter("k", NULL, ZBZ_LEADS);
	early = enter("k", NULL, ZBZ_WAITS);
	c = begin();
	CHECK(zbz_table_del(table, &c, K) == ZBZ_MISS);
	late = enter("k", NULL, ZBZ_WAITS);
	CHECK(commit(lead, "k", "older", NULL) == ZBZ_REFUSED);
	CHECK(commit(early, "k", "older", NULL) == ZBZ_REFUSED); /* a waiter has nothing to commit */
	CHECK(zbz_flight_land(lead, ZBZ_LANDED_VALUE, zbz_bstr("older"), &err) == ZBZ_OK);
	CHECK(zbz_flight_result(early, false, &how, &result) == ZBZ_OK && zbz_bytes_eq(result, zbz_bstr("older")));
	CHECK(zbz_flight_wait(late, zbz_clock_system(), ZBZ_NEVER, &err) == ZBZ_OK &&
	      zbz_flight_result(late, false, &how, &result) == ZBZ_AGAIN);
	zbz_flight_leave(lead);
	zbz_flight_leave(early);
	zbz_flight_leave(late);
	teardown();
}

static void *commit_slowly(void *arg) { return commit(arg, "k", "loaded", NULL) == ZBZ_OK ? NULL : arg; }

static void a_write_waits_for_the_commit(void) {
	static writer *const clear = w_clear, *const del = w_del;
	writer *const *each[] = { &del, &clear };
	size_t i;
	for (i = 0; i < 2; i++) {
		pthread_t committer, deleter;
		void *failed;
		zbz_flight *f;
		char text[8];
		setup("private");
		map_hook = gate_hook;
		f = enter("k", NULL, ZBZ_LEADS);
		gate_close("set");
		pthread_create(&committer, NULL, commit_slowly, f);
		gate_await(1);
		pthread_create(&deleter, NULL, write_once, (void *)each[i]);
		gate_open();
		pthread_join(committer, &failed);
		CHECK(failed == NULL);
		pthread_join(deleter, &failed);
		CHECK(failed == NULL);
		map_hook = NULL;
		CHECK(get("k", text, sizeof text) == ZBZ_MISS); /* whichever came first, the delete came last */
		zbz_flight_leave(f);
		teardown();
	}
}

static void a_load_that_begins_inside_a_write_is_fenced(void) {
	static writer *const del = w_del;
	pthread_t deleter;
	void *failed;
	zbz_flight *f;
	char text[8];
	setup("private");
	map_hook = gate_hook;
	gate_close("del");
	pthread_create(&deleter, NULL, write_once, (void *)&del);
	gate_await(1);
	f = enter("k", NULL, ZBZ_LEADS);
	gate_open();
	pthread_join(deleter, &failed);
	map_hook = NULL;
	CHECK(failed == NULL && commit(f, "k", "older", NULL) == ZBZ_REFUSED && get("k", text, sizeof text) == ZBZ_MISS);
	zbz_flight_leave(f);
	teardown();
}

/* ---- a thousand races ---- */

static atomic_int source, race_over;
static pthread_barrier_t start_line, finish_line;

static void load_once(void) {
	zbz_flight *f;
	zbz_seat seat;
	zbz_err err;
	char text[16];
	if (zbz_table_flight(table, K, NULL, &f, &seat, &err) != ZBZ_OK) return;
	if (seat == ZBZ_LEADS) {
		snprintf(text, sizeof text, "%d", atomic_load(&source));
		sched_yield();
		commit(f, "k", text, NULL);
		zbz_flight_land(f, ZBZ_LANDED_VALUE, zbz_bstr(text), &err);
	}
	zbz_flight_leave(f);
}

static void *racer(void *arg) {
	for (;;) {
		int i;
		pthread_barrier_wait(&start_line);
		if (atomic_load(&race_over)) return NULL;
		for (i = 0; i < 4; i++) load_once();
		pthread_barrier_wait(&finish_line);
	}
}

/* Gives a write that does not wait for the commit every chance to overtake it. */
static void linger(const char *op, zbz_bytes key) {
	int i;
	if (strcmp(op, "set") == 0)
		for (i = 0; i < 20; i++) sched_yield();
}

static void no_older_value_survives(void) {
	enum { LOADERS = 3, RACES = 1000 };
	pthread_t loaders[LOADERS];
	int i, survived = 0;
	char text[16], want[16];
	setup("private");
	map_hook = linger;
	pthread_barrier_init(&start_line, NULL, LOADERS + 1);
	pthread_barrier_init(&finish_line, NULL, LOADERS + 1);
	for (i = 0; i < LOADERS; i++) pthread_create(&loaders[i], NULL, racer, NULL);
	for (i = 0; i < RACES; i++) {
		zbz_call c = begin();
		zbz_status s;
		pthread_barrier_wait(&start_line);
		if (i % 3 == 0) sched_yield();
		snprintf(want, sizeof want, "%d", atomic_fetch_add(&source, 1) + 1);
		if (i % 2 == 0)
			zbz_table_del(table, &c, K);
		else
			zbz_table_clear(table, &c, NULL);
		pthread_barrier_wait(&finish_line);
		s = get("k", text, sizeof text);
		if (s == ZBZ_OK && strcmp(text, want) != 0) survived++;
	}
	atomic_store(&race_over, 1);
	pthread_barrier_wait(&start_line);
	for (i = 0; i < LOADERS; i++) pthread_join(loaders[i], NULL);
	map_hook = NULL;
	CHECK(survived == 0);
	pthread_barrier_destroy(&start_line);
	pthread_barrier_destroy(&finish_line);
	teardown();
}

/* ---- the lease: another process is a call that goes around the front ---- */

static zbz_status elsewhere_set(const char *value) {
	zbz_call c = begin();
	zbz_write w = { zbz_bstr("p:t:k"), zbz_bstr(value), ZBZ_NO_EXPIRY, ZBZ_ALWAYS, NULL };
	return zbz_store_set(store, &c, &w, NULL);
}
static zbz_status elsewhere_del(void) {
	zbz_call c = begin();
	return zbz_store_del(store, &c, zbz_bstr("p:t:k"));
}
static zbz_version lease(const zbz_entry *seen) {
	zbz_call c = begin();
	zbz_version v;
	CHECK(zbz_table_lease(table, &c, K, seen, 10000, &v) == ZBZ_OK);
	return v;
}

static void leases(void) {
	static const char *const kinds[] = { "", "quiet" };
	char text[16];
	size_t i;
	for (i = 0; i < 2; i++) {
		zbz_flight *f;
		zbz_version v, theirs;
		zbz_entry e;
		zbz_buf out = { 0 };
		zbz_call c;
		setup(kinds[i]);
		f = enter("k", NULL, ZBZ_LEADS);
		v = lease(NULL);
		CHECK(v.n != 0 && get("k", text, sizeof text) == ZBZ_MISS);
		c = begin();
		CHECK(zbz_table_entry(table, &c, K, true, &out, &e) == ZBZ_OK && e.lease && out.n == 0);
		CHECK(commit(f, "k", "loaded", &v) == ZBZ_OK && get("k", text, sizeof text) == ZBZ_OK);
		v = lease(NULL); /* not absent after all: the version that stands */
		CHECK(v.n != 0 && commit(f, "k", "again", &v) == ZBZ_OK);
		c = begin();
		CHECK(zbz_table_entry(table, &c, K, true, &out, &e) == ZBZ_OK);
		v = lease(&e);
		CHECK(elsewhere_set("newer") == ZBZ_OK && commit(f, "k", "older", &v) == ZBZ_REFUSED);
		CHECK(get("k", text, sizeof text) == ZBZ_OK && strcmp(text, "newer") == 0);
		CHECK(elsewhere_del() == ZBZ_OK);
		v = lease(NULL);
		theirs = lease(NULL); /* a second loader finds the first one's lease, and uses it */
		CHECK(theirs.n == v.n && memcmp(theirs.b, v.b, v.n) == 0);
		CHECK(elsewhere_del() == ZBZ_OK && commit(f, "k", "older", &v) == ZBZ_REFUSED &&
		      get("k", text, sizeof text) == ZBZ_MISS);
		c = begin();
		CHECK(zbz_table_lease(table, &c, K, NULL, 0, &v) == ZBZ_E_ARGUMENT);
		zbz_flight_leave(f);
		zbz_buf_clear(&out);
		teardown();
	}
}

static void no_lease_where_it_means_nothing(void) {
	static const char *const kinds[] = { "private", "no_versions" };
	size_t i;
	char text[8];
	for (i = 0; i < 2; i++) {
		zbz_version v;
		zbz_flight *f;
		setup(kinds[i]);
		f = enter("k", NULL, ZBZ_LEADS);
		v = lease(NULL);
		CHECK(v.n == 0 && elsewhere_del() == ZBZ_MISS && commit(f, "k", "v", &v) == ZBZ_OK &&
		      get("k", text, sizeof text) == ZBZ_OK);
		zbz_flight_leave(f);
		teardown();
	}
}

static void a_swap_fences_the_load(void) {
	zbz_store *next;
	zbz_flight *f;
	zbz_call c;
	char text[8];
	setup("private");
	next = map_store("private", NULL);
	f = enter("k", NULL, ZBZ_LEADS);
	c = begin();
	CHECK(zbz_cache_swap(cache, &c, next) == ZBZ_OK);
	CHECK(commit(f, "k", "old", NULL) == ZBZ_REFUSED && get("k", text, sizeof text) == ZBZ_MISS);
	zbz_flight_leave(f);
	zbz_store_unref(next);
	teardown();
}

/* ---- fork ---- */

static int in_child(zbz_flight *lead, zbz_flight *wait) {
	zbz_err err;
	zbz_landing how;
	zbz_bytes result;
	zbz_flight *f;
	zbz_seat seat;
	alarm(30);
	if (zbz_flight_wait(wait, zbz_clock_system(), ZBZ_NEVER, &err) != ZBZ_OK) return 1;
	if (zbz_flight_result(wait, false, &how, &result) != ZBZ_AGAIN) return 2;
	if (commit(lead, "k", "v", NULL) != ZBZ_REFUSED ||
	    zbz_flight_land(lead, ZBZ_LANDED_VALUE, zbz_bstr("v"), &err) != ZBZ_OK)
		return 3;
	if (zbz_table_flight(table, K, NULL, &f, &seat, &err) != ZBZ_OK || seat != ZBZ_LEADS) return 4;
	if (commit(f, "k", "child", NULL) != ZBZ_OK) return 5;
	zbz_flight_leave(f);
	zbz_flight_leave(wait);
	zbz_flight_leave(lead);
	return 0;
}

static void a_child_is_free_of_the_parents_flights(void) {
	zbz_flight *lead, *wait;
	pid_t pid;
	int status = -1;
	setup("private");
	lead = enter("k", NULL, ZBZ_LEADS);
	wait = enter("k", NULL, ZBZ_WAITS);
	fflush(NULL);
	pid = fork();
	if (pid == 0) _exit(in_child(lead, wait));
	CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
	CHECK(commit(lead, "k", "parent", NULL) == ZBZ_OK);
	zbz_flight_leave(lead);
	zbz_flight_leave(wait);
	teardown();
}

int main(void) {
	RUN(seats);
	RUN(callbacks);
	RUN(waits_end);
	RUN(many_keys_at_once);
	RUN(a_flight_outlives_its_registry);
	RUN(one_loader_at_a_time);
	RUN(a_write_fences_the_load);
	RUN(newcomers_do_not_trust_a_moved_flight);
	RUN(a_write_waits_for_the_commit);
	RUN(a_load_that_begins_inside_a_write_is_fenced);
	RUN(no_older_value_survives);
	RUN(leases);
	RUN(no_lease_where_it_means_nothing);
	RUN(a_swap_fences_the_load);
	RUN(a_child_is_free_of_the_parents_flights);
	return DONE();
}
