/* The core of the cache family's conformance in C, for any provider:
 *
 *   conformance provider=memory max_size=1MB clock=fake
 *   conformance provider=fault inner.provider=redis inner.url=redis://127.0.0.1:6379
 *
 * clock=fake is for providers that judge expiry by the injected clock. All keys are below a prefix of this process. */
#include <pthread.h>

#include "conformance.h"

/* ---- values and keys ---- */

static void one_value(void) {
	CHECK(get("k") == ZBZ_MISS && exists("k") == ZBZ_MISS);
	CHECK(put("k", "v", 0) == ZBZ_OK && holds("k", "v") && exists("k") == ZBZ_OK);
	CHECK(put("k", "longer than before", 0) == ZBZ_OK && holds("k", "longer than before"));
	CHECK(put("k", "", 0) == ZBZ_OK && holds("k", "") && exists("k") == ZBZ_OK);
	CHECK(del("k") >= 0 && get("k") == ZBZ_MISS && exists("k") == ZBZ_MISS);
	CHECK(del("k") >= 0); /* absent is no error */
}

static void binary_values_and_keys(void) {
	char all[256], again[256];
	size_t i;
	for (i = 0; i < sizeof all; i++) {
		all[i] = (char)i;
		again[i] = (char)(255 - i);
	}
	CHECK(put_b(zbz_bstr("binary"), zbz_b(all, sizeof all), 0, ZBZ_ALWAYS) == ZBZ_OK &&
	      holds_b(zbz_bstr("binary"), zbz_b(all, sizeof all)));
	for (i = 0; i < sizeof all; i++) CHECK(put_b(zbz_b(all + i, 1), zbz_b(again + i, 1), 0, ZBZ_ALWAYS) == ZBZ_OK);
	for (i = 0; i < sizeof all; i++) CHECK(holds_b(zbz_b(all + i, 1), zbz_b(again + i, 1)));
	for (i = 0; i < sizeof all; i++) CHECK(zbz_table_del(subject.t, now(), zbz_b(all + i, 1)) >= 0);
	CHECK(put("a b\r\nset x 0 0 1\r\n", "newline", 0) == ZBZ_OK && holds("a b\r\nset x 0 0 1\r\n", "newline") &&
	      get("x") == ZBZ_MISS);
	CHECK(put("../up/./and//over", "path", 0) == ZBZ_OK && holds("../up/./and//over", "path"));
	if (fits(sizeof all, 4))
		CHECK(put_b(zbz_b(all, sizeof all), zbz_bstr("long"), 0, ZBZ_ALWAYS) == ZBZ_OK &&
		      holds_b(zbz_b(all, sizeof all), zbz_bstr("long")));
	CHECK(get("") == ZBZ_E_KEY && put("", "v", 0) == ZBZ_E_KEY);
	CHECK(del("binary") >= 0 && del("a b\r\nset x 0 0 1\r\n") >= 0 && del("../up/./and//over") >= 0);
	if (fits(sizeof all, 4)) CHECK(zbz_table_del(subject.t, now(), zbz_b(all, sizeof all)) >= 0);
}

static void a_megabyte(void) {
	size_t n = 1 << 20, i;
	char *big = malloc(n);
	zbz_status s;
	if (big == NULL) return;
	for (i = 0; i < n; i++) big[i] = (char)(i * 7 + i / 251);
	s = put_b(zbz_bstr("big"), zbz_b(big, n), 0, ZBZ_ALWAYS);
	if (fits(3, n)) {
		CHECK(s == ZBZ_OK && holds_b(zbz_bstr("big"), zbz_b(big, n)));
		CHECK(put("big", "small", 0) == ZBZ_OK && holds("big", "small"));
	} else {
		CHECK(s == ZBZ_E_TOO_LARGE && get("big") == ZBZ_MISS);
	}
	CHECK(del("big") >= 0);
	free(big);
}

static void limits_are_kept(void) {
	size_t n = (size_t)subject.caps.max_key, prefix = zbz_table_prefix(subject.t).n;
	char *key;
	if (subject.caps.max_key == 0 || subject.caps.max_key > 1 << 20) return;
	key = malloc(n);
	if (key == NULL) return;
	memset(key, 'k', n);
	CHECK(put_b(zbz_b(key, n - prefix), zbz_bstr("v"), 0, ZBZ_ALWAYS) == ZBZ_OK &&
	      holds_b(zbz_b(key, n - prefix), zbz_bstr("v")));
	CHECK(put_b(zbz_b(key, n - prefix + 1), zbz_bstr("v"), 0, ZBZ_ALWAYS) == ZBZ_E_KEY);
	CHECK(zbz_table_del(subject.t, now(), zbz_b(key, n - prefix)) >= 0);
	free(key);
}

/* ---- time ---- */

static bool near(int64_t left, int64_t want) {
	int64_t slack = (int64_t)subject.caps.ttl_resolution_ms + 2000;
	return left <= want + slack && left > want - slack && left > 0;
}

static void times(void) {
	int64_t ttl = short_ttl(), left = -1;
	CHECK(put("soon", "v", ttl) == ZBZ_OK && holds("soon", "v") && passes("soon", ttl) && exists("soon") == ZBZ_MISS);
	CHECK(put("stays", "v", 0) == ZBZ_OK && holds("stays", "v"));
	CHECK(put("stays", "v", ttl) == ZBZ_OK &&
	      put("stays", "w", 0) == ZBZ_OK); /* a set without a TTL takes the old one away */
	CHECK(put("gone", "v", ttl) == ZBZ_OK && passes("gone", ttl) && holds("stays", "w"));
	CHECK(put("long", "v", (int64_t)40 * 86400000) == ZBZ_OK && holds("long", "v")); /* beyond 30 days */
	if (can(ZBZ_CAN_TTL)) {
		CHECK(zbz_table_ttl(subject.t, now(), zbz_bstr("long"), &left) == ZBZ_OK && near(left, (int64_t)40 * 86400000));
		CHECK(zbz_table_ttl(subject.t, now(), zbz_bstr("stays"), &left) == ZBZ_OK && left == INT64_MAX);
		CHECK(zbz_table_ttl(subject.t, now(), zbz_bstr("absent"), &left) == ZBZ_MISS);
	} else {
		CHECK(zbz_table_ttl(subject.t, now(), zbz_bstr("long"), &left) == ZBZ_E_UNSUPPORTED);
	}
	CHECK(put("k", "v", -2) == ZBZ_E_ARGUMENT);
	CHECK(del("long") >= 0 && del("stays") >= 0);
}

static void expire(void) {
	int64_t ttl = short_ttl(), left;
	if (!can(ZBZ_CAN_EXPIRE)) {
		CHECK(put("k", "v", 0) == ZBZ_OK &&
		      zbz_table_expire(subject.t, now(), zbz_bstr("k"), 1000) == ZBZ_E_UNSUPPORTED && del("k") >= 0);
		return;
	}
	CHECK(zbz_table_expire(subject.t, now(), zbz_bstr("absent"), ttl) == ZBZ_MISS);
	CHECK(put("k", "v", 0) == ZBZ_OK && zbz_table_expire(subject.t, now(), zbz_bstr("k"), ttl) == ZBZ_OK &&
	      holds("k", "v") && passes("k", ttl));
	CHECK(put("k", "v", 60000) == ZBZ_OK && zbz_table_expire(subject.t, now(), zbz_bstr("k"), 0) == ZBZ_OK &&
	      holds("k", "v"));
	if (can(ZBZ_CAN_TTL)) CHECK(zbz_table_ttl(subject.t, now(), zbz_bstr("k"), &left) == ZBZ_OK && left == INT64_MAX);
	CHECK(del("k") >= 0);
}

/* ---- conditions ---- */

static void add_and_present(void) {
	const zbz_bytes k = zbz_bstr("k"), v = zbz_bstr("v"), w = zbz_bstr("w");
	int64_t ttl = short_ttl();
	if (can(ZBZ_CAN_ADD)) {
		CHECK(put_b(k, v, ttl, ZBZ_ONLY_ABSENT) == ZBZ_OK && put_b(k, w, 0, ZBZ_ONLY_ABSENT) == ZBZ_REFUSED &&
		      holds("k", "v"));
		CHECK(passes("k", ttl) && put_b(k, w, 0, ZBZ_ONLY_ABSENT) == ZBZ_OK && holds("k", "w") && del("k") >= 0);
	} else {
		CHECK(put_b(k, v, 0, ZBZ_ONLY_ABSENT) == ZBZ_E_UNSUPPORTED && get("k") == ZBZ_MISS);
	}
	if (can(ZBZ_CAN_PRESENT)) {
		CHECK(put_b(k, v, 0, ZBZ_ONLY_PRESENT) == ZBZ_REFUSED && get("k") == ZBZ_MISS);
		CHECK(put("k", "v", 0) == ZBZ_OK && put_b(k, w, 0, ZBZ_ONLY_PRESENT) == ZBZ_OK && holds("k", "w") &&
		      del("k") >= 0);
	} else {
		CHECK(put_b(k, v, 0, ZBZ_ONLY_PRESENT) == ZBZ_E_UNSUPPORTED && get("k") == ZBZ_MISS);
	}
}

static zbz_status put_version(const char *v, const zbz_version *version) {
	zbz_put p = { .ttl = 0, .only = ZBZ_ONLY_VERSION, .version = version };
	return zbz_table_set(subject.t, now(), zbz_bstr("k"), zbz_bstr(v), &p, NULL);
}
static zbz_version version_of(const char *k) {
	zbz_entry e = { 0 };
	zbz_buf_reset(&out);
	CHECK(zbz_table_entry(subject.t, now(), zbz_bstr(k), true, &out, &e) == ZBZ_OK);
	return e.version;
}

static void versions(void) {
	zbz_version first = { 1, { 1 } }, second;
	if (!can(ZBZ_CAN_VERSION)) {
		CHECK(put_version("v", &first) == ZBZ_E_UNSUPPORTED);
		return;
	}
	CHECK(put("k", "1", 0) == ZBZ_OK);
	first = version_of("k");
	CHECK(first.n > 0 && put_version("2", &first) == ZBZ_OK && holds("k", "2"));
	CHECK(put_version("3", &first) == ZBZ_E_CONFLICT && holds("k", "2"));
	second = version_of("k");
	CHECK(second.n != first.n || memcmp(second.b, first.b, first.n) != 0);
	CHECK(del("k") >= 0 && put_version("3", &second) == ZBZ_E_CONFLICT && get("k") == ZBZ_MISS);
}

/* ---- counters ---- */

static void *count_up(void *arg) {
	int i;
	for (i = 0; i < 50; i++) {
		zbz_call c;
		int64_t v;
		zbz_table_begin(subject.t, &c, -1);
		if (zbz_table_incr(subject.t, &c, zbz_bstr("shared"), 1, false, 0, 0, &v) != ZBZ_OK) return arg;
	}
	return NULL;
}

static void counters(void) {
	pthread_t threads[4];
	void *failed;
	int64_t v = 0;
	int i;
	if (!can(ZBZ_CAN_INCR)) {
		CHECK(incr("n", 1, &v) == ZBZ_E_UNSUPPORTED && get("n") == ZBZ_MISS);
		return;
	}
	CHECK(incr("n", 5, &v) == ZBZ_OK && v == 5 && incr("n", 1, &v) == ZBZ_OK && v == 6 && holds("n", "6"));
	CHECK(incr("n", -2, &v) == ZBZ_OK && v == 4 && holds("n", "4"));
	if (!subject.caps.unsigned_incr) CHECK(incr("n", -10, &v) == ZBZ_OK && v == -6 && holds("n", "-6"));
	CHECK(zbz_table_incr(subject.t, now(), zbz_bstr("from"), 1, true, 100, 0, &v) == ZBZ_OK && v == 100);
	CHECK(put("n", "40", 0) == ZBZ_OK && incr("n", 2, &v) == ZBZ_OK && v == 42);
	CHECK(put("n", "text", 0) == ZBZ_OK && incr("n", 1, &v) == ZBZ_E_TYPE && holds("n", "text"));
	for (i = 0; i < 4; i++) CHECK(pthread_create(&threads[i], NULL, count_up, &subject) == 0);
	for (i = 0; i < 4; i++) CHECK(pthread_join(threads[i], &failed) == 0 && failed == NULL);
	CHECK(holds("shared", "200"));
	CHECK(del("n") >= 0 && del("from") >= 0 && del("shared") >= 0);
}

/* ---- many ---- */

static void batches(void) {
	const zbz_bytes keys[] = { { "a", 1 }, { "b", 1 }, { "a", 1 }, { "missing", 7 }, { "e", 1 } };
	const zbz_bytes values[] = { { "1", 1 }, { "two\0", 4 }, { "3", 1 }, { "4", 1 }, { "", 0 } };
	zbz_found f[5];
	zbz_status st[5];
	size_t i;
	CHECK(zbz_table_set_many(subject.t, now(), keys, values, NULL, 5, st) == ZBZ_OK);
	for (i = 0; i < 5; i++) CHECK(st[i] == ZBZ_OK);
	CHECK(del("missing") >= 0);
	zbz_buf_reset(&out);
	CHECK(zbz_table_get_many(subject.t, now(), keys, 5, &out, f) == ZBZ_OK);
	CHECK(f[0].status == ZBZ_OK && f[2].status == ZBZ_OK &&
	      zbz_bytes_eq(zbz_b(out.p + f[0].off, f[0].n), zbz_b(out.p + f[2].off, f[2].n)));
	CHECK(f[0].n == 1 && (out.p[f[0].off] == '1' || out.p[f[0].off] == '3'));
	CHECK(f[1].status == ZBZ_OK && zbz_bytes_eq(zbz_b(out.p + f[1].off, f[1].n), values[1]));
	CHECK(f[3].status == ZBZ_MISS && f[4].status == ZBZ_OK && f[4].n == 0);
	CHECK(zbz_table_del_many(subject.t, now(), keys, 5, st) == ZBZ_OK);
	for (i = 0; i < 5; i++) CHECK(st[i] >= 0);
	for (i = 0; i < 5; i++) CHECK(get_b(keys[i]) == ZBZ_MISS);
	CHECK(zbz_table_get_many(subject.t, now(), keys, 0, &out, f) == ZBZ_OK);
}

/* How many keys match; each is checked to be one of ours. Some may come twice: `seen` tells. */
static size_t list(const char *pattern, bool seen[100], zbz_status *last) {
	zbz_listing *l;
	size_t n = 0, off = 0, different = 0, at;
	memset(seen, 0, 100 * sizeof *seen);
	zbz_buf_reset(&out);
	*last = zbz_table_keys_open(subject.t, now(), zbz_bstr(pattern), &l);
	if (*last != ZBZ_OK) return 0;
	do *last = zbz_table_keys_next(l, now(), 10, &out, &n);
	while (*last == ZBZ_OK);
	zbz_table_keys_close(l);
	for (; off + 4 <= out.n; off += 4 + (unsigned char)out.p[off]) {
		CHECK(out.p[off] == 3 && out.p[off + 4] == 'k');
		at = (size_t)((out.p[off + 5] - '0') * 10 + out.p[off + 6] - '0');
		CHECK(at < 100);
		if (at < 100 && !seen[at]) different++;
		if (at < 100) seen[at] = true;
	}
	return different;
}

static void listings_and_clear(void) {
	bool seen[100];
	char key[8];
	int i;
	zbz_status s;
	uint64_t removed = 0;
	zbz_put p = { 0 };
	for (i = 0; i < 100; i++) {
		snprintf(key, sizeof key, "k%02d", i % 100);
		CHECK(put(key, "v", 0) == ZBZ_OK);
	}
	CHECK(zbz_table_set(subject.foreign, now(), zbz_bstr("k01"), zbz_bstr("theirs"), &p, NULL) == ZBZ_OK);
	if (can(ZBZ_CAN_KEYS)) {
		CHECK(list("*", seen, &s) == 100 && s == ZBZ_END);
		CHECK(list("k0?", seen, &s) == 10 && s == ZBZ_END);
		CHECK(list("k[1-3]5", seen, &s) == 3 && seen[15] && seen[25] && seen[35]);
		CHECK(list("none*", seen, &s) == 0 && s == ZBZ_END);
	} else {
		CHECK(list("*", seen, &s) == 0 && s == ZBZ_E_UNSUPPORTED);
	}
	s = zbz_table_clear(subject.t, now(), &removed);
	if (can(ZBZ_CAN_CLEAR)) {
		CHECK(s == ZBZ_OK && get("k00") == ZBZ_MISS && get("k99") == ZBZ_MISS);
	} else {
		CHECK(s == ZBZ_E_UNSUPPORTED && holds("k00", "v"));
	}
	zbz_buf_reset(&out);
	CHECK(zbz_table_get(subject.foreign, now(), zbz_bstr("k01"), &out) == ZBZ_OK &&
	      zbz_bytes_eq(zbz_buf_bytes(&out), zbz_bstr("theirs")));
	for (i = 0; i < 100; i++) {
		snprintf(key, sizeof key, "k%02d", i % 100);
		CHECK(del(key) >= 0);
	}
	CHECK(zbz_table_del(subject.foreign, now(), zbz_bstr("k01")) >= 0);
}

/* ---- the rest ---- */

static void the_store_answers(void) {
	zbz_provider_stats stats;
	zbz_bytes word = zbz_bstr("PING");
	size_t end = 1;
	CHECK(zbz_store_ping(subject.store, now()) == ZBZ_OK);
	zbz_store_stats(subject.store, now(), &stats);
	CHECK(stats.keys >= -1 && stats.memory >= -1);
	zbz_buf_reset(&out);
	if (!can(ZBZ_CAN_NATIVE)) CHECK(zbz_store_command(subject.store, now(), &word, &end, 1, &out) == ZBZ_E_UNSUPPORTED);
	CHECK((subject.caps.emulated & ~subject.caps.can) == 0);
}

static void envelopes_pass_through(void) {
	static const char magic[] = "\xC1zbz is how it begins";
	CHECK(put("m", magic, 60000) == ZBZ_OK && holds("m", magic) && exists("m") == ZBZ_OK && del("m") >= 0 &&
	      get("m") == ZBZ_MISS);
}

int main(int argc, char **argv) {
	zbz_err err = { 0 };
	if (argc < 2) {
		fprintf(stderr, "usage: %s provider=NAME [option=value ...] [inner.option=value ...] [clock=fake]\n", argv[0]);
		return 2;
	}
	if (open_subject(argc, argv, &err) != ZBZ_OK) {
		fprintf(stderr, "%s: %s %s: %s\n", err.provider, zbz_status_name(err.status), err.option, err.text);
		printf("0 passed, 1 failed\n");
		close_subject();
		return 1;
	}
	RUN(one_value);
	RUN(binary_values_and_keys);
	RUN(a_megabyte);
	RUN(limits_are_kept);
	RUN(times);
	RUN(expire);
	RUN(add_and_present);
	RUN(versions);
	RUN(counters);
	RUN(batches);
	RUN(listings_and_clear);
	RUN(the_store_answers);
	RUN(envelopes_pass_through);
	zbz_buf_clear(&out);
	close_subject();
	return DONE();
}
