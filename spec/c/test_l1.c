/* Copies of what a store has: the word that tells whether one still stands (get_seen), and the places of an L1 over it. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include <zbz/zbz.h>

#include "check.h"
#include "faults.h"

enum { T0 = 1000000 };

static zbz_clock *fake;
static zbz_store *store;
static zbz_cache *cache;
static zbz_table *table;
static zbz_call call;
static zbz_buf out;
static zbz_err err;

/* "provider=memory max_items=3" */
static zbz_store *open_store(const char *options, const zbz_clock *clock) {
	char text[256], *word, *rest = text;
	zbz_config *cfg = zbz_config_new();
	zbz_store *s = NULL;
	bool fine = cfg != NULL;
	snprintf(text, sizeof text, "%s", options);
	while (fine && (word = strtok_r(rest, " ", &rest)) != NULL) {
		char *value = strchr(word, '=');
		*value++ = '\0';
		fine = zbz_config_set_text(cfg, word, zbz_bstr(value), &err) == ZBZ_OK;
	}
	if (fine && zbz_store_open(cfg, clock, &s, &err) != ZBZ_OK) s = NULL;
	zbz_config_free(cfg);
	return s;
}

static void setup_as(const char *options, int64_t stale_ttl) {
	zbz_cache_opts o = { .key_prefix = zbz_bstr("p:") };
	zbz_table_opts to = { .name = zbz_bstr("t"), .ttl = -1, .deadline = -1, .stale_ttl = stale_ttl };
	fake = zbz_clock_fake_new(T0);
	o.clock = fake;
	store = open_store(options, fake);
	CHECK(store != NULL);
	CHECK(zbz_cache_new(store, &o, &cache, &err) == ZBZ_OK && zbz_table_new(cache, &to, &table, &err) == ZBZ_OK);
}
static void setup(const char *options) { setup_as(options, 0); }
static void teardown(void) {
	zbz_table_free(table);
	zbz_cache_unref(cache);
	zbz_store_unref(store);
	zbz_clock_fake_free(fake);
	zbz_buf_clear(&out);
}

static zbz_call *now(void) {
	zbz_table_begin(table, &call, -1);
	return &call;
}
static zbz_status set_for(const char *k, const char *v, int64_t ttl) {
	zbz_put p = { .ttl = ttl, .stale_ttl = -1 };
	return zbz_table_set(table, now(), zbz_bstr(k), zbz_bstr(v), &p, NULL);
}
static zbz_status set(const char *k, const char *v) { return set_for(k, v, -1); }
static zbz_status see(const char *k, zbz_kept *kept) {
	out.n = 0;
	return zbz_table_get_kept(table, now(), zbz_bstr(k), &out, NULL, kept);
}
static bool got(const char *v) { return zbz_bytes_eq(zbz_buf_bytes(&out), zbz_bstr(v)); }

static const char *const coherent[] = {
	"provider=memory",    "provider=memory eviction=lru",       "provider=memory eviction=ttl",
	"provider=ristretto", "provider=shared size=1MB zone=seen", NULL,
};

/* ---- the word ---- */

static zbz_status change(int how, const char *k) {
	uint64_t removed;
	int64_t number;
	switch (how) {
	case 0: return set(k, "2");
	case 1: return zbz_table_del(table, now(), zbz_bstr(k));
	case 2: return zbz_table_expire(table, now(), zbz_bstr(k), 5000);
	case 3: return zbz_table_incr(table, now(), zbz_bstr(k), 1, false, 0, -1, &number);
	case 4: return zbz_table_clear(table, now(), &removed);
	case 5: return zbz_store_clear(store, now(), zbz_b(NULL, 0), &removed);
	case 6: return set(k, "another length that is moved elsewhere, since it does not fit where the old one was");
	default: return zbz_table_invalidate(table, now(), zbz_bstr(k));
	}
}

static void every_change_moves_the_word(void) {
	for (size_t i = 0; coherent[i] != NULL; i++) {
		setup(coherent[i]);
		for (int how = 0; how < 8; how++) {
			zbz_kept kept;
			CHECK(set("k", "1") == ZBZ_OK && see("k", &kept) == ZBZ_OK && got("1"));
			CHECK(kept.store == store && zbz_seen_stands(&kept.seen) && kept.seen.expire_at == ZBZ_NO_EXPIRY);
			out.n = 0;
			CHECK(zbz_table_get(table, now(), zbz_bstr("k"), &out) == ZBZ_OK && zbz_seen_stands(&kept.seen));
			CHECK(change(how, "k") >= 0 && !zbz_seen_stands(&kept.seen));
			zbz_kept_clear(&kept);
			zbz_kept_clear(&kept);
		}
		teardown();
	}
}

static void what_is_absent_is_not_kept(void) {
	for (size_t i = 0; coherent[i] != NULL; i++) {
		zbz_kept kept = { .store = store };
		zbz_seen seen = { .seq = 1, .expire_at = 5 };
		setup(coherent[i]);
		CHECK(see("none", &kept) == ZBZ_MISS && kept.store == NULL && kept.seen.word == NULL);
		CHECK(zbz_store_get_seen(store, now(), zbz_bstr("none"), &out, &seen) == ZBZ_MISS && seen.word == NULL);
		CHECK(see("", &kept) == ZBZ_E_KEY && kept.store == NULL);
		CHECK(set_for("short", "v", 100) == ZBZ_OK && see("short", &kept) == ZBZ_OK);
		CHECK(kept.seen.expire_at == T0 + 100);
		zbz_kept_clear(&kept);
		zbz_clock_fake_advance(fake, 100);
		CHECK(see("short", &kept) == ZBZ_MISS && kept.store == NULL);
		teardown();
	}
}

/* An eviction is a change like any other. */
static void the_evicted_do_not_stand(void) {
	zbz_kept kept;
	char k[16];
	setup("provider=memory max_items=10");
	CHECK(set("first", "v") == ZBZ_OK && see("first", &kept) == ZBZ_OK);
	for (int i = 0; i < 100; i++) {
		snprintf(k, sizeof k, "k%d", i);
		CHECK(set(k, "v") == ZBZ_OK && zbz_table_get(table, now(), zbz_bstr(k), &out) == ZBZ_OK);
	}
	CHECK(zbz_table_exists(table, now(), zbz_bstr("first")) == ZBZ_MISS && !zbz_seen_stands(&kept.seen));
	zbz_kept_clear(&kept);
	teardown();
}

/* Served from a copy time and again, an entry must outlive a flood of others, some of them read; one that nobody uses must not. */
static bool outlives(const char *options, int flood, bool use) {
	zbz_kept kept;
	char k[16], bytes[160];
	bool there = true;
	memset(bytes, 'x', sizeof bytes - 1);
	bytes[sizeof bytes - 1] = '\0';
	setup(options);
	CHECK(set("hot", "v") == ZBZ_OK && see("hot", &kept) == ZBZ_OK);
	for (int i = 0; i < flood && there; i++) {
		snprintf(k, sizeof k, "k%d", i);
		CHECK(set(k, bytes) == ZBZ_OK);
		if (i % 4 == 0) zbz_table_get(table, now(), zbz_bstr(k), &out);
		out.n = 0;
		if (use && zbz_seen_stands(&kept.seen)) {
			zbz_seen_use(&kept.seen);
		} else if (use) { /* a change close by, or gone */
			zbz_kept_clear(&kept);
			there = see("hot", &kept) == ZBZ_OK;
		}
		there = there && zbz_store_exists(store, now(), zbz_bstr("p:t:hot")) == ZBZ_OK; /* no use */
	}
	zbz_kept_clear(&kept);
	teardown();
	return there;
}
static void uses_count_below(void) {
	CHECK(outlives("provider=memory max_items=50", 2000, true));
	CHECK(!outlives("provider=memory max_items=50", 2000, false));
	CHECK(outlives("provider=memory max_items=50 eviction=lru", 2000, true));
	CHECK(!outlives("provider=memory max_items=50 eviction=lru", 2000, false));
	CHECK(outlives("provider=shared size=128KB zone=uses", 10000, true));
	CHECK(!outlives("provider=shared size=128KB zone=no-uses", 10000, false));
}

/* The read counted as a use until the entry moves. */
static void uses_write_nothing_in_shared(void) {
	zbz_kept kept;
	setup("provider=shared size=1MB zone=idle");
	CHECK(set("k", "v") == ZBZ_OK && see("k", &kept) == ZBZ_OK && kept.seen.mark == NULL);
	zbz_kept_clear(&kept);
	teardown();
}

/* One word stands for many entries: when another of them is changed, a closer look tells, and only once. */
static void a_change_close_by_is_told_from_ones_own(void) {
	enum { N = 500 };
	static zbz_kept kept[N];
	char k[16];
	int moved = 0, stood = 0;
	setup("provider=shared size=1MB zone=near");
	for (int i = 0; i < N; i++) {
		snprintf(k, sizeof k, "k%d", i);
		CHECK(set(k, "v") == ZBZ_OK);
	}
	for (int i = 0; i < N; i++) {
		snprintf(k, sizeof k, "k%d", i);
		CHECK(see(k, &kept[i]) == ZBZ_OK);
	}
	for (int i = 0; i < N; i += 5) {
		snprintf(k, sizeof k, "k%d", i);
		CHECK(set(k, "w") == ZBZ_OK);
	}
	for (int i = 0; i < N; i++) {
		zbz_seen *seen = &kept[i].seen;
		bool far = *seen->word == seen->seq, stands = zbz_seen_stands(seen);
		if (i % 5 == 0) CHECK(!far && !stands);
		if (!far && stands) moved++;
		if (stands) CHECK(*seen->word == seen->seq);
		stood += stands;
		zbz_kept_clear(&kept[i]);
	}
	CHECK(moved > 0 && stood > 0);
	teardown();
}

static void a_layer_without_the_slot_is_no_promise(void) {
	zbz_kept kept;
	zbz_config *cfg = zbz_config_new();
	zbz_l1 *l1;
	zbz_store *fault = NULL;
	setup("provider=memory");
	CHECK(zbz_config_set_text(cfg, "provider", zbz_bstr("fault"), &err) == ZBZ_OK);
	CHECK(zbz_config_set_store(cfg, "inner", store, &err) == ZBZ_OK);
	CHECK(zbz_store_open(cfg, fake, &fault, &err) == ZBZ_OK && !zbz_store_promises(fault));
	CHECK(zbz_store_promises(store));
	CHECK(zbz_cache_swap(cache, now(), fault) == ZBZ_OK);
	CHECK(zbz_l1_new(table, 10, &l1, &err) == ZBZ_E_UNSUPPORTED && l1 == NULL && strstr(err.text, "fault") != NULL);
	CHECK(set("k", "v") == ZBZ_OK && see("k", &kept) == ZBZ_OK && got("v") && kept.store == NULL);
	zbz_store_unref(fault);
	zbz_config_free(cfg);
	teardown();
}

/* ---- threads ---- */

enum { WRITERS = 2, KEYS = 8 };
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
enum { WRITES = 4000 };
#else
enum { WRITES = 40000 };
#endif

static atomic_int_least64_t told[WRITERS][KEYS]; /* what a set that has returned has written at least */
static atomic_int writing;

static zbz_bytes key_of(int w, int k, char text[16]) {
	snprintf(text, 16, "%d:%d", w, k);
	return zbz_bstr(text);
}

static void *write_numbers(void *arg) {
	int w = *(int *)arg;
	char name[16], number[24];
	for (int64_t i = 1; i <= WRITES; i++) {
		int k = (int)(i % KEYS);
		zbz_call c = { .clock = zbz_clock_system(), .now = T0, .deadline = ZBZ_NEVER };
		zbz_write write = { .key = key_of(w, k, name) };
		snprintf(number, sizeof number, "%lld", (long long)i);
		write.value = zbz_bstr(number);
		/* a lock that is held for long is not what this is about */
		while (zbz_store_set(store, &c, &write, NULL) != ZBZ_OK) sched_yield();
		atomic_store(&told[w][k], i);
		if (i % 64 == 0) sched_yield();
	}
	atomic_fetch_sub(&writing, 1);
	return NULL;
}

/* A copy that still stands is never older than a set that returned before it was looked at. */
static void copies_that_stand_are_never_old(const char *options) {
	pthread_t thread[WRITERS];
	int who[WRITERS] = { 0, 1 };
	zbz_seen seen[WRITERS][KEYS];
	int64_t kept[WRITERS][KEYS], stood = 0;
	char name[16];
	memset(seen, 0, sizeof seen);
	memset(told, 0, sizeof told);
	store = open_store(options, NULL);
	CHECK(store != NULL);
	atomic_store(&writing, WRITERS);
	for (int w = 0; w < WRITERS; w++) CHECK(pthread_create(&thread[w], NULL, write_numbers, &who[w]) == 0);
	while (atomic_load(&writing) > 0) {
		for (int n = 0; n < WRITERS * KEYS; n++) {
			int w = n / KEYS, k = n % KEYS;
			int64_t least = atomic_load(&told[w][k]);
			zbz_call c = { .clock = zbz_clock_system(), .now = T0, .deadline = ZBZ_NEVER };
			if (seen[w][k].word != NULL && zbz_seen_stands(&seen[w][k])) {
				zbz_seen_use(&seen[w][k]);
				stood++;
				if (kept[w][k] < least) CHECK(!"a copy of an older value stands");
				continue;
			}
			out.n = 0;
			if (zbz_store_get_seen(store, &c, key_of(w, k, name), &out, &seen[w][k]) != ZBZ_OK) continue;
			zbz_buf_putc(&out, '\0', &err);
			kept[w][k] = atoll(out.p);
			if (kept[w][k] < least) CHECK(!"an older value was read");
		}
	}
	for (int w = 0; w < WRITERS; w++) pthread_join(thread[w], NULL);
	CHECK(stood > 0);
	for (int w = 0; w < WRITERS; w++)
		for (int k = 0; k < KEYS; k++)
			CHECK(seen[w][k].word == NULL || !zbz_seen_stands(&seen[w][k]) || kept[w][k] == told[w][k]);
	zbz_store_unref(store);
	zbz_buf_clear(&out);
}
static void copies_are_never_old_in_memory(void) { copies_that_stand_are_never_old("provider=memory"); }
static void copies_are_never_old_in_shared(void) {
	copies_that_stand_are_never_old("provider=shared size=256KB zone=coherent");
}

/* ---- places ---- */

static uint32_t keep_as(zbz_l1 *l1, const char *k, uint32_t *stamp) {
	zbz_kept kept;
	return see(k, &kept) == ZBZ_OK ? zbz_l1_keep(l1, &kept, stamp) : 0;
}

static void places_are_bounded_and_the_hit_stay(void) {
	zbz_l1 *l1;
	uint32_t place[20], stamp[20], hot, hot_stamp, old = 0;
	uint64_t hits;
	int64_t last;
	char k[16];
	setup("provider=memory");
	CHECK(zbz_l1_new(table, 8, &l1, &err) == ZBZ_OK);
	CHECK(set("hot", "v") == ZBZ_OK);
	hot = keep_as(l1, "hot", &hot_stamp);
	for (int i = 0; i < 20; i++) {
		snprintf(k, sizeof k, "k%d", i);
		CHECK(set(k, "v") == ZBZ_OK);
		CHECK(zbz_l1_hit(l1, hot, hot_stamp));
		place[i] = keep_as(l1, k, &stamp[i]);
		CHECK(place[i] >= 1 && place[i] <= 8 && place[i] != hot);
	}
	for (int i = 0; i < 20; i++) old += zbz_l1_hit(l1, place[i], stamp[i]);
	CHECK(old == 7); /* a place given away does not answer for its former value */
	zbz_l1_stats(l1, &hits, &last);
	CHECK(hits == 27 && last == T0);
	CHECK(!zbz_l1_hit(l1, 0, 0) && !zbz_l1_hit(l1, 9, 1) && !zbz_l1_hit(l1, UINT32_MAX, 1));
	zbz_l1_clear(l1);
	CHECK(!zbz_l1_hit(l1, hot, hot_stamp));
	zbz_l1_free(l1);
	zbz_l1_free(NULL);
	teardown();
}

static void a_place_that_was_lost_is_given_away_first(void) {
	zbz_l1 *l1;
	uint32_t a, b, sa, sb, sc;
	setup("provider=memory");
	CHECK(zbz_l1_new(table, 2, &l1, &err) == ZBZ_OK && set("a", "1") == ZBZ_OK && set("b", "1") == ZBZ_OK);
	a = keep_as(l1, "a", &sa);
	b = keep_as(l1, "b", &sb);
	CHECK(set("b", "2") == ZBZ_OK && !zbz_l1_hit(l1, b, sb) && zbz_l1_hit(l1, a, sa));
	CHECK(keep_as(l1, "b", &sc) == b && zbz_l1_hit(l1, b, sc) && !zbz_l1_hit(l1, b, sb) && zbz_l1_hit(l1, a, sa));
	zbz_l1_free(l1);
	teardown();
}

static void hits_end_with_the_value(void) {
	for (size_t i = 0; coherent[i] != NULL; i++) {
		zbz_l1 *l1;
		uint32_t place, stamp;
		int64_t expire_at, stored_at;
		setup(coherent[i]);
		CHECK(zbz_l1_new(table, 10, &l1, &err) == ZBZ_OK && set_for("k", "v", 100) == ZBZ_OK);
		place = keep_as(l1, "k", &stamp);
		zbz_clock_fake_advance(fake, 99);
		CHECK(zbz_l1_hit(l1, place, stamp));
		zbz_l1_times(l1, place, &expire_at, &stored_at);
		CHECK(expire_at == T0 + 100 && stored_at == 0);
		zbz_l1_times(l1, 99, &expire_at, &stored_at);
		CHECK(expire_at == -1 && stored_at == 0);
		zbz_clock_fake_advance(fake, 1);
		CHECK(!zbz_l1_hit(l1, place, stamp) && zbz_table_exists(table, now(), zbz_bstr("k")) == ZBZ_MISS);
		zbz_l1_free(l1);
		teardown();
	}
}

/* A sealed entry outlives its logical end in the store, but not as a copy. */
static void the_logical_end_counts(void) {
	zbz_l1 *l1;
	zbz_kept kept;
	zbz_entry entry;
	zbz_put negative = { .ttl = 100, .stale_ttl = -1, .negative = true };
	uint32_t place, stamp;
	setup_as("provider=memory", 10000);
	CHECK(zbz_l1_new(table, 10, &l1, &err) == ZBZ_OK && set_for("k", "v", 100) == ZBZ_OK);
	place = keep_as(l1, "k", &stamp);
	CHECK(got("v") && zbz_l1_hit(l1, place, stamp));
	zbz_clock_fake_advance(fake, 100);
	CHECK(!zbz_l1_hit(l1, place, stamp) && see("k", &kept) == ZBZ_MISS && kept.store == NULL);
	out.n = 0;
	CHECK(zbz_table_get_kept(table, now(), zbz_bstr("k"), &out, &entry, &kept) == ZBZ_OK);
	CHECK(entry.stale && got("v") && kept.store == NULL);
	CHECK(zbz_table_set(table, now(), zbz_bstr("n"), zbz_b(NULL, 0), &negative, NULL) == ZBZ_OK);
	CHECK(zbz_table_get_kept(table, now(), zbz_bstr("n"), &out, &entry, &kept) == ZBZ_OK);
	CHECK(entry.negative && kept.store == NULL && see("n", &kept) == ZBZ_MISS);
	zbz_l1_free(l1);
	teardown();
}

static void a_swap_and_a_close_end_every_copy(void) {
	zbz_l1 *l1;
	zbz_kept early;
	zbz_store *next;
	uint32_t place, stamp;
	setup("provider=memory");
	next = open_store("provider=memory", fake);
	CHECK(zbz_l1_new(table, 10, &l1, &err) == ZBZ_OK && set("k", "old") == ZBZ_OK);
	place = keep_as(l1, "k", &stamp);
	CHECK(zbz_l1_hit(l1, place, stamp) && see("k", &early) == ZBZ_OK);
	CHECK(zbz_cache_swap(cache, now(), next) == ZBZ_OK);
	CHECK(!zbz_l1_hit(l1, place, stamp));
	CHECK(zbz_l1_keep(l1, &early, &stamp) == 0 && early.store == NULL); /* read before the swap */
	CHECK(set("k", "new") == ZBZ_OK);
	place = keep_as(l1, "k", &stamp);
	CHECK(got("new") && zbz_l1_hit(l1, place, stamp) && see("k", &early) == ZBZ_OK);
	zbz_store_unref(next);
	zbz_cache_close(cache);
	CHECK(!zbz_l1_hit(l1, place, stamp) && zbz_l1_keep(l1, &early, &stamp) == 0);
	CHECK(see("k", &early) == ZBZ_E_CLOSED && early.store == NULL);
	zbz_l1_free(l1);
	CHECK(zbz_l1_new(table, 10, &l1, &err) == ZBZ_E_CLOSED && l1 == NULL);
	teardown();
}

/* A child hears of no change that its parent is told of: what it reads anew counts there, what the parent kept does not. */
static void a_child_keeps_nothing_of_its_parent(void) {
	uint32_t place, stamp;
	zbz_l1 *l1;
	int status = -1;
	pid_t pid;
	setup("provider=memory");
	CHECK(zbz_l1_new(table, 10, &l1, &err) == ZBZ_OK && set("k", "v") == ZBZ_OK);
	place = keep_as(l1, "k", &stamp);
	pid = fork();
	if (pid == 0) {
		bool fine = !zbz_l1_hit(l1, place, stamp);
		place = keep_as(l1, "k", &stamp);
		_exit(fine && place != 0 && zbz_l1_hit(l1, place, stamp) ? 0 : 1);
	}
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	CHECK(zbz_l1_hit(l1, place, stamp));
	zbz_l1_free(l1);
	teardown();
}

static void failing_allocations(void) {
	long live;
	for (long n = 1; n < 60; n++) {
		zbz_l1 *l1 = NULL;
		uint32_t place = 0, stamp = 0;
		bool failed;
		setup("provider=memory");
		CHECK(set("k", "v") == ZBZ_OK);
		zbz_buf_clear(&out);
		faults_begin(n);
		if (zbz_l1_new(table, 100, &l1, &err) == ZBZ_OK) place = keep_as(l1, "k", &stamp);
		if (place != 0) CHECK(got("v") && zbz_l1_hit(l1, place, stamp));
		zbz_l1_free(l1);
		zbz_buf_clear(&out);
		failed = faults_end(&live);
		CHECK(live >= 0 && live <= 1); /* the words stay with the store */
		teardown();
		if (!failed) return;
	}
	CHECK(!"still failing");
}

int main(void) {
	RUN(every_change_moves_the_word);
	RUN(what_is_absent_is_not_kept);
	RUN(the_evicted_do_not_stand);
	RUN(uses_count_below);
	RUN(uses_write_nothing_in_shared);
	RUN(a_change_close_by_is_told_from_ones_own);
	RUN(a_layer_without_the_slot_is_no_promise);
	RUN(copies_are_never_old_in_memory);
	RUN(copies_are_never_old_in_shared);
	RUN(places_are_bounded_and_the_hit_stay);
	RUN(a_place_that_was_lost_is_given_away_first);
	RUN(hits_end_with_the_value);
	RUN(the_logical_end_counts);
	RUN(a_swap_and_a_close_end_every_copy);
	RUN(a_child_keeps_nothing_of_its_parent);
	RUN(failing_allocations);
	return DONE();
}
