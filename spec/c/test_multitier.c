/* The layer multitier: what goes where, for how long, and what becomes of it when a part fails. Everything here is one
 * thread; the interleavings are in test_multitier_races.c. */
#include "told.h"

#include "faults.h"

#include <sys/wait.h>
#include <unistd.h>

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
	CHECK(stats(s).l1_keys == 1 && stats(s).l1_hits > 0 && stats(s).l2_hits > 0 && stats(s).promotions > 0);
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
	CHECK(stats(s).l1_hits == before.l1_hits + 2 && stats(s).l2_hits == before.l2_hits);
	CHECK(before.l1_keys == 2); /* nothing is kept of "c" */
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
	CHECK(st.channel == ZBZ_CHANNEL_DOWN && st.channel_losses == 1 && st.l1_keys == 0 && st.invalidations == 1);
	CHECK_STR(tier_of(s, "k"), "3@2");
	CHECK_STR(tier_of(s, "k"), "3@2");
	CHECK(stats(s).l1_keys == 0);
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
	CHECK(stats(s).channel == ZBZ_CHANNEL_REFUSED && stats(s).l1_keys == 0);
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
	CHECK(stats(b).channel == ZBZ_CHANNEL_DOWN && stats(b).l1_keys == 0);
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
	CHECK(stats(s).l1_keys == 1);
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
	CHECK(stats(s).l1_keys == 0 && stats(s).promotions == 0);
	zbz_buf_clear(&big);
	zbz_buf_clear(&sealed);
	zbz_buf_clear(&out);
	zbz_store_unref(s);
	done_below();
}

/* ---- calls that may not wait ---- */

static int seen; /* operations that came to l2 */
static void count_hook(const char *op, zbz_bytes key) { seen++; }

static void test_no_wait(void) {
	zbz_bytes keys[2] = { zbz_bstr("a"), zbz_bstr("b") };
	zbz_found f[2];
	zbz_buf out = { 0 };
	zbz_caps caps;
	zbz_store *s, *top;
	int64_t end;
	below("provider=told");
	s = open_over("l1.provider=memory", l2);
	zbz_store_caps(s, &caps);
	CHECK(caps.inline_hits && !caps.inline_ok && caps.shared && (caps.can & ZBZ_CAN_TRACK));
	put(l2, "a", "A", 0);
	map_hook = count_hook;
	seen = 0;
	CHECK_STR(got(s, at_once(), "a", true), "again"); /* not even the channel is begun */
	CHECK(zbz_store_exists(s, at_once(), keys[0]) == ZBZ_AGAIN &&
	      zbz_store_ttl(s, at_once(), keys[0], &end) == ZBZ_AGAIN);
	CHECK(zbz_store_get_many(s, at_once(), keys, 2, &out, f) == ZBZ_AGAIN && out.n == 0);
	CHECK(seen == 0);
	CHECK_STR(get(s, "a"), "A");
	CHECK(seen > 0);
	seen = 0;
	CHECK_STR(got(s, at_once(), "a", true), "A@1");
	CHECK(zbz_store_exists(s, at_once(), keys[0]) == ZBZ_OK && zbz_store_ttl(s, at_once(), keys[0], &end) == ZBZ_OK);
	CHECK(zbz_store_get_many(s, at_once(), keys, 1, &out, f) == ZBZ_OK && f[0].n == 1);
	CHECK(zbz_store_get_many(s, at_once(), keys, 2, &out, f) == ZBZ_AGAIN && out.n == 1);
	CHECK_STR(got(s, at_once(), "b", false), "again");
	CHECK(seen == 0 && stats(s).l1_keys == 1);
	top = open_over("l1.provider=memory", s); /* three tiers: the second one is asked, the third is not */
	CHECK_STR(get(top, "none"), "-");
	CHECK_STR(got(top, at_once(), "a", true), "A@2");
	CHECK_STR(got(top, at_once(), "a", true), "A@1");
	CHECK_STR(got(top, at_once(), "b", true), "again");
	CHECK_STR(tier_of(top, "b"), "-");
	put(l2, "b", "B", 0);
	CHECK_STR(tier_of(top, "b"), "B@3");
	map_hook = NULL;
	zbz_store_unref(top);
	zbz_store_unref(s);
	zbz_buf_clear(&out);
	done_below();
}

/* ---- tiers over tiers ---- */

static void test_nested(void) {
	zbz_store *inner, *outer, *narrow = NULL;
	zbz_err err = { 0 };
	below("provider=told");
	inner = open_over("l1.provider=memory prefix=app:", l2);
	outer = open_over("l1.provider=memory prefix=app:", inner);
	put(l2, "app:k", "1", 0);
	CHECK_STR(tier_of(outer, "app:k"), "1@3");
	CHECK_STR(tier_of(inner, "app:k"), "1@1");
	CHECK(trackers[0].ud != NULL && trackers[1].ud == NULL); /* one channel: what follows is told through it */
	put(l2, "app:k", "2", 0);
	tell(-1, "app:k", false);
	CHECK_STR(tier_of(outer, "app:k"), "2@3");
	CHECK_STR(tier_of(outer, "app:k"), "2@1");
	tell(-1, NULL, true);
	CHECK(stats(outer).channel == ZBZ_CHANNEL_DOWN);
	CHECK_STR(tier_of(outer, "app:k"), "2@3");
	CHECK_STR(tier_of(outer, "app:k"), "2@3");
	tell(-1, NULL, false);
	CHECK_STR(tier_of(outer, "app:k"), "2@3");
	CHECK_STR(tier_of(outer, "app:k"), "2@1");
	narrow = open_over("l1.provider=memory", inner); /* wants to hear of more than the inner one hears of */
	CHECK_STR(tier_of(narrow, "app:k"), "2@2");
	CHECK_STR(tier_of(narrow, "app:k"), "2@2");
	CHECK(stats(narrow).channel == ZBZ_CHANNEL_REFUSED);
	zbz_store_unref(narrow);
	zbz_store_unref(outer);
	zbz_store_unref(inner);
	inner = open_over("l1.provider=memory l1_ttl=1s invalidation=off", l2);
	CHECK(try_open("l1.provider=memory", inner, &outer, &err) == ZBZ_E_CONFIG); /* nobody tells the inner one */
	CHECK_STR(err.option, "l1_ttl");
	zbz_store_unref(inner);
	done_below();
}

/* ---- parts that fail ---- */

static void test_l2_fails(void) {
	zbz_store *s;
	below("provider=fault inner.provider=told fail_ops=set,get lose_reply=true fail_after=4");
	s = open_over("l1.provider=memory", l2);
	CHECK(put(s, "k", "1", 0) == ZBZ_OK && put(s, "other", "1", 0) == ZBZ_OK);
	CHECK_STR(get(s, "k"), "1");
	CHECK_STR(get(s, "other"), "1");
	CHECK(put(s, "k", "2", 0) == ZBZ_E_UNAVAILABLE); /* carried out, but nobody knows */
	CHECK_STR(get(s, "k"), "unavailable");           /* better than the old value */
	CHECK_STR(tier_of(s, "other"), "1@1");           /* the channel stands: what it vouches for is served */
	tell(-1, NULL, true);
	CHECK_STR(get(s, "other"), "unavailable");
	CHECK(stats(s).l1_keys == 0);
	zbz_store_unref(s);
	done_below();
}

static void test_l1_fails(void) {
	zbz_bytes keys[2] = { zbz_bstr("a"), zbz_bstr("b") };
	zbz_found f[2];
	zbz_buf out = { 0 };
	zbz_store *s;
	below("provider=told");
	put(l2, "a", "A", 0);
	put(l2, "b", "B", 0);
	s = open_over("l1.provider=fault l1.inner.provider=memory l1.fail_per_mille=1000 l1.fail_ops=get,set", l2);
	CHECK_STR(tier_of(s, "a"), "A@2");
	CHECK_STR(tier_of(s, "a"), "A@2");
	CHECK(zbz_store_get_many(s, now(), keys, 2, &out, f) == ZBZ_OK && f[0].status == ZBZ_OK && f[1].status == ZBZ_OK);
	CHECK(put(s, "a", "A2", 0) == ZBZ_OK);
	CHECK_STR(get(s, "a"), "A2");
	zbz_store_unref(s);
	/* What cannot be taken out of l1 keeps it out of use, until it can be emptied. */
	s = open_over("l1.provider=fault l1.inner.provider=memory l1.fail_per_mille=1000 l1.fail_ops=del", l2);
	CHECK_STR(get(s, "a"), "A2");
	CHECK_STR(tier_of(s, "a"), "A2@1");
	put(l2, "a", "A3", 0);
	tell(-1, "a", false);
	CHECK(stats(s).channel == ZBZ_CHANNEL_DOWN);
	CHECK_STR(tier_of(s, "a"), "A3@2");
	CHECK_STR(tier_of(s, "a"), "A3@1");
	put(s, "a", "A4", 0);
	CHECK_STR(tier_of(s, "a"), "A4@2");
	zbz_store_unref(s);
	s = open_over("l1.provider=fault l1.inner.provider=memory l1.fail_per_mille=1000 l1.fail_ops=del,clear", l2);
	CHECK_STR(tier_of(s, "a"), "A4@2");
	CHECK_STR(tier_of(s, "a"), "A4@2");
	zbz_store_unref(s);
	zbz_buf_clear(&out);
	done_below();
}

/* ---- configuration ---- */

static void refuses(const char *options, const char *option, const char *text) {
	zbz_store *s = NULL;
	zbz_err err = { 0 };
	CHECK(try_open(options, NULL, &s, &err) == ZBZ_E_CONFIG && s == NULL);
	CHECK_STR(err.option, option);
	CHECK(strstr(err.text, text) != NULL);
}

static void test_refused_options(void) {
	zbz_store *s;
	refuses("l1.provider=memory", "l2", "missing");
	refuses("l2.provider=memory", "l1", "missing");
	refuses("l1.provider=testmap l2.provider=memory", "l1", "memory, ristretto or shared");
	refuses("l1.provider=memory l2.provider=testmap", "l1_ttl", "testmap");
	refuses("l1.provider=memory l2.provider=told invalidation=off", "l1_ttl", "told");
	refuses("l1.provider=memory l2.provider=testmap invalidation=tracking l1_ttl=1s", "invalidation", "testmap");
	refuses("l1.provider=memory l2.provider=told invalidation=pubsub", "invalidation", "publish");
	refuses("l1.provider=memory l2.provider=told invalidation=maybe", "invalidation", "");
	s = open_over("l1.provider=memory l2.provider=memory", NULL); /* nobody else sees l2: nothing is to be told */
	CHECK(put(s, "k", "v", 0) == ZBZ_OK);
	CHECK_STR(tier_of(s, "k"), "v@1");
	CHECK_STR(zbz_store_ops(zbz_store_bottom(s))->name, "memory");
	zbz_store_unref(s);
}

/* ---- forks ---- */

static void test_fork(void) {
	zbz_store *s;
	int status = 1;
	pid_t child;
	below("provider=told");
	s = open_over("l1.provider=memory", l2);
	put(l2, "k", "1", 0);
	CHECK_STR(get(s, "k"), "1");
	CHECK_STR(tier_of(s, "k"), "1@1");
	child = fork();
	if (child == 0) {
		int failed = check_failed;
		alarm(20);
		CHECK_STR(got(s, at_once(), "k", true), "again"); /* what the parent hears does not reach us */
		CHECK_STR(tier_of(s, "k"), "1@2");
		CHECK_STR(tier_of(s, "k"), "1@1");
		zbz_store_unref(s);
		_exit(check_failed != failed);
	}
	CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
	CHECK_STR(tier_of(s, "k"), "1@1");
	zbz_store_unref(s);
	done_below();
}

/* ---- no memory ---- */

/* One of everything. A failure is for want of memory, or what was wanted works all the same. */
static zbz_status everything(void) {
	zbz_bytes keys[2] = { zbz_bstr("a"), zbz_bstr("b") };
	zbz_write w[2] = { { .key = keys[0], .value = zbz_bstr("A") }, { .key = keys[1], .value = zbz_bstr("B") } };
	zbz_status st[2], s;
	zbz_found f[2];
	zbz_buf out = { 0 };
	zbz_store *store = NULL, *top = NULL;
	zbz_config *cfg, *inner = NULL, *l1 = NULL;
	zbz_err err = { 0 };
	uint64_t removed;
	zbz_meta meta;
	cfg = zbz_config_new();
	inner = zbz_config_new();
	l1 = zbz_config_new();
	s = cfg != NULL && inner != NULL && l1 != NULL ? ZBZ_OK : ZBZ_E_INTERNAL;
	if (s == ZBZ_OK) s = zbz_config_set_text(inner, "provider", zbz_bstr("talk"), &err);
	if (s == ZBZ_OK) s = zbz_config_set_text(l1, "provider", zbz_bstr("memory"), &err);
	if (s == ZBZ_OK) s = zbz_config_set_text(cfg, "provider", zbz_bstr("multitier"), &err);
	if (s == ZBZ_OK) {
		s = zbz_config_set_config(cfg, "l2", inner, &err);
		inner = NULL;
	}
	if (s == ZBZ_OK) {
		s = zbz_config_set_config(cfg, "l1", l1, &err);
		l1 = NULL;
	}
	if (s == ZBZ_OK) s = zbz_store_open(cfg, clock_, &store, &err);
	zbz_config_free(cfg);
	zbz_config_free(inner);
	zbz_config_free(l1);
	if (s == ZBZ_OK) s = zbz_store_set_many(store, now(), w, 2, st);
	if (s == ZBZ_OK) s = zbz_store_get_many(store, now(), keys, 2, &out, f);
	if (s == ZBZ_OK) s = zbz_store_get(store, now(), keys[0], &out, &meta);
	if (s == ZBZ_OK) s = zbz_store_set(store, now(), &w[1], NULL);
	if (s == ZBZ_OK) s = zbz_store_get(store, now(), keys[1], &out, &meta);
	if (s == ZBZ_OK) s = zbz_store_del(store, now(), keys[1]);
	if (s == ZBZ_OK) s = zbz_store_clear(store, now(), zbz_bstr("a"), &removed);
	if (s == ZBZ_OK && zbz_store_get(store, now(), keys[0], &out, NULL) != ZBZ_MISS) CHECK(false);
	zbz_buf_clear(&out);
	zbz_store_unref(top);
	zbz_store_unref(store);
	return s;
}

static void test_no_memory(void) {
	int round;
	for (round = 0; round < 2; round++) {
		bool failed = true;
		long n, left;
		told_refuses = round == 0 ? ZBZ_OK : ZBZ_E_UNSUPPORTED;
		for (n = 1; n < 500 && failed; n++) {
			zbz_status s;
			faults_begin(n);
			s = everything();
			failed = faults_end(&left);
			CHECK(left == 0 && (failed || s == ZBZ_OK) && trackers[0].ud == NULL);
		}
		CHECK(!failed && n > 20);
	}
	told_refuses = ZBZ_OK;
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
	RUN(test_not_kept);
	RUN(test_no_wait);
	RUN(test_nested);
	RUN(test_l2_fails);
	RUN(test_l1_fails);
	RUN(test_refused_options);
	RUN(test_fork);
	RUN(test_no_memory);
	CHECK(odd == 0);
	zbz_clock_fake_free(clock_);
	return DONE();
}
