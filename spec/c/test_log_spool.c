/* Batches that wait, the spool on disk, limits of retries: with a sink that fails, hangs and comes back when told to. */
#include "spool_rig.h"

#include "faults.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/syscall.h>

enum { HUGE_N = 1000000 };

/* Small batches: what is on its way is in no ring, and so does not come into the spool. */
static zbz_output *spooling(const char *name, const char *more) {
	char options[500];
	snprintf(options, sizeof options,
	         "type=told name=%s ring_size=64KB max_retry_delay=5ms batch_size=4000B spool=%s %s", name, spool, more);
	return opened(options);
}

static void say_all(zbz_output *o, int from, int to) {
	int said = 0;
	for (int i = from; i < to; i++) said += say(o, numbered(i));
	CHECK(said == to - from);
}

/* Exactly the lines from .. to, in their order. */
static bool told_numbers(int from, int to) {
	bool ok;
	pthread_mutex_lock(&told.lock);
	ok = told.n == (size_t)(to - from) * 200;
	for (int i = from; ok && i < to; i++) ok = memcmp(told.text + (size_t)(i - from) * 200, numbered(i), 200) == 0;
	pthread_mutex_unlock(&told.lock);
	return ok;
}

/* 0 .. middle, and middle .. to: each in its order, whatever comes between. */
static bool told_two(int middle, int to) {
	int next[2] = { 0, middle };
	bool ok = true;
	pthread_mutex_lock(&told.lock);
	for (size_t at = 0; at < told.n && ok; at += 200) {
		int *n = &next[atoi(told.text + at) >= middle];
		ok = memcmp(told.text + at, numbered((*n)++), 200) == 0;
	}
	pthread_mutex_unlock(&told.lock);
	return ok && next[0] == middle && next[1] == to;
}

/* The numbered lines from 0 on, which is what it returns, and the notices of losses between them, which it adds up. */
static int told_with_notices(uint64_t *lost) {
	int next = 0;
	size_t at = 0;
	pthread_mutex_lock(&told.lock);
	while (at < told.n) {
		unsigned long long n;
		const char *end = memchr(told.text + at, '\n', told.n - at);
		if (sscanf(told.text + at, "zbz: %llu records", &n) == 1)
			*lost += n;
		else if (memcmp(told.text + at, numbered(next++), 200) != 0)
			next = -HUGE_N;
		at = end != NULL ? (size_t)(end - told.text) + 1 : told.n;
	}
	pthread_mutex_unlock(&told.lock);
	return next;
}

/* The spool's own directory of the output; "" when there is none. */
static const char *own_dir(void) {
	static char path[600];
	char dir[200];
	DIR *d;
	const struct dirent *e;
	path[0] = '\0';
	snprintf(dir, sizeof dir, "%s/zbz-log-%lu", spool, (unsigned long)geteuid());
	d = opendir(dir);
	while (d != NULL && (e = readdir(d)) != NULL)
		if (e->d_name[0] != '.') snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
	if (d != NULL) closedir(d);
	return path;
}
static bool no_spool(void) { return own_dir()[0] == '\0'; }

/* The name of the first file in it that begins so. */
static const char *file_in(const char *start) {
	static char path[800];
	DIR *d = opendir(own_dir());
	const struct dirent *e;
	path[0] = '\0';
	while (d != NULL && (e = readdir(d)) != NULL)
		if (strncmp(e->d_name, start, strlen(start)) == 0) snprintf(path, sizeof path, "%s/%s", own_dir(), e->d_name);
	if (d != NULL) closedir(d);
	return path;
}

/* ---- batches ---- */

static void a_batch_waits_to_fill(void) {
	zbz_output *o = opened("type=told name=wait batch_size=1000B batch_wait=600s");
	told_reset();
	for (int i = 0; i < 4; i++) say(o, numbered(i));
	AWAIT(numbers(o).writer);
	CHECK(told_get(&told.calls) == 0);
	say(o, numbered(4)); /* makes it 1000 bytes */
	told_await_bytes(1000);
	CHECK(told_get(&told.calls) == 1 && told_numbers(0, 5));
	zbz_output_unref(o);
}

/* Never more than its size in one write, but for a record that is larger by itself. */
static void a_batch_is_no_larger(void) {
	zbz_output *o = opened("type=told name=most batch_size=500B");
	char big[900];
	told_reset();
	told_hold(true);
	say(o, "first\n");
	told_await_held();
	memset(big, 'y', 898);
	memcpy(big + 898, "\n", 2);
	for (int i = 0; i < 4; i++) say(o, numbered(i));
	say(o, big);
	say(o, "last\n");
	told_hold(false);
	CHECK(flush(o, 5000) == ZBZ_OK);
	CHECK(told_get(&told.calls) == 5); /* first, 0 1, 2 3, big, last */
	CHECK(lines() == 7);
	zbz_output_unref(o);
}

static void a_batch_ends_with_its_time(void) {
	zbz_output *o = opened("type=told name=time batch_size=1MB batch_wait=80ms");
	int64_t began = ms_now();
	told_reset();
	say(o, numbered(0));
	told_await_bytes(200);
	CHECK(ms_now() - began >= 75);
	CHECK(told_get(&told.calls) == 1);
	zbz_output_unref(o);
}

static void nobody_waits_for_a_batch(void) {
	int64_t began = ms_now();
	zbz_output *o = opened("type=told name=urgent batch_size=1MB batch_wait=600s linger=100s");
	zbz_call c = log_call(5000);
	told_reset();
	say(o, "a\n");
	CHECK(flush(o, 50000) == ZBZ_OK && told_is("a\n"));
	say(o, "b\n");
	CHECK(zbz_output_reopen(o, &c) == ZBZ_OK);
	zbz_output_unref(o); /* closing */
	CHECK(told_is("a\nb\n"));
	CHECK(ms_now() - began < 20000);
}

/* More than a ring holds, in one write: the batch takes the records out of the ring while it waits. */
static void a_batch_larger_than_the_ring(void) {
	zbz_output *o = opened("type=told name=larger ring_size=64KB batch_size=400KB batch_wait=600s block_for=60s");
	told_reset();
	say_all(o, 0, 2048); /* 400 KB of text */
	told_await_bytes((size_t)2048 * 200);
	CHECK(told_get(&told.calls) == 1 && told_numbers(0, 2048));
	zbz_output_unref(o);
}

/* A process dies while its batch fills. */
static void a_batch_left_half_filled(void) {
	zbz_config *cfg = log_config("type=told name=half batch_size=1MB batch_wait=600s ring_size=64KB");
	zbz_call c = log_call(5000);
	uint64_t n = 0;
	pid_t pid = fork();
	if (pid == 0) {
		zbz_output *o;
		told_reset();
		o = opened("type=told name=half batch_size=1MB batch_wait=600s ring_size=64KB block_for=60s");
		for (int i = 0; i < 600; i++) say(o, numbered(i)); /* twice the ring: part of it is in the journal */
		_exit(told_get(&told.calls) == 0 ? 0 : 1);
	}
	CHECK(exit_code(pid) == 0);
	told_reset();
	CHECK(zbz_output_recover(cfg, &c, &n) == ZBZ_OK && n == 600);
	CHECK(told_numbers(0, 600));
	zbz_config_free(cfg);
}

/* ---- the spool ---- */

static void through_the_spool(void) {
	zbz_output *o = spooling("through", "");
	zbz_output_stats s;
	told_reset();
	told_set(&told.fail, HUGE_N);
	say_all(o, 0, 2000); /* six rings full, and no call waited */
	AWAIT(numbers(o).spooled > 1000);
	s = numbers(o);
	CHECK(s.spooled_bytes > 200000 && s.dropped_full == 0 && s.failures > 0 && s.retries > 0);
	CHECK_STR(s.last_error, "not now");
	CHECK_STR(s.spool_error, "");
	CHECK(s.lag > 0 && told.n == 0);
	CHECK(flush(o, 30) == ZBZ_E_TIMEOUT); /* on disk is not taken */
	CHECK(numbers(o).spool_age > 0);
	told_set(&told.fail, 0);
	CHECK(flush(o, 10000) == ZBZ_OK);
	CHECK(told_numbers(0, 2000));
	s = numbers(o);
	CHECK(s.spooled == 0 && s.spooled_bytes == 0 && s.spool_age == 0 && s.failures == 0 && s.lag == 0);
	CHECK(s.written == 2000 && s.damaged == 0);
	zbz_output_unref(o);
	CHECK(no_spool());
}

static void a_hanging_sink(void) {
	zbz_output *o = spooling("hangs", "block_for=60s linger=50ms");
	int64_t began = ms_now();
	told_reset();
	told_hold(true);
	say(o, numbered(0));
	told_await_held();
	say_all(o, 1, 3000); /* the sink hangs in its first write all the while */
	CHECK(told_get(&told.held) == 1 && told.n == 0);
	AWAIT(numbers(o).spooled > 2000);
	CHECK(ms_now() - began < 30000);
	told_hold(false);
	CHECK(flush(o, 10000) == ZBZ_OK && told_numbers(0, 3000));
	zbz_output_unref(o);
	CHECK(no_spool());
}

/* While the spool is drained, newer records queue behind it. */
static void in_order_while_it_drains(void) {
	zbz_output *o = spooling("order", "batch_size=4000B block_for=60s");
	told_reset();
	told_set(&told.fail, HUGE_N);
	say_all(o, 0, 1500);
	AWAIT(numbers(o).spooled > 500);
	told_set(&told.fail, 0);
	say_all(o, 1500, 4000);
	CHECK(flush(o, 20000) == ZBZ_OK && told_numbers(0, 4000));
	zbz_output_unref(o);
	CHECK(no_spool());
}

/* It is full: what is on disk and in the ring stays, the policy has the rest, and every loss is counted. */
static void a_full_spool(void) {
	zbz_output *o = spooling("full", "spool_size=1MB policy=drop_newest");
	zbz_output_stats s;
	uint64_t lost = 0;
	int said = 0, tried = 0;
	told_reset();
	told_set(&told.fail, HUGE_N);
	for (; tried < HUGE_N && strstr(numbers(o).spool_error, "is full") == NULL; tried++) said += say(o, numbered(said));
	CHECK(numbers(o).spooled_bytes <= 1 << 20 && numbers(o).spooled_bytes > 700000);
	for (int i = 0; i < 400; i++, tried++) said += say(o, numbered(said));
	s = numbers(o);
	CHECK(s.dropped_full > 0 && s.dropped_full + (uint64_t)said == (uint64_t)tried);
	told_set(&told.fail, 0);
	CHECK(flush(o, 20000) == ZBZ_OK);
	CHECK(told_with_notices(&lost) == said);
	CHECK(lost == numbers(o).dropped_full);
	zbz_output_unref(o);
	CHECK(no_spool());
}

/* Ended with the sink down: the ring goes to disk, and the next process goes on. */
static void left_to_the_next(void) {
	zbz_output *o;
	pid_t pid = fork();
	if (pid == 0) {
		told_reset();
		told_set(&told.fail, HUGE_N);
		o = spooling("next", "linger=30ms");
		for (int i = 0; i < 500; i++) say(o, numbered(i));
		zbz_output_unref(o);
		_exit(told.n == 0 ? 0 : 1);
	}
	CHECK(exit_code(pid) == 0);
	CHECK(file_in("seg.")[0] != '\0');
	told_reset();
	o = spooling("next", "");
	say_all(o, 500, 600);
	CHECK(flush(o, 10000) == ZBZ_OK && told_numbers(0, 600));
	CHECK(numbers(o).recovered == 500);
	zbz_output_unref(o);
	CHECK(no_spool());
}

/* The host was started anew: the rings are gone, the spool is not. */
static void after_a_restart_of_the_host(void) {
	zbz_config *cfg;
	zbz_call c = log_call(5000);
	char cmd[300], options[300];
	uint64_t n = 0;
	pid_t pid = fork();
	if (pid == 0) {
		zbz_output *o;
		told_reset();
		told_set(&told.fail, HUGE_N);
		o = spooling("host", "linger=30ms batch_size=200B");
		for (int i = 0; i < 500; i++) say(o, numbered(i));
		zbz_output_unref(o);
		_exit(0);
	}
	CHECK(exit_code(pid) == 0);
	snprintf(cmd, sizeof cmd, "rm -rf %s/zbz-log-*", rings);
	CHECK(system(cmd) == 0);
	told_reset();
	snprintf(options, sizeof options, "type=told name=host spool=%s", spool);
	cfg = log_config(options);
	CHECK(zbz_output_recover(cfg, &c, &n) == ZBZ_OK);
	CHECK(n == 499 && told_numbers(1, 500)); /* all but the batch that was on its way, of one record */
	CHECK(no_spool());
	zbz_config_free(cfg);
}

/* The same in the middle of draining: what the sink has had does not come again, what was on its way does. */
static void after_a_restart_while_it_drained(void) {
	zbz_config *cfg;
	zbz_call c = log_call(5000);
	char cmd[300], options[300];
	uint64_t n = 0;
	int *taken = mmap(NULL, sizeof *taken, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pid = fork();
	if (pid == 0) {
		zbz_output *o;
		told_reset();
		told_set(&told.fail, HUGE_N);
		o = spooling("middle", "linger=30ms");
		for (int i = 0; i < 1500; i++) say(o, numbered(i));
		while (numbers(o).spooled < 1000) sched_yield();
		told_hold(true);
		told_set(&told.fail, 0);
		told_pass(20);
		told_set(&told.fail, HUGE_N);
		told_hold(false);
		zbz_output_unref(o);
		*taken = lines();
		_exit(0);
	}
	CHECK(exit_code(pid) == 0);
	CHECK(*taken >= 100 && *taken < 1400);
	snprintf(cmd, sizeof cmd, "rm -rf %s/zbz-log-*", rings);
	CHECK(system(cmd) == 0);
	told_reset();
	snprintf(options, sizeof options, "type=told name=middle spool=%s", spool);
	cfg = log_config(options);
	CHECK(zbz_output_recover(cfg, &c, &n) == ZBZ_OK);
	CHECK(told_numbers(*taken, 1500));
	CHECK(no_spool());
	zbz_config_free(cfg);
	munmap(taken, sizeof *taken);
}

/* ---- damage ---- */

/* A child that leaves `n` records in the spool, the first one on its way. */
static void leave_spool(const char *name, int n) {
	pid_t pid = fork();
	if (pid == 0) {
		zbz_output *o;
		told_reset();
		told_set(&told.fail, HUGE_N);
		o = spooling(name, "linger=30ms batch_size=200B");
		say(o, numbered(0));
		told_await_calls(1);
		for (int i = 1; i < n; i++) say(o, numbered(i));
		zbz_output_unref(o);
		_exit(0);
	}
	CHECK(exit_code(pid) == 0);
	told_reset();
}

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

static off_t size_of(const char *path) {
	struct stat st;
	return stat(path, &st) == 0 ? st.st_size : -1;
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
	told_reset();
	told_set(&told.fail, HUGE_N);
	say_all(o, 0, 1000);
	AWAIT(numbers(o).spooled > 500);
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

/* ---- no room on disk ---- */

/* Fills what is left there, so that the spool finds none. */
static void disk_full_at(const char *dir) {
	char options[400], ballast[300];
	char block[4096];
	zbz_output *o;
	uint64_t lost = 0;
	int fd, said = 0, tried = 0;
	snprintf(ballast, sizeof ballast, "%s/ballast", dir);
	snprintf(options, sizeof options,
	         "type=told name=disk batch_size=4000B ring_size=64KB max_retry_delay=5ms policy=drop_newest spool=%s",
	         dir);
	o = opened(options);
	told_reset();
	told_set(&told.fail, HUGE_N);
	fd = open(ballast, O_WRONLY | O_CREAT, 0600);
	memset(block, 'b', sizeof block);
	while (fd >= 0 && write(fd, block, sizeof block) > 0) {}
	CHECK(errno == ENOSPC || errno == EFBIG);
	close(fd);
	for (; tried < HUGE_N && numbers(o).spool_error[0] == '\0'; tried++) said += say(o, numbered(said));
	CHECK(strstr(numbers(o).spool_error, "No space left") != NULL);
	for (int i = 0; i < 2000; i++, tried++) said += say(o, numbered(said));
	CHECK(said > 100 && numbers(o).dropped_full == (uint64_t)(tried - said) && tried > said);
	CHECK(unlink(ballast) == 0); /* somebody makes room: the ring moves to disk */
	AWAIT(numbers(o).spooled > 0 && numbers(o).spool_error[0] == '\0');
	told_set(&told.fail, 0);
	CHECK(flush(o, 10000) == ZBZ_OK);
	CHECK(told_with_notices(&lost) == said && lost == numbers(o).dropped_full);
	zbz_output_unref(o);
}

static void disk_full(void) {
	char dir[160];
	snprintf(dir, sizeof dir, "%s/small", work);
	CHECK(mkdir(dir, 0700) == 0);
	if (geteuid() != 0 || mount("zbz", dir, "tmpfs", 0, "size=256k,mode=0700") != 0) {
		printf("disk_full: skipped, no small file system can be mounted here: %s\n", strerror(errno));
		return;
	}
	disk_full_at(dir);
	CHECK(umount2(dir, MNT_DETACH) == 0);
}

/* ---- limits of retries ---- */

static size_t file_size(const char *path) { return size_of(path) > 0 ? (size_t)size_of(path) : 0; }

/* Records of `say` are of 1970: too old at the first failure. Without one, age does not matter. */
static void given_up(void) {
	char options[300], dead[160];
	zbz_output *o;
	snprintf(dead, sizeof dead, "%s/given-up", work);
	snprintf(options, sizeof options, "retry_timeout=1h dead_letter=%s", dead);
	o = spooling("old", options);
	told_reset();
	say_all(o, 0, 10);
	CHECK(flush(o, 5000) == ZBZ_OK && told_numbers(0, 10) && numbers(o).dead_letters == 0);
	told_set(&told.fail, 1);
	say_all(o, 10, 20);
	AWAIT(numbers(o).dead_letters > 0);
	CHECK(flush(o, 5000) == ZBZ_OK);
	CHECK(numbers(o).dead_letters + numbers(o).written == 20);
	CHECK(file_size(dead) == numbers(o).dead_letters * 200);
	zbz_output_unref(o);
	CHECK(no_spool());
}

static bool say_now(zbz_output *o, const char *text) {
	zbz_record_head head = { .level = ZBZ_LEVEL_INFO, .logger = zbz_bstr("app") };
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	head.at = (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
	return zbz_output_append(o, &head, zbz_bstr(text));
}

static void young_ones_are_kept(void) {
	zbz_output *o = spooling("young", "retry_timeout=1h");
	told_reset();
	told_set(&told.fail, 5);
	for (int i = 0; i < 10; i++) CHECK(say_now(o, numbered(i)));
	CHECK(flush(o, 5000) == ZBZ_OK && told_numbers(0, 10));
	CHECK(numbers(o).dead_letters == 0 && numbers(o).retries == 5);
	zbz_output_unref(o);
}

/* A whole spool of old records goes at the first failure, without an attempt for each batch. */
static void a_spool_of_old_ones(void) {
	zbz_output *o;
	leave_spool("oldest", 2000);
	o = spooling("oldest", "retry_timeout=1h batch_size=2000B");
	told_set(&told.fail, HUGE_N);
	CHECK(flush(o, 10) == ZBZ_OK); /* nothing of its own */
	zbz_output_unref(o);
	leave_spool("aged", 2000);
	told_set(&told.fail, HUGE_N);
	o = spooling("aged", "retry_timeout=1h batch_size=2000B");
	say(o, numbered(0));
	AWAIT(numbers(o).dead_letters + numbers(o).written >= 1);
	CHECK(flush(o, 10000) == ZBZ_OK);
	CHECK(numbers(o).written == 0 && told_get(&told.calls) < 10);
	told_reset();
	zbz_output_unref(o);
}

/* ---- processes ---- */

/* The one that spools is killed; the one that waited for its place finds its spool and goes on. */
static void taken_over(void) {
	zbz_output *o;
	int ready[2];
	char byte;
	pid_t pid;
	CHECK(pipe(ready) == 0);
	pid = fork();
	if (pid == 0) {
		told_reset();
		told_set(&told.fail, HUGE_N);
		o = spooling("over", "block_for=60s");
		for (int i = 0; i < 1000; i++) say(o, numbered(i));
		while (numbers(o).spooled < 500) sched_yield();
		if (write(ready[1], "x", 1) != 1) _exit(1);
		for (;;) pause();
	}
	CHECK(read(ready[0], &byte, 1) == 1);
	told_reset();
	o = spooling("over", "block_for=60s");
	say_all(o, 1000, 1100);
	CHECK(!numbers(o).writer && told.n == 0);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	CHECK(flush(o, 10000) == ZBZ_OK && numbers(o).writer);
	AWAIT(lines() == 1100);
	CHECK(told_two(1000, 1100));
	zbz_output_unref(o);
	CHECK(no_spool());
	close(ready[0]);
	close(ready[1]);
}

/* The parent spools; the child has a ring of its own, and closes nothing of the parent's. */
static void forked(void) {
	zbz_output *o = spooling("fork", "block_for=60s");
	pid_t pid;
	told_reset();
	told_set(&told.fail, HUGE_N);
	say_all(o, 0, 1000);
	AWAIT(numbers(o).spooled > 500);
	pid = fork();
	if (pid == 0) {
		bool ok = say(o, "child\n") && !numbers(o).writer && numbers(o).spooled == 0;
		_exit(ok ? 0 : 1);
	}
	CHECK(exit_code(pid) == 0);
	say_all(o, 1000, 2000);
	told_set(&told.fail, 0);
	CHECK(flush(o, 10000) == ZBZ_OK);
	AWAIT(lines() == 2001); /* the child's among them */
	CHECK(numbers(o).damaged == 0);
	zbz_output_unref(o);
	CHECK(no_spool());
}

/* Another ring directory is another journal: the lock of the spool itself keeps the second one out of it. */
static void two_who_do_not_know_each_other(void) {
	char options[400], other[160];
	zbz_output *o = spooling("two", "block_for=60s");
	pid_t pid;
	snprintf(other, sizeof other, "%s/rings", work);
	CHECK(mkdir(other, 0700) == 0);
	snprintf(options, sizeof options,
	         "type=told name=two ring_size=64KB max_retry_delay=5ms spool=%s policy=drop_newest linger=1ms", spool);
	told_reset();
	told_set(&told.fail, HUGE_N);
	say_all(o, 0, 1000);
	AWAIT(numbers(o).spooled > 500);
	pid = fork();
	if (pid == 0) {
		zbz_config *cfg = zbz_config_new();
		char *word, *rest = options;
		zbz_output *second;
		int said = 0;
		while ((word = strtok_r(rest, " ", &rest)) != NULL) {
			char *value = strchr(word, '=');
			*value++ = '\0';
			zbz_config_set_text(cfg, word, zbz_bstr(value), NULL);
		}
		zbz_config_set_text(cfg, "ring", zbz_bstr(other), NULL);
		told_reset();
		told_set(&told.fail, HUGE_N);
		if (zbz_output_open(cfg, zbz_clock_system(), &second, NULL) != ZBZ_OK) _exit(2);
		for (int i = 0; i < 1000; i++) said += say(second, numbered(i));
		while (numbers(second).spool_error[0] == '\0') sched_yield();
		_exit(strstr(numbers(second).spool_error, "used by another process") != NULL ? 0 : 1);
	}
	CHECK(exit_code(pid) == 0);
	told_set(&told.fail, 0);
	CHECK(flush(o, 10000) == ZBZ_OK && told_numbers(0, 1000));
	zbz_output_unref(o);
}

/* ---- deaths at every step ---- */

/* What changes files passes here, and a child that is told to dies at the n-th of these calls: before it, in its middle, or after it. */
enum { NEVER, BEFORE, HALF, AFTER, WAYS };
static _Atomic int steps, die_at;
static int die_how;

static bool step_begins(void) {
	bool now = die_at != 0 && ++steps == die_at;
	if (now && die_how == BEFORE) kill(getpid(), SIGKILL);
	return now;
}
static void step_ends(bool now) {
	if (now) kill(getpid(), SIGKILL);
}

ZBZ_API ssize_t pwrite(int fd, const void *p, size_t n, off_t at) {
	bool now = step_begins();
	ssize_t put = (ssize_t)syscall(SYS_pwrite64, fd, p, now && die_how == HALF ? n / 2 : n, at);
	step_ends(now);
	return put;
}
ZBZ_API ssize_t write(int fd, const void *p, size_t n) {
	bool now = step_begins();
	ssize_t put = (ssize_t)syscall(SYS_write, fd, p, now && die_how == HALF ? n / 2 : n);
	step_ends(now);
	return put;
}
ZBZ_API int unlink(const char *path) {
	bool now = step_begins();
	int result = (int)syscall(SYS_unlink, path);
	step_ends(now);
	return result;
}

static zbz_sink_ops flaky; /* the sink `file`, that can fail */
static zbz_status (*file_write)(void *self, zbz_call *c, const zbz_record *records, size_t n, size_t *done);
static _Atomic bool flaky_fails;

static zbz_status flaky_write(void *self, zbz_call *c, const zbz_record *records, size_t n, size_t *done) {
	*done = 0;
	if (flaky_fails) return zbz_fail(&c->err, ZBZ_E_UNAVAILABLE, "not now");
	return file_write(self, c, records, n, done);
}

static void flaky_options(char out[400]) {
	snprintf(out, 400,
	         "type=flaky path=%s/steps.log ring_size=64KB batch_size=8000B spool_size=1MB max_retry_delay=1ms "
	         "block_for=60s spool=%s",
	         work, spool);
}

static int *steps_said;

/* Spools, then drains, twice. */
static void walk_and_die(int at, int how) {
	char options[400];
	zbz_output *o;
	die_how = how;
	flaky_options(options);
	o = opened(options);
	die_at = at;
	for (int round = 0; round < 2; round++) {
		flaky_fails = true;
		for (int i = 0; i < 700; i++) {
			if (!say(o, numbered(*steps_said))) _exit(1);
			++*steps_said;
		}
		while (numbers(o).spooled < 300) sched_yield();
		flaky_fails = false;
		if (flush(o, 20000) != ZBZ_OK) _exit(2);
	}
	zbz_output_unref(o);
	_exit(0);
}

/* *said lines in their order, and perhaps the one that was being said. */
static bool steps_are_all_there(void) {
	char path[160], got[256];
	FILE *f;
	int n = 0;
	bool ok = true;
	snprintf(path, sizeof path, "%s/steps.log", work);
	f = fopen(path, "r");
	while (f != NULL && ok && fgets(got, sizeof got, f) != NULL) ok = strcmp(got, numbered(n++)) == 0;
	if (f != NULL) fclose(f);
	if (!ok || n < *steps_said) fprintf(stderr, "line %d of %d: %.20s\n", n, *steps_said, got);
	remove(path);
	return ok && (n == *steps_said || n == *steps_said + 1);
}

static void dead_at_every_step(void) {
	const zbz_sink_ops *file;
	char options[400];
	CHECK(zbz_sink_find("file", &file, NULL) == ZBZ_OK);
	flaky = *file;
	file_write = file->write;
	flaky.name = "flaky";
	flaky.write = flaky_write;
	CHECK(zbz_sink_register(&flaky, NULL) == ZBZ_OK);
	flaky_options(options);
	steps_said = mmap(NULL, sizeof *steps_said, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (int how = BEFORE; how < WAYS; how++) {
		bool died = true;
		for (int at = 1; died && check_failed == 0; at++) {
			zbz_config *cfg = log_config(options);
			zbz_call c = log_call(20000);
			uint64_t n;
			int status;
			pid_t pid;
			*steps_said = 0;
			pid = fork();
			if (pid == 0) walk_and_die(at, how);
			waitpid(pid, &status, 0);
			died = WIFSIGNALED(status);
			CHECK(died || WEXITSTATUS(status) == 0);
			CHECK(zbz_output_recover(cfg, &c, &n) == ZBZ_OK);
			CHECK(steps_are_all_there());
			CHECK(no_spool());
			CHECK(no_rings());
			zbz_config_free(cfg);
			if (check_failed > 0) fprintf(stderr, "dead at step %d, how %d\n", at, how);
		}
	}
	munmap(steps_said, sizeof *steps_said);
}

/* ---- bad input ---- */

static void bad_options(void) {
	zbz_err err = refused("type=told name=x spool=relative");
	CHECK_STR(err.option, "spool");
	err = refused("type=told name=x spool=/proc/nothing");
	CHECK_STR(err.option, "spool");
	CHECK(strstr(err.text, "/proc/nothing") != NULL);
	err = refused("type=memory spool=/tmp");
	CHECK_STR(err.option, "spool");
	err = refused("type=told name=x spool=/tmp spool_size=1KB");
	CHECK_STR(err.option, "spool_size");
	err = refused("type=told name=x batch_size=0B");
	CHECK_STR(err.option, "batch_size");
	err = refused("type=told name=x batch_wait=-1s");
	CHECK_STR(err.option, "batch_wait");
}

/* ---- memory ---- */

/* At any failed allocation: nothing leaks, and what was said is in the sink, in the spool or in the ring. */
static void allocation_fails(void) {
	bool failed = true;
	char cmd[300];
	for (long n = 1; failed; n++) {
		long live;
		zbz_output *o = NULL;
		char options[400];
		zbz_err err;
		told_reset();
		told_set(&told.fail, HUGE_N);
		snprintf(options, sizeof options,
		         "type=told name=alloc ring_size=64KB max_retry_delay=1ms linger=50ms policy=drop_newest spool=%s",
		         spool);
		faults_begin(n);
		if (log_open(options, &o, &err) == ZBZ_OK) {
			for (int i = 0; i < 300; i++) say(o, numbered(i));
			zbz_output_unref(o);
		} else {
			CHECK(err.status == ZBZ_E_INTERNAL);
		}
		failed = faults_end(&live);
		CHECK(live == 0);
		if (live != 0) fprintf(stderr, "n %ld live %ld\n", n, live);
		snprintf(cmd, sizeof cmd, "rm -rf %s/* %s/*", spool, rings);
		CHECK(system(cmd) == 0);
	}
	told_reset();
}

int main(void) {
	if (!dirs_make() || zbz_sink_register(&told_sink, NULL) != ZBZ_OK) return 1;
	snprintf(spool, sizeof spool, "%s/spool", work);
	if (mkdir(spool, 0700) != 0) return 1;
	signal(SIGXFSZ, SIG_IGN);
	RUN(a_batch_waits_to_fill);
	RUN(a_batch_is_no_larger);
	RUN(a_batch_ends_with_its_time);
	RUN(nobody_waits_for_a_batch);
	RUN(a_batch_larger_than_the_ring);
	RUN(through_the_spool);
	RUN(a_hanging_sink);
	RUN(in_order_while_it_drains);
	RUN(a_full_spool);
	RUN(disk_full);
	RUN(removed_while_in_use);
	RUN(given_up);
	RUN(young_ones_are_kept);
	if (CHILD_THREADS) {
		RUN(a_batch_left_half_filled);
		RUN(left_to_the_next);
		RUN(after_a_restart_of_the_host);
		RUN(after_a_restart_while_it_drained);
		RUN(a_damaged_record);
		RUN(a_damaged_chunk);
		RUN(a_torn_tail);
		RUN(garbage_behind_the_end);
		RUN(another_version);
		RUN(no_cursor);
		RUN(a_spool_of_old_ones);
		RUN(taken_over);
		RUN(forked);
		RUN(dead_at_every_step);
		RUN(two_who_do_not_know_each_other);
	}
	RUN(bad_options);
	RUN(allocation_fails);
	dirs_remove();
	return DONE();
}
