/* The file sink rotates: by size, by time, what is kept, what is packed. */
#include "file_rig.h"

#include <fcntl.h>
#include <sched.h>

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* The names beside the file, sorted, with spaces between. */
static const char *others(const log *l) {
	static char text[2000];
	char *names[64];
	size_t n = 0;
	DIR *d = opendir(l->dir);
	const struct dirent *e;
	while (d != NULL && (e = readdir(d)) != NULL && n < 64)
		if (e->d_name[0] != '.' && strcmp(e->d_name, "a.log") != 0) names[n++] = strdup(e->d_name);
	if (d != NULL) closedir(d);
	qsort(names, n, sizeof *names, by_name);
	text[0] = '\0';
	for (size_t i = 0; i < n; i++) {
		snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s", i > 0 ? " " : "", names[i]);
		free(names[i]);
	}
	return text;
}

static void by_size(void) {
	log l;
	open_log(&l, "size", "rotate_size=10B keep=2");
	say(l.o, "111\n");
	say(l.o, "222\n");
	say(l.o, "333\n");
	say(l.o, "444\n");
	CHECK(flush(l.o, 5000) == ZBZ_OK);
	CHECK_STR(others(&l), "a.log.20231114-221320");
	CHECK_STR(slurp(l.path), "333\n444\n"); /* whole records, and no file beyond the limit */
	zbz_clock_fake_advance(fake, 1000);
	write_line(&l, "555\n");
	write_line(&l, "a record beyond the limit\n");
	write_line(&l, "666\n");
	CHECK_STR(others(&l), "a.log.20231114-221321.001 a.log.20231114-221321.002");
	CHECK_STR(slurp(l.path), "666\n");
	zbz_output_unref(l.o);
}

static void by_time(void) {
	log l;
	open_log(&l, "time", "rotate_every=1h keep_for=2h");
	write_line(&l, "1\n");
	zbz_clock_fake_advance(fake, 3600000);
	write_line(&l, "2\n");
	zbz_clock_fake_advance(fake, 1000);
	write_line(&l, "3\n");
	CHECK_STR(slurp(l.path), "2\n3\n");
	CHECK(strlen(others(&l)) == strlen("a.log.20231114-221320"));
	zbz_output_unref(l.o);
}

/* Former files go by their own age, strangers stay. */
static void old_ones_go(void) {
	log l;
	char path[240];
	const char *names[] = { "a.log.20200101-000000", "a.log.20200102-000000.gz", "a.log.20200101-000000.bak", "a.log.x",
		                    "b.log.20200101-000000" };
	open_log(&l, "old", "rotate_size=1B keep=1");
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		snprintf(path, sizeof path, "%s/%s", l.dir, names[i]);
		CHECK(close(open(path, O_WRONLY | O_CREAT, 0644)) == 0);
	}
	write_line(&l, "1\n");
	write_line(&l, "2\n");
	CHECK(strstr(others(&l), "a.log.20200101-000000 ") == NULL && strstr(others(&l), ".gz") == NULL);
	CHECK(strstr(others(&l), "a.log.20200101-000000.bak") != NULL && strstr(others(&l), "a.log.x") != NULL);
	CHECK(strstr(others(&l), "b.log.20200101-000000") != NULL && strstr(others(&l), "a.log.2023") != NULL);
	zbz_output_unref(l.o);
}

static bool packed_is(const log *l, const char *name, const char *expect) {
	char cmd[300], text[1000] = "";
	FILE *f;
	snprintf(cmd, sizeof cmd, "gzip -dc '%s/%s'", l->dir, name);
	f = popen(cmd, "r");
	if (f == NULL) return false;
	if (fread(text, 1, sizeof text - 1, f) == 0) return false;
	return pclose(f) == 0 && strcmp(text, expect) == 0;
}

/* Until the former files have the names that are expected. */
static bool await_others(const log *l, const char *expect) {
	zbz_call c = log_call(10000);
	while (strcmp(others(l), expect) != 0 && zbz_call_left(&c) > 0) sched_yield();
	return strcmp(others(l), expect) == 0;
}

static void packed(void) {
	log l;
	char path[240];
	FILE *f;
	zbz_err err;
	open_log(&l, "packed", "rotate_size=10B compress=gzip");
	snprintf(path, sizeof path, "%s.20200101-000000", l.path); /* left by a process that died */
	f = fopen(path, "w");
	CHECK(f != NULL && fputs("old\n", f) >= 0 && fclose(f) == 0);
	write_line(&l, "1111\n");
	CHECK(await_others(&l, "a.log.20200101-000000.gz"));
	CHECK(packed_is(&l, "a.log.20200101-000000.gz", "old\n"));
	write_line(&l, "2222\n");
	write_line(&l, "3333\n");
	CHECK(await_others(&l, "a.log.20200101-000000.gz a.log.20231114-231322.gz"));
	CHECK(packed_is(&l, "a.log.20231114-231322.gz", "1111\n2222\n"));
	write_line(&l, "4444\n");
	write_line(&l, "5555\n"); /* in the same second, and the name is taken by a packed one */
	CHECK(await_others(&l, "a.log.20200101-000000.gz a.log.20231114-231322.001.gz a.log.20231114-231322.gz"));
	CHECK_STR(slurp(l.path), "5555\n");
	zbz_output_unref(l.o);
	open_log(&l, "packed", "rotate_size=10B keep=2"); /* the first of a second goes before its second, packed or not */
	write_line(&l, "6666666\n");
	CHECK_STR(others(&l), "a.log.20231114-231322.001.gz a.log.20231114-231322.002");
	zbz_output_unref(l.o);
	CHECK(try_open(&l, fake, "compress=lz4", &err) == ZBZ_E_CONFIG);
	CHECK_STR(err.option, "compress");
}

int main(void) {
	if (!rig_begin()) return 1;
	RUN(by_size);
	RUN(by_time);
	RUN(old_ones_go);
	RUN(packed);
	rig_end();
	return DONE();
}
