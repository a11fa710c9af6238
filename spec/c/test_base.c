/* Buffers, errors, memory, clocks, hashes, names, forks: what everything else stands on. */
#include <errno.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <zbz/call.h>
#include <zbz/config.h>

#include "base/fork.h"
#include "base/hash.h"
#include "base/nearest.h"
#include "base/random.h"

#include "check.h"
#include "faults.h"

static void test_buffers(void) {
	zbz_buf b = { .max = 10 };
	zbz_err err = { 0 };
	CHECK(zbz_buf_append(&b, "12345", 5, &err) == ZBZ_OK && b.n == 5);
	CHECK(zbz_buf_append(&b, "123456", 6, &err) == ZBZ_E_TOO_LARGE && b.n == 5 && memcmp(b.p, "12345", 5) == 0);
	CHECK(strstr(err.text, "10") != NULL);
	CHECK(zbz_buf_append(&b, "67890", 5, &err) == ZBZ_OK && b.n == 10);
	CHECK(zbz_buf_putc(&b, 'x', &err) == ZBZ_E_TOO_LARGE && b.n == 10);
	CHECK(zbz_buf_reserve(&b, SIZE_MAX, &err) == ZBZ_E_TOO_LARGE && zbz_buf_reserve(&b, 0, &err) == ZBZ_OK);
	zbz_buf_clear(&b);
	CHECK(b.p == NULL && b.n == 0 && b.max == 10 && zbz_buf_putc(&b, 'x', &err) == ZBZ_OK);
	zbz_buf_clear(&b);
}

static void test_buffers_print(void) {
	zbz_buf b = { 0 };
	char *wide = malloc(1001);
	memset(wide, 'w', 1000);
	wide[1000] = '\0';
	CHECK(zbz_buf_printf(&b, NULL, "%d-%s", 42, "x") == ZBZ_OK && zbz_bytes_eq(zbz_buf_bytes(&b), zbz_bstr("42-x")));
	CHECK(zbz_buf_printf(&b, NULL, "[%s]", wide) == ZBZ_OK && b.n == 4 + 1002 && b.p[1005] == ']');
	zbz_buf_reset(&b);
	CHECK(b.n == 0 && b.cap > 0);
	zbz_buf_clear(&b);
	b.max = 1002;
	CHECK(zbz_buf_printf(&b, NULL, "[%s]", wide) == ZBZ_OK && b.n == 1002); /* exactly full */
	CHECK(zbz_buf_printf(&b, NULL, "x") == ZBZ_E_TOO_LARGE && b.n == 1002);
	zbz_buf_clear(&b);
	b.max = 0;
	CHECK(zbz_buf_reserve(&b, 2 << 20, NULL) == ZBZ_OK);
	zbz_buf_reset(&b);
	CHECK(b.cap == 0); /* a large one gives its memory back */
	free(wide);
}

static void test_buffers_without_memory(void) {
	char text[600];
	bool failed = true;
	memset(text, 'x', 599);
	text[599] = '\0';
	for (long n = 1; failed; n++) {
		zbz_buf b = { 0 };
		zbz_err err = { 0 };
		zbz_status s;
		long live;
		faults_begin(n);
		s = zbz_buf_append(&b, "abc", 3, &err);
		if (s == ZBZ_OK) s = zbz_buf_printf(&b, &err, "%s", text);
		CHECK(s == ZBZ_OK ? b.n == 602 : err.sys_errno == ENOMEM && (b.n == 0 || b.n == 3));
		zbz_buf_clear(&b);
		failed = faults_end(&live);
		CHECK(live == 0);
	}
}

/* ---- errors, memory ---- */

static void test_errors(void) {
	zbz_err err;
	char wide[400];
	memset(&err, 'x', sizeof err);
	CHECK(zbz_fail(&err, ZBZ_E_TIMEOUT, "after %d ms\n\tand \x7F", 5) == ZBZ_E_TIMEOUT);
	CHECK_STR(err.text, "after 5 ms??and ?");
	CHECK(err.retryable && err.sys_errno == 0 && err.provider[0] == '\0' && err.option[0] == '\0' &&
	      err.status == ZBZ_E_TIMEOUT);
	CHECK(zbz_fail(&err, ZBZ_E_CONFIG, "again: %s", err.text) == ZBZ_E_CONFIG && !err.retryable); /* from itself */
	CHECK_STR(err.text, "again: after 5 ms??and ?");
	memset(wide, 'y', sizeof wide);
	wide[sizeof wide - 1] = '\0';
	zbz_fail(&err, ZBZ_E_UNAVAILABLE, "%s", wide);
	CHECK(strlen(err.text) == 255 && strcmp(err.text + 252, "...") == 0 && err.text[251] == 'y' && err.retryable);
	for (size_t i = 0; i + 2 < sizeof wide; i += 2) memcpy(wide + i, "\xC3\xA4", 2);
	zbz_fail(&err, ZBZ_E_LOCKED, "%s", wide);
	CHECK(strcmp(err.text + strlen(err.text) - 3, "...") == 0 && (unsigned char)err.text[strlen(err.text) - 4] == 0xA4);
	CHECK(zbz_fail(NULL, ZBZ_E_CORRUPT, "x") == ZBZ_E_CORRUPT && zbz_fail_nomem(NULL) == ZBZ_E_INTERNAL &&
	      zbz_fail_option(NULL, "o", "x") == ZBZ_E_CONFIG);
	CHECK(zbz_fail_errno(&err, ZBZ_E_UNAVAILABLE, ECONNREFUSED, "connect to %s", "h") == ZBZ_E_UNAVAILABLE &&
	      err.sys_errno == ECONNREFUSED);
	CHECK_STR(err.text, "connect to h: Connection refused");
	CHECK(zbz_fail_option(&err, "pool_size", "expects %d", 1) == ZBZ_E_CONFIG);
	CHECK_STR(err.option, "pool_size");
	zbz_fail_option(&err, wide, "x");
	CHECK(strlen(err.option) == sizeof err.option - 1);
	zbz_fail_nomem(&err);
	CHECK(err.status == ZBZ_E_INTERNAL && err.sys_errno == ENOMEM && !err.retryable);
}

static void test_status_names(void) {
	for (int s = ZBZ_E_INTERNAL; s <= ZBZ_END; s++) CHECK(zbz_status_name((zbz_status)s) != NULL);
	CHECK_STR(zbz_status_name(ZBZ_OK), "ok");
	CHECK_STR(zbz_status_name(ZBZ_END), "end");
	CHECK_STR(zbz_status_name(ZBZ_E_CONFIG), "invalid_config");
	CHECK_STR(zbz_status_name(ZBZ_E_PROVIDER_MISMATCH), "provider_mismatch");
	CHECK_STR(zbz_status_name(ZBZ_E_INTERNAL), "internal");
	CHECK_STR(zbz_status_name((zbz_status)-99), "internal");
	CHECK_STR(zbz_status_name((zbz_status)99), "internal");
}

static void test_memory(void) {
	char *s;
	void *p = zbz_malloc(0);
	long live;
	CHECK(p != NULL);
	zbz_free(p);
	zbz_free(NULL);
	CHECK(zbz_calloc(SIZE_MAX / 2, 3) == NULL);
	p = zbz_calloc(0, 8);
	CHECK(p != NULL);
	zbz_free(p);
	CHECK(zbz_strdup(NULL) == NULL);
	faults_begin(3);
	s = zbz_strdup("abc");
	CHECK(s != NULL && strcmp(s, "abc") == 0);
	p = zbz_calloc(4, 4);
	CHECK(p != NULL && memcmp(p, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16) == 0);
	CHECK(zbz_realloc(s, 100) == NULL && strcmp(s, "abc") == 0);
	s = zbz_realloc(s, 100);
	CHECK(s != NULL && strcmp(s, "abc") == 0);
	zbz_free(s);
	zbz_free(p);
	CHECK(faults_end(&live) && live == 0);
}

/* ---- clocks ---- */

static void *push_clock(void *clock) {
	for (int i = 0; i < 1000; i++) zbz_clock_fake_advance(clock, 1);
	return NULL;
}

static void test_clocks(void) {
	const zbz_clock *sys = zbz_clock_system();
	zbz_clock *fake = zbz_clock_fake_new(5000);
	zbz_call call = { .clock = fake, .deadline = ZBZ_NEVER };
	int64_t mono = zbz_mono(fake);
	pthread_t threads[2];
	CHECK(zbz_wall(sys) > 1600000000000 && zbz_mono(sys) <= zbz_mono(sys));
	CHECK(zbz_wall(fake) == 5000 && zbz_wall(fake) == 5000);
	for (int i = 0; i < 2; i++) pthread_create(&threads[i], NULL, push_clock, fake);
	for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
	CHECK(zbz_wall(fake) == 7000 && zbz_mono(fake) == mono + 2000);
	CHECK(zbz_call_left(&call) == INT64_MAX);
	call.deadline = zbz_mono(fake) + 10;
	CHECK(zbz_call_left(&call) == 10);
	zbz_clock_fake_advance(fake, 20);
	CHECK(zbz_call_left(&call) == 0);
	zbz_clock_fake_free(fake);
	zbz_clock_fake_free(NULL);
}

/* ---- hash, random, names, forks ---- */

static void test_hash(void) {
	char text[80];
	unsigned buckets[256] = { 0 }, worst = 0;
	int flips = 0;
	for (int i = 0; i < 80; i++) text[i] = (char)i;
	for (size_t n = 0; n < 72; n++) {
		char moved[81];
		uint64_t h = zbz_hash(zbz_b(text, n));
		memcpy(moved + 1, text, n); /* elsewhere, differently aligned */
		CHECK(zbz_hash(zbz_b(moved + 1, n)) == h);
		CHECK(n == 0 || zbz_hash(zbz_b(text, n - 1)) != h);
		for (size_t bit = 0; bit < n * 8; bit++) {
			text[bit / 8] = (char)(text[bit / 8] ^ 1 << bit % 8);
			if (zbz_hash(zbz_b(text, n)) == h) CHECK(!"a flipped bit changes the hash");
			if (n == 20) flips += __builtin_popcountll(h ^ zbz_hash(zbz_b(text, n)));
			text[bit / 8] = (char)(text[bit / 8] ^ 1 << bit % 8);
		}
	}
	CHECK(flips > 160 * 28 && flips < 160 * 36); /* of 64 bits about half change */
	for (int i = 0; i < 65536; i++) {
		int n = snprintf(text, sizeof text, "user:%d", i);
		buckets[zbz_hash(zbz_b(text, (size_t)n)) & 255]++;
	}
	for (int i = 0; i < 256; i++)
		if (buckets[i] > worst) worst = buckets[i];
	CHECK(worst < 256 + 6 * 16);
	CHECK(zbz_hash(zbz_b(NULL, 0)) == zbz_hash(zbz_b("", 0)));
}

static void test_random(void) {
	unsigned char a[1000] = { 0 }, b[1000] = { 0 };
	size_t same_bytes = 0;
	CHECK(zbz_random(a, sizeof a, NULL) == ZBZ_OK && zbz_random(b, sizeof b, NULL) == ZBZ_OK);
	for (size_t i = 0; i < sizeof a; i++) same_bytes += a[i] == b[i];
	CHECK(same_bytes < 40);
	CHECK(zbz_random(NULL, 0, NULL) == ZBZ_OK);
}

static void test_distance(void) {
	char wide[100];
	memset(wide, 'a', 99);
	wide[99] = '\0';
	CHECK(zbz_edit_distance("", "") == 0 && zbz_edit_distance("abc", "") == 3 && zbz_edit_distance("", "ab") == 2);
	CHECK(zbz_edit_distance("pol_size", "pool_size") == 1 && zbz_edit_distance("pool_szie", "pool_size") == 1);
	CHECK(zbz_edit_distance("kitten", "sitting") == 3 && zbz_edit_distance("url", "url") == 0);
	CHECK(zbz_edit_distance(wide, "a") == 62);
}

static void test_fork_generation(void) {
	unsigned mine = zbz_fork_generation();
	int status = 0;
	pid_t pid = fork();
	if (pid == 0) _exit(zbz_fork_generation() == mine + 1 ? 0 : 1);
	CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0);
	CHECK(zbz_fork_generation() == mine);
}

int main(void) {
	RUN(test_buffers);
	RUN(test_buffers_print);
	RUN(test_buffers_without_memory);
	RUN(test_errors);
	RUN(test_status_names);
	RUN(test_memory);
	RUN(test_clocks);
	RUN(test_hash);
	RUN(test_random);
	RUN(test_distance);
	RUN(test_fork_generation);
	return DONE();
}
