/* Tables over a small provider: many keys at once, listings, closing, deadlines. */
#include "table_rig.h"

static void batches(void) {
	zbz_table *t;
	zbz_bytes keys[] = { { "a", 1 }, { "", 0 }, { "b", 1 }, { "a", 1 }, { "waytoolong", 10 }, { "c", 1 } };
	zbz_bytes vals[] = { { "1", 1 }, { "2", 1 }, { "3", 1 },
		                 { "4", 1 }, { "5", 1 }, { "toobig...........................", 32 } };
	zbz_put fresh = { .ttl = 50, .stale_ttl = 10 }, bad = { .ttl = -9 },
	        only = { .ttl = -1, .stale_ttl = -1, .only = ZBZ_ONLY_ABSENT };
	const zbz_put *puts[] = { NULL, NULL, &fresh, NULL, NULL, NULL };
	const zbz_put *odd[] = { &only, &bad, &only };
	zbz_bytes three[] = { { "a", 1 }, { "z", 1 }, { "y", 1 } };
	zbz_status st[6];
	zbz_found f[6];
	zbz_table_stats stats;
	open_cache("max_key=5,max_value=30", "", 0);
	t = table("t", -1, 0, false);
	CHECK(zbz_table_set_many(t, at(t), keys, vals, puts, 6, st) == ZBZ_OK);
	CHECK(st[0] == ZBZ_OK && st[1] == ZBZ_E_KEY && st[2] == ZBZ_OK && st[3] == ZBZ_OK && st[4] == ZBZ_E_KEY &&
	      st[5] == ZBZ_E_TOO_LARGE);
	out.n = 0;
	CHECK(zbz_table_get_many(t, at(t), keys, 6, &out, f) == ZBZ_OK);
	CHECK(f[0].status == ZBZ_OK && zbz_bytes_eq(zbz_b(out.p + f[0].off, f[0].n), zbz_bstr("4")));
	CHECK(f[1].status == ZBZ_E_KEY && f[4].status == ZBZ_E_KEY && f[5].status == ZBZ_MISS);
	CHECK(f[2].status == ZBZ_OK && zbz_bytes_eq(zbz_b(out.p + f[2].off, f[2].n), zbz_bstr("3")));
	CHECK(f[3].status == ZBZ_OK && zbz_bytes_eq(zbz_b(out.p + f[3].off, f[3].n), zbz_bstr("4")));
	zbz_table_stats_read(t, &stats);
	CHECK(stats.sets == 3 && stats.hits == 3 && stats.misses == 1 && stats.errors == 5);
	zbz_clock_fake_advance(fake, 50); /* b is sealed and stale now */
	out.n = 0;
	CHECK(zbz_table_get_many(t, at(t), keys + 2, 1, &out, f) == ZBZ_OK && f[0].status == ZBZ_MISS);
	CHECK(zbz_table_set_many(t, at(t), three, vals, odd, 3, st) == ZBZ_OK);
	CHECK(st[0] == ZBZ_REFUSED && st[1] == ZBZ_E_ARGUMENT && st[2] == ZBZ_OK && holds(t, "y", "3"));
	CHECK(zbz_table_set_many(t, at(t), three, vals, NULL, 3, st) == ZBZ_OK && holds(t, "z", "2"));
	CHECK(zbz_table_del_many(t, at(t), keys, 6, st) == ZBZ_OK);
	CHECK(st[0] == ZBZ_OK && st[1] == ZBZ_E_KEY && st[2] == ZBZ_OK && st[3] == ZBZ_MISS && st[5] == ZBZ_MISS);
	CHECK(zbz_table_get_many(t, at(t), keys, 0, &out, f) == ZBZ_OK &&
	      zbz_table_set_many(t, at(t), keys, vals, NULL, 0, st) == ZBZ_OK);
	CHECK(zbz_table_get_many(t, at(t), keys + 1, 1, &out, f) == ZBZ_OK &&
	      f[0].status == ZBZ_E_KEY); /* no good key at all */
	zbz_table_free(t);
	close_cache();
}

static size_t list(zbz_table *t, const char *pattern, zbz_status *last) {
	zbz_listing *l;
	size_t n = 0;
	out.n = 0;
	*last = zbz_table_keys_open(t, at(t), zbz_bstr(pattern), &l);
	if (*last != ZBZ_OK) return 0;
	do *last = zbz_table_keys_next(l, at(t), 7, &out, &n);
	while (*last == ZBZ_OK);
	zbz_table_keys_close(l);
	return n;
}

static void listings(void) {
	zbz_table *t, *other;
	char key[20];
	int i;
	uint64_t removed;
	zbz_status s;
	zbz_listing *l;
	size_t n = 0;
	open_cache("", "p*:", 0); /* a glob character in the prefix is an ordinary byte */
	t = table("t", -1, 0, false);
	other = table("tt", -1, 0, false);
	for (i = 0; i < 100; i++) {
		snprintf(key, sizeof key, "k%02d", i);
		CHECK(set(t, key, "v", -1) == ZBZ_OK);
	}
	CHECK(set(other, "k01", "v", -1) == ZBZ_OK);
	CHECK(list(t, "*", &s) == 100 && s == ZBZ_END);
	CHECK(list(t, "", &s) == 100 && s == ZBZ_END);
	CHECK(list(t, "k0?", &s) == 10 && out.n == 70 && memcmp(out.p, "\3\0\0\0k0", 6) == 0);
	CHECK(list(t, "x*", &s) == 0 && s == ZBZ_END);
	CHECK(zbz_table_keys_open(t, at(t), zbz_bstr("*"), &l) == ZBZ_OK);
	zbz_table_clear(t, at(t), &removed);
	CHECK(removed == 100 && list(t, "*", &s) == 0 && list(other, "*", &s) == 1);
	zbz_cache_close(cache);
	CHECK(zbz_table_keys_next(l, at(t), 7, &out, &n) == ZBZ_E_CLOSED);
	zbz_table_keys_close(l);
	zbz_table_keys_close(NULL);
	CHECK(list(t, "*", &s) == 0 && s == ZBZ_E_CLOSED);
	zbz_table_free(t);
	zbz_table_free(other);
	close_cache();
}

static void closing(void) {
	zbz_table *t;
	zbz_err err;
	zbz_flight *f;
	zbz_seat seat;
	zbz_status st[1];
	zbz_bytes k = { "k", 1 };
	zbz_found fd[1];
	int64_t v;
	open_cache("", "", 0);
	t = table("t", -1, 0, false);
	zbz_cache_close(cache);
	zbz_cache_close(cache);
	CHECK(zbz_cache_store(cache) == NULL);
	CHECK(get(t, "k") == ZBZ_E_CLOSED && set(t, "k", "v", -1) == ZBZ_E_CLOSED && del(t, "k") == ZBZ_E_CLOSED &&
	      exists(t, "k") == ZBZ_E_CLOSED);
	CHECK(incr(t, "k", 1, &v) == ZBZ_E_CLOSED && expire(t, "k", 5) == ZBZ_E_CLOSED &&
	      zbz_table_clear(t, at(t), NULL) == ZBZ_E_CLOSED);
	CHECK(zbz_table_get_many(t, at(t), &k, 1, &out, fd) == ZBZ_E_CLOSED &&
	      zbz_table_set_many(t, at(t), &k, &k, NULL, 1, st) == ZBZ_E_CLOSED);
	CHECK(zbz_table_del_many(t, at(t), &k, 1, st) == ZBZ_E_CLOSED &&
	      zbz_table_flight(t, k, NULL, &f, &seat, &err) == ZBZ_E_CLOSED);
	CHECK(zbz_cache_swap(cache, at(t), store) == ZBZ_E_CLOSED);
	zbz_cache_unref(cache);
	CHECK(get(t, "k") == ZBZ_E_CLOSED); /* the table keeps the cache alive */
	cache = NULL;
	zbz_table_free(t);
	zbz_table_free(NULL);
	close_cache();
}

static void deadlines(void) {
	zbz_table *t;
	zbz_table_stats stats;
	open_cache("", "", 0);
	t = table("t", -1, 0, false);
	zbz_table_begin(t, &call, 100);
	CHECK(call.deadline == zbz_mono(fake) + 100);
	zbz_clock_fake_advance(fake, 100);
	CHECK(zbz_table_get(t, &call, zbz_bstr("k"), &out) == ZBZ_E_TIMEOUT && call.err.retryable);
	zbz_table_begin(t, &call, 0);
	CHECK(call.deadline == ZBZ_NEVER);
	CHECK(get(t, "k") == ZBZ_MISS);
	zbz_table_stats_read(t, &stats);
	CHECK(stats.errors == 1 && stats.misses == 1 && stats.created_at == T0 && stats.last_access == T0 + 100);
	zbz_table_free(t);
	close_cache();
	open_cache("inline", "", 0);
	t = table("t", -1, 0, false);
	zbz_table_begin(t, &call, 100);
	CHECK(call.deadline == ZBZ_NEVER); /* it never waits */
	zbz_table_free(t);
	close_cache();
}

int main(void) {
	RUN(batches);
	RUN(listings);
	RUN(closing);
	RUN(deadlines);
	return DONE();
}
