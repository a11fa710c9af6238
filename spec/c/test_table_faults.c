/* Tables over the fault layer, and with memory that runs out. */
#include "faults.h"
#include "table_rig.h"

/* ---- the fault layer ---- */

/* The test's store under the layer, with options "name=value name=value". */
static zbz_store *faulty(const char *options) {
	zbz_config *cfg = zbz_config_new();
	zbz_store *s = NULL;
	zbz_err err;
	char list[100], *word, *value, *save = NULL;
	snprintf(list, sizeof list, "%s", options);
	CHECK(zbz_config_set_text(cfg, "provider", zbz_bstr("fault"), &err) == ZBZ_OK);
	CHECK(zbz_config_set_store(cfg, "inner", store, &err) == ZBZ_OK);
	for (word = strtok_r(list, " ", &save); word != NULL; word = strtok_r(NULL, " ", &save)) {
		value = strchr(word, '=');
		*value++ = '\0';
		CHECK(zbz_config_set_text(cfg, word, zbz_bstr(value), &err) == ZBZ_OK);
	}
	if (zbz_store_open(cfg, fake, &s, &err) != ZBZ_OK) s = NULL;
	zbz_config_free(cfg);
	return s;
}

static void under(zbz_table *t, const char *options) {
	zbz_store *s = faulty(options);
	CHECK(s != NULL && zbz_cache_swap(cache, at(t), s) == ZBZ_OK);
	zbz_store_unref(s);
}

static uint64_t failing_gets(zbz_table *t, const char *options) { /* which of 64 */
	uint64_t bits = 0;
	int i;
	under(t, options);
	for (i = 0; i < 64; i++) bits |= (uint64_t)(get(t, "k") == ZBZ_E_UNAVAILABLE) << i;
	return bits;
}

static void faults_are_made(void) {
	zbz_table *t;
	uint64_t bits;
	open_cache("", "", 0);
	t = table("t", -1, 0, false);
	under(t, "");
	CHECK(set(t, "k", "value", -1) == ZBZ_OK && holds(t, "k", "value"));
	under(t, "truncate=true");
	CHECK(holds(t, "k", "valu"));
	CHECK(faulty("fail_ops=get,unheard_of") == NULL && faulty("fail_per_mille=1001") == NULL &&
	      faulty("error=odd") == NULL);
	bits = failing_gets(t, "fail_per_mille=300 fail_ops=get seed=7");
	CHECK(__builtin_popcountll(bits) > 5 && __builtin_popcountll(bits) < 40);
	CHECK(failing_gets(t, "fail_per_mille=300 fail_ops=get seed=7") == bits);
	CHECK(failing_gets(t, "fail_per_mille=300 fail_ops=get seed=8") != bits);
	CHECK(failing_gets(t, "fail_per_mille=1000 fail_ops=get") == UINT64_MAX);
	CHECK_STR(call.err.provider, "fault");
	CHECK(failing_gets(t, "fail_per_mille=1000 fail_ops=set") == 0);
	zbz_table_free(t);
	close_cache();
}

static void faults_are_counted(void) {
	zbz_config *cfg = zbz_config_new();
	zbz_table *t;
	zbz_table_stats stats;
	zbz_store *s;
	zbz_err err;
	open_cache("", "", 0);
	CHECK(zbz_config_set_text(cfg, "provider", zbz_bstr("fault"), &err) == ZBZ_OK);
	CHECK(zbz_config_set_store(cfg, "inner", store, &err) == ZBZ_OK);
	CHECK(zbz_config_set_text(cfg, "fail_ops", zbz_bstr("set,get"), &err) == ZBZ_OK);
	CHECK(zbz_config_set_int(cfg, "fail_first", 2, &err) == ZBZ_OK);
	CHECK(zbz_config_set_int(cfg, "fail_after", 4, &err) == ZBZ_OK);
	CHECK(zbz_config_set_text(cfg, "error", zbz_bstr("timeout"), &err) == ZBZ_OK);
	CHECK(zbz_config_set_bool(cfg, "lose_reply", true, &err) == ZBZ_OK);
	CHECK(zbz_store_open(cfg, fake, &s, &err) == ZBZ_OK);
	t = table("t", -1, 0, false);
	CHECK(zbz_cache_swap(cache, at(t), s) == ZBZ_OK);
	CHECK(set(t, "k", "v", -1) == ZBZ_E_TIMEOUT && raw("t:k") == ZBZ_OK); /* carried out, the answer lost */
	CHECK(get(t, "k") == ZBZ_E_TIMEOUT && out.n == 0);
	CHECK(del(t, "none") == ZBZ_MISS);
	CHECK(get(t, "k") == ZBZ_OK && set(t, "k", "w", -1) == ZBZ_OK && get(t, "k") == ZBZ_E_TIMEOUT &&
	      get(t, "k") == ZBZ_E_TIMEOUT);
	zbz_table_stats_read(t, &stats);
	CHECK(stats.lost_writes == 1 && stats.errors == 4);
	zbz_table_free(t);
	zbz_store_unref(s);
	zbz_config_free(cfg);
	close_cache();
}

static void a_delay_ends_at_the_deadline(void) {
	zbz_table *t;
	zbz_caps caps;
	zbz_store *s;
	int64_t start = zbz_mono(zbz_clock_system());
	open_cache("inline", "", 0);
	t = table("t", -1, 0, false);
	s = faulty("delay=1h");
	CHECK(s != NULL);
	zbz_store_caps(s, &caps);
	CHECK(!caps.inline_ok);
	zbz_table_begin(t, &call, 0);
	call.deadline = zbz_mono(fake) + 20;
	CHECK(zbz_store_ping(s, &call) == ZBZ_E_TIMEOUT);
	CHECK(zbz_mono(zbz_clock_system()) - start < 20000);
	zbz_store_unref(s);
	zbz_table_free(t);
	close_cache();
}

/* ---- memory that runs out ---- */

static zbz_status every_call(zbz_table *t, zbz_call *c) {
	zbz_bytes k = zbz_bstr("k"), keys[2] = { { "k", 1 }, { "l", 1 } }, vals[2] = { { "1", 1 }, { "2", 1 } };
	static char longkey[700];
	zbz_buf b = { 0 };
	zbz_entry e;
	zbz_found f[2];
	zbz_status st[2], s;
	zbz_listing *l = NULL;
	zbz_flight *fl = NULL, *waiter = NULL;
	zbz_seat seat;
	zbz_version v = { 0, { 0 } };
	zbz_put p = { .ttl = 50, .stale_ttl = 50 };
	int64_t num;
	uint64_t removed;
	size_t n = 0;
	memset(longkey, 'k', sizeof longkey);
#define STEP(call_)           \
	do {                      \
		s = (call_);          \
		if (s < 0) goto done; \
	} while (0)
	STEP(zbz_table_flight(t, k, NULL, &fl, &seat, &c->err));
	STEP(zbz_table_flight(t, k, NULL, &waiter, &seat, &c->err));
	STEP(zbz_table_lease(t, c, k, NULL, 1000, &v));
	STEP(zbz_table_commit(t, c, fl, k, zbz_bstr("1"), &p, &v));
	STEP(zbz_flight_land(fl, ZBZ_LANDED_VALUE, zbz_bstr("1"), &c->err));
	STEP(zbz_table_get(t, c, k, &b));
	STEP(zbz_table_entry(t, c, k, true, &b, &e));
	STEP(zbz_table_exists(t, c, k));
	STEP(zbz_table_expire(t, c, k, 70));
	STEP(zbz_table_incr(t, c, k, 1, false, 0, -1, &num));
	STEP(zbz_table_invalidate(t, c, k));
	p.only = ZBZ_ONLY_ABSENT;
	STEP(zbz_table_set(t, c, k, zbz_bstr("1"), &p, NULL));
	STEP(zbz_table_set(t, c, zbz_b(longkey, sizeof longkey), zbz_bstr("1"), NULL, NULL));
	STEP(zbz_table_set_many(t, c, keys, vals, NULL, 2, st));
	STEP(zbz_table_get_many(t, c, keys, 2, &b, f));
	STEP(zbz_table_del_many(t, c, keys, 2, st));
	STEP(zbz_table_keys_open(t, c, zbz_bstr("*"), &l));
	STEP(zbz_table_keys_next(l, c, 10, &b, &n));
	STEP(zbz_table_clear(t, c, &removed));
#undef STEP
	s = ZBZ_OK;
done:
	zbz_table_keys_close(l);
	zbz_flight_leave(fl);
	zbz_flight_leave(waiter);
	zbz_buf_clear(&b);
	return s;
}

static zbz_status whole_life(void) {
	zbz_cache_opts o = { .key_prefix = zbz_bstr("p:"), .clock = fake };
	zbz_table_opts to = { .name = zbz_bstr("t"), .ttl = 100, .deadline = -1, .stale_ttl = 100 };
	zbz_store *s1 = map_store("", fake), *s2 = map_store("quiet", fake);
	zbz_cache *c1 = NULL;
	zbz_table *t = NULL;
	zbz_call c;
	zbz_status s = ZBZ_E_INTERNAL;
	if (s1 == NULL || s2 == NULL) goto done;
	s = zbz_cache_new(s1, &o, &c1, &c.err);
	if (s == ZBZ_OK) s = zbz_table_new(c1, &to, &t, &c.err);
	if (s != ZBZ_OK) goto done;
	zbz_table_begin(t, &c, 0);
	s = every_call(t, &c);
	if (s == ZBZ_OK) s = zbz_cache_swap(c1, &c, s2);
	if (s == ZBZ_OK) s = every_call(t, &c);
	if (s < 0) CHECK(c.err.status == s && c.err.text[0] != '\0');
done:
	zbz_table_free(t);
	zbz_cache_unref(c1);
	zbz_store_unref(s1);
	zbz_store_unref(s2);
	return s;
}

static void out_of_memory(void) {
	long n, live;
	bool failed = true;
	fake = zbz_clock_fake_new(T0);
	for (n = 1; failed && n < 2000; n++) {
		zbz_status s;
		faults_begin(n);
		s = whole_life();
		failed = faults_end(&live);
		CHECK(live == 0);
		CHECK(s == ZBZ_OK || (failed && s == ZBZ_E_INTERNAL));
	}
	CHECK(!failed && n > 40);
	zbz_clock_fake_free(fake);
}

int main(void) {
	RUN(faults_are_made);
	RUN(faults_are_counted);
	RUN(a_delay_ends_at_the_deadline);
	RUN(out_of_memory);
	return DONE();
}
