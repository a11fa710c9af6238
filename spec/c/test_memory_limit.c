/* The memory provider's limits: its own, and those of the container around it. */
#include "memory_help.h"

#include "provider/memory_limit.h"

#include <sys/stat.h>
#include <unistd.h>

static void memory_stays_below_the_limit(void) {
	static const char *const sizes[] = { "1000", "5KB", "100KB", "3MB" };
	static char value[30000];
	size_t o;
	for (o = 0; o < sizeof sizes / sizeof sizes[0]; o++) {
		fixture f;
		char options[64], key[24];
		uint64_t x = 88172645463325252u, i;
		int64_t limit, above = 0;
		snprintf(options, sizeof options, "max_size=%s", sizes[o]);
		CHECK(fixture_open(&f, options) == ZBZ_OK);
		limit = (int64_t)engine(&f)->max_size;
		for (i = 0; i < 30000; i++) {
			zbz_status status;
			snprintf(key, sizeof key, "k%llu", (unsigned long long)(next_random(&x) % 3000));
			status = put_bytes(&f, key, zbz_b(value, next_random(&x) % (next_random(&x) % 16 ? 400 : sizeof value)), 0);
			if (status != ZBZ_OK && status != ZBZ_E_TOO_LARGE) above++;
			if (status == ZBZ_OK && !has(&f, key)) above++;
			if ((int64_t)zbz_mem_total(engine(&f)) > limit) above++;
		}
		CHECK(above == 0);
		CHECK(stats(&f).keys > 0);
		CHECK(audit(&f));
		fixture_close(&f);
	}
}

static void one_large_insert_into_a_full_cache(void) {
	fixture f;
	const size_t large = 60u << 20;
	char *value = calloc(1, large + 1), key[24];
	int64_t before;
	int i;
	CHECK(fixture_open(&f, "max_size=100MB") == ZBZ_OK);
	for (i = 0; i < 450000; i++) {
		snprintf(key, sizeof key, "k%d", i);
		put_bytes(&f, key, zbz_b(value, 100 + (size_t)i * 7919 % 300), 0);
	}
	before = stats(&f).keys;
	CHECK(stats(&f).evictions > 0 && stats(&f).memory > 95 << 20);
	CHECK(put_bytes(&f, "large", zbz_b(value, large), 0) == ZBZ_OK && get(&f, "large") == ZBZ_OK && f.out.n == large);
	CHECK(stats(&f).memory <= 100 << 20);
	CHECK(stats(&f).keys > before / 4); /* not all had to go for it */
	CHECK(put_bytes(&f, "large", zbz_b(value, large + 1), 0) == ZBZ_OK && get(&f, "large") == ZBZ_OK &&
	      f.out.n == large + 1);
	CHECK(stats(&f).keys > before / 4);
	CHECK(put_bytes(&f, "large", zbz_b(value, 50), 0) == ZBZ_OK && get(&f, "large") == ZBZ_OK && f.out.n == 50);
	CHECK(stats(&f).memory < 45 << 20);
	CHECK(audit(&f));
	free(value);
	fixture_close(&f);
}

static void too_large_leaves_the_old_value(void) {
	fixture f;
	char *value = calloc(1, 2 << 20);
	zbz_buf small = { .max = 2 };
	CHECK(fixture_open(&f, "max_size=1MB") == ZBZ_OK);
	put(&f, "k", "old");
	put(&f, "l", "other");
	CHECK(put_bytes(&f, "k", zbz_b(value, 2 << 20), 0) == ZBZ_E_TOO_LARGE);
	CHECK(put_bytes(&f, "k", zbz_b(value, (1 << 20) - 30), 0) == ZBZ_E_TOO_LARGE);
	CHECK(is(&f, "k", "old") && is(&f, "l", "other"));
	CHECK(put_bytes(&f, "k", zbz_b(value, (1 << 20) - 400), 0) == ZBZ_OK && has(&f, "k"));
	CHECK(!has(&f, "l"));
	put(&f, "k", "old");
	CHECK(zbz_store_get(f.store, &f.call, zbz_bstr("k"), &small, NULL) == ZBZ_E_TOO_LARGE && small.n == 0);
	CHECK(audit(&f));
	zbz_buf_clear(&small);
	free(value);
	fixture_close(&f);
}

static void max_items_is_kept(void) {
	fixture f;
	char key[24];
	int i;
	CHECK(fixture_open(&f, "max_items=10") == ZBZ_OK);
	for (i = 0; i < 1000; i++) {
		snprintf(key, sizeof key, "k%d", i % 40);
		put(&f, key, "v");
		CHECK(has(&f, key));
	}
	CHECK(stats(&f).keys == 10);
	fixture_close(&f);
}

static void memory_comes_back_after_expiry(void) {
	fixture f;
	char key[24];
	int i;
	CHECK(fixture_open(&f, "") == ZBZ_OK);
	for (i = 0; i < 200000; i++) {
		snprintf(key, sizeof key, "k%d", i);
		put_ttl(&f, key, "some value that is of a middling length", 1000);
	}
	CHECK(stats(&f).memory > 15 << 20);
	pass(&f, 1000);
	CHECK(stats(&f).keys == 0 && stats(&f).memory < 3 << 20);
	CHECK(audit(&f));
	fixture_close(&f);
}

/* ---- containers ---- */

static bool file_write(const char *dir, const char *name, const char *text) {
	char path[300];
	FILE *file;
	snprintf(path, sizeof path, "%s/%s", dir, name);
	file = fopen(path, "w");
	if (file == NULL) return false;
	fputs(text, file);
	return fclose(file) == 0;
}

static void container_limits_are_read(void) {
	char root[] = "/tmp/zbz-cgroup-XXXXXX", dir[300];
	CHECK(mkdtemp(root) != NULL);
	snprintf(dir, sizeof dir, "%s/a", root), mkdir(dir, 0700);
	snprintf(dir, sizeof dir, "%s/a/b", root), mkdir(dir, 0700);
	snprintf(dir, sizeof dir, "%s/memory", root), mkdir(dir, 0700);
	CHECK(zbz_mem_cgroup_limit_of(zbz_bstr("0::/a/b\n"), root) == INT64_MAX);
	CHECK(file_write(root, "a/b/memory.max", "max\n"));
	CHECK(zbz_mem_cgroup_limit_of(zbz_bstr("0::/a/b\n"), root) == INT64_MAX);
	CHECK(file_write(root, "a/memory.max", "67108864\n"));
	CHECK(zbz_mem_cgroup_limit_of(zbz_bstr("0::/a/b\n"), root) == 67108864);
	CHECK(zbz_mem_cgroup_limit_of(zbz_bstr("0::/\n"), root) == INT64_MAX);
	CHECK(file_write(root, "memory.max", "1000000\n")); /* what the container sees as its root */
	CHECK(zbz_mem_cgroup_limit_of(zbz_bstr("0::/not/visible\n"), root) == 1000000);
	CHECK(file_write(root, "memory/memory.limit_in_bytes", "9223372036854771712\n"));
	CHECK(zbz_mem_cgroup_limit_of(zbz_bstr("5:cpu,memory:/\n"), root) == INT64_MAX);
	CHECK(file_write(root, "memory/memory.limit_in_bytes", "5000000\n"));
	CHECK(zbz_mem_cgroup_limit_of(zbz_bstr("7:cpu:/\n5:cpu,memory:/docker/x\n"), root) == 5000000);
	CHECK(zbz_mem_cgroup_limit_of(zbz_bstr("nonsense\n\n:"), root) == INT64_MAX);
	snprintf(dir, sizeof dir, "rm -r %s", root);
	CHECK(system(dir) == 0);
}

int main(void) {
	RUN(memory_stays_below_the_limit);
	RUN(one_large_insert_into_a_full_cache);
	RUN(too_large_leaves_the_old_value);
	RUN(max_items_is_kept);
	RUN(memory_comes_back_after_expiry);
	RUN(container_limits_are_read);
	return DONE();
}
