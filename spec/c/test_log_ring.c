/* Rings as files: what is read from one is believed only after a look, and what cannot be read is kept aside and counted. */
#include <errno.h>
#include <fcntl.h>

#include "log/ring.h"
#include "log_help.h"

static char dir[200]; /* where the rings of `told` with the name "ring" are */

/* A process that writes into its ring while the sink holds its first record, then dies. */
static void leave(int records) {
	pid_t pid = fork();
	if (pid == 0) {
		zbz_output *o;
		char line[40];
		told_reset();
		told_hold(true);
		if (log_open("type=told name=ring ring_size=64KB", &o, NULL) != ZBZ_OK) _exit(1);
		say(o, "first\n");
		told_await_held();
		for (int i = 0; i < records; i++) {
			snprintf(line, sizeof line, "line %d\n", i);
			say(o, line);
		}
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	told_reset();
}

/* The one directory below the rings', and the ring in it. */
static void find(char ring[300]) {
	char user[120];
	DIR *d;
	const struct dirent *e;
	ring[0] = '\0';
	snprintf(user, sizeof user, "%s/zbz-log-%lu", rings, (unsigned long)geteuid());
	d = opendir(user);
	while (d != NULL && (e = readdir(d)) != NULL)
		if (e->d_name[0] != '.') snprintf(dir, sizeof dir, "%.110s/%.64s", user, e->d_name);
	if (d != NULL) closedir(d);
	d = opendir(dir);
	while (d != NULL && (e = readdir(d)) != NULL)
		if (zbz_ring_name_ok(e->d_name)) snprintf(ring, 300, "%s/%.48s", dir, e->d_name);
	if (d != NULL) closedir(d);
	CHECK(ring[0] != '\0');
}

static void scribble(const char *path, off_t at, const void *bytes, size_t n) {
	int fd = open(path, O_RDWR | O_CLOEXEC);
	CHECK(fd >= 0 && pwrite(fd, bytes, n, at) == (ssize_t)n);
	close(fd);
}

static zbz_output_stats recover(zbz_status expect) {
	zbz_output *o = NULL;
	zbz_output_stats s = { 0 };
	CHECK(log_open("type=told name=ring ring_size=64KB", &o, NULL) == expect);
	if (o == NULL) return s;
	say(o, "new\n");
	CHECK(flush(o, 5000) == ZBZ_OK);
	s = numbers(o);
	zbz_output_unref(o);
	return s;
}

static bool there(const char *prefix) {
	DIR *d = opendir(dir);
	const struct dirent *e;
	bool found = false;
	while (d != NULL && (e = readdir(d)) != NULL) found = found || strncmp(e->d_name, prefix, strlen(prefix)) == 0;
	if (d != NULL) closedir(d);
	return found;
}

static void clean(void) {
	char cmd[300];
	snprintf(cmd, sizeof cmd, "rm -rf '%s'", dir);
	CHECK(system(cmd) == 0);
}

static long page(void) { return sysconf(_SC_PAGESIZE); }

static void sound(void) {
	char ring[300];
	zbz_output_stats s;
	leave(3);
	find(ring);
	s = recover(ZBZ_OK);
	CHECK(told_is("first\nline 0\nline 1\nline 2\nnew\n"));
	CHECK(s.recovered == 4 && s.damaged == 0 && s.set_aside == 0 && !there("ring"));
}

/* A wild store into a record: the others are read all the same. */
static void one_record_damaged(void) {
	char ring[300];
	zbz_output_stats s;
	zbz_ring_record r;
	int fd;
	off_t at = page();
	leave(3);
	find(ring);
	fd = open(ring, O_RDONLY | O_CLOEXEC);
	CHECK(pread(fd, &r, sizeof r, at) == (ssize_t)sizeof r); /* "first", the journal has it */
	at += (off_t)r.size;
	CHECK(pread(fd, &r, sizeof r, at) == (ssize_t)sizeof r); /* "line 0" */
	at += (off_t)r.size;
	close(fd);
	scribble(ring, at + (off_t)sizeof r + 4, "XX", 2); /* in "line 1" */
	s = recover(ZBZ_OK);
	CHECK(told_is("first\nline 0\nline 2\nnew\n"));
	CHECK(s.recovered == 3 && s.damaged == 1);
}

static void lengths_damaged(void) {
	char ring[300];
	zbz_output_stats s;
	zbz_ring_record r;
	int fd;
	leave(3);
	find(ring);
	fd = open(ring, O_RDONLY | O_CLOEXEC);
	CHECK(pread(fd, &r, sizeof r, page()) == (ssize_t)sizeof r);
	close(fd);
	scribble(ring, page() + (off_t)r.size + (off_t)offsetof(zbz_ring_record, size), "\xff\xff\xff\x7f", 4);
	s = recover(ZBZ_OK);
	CHECK(told_is("first\nline 1\nline 2\nnew\n"));
	CHECK(s.damaged == 1);
}

static void all_damaged(void) {
	char ring[300], rubbish[4096];
	zbz_output_stats s;
	leave(30);
	find(ring);
	for (size_t i = 0; i < sizeof rubbish; i++) rubbish[i] = (char)(i * 37 + (i >> 3));
	scribble(ring, page(), rubbish, sizeof rubbish);
	s = recover(ZBZ_OK);
	CHECK(told_is("first\nnew\n"));
	CHECK(s.damaged == 1 && s.recovered == 1);
}

static void set_aside(off_t at, const void *bytes, size_t n) {
	char ring[300];
	zbz_output_stats s;
	leave(2);
	find(ring);
	scribble(ring, at, bytes, n);
	s = recover(ZBZ_OK);
	CHECK(told_is("first\nnew\n")); /* the journal's batch does not need the ring */
	CHECK(s.set_aside == 1 && there("aside.ring.") && !there("ring."));
	clean();
}

static void another_layout(void) {
	uint32_t layout = ZBZ_RING_LAYOUT + 1;
	set_aside(offsetof(zbz_ring_head, layout), &layout, sizeof layout);
}
static void no_ring(void) { set_aside(0, "rubbish!", 8); }
static void wrong_size(void) {
	uint64_t size = UINT64_C(1) << 60;
	set_aside(offsetof(zbz_ring_head, size), &size, sizeof size);
}
static void wild_positions(void) {
	uint64_t head = UINT64_C(0x123456789abcdef);
	set_aside(offsetof(zbz_ring_head, head), &head, sizeof head);
}

static void shorter_than_it_says(void) {
	char ring[300];
	leave(2);
	find(ring);
	CHECK(truncate(ring, page() + 100) == 0);
	CHECK(recover(ZBZ_OK).set_aside == 1);
	CHECK(told_is("first\nnew\n"));
	clean();
}

/* The journal's batch is damaged: it is dropped and counted, the ring's records come. */
static void batch_damaged(void) {
	char ring[300], journal[300];
	zbz_output_stats s;
	struct stat st;
	char zeros[64] = { 0 };
	leave(2);
	find(ring);
	snprintf(journal, sizeof journal, "%s/journal", dir);
	CHECK(stat(journal, &st) == 0);
	memset(zeros, 0x5a, sizeof zeros);
	for (off_t at = 256; at < 512; at += 64) scribble(journal, at, zeros, sizeof zeros);
	s = recover(ZBZ_OK);
	CHECK(told_is("line 0\nline 1\nnew\n"));
	CHECK(s.damaged == 1);
}

static void journal_of_another_layout(void) {
	char ring[300], journal[300];
	uint32_t layout = 77;
	leave(2);
	find(ring);
	snprintf(journal, sizeof journal, "%s/journal", dir);
	scribble(journal, 8, &layout, sizeof layout);
	recover(ZBZ_OK);
	CHECK(told_is("line 0\nline 1\nnew\n"));
	CHECK(there("journal.aside"));
	clean();
}

/* A wild store into the positions of a ring in use: the next record puts them right, and what came before it is written. */
static void positions_of_the_living(void) {
	char ring[300];
	zbz_output *o;
	uint64_t head;
	int fd;
	CHECK(log_open("type=told name=ring ring_size=64KB", &o, NULL) == ZBZ_OK);
	told_reset();
	say(o, "before\n");
	CHECK(flush(o, 5000) == ZBZ_OK);
	find(ring);
	fd = open(ring, O_RDONLY | O_CLOEXEC);
	CHECK(pread(fd, &head, sizeof head, offsetof(zbz_ring_head, head)) == (ssize_t)sizeof head);
	close(fd);
	head += 3;
	scribble(ring, offsetof(zbz_ring_head, head), &head, sizeof head);
	while (numbers(o).damaged == 0) flush(o, 5000);
	say(o, "after\n");
	CHECK(flush(o, 5000) == ZBZ_OK && told_is("before\nafter\n"));
	zbz_output_unref(o);
}

/* ---- the ring by itself ---- */

static void a_file_and_its_owner(void) {
	zbz_ring own, other;
	zbz_err err;
	uint64_t tail, head;
	CHECK(zbz_ring_create(work, 100000, &own, &err) == ZBZ_OK);
	CHECK(own.size == 131072 && zbz_ring_name_ok(own.name));
	CHECK(zbz_ring_attach(work, own.name, &other, &err) == ZBZ_OK);
	CHECK(other.id == own.id && other.size == own.size && !zbz_ring_dead(work, &other));
	own.data[own.size - 1] = 'a'; /* what is written at the end goes on at the start */
	own.data[own.size] = 'b';
	CHECK(other.data[0] == 'b' && other.data[other.size - 1] == 'a');
	CHECK(zbz_ring_span(&other, &tail, &head) && tail == 0 && head == 0);
	zbz_ring_warm(&other);
	atomic_store(&own.h->closed, 1);
	zbz_ring_unmap(&own);
	CHECK(zbz_ring_dead(work, &other));
	zbz_ring_unmap(&other);
	CHECK(zbz_ring_attach(work, "ring.0", &other, &err) == ZBZ_MISS);
}

static void names(void) {
	CHECK(zbz_ring_name_ok("ring.12ab"));
	CHECK(!zbz_ring_name_ok("ring.12ab/../../x") && !zbz_ring_name_ok("new.12") && !zbz_ring_name_ok("aside.ring.1"));
	CHECK(!zbz_ring_name_ok("ring.0123456789abcdef0123456789abcdef0123456789abcdef"));
}

/* Whatever bit of a record is turned over, it is seen. */
static void every_bit(void) {
	zbz_ring ring;
	zbz_ring_record *r;
	size_t n;
	int missed = 0;
	CHECK(zbz_ring_create(NULL, 65536, &ring, NULL) == ZBZ_OK);
	r = (zbz_ring_record *)(void *)ring.data;
	*r = (zbz_ring_record){ .text_n = 45, .labels_n = 5, .logger_n = 3, .level = 3, .at = 99 };
	memcpy(zbz_ring_body(r), "appLABEL the text of this record is 45 bytes long....\n", 53);
	r->size = (uint32_t)zbz_ring_used(53);
	r->check = zbz_ring_check(0, r);
	n = sizeof *r + 53;
	CHECK(zbz_ring_at(&ring, 0, r->size) == r);
	CHECK(zbz_ring_at(&ring, 0, r->size - 8) == NULL); /* beyond the end */
	for (size_t bit = 0; bit < n * 8; bit++) {
		ring.data[bit / 8] ^= (char)(1 << bit % 8);
		missed += zbz_ring_at(&ring, 0, 4096) != NULL;
		ring.data[bit / 8] ^= (char)(1 << bit % 8);
	}
	CHECK(missed == 0);
	memcpy(ring.data + 4096, ring.data, n); /* a good record in the wrong place is none */
	CHECK(zbz_ring_at(&ring, 4096, 8192) == NULL);
	zbz_ring_unmap(&ring);
}

int main(void) {
	if (!dirs_make() || zbz_sink_register(&told_sink, NULL) != ZBZ_OK) return 1;
	RUN(a_file_and_its_owner);
	RUN(names);
	RUN(every_bit);
	RUN(positions_of_the_living);
	RUN_IF(CHILD_THREADS, sound);
	RUN_IF(CHILD_THREADS, one_record_damaged);
	RUN_IF(CHILD_THREADS, lengths_damaged);
	RUN_IF(CHILD_THREADS, all_damaged);
	RUN_IF(CHILD_THREADS, another_layout);
	RUN_IF(CHILD_THREADS, no_ring);
	RUN_IF(CHILD_THREADS, wrong_size);
	RUN_IF(CHILD_THREADS, wild_positions);
	RUN_IF(CHILD_THREADS, shorter_than_it_says);
	RUN_IF(CHILD_THREADS, batch_damaged);
	RUN_IF(CHILD_THREADS, journal_of_another_layout);
	dirs_remove();
	return DONE();
}
