/* The fence: no older value survives a write, in this process or through a lease in others. */
#include <sched.h>
#include <stdatomic.h>

#include "gate.h"
#include "load_rig.h"

typedef zbz_status writer(zbz_call *c);
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

int main(void) {
	RUN(a_write_fences_the_load);
	RUN(newcomers_do_not_trust_a_moved_flight);
	RUN(a_write_waits_for_the_commit);
	RUN(a_load_that_begins_inside_a_write_is_fenced);
	RUN(no_older_value_survives);
	RUN(leases);
	RUN(no_lease_where_it_means_nothing);
	RUN(a_swap_fences_the_load);
	return DONE();
}
