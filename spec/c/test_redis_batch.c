/* The Redis provider: many keys at once, listing and clearing, many threads, and large batches over TLS. */
#include "redis_rig.h"

/* ---- batches -------------------------------------------------------------------------------------------------------- */

enum { MANY = 5000 };

typedef struct many {
	char names[MANY][24];
	zbz_bytes keys[MANY];
	zbz_write writes[MANY];
	zbz_status status[MANY];
	zbz_found found[MANY];
} many;

static many *many_new(void) {
	many *m = calloc(1, sizeof *m);
	size_t i;
	for (i = 0; i < MANY; i++) {
		snprintf(m->names[i], sizeof m->names[i], "many:%zu", i);
		m->keys[i] = zbz_bstr(m->names[i]);
		m->writes[i] = (zbz_write){ .key = m->keys[i], .value = m->keys[i] };
	}
	return m;
}

static void run_batches(rig *r, many *m, size_t n) {
	zbz_buf out = { 0 };
	size_t i, good = 0;
	CHECK(ops->set_many(r->self, rig_call(r, 0), m->writes, n, m->status) == ZBZ_OK);
	for (i = 0; i < n; i++) good += m->status[i] == ZBZ_OK;
	CHECK(good == n);
	ops->del(r->self, rig_call(r, 0), m->keys[1]);
	CHECK(ops->get_many(r->self, rig_call(r, 0), m->keys, n, &out, m->found) == ZBZ_OK);
	for (good = i = 0; i < n; i++)
		good += m->found[i].status == ZBZ_OK && zbz_bytes_eq(zbz_b(out.p + m->found[i].off, m->found[i].n), m->keys[i]);
	CHECK(good == n - 1 && m->found[1].status == ZBZ_MISS);
	CHECK(ops->del_many(r->self, rig_call(r, 0), m->keys, n, m->status) == ZBZ_OK);
	for (good = i = 0; i < n; i++) good += m->status[i] == ZBZ_OK;
	CHECK(good == n - 1 && m->status[1] == ZBZ_MISS);
	zbz_buf_clear(&out);
}

static void test_batches(void) {
	many *m = many_new();
	rig r = fresh(), slow;
	run_batches(&r, m, MANY);
	run_batches(&r, m, 2);
	CHECK(rig_open(&slow, "url", main_url, "enable_pipelining", "false", NULL) == ZBZ_OK);
	run_batches(&slow, m, 50);
	m->keys[1] = m->keys[0]; /* the same key twice */
	CHECK(rig_set(&r, m->names[0], "x") == ZBZ_OK);
	CHECK(ops->del_many(r.self, rig_call(&r, 0), m->keys, 2, m->status) == ZBZ_OK && m->status[0] == ZBZ_OK &&
	      m->status[1] == ZBZ_MISS);
	rig_close(&slow);
	rig_close(&r);
	free(m);
}

static void test_batch_errors(void) {
	rig r = fresh(), slow;
	zbz_bytes keys[2] = { zbz_bstr("list"), zbz_bstr("a") };
	zbz_found found[2];
	zbz_buf out = { 0 };
	zbz_buf ignored = { 0 };
	zbz_call *c;
	CHECK(rig_open(&slow, "url", main_url, "enable_pipelining", "off", NULL) == ZBZ_OK);
	rig_set(&r, "a", "1");
	rig_command(&r, "DEL list", &ignored);
	rig_command(&r, "RPUSH list x", &ignored);
	CHECK(ops->get_many(r.self, rig_call(&r, 0), keys, 2, &out, found) == ZBZ_OK && found[0].status == ZBZ_MISS &&
	      found[1].status == ZBZ_OK);
	CHECK(ops->get_many(slow.self, rig_call(&slow, 0), keys, 2, &out, found) == ZBZ_OK && found[1].status == ZBZ_OK);
	c = rig_call(&r, 0);
	c->each = c->want_expiry = true; /* an error of its own for each key, and when each ends */
	CHECK(ops->get_many(r.self, c, keys, 2, &out, found) == ZBZ_OK && found[0].status == ZBZ_E_TYPE);
	CHECK(found[1].status == ZBZ_OK && found[1].expire_at == ZBZ_NO_EXPIRY && found[1].n == 1);
	c->each = c->want_expiry = false;
	rig_command(&r, "DEL list", &ignored);
	zbz_buf_clear(&out);
	zbz_buf_clear(&ignored);
	rig_close(&slow);
	rig_close(&r);
}

/* More bytes in both directions than the sockets hold: neither side may wait for the other. */
static void test_large(void) {
	enum { N = 6, SIZE = 9 << 20 };
	rig r = fresh();
	char *big = malloc(SIZE), names[N][8];
	zbz_write writes[N];
	zbz_bytes keys[N], argv[4 * N];
	size_t ends[2 * N], i;
	zbz_status status[N];
	zbz_found found[N];
	zbz_buf out = { 0 };
	for (i = 0; i < SIZE; i++) big[i] = (char)(i * 31 + i / 1000);
	for (i = 0; i < N; i++) {
		snprintf(names[i], sizeof names[i], "big%zu", i);
		keys[i] = zbz_bstr(names[i]);
		writes[i] = (zbz_write){ .key = keys[i], .value = zbz_b(big, SIZE - i) };
		argv[4 * i] = zbz_bstr("GETSET"), argv[4 * i + 1] = keys[i], argv[4 * i + 2] = zbz_b(big, SIZE),
		         argv[4 * i + 3] = zbz_bstr("PING");
		ends[2 * i] = 4 * i + 3, ends[2 * i + 1] = 4 * i + 4;
	}
	CHECK(ops->set_many(r.self, rig_call(&r, 0), writes, N, status) == ZBZ_OK);
	CHECK(ops->get_many(r.self, rig_call(&r, 0), keys, N, &out, found) == ZBZ_OK);
	for (i = 0; i < N; i++)
		CHECK(status[i] == ZBZ_OK && found[i].n == SIZE - i && memcmp(out.p + found[i].off, big, SIZE - i) == 0);
	out.n = 0;
	CHECK(ops->command(r.self, rig_call(&r, 0), argv, ends, 2 * N, &out) == ZBZ_OK && out.n > N * (size_t)(SIZE - N));
	CHECK(ops->del_many(r.self, rig_call(&r, 0), keys, N, status) == ZBZ_OK && status[N - 1] == ZBZ_OK);
	zbz_buf_clear(&out);
	free(big);
	rig_close(&r);
}

/* ---- listing -------------------------------------------------------------------------------------------------------- */

/* How many keys come, each of them counted once in `seen` by the number behind the last ':'. */
static size_t list(rig *r, const char *prefix, const char *pattern, size_t limit, char *seen) {
	zbz_cursor *cursor = NULL;
	zbz_buf out = { 0 };
	size_t total = 0, n, at, i;
	zbz_status s = ops->scan_open(r->self, rig_call(r, 0), zbz_bstr(prefix), zbz_bstr(pattern), &cursor);
	while (s == ZBZ_OK) {
		out.n = n = 0;
		s = ops->scan_next(r->self, rig_call(r, 0), cursor, limit, &out, &n);
		for (at = i = 0; i < n; i++) {
			uint32_t len;
			char text[64] = "";
			memcpy(&len, out.p + at, 4);
			CHECK(len >= strlen(prefix) && len < sizeof text && memcmp(out.p + at + 4, prefix, strlen(prefix)) == 0);
			memcpy(text, out.p + at + 4, len);
			if (seen) seen[atoi(strrchr(text, ':') + 1)] = 1;
			at += 4 + len;
		}
		CHECK(at == out.n);
		total += n;
	}
	CHECK(s == ZBZ_END);
	ops->scan_close(r->self, cursor);
	zbz_buf_clear(&out);
	return total;
}

static void test_scan_and_clear(void) {
	static const char *const tricky[] = { "s[a]*?\\^-:", "s*:", "s?:", "s\\:" };
	many *m = many_new();
	rig r = fresh();
	char seen[MANY] = { 0 };
	uint64_t removed = 0;
	size_t i, got = 0;
	CHECK(ops->set_many(r.self, rig_call(&r, 0), m->writes, 3000, m->status) == ZBZ_OK);
	CHECK(list(&r, "many:", "*", 100, seen) >= 3000);
	for (i = 0; i < 3000; i++) got += seen[i] == 1;
	CHECK(got == 3000);
	CHECK(list(&r, "many:", "12[0-3]", 7, NULL) >= 4);
	CHECK(list(&r, "many:", "12[!0-3]", 7, NULL) >= 6 && list(&r, "many:", "12[!0-3]", 7, NULL) < 100);
	CHECK(list(&r, "many:", "[", 7, NULL) >= 3000); /* not sure what is meant: everything, the front filters */
	CHECK(list(&r, "many:", "1\\", 500, NULL) >= 1);
	CHECK(list(&r, "many:", "*1*2*3*4*", 500, NULL) >= 1);
	CHECK(list(&r, "none:", "*", 10, NULL) == 0);
	CHECK(ops->clear(r.self, rig_call(&r, 0), zbz_bstr("many:1"), &removed) == ZBZ_OK && removed == 1111);
	CHECK(rig_has(&r, "many:2", "many:2") && rig_has(&r, "many:1", NULL));
	CHECK(ops->clear(r.self, rig_call(&r, 0), zbz_bstr("many:"), &removed) == ZBZ_OK && removed == 1889);
	for (i = 0; i < sizeof tricky / sizeof *tricky; i++) { /* a prefix is never a pattern */
		char key[32];
		snprintf(key, sizeof key, "%s1", tricky[i]);
		CHECK(rig_set(&r, key, "v") == ZBZ_OK && rig_set(&r, "sa:9", "v") == ZBZ_OK);
		CHECK(list(&r, tricky[i], "*", 10, NULL) == 1);
		CHECK(ops->clear(r.self, rig_call(&r, 0), zbz_bstr(tricky[i]), &removed) == ZBZ_OK && removed == 1 &&
		      rig_has(&r, "sa:9", "v"));
	}
	ops->del(r.self, rig_call(&r, 0), zbz_bstr("sa:9"));
	rig_close(&r);
	free(m);
}

/* ---- threads -------------------------------------------------------------------------------------------------------- */

static void *hammer(void *ud) {
	rig mine = *(rig *)ud;
	char key[32];
	size_t i, bad = 0;
	snprintf(key, sizeof key, "thread:%lx", (unsigned long)pthread_self());
	for (i = 0; i < 200; i++) {
		char value[32];
		zbz_incr how = { .delta = 1 };
		int64_t v;
		snprintf(value, sizeof value, "%zu", i);
		bad += rig_set(&mine, key, value) != ZBZ_OK || !rig_has(&mine, key, value);
		bad += ops->incr(mine.self, rig_call(&mine, 0), zbz_bstr("thread:count"), &how, &v) != ZBZ_OK;
	}
	ops->del(mine.self, rig_call(&mine, 0), zbz_bstr(key));
	return bad ? ud : NULL;
}

static void test_threads(void) {
	enum { N = 8 };
	pthread_t threads[N];
	zbz_provider_stats st;
	rig r;
	size_t i;
	CHECK(rig_open(&r, "url", main_url, "pool_size", "3", "min_idle_conns", "2", NULL) == ZBZ_OK);
	ops->del(r.self, rig_call(&r, 0), zbz_bstr("thread:count"));
	for (i = 0; i < N; i++) pthread_create(&threads[i], NULL, hammer, &r);
	for (i = 0; i < N; i++) {
		void *bad;
		pthread_join(threads[i], &bad);
		CHECK(!bad);
	}
	CHECK(rig_has(&r, "thread:count", "1600"));
	ops->stats(r.self, rig_call(&r, 0), &st);
	CHECK(st.connections >= 2 && st.connections <= 3);
	ops->del(r.self, rig_call(&r, 0), zbz_bstr("thread:count"));
	rig_close(&r);
}

static void test_tls_large(void) {
	const char *port = getenv("REDIS_TLS_PORT"), *ca = getenv("REDIS_CA");
	many *m;
	char *big;
	rig r;
	zbz_buf out = { 0 };
	zbz_write w = { .key = zbz_bstr("tls-big") };
	if (!port || !ca) return;
	m = many_new();
	big = malloc(8 << 20);
	memset(big, 'x', 8 << 20);
	w.value = zbz_b(big, 8 << 20);
	CHECK(rig_open(&r, "host", "localhost", "port", port, "enable_ssl", "true", "tls_ca", ca, NULL) == ZBZ_OK);
	CHECK(ops->set(r.self, rig_call(&r, 0), &w, NULL) == ZBZ_OK);
	CHECK(ops->get(r.self, rig_call(&r, 0), w.key, &out, NULL) == ZBZ_OK && zbz_bytes_eq(zbz_buf_bytes(&out), w.value));
	run_batches(&r, m, MANY);
	CHECK(ops->del(r.self, rig_call(&r, 0), w.key) == ZBZ_OK);
	zbz_buf_clear(&out);
	rig_close(&r);
	free(big);
	free(m);
}

int main(void) {
	if (!rig_begin(true)) return 1;
	RUN(test_batches);
	RUN(test_batch_errors);
	RUN(test_large);
	RUN(test_scan_and_clear);
	RUN(test_threads);
	RUN(test_tls_large);
	rig_end();
	return DONE();
}
