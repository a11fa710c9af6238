/* The `shared` provider in one process, and its zones over forks and again. */
#include "shared_rig.h"

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
	zbz_buf_clear(&out);
	return DONE();
}
