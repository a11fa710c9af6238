/* Tracking: what a Redis server tells of changes, and what is told when the channel itself is gone. */
#include "faults.h"
#include "redis_rig.h"

/* ---- what was told --------------------------------------------------------------------------------------------------- */

enum { KEYS, ALL, LOST };

typedef struct told {
	tally n; /* KEYS, ALL, LOST */
	atomic_bool down;
	char last[64];
} told;

static void on_change(void *ud, zbz_bytes key, bool lost) {
	told *t = ud;
	pthread_mutex_lock(&t->n.lock);
	if (key.p) {
		tally_add(&t->n, KEYS);
		snprintf(t->last, sizeof t->last, "%.*s", (int)key.n, key.p);
	} else if (lost) {
		tally_add(&t->n, LOST);
	} else {
		tally_add(&t->n, ALL);
	}
	if (!key.p) t->down = lost;
	pthread_mutex_unlock(&t->n.lock);
}

static bool await(told *t, int keys, int all, int lost) { return tally_await(&t->n, keys, all, lost); }

static bool last_is(const tally *n, const void *mark) {
	return strcmp(((const told *)(const void *)n)->last, mark) == 0;
}

/* Until a key is told that stands for "all before it has been told". */
static bool settle(told *t, rig *writer, const char *mark) {
	CHECK(rig_set(writer, mark, "x") == ZBZ_OK);
	return tally_wait(&t->n, last_is, mark);
}

static zbz_status track(rig *r, const char *prefix, told *t, void **tracking) {
	return ops->track(r->self, rig_call(r, 0), zbz_bstr(prefix), on_change, t, tracking);
}

/* ---- changes ----------------------------------------------------------------------------------------------------------- */

static void test_changes(void) {
	rig r = quick(live.url), other = quick(live.url);
	told t = { .n = TALLY }, whole = { .n = TALLY };
	void *tracking = NULL, *everything = NULL;
	zbz_incr how = { .delta = 1 };
	zbz_buf out = { 0 };
	int64_t v;
	int n;
	CHECK(track(&r, "app:", &t, &tracking) == ZBZ_OK);
	CHECK(track(&r, "", &whole, &everything) == ZBZ_OK);
	CHECK(rig_set(&r, "app:own", "1") == ZBZ_OK && await(&t, 1, 0, 0));
	CHECK_STR(t.last, "app:own");
	CHECK(rig_set(&other, "app:theirs", "1") == ZBZ_OK && await(&t, 2, 0, 0));
	CHECK_STR(t.last, "app:theirs");
	CHECK(ops->incr(other.self, rig_call(&other, 0), zbz_bstr("app:n"), &how, &v) == ZBZ_OK && await(&t, 3, 0, 0));
	CHECK(ops->del(other.self, rig_call(&other, 0), zbz_bstr("app:n")) == ZBZ_OK && await(&t, 4, 0, 0));
	CHECK(rig_command(&other, "MSET app:1 a app:2 b app:3 c", &out) == ZBZ_OK && await(&t, 7, 0, 0));
	CHECK(rig_command(&other, "PEXPIRE app:1 100000", &out) == ZBZ_OK && await(&t, 8, 0, 0));
	CHECK(rig_command(&other, "PEXPIRE app:1 1", &out) == ZBZ_OK && await(&t, 10, 0, 0)); /* the setting, and the end */
	n = tally_count(&t.n, KEYS);
	CHECK(rig_set(&other, "apple", "1") == ZBZ_OK && settle(&t, &other, "app:end"));
	CHECK(tally_count(&t.n, KEYS) == n + 1 && await(&whole, n + 2, 0, 0)); /* below its prefix, and all */
	CHECK(rig_command(&other, "FLUSHALL", &out) == ZBZ_OK && await(&t, 0, 1, 0) && await(&whole, 0, 1, 0));
	CHECK(tally_count(&t.n, LOST) == 0 && !t.down);
	ops->untrack(r.self, tracking);
	n = tally_count(&t.n, KEYS);
	CHECK(rig_set(&other, "app:late", "1") == ZBZ_OK && settle(&whole, &other, "mark") && tally_count(&t.n, KEYS) == n);
	rig_close(&r); /* ends the other one */
	zbz_buf_clear(&out);
	rig_close(&other);
}

/* ---- losses ------------------------------------------------------------------------------------------------------------ */

static void test_losses(void) {
	server v;
	told t = { .n = TALLY };
	void *tracking = NULL;
	zbz_buf out = { 0 };
	int64_t begun;
	rig r, other;
	CHECK(server_start(&v, 0, NULL, NULL));
	r = quick(v.url);
	other = quick(v.url);
	CHECK(track(&r, "app:", &t, &tracking) == ZBZ_OK);
	CHECK(rig_command(&other, "CLIENT KILL TYPE pubsub", &out) == ZBZ_OK && await(&t, 0, 1, 1) && !t.down);
	CHECK(rig_set(&other, "app:a", "1") == ZBZ_OK && await(&t, 1, 1, 1));
	kill(v.pid, SIGSTOP); /* nobody tells; silence does */
	begun = rig_now();
	CHECK(await(&t, 1, 1, 2) && t.down);
	CHECK(rig_now() - begun < 300 + 1000); /* read_timeout, and what a busy machine takes */
	kill(v.pid, SIGCONT);
	CHECK(await(&t, 1, 2, 2) && !t.down);
	server_end(&v);
	CHECK(await(&t, 1, 2, 3) && t.down);
	CHECK(server_start(&v, v.port, NULL, NULL) && await(&t, 1, 3, 3));
	CHECK(rig_set(&other, "app:b", "1") == ZBZ_OK && await(&t, 2, 3, 3));
	CHECK(rig_command(&other, "CLIENT PAUSE 1200", &out) == ZBZ_OK && await(&t, 2, 4, 4));
	server_end(&v);
	CHECK(await(&t, 2, 4, 5));
	begun = rig_now();
	ops->untrack(r.self, tracking); /* while it tries to come back */
	CHECK(rig_now() - begun < 1500);
	CHECK(track(&r, "app:", &t, &tracking) == ZBZ_E_UNAVAILABLE && r.c.err.retryable);
	zbz_buf_clear(&out);
	rig_close(&other);
	rig_close(&r);
}

/* ---- servers that do not tell ------------------------------------------------------------------------------------------ */

static void test_refused(void) {
	rig r = quick(live.url);
	told t = { .n = TALLY };
	char url[80];
	void *tracking = NULL;
	zbz_buf out = { 0 };
	peer p;
	CHECK(rig_command(&r, "ACL SETUSER plain on >pw ~* &* +@all -client|tracking", &out) == ZBZ_OK);
	CHECK(rig_command(&r, "ACL SETUSER mute on >pw ~* resetchannels +@all", &out) == ZBZ_OK);
	rig_close(&r);
	snprintf(url, sizeof url, "redis://plain:pw@127.0.0.1:%d", live.port);
	r = quick(url);
	CHECK(track(&r, "", &t, &tracking) == ZBZ_E_DENIED && !r.c.err.retryable && rig_set(&r, "a", "1") == ZBZ_OK);
	rig_close(&r);
	snprintf(url, sizeof url, "redis://mute:pw@127.0.0.1:%d", live.port);
	r = quick(url);
	CHECK(track(&r, "", &t, &tracking) == ZBZ_E_DENIED);
	rig_close(&r);
#define OLD "-ERR Unknown subcommand or wrong number of arguments for 'ID'. Try CLIENT HELP\r\n"
	peer_start(&p, OLD, sizeof OLD - 1, false);
	r = quick(p.url);
	CHECK(track(&r, "", &t, &tracking) == ZBZ_E_UNSUPPORTED && strstr(r.c.err.text, "Redis 6"));
	rig_close(&r);
	peer_end(&p);
	peer_start(&p, "", 0, false); /* takes the question and says nothing */
	r = quick(p.url);
	CHECK(ops->track(r.self, rig_call(&r, 200), zbz_bstr(""), on_change, &t, &tracking) == ZBZ_E_TIMEOUT);
	rig_close(&r);
	peer_end(&p);
	CHECK(tally_count(&t.n, KEYS) == 0 && tally_count(&t.n, ALL) == 0 && tally_count(&t.n, LOST) == 0);
	zbz_buf_clear(&out);
}

static void test_fork(void) {
	rig r = quick(live.url), other = quick(live.url);
	told t = { .n = TALLY };
	void *tracking = NULL;
	int status = 1;
	pid_t child;
	CHECK(track(&r, "app:", &t, &tracking) == ZBZ_OK);
	child = fork();
	if (child == 0) {
		alarm(20);
		ops->untrack(r.self, tracking);
		rig_close(&r);
		_exit(0);
	}
	CHECK(waitpid(child, &status, 0) == child && status == 0);
	CHECK(rig_set(&other, "app:a", "1") == ZBZ_OK && await(&t, 1, 0, 0) && tally_count(&t.n, LOST) == 0);
	rig_close(&other);
	rig_close(&r);
}

/* Starting one while the n-th allocation fails: the thread's are among them, but it runs while we wait. */
static void test_no_memory(void) {
	told t = { .n = TALLY };
	bool failed = true;
	long n, left;
	for (n = 1; n < 500 && failed; n++) {
		void *tracking = NULL;
		zbz_status s;
		rig r;
		faults_begin(n);
		s = rig_open(&r, "url", live.url, NULL);
		if (s == ZBZ_OK) {
			s = track(&r, "app:", &t, &tracking);
			rig_close(&r);
		}
		failed = faults_end(&left);
		CHECK(left == 0 && (failed || s == ZBZ_OK));
	}
	CHECK(!failed && n > 5);
}

int main(void) {
	if (!rig_begin(false)) return 1;
	RUN(test_changes);
	RUN(test_losses);
	RUN(test_refused);
	RUN(test_fork);
	RUN(test_no_memory);
	rig_end();
	return DONE();
}
