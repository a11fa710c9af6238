/* The filesystem cache against the real file system: values, keys, modes, conditions, expiry, counters, clearing. */
#include "filesystem_rig.h"

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
	if (!rig_begin()) return 2;
	RUN(round_trips);
	RUN(odd_keys);
	RUN(modes);
	RUN(conditions);
	RUN(expiry);
	RUN(counters);
	RUN(clearing);
	RUN(through_a_store);
	rig_end();
	return DONE();
}
