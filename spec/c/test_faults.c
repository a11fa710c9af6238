/* What goes wrong around a whole stack (store, cache, table), over every provider: forks while threads and the engine are at
 * work, memory that runs out at every single allocation, stored bytes that are damaged. Redis and memcached take part when
 * REDIS_URL and MEMCACHED_SERVERS say where they are. */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>

#include "faults.h"
#include "stack.h"

/* The plain build does it all. ThreadSanitizer allows no threads in a child of a program that has some, and neither sanitizer brings the
 * locks of its allocator over a fork: where another thread had one, the child hangs in it. */
enum { CHILD_THREADS = !SANITIZED, BUSY = !SANITIZED };
enum { FORKS = 6, LOADS = 2, JOBS = 8 };

static char folder[] = "/tmp/zbz-test-XXXXXX";

/* ---- forks ---- */

static atomic_bool enough;

typedef struct worker {
	zbz_job job; /* or a thread's */
	stack *k;
	char key[16];
	pthread_t thread;
	int bad;
} worker;

static void work_once(zbz_job *job) {
	worker *w = (worker *)(void *)job;
	w->bad += put(w->k, w->key, w->key) != ZBZ_OK || !holds(w->k, w->key, w->key);
}
static void work_dropped(zbz_job *job) { (void)job; }

static void *work_on(void *ud) {
	worker *w = ud;
	while (!atomic_load(&enough)) work_once(&w->job);
	return NULL;
}

static bool engine_works(stack *k, worker jobs[JOBS]) {
	zbz_mailbox *mb = NULL;
	zbz_err err = { 0 };
	int i, bad = 0, got = 0;
	if (zbz_mailbox_new(JOBS, &mb, &err) != ZBZ_OK) return false;
	for (i = 0; i < JOBS; i++) {
		jobs[i] = (worker){ .job = { .run = work_once, .drop = work_dropped }, .k = k };
		snprintf(jobs[i].key, sizeof jobs[i].key, "job%d", i);
		bad += zbz_submit(mb, &jobs[i].job, &err) != ZBZ_OK;
	}
	while (bad == 0 && got < JOBS && zbz_mailbox_wait(mb, zbz_mono(zbz_clock_system()) + 20000, &err) == ZBZ_OK) {
		zbz_job *job = zbz_mailbox_drain(mb, JOBS);
		for (; job != NULL; job = job->next, got++) bad += ((worker *)(void *)job)->bad;
	}
	zbz_mailbox_close(mb);
	if (bad != 0 || got != JOBS) fprintf(stderr, "  engine: %d bad, %d of %d ended: %s\n", bad, got, JOBS, err.text);
	return bad == 0 && got == JOBS;
}

static int child(stack *k, zbz_flight *parents, worker jobs[JOBS]) {
	bool all;
	int at;
	alarm(30);
	if (!holds(k, "parent", "parent")) return 101;
	if (put(k, "child", "child") != ZBZ_OK || !holds(k, "child", "child")) return 102;
	at = every_call(k, "held", &all); /* which the parent is loading */
	if (at != 0 || !all) return at != 0 ? at : 103;
	if (CHILD_THREADS && !engine_works(k, jobs)) return 104;
	zbz_flight_leave(parents);
	stack_close(k);
	return 0;
}

static void await_jobs(zbz_mailbox *mb) {
	zbz_err err;
	int got = 0;
	while (got < JOBS && zbz_mailbox_wait(mb, ZBZ_NEVER, &err) == ZBZ_OK)
		for (zbz_job *job = zbz_mailbox_drain(mb, JOBS); job != NULL; job = job->next, got++)
			CHECK(((worker *)(void *)job)->bad == 0);
}

/* The parent's threads never stop, its engine has jobs in hand, and it leads a flight. */
static void fork_at_work(stack *k) {
	static worker jobs[JOBS], childs[JOBS];
	worker load[LOADS];
	zbz_mailbox *mb = NULL;
	zbz_flight *f;
	zbz_seat seat;
	zbz_err err;
	int i, n;
	CHECK(put(k, "parent", "parent") == ZBZ_OK && zbz_mailbox_new(JOBS * FORKS, &mb, &err) == ZBZ_OK);
	atomic_store(&enough, false);
	for (i = 0; BUSY && i < LOADS; i++) {
		load[i] = (worker){ .k = k };
		snprintf(load[i].key, sizeof load[i].key, "load%d", i);
		pthread_create(&load[i].thread, NULL, work_on, &load[i]);
	}
	for (n = 0; n < FORKS; n++) {
		int status = -1;
		pid_t pid;
		CHECK(zbz_table_flight(k->t, b("held"), NULL, &f, &seat, &err) == ZBZ_OK && seat == ZBZ_LEADS);
		for (i = 0; i < JOBS; i++) {
			jobs[i] = (worker){ .job = { .run = work_once, .drop = work_dropped }, .k = k };
			snprintf(jobs[i].key, sizeof jobs[i].key, "busy%d", i);
			CHECK(zbz_submit(mb, &jobs[i].job, &err) == ZBZ_OK);
		}
		if (!BUSY) await_jobs(mb);
		fflush(NULL);
		pid = fork();
		if (pid == 0) _exit(child(k, f, childs));
		CHECK(waitpid(pid, &status, 0) == pid);
		if (status != 0) fprintf(stderr, "  %s: child: %#x\n", zbz_store_ops(k->store)->name, (unsigned)status);
		CHECK(status == 0);
		if (BUSY) await_jobs(mb);
		CHECK(zbz_flight_commit_lock(f)); /* nobody in this process has touched it */
		zbz_flight_commit_unlock(f);
		zbz_flight_leave(f);
		CHECK(holds(k, "parent", "parent"));
	}
	atomic_store(&enough, true);
	for (i = 0; BUSY && i < LOADS; i++) {
		pthread_join(load[i].thread, NULL);
		CHECK(load[i].bad == 0);
	}
	zbz_mailbox_close(mb);
}

static void fork_over(const char *provider, const char *name, const char *value) {
	zbz_err err = { 0 };
	zbz_call c;
	stack k;
	bool all;
	CHECK(stack_open(&k, provider, name, value, &err) == ZBZ_OK);
	if (k.t == NULL) {
		fprintf(stderr, "  %s: %s\n", provider, err.text);
		return;
	}
	fork_at_work(&k);
	CHECK(every_call(&k, "after", &all) == 0 && all);
	zbz_table_begin(k.t, &c, -1);
	CHECK(zbz_table_clear(k.t, &c, NULL) == ZBZ_OK);
	stack_close(&k);
}

static void forks(void) {
	fork_over("memory", NULL, NULL);
	fork_over("fault", "inner", "memory");
	fork_over("filesystem", "base_dir", folder);
	if (getenv("REDIS_URL") != NULL) fork_over("redis", "url", getenv("REDIS_URL"));
	if (getenv("MEMCACHED_SERVERS") != NULL) fork_over("memcached", "servers", getenv("MEMCACHED_SERVERS"));
}

/* ---- memory runs out ---- */

/* The n-th allocation of everything fails, opening included. What was there before is there after, and all works again. */
static bool life(const char *provider, const char *name, const char *value, long n, long after_open) {
	zbz_err err = { 0 };
	zbz_status s;
	stack k;
	long live;
	bool all, failed;
	int at = 0;
	faults_begin(after_open != 0 ? 0 : n);
	s = stack_open(&k, provider, name, value, &err);
	CHECK(s == ZBZ_OK || (s == ZBZ_E_INTERNAL && err.text[0] != '\0'));
	if (s == ZBZ_OK && after_open != 0) {
		CHECK(put(&k, "kept", "value") == ZBZ_OK);
		faults.calls = 0;
		faults.fail = n;
	}
	if (s == ZBZ_OK) at = every_call(&k, "load", &all);
	failed = faults.failed;
	faults.fail = 0;
	if (at != 0) fprintf(stderr, "  %s: allocation %ld, step %d\n", provider, n, at);
	CHECK(at == 0);
	if (s == ZBZ_OK) {
		CHECK(after_open == 0 || holds(&k, "kept", "value"));
		CHECK(every_call(&k, "load", &all) == 0 && all);
	}
	stack_close(&k);
	faults_end(&live);
	CHECK(live == 0);
	return failed;
}

static void sweep(const char *provider, const char *name, const char *value) {
	long n, after;
	for (after = 0; after < 2; after++) {
		for (n = 1; n < 5000 && life(provider, name, value, n, after); n++) {}
		CHECK(n > 5 && n < 5000);
	}
}

static void allocations(void) {
	sweep("memory", NULL, NULL);
	sweep("fault", "inner", "memory");
	sweep("filesystem", "base_dir", folder);
}

/* ---- damage ---- */

/* Every way to cut an envelope short: an error, and the bytes are still there for whoever wants to look. */
static void damage_over(const char *provider, const char *name, const char *value) {
	static const zbz_seal seal = { .expire_at = INT64_MAX / 2, .stored_at = 1 };
	zbz_buf whole = { 0 }, out = { 0 };
	zbz_err err;
	zbz_call c;
	stack k;
	size_t n;
	CHECK(stack_open(&k, provider, name, value, &err) == ZBZ_OK);
	CHECK(zbz_envelope_seal(&seal, b("payload"), &whole, &err) == ZBZ_OK);
	for (n = 4; n < whole.n - 7; n++) {
		zbz_bytes key = b("damaged"), cut = zbz_b(whole.p, n);
		zbz_entry entry;
		zbz_found f;
		zbz_table_begin(k.t, &c, -1);
		CHECK(zbz_table_set_raw(k.t, &c, key, cut, 0) == ZBZ_OK);
		zbz_buf_reset(&out);
		CHECK(zbz_table_get(k.t, &c, key, &out) == ZBZ_E_CORRUPT && c.err.text[0] != '\0' && out.n == 0);
		CHECK(zbz_table_entry(k.t, &c, key, true, &out, &entry) == ZBZ_E_CORRUPT && out.n == 0);
		CHECK(zbz_table_get_many(k.t, &c, &key, 1, &out, &f) == ZBZ_OK && f.status == ZBZ_E_CORRUPT);
		zbz_buf_reset(&out);
		CHECK(zbz_table_get_raw(k.t, &c, key, &out) == ZBZ_OK && zbz_bytes_eq(zbz_buf_bytes(&out), cut));
	}
	CHECK(put(&k, "damaged", "mended") == ZBZ_OK && holds(&k, "damaged", "mended"));
	zbz_buf_clear(&whole);
	zbz_buf_clear(&out);
	stack_close(&k);
}

static void damage(void) {
	damage_over("memory", NULL, NULL);
	damage_over("filesystem", "base_dir", folder);
	if (getenv("REDIS_URL") != NULL) damage_over("redis", "url", getenv("REDIS_URL"));
	if (getenv("MEMCACHED_SERVERS") != NULL) damage_over("memcached", "servers", getenv("MEMCACHED_SERVERS"));
}

int main(void) {
	char remove[64];
	CHECK(mkdtemp(folder) != NULL);
	RUN(forks);
	RUN(allocations);
	RUN(damage);
	snprintf(remove, sizeof remove, "rm -rf '%s'", folder);
	CHECK(system(remove) == 0);
	return DONE();
}
