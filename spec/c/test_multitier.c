/* The layer multitier: what goes where, and for how long. Everything here is one thread; the interleavings are in
 * test_multitier_races.c. */
#include "told.h"

/* ---- two tiers ---- */

static void test_tiers(void) {
	zbz_store *s;
	zbz_version v;
	zbz_meta meta;
	zbz_write w = { .key = zbz_bstr("k"), .value = zbz_bstr("w"), .only = ZBZ_ONLY_VERSION, .version = &v };
	zbz_buf out = { 0 };
	int64_t n = 0;
	below("provider=told");
	s = open_over("l1.provider=memory", l2);
	CHECK_STR(get(s, "k"), "-");
	CHECK(put(l2, "k", "v", 0) == ZBZ_OK);
	CHECK_STR(tier_of(s, "k"), "v@2");
	CHECK_STR(tier_of(s, "k"), "v@1");
	CHECK(put(s, "k", "v2", 0) == ZBZ_OK);
	CHECK_STR(get(l2, "k"), "v2");
	CHECK_STR(tier_of(s, "k"), "v2@2"); /* the server tells of every write: l1 waits for the next read */
	CHECK(zbz_store_get(s, now(), zbz_bstr("k"), &out, &meta) == ZBZ_OK && meta.tier == 1 && meta.version.n == 8);
	v = meta.version; /* of l2, though l1 answered */
	CHECK(zbz_store_set(s, now(), &w, NULL) == ZBZ_OK);
	CHECK_STR(get(s, "k"), "w");
	CHECK(zbz_store_set(s, now(), &w, NULL) == ZBZ_E_CONFLICT);
	CHECK(zbz_store_del(s, now(), zbz_bstr("k")) == ZBZ_OK);
	CHECK_STR(get(s, "k"), "-");
	CHECK_STR(get(l2, "k"), "-");
	CHECK(zbz_store_incr(s, now(), zbz_bstr("n"), &(zbz_incr){ .delta = 5 }, &n) == ZBZ_OK && n == 5);
	CHECK_STR(get(s, "n"), "5");
	CHECK(zbz_store_incr(s, now(), zbz_bstr("n"), &(zbz_incr){ .delta = 5 }, &n) == ZBZ_OK && n == 10);
	CHECK_STR(tier_of(s, "n"), "10@2");
	CHECK(zbz_store_exists(s, now(), zbz_bstr("n")) == ZBZ_OK && zbz_store_exists(s, now(), zbz_bstr("k")) == ZBZ_MISS);
	CHECK(stats(s).tier1_keys == 1 && stats(s).tier1_hits > 0 && stats(s).tier2_hits > 0 && stats(s).promotions > 0);
	zbz_buf_clear(&out);
	zbz_store_unref(s);
	done_below();
}

static void test_batches(void) {
	zbz_bytes keys[4] = { zbz_bstr("a"), zbz_bstr("b"), zbz_bstr("c"), zbz_bstr("a") };
	zbz_write w[2] = { { .key = keys[0], .value = zbz_bstr("A") }, { .key = keys[1], .value = zbz_bstr("B") } };
	zbz_found f[4];
	zbz_status st[2];
	zbz_buf out = { 0 };
	zbz_provider_stats before;
	zbz_store *s;
	below("provider=told");
	s = open_over("l1.provider=memory", l2);
	w[1].expire_at = now()->now + 1000;
	CHECK(zbz_store_set_many(s, now(), w, 2, st) == ZBZ_OK && st[0] == ZBZ_OK && st[1] == ZBZ_OK);
	CHECK_STR(get(s, "a"), "A");
	CHECK(zbz_store_get_many(s, now(), keys, 4, &out, f) == ZBZ_OK);
	CHECK(f[0].status == ZBZ_OK && f[1].status == ZBZ_OK && f[2].status == ZBZ_MISS && f[3].status == ZBZ_OK);
	CHECK(out.p[f[0].off] == 'A' && f[0].n == 1 && out.p[f[1].off] == 'B' && f[1].n == 1 && out.p[f[3].off] == 'A');
	before = stats(s);
	out.n = 0;
	CHECK(zbz_store_get_many(s, now(), keys, 2, &out, f) == ZBZ_OK && out.n == 2);
	CHECK(stats(s).tier1_hits == before.tier1_hits + 2 && stats(s).tier2_hits == before.tier2_hits);
	CHECK(before.tier1_keys == 2); /* nothing is kept of "c" */
	zbz_clock_fake_advance(clock_, 1000);
	CHECK_STR(get(s, "b"), "-"); /* a batch knows when its entries end */
	CHECK_STR(tier_of(s, "a"), "A@1");
	CHECK(zbz_store_del_many(s, now(), keys, 2, st) == ZBZ_OK && st[0] == ZBZ_OK && st[1] == ZBZ_MISS);
	CHECK_STR(get(s, "a"), "-");
	zbz_buf_clear(&out);
	zbz_store_unref(s);
	done_below();
}

/* ---- time ---- */

static void test_times(void) {
	zbz_store *s;
	int64_t end = 0, begun;
	below("provider=told");
	s = open_over("l1.provider=memory l1_ttl=2s l2_ttl=10s", l2);
	begun = now()->now;
	CHECK(put(l2, "short", "v", 1000) == ZBZ_OK && put(s, "long", "v", 60000) == ZBZ_OK &&
	      put(s, "ever", "v", 0) == ZBZ_OK);
	CHECK_STR(get(s, "short"), "v");
	CHECK_STR(get(s, "long"), "v");
	CHECK_STR(get(s, "ever"), "v");
	CHECK(zbz_store_ttl(s, now(), zbz_bstr("long"), &end) == ZBZ_OK && end == begun + 10000); /* l2's, told by l1 */
	CHECK(zbz_store_ttl(s, now(), zbz_bstr("ever"), &end) == ZBZ_OK && end == begun + 10000);
	zbz_clock_fake_advance(clock_, 1000);
	CHECK_STR(get(s, "short"), "-"); /* no longer than l2 has it */
	CHECK_STR(tier_of(s, "long"), "v@1");
	zbz_clock_fake_advance(clock_, 1000);
	CHECK_STR(tier_of(s, "long"), "v@2"); /* no longer than l1_ttl */
	CHECK_STR(tier_of(s, "long"), "v@1");
	CHECK(zbz_store_expire(s, now(), zbz_bstr("long"), now()->now + 500) == ZBZ_OK);
	CHECK_STR(get(s, "long"), "v");
	zbz_clock_fake_advance(clock_, 500);
	CHECK_STR(get(s, "long"), "-");
	CHECK(zbz_store_expire(s, now(), zbz_bstr("ever"), ZBZ_NO_EXPIRY) == ZBZ_OK);
	CHECK(zbz_store_ttl(s, now(), zbz_bstr("ever"), &end) == ZBZ_OK && end == now()->now + 10000);
	zbz_store_unref(s);
	done_below();
}

/* ---- what the channel says ---- */

static void test_told(void) {
	zbz_store *s;
	zbz_provider_stats st;
	below("provider=told");
	s = open_over("l1.provider=memory", l2);
	CHECK(stats(s).channel == ZBZ_CHANNEL_DOWN); /* nothing begins before the first call */
	CHECK(put(l2, "k", "1", 0) == ZBZ_OK);
	CHECK_STR(get(s, "k"), "1");
	CHECK(stats(s).channel == ZBZ_CHANNEL_TRACKING);
	put(l2, "k", "2", 0);
	CHECK_STR(get(s, "k"), "1");
	tell(-1, "k", false);
	CHECK_STR(get(s, "k"), "2");
	put(l2, "k", "3", 0);
	tell(-1, NULL, false); /* FLUSHALL, or a gap */
	CHECK_STR(tier_of(s, "k"), "3@2");
	CHECK_STR(tier_of(s, "k"), "3@1");
	tell(-1, NULL, true);
	st = stats(s);
	CHECK(st.channel == ZBZ_CHANNEL_DOWN && st.channel_losses == 1 && st.tier1_keys == 0 && st.invalidations == 1);
	CHECK_STR(tier_of(s, "k"), "3@2");
	CHECK_STR(tier_of(s, "k"), "3@2");
	CHECK(stats(s).tier1_keys == 0);
	tell(-1, NULL, false);
	CHECK_STR(tier_of(s, "k"), "3@2");
	CHECK_STR(tier_of(s, "k"), "3@1");
	zbz_store_unref(s);
	CHECK(trackers[0].ud == NULL);
	done_below();
}

static void test_not_begun(void) {
	zbz_store *s;
	below("provider=told");
	s = open_over("l1.provider=memory", l2);
	put(l2, "k", "1", 0);
	told_refuses = ZBZ_E_UNAVAILABLE;
	CHECK_STR(tier_of(s, "k"), "1@2");
	CHECK_STR(tier_of(s, "k"), "1@2");
	told_refuses = ZBZ_OK;
	CHECK_STR(tier_of(s, "k"), "1@2");
	CHECK(stats(s).channel == ZBZ_CHANNEL_DOWN); /* tried again, but not at once */
	zbz_clock_fake_advance(clock_, 1000);
	CHECK_STR(tier_of(s, "k"), "1@2");
	CHECK_STR(tier_of(s, "k"), "1@1");
	zbz_store_unref(s);
	told_refuses = ZBZ_E_DENIED; /* and there is no pub/sub */
	s = open_over("l1.provider=memory", l2);
	CHECK_STR(tier_of(s, "k"), "1@2");
	CHECK_STR(tier_of(s, "k"), "1@2");
	CHECK(stats(s).channel == ZBZ_CHANNEL_REFUSED && stats(s).tier1_keys == 0);
	told_refuses = ZBZ_OK;
	zbz_clock_fake_advance(clock_, 60000);
	CHECK_STR(tier_of(s, "k"), "1@2");
	CHECK_STR(tier_of(s, "k"), "1@1");
	zbz_store_unref(s);
	done_below();
}

/* The other caches tell, where the server does not. */
static void test_pubsub(void) {
	zbz_store *a, *b;
	told_refuses = ZBZ_E_UNSUPPORTED;
	below("provider=talk");
	a = open_over("l1.provider=memory", l2);
	b = open_over("l1.provider=memory", l2);
	CHECK_STR(get(a, "k"), "-");
	CHECK_STR(get(b, "k"), "-");
	CHECK(stats(a).channel == ZBZ_CHANNEL_PUBSUB && published == 2); /* each says hello: it is heard */
	CHECK(put(a, "k", "1", 0) == ZBZ_OK);
	CHECK_STR(tier_of(a, "k"), "1@1"); /* what it wrote itself it has */
	CHECK_STR(tier_of(b, "k"), "1@2");
	CHECK_STR(tier_of(b, "k"), "1@1");
	CHECK(put(a, "k", "2", 0) == ZBZ_OK);
	CHECK_STR(tier_of(b, "k"), "2@2");
	CHECK(stats(b).invalidations == 2 && stats(a).invalidations == 0);
	CHECK(zbz_store_clear(a, now(), zbz_bstr("k"), &(uint64_t){ 0 }) == ZBZ_OK);
	CHECK_STR(get(b, "k"), "-");
	CHECK(put(a, "k", "3", 0) == ZBZ_OK);
	CHECK_STR(get(b, "k"), "3");
	say(zbz_b(NULL, 0), zbz_b(NULL, 0)); /* lost */
	CHECK(stats(b).channel == ZBZ_CHANNEL_DOWN && stats(b).tier1_keys == 0);
	CHECK_STR(tier_of(b, "k"), "3@2");
	CHECK_STR(tier_of(b, "k"), "3@2");
	say(zbz_bstr("zbz:invalidate"), zbz_b(NULL, 0)); /* back, with a gap */
	CHECK_STR(tier_of(b, "k"), "3@2");
	CHECK_STR(tier_of(b, "k"), "3@1");
	say(zbz_bstr("zbz:invalidate"), zbz_bstr("of another kind")); /* better too much than too little */
	CHECK_STR(tier_of(b, "k"), "3@2");
	publish_refuses = ZBZ_E_UNAVAILABLE;
	CHECK(put(a, "k", "4", 0) == ZBZ_E_UNAVAILABLE && strstr(call_.err.text, "could not be told"));
	CHECK_STR(get(l2, "k"), "4");
	publish_refuses = ZBZ_OK;
	zbz_store_unref(a);
	zbz_store_unref(b);
	publish_refuses = ZBZ_AGAIN; /* the server answers with an error: who is not heard must not listen only */
	a = open_over("l1.provider=memory invalidation=pubsub", l2);
	CHECK_STR(tier_of(a, "k"), "4@2");
	CHECK_STR(tier_of(a, "k"), "4@2");
	CHECK(stats(a).channel == ZBZ_CHANNEL_REFUSED && trackers[0].ud == NULL);
	zbz_store_unref(a);
	others_speak = true; /* what is heard meanwhile changes nothing about that */
	a = open_over("l1.provider=memory invalidation=pubsub", l2);
	CHECK_STR(tier_of(a, "k"), "4@2");
	CHECK_STR(tier_of(a, "k"), "4@2");
	CHECK(stats(a).channel == ZBZ_CHANNEL_REFUSED && trackers[0].ud == NULL);
	zbz_store_unref(a);
	others_speak = false;
	publish_refuses = told_refuses = ZBZ_OK;
	a = open_over("l1.provider=memory invalidation=tracking", l2);
	CHECK_STR(get(a, "k"), "4");
	CHECK(stats(a).channel == ZBZ_CHANNEL_TRACKING);
	zbz_store_unref(a);
	done_below();
}

/* Nobody tells: l1 is bounded by age, and has what was written here. */
static void test_untold(void) {
	zbz_store *s;
	below("provider=testmap");
	s = open_over("l1.provider=memory l1_ttl=1s", l2);
	CHECK(stats(s).channel == ZBZ_CHANNEL_NONE && put(s, "k", "1", 0) == ZBZ_OK);
	CHECK_STR(tier_of(s, "k"), "1@1");
	put(l2, "k", "2", 0);
	CHECK_STR(tier_of(s, "k"), "1@1");
	zbz_clock_fake_advance(clock_, 1000);
	CHECK_STR(tier_of(s, "k"), "2@2");
	zbz_store_unref(s);
	s = open_over("l1.provider=memory l1_ttl=1s promote_hits=false", l2);
	CHECK_STR(tier_of(s, "k"), "2@2");
	CHECK_STR(tier_of(s, "k"), "2@2");
	put(s, "k", "3", 0);
	CHECK_STR(tier_of(s, "k"), "3@1");
	zbz_store_unref(s);
	done_below();
}

/* ---- keys that do not go through l1 ---- */

static void test_prefix(void) {
	zbz_store *s;
	char longest[300];
	below("provider=told");
	s = open_over("l1.provider=memory l1.max_size=64KB prefix=app:", l2);
	put(l2, "app:k", "1", 0);
	put(l2, "other", "1", 0);
	CHECK_STR(tier_of(s, "app:k"), "1@2");
	CHECK_STR(tier_of(s, "app:k"), "1@1");
	CHECK_STR(trackers[0].prefix, "app:");
	CHECK_STR(tier_of(s, "other"), "1@2");
	CHECK_STR(tier_of(s, "other"), "1@2");
	CHECK(put(s, "other", "2", 0) == ZBZ_OK && zbz_store_del(s, now(), zbz_bstr("other")) == ZBZ_OK);
	CHECK_STR(get(s, "other"), "-");
	memset(longest, 'x', sizeof longest);
	longest[sizeof longest - 1] = '\0';
	put(l2, longest, "v", 0);
	CHECK_STR(get(s, longest), "v");
	CHECK(stats(s).tier1_keys == 1);
	zbz_store_unref(s);
	done_below();
}

/* Others may use the segment that l1 is for keys of their own. */
static void test_clears_its_own(void) {
	zbz_store *s, *other;
	zbz_err err;
	uint64_t n = 0;
	below("provider=told");
	s = open_over("l1.provider=shared l1.zone=clears l1.size=1MB prefix=app:", l2);
	CHECK(try_open("provider=shared zone=clears size=1MB", NULL, &other, &err) == ZBZ_OK);
	CHECK(put(other, "elsewhere:k", "theirs", 0) == ZBZ_OK && put(l2, "app:k", "1", 0) == ZBZ_OK);
	CHECK_STR(get(s, "app:k"), "1");
	CHECK(zbz_store_clear(s, now(), zbz_bstr("elsewhere:"), &n) == ZBZ_OK);
	CHECK_STR(get(other, "elsewhere:k"), "theirs");
	CHECK_STR(tier_of(s, "app:k"), "1@1");
	CHECK(zbz_store_clear(s, now(), zbz_bstr("app"), &n) == ZBZ_OK && n == 1);
	CHECK_STR(get(s, "app:k"), "-");
	CHECK_STR(get(other, "elsewhere:k"), "theirs");
	zbz_store_unref(other);
	zbz_store_unref(s);
	done_below();
}

/* A value that l1 cannot hold, and a note that one is being loaded, stay in l2. */
static void test_not_kept(void) {
	zbz_store *s;
	zbz_seal lease = { .lease = true, .expire_at = INT64_MAX / 2 };
	zbz_buf big = { 0 }, sealed = { 0 }, out = { 0 };
	zbz_write w = { .key = zbz_bstr("big") };
	below("provider=told");
	s = open_over("l1.provider=memory l1.max_size=64KB", l2);
	CHECK(zbz_buf_reserve(&big, 80000, NULL) == ZBZ_OK);
	memset(big.p, 'b', 80000);
	w.value = zbz_b(big.p, 80000);
	CHECK(zbz_store_set(l2, now(), &w, NULL) == ZBZ_OK);
	CHECK(zbz_store_get(s, now(), w.key, &out, NULL) == ZBZ_OK && out.n == 80000);
	CHECK(zbz_envelope_seal(&lease, zbz_bstr("0123456789abcdef"), &sealed, NULL) == ZBZ_OK);
	w.key = zbz_bstr("leased");
	w.value = zbz_buf_bytes(&sealed);
	CHECK(zbz_store_set(l2, now(), &w, NULL) == ZBZ_OK);
	CHECK(zbz_store_get(s, now(), w.key, &out, NULL) == ZBZ_OK && out.n == 80000 + sealed.n);
	CHECK(stats(s).tier1_keys == 0 && stats(s).promotions == 0);
	zbz_buf_clear(&big);
	zbz_buf_clear(&sealed);
	zbz_buf_clear(&out);
	zbz_store_unref(s);
	done_below();
}

int main(void) {
	register_all();
	RUN(test_tiers);
	RUN(test_batches);
	RUN(test_times);
	RUN(test_told);
	RUN(test_not_begun);
	RUN(test_pubsub);
	RUN(test_untold);
	RUN(test_prefix);
	RUN(test_clears_its_own);
	RUN(test_not_kept);
	CHECK(odd == 0);
	zbz_clock_fake_free(clock_);
	return DONE();
}
