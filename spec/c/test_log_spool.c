/* The spool on disk while a sink fails or hangs: order, bounds, full disks, no memory. */
#include "spool_rig.h"

#include "faults.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>

static void through_the_spool(void) {
	zbz_output *o = spooling("through", "");
	zbz_output_stats s;
	spool_down(o, 2000, 1000); /* six rings full, and no call waited */
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
	spool_down(o, 1500, 500);
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
	if (!spool_rig_begin()) return 1;
	signal(SIGXFSZ, SIG_IGN);
	RUN(through_the_spool);
	RUN(a_hanging_sink);
	RUN(in_order_while_it_drains);
	RUN(a_full_spool);
	RUN(disk_full);
	RUN(bad_options);
	RUN(allocation_fails);
	dirs_remove();
	return DONE();
}
