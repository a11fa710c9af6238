/* The host-wide table of locks, compiled in with a hook in the middle of its writers: holders that die or stop in every place, and the
 * file it lives in. */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

static void in_a_writer(void);
#define ZBZ_HOST_POINT() in_a_writer()

#include "base/life.c"
#include "cache/host_segment.c"
#include "cache/host_slots.c"

#include <zbz/zbz.h>

#include "check.h"
#include "child.h"

enum { SLOW = SANITIZED ? 5 : 1 };

static volatile sig_atomic_t countdown; /* 0: nothing happens */
static int signal_to_raise;
static zbz_err err;
static uint64_t salt; /* so that suites side by side do not meet */

static void in_a_writer(void) {
	if (countdown > 0 && --countdown == 0) raise(signal_to_raise);
}

static const uint8_t *id_of(uint32_t bucket, uint32_t n) {
	static uint8_t id[ZBZ_LOCK_ID];
	uint64_t first = bucket % ZBZ_HOST_BUCKETS + (uint64_t)ZBZ_HOST_BUCKETS * n, second = salt;
	memcpy(id, &first, sizeof first);
	memcpy(id + 8, &second, sizeof second);
	return id;
}

static zbz_status take(const uint8_t *id, int64_t lease, zbz_host_claim *c) {
	return zbz_host_take(id, lease, c, &err);
}

/* ---- the table ---- */

static void slots(void) {
	zbz_host_claim mine, other, third;
	zbz_outcome outcome;
	CHECK(take(id_of(1, 1), 60000, &mine) == ZBZ_OK);
	CHECK(take(id_of(1, 1), 60000, &other) == ZBZ_REFUSED && other.ticket == mine.ticket && other.slot == mine.slot);
	CHECK(other.holder.pid == (uint32_t)getpid() && other.until == mine.until);
	CHECK(!zbz_host_over(&other, &outcome) && !zbz_host_reap(&other, &outcome));
	CHECK(take(id_of(1, 2), 60000, &third) == ZBZ_OK && third.slot != mine.slot);
	CHECK(zbz_host_release(&mine, ZBZ_OUTCOME_FAILED) && !zbz_host_release(&mine, ZBZ_OUTCOME_FAILED));
	CHECK(zbz_host_over(&other, &outcome) && outcome == ZBZ_OUTCOME_FAILED);
	CHECK(take(id_of(1, 1), 60000, &mine) == ZBZ_OK && mine.ticket != other.ticket);
	CHECK(zbz_host_over(&other, &outcome) && outcome == ZBZ_OUTCOME_FAILED); /* still told after the next has come */
	CHECK(zbz_host_release(&mine, ZBZ_OUTCOME_VALUE));
	CHECK(zbz_host_over(&other, &outcome) && outcome == ZBZ_OUTCOME_UNKNOWN);
	CHECK(zbz_host_release(&third, ZBZ_OUTCOME_ABSENT));
}

static void leases(void) {
	zbz_host_claim mine, other, next;
	zbz_outcome outcome;
	struct timespec nap = { 0, 3000000 };
	CHECK(take(id_of(2, 1), 1, &mine) == ZBZ_OK);
	other = mine;
	nanosleep(&nap, NULL);
	CHECK(!zbz_host_over(&other, &outcome));
	CHECK(zbz_host_reap(&other, &outcome) && outcome == ZBZ_OUTCOME_UNKNOWN);
	CHECK(take(id_of(2, 1), 1, &mine) == ZBZ_OK);
	nanosleep(&nap, NULL);
	CHECK(take(id_of(2, 1), 60000, &next) == ZBZ_OK); /* no need to reap */
	CHECK(!zbz_host_release(&mine, ZBZ_OUTCOME_VALUE));
	CHECK(zbz_host_release(&next, ZBZ_OUTCOME_VALUE));
}

static void full(void) {
	zbz_host_claim mine[ZBZ_HOST_SLOTS], more;
	uint32_t i;
	for (i = 0; i < ZBZ_HOST_SLOTS; i++) CHECK(take(id_of(3, i + 1), 60000, &mine[i]) == ZBZ_OK);
	CHECK(take(id_of(3, 100), 60000, &more) == ZBZ_MISS);
	CHECK(take(id_of(4, 100), 60000, &more) == ZBZ_OK && zbz_host_release(&more, ZBZ_OUTCOME_VALUE));
	CHECK(zbz_host_release(&mine[2], ZBZ_OUTCOME_VALUE));
	CHECK(take(id_of(3, 100), 60000, &more) == ZBZ_OK && zbz_host_release(&more, ZBZ_OUTCOME_VALUE));
	for (i = 0; i < ZBZ_HOST_SLOTS; i++)
		if (i != 2) CHECK(zbz_host_release(&mine[i], ZBZ_OUTCOME_VALUE));
}

/* Slots of dead processes are taken over, also where no other is free. */
static void full_of_the_dead(void) {
	zbz_host_claim c;
	uint32_t i;
	pid_t pid = fork();
	if (pid == 0) {
		for (i = 0; i < ZBZ_HOST_SLOTS; i++) take(id_of(5, i + 1), 60000, &c);
		_exit(0);
	}
	reap_child(pid);
	CHECK(take(id_of(5, 100), 60000, &c) == ZBZ_OK && zbz_host_release(&c, ZBZ_OUTCOME_VALUE));
	CHECK(take(id_of(5, 1), 60000, &c) == ZBZ_OK && zbz_host_release(&c, ZBZ_OUTCOME_VALUE));
}

/* A process that died and is not yet waited for still has its number. */
static void zombie(void) {
	zbz_host_claim c;
	int pipe_fd[2];
	const uint8_t *id = id_of(6, 1);
	pid_t pid;
	siginfo_t info;
	CHECK(pipe(pipe_fd) == 0);
	pid = fork();
	if (pid == 0) {
		take(id, 60000, &c);
		if (write(pipe_fd[1], "x", 1) != 1) _exit(1);
		for (;;) pause();
	}
	await_byte(pipe_fd[0]);
	CHECK(take(id, 60000, &c) == ZBZ_REFUSED && c.holder.pid == (uint32_t)pid);
	kill(pid, SIGKILL);
	CHECK(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) == 0);
	CHECK(take(id, 60000, &c) == ZBZ_OK && zbz_host_release(&c, ZBZ_OUTCOME_VALUE));
	reap_child(pid);
	close(pipe_fd[0]);
	close(pipe_fd[1]);
}

/* Many processes add to a number that is no atomic one. */
static void excludes(void) {
	enum { PROCESSES = 4, TIMES = 2000 / SLOW };
	volatile uint64_t *sum = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	const uint8_t *id = id_of(7, 1);
	pid_t pids[PROCESSES];
	int i, n;
	for (i = 0; i < PROCESSES; i++) {
		pids[i] = fork();
		if (pids[i] != 0) continue;
		for (n = 0; n < TIMES;) {
			zbz_host_claim c;
			if (take(id, 60000, &c) != ZBZ_OK) continue;
			*sum = *sum + 1;
			zbz_host_release(&c, ZBZ_OUTCOME_VALUE);
			n++;
		}
		_exit(0);
	}
	for (i = 0; i < PROCESSES; i++) reap_child(pids[i]);
	CHECK(*sum == (uint64_t)PROCESSES * TIMES);
	munmap((void *)(uintptr_t)sum, 4096);
}

/* A process that dies at any point of taking or releasing holds up nobody. */
static void killed_inside(void) {
	enum { TIMES = 400 / SLOW, POINTS = 9 };
	int i, died = 0;
	for (i = 0; i < TIMES; i++) {
		const uint8_t *id = id_of(8, 1);
		zbz_host_claim c;
		int64_t began;
		int status;
		pid_t pid = fork();
		if (pid == 0) {
			signal_to_raise = SIGKILL;
			countdown = 1 + i % POINTS;
			if (take(id, 60000, &c) == ZBZ_OK) zbz_host_release(&c, ZBZ_OUTCOME_FAILED);
			_exit(0);
		}
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
		died += WIFSIGNALED(status);
		began = zbz_host_now();
		if (take(id, 60000, &c) != ZBZ_OK || !zbz_host_release(&c, ZBZ_OUTCOME_VALUE) || zbz_host_now() - began > 1000)
			CHECK(!"a dead process is in the way");
	}
	CHECK(died > TIMES * 3 / 4);
}

/* One that is stopped there costs the others their lock and a bounded time; nothing more. */
static void stopped_inside(void) {
	const uint8_t *id = id_of(9, 1);
	zbz_host_claim c;
	int64_t began;
	int status;
	pid_t pid = fork();
	if (pid == 0) {
		signal_to_raise = SIGSTOP;
		countdown = 1;
		take(id, 60000, &c);
		_exit(0);
	}
	CHECK(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status));
	began = zbz_host_now();
	CHECK(take(id, 60000, &c) == ZBZ_MISS);
	CHECK(zbz_host_now() - began < 500);
	kill(pid, SIGCONT);
	reap_child(pid);
	CHECK(take(id, 60000, &c) == ZBZ_OK && zbz_host_release(&c, ZBZ_OUTCOME_VALUE));
}

/* ---- the file: as another user, so that nobody's locks are disturbed ---- */

static char path[PATH_N];

static int open_result(void) { return zbz_host_open(&err) == ZBZ_OK ? 0 : err.status == ZBZ_E_DENIED ? 1 : 2; }

/* What opening it comes to in a process of its own: 0 OK, 1 denied, 2 else; and after OK whether a lock can be had (3 not). */
static int opens(uint32_t uid) {
	int status = 0;
	pid_t pid = fork();
	if (pid == 0) {
		zbz_host_claim c;
		int r;
		memset(segments, 0, sizeof segments);
		r = seteuid(uid) == 0 ? open_result() : 9;
		if (r == 0 && (take(id_of(1, 1), 1000, &c) != ZBZ_OK || !zbz_host_release(&c, ZBZ_OUTCOME_VALUE))) r = 3;
		_exit(r);
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 99;
}

/* 0: after the file was removed, who has it mapped and who comes later see each other's locks. */
static int follows(uint32_t uid) {
	int status = 0;
	pid_t pid = fork();
	if (pid == 0) {
		zbz_host_claim c, d;
		int fd[2], r;
		char byte;
		memset(segments, 0, sizeof segments);
		if (seteuid(uid) != 0 || take(id_of(1, 1), 60000, &c) != ZBZ_OK || unlink(path) != 0 || pipe(fd) != 0) _exit(1);
		pid = fork();
		if (pid == 0) {
			memset(segments, 0, sizeof segments);
			if (take(id_of(2, 2), 60000, &d) == ZBZ_OK && write(fd[1], "x", 1) == 1) pause();
			_exit(1);
		}
		close(fd[1]);
		r = read(fd[0], &byte, 1) == 1 && take(id_of(2, 2), 60000, &d) == ZBZ_REFUSED ? 0 : 2;
		if (r == 0 && !zbz_host_release(&c, ZBZ_OUTCOME_VALUE)) r = 3; /* where it was taken */
		kill(pid, SIGKILL);
		reap_child(pid);
		_exit(r);
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 99;
}

static void put_file(const void *bytes, size_t n, mode_t mode, uint32_t uid) {
	int fd;
	unlink(path);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL, mode);
	CHECK(fd >= 0 && fchmod(fd, mode) == 0 && fchown(fd, uid, 0) == 0 && write(fd, bytes, n) == (ssize_t)n);
	close(fd);
}

static void files(void) {
	uint32_t uid = 20000 + (uint32_t)getpid() % 20000;
	static char junk[sizeof(zbz_host_file)];
	struct stat st;
	if (geteuid() != 0) {
		printf("SKIP the file of the host-wide locks: not root, so no other user's can be made\n");
		return;
	}
	name_file(path, uid);
	unlink(path);
	CHECK(opens(uid) == 0 && stat(path, &st) == 0 && (st.st_mode & 0777) == 0600 && st.st_uid == uid);
	CHECK(st.st_size == sizeof(zbz_host_file) && opens(uid) == 0);
	memset(junk, 0xA5, sizeof junk);
	put_file(junk, sizeof junk, 0600, uid); /* damaged */
	CHECK(opens(uid) == 0);
	put_file(junk, 100, 0600, uid); /* cut short */
	CHECK(opens(uid) == 0 && stat(path, &st) == 0 && st.st_size == sizeof(zbz_host_file));
	put_file(junk, 0, 0600, uid); /* made, and then its maker died */
	CHECK(opens(uid) == 0);
	put_file(junk, sizeof junk, 0666, uid); /* others may write it */
	CHECK(opens(uid) == 1);
	put_file(junk, sizeof junk, 0600, uid + 1); /* another's */
	CHECK(opens(uid) == 1);
	unlink(path);
	CHECK(symlink("/etc/passwd", path) == 0 && opens(uid) == 1);
	unlink(path);
	CHECK(mkdir(path, 0700) == 0 && opens(uid) != 0);
	rmdir(path);
	/* Removed while in use: processes that come later make a new one, and those that were there follow. */
	CHECK(opens(uid) == 0 && follows(uid) == 0);
	/* A header that is right and slots full of nonsense. */
	CHECK(opens(uid) == 0);
	{
		int fd = open(path, O_RDWR);
		CHECK(pwrite(fd, junk, sizeof junk - sizeof(zbz_host_header), sizeof(zbz_host_header)) > 0);
		close(fd);
	}
	CHECK(opens(uid) == 0);
	unlink(path);
}

int main(void) {
	salt = 0x5a5a000000000000u + (uint64_t)getpid();
	RUN(slots);
	RUN(leases);
	RUN(full);
	RUN(full_of_the_dead);
	RUN(zombie);
	RUN(excludes);
	RUN(killed_inside);
	RUN(stopped_inside);
	RUN(files);
	return DONE();
}
