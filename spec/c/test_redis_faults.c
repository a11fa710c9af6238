/* The Redis provider when things go wrong: servers that are absent, hang, die, come back or talk nonsense. Every server here is of our
 * own. */
#include "redis_rig.h"

/* ---- absent, refusing ------------------------------------------------------------------------------------------------ */

static void test_absent(void) {
	rig r;
	char url[64];
	int64_t begun = rig_now();
	zbz_provider_stats st;
	snprintf(url, sizeof url, "127.0.0.1:%d", free_port());
	CHECK(rig_open(&r, "url", url, NULL) == ZBZ_OK);
	CHECK(rig_get(&r, "a", 0) == ZBZ_E_UNAVAILABLE && r.c.err.retryable && strstr(r.c.err.text, "127.0.0.1"));
	CHECK(rig_set(&r, "a", "b") == ZBZ_E_UNAVAILABLE);
	ops->stats(r.self, rig_call(&r, 0), &st);
	CHECK(st.keys == -1 && st.memory == -1 && st.connections == 0 && st.retries == 9);
	CHECK(rig_get(&r, "a", 10) < 0 && rig_now() - begun < 5000);
	rig_close(&r);
	CHECK(rig_open(&r, "url", "redis://no-such-host.invalid", "timeout", "3s", "max_retries", "0", NULL) == ZBZ_OK);
	CHECK(rig_get(&r, "a", 0) < 0 && strstr(r.c.err.text, "no-such-host.invalid"));
	rig_close(&r);
}

static void test_denied(void) {
	server v;
	rig r;
	char url[80];
	int64_t begun = rig_now();
	CHECK(server_start(&v, 0, "--requirepass", "pw@:/"));
	snprintf(url, sizeof url, "redis://:s3cret@127.0.0.1:%d", v.port);
	CHECK(rig_open(&r, "url", url, "max_retries", "50", NULL) == ZBZ_OK);
	CHECK(rig_get(&r, "a", 0) == ZBZ_E_DENIED && !r.c.err.retryable && !strstr(r.c.err.text, "s3cret"));
	CHECK(rig_now() - begun < 10000);
	rig_close(&r);
	r = quick(v.url);
	CHECK(rig_get(&r, "a", 0) == ZBZ_E_DENIED);
	rig_close(&r);
	snprintf(url, sizeof url, "redis://:pw%%40%%3A%%2F@127.0.0.1:%d", v.port);
	r = quick(url);
	CHECK(rig_get(&r, "a", 0) == ZBZ_MISS);
	rig_close(&r);
	CHECK(rig_open(&r, "url", v.url, "password", "pw@:/", NULL) == ZBZ_OK);
	CHECK(rig_get(&r, "a", 0) == ZBZ_MISS);
	rig_close(&r);
	server_end(&v);
}

/* ---- hanging --------------------------------------------------------------------------------------------------------- */

static void test_hanging(void) {
	rig r = quick(live.url);
	size_t size = (size_t)64 << 20;
	char *big = calloc(1, size);
	zbz_write w = { .key = zbz_bstr("hang"), .value = zbz_b(big, size) };
	zbz_provider_stats st;
	int64_t begun;
	CHECK(rig_set(&r, "hang", "v") == ZBZ_OK);
	kill(live.pid, SIGSTOP);
	waitpid(live.pid, NULL, WUNTRACED);
	begun = rig_now();
	CHECK(rig_get(&r, "hang", 0) == ZBZ_E_TIMEOUT && r.c.err.retryable);
	CHECK(rig_now() - begun >= 290 && rig_now() - begun < 5000);
	begun = rig_now();
	CHECK(ops->set(r.self, rig_call(&r, 0), &w, NULL) == ZBZ_E_TIMEOUT && strstr(r.c.err.text, "took no more"));
	CHECK(rig_now() - begun >= 290 && rig_now() - begun < 10000);
	begun = rig_now();
	CHECK(rig_get(&r, "hang", 50) == ZBZ_E_TIMEOUT && rig_now() - begun >= 45 && rig_now() - begun < 280);
	kill(live.pid, SIGCONT);
	CHECK(rig_get(&r, "hang", 0) == ZBZ_OK); /* no late answer is taken for this one */
	CHECK(rig_has(&r, "hang", "v"));
	ops->stats(r.self, rig_call(&r, 0), &st);
	CHECK(st.retries == 0); /* waited once, not once for every attempt */
	free(big);
	rig_close(&r);
}

/* The deadline is of the call's clock, the waiting is real: a fake clock still must not make a wait endless. */
static void test_fake_deadline(void) {
	zbz_clock *fake = zbz_clock_fake_new(1000);
	rig r;
	peer p;
	int64_t begun = rig_now();
	peer_start(&p, "", 0, false);
	CHECK(rig_open_at(&r, fake, "url", p.url, "read_timeout", "5s", NULL) == ZBZ_OK);
	CHECK(rig_get(&r, "a", 100) == ZBZ_E_TIMEOUT && rig_now() - begun < 3000);
	rig_close(&r);
	peer_end(&p);
	zbz_clock_fake_free(fake);
}

/* ---- dying ----------------------------------------------------------------------------------------------------------- */

static void test_killed_in_pipeline(void) {
	/* Two of five answers, then the end: the two are true, the others say so, and nothing of the connection is used again. */
	static const char two[] = "+OK\r\n+OK\r\n";
	rig r;
	peer p;
	zbz_write writes[5];
	zbz_status status[5];
	zbz_bytes keys[5];
	zbz_found found[5];
	zbz_buf out = { 0 };
	int i;
	for (i = 0; i < 5; i++) {
		writes[i] = (zbz_write){ .key = zbz_b("abcde" + i, 1), .value = zbz_bstr("v") };
		keys[i] = writes[i].key;
	}
	peer_start(&p, two, sizeof two - 1, true);
	CHECK(rig_open(&r, "url", p.url, "max_retries", "0", NULL) == ZBZ_OK);
	CHECK(ops->set_many(r.self, rig_call(&r, 0), writes, 5, status) == ZBZ_OK);
	CHECK(status[0] == ZBZ_OK && status[1] == ZBZ_OK && status[2] == ZBZ_E_UNAVAILABLE &&
	      status[4] == ZBZ_E_UNAVAILABLE);
	CHECK(r.c.err.status == ZBZ_E_UNAVAILABLE && rig_connections(&r) == 0);
	rig_close(&r);
	CHECK(rig_open(&r, "url", p.url, "max_retries", "2", NULL) == ZBZ_OK); /* goes on where it stopped */
	CHECK(ops->set_many(r.self, rig_call(&r, 0), writes, 4, status) == ZBZ_OK);
	CHECK(status[0] == ZBZ_OK && status[3] == ZBZ_OK);
	rig_close(&r);
	peer_end(&p);
	peer_start(&p, "*5\r\n$1\r\nx\r\n$-1\r\n$3\r\nha", 22, true);
	CHECK(rig_open(&r, "url", p.url, "max_retries", "0", NULL) == ZBZ_OK);
	CHECK(ops->get_many(r.self, rig_call(&r, 0), keys, 5, &out, found) == ZBZ_OK);
	CHECK(found[0].status == ZBZ_OK && found[0].n == 1 && out.p[found[0].off] == 'x' && found[1].status == ZBZ_MISS);
	CHECK(found[2].status == ZBZ_E_UNAVAILABLE && found[4].status == ZBZ_E_UNAVAILABLE);
	rig_close(&r);
	peer_end(&p);
	zbz_buf_clear(&out);
}

static void *kill_soon(void *ud) {
	server *v = ud;
	nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
	kill(v->pid, SIGKILL);
	return NULL;
}

static void test_killed_and_restarted(void) {
	enum { N = 200000 };
	server v;
	rig r;
	zbz_write *writes = calloc(N, sizeof *writes);
	zbz_status *status = calloc(N, sizeof *status);
	zbz_provider_stats st;
	pthread_t thread;
	size_t i, done = 0, failed = 0;
	zbz_status s;
	CHECK(server_start(&v, 0, NULL, NULL));
	r = quick(v.url);
	for (i = 0; i < N; i++)
		writes[i] =
		    (zbz_write){ .key = zbz_b((const char *)&writes[i], sizeof(void *)), .value = zbz_bstr("some value") };
	CHECK(rig_set(&r, "a", "b") == ZBZ_OK);
	pthread_create(&thread, NULL, kill_soon, &v);
	s = ops->set_many(r.self, rig_call(&r, 0), writes, N, status);
	pthread_join(thread, NULL);
	for (i = 0; i < N; i++) {
		done += status[i] == ZBZ_OK;
		failed += status[i] == ZBZ_E_UNAVAILABLE;
	}
	CHECK(done + failed == N && (s == ZBZ_OK ? done > 0 : done == 0));
	server_end(&v);
	CHECK(rig_get(&r, "a", 0) == ZBZ_E_UNAVAILABLE);
	CHECK(server_start(&v, v.port, NULL, NULL)); /* as after a restart: same place, no data, no scripts */
	CHECK(rig_get(&r, "a", 0) == ZBZ_MISS);
	CHECK(rig_set(&r, "a", "b") == ZBZ_OK && rig_has(&r, "a", "b"));
	server_end(&v);
	CHECK(server_start(&v, v.port, NULL, NULL));
	{ /* the parked connection is dead: found out before anything is sent, so that even a counter goes through */
		zbz_incr how = { .delta = 2 };
		int64_t n = 0;
		CHECK(ops->incr(r.self, rig_call(&r, 0), zbz_bstr("n"), &how, &n) == ZBZ_OK && n == 2);
	}
	ops->stats(r.self, rig_call(&r, 0), &st);
	CHECK(st.connections == 1);
	rig_close(&r);
	server_end(&v);
	free(writes);
	free(status);
}

static void test_client_kill(void) {
	rig r = quick(live.url), other = quick(live.url);
	zbz_buf out = { 0 };
	CHECK(rig_set(&r, "kept", "v") == ZBZ_OK);
	CHECK(rig_command(&other, "CLIENT KILL TYPE normal SKIPME yes", &out) == ZBZ_OK && out.p[0] >= 1);
	CHECK(rig_has(&r, "kept", "v"));
	zbz_buf_clear(&out);
	rig_close(&other);
	rig_close(&r);
}

/* ---- nonsense -------------------------------------------------------------------------------------------------------- */

static void test_nonsense(void) {
#define TEXT(s) \
	{ s, sizeof(s) - 1 }
	static const struct {
		const char *p;
		size_t n;
	} answers[] = {
		TEXT("HTTP/1.1 400 Bad Request\r\n\r\n"),
		TEXT("\0\0\0\0"),
		TEXT("$5\r\nab"),
		TEXT("$-5\r\n"),
		TEXT("$99999999999999999999\r\nx"),
		TEXT("*-7\r\n"),
		TEXT("*99999999999\r\n"),
		TEXT("*2147483647\r\n"),
		TEXT(":12x\r\n"),
		TEXT(":\r\n"),
		TEXT("$\r\n"),
		TEXT("%1\r\n+a\r\n+b\r\n"),
		TEXT("+OK"),
		TEXT("*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n$1\r\nx\r\n"),
		TEXT("\r\n"),
		TEXT("*2\r\n$1\r\n0\r\n*1\r\n:5\r\n"),
		TEXT("*0\r\n"),
		TEXT("$1\r\nxyz"),
	};
	size_t i;
	for (i = 0; i < sizeof answers / sizeof *answers; i++) {
		rig r;
		peer p;
		zbz_found found[2];
		zbz_bytes keys[2] = { zbz_bstr("a"), zbz_bstr("b") };
		zbz_cursor *cursor;
		zbz_buf out = { 0 };
		zbz_status s;
		size_t n = 0;
		bool fits;
		peer_start(&p, answers[i].p, answers[i].n, true);
		CHECK(rig_open(&r, "url", p.url, "max_retries", "0", "read_timeout", "2s", NULL) == ZBZ_OK);
		s = rig_get(&r, "a", 0);
		if (answers[i].p[0] == '$' && answers[i].p[1] == '1')
			CHECK(s == ZBZ_OK || s < 0); /* the answer is whole, what follows it is not ours */
		else
			CHECK(s < 0);
		fits = answers[i].n > 6 && memcmp(answers[i].p, "*2\r\n$1", 6) == 0; /* as far as the first key */
		s = ops->get_many(r.self, rig_call(&r, 0), keys, 2, &out, found);
		CHECK(fits ? s == ZBZ_OK : s < 0);
		CHECK((found[0].status < 0 || fits) && found[1].status < 0);
		CHECK(ops->scan_open(r.self, rig_call(&r, 0), zbz_bstr("p"), zbz_bstr("*"), &cursor) == ZBZ_OK);
		CHECK(ops->scan_next(r.self, rig_call(&r, 0), cursor, 10, &out, &n) != ZBZ_OK);
		ops->scan_close(r.self, cursor);
		rig_command(&r, "GET a", &out);
		CHECK(rig_connections(&r) == 0); /* none of them may be used again */
		rig_close(&r);
		peer_end(&p);
		zbz_buf_clear(&out);
	}
}

static void test_too_many_replies(void) {
	static const char three[] = "$1\r\nx\r\n$1\r\ny\r\n$1\r\nz\r\n";
	rig r;
	peer p;
	peer_start(&p, three, sizeof three - 1, false);
	CHECK(rig_open(&r, "url", p.url, NULL) == ZBZ_OK);
	CHECK(rig_has(&r, "a", "x") && rig_has(&r, "a", "x")); /* never y */
	CHECK(p.connections == 2);
	rig_close(&r);
	peer_end(&p);
}

static void test_endless_reply(void) {
	rig r;
	peer p;
	char *junk = malloc(1 << 20);
	memset(junk, 'j', 1 << 20);
	junk[0] = '+';
	peer_start(&p, junk, 1 << 20, false); /* a line that never ends */
	CHECK(rig_open(&r, "url", p.url, "max_retries", "0", "read_timeout", "200ms", NULL) == ZBZ_OK);
	CHECK(rig_get(&r, "a", 0) == ZBZ_E_TIMEOUT);
	rig_close(&r);
	peer_end(&p);
	free(junk);
}

int main(void) {
	if (!rig_begin(false)) return 1;
	RUN(test_absent);
	RUN(test_denied);
	RUN(test_hanging);
	RUN(test_fake_deadline);
	RUN(test_killed_in_pipeline);
	RUN(test_killed_and_restarted);
	RUN(test_client_kill);
	RUN(test_nonsense);
	RUN(test_too_many_replies);
	RUN(test_endless_reply);
	rig_end();
	return DONE();
}
