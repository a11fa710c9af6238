/* The `shared` provider against everything that happens to shared memory: several processes, writers that die or stop
 * in the middle, bytes that change by themselves. The provider's files are compiled in, with a hook in the middle of
 * its writers. */
#include <signal.h>
#include <sys/wait.h>

static void in_a_writer(void);
#define ZBZ_SHARED_POINT() in_a_writer()

#include "provider/shared_layout.c"
#include "provider/shared_lock.c"
#include "provider/shared_read.c"
#include "provider/shared_ring.c"
#include "provider/shared_scan.c"
#include "provider/shared_segment.c"
#include "provider/shared_stats.c"
#include "provider/shared_write.c"
#include "provider/cache_shared.c"

#include "check.h"
#include "faults.h"

enum { NOW_MS = 1000000 };

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
enum { SLOW = 8 };
#else
enum { SLOW = 1 };
#endif

/* What the library keeps to itself. */
static atomic_uint forks;
unsigned zbz_fork_generation(void) { return atomic_load(&forks); }
const char *zbz_format_size(int64_t bytes, char out[ZBZ_SCAN_TEXT]) {
	snprintf(out, ZBZ_SCAN_TEXT, "%lld", (long long)bytes);
	return out;
}

/* ---- the hook ---- */

static volatile sig_atomic_t countdown; /* 0: nothing happens */
static int fatal_signal;

static void in_a_writer(void) {
	if (countdown > 0 && --countdown == 0) raise(fatal_signal);
}

/* ---- calls in short ---- */

static zbz_shared *sh;
static zbz_call call;
static zbz_err err;
static zbz_buf out;
static uint64_t seed = 88172645463325252u;

static uint64_t next_random(void) {
	seed ^= seed << 13;
	seed ^= seed >> 7;
	return seed ^= seed << 17;
}
static zbz_call *at(int64_t now) {
	call = (zbz_call){ .clock = zbz_clock_system(), .now = now, .deadline = ZBZ_NEVER };
	return &call;
}
static zbz_shared *open_it(const char *zone, const char *name, int64_t size) {
	shared_options o = {
		.size = size, .entry_size = 96, .mode = 0600, .name = (char *)(uintptr_t)name, .zone = (char *)(uintptr_t)zone
	};
	void *self = NULL;
	return shared_open(&self, &o, zbz_clock_system(), &err) == ZBZ_OK ? self : NULL;
}
static zbz_status put_at(zbz_shared *s, int64_t now, zbz_bytes k, zbz_bytes v, int64_t expire_at) {
	zbz_write w = { .key = k, .value = v, .expire_at = expire_at };
	return shared_set(s, at(now), &w, NULL);
}
static zbz_status put_text(const char *k, const char *v) { return put_at(sh, NOW_MS, zbz_bstr(k), zbz_bstr(v), 0); }
static zbz_status get_at(int64_t now, zbz_bytes k) {
	zbz_buf_reset(&out);
	return shared_get(sh, at(now), k, &out, NULL);
}
static bool has(const char *k, const char *v) {
	return get_at(NOW_MS, zbz_bstr(k)) == ZBZ_OK && zbz_bytes_eq(zbz_buf_bytes(&out), zbz_bstr(v));
}

/* Values that prove themselves: number, key number, length, then bytes that follow from them. */
static size_t make_value(char *v, uint32_t key, uint32_t stamp, size_t n) {
	uint32_t head[3] = { stamp, key, (uint32_t)n };
	size_t i;
	memcpy(v, head, sizeof head);
	for (i = sizeof head; i < n; i++) v[i] = (char)(stamp * 31 + key * 7 + i * 13);
	return n;
}
static bool value_is_whole(zbz_bytes v, uint32_t key) {
	uint32_t head[3];
	size_t i;
	if (v.n < sizeof head) return false;
	memcpy(head, v.p, sizeof head);
	if (head[1] != key || head[2] != v.n) return false;
	for (i = sizeof head; i < v.n; i++)
		if (v.p[i] != (char)(head[0] * 31 + key * 7 + i * 13)) return false;
	return true;
}
static size_t some_length(void) { return 12 + (next_random() % 16 == 0 ? next_random() % 6000 : next_random() % 300); }

static zbz_status put_numbered(zbz_shared *s, uint32_t key, int64_t expire_at) {
	char k[16], v[8192];
	size_t n = make_value(v, key, (uint32_t)next_random(), some_length());
	snprintf(k, sizeof k, "n%u", (unsigned)key);
	return put_at(s, NOW_MS, zbz_bstr(k), zbz_b(v, n), expire_at);
}
/* OK, MISS, or E_CORRUPT for a value that is not whole. */
static zbz_status get_numbered(uint32_t key) {
	char k[16];
	zbz_status status;
	snprintf(k, sizeof k, "n%u", (unsigned)key);
	status = get_at(NOW_MS, zbz_bstr(k));
	return status == ZBZ_OK && !value_is_whole(zbz_buf_bytes(&out), key) ? ZBZ_E_CORRUPT : status;
}

/* ---- what must always hold between two calls of a writer ---- */

typedef struct sums {
	uint32_t items, live[2], away;
} sums;

static bool audit_bucket(zbz_shared *s, zbz_shared_shard *shard, uint32_t i, sums *sum) {
	zbz_shared_bucket *b = zbz_shared_bucket_at(s, shard, i);
	uint32_t k;
	if ((zbz_hload(&b->seq) & 1) != 0) return false;
	for (k = 0; k < ZBZ_SHARED_SLOTS; k++) {
		uint64_t word = zbz_wload(&b->slot[k]), hash;
		zbz_shared_entry e;
		if (word == 0) continue;
		if (!entry_ok(s, shard, zbz_slot_place(word), &e)) return false;
		hash = hash_at(s, shard, zbz_slot_place(word), e);
		if (zbz_shared_tag(hash) != zbz_slot_tag(word)) return false;
		if (i != zbz_shared_home(s, hash) && i != zbz_shared_second(s, hash)) return false;
		if ((zbz_slot_place(word) >= s->g.ring_at[1]) != (zbz_slot_ring(word) != 0)) return false;
		sum->items++;
		sum->live[zbz_slot_ring(word)] += zbz_entry_units(e);
		sum->away += i != zbz_shared_home(s, hash);
	}
	return true;
}

static bool audit_ring(zbz_shared *s, zbz_shared_shard *shard, int which, uint32_t live) {
	ring r;
	uint32_t left, found = 0;
	if (!ring_read(s, shard, which, &r) || zbz_hload(&shard->ring[which].live) != live) return false;
	for (left = r.used; left > 0;) {
		oldest o;
		if (!ring_oldest(s, shard, &r, &o)) return false;
		if (o.slot.bucket != NULL) found += o.units;
		left -= o.units;
		ring_give(&r, o.units);
	}
	return found == live;
}

static bool audit(zbz_shared *s) {
	uint32_t i, k, away;
	for (i = 0; i < s->g.shards; i++) {
		zbz_shared_shard *shard = zbz_shared_shard_at(s, i);
		sums sum = { 0, { 0, 0 }, 0 };
		if (zbz_shared_lock(s, i, at(NOW_MS)) != ZBZ_OK) return false;
		for (k = 0, away = 0; k < s->g.buckets; k++) {
			if (!audit_bucket(s, shard, k, &sum)) return false;
			away += zbz_hload(&zbz_shared_bucket_at(s, shard, k)->away);
		}
		if (zbz_hload(&shard->items) != sum.items || away != sum.away) return false;
		if (!audit_ring(s, shard, 0, sum.live[0]) || !audit_ring(s, shard, 1, sum.live[1])) return false;
		zbz_shared_unlock(s, i);
	}
	return true;
}

/* ---- one process ---- */

static void test_plans(void) {
	static const int64_t sizes[] = { 128 << 10, 1 << 20, 5000000, 32 << 20, (int64_t)1 << 30, (int64_t)64 << 30 };
	size_t i, k;
	for (i = 0; i < sizeof sizes / sizeof *sizes; i++)
		for (k = 32; k <= 1 << 20; k *= 8) {
			zbz_shared_geometry g;
			zbz_shared_plan((uint64_t)sizes[i], k, &g);
			CHECK(g.shards >= 1 && g.shards <= 256 && (g.shards & (g.shards - 1)) == 0 && g.buckets >= 2);
			CHECK(sizes[i] < 8 << 20 || g.shards >= 64);
			CHECK(g.shards_at + g.shards * g.stride <= (uint64_t)sizes[i]);
			CHECK(g.gates * ZBZ_SHARED_GATED >= g.buckets);
			CHECK(((uint64_t)g.ring_at[1] + g.ring_units[1]) * 8 <= g.stride);
			CHECK(g.most_units <= g.ring_units[1] && g.ring_units[1] < 1 << 25);
		}
}

static void test_values_of_every_length(void) {
	char v[200];
	size_t n, k;
	sh = open_it("lengths", NULL, 1 << 20);
	CHECK(sh != NULL);
	for (n = 0; n < sizeof v; n++) v[n] = (char)(n + 1);
	for (k = 1; k <= 20; k++)
		for (n = 0; n <= 40; n++) {
			CHECK(put_at(sh, NOW_MS, zbz_b(v + 100, k), zbz_b(v, n), 0) == ZBZ_OK);
			zbz_buf_reset(&out);
			CHECK(zbz_buf_append(&out, "before", 6, &err) == ZBZ_OK);
			CHECK(shared_get(sh, at(NOW_MS), zbz_b(v + 100, k), &out, NULL) == ZBZ_OK && out.n == 6 + n);
			CHECK(memcmp(out.p, "before", 6) == 0 && memcmp(out.p + 6, v, n) == 0);
		}
	CHECK(audit(sh));
	shared_close(sh);
}

static void test_mixed_operations(void) {
	uint32_t i;
	uint64_t removed;
	sh = open_it("mixed", NULL, 1 << 20);
	for (i = 0; i < 60000 / SLOW; i++) {
		uint32_t key = (uint32_t)(next_random() % 4000), what = (uint32_t)(next_random() % 10);
		char k[16];
		snprintf(k, sizeof k, "n%u", (unsigned)key);
		if (what < 4) {
			zbz_status s = put_numbered(sh, key, what == 0 ? NOW_MS + 1 + (int64_t)(next_random() % 100000) : 0);
			CHECK(s == ZBZ_OK);
		} else if (what == 4) {
			CHECK(shared_del(sh, at(NOW_MS), zbz_bstr(k)) >= 0);
		} else if (what == 5) {
			CHECK(shared_expire(sh, at(NOW_MS), zbz_bstr(k), NOW_MS + 5000) >= 0);
		} else {
			CHECK(get_numbered(key) >= 0);
		}
		if (i % 5000 == 0) CHECK(audit(sh));
	}
	CHECK(audit(sh));
	CHECK(zbz_shared_clear(sh, at(NOW_MS), zbz_bstr("n1"), &removed) == ZBZ_OK && removed > 0 &&
	      get_numbered(1) == ZBZ_MISS);
	CHECK(audit(sh));
	shared_close(sh);
}

static void test_full(void) {
	char v[400];
	uint32_t i, found = 0;
	zbz_provider_stats stats;
	sh = open_it("full", NULL, 1 << 20);
	for (i = 0; i < 20000; i++) {
		memset(v, (int)i, sizeof v);
		CHECK(put_at(sh, NOW_MS, zbz_b(&i, sizeof i), zbz_b(v, 100 + i % 300), 0) == ZBZ_OK);
	}
	for (i = 0; i < 20000; i++) found += get_at(NOW_MS, zbz_b(&i, sizeof i)) == ZBZ_OK;
	shared_stats(sh, at(NOW_MS), &stats);
	CHECK(found == stats.keys && stats.memory <= 1 << 20 && stats.evictions == 20000 - stats.keys);
	CHECK(found > (1 << 20) / 250 * 8 / 10); /* most of the memory holds entries */
	CHECK(audit(sh));
	shared_close(sh);
}

/* What is used again and again outlives a stream of what is not. */
static void test_eviction_spares_what_is_used(void) {
	char v[100] = { 0 };
	uint32_t i, k, kept = 0;
	sh = open_it("spared", NULL, 1 << 20);
	for (i = 0; i < 500; i++) put_at(sh, NOW_MS, zbz_b(&i, sizeof i), zbz_b(v, sizeof v), 0);
	for (k = 0; k < 20; k++) {
		for (i = 0; i < 500; i++) get_at(NOW_MS, zbz_b(&i, sizeof i));
		for (i = 0; i < 2000; i++) {
			uint32_t once = 1000 + k * 2000 + i;
			put_at(sh, NOW_MS, zbz_b(&once, sizeof once), zbz_b(v, sizeof v), 0);
		}
	}
	for (i = 0; i < 500; i++) kept += get_at(NOW_MS, zbz_b(&i, sizeof i)) == ZBZ_OK;
	CHECK(kept > 480);
	shared_close(sh);
}

/* Dead entries make room before any living one has to. */
static void test_the_dead_go_first(void) {
	char v[100] = { 0 };
	uint32_t i, kept = 0;
	zbz_provider_stats stats;
	sh = open_it("dead", NULL, 1 << 20);
	for (i = 0; i < 4000; i++)
		put_at(sh, NOW_MS, zbz_b(&i, sizeof i), zbz_b(v, sizeof v), i % 2 != 0 ? NOW_MS + 1000 : 0);
	shared_stats(sh, at(NOW_MS), &stats);
	CHECK(stats.evictions == 0);
	for (i = 4000; i < 8000; i++) put_at(sh, NOW_MS + 60000, zbz_b(&i, sizeof i), zbz_b(v, sizeof v), 0);
	for (i = 0; i < 4000; i += 2) kept += get_at(NOW_MS + 60000, zbz_b(&i, sizeof i)) == ZBZ_OK;
	for (i = 4000; i < 8000; i++) kept += get_at(NOW_MS + 60000, zbz_b(&i, sizeof i)) == ZBZ_OK;
	shared_stats(sh, at(NOW_MS + 60000), &stats);
	CHECK(kept >= 5700 && stats.expired > 1800);
	CHECK(audit(sh));
	shared_close(sh);
}

static void test_times(void) {
	zbz_meta meta = { 0 };
	int64_t expire_at = 0;
	zbz_bytes k = zbz_bstr("k");
	sh = open_it("times", NULL, 1 << 20);
	CHECK(put_at(sh, NOW_MS, k, zbz_bstr("v"), NOW_MS + 2) == ZBZ_OK);
	CHECK(get_at(NOW_MS + 1, k) == ZBZ_OK && get_at(NOW_MS + 2, k) == ZBZ_MISS);
	CHECK(shared_exists(sh, at(NOW_MS + 2), k) == ZBZ_MISS && shared_del(sh, at(NOW_MS + 2), k) == ZBZ_MISS);
	CHECK(put_at(sh, NOW_MS, k, zbz_bstr("v"), ((int64_t)1 << 43) - 1) == ZBZ_OK);
	CHECK(shared_ttl(sh, at(NOW_MS), k, &expire_at) == ZBZ_OK && expire_at == ((int64_t)1 << 43) - 1);
	CHECK(put_at(sh, NOW_MS, k, zbz_bstr("v"), (int64_t)1 << 53) == ZBZ_OK);
	CHECK(shared_ttl(sh, at(NOW_MS), k, &expire_at) == ZBZ_OK && expire_at == ZBZ_NO_EXPIRY);
	CHECK(shared_expire(sh, at(NOW_MS), k, NOW_MS + 12345) == ZBZ_OK);
	zbz_buf_reset(&out);
	CHECK(shared_get(sh, at(NOW_MS), k, &out, &meta) == ZBZ_OK && meta.expire_at == NOW_MS + 12345 &&
	      meta.version.n > 0);
	shared_close(sh);
}

static void test_limits(void) {
	zbz_caps caps;
	size_t n;
	char *v;
	sh = open_it("limits", NULL, 4 << 20);
	shared_caps(sh, &caps);
	n = (size_t)caps.max_value;
	v = zbz_calloc(1, n);
	CHECK(v != NULL && n > 10000);
	CHECK(put_text("k", "stays") == ZBZ_OK);
	CHECK(put_at(sh, NOW_MS, zbz_bstr("k"), zbz_b(v, n), 0) == ZBZ_E_TOO_LARGE && has("k", "stays"));
	CHECK(put_at(sh, NOW_MS, zbz_bstr("k"), zbz_b(v, n - 8), 0) == ZBZ_OK);
	CHECK(get_at(NOW_MS, zbz_bstr("k")) == ZBZ_OK && out.n == n - 8);
	for (uint32_t i = 0; i < 300; i++) /* large ones among small ones */
		CHECK(put_numbered(sh, i, 0) == ZBZ_OK &&
		      put_at(sh, NOW_MS, zbz_b(&i, sizeof i), zbz_b(v, n - 8 - next_random() % n / 2), 0) == ZBZ_OK);
	CHECK(audit(sh));
	zbz_free(v);
	shared_close(sh);
}

static void test_statistics(void) {
	zbz_shared_totals before, all, mine;
	zbz_shared *other;
	sh = open_it("statistics", NULL, 1 << 20);
	zbz_shared_totals_read(sh, &before, &mine);
	other = open_it("statistics", NULL, 1 << 20);
	CHECK(put_text("k", "v") == ZBZ_OK && has("k", "v") && !has("absent", "v"));
	zbz_buf_reset(&out);
	CHECK(shared_get(other, at(NOW_MS), zbz_bstr("k"), &out, NULL) == ZBZ_OK);
	zbz_shared_totals_read(sh, &all, &mine);
	CHECK(mine.count[ZBZ_SHARED_HITS] == 1 && mine.count[ZBZ_SHARED_MISSES] == 1 && mine.count[ZBZ_SHARED_SETS] == 1);
	CHECK(all.count[ZBZ_SHARED_HITS] == before.count[ZBZ_SHARED_HITS] + 2 && all.keys == 1);
	zbz_shared_totals_read(other, &all, &mine);
	CHECK(mine.count[ZBZ_SHARED_HITS] == 1 && mine.count[ZBZ_SHARED_SETS] == 0);
	shared_close(other);
	shared_close(sh);
}

/* ---- the same zone, over forks and again ---- */

static int exit_code(pid_t child) {
	int status = -1;
	while (waitpid(child, &status, 0) < 0) continue;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void test_zones(void) {
	zbz_shared *again, *other;
	pid_t child;
	sh = open_it("zone", NULL, 1 << 20);
	other = open_it("another", NULL, 1 << 20);
	CHECK(put_text("k", "parent") == ZBZ_OK && get_at(NOW_MS, zbz_bstr("k")) == ZBZ_OK);
	zbz_buf_reset(&out);
	CHECK(shared_get(other, at(NOW_MS), zbz_bstr("k"), &out, NULL) == ZBZ_MISS);
	child = fork();
	if (child == 0) {
		bool fine;
		atomic_fetch_add(&forks, 1);
		fine = has("k", "parent") && put_text("inherited", "1") == ZBZ_OK;
		sh = open_it("zone", NULL, 1 << 20); /* as a worker does */
		fine = fine && sh != NULL && has("k", "parent") && put_text("opened", "2") == ZBZ_OK;
		_exit(fine ? 0 : 1);
	}
	CHECK(exit_code(child) == 0 && has("inherited", "1") && has("opened", "2"));
	again = open_it("zone", NULL, 1 << 20);
	CHECK(again != NULL && again->base == sh->base);
	CHECK(open_it("zone", NULL, 2 << 20) == NULL && err.status == ZBZ_E_CONFIG && strcmp(err.option, "size") == 0 &&
	      strstr(err.text, "1048576") != NULL && strstr(err.text, "2097152") != NULL);
	shared_close(again);
	shared_close(sh);
	sh = open_it("zone", NULL, 1 << 20); /* closed by all, opened once more: a reload */
	CHECK(has("k", "parent"));
	shared_close(sh);
	sh = open_it("zone", NULL, 2 << 20);
	CHECK(sh != NULL && !has("k", "parent"));
	shared_close(sh);
	shared_close(other);
	CHECK(open_it("no/slash", NULL, 1 << 20) == NULL && err.status == ZBZ_E_CONFIG && strcmp(err.option, "zone") == 0);
	CHECK(open_it(NULL, "", 1 << 20) == NULL && strcmp(err.option, "name") == 0);
}

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

/* Writes until the hook strikes. */
static void write_until_struck(int after, int with) {
	atomic_fetch_add(&forks, 1);
	fatal_signal = with;
	countdown = after;
	for (;;) {
		uint32_t key = (uint32_t)(next_random() % 2000);
		char k[16];
		snprintf(k, sizeof k, "n%u", (unsigned)key);
		if (next_random() % 8 == 0)
			shared_del(sh, at(NOW_MS), zbz_bstr(k));
		else if (next_random() % 8 == 0)
			shared_expire(sh, at(NOW_MS), zbz_bstr(k), NOW_MS + 1000000);
		else
			put_numbered(sh, key, 0);
	}
}

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

/* ---- named segments ---- */

static char name[40], path[100];

static void choose_name(const char *what) {
	snprintf(name, sizeof name, "test-%ld-%s", (long)getpid(), what);
	snprintf(path, sizeof path, "/dev/shm/zbz-%s.%d", name, ZBZ_SHARED_LAYOUT);
	unlink(path);
}

static void spoil(off_t at_byte, const void *with, size_t n) {
	int fd = open(path, O_RDWR);
	CHECK(fd >= 0 && pwrite(fd, with, n, at_byte) == (ssize_t)n);
	close(fd);
}

static void test_named(void) {
	pid_t child;
	zbz_shared *second;
	choose_name("named");
	child = fork();
	if (child == 0) {
		atomic_fetch_add(&forks, 1);
		sh = open_it(NULL, name, 1 << 20);
		if (sh == NULL || put_text("left", "behind") != ZBZ_OK) _exit(1);
		shared_close(sh);
		_exit(0);
	}
	CHECK(exit_code(child) == 0);
	sh = open_it(NULL, name, 1 << 20);
	CHECK(sh != NULL && has("left", "behind") && audit(sh));
	second = open_it(NULL, name, 1 << 20);
	CHECK(second != NULL && second->base == sh->base);
	child = fork(); /* in use: another size is refused, wherever it is asked for */
	if (child == 0) {
		memset(segments, 0, sizeof segments); /* a stranger, not a child */
		_exit(open_it(NULL, name, 2 << 20) == NULL && err.status == ZBZ_E_CONFIG && strcmp(err.option, "size") == 0 &&
		              strstr(err.text, "1048576") != NULL && strstr(err.text, "2097152") != NULL
		          ? 0
		          : 1);
	}
	CHECK(exit_code(child) == 0 && open_it(NULL, name, 2 << 20) == NULL && err.status == ZBZ_E_CONFIG);
	shared_close(second);
	CHECK(has("left", "behind"));
	shared_close(sh);
	sh = open_it(NULL, name, 2 << 20); /* nobody has it open: made anew */
	CHECK(sh != NULL && !has("left", "behind") && put_text("k", "v") == ZBZ_OK);
	shared_close(sh);
	unlink(path);
}

/* The last holder of a lock died, and with it everybody else. */
static void test_named_after_a_crash(void) {
	pid_t child;
	choose_name("crash");
	child = fork();
	if (child == 0) {
		sh = open_it(NULL, name, 1 << 20);
		if (sh == NULL) _exit(1);
		write_until_struck(2000, SIGKILL);
	}
	CHECK(exit_code(child) == -1);
	sh = open_it(NULL, name, 1 << 20);
	CHECK(sh != NULL && audit(sh) && put_text("k", "v") == ZBZ_OK && has("k", "v"));
	shared_close(sh);
	unlink(path);
}

static void test_other_versions_and_damaged_headers(void) {
	static const size_t fields[] = { offsetof(zbz_shared_header, magic),      offsetof(zbz_shared_header, layout),
		                             offsetof(zbz_shared_header, abi),        offsetof(zbz_shared_header, size),
		                             offsetof(zbz_shared_header, entry_size), offsetof(zbz_shared_header, secret),
		                             offsetof(zbz_shared_header, check) };
	const uint32_t wrong = 0x5A5A5A5A;
	size_t i;
	choose_name("header");
	for (i = 0; i < sizeof fields / sizeof *fields; i++) {
		sh = open_it(NULL, name, 1 << 20);
		CHECK(sh != NULL && put_text("k", "v") == ZBZ_OK);
		shared_close(sh);
		spoil((off_t)fields[i], &wrong, sizeof wrong);
		sh = open_it(NULL, name, 1 << 20);
		CHECK(sh != NULL && !has("k", "v") && put_text("k", "v") == ZBZ_OK && has("k", "v"));
		shared_close(sh);
	}
	CHECK(truncate(path, 100) == 0);
	sh = open_it(NULL, name, 1 << 20);
	CHECK(sh != NULL && put_text("k", "v") == ZBZ_OK);
	shared_close(sh);
	CHECK(truncate(path, 0) == 0);
	sh = open_it(NULL, name, 1 << 20);
	CHECK(sh != NULL && put_text("k", "v") == ZBZ_OK);
	shared_close(sh);
	unlink(path);
	CHECK(symlink("/etc/passwd", path) == 0);
	CHECK(open_it(NULL, name, 1 << 20) == NULL && err.status == ZBZ_E_DENIED);
	unlink(path);
	CHECK(mkdir(path, 0700) == 0);
	CHECK(open_it(NULL, name, 1 << 20) == NULL && err.status < 0);
	rmdir(path);
}

/* ---- bytes that change by themselves ---- */

/* Everything a caller can do; whatever comes back, it is no crash, and no value that was never written. */
static bool survives(uint32_t steps) {
	zbz_provider_stats stats;
	zbz_cursor *cursor = NULL;
	uint64_t removed;
	uint32_t i;
	size_t n = 0;
	bool whole = true;
	for (i = 0; i < steps; i++) {
		uint32_t key = (uint32_t)(next_random() % 2000);
		int64_t v;
		char k[16];
		snprintf(k, sizeof k, "n%u", (unsigned)key);
		switch (next_random() % 8) {
		case 0: put_numbered(sh, key, next_random() % 2 != 0 ? NOW_MS + 100000 : 0); break;
		case 1: shared_del(sh, at(NOW_MS), zbz_bstr(k)); break;
		case 2: shared_expire(sh, at(NOW_MS), zbz_bstr(k), NOW_MS + 5000); break;
		case 3: shared_incr(sh, at(NOW_MS), zbz_bstr("count"), &(zbz_incr){ .delta = 1 }, &v); break;
		default: whole = whole && get_numbered(key) != ZBZ_E_CORRUPT;
		}
	}
	if (zbz_shared_scan_open(sh, at(NOW_MS), zbz_bstr(""), zbz_bstr(""), &cursor) == ZBZ_OK) {
		zbz_buf_reset(&out);
		zbz_shared_scan_next(sh, at(NOW_MS), cursor, 1000, &out, &n);
		zbz_shared_scan_close(sh, cursor);
	}
	if (next_random() % 16 == 0) zbz_shared_clear(sh, at(NOW_MS), zbz_bstr("n1"), &removed);
	shared_stats(sh, at(NOW_MS), &stats);
	return whole;
}

static void flip(unsigned char *p, uint64_t n) {
	uint64_t i = next_random() % n;
	p[i] ^= (unsigned char)(1u << next_random() % 8);
}

/* Half of the flips hit the few bytes that everything hangs on. */
static void flip_somewhere(void) {
	unsigned char *shard = sh->base + sh->g.shards_at + next_random() % sh->g.shards * sh->g.stride;
	switch (next_random() % 4) {
	case 0: flip(shard, sizeof(zbz_shared_shard)); break;
	case 1: flip(shard + (size_t)sh->g.buckets_at * 8, (size_t)sh->g.buckets * 64); break;
	default: flip(sh->base, sh->g.size);
	}
}

static void test_flipped_bits(void) {
	int i, whole = 0, opened = 0, rounds = 10000;
	uint32_t k;
	choose_name("flips");
	sh = open_it(NULL, name, 256 << 10);
	CHECK(sh != NULL);
	for (i = 0; i < rounds && sh != NULL; i++) {
		if (i % 50 == 0) /* sound again; a damaged header gives a fresh segment */
			for (k = 0; k < 500; k++) put_numbered(sh, k, 0);
		flip_somewhere();
		whole += survives(20);
		if (i % 10 != 9) continue;
		shared_close(sh);
		sh = open_it(NULL, name, 256 << 10);
		opened += sh != NULL;
		if (sh == NULL) fprintf(stderr, "%s\n", err.text);
	}
	CHECK(whole == rounds && opened == rounds / 10);
	if (sh != NULL) shared_close(sh);
	unlink(path);
}

/* A segment of noise behind a sound header, locks included. */
static void test_noise(void) {
	int i, whole = 0;
	for (i = 0; i < 20; i++) {
		uint64_t k;
		choose_name("noise");
		sh = open_it(NULL, name, 256 << 10);
		CHECK(sh != NULL);
		if (sh == NULL) return;
		for (k = sizeof(zbz_shared_header); k < sh->g.size; k++) sh->base[k] = (unsigned char)next_random();
		whole += survives(300);
		shared_close(sh);
		sh = open_it(NULL, name, 256 << 10);
		CHECK(sh != NULL && put_text("k", "v") == ZBZ_OK && has("k", "v"));
		whole += survives(300);
		if (sh != NULL) shared_close(sh);
		unlink(path);
	}
	CHECK(whole == 40);
}

/* ---- memory that is not there ---- */

static void test_failing_allocations(void) {
	long n, live;
	bool more = true;
	zbz_buf_clear(&out);
	for (n = 1; more && n < 100; n++) {
		zbz_cursor *cursor = NULL;
		size_t found = 0;
		faults_begin(n);
		sh = open_it("sweep", NULL, 256 << 10);
		if (sh != NULL) {
			CHECK(put_text("k", "a value that needs a buffer") == ZBZ_OK);
			CHECK(get_at(NOW_MS, zbz_bstr("k")) == ZBZ_OK || call.err.status == ZBZ_E_INTERNAL);
			if (zbz_shared_scan_open(sh, at(NOW_MS), zbz_bstr(""), zbz_bstr("*"), &cursor) == ZBZ_OK) {
				zbz_status s = zbz_shared_scan_next(sh, at(NOW_MS), cursor, 10, &out, &found);
				CHECK(s == ZBZ_END || s == ZBZ_E_INTERNAL);
				zbz_shared_scan_close(sh, cursor);
			}
			shared_close(sh);
		} else {
			CHECK(err.status == ZBZ_E_INTERNAL);
		}
		zbz_buf_clear(&out);
		more = faults_end(&live);
		CHECK(live == 0);
	}
	CHECK(n > 3 && n < 100);
}

int main(void) {
	RUN(test_plans);
	RUN(test_values_of_every_length);
	RUN(test_mixed_operations);
	RUN(test_full);
	RUN(test_eviction_spares_what_is_used);
	RUN(test_the_dead_go_first);
	RUN(test_times);
	RUN(test_limits);
	RUN(test_statistics);
	RUN(test_zones);
	RUN(test_four_processes);
	RUN(test_threads);
	RUN(test_a_writer_is_killed);
	RUN(test_copies_while_writers_are_killed);
	RUN(test_recovery_is_quick);
	RUN(test_a_writer_is_stopped);
	RUN(test_named);
	RUN(test_named_after_a_crash);
	RUN(test_other_versions_and_damaged_headers);
	RUN(test_flipped_bits);
	RUN(test_noise);
	RUN(test_failing_allocations);
	zbz_buf_clear(&out);
	return DONE();
}
