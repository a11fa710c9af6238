/* The memcached provider: many keys at once, over several servers and from several threads, and listings while others write. */
#include <dlfcn.h>

#include "memcached_rig.h"

typedef struct worker {
	mc *m;
	zbz_bytes plain, hashed;
	intptr_t bad, won;
} worker;

static void *worker_main(void *ud) {
	worker *w = ud;
	for (int i = 0; i < 150; i++) {
		int64_t v;
		char name[64];
		mc m = *w->m;
		w->bad += incr(&m, w->plain, 1, &v) != ZBZ_OK;
		w->bad += incr(&m, w->hashed, 1, &v) != ZBZ_OK;
		snprintf(name, sizeof name, "%sadd%d", tag, i);
		w->won += put_only(&m, zbz_bstr(name), "x", ZBZ_ONLY_ABSENT, NULL, NULL) == ZBZ_OK;
		w->bad += !has(&m, zbz_bstr(name), zbz_bstr("x"));
	}
	return NULL;
}

static void threads(void) {
	mc m;
	CHECK(mc_open(&m, "servers", shared, "max_idle_conns", "3") == ZBZ_OK);
	worker w[6];
	pthread_t t[6];
	int64_t v;
	zbz_bytes plain = key("count"), hashed = long_key('#');
	for (int i = 0; i < 6; i++) {
		w[i] = (worker){ .m = &m, .plain = plain, .hashed = hashed };
		pthread_create(&t[i], NULL, worker_main, &w[i]);
	}
	intptr_t won = 0;
	for (int i = 0; i < 6; i++) {
		pthread_join(t[i], NULL);
		CHECK(w[i].bad == 0);
		won += w[i].won;
	}
	CHECK(won == 150);
	CHECK(incr(&m, plain, 0, &v) == ZBZ_OK && v == 900 && incr(&m, hashed, 0, &v) == ZBZ_OK && v == 900);
	zbz_call c = call();
	zbz_provider_stats st;
	ops->stats(m.self, &c, &st);
	CHECK(st.connections >= 1 && st.connections <= 3);
	mc_end(&m);
}

#define MANY 1200

static void batches_at(const char *servers) {
	static char names[MANY][64];
	static char value[60000];
	mc m = mc_at(servers);
	zbz_bytes keys[MANY + 2];
	zbz_write writes[MANY];
	zbz_status status[MANY + 2];
	zbz_found found[MANY + 2];
	zbz_buf b = { 0 };
	zbz_call c = call();
	size_t wrong = 0;
	memset(value, 'v', sizeof value);
	for (int i = 0; i < MANY; i++) {
		keys[i] = zbz_b(names[i], (size_t)snprintf(names[i], 64, "%sb%s%d", tag, i % 5 == 0 ? " " : ":", i));
		writes[i] = (zbz_write){ .key = keys[i],
			                     .value = zbz_b(value, (size_t)i % 7 * 10000),
			                     .expire_at = i % 2 ? c.now + 100000 : ZBZ_NO_EXPIRY };
	}
	keys[MANY] = keys[3];
	keys[MANY + 1] = key("absent");
	CHECK(ops->set_many(m.self, &c, writes, MANY, status) == ZBZ_OK);
	for (int i = 0; i < MANY; i++) wrong += status[i] != ZBZ_OK;
	CHECK(wrong == 0);
	CHECK(ops->get_many(m.self, &c, keys, MANY + 2, &b, found) ==
	      ZBZ_OK); /* about 36 MB: more than any socket buffer */
	for (int i = 0; i < MANY + 1; i++) {
		size_t n = (size_t)(i < MANY ? i : 3) % 7 * 10000;
		wrong += found[i].status != ZBZ_OK || found[i].n != n || memcmp(b.p + found[i].off, value, n) != 0;
	}
	CHECK(wrong == 0 && found[MANY + 1].status == ZBZ_MISS);
	CHECK(count(&m, "b:") == MANY - MANY / 5 && count(&m, "b ") == MANY / 5);
	uint64_t removed;
	CHECK(ops->clear(m.self, &c, key("b "), &removed) == ZBZ_OK && removed == MANY / 5);
	CHECK(ops->del_many(m.self, &c, keys, MANY + 2, status) == ZBZ_OK);
	for (int i = 0; i < MANY; i++) wrong += status[i] != (i % 5 == 0 ? ZBZ_MISS : ZBZ_OK);
	CHECK(wrong == 0 && status[MANY] == ZBZ_MISS && status[MANY + 1] == ZBZ_MISS && count(&m, "b") == 0);
	zbz_buf_clear(&b);
	mc_end(&m);
}

static void batches(void) {
	server s[3] = { server_start(), server_start(), server_start() };
	char all[120];
	snprintf(all, sizeof all, "%s,%s,%s", s[0].address, s[1].address, s[2].address);
	batches_at(shared);
	batches_at(all);
	for (int i = 0; i < 3; i++) server_end(&s[i], SIGKILL);
}

#if defined(__has_include) && __has_include(<libmemcached/memcached.h>)
#include <libmemcached/memcached.h>

/* libmemcached, set up for ketama as programs in other languages do, finds what we wrote. The library comes from the plug-in's own dependencies. */
static void ring_agrees(void) {
	void *lib = dlopen("libmemcached.so.11", RTLD_NOW);
	CHECK(lib != NULL);
	if (lib == NULL) return;
	memcached_st *(*create)(memcached_st *);
	memcached_return_t (*set)(memcached_st *, memcached_behavior_t, uint64_t),
	    (*add)(memcached_st *, const char *, in_port_t);
	char *(*fetch)(memcached_st *, const char *, size_t, size_t *, uint32_t *, memcached_return_t *);
	void (*release)(memcached_st *);
	*(void **)&create = dlsym(lib, "memcached_create");
	*(void **)&set = dlsym(lib, "memcached_behavior_set");
	*(void **)&add = dlsym(lib, "memcached_server_add");
	*(void **)&fetch = dlsym(lib, "memcached_get");
	*(void **)&release = dlsym(lib, "memcached_free");
	server s[3] = { server_start(), server_start(), server_start() };
	char all[120];
	int same = 0, total = 0;
	snprintf(all, sizeof all, "%s,%s,%s", s[0].address, s[1].address, s[2].address);
	memcached_st *st = create(NULL);
	set(st, MEMCACHED_BEHAVIOR_KETAMA_WEIGHTED, 1);
	for (int i = 0; i < 3; i++) add(st, "127.0.0.1", (in_port_t)s[i].port);
	mc m = mc_at(all);
	for (int i = 0; i < 300; i++) {
		char k[40];
		size_t len;
		uint32_t flags;
		memcached_return_t rc;
		snprintf(k, sizeof k, "user:%d", i);
		CHECK(put(&m, zbz_bstr(k), zbz_bstr(k), 0) == ZBZ_OK);
		char *v = fetch(st, k, strlen(k), &len, &flags, &rc);
		same += v != NULL && len == strlen(k) && memcmp(v, k, len) == 0;
		free(v);
	}
	CHECK(same == 300);
	for (int i = 0; i < 3; i++) {
		mc one = mc_at(s[i].address);
		int on = (int)list(&one, zbz_bstr("user:"), 100, zbz_b(NULL, 0), NULL);
		CHECK(on > 30);
		total += on;
		mc_end(&one);
	}
	CHECK(total == 300);
	release(st);
	mc_end(&m);
	for (int i = 0; i < 3; i++) server_end(&s[i], SIGKILL);
}
#else
static void ring_agrees(void) { fprintf(stderr, "ring_agrees: skipped, no libmemcached headers\n"); }
#endif

static void listing_under_writes(void) {
	server s = server_start();
	mc m = mc_at(s.address);
	char k[300];
	for (int i = 0; i < 500; i++) {
		int n = snprintf(k, sizeof k, "k%d%s", i, i % 50 == 0 ? " odd" : "");
		if (i % 100 == 1) memset(k + n, 'x', sizeof k - (size_t)n), n = sizeof k;
		CHECK(put(&m, zbz_b(k, (size_t)n), zbz_bstr("v"), 0) == ZBZ_OK);
	}
	pid_t kid = fork();
	if (kid == 0)
		for (unsigned i = 2;; i++) {
			if (i % 50 < 2) continue;
			snprintf(k, sizeof k, "k%u", i % 500);
			if (put(&m, zbz_bstr(k), zbz_bstr("w"), 0) != ZBZ_OK) _exit(1);
		}
	for (int i = 0; i < 50; i++) {
		size_t n = list(&m, zbz_bstr("k"), 64, zbz_b(NULL, 0), NULL);
		CHECK(n >= 500);
	}
	kill(kid, SIGKILL);
	waitpid(kid, NULL, 0);
	mc_end(&m);
	server_end(&s, SIGKILL);
}

static void too_large(void) {
	mc m = mc_at(shared);
	size_t n = 1048576;
	char *big = calloc(n, 1);
	zbz_buf b = { 0 };
	zbz_call c = call();
	CHECK(put(&m, key("L"), zbz_bstr("old"), 0) == ZBZ_OK);
	CHECK(put(&m, key("L"), zbz_b(big, n), 0) == ZBZ_E_TOO_LARGE && !m.err.retryable);
	CHECK(get(&m, key("L"), &b, NULL) == ZBZ_MISS); /* the server drops the old one: see the provider's head */
	CHECK(put(&m, key("L"), zbz_bstr("new"), 0) == ZBZ_OK && has(&m, key("L"), zbz_bstr("new")));
	zbz_status status[3];
	zbz_write w[3] = { { .key = key("L1"), .value = zbz_bstr("1") },
		               { .key = key("L2"), .value = zbz_b(big, n) },
		               { .key = key("L3"), .value = zbz_bstr("3") } };
	CHECK(ops->set_many(m.self, &c, w, 3, status) == ZBZ_OK && status[0] == ZBZ_OK && status[1] == ZBZ_E_TOO_LARGE &&
	      status[2] == ZBZ_OK);
	CHECK(has(&m, key("L3"), zbz_bstr("3")));
	zbz_buf_clear(&b);
	free(big);
	mc_end(&m);
}

int main(void) {
	if (!rig_begin()) return 2;
	RUN(threads);
	RUN(batches);
	RUN(ring_agrees);
	RUN(listing_under_writes);
	RUN(too_large);
	rig_end();
	return DONE();
}
