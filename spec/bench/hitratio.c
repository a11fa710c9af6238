/* Miss ratios of the memory provider on traces: one key, or key,size, a line; from files or from standard input.
 *
 *   zcat web07.trace.gz | hitratio --name web07
 *   hitratio --sizes 1,10 --policies s3fifo,tinylfu --bytes t52-syn.trace
 *
 * Cache sizes are per cent of the number of different keys (--bytes: of their bytes, request misses counted). Beside each size stand
 * miss ratios that a reference simulator of the policies' authors gave for the same trace, where they are known. The clock stands still. */
#include <zbz/zbz.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct request {
	uint32_t key, size;
} request;

typedef struct trace {
	const char *name;
	request *r;
	size_t n, cap;
	uint64_t unique, bytes; /* of the different keys */
	bool *seen;
	size_t seen_cap;
} trace;

typedef struct reference {
	const char *trace;
	int percent;
	double lru, sieve, s3fifo, s3fifo_one_hit, tinylfu_1, tinylfu_10, best;
	const char *best_name;
} reference;

static const reference references[] = {
	{ "web07", 1, .609, .577, .562, .568, .610, .572, .562, "s3fifo" },
	{ "web07", 5, .494, .466, .458, .459, .484, .474, .458, "s3fifo" },
	{ "web07", 10, .443, .421, .419, .416, .440, .436, .416, "s3fifo, one hit" },
	{ "web07", 20, .390, .374, .374, .370, .397, .391, .370, "s3fifo, one hit" },
	{ "web12", 1, .603, .598, .590, .588, .630, .601, .582, "slru" },
	{ "web12", 5, .400, .365, .352, .355, .376, .355, .352, "s3fifo" },
	{ "web12", 10, .315, .283, .278, .281, .295, .285, .278, "s3fifo" },
	{ "web12", 20, .243, .225, .220, .219, .235, .228, .219, "s3fifo, one hit" },
	{ "orm-busy", 1, .230, .295, .244, .230, .405, .286, .227, "lhd" },
	{ "orm-busy", 5, .159, .161, .147, .149, .185, .150, .145, "2q" },
	{ "orm-busy", 10, .120, .119, .111, .113, .117, .104, .104, "w-tinylfu 10 %" },
	{ "orm-busy", 20, .079, .076, .072, .073, .067, .065, .065, "w-tinylfu 10 %" },
	{ "t52-syn", 1, .216, .169, .170, .170, .171, .174, .169, "sieve" },
	{ "t52-syn", 5, .139, .114, .113, .112, .113, .115, .112, "arc" },
	{ "t52-syn", 10, .114, .097, .096, .094, .097, .098, .094, "arc" },
	{ "t52-syn", 20, .092, .084, .084, .082, .085, .086, .082, "arc" },
};

static void die(const char *what, const zbz_err *err) {
	fprintf(stderr, "hitratio: %s%s%s\n", what, err != NULL ? ": " : "", err != NULL ? err->text : "");
	exit(2);
}

static void *need(void *p) {
	if (p == NULL) die("out of memory", NULL);
	return p;
}

/* ---- traces ---- */

static void see(trace *t, uint32_t key, uint32_t size) {
	if (key >= t->seen_cap) {
		size_t cap = (size_t)key * 2 + 1024;
		t->seen = need(realloc(t->seen, cap * sizeof *t->seen));
		memset(t->seen + t->seen_cap, 0, (cap - t->seen_cap) * sizeof *t->seen);
		t->seen_cap = cap;
	}
	if (t->seen[key]) return;
	t->seen[key] = true;
	t->unique++;
	t->bytes += size;
}

static void read_trace(trace *t, FILE *f) {
	char line[128];
	while (fgets(line, sizeof line, f) != NULL) {
		char *comma;
		unsigned long key = strtoul(line, &comma, 10), size = *comma == ',' ? strtoul(comma + 1, NULL, 10) : 1;
		if (comma == line || key > UINT32_MAX / 4 || size > 1 << 26) die("a line is neither key nor key,size", NULL);
		if (t->n == t->cap) {
			t->cap = t->cap * 2 + 65536;
			t->r = need(realloc(t->r, t->cap * sizeof *t->r));
		}
		t->r[t->n].key = (uint32_t)key;
		t->r[t->n++].size = (uint32_t)size;
		see(t, (uint32_t)key, (uint32_t)size);
	}
}

/* ---- one run ---- */

static int64_t still(void *ud) {
	(void)ud;
	return 1000000;
}

static zbz_store *open_store(const char *policy, bool bytes, uint64_t size, bool size_aware) {
	static const zbz_clock clock = { still, still, NULL };
	zbz_config *cfg = need(zbz_config_new());
	zbz_store *store = NULL;
	zbz_err err;
	zbz_config_set_text(cfg, "provider", zbz_bstr("memory"), &err);
	zbz_config_set_text(cfg, "eviction", zbz_bstr(policy), &err);
	zbz_config_set_bool(cfg, "size_aware", size_aware, &err);
	zbz_config_set_int(cfg, "max_size", bytes ? (int64_t)size : (int64_t)1 << 33, &err);
	if (!bytes) zbz_config_set_int(cfg, "max_items", (int64_t)size, &err);
	if (zbz_store_open(cfg, &clock, &store, &err) != ZBZ_OK) die("open", &err);
	zbz_config_free(cfg);
	return store;
}

static double run(const trace *t, const char *policy, bool bytes, uint64_t size) {
	static char value[1 << 26];
	static const zbz_clock clock = { still, still, NULL };
	bool aware = strcmp(policy, "s3fifo+size") == 0;
	zbz_store *store = open_store(aware ? "s3fifo" : policy, bytes, size, aware);
	zbz_call c = { &clock, 1000000, ZBZ_NEVER, { 0 } };
	zbz_buf out = { 0 };
	uint64_t misses = 0;
	size_t i;
	for (i = 0; i < t->n; i++) {
		char key[16];
		int n = snprintf(key, sizeof key, "%u", t->r[i].key);
		zbz_write w = { zbz_b(key, (size_t)n), zbz_b(value, bytes ? t->r[i].size : 1), ZBZ_NO_EXPIRY, ZBZ_ALWAYS,
			            NULL };
		zbz_buf_reset(&out);
		if (zbz_store_get(store, &c, w.key, &out, NULL) == ZBZ_OK) continue;
		misses++;
		if (zbz_store_set(store, &c, &w, NULL) != ZBZ_OK && c.err.status != ZBZ_E_TOO_LARGE) die("set", &c.err);
	}
	zbz_buf_clear(&out);
	zbz_store_unref(store);
	return (double)misses / (double)t->n;
}

/* ---- the table ---- */

static const reference *reference_of(const char *trace_name, int percent) {
	size_t i;
	for (i = 0; i < sizeof references / sizeof references[0]; i++)
		if (strcmp(references[i].trace, trace_name) == 0 && references[i].percent == percent) return &references[i];
	return NULL;
}

static void print_head(const trace *t, char *const *policies, size_t n, bool bytes) {
	size_t i;
	printf("\n%s: %zu requests of %llu keys%s\nsize ", t->name, t->n, (unsigned long long)t->unique,
	       bytes ? ", limits in bytes" : "");
	for (i = 0; i < n; i++) printf(" %11s", policies[i]);
	printf("   | reference: lru sieve s3fifo s3fifo-1 tinylfu-1%% tinylfu-10%% best\n");
}

static void print_row(const trace *t, int percent, char *const *policies, size_t n, bool bytes) {
	const reference *ref = bytes ? NULL : reference_of(t->name, percent);
	uint64_t size = (bytes ? t->bytes : t->unique) * (uint64_t)percent / 100;
	double best = 1, s3 = 0;
	size_t i;
	printf("%3d %%", percent);
	for (i = 0; i < n; i++) {
		double miss = run(t, policies[i], bytes, size < 1 ? 1 : size);
		if (miss < best) best = miss;
		if (strcmp(policies[i], "s3fifo") == 0) s3 = miss;
		printf(" %11.4f", miss);
		fflush(stdout);
	}
	if (ref == NULL) {
		printf("\n");
		return;
	}
	printf("   | %.3f %.3f %.3f %.3f %.3f %.3f %.3f (%s)", ref->lru, ref->sieve, ref->s3fifo, ref->s3fifo_one_hit,
	       ref->tinylfu_1, ref->tinylfu_10, ref->best, ref->best_name);
	printf("%s%s\n", best > ref->best + .005 ? "  BEST BEHIND" : "",
	       s3 > ref->s3fifo_one_hit + .005 ? "  S3FIFO BEHIND" : "");
}

static size_t split(char *list, char **words, size_t max) {
	size_t n = 0;
	char *w;
	for (w = strtok(list, ","); w != NULL && n < max; w = strtok(NULL, ",")) words[n++] = w;
	return n;
}

int main(int argc, char **argv) {
	char policy_list[128] = "s3fifo,s3fifo+size,lru,lfu,sieve,tinylfu", size_list[64] = "1,5,10,20";
	char *policies[8], *sizes[8];
	size_t policies_n, sizes_n, k;
	trace t = { .name = "trace" };
	bool bytes = false, file = false;
	int i;
	for (i = 1; i < argc; i++) {
		bool more = i + 1 < argc;
		if (strcmp(argv[i], "--bytes") == 0) {
			bytes = true;
		} else if (strcmp(argv[i], "--policies") == 0 && more) {
			snprintf(policy_list, sizeof policy_list, "%s", argv[++i]);
		} else if (strcmp(argv[i], "--sizes") == 0 && more) {
			snprintf(size_list, sizeof size_list, "%s", argv[++i]);
		} else if (strcmp(argv[i], "--name") == 0 && more) {
			t.name = argv[++i];
		} else {
			FILE *f = fopen(argv[i], "r");
			if (f == NULL) die(argv[i], NULL);
			read_trace(&t, f);
			fclose(f);
			file = true;
		}
	}
	if (!file) read_trace(&t, stdin);
	policies_n = split(policy_list, policies, 8);
	sizes_n = split(size_list, sizes, 8);
	print_head(&t, policies, policies_n, bytes);
	for (k = 0; k < sizes_n; k++) print_row(&t, atoi(sizes[k]), policies, policies_n, bytes);
	free(t.r);
	free(t.seen);
	return 0;
}
