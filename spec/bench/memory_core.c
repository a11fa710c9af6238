/* What the memory provider costs in C, beside the least that any table must do: hash the key, find the slot, copy the value.
 * 100 000 keys of 13 bytes, values of 100 bytes; nanoseconds per call, the median of nine runs. */
#include <zbz/zbz.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { KEYS = 100000, CALLS = 1 << 20, RUNS = 9, KEY_LEN = 13, VALUE_LEN = 100, SLOTS = 1 << 18, BATCH = 64 };

static char keys[KEYS][KEY_LEN + 1];
static uint32_t sequence[CALLS];
static char value[VALUE_LEN];

static double now_ns(void) {
	struct timespec t;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static uint64_t next_random(uint64_t *x) {
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

static void make_sequence(bool zipf) {
	static double sum[KEYS];
	uint64_t x = 88172645463325252u;
	double total = 0;
	uint32_t i, low, high;
	for (i = 0; i < KEYS; i++) sum[i] = total += zipf ? 1 / pow(i + 1, 0.99) : 1;
	for (i = 0; i < CALLS; i++) {
		double u = (double)(next_random(&x) >> 11) * 0x1p-53 * total;
		for (low = 0, high = KEYS - 1; low < high;) {
			uint32_t middle = (low + high) / 2;
			if (sum[middle] < u)
				low = middle + 1;
			else
				high = middle;
		}
		sequence[i] = (uint32_t)((uint64_t)low * 2654435761u % KEYS);
	}
}

/* ---- the least ---- */

typedef struct cell {
	uint16_t klen, vlen;
	char bytes[KEY_LEN + VALUE_LEN];
} cell;

static struct slot {
	uint64_t hash;
	cell *cell;
} slots[SLOTS];

static uint64_t hash_bytes(const char *p, size_t n) {
	uint64_t a, b;
	__extension__ unsigned __int128 m;
	memcpy(&a, p, 8);
	memcpy(&b, p + n - 8, 8);
	m = __extension__(unsigned __int128)(a ^ 0x9E3779B97F4A7C15u) * (b ^ 0xD6E8FEB86659FD93u);
	return (uint64_t)m ^ (uint64_t)(m >> 64);
}

static void bare_set(const char *key) {
	uint64_t h = hash_bytes(key, KEY_LEN), i = h % SLOTS;
	cell *c = malloc(sizeof *c);
	if (c == NULL) exit(2);
	while (slots[i].cell != NULL) i = (i + 1) % SLOTS;
	c->klen = KEY_LEN;
	c->vlen = VALUE_LEN;
	memcpy(c->bytes, key, KEY_LEN);
	memcpy(c->bytes + KEY_LEN, value, VALUE_LEN);
	slots[i].hash = h;
	slots[i].cell = c;
}

static size_t bare_get(const char *key, char *out) {
	uint64_t h = hash_bytes(key, KEY_LEN), i = h % SLOTS;
	for (; slots[i].cell != NULL; i = (i + 1) % SLOTS) {
		const cell *c = slots[i].cell;
		if (slots[i].hash != h || c->klen != KEY_LEN || memcmp(c->bytes, key, KEY_LEN) != 0) continue;
		memcpy(out, c->bytes + KEY_LEN, c->vlen);
		return c->vlen;
	}
	return 0;
}

/* ---- runs ---- */

typedef struct bench {
	zbz_store *store;
	zbz_call call;
	zbz_buf out;
	size_t sum;
} bench;

static void run_bare(bench *b) {
	char out[VALUE_LEN];
	int i;
	for (i = 0; i < CALLS; i++) b->sum += bare_get(keys[sequence[i]], out);
}

/* Each key known only when the value before has arrived, as between the statements of a program. */
static void run_bare_chain(bench *b) {
	char out[VALUE_LEN] = "";
	int i;
	for (i = 0; i < CALLS; i++) b->sum += bare_get(keys[sequence[i] + (uint32_t)out[VALUE_LEN - 1]], out);
}

static void run_get(bench *b) {
	int i;
	for (i = 0; i < CALLS; i++) {
		b->out.n = 0;
		zbz_store_get(b->store, &b->call, zbz_b(keys[sequence[i]], KEY_LEN), &b->out, NULL);
		b->sum += b->out.n;
	}
}

static void run_get_chain(bench *b) {
	int i;
	uint32_t last = 0;
	for (i = 0; i < CALLS; i++) {
		b->out.n = 0;
		zbz_store_get(b->store, &b->call, zbz_b(keys[sequence[i] + last], KEY_LEN), &b->out, NULL);
		last = (uint32_t)b->out.p[VALUE_LEN - 1];
		b->sum += b->out.n;
	}
}

static void run_get_many(bench *b) {
	int i, j;
	for (i = 0; i < CALLS; i += BATCH) {
		zbz_bytes batch[BATCH];
		zbz_found found[BATCH];
		for (j = 0; j < BATCH; j++) batch[j] = zbz_b(keys[sequence[i + j]], KEY_LEN);
		b->out.n = 0;
		zbz_store_get_many(b->store, &b->call, batch, BATCH, &b->out, found);
		b->sum += b->out.n;
	}
}

static void run_miss(bench *b) {
	int i;
	for (i = 0; i < CALLS; i++)
		b->sum += (size_t)zbz_store_get(b->store, &b->call, zbz_b(keys[sequence[i]], KEY_LEN - 1), &b->out, NULL);
}

static void run_set(bench *b) {
	int i;
	for (i = 0; i < CALLS; i++) {
		zbz_write w = { zbz_b(keys[sequence[i]], KEY_LEN), zbz_b(value, VALUE_LEN), ZBZ_NO_EXPIRY, ZBZ_ALWAYS, NULL };
		b->sum += (size_t)zbz_store_set(b->store, &b->call, &w, NULL);
	}
}

static void run_set_ttl(bench *b) {
	int i;
	for (i = 0; i < CALLS; i++) {
		zbz_write w = { zbz_b(keys[sequence[i]], KEY_LEN), zbz_b(value, VALUE_LEN), b->call.now + 3600000, ZBZ_ALWAYS,
			            NULL };
		b->sum += (size_t)zbz_store_set(b->store, &b->call, &w, NULL);
	}
}

/* Every one a new key, into a full store. */
static void run_evict(bench *b) {
	static uint64_t fresh;
	int i;
	for (i = 0; i < CALLS; i++) {
		char key[24];
		uint64_t n = ++fresh * 0x9E3779B97F4A7C15u;
		zbz_write w = { zbz_b(key, KEY_LEN), zbz_b(value, VALUE_LEN), ZBZ_NO_EXPIRY, ZBZ_ALWAYS, NULL };
		memcpy(key, "new:", 4);
		memcpy(key + 4, &n, 8);
		key[12] = 'x';
		b->sum += (size_t)zbz_store_set(b->store, &b->call, &w, NULL);
	}
}

static int by_size(const void *a, const void *b) {
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static double measure(bench *b, void (*run)(bench *)) {
	double t[RUNS];
	int i;
	run(b);
	for (i = 0; i < RUNS; i++) {
		double start = now_ns();
		run(b);
		t[i] = (now_ns() - start) / CALLS;
	}
	qsort(t, RUNS, sizeof t[0], by_size);
	return t[RUNS / 2];
}

static zbz_store *open_store(const char *eviction, const char *max_size) {
	zbz_config *cfg = zbz_config_new();
	zbz_store *store = NULL;
	zbz_err err;
	zbz_config_set_text(cfg, "provider", zbz_bstr("memory"), &err);
	zbz_config_set_text(cfg, "eviction", zbz_bstr(eviction), &err);
	zbz_config_set_text(cfg, "max_size", zbz_bstr(max_size), &err);
	if (zbz_store_open(cfg, NULL, &store, &err) != ZBZ_OK) exit(2);
	zbz_config_free(cfg);
	return store;
}

static void compare(const char *eviction) {
	bench b = { .call = { zbz_clock_system(), zbz_wall(zbz_clock_system()), ZBZ_NEVER, { 0 } } };
	double bare, chain, get, get_chain, many, miss, set, set_ttl, evict;
	int i;
	b.store = open_store(eviction, "256MB");
	for (i = 0; i < KEYS; i++) {
		zbz_write w = { zbz_b(keys[i], KEY_LEN), zbz_b(value, VALUE_LEN), ZBZ_NO_EXPIRY, ZBZ_ALWAYS, NULL };
		zbz_store_set(b.store, &b.call, &w, NULL);
	}
	bare = measure(&b, run_bare);
	chain = measure(&b, run_bare_chain);
	get = measure(&b, run_get);
	get_chain = measure(&b, run_get_chain);

	many = measure(&b, run_get_many);
	miss = measure(&b, run_miss);
	set = measure(&b, run_set);
	set_ttl = measure(&b, run_set_ttl);
	zbz_store_unref(b.store);
	b.store = open_store(eviction, "16MB");
	evict = measure(&b, run_evict);
	zbz_store_unref(b.store);
	zbz_buf_clear(&b.out);
	printf("%-8s %5.1f %5.1f  %4.2f   %5.1f %5.1f  %4.2f   %8.1f %5.1f   %5.1f %8.1f   %11.1f\n", eviction, bare, get,
	       get / bare, chain, get_chain, get_chain / chain, many, miss, set, set_ttl, evict);
}

int main(void) {
	static const char *const policies[] = { "s3fifo", "lru", "lfu", "ttl", "sieve", "tinylfu" };
	size_t i;
	int zipf;
	for (i = 0; i < KEYS; i++) {
		snprintf(keys[i], sizeof keys[i], "key:%09zu", i);
		bare_set(keys[i]);
	}
	for (zipf = 1; zipf >= 0; zipf--) {
		make_sequence(zipf);
		printf(
		    "\n%s\n         back to back        each waits          get_many  miss     set set, ttl   evict+insert\n",
		    zipf ? "zipf 0.99" : "uniform");
		printf("policy    bare   get            bare   get\n");
		for (i = 0; i < sizeof policies / sizeof policies[0]; i++) compare(policies[i]);
	}
	return 0;
}
