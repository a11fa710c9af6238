/* The word that tells whether a copy of what a store has still stands (get_seen): every change moves it, also under threads. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "l1_rig.h"

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
enum { WRITES = SANITIZED ? 4000 : 40000 };

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
	return DONE();
}
