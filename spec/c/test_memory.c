/* The memory provider's slots, one by one: reading and writing, conditions, counters, time, listings, limits. */
#include "memory_help.h"

#include "provider/memory_limit.h"

#include <pthread.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- values and conditions ---- */

static void values_come_back(void) {
	fixture f;
	char odd[] = { 0, 'a', (char)0xFF, 0, '\n' };
	CHECK(fixture_open(&f, "") == ZBZ_OK);
	CHECK(get(&f, "none") == ZBZ_MISS);
	CHECK(put(&f, "k", "v") == ZBZ_OK && is(&f, "k", "v"));
	CHECK(put(&f, "k", "a much longer value than before") == ZBZ_OK && is(&f, "k", "a much longer value than before"));
	CHECK(put(&f, "k", "") == ZBZ_OK && is(&f, "k", ""));
	CHECK(put_bytes(&f, "odd", zbz_b(odd, sizeof odd), 0) == ZBZ_OK && get(&f, "odd") == ZBZ_OK);
	CHECK(zbz_bytes_eq(zbz_buf_bytes(&f.out), zbz_b(odd, sizeof odd)));
	CHECK(zbz_store_del(f.store, &f.call, zbz_bstr("k")) == ZBZ_OK);
	CHECK(zbz_store_del(f.store, &f.call, zbz_bstr("k")) == ZBZ_MISS);
	CHECK(get(&f, "k") == ZBZ_MISS && !has(&f, "k") && has(&f, "odd"));
	CHECK(stats(&f).keys == 1);
	CHECK(audit(&f));
	fixture_close(&f);
}

static zbz_status conditional(fixture *f, const char *key, const char *value, zbz_only only, const zbz_version *version,
                              zbz_version *out) {
	zbz_write w = { zbz_bstr(key), zbz_bstr(value), ZBZ_NO_EXPIRY, only, version };
	return zbz_store_set(f->store, &f->call, &w, out);
}

static void conditions_hold(void) {
	fixture f;
	CHECK(fixture_open(&f, "") == ZBZ_OK);
	CHECK(conditional(&f, "k", "1", ZBZ_ONLY_PRESENT, NULL, NULL) == ZBZ_REFUSED && !has(&f, "k"));
	CHECK(conditional(&f, "k", "2", ZBZ_ONLY_ABSENT, NULL, NULL) == ZBZ_OK);
	CHECK(conditional(&f, "k", "3", ZBZ_ONLY_ABSENT, NULL, NULL) == ZBZ_REFUSED && is(&f, "k", "2"));
	CHECK(conditional(&f, "k", "4", ZBZ_ONLY_PRESENT, NULL, NULL) == ZBZ_OK && is(&f, "k", "4"));
	put_ttl(&f, "dead", "x", 10);
	pass(&f, 10);
	CHECK(conditional(&f, "dead", "5", ZBZ_ONLY_PRESENT, NULL, NULL) == ZBZ_REFUSED);
	CHECK(conditional(&f, "dead", "6", ZBZ_ONLY_ABSENT, NULL, NULL) == ZBZ_OK && is(&f, "dead", "6"));
	fixture_close(&f);
}

static void versions_tell_writes_apart(void) {
	fixture f;
	zbz_version first, second, third;
	zbz_meta meta;
	CHECK(fixture_open(&f, "") == ZBZ_OK);
	CHECK(conditional(&f, "k", "1", ZBZ_ALWAYS, NULL, &first) == ZBZ_OK && first.n > 0);
	CHECK(zbz_store_get(f.store, &f.call, zbz_bstr("k"), &f.out, &meta) == ZBZ_OK);
	CHECK(meta.expire_at == ZBZ_NO_EXPIRY && meta.version.n == first.n &&
	      memcmp(meta.version.b, first.b, first.n) == 0);
	CHECK(conditional(&f, "k", "2", ZBZ_ONLY_VERSION, &first, &second) == ZBZ_OK);
	CHECK(conditional(&f, "k", "3", ZBZ_ONLY_VERSION, &first, NULL) == ZBZ_E_CONFLICT && is(&f, "k", "2"));
	CHECK(zbz_store_expire(f.store, &f.call, zbz_bstr("k"), T0 + 1000) == ZBZ_OK); /* writes nothing */
	CHECK(conditional(&f, "k", "4", ZBZ_ONLY_VERSION, &second, &third) == ZBZ_OK);
	zbz_store_del(f.store, &f.call, zbz_bstr("k"));
	CHECK(conditional(&f, "k", "5", ZBZ_ONLY_VERSION, &third, NULL) == ZBZ_E_CONFLICT && !has(&f, "k"));
	put(&f, "k", "4"); /* the same value again is another state */
	CHECK(conditional(&f, "k", "6", ZBZ_ONLY_VERSION, &third, NULL) == ZBZ_E_CONFLICT);
	fixture_close(&f);
}

/* ---- counters ---- */

static zbz_status count(fixture *f, const char *key, int64_t delta, int64_t *value) {
	zbz_incr how = { delta, false, 0, ZBZ_NO_EXPIRY };
	return zbz_store_incr(f->store, &f->call, zbz_bstr(key), &how, value);
}

static void counters_count(void) {
	fixture f;
	int64_t v = 0, at = 0;
	zbz_incr made = { 5, true, 100, T0 + 1000 };
	CHECK(fixture_open(&f, "") == ZBZ_OK);
	CHECK(count(&f, "n", 3, &v) == ZBZ_OK && v == 3 && is(&f, "n", "3"));
	CHECK(count(&f, "n", -13, &v) == ZBZ_OK && v == -10 && is(&f, "n", "-10"));
	CHECK(zbz_store_incr(f.store, &f.call, zbz_bstr("m"), &made, &v) == ZBZ_OK && v == 100);
	CHECK(zbz_store_ttl(f.store, &f.call, zbz_bstr("m"), &at) == ZBZ_OK && at == T0 + 1000);
	made.expire_at = T0 + 9000; /* for a new key only */
	CHECK(zbz_store_incr(f.store, &f.call, zbz_bstr("m"), &made, &v) == ZBZ_OK && v == 105);
	CHECK(zbz_store_ttl(f.store, &f.call, zbz_bstr("m"), &at) == ZBZ_OK && at == T0 + 1000);
	pass(&f, 1000);
	CHECK(count(&f, "m", 1, &v) == ZBZ_OK && v == 1);
	fixture_close(&f);
}

static void counters_have_limits(void) {
	static const char *const wrong[] = { "",
		                                 "-",
		                                 "x",
		                                 "1x",
		                                 " 1",
		                                 "1.5",
		                                 "+1",
		                                 "9223372036854775808",
		                                 "-9223372036854775809",
		                                 "111111111111111111111111111111" };
	fixture f;
	int64_t v = 77;
	size_t i;
	CHECK(fixture_open(&f, "") == ZBZ_OK);
	for (i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		put(&f, "k", wrong[i]);
		CHECK(count(&f, "k", 1, &v) == ZBZ_E_TYPE && is(&f, "k", wrong[i]));
	}
	put(&f, "k", "9223372036854775806");
	CHECK(count(&f, "k", 1, &v) == ZBZ_OK && v == INT64_MAX);
	CHECK(count(&f, "k", 1, &v) == ZBZ_E_ARGUMENT && is(&f, "k", "9223372036854775807"));
	put(&f, "k", "-9223372036854775807");
	CHECK(count(&f, "k", -1, &v) == ZBZ_OK && v == INT64_MIN);
	CHECK(count(&f, "k", -1, &v) == ZBZ_E_ARGUMENT && is(&f, "k", "-9223372036854775808"));
	CHECK(count(&f, "k", INT64_MAX, &v) == ZBZ_OK && v == -1);
	fixture_close(&f);
}

/* ---- time ---- */

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

/* ---- batches, listings, clear ---- */

static void batches(void) {
	fixture f;
	zbz_bytes keys[30];
	zbz_write writes[30];
	zbz_found found[31];
	zbz_status status[30];
	char names[30][8];
	int i;
	CHECK(fixture_open(&f, "max_size=64KB") == ZBZ_OK);
	for (i = 0; i < 30; i++) {
		snprintf(names[i], sizeof names[i], "k%d", i);
		keys[i] = zbz_bstr(names[i]);
		writes[i] = (zbz_write){ keys[i], keys[i], i % 2 ? T0 + 10 : ZBZ_NO_EXPIRY, ZBZ_ALWAYS, NULL };
	}
	writes[7].value = zbz_b(calloc(1, 100000), 100000);
	CHECK(zbz_store_set_many(f.store, &f.call, writes, 30, status) == ZBZ_OK);
	CHECK(status[7] == ZBZ_E_TOO_LARGE && status[6] == ZBZ_OK && status[29] == ZBZ_OK);
	free((void *)(uintptr_t)writes[7].value.p);
	pass(&f, 10);
	CHECK(zbz_store_get_many(f.store, &f.call, keys, 30, &f.out, found) == ZBZ_OK);
	for (i = 0; i < 30; i++) {
		CHECK(found[i].status == (i % 2 ? ZBZ_MISS : ZBZ_OK));
		if (i % 2 == 0) CHECK(zbz_bytes_eq(zbz_b(f.out.p + found[i].off, found[i].n), keys[i]));
	}
	CHECK(zbz_store_del_many(f.store, &f.call, keys, 4, status) == ZBZ_OK);
	CHECK(status[0] == ZBZ_OK && status[1] == ZBZ_MISS && status[2] == ZBZ_OK && status[3] == ZBZ_MISS);
	CHECK(stats(&f).keys == 13);
	fixture_close(&f);
}

/* Counts each listed key "<letter><number>" in seen[number]; false when something else is listed. */
static bool list_page(fixture *f, zbz_cursor *k, size_t limit, int *seen, int max, zbz_status *status) {
	size_t n = 0, i = 0;
	zbz_buf_reset(&f->out);
	*status = zbz_store_scan_next(f->store, &f->call, k, limit, &f->out, &n);
	if (*status != ZBZ_OK && *status != ZBZ_END) return false;
	while (i < f->out.n) {
		uint32_t len = (uint8_t)f->out.p[i] | (uint32_t)(uint8_t)f->out.p[i + 1] << 8;
		char key[32] = "";
		if (len >= sizeof key) return false;
		memcpy(key, f->out.p + i + 4, len);
		if (atoi(key + 1) >= max) return false;
		if (key[0] == 's') seen[atoi(key + 1)]++;
		i += 4 + len;
		n--;
	}
	return n == 0;
}

static void listing_finds_all(void) {
	enum { N = 5000 };
	static int seen[N];
	fixture f;
	zbz_cursor *k;
	zbz_status status = ZBZ_OK;
	char key[24];
	int i, bad = 0, pages = 0;
	CHECK(fixture_open(&f, "") == ZBZ_OK);
	for (i = 0; i < N; i++) {
		snprintf(key, sizeof key, "s%d", i);
		put(&f, key, "v");
		snprintf(key, sizeof key, "o%d", i);
		put(&f, key, "v");
	}
	put_ttl(&f, "s4999", "v", 10);
	pass(&f, 10);
	CHECK(zbz_store_scan_open(f.store, &f.call, zbz_bstr("s"), zbz_bstr("*"), &k) == ZBZ_OK);
	while (status == ZBZ_OK) {
		CHECK(list_page(&f, k, 100, seen, N, &status));
		pages++;
	}
	zbz_store_scan_close(f.store, k);
	for (i = 0; i < N - 1; i++) bad += seen[i] != 1;
	CHECK(status == ZBZ_END && bad == 0 && seen[N - 1] == 0 && pages >= 50 && pages <= 52);
	CHECK(zbz_store_scan_open(f.store, &f.call, zbz_bstr("s1"), zbz_bstr("2?4"), &k) == ZBZ_OK);
	memset(seen, 0, sizeof seen);
	for (status = ZBZ_OK; status == ZBZ_OK;) CHECK(list_page(&f, k, 1000, seen, N, &status));
	for (bad = 0, i = 0; i < N; i++) bad += seen[i];
	CHECK(bad == 10 && seen[1204] == 1 && seen[1294] == 1);
	zbz_store_scan_close(f.store, k);
	fixture_close(&f);
}

/* Half of the keys stay, others come and go in great numbers: the index grows and shrinks, entries move. */
static void listing_survives_changes(void) {
	enum { N = 2000 };
	static int seen[N];
	static const char *const options[] = { "", "max_size=500KB eviction=lru" };
	int o;
	for (o = 0; o < 2; o++) {
		fixture f;
		zbz_cursor *k;
		zbz_status status = ZBZ_OK;
		char key[24];
		int i, j = 0, missing = 0;
		static char filler[900];
		memset(seen, 0, sizeof seen);
		CHECK(fixture_open(&f, options[o]) == ZBZ_OK);
		for (i = 0; i < N; i++) {
			snprintf(key, sizeof key, "s%d", i);
			put(&f, key, "v");
		}
		CHECK(zbz_store_scan_open(f.store, &f.call, zbz_bstr(""), zbz_bstr(""), &k) == ZBZ_OK);
		while (status == ZBZ_OK) {
			CHECK(list_page(&f, k, 20, seen, N, &status));
			for (i = 0; i < 100; i++, j++) {
				snprintf(key, sizeof key, "o%d", j % N);
				put_bytes(&f, key, zbz_b(filler, (size_t)(j * 37) % sizeof filler), 0);
				snprintf(key, sizeof key, "o%d", (j * 7) % N);
				zbz_store_del(f.store, &f.call, zbz_bstr(key));
			}
			if (o == 1) /* kept by use */
				for (i = 0; i < N; i++) {
					snprintf(key, sizeof key, "s%d", i);
					get(&f, key);
				}
		}
		zbz_store_scan_close(f.store, k);
		for (i = 0; i < N; i++) {
			snprintf(key, sizeof key, "s%d", i);
			missing += seen[i] == 0 && has(&f, key);
		}
		CHECK(missing == 0 && status == ZBZ_END);
		CHECK(audit(&f));
		fixture_close(&f);
	}
}

static void clear_keeps_to_its_prefix(void) {
	fixture f;
	char key[24];
	uint64_t removed = 0;
	int i;
	CHECK(fixture_open(&f, "") == ZBZ_OK);
	for (i = 0; i < 6000; i++) {
		snprintf(key, sizeof key, "%s%d", i % 3 ? "a:" : "ab:", i);
		put(&f, key, "v");
	}
	CHECK(zbz_store_clear(f.store, &f.call, zbz_bstr("a:"), &removed) == ZBZ_OK && removed == 4000);
	CHECK(stats(&f).keys == 2000 && has(&f, "ab:0") && !has(&f, "a:1"));
	CHECK(audit(&f));
	CHECK(zbz_store_clear(f.store, &f.call, zbz_bstr(""), &removed) == ZBZ_OK && removed == 2000);
	CHECK(stats(&f).keys == 0 && stats(&f).memory == 0);
	CHECK(put(&f, "k", "v") == ZBZ_OK && is(&f, "k", "v"));
	fixture_close(&f);
}

/* ---- what the store tells of itself ---- */

/* The integer behind a name in a MessagePack map. */
static int64_t field(const zbz_buf *b, const char *name) {
	const char *p = memmem(b->p, b->n, name, strlen(name));
	uint8_t tag;
	int bytes, i;
	int64_t v;
	if (p == NULL) return -1;
	p += strlen(name);
	tag = (uint8_t)*p++;
	if (tag < 0x80) return tag;
	bytes = 1 << (tag - 0xd0);
	v = (int8_t)*p;
	for (i = 1; i < bytes; i++) v = v * 256 + (uint8_t)p[i];
	return v;
}

static zbz_status inspect(fixture *f, const char *key) {
	zbz_buf_reset(&f->out);
	return zbz_store_inspect(f->store, &f->call, zbz_bstr(key), &f->out);
}

static void inspect_tells(void) {
	fixture f;
	int i;
	CHECK(fixture_open(&f, "") == ZBZ_OK);
	CHECK(inspect(&f, "k") == ZBZ_MISS);
	put_ttl(&f, "k", "12345", 100000);
	pass(&f, 160);
	get(&f, "k"), get(&f, "k");
	pass(&f, 320);
	CHECK(inspect(&f, "k") == ZBZ_OK);
	CHECK(field(&f.out, "size") == 5 && field(&f.out, "hits") == 2 && field(&f.out, "expire_at") == T0 + 100000);
	CHECK(field(&f.out, "idle_ms") == 320);
	for (i = 0; i < 300; i++) get(&f, "k");
	CHECK(inspect(&f, "k") == ZBZ_OK && field(&f.out, "hits_at_least") == 255 && field(&f.out, "idle_ms") == 0);
	fixture_close(&f);
}

static void capabilities_are_told(void) {
	fixture f;
	zbz_caps caps;
	CHECK(fixture_open(&f, "max_size=10MB") == ZBZ_OK);
	zbz_store_caps(f.store, &caps);
	CHECK(caps.inline_ok && caps.exclusive && !caps.shared && caps.ttl_resolution_ms == 1 &&
	      caps.max_value == 10 << 20);
	CHECK((caps.can & ZBZ_CAN_VERSION) && (caps.can & ZBZ_CAN_INCR) && (caps.can & ZBZ_CAN_BATCH) &&
	      caps.emulated == 0);
	CHECK(zbz_store_ping(f.store, &f.call) == ZBZ_OK);
	zbz_buf_reset(&f.out);
	CHECK(zbz_store_version(f.store, &f.call, &f.out) == ZBZ_OK &&
	      zbz_bytes_eq(zbz_buf_bytes(&f.out), zbz_bstr(ZBZ_VERSION)));
	fixture_close(&f);
}

static void options_are_checked(void) {
	fixture f;
	CHECK(fixture_open(&f, "eviction=mru") == ZBZ_E_CONFIG && strstr(f.call.err.text, "s3fifo") != NULL);
	fixture_close(&f);
	CHECK(fixture_open(&f, "max_sise=1MB") == ZBZ_E_ARGUMENT && strstr(f.call.err.text, "max_size") != NULL);
	fixture_close(&f);
	CHECK(fixture_open(&f, "max_size=10") == ZBZ_E_CONFIG);
	fixture_close(&f);
	CHECK(fixture_open(&f, "provider=ristretto buffer_items=0") == ZBZ_E_CONFIG);
	fixture_close(&f);
}

/* A child that was forked while other threads were at work in the store may use its copy. */
static void *hammer(void *ud) {
	fixture *f = ud;
	zbz_call c = f->call;
	zbz_buf out = { 0 };
	while (zbz_store_get(f->store, &c, zbz_bstr("stop"), &out, NULL) != ZBZ_OK) zbz_buf_reset(&out);
	zbz_buf_clear(&out);
	return NULL;
}

static void children_may_use_it(void) {
	fixture f;
	pthread_t thread;
	int i, state, fine = 0;
	CHECK(fixture_open(&f, "") == ZBZ_OK);
	put(&f, "k", "v");
	CHECK(pthread_create(&thread, NULL, hammer, &f) == 0);
	for (i = 0; i < 20; i++) {
		pid_t pid = fork();
		if (pid == 0) _exit(is(&f, "k", "v") && put(&f, "k", "w") == ZBZ_OK && is(&f, "k", "w") ? 0 : 1);
		fine += waitpid(pid, &state, 0) == pid && state == 0;
	}
	CHECK(fine == 20);
	put(&f, "stop", "now");
	pthread_join(thread, NULL);
	CHECK(is(&f, "k", "v"));
	fixture_close(&f);
}

/* ---- limits ---- */

static void memory_stays_below_the_limit(void) {
	static const char *const sizes[] = { "1000", "5KB", "100KB", "3MB" };
	static char value[30000];
	size_t o;
	for (o = 0; o < sizeof sizes / sizeof sizes[0]; o++) {
		fixture f;
		char options[64], key[24];
		uint64_t x = 88172645463325252u, i;
		int64_t limit, above = 0;
		snprintf(options, sizeof options, "max_size=%s", sizes[o]);
		CHECK(fixture_open(&f, options) == ZBZ_OK);
		limit = (int64_t)engine(&f)->max_size;
		for (i = 0; i < 30000; i++) {
			zbz_status status;
			snprintf(key, sizeof key, "k%llu", (unsigned long long)(next_random(&x) % 3000));
			status = put_bytes(&f, key, zbz_b(value, next_random(&x) % (next_random(&x) % 16 ? 400 : sizeof value)), 0);
			if (status != ZBZ_OK && status != ZBZ_E_TOO_LARGE) above++;
			if (status == ZBZ_OK && !has(&f, key)) above++;
			if ((int64_t)zbz_mem_total(engine(&f)) > limit) above++;
		}
		CHECK(above == 0);
		CHECK(stats(&f).keys > 0);
		CHECK(audit(&f));
		fixture_close(&f);
	}
}

static void one_large_insert_into_a_full_cache(void) {
	fixture f;
	const size_t large = 60u << 20;
	char *value = calloc(1, large + 1), key[24];
	int64_t before;
	int i;
	CHECK(fixture_open(&f, "max_size=100MB") == ZBZ_OK);
	for (i = 0; i < 450000; i++) {
		snprintf(key, sizeof key, "k%d", i);
		put_bytes(&f, key, zbz_b(value, 100 + (size_t)i * 7919 % 300), 0);
	}
	before = stats(&f).keys;
	CHECK(stats(&f).evictions > 0 && stats(&f).memory > 95 << 20);
	CHECK(put_bytes(&f, "large", zbz_b(value, large), 0) == ZBZ_OK && get(&f, "large") == ZBZ_OK && f.out.n == large);
	CHECK(stats(&f).memory <= 100 << 20);
	CHECK(stats(&f).keys > before / 4); /* not all had to go for it */
	CHECK(put_bytes(&f, "large", zbz_b(value, large + 1), 0) == ZBZ_OK && get(&f, "large") == ZBZ_OK &&
	      f.out.n == large + 1);
	CHECK(stats(&f).keys > before / 4);
	CHECK(put_bytes(&f, "large", zbz_b(value, 50), 0) == ZBZ_OK && get(&f, "large") == ZBZ_OK && f.out.n == 50);
	CHECK(stats(&f).memory < 45 << 20);
	CHECK(audit(&f));
	free(value);
	fixture_close(&f);
}

static void too_large_leaves_the_old_value(void) {
	fixture f;
	char *value = calloc(1, 2 << 20);
	zbz_buf small = { .max = 2 };
	CHECK(fixture_open(&f, "max_size=1MB") == ZBZ_OK);
	put(&f, "k", "old");
	put(&f, "l", "other");
	CHECK(put_bytes(&f, "k", zbz_b(value, 2 << 20), 0) == ZBZ_E_TOO_LARGE);
	CHECK(put_bytes(&f, "k", zbz_b(value, (1 << 20) - 30), 0) == ZBZ_E_TOO_LARGE);
	CHECK(is(&f, "k", "old") && is(&f, "l", "other"));
	CHECK(put_bytes(&f, "k", zbz_b(value, (1 << 20) - 400), 0) == ZBZ_OK && has(&f, "k"));
	CHECK(!has(&f, "l"));
	put(&f, "k", "old");
	CHECK(zbz_store_get(f.store, &f.call, zbz_bstr("k"), &small, NULL) == ZBZ_E_TOO_LARGE && small.n == 0);
	CHECK(audit(&f));
	zbz_buf_clear(&small);
	free(value);
	fixture_close(&f);
}

static void max_items_is_kept(void) {
	fixture f;
	char key[24];
	int i;
	CHECK(fixture_open(&f, "max_items=10") == ZBZ_OK);
	for (i = 0; i < 1000; i++) {
		snprintf(key, sizeof key, "k%d", i % 40);
		put(&f, key, "v");
		CHECK(has(&f, key));
	}
	CHECK(stats(&f).keys == 10);
	fixture_close(&f);
}

static void memory_comes_back_after_expiry(void) {
	fixture f;
	char key[24];
	int i;
	CHECK(fixture_open(&f, "") == ZBZ_OK);
	for (i = 0; i < 200000; i++) {
		snprintf(key, sizeof key, "k%d", i);
		put_ttl(&f, key, "some value that is of a middling length", 1000);
	}
	CHECK(stats(&f).memory > 15 << 20);
	pass(&f, 1000);
	CHECK(stats(&f).keys == 0 && stats(&f).memory < 3 << 20);
	CHECK(audit(&f));
	fixture_close(&f);
}

/* ---- containers ---- */

static bool file_write(const char *dir, const char *name, const char *text) {
	char path[300];
	FILE *file;
	snprintf(path, sizeof path, "%s/%s", dir, name);
	file = fopen(path, "w");
	if (file == NULL) return false;
	fputs(text, file);
	return fclose(file) == 0;
}

static void container_limits_are_read(void) {
	char root[] = "/tmp/zbz-cgroup-XXXXXX", dir[300];
	CHECK(mkdtemp(root) != NULL);
	snprintf(dir, sizeof dir, "%s/a", root), mkdir(dir, 0700);
	snprintf(dir, sizeof dir, "%s/a/b", root), mkdir(dir, 0700);
	snprintf(dir, sizeof dir, "%s/memory", root), mkdir(dir, 0700);
	CHECK(zbz_mem_cgroup_limit_of(zbz_bstr("0::/a/b\n"), root) == INT64_MAX);
	CHECK(file_write(root, "a/b/memory.max", "max\n"));
	CHECK(zbz_mem_cgroup_limit_of(zbz_bstr("0::/a/b\n"), root) == INT64_MAX);
	CHECK(file_write(root, "a/memory.max", "67108864\n"));
	CHECK(zbz_mem_cgroup_limit_of(zbz_bstr("0::/a/b\n"), root) == 67108864);
	CHECK(zbz_mem_cgroup_limit_of(zbz_bstr("0::/\n"), root) == INT64_MAX);
	CHECK(file_write(root, "memory.max", "1000000\n")); /* what the container sees as its root */
	CHECK(zbz_mem_cgroup_limit_of(zbz_bstr("0::/not/visible\n"), root) == 1000000);
	CHECK(file_write(root, "memory/memory.limit_in_bytes", "9223372036854771712\n"));
	CHECK(zbz_mem_cgroup_limit_of(zbz_bstr("5:cpu,memory:/\n"), root) == INT64_MAX);
	CHECK(file_write(root, "memory/memory.limit_in_bytes", "5000000\n"));
	CHECK(zbz_mem_cgroup_limit_of(zbz_bstr("7:cpu:/\n5:cpu,memory:/docker/x\n"), root) == 5000000);
	CHECK(zbz_mem_cgroup_limit_of(zbz_bstr("nonsense\n\n:"), root) == INT64_MAX);
	snprintf(dir, sizeof dir, "rm -r %s", root);
	CHECK(system(dir) == 0);
}

int main(void) {
	RUN(values_come_back);
	RUN(conditions_hold);
	RUN(versions_tell_writes_apart);
	RUN(counters_count);
	RUN(counters_have_limits);
	RUN(expiry_is_exact);
	RUN(expiry_can_be_changed);
	RUN(dead_entries_leave_unread);
	RUN(cleanup_comes_with_any_call);
	RUN(writes_reap_a_few);
	RUN(all_ranges_of_ttl);
	RUN(batches);
	RUN(listing_finds_all);
	RUN(listing_survives_changes);
	RUN(clear_keeps_to_its_prefix);
	RUN(inspect_tells);
	RUN(capabilities_are_told);
	RUN(options_are_checked);
	RUN(children_may_use_it);
	RUN(memory_stays_below_the_limit);
	RUN(one_large_insert_into_a_full_cache);
	RUN(too_large_leaves_the_old_value);
	RUN(max_items_is_kept);
	RUN(memory_comes_back_after_expiry);
	RUN(container_limits_are_read);
	return DONE();
}
