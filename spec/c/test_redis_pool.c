/* Connections to Redis: what is sent again and what is not, a pool used up, forks, no memory. Every server here is of our own. */
#include "faults.h"
#include "redis_rig.h"

/* ---- what is sent again, and what is not ------------------------------------------------------------------------------ */

static void test_retries(void) {
	rig r;
	peer p;
	zbz_incr how = { .delta = 1 };
	zbz_write add = { .key = zbz_bstr("k"), .value = zbz_bstr("v"), .only = ZBZ_ONLY_ABSENT };
	zbz_buf out = { 0 };
	int64_t n;
	peer_start(&p, "", 0, true); /* reads a command, then closes */
	CHECK(rig_open(&r, "url", p.url, "max_retries", "2", NULL) == ZBZ_OK);
	CHECK(rig_get(&r, "a", 0) == ZBZ_E_UNAVAILABLE && p.pieces == 3);
	CHECK(rig_set(&r, "a", "b") == ZBZ_E_UNAVAILABLE && p.pieces == 6);
	CHECK(ops->incr(r.self, rig_call(&r, 0), zbz_bstr("k"), &how, &n) == ZBZ_E_UNAVAILABLE && p.pieces == 7);
	CHECK(ops->set(r.self, rig_call(&r, 0), &add, NULL) == ZBZ_E_UNAVAILABLE && p.pieces == 8);
	CHECK(rig_command(&r, "GET a", &out) == ZBZ_E_UNAVAILABLE && p.pieces == 9);
	CHECK(ops->expire(r.self, rig_call(&r, 0), zbz_bstr("k"), r.c.now + 1000) == ZBZ_E_UNAVAILABLE && p.pieces == 10);
	rig_close(&r);
	peer_end(&p);
	peer_start(&p, "-LOADING Redis is loading the dataset in memory\r\n", 49, false);
	CHECK(rig_open(&r, "url", p.url, "max_retries", "2", NULL) == ZBZ_OK);
	CHECK(rig_get(&r, "a", 0) == ZBZ_E_UNAVAILABLE && r.c.err.retryable && p.pieces == 3 && p.connections == 1);
	rig_close(&r);
	peer_end(&p);
	peer_start(&p, "-READONLY You can't write against a read only replica.\r\n", 56, false);
	CHECK(rig_open(&r, "url", p.url, "max_retries", "0", NULL) == ZBZ_OK);
	CHECK(rig_set(&r, "a", "b") == ZBZ_E_UNAVAILABLE && r.c.err.retryable);
	rig_close(&r);
	peer_end(&p);
	peer_start(&p, "-ERR something else\r\n", 21, false);
	CHECK(rig_open(&r, "url", p.url, "max_retries", "9", NULL) == ZBZ_OK);
	CHECK(rig_set(&r, "a", "b") == ZBZ_E_UNAVAILABLE && !r.c.err.retryable && p.pieces == 1);
	rig_close(&r);
	peer_end(&p);
	zbz_buf_clear(&out);
}

/* An old server repeats the words of a command it does not know: the password must not be passed on. */
static void test_secret_in_reply(void) {
	static const char echo[] = "-ERR unknown command `AUTH`, with args beginning with: `s3cret`\r\n";
	rig r;
	peer p;
	peer_start(&p, echo, sizeof echo - 1, false);
	CHECK(rig_open(&r, "url", p.url, "password", "s3cret", NULL) == ZBZ_OK);
	CHECK(rig_get(&r, "a", 0) == ZBZ_E_DENIED && !strstr(r.c.err.text, "s3cret"));
	rig_close(&r);
	peer_end(&p);
}

static void test_out_of_memory_server(void) {
	server v;
	rig r;
	zbz_buf out = { 0 };
	CHECK(server_start(&v, 0, NULL, NULL));
	r = quick(v.url);
	CHECK(rig_command(&r, "CONFIG SET maxmemory 1", &out) == ZBZ_OK);
	CHECK(rig_set(&r, "a", "b") == ZBZ_E_UNAVAILABLE && r.c.err.retryable && strstr(r.c.err.text, "OOM"));
	CHECK(rig_get(&r, "a", 0) == ZBZ_MISS);
	zbz_buf_clear(&out);
	rig_close(&r);
	server_end(&v);
}

/* ---- the pool -------------------------------------------------------------------------------------------------------- */

static void *block(void *ud) {
	rig mine = *(rig *)ud;
	zbz_buf out = { 0 };
	rig_command(&mine, "BLPOP gate 0", &out);
	zbz_buf_clear(&out);
	return NULL;
}

static void test_pool_exhausted(void) {
	rig r, other = quick(live.url);
	pthread_t threads[2];
	zbz_buf out = { 0 };
	int64_t begun;
	CHECK(rig_open(&r, "url", live.url, "pool_size", "2", "timeout", "10s", "read_timeout", "20s", NULL) == ZBZ_OK);
	rig_command(&other, "DEL gate", &out);
	pthread_create(&threads[0], NULL, block, &r);
	pthread_create(&threads[1], NULL, block, &r);
	do {
		CHECK(rig_command(&other, "INFO clients", &out) == ZBZ_OK);
	} while (!memmem(out.p, out.n, "blocked_clients:2", 17));
	begun = rig_now();
	CHECK(rig_get(&r, "a", 100) == ZBZ_E_TIMEOUT && strstr(r.c.err.text, "in use") && rig_now() - begun >= 95 &&
	      rig_now() - begun < 1500);
	rig_command(&other, "RPUSH gate 1 2", &out);
	CHECK(rig_get(&r, "a", 5000) >= 0); /* waited for one */
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	CHECK(rig_connections(&r) == 2);
	zbz_buf_clear(&out);
	rig_close(&other);
	rig_close(&r);
}

static void test_lifetime(void) {
	rig r;
	zbz_buf out = { 0 };
	char first[32];
	size_t n;
	CHECK(rig_open(&r, "url", live.url, "conn_max_lifetime", "30ms", NULL) == ZBZ_OK);
	CHECK(rig_command(&r, "TYPE x", &out) == ZBZ_OK);
	CHECK(rig_command(&r, "OBJECT HELP", &out) == ZBZ_OK);
	CHECK(rig_command(&r, "CLIENT ID", &out) == ZBZ_OK && out.n < sizeof first);
	memcpy(first, out.p, n = out.n);
	nanosleep(&(struct timespec){ .tv_nsec = 40000000 }, NULL); /* its age is the only thing there is to wait for */
	CHECK(rig_command(&r, "CLIENT ID", &out) == ZBZ_OK && (out.n != n || memcmp(out.p, first, n) != 0));
	zbz_buf_clear(&out);
	rig_close(&r);
}

static void test_fork(void) {
	rig r = quick(live.url);
	zbz_buf out = { 0 };
	int status = 1;
	pid_t child;
	CHECK(rig_set(&r, "fork", "parent") == ZBZ_OK && rig_connections(&r) == 1);
	child = fork();
	if (child == 0) { /* own connections, the parent's closed without a word */
		bool ok = rig_set(&r, "fork", "child") == ZBZ_OK && rig_has(&r, "fork", "child") && rig_connections(&r) == 1;
		rig_close(&r);
		_exit(ok ? 0 : 1);
	}
	CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
	CHECK(rig_has(&r, "fork", "child") && rig_connections(&r) == 1);
	zbz_buf_clear(&out);
	rig_close(&r);
}

/* ---- no memory ------------------------------------------------------------------------------------------------------- */

/* One of everything. False when some call failed for want of memory; any other failure is a defect. */
static bool one_of_everything(rig *r, const char *url) {
	zbz_bytes keys[2] = { zbz_bstr("mem:1"), zbz_bstr("mem:2") }, words[2] = { zbz_bstr("GET"), keys[0] };
	zbz_write w[2] = { { .key = keys[0], .value = zbz_bstr("v") }, { .key = keys[1], .value = zbz_bstr("w") } };
	zbz_status s, status[2];
	zbz_found found[2];
	zbz_version version;
	zbz_meta meta;
	zbz_cursor *cursor = NULL;
	zbz_buf out = { 0 };
	zbz_incr how = { .delta = 1, .has_initial = true };
	size_t n = 0, two = 2;
	int64_t v;
	uint64_t removed;
	s = rig_open(r, "url", url, NULL);
	if (s != ZBZ_OK) {
		CHECK(r->err.sys_errno == ENOMEM);
		return false;
	}
#define TRY(call)                                       \
	do {                                                \
		if (s >= 0) s = (call);                         \
		if (s < 0) CHECK(r->c.err.sys_errno == ENOMEM); \
	} while (0)
	TRY(ops->set(r->self, rig_call(r, 0), &w[0], &version));
	TRY(ops->get(r->self, rig_call(r, 0), keys[0], &out, &meta));
	w[0].only = ZBZ_ONLY_VERSION, w[0].version = &version;
	TRY(ops->set(r->self, rig_call(r, 0), &w[0], NULL));
	w[0].only = ZBZ_ALWAYS;
	TRY(ops->set_many(r->self, rig_call(r, 0), w, 2, status));
	TRY(ops->get_many(r->self, rig_call(r, 0), keys, 2, &out, found));
	TRY(ops->command(r->self, rig_call(r, 0), words, &two, 1, &out));
	TRY(ops->incr(r->self, rig_call(r, 0), zbz_bstr("mem:3"), &how, &v));
	TRY(ops->version(r->self, rig_call(r, 0), &out));
	TRY(ops->inspect(r->self, rig_call(r, 0), keys[0], &out));
	TRY(ops->scan_open(r->self, rig_call(r, 0), zbz_bstr("mem:"), zbz_bstr("*"), &cursor));
	TRY(ops->scan_next(r->self, rig_call(r, 0), cursor, 10, &out, &n));
	ops->scan_close(r->self, cursor);
	TRY(ops->clear(r->self, rig_call(r, 0), zbz_bstr("mem:"), &removed));
	zbz_buf_clear(&out);
	rig_close(r);
	return s >= 0;
}

static void test_no_memory(void) {
	rig r;
	long n, left;
	bool whole = false;
	for (n = 1; n < 2000 && !whole; n++) {
		faults_begin(n);
		whole = one_of_everything(&r, live.url);
		if (faults_end(&left)) whole = false;
		CHECK(left == 0);
	}
	CHECK(whole && n > 20);
}

int main(void) {
	if (!rig_begin(false)) return 1;
	RUN(test_retries);
	RUN(test_secret_in_reply);
	RUN(test_out_of_memory_server);
	RUN(test_pool_exhausted);
	RUN(test_lifetime);
	RUN(test_fork);
	RUN(test_no_memory);
	rig_end();
	return DONE();
}
