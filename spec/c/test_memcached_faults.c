/* The memcached provider when things go wrong: servers that are absent, hang, die or talk nonsense; forks; no memory. */
#include <dirent.h>

#include "faults.h"
#include "memcached_rig.h"

static void absent_server(void) {
	int port;
	char address[40];
	mc m;
	zbz_buf b = { 0 };
	int64_t v;
	close(bound_socket(&port));
	snprintf(address, sizeof address, "127.0.0.1:%d", port);
	CHECK(mc_open(&m, "servers", address, NULL, NULL) == ZBZ_OK); /* opening talks to nobody */
	int64_t t0 = mono();
	CHECK(get(&m, key("k"), &b, NULL) == ZBZ_E_UNAVAILABLE && m.err.retryable && m.err.sys_errno == ECONNREFUSED);
	CHECK(strstr(m.err.text, address) != NULL);
	CHECK(put(&m, key("k"), zbz_bstr("v"), 0) == ZBZ_E_UNAVAILABLE && del(&m, key("k")) == ZBZ_E_UNAVAILABLE);
	CHECK(incr(&m, key("k"), 1, &v) == ZBZ_E_UNAVAILABLE && ttl(&m, key("k"), &v) == ZBZ_E_UNAVAILABLE);
	CHECK(mono() - t0 < 2000);
	zbz_call c = call();
	zbz_provider_stats st;
	ops->stats(m.self, &c, &st);
	CHECK(st.keys == -1 && st.retries >= 6 && st.connections == 0);
	zbz_bytes two[2] = { key("a"), key("b") };
	zbz_found found[2];
	CHECK(ops->get_many(m.self, &c, two, 2, &b, found) == ZBZ_E_UNAVAILABLE &&
	      ops->ping(m.self, &c) == ZBZ_E_UNAVAILABLE);
	mc_end(&m);
	CHECK(mc_open(&m, "servers", "no-such-host.invalid", "timeout", "2s") == ZBZ_OK);
	zbz_status s = get(&m, key("k"), &b, NULL);
	CHECK(s == ZBZ_E_UNAVAILABLE || s == ZBZ_E_TIMEOUT);
	zbz_buf_clear(&b);
	mc_end(&m);
}

static void stopped_server(void) {
	server s = server_start();
	mc m;
	zbz_buf b = { 0 };
	CHECK(mc_open(&m, "servers", s.address, NULL, NULL) == ZBZ_OK); /* timeout 100ms */
	CHECK(put(&m, key("k"), zbz_bstr("v"), 0) == ZBZ_OK);
	kill(s.pid, SIGSTOP);
	waitpid(s.pid, NULL, WUNTRACED); /* all its threads stand still */
	for (int i = 0; i < 2; i++) {
		int64_t t0 = mono();
		CHECK(get(&m, key("k"), &b, NULL) == ZBZ_E_TIMEOUT && m.err.retryable);
		CHECK(mono() - t0 >= 90 && mono() - t0 < 400);
	}
	zbz_call c = call();
	c.deadline = mono() + 30;
	int64_t t0 = mono();
	CHECK(ops->get(m.self, &c, key("k"), &b, NULL) == ZBZ_E_TIMEOUT && mono() - t0 < 95);
	kill(s.pid, SIGCONT);
	mc_end(&m);
	m = mc_at(s.address);
	CHECK(has(&m, key("k"), zbz_bstr("v")));
	zbz_buf_clear(&b);
	mc_end(&m);
	server_end(&s, SIGKILL);
}

static void restarted_server(void) {
	server s = server_start();
	mc m = mc_at(s.address);
	zbz_buf b = { 0 };
	int64_t v;
	CHECK(put(&m, key("k"), zbz_bstr("v"), 0) == ZBZ_OK);
	server_end(&s, SIGKILL);
	CHECK(get(&m, key("k"), &b, NULL) == ZBZ_E_UNAVAILABLE);
	CHECK(server_launch(&s));
	CHECK(get(&m, key("k"), &b, NULL) == ZBZ_MISS && put(&m, key("k"), zbz_bstr("w"), 0) == ZBZ_OK);
	server_end(&s, SIGKILL);
	CHECK(server_launch(&s));
	CHECK(incr(&m, key("n"), 1, &v) == ZBZ_OK && v == 1); /* the parked connection is known to be dead beforehand */
	zbz_buf_clear(&b);
	mc_end(&m);
	server_end(&s, SIGKILL);
}

/* Ends the server as soon as the first items of the batch are there. */
static void *killer(void *ud) {
	server *s = ud;
	char answer[64];
	int fd = connected(s->port);
	ssize_t n = 0;
	while (fd >= 0 && n >= 0 && !(n >= 2 && memcmp(answer, "HD", 2) == 0))
		n = write(fd, "mg key9\r\n", 9) == 9 ? read(fd, answer, sizeof answer) : -1;
	kill(s->pid, SIGKILL);
	if (fd >= 0) close(fd);
	return NULL;
}

static void killed_in_a_batch(void) {
	static char value[100000];
	for (int round = 0; round < 5; round++) {
		server s = server_start();
		mc m = mc_at(s.address);
		pthread_t t;
		zbz_bytes keys[400];
		zbz_write w[400];
		zbz_status status[400];
		char names[400][20];
		zbz_call c = call();
		for (int i = 0; i < 400; i++) {
			keys[i] = zbz_b(names[i], (size_t)snprintf(names[i], 20, "key%d", i));
			w[i] = (zbz_write){ .key = keys[i], .value = zbz_b(value, sizeof value) };
			status[i] = ZBZ_AGAIN;
		}
		pthread_create(&t, NULL, killer, &s);
		zbz_status st = ZBZ_OK;
		for (int i = 0; i < 100 && st == ZBZ_OK; i++) st = ops->set_many(m.self, &c, w, 400, status);
		CHECK(st == ZBZ_E_UNAVAILABLE);
		for (int i = 0; i < 400; i++) CHECK(status[i] == ZBZ_E_UNAVAILABLE);
		pthread_join(t, NULL);
		waitpid(s.pid, NULL, 0);
		mc_end(&m);
	}
}

static void one_of_three_down(void) {
	server s[3] = { server_start(), server_start(), server_start() };
	char all[120];
	zbz_bytes keys[90];
	zbz_found found[90];
	char names[90][20];
	int down = 0, up = 0;
	zbz_buf b = { 0 };
	zbz_call c = call();
	uint64_t removed;
	snprintf(all, sizeof all, "%s,%s,%s", s[0].address, s[1].address, s[2].address);
	mc m = mc_at(all);
	for (int i = 0; i < 90; i++) {
		keys[i] = zbz_b(names[i], (size_t)snprintf(names[i], 20, "key%d", i));
		CHECK(put(&m, keys[i], zbz_bstr("v"), 0) == ZBZ_OK);
	}
	server_end(&s[1], SIGKILL);
	for (int i = 0; i < 90; i++) {
		zbz_status st = get(&m, keys[i], &b, NULL);
		CHECK(st == ZBZ_OK || (st == ZBZ_E_UNAVAILABLE && strstr(m.err.text, s[1].address) != NULL)); /* never a miss */
		down += st != ZBZ_OK;
	}
	CHECK(down > 5 && down < 60);
	CHECK(ops->get_many(m.self, &c, keys, 90, &b, found) == ZBZ_OK);
	for (int i = 0; i < 90; i++) up += found[i].status == ZBZ_OK;
	CHECK(up == 90 - down);
	CHECK(ops->ping(m.self, &c) == ZBZ_E_UNAVAILABLE && strstr(c.err.text, s[1].address) != NULL);
	CHECK(ops->clear(m.self, &c, zbz_bstr("key"), &removed) == ZBZ_E_UNAVAILABLE); /* not "all removed" */
	CHECK(server_launch(&s[1]));
	CHECK(get(&m, keys[0], &b, NULL) >= 0 && ops->ping(m.self, &c) == ZBZ_OK &&
	      ops->clear(m.self, &c, zbz_bstr("key"), &removed) == ZBZ_OK);
	zbz_buf_clear(&b);
	mc_end(&m);
	for (int i = 0; i < 3; i++) server_end(&s[i], SIGKILL);
}

/* A peer that answers every connection's first bytes with the given ones, and closes. */
typedef struct liar {
	int fd, port;
	const char *answer;
	size_t n;
} liar;

static void *liar_main(void *ud) {
	liar *l = ud;
	char in[4096];
	for (;;) {
		int fd = accept(l->fd, NULL, NULL);
		if (fd < 0) return NULL;
		if (read(fd, in, sizeof in) > 0 && l->n > 0) (void)!write(fd, l->answer, l->n);
		close(fd);
	}
}

static void garbage(void) {
	static char line[20000];
	memset(line, 'x', sizeof line);
	static const char *const answers[] = { "",
		                                   "HTTP/1.1 400 Bad Request\r\n\r\n",
		                                   "VA",
		                                   "VA \r\n",
		                                   "VA x\r\n",
		                                   "VA 99999999999999999999\r\n",
		                                   "VA -1\r\n",
		                                   "VA 2000000000\r\n",
		                                   "VA 3 f0\r\nabcdeXX",
		                                   "VA 5 f0\r\nab",
		                                   "EN\r\nEN\r\n",
		                                   "\r\n",
		                                   "\n",
		                                   "HD\r\n",
		                                   "SERVER_ERROR out of memory\r\n",
		                                   "NS\r\n",
		                                   NULL };
	for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
		liar l = { .answer = answers[i] != NULL ? answers[i] : line,
			       .n = answers[i] != NULL ? strlen(answers[i]) : sizeof line };
		pthread_t t;
		char address[40];
		mc m;
		zbz_buf b = { 0 };
		int64_t v;
		l.fd = bound_socket(&l.port);
		listen(l.fd, 16);
		pthread_create(&t, NULL, liar_main, &l);
		snprintf(address, sizeof address, "127.0.0.1:%d", l.port);
		CHECK(mc_open(&m, "servers", address, "max_retries", "0") == ZBZ_OK);
		CHECK(get(&m, key("k"), &b, NULL) == ZBZ_E_UNAVAILABLE && b.n == 0);
		zbz_status s = incr(&m, key("k"), 1, &v);
		CHECK(s == ZBZ_E_UNAVAILABLE);
		zbz_call c = call();
		zbz_bytes two[2] = { key("a"), key("b") };
		zbz_found found[2];
		s = ops->get_many(m.self, &c, two, 2, &b, found);
		CHECK(s == ZBZ_E_UNAVAILABLE || (s == ZBZ_OK && strcmp(l.answer, "EN\r\nEN\r\n") == 0));
		zbz_provider_stats st;
		ops->stats(m.self, &c, &st);
		CHECK(ops->ping(m.self, &c) == ZBZ_E_UNAVAILABLE);
		zbz_buf_clear(&b);
		mc_end(&m);
		shutdown(l.fd, SHUT_RDWR);
		pthread_join(t, NULL);
		close(l.fd);
	}
}

static int count_sockets(void) {
	DIR *d = opendir("/proc/self/fd");
	struct dirent *e;
	int n = 0;
	while ((e = readdir(d)) != NULL) {
		char to[16] = "";
		n += readlinkat(dirfd(d), e->d_name, to, sizeof to - 1) > 0 && strncmp(to, "socket:", 7) == 0;
	}
	closedir(d);
	return n;
}

static void *get_patiently(void *ud) {
	zbz_buf b = { 0 };
	zbz_status s = get(ud, key("k"), &b, NULL);
	zbz_buf_clear(&b);
	return s == ZBZ_OK ? ud : NULL;
}

/* One call waits for a server that stands still: its connection is not for the child to keep open. */
static void forked_in_a_call(void) {
	server s = server_start();
	pthread_t thread;
	void *got = NULL;
	mc m;
	int before = count_sockets(), status = -1;
	CHECK(mc_open(&m, "servers", s.address, "timeout", "30s") == ZBZ_OK &&
	      put(&m, key("k"), zbz_bstr("v"), 0) == ZBZ_OK);
	kill(s.pid, SIGSTOP);
	waitpid(s.pid, NULL, WUNTRACED);
	pthread_create(&thread, NULL, get_patiently, &m);
	CHECK(count_sockets() == before + 1);
	pid_t pid = fork();
	if (pid == 0) {
		int bad = count_sockets() != before;
		alarm(20);
		ops->close(m.self);
		_exit(bad);
	}
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	kill(s.pid, SIGCONT);
	pthread_join(thread, &got);
	CHECK(got != NULL);
	mc_end(&m);
	server_end(&s, SIGKILL);
}

static void forked(void) {
	mc m = mc_at(shared);
	int64_t v;
	CHECK(incr(&m, key("fork"), 1, &v) == ZBZ_OK);
	for (int i = 0; i < 4; i++)
		if (fork() == 0) {
			int bad = 0;
			for (int k = 0; k < 50; k++) bad += incr(&m, key("fork"), 1, &v) != ZBZ_OK;
			ops->close(m.self);
			_exit(bad);
		}
	for (int k = 0; k < 50; k++) CHECK(incr(&m, key("fork"), 1, &v) == ZBZ_OK);
	for (int i = 0; i < 4; i++) {
		int status = 1;
		wait(&status);
		CHECK(status == 0);
	}
	CHECK(incr(&m, key("fork"), 0, &v) == ZBZ_OK && v == 251);
	mc_end(&m);
}

/* ---- all allocations from the n-th on fail ---- */

static zbz_status everything(zbz_err *err) {
	mc m;
	zbz_buf b = { 0 };
	zbz_status s, worst = mc_open(&m, "servers", shared, "timeout", "2s"), status[3];
	if (worst != ZBZ_OK) {
		*err = m.err;
		return worst;
	}
	zbz_call c = call();
	zbz_bytes k = long_key('a'), keys[3] = { k, key("a1"), key("a 2") }, argv[2] = { zbz_bstr("mg"), zbz_bstr("x") };
	zbz_write w[3] = { { .key = k, .value = zbz_bstr("1") },
		               { .key = keys[1], .value = zbz_bstr("2") },
		               { .key = keys[2], .value = zbz_bstr("3") } };
	zbz_found found[3];
	zbz_incr how = { .delta = 1 };
	zbz_provider_stats st;
	uint64_t removed;
	int64_t v;
	size_t end = 2;
#define STEP(step)                          \
	do {                                    \
		s = (step);                         \
		if (s < 0) worst = s, *err = c.err; \
	} while (0)
#define EACH()                  \
	for (int i = 0; i < 3; i++) \
		if (s == ZBZ_OK && status[i] < 0) worst = status[i], *err = c.err
	STEP(ops->set(m.self, &c, w, NULL));
	STEP(ops->get(m.self, &c, k, &b, NULL));
	STEP(ops->incr(m.self, &c, k, &how, &v));
	STEP(ops->set_many(m.self, &c, w, 3, status));
	EACH();
	STEP(ops->get_many(m.self, &c, keys, 3, &b, found));
	for (int i = 0; i < 3; i++)
		if (s == ZBZ_OK && found[i].status < 0) worst = found[i].status, *err = c.err;
	STEP(ops->command(m.self, &c, argv, &end, 1, &b));
	STEP(ops->version(m.self, &c, &b));
	ops->stats(m.self, &c, &st);
	STEP(ops->inspect(m.self, &c, k, &b));
	STEP(ops->clear(m.self, &c, key("aaa"), &removed));
	STEP(ops->del_many(m.self, &c, keys, 3, status));
	EACH();
	zbz_buf_clear(&b);
	mc_end(&m);
	return worst;
}

static void allocations(void) {
	zbz_err err;
	zbz_status s = ZBZ_E_INTERNAL;
	for (long i = 1; i <= 2000 && s != ZBZ_OK; i++) {
		long live;
		faults_begin_lasting(i);
		s = everything(&err);
		faults_end(&live);
		CHECK(s == ZBZ_OK || (s == ZBZ_E_INTERNAL && err.sys_errno == ENOMEM));
		if (s != ZBZ_OK && s != ZBZ_E_INTERNAL) fprintf(stderr, "allocation %ld: %d %s\n", i, s, err.text);
		CHECK(live == 0);
	}
	CHECK(s == ZBZ_OK);
}

int main(void) {
	if (!rig_begin()) return 2;
	RUN(absent_server);
	RUN(stopped_server);
	RUN(restarted_server);
	RUN(killed_in_a_batch);
	RUN(one_of_three_down);
	RUN(garbage);
	RUN(forked);
	RUN(forked_in_a_call);
	RUN(allocations);
	rig_end();
	return DONE();
}
