/* The memory provider and time: expiry to the millisecond, and how the dead leave. */
#include "memory_help.h"

static void expiry_is_exact(void) {
	fixture f;
	int64_t at;
	CHECK(fixture_open(&f, "") == ZBZ_OK);
	put_ttl(&f, "k", "v", 1001);
	pass(&f, 1000);
	CHECK(is(&f, "k", "v") && zbz_store_ttl(f.store, &f.call, zbz_bstr("k"), &at) == ZBZ_OK && at == T0 + 1001);
	pass(&f, 1);
	CHECK(get(&f, "k") == ZBZ_MISS && stats(&f).expired == 1);
	CHECK(zbz_store_expire(f.store, &f.call, zbz_bstr("k"), f.call.now + 5) == ZBZ_MISS);
	put_ttl(&f, "k", "v", 100);
	put(&f, "k", "w"); /* a write without TTL takes the old one away */
	pass(&f, 1000);
	CHECK(is(&f, "k", "w"));
	fixture_close(&f);
}

static void expiry_can_be_changed(void) {
	fixture f;
	int64_t at = -1;
	static char large[300000];
	CHECK(fixture_open(&f, "max_size=1MB") == ZBZ_OK);
	put(&f, "k", "value");
	CHECK(zbz_store_expire(f.store, &f.call, zbz_bstr("k"), T0 + 50) == ZBZ_OK && is(&f, "k", "value"));
	CHECK(zbz_store_ttl(f.store, &f.call, zbz_bstr("k"), &at) == ZBZ_OK && at == T0 + 50);
	CHECK(zbz_store_expire(f.store, &f.call, zbz_bstr("k"), ZBZ_NO_EXPIRY) == ZBZ_OK);
	CHECK(zbz_store_ttl(f.store, &f.call, zbz_bstr("k"), &at) == ZBZ_OK && at == ZBZ_NO_EXPIRY);
	CHECK(zbz_store_expire(f.store, &f.call, zbz_bstr("k"), T0 + 3000000000) == ZBZ_OK && is(&f, "k", "value"));
	memset(large, 'x', sizeof large);
	large[0] = 'a';
	large[sizeof large - 1] = 'z';
	put_bytes(&f, "large", zbz_b(large, sizeof large), 0);
	CHECK(zbz_store_expire(f.store, &f.call, zbz_bstr("large"), T0 + 60) == ZBZ_OK && get(&f, "large") == ZBZ_OK);
	CHECK(zbz_bytes_eq(zbz_buf_bytes(&f.out), zbz_b(large, sizeof large)));
	CHECK(audit(&f));
	pass(&f, 60);
	CHECK(stats(&f).keys == 1 && !has(&f, "large"));
	CHECK(audit(&f));
	fixture_close(&f);
}

/* Nobody reads them, nobody waits for the interval: stats and ping tell the truth to the millisecond. */
static void dead_entries_leave_unread(void) {
	fixture f;
	char key[24];
	int i;
	CHECK(fixture_open(&f, "") == ZBZ_OK);
	for (i = 0; i < 1000; i++) {
		snprintf(key, sizeof key, "k%d", i);
		put_ttl(&f, key, "value", 100 + i);
	}
	for (i = 0; i < 1000; i += 50) {
		pass(&f, i == 0 ? 100 : 50);
		CHECK(stats(&f).keys == 999 - i);
	}
	pass(&f, 50);
	CHECK(stats(&f).keys == 0 && stats(&f).expired == 1000);
	CHECK(audit(&f));
	fixture_close(&f);
}

static void cleanup_comes_with_any_call(void) {
	fixture f;
	char key[24];
	int i;
	CHECK(fixture_open(&f, "cleanup_interval=1s") == ZBZ_OK);
	for (i = 0; i < 100; i++) {
		snprintf(key, sizeof key, "k%d", i);
		put_ttl(&f, key, "value", 500);
	}
	pass(&f, 600);
	get(&f, "other");
	CHECK(engine(&f)->items == 100); /* a read alone does not pay for others */
	pass(&f, 400);
	get(&f, "other");
	CHECK(engine(&f)->items == 0);
	fixture_close(&f);
}

static void writes_reap_a_few(void) {
	fixture f;
	char key[24];
	int i;
	CHECK(fixture_open(&f, "cleanup_interval=1h") == ZBZ_OK);
	for (i = 0; i < 100; i++) {
		snprintf(key, sizeof key, "k%d", i);
		put_ttl(&f, key, "value", 500);
	}
	pass(&f, 1000);
	put(&f, "x", "y");
	CHECK(engine(&f)->items == 100 - 8 + 1);
	for (i = 0; i < 12; i++) put(&f, "x", "y");
	CHECK(engine(&f)->items == 1);
	fixture_close(&f);
}

/* From milliseconds to years, leaps and steps back: whatever is due is gone, whatever is not stays. */
static void all_ranges_of_ttl(void) {
	static const int64_t ttls[] = { 1,
		                            63,
		                            64,
		                            65,
		                            1000,
		                            16000,
		                            16500,
		                            60000,
		                            600000,
		                            3600000,
		                            16800000,
		                            86400000,
		                            7 * 86400000LL,
		                            30 * 86400000LL,
		                            200 * 86400000LL,
		                            1000 * 86400000LL,
		                            40000 * 86400000LL };
	const int n = (int)(sizeof ttls / sizeof ttls[0]);
	fixture f;
	char key[24];
	int i, turn;
	for (turn = 0; turn < 3; turn++) {
		CHECK(fixture_open(&f, turn == 1 ? "eviction=ttl" : "") == ZBZ_OK);
		for (i = 0; i < n; i++) {
			snprintf(key, sizeof key, "k%d", i);
			put_ttl(&f, key, "v", ttls[i]);
		}
		for (i = 0; i < n; i++) {
			int64_t elapsed = f.call.now - T0;
			if (turn == 2) { /* in a thousand steps */
				int s;
				for (s = 0; s < 1000; s++) {
					pass(&f, (ttls[i] - 1 - elapsed) / 1000);
					put(&f, "tick", "x");
				}
				elapsed = f.call.now - T0;
			}
			pass(&f, ttls[i] - 1 - elapsed);
			CHECK(stats(&f).keys == n - i + (turn == 2));
			pass(&f, 1);
			CHECK(stats(&f).keys == n - i - 1 + (turn == 2));
			CHECK(audit(&f));
		}
		fixture_close(&f);
	}
	CHECK(fixture_open(&f, "") == ZBZ_OK);
	put_ttl(&f, "k", "v", 5000);
	pass(&f, -3600000); /* the clock is set back */
	put_ttl(&f, "l", "v", 5000);
	CHECK(has(&f, "k") && has(&f, "l"));
	pass(&f, 5000);
	CHECK(stats(&f).keys == 1 && has(&f, "k"));
	pass(&f, 3600000);
	CHECK(stats(&f).keys == 0);
	fixture_close(&f);
}

int main(void) {
	RUN(expiry_is_exact);
	RUN(expiry_can_be_changed);
	RUN(dead_entries_leave_unread);
	RUN(cleanup_comes_with_any_call);
	RUN(writes_reap_a_few);
	RUN(all_ranges_of_ttl);
	return DONE();
}
