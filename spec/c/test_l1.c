/* The places of an L1 over a table: their bound, what a hit is, what ends every copy. */
#include <sys/wait.h>
#include <unistd.h>

#include "faults.h"
#include "l1_rig.h"

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
	RUN(places_are_bounded_and_the_hit_stay);
	RUN(a_place_that_was_lost_is_given_away_first);
	RUN(hits_end_with_the_value);
	RUN(the_logical_end_counts);
	RUN(a_swap_and_a_close_end_every_copy);
	RUN(a_child_keeps_nothing_of_its_parent);
	RUN(failing_allocations);
	return DONE();
}
