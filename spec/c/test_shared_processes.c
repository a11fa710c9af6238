/* The `shared` provider among processes and threads: all write at once, and writers die or stop in the middle. */
#include "shared_rig.h"

/* ---- many processes ---- */

enum { HAMMERS = 4, HAMMER_KEYS = 300 };

/* The exit code tells whether every value was whole. */
static int hammer(uint32_t nth, int rounds) {
	int i;
	seed += nth * 7919;
	atomic_fetch_add(&forks, 1);
	for (i = 0; i < rounds; i++) {
		uint32_t key = (uint32_t)(next_random() % HAMMER_KEYS);
		zbz_status s = next_random() % 3 == 0 ? put_numbered(sh, key, 0) : get_numbered(key);
		if (s < 0 && s != ZBZ_E_UNAVAILABLE) return 1;
	}
	return 0;
}

static void test_four_processes(void) {
	pid_t child[HAMMERS];
	zbz_shared_totals all, mine;
	uint32_t i;
	sh = open_it("hammered", NULL, 256 << 10);
	for (i = 0; i < HAMMERS; i++)
		if ((child[i] = fork()) == 0) _exit(hammer(i, 150000 / SLOW));
	for (i = 0; i < HAMMERS; i++) CHECK(exit_code(child[i]) == 0);
	CHECK(audit(sh));
	zbz_shared_totals_read(sh, &all, &mine);
	CHECK(all.count[ZBZ_SHARED_DAMAGED] == 0 && all.count[ZBZ_SHARED_WIPED] == 0 && all.count[ZBZ_SHARED_HITS] > 0);
	shared_close(sh);
}

static void *hammer_in_a_thread(void *arg) {
	zbz_call c = { .clock = zbz_clock_system(), .now = NOW_MS, .deadline = ZBZ_NEVER };
	zbz_buf buf = { 0 };
	char v[8192], k[16];
	uint32_t i, x = (uint32_t)(uintptr_t)arg;
	for (i = 0; i < 60000u / SLOW && arg != NULL; i++) {
		uint32_t key = (x = x * 1664525 + 1013904223) >> 16 & 255;
		snprintf(k, sizeof k, "n%u", (unsigned)key);
		if ((x >> 24) % 3 == 0) {
			zbz_write w = { .key = zbz_bstr(k), .value = zbz_b(v, make_value(v, key, x, 12 + (x >> 8) % 700)) };
			if (shared_set(sh, &c, &w, NULL) != ZBZ_OK && c.err.status != ZBZ_E_UNAVAILABLE) arg = NULL;
		} else {
			zbz_buf_reset(&buf);
			if (shared_get(sh, &c, zbz_bstr(k), &buf, NULL) == ZBZ_OK && !value_is_whole(zbz_buf_bytes(&buf), key))
				arg = NULL;
		}
	}
	zbz_buf_clear(&buf);
	return arg;
}

static void test_threads(void) {
	pthread_t thread[HAMMERS];
	uintptr_t i;
	void *fine;
	sh = open_it("threads", NULL, 256 << 10);
	for (i = 0; i < HAMMERS; i++) CHECK(pthread_create(&thread[i], NULL, hammer_in_a_thread, (void *)(i + 1)) == 0);
	for (i = 0; i < HAMMERS; i++) CHECK(pthread_join(thread[i], &fine) == 0 && fine != NULL);
	CHECK(audit(sh));
	shared_close(sh);
}

/* ---- a writer that dies ---- */

static void test_a_writer_is_killed(void) {
	zbz_shared_totals all, mine;
	int i, whole = 0, usable = 0, sound = 0, rounds = 1000 / SLOW;
	sh = open_it("killed", NULL, 1 << 20);
	for (i = 0; i < rounds; i++) {
		pid_t child;
		int status = 0;
		uint32_t key;
		bool fine = true;
		seed += 104729;
		child = fork();
		if (child == 0) write_until_struck(1 + (int)(next_random() % 3000), SIGKILL);
		while (waitpid(child, &status, 0) < 0) continue;
		CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		for (key = 0; key < 50; key++) fine = fine && get_numbered((uint32_t)(next_random() % 2000)) >= 0;
		whole += fine;
		sound += audit(sh);
		usable += put_text("alive", "yes") == ZBZ_OK && has("alive", "yes");
	}
	CHECK(whole == rounds && usable == rounds && sound == rounds);
	zbz_shared_totals_read(sh, &all, &mine);
	CHECK(all.count[ZBZ_SHARED_WIPED] > 0 && all.count[ZBZ_SHARED_DAMAGED] == 0 && all.count[ZBZ_SHARED_BUSY] == 0);
	shared_close(sh);
}

enum { COPIES = 200 };

typedef struct copy {
	zbz_seen seen;
	zbz_buf value;
} copy;

static void take_copy(copy *c, uint32_t key) {
	char k[16];
	zbz_buf_reset(&c->value);
	memset(&c->seen, 0, sizeof c->seen);
	snprintf(k, sizeof k, "n%u", (unsigned)key);
	if (put_numbered(sh, key, 0) == ZBZ_OK)
		CHECK(shared_get_seen(sh, at(NOW_MS), zbz_bstr(k), &c->value, &c->seen) == ZBZ_OK && c->seen.word != NULL);
}

/* Whoever has died in whatever shard: a copy that stands is what a reader gets, and where a reader gets nothing or
 * something else, none stands. */
static bool copy_is_honest(copy *c, uint32_t key) {
	bool stood = zbz_seen_stands(&c->seen);
	zbz_status status = get_numbered(key);
	bool same = status == ZBZ_OK && zbz_bytes_eq(zbz_buf_bytes(&out), zbz_buf_bytes(&c->value));
	return same || (status >= 0 && (!stood || !zbz_seen_stands(&c->seen)));
}

static void test_copies_while_writers_are_killed(void) {
	static copy copies[COPIES];
	int i, honest = 0, fallen = 0, rounds = 200 / SLOW;
	uint32_t key;
	sh = open_it("copies", NULL, 1 << 20);
	for (i = 0; i < rounds; i++) {
		pid_t child;
		bool fine = true;
		for (key = 0; key < COPIES; key++) take_copy(&copies[key], key);
		seed += 104729;
		child = fork();
		if (child == 0) write_until_struck(1 + (int)(next_random() % 2000), SIGKILL);
		CHECK(exit_code(child) == -1);
		for (key = 0; key < COPIES; key++) fine = fine && copy_is_honest(&copies[key], key);
		for (key = 0; key < 2000; key++)
			put_numbered(sh, key + 2000, 0); /* in every shard: the dead one's is emptied */
		for (key = 0; key < COPIES; key++) {
			fine = fine && copy_is_honest(&copies[key], key);
			fallen += !zbz_seen_stands(&copies[key].seen);
		}
		honest += fine;
	}
	CHECK(honest == rounds && fallen > 0);
	for (key = 0; key < COPIES; key++) zbz_buf_clear(&copies[key].value);
	shared_close(sh);
}

static double us_since(const struct timespec *from) {
	struct timespec to;
	clock_gettime(CLOCK_MONOTONIC, &to);
	return (double)(to.tv_sec - from->tv_sec) * 1e6 + (double)(to.tv_nsec - from->tv_nsec) / 1e3;
}

static int by_size(const void *a, const void *b) { return *(const double *)a < *(const double *)b ? -1 : 1; }

/* The time of the first write after a death, in a segment of the usual size. */
static void test_recovery_is_quick(void) {
	enum { TIMES = 15 };
	double us[TIMES];
	int i;
	sh = open_it("quick", NULL, 32 << 20);
	for (i = 0; i < TIMES; i++) {
		struct timespec start;
		pid_t child = fork();
		if (child == 0) {
			zbz_shared_target t = zbz_shared_aim(sh, zbz_bstr("k"), NOW_MS);
			if (!zbz_shared_trylock(sh, t.shard)) _exit(1);
			zbz_shared_enter(sh, t.s, zbz_shared_bucket_at(sh, t.s, zbz_shared_home(sh, t.hash)));
			raise(SIGKILL);
		}
		CHECK(exit_code(child) == -1);
		clock_gettime(CLOCK_MONOTONIC, &start);
		CHECK(i % 2 == 0 ? put_text("k", "v") == ZBZ_OK : get_at(NOW_MS, zbz_bstr("k")) == ZBZ_MISS);
		us[i] = us_since(&start);
	}
	qsort(us, TIMES, sizeof *us, by_size);
	CHECK(us[TIMES / 2] < 100 * SLOW * SLOW);
	CHECK(audit(sh));
	shared_close(sh);
}

/* A holder that was stopped delays others for a bounded time, and only those of its part. */
static void test_a_writer_is_stopped(void) {
	struct timespec start;
	uint32_t i, busy = 0, fine = 0;
	int status;
	pid_t child;
	sh = open_it("stopped", NULL, 32 << 20);
	for (i = 0; i < 2000; i++) CHECK(put_numbered(sh, i, 0) == ZBZ_OK);
	child = fork();
	if (child == 0) write_until_struck(500, SIGSTOP);
	CHECK(waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status));
	clock_gettime(CLOCK_MONOTONIC, &start);
	for (i = 0; i < 2000; i++) CHECK(get_numbered(i) >= 0);
	for (i = 0; i < 2000; i++) {
		zbz_status s = put_numbered(sh, i, 0);
		CHECK(s == ZBZ_OK || (s == ZBZ_E_UNAVAILABLE && call.err.retryable && strstr(call.err.text, "busy") != NULL));
		busy += s == ZBZ_E_UNAVAILABLE;
		fine += s == ZBZ_OK;
	}
	CHECK(busy > 0 && fine > 1900 && us_since(&start) < 2e6 * SLOW);
	kill(child, SIGKILL);
	CHECK(waitpid(child, &status, 0) == child);
	for (i = 0; i < 2000; i++) CHECK(put_numbered(sh, i, 0) == ZBZ_OK && get_numbered(i) == ZBZ_OK);
	CHECK(audit(sh));
	shared_close(sh);
}

int main(void) {
	RUN(test_four_processes);
	RUN(test_threads);
	RUN(test_a_writer_is_killed);
	RUN(test_copies_while_writers_are_killed);
	RUN(test_recovery_is_quick);
	RUN(test_a_writer_is_stopped);
	zbz_buf_clear(&out);
	return DONE();
}
