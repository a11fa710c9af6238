/* The filesystem cache while another process sits on its locks: a listing that is interrupted loses nothing, and a forked child
 * ends its own business without waiting for threads that only its parent has. */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <zbz/zbz.h>

#include "check.h"

enum { KEYS = 300, PATIENCE_MS = 20000 };

static char folder[] = "/tmp/zbz-test-XXXXXX";
static zbz_store *store;
static zbz_cache *cache;
static zbz_table *table;

static void open_all(void) {
	zbz_table_opts to = { .name = zbz_bstr("t"), .deadline = -1 };
	zbz_config *cfg = zbz_config_new();
	zbz_err err;
	CHECK(zbz_config_set_text(cfg, "provider", zbz_bstr("filesystem"), &err) == ZBZ_OK);
	CHECK(zbz_config_set_text(cfg, "base_dir", zbz_bstr(folder), &err) == ZBZ_OK);
	CHECK(zbz_store_open(cfg, NULL, &store, &err) == ZBZ_OK && zbz_cache_new(store, NULL, &cache, &err) == ZBZ_OK);
	CHECK(zbz_table_new(cache, &to, &table, &err) == ZBZ_OK);
	zbz_config_free(cfg);
}

static void close_all(void) {
	zbz_table_free(table);
	zbz_cache_unref(cache);
	zbz_store_unref(store);
}

static zbz_status put(const char *key, int64_t timeout) {
	zbz_call c;
	zbz_table_begin(table, &c, timeout);
	return zbz_table_set(table, &c, zbz_bstr(key), zbz_bstr("v"), NULL, NULL);
}

/* ---- somebody else ---- */

static int open_below(const char *name) {
	char path[128];
	snprintf(path, sizeof path, "%s/%s", folder, name);
	return open(path, O_RDONLY | O_CLOEXEC);
}

/* Takes the i-th of the lock files that are there; -1 when there are fewer. */
static int seize(int i) {
	int dir = open_below("lock"), fd = -1;
	DIR *d = fdopendir(dir);
	struct dirent *e;
	while ((e = readdir(d)) != NULL && fd < 0)
		if (e->d_name[0] != '.' && i-- == 0) fd = openat(dir, e->d_name, O_RDWR | O_CLOEXEC);
	closedir(d);
	if (fd >= 0) CHECK(flock(fd, LOCK_EX | LOCK_NB) == 0);
	return fd;
}

static void let_go(int fd) {
	flock(fd, LOCK_UN);
	close(fd);
}

/* ---- an interrupted listing ---- */

typedef struct census {
	bool seen[KEYS];
	int n;
} census;

static void take(census *all, zbz_buf *page) {
	size_t at = 0;
	while (at + 4 <= page->n) {
		char digits[8] = "";
		size_t n = (unsigned char)page->p[at];
		int i;
		memcpy(digits, page->p + at + 5, n > 1 && n < 8 ? n - 1 : 0);
		i = atoi(digits);
		CHECK(n < 8 && page->p[at + 4] == 'k' && i >= 0 && i < KEYS);
		if (i >= 0 && i < KEYS && !all->seen[i]) all->n++, all->seen[i] = true;
		at += 4 + n;
	}
	page->n = 0;
}

/* One call with this deadline, its keys counted. */
static zbz_status page(zbz_listing *l, int64_t timeout, census *all) {
	zbz_buf out = { 0 };
	zbz_call c;
	size_t n = 0;
	zbz_status s;
	zbz_table_begin(table, &c, timeout);
	s = zbz_table_keys_next(l, &c, 40, &out, &n);
	CHECK(s >= 0 || s == ZBZ_E_TIMEOUT);
	if (s >= 0) take(all, &out);
	zbz_buf_clear(&out);
	return s;
}

static void an_interrupted_listing_loses_nothing(void) {
	char key[8];
	int i, fd, interruptions = 0;
	open_all();
	for (i = 0; i < KEYS; i++) {
		snprintf(key, sizeof key, "k%d", i);
		CHECK(put(key, PATIENCE_MS) == ZBZ_OK);
	}
	for (i = 0; i < 200 && (fd = seize(i)) >= 0; i += 40) {
		census all = { { false }, 0 };
		zbz_listing *l;
		zbz_call c;
		zbz_status s;
		zbz_table_begin(table, &c, PATIENCE_MS);
		CHECK(zbz_table_keys_open(table, &c, zbz_bstr("*"), &l) == ZBZ_OK);
		do s = page(l, 60, &all);
		while (s == ZBZ_OK);
		CHECK(s == ZBZ_E_TIMEOUT && all.n < KEYS);
		CHECK(page(l, 20, &all) == ZBZ_E_TIMEOUT); /* it comes again */
		let_go(fd);
		do s = page(l, PATIENCE_MS, &all);
		while (s == ZBZ_OK);
		CHECK(s == ZBZ_END && all.n == KEYS);
		zbz_table_keys_close(l);
		interruptions++;
	}
	CHECK(interruptions >= 3);
	close_all();
}

/* ---- a fork while threads wait ---- */

typedef struct waiter {
	pthread_t thread;
	_Atomic long tid;
	zbz_status s;
} waiter;

static void *wait_in_line(void *ud) {
	waiter *w = ud;
	w->tid = syscall(SYS_gettid);
	w->s = put("contended", PATIENCE_MS);
	return NULL;
}

/* It has written its value beside and now sleeps for the lock. */
static bool sleeps(waiter *w, int temps) {
	char path[64], text[256] = "";
	int dir = open_below("tmp"), n = 0, fd;
	DIR *d = dir >= 0 ? fdopendir(dir) : NULL;
	struct dirent *e;
	while (d != NULL && (e = readdir(d)) != NULL) n += e->d_name[0] == 'w';
	if (d != NULL) closedir(d);
	snprintf(path, sizeof path, "/proc/self/task/%ld/stat", (long)w->tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && read(fd, text, sizeof text - 1) < 0) text[0] = '\0';
	if (fd >= 0) close(fd);
	return n >= temps && strstr(text, ") S ") != NULL;
}

static void start(waiter *w, int temps) {
	const struct timespec pause = { 0, 1000000 };
	int64_t until = zbz_mono(zbz_clock_system()) + PATIENCE_MS;
	*w = (waiter){ .s = ZBZ_E_INTERNAL };
	CHECK(pthread_create(&w->thread, NULL, wait_in_line, w) == 0);
	while (!sleeps(w, temps) && zbz_mono(zbz_clock_system()) < until) nanosleep(&pause, NULL);
}

static int in_child(bool uses) {
	alarm(PATIENCE_MS / 1000);
	if (uses && put("another", 5000) != ZBZ_OK) return 1;
	close_all();
	return 0;
}

static void a_child_does_not_wait_for_the_parents_line(void) {
	waiter first, second;
	int fd, uses;
	open_all();
	CHECK(put("another", PATIENCE_MS) == ZBZ_OK);
	{ /* only the contended key's lock file is to be there */
		char remove[96];
		snprintf(remove, sizeof remove, "rm -rf '%s/lock'", folder);
		CHECK(system(remove) == 0);
	}
	CHECK(put("contended", PATIENCE_MS) == ZBZ_OK);
	fd = seize(0);
	CHECK(fd >= 0);
	start(&first, 1);  /* waits for the file */
	start(&second, 2); /* waits for the first */
	for (uses = 0; uses < 2; uses++) {
		int status = -1;
		pid_t pid;
		fflush(NULL);
		pid = fork();
		if (pid == 0) _exit(in_child(uses == 1));
		CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	}
	let_go(fd);
	pthread_join(first.thread, NULL);
	pthread_join(second.thread, NULL);
	CHECK(first.s == ZBZ_OK && second.s == ZBZ_OK);
	close_all();
}

int main(void) {
	char remove[64];
	CHECK(mkdtemp(folder) != NULL);
	RUN(an_interrupted_listing_loses_nothing);
	RUN(a_child_does_not_wait_for_the_parents_line);
	snprintf(remove, sizeof remove, "rm -rf '%s'", folder);
	CHECK(system(remove) == 0);
	return DONE();
}
