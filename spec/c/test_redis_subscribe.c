/* Channels of Redis: what is published and by whom it is heard, over servers that hang up, hang or are gone, and over forks. */
#include "faults.h"
#include "redis_rig.h"

typedef struct inbox {
	tally n; /* messages, gaps */
	char last[64];
} inbox;

static void on_message(void *ud, zbz_bytes channel, zbz_bytes payload) {
	inbox *b = ud;
	pthread_mutex_lock(&b->n.lock);
	if (payload.p) {
		snprintf(b->last, sizeof b->last, "%.*s=%.*s", (int)channel.n, channel.p, (int)payload.n, payload.p);
		tally_add(&b->n, 0);
	} else if (zbz_bytes_eq(channel, zbz_bstr("news"))) {
		tally_add(&b->n, 1);
	}
	pthread_mutex_unlock(&b->n.lock);
}

static bool await(inbox *b, int messages, int gaps) { return tally_await(&b->n, messages, gaps, 0); }

/* The server comes to a connection that has been closed when it does, perhaps after the next command of another one. */
static bool await_no_patterns(rig *r) {
	int64_t until = zbz_mono(zbz_clock_system()) + 10000;
	bool none = false;
	while (!none && zbz_mono(zbz_clock_system()) < until) {
		zbz_buf out = { 0 };
		none = rig_command(r, "PUBSUB NUMPAT", &out) == ZBZ_OK && out.n == 1 && out.p[0] == 0;
		zbz_buf_clear(&out);
	}
	return none;
}

static void test_subscribe(void) {
	rig r = fresh();
	inbox b = { .n = TALLY };
	zbz_bytes channels[2] = { zbz_bstr("zbz-news"), zbz_bstr("zbz-other") }, pattern = zbz_bstr("zbz-n*");
	void *sub = NULL, *psub = NULL;
	CHECK(ops->subscribe(r.self, rig_call(&r, 0), channels, 2, false, on_message, &b, &sub) == ZBZ_OK);
	CHECK(replies(&r, "PUBLISH zbz-news hello", "\x01", 1) && await(&b, 1, 0));
	CHECK_STR(b.last, "zbz-news=hello");
	CHECK(replies(&r, "PUBLISH zbz-other you", "\x01", 1) && await(&b, 2, 0));
	CHECK_STR(b.last, "zbz-other=you");
	CHECK(ops->subscribe(r.self, rig_call(&r, 0), &pattern, 1, true, on_message, &b, &psub) == ZBZ_OK);
	ops->unsubscribe(r.self, sub);
	CHECK(replies(&r, "PUBLISH zbz-nine 9", "\x01", 1) && await(&b, 3, 0));
	CHECK_STR(b.last, "zbz-nine=9");
	ops->unsubscribe(r.self, psub);
	CHECK(await_no_patterns(&r));
	CHECK(replies(&r, "PUBLISH zbz-nine 10", "\x00", 1));
	CHECK(ops->subscribe(r.self, rig_call(&r, 0), channels, 1, false, on_message, &b, &sub) == ZBZ_OK);
	rig_close(&r); /* ends it too */
	CHECK(tally_count(&b.n, 0) == 3);
}

typedef struct vain {
	rig *r;
	zbz_status s;
} vain;

static void *subscribe_in_vain(void *ud) {
	vain *v = ud;
	zbz_bytes channel = zbz_bstr("news");
	void *sub = NULL;
	v->s = ops->subscribe(v->r->self, rig_call(v->r, 0), &channel, 1, false, on_message, NULL, &sub);
	return NULL;
}

/* The child has neither the thread that subscribes nor the one that waits for it, and closes all the same. */
static void test_fork_while_subscribing(void) {
	vain v = { .s = ZBZ_OK };
	pthread_t thread;
	int status = -1;
	pid_t child;
	rig r;
	peer p;
	peer_start(&p, "", 0, false); /* takes the command and says nothing */
	r = quick(p.url);
	v.r = &r;
	pthread_create(&thread, NULL, subscribe_in_vain, &v);
	while (p.pieces == 0) nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	child = fork();
	if (child == 0) {
		alarm(20);
		rig_close(&r);
		_exit(0);
	}
	CHECK(waitpid(child, &status, 0) == child && status == 0);
	pthread_join(thread, NULL);
	CHECK(v.s == ZBZ_E_TIMEOUT);
	rig_close(&r);
	peer_end(&p);
}

/* Blocks that a child still has when it has closed all it inherited; -1: it did not end well. */
static int left_in_a_child(rig *r, void *sub) {
	int status = -1;
	pid_t child = fork();
	if (child == 0) {
		long left;
		ops->unsubscribe(r->self, sub);
		rig_close(r);
		faults_end(&left);
		_exit(left < 100 ? (int)left : 100);
	}
	if (waitpid(child, &status, 0) != child || !WIFEXITED(status)) return -1;
	return WEXITSTATUS(status);
}

/* Unless the thread is in the middle of something, and it seldom is. */
static void test_a_child_frees_what_it_inherits(void) {
	zbz_bytes channel = zbz_bstr("news");
	void *sub = NULL;
	inbox b = { .n = TALLY };
	int left = -1, tries;
	long here;
	rig r;
	faults_begin(0);
	CHECK(rig_open(&r, "url", main_url, NULL) == ZBZ_OK);
	CHECK(ops->subscribe(r.self, rig_call(&r, 0), &channel, 1, false, on_message, &b, &sub) == ZBZ_OK);
	for (tries = 0; tries < 200 && left != 0; tries++) {
		left = left_in_a_child(&r, sub);
		if (left < 0) break;
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
	CHECK(left == 0);
	ops->unsubscribe(r.self, sub);
	rig_close(&r);
	faults_end(&here);
	CHECK(here == 0);
}

static void test_subscriber(void) {
	server v;
	rig r, other;
	inbox b = { .n = TALLY };
	zbz_bytes channel = zbz_bstr("news");
	zbz_buf out = { 0 };
	void *sub = NULL;
	int64_t begun;
	int status = 1;
	pid_t child;
	CHECK(server_start(&v, 0, NULL, NULL));
	r = quick(v.url);
	CHECK(ops->subscribe(r.self, rig_call(&r, 0), &channel, 1, false, on_message, &b, &sub) == ZBZ_OK);
	other = quick(v.url);
	CHECK(rig_command(&other, "CLIENT KILL TYPE pubsub", &out) == ZBZ_OK && await(&b, 0, 1)); /* told once it is back */
	CHECK(rig_command(&other, "PUBLISH news x", &out) == ZBZ_OK && await(&b, 1, 1));
	child = fork();
	if (child == 0) {
		ops->unsubscribe(r.self, sub);
		rig_close(&r);
		_exit(0);
	}
	CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
	CHECK(rig_command(&other, "PUBLISH news y", &out) == ZBZ_OK && await(&b, 2, 1)); /* the child took nothing away */
	server_end(&v);
	CHECK(server_start(&v, v.port, NULL, NULL) && await(&b, 2, 2));
	kill(v.pid, SIGSTOP);
	waitpid(v.pid, NULL, WUNTRACED);                             /* silence is found out too */
	nanosleep(&(struct timespec){ .tv_nsec = 700000000 }, NULL); /* longer than two read_timeouts */
	kill(v.pid, SIGCONT);
	CHECK(await(&b, 2, 3));
	server_end(&v);
	begun = rig_now();
	ops->unsubscribe(r.self, sub); /* while it tries to come back */
	CHECK(rig_now() - begun < 1500);
	CHECK(ops->subscribe(r.self, rig_call(&r, 0), &channel, 1, false, on_message, &b, &sub) == ZBZ_E_UNAVAILABLE);
	zbz_buf_clear(&out);
	rig_close(&other);
	rig_close(&r);
}

int main(void) {
	if (!rig_begin(true)) return 1;
	RUN(test_subscribe);
	RUN(test_fork_while_subscribing);
	RUN(test_a_child_frees_what_it_inherits);
	RUN(test_subscriber);
	rig_end();
	return DONE();
}
