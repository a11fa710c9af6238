/* The filesystem cache over what others have left in its folder: damaged and foreign files, links, a folder that goes. */
#include "filesystem_rig.h"

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

int main(void) {
	if (!rig_begin()) return 2;
	RUN(damage);
	RUN(shared_slot);
	RUN(links);
	RUN(folder_removed);
	rig_end();
	return DONE();
}
