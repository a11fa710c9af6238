/* The memory provider under load: random calls against a model, every allocation failing in turn, several threads, and what an entry costs. */
#include "memory_help.h"

#include <malloc.h>
#include <pthread.h>

enum { KEYS = 3000, VALUE_MAX = 3000 };

/* ---- random calls against a model ---- */

typedef struct modelled {
	bool there;
	uint32_t len, seed;
	int64_t expire_at;
} modelled;

static modelled model[KEYS];
static char text[VALUE_MAX + 16];

static zbz_bytes value_of(uint32_t len, uint32_t seed) {
	uint32_t i;
	for (i = 0; i < len; i++) text[i] = (char)(seed + i * 31);
	return zbz_b(text, len);
}

static void model_key(char out[32], unsigned i) {
	snprintf(out, 32, "%s%0*u", i % 5 ? "k" : "prefix:", i % 7 ? 1 : 20, i);
}
static bool alive(const modelled *e, int64_t now) { return e->there && (e->expire_at == 0 || e->expire_at > now); }

/* A store that evicts may miss; whatever it answers otherwise must be what the model has. */
typedef struct run {
	fixture f;
	uint64_t x;
	bool evicts;
	long wrong;
} run;

static void expect(run *r, bool fine) { r->wrong += !fine; }

static void run_get(run *r, modelled *e, const char *key) {
	zbz_meta meta;
	zbz_status s;
	zbz_buf_reset(&r->f.out);
	s = zbz_store_get(r->f.store, &r->f.call, zbz_bstr(key), &r->f.out, &meta);
	expect(r, s == ZBZ_OK || (s == ZBZ_MISS && (r->evicts || !alive(e, r->f.call.now))));
	if (s != ZBZ_OK) return;
	expect(r, alive(e, r->f.call.now) && meta.expire_at == e->expire_at);
	expect(r, zbz_bytes_eq(zbz_buf_bytes(&r->f.out), value_of(e->len, e->seed)));
}

static void run_set(run *r, modelled *e, const char *key, zbz_only only) {
	uint32_t len = (uint32_t)(next_random(&r->x) % 20 ? next_random(&r->x) % 200 : next_random(&r->x) % VALUE_MAX);
	uint32_t seed = (uint32_t)next_random(&r->x);
	int64_t ttl = next_random(&r->x) % 3 ? 0 : (int64_t)(next_random(&r->x) % 5000 + 1);
	int64_t expire_at = ttl == 0 ? ZBZ_NO_EXPIRY : r->f.call.now + ttl;
	zbz_write w = { zbz_bstr(key), value_of(len, seed), expire_at, only, NULL };
	zbz_status s = zbz_store_set(r->f.store, &r->f.call, &w, NULL);
	bool was = alive(e, r->f.call.now);
	expect(r, s == ZBZ_OK || s == ZBZ_REFUSED);
	if (!r->evicts) expect(r, s == (only == ZBZ_ALWAYS || (only == ZBZ_ONLY_ABSENT) == !was ? ZBZ_OK : ZBZ_REFUSED));
	if (s == ZBZ_OK) *e = (modelled){ true, len, seed, expire_at };
}

static void run_expire(run *r, modelled *e, const char *key) {
	int64_t at = next_random(&r->x) % 4 ? r->f.call.now + (int64_t)(next_random(&r->x) % 100000) + 1 : ZBZ_NO_EXPIRY;
	zbz_status s = zbz_store_expire(r->f.store, &r->f.call, zbz_bstr(key), at);
	expect(r, s == ZBZ_OK || (s == ZBZ_MISS && (r->evicts || !alive(e, r->f.call.now))));
	if (s != ZBZ_OK) return;
	expect(r, alive(e, r->f.call.now));
	e->expire_at = at;
}

static void run_del(run *r, modelled *e, const char *key) {
	zbz_status s = zbz_store_del(r->f.store, &r->f.call, zbz_bstr(key));
	if (!r->evicts) expect(r, s == (alive(e, r->f.call.now) ? ZBZ_OK : ZBZ_MISS));
	e->there = false;
}

static void run_clear(run *r) {
	uint64_t removed, expected = 0;
	unsigned i;
	for (i = 0; i < KEYS; i += 5) {
		expected += alive(&model[i], r->f.call.now);
		model[i].there = false;
	}
	expect(r, zbz_store_clear(r->f.store, &r->f.call, zbz_bstr("prefix:"), &removed) == ZBZ_OK);
	expect(r, r->evicts ? removed <= expected : removed == expected);
}

static void run_count(run *r) {
	int64_t n = 0;
	unsigned i;
	for (i = 0; i < KEYS; i++) n += alive(&model[i], r->f.call.now);
	expect(r, r->evicts ? stats(&r->f).keys <= n : stats(&r->f).keys == n);
	expect(r, audit(&r->f));
}

static void random_calls(const char *options, bool evicts, long calls) {
	run r = { .x = 0x9E3779B97F4A7C15u, .evicts = evicts };
	long i;
	memset(model, 0, sizeof model);
	CHECK(fixture_open(&r.f, options) == ZBZ_OK);
	if (THREAD_SANITIZED) calls /= 4;
	for (i = 0; i < calls; i++) {
		uint64_t what = next_random(&r.x) % 100;
		unsigned k = (unsigned)(next_random(&r.x) % KEYS);
		char key[32];
		model_key(key, k);
		if (what < 50)
			run_get(&r, &model[k], key);
		else if (what < 75)
			run_set(&r, &model[k], key, ZBZ_ALWAYS);
		else if (what < 80)
			run_set(&r, &model[k], key, ZBZ_ONLY_ABSENT);
		else if (what < 85)
			run_set(&r, &model[k], key, ZBZ_ONLY_PRESENT);
		else if (what < 92)
			run_expire(&r, &model[k], key);
		else if (what < 98)
			run_del(&r, &model[k], key);
		else
			pass(&r.f, (int64_t)(next_random(&r.x) % 40));
		if (i % 50000 == 0) run_clear(&r);
		if (i % 10000 == 0) run_count(&r);
		expect(&r, zbz_mem_total(engine(&r.f)) <= engine(&r.f)->max_size);
	}
	if (r.wrong != 0) fprintf(stderr, "%s: %ld answers are wrong\n", options, r.wrong);
	CHECK(r.wrong == 0);
	fixture_close(&r.f);
}

/* Under ThreadSanitizer a quarter of them. */
static void a_million_random_calls(void) { random_calls("", false, 1000000); }

static void random_calls_with_eviction(void) {
	random_calls("max_size=100KB", true, 100000);
	random_calls("max_size=100KB size_aware=true", true, 50000);
	random_calls("max_size=150KB eviction=lru", true, 100000);
	random_calls("max_size=100KB eviction=lfu", true, 100000);
	random_calls("max_size=100KB eviction=ttl", true, 100000);
	random_calls("max_size=100KB eviction=sieve", true, 100000);
	random_calls("max_size=100KB eviction=tinylfu", true, 100000);
	random_calls("max_size=20KB", true, 50000); /* every entry stands alone */
	random_calls("max_size=20KB eviction=ttl", true, 50000);
	random_calls("max_size=2MB max_items=500 eviction=tinylfu", true, 50000);
	random_calls("provider=ristretto max_cost=100KB", true, 50000);
}

/* ---- every allocation fails in turn ---- */

static bool clean(zbz_status s) { return s == ZBZ_OK || s == ZBZ_MISS || s == ZBZ_E_INTERNAL; }

static long sweep_calls(const char *options) {
	static char value[60000];
	fixture f;
	char key[24];
	long bad = 0;
	int i;
	zbz_status s = fixture_open(&f, options);
	if (s == ZBZ_OK) {
		for (i = 0; i < 700; i++) {
			snprintf(key, sizeof key, "k%d", i);
			bad += !clean(put_bytes(&f, key, zbz_b(value, i % 97 ? (size_t)(i % 300) : sizeof value), i % 4 * 1000));
			if (i % 3 == 0) bad += !clean(zbz_store_expire(f.store, &f.call, zbz_bstr(key), f.call.now + 77));
			bad += !clean(get(&f, key));
		}
		bad += !clean(put_bytes(&f, "k5", zbz_b(value, 30000), 0));
		bad += !clean(put_bytes(&f, "k5", zbz_b(value, 50000), 0));
		bad += !clean(put_bytes(&f, "k5", zbz_b(value, 20000), 9));
		zbz_cursor *k = NULL;
		if (zbz_store_scan_open(f.store, &f.call, zbz_bstr("k"), zbz_bstr("*"), &k) == ZBZ_OK) {
			size_t n = 0;
			bad += zbz_store_scan_next(f.store, &f.call, k, 50, &f.out, &n) < 0 && f.call.err.status != ZBZ_E_INTERNAL;
			zbz_store_scan_close(f.store, k);
		}
		bad += !audit(&f);
		atomic_store(&calls_left, -1);
		bad += put(&f, "after", "works") != ZBZ_OK || !is(&f, "after", "works");
		pass(&f, 5000);
		stats(&f);
		bad += !audit(&f);
	} else {
		bad += s != ZBZ_E_INTERNAL && f.clock != NULL;
	}
	fixture_close(&f);
	return bad;
}

static void every_allocation_fails_once(void) {
	static const char *const options[] = { "max_size=200KB",
		                                   "max_size=200KB eviction=lru",
		                                   "max_size=200KB eviction=lfu",
		                                   "max_size=200KB eviction=ttl",
		                                   "max_size=200KB eviction=sieve",
		                                   "max_size=200KB eviction=tinylfu",
		                                   "provider=ristretto max_cost=200KB" };
	size_t o;
	for (o = 0; o < sizeof options / sizeof options[0]; o++) {
		long n, bad = 0, leaks = 0;
		bool failed = true;
		for (n = 0; failed && n < 5000; n++) {
			zbz_set_alloc(counting, NULL);
			atomic_store(&live_blocks, 0);
			atomic_store(&calls_left, n);
			bad += sweep_calls(options[o]);
			failed = atomic_load(&calls_left) < 0; /* else there were fewer calls than n */
			atomic_store(&calls_left, -1);
			leaks += atomic_load(&live_blocks) != 0;
			zbz_set_alloc(NULL, NULL);
			if (n > 250) n += THREAD_SANITIZED ? 60 : 12; /* the later ones are much alike */
		}
		CHECK(bad == 0);
		CHECK(leaks == 0);
		CHECK(n > 50);
	}
}

/* ---- threads ---- */

typedef struct worker {
	pthread_t thread;
	fixture *f;
	atomic_llong *now;
	uint64_t x;
	long wrong;
} worker;

static void *work(void *ud) {
	worker *w = ud;
	zbz_call c = { .clock = w->f->clock, .now = T0, .deadline = ZBZ_NEVER };
	zbz_buf out = { 0 };
	int i;
	for (i = 0; i < 20000; i++) {
		uint64_t r = next_random(&w->x);
		char key[24];
		zbz_write set;
		int64_t v;
		zbz_incr how = { 1, false, 0, ZBZ_NO_EXPIRY };
		c.now = atomic_fetch_add(w->now, r % 64 == 0);
		snprintf(key, sizeof key, "k%llu", (unsigned long long)(r >> 32) % 2000);
		set = (zbz_write){ zbz_bstr(key), zbz_bstr(key), r % 3 ? ZBZ_NO_EXPIRY : c.now + 50, ZBZ_ALWAYS, NULL };
		zbz_buf_reset(&out);
		switch (r % 8) {
		case 0:
		case 1: w->wrong += zbz_store_set(w->f->store, &c, &set, NULL) != ZBZ_OK; break;
		case 2: zbz_store_del(w->f->store, &c, zbz_bstr(key)); break;
		case 3: w->wrong += zbz_store_incr(w->f->store, &c, zbz_bstr("counter"), &how, &v) != ZBZ_OK; break;
		case 4: zbz_store_expire(w->f->store, &c, zbz_bstr(key), c.now + 20); break;
		default:
			if (zbz_store_get(w->f->store, &c, zbz_bstr(key), &out, NULL) == ZBZ_OK)
				w->wrong += !zbz_bytes_eq(zbz_buf_bytes(&out), zbz_bstr(key));
		}
		if (i % 5000 == 0) {
			zbz_provider_stats s;
			zbz_store_stats(w->f->store, &c, &s);
		}
	}
	zbz_buf_clear(&out);
	return NULL;
}

static void threads_do_not_disturb_each_other(void) {
	enum { N = 4 };
	static const char *const options[] = { "max_size=1MB", "max_size=70KB eviction=tinylfu" };
	int o, i;
	for (o = 0; o < 2; o++) {
		fixture f;
		worker w[N];
		atomic_llong now = T0;
		CHECK(fixture_open(&f, options[o]) == ZBZ_OK);
		for (i = 0; i < N; i++) {
			w[i] = (worker){ .f = &f, .now = &now, .x = 1000003u * (uint64_t)(i + 1) };
			CHECK(pthread_create(&w[i].thread, NULL, work, &w[i]) == 0);
		}
		for (i = 0; i < N; i++) {
			pthread_join(w[i].thread, NULL);
			CHECK(w[i].wrong == 0);
		}
		CHECK(audit(&f));
		fixture_close(&f);
	}
}

/* ---- what an entry costs ---- */

static atomic_long usable;

/* What malloc says it gave, and the eight bytes before each block. */
static void *weighing(void *ud, void *ptr, size_t n) {
	size_t old = ptr == NULL ? 0 : malloc_usable_size(ptr) + 8;
	void *p;
	(void)ud;
	if (n == 0) {
		free(ptr);
		atomic_fetch_sub(&usable, (long)old);
		return NULL;
	}
	p = realloc(ptr, n);
	if (p == NULL) return NULL;
	atomic_fetch_add(&usable, (long)(malloc_usable_size(p) + 8) - (long)old);
	return p;
}

/* Bytes beside key and value, in a full cache; spread: sizes from half to one and a half of the mean. */
static double overhead(const char *options, bool ttl, bool spread) {
	static char value[1000];
	fixture f;
	uint64_t payload = 0;
	int i;
	double told, real, per_item;
	zbz_set_alloc(weighing, NULL);
	atomic_store(&usable, 0);
	CHECK(fixture_open(&f, options) == ZBZ_OK);
	for (i = 0; i < 160000; i++) {
		char key[64];
		size_t klen = spread ? 18 + (size_t)i * 13 % 37 : 36, vlen = spread ? 112 + (size_t)i * 7919 % 225 : 224;
		snprintf(key, sizeof key, "%0*d", (int)klen, i);
		put_bytes(&f, key, zbz_b(value, vlen), ttl ? 3600000 : 0);
	}
	CHECK(stats(&f).evictions > 0);
	for (i = 0; i < 160000; i++) {
		char key[64];
		size_t klen = spread ? 18 + (size_t)i * 13 % 37 : 36, vlen = spread ? 112 + (size_t)i * 7919 % 225 : 224;
		snprintf(key, sizeof key, "%0*d", (int)klen, i);
		if (has(&f, key)) payload += klen + vlen;
	}
	told = (double)stats(&f).memory;
	real = (double)atomic_load(&usable);
	per_item = (real - (double)payload) / (double)stats(&f).keys;
	CHECK(told > real * 0.9 && told < real * 1.1);
	CHECK(audit(&f));
	fixture_close(&f);
	zbz_set_alloc(NULL, NULL);
	return per_item;
}

/* The mean over caches of several sizes: how full the index is depends on where its last growth was. */
static double mean_overhead(const char *eviction, bool ttl, bool spread) {
	static const int megabytes[] = { 20, 24, 29, 35 };
	double sum = 0;
	int i;
	for (i = 0; i < 4; i++) {
		char options[64];
		snprintf(options, sizeof options, "max_size=%dMB eviction=%s", megabytes[i], eviction);
		sum += overhead(options, ttl, spread) / 4;
	}
	printf("%-8s %-6s %-12s: %.1f bytes an entry beside key and value\n", eviction, ttl ? "ttl" : "no ttl",
	       spread ? "sizes spread" : "one size", sum);
	return sum;
}

static void an_entry_costs_little(void) {
	CHECK(mean_overhead("s3fifo", false, false) <= 56);
	CHECK(mean_overhead("s3fifo", false, true) <= 56);
	CHECK(mean_overhead("s3fifo", true, false) <= 56);
	CHECK(mean_overhead("s3fifo", true, true) <= 56);
	CHECK(mean_overhead("lru", false, true) <= 56);
	CHECK(mean_overhead("tinylfu", false, true) <= 56);
}

int main(void) {
	RUN(a_million_random_calls);
	RUN(random_calls_with_eviction);
	RUN(every_allocation_fails_once);
	RUN(threads_do_not_disturb_each_other);
	RUN_IF(!THREAD_SANITIZED, an_entry_costs_little);
	return DONE();
}
