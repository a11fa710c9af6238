/* The fence of multitier: whatever happens to a key while its older value is on the way into l1, that value is not left there.
 * Reads are held between the answer of l2 and l1; then many threads do everything at once. */
#include "told.h"

#include "gate.h"

#include <sched.h>

/* ---- one read is held, something happens --------------------------------------------------------------------------------- */

typedef struct reader {
	zbz_store *s;
	bool batch;
	char got[64];
	pthread_t thread;
} reader;

static void *read_k(void *ud) {
	reader *r = ud;
	zbz_bytes key = zbz_bstr("k");
	zbz_buf out = { 0 };
	zbz_found f = { .status = ZBZ_E_INTERNAL };
	if (!r->batch) {
		snprintf(r->got, sizeof r->got, "%s", get(r->s, "k"));
	} else if (zbz_store_get_many(r->s, now(), &key, 1, &out, &f) == ZBZ_OK && f.status == ZBZ_OK) {
		snprintf(r->got, sizeof r->got, "%.*s", (int)f.n, out.p + f.off);
	}
	zbz_buf_clear(&out);
	return NULL;
}

/* It has the old value in hand, and goes on with gate_open. */
static void hold(reader *r, zbz_store *s, bool batch) {
	*r = (reader){ .s = s, .batch = batch };
	gate_close("got");
	pthread_create(&r->thread, NULL, read_k, r);
	gate_await(1);
}

static void release(reader *r) {
	gate_open();
	pthread_join(r->thread, NULL);
}

/* Behind the back of the multitier: the map is changed directly, the gate being for reads. */
static void change(const char *value) { CHECK(put(l2, "k", value, 0) == ZBZ_OK); }

typedef void happening(zbz_store *s);
static void told_of_it(zbz_store *s) {
	change("new");
	tell(-1, "k", false);
}
static void told_of_all(zbz_store *s) {
	change("new");
	tell(-1, NULL, false);
}
static void lost_and_back(zbz_store *s) {
	tell(-1, NULL, true);
	change("new");
	tell(-1, NULL, false);
}
static void written_here(zbz_store *s) { CHECK(put(s, "k", "new", 0) == ZBZ_OK); }
static void added_to(zbz_store *s) {
	int64_t n;
	change("4");
	CHECK(zbz_store_incr(s, now(), zbz_bstr("k"), &(zbz_incr){ .delta = 1 }, &n) == ZBZ_OK && n == 5);
}
static void deleted_here(zbz_store *s) { CHECK(zbz_store_del(s, now(), zbz_bstr("k")) == ZBZ_OK); }
static void cleared_here(zbz_store *s) {
	uint64_t removed;
	CHECK(zbz_store_clear(s, now(), zbz_bstr("k"), &removed) == ZBZ_OK);
}
static void batch_here(zbz_store *s) {
	zbz_write w = { .key = zbz_bstr("k"), .value = zbz_bstr("new") };
	zbz_status st;
	CHECK(zbz_store_set_many(s, now(), &w, 1, &st) == ZBZ_OK && st == ZBZ_OK);
}
static void batch_deleted(zbz_store *s) {
	zbz_bytes key = zbz_bstr("k");
	zbz_status st;
	CHECK(zbz_store_del_many(s, now(), &key, 1, &st) == ZBZ_OK);
}
static void nothing(zbz_store *s) {}

static const struct {
	happening *happens;
	const char *then; /* what every read that begins afterwards finds */
	int tier;         /* of the first one */
} cases[] = {
	{ nothing, "old", 1 },      { told_of_it, "new", 2 },  { told_of_all, "new", 2 }, { lost_and_back, "new", 2 },
	{ written_here, "new", 2 }, { added_to, "5", 2 },      { deleted_here, "-", 0 },  { cleared_here, "-", 0 },
	{ batch_here, "new", 2 },   { batch_deleted, "-", 0 },
};

static void fences(const char *options, bool batch) {
	size_t i;
	for (i = 0; i < sizeof cases / sizeof *cases; i++) {
		char want[64];
		zbz_store *s;
		reader r;
		below("provider=told exclusive=true");
		s = open_over(options, l2);
		CHECK_STR(get(s, "warm"), "-");
		CHECK(put(l2, "k", "old", 0) == ZBZ_OK);
		map_hook = gate_hook;
		hold(&r, s, batch);
		cases[i].happens(s);
		release(&r);
		map_hook = NULL;
		CHECK_STR(r.got, "old"); /* it had begun before */
		/* a batch does not learn versions: l2 is asked for one */
		snprintf(want, sizeof want, cases[i].tier != 0 ? "%s@%d" : "%s", cases[i].then, batch ? 2 : cases[i].tier);
		CHECK_STR(tier_of(s, "k"), want);
		zbz_store_unref(s);
		done_below();
	}
}

static void test_fences(void) {
	fences("l1.provider=memory", false);
	fences("l1.provider=memory", true);
	fences("l1.provider=shared l1.zone=fences l1.size=1MB", false);
	fences("l1.provider=shared l1.zone=fences l1.size=1MB", true);
}

/* Two processes over one segment, each told by itself: the slow one must not bring back what the quick one has let go. */
static void test_two_over_one(void) {
	zbz_store *slow, *quick;
	reader r;
	below("provider=told");
	slow = open_over("l1.provider=shared l1.zone=two l1.size=1MB", l2);
	quick = open_over("l1.provider=shared l1.zone=two l1.size=1MB", l2);
	CHECK_STR(get(slow, "warm"), "-"); /* the first tracker */
	CHECK_STR(get(quick, "warm"), "-");
	CHECK(put(l2, "k", "old", 0) == ZBZ_OK);
	map_hook = gate_hook;
	hold(&r, slow, false);
	change("new");
	tell(1, "k", false);
	release(&r);
	map_hook = NULL;
	CHECK_STR(r.got, "old");
	CHECK_STR(tier_of(quick, "k"), "new@2");
	CHECK_STR(tier_of(quick, "k"), "new@1");
	CHECK_STR(tier_of(slow, "k"), "new@1"); /* what one has promoted is there for the other */
	tell(0, "k", false);
	CHECK_STR(tier_of(slow, "k"), "new@2");
	zbz_store_unref(slow);
	zbz_store_unref(quick);
	done_below();
}

/* Two writers, a reader in between, where writes go through l1: the last word in l2 is the last word in l1. */
static void *write_1(void *ud) {
	odd += put(ud, "k", "1", 0) != ZBZ_OK;
	return NULL;
}
static void test_two_writers(void) {
	pthread_t thread;
	zbz_store *s;
	below("provider=testmap");
	s = open_over("l1.provider=memory l1_ttl=1h", l2);
	map_hook = gate_hook;
	gate_close("set");
	pthread_create(&thread, NULL, write_1, s); /* is about to write to l2 */
	gate_await(1);
	map_hook = NULL;
	CHECK(put(s, "k", "2", 0) == ZBZ_OK);
	gate_open();
	pthread_join(thread, NULL);
	CHECK_STR(get(l2, "k"), "1");
	CHECK_STR(get(s, "k"), "1");
	zbz_store_unref(s);
	done_below();
}

/* ---- everybody at once ----------------------------------------------------------------------------------------------------- */

enum { KEYS = 16, ROUNDS = 3000, THREADS = 4 };

static atomic_int stale;
static atomic_uint latest[KEYS]; /* at least this has been written, and told to everybody */

static void key_of(char key[16], unsigned k) { snprintf(key, 16, "key:%u", k); }

/* No read that begins after a change has been told finds anything older. */
static void *watch(void *ud) {
	unsigned x = (unsigned)(uintptr_t)&x | 1, i;
	for (i = 0; i < ROUNDS; i++) {
		char key[16];
		unsigned k, least;
		const char *v;
		x = x * 1664525 + 1013904223;
		k = x >> 16 & (KEYS - 1);
		key_of(key, k);
		least = atomic_load(&latest[k]);
		v = get(ud, key);
		if (v[0] >= '0' && v[0] <= '9' && strtoul(v, NULL, 10) < least) stale++;
	}
	return NULL;
}

/* Each key has one writer: the numbers only grow. */
static void *change_all(void *ud) {
	zbz_store *s = ud;
	unsigned i;
	for (i = 1; i <= ROUNDS; i++) {
		unsigned k = i & (KEYS - 1);
		char key[16], value[16];
		key_of(key, k);
		snprintf(value, sizeof value, "%u", i);
		odd += put(i % 3 == 0 ? s : l2, key, value, 0) != ZBZ_OK;
		tell(-1, i % 97 == 0 ? NULL : key, false);
		atomic_store(&latest[k], i);
		if (i % 501 == 0) tell(-1, NULL, true); /* lost ... */
		if (i % 501 == 3) tell(-1, NULL, false);
		if (i % 13 == 0) {
			zbz_bytes keys[2] = { zbz_bstr(key), zbz_bstr("key:0") };
			zbz_found f[2];
			zbz_buf out = { 0 };
			odd += zbz_store_get_many(s, now(), keys, 2, &out, f) != ZBZ_OK;
			zbz_buf_clear(&out);
		}
	}
	tell(-1, NULL, false);
	return NULL;
}

/* The moment between l2's answer and l1 lasts. */
static void linger(const char *op, zbz_bytes key) {
	if (strcmp(op, "got") == 0) sched_yield();
}

static void race(const char *options) {
	pthread_t threads[THREADS];
	zbz_store *s[2];
	unsigned k;
	int i;
	below("provider=told");
	for (i = 0; i < 2; i++) {
		s[i] = open_over(options, l2);
		CHECK_STR(get(s[i], "warm"), "-");
	}
	for (k = 0; k < KEYS; k++) atomic_store(&latest[k], 0);
	stale = 0;
	map_hook = linger;
	for (i = 1; i < THREADS; i++) pthread_create(&threads[i], NULL, watch, s[i & 1]);
	pthread_create(&threads[0], NULL, change_all, s[0]);
	for (i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
	map_hook = NULL;
	CHECK(stale == 0);
	for (k = 0; k < KEYS; k++) {
		char key[16], want[16];
		key_of(key, k);
		snprintf(want, sizeof want, "%s", get(l2, key));
		CHECK_STR(get(s[0], key), want);
		CHECK_STR(get(s[1], key), want);
		CHECK_STR(get(s[0], key), want);
	}
	CHECK(stats(s[0]).l1_hits > 0 && stats(s[0]).promotions > 0);
	zbz_store_unref(s[0]);
	zbz_store_unref(s[1]);
	done_below();
}

static void test_races(void) {
	race("l1.provider=memory");
	race("l1.provider=shared l1.zone=races l1.size=1MB");
}

/* The channel is begun by many at once, and closed while it is told. */
static void *first_reads(void *ud) {
	get(ud, "k");
	return NULL;
}
static void test_begun_by_many(void) {
	pthread_t threads[THREADS];
	zbz_store *s;
	int i, n = 0;
	below("provider=told");
	s = open_over("l1.provider=memory", l2);
	for (i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, first_reads, s);
	for (i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
	for (i = 0; i < TRACKERS; i++) n += trackers[i].ud != NULL;
	CHECK(n == 1 && stats(s).channel == ZBZ_CHANNEL_TRACKING);
	zbz_store_unref(s);
	done_below();
}

int main(void) {
	register_all();
	RUN(test_fences);
	RUN(test_two_over_one);
	RUN(test_two_writers);
	RUN(test_races);
	RUN(test_begun_by_many);
	CHECK(odd == 0);
	zbz_clock_fake_free(clock_);
	return DONE();
}
