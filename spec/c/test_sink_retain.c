/* Former objects of a storage output go, and nothing else does: by number and age, over faults, deaths and several writers. */
#include <zbz/bucket.h>

#include "log_help.h"

#include "faults.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>

static char base[200];

/* ---- the bucket's directory, with faults ---- */

static _Atomic int listings, removals, list_error, remove_error;
static char undeletable[200];

ZBZ_API DIR *opendir(const char *path) {
	size_t n = strlen(base);
	int fd;
	if (n > 0 && strncmp(path, base, n) == 0 && strcmp(path + n, "/") == 0) {
		listings++;
		errno = list_error;
		if (list_error != 0) return NULL;
	}
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? NULL : fdopendir(fd);
}

ZBZ_API int unlink(const char *path) {
	size_t n = strlen(base);
	if (n > 0 && strncmp(path, base, n) == 0 && strstr(path, ".zbz-new.") == NULL) {
		removals++;
		errno = remove_error;
		if (remove_error != 0) return -1;
		errno = EPERM;
		if (undeletable[0] != '\0' && strstr(path, undeletable) != NULL) return -1;
	}
	return unlinkat(AT_FDCWD, path, 0);
}

/* The system's, so much later. */
static _Atomic int64_t later;
static int64_t wall_later(void *ud) { return zbz_wall(zbz_clock_system()) + later; }
static int64_t mono_now(void *ud) { return zbz_mono(zbz_clock_system()); }
static const zbz_clock clock_later = { .wall_ms = wall_later, .mono_ms = mono_now };

/* ---- the output ---- */

static void use_base(const char *name) {
	snprintf(base, sizeof base, "%s/%s", work, name);
	listings = removals = list_error = remove_error = 0;
	undeletable[0] = '\0';
	later = 0;
}

static zbz_config *storage_of(const char *more) {
	char options[400];
	zbz_config *cfg, *inner = zbz_config_new();
	snprintf(options, sizeof options, "type=storage max_retry_delay=5ms batch_wait=0s %s", more);
	cfg = log_config(options);
	if (cfg != NULL && inner != NULL &&
	    zbz_config_set_text(inner, "provider", zbz_bstr("filesystem"), NULL) == ZBZ_OK &&
	    zbz_config_set_text(inner, "base_dir", zbz_bstr(base), NULL) == ZBZ_OK) {
		if (zbz_config_set_config(cfg, "bucket", inner, NULL) == ZBZ_OK) return cfg;
		inner = NULL;
	}
	zbz_config_free(inner);
	zbz_config_free(cfg);
	return NULL;
}

static zbz_status open_with(const char *more, zbz_output **o, zbz_err *err) {
	zbz_config *cfg = storage_of(more);
	zbz_status status = cfg != NULL ? zbz_output_open(cfg, &clock_later, o, err) : zbz_fail_nomem(err);
	zbz_config_free(cfg);
	return status;
}

static zbz_output *open_now(const char *more) {
	zbz_output *o = NULL;
	zbz_err err;
	zbz_status status = open_with(more, &o, &err);
	if (status != ZBZ_OK) fprintf(stderr, "%s: %s\n", check_name, err.text);
	CHECK(status == ZBZ_OK);
	return o;
}

/* One object. */
static void write_one(zbz_output *o, int i) {
	char line[40];
	snprintf(line, sizeof line, "%06d\n", i);
	CHECK(say(o, line) && flush(o, 20000) == ZBZ_OK);
}

static int shell(const char *what) {
	char cmd[1000];
	snprintf(cmd, sizeof cmd, "mkdir -p '%s' && cd '%s' && %s", base, base, what);
	return system(cmd);
}

static const char *answer(const char *what) {
	static char text[1 << 16];
	char cmd[1000];
	FILE *p;
	size_t n;
	snprintf(cmd, sizeof cmd, "cd '%s' 2>/dev/null && %s", base, what);
	p = popen(cmd, "r");
	n = p != NULL ? fread(text, 1, sizeof text - 1, p) : 0;
	if (p != NULL) pclose(p);
	text[n] = '\0';
	return text;
}

static int objects(void) { return atoi(answer("find . -name '*.log' -o -name '*.log.gz' | wc -l")); }

/* The lines of all objects, in the order of their names, are those from..to-1. */
static bool holds(int from, int to) {
	const char *text = answer("find . -name '*.log' | sort | xargs -r cat");
	char line[40];
	for (int i = from; i < to; i++, text += 7) {
		snprintf(line, sizeof line, "%06d\n", i);
		if (strncmp(text, line, 7) == 0) continue;
		fprintf(stderr, "%s: expected %.6s, found %.20s\n", check_name, line, text);
		return false;
	}
	return *text == '\0';
}

/* ---- how many, and how long ---- */

static void so_many_stay(void) {
	zbz_output *o;
	use_base("number");
	o = open_now("keep=5 prefix=app/");
	for (int i = 0; i < 100; i++) {
		write_one(o, i);
		CHECK(holds(i < 5 ? 0 : i - 4, i + 1));
	}
	CHECK(removals == 95);
	CHECK(listings <= 100 / 16 + 1); /* not one for each */
	CHECK(numbers(o).written == 100 && numbers(o).retries == 0 && numbers(o).last_error[0] == '\0');
	zbz_output_unref(o);
	o = open_now("keep=3 prefix=app/"); /* those of before count, whoever wrote them */
	write_one(o, 100);
	CHECK(holds(98, 101));
	zbz_output_unref(o);
	o = open_now("prefix=app/");
	for (int i = 101; i < 110; i++) write_one(o, i);
	CHECK(holds(98, 110));
	zbz_output_unref(o);
}

static void only_the_newest(void) {
	zbz_output *o;
	use_base("one");
	o = open_now("keep=1");
	for (int i = 0; i < 40; i++) {
		write_one(o, i);
		CHECK(holds(i, i + 1));
	}
	zbz_output_unref(o);
}

static void so_long_they_stay(void) {
	zbz_output *o;
	use_base("age");
	o = open_now("keep_for=1h");
	for (int i = 0; i < 10; i++) write_one(o, i);
	CHECK(holds(0, 10));
	later = 30 * 60000;
	write_one(o, 10);
	CHECK(holds(0, 11));
	later = 61 * 60000; /* those of the first minute go; the last one is counted as of half an hour later */
	write_one(o, 11);
	CHECK(holds(10, 12));
	zbz_output_unref(o);
	CHECK(shell("find . -name '*.log' | xargs touch -d '3 days ago'") == 0);
	later = 62 * 60000;
	o = open_now("keep_for=2d keep=100");
	write_one(o, 12);
	CHECK(holds(12, 13));
	CHECK(atoi(answer("find . -type d | wc -l")) <=
	      7); /* a day has changed at most once: folders without objects are gone */
	zbz_output_unref(o);
}

static void whichever_comes_first(void) {
	zbz_output *o;
	use_base("both");
	o = open_now("keep=4 keep_for=1h");
	for (int i = 0; i < 6; i++) write_one(o, i);
	CHECK(holds(2, 6));
	later = 2 * 3600000;
	write_one(o, 6);
	CHECK(holds(6, 7));
	zbz_output_unref(o);
}

/* ---- what is not its own ---- */

#define WHEN  "20200101T000000.000Z"
#define WHOSE "0123456789abcdef"

static void foreign_names_stay(void) {
	static const char *const foreign[] = { "app-notes.txt",
		                                   "app-.log",
		                                   "app-" WHEN "-" WHOSE ".log",
		                                   "app-" WHEN "-" WHOSE "-000001.log.bak",
		                                   "app-" WHEN "-" WHOSE "-00001.log",
		                                   "app-" WHEN "-0123456789ABCDEF-000001.log",
		                                   "app-" WHEN "-" WHOSE "-000001.gz",
		                                   "app-20201301T000000.000Z-" WHOSE "-000001.log",
		                                   "app-20200101T000000.00Z-" WHOSE "-000001.log",
		                                   "app-x" WHEN "-" WHOSE "-000001.log",
		                                   "app2-" WHEN "-" WHOSE "-000001.log",
		                                   WHEN "-" WHOSE "-000001.log",
		                                   "app-" WHEN "-" WHOSE "-000001.log/below",
		                                   "app-" WHEN "-" WHOSE "-0000001.log",
		                                   "app-" WHEN "-" WHOSE "-9999999999999999999999.log",
		                                   "app-sub/app-" WHEN "-" WHOSE "-000001.log",
		                                   "app-.gz",
		                                   ".gz" };
	zbz_output *o;
	int n = sizeof foreign / sizeof *foreign;
	char cmd[500];
	use_base("foreign");
	for (int i = 0; i < n; i++) {
		snprintf(cmd, sizeof cmd, "mkdir -p \"$(dirname %s)\" && touch %s", foreign[i], foreign[i]);
		CHECK(shell(cmd) == 0);
	}
	CHECK(shell("touch app-" WHEN "-fedcba9876543210-000001.log app-" WHEN "-" WHOSE "-1000000.log.gz") == 0);
	o = open_now("prefix=app- keep=1 keep_for=1s");
	write_one(o, 0);
	CHECK(removals == 2); /* those two, of other writers */
	for (int i = 0; i < n; i++) {
		snprintf(cmd, sizeof cmd, "test -e %s", foreign[i]);
		CHECK(shell(cmd) == 0);
	}
	CHECK(atoi(answer("find . -type f | wc -l")) == n + 1);
	zbz_output_unref(o);
}

static void the_time_in_the_prefix(void) {
	zbz_output *o;
	use_base("dated");
	CHECK(shell("mkdir -p 2019/12/31 2020/01/01 && touch 2020/01/01/" WHEN "-" WHOSE "-000001.log 2019/12/31/" WHEN
	            "-" WHOSE "-000002.log 2020/01/01/mine") == 0);
	o = open_now("keep=1");
	write_one(o, 0);
	CHECK(shell("test ! -e 2020/01/01/" WHEN "-" WHOSE "-000001.log && test -e 2020/01/01/mine") == 0);
	CHECK(shell("test -e 2019/12/31/" WHEN "-" WHOSE "-000002.log") == 0); /* not where this output would have put it */
	zbz_output_unref(o);
	CHECK(shell("mkdir -p 2020/02/02 && touch 2020/02/02/20200202T000000.000Z-" WHOSE "-000001.log") == 0);
	o = open_now("keep=1");
	write_one(o, 1);
	CHECK(shell("test ! -e 2020/02 && test -d 2020/01/01") == 0);
	zbz_output_unref(o);
}

/* ---- many ---- */

/* A backlog is worked off, a moment at each object, in the order of the times in the names: here not the order of the names. */
static void a_backlog(void) {
	zbz_output *o;
	int i = 0, left;
	use_base("backlog");
	CHECK(shell("for s in 59 00 30; do seq -f \"20200101T0000$s.000Z-0123456789abcdef-%06.0f.log\" 1000; done | "
	            "sed 's|^\\(.............\\)\\(..\\)|\\2/\\1\\2|' > ../names && mkdir 59 00 30 && xargs touch < "
	            "../names") == 0);
	CHECK(objects() == 3000);
	o = open_now("keep=500 prefix=%S/");
	do {
		write_one(o, i++);
		left = objects();
		CHECK(left >= 500);
	} while (left > 500 && i < 400);
	CHECK(left == 500);
	CHECK(atoi(answer("ls 59 | grep -c ^2020")) == 500 - i); /* the newest of the old, and the new */
	zbz_output_unref(o);
}

/* More than are remembered at a time. */
static void more_than_it_remembers(void) {
	zbz_output *o;
	int i = 0, left;
	use_base("crowd");
	CHECK(shell("seq -f '20200101T000000.000Z-0123456789abcdef-%06.0f.log' 17500 | xargs touch") == 0);
	o = open_now("keep=9000 prefix=");
	do {
		write_one(o, i++);
		left = objects();
		CHECK(left >= 9000);
	} while (left > 9000 && i < 400);
	CHECK(left == 9000);
	CHECK(atoi(answer("ls | sed -n '1s/.*-0*\\([0-9]*\\).log/\\1/p'")) ==
	      17500 - 9000 + i + 1); /* those before are gone */
	CHECK(atoi(answer("ls | grep -c ^2020")) == 9000 - i);
	zbz_output_unref(o);
}

/* ---- faults ---- */

static void listing_fails(void) {
	zbz_output *o;
	int tries;
	use_base("nolist");
	o = open_now("keep=2");
	list_error = EIO;
	for (int i = 0; i < 100; i++) write_one(o, i);
	tries = listings;
	CHECK(tries > 1 && tries <= 8); /* ever more seldom */
	CHECK(holds(0, 100));
	CHECK(numbers(o).written == 100 && numbers(o).retries == 0 && numbers(o).failures == 0);
	CHECK(strstr(numbers(o).last_error, "listing") != NULL && strstr(numbers(o).last_error, base) != NULL);
	list_error = 0;
	for (int i = 100; i < 165; i++) write_one(o, i);
	CHECK(holds(163, 165));
	zbz_output_unref(o);
}

static void removing_fails(void) {
	zbz_output *o;
	use_base("noremove");
	o = open_now("keep=2");
	write_one(o, 0);
	remove_error = EACCES;
	for (int i = 1; i < 100; i++) write_one(o, i);
	CHECK(removals > 1 && removals < 20);
	CHECK(holds(0, 100) && numbers(o).retries == 0 && numbers(o).failures == 0 && numbers(o).dead_letters == 0);
	CHECK(strstr(numbers(o).last_error, "removing") != NULL && strstr(numbers(o).last_error, base) != NULL);
	remove_error = 0;
	for (int i = 100; i < 200; i++) write_one(o, i);
	CHECK(holds(198, 200));
	zbz_output_unref(o);
}

/* One object that does not go is no reason for others to go in its place, or to stay. */
static void one_stays_whatever(void) {
	zbz_output *o;
	use_base("stuck");
	CHECK(shell("touch " WHEN "-" WHOSE "-000001.log") == 0);
	snprintf(undeletable, sizeof undeletable, "%s", WHOSE);
	o = open_now("keep=3 prefix=");
	for (int i = 0; i < 60; i++) {
		write_one(o, i);
		CHECK(shell("test -e " WHEN "-" WHOSE "-000001.log") == 0);
		CHECK(objects() >= (i < 3 ? i + 1 : 3) + 1 && objects() <= 3 + 1 + 2);
	}
	CHECK(numbers(o).retries == 0 && strstr(numbers(o).last_error, WHOSE) != NULL);
	zbz_output_unref(o);
}

static void the_directory_vanishes(void) {
	zbz_output *o;
	char aside[260], cmd[300];
	use_base("gone");
	o = open_now("keep=3");
	for (int i = 0; i < 10; i++) write_one(o, i);
	snprintf(cmd, sizeof cmd, "rm -rf '%s'", base);
	CHECK(system(cmd) == 0);
	for (int i = 10; i < 14; i++) write_one(o, i);
	CHECK(holds(11, 14)); /* those that went with it were no more than what there is now */
	snprintf(aside, sizeof aside, "%s.aside", base);
	CHECK(rename(base, aside) == 0);
	snprintf(cmd, sizeof cmd, "touch '%s'", base);
	CHECK(system(cmd) == 0);
	say(o, "000014\n");
	CHECK(flush(o, 100) == ZBZ_E_TIMEOUT && numbers(o).failures > 0);
	CHECK(unlinkat(AT_FDCWD, base, 0) == 0 && rename(aside, base) == 0);
	CHECK(flush(o, 20000) == ZBZ_OK);
	write_one(o, 15);
	CHECK(holds(13, 16));
	zbz_output_unref(o);
}

static void others_remove_too(void) {
	zbz_output *o;
	use_base("others");
	o = open_now("keep=5 prefix=");
	for (int i = 0; i < 5; i++) write_one(o, i);
	CHECK(shell("rm $(ls | head -4)") == 0);
	for (int i = 5; i < 40; i++) write_one(o, i);
	CHECK(holds(35, 40) && numbers(o).last_error[0] == '\0');
	zbz_output_unref(o);
}

/* ---- several processes ---- */

static _Atomic int *shared;

static void log_many(const char *options, int from, int n) {
	zbz_output *o = open_now(options);
	for (int i = 0; i < n; i++) write_one(o, from + i);
	zbz_output_unref(o);
	_exit(check_failed == 0 ? 0 : 1);
}

static bool ended_well(pid_t pid) {
	int status;
	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* They share a writer: the bound holds as with one. */
static void two_of_one_output(void) {
	pid_t pid[2];
	zbz_output *o;
	use_base("two");
	for (int w = 0; w < 2; w++)
		if ((pid[w] = fork()) == 0) log_many("keep=7 prefix=", w * 1000, 60);
	CHECK(ended_well(pid[0]) && ended_well(pid[1]));
	CHECK(objects() <= 8); /* one that another has finished */
	o = open_now("keep=7 prefix=");
	write_one(o, 5000);
	CHECK(objects() == 7);
	zbz_output_unref(o);
}

/* As on two hosts: each counts the other's when it lists. */
static void two_writers(void) {
	pid_t pid[2];
	zbz_output *o;
	char options[200];
	use_base("apart");
	CHECK(shell("mkdir ../ring0 ../ring1 && touch foreign") == 0);
	for (int w = 0; w < 2; w++) {
		snprintf(options, sizeof options, "keep=7 prefix= ring=%s/ring%d", work, w);
		if ((pid[w] = fork()) == 0) log_many(options, w * 1000, 100);
	}
	CHECK(ended_well(pid[0]) && ended_well(pid[1]));
	CHECK(objects() >= 7 && objects() <= 7 + 2 * 16);
	o = open_now("keep=7 prefix=");
	write_one(o, 5000);
	CHECK(objects() == 7 && shell("test -e foreign") == 0);
	zbz_output_unref(o);
}

static void log_until_killed(int at) {
	zbz_output *o = open_now("keep=4 prefix= ");
	for (int i = at;; i++) {
		char line[40];
		snprintf(line, sizeof line, "%06d\n", i);
		if (!say(o, line)) _exit(1);
		atomic_store(shared, i + 1);
		flush(o, 20000);
	}
}

/* Whatever it was doing: the last records are there once, in order, and no more objects than there should be. */
static void killed_at_any_time(void) {
	for (int trial = 0; trial < 25 && check_failed == 0; trial++) {
		zbz_config *cfg;
		zbz_call c;
		uint64_t n;
		int last;
		pid_t pid;
		const struct timespec nap = { 0, 1000000 + trial * 700000 };
		use_base("killed");
		atomic_store(shared, 0);
		pid = fork();
		if (pid == 0) log_until_killed(0);
		while (atomic_load(shared) < 6) sched_yield();
		nanosleep(&nap, NULL);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		c = log_call(30000);
		cfg = storage_of("keep=4 prefix=");
		CHECK(zbz_output_recover(cfg, &c, &n) == ZBZ_OK);
		zbz_config_free(cfg);
		last = atoi(answer("cat $(ls | tail -1) | tail -1")) + 1;
		CHECK(last >= atomic_load(shared));
		/* A batch of several records comes to be by a recovery only. */
		CHECK(objects() >= 4 && objects() <= 5);
		CHECK(holds(atoi(answer("cat $(ls | head -1)")), last));
		CHECK(system("true") == 0 && shell("rm -f *.log") == 0);
	}
}

/* ---- packed; in memory; options ---- */

static void packed(void) {
	zbz_output *o = NULL;
	zbz_err err;
	use_base("packed");
	if (open_with("compress=gzip keep=3 prefix=", &o, &err) == ZBZ_E_UNSUPPORTED) {
		printf("packed: skipped: %s\n", err.text);
		return;
	}
	for (int i = 0; i < 10; i++) write_one(o, i);
	CHECK_STR(answer("zcat *.log.gz"), "000007\n000008\n000009\n");
	zbz_output_unref(o);
	o = open_now("keep=2 prefix="); /* plain ones from now on, the packed ones count */
	write_one(o, 10);
	CHECK_STR(answer("zcat *.log.gz; cat *.log"), "000009\n000010\n");
	zbz_output_unref(o);
}

static void in_memory(void) {
	zbz_config *cfg = log_config("type=storage batch_wait=0s keep=3"), *inner = zbz_config_new();
	zbz_output *o = NULL;
	zbz_bucket *b = NULL;
	zbz_call c = log_call(5000);
	zbz_buf page = { 0 };
	zbz_object_entry e;
	size_t n, at = 0;
	CHECK(zbz_config_set_text(inner, "provider", zbz_bstr("memory"), NULL) == ZBZ_OK);
	CHECK(zbz_bucket_open(inner, NULL, &b, NULL) == ZBZ_OK);
	CHECK(zbz_config_set_config(cfg, "bucket", inner, NULL) == ZBZ_OK);
	CHECK(zbz_output_open(cfg, zbz_clock_system(), &o, NULL) == ZBZ_OK);
	zbz_config_free(cfg);
	for (int i = 0; i < 30; i++) write_one(o, i);
	CHECK(zbz_bucket_list(b, &c, zbz_bstr(""), zbz_bstr(""), 100, &page, &n) == ZBZ_END && n == 3);
	for (int i = 27; zbz_object_page_take(zbz_buf_bytes(&page), &at, &e); i++) {
		zbz_buf body = { 0 };
		CHECK(zbz_bucket_get(b, &c, e.name, &body) == ZBZ_OK && body.n == 7 && atoi(body.p) == i);
		zbz_buf_clear(&body);
	}
	zbz_buf_clear(&page);
	zbz_output_unref(o);
	zbz_bucket_unref(b);
}

static void options(void) {
	zbz_output *o = NULL;
	zbz_err err;
	use_base("options");
	CHECK(open_with("keep=-1", &o, &err) == ZBZ_E_CONFIG);
	CHECK_STR(err.option, "keep");
	CHECK(open_with("keep_for=yesterday", &o, &err) == ZBZ_E_CONFIG);
	CHECK_STR(err.option, "keep_for");
}

static void allocation_fails(void) {
	bool failed = true;
	use_base("alloc");
	for (long n = 1; failed; n++) {
		long live;
		zbz_output *o = NULL;
		CHECK(shell("rm -f *.log && for i in 1 2 3 4; do touch " WHEN "-" WHOSE "-00000$i.log; done") == 0);
		faults_begin(n);
		if (open_with("linger=5s keep=2 prefix=", &o, NULL) == ZBZ_OK) {
			say(o, "x\n");
			zbz_output_unref(o);
		}
		failed = faults_end(&live);
		CHECK(live == 0);
	}
	CHECK(objects() == 2);
}

int main(void) {
	if (!dirs_make()) return 1;
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED) return 1;
	if (CHILD_THREADS) {
		RUN(two_of_one_output);
		RUN(two_writers);
		RUN(killed_at_any_time);
	}
	RUN(so_many_stay);
	RUN(only_the_newest);
	RUN(so_long_they_stay);
	RUN(whichever_comes_first);
	RUN(foreign_names_stay);
	RUN(the_time_in_the_prefix);
	RUN(a_backlog);
	RUN(more_than_it_remembers);
	RUN(listing_fails);
	RUN(removing_fails);
	RUN(one_stays_whatever);
	RUN(the_directory_vanishes);
	RUN(others_remove_too);
	RUN(packed);
	RUN(in_memory);
	RUN(options);
	RUN(allocation_fails);
	dirs_remove();
	return DONE();
}
