/* Rings of the dead in which any byte may be wrong: what is whole comes, once and in order, and what is missing is told. */
#include <fcntl.h>

#include "log/journal.h"

#include "dice.h"
#include "who_lines.h"

enum { LINES = 40, FLIPS = 8, TRIALS = 1000 };

static char place[300], ring_path[400];

static bool find_ring(void) {
	DIR *d;
	const struct dirent *e;
	ring_path[0] = '\0';
	snprintf(place, sizeof place, "%.200s", output_dir(rings));
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
	if (exit_code(pid) != 0 || !find_ring() ||
	    zbz_ring_attach(place, strrchr(ring_path, '/') + 1, &ring, NULL) != ZBZ_OK)
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
	RUN_IF(CHILD_THREADS, bytes_flipped);
	dirs_remove();
	return DONE();
}
