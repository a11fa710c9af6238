/* The layer multitier when calls may not wait, tiers are layers themselves, a part fails, an option is wrong, a child inherits it, or
 * memory runs out. */
#include "told.h"

#include "faults.h"

#include <sys/wait.h>
#include <unistd.h>

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
	CHECK(seen == 0 && stats(s).tier1_keys == 1);
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
	CHECK(stats(s).tier1_keys == 0);
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
	/* Of what cannot be taken out, l1 is emptied; if it cannot be, it is not used. */
	s = open_over("l1.provider=fault l1.inner.provider=memory l1.fail_per_mille=1000 l1.fail_ops=del", l2);
	CHECK_STR(get(s, "a"), "A2");
	CHECK_STR(tier_of(s, "a"), "A2@1");
	put(l2, "a", "A3", 0);
	tell(-1, "a", false);
	CHECK(stats(s).tier1_keys == 0);
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
	refuses("l1.provider=memory l1.max_items=x l2.provider=memory", "max_items", "l1: max_items: expects");
	refuses("l1.provider=memory l2.provider=fault l2.inner.provider=memory l2.inner.max_size=x", "max_size",
	        "l2: inner: max_size: ");
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
