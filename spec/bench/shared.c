/* What the `shared` provider costs in C: get, set and a mix of both, by one and by two processes on one segment, over
 * 100 000 keys of 13 bytes with values of 100, beside the `memory` provider; CPU time, medians. And what an entry costs
 * beside its bytes.
 *
 *   gcc -O2 -std=c11 -D_GNU_SOURCE -Icsrc/include spec/bench/shared.c -Lbuild -lzbz -lm -Wl,-rpath,$PWD/build */
#include <zbz/zbz.h>

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { KEYS = 100000, KEY_N = 13, VALUE_N = 100, OPS = 1 << 20, ROUNDS = 7 };

static char keys[KEYS][KEY_N + 1];
static uint32_t picks[OPS];
static zbz_store *store, *memory;
static zbz_call call;

/* What the processes tell each other. */
static struct board {
	atomic_int ready, go;
	double ns[2];
} * board;

static uint64_t seed = 88172645463325252u;
static uint64_t next_random(void) {
	seed ^= seed << 13;
	seed ^= seed >> 7;
	return seed ^= seed << 17;
}
static double unit(void) { return (double)(next_random() >> 11) / 9007199254740992.0; }

static void pick(double exponent) {
	static double upto[KEYS];
	static uint32_t shuffled[KEYS];
	double sum = 0;
	uint32_t i;
	for (i = 0; i < KEYS; i++) {
		upto[i] = sum += exponent == 0 ? 1 : pow(i + 1, -exponent);
		shuffled[i] = i;
	}
	for (i = KEYS - 1; i > 0; i--) {
		uint32_t k = (uint32_t)(next_random() % (i + 1)), was = shuffled[i];
		shuffled[i] = shuffled[k];
		shuffled[k] = was;
	}
	for (i = 0; i < OPS; i++) {
		double at = unit() * sum;
		uint32_t low = 0, high = KEYS - 1;
		while (low < high) {
			uint32_t mid = (low + high) / 2;
			if (upto[mid] < at)
				low = mid + 1;
			else
				high = mid;
		}
		picks[i] = shuffled[low];
	}
}

static double now_ns(void) {
	struct timespec t;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static zbz_status put(uint32_t i, const char *value) {
	zbz_write w = { .key = zbz_b(keys[i], KEY_N), .value = zbz_b(value, VALUE_N) };
	return zbz_store_set(store, &call, &w, NULL);
}

/* One pass; of a hundred operations `writes` are sets. ns per operation. */
static double pass(unsigned writes) {
	char value[VALUE_N];
	zbz_buf out = { 0 };
	double start;
	uint32_t i, missed = 0;
	memset(value, 'w', sizeof value);
	start = now_ns();
	for (i = 0; i < OPS; i++) {
		out.n = 0;
		if (writes != 0 && i * 2654435761u % 100 < writes)
			missed += put(picks[i], value) != ZBZ_OK;
		else
			missed += zbz_store_get(store, &call, zbz_b(keys[picks[i]], KEY_N), &out, NULL) != ZBZ_OK;
	}
	start = (now_ns() - start) / OPS;
	zbz_buf_clear(&out);
	if (missed > OPS / 1000) fprintf(stderr, "%u of %d missed or refused\n", (unsigned)missed, OPS);
	return start;
}

static void run(int nth, int processes, unsigned writes) {
	atomic_fetch_add(&board->ready, 1);
	while (atomic_load(&board->ready) < processes) continue;
	board->ns[nth] = pass(writes);
}

static int by_value(const void *a, const void *b) { return *(const double *)a < *(const double *)b ? -1 : 1; }

/* The median of some rounds, each the mean of its processes. */
static double measure(int processes, unsigned writes) {
	double rounds[ROUNDS];
	int i;
	for (i = 0; i < ROUNDS; i++) {
		pid_t child = 0;
		atomic_store(&board->ready, 0);
		if (processes == 2 && (child = fork()) == 0) {
			run(1, 2, writes);
			_exit(0);
		}
		run(0, processes, writes);
		if (child > 0) waitpid(child, NULL, 0);
		rounds[i] = processes == 2 ? (board->ns[0] + board->ns[1]) / 2 : board->ns[0];
	}
	qsort(rounds, ROUNDS, sizeof *rounds, by_value);
	return rounds[ROUNDS / 2];
}

static void report(const char *name, double exponent) {
	static const struct {
		const char *what;
		unsigned writes;
	} kinds[] = { { "get", 0 }, { "90/10", 10 }, { "set", 100 } };
	size_t i;
	pick(exponent);
	for (i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		double one = measure(1, kinds[i].writes), two = measure(2, kinds[i].writes), alone;
		zbz_store *shared = store;
		store = memory;
		alone = measure(1, kinds[i].writes);
		store = shared;
		printf("%-8s %-6s 1 process %6.1f ns   2 processes %6.1f ns   memory %6.1f ns\n", name, kinds[i].what, one, two,
		       alone);
	}
}

static zbz_store *open_store(const char *provider, const char *zone, const char *size) {
	zbz_config *cfg = zbz_config_new();
	zbz_store *s = NULL;
	zbz_err err;
	if (cfg == NULL || zbz_config_set_text(cfg, "provider", zbz_bstr(provider), &err) != ZBZ_OK ||
	    (zone != NULL && zbz_config_set_text(cfg, "zone", zbz_bstr(zone), &err) != ZBZ_OK) ||
	    zbz_config_set_text(cfg, "max_size", zbz_bstr(size), &err) != ZBZ_OK ||
	    zbz_store_open(cfg, NULL, &s, &err) != ZBZ_OK) {
		fprintf(stderr, "cannot open the segment\n");
		exit(1);
	}
	zbz_config_free(cfg);
	return s;
}

/* How many entries a segment holds once it is full. */
static void report_overhead(void) {
	char value[VALUE_N] = { 0 };
	zbz_provider_stats stats;
	uint32_t i;
	store = open_store("shared", "full", "8MB");
	for (i = 0; i < KEYS; i++) put(i, value);
	zbz_store_stats(store, &call, &stats);
	printf("a full segment of 8 MB: %lld entries, %.1f bytes each beside key and value\n", (long long)stats.keys,
	       (double)(8 << 20) / (double)stats.keys - KEY_N - VALUE_N);
	zbz_store_unref(store);
}

int main(void) {
	char value[VALUE_N];
	uint32_t i;
	board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (board == MAP_FAILED) return 1;
	call = (zbz_call){ .clock = zbz_clock_system(), .now = 1700000000000, .deadline = ZBZ_NEVER };
	for (i = 0; i < KEYS; i++) snprintf(keys[i], sizeof keys[i], "key:%09u", i);
	memset(value, 'v', sizeof value);
	memory = open_store("memory", NULL, "32MB");
	store = memory;
	for (i = 0; i < KEYS; i++) put(i, value);
	store = open_store("shared", "bench", "32MB");
	for (i = 0; i < KEYS; i++) put(i, value);
	report("zipf", 0.99);
	report("uniform", 0);
	zbz_store_unref(store);
	zbz_store_unref(memory);
	report_overhead();
	return 0;
}
