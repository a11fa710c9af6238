/* Spools that somebody or something has damaged: what is whole comes, and what is not is counted. */
#include "spool_rig.h"

#include <fcntl.h>

static zbz_output_stats drained(const char *name) {
	zbz_output *o = spooling(name, "");
	zbz_output_stats s;
	CHECK(flush(o, 1000) == ZBZ_OK);
	say(o, "end\n");
	CHECK(flush(o, 10000) == ZBZ_OK);
	s = numbers(o);
	zbz_output_unref(o);
	return s;
}

static void scribble(const char *path, off_t at, const void *bytes, size_t n) {
	int fd = open(path, O_WRONLY);
	CHECK(fd >= 0 && pwrite(fd, bytes, n, at) == (ssize_t)n);
	if (fd >= 0) close(fd);
}

static void a_damaged_record(void) {
	zbz_output_stats s;
	leave_spool("damaged", 100);
	scribble(file_in("seg."), 1000, "oops", 4);
	s = drained("damaged");
	CHECK(s.damaged == 1 && lines() == 100); /* one gone, "end" came */
	CHECK(memcmp(told.text + 98 * 200 + 200, "end\n", 4) == 0 || memcmp(told.text + 99 * 200, "end\n", 4) == 0);
	CHECK(no_spool());
}

/* The head of the first chunk: all of it is skipped, the next one is found. */
static void a_damaged_chunk(void) {
	zbz_output_stats s;
	char zeros[16] = { 0 };
	leave_spool("chunk", 2000);
	scribble(file_in("seg."), 40, zeros, sizeof zeros);
	s = drained("chunk");
	CHECK(s.damaged >= 1 && s.written < 2000 && s.written > 1000);
	CHECK(told.n > 4 && memcmp(told.text + told.n - 4, "end\n", 4) == 0);
	CHECK(memcmp(told.text + told.n - 204, numbered(1999), 200) == 0);
	CHECK(no_spool());
}

/* What a death in the middle of a write leaves: it was in the ring still, so nothing is missed, and nothing counts as damage. */
static void a_torn_tail(void) {
	char path[800];
	zbz_output_stats s;
	off_t whole;
	leave_spool("torn", 100);
	snprintf(path, sizeof path, "%s", file_in("seg."));
	whole = size_of(path);
	CHECK(truncate(path, whole - 100) == 0);
	s = drained("torn");
	CHECK(s.damaged == 0 && lines() < 100); /* its only chunk, or its last */
	CHECK(no_spool());
}

static void garbage_behind_the_end(void) {
	char path[800];
	zbz_output_stats s;
	leave_spool("garbage", 100);
	snprintf(path, sizeof path, "%s", file_in("seg."));
	scribble(path, size_of(path), "this is not a chunk, and it is longer than the head of one would be", 67);
	s = drained("garbage");
	CHECK(s.damaged == 0 && lines() == 101);
	CHECK(no_spool());
}

static void another_version(void) {
	uint32_t layout = 77;
	zbz_output_stats s;
	char cmd[500];
	leave_spool("version", 100);
	scribble(file_in("seg."), 8, &layout, sizeof layout);
	s = drained("version");
	CHECK(s.set_aside == 1 && lines() == 2); /* the one on its way, and "end" */
	CHECK(strstr(file_in("aside.seg."), "aside.seg.") != NULL);
	snprintf(cmd, sizeof cmd, "rm -rf '%s'", own_dir());
	CHECK(system(cmd) == 0);
}

/* Without its cursor it is read from the start: twice rather than not at all. */
static void no_cursor(void) {
	leave_spool("cursor", 100);
	CHECK(unlink(file_in("cursor")) == 0);
	drained("cursor");
	CHECK(lines() == 101 && memcmp(told.text, numbered(0), 200) == 0);
	CHECK(no_spool());
}

/* Somebody removes the whole directory under a process that uses it: what was in it is gone, what follows is not. */
static void removed_while_in_use(void) {
	zbz_output *o = spooling("removed", "block_for=60s");
	char cmd[500];
	spool_down(o, 1000, 500);
	snprintf(cmd, sizeof cmd, "rm -rf '%s'", own_dir());
	CHECK(system(cmd) == 0);
	say_all(o, 1000, 2000);
	AWAIT(file_in("seg.")[0] != '\0');
	told_set(&told.fail, 0);
	CHECK(flush(o, 10000) == ZBZ_OK);
	CHECK(memcmp(told.text + told.n - 200, numbered(1999), 200) == 0);
	zbz_output_unref(o);
	CHECK(no_spool());
}

int main(void) {
	if (!spool_rig_begin()) return 1;
	RUN(removed_while_in_use);
	RUN_IF(CHILD_THREADS, a_damaged_record);
	RUN_IF(CHILD_THREADS, a_damaged_chunk);
	RUN_IF(CHILD_THREADS, a_torn_tail);
	RUN_IF(CHILD_THREADS, garbage_behind_the_end);
	RUN_IF(CHILD_THREADS, another_version);
	RUN_IF(CHILD_THREADS, no_cursor);
	dirs_remove();
	return DONE();
}
