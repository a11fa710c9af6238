/* What a log meets in the world: a disk that is really full, a pipe nobody reads, forks that end in _exit, two processes that rotate one file,
 * and rings in which any byte may be wrong. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>

#include "log/journal.h"
#include "dice.h"
#include "log_help.h"

static zbz_output *open_file(const char *path, const char *more) {
	char options[500];
	zbz_output *o = NULL;
	zbz_err err = { .text = "" };
	snprintf(options, sizeof options, "type=file path=%s max_retry_delay=20ms %s", path, more);
	if (log_open(options, &o, &err) == ZBZ_OK) return o;
	fprintf(stderr, "%s: %s\n", err.option, err.text);
	exit(1);
}

static char text[16 << 20];

static size_t read_all(const char *path, size_t at) {
	FILE *f = fopen(path, "r");
	size_t n = f != NULL ? fread(text + at, 1, sizeof text - 1 - at, f) : 0;
	if (f != NULL) fclose(f);
	text[at + n] = '\0';
	return at + n;
}

/* "WHO NUMBER pad": of each of `writers` the numbers 0 .. n-1, each once, whole, in order; -1 or how many lines. */
static long lines_of(unsigned writers, unsigned n) {
	unsigned next[8] = { 0 }, who, number;
	long lines = 0;
	char *rest = text, *line;
	while ((line = strtok_r(rest, "\n", &rest)) != NULL) {
		int end = 0;
		if (sscanf(line, "%u %u %n", &who, &number, &end) != 2 || who >= writers || number != next[who]) return -1;
		if (strlen(line + end) != 60 || strspn(line + end, "p") != 60) return -1;
		next[who]++;
		lines++;
	}
	for (who = 0; who < writers; who++)
		if (next[who] != n) return -1;
	return lines;
}

static bool say_number(zbz_output *o, unsigned who, unsigned number) {
	char line[100];
	snprintf(line, sizeof line, "%u %u pppppppppppppppppppppppppppppppppppppppppppppppppppppppppppp\n", who, number);
	return say(o, line);
}

/* ---- a full disk ---- */

static bool small_disk(char dir[100]) {
	snprintf(dir, 100, "%s/disk", work);
	return mkdir(dir, 0755) == 0 && mount("none", dir, "tmpfs", 0, "size=256k") == 0;
}

/* Records, and how many are missing as the records among them say that tell of losses. */
static void count_losses(uint64_t *lines, uint64_t *losses) {
	char *rest = text, *line;
	*lines = *losses = 0;
	while ((line = strtok_r(rest, "\n", &rest)) != NULL) {
		unsigned long lost;
		if (sscanf(line, "zbz: %lu records dropped", &lost) == 1)
			*losses += lost;
		else
			++*lines;
	}
}

/* Nothing is lost while the ring holds; what it does not hold is counted; the error is told; it goes on by itself. */
static void disk_full(void) {
	char dir[100], path[140];
	zbz_output *o, *other;
	unsigned n = 0;
	uint64_t lines, told_of;
	struct stat st;
	if (!small_disk(dir)) {
		printf("SKIP disk_full: no file system can be mounted: %s\n", strerror(errno));
		return;
	}
	snprintf(path, sizeof path, "%s/beside.log", work);
	other = open_file(path, "");
	snprintf(path, sizeof path, "%s/a.log", dir);
	o = open_file(path, "ring_size=1MB block_for=1ms");
	for (; n < 8000; n++) CHECK(say_number(o, 0, n) && say_number(other, 0, n)); /* 550 KB */
	CHECK(flush(o, 100) == ZBZ_E_TIMEOUT);
	CHECK(flush(other, 5000) == ZBZ_OK);
	CHECK(numbers(o).failures > 0 && strstr(numbers(o).last_error, "No space left") != NULL &&
	      strstr(numbers(o).last_error, path) != NULL);
	CHECK(numbers(o).lag > 0 && numbers(o).retries > 0 && numbers(o).dropped_full == 0);
	CHECK(stat(path, &st) == 0 && st.st_size <= 256 << 10);
	CHECK(mount("none", dir, "tmpfs", MS_REMOUNT, "size=4m") == 0);
	CHECK(flush(o, 5000) == ZBZ_OK);
	read_all(path, 0);
	CHECK(lines_of(1, n) == n);
	CHECK(numbers(o).failures == 0 && numbers(o).lag == 0 && numbers(o).written == n);
	/* more than the ring: what was dropped is what is missing, and a record tells of it */
	CHECK(truncate(path, 0) == 0 && mount("none", dir, "tmpfs", MS_REMOUNT, "size=64k") == 0);
	zbz_output_never_wait(o, true);
	for (unsigned i = 0; i < 40000; i++) say_number(o, 0, i);
	CHECK(numbers(o).dropped_full > 0);
	CHECK(mount("none", dir, "tmpfs", MS_REMOUNT, "size=8m") == 0);
	CHECK(flush(o, 5000) == ZBZ_OK);
	read_all(path, 0);
	count_losses(&lines, &told_of);
	CHECK(lines + numbers(o).dropped_full == 40000 && told_of == numbers(o).dropped_full);
	zbz_output_unref(o);
	zbz_output_unref(other);
	CHECK(umount(dir) == 0);
}

/* ---- a pipe ---- */

static void drain(int fd, size_t want) {
	size_t n = 0;
	while (n < want) {
		ssize_t got = read(fd, text + n, sizeof text - 1 - n);
		if (got <= 0 && errno != EAGAIN && errno != EINTR) break;
		if (got > 0) n += (size_t)got;
	}
	text[n] = '\0';
}

/* Nobody reads: callers and other outputs go on, records wait; a reader gets all of them, once. */
static void pipe_with(const char *options) {
	char path[140], beside[140];
	zbz_output *o, *other;
	const unsigned n = 10000;
	size_t bytes = 0;
	int64_t began;
	int fd;
	snprintf(path, sizeof path, "%s/pipe", work);
	snprintf(beside, sizeof beside, "%s/beside2.log", work);
	CHECK(mkfifo(path, 0600) == 0);
	o = open_file(path, options);
	other = open_file(beside, "");
	began = zbz_mono(zbz_clock_system());
	for (unsigned i = 0; i < n; i++) CHECK(say_number(o, 0, i) && say_number(other, 0, i));
	CHECK(flush(other, 5000) == ZBZ_OK);
	CHECK(zbz_mono(zbz_clock_system()) - began < 5000);
	bytes = read_all(beside, 0);
	CHECK(lines_of(1, n) == n);
	CHECK(flush(o, 50) == ZBZ_E_TIMEOUT && numbers(o).dropped_full == 0 && numbers(o).failures > 0);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	CHECK(flush(o, 200) == ZBZ_E_TIMEOUT); /* a pipe holds 64 KB, the reader sleeps */
	CHECK(numbers(o).lag > 0);
	drain(fd, bytes);
	CHECK(lines_of(1, n) == n); /* in spite of writes that were cut in the middle of a line */
	CHECK(flush(o, 5000) == ZBZ_OK && access(path, F_OK) == 0);
	zbz_output_unref(o);
	zbz_output_unref(other);
	close(fd);
	CHECK(unlink(path) == 0 && unlink(beside) == 0);
}

static void pipe_unread(void) {
	pipe_with("ring_size=2MB");
	pipe_with("ring_size=2MB rotate_size=4KB"); /* which means nothing to a pipe */
}

/* ---- several processes ---- */

/* A child that leaves by _exit without a flush; its records are the parent's to write. */
static void forked_and_left(void) {
	char path[140];
	zbz_output *o;
	snprintf(path, sizeof path, "%s/left.log", work);
	o = open_file(path, "");
	for (unsigned i = 0; i < 50; i++) CHECK(say_number(o, 0, i));
	for (unsigned child = 1; child <= 3; child++) {
		pid_t pid = fork();
		if (pid == 0) {
			bool ok = true;
			for (unsigned i = 0; i < 100; i++) ok = say_number(o, child, i) && ok;
			_exit(ok ? 0 : 1);
		}
		CHECK(say_number(o, 0, 49 + child));
		CHECK(exit_code(pid) == 0);
	}
	for (unsigned i = 53; i < 100; i++) CHECK(say_number(o, 0, i));
	zbz_output_unref(o);
	o = open_file(path, ""); /* looks for what is left */
	CHECK(flush(o, 5000) == ZBZ_OK);
	zbz_output_unref(o);
	read_all(path, 0);
	CHECK(lines_of(4, 100) == 400);
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* All files of the directory into `text`, the former ones first. */
static size_t read_rotated(const char *dir, unsigned *files) {
	static char *names[2000];
	char path[400];
	size_t n = 0, at = 0;
	DIR *d = opendir(dir);
	const struct dirent *e;
	while (d != NULL && (e = readdir(d)) != NULL && n < 2000)
		if (e->d_name[0] != '.' && strcmp(e->d_name, "a.log") != 0) names[n++] = strdup(e->d_name);
	if (d != NULL) closedir(d);
	qsort(names, n, sizeof *names, by_name);
	for (size_t i = 0; i < n; i++) {
		struct stat st;
		snprintf(path, sizeof path, "%s/%s", dir, names[i]);
		CHECK(stat(path, &st) == 0 && st.st_size <= 16 << 10);
		at = read_all(path, at);
		free(names[i]);
	}
	snprintf(path, sizeof path, "%s/a.log", dir);
	*files = (unsigned)n + 1;
	return read_all(path, at);
}

/* One file, rotated by size while two write: no line lost, cut or out of its process's order; no file larger than it may be. */
static void two_rotate(void) {
	char dir[100], path[140];
	const unsigned n = 5000;
	unsigned files = 0;
	pid_t pids[2];
	snprintf(dir, sizeof dir, "%s/two", work);
	snprintf(path, sizeof path, "%s/a.log", dir);
	CHECK(mkdir(dir, 0755) == 0);
	for (unsigned who = 0; who < 2; who++) {
		pids[who] = fork();
		if (pids[who] == 0) {
			zbz_output *o = open_file(path, "rotate_size=16KB block_for=30s");
			bool ok = true;
			for (unsigned i = 0; i < n; i++) ok = say_number(o, who, i) && ok;
			ok = flush(o, 20000) == ZBZ_OK && ok;
			zbz_output_unref(o);
			_exit(ok ? 0 : 1);
		}
	}
	CHECK(exit_code(pids[0]) == 0 && exit_code(pids[1]) == 0);
	read_rotated(dir, &files);
	CHECK(lines_of(2, n) == 2 * n);
	CHECK(files > 40);
}

/* ---- any byte of a ring ---- */

enum { LINES = 40, FLIPS = 8, TRIALS = 1000 };

static char place[300], ring_path[400];

static bool find_ring(void) {
	char user[120];
	DIR *d;
	const struct dirent *e;
	ring_path[0] = '\0';
	snprintf(user, sizeof user, "%s/zbz-log-%lu", rings, (unsigned long)geteuid());
	d = opendir(user);
	while (d != NULL && (e = readdir(d)) != NULL)
		if (e->d_name[0] != '.') snprintf(place, sizeof place, "%.110s/%.64s", user, e->d_name);
	if (d != NULL) closedir(d);
	d = opendir(place);
	while (d != NULL && (e = readdir(d)) != NULL)
		if (zbz_ring_name_ok(e->d_name)) snprintf(ring_path, sizeof ring_path, "%.200s/%.48s", place, e->d_name);
	if (d != NULL) closedir(d);
	return ring_path[0] != '\0';
}

/* A ring of a dead process: "0 NUMBER ppp.." each; where they stand goes to `at`, one more than there are. */
static bool dead_ring(uint64_t at[LINES + 1]) {
	zbz_ring ring;
	uint64_t tail, head;
	bool ok;
	pid_t pid = fork();
	if (pid == 0) {
		zbz_output *o;
		told_reset();
		told_hold(true);
		if (log_open("type=told name=flips ring_size=64KB", &o, NULL) != ZBZ_OK) _exit(1);
		say(o, "first\n");
		told_await_held();
		for (unsigned i = 0; i < LINES; i++) say_number(o, 0, i);
		_exit(0);
	}
	if (exit_code(pid) != 0 || !find_ring() || zbz_ring_attach(place, strrchr(ring_path, '/') + 1, &ring, NULL) != ZBZ_OK)
		return false;
	ok = zbz_ring_span(&ring, &tail, &head);
	for (unsigned i = 0; ok && i < LINES; i++) {
		const zbz_ring_record *r = zbz_ring_at(&ring, tail, head);
		ok = r != NULL;
		at[i] = tail;
		if (ok) tail += r->size;
	}
	at[LINES] = tail;
	ok = ok && tail == head;
	zbz_ring_unmap(&ring);
	return ok;
}

static char saved_ring[80 << 10], saved_journal[sizeof(zbz_journal_page)];
static size_t ring_n, journal_n;

static bool load(const char *path, char *to, size_t room, size_t *n) {
	FILE *f = fopen(path, "r");
	*n = f != NULL ? fread(to, 1, room, f) : 0;
	if (f != NULL) fclose(f);
	return *n > 0 && *n < room + 1;
}
static void store(const char *path, const char *from, size_t n) {
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	CHECK(fd >= 0 && write(fd, from, n) == (ssize_t)n);
	close(fd);
}

static void empty_place(void) {
	char cmd[400];
	snprintf(cmd, sizeof cmd, "rm -rf '%s'", place);
	CHECK(system(cmd) == 0);
}

/* Damages the records, or all of the ring, or the journal as well. true in `hit` for records that were touched; false: more than records. */
static bool flip(int how, const uint64_t at[LINES + 1], bool hit[LINES]) {
	long page = sysconf(_SC_PAGESIZE);
	bool records_only = true;
	int n = 1 + (int)roll(FLIPS);
	memset(hit, 0, LINES * sizeof *hit);
	for (int k = 0; k < n; k++) {
		unsigned char bits = (unsigned char)(1 + roll(255));
		uint64_t pos = how == 0 ? at[0] + roll(at[LINES] - at[0]) : roll(at[LINES] + (uint64_t)page);
		if (how == 2 && roll(2) == 0) {
			saved_journal[roll(k % 2 == 0 && journal_n > 4096 ? 4096 : journal_n)] ^= (char)bits;
			records_only = false;
			continue;
		}
		if (how == 0) pos += (uint64_t)page;
		saved_ring[pos] ^= (char)bits;
		if (pos < (uint64_t)page + at[0]) {
			records_only = false;
			continue;
		}
		for (unsigned i = 0; i < LINES; i++)
			if (pos - (uint64_t)page >= at[i] && pos - (uint64_t)page < at[i + 1]) hit[i] = true;
	}
	return records_only;
}

/* Every line of `told` is one that was written, once and in order; `all`: those that were not hit are there. */
static bool sound(const bool hit[LINES], bool all, unsigned *missing) {
	static char copy[sizeof told.text];
	char *rest = copy, *line;
	long last = -1;
	bool seen[LINES] = { false };
	memcpy(copy, told.text, told.n);
	copy[told.n] = '\0';
	*missing = 0;
	while ((line = strtok_r(rest, "\n", &rest)) != NULL) {
		unsigned who, number;
		char again[100];
		if (strcmp(line, "first") == 0 || strcmp(line, "new") == 0) continue;
		if (sscanf(line, "%u %u ", &who, &number) != 2 || who != 0 || number >= LINES || (long)number <= last)
			return false;
		snprintf(again, sizeof again, "0 %u pppppppppppppppppppppppppppppppppppppppppppppppppppppppppppp", number);
		if (strcmp(line, again) != 0) return false;
		seen[number] = true;
		last = number;
	}
	for (unsigned i = 0; i < LINES; i++) {
		if (all && !hit[i] && !seen[i]) return false;
		*missing += !seen[i];
	}
	return true;
}

static void bytes_flipped(void) {
	static char ring[sizeof saved_ring], journal[sizeof saved_journal];
	char path[400];
	uint64_t at[LINES + 1];
	bool hit[LINES];
	int bad = 0, untold = 0, damaged = 0;
	CHECK(dead_ring(at));
	snprintf(path, sizeof path, "%s/journal", place);
	CHECK(load(ring_path, saved_ring, sizeof saved_ring, &ring_n) &&
	      load(path, saved_journal, sizeof saved_journal, &journal_n));
	memcpy(ring, saved_ring, sizeof ring);
	memcpy(journal, saved_journal, sizeof journal);
	for (int trial = 0; trial < TRIALS; trial++) {
		zbz_output *o = NULL;
		zbz_output_stats s;
		unsigned missing;
		bool only_records;
		empty_place();
		CHECK(mkdir(place, 0700) == 0);
		memcpy(saved_ring, ring, sizeof ring);
		memcpy(saved_journal, journal, sizeof journal);
		only_records = flip(trial % 3, at, hit);
		store(ring_path, saved_ring, ring_n);
		store(path, saved_journal, journal_n);
		told_reset();
		if (log_open("type=told name=flips ring_size=64KB", &o, NULL) != ZBZ_OK || !say(o, "new\n") ||
		    flush(o, 5000) != ZBZ_OK) {
			bad++;
			zbz_output_unref(o);
			continue;
		}
		s = numbers(o);
		zbz_output_unref(o);
		bad += !sound(hit, only_records, &missing);
		untold += missing > 0 && s.damaged + s.set_aside == 0;
		damaged += missing > 0;
	}
	CHECK(bad == 0 && untold == 0);
	CHECK(damaged > TRIALS / 3);
	empty_place();
}

int main(void) {
	if (!dirs_make() || zbz_sink_register(&told_sink, NULL) != ZBZ_OK) return 1;
	RUN(disk_full);
	RUN(pipe_unread);
	if (CHILD_THREADS) {
		RUN(forked_and_left);
		RUN(two_rotate);
		RUN(bytes_flipped);
	}
	dirs_remove();
	return DONE();
}
