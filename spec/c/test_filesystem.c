/* The filesystem cache against the real file system, driven through its table of functions. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "zbz/zbz.h"

static const zbz_cache_ops *ops;
static char root[256]; /* of all folders of this run */
static zbz_clock *fake;
static int folders;

typedef struct fs {
	void *self;
	void *options;
	char dir[300];
	zbz_err err;
} fs;

static zbz_status fs_open_at(fs *f, const char *dir, const char *mode, zbz_err *err) {
	zbz_config *cfg = zbz_config_new();
	zbz_status s;
	f->self = NULL;
	if (cfg == NULL) return zbz_fail_nomem(err);
	f->options = calloc(1, ops->options_size);
	s = zbz_config_set_text(cfg, "base_dir", zbz_bstr(dir), err);
	if (s == ZBZ_OK && mode != NULL) s = zbz_config_set_text(cfg, "permissions", zbz_bstr(mode), err);
	if (s == ZBZ_OK) s = zbz_options_parse(cfg, ops->options, f->options, err);
	zbz_config_free(cfg);
	if (s == ZBZ_OK) {
		s = ops->open(&f->self, f->options, fake, err);
		if (s != ZBZ_OK) zbz_options_clear(ops->options, f->options);
	}
	if (s != ZBZ_OK) {
		free(f->options);
		f->options = NULL;
	}
	snprintf(f->dir, sizeof f->dir, "%s", dir);
	return s;
}

static fs fs_new(void) {
	fs f;
	char dir[280];
	zbz_err err;
	snprintf(dir, sizeof dir, "%s/%d", root, ++folders);
	CHECK(fs_open_at(&f, dir, NULL, &err) == ZBZ_OK);
	return f;
}

static void fs_end(fs *f) {
	ops->close(f->self);
	zbz_options_clear(ops->options, f->options);
	free(f->options);
}

static zbz_call call(void) {
	zbz_call c = { .clock = fake, .now = zbz_wall(fake), .deadline = ZBZ_NEVER };
	return c;
}

static zbz_status put(fs *f, zbz_bytes key, zbz_bytes value, int64_t expire_at) {
	zbz_call c = call();
	zbz_write w = { .key = key, .value = value, .expire_at = expire_at };
	zbz_status s = ops->set(f->self, &c, &w, NULL);
	f->err = c.err;
	return s;
}

static zbz_status put_only(fs *f, const char *key, const char *value, zbz_only only, const zbz_version *v,
                           zbz_version *out) {
	zbz_call c = call();
	zbz_write w = { .key = zbz_bstr(key), .value = zbz_bstr(value), .only = only, .version = v };
	zbz_status s = ops->set(f->self, &c, &w, out);
	f->err = c.err;
	return s;
}

static zbz_status get(fs *f, zbz_bytes key, zbz_buf *out, zbz_meta *meta) {
	zbz_call c = call();
	out->n = 0;
	zbz_status s = ops->get(f->self, &c, key, out, meta);
	f->err = c.err;
	return s;
}

static bool has(fs *f, const char *key, const char *value) {
	zbz_buf b = { 0 };
	bool ok = get(f, zbz_bstr(key), &b, NULL) == ZBZ_OK && zbz_bytes_eq(zbz_buf_bytes(&b), zbz_bstr(value));
	zbz_buf_clear(&b);
	return ok;
}

static zbz_status del(fs *f, zbz_bytes key) {
	zbz_call c = call();
	return ops->del(f->self, &c, key);
}

static zbz_status incr(fs *f, const char *key, int64_t delta, int64_t *v) {
	zbz_call c = call();
	zbz_incr how = { .delta = delta };
	zbz_status s = ops->incr(f->self, &c, zbz_bstr(key), &how, v);
	f->err = c.err;
	return s;
}

/* Number of listed keys with the prefix; `page` keys at a time. `want` counts how often it was among them. */
static size_t list(fs *f, zbz_bytes prefix, size_t page, zbz_bytes want, size_t *times) {
	zbz_call c = call();
	zbz_cursor *cur;
	zbz_buf b = { 0 };
	size_t total = 0, n = 0, at = 0;
	zbz_status s = ops->scan_open(f->self, &c, prefix, zbz_b(NULL, 0), &cur);
	CHECK(s == ZBZ_OK);
	while (s == ZBZ_OK) {
		n = 0;
		s = ops->scan_next(f->self, &c, cur, page, &b, &n);
		CHECK(n <= page);
		total += n;
	}
	CHECK(s == ZBZ_END);
	ops->scan_close(f->self, cur);
	if (times != NULL) *times = 0;
	for (; at + 4 <= b.n; at += n) {
		uint32_t len;
		memcpy(&len, b.p + at, 4);
		at += 4;
		n = len;
		CHECK(zbz_bytes_has_prefix(zbz_b(b.p + at, n), prefix));
		if (times != NULL && zbz_bytes_eq(zbz_b(b.p + at, n), want)) ++*times;
	}
	CHECK(at == b.n);
	zbz_buf_clear(&b);
	return total;
}

static size_t count(fs *f, const char *prefix) { return list(f, zbz_bstr(prefix), 7, zbz_b(NULL, 0), NULL); }

/* Calls fn with every regular file below base/X/Y; returns how many. */
static size_t each_file(const char *dir, void (*fn)(const char *path, void *ud), void *ud) {
	size_t n = 0;
	char path[4200];
	for (int i = 0; i < 256; i++) {
		snprintf(path, sizeof path, "%s/%x/%x", dir, i >> 4, i & 15);
		DIR *d = opendir(path);
		struct dirent *e;
		while (d != NULL && (e = readdir(d)) != NULL) {
			if (e->d_name[0] == '.') continue;
			snprintf(path, sizeof path, "%s/%x/%x/%s", dir, i >> 4, i & 15, e->d_name);
			n++;
			if (fn != NULL) fn(path, ud);
		}
		if (d != NULL) closedir(d);
	}
	return n;
}

static void keep_path(const char *path, void *ud) { snprintf(ud, 4200, "%s", path); }

static size_t temps(const char *dir) {
	char path[320];
	size_t n = 0;
	snprintf(path, sizeof path, "%s/tmp", dir);
	DIR *d = opendir(path);
	struct dirent *e;
	while (d != NULL && (e = readdir(d)) != NULL) n += e->d_name[0] != '.';
	if (d != NULL) closedir(d);
	return n;
}

static void round_trips(void) {
	fs f = fs_new();
	zbz_buf b = { 0 };
	zbz_meta meta;
	size_t big_n = 10u << 20;
	char *big = malloc(big_n);
	for (size_t i = 0; i < big_n; i++) big[i] = (char)(i * 2654435761u >> 13);
	CHECK(get(&f, zbz_bstr("k"), &b, &meta) == ZBZ_MISS);
	CHECK(put(&f, zbz_bstr("k"), zbz_b("a\0\r\n\xff", 5), ZBZ_NO_EXPIRY) == ZBZ_OK);
	CHECK(get(&f, zbz_bstr("k"), &b, &meta) == ZBZ_OK && zbz_bytes_eq(zbz_buf_bytes(&b), zbz_b("a\0\r\n\xff", 5)));
	CHECK(meta.expire_at == ZBZ_NO_EXPIRY && meta.version.n == 8);
	CHECK(put(&f, zbz_bstr("k"), zbz_b(NULL, 0), ZBZ_NO_EXPIRY) == ZBZ_OK);
	CHECK(get(&f, zbz_bstr("k"), &b, NULL) == ZBZ_OK && b.n == 0);
	CHECK(put(&f, zbz_bstr("big"), zbz_b(big, big_n), ZBZ_NO_EXPIRY) == ZBZ_OK);
	CHECK(get(&f, zbz_bstr("big"), &b, NULL) == ZBZ_OK && zbz_bytes_eq(zbz_buf_bytes(&b), zbz_b(big, big_n)));
	for (size_t n = 4000; n < 4150; n++) { /* around the size of the first read */
		CHECK(put(&f, zbz_bstr("edge"), zbz_b(big, n), ZBZ_NO_EXPIRY) == ZBZ_OK);
		CHECK(get(&f, zbz_bstr("edge"), &b, NULL) == ZBZ_OK && zbz_bytes_eq(zbz_buf_bytes(&b), zbz_b(big, n)));
	}
	CHECK(del(&f, zbz_bstr("k")) == ZBZ_OK && del(&f, zbz_bstr("k")) == ZBZ_MISS);
	CHECK(get(&f, zbz_bstr("k"), &b, NULL) == ZBZ_MISS);
	CHECK(temps(f.dir) == 0);
	fs_end(&f);
	CHECK(fs_open_at(&f, f.dir, NULL, &f.err) == ZBZ_OK); /* survives the process's forgetting */
	CHECK(get(&f, zbz_bstr("big"), &b, NULL) == ZBZ_OK && b.n == big_n);
	zbz_buf_clear(&b);
	free(big);
	fs_end(&f);
}

static void odd_keys(void) {
	static char longest[32 * 1024], other[32 * 1024], bytes[256];
	static const char *const words[] = { ".",   "..",  "/",    "//",   "a/../../b",  "",   ".hidden", "%41",
		                                 "A",   "a",   "a b",  "a\nb", "a\r\nset x", "%h", "x.zbz",   "\xc3\xa9",
		                                 "-rf", "tmp", "lock", "~",    "CON",        "*",  "a:b:c" };
	fs f = fs_new();
	zbz_bytes keys[64];
	zbz_buf b = { 0 };
	size_t n = 0;
	memset(longest, 'L', sizeof longest);
	memset(other, 'L', sizeof other);
	other[sizeof other - 1] = 'M';
	for (int i = 0; i < 256; i++) bytes[i] = (char)i;
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (*words[i] != '\0') keys[n++] = zbz_bstr(words[i]);
	keys[n++] = zbz_b("\0", 1);
	keys[n++] = zbz_b("\0\0", 2);
	keys[n++] = zbz_b("a\0b", 3);
	keys[n++] = zbz_b(bytes, 256);
	for (size_t len = 198; len < 204; len++) keys[n++] = zbz_b(longest, len);
	keys[n++] = zbz_b(longest, 255);
	keys[n++] = zbz_b(longest, 300);
	keys[n++] = zbz_b(longest, sizeof longest);
	keys[n++] = zbz_b(other, sizeof other);
	for (size_t i = 0; i < n; i++) CHECK(put(&f, keys[i], zbz_b(&i, sizeof i), ZBZ_NO_EXPIRY) == ZBZ_OK);
	for (size_t i = 0; i < n; i++) {
		size_t times;
		CHECK(get(&f, keys[i], &b, NULL) == ZBZ_OK && zbz_bytes_eq(zbz_buf_bytes(&b), zbz_b(&i, sizeof i)));
		CHECK(list(&f, zbz_b(NULL, 0), 5, keys[i], &times) == n && times == 1);
		CHECK(list(&f, keys[i], 1, keys[i], &times) >= 1 && times == 1);
	}
	CHECK(each_file(f.dir, NULL, NULL) == n);
	for (size_t i = 0; i < n; i++) CHECK(del(&f, keys[i]) == ZBZ_OK);
	CHECK(each_file(f.dir, NULL, NULL) == 0);
	zbz_buf_clear(&b);
	fs_end(&f);
}

static void check_mode(const char *path, void *ud) {
	struct stat st;
	CHECK(stat(path, &st) == 0 && (st.st_mode & 07777) == *(mode_t *)ud);
}

static void modes(void) {
	static const struct {
		const char *text;
		mode_t file, dir;
	} rows[] = { { NULL, 0644, 0755 }, { "0600", 0600, 0700 }, { "0640", 0640, 0750 }, { "0666", 0666, 0777 } };
	mode_t before = umask(077);
	for (size_t i = 0; i < 4; i++) {
		fs f;
		char dir[300], sub[340];
		mode_t file = rows[i].file, folder = rows[i].dir;
		snprintf(dir, sizeof dir, "%s/modes%zu/deep", root, i);
		CHECK(fs_open_at(&f, dir, rows[i].text, &f.err) == ZBZ_OK);
		CHECK(put(&f, zbz_bstr("k"), zbz_bstr("v"), ZBZ_NO_EXPIRY) == ZBZ_OK);
		CHECK(each_file(dir, check_mode, &file) == 1);
		check_mode(dir, &folder);
		snprintf(sub, sizeof sub, "%s/tmp", dir);
		check_mode(sub, &folder);
		*strrchr(dir, '/') = '\0';
		check_mode(dir, &folder);
		fs_end(&f);
	}
	umask(before);
	fs f;
	CHECK(fs_open_at(&f, root, "0400", &f.err) == ZBZ_E_CONFIG);
	CHECK_STR(f.err.option, "permissions");
	CHECK(fs_open_at(&f, root, "7777", &f.err) == ZBZ_E_CONFIG);
}

static void conditions(void) {
	fs f = fs_new();
	zbz_version v1, v2, none = { 0 };
	CHECK(put_only(&f, "k", "1", ZBZ_ONLY_PRESENT, NULL, NULL) == ZBZ_REFUSED);
	CHECK(put_only(&f, "k", "1", ZBZ_ONLY_ABSENT, NULL, &v1) == ZBZ_OK);
	CHECK(put_only(&f, "k", "2", ZBZ_ONLY_ABSENT, NULL, NULL) == ZBZ_REFUSED);
	CHECK(has(&f, "k", "1"));
	CHECK(put_only(&f, "k", "3", ZBZ_ONLY_VERSION, &v1, &v2) == ZBZ_OK);
	CHECK(put_only(&f, "k", "4", ZBZ_ONLY_VERSION, &v1, NULL) == ZBZ_E_CONFLICT);
	CHECK(put_only(&f, "k", "4", ZBZ_ONLY_VERSION, &none, NULL) == ZBZ_E_CONFLICT);
	CHECK(has(&f, "k", "3"));
	CHECK(put_only(&f, "k", "5", ZBZ_ONLY_PRESENT, NULL, NULL) == ZBZ_OK);
	CHECK(del(&f, zbz_bstr("k")) == ZBZ_OK);
	CHECK(put_only(&f, "k", "6", ZBZ_ONLY_VERSION, &v2, NULL) == ZBZ_E_CONFLICT);
	CHECK(put(&f, zbz_bstr("k"), zbz_bstr("7"), zbz_wall(fake) + 10) == ZBZ_OK);
	zbz_clock_fake_advance(fake, 10);
	CHECK(put_only(&f, "k", "8", ZBZ_ONLY_PRESENT, NULL, NULL) == ZBZ_REFUSED);
	CHECK(put_only(&f, "k", "9", ZBZ_ONLY_ABSENT, NULL, NULL) == ZBZ_OK && has(&f, "k", "9"));
	CHECK(temps(f.dir) == 0);
	fs_end(&f);
}

static void expiry(void) {
	fs f = fs_new();
	zbz_call c = call();
	zbz_provider_stats st;
	int64_t at, t0 = c.now;
	zbz_buf b = { 0 };
	CHECK(ops->ttl(f.self, &c, zbz_bstr("k"), &at) == ZBZ_MISS &&
	      ops->expire(f.self, &c, zbz_bstr("k"), t0 + 9) == ZBZ_MISS);
	CHECK(put(&f, zbz_bstr("k"), zbz_bstr("v"), t0 + 1) == ZBZ_OK);
	CHECK(ops->ttl(f.self, &c, zbz_bstr("k"), &at) == ZBZ_OK && at == t0 + 1);
	CHECK(ops->expire(f.self, &c, zbz_bstr("k"), t0 + 50) == ZBZ_OK);
	zbz_clock_fake_advance(fake, 49);
	CHECK(has(&f, "k", "v"));
	zbz_clock_fake_advance(fake, 1);
	CHECK(get(&f, zbz_bstr("k"), &b, NULL) == ZBZ_MISS && each_file(f.dir, NULL, NULL) == 0);
	CHECK(put(&f, zbz_bstr("k"), zbz_bstr("v"), zbz_wall(fake) + 5) == ZBZ_OK);
	c = call();
	CHECK(ops->expire(f.self, &c, zbz_bstr("k"), ZBZ_NO_EXPIRY) == ZBZ_OK);
	CHECK(ops->ttl(f.self, &c, zbz_bstr("k"), &at) == ZBZ_OK && at == ZBZ_NO_EXPIRY);
	/* listing removes the dead */
	for (int i = 0; i < 40; i++) {
		char key[16];
		snprintf(key, sizeof key, "dead%d", i);
		CHECK(put(&f, zbz_bstr(key), zbz_bstr("v"), zbz_wall(fake) + 5) == ZBZ_OK);
	}
	CHECK(count(&f, "") == 41);
	zbz_clock_fake_advance(fake, 5);
	CHECK(count(&f, "") == 1 && each_file(f.dir, NULL, NULL) == 1);
	/* and writes do, a few each */
	for (int i = 0; i < 40; i++) {
		char key[16];
		snprintf(key, sizeof key, "dead%d", i);
		CHECK(put(&f, zbz_bstr(key), zbz_bstr("v"), zbz_wall(fake) + 5) == ZBZ_OK);
	}
	zbz_clock_fake_advance(fake, 5);
	for (int i = 0; i < 700; i++) CHECK(put(&f, zbz_bstr("k"), zbz_bstr("v"), ZBZ_NO_EXPIRY) == ZBZ_OK);
	CHECK(each_file(f.dir, NULL, NULL) == 1);
	c = call();
	ops->stats(f.self, &c, &st);
	CHECK(st.keys == 1 && st.memory > 50 && st.memory < 100 && st.expired == 81);
	zbz_buf_clear(&b);
	fs_end(&f);
}

static void counters(void) {
	fs f = fs_new();
	zbz_call c = call();
	int64_t v = 0;
	zbz_incr how = { .delta = 5, .has_initial = true, .initial = -7, .expire_at = c.now + 1000 };
	CHECK(incr(&f, "n", 3, &v) == ZBZ_OK && v == 3 && has(&f, "n", "3"));
	CHECK(incr(&f, "n", -10, &v) == ZBZ_OK && v == -7 && has(&f, "n", "-7"));
	CHECK(ops->incr(f.self, &c, zbz_bstr("m"), &how, &v) == ZBZ_OK && v == -7);
	CHECK(ops->incr(f.self, &c, zbz_bstr("m"), &how, &v) == ZBZ_OK && v == -2);
	how.expire_at = c.now + 5;
	CHECK(ops->incr(f.self, &c, zbz_bstr("m"), &how, &v) == ZBZ_OK && v == 3);
	CHECK(ops->ttl(f.self, &c, zbz_bstr("m"), &v) == ZBZ_OK && v == c.now + 1000); /* the first one's */
	CHECK(put(&f, zbz_bstr("n"), zbz_bstr("9223372036854775806"), ZBZ_NO_EXPIRY) == ZBZ_OK);
	CHECK(incr(&f, "n", 1, &v) == ZBZ_OK && v == INT64_MAX);
	CHECK(incr(&f, "n", 1, &v) == ZBZ_E_ARGUMENT && has(&f, "n", "9223372036854775807"));
	CHECK(put(&f, zbz_bstr("n"), zbz_bstr("-9223372036854775808"), ZBZ_NO_EXPIRY) == ZBZ_OK);
	CHECK(incr(&f, "n", -1, &v) == ZBZ_E_ARGUMENT && incr(&f, "n", 0, &v) == ZBZ_OK && v == INT64_MIN);
	static const char *const bad[] = {
		"",    "-", "1.5", " 1", "1 ", "abc", "9223372036854775808", "-9223372036854775809", "99999999999999999999",
		"1e3", "+1"
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		CHECK(put(&f, zbz_bstr("n"), zbz_bstr(bad[i]), ZBZ_NO_EXPIRY) == ZBZ_OK);
		CHECK(incr(&f, "n", 1, &v) == ZBZ_E_TYPE && has(&f, "n", bad[i]));
	}
	fs_end(&f);
}

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

static void rewrite(const char *path, const char *bytes, size_t n) {
	int fd = open(path, O_WRONLY | O_TRUNC);
	CHECK(fd >= 0 && write(fd, bytes, n) == (ssize_t)n);
	close(fd);
}

static void damage(void) {
	fs f = fs_new();
	char path[4200], whole[256];
	zbz_buf b = { 0 };
	zbz_call c = call();
	uint64_t removed;
	CHECK(put(&f, zbz_bstr("key"), zbz_bstr("the value"), ZBZ_NO_EXPIRY) == ZBZ_OK);
	each_file(f.dir, keep_path, path);
	int fd = open(path, O_RDONLY);
	size_t n = (size_t)read(fd, whole, sizeof whole);
	close(fd);
	CHECK(n == 52 + 3 + 9);
	for (size_t i = 0; i < n; i++) { /* cut anywhere */
		rewrite(path, whole, i);
		CHECK(get(&f, zbz_bstr("key"), &b, NULL) == ZBZ_E_CORRUPT);
	}
	CHECK(strstr(f.err.text, "truncated") != NULL);
	for (size_t i = 0; i < n * 8; i++) { /* any bit turned */
		whole[i / 8] ^= (char)(1 << i % 8);
		rewrite(path, whole, n);
		CHECK(get(&f, zbz_bstr("key"), &b, NULL) == ZBZ_E_CORRUPT && b.n == 0);
		whole[i / 8] ^= (char)(1 << i % 8);
	}
	rewrite(path, whole, n);
	CHECK(has(&f, "key", "the value"));
	/* a foreign file in our place: told, listed by nobody, not cleared; a write mends it */
	rewrite(path, "hello", 5);
	CHECK(get(&f, zbz_bstr("key"), &b, NULL) == ZBZ_E_CORRUPT && count(&f, "") == 0);
	CHECK(ops->clear(f.self, &c, zbz_b(NULL, 0), &removed) == ZBZ_OK && removed == 0 && access(path, F_OK) == 0);
	CHECK(put(&f, zbz_bstr("key"), zbz_bstr("new"), ZBZ_NO_EXPIRY) == ZBZ_OK && has(&f, "key", "new"));
	/* ours but damaged: cleared with its prefix, deleted by its key */
	rewrite(path, whole, 30);
	CHECK(ops->clear(f.self, &c, zbz_bstr("other"), &removed) == ZBZ_OK && access(path, F_OK) == 0);
	CHECK(ops->clear(f.self, &c, zbz_bstr("ke"), &removed) == ZBZ_OK && access(path, F_OK) != 0);
	CHECK(put(&f, zbz_bstr("key"), zbz_bstr("new"), ZBZ_NO_EXPIRY) == ZBZ_OK);
	rewrite(path, whole, 30);
	CHECK(put_only(&f, "key", "x", ZBZ_ONLY_PRESENT, NULL, NULL) == ZBZ_REFUSED);
	int64_t v;
	CHECK(incr(&f, "key", 1, &v) == ZBZ_E_CORRUPT);
	CHECK(del(&f, zbz_bstr("key")) == ZBZ_OK && access(path, F_OK) != 0);
	zbz_buf_clear(&b);
	fs_end(&f);
}

/* Another key's whole file under this key's name, as a hash collision would have it. */
static void shared_slot(void) {
	fs f = fs_new();
	char here[4200], there[4200];
	zbz_buf b = { 0 };
	CHECK(put(&f, zbz_bstr("one"), zbz_bstr("1"), ZBZ_NO_EXPIRY) == ZBZ_OK);
	each_file(f.dir, keep_path, here);
	CHECK(del(&f, zbz_bstr("one")) == ZBZ_OK && put(&f, zbz_bstr("two"), zbz_bstr("2"), ZBZ_NO_EXPIRY) == ZBZ_OK);
	each_file(f.dir, keep_path, there);
	CHECK(rename(there, here) == 0);
	CHECK(get(&f, zbz_bstr("one"), &b, NULL) == ZBZ_MISS && del(&f, zbz_bstr("one")) == ZBZ_MISS &&
	      access(here, F_OK) == 0);
	CHECK(put_only(&f, "one", "1", ZBZ_ONLY_ABSENT, NULL, NULL) == ZBZ_OK && has(&f, "one", "1"));
	zbz_buf_clear(&b);
	fs_end(&f);
}

static void links(void) {
	fs f = fs_new();
	char path[4200], leaf[4200], aside[4210], secret[300], link[320];
	zbz_buf b = { 0 };
	snprintf(secret, sizeof secret, "%s/secret", root);
	int fd = open(secret, O_WRONLY | O_CREAT, 0600);
	CHECK(fd >= 0 && write(fd, "secret", 6) == 6);
	close(fd);
	CHECK(put(&f, zbz_bstr("k"), zbz_bstr("v"), ZBZ_NO_EXPIRY) == ZBZ_OK);
	each_file(f.dir, keep_path, path);
	unlink(path);
	CHECK(symlink(secret, path) == 0);
	CHECK(get(&f, zbz_bstr("k"), &b, NULL) == ZBZ_E_UNAVAILABLE && b.n == 0);
	CHECK(put(&f, zbz_bstr("k"), zbz_bstr("w"), ZBZ_NO_EXPIRY) == ZBZ_OK &&
	      has(&f, "k", "w")); /* replaces the link itself */
	snprintf(leaf, sizeof leaf, "%s", path);
	*strrchr(leaf, '/') = '\0';
	snprintf(aside, sizeof aside, "%s.aside", leaf);
	CHECK(rename(leaf, aside) == 0 && symlink(aside, leaf) == 0);
	CHECK(get(&f, zbz_bstr("k"), &b, NULL) == ZBZ_E_UNAVAILABLE);
	CHECK(put(&f, zbz_bstr("k"), zbz_bstr("x"), ZBZ_NO_EXPIRY) == ZBZ_E_UNAVAILABLE);
	CHECK(del(&f, zbz_bstr("k")) == ZBZ_E_UNAVAILABLE && temps(f.dir) == 0);
	unlink(leaf);
	CHECK(mkdir(leaf, 0755) == 0 && mkfifo(path, 0600) == 0); /* must not hang */
	CHECK(get(&f, zbz_bstr("k"), &b, NULL) == ZBZ_E_CORRUPT);
	unlink(path);
	snprintf(link, sizeof link, "%s/tmp", f.dir);
	CHECK(rmdir(link) == 0 && symlink(root, link) == 0);
	CHECK(put(&f, zbz_bstr("k"), zbz_bstr("x"), ZBZ_NO_EXPIRY) == ZBZ_E_UNAVAILABLE);
	struct stat st;
	CHECK(stat(secret, &st) == 0 && st.st_size == 6);
	zbz_buf_clear(&b);
	fs_end(&f);
}

static void clearing(void) {
	fs f = fs_new();
	zbz_call c = call();
	uint64_t removed;
	char path[4300], note[4400];
	static char longkey[300];
	for (int i = 0; i < 30; i++) {
		char key[16];
		snprintf(key, sizeof key, "%c:%d", i % 3 == 0 ? 'a' : 'b', i);
		CHECK(put(&f, zbz_bstr(key), zbz_bstr("v"), i == 3 ? zbz_wall(fake) + 1 : ZBZ_NO_EXPIRY) == ZBZ_OK);
	}
	memset(longkey, 'z', sizeof longkey);
	memcpy(longkey, "a:", 2);
	CHECK(put(&f, zbz_b(longkey, sizeof longkey), zbz_bstr("v"), ZBZ_NO_EXPIRY) == ZBZ_OK);
	each_file(f.dir, keep_path, path);
	snprintf(note, sizeof note, "%s.txt", path);
	CHECK(link(path, note) == 0); /* not one of our names */
	zbz_clock_fake_advance(fake, 1);
	c = call();
	CHECK(ops->clear(f.self, &c, zbz_bstr("a:"), &removed) == ZBZ_OK && removed == 10);
	CHECK(count(&f, "") == 20 && count(&f, "b:") == 20 && count(&f, "a") == 0);
	CHECK(ops->clear(f.self, &c, zbz_b(NULL, 0), &removed) == ZBZ_OK && removed == 20);
	CHECK(each_file(f.dir, NULL, NULL) == 1 && access(note, F_OK) == 0);
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

static void remove_tree(const char *dir) {
	char cmd[600];
	snprintf(cmd, sizeof cmd, "rm -rf '%s'", dir);
	CHECK(system(cmd) == 0);
}

static void folder_removed(void) {
	fs f = fs_new();
	zbz_buf b = { 0 };
	int64_t v;
	zbz_call c = call();
	CHECK(put(&f, zbz_bstr("k"), zbz_bstr("v"), ZBZ_NO_EXPIRY) == ZBZ_OK);
	remove_tree(f.dir);
	CHECK(get(&f, zbz_bstr("k"), &b, NULL) == ZBZ_MISS && count(&f, "") == 0);
	CHECK(put(&f, zbz_bstr("k"), zbz_bstr("w"), ZBZ_NO_EXPIRY) == ZBZ_OK && has(&f, "k", "w"));
	remove_tree(f.dir);
	CHECK(incr(&f, "n", 2, &v) == ZBZ_OK && v == 2);
	remove_tree(f.dir);
	CHECK(del(&f, zbz_bstr("k")) == ZBZ_MISS && ops->ping(f.self, &c) == ZBZ_OK);
	zbz_buf_clear(&b);
	fs_end(&f);
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

/* ---- the n-th allocation fails ---- */

static long countdown = -1, live;

static void *failing(void *ud, void *p, size_t n) {
	(void)ud;
	if (n == 0) {
		live -= p != NULL;
		free(p);
		return NULL;
	}
	if (countdown == 0) return NULL;
	if (countdown > 0) countdown--;
	live += p == NULL;
	return realloc(p, n);
}

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
	zbz_set_alloc(failing, NULL);
	for (long i = 0; i < 1000 && s != ZBZ_OK; i++) {
		countdown = i;
		s = everything(dir, &err);
		CHECK(s == ZBZ_OK || (s == ZBZ_E_INTERNAL && err.sys_errno == ENOMEM));
		CHECK(live == 0);
	}
	CHECK(s == ZBZ_OK);
	zbz_set_alloc(NULL, NULL);
}

static void through_a_store(void) {
	zbz_config *cfg = zbz_config_new();
	zbz_store *store = NULL;
	zbz_err err;
	char dir[300];
	snprintf(dir, sizeof dir, "%s/store", root);
	zbz_config_set_text(cfg, "provider", zbz_bstr("filesystem"), &err);
	zbz_config_set_text(cfg, "dir", zbz_bstr(dir), &err);
	CHECK(zbz_store_open(cfg, NULL, &store, &err) == ZBZ_OK);
	zbz_config_free(cfg);
	zbz_call c = { .clock = zbz_clock_system(), .now = zbz_wall(zbz_clock_system()), .deadline = ZBZ_NEVER };
	zbz_write w = { .key = zbz_bstr("k"), .value = zbz_bstr("v") };
	zbz_bytes keys[2] = { zbz_bstr("k"), zbz_bstr("absent") };
	zbz_found found[2];
	zbz_buf b = { 0 };
	CHECK(zbz_store_set(store, &c, &w, NULL) == ZBZ_OK);
	CHECK(zbz_store_get_many(store, &c, keys, 2, &b, found) == ZBZ_OK && found[0].status == ZBZ_OK &&
	      found[1].status == ZBZ_MISS);
	CHECK(zbz_store_exists(store, &c, keys[0]) == ZBZ_OK && zbz_store_exists(store, &c, keys[1]) == ZBZ_MISS);
	zbz_buf_clear(&b);
	zbz_store_unref(store);
}

int main(void) {
	zbz_err err;
	const char *tmp = getenv("TMPDIR");
	snprintf(root, sizeof root, "%s/zbz-fs-test-XXXXXX", tmp != NULL ? tmp : "/tmp");
	if (mkdtemp(root) == NULL || zbz_cache_find("filesystem", &ops, &err) != ZBZ_OK) return 2;
	fake = zbz_clock_fake_new(1700000000000);
	RUN(round_trips);
	RUN(odd_keys);
	RUN(modes);
	RUN(conditions);
	RUN(expiry);
	RUN(counters);
	RUN(processes_count);
	RUN(threads);
	RUN(damage);
	RUN(shared_slot);
	RUN(links);
	RUN(clearing);
	RUN(listing_under_writes);
	RUN(killed_writers);
	RUN(lock_waits);
	RUN(bad_places);
	RUN(folder_removed);
	RUN(no_permission);
	RUN(disk_full);
	RUN(allocations);
	RUN(through_a_store);
	zbz_clock_fake_free(fake);
	remove_tree(root);
	return DONE();
}
