/* Locks among processes and threads, over stores that they share: who waits, who is woken, what becomes of a holder's death. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <zbz/zbz.h>

#include "check.h"
#include "child.h"
#include "faults.h"

enum { SLOW = SANITIZED ? 5 : 1 };

static zbz_err err;

static char dir[] = "/tmp/zbz-test-lock-XXXXXX";
static zbz_store *stores[2];
static zbz_cache *caches[2];
static zbz_table *tables[2];

static bool open_side(int i, const char *provider) {
	zbz_config *cfg = zbz_config_new();
	zbz_cache_opts o = { .key_prefix = zbz_bstr("p:") };
	zbz_table_opts to = { .name = zbz_bstr("t"), .ttl = -1, .deadline = -1 };
	bool ok = cfg != NULL && zbz_config_set_text(cfg, "provider", zbz_bstr(provider), &err) == ZBZ_OK;
	if (ok && strcmp(provider, "filesystem") == 0)
		ok = zbz_config_set_text(cfg, "base_dir", zbz_bstr(dir), &err) == ZBZ_OK;
	ok = ok && zbz_store_open(cfg, NULL, &stores[i], &err) == ZBZ_OK;
	zbz_config_free(cfg);
	return ok && zbz_cache_new(stores[i], &o, &caches[i], &err) == ZBZ_OK &&
	       zbz_table_new(caches[i], &to, &tables[i], &err) == ZBZ_OK;
}

static void open_sides(const char *provider) { CHECK(open_side(0, provider) && open_side(1, provider)); }

static void close_sides(void) {
	int i;
	for (i = 0; i < 2; i++) {
		zbz_table_free(tables[i]);
		zbz_cache_unref(caches[i]);
		zbz_store_unref(stores[i]);
	}
}

static zbz_lock *new_lock(int side, const char *key, zbz_reach reach, const void *owner) {
	zbz_lock *l = NULL;
	CHECK(zbz_table_lock(tables[side], zbz_bstr(key), reach, owner, &l, &err) == ZBZ_OK && l != NULL);
	return l;
}

static zbz_status try_for(zbz_lock *l, int64_t lease) {
	zbz_call c;
	zbz_table_begin(tables[0], &c, 0);
	return zbz_lock_try(l, &c, lease);
}
static zbz_status try(zbz_lock *l) { return try_for(l, 60000); }

static zbz_status release(zbz_lock *l, zbz_outcome outcome) {
	zbz_call c;
	zbz_table_begin(tables[0], &c, 0);
	return zbz_lock_release(l, &c, outcome);
}

static void wait_once(zbz_lock *l) {
	int64_t patience = zbz_lock_patience(l), now = zbz_mono(zbz_clock_system());
	zbz_err e;
	if (zbz_lock_ended(l)) return;
	zbz_lock_wait(l, zbz_clock_system(), patience == ZBZ_NEVER ? ZBZ_NEVER : now + patience, &e);
}

/* As a caller does who was refused: until it is told how it ended, or may go on. */
static zbz_outcome outlast(zbz_lock *l) {
	do wait_once(l);
	while (!(zbz_lock_ended(l) && zbz_lock_outcome(l) != ZBZ_OUTCOME_UNKNOWN) && try(l) == ZBZ_REFUSED);
	return zbz_lock_outcome(l);
}

static void calls_back(void *ud) { atomic_fetch_add((atomic_int *)ud, 1); }

static void one_after_another(zbz_reach reach) {
	zbz_lock *a = new_lock(0, "k", reach, &reach), *b = new_lock(1, "k", reach, NULL), *self, *other;
	atomic_int called = 0;
	CHECK(try_for(a, 0) == ZBZ_E_ARGUMENT);
	CHECK(try(a) == ZBZ_OK && try(a) == ZBZ_E_ARGUMENT);
	CHECK(try(b) == ZBZ_REFUSED && !zbz_lock_own(b) && !zbz_lock_ended(b));
	CHECK(zbz_lock_patience(b) > 0 && zbz_lock_patience(b) <= 60001);
	self = new_lock(1, "k", reach, &reach);
	CHECK(try(self) == ZBZ_REFUSED && zbz_lock_own(self));
	other = new_lock(1, "another", reach, NULL);
	CHECK(try(other) == ZBZ_OK && release(other, ZBZ_OUTCOME_VALUE) == ZBZ_OK);
	CHECK(release(other, ZBZ_OUTCOME_VALUE) == ZBZ_MISS);
	CHECK(zbz_lock_on_end(self, calls_back, &called, &err) == ZBZ_OK && called == 0);
	zbz_lock_unref(self); /* its callback must not wait for ever */
	CHECK(called == 1);
	CHECK(zbz_lock_on_end(b, calls_back, &called, &err) == ZBZ_OK);
	CHECK(try(b) == ZBZ_REFUSED && called == 2);
	CHECK(zbz_lock_wait(b, zbz_clock_system(), zbz_mono(zbz_clock_system()) + 5, &err) == ZBZ_E_TIMEOUT);
	CHECK(release(a, ZBZ_OUTCOME_FAILED) == ZBZ_OK);
	CHECK(outlast(b) == ZBZ_OUTCOME_FAILED);
	CHECK(try(b) == ZBZ_OK || reach == ZBZ_REACH_CLUSTER); /* the note of the failure stands for who waited for it */
	zbz_lock_unref(b);
	CHECK(try(a) == ZBZ_OK); /* what was held at the end was given back */
	zbz_lock_unref(a);
	zbz_lock_unref(other);
	zbz_lock_unref(NULL);
}

static void on_host(void) {
	open_sides("filesystem");
	one_after_another(ZBZ_REACH_HOST);
	close_sides();
}

static void emulated(void) {
	zbz_lock *a, *b;
	open_sides("filesystem");
	one_after_another(ZBZ_REACH_CLUSTER);
	a = new_lock(0, "lease", ZBZ_REACH_CLUSTER, NULL);
	b = new_lock(1, "lease", ZBZ_REACH_CLUSTER, NULL);
	CHECK(try_for(a, 50 * SLOW) == ZBZ_OK && try(b) == ZBZ_REFUSED);
	CHECK(outlast(b) == ZBZ_OUTCOME_UNKNOWN); /* ours now */
	CHECK(release(a, ZBZ_OUTCOME_FAILED) == ZBZ_MISS);
	CHECK(release(b, ZBZ_OUTCOME_ABSENT) == ZBZ_OK);
	CHECK(try(a) == ZBZ_OK); /* a note that is not for us is no hindrance */
	CHECK(try(b) == ZBZ_REFUSED && release(a, ZBZ_OUTCOME_VALUE) == ZBZ_OK && outlast(b) == ZBZ_OUTCOME_UNKNOWN);
	CHECK(release(b, ZBZ_OUTCOME_VALUE) == ZBZ_OK);
	zbz_lock_unref(a);
	zbz_lock_unref(b);
	close_sides();
}

static void private_store(void) {
	zbz_lock *l;
	open_sides("memory");
	CHECK(zbz_table_lock(tables[0], zbz_bstr("k"), ZBZ_REACH_CLUSTER, NULL, &l, &err) == ZBZ_MISS && l == NULL);
	CHECK(zbz_table_lock(tables[0], zbz_bstr(""), ZBZ_REACH_HOST, NULL, &l, &err) == ZBZ_E_KEY && l == NULL);
	close_sides();
}

/* The names are zbz's own: no program's key, in no listing. */
static void reserved(void) {
	zbz_table_opts to = { .prefix = zbz_bstr(""), .ttl = -1, .deadline = -1 };
	zbz_lock *l;
	zbz_table *root;
	zbz_listing *list;
	zbz_call c;
	zbz_buf out = { 0 };
	zbz_bytes keys[2] = { zbz_bstr(ZBZ_RESERVED "lock:x"), zbz_bstr("fine") };
	zbz_status each[2], s = ZBZ_OK;
	size_t n = 0;
	open_sides("filesystem");
	l = new_lock(0, "k", ZBZ_REACH_CLUSTER, NULL);
	CHECK(try(l) == ZBZ_OK);
	CHECK(zbz_table_new(caches[0], &to, &root, &err) == ZBZ_OK);
	zbz_table_begin(root, &c, 0);
	CHECK(zbz_table_set(root, &c, keys[0], keys[1], NULL, NULL) == ZBZ_E_KEY);
	CHECK(zbz_table_set_many(root, &c, keys, keys, (const zbz_put *const[]){ NULL, NULL }, 2, each) == ZBZ_OK);
	CHECK(each[0] == ZBZ_E_KEY && each[1] == ZBZ_OK);
	CHECK(zbz_table_keys_open(root, &c, zbz_bstr("*"), &list) == ZBZ_OK);
	while (s == ZBZ_OK) s = zbz_table_keys_next(list, &c, 100, &out, &n);
	CHECK(s == ZBZ_END && n == 1);
	zbz_table_keys_close(list);
	zbz_buf_clear(&out);
	CHECK(zbz_table_del(root, &c, keys[1]) == ZBZ_OK);
	zbz_table_free(root);
	zbz_lock_unref(l);
	close_sides();
}

/* ---- memory that runs out ---- */

static void sweep(zbz_reach reach) {
	bool failed = true;
	long n;
	for (n = 1; failed; n++) {
		zbz_lock *l = NULL;
		zbz_call c;
		zbz_status s;
		long live;
		atomic_int called = 0;
		char key[32]; /* a release that fails leaves the lock to its lease */
		snprintf(key, sizeof key, "sweep%ld", n);
		faults_begin(n);
		zbz_table_begin(tables[0], &c, 0);
		s = zbz_table_lock(tables[0], zbz_bstr(key), reach, NULL, &l, &err);
		if (s == ZBZ_OK) s = zbz_lock_try(l, &c, 60000);
		if (s == ZBZ_OK) s = zbz_lock_release(l, &c, ZBZ_OUTCOME_VALUE);
		if (s == ZBZ_OK) s = zbz_lock_try(l, &c, 60000);
		if (s == ZBZ_OK) s = zbz_lock_on_end(l, calls_back, &called, &err);
		zbz_lock_unref(l);
		failed = faults_end(&live);
		CHECK(live == 0 && (failed || s == ZBZ_OK));
	}
	CHECK(n > 3);
}

static void memory_runs_out(void) {
	open_sides("filesystem");
	sweep(ZBZ_REACH_HOST);
	sweep(ZBZ_REACH_CLUSTER);
	close_sides();
}

/* ---- processes ---- */

/* A child that takes the lock of "held" and keeps it. */
static pid_t hold_in_child(zbz_reach reach, int64_t lease) {
	int fd[2];
	pid_t pid;
	CHECK(pipe(fd) == 0);
	pid = fork();
	if (pid == 0) {
		zbz_lock *l = NULL;
		if (zbz_table_lock(tables[1], zbz_bstr("held"), reach, NULL, &l, &err) != ZBZ_OK || try_for(l, lease) != ZBZ_OK)
			_exit(1);
		if (write(fd[1], "x", 1) != 1) _exit(1);
		for (;;) pause();
	}
	await_byte(fd[0]);
	close(fd[0]);
	close(fd[1]);
	return pid;
}

static void *wait_for_it(void *l) {
	zbz_err e;
	return zbz_lock_wait(l, zbz_clock_system(), zbz_mono(zbz_clock_system()) + 20000, &e) == ZBZ_OK ? l : NULL;
}

/* Several threads wait when the holder is killed. */
static void holder_killed(void) {
	enum { THREADS = 6, ROUNDS = 10 / SLOW };
	int round, i;
	open_sides("filesystem");
	for (round = 0; round < ROUNDS; round++) {
		zbz_lock *locks[THREADS];
		pthread_t threads[THREADS];
		void *woken;
		int64_t killed;
		pid_t pid = hold_in_child(ZBZ_REACH_HOST, 60000);
		for (i = 0; i < THREADS; i++) {
			locks[i] = new_lock(i % 2, "held", ZBZ_REACH_HOST, NULL);
			CHECK(try(locks[i]) == ZBZ_REFUSED);
			CHECK(pthread_create(&threads[i], NULL, wait_for_it, locks[i]) == 0);
		}
		killed = zbz_mono(zbz_clock_system());
		kill(pid, SIGKILL);
		for (i = 0; i < THREADS; i++) {
			pthread_join(threads[i], &woken);
			CHECK(woken != NULL && zbz_lock_outcome(locks[i]) == ZBZ_OUTCOME_UNKNOWN);
		}
		CHECK(zbz_mono(zbz_clock_system()) - killed < 1000);
		reap_child(pid);
		CHECK(try(locks[0]) == ZBZ_OK && try(locks[1]) == ZBZ_REFUSED);
		for (i = 0; i < THREADS; i++) zbz_lock_unref(locks[i]);
	}
	close_sides();
}

static void lease_ends(void) {
	zbz_lock *l;
	int64_t began = zbz_mono(zbz_clock_system());
	pid_t pid;
	open_sides("filesystem");
	pid = hold_in_child(ZBZ_REACH_HOST, 100);
	l = new_lock(0, "held", ZBZ_REACH_HOST, NULL);
	CHECK(try(l) == ZBZ_REFUSED && zbz_lock_patience(l) <= 101);
	CHECK(wait_for_it(l) == l && try(l) == ZBZ_OK);
	CHECK(zbz_mono(zbz_clock_system()) - began < 2000);
	kill(pid, SIGKILL);
	reap_child(pid);
	zbz_lock_unref(l);
	close_sides();
}

/* What a child inherits is its parent's: it neither uses it nor gives it back. */
static void inherited(zbz_reach reach) {
	zbz_lock *mine = new_lock(0, "mine", reach, NULL), *waits = new_lock(1, "mine", reach, NULL);
	atomic_int called = 0;
	int status;
	pid_t pid;
	CHECK(try(mine) == ZBZ_OK && try(waits) == ZBZ_REFUSED);
	CHECK(zbz_lock_on_end(waits, calls_back, &called, &err) == ZBZ_OK);
	pid = fork();
	if (pid == 0) {
		bool ok = release(mine, ZBZ_OUTCOME_VALUE) == ZBZ_MISS && try(mine) == ZBZ_E_CLOSED && zbz_lock_ended(waits);
		zbz_lock_unref(mine);
		zbz_lock_unref(waits);
		_exit(ok && called == 0 ? 0 : 1);
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	CHECK(called == 0 && try(waits) == ZBZ_REFUSED);
	CHECK(release(mine, ZBZ_OUTCOME_VALUE) == ZBZ_OK);
	zbz_lock_unref(mine);
	zbz_lock_unref(waits);
	CHECK(called == 1);
}

static void forks(void) {
	open_sides("filesystem");
	inherited(ZBZ_REACH_HOST);
	inherited(ZBZ_REACH_CLUSTER);
	close_sides();
}

/* ---- threads: every one takes its turn ---- */

static struct crowd {
	zbz_reach reach;
	int turns;
	long sum;                    /* under the lock */
	atomic_long without, waited; /* without: on a busy machine */
} crowd;

static void *take_turns(void *side) {
	int i;
	for (i = 0; i < crowd.turns; i++) {
		zbz_lock *l = NULL;
		zbz_status s;
		bool waited = false;
		zbz_err e;
		if (zbz_table_lock(tables[*(int *)side], zbz_bstr("crowd"), crowd.reach, NULL, &l, &e) != ZBZ_OK) return NULL;
		while ((s = try(l)) == ZBZ_REFUSED) {
			wait_once(l);
			waited = true;
		}
		atomic_fetch_add(&crowd.waited, waited);
		sched_yield(); /* so that others come meanwhile */
		if (s == ZBZ_OK)
			crowd.sum++;
		else
			atomic_fetch_add(&crowd.without, s == ZBZ_MISS);
		release(l, ZBZ_OUTCOME_VALUE);
		zbz_lock_unref(l);
	}
	return side;
}

static void take_turns_all(zbz_reach reach, int turns) {
	enum { THREADS = 6 };
	pthread_t threads[THREADS];
	int sides[THREADS], i;
	void *fine;
	crowd.reach = reach;
	crowd.turns = turns;
	crowd.sum = crowd.without = crowd.waited = 0;
	for (i = 0; i < THREADS; i++) {
		sides[i] = i % 2;
		CHECK(pthread_create(&threads[i], NULL, take_turns, &sides[i]) == 0);
	}
	for (i = 0; i < THREADS; i++) {
		pthread_join(threads[i], &fine);
		CHECK(fine != NULL);
	}
	CHECK(crowd.sum + crowd.without == (long)THREADS * turns && crowd.without < crowd.sum && crowd.waited > 0);
}

static void crowds(void) {
	open_sides("filesystem");
	take_turns_all(ZBZ_REACH_HOST, 200 / SLOW);
	take_turns_all(ZBZ_REACH_CLUSTER, 10);
	close_sides();
}

int main(void) {
	char command[64];
	CHECK(mkdtemp(dir) != NULL);
	RUN(private_store);
	RUN(on_host);
	RUN(emulated);
	RUN(reserved);
	RUN(memory_runs_out);
	RUN(forks);
	RUN(lease_ends);
	RUN(holder_killed);
	RUN(crowds);
	snprintf(command, sizeof command, "rm -rf '%s'", dir);
	CHECK(system(command) == 0);
	return DONE();
}
