/* The output that writes its batches as objects: their sizes, their names, what is in the way, no memory. */
#include "storage_rig.h"

#include <time.h>

#include "faults.h"

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
	RUN(a_batch_is_an_object);
	RUN(the_prefix);
	RUN(packed);
	RUN(out_of_order);
	RUN(allocation_fails);
	dirs_remove();
	return DONE();
}
