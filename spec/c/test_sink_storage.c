/* Buckets, and the output that writes its batches as objects: every batch once, under a name that no other has. */
#include <zbz/bucket.h>

#include "log_help.h"

#include "faults.h"

#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <sys/mman.h>
#include <time.h>

static char line[1024], base[200];

/* ---- buckets ---- */

static zbz_bucket *bucket_of(const char *pairs, zbz_err *err) {
	char text[400], *word, *rest = text;
	zbz_config *cfg = zbz_config_new();
	zbz_bucket *b = NULL;
	snprintf(text, sizeof text, "%s", pairs);
	while (cfg != NULL && (word = strtok_r(rest, " ", &rest)) != NULL) {
		char *value = strchr(word, '=');
		*value++ = '\0';
		if (zbz_config_set_text(cfg, word, zbz_bstr(value), NULL) != ZBZ_OK) {
			zbz_config_free(cfg);
			return NULL;
		}
	}
	if (cfg != NULL && zbz_bucket_open(cfg, zbz_clock_system(), &b, err) != ZBZ_OK) b = NULL;
	zbz_config_free(cfg);
	return b;
}

static zbz_status put(zbz_bucket *b, const char *name, zbz_bytes body) {
	zbz_call c = log_call(5000);
	return zbz_bucket_put(b, &c, zbz_bstr(name), body);
}

static bool holds(zbz_bucket *b, const char *name, zbz_bytes body) {
	zbz_call c = log_call(5000);
	zbz_buf out = { 0 };
	zbz_object_info info;
	bool ok = zbz_bucket_get(b, &c, zbz_bstr(name), &out) == ZBZ_OK && zbz_bytes_eq(zbz_buf_bytes(&out), body);
	ok = ok && zbz_bucket_stat(b, &c, zbz_bstr(name), &info) == ZBZ_OK && info.size == body.n && info.modified > 0;
	zbz_buf_clear(&out);
	return ok;
}

static zbz_status missing(zbz_bucket *b, const char *name) {
	zbz_call c = log_call(5000);
	zbz_buf out = { 0 };
	zbz_object_info info;
	zbz_status status = zbz_bucket_get(b, &c, zbz_bstr(name), &out);
	CHECK(out.n == 0);
	CHECK(zbz_bucket_stat(b, &c, zbz_bstr(name), &info) == status);
	zbz_buf_clear(&out);
	return status;
}

static void objects(const char *options) {
	static const char *const bad[] = { "", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "a/./b", "a\nb", "a\x7f" };
	zbz_bucket *b = bucket_of(options, NULL);
	char binary[] = { 0, 1, '\n', (char)0xff, 0 }, *big = malloc(3000000);
	char name[ZBZ_OBJECT_NAME_MAX + 2];
	zbz_call c = log_call(5000);
	zbz_buf little = { .max = 3 };
	CHECK(b != NULL && big != NULL);
	if (b == NULL || big == NULL) return;
	CHECK(missing(b, "a") == ZBZ_MISS);
	CHECK(put(b, "a", zbz_bstr("one")) == ZBZ_OK && holds(b, "a", zbz_bstr("one")));
	CHECK(put(b, "a", zbz_bstr("longer than one")) == ZBZ_OK && holds(b, "a", zbz_bstr("longer than one")));
	CHECK(zbz_bucket_get(b, &c, zbz_bstr("a"), &little) == ZBZ_E_TOO_LARGE && little.n == 0);
	CHECK(put(b, "x/y/z.bin", zbz_b(binary, sizeof binary)) == ZBZ_OK);
	CHECK(holds(b, "x/y/z.bin", zbz_b(binary, sizeof binary)));
	CHECK(put(b, "x/y/empty", zbz_b(NULL, 0)) == ZBZ_OK && holds(b, "x/y/empty", zbz_b("", 0)));
	CHECK(missing(b, "x/y") == ZBZ_MISS && missing(b, "x/y/z") == ZBZ_MISS);
	memset(big, 'b', 3000000);
	CHECK(put(b, "big", zbz_b(big, 3000000)) == ZBZ_OK && holds(b, "big", zbz_b(big, 3000000)));
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		CHECK(put(b, bad[i], zbz_bstr("v")) == ZBZ_E_KEY);
		CHECK(missing(b, bad[i]) == ZBZ_E_KEY);
	}
	memset(name, 'n', sizeof name);
	name[255] = '/';
	name[256] = '\0';
	CHECK(put(b, name, zbz_bstr("v")) == ZBZ_E_KEY); /* ends with a slash */
	name[255] = '\0';
	CHECK(put(b, name, zbz_bstr("v")) == ZBZ_OK);
	name[255] = 'n';
	name[256] = '\0';
	CHECK(put(b, name, zbz_bstr("v")) == ZBZ_E_KEY); /* 256 in one part */
	free(big);
	zbz_bucket_unref(b);
}

static void memory_bucket(void) {
	zbz_bucket *a, *b;
	zbz_call c = log_call(100);
	objects("provider=memory name=one");
	a = bucket_of("provider=memory name=shared max_size=10B", NULL);
	b = bucket_of("provider=memory name=shared max_size=10B", NULL);
	CHECK(a != NULL && b != NULL);
	CHECK(put(a, "k", zbz_bstr("12345678")) == ZBZ_OK && holds(b, "k", zbz_bstr("12345678")));
	CHECK(zbz_bucket_put(a, &c, zbz_bstr("m"), zbz_bstr("123")) == ZBZ_E_TOO_LARGE);
	CHECK_STR(c.err.provider, "memory");
	CHECK(put(a, "k", zbz_bstr("1234567890")) == ZBZ_OK); /* in the place of the old one */
	zbz_bucket_unref(a);
	CHECK(holds(b, "k", zbz_bstr("1234567890")));
	zbz_bucket_unref(b);
	a = bucket_of("provider=memory name=shared", NULL);
	CHECK(missing(a, "k") == ZBZ_MISS); /* the last one closed took them along */
	zbz_bucket_unref(a);
}

static int files;
static int count_file(const char *path, const struct stat *st, int type, struct FTW *f) {
	(void)st, (void)f;
	files += type == FTW_F;
	if (strstr(path, ".zbz-new.") != NULL) files += 1000000;
	return 0;
}
static int files_in(const char *dir) {
	files = 0;
	nftw(dir, count_file, 10, FTW_PHYS);
	return files;
}

static void filesystem_bucket(void) {
	char options[300], path[400], cmd[400];
	struct stat st;
	zbz_bucket *b;
	zbz_err err;
	snprintf(options, sizeof options, "provider=filesystem base_dir=%s/fs", work);
	objects(options);
	snprintf(options, sizeof options, "provider=filesystem base_dir=%s/fs2 sync=true mode=0600", work);
	objects(options);
	snprintf(path, sizeof path, "%s/fs2", work);
	CHECK(files_in(path) == 5); /* and nothing unfinished */
	snprintf(path, sizeof path, "%s/fs2/a", work);
	CHECK(stat(path, &st) == 0 && (st.st_mode & 0777) == 0600);
	b = bucket_of(options, NULL);
	CHECK(put(b, ".zbz-new.1", zbz_bstr("v")) == ZBZ_E_KEY);
	snprintf(cmd, sizeof cmd, "rm -rf %s/fs2", work);
	CHECK(system(cmd) == 0);
	CHECK(put(b, "p/q", zbz_bstr("v")) == ZBZ_OK && holds(b, "p/q", zbz_bstr("v"))); /* it comes back */
	CHECK(put(b, "p/q/r", zbz_bstr("v")) == ZBZ_E_UNAVAILABLE);                      /* q is no directory */
	zbz_bucket_unref(b);
	CHECK(files_in(work) < 1000000);
	CHECK(bucket_of("provider=filesystem", &err) == NULL);
	CHECK_STR(err.option, "base_dir");
	CHECK(bucket_of("provider=filesystem base_dir=/nowhere/at/all", &err) == NULL);
	CHECK_STR(err.option, "base_dir");
	CHECK(bucket_of("provider=s4", &err) == NULL && err.status == ZBZ_E_UNKNOWN_PROVIDER);
	CHECK(bucket_of("base_dir=/tmp", &err) == NULL);
	CHECK_STR(err.option, "provider");
}

/* ---- the output ---- */

static zbz_config *storage_config(const char *more) {
	char options[400];
	zbz_config *cfg, *inner = zbz_config_new();
	snprintf(options, sizeof options, "type=storage max_retry_delay=5ms %s", more);
	cfg = log_config(options);
	if (inner == NULL || cfg == NULL ||
	    zbz_config_set_text(inner, "provider", zbz_bstr("filesystem"), NULL) != ZBZ_OK ||
	    zbz_config_set_text(inner, "base_dir", zbz_bstr(base), NULL) != ZBZ_OK) {
		zbz_config_free(inner);
		zbz_config_free(cfg);
		return NULL;
	}
	if (zbz_config_set_config(cfg, "bucket", inner, NULL) == ZBZ_OK) return cfg;
	zbz_config_free(cfg);
	return NULL;
}

static zbz_status storage_open(const char *more, zbz_output **o, zbz_err *err) {
	zbz_config *cfg = storage_config(more);
	zbz_status status = cfg != NULL ? zbz_output_open(cfg, zbz_clock_system(), o, err) : zbz_fail_nomem(err);
	zbz_config_free(cfg);
	return status;
}

static zbz_output *storing(const char *more) {
	zbz_output *o = NULL;
	zbz_err err;
	zbz_status status = storage_open(more, &o, &err);
	if (status != ZBZ_OK) fprintf(stderr, "%s: %s\n", check_name, err.text);
	CHECK(status == ZBZ_OK);
	return o;
}

static const char *numbered(int who, int i) {
	int n = snprintf(line, sizeof line, "%d %06d ", who, i);
	memset(line + n, 'x', (size_t)(99 - n));
	memcpy(line + 99, "\n", 2);
	return line;
}

/* All objects below the base, in the order of their names, as one text. */
static char *all_text(size_t *n) {
	static char text[1 << 24];
	char cmd[500];
	FILE *p;
	snprintf(cmd, sizeof cmd, "cd '%s' && find . -type f ! -name '.zbz-new.*' | sort | xargs -r -n 100 cat", base);
	p = popen(cmd, "r");
	*n = p != NULL ? fread(text, 1, sizeof text - 1, p) : 0;
	if (p != NULL) pclose(p);
	text[*n] = '\0';
	return text;
}

static void use_base(const char *name) { snprintf(base, sizeof base, "%s/%s", work, name); }

static void a_batch_is_an_object(void) {
	zbz_output *o;
	size_t n;
	char *text, year[8], sub[260];
	time_t now = time(NULL);
	struct tm tm;
	use_base("batch");
	o = storing("batch_size=1000B batch_wait=600s");
	for (int i = 0; i < 25; i++) CHECK(say(o, numbered(0, i)));
	CHECK(flush(o, 5000) == ZBZ_OK);
	text = all_text(&n);
	CHECK(n == 2500);
	for (int i = 0; i < 25; i++) CHECK(memcmp(text + i * 100, numbered(0, i), 100) == 0);
	CHECK(files_in(base) == 3); /* two full ones, and what the flush did not wait for */
	gmtime_r(&now, &tm);
	strftime(year, sizeof year, "%Y", &tm);
	snprintf(sub, sizeof sub, "%s/%s", base, year);
	CHECK(files_in(sub) == 3);
	CHECK(numbers(o).written == 25);
	zbz_output_unref(o);
	CHECK(files_in(base) == 3);
}

static void the_prefix(void) {
	zbz_output *o = NULL;
	zbz_err err;
	char sub[260];
	use_base("prefix");
	o = storing("prefix=logs/app-");
	say(o, "x\n");
	zbz_output_unref(o);
	snprintf(sub, sizeof sub, "%s/logs", base);
	CHECK(files_in(sub) == 1);
	CHECK(storage_open("prefix=/logs", &o, &err) == ZBZ_E_CONFIG);
	CHECK_STR(err.option, "prefix");
	CHECK(storage_open("prefix=a/../b", &o, &err) == ZBZ_E_CONFIG);
	CHECK_STR(err.option, "prefix");
	CHECK(log_open("type=storage", &o, &err) == ZBZ_E_CONFIG);
	CHECK_STR(err.option, "bucket");
	CHECK(log_open("type=storage bucket=nothing", &o, &err) < 0);
	CHECK(strstr(err.text, "nothing") != NULL);
}

static void packed(void) {
	zbz_output *o = NULL;
	zbz_err err;
	char cmd[400], text[300] = "";
	FILE *p;
	use_base("packed");
	if (storage_open("compress=gzip", &o, &err) == ZBZ_E_UNSUPPORTED) {
		printf("packed: skipped: %s\n", err.text);
		return;
	}
	for (int i = 0; i < 2; i++) say(o, numbered(1, i));
	zbz_output_unref(o);
	snprintf(cmd, sizeof cmd, "find '%s' -name '*.log.gz' | xargs zcat", base);
	p = popen(cmd, "r");
	CHECK(p != NULL && fread(text, 1, sizeof text - 1, p) == 200);
	if (p != NULL) pclose(p);
	CHECK(memcmp(text, numbered(1, 0), 100) == 0 && memcmp(text + 100, numbered(1, 1), 100) == 0);
}

/* The directory has become a file: nothing goes, nothing is lost, and it comes when that is mended. */
static void out_of_order(void) {
	zbz_output *o;
	char aside[260], text[64] = "";
	FILE *f;
	size_t n;
	use_base("broken");
	o = storing("batch_wait=0s");
	say(o, "a\n");
	CHECK(flush(o, 5000) == ZBZ_OK);
	snprintf(aside, sizeof aside, "%s.aside", base);
	CHECK(rename(base, aside) == 0);
	f = fopen(base, "w");
	CHECK(f != NULL);
	if (f != NULL) fclose(f);
	say(o, "b\n");
	CHECK(flush(o, 50) == ZBZ_E_TIMEOUT);
	CHECK(numbers(o).failures > 0 && strstr(numbers(o).last_error, "broken") != NULL);
	CHECK(unlink(base) == 0 && rename(aside, base) == 0);
	CHECK(flush(o, 5000) == ZBZ_OK);
	snprintf(text, sizeof text, "%s", all_text(&n));
	CHECK_STR(text, "a\nb\n");
	zbz_output_unref(o);
}

/* ---- deaths ---- */

enum { WHO = 3 };
static _Atomic int *returned;

static void log_on(int who) {
	zbz_output *o = storing("batch_size=3000B batch_wait=1ms block_for=60s ring_size=64KB");
	for (int i = 0;; i++) {
		if (!say(o, numbered(who, i))) _exit(1);
		atomic_store(&returned[who], i + 1);
	}
}

static uint64_t dice = 88172645463325252u;
static uint64_t roll(uint64_t n) {
	dice ^= dice << 13;
	dice ^= dice >> 7;
	dice ^= dice << 17;
	return dice % n;
}

static void nap(int64_t us) {
	struct timespec ts = { 0, us * 1000 };
	nanosleep(&ts, NULL);
}

static zbz_status recover(void) {
	zbz_config *cfg = storage_config("batch_size=3000B");
	zbz_call c = log_call(30000);
	uint64_t n;
	zbz_status status = zbz_output_recover(cfg, &c, &n);
	if (status != ZBZ_OK) fprintf(stderr, "%s\n", c.err.text);
	zbz_config_free(cfg);
	return status;
}

/* Processes are killed in the middle of anything, recoveries too: every record is in one object, and in one only. */
static void killed_at_any_time(void) {
	char cmd[300];
	use_base("killed");
	for (int trial = 0; trial < 40 && check_failed == 0; trial++) {
		static bool seen[WHO][1 << 20];
		pid_t pid[WHO];
		char *text;
		size_t n, twice = 0, bad = 0, lost = 0;
		for (int w = 0; w < WHO; w++) {
			atomic_store(&returned[w], 0);
			pid[w] = fork();
			if (pid[w] == 0) log_on(w);
		}
		for (int w = 0; w < WHO; w++) {
			nap(1000 + (int64_t)roll(15000));
			kill(pid[w], SIGKILL);
			waitpid(pid[w], NULL, 0);
		}
		pid[0] = fork();
		if (pid[0] == 0) _exit(recover() == ZBZ_OK ? 0 : 1);
		nap((int64_t)roll(3000));
		kill(pid[0], SIGKILL);
		waitpid(pid[0], NULL, 0);
		CHECK(recover() == ZBZ_OK);
		text = all_text(&n);
		memset(seen, 0, sizeof seen);
		for (size_t at = 0; at + 100 <= n; at += 100) {
			int who = -1, i = -1;
			if (sscanf(text + at, "%d %d ", &who, &i) != 2 || who < 0 || who >= WHO || i < 0 || i >= 1 << 20 ||
			    memcmp(text + at, numbered(who, i), 100) != 0) {
				bad++;
				continue;
			}
			twice += seen[who][i];
			seen[who][i] = true;
		}
		for (int w = 0; w < WHO; w++)
			for (int i = 0; i < atomic_load(&returned[w]); i++) lost += !seen[w][i];
		CHECK(n % 100 == 0 && bad == 0 && twice == 0 && lost == 0);
		if (twice + lost + bad > 0) fprintf(stderr, "trial %d: lost %zu twice %zu bad %zu\n", trial, lost, twice, bad);
		snprintf(cmd, sizeof cmd, "rm -rf '%s'", base);
		CHECK(system(cmd) == 0);
	}
}

/* The object has its name, the journal does not know yet: whoever finishes the batch must find that object, and make no other. */
static _Atomic int renames, die_at;

ZBZ_API int rename(const char *from, const char *to) {
	bool now = die_at != 0 && strstr(from, ".zbz-new.") != NULL && ++renames == die_at;
	int result = renameat(AT_FDCWD, from, AT_FDCWD, to);
	if (now) kill(getpid(), SIGKILL);
	return result;
}

static void killed_behind_a_put(void) {
	use_base("behind");
	for (int at = 1; at <= 6; at++) {
		char cmd[300], *text;
		int status;
		size_t n;
		pid_t pid = fork();
		if (pid == 0) {
			zbz_output *o = storing("batch_size=1000B batch_wait=600s");
			die_at = at;
			for (int i = 0; i < 100; i++) say(o, numbered(0, i));
			flush(o, 20000);
			_exit(0);
		}
		waitpid(pid, &status, 0);
		CHECK(WIFSIGNALED(status));
		CHECK(recover() == ZBZ_OK);
		text = all_text(&n);
		CHECK(n % 100 == 0 && n >= (size_t)at * 1000);
		for (size_t i = 0; i < n / 100; i++) {
			int found = 0; /* whose objects come first is by chance: another process has finished it */
			for (size_t k = 0; k < n / 100; k++) found += memcmp(text + k * 100, numbered(0, (int)i), 100) == 0;
			CHECK(found == 1);
		}
		snprintf(cmd, sizeof cmd, "rm -rf '%s'", base);
		CHECK(system(cmd) == 0);
	}
}

/* ---- memory ---- */

static void allocation_fails(void) {
	bool failed = true;
	use_base("alloc");
	for (long n = 1; failed; n++) {
		long live;
		zbz_output *o = NULL;
		faults_begin(n);
		if (storage_open("linger=100ms", &o, NULL) == ZBZ_OK) {
			say(o, "x\n");
			zbz_output_unref(o);
		}
		failed = faults_end(&live);
		CHECK(live == 0);
	}
}

int main(void) {
	if (!dirs_make()) return 1;
	returned = mmap(NULL, sizeof *returned * WHO, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (returned == MAP_FAILED) return 1;
	RUN(memory_bucket);
	RUN(filesystem_bucket);
	RUN(a_batch_is_an_object);
	RUN(the_prefix);
	RUN(packed);
	RUN(out_of_order);
	if (CHILD_THREADS) {
		RUN(killed_at_any_time);
		RUN(killed_behind_a_put);
	}
	RUN(allocation_fails);
	dirs_remove();
	return DONE();
}
