/* The filesystem cache used by several at once: counters and conditions, listings under writes, writers that are killed, locks held by others. */
#include <pthread.h>
#include <stdint.h>
#include <sys/file.h>

#include "filesystem_rig.h"

static void processes_count(void) {
	fs f = fs_new();
	int64_t v = 0, won = 0;
	pid_t kids[4];
	for (int k = 0; k < 4; k++) {
		kids[k] = fork();
		if (kids[k] == 0) {
			int wins = 0;
			for (int i = 0; i < 200; i++) {
				char key[16];
				snprintf(key, sizeof key, "add%d", i);
				if (incr(&f, "n", 1, &v) != ZBZ_OK) _exit(255);
				wins += put_only(&f, key, "x", ZBZ_ONLY_ABSENT, NULL, NULL) == ZBZ_OK;
			}
			_exit(wins);
		}
	}
	for (int k = 0; k < 4; k++) {
		int status = 0;
		waitpid(kids[k], &status, 0);
		CHECK(WIFEXITED(status) && WEXITSTATUS(status) <= 200);
		won += WEXITSTATUS(status);
	}
	CHECK(incr(&f, "n", 0, &v) == ZBZ_OK && v == 800 && won == 200);
	fs_end(&f);
}

static void *thread_main(void *ud) {
	fs *f = ud;
	intptr_t bad = 0; /* CHECK counts on one thread only */
	for (int i = 0; i < 200; i++) {
		int64_t v;
		char key[16];
		zbz_buf b = { 0 };
		fs mine = *f; /* its own err */
		bad += incr(&mine, "n", 1, &v) != ZBZ_OK;
		snprintf(key, sizeof key, "k%d", i % 10);
		bad += put(&mine, zbz_bstr(key), zbz_bstr(key), zbz_wall(fake) + (i % 3 == 0 ? 1 : 1000000)) != ZBZ_OK;
		zbz_status s = get(&mine, zbz_bstr(key), &b, NULL);
		bad += s != ZBZ_MISS && !(s == ZBZ_OK && zbz_bytes_eq(zbz_buf_bytes(&b), zbz_bstr(key)));
		if (i % 50 == 0) zbz_clock_fake_advance(fake, 1);
		if (i % 20 == 0) del(&mine, zbz_bstr(key));
		zbz_buf_clear(&b);
	}
	return (void *)bad;
}

static void threads(void) {
	fs f = fs_new();
	pthread_t t[4];
	int64_t v;
	for (int i = 0; i < 4; i++) pthread_create(&t[i], NULL, thread_main, &f);
	for (int i = 0; i < 4; i++) {
		void *bad;
		pthread_join(t[i], &bad);
		CHECK(bad == NULL);
	}
	CHECK(incr(&f, "n", 0, &v) == ZBZ_OK && v == 800);
	fs_end(&f);
}

/* A key that is overwritten all the time is never missing from a listing. */
static void listing_under_writes(void) {
	fs f = fs_new();
	char key[32];
	for (int i = 0; i < 300; i++) {
		snprintf(key, sizeof key, "k%d", i);
		CHECK(put(&f, zbz_bstr(key), zbz_bstr("v"), ZBZ_NO_EXPIRY) == ZBZ_OK);
	}
	pid_t kid = fork();
	if (kid == 0)
		for (unsigned i = 0;; i++) {
			snprintf(key, sizeof key, "k%u", i % 300);
			if (put(&f, zbz_bstr(key), zbz_bstr("w"), ZBZ_NO_EXPIRY) != ZBZ_OK) _exit(1);
		}
	for (int i = 0; i < 30; i++) CHECK(count(&f, "k") == 300);
	kill(kid, SIGKILL);
	waitpid(kid, NULL, 0);
	fs_end(&f);
}

/* A writer killed at any moment leaves the old value or the new one. */
static void killed_writers(void) {
	fs f = fs_new();
	size_t n = 300000;
	char *a = malloc(n), *z = malloc(n);
	zbz_buf b = { 0 };
	memset(a, 'a', n);
	memset(z, 'z', n);
	CHECK(put(&f, zbz_bstr("k"), zbz_b(a, n), ZBZ_NO_EXPIRY) == ZBZ_OK);
	for (int i = 0; i < 30; i++) {
		int go[2];
		char one;
		CHECK(pipe(go) == 0);
		pid_t kid = fork();
		if (kid == 0)
			for (;;) {
				put(&f, zbz_bstr("k"), zbz_b(z, n), ZBZ_NO_EXPIRY);
				if (write(go[1], "x", 1) != 1) _exit(1);
				put(&f, zbz_bstr("k"), zbz_b(a, n), ZBZ_NO_EXPIRY);
			}
		CHECK(read(go[0], &one, 1) == 1);
		for (volatile int spin = 0; spin < i * 20000; spin++) continue;
		kill(kid, SIGKILL);
		waitpid(kid, NULL, 0);
		close(go[0]);
		close(go[1]);
		CHECK(get(&f, zbz_bstr("k"), &b, NULL) == ZBZ_OK && b.n == n &&
		      (memcmp(b.p, a, n) == 0 || memcmp(b.p, z, n) == 0));
		CHECK(put(&f, zbz_bstr("k"), zbz_b(a, n), ZBZ_NO_EXPIRY) == ZBZ_OK); /* its lock is free */
	}
	/* what they left behind goes when it is old enough */
	char path[400];
	snprintf(path, sizeof path, "%s/tmp/w0123456789abcdef", f.dir);
	int fd = open(path, O_WRONLY | O_CREAT, 0600);
	struct timespec old[2] = { { .tv_sec = 1000 }, { .tv_sec = 1000 } };
	CHECK(fd >= 0 && futimens(fd, old) == 0);
	close(fd);
	fs again;
	CHECK(fs_open_at(&again, f.dir, NULL, &again.err) == ZBZ_OK && access(path, F_OK) != 0);
	fs_end(&again);
	zbz_buf_clear(&b);
	free(a);
	free(z);
	fs_end(&f);
}

static int64_t mono(void) { return zbz_mono(zbz_clock_system()); }

static void lock_waits(void) {
	fs f = fs_new();
	CHECK(put(&f, zbz_bstr("k"), zbz_bstr("v"), ZBZ_NO_EXPIRY) == ZBZ_OK);
	char path[400];
	int fds[256];
	for (int i = 0; i < 256; i++) {
		snprintf(path, sizeof path, "%s/lock/%02x", f.dir, i);
		fds[i] = open(path, O_RDWR | O_CREAT, 0644);
		CHECK(fds[i] >= 0 && flock(fds[i], LOCK_EX) == 0);
	}
	zbz_call c = { .clock = zbz_clock_system(), .now = zbz_wall(fake), .deadline = mono() + 80 };
	zbz_write w = { .key = zbz_bstr("k"), .value = zbz_bstr("w") };
	int64_t t0 = mono();
	CHECK(ops->set(f.self, &c, &w, NULL) == ZBZ_E_TIMEOUT && c.err.retryable);
	CHECK(mono() - t0 >= 60 && mono() - t0 < 1000);
	CHECK(ops->del(f.self, &c, w.key) == ZBZ_E_TIMEOUT);
	CHECK(has(&f, "k", "v") && temps(f.dir) == 0); /* readers do not wait */
	for (int i = 0; i < 256; i++) close(fds[i]);
	CHECK(put(&f, zbz_bstr("k"), zbz_bstr("w"), ZBZ_NO_EXPIRY) == ZBZ_OK);
	c.deadline = mono() - 1;
	zbz_cursor *cur;
	zbz_buf b = { 0 };
	size_t n = 0;
	CHECK(ops->scan_open(f.self, &c, zbz_b(NULL, 0), zbz_b(NULL, 0), &cur) == ZBZ_OK);
	CHECK(ops->scan_next(f.self, &c, cur, 10, &b, &n) == ZBZ_E_TIMEOUT);
	ops->scan_close(f.self, cur);
	zbz_buf_clear(&b);
	fs_end(&f);
}

int main(void) {
	if (!rig_begin()) return 2;
	RUN(processes_count);
	RUN(threads);
	RUN(listing_under_writes);
	RUN(killed_writers);
	RUN(lock_waits);
	rig_end();
	return DONE();
}
