/* The filesystem cache where it may not or cannot: bad places, no permission, a full disk, no memory. */
#include <sys/resource.h>

#include "faults.h"
#include "filesystem_rig.h"

static void bad_places(void) {
	fs f;
	char path[400];
	snprintf(path, sizeof path, "%s/file", root);
	close(open(path, O_WRONLY | O_CREAT, 0644));
	CHECK(fs_open_at(&f, path, NULL, &f.err) == ZBZ_E_CONFIG);
	CHECK_STR(f.err.option, "base_dir");
	CHECK(f.err.sys_errno == ENOTDIR && strstr(f.err.text, path) != NULL);
	snprintf(path, sizeof path, "%s/file/below", root);
	CHECK(fs_open_at(&f, path, NULL, &f.err) == ZBZ_E_CONFIG);
	CHECK(fs_open_at(&f, "", NULL, &f.err) == ZBZ_E_CONFIG);
	CHECK(fs_open_at(&f, "/proc/none", NULL, &f.err) == ZBZ_E_CONFIG);
}

/* Runs fn in a child without root's rights; what it prints as failed counts here. */
static void as_nobody(void (*fn)(fs *), fs *f) {
	fflush(NULL);
	pid_t kid = fork();
	if (kid == 0) {
		check_failed = 0;
		if (getuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0)) _exit(100);
		fn(f);
		_exit(check_failed);
	}
	int status = 0;
	waitpid(kid, &status, 0);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void read_only_child(fs *f) {
	int64_t v;
	zbz_call c = call();
	CHECK(has(f, "k", "v") && count(f, "") == 1);
	CHECK(put(f, zbz_bstr("k"), zbz_bstr("w"), ZBZ_NO_EXPIRY) == ZBZ_E_UNAVAILABLE && f->err.sys_errno == EACCES);
	CHECK(incr(f, "n", 1, &v) == ZBZ_E_UNAVAILABLE && del(f, zbz_bstr("k")) == ZBZ_E_UNAVAILABLE);
	CHECK(ops->expire(f->self, &c, zbz_bstr("k"), c.now + 1) == ZBZ_E_UNAVAILABLE);
}

static void closed_child(fs *f) {
	zbz_buf b = { 0 };
	CHECK(get(f, zbz_bstr("k"), &b, NULL) == ZBZ_E_UNAVAILABLE && f->err.sys_errno == EACCES);
	CHECK(strstr(f->err.text, f->dir) != NULL);
	fs g;
	CHECK(fs_open_at(&g, f->dir, NULL, &g.err) == ZBZ_E_CONFIG);
}

static void no_permission(void) {
	fs f = fs_new();
	char cmd[800];
	CHECK(put(&f, zbz_bstr("k"), zbz_bstr("v"), ZBZ_NO_EXPIRY) == ZBZ_OK);
	snprintf(cmd, sizeof cmd, "chmod -R a-w '%s'; chmod a+x '%s'", f.dir, root);
	CHECK(system(cmd) == 0);
	as_nobody(read_only_child, &f);
	chmod(f.dir, 0);
	as_nobody(closed_child, &f);
	snprintf(cmd, sizeof cmd, "chmod u+rwx '%s'; chmod -R u+w '%s'", f.dir, f.dir);
	CHECK(system(cmd) == 0);
	fs_end(&f);
}

static void disk_full(void) {
	fs f = fs_new();
	static char value[100000];
	CHECK(put(&f, zbz_bstr("k"), zbz_bstr("old"), ZBZ_NO_EXPIRY) == ZBZ_OK);
	struct rlimit was, small;
	getrlimit(RLIMIT_FSIZE, &was);
	small = was;
	small.rlim_cur = 50000;
	signal(SIGXFSZ, SIG_IGN);
	setrlimit(RLIMIT_FSIZE, &small);
	CHECK(put(&f, zbz_bstr("k"), zbz_b(value, sizeof value), ZBZ_NO_EXPIRY) == ZBZ_E_UNAVAILABLE &&
	      f.err.sys_errno == EFBIG);
	setrlimit(RLIMIT_FSIZE, &was);
	CHECK(has(&f, "k", "old") && temps(f.dir) == 0);
	fs_end(&f);
}

/* ---- all allocations from the n-th on fail ---- */

static zbz_status everything(const char *dir, zbz_err *err) {
	fs f;
	char key[300];
	zbz_buf b = { 0 };
	zbz_status s, worst = fs_open_at(&f, dir, NULL, err);
	if (worst != ZBZ_OK) return worst;
	memset(key, 'k', sizeof key);
	zbz_call c = call();
	zbz_bytes k = zbz_b(key, sizeof key);
	zbz_write w = { .key = k, .value = zbz_b(key, sizeof key) };
	zbz_incr how = { .delta = 1 };
	zbz_cursor *cur;
	uint64_t removed;
	int64_t v;
	size_t n = 0;
#define STEP(call)                          \
	do {                                    \
		s = (call);                         \
		if (s < 0) worst = s, *err = c.err; \
	} while (0)
	STEP(ops->set(f.self, &c, &w, NULL));
	STEP(ops->get(f.self, &c, k, &b, NULL));
	STEP(ops->incr(f.self, &c, zbz_bstr("n"), &how, &v));
	STEP(ops->incr(f.self, &c, zbz_bstr("n"), &how, &v));
	STEP(ops->expire(f.self, &c, k, c.now + 1000));
	STEP(ops->inspect(f.self, &c, k, &b));
	STEP(ops->scan_open(f.self, &c, zbz_b("k", 1), zbz_b(NULL, 0), &cur));
	if (s == ZBZ_OK) {
		STEP(ops->scan_next(f.self, &c, cur, 10, &b, &n));
		ops->scan_close(f.self, cur);
	}
	STEP(ops->del(f.self, &c, k));
	STEP(ops->clear(f.self, &c, zbz_b(NULL, 0), &removed));
	zbz_buf_clear(&b);
	fs_end(&f);
	return worst;
}

static void allocations(void) {
	char dir[300];
	zbz_err err;
	zbz_status s = ZBZ_E_INTERNAL;
	snprintf(dir, sizeof dir, "%s/alloc", root);
	for (long i = 1; i <= 1000 && s != ZBZ_OK; i++) {
		long live;
		faults_begin_lasting(i);
		s = everything(dir, &err);
		faults_end(&live);
		CHECK(s == ZBZ_OK || (s == ZBZ_E_INTERNAL && err.sys_errno == ENOMEM));
		CHECK(live == 0);
	}
	CHECK(s == ZBZ_OK);
}

int main(void) {
	if (!rig_begin()) return 2;
	RUN(bad_places);
	RUN(no_permission);
	RUN(disk_full);
	RUN(allocations);
	rig_end();
	return DONE();
}
