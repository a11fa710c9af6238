/* Kills processes that log at full speed, at random, and looks whether every record whose call had returned is in the file: once, whole,
 * and in the order of its process. Recoveries are killed as well.
 *
 *   crash_log [trials] [directory of the log files] [seed]
 *
 * Every other trial has a spool, and a sink that fails, hangs, takes half of a write and comes back, at random too.
 *
 * Each trial: one to four processes on one file; each is killed (SIGKILL, at any instant), crashes (SIGSEGV, abort), leaves by _exit, or closes in order.
 * Ring size, rotation and sync vary. */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <zbz/sink.h>

#include "check.h"
#include "dice.h"

enum { PROCESSES = 4, FILES = 4096, PAD = 180 };

enum { BY_KILL, BY_SEGV, BY_ABORT, BY_EXIT, IN_ORDER, ENDS };

enum { WELL, FAILS, HALF, HANGS, MOODS };

typedef struct tally {
	_Atomic uint32_t mood;
	_Atomic uint64_t returned[PROCESSES]; /* calls that have come back */
	_Atomic uint64_t refused[PROCESSES];
} tally;

static tally *shared;
static char root[200], rings[200], path[400], spool[400];
static zbz_sink_ops flaky; /* the sink `file`, and its moods */
static zbz_status (*file_write)(void *self, zbz_call *c, const zbz_record *records, size_t n, size_t *done);
/* ---- the sink ---- */

static zbz_status flaky_write(void *self, zbz_call *c, const zbz_record *records, size_t n, size_t *done) {
	zbz_status status;
	while (atomic_load(&shared->mood) == HANGS) nap(200);
	*done = 0;
	if (atomic_load(&shared->mood) == FAILS) return zbz_fail(&c->err, ZBZ_E_UNAVAILABLE, "in a bad mood");
	if (atomic_load(&shared->mood) != HALF) return file_write(self, c, records, n, done);
	if (n > 1) {
		status = file_write(self, c, records, n / 2, done);
		if (status != ZBZ_OK) return status;
	}
	return zbz_fail(&c->err, ZBZ_E_UNAVAILABLE, "in half a bad mood");
}

static bool flaky_make(void) {
	const zbz_sink_ops *file;
	if (zbz_sink_find("file", &file, NULL) != ZBZ_OK) return false;
	flaky = *file;
	file_write = file->write;
	flaky.name = "flaky";
	flaky.write = flaky_write;
	return zbz_sink_register(&flaky, NULL) == ZBZ_OK;
}

typedef struct plan {
	const char *type, *ring_size, *rotate_size, *sync, *spool, *spool_size, *batch_size, *batch_wait;
} plan;

static zbz_config *config_of(const plan *p) {
	zbz_config *cfg = zbz_config_new();
	const char *pairs[] = {
		"type",        p->type,           "path",       path,          "ring",       rings,         "sync",
		p->sync,       "ring_size",       p->ring_size, "block_for",   "60s",        "rotate_size", p->rotate_size,
		"spool",       p->spool,          "spool_size", p->spool_size, "batch_size", p->batch_size, "batch_wait",
		p->batch_wait, "max_retry_delay", "5ms"
	};
	for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i += 2)
		if (pairs[i + 1] != NULL && zbz_config_set_text(cfg, pairs[i], zbz_bstr(pairs[i + 1]), NULL) != ZBZ_OK) abort();
	return cfg;
}

/* ---- the one that dies ---- */

static size_t pad_of(uint64_t seq) { return (size_t)(seq * 7919 % PAD); }

static void die(int how, zbz_output *o) {
	switch (how) {
	case BY_SEGV:
		signal(SIGSEGV, SIG_DFL);
		raise(SIGSEGV);
		break;
	case BY_ABORT: abort();
	case BY_EXIT: _exit(0);
	case IN_ORDER: zbz_output_unref(o); _exit(0);
	default: break;
	}
}

static void log_on(int me, const plan *p, int how, uint64_t most) {
	zbz_config *cfg = config_of(p);
	zbz_record_head head = { .at = 1, .level = ZBZ_LEVEL_INFO, .logger = zbz_bstr("crash") };
	zbz_output *o;
	zbz_err err;
	uint64_t seq;
	if (zbz_output_open(cfg, zbz_clock_system(), &o, &err) != ZBZ_OK) {
		fprintf(stderr, "open: %s\n", err.text);
		_exit(9);
	}
	for (seq = 1; how == BY_KILL || seq <= most; seq++) {
		char *to = zbz_output_reserve(o, &head, PAD + 64);
		int n;
		if (to == NULL) {
			atomic_fetch_add(&shared->refused[me], 1);
			break;
		}
		n = snprintf(to, 64, "%d %llu ", me, (unsigned long long)seq);
		memset(to + n, 'x', pad_of(seq));
		memcpy(to + n + pad_of(seq), ".\n", 2);
		zbz_output_commit(o, (size_t)n + pad_of(seq) + 2);
		atomic_store(&shared->returned[me], seq);
	}
	die(how, o);
	for (;;) pause();
}

/* ---- the file ---- */

typedef struct reader {
	uint64_t last[PROCESSES], lines, bad;
	bool tell; /* a torn tail is to be expected before the recovery */
} reader;

static void read_line(reader *r, const char *line, size_t n) {
	char expect[PAD + 64];
	unsigned who;
	unsigned long long seq;
	int at;
	r->lines++;
	if (n < sizeof expect && sscanf(line, "%u %llu", &who, &seq) == 2 && who < PROCESSES) {
		at = snprintf(expect, sizeof expect, "%u %llu ", who, seq);
		memset(expect + at, 'x', pad_of(seq));
		expect[at + (int)pad_of(seq)] = '.';
		if (n == (size_t)at + pad_of(seq) + 1 && memcmp(expect, line, n) == 0 && seq == r->last[who] + 1) {
			r->last[who] = seq;
			return;
		}
	}
	if (r->bad++ < 3 && r->tell)
		fprintf(stderr, "line %llu is wrong (process %u had %llu before): %.60s\n", (unsigned long long)r->lines, who,
		        who < PROCESSES ? (unsigned long long)r->last[who] : 0, line);
}

static void read_file(reader *r, const char *name) {
	FILE *f = fopen(name, "r");
	char *line = NULL;
	size_t room = 0;
	ssize_t n;
	if (f == NULL) return;
	while ((n = getline(&line, &room, f)) > 0) read_line(r, line, (size_t)n - (line[n - 1] == '\n'));
	free(line);
	fclose(f);
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* The former files in the order of their names, then the present one. */
static void read_all(reader *r) {
	static char *names[FILES];
	char whole[800];
	size_t n = 0;
	DIR *d = opendir(root);
	const struct dirent *e;
	while (d != NULL && (e = readdir(d)) != NULL && n < FILES)
		if (strncmp(e->d_name, "app.log.", 8) == 0) names[n++] = strdup(e->d_name);
	if (d != NULL) closedir(d);
	qsort(names, n, sizeof *names, by_name);
	for (size_t i = 0; i < n; i++) {
		snprintf(whole, sizeof whole, "%s/%s", root, names[i]);
		read_file(r, whole);
		free(names[i]);
	}
	read_file(r, path);
}

static void remove_all(void) {
	char whole[800];
	DIR *d = opendir(root);
	const struct dirent *e;
	while (d != NULL && (e = readdir(d)) != NULL)
		if (strncmp(e->d_name, "app.log", 7) == 0 &&
		    snprintf(whole, sizeof whole, "%s/%s", root, e->d_name) < (int)sizeof whole)
			unlink(whole);
	if (d != NULL) closedir(d);
}

/* ---- a trial ---- */

static zbz_status recover(const plan *p, uint64_t *n) {
	zbz_config *cfg = config_of(p);
	zbz_call c = { .clock = zbz_clock_system() };
	zbz_status status;
	c.now = zbz_wall(c.clock);
	c.deadline = zbz_mono(c.clock) + 60000;
	status = zbz_output_recover(cfg, &c, n);
	if (status != ZBZ_OK) fprintf(stderr, "recover: %s\n", c.err.text);
	zbz_config_free(cfg);
	return status;
}

/* A recovery that is killed in the middle, or comes to its end first. */
static void recover_and_die(const plan *p) {
	uint64_t n;
	pid_t pid = fork();
	if (pid == 0) {
		recover(p, &n);
		_exit(0);
	}
	nap((int64_t)roll(4000));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static bool all_gone(const char *from) {
	char dir[500];
	DIR *d;
	const struct dirent *e;
	bool empty = true;
	snprintf(dir, sizeof dir, "%s/zbz-log-%lu", from, (unsigned long)geteuid());
	d = opendir(dir);
	while (d != NULL && (e = readdir(d)) != NULL)
		if (e->d_name[0] != '.') empty = false;
	if (d != NULL) closedir(d);
	return empty;
}

static plan make_plan(void) {
	static const char *const sizes[] = { "64KB", "1MB", "4MB" }, *const spools[] = { "1MB", "8MB", "1GB" };
	static const char *const batches[] = { "1KB", "256KB", "2MB" }, *const waits[] = { "0s", "2ms", "10s" };
	plan p = { .type = "file", .ring_size = sizes[roll(3)], .rotate_size = roll(2) == 0 ? "3MB" : NULL };
	p.sync = roll(4) == 0 ? "group" : "none";
	p.batch_size = batches[roll(3)];
	p.batch_wait = waits[roll(3)];
	if (roll(2) == 0) return p;
	p.type = "flaky";
	p.spool = spool;
	p.spool_size = spools[roll(3)];
	return p;
}

/* Kills come between changes of mood; those who end by themselves are waited for in a good one. */
static void moods_and_kills(const int *how, const pid_t *pid, int n, bool moody) {
	for (int i = 0; i < n; i++) {
		int64_t left = 10000 + (int64_t)roll(70000);
		if (how[i] != BY_KILL) continue;
		while (left > 0) {
			int64_t us = moody ? 500 + (int64_t)roll(15000) : left;
			if (moody) atomic_store(&shared->mood, (uint32_t)roll(MOODS));
			nap(us < left ? us : left);
			left -= us;
		}
		kill(pid[i], SIGKILL);
	}
	for (int i = 0; moody && i < 10; i++) {
		atomic_store(&shared->mood, (uint32_t)roll(MOODS));
		nap((int64_t)roll(4000));
	}
	atomic_store(&shared->mood, WELL);
	for (int i = 0; i < n; i++) waitpid(pid[i], NULL, 0);
}

static void trial(int number, uint64_t *lines, uint64_t *recovered, uint64_t *missing, uint64_t *spools) {
	plan p = make_plan();
	int n = 1 + (int)roll(PROCESSES), how[PROCESSES];
	pid_t pid[PROCESSES];
	reader before = { .lines = 0 }, after = { .tell = true };
	uint64_t found = 0, returned = 0;
	memset(shared, 0, sizeof *shared);
	for (int i = 0; i < n; i++) {
		uint64_t most = 1 + roll(60000);
		how[i] = roll(2) == 0 ? BY_KILL : 1 + (int)roll(ENDS - 1);
		pid[i] = fork();
		if (pid[i] == 0) log_on(i, &p, how[i], most);
	}
	moods_and_kills(how, pid, n, p.spool != NULL);
	*spools += !all_gone(spool);
	read_all(&before);
	for (uint64_t i = roll(3); i > 0; i--) {
		if (p.spool != NULL) atomic_store(&shared->mood, (uint32_t)roll(HANGS));
		recover_and_die(&p);
	}
	atomic_store(&shared->mood, WELL);
	CHECK(recover(&p, &found) == ZBZ_OK);
	read_all(&after);
	CHECK(after.bad == 0);
	for (int i = 0; i < n; i++) {
		uint64_t r = atomic_load(&shared->returned[i]);
		returned += r;
		CHECK(atomic_load(&shared->refused[i]) == 0);
		CHECK(after.last[i] >= r);     /* none lost */
		CHECK(after.last[i] <= r + 1); /* the last call may have been in the middle */
	}
	CHECK(all_gone(rings) && all_gone(spool));
	if (check_failed > 0)
		fprintf(stderr,
		        "trial %d: %d processes, ring %s, rotate %s, sync %s, batch %s %s, spool %s, returned %llu, in the "
		        "file %llu\n",
		        number, n, p.ring_size, p.rotate_size != NULL ? p.rotate_size : "no", p.sync, p.batch_size,
		        p.batch_wait, p.spool != NULL ? p.spool_size : "no", (unsigned long long)returned,
		        (unsigned long long)after.lines);
	if (check_failed == 0) remove_all();
	*lines += after.lines;
	*recovered += after.lines - (before.lines - before.bad);
	if (after.lines - before.lines > *missing && before.bad <= 1) *missing = after.lines - before.lines;
}

int main(int argc, char **argv) {
	int trials = argc > 1 ? atoi(argv[1]) : 12;
	const char *where = argc > 2 ? argv[2] : "/dev/shm";
	uint64_t lines = 0, recovered = 0, missing = 0, spools = 0;
	const struct rlimit none = { 0, 0 };
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	dice ^= argc > 3 ? strtoull(argv[3], NULL, 10) : (uint64_t)now.tv_nsec;
	printf("seed %llu\n", argc > 3 ? strtoull(argv[3], NULL, 10) : (unsigned long long)now.tv_nsec);
	setrlimit(RLIMIT_CORE, &none);
	snprintf(root, sizeof root, "%s/zbz-crash-XXXXXX", where);
	snprintf(rings, sizeof rings, "/dev/shm/zbz-crash-XXXXXX");
	if (mkdtemp(root) == NULL || mkdtemp(rings) == NULL) return 1;
	snprintf(path, sizeof path, "%s/app.log", root);
	snprintf(spool, sizeof spool, "%s/spool", root);
	if (mkdir(spool, 0700) != 0 || !flaky_make()) return 1;
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (int i = 0; i < 20; i++) roll(2);
	check_name = "crash";
	for (int i = 0; i < trials && check_failed == 0; i++) trial(i, &lines, &recovered, &missing, &spools);
	printf("%d trials, %llu records, %llu of them recovered, at most %llu in one trial; %llu spools were left behind\n",
	       trials, (unsigned long long)lines, (unsigned long long)recovered, (unsigned long long)missing,
	       (unsigned long long)spools);
	if (check_failed == 0) {
		char own[500];
		snprintf(own, sizeof own, "%s/zbz-log-%lu", rings, (unsigned long)geteuid());
		rmdir(own);
		rmdir(rings);
		snprintf(own, sizeof own, "%s/zbz-log-%lu", spool, (unsigned long)geteuid());
		rmdir(own);
		rmdir(spool);
		rmdir(root);
	}
	return DONE();
}
