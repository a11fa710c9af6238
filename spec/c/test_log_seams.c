/* Where the parts of the log meet: who holds a ring and dies, what is known before anything is written, what an error in the middle leaves. */
#include "spool_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "log/journal.h"

static int64_t cpu_ms(void) {
	struct timespec t;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* This process's own ring, by its pid. */
static bool own_ring(zbz_ring *ring) {
	const char *dir = output_dir(rings);
	DIR *d = opendir(dir);
	const struct dirent *e;
	bool found = false;
	while (d != NULL && !found && (e = readdir(d)) != NULL) {
		if (!zbz_ring_name_ok(e->d_name) || zbz_ring_attach(dir, e->d_name, ring, NULL) != ZBZ_OK) continue;
		found = ring->h->pid == (uint64_t)getpid();
		if (!found) zbz_ring_unmap(ring);
	}
	if (d != NULL) closedir(d);
	return found;
}

/* ---- a ring held by the dead ---- */

/* Dies in drop_oldest, between the two stores, while somebody else writes and knows its ring. */
static void die_holding(int ready, int go) {
	zbz_output *o;
	zbz_ring ring;
	told_reset();
	o = opened("type=told name=held policy=drop_oldest ring_size=64KB");
	say(o, numbered(1));
	if (write(ready, "x", 1) != 1) _exit(1);
	await_byte(go);
	if (!own_ring(&ring)) _exit(2);
	atomic_store(&ring.h->hold, ZBZ_HOLD_OWNER);
	say(o, numbered(2));
	if (write(ready, "x", 1) != 1) _exit(1);
	for (;;) pause();
}

static void an_owner_dies_holding(const char *more) {
	int ready[2], go[2];
	char options[400];
	zbz_output *o;
	pid_t pid;
	int64_t cpu;
	struct timespec second = { 1, 0 };
	snprintf(options, sizeof options, "type=told name=held policy=drop_oldest ring_size=64KB %s", more);
	CHECK(pipe(ready) == 0 && pipe(go) == 0);
	told_reset();
	o = opened(options);
	say(o, numbered(0));
	CHECK(flush(o, 5000) == ZBZ_OK);
	pid = fork();
	if (pid == 0) die_holding(ready[1], go[0]);
	await_byte(ready[0]);
	AWAIT(lines() == 2);
	CHECK(write(go[1], "x", 1) == 1);
	await_byte(ready[0]);
	/* Stopped there, it costs the writer no more than a look now and then. */
	cpu = cpu_ms();
	nanosleep(&second, NULL);
	cpu = cpu_ms() - cpu;
	CHECK(cpu < 300);
	if (cpu >= 300) fprintf(stderr, "%d ms of processor time\n", (int)cpu);
	CHECK(lines() == 2);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	AWAIT(lines() == 3);
	CHECK(numbers(o).recovered == 1);
	zbz_output_unref(o);
	CHECK(no_rings());
	for (int i = 0; i < 2; i++) {
		close(ready[i]);
		close(go[i]);
	}
}

static void held_by_the_dead(void) { an_owner_dies_holding("max_retry_delay=5ms"); }

/* ---- nothing is written before it is known what is in the spool ---- */

static void child_says(const char *options, int i) {
	pid_t pid = fork();
	if (pid == 0) {
		zbz_output *o;
		told_reset();
		o = opened(options);
		_exit(o != NULL && say(o, numbered(i)) ? 0 : 1);
	}
	CHECK(exit_code(pid) == 0);
}

static const char *late_options(void) {
	static char options[400];
	snprintf(options, sizeof options,
	         "type=told name=late ring_size=64KB max_retry_delay=5ms batch_size=4000B spool=%s", spool);
	return options;
}

/* A process is killed that has 1000 records in its ring, on their way, and in its spool. */
static void leave_late_spool(void) {
	pid_t pid;
	told_reset();
	pid = fork();
	if (pid == 0) {
		zbz_output *o;
		told_set(&told.fail, 1000000);
		o = opened(late_options());
		for (int i = 0; i < 1000; i++) say(o, numbered(i));
		while (numbers(o).spooled < 500) sched_yield();
		kill(getpid(), SIGKILL);
	}
	waitpid(pid, NULL, 0);
}

/* Records in a spool that cannot be opened for now, and another process that comes meanwhile: theirs still come first. */
static void a_spool_that_opens_late(void) {
	char cursor[620], aside[620];
	zbz_output *o;
	leave_late_spool();
	CHECK(!no_spool());
	snprintf(cursor, sizeof cursor, "%s/cursor", own_dir());
	snprintf(aside, sizeof aside, "%s/cursor.aside", own_dir());
	CHECK(rename(cursor, aside) == 0 && mkdir(cursor, 0700) == 0);
	o = opened(late_options());
	say(o, numbered(2000));
	AWAIT(numbers(o).writer && numbers(o).spool_error[0] != '\0');
	child_says(late_options(), 2001);
	AWAIT(numbers(o).spool_error[0] != '\0');
	for (int i = 0; i < 300; i++) nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
	CHECK(lines() == 0);
	CHECK(rmdir(cursor) == 0 && rename(aside, cursor) == 0);
	AWAIT(lines() >= 1002);
	CHECK(lines() == 1002);
	CHECK(numbers(o).damaged == 0);
	CHECK(memcmp(told.text, numbered(0), 200) == 0);
	zbz_output_unref(o);
	CHECK(no_rings());
}

/* ---- a disk that fails in the middle of a chunk ---- */

static _Atomic int bad_reads; /* large reads that end in their middle, and the next one fails */

ZBZ_API ssize_t pread(int fd, void *p, size_t n, off_t at) {
	static _Atomic bool broken;
	if (broken) {
		broken = false;
		errno = EIO;
		return -1;
	}
	if (n > 4096 && bad_reads > 0) {
		bad_reads--;
		broken = true;
		n /= 2;
	}
	return (ssize_t)syscall(SYS_pread64, fd, p, n, at);
}

static _Atomic int bad_rings; /* opens of rings */
static _Atomic int bad_opens; /* of segments, to be read */
static _Atomic int bad_dirs;  /* looks into the spool */

ZBZ_API DIR *opendir(const char *path) {
	if (bad_dirs > 0 && strncmp(path, spool, strlen(spool)) == 0) {
		bad_dirs--;
		errno = EMFILE;
		return NULL;
	}
	return fdopendir((int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

ZBZ_API int open(const char *path, int how, ...) {
	va_list more;
	mode_t mode;
	va_start(more, how);
	mode = (how & O_CREAT) != 0 ? va_arg(more, mode_t) : 0;
	va_end(more);
	if (bad_rings > 0 && strstr(path, "/ring.") != NULL && (how & O_CREAT) == 0) {
		bad_rings--;
		errno = EMFILE;
		return -1;
	}
	if (bad_opens > 0 && strstr(path, "/seg.") != NULL && (how & O_ACCMODE) == O_RDONLY) {
		bad_opens--;
		errno = EMFILE;
		return -1;
	}
	return (int)syscall(SYS_openat, AT_FDCWD, path, how, mode);
}

/* What cannot be looked at is not there to be written over. */
static void no_descriptor(_Atomic int *bad) {
	zbz_output *o;
	leave_late_spool();
	*bad = 2; /* of the recovery, and of the writer */
	told_set(&told.fail, 1000000);
	o = opened(late_options());
	for (int i = 1000; i < 2000; i++) say(o, numbered(i));
	AWAIT(*bad == 0);
	told_set(&told.fail, 0);
	AWAIT(lines() >= 2000);
	CHECK(lines() == 2000);
	CHECK(numbers(o).damaged == 0);
	zbz_output_unref(o);
	CHECK(no_rings());
}

static void no_descriptor_for_a_segment(void) { no_descriptor(&bad_opens); }
static void no_descriptor_for_the_spool(void) { no_descriptor(&bad_dirs); }

/* ---- a batch of the dead whose ring cannot be looked at ---- */

/* As if the writer had died between a batch and the move of its ring's tail. */
static void turn_back(const char *dir) {
	zbz_journal_page page;
	zbz_ring ring;
	char path[620], name[ZBZ_RING_NAME];
	const zbz_batch_fill *f;
	FILE *file;
	snprintf(path, sizeof path, "%s/journal", dir);
	file = fopen(path, "r");
	CHECK(file != NULL && fread(&page, sizeof page, 1, file) == 1);
	fclose(file);
	f = zbz_batch_now(&page.batch);
	CHECK(atomic_load(&page.batch.state) == ZBZ_BATCH_FILLED && f->kind == ZBZ_FROM_RING && f->n > 0);
	snprintf(name, sizeof name, "ring.%llx", (unsigned long long)f->ring);
	CHECK(zbz_ring_attach(dir, name, &ring, NULL) == ZBZ_OK && atomic_load(&ring.h->tail) == f->to);
	atomic_store(&ring.h->tail, f->from);
	zbz_ring_unmap(&ring);
}

static void no_descriptor_for_a_ring(void) {
	int ready[2];
	zbz_output *o;
	pid_t pid;
	CHECK(pipe(ready) == 0);
	told_reset();
	pid = fork();
	if (pid == 0) {
		told_hold(true);
		o = opened("type=told name=rings ring_size=64KB");
		for (int i = 0; i < 10; i++) say(o, numbered(i));
		told_await_held();
		if (write(ready[1], "x", 1) != 1) _exit(1);
		for (;;) pause();
	}
	await_byte(ready[0]);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	turn_back(output_dir(rings));
	bad_rings = 3;
	o = opened("type=told name=rings ring_size=64KB max_retry_delay=5ms");
	say(o, numbered(10));
	AWAIT(bad_rings == 0);
	CHECK(flush(o, 5000) == ZBZ_OK);
	AWAIT(lines() >= 11);
	zbz_output_unref(o);
	o = opened("type=told name=rings ring_size=64KB"); /* whatever was left comes now */
	CHECK(flush(o, 5000) == ZBZ_OK && lines() == 11);
	zbz_output_unref(o);
	CHECK(no_rings());
	close(ready[0]);
	close(ready[1]);
}

static void fails_at_times(int times) {
	zbz_output *o;
	leave_late_spool();
	bad_reads = times;
	o = opened(late_options());
	say(o, numbered(1000));
	AWAIT(lines() >= 1001);
	CHECK(lines() == 1001 && bad_reads == 0);
	CHECK(numbers(o).damaged == 0);
	zbz_output_unref(o);
	CHECK(no_rings());
}

/* The first who reads is the recovery at the open. */
static void a_disk_that_fails_at_times(void) {
	fails_at_times(1);
	fails_at_times(2);
	fails_at_times(3);
}

/* ---- forks while outputs open and close: what a sink takes in its close comes after what its output holds then ---- */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define FORKS 20 /* slow there */
#else
#define FORKS 300
#endif

static _Atomic bool enough;
static const char *churned; /* type of the outputs */

static zbz_output *open_one(int i) {
	zbz_config *cfg = zbz_config_new(), *bucket = zbz_config_new();
	zbz_output *o = NULL;
	char text[200];
	snprintf(text, sizeof text, "churn%d", i);
	zbz_config_set_text(bucket, "provider", zbz_bstr("memory"), NULL);
	zbz_config_set_text(bucket, "name", zbz_bstr(text), NULL);
	zbz_config_set_text(cfg, "type", zbz_bstr(churned), NULL);
	zbz_config_set_text(cfg, "ring", zbz_bstr(rings), NULL);
	snprintf(text, sizeof text, "%s/churn%d.log", work, i);
	if (strcmp(churned, "file") == 0) {
		zbz_config_set_text(cfg, "path", zbz_bstr(text), NULL);
		zbz_config_set_text(cfg, "early", zbz_bstr("true"), NULL);
		zbz_config_free(bucket);
	} else {
		zbz_config_set_config(cfg, "bucket", bucket, NULL);
	}
	zbz_output_open(cfg, zbz_clock_system(), &o, NULL);
	zbz_config_free(cfg);
	return o;
}

static void *churn(void *ud) {
	int opened_n = 0;
	while (!enough) {
		zbz_output *o = open_one(*(int *)ud);
		opened_n += o != NULL;
		zbz_output_unref(o);
	}
	return opened_n > 0 ? ud : NULL;
}

/* The alarm ends the test when a fork does not come back. */
static void forks_beside(const char *type) {
	static int names[2] = { 1, 2 };
	pthread_t threads[2];
	void *fine;
	churned = type;
	enough = false;
	alarm(60);
	for (int i = 0; i < 2; i++) CHECK(pthread_create(&threads[i], NULL, churn, &names[i]) == 0);
	for (int i = 0; i < FORKS; i++) {
		pid_t pid = fork();
		if (pid == 0) _exit(0);
		waitpid(pid, NULL, 0);
	}
	enough = true;
	for (int i = 0; i < 2; i++) CHECK(pthread_join(threads[i], &fine) == 0 && fine != NULL);
	alarm(0);
}

static void forks_beside_files(void) { forks_beside("file"); }
static void forks_beside_buckets(void) { forks_beside("storage"); }

int main(void) {
	if (!spool_rig_begin()) return 1;
	RUN_IF(CHILD_THREADS, held_by_the_dead);
	RUN_IF(CHILD_THREADS, a_spool_that_opens_late);
	RUN_IF(CHILD_THREADS, a_disk_that_fails_at_times);
	RUN_IF(CHILD_THREADS, no_descriptor_for_a_segment);
	RUN_IF(CHILD_THREADS, no_descriptor_for_the_spool);
	RUN_IF(CHILD_THREADS, no_descriptor_for_a_ring);
	RUN(forks_beside_files);
	RUN(forks_beside_buckets);
	dirs_remove();
	return DONE();
}
