/* Locks among processes: holders that die, stop or are slow, in every place; who waits, and who is woken. The host-wide table is compiled in,
 * with a hook in the middle of its writers. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void in_a_writer(void);
#define ZBZ_HOST_POINT() in_a_writer()

#include "base/life.c"
#include "cache/host_segment.c"
#include "cache/host_slots.c"

#include <zbz/zbz.h>

#include "check.h"
#include "faults.h"

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
enum { SLOW = 5 };
#else
enum { SLOW = 1 };
#endif

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

static void reap_child(pid_t pid) {
	int status;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
}

/* Waits until the child has written a byte. */
static void await_byte(int fd) {
	char c;
	ssize_t n;
	do n = read(fd, &c, 1);
	while (n < 0 && errno == EINTR);
	CHECK(n == 1);
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

/* ---- the whole: tables over a store that processes share ---- */

static char dir[] = "/tmp/zbz-test-lock-XXXXXX";
static zbz_store *stores[2];
static zbz_cache *caches[2];
static zbz_table *tables[2];

static bool open_side(int i, const char *provider) {
	zbz_config *cfg = zbz_config_new();
	zbz_cache_opts o = { .key_prefix = zbz_bstr("p:") };
	zbz_table_opts to = { .name = zbz_bstr("t"), .ttl = -1, .deadline = -1 };
	bool ok = cfg != NULL && zbz_config_set_text(cfg, "provider", zbz_bstr(provider), &err) == ZBZ_OK;
	if (ok && strcmp(provider, "filesystem") == 0)
		ok = zbz_config_set_text(cfg, "base_dir", zbz_bstr(dir), &err) == ZBZ_OK;
	ok = ok && zbz_store_open(cfg, NULL, &stores[i], &err) == ZBZ_OK;
	zbz_config_free(cfg);
	return ok && zbz_cache_new(stores[i], &o, &caches[i], &err) == ZBZ_OK &&
	       zbz_table_new(caches[i], &to, &tables[i], &err) == ZBZ_OK;
}

static void open_sides(const char *provider) { CHECK(open_side(0, provider) && open_side(1, provider)); }

static void close_sides(void) {
	int i;
	for (i = 0; i < 2; i++) {
		zbz_table_free(tables[i]);
		zbz_cache_unref(caches[i]);
		zbz_store_unref(stores[i]);
	}
}

static zbz_lock *new_lock(int side, const char *key, zbz_reach reach, const void *owner) {
	zbz_lock *l = NULL;
	CHECK(zbz_table_lock(tables[side], zbz_bstr(key), reach, owner, &l, &err) == ZBZ_OK && l != NULL);
	return l;
}

static zbz_status try_for(zbz_lock *l, int64_t lease) {
	zbz_call c;
	zbz_table_begin(tables[0], &c, 0);
	return zbz_lock_try(l, &c, lease);
}
static zbz_status try(zbz_lock *l) { return try_for(l, 60000); }

static zbz_status release(zbz_lock *l, zbz_outcome outcome) {
	zbz_call c;
	zbz_table_begin(tables[0], &c, 0);
	return zbz_lock_release(l, &c, outcome);
}

static void wait_once(zbz_lock *l) {
	int64_t patience = zbz_lock_patience(l), now = zbz_mono(zbz_clock_system());
	zbz_err e;
	if (zbz_lock_ended(l)) return;
	zbz_lock_wait(l, zbz_clock_system(), patience == ZBZ_NEVER ? ZBZ_NEVER : now + patience, &e);
}

/* As a caller does who was refused: until it is told how it ended, or may go on. */
static zbz_outcome outlast(zbz_lock *l) {
	do wait_once(l);
	while (!(zbz_lock_ended(l) && zbz_lock_outcome(l) != ZBZ_OUTCOME_UNKNOWN) && try(l) == ZBZ_REFUSED);
	return zbz_lock_outcome(l);
}

static void calls_back(void *ud) { atomic_fetch_add((atomic_int *)ud, 1); }

static void one_after_another(zbz_reach reach) {
	zbz_lock *a = new_lock(0, "k", reach, &reach), *b = new_lock(1, "k", reach, NULL), *self, *other;
	atomic_int called = 0;
	CHECK(try_for(a, 0) == ZBZ_E_ARGUMENT);
	CHECK(try(a) == ZBZ_OK && try(a) == ZBZ_E_ARGUMENT);
	CHECK(try(b) == ZBZ_REFUSED && !zbz_lock_own(b) && !zbz_lock_ended(b));
	CHECK(zbz_lock_patience(b) > 0 && zbz_lock_patience(b) <= 60001);
	self = new_lock(1, "k", reach, &reach);
	CHECK(try(self) == ZBZ_REFUSED && zbz_lock_own(self));
	other = new_lock(1, "another", reach, NULL);
	CHECK(try(other) == ZBZ_OK && release(other, ZBZ_OUTCOME_VALUE) == ZBZ_OK);
	CHECK(release(other, ZBZ_OUTCOME_VALUE) == ZBZ_MISS);
	CHECK(zbz_lock_on_end(self, calls_back, &called, &err) == ZBZ_OK && called == 0);
	zbz_lock_unref(self); /* its callback must not wait for ever */
	CHECK(called == 1);
	CHECK(zbz_lock_on_end(b, calls_back, &called, &err) == ZBZ_OK);
	CHECK(try(b) == ZBZ_REFUSED && called == 2);
	CHECK(zbz_lock_wait(b, zbz_clock_system(), zbz_mono(zbz_clock_system()) + 5, &err) == ZBZ_E_TIMEOUT);
	CHECK(release(a, ZBZ_OUTCOME_FAILED) == ZBZ_OK);
	CHECK(outlast(b) == ZBZ_OUTCOME_FAILED);
	CHECK(try(b) == ZBZ_OK || reach == ZBZ_REACH_CLUSTER); /* the note of the failure stands for who waited for it */
	zbz_lock_unref(b);
	CHECK(try(a) == ZBZ_OK); /* what was held at the end was given back */
	zbz_lock_unref(a);
	zbz_lock_unref(other);
	zbz_lock_unref(NULL);
}

static void on_host(void) {
	open_sides("filesystem");
	one_after_another(ZBZ_REACH_HOST);
	close_sides();
}

static void emulated(void) {
	zbz_lock *a, *b;
	open_sides("filesystem");
	one_after_another(ZBZ_REACH_CLUSTER);
	a = new_lock(0, "lease", ZBZ_REACH_CLUSTER, NULL);
	b = new_lock(1, "lease", ZBZ_REACH_CLUSTER, NULL);
	CHECK(try_for(a, 50 * SLOW) == ZBZ_OK && try(b) == ZBZ_REFUSED);
	CHECK(outlast(b) == ZBZ_OUTCOME_UNKNOWN); /* ours now */
	CHECK(release(a, ZBZ_OUTCOME_FAILED) == ZBZ_MISS);
	CHECK(release(b, ZBZ_OUTCOME_ABSENT) == ZBZ_OK);
	CHECK(try(a) == ZBZ_OK); /* a note that is not for us is no hindrance */
	CHECK(try(b) == ZBZ_REFUSED && release(a, ZBZ_OUTCOME_VALUE) == ZBZ_OK && outlast(b) == ZBZ_OUTCOME_UNKNOWN);
	CHECK(release(b, ZBZ_OUTCOME_VALUE) == ZBZ_OK);
	zbz_lock_unref(a);
	zbz_lock_unref(b);
	close_sides();
}

static void private_store(void) {
	zbz_lock *l;
	open_sides("memory");
	CHECK(zbz_table_lock(tables[0], zbz_bstr("k"), ZBZ_REACH_CLUSTER, NULL, &l, &err) == ZBZ_MISS && l == NULL);
	CHECK(zbz_table_lock(tables[0], zbz_bstr(""), ZBZ_REACH_HOST, NULL, &l, &err) == ZBZ_E_KEY && l == NULL);
	close_sides();
}

/* The names are zbz's own: no program's key, in no listing. */
static void reserved(void) {
	zbz_table_opts to = { .prefix = zbz_bstr(""), .ttl = -1, .deadline = -1 };
	zbz_lock *l;
	zbz_table *root;
	zbz_listing *list;
	zbz_call c;
	zbz_buf out = { 0 };
	zbz_bytes keys[2] = { zbz_bstr(ZBZ_RESERVED "lock:x"), zbz_bstr("fine") };
	zbz_status each[2], s = ZBZ_OK;
	size_t n = 0;
	open_sides("filesystem");
	l = new_lock(0, "k", ZBZ_REACH_CLUSTER, NULL);
	CHECK(try(l) == ZBZ_OK);
	CHECK(zbz_table_new(caches[0], &to, &root, &err) == ZBZ_OK);
	zbz_table_begin(root, &c, 0);
	CHECK(zbz_table_set(root, &c, keys[0], keys[1], NULL, NULL) == ZBZ_E_KEY);
	CHECK(zbz_table_set_many(root, &c, keys, keys, (const zbz_put *const[]){ NULL, NULL }, 2, each) == ZBZ_OK);
	CHECK(each[0] == ZBZ_E_KEY && each[1] == ZBZ_OK);
	CHECK(zbz_table_keys_open(root, &c, zbz_bstr("*"), &list) == ZBZ_OK);
	while (s == ZBZ_OK) s = zbz_table_keys_next(list, &c, 100, &out, &n);
	CHECK(s == ZBZ_END && n == 1);
	zbz_table_keys_close(list);
	zbz_buf_clear(&out);
	CHECK(zbz_table_del(root, &c, keys[1]) == ZBZ_OK);
	zbz_table_free(root);
	zbz_lock_unref(l);
	close_sides();
}

/* ---- memory that runs out ---- */

static void sweep(zbz_reach reach) {
	bool failed = true;
	long n;
	for (n = 1; failed; n++) {
		zbz_lock *l = NULL;
		zbz_call c;
		zbz_status s;
		long live;
		atomic_int called = 0;
		char key[32]; /* a release that fails leaves the lock to its lease */
		snprintf(key, sizeof key, "sweep%ld", n);
		faults_begin(n);
		zbz_table_begin(tables[0], &c, 0);
		s = zbz_table_lock(tables[0], zbz_bstr(key), reach, NULL, &l, &err);
		if (s == ZBZ_OK) s = zbz_lock_try(l, &c, 60000);
		if (s == ZBZ_OK) s = zbz_lock_release(l, &c, ZBZ_OUTCOME_VALUE);
		if (s == ZBZ_OK) s = zbz_lock_try(l, &c, 60000);
		if (s == ZBZ_OK) s = zbz_lock_on_end(l, calls_back, &called, &err);
		zbz_lock_unref(l);
		failed = faults_end(&live);
		CHECK(live == 0 && (failed || s == ZBZ_OK));
	}
	CHECK(n > 3);
}

static void memory_runs_out(void) {
	open_sides("filesystem");
	sweep(ZBZ_REACH_HOST);
	sweep(ZBZ_REACH_CLUSTER);
	close_sides();
}

/* ---- processes ---- */

/* A child that takes the lock of "held" and keeps it. */
static pid_t hold_in_child(zbz_reach reach, int64_t lease) {
	int fd[2];
	pid_t pid;
	CHECK(pipe(fd) == 0);
	pid = fork();
	if (pid == 0) {
		zbz_lock *l = NULL;
		if (zbz_table_lock(tables[1], zbz_bstr("held"), reach, NULL, &l, &err) != ZBZ_OK || try_for(l, lease) != ZBZ_OK)
			_exit(1);
		if (write(fd[1], "x", 1) != 1) _exit(1);
		for (;;) pause();
	}
	await_byte(fd[0]);
	close(fd[0]);
	close(fd[1]);
	return pid;
}

static void *wait_for_it(void *l) {
	zbz_err e;
	return zbz_lock_wait(l, zbz_clock_system(), zbz_mono(zbz_clock_system()) + 20000, &e) == ZBZ_OK ? l : NULL;
}

/* Several threads wait when the holder is killed. */
static void holder_killed(void) {
	enum { THREADS = 6, ROUNDS = 10 / SLOW };
	int round, i;
	open_sides("filesystem");
	for (round = 0; round < ROUNDS; round++) {
		zbz_lock *locks[THREADS];
		pthread_t threads[THREADS];
		void *woken;
		int64_t killed;
		pid_t pid = hold_in_child(ZBZ_REACH_HOST, 60000);
		for (i = 0; i < THREADS; i++) {
			locks[i] = new_lock(i % 2, "held", ZBZ_REACH_HOST, NULL);
			CHECK(try(locks[i]) == ZBZ_REFUSED);
			CHECK(pthread_create(&threads[i], NULL, wait_for_it, locks[i]) == 0);
		}
		killed = zbz_host_now();
		kill(pid, SIGKILL);
		for (i = 0; i < THREADS; i++) {
			pthread_join(threads[i], &woken);
			CHECK(woken != NULL && zbz_lock_outcome(locks[i]) == ZBZ_OUTCOME_UNKNOWN);
		}
		CHECK(zbz_host_now() - killed < 1000);
		reap_child(pid);
		CHECK(try(locks[0]) == ZBZ_OK && try(locks[1]) == ZBZ_REFUSED);
		for (i = 0; i < THREADS; i++) zbz_lock_unref(locks[i]);
	}
	close_sides();
}

static void lease_ends(void) {
	zbz_lock *l;
	int64_t began = zbz_host_now();
	pid_t pid;
	open_sides("filesystem");
	pid = hold_in_child(ZBZ_REACH_HOST, 100);
	l = new_lock(0, "held", ZBZ_REACH_HOST, NULL);
	CHECK(try(l) == ZBZ_REFUSED && zbz_lock_patience(l) <= 101);
	CHECK(wait_for_it(l) == l && try(l) == ZBZ_OK);
	CHECK(zbz_host_now() - began < 2000);
	kill(pid, SIGKILL);
	reap_child(pid);
	zbz_lock_unref(l);
	close_sides();
}

/* What a child inherits is its parent's: it neither uses it nor gives it back. */
static void inherited(zbz_reach reach) {
	zbz_lock *mine = new_lock(0, "mine", reach, NULL), *waits = new_lock(1, "mine", reach, NULL);
	atomic_int called = 0;
	int status;
	pid_t pid;
	CHECK(try(mine) == ZBZ_OK && try(waits) == ZBZ_REFUSED);
	CHECK(zbz_lock_on_end(waits, calls_back, &called, &err) == ZBZ_OK);
	pid = fork();
	if (pid == 0) {
		bool ok = release(mine, ZBZ_OUTCOME_VALUE) == ZBZ_MISS && try(mine) == ZBZ_E_CLOSED && zbz_lock_ended(waits);
		zbz_lock_unref(mine);
		zbz_lock_unref(waits);
		_exit(ok && called == 0 ? 0 : 1);
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	CHECK(called == 0 && try(waits) == ZBZ_REFUSED);
	CHECK(release(mine, ZBZ_OUTCOME_VALUE) == ZBZ_OK);
	zbz_lock_unref(mine);
	zbz_lock_unref(waits);
	CHECK(called == 1);
}

static void forks(void) {
	open_sides("filesystem");
	inherited(ZBZ_REACH_HOST);
	inherited(ZBZ_REACH_CLUSTER);
	close_sides();
}

/* ---- threads: every one takes its turn ---- */

static struct crowd {
	zbz_reach reach;
	int turns;
	long sum;                    /* under the lock */
	atomic_long without, waited; /* without: on a busy machine */
} crowd;

static void *take_turns(void *side) {
	int i;
	for (i = 0; i < crowd.turns; i++) {
		zbz_lock *l = NULL;
		zbz_status s;
		bool waited = false;
		zbz_err e;
		if (zbz_table_lock(tables[*(int *)side], zbz_bstr("crowd"), crowd.reach, NULL, &l, &e) != ZBZ_OK) return NULL;
		while ((s = try(l)) == ZBZ_REFUSED) {
			wait_once(l);
			waited = true;
		}
		atomic_fetch_add(&crowd.waited, waited);
		sched_yield(); /* so that others come meanwhile */
		if (s == ZBZ_OK)
			crowd.sum++;
		else
			atomic_fetch_add(&crowd.without, s == ZBZ_MISS);
		release(l, ZBZ_OUTCOME_VALUE);
		zbz_lock_unref(l);
	}
	return side;
}

static void take_turns_all(zbz_reach reach, int turns) {
	enum { THREADS = 6 };
	pthread_t threads[THREADS];
	int sides[THREADS], i;
	void *fine;
	crowd.reach = reach;
	crowd.turns = turns;
	crowd.sum = crowd.without = crowd.waited = 0;
	for (i = 0; i < THREADS; i++) {
		sides[i] = i % 2;
		CHECK(pthread_create(&threads[i], NULL, take_turns, &sides[i]) == 0);
	}
	for (i = 0; i < THREADS; i++) {
		pthread_join(threads[i], &fine);
		CHECK(fine != NULL);
	}
	CHECK(crowd.sum + crowd.without == (long)THREADS * turns && crowd.without < crowd.sum && crowd.waited > 0);
}

static void crowds(void) {
	open_sides("filesystem");
	take_turns_all(ZBZ_REACH_HOST, 200 / SLOW);
	take_turns_all(ZBZ_REACH_CLUSTER, 10);
	close_sides();
}

int main(void) {
	char command[64];
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
	CHECK(mkdtemp(dir) != NULL);
	RUN(private_store);
	RUN(on_host);
	RUN(emulated);
	RUN(reserved);
	RUN(memory_runs_out);
	RUN(forks);
	RUN(lease_ends);
	RUN(holder_killed);
	RUN(crowds);
	snprintf(command, sizeof command, "rm -rf '%s'", dir);
	CHECK(system(command) == 0);
	return DONE();
}
