/* Buckets: objects and their names, in memory and in a folder. */
#include <zbz/bucket.h>

#include "storage_rig.h"

static zbz_bucket *bucket_of(const char *pairs, zbz_err *err) {
	zbz_config *cfg = config_of(pairs);
	zbz_bucket *b = NULL;
	if (cfg != NULL && zbz_bucket_open(cfg, zbz_clock_system(), &b, err) != ZBZ_OK) b = NULL;
	zbz_config_free(cfg);
	return b;
}

static zbz_status put(zbz_bucket *b, const char *name, zbz_bytes body) {
	zbz_call c = log_call(5000);
	return zbz_bucket_put(b, &c, zbz_bstr(name), body);
}

static bool holds(zbz_bucket *b, const char *name, zbz_bytes body) {
	zbz_call c = log_call(5000);
	zbz_buf out = { 0 };
	zbz_object_info info;
	bool ok = zbz_bucket_get(b, &c, zbz_bstr(name), &out) == ZBZ_OK && zbz_bytes_eq(zbz_buf_bytes(&out), body);
	ok = ok && zbz_bucket_stat(b, &c, zbz_bstr(name), &info) == ZBZ_OK && info.size == body.n && info.modified > 0;
	zbz_buf_clear(&out);
	return ok;
}

static zbz_status missing(zbz_bucket *b, const char *name) {
	zbz_call c = log_call(5000);
	zbz_buf out = { 0 };
	zbz_object_info info;
	zbz_status status = zbz_bucket_get(b, &c, zbz_bstr(name), &out);
	CHECK(out.n == 0);
	CHECK(zbz_bucket_stat(b, &c, zbz_bstr(name), &info) == status);
	zbz_buf_clear(&out);
	return status;
}

static void objects(const char *options) {
	static const char *const bad[] = { "", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "a/./b", "a\nb", "a\x7f" };
	zbz_bucket *b = bucket_of(options, NULL);
	char binary[] = { 0, 1, '\n', (char)0xff, 0 }, *big = malloc(3000000);
	char name[ZBZ_OBJECT_NAME_MAX + 2];
	zbz_call c = log_call(5000);
	zbz_buf little = { .max = 3 };
	CHECK(b != NULL && big != NULL);
	if (b == NULL || big == NULL) return;
	CHECK(missing(b, "a") == ZBZ_MISS);
	CHECK(put(b, "a", zbz_bstr("one")) == ZBZ_OK && holds(b, "a", zbz_bstr("one")));
	CHECK(put(b, "a", zbz_bstr("longer than one")) == ZBZ_OK && holds(b, "a", zbz_bstr("longer than one")));
	CHECK(zbz_bucket_get(b, &c, zbz_bstr("a"), &little) == ZBZ_E_TOO_LARGE && little.n == 0);
	CHECK(put(b, "x/y/z.bin", zbz_b(binary, sizeof binary)) == ZBZ_OK);
	CHECK(holds(b, "x/y/z.bin", zbz_b(binary, sizeof binary)));
	CHECK(put(b, "x/y/empty", zbz_b(NULL, 0)) == ZBZ_OK && holds(b, "x/y/empty", zbz_b("", 0)));
	CHECK(missing(b, "x/y") == ZBZ_MISS && missing(b, "x/y/z") == ZBZ_MISS);
	memset(big, 'b', 3000000);
	CHECK(put(b, "big", zbz_b(big, 3000000)) == ZBZ_OK && holds(b, "big", zbz_b(big, 3000000)));
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		CHECK(put(b, bad[i], zbz_bstr("v")) == ZBZ_E_KEY);
		CHECK(missing(b, bad[i]) == ZBZ_E_KEY);
	}
	memset(name, 'n', sizeof name);
	name[255] = '/';
	name[256] = '\0';
	CHECK(put(b, name, zbz_bstr("v")) == ZBZ_E_KEY); /* ends with a slash */
	name[255] = '\0';
	CHECK(put(b, name, zbz_bstr("v")) == ZBZ_OK);
	name[255] = 'n';
	name[256] = '\0';
	CHECK(put(b, name, zbz_bstr("v")) == ZBZ_E_KEY); /* 256 in one part */
	free(big);
	zbz_bucket_unref(b);
}

static void memory_bucket(void) {
	zbz_bucket *a, *b;
	zbz_call c = log_call(100);
	objects("provider=memory name=one");
	a = bucket_of("provider=memory name=shared max_size=10B", NULL);
	b = bucket_of("provider=memory name=shared max_size=10B", NULL);
	CHECK(a != NULL && b != NULL);
	CHECK(put(a, "k", zbz_bstr("12345678")) == ZBZ_OK && holds(b, "k", zbz_bstr("12345678")));
	CHECK(zbz_bucket_put(a, &c, zbz_bstr("m"), zbz_bstr("123")) == ZBZ_E_TOO_LARGE);
	CHECK_STR(c.err.provider, "memory");
	CHECK(put(a, "k", zbz_bstr("1234567890")) == ZBZ_OK); /* in the place of the old one */
	zbz_bucket_unref(a);
	CHECK(holds(b, "k", zbz_bstr("1234567890")));
	zbz_bucket_unref(b);
	a = bucket_of("provider=memory name=shared", NULL);
	CHECK(missing(a, "k") == ZBZ_MISS); /* the last one closed took them along */
	zbz_bucket_unref(a);
}

static void filesystem_bucket(void) {
	char options[300], path[400], cmd[400];
	struct stat st;
	zbz_bucket *b;
	zbz_err err;
	snprintf(options, sizeof options, "provider=filesystem base_dir=%s/fs", work);
	objects(options);
	snprintf(options, sizeof options, "provider=filesystem base_dir=%s/fs2 sync=true mode=0600", work);
	objects(options);
	snprintf(path, sizeof path, "%s/fs2", work);
	CHECK(files_in(path) == 5); /* and nothing unfinished */
	snprintf(path, sizeof path, "%s/fs2/a", work);
	CHECK(stat(path, &st) == 0 && (st.st_mode & 0777) == 0600);
	b = bucket_of(options, NULL);
	CHECK(put(b, ".zbz-new.1", zbz_bstr("v")) == ZBZ_E_KEY);
	snprintf(cmd, sizeof cmd, "rm -rf %s/fs2", work);
	CHECK(system(cmd) == 0);
	CHECK(put(b, "p/q", zbz_bstr("v")) == ZBZ_OK && holds(b, "p/q", zbz_bstr("v"))); /* it comes back */
	CHECK(put(b, "p/q/r", zbz_bstr("v")) == ZBZ_E_UNAVAILABLE);                      /* q is no directory */
	zbz_bucket_unref(b);
	CHECK(files_in(work) < 1000000);
	CHECK(bucket_of("provider=filesystem", &err) == NULL);
	CHECK_STR(err.option, "base_dir");
	CHECK(bucket_of("provider=filesystem base_dir=/nowhere/at/all", &err) == NULL);
	CHECK_STR(err.option, "base_dir");
	CHECK(bucket_of("provider=s4", &err) == NULL && err.status == ZBZ_E_UNKNOWN_PROVIDER);
	CHECK(bucket_of("base_dir=/tmp", &err) == NULL);
	CHECK_STR(err.option, "provider");
}

int main(void) {
	if (!dirs_make()) return 1;
	RUN(memory_bucket);
	RUN(filesystem_bucket);
	dirs_remove();
	return DONE();
}
