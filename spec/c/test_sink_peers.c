/* The outputs tcp and unix among processes: receivers killed in the midst of it, forks, two that log, a network that falls silent. */
#include "net_rig.h"

#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>

enum { N = 10000 };

static unsigned char seen[N];

/* ---- a receiver in a process of its own ---- */

typedef struct page {
	_Atomic size_t n;
	char text[2 * N * LINE_N];
} page;

typedef struct victim {
	page *page;
	pid_t pid;
} victim;

/* Reads one connection until it is killed. */
static void victim_start(victim *v, int listener) {
	v->page = mmap(NULL, sizeof *v->page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	v->pid = fork();
	if (v->pid == 0) {
		int fd;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		fd = accept(listener, NULL, NULL);
		close(listener);
		for (;;) {
			size_t n = atomic_load(&v->page->n);
			ssize_t got = recv(fd, v->page->text + n, 4096, MSG_PEEK);
			if (got <= 0) _exit(0);
			atomic_store(&v->page->n, n + (size_t)got); /* before the kernel forgets them: no moment has them nowhere */
			if (recv(fd, v->page->text + n, (size_t)got, 0) != got) _exit(1);
		}
	}
	close(listener);
}

static void victim_stop(const victim *v, size_t when) {
	for (int i = 0; i < PATIENCE && atomic_load(&v->page->n) < when; i++)
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	kill(v->pid, SIGSTOP);
	waitpid(v->pid, NULL, WUNTRACED);
}

static void victim_end(victim *v, counted *c) {
	kill(v->pid, SIGKILL);
	waitpid(v->pid, NULL, 0);
	memset(c, 0, sizeof *c);
	count_lines(v->page->text, atomic_load(&v->page->n), seen, N, c);
	munmap(v->page, sizeof *v->page);
}

/* Bytes that this port's connection has received and nobody has read. */
static long unread_of(int port) {
	unsigned local, state, sent, unread;
	char line[300];
	long found = -1;
	FILE *f = fopen("/proc/net/tcp", "r");
	while (f != NULL && fgets(line, sizeof line, f) != NULL)
		if (sscanf(line, "%*d: %*x:%x %*x:%*x %x %x:%x", &local, &state, &sent, &unread) == 4 && (int)local == port &&
		    state == 1)
			found = (long)unread;
	if (f != NULL) fclose(f);
	return found;
}

static void killed(int family, const char *path) {
	zbz_output *o;
	receiver r;
	victim v;
	counted before, after;
	char line[300];
	long unread = 0;
	int listener = bound(family, SOCK_STREAM, 0, path), port = path == NULL ? port_of(listener) : 0;
	memset(seen, 0, sizeof seen);
	victim_start(&v, listener);
	if (path == NULL)
		snprintf(line, sizeof line, "type=tcp address=127.0.0.1:%d timeout=200ms max_retry_delay=50ms", port);
	else
		snprintf(line, sizeof line, "type=unix address=%s timeout=200ms max_retry_delay=50ms", path);
	CHECK(log_open(line, &o, &err) == ZBZ_OK);
	for (int i = 0; i < N; i++) {
		say_line(o, i);
		if (i == N / 10) victim_stop(&v, 3000);
	}
	CHECK(await_retries(o, 1)); /* it hangs, so nothing moves any more */
	if (path == NULL) unread = unread_of(port);
	CHECK(unread >= 0);
	victim_end(&v, &before);
	CHECK(receiver_start(&r, family, SOCK_STREAM, port, path));
	CHECK(flush(o, PATIENCE) == ZBZ_OK);
	zbz_output_unref(o);
	CHECK(receiver_await_ends(&r, 1));
	after = receiver_count(&r, seen, N);
	CHECK(before.torn == 0 && before.seen > 0 && after.torn == 0 && after.disorder == 0 &&
	      receiver_connections(&r) == 1);
	/* All are there but what the dead one's kernel had taken and it had not read; over a unix socket, all. */
	CHECK((N - before.seen - after.seen) * LINE_N <= (path == NULL ? unread + LINE_N : 0));
	CHECK(after.doubled <= 1024);
	receiver_end(&r);
}

static void killed_tcp(void) { killed(AF_INET, NULL); }
static void killed_unix(void) {
	char path[100];
	snprintf(path, sizeof path, "%s/k", work);
	killed(AF_UNIX, path);
}

/* ---- forks ---- */

/* The child's copy of the connection does not keep it open; what the child logs goes over its own. */
static void a_fork(void) {
	receiver r;
	zbz_output *o;
	char line[200], byte = 0;
	int go[2], status;
	pid_t pid;
	CHECK(receiver_start(&r, AF_INET, SOCK_STREAM, 0, NULL) && pipe(go) == 0);
	snprintf(line, sizeof line, "type=tcp address=%s", r.address);
	CHECK(log_open(line, &o, &err) == ZBZ_OK);
	say(o, "parent\n");
	CHECK(flush(o, PATIENCE) == ZBZ_OK && receiver_has(&r, "parent\n"));
	pid = fork();
	if (pid == 0) {
		bool ok = read(go[0], &byte, 1) == 1;
		if (CHILD_THREADS) {
			say(o, "child\n");
			ok = ok && flush(o, PATIENCE) == ZBZ_OK;
			zbz_output_unref(o);
		}
		_exit(ok ? 0 : 1);
	}
	zbz_output_unref(o);
	CHECK(receiver_await_ends(&r, 1));
	CHECK(write(go[1], "x", 1) == 1 && waitpid(pid, &status, 0) == pid && status == 0);
	if (CHILD_THREADS) CHECK(receiver_has(&r, "parent\nchild\n") && receiver_connections(&r) == 2);
	close(go[0]);
	close(go[1]);
	receiver_end(&r);
}

static void two_processes(void) {
	receiver r;
	counted c;
	char line[200];
	pid_t pids[2];
	int status;
	memset(seen, 0, sizeof seen);
	CHECK(receiver_start(&r, AF_INET, SOCK_STREAM, 0, NULL));
	snprintf(line, sizeof line, "type=tcp address=%s", r.address);
	for (int k = 0; k < 2; k++) {
		pids[k] = fork();
		if (pids[k] == 0) {
			zbz_output *o;
			bool ok = log_open(line, &o, &err) == ZBZ_OK;
			for (int i = 0; ok && i < N / 2; i++) ok = say_line(o, k * (N / 2) + i);
			ok = ok && flush(o, PATIENCE) == ZBZ_OK;
			zbz_output_unref(o);
			_exit(ok ? 0 : 1);
		}
	}
	for (int k = 0; k < 2; k++) CHECK(waitpid(pids[k], &status, 0) == pids[k] && status == 0);
	CHECK(receiver_await(&r, (size_t)N * LINE_N));
	c = receiver_count(&r, seen, N);
	CHECK(c.seen == N && c.torn == 0 && c.doubled == 0);
	receiver_end(&r);
}

/* What an open writes for the dead is no reason to keep a connection, which a receiver that serves one at a time would wait for. */
static void after_the_dead(void) {
	receiver r;
	zbz_output *o;
	char line[200];
	int port = free_port(SOCK_STREAM);
	pid_t pid;
	snprintf(line, sizeof line, "type=tcp address=127.0.0.1:%d", port);
	pid = fork();
	if (pid == 0) {
		if (log_open(line, &o, &err) == ZBZ_OK) say(o, "of the dead\n");
		kill(getpid(), SIGKILL);
	}
	reap_child(pid);
	CHECK(receiver_start(&r, AF_INET, SOCK_STREAM, port, NULL));
	CHECK(log_open(line, &o, &err) == ZBZ_OK);
	CHECK(receiver_has(&r, "of the dead\n") && receiver_await_ends(&r, 1));
	say(o, "of the living\n");
	CHECK(receiver_has(&r, "of the dead\nof the living\n") && receiver_connections(&r) == 2);
	zbz_output_unref(o);
	receiver_end(&r);
}

/* ---- a network that falls silent ---- */

static bool loopback(bool up) {
	struct ifreq ask = { .ifr_name = "lo" };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	bool ok = ioctl(fd, SIOCGIFFLAGS, &ask) == 0;
	ask.ifr_flags = (short)(up ? ask.ifr_flags | IFF_UP : ask.ifr_flags & ~IFF_UP);
	ok = ok && ioctl(fd, SIOCSIFFLAGS, &ask) == 0;
	close(fd);
	return ok;
}

/* In a network of its own: nobody refuses, nobody answers. The connection is given up long before the kernel would do so. */
static int in_silence(void) {
	receiver r;
	rig g;
	char line[200];
	int tries = 0;
	CHECK(loopback(true) && receiver_start(&r, AF_INET, SOCK_STREAM, 0, NULL));
	snprintf(line, sizeof line, "tcp address=%s timeout=300ms", r.address);
	CHECK(rig_open(&g, line) == ZBZ_OK && rig_write(&g, "before\n", PATIENCE) == ZBZ_OK);
	CHECK(loopback(false));
	CHECK(rig_write(&g, "during\n", PATIENCE) < 0 && err.retryable && g.done == 0);
	while (++tries < 20 && !says("connect")) CHECK(rig_write(&g, "during\n", PATIENCE) < 0 && err.retryable);
	CHECK(says("connect"));
	CHECK(loopback(true));
	CHECK(rig_write(&g, "during\n", PATIENCE) == ZBZ_OK && g.done == 1);
	rig_close(&g);
	receiver_end(&r);
	return check_failed;
}

/* A name with two addresses, and somebody at the one that comes second. */
static int at_second_address(void) {
	static const int families[] = { AF_INET, AF_INET6 };
	char hosts[100];
	FILE *f;
	snprintf(hosts, sizeof hosts, "%s/hosts", work);
	f = fopen(hosts, "w");
	if (f == NULL || fputs("::1 both.test\n127.0.0.1 both.test\n", f) < 0 || fclose(f) != 0) return 99;
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 || mount(hosts, "/etc/hosts", NULL, MS_BIND, NULL) != 0)
		return 99;
	for (int i = 0; i < 2; i++) {
		receiver r;
		zbz_output *o;
		char line[200];
		CHECK(receiver_start(&r, families[i], SOCK_DGRAM, 0, NULL));
		snprintf(line, sizeof line, "type=udp address=both.test:%d max_retry_delay=50ms", r.port);
		CHECK(log_open(line, &o, &err) == ZBZ_OK);
		say(o, "found\n");
		CHECK(flush(o, PATIENCE) == ZBZ_OK && receiver_has(&r, "found\n"));
		zbz_output_unref(o);
		receiver_end(&r);
	}
	return check_failed;
}

/* In a process that has a part of the system for itself. */
static void apart(int what, int (*test)(void)) {
	int status;
	pid_t pid;
	pid = fork();
	if (pid == 0) {
		if (unshare(what) != 0 && unshare(CLONE_NEWUSER | what) != 0) _exit(99);
		check_failed = 0;
		_exit(test());
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 99) {
		check_skipped++;
		printf("SKIP %s: no namespace of one's own may be made here\n", check_name);
	} else {
		CHECK(status == 0);
	}
}

static void silence(void) { apart(CLONE_NEWNET, in_silence); }
static void names(void) { apart(CLONE_NEWNS, at_second_address); }

int main(void) {
	if (!dirs_make()) return 2;
	RUN_IF(CHILD_THREADS, silence);
	RUN_IF(CHILD_THREADS, names);
	RUN(killed_tcp);
	RUN(killed_unix);
	RUN(a_fork);
	RUN_IF(CHILD_THREADS, two_processes);
	RUN_IF(CHILD_THREADS, after_the_dead);
	dirs_remove();
	return DONE();
}
