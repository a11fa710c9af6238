/* Former objects of a storage output go, and nothing else does: by number and age, of its own names. */
#include "faults.h"
#include "retain_rig.h"

/* ---- how many, and how long ---- */

static void so_many_stay(void) {
	zbz_output *o;
	begin_at("number");
	o = keeping("keep=5 prefix=app/");
	for (int i = 0; i < 100; i++) {
		write_one(o, i);
		CHECK(holds(i < 5 ? 0 : i - 4, i + 1));
	}
	CHECK(removals == 95);
	CHECK(listings <= 100 / 16 + 1); /* not one for each */
	CHECK(numbers(o).written == 100 && numbers(o).retries == 0 && numbers(o).last_error[0] == '\0');
	zbz_output_unref(o);
	o = keeping("keep=3 prefix=app/"); /* those of before count, whoever wrote them */
	write_one(o, 100);
	CHECK(holds(98, 101));
	zbz_output_unref(o);
	o = keeping("prefix=app/");
	for (int i = 101; i < 110; i++) write_one(o, i);
	CHECK(holds(98, 110));
	zbz_output_unref(o);
}

static void only_the_newest(void) {
	zbz_output *o;
	begin_at("one");
	o = keeping("keep=1");
	for (int i = 0; i < 40; i++) {
		write_one(o, i);
		CHECK(holds(i, i + 1));
	}
	zbz_output_unref(o);
}

static void so_long_they_stay(void) {
	zbz_output *o;
	begin_at("age");
	o = keeping("keep_for=1h");
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
	o = keeping("keep_for=2d keep=100");
	write_one(o, 12);
	CHECK(holds(12, 13));
	CHECK(atoi(answer("find . -type d | wc -l")) <=
	      7); /* a day has changed at most once: folders without objects are gone */
	zbz_output_unref(o);
}

static void whichever_comes_first(void) {
	zbz_output *o;
	begin_at("both");
	o = keeping("keep=4 keep_for=1h");
	for (int i = 0; i < 6; i++) write_one(o, i);
	CHECK(holds(2, 6));
	later = 2 * 3600000;
	write_one(o, 6);
	CHECK(holds(6, 7));
	zbz_output_unref(o);
}

/* ---- what is not its own ---- */

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
	begin_at("foreign");
	for (int i = 0; i < n; i++) {
		snprintf(cmd, sizeof cmd, "mkdir -p \"$(dirname %s)\" && touch %s", foreign[i], foreign[i]);
		CHECK(shell(cmd) == 0);
	}
	CHECK(shell("touch app-" WHEN "-fedcba9876543210-000001.log app-" WHEN "-" WHOSE "-1000000.log.gz") == 0);
	o = keeping("prefix=app- keep=1 keep_for=1s");
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
	begin_at("dated");
	CHECK(shell("mkdir -p 2019/12/31 2020/01/01 && touch 2020/01/01/" WHEN "-" WHOSE "-000001.log 2019/12/31/" WHEN
	            "-" WHOSE "-000002.log 2020/01/01/mine") == 0);
	o = keeping("keep=1");
	write_one(o, 0);
	CHECK(shell("test ! -e 2020/01/01/" WHEN "-" WHOSE "-000001.log && test -e 2020/01/01/mine") == 0);
	CHECK(shell("test -e 2019/12/31/" WHEN "-" WHOSE "-000002.log") == 0); /* not where this output would have put it */
	zbz_output_unref(o);
	CHECK(shell("mkdir -p 2020/02/02 && touch 2020/02/02/20200202T000000.000Z-" WHOSE "-000001.log") == 0);
	o = keeping("keep=1");
	write_one(o, 1);
	CHECK(shell("test ! -e 2020/02 && test -d 2020/01/01") == 0);
	zbz_output_unref(o);
}

/* ---- many ---- */

/* A backlog is worked off, a moment at each object, in the order of the times in the names: here not the order of the names. */
static void a_backlog(void) {
	zbz_output *o;
	int i = 0, left;
	begin_at("backlog");
	CHECK(shell("for s in 59 00 30; do seq -f \"20200101T0000$s.000Z-0123456789abcdef-%06.0f.log\" 1000; done | "
	            "sed 's|^\\(.............\\)\\(..\\)|\\2/\\1\\2|' > ../names && mkdir 59 00 30 && xargs touch < "
	            "../names") == 0);
	CHECK(objects() == 3000);
	o = keeping("keep=500 prefix=%S/");
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
	begin_at("crowd");
	CHECK(shell("seq -f '20200101T000000.000Z-0123456789abcdef-%06.0f.log' 17500 | xargs touch") == 0);
	o = keeping("keep=9000 prefix=");
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

/* ---- packed; in memory; options ---- */

static void packed(void) {
	zbz_output *o = NULL;
	zbz_err err;
	begin_at("packed");
	if (storage_open("batch_wait=0s compress=gzip keep=3 prefix=", &o, &err) == ZBZ_E_UNSUPPORTED) {
		printf("packed: skipped: %s\n", err.text);
		return;
	}
	for (int i = 0; i < 10; i++) write_one(o, i);
	CHECK_STR(answer("zcat *.log.gz"), "000007\n000008\n000009\n");
	zbz_output_unref(o);
	o = keeping("keep=2 prefix="); /* plain ones from now on, the packed ones count */
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
	begin_at("options");
	CHECK(storage_open("batch_wait=0s keep=-1", &o, &err) == ZBZ_E_CONFIG);
	CHECK_STR(err.option, "keep");
	CHECK(storage_open("batch_wait=0s keep_for=yesterday", &o, &err) == ZBZ_E_CONFIG);
	CHECK_STR(err.option, "keep_for");
}

static void allocation_fails(void) {
	bool failed = true;
	begin_at("alloc");
	for (long n = 1; failed; n++) {
		long live;
		zbz_output *o = NULL;
		CHECK(shell("rm -f *.log && for i in 1 2 3 4; do touch " WHEN "-" WHOSE "-00000$i.log; done") == 0);
		faults_begin(n);
		if (storage_open("batch_wait=0s linger=5s keep=2 prefix=", &o, NULL) == ZBZ_OK) {
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
	RUN(so_many_stay);
	RUN(only_the_newest);
	RUN(so_long_they_stay);
	RUN(whichever_comes_first);
	RUN(foreign_names_stay);
	RUN(the_time_in_the_prefix);
	RUN(a_backlog);
	RUN(more_than_it_remembers);
	RUN(packed);
	RUN(in_memory);
	RUN(options);
	RUN(allocation_fails);
	dirs_remove();
	return DONE();
}
