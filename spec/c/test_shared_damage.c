/* The `shared` provider over segments that outlive a process, are of another version or damaged, bytes that change by themselves, and
 * memory that is not there. */
#include "shared_rig.h"

/* ---- named segments ---- */

static char name[40], path[100];

static void choose_name(const char *what) {
	snprintf(name, sizeof name, "test-%ld-%s", (long)getpid(), what);
	snprintf(path, sizeof path, "/dev/shm/zbz-%s.%d", name, ZBZ_SHARED_LAYOUT);
	unlink(path);
}

static void spoil(off_t at_byte, const void *with, size_t n) {
	int fd = open(path, O_RDWR);
	CHECK(fd >= 0 && pwrite(fd, with, n, at_byte) == (ssize_t)n);
	close(fd);
}

static void test_named(void) {
	pid_t child;
	zbz_shared *second;
	choose_name("named");
	child = fork();
	if (child == 0) {
		atomic_fetch_add(&forks, 1);
		sh = open_it(NULL, name, 1 << 20);
		if (sh == NULL || put_text("left", "behind") != ZBZ_OK) _exit(1);
		shared_close(sh);
		_exit(0);
	}
	CHECK(exit_code(child) == 0);
	sh = open_it(NULL, name, 1 << 20);
	CHECK(sh != NULL && has("left", "behind") && audit(sh));
	second = open_it(NULL, name, 1 << 20);
	CHECK(second != NULL && second->base == sh->base);
	child = fork(); /* in use: another size is refused, wherever it is asked for */
	if (child == 0) {
		memset(segments, 0, sizeof segments); /* a stranger, not a child */
		_exit(open_it(NULL, name, 2 << 20) == NULL && err.status == ZBZ_E_CONFIG && strcmp(err.option, "size") == 0 &&
		              strstr(err.text, "1048576") != NULL && strstr(err.text, "2097152") != NULL
		          ? 0
		          : 1);
	}
	CHECK(exit_code(child) == 0 && open_it(NULL, name, 2 << 20) == NULL && err.status == ZBZ_E_CONFIG);
	shared_close(second);
	CHECK(has("left", "behind"));
	shared_close(sh);
	sh = open_it(NULL, name, 2 << 20); /* nobody has it open: made anew */
	CHECK(sh != NULL && !has("left", "behind") && put_text("k", "v") == ZBZ_OK);
	shared_close(sh);
	unlink(path);
}

/* The last holder of a lock died, and with it everybody else. */
static void test_named_after_a_crash(void) {
	pid_t child;
	choose_name("crash");
	child = fork();
	if (child == 0) {
		sh = open_it(NULL, name, 1 << 20);
		if (sh == NULL) _exit(1);
		write_until_struck(2000, SIGKILL);
	}
	CHECK(exit_code(child) == -1);
	sh = open_it(NULL, name, 1 << 20);
	CHECK(sh != NULL && audit(sh) && put_text("k", "v") == ZBZ_OK && has("k", "v"));
	shared_close(sh);
	unlink(path);
}

static void test_other_versions_and_damaged_headers(void) {
	static const size_t fields[] = { offsetof(zbz_shared_header, magic),      offsetof(zbz_shared_header, layout),
		                             offsetof(zbz_shared_header, abi),        offsetof(zbz_shared_header, size),
		                             offsetof(zbz_shared_header, entry_size), offsetof(zbz_shared_header, secret),
		                             offsetof(zbz_shared_header, check) };
	const uint32_t wrong = 0x5A5A5A5A;
	size_t i;
	choose_name("header");
	for (i = 0; i < sizeof fields / sizeof *fields; i++) {
		sh = open_it(NULL, name, 1 << 20);
		CHECK(sh != NULL && put_text("k", "v") == ZBZ_OK);
		shared_close(sh);
		spoil((off_t)fields[i], &wrong, sizeof wrong);
		sh = open_it(NULL, name, 1 << 20);
		CHECK(sh != NULL && !has("k", "v") && put_text("k", "v") == ZBZ_OK && has("k", "v"));
		shared_close(sh);
	}
	CHECK(truncate(path, 100) == 0);
	sh = open_it(NULL, name, 1 << 20);
	CHECK(sh != NULL && put_text("k", "v") == ZBZ_OK);
	shared_close(sh);
	CHECK(truncate(path, 0) == 0);
	sh = open_it(NULL, name, 1 << 20);
	CHECK(sh != NULL && put_text("k", "v") == ZBZ_OK);
	shared_close(sh);
	unlink(path);
	CHECK(symlink("/etc/passwd", path) == 0);
	CHECK(open_it(NULL, name, 1 << 20) == NULL && err.status == ZBZ_E_DENIED);
	unlink(path);
	CHECK(mkdir(path, 0700) == 0);
	CHECK(open_it(NULL, name, 1 << 20) == NULL && err.status < 0);
	rmdir(path);
}

/* ---- bytes that change by themselves ---- */

/* Everything a caller can do; whatever comes back, it is no crash, and no value that was never written. */
static bool survives(uint32_t steps) {
	zbz_provider_stats stats;
	zbz_cursor *cursor = NULL;
	uint64_t removed;
	uint32_t i;
	size_t n = 0;
	bool whole = true;
	for (i = 0; i < steps; i++) {
		uint32_t key = (uint32_t)(next_random() % 2000);
		int64_t v;
		char k[16];
		snprintf(k, sizeof k, "n%u", (unsigned)key);
		switch (next_random() % 8) {
		case 0: put_numbered(sh, key, next_random() % 2 != 0 ? NOW_MS + 100000 : 0); break;
		case 1: shared_del(sh, at(NOW_MS), zbz_bstr(k)); break;
		case 2: shared_expire(sh, at(NOW_MS), zbz_bstr(k), NOW_MS + 5000); break;
		case 3: shared_incr(sh, at(NOW_MS), zbz_bstr("count"), &(zbz_incr){ .delta = 1 }, &v); break;
		default: whole = whole && get_numbered(key) != ZBZ_E_CORRUPT;
		}
	}
	if (zbz_shared_scan_open(sh, at(NOW_MS), zbz_bstr(""), zbz_bstr(""), &cursor) == ZBZ_OK) {
		zbz_buf_reset(&out);
		zbz_shared_scan_next(sh, at(NOW_MS), cursor, 1000, &out, &n);
		zbz_shared_scan_close(sh, cursor);
	}
	if (next_random() % 16 == 0) zbz_shared_clear(sh, at(NOW_MS), zbz_bstr("n1"), &removed);
	shared_stats(sh, at(NOW_MS), &stats);
	return whole;
}

static void flip(unsigned char *p, uint64_t n) {
	uint64_t i = next_random() % n;
	p[i] ^= (unsigned char)(1u << next_random() % 8);
}

/* Half of the flips hit the few bytes that everything hangs on. */
static void flip_somewhere(void) {
	unsigned char *shard = sh->base + sh->g.shards_at + next_random() % sh->g.shards * sh->g.stride;
	switch (next_random() % 4) {
	case 0: flip(shard, sizeof(zbz_shared_shard)); break;
	case 1: flip(shard + (size_t)sh->g.buckets_at * 8, (size_t)sh->g.buckets * 64); break;
	default: flip(sh->base, sh->g.size);
	}
}

static void test_flipped_bits(void) {
	int i, whole = 0, opened = 0, rounds = 10000;
	uint32_t k;
	choose_name("flips");
	sh = open_it(NULL, name, 256 << 10);
	CHECK(sh != NULL);
	for (i = 0; i < rounds && sh != NULL; i++) {
		if (i % 50 == 0) /* sound again; a damaged header gives a fresh segment */
			for (k = 0; k < 500; k++) put_numbered(sh, k, 0);
		flip_somewhere();
		whole += survives(20);
		if (i % 10 != 9) continue;
		shared_close(sh);
		sh = open_it(NULL, name, 256 << 10);
		opened += sh != NULL;
		if (sh == NULL) fprintf(stderr, "%s\n", err.text);
	}
	CHECK(whole == rounds && opened == rounds / 10);
	if (sh != NULL) shared_close(sh);
	unlink(path);
}

/* A segment of noise behind a sound header, locks included. */
static void test_noise(void) {
	int i, whole = 0;
	for (i = 0; i < 20; i++) {
		uint64_t k;
		choose_name("noise");
		sh = open_it(NULL, name, 256 << 10);
		CHECK(sh != NULL);
		if (sh == NULL) return;
		for (k = sizeof(zbz_shared_header); k < sh->g.size; k++) sh->base[k] = (unsigned char)next_random();
		whole += survives(300);
		shared_close(sh);
		sh = open_it(NULL, name, 256 << 10);
		CHECK(sh != NULL && put_text("k", "v") == ZBZ_OK && has("k", "v"));
		whole += survives(300);
		if (sh != NULL) shared_close(sh);
		unlink(path);
	}
	CHECK(whole == 40);
}

/* ---- memory that is not there ---- */

static void test_failing_allocations(void) {
	long n, live;
	bool more = true;
	zbz_buf_clear(&out);
	for (n = 1; more && n < 100; n++) {
		zbz_cursor *cursor = NULL;
		size_t found = 0;
		faults_begin(n);
		sh = open_it("sweep", NULL, 256 << 10);
		if (sh != NULL) {
			CHECK(put_text("k", "a value that needs a buffer") == ZBZ_OK);
			CHECK(get_at(NOW_MS, zbz_bstr("k")) == ZBZ_OK || call.err.status == ZBZ_E_INTERNAL);
			if (zbz_shared_scan_open(sh, at(NOW_MS), zbz_bstr(""), zbz_bstr("*"), &cursor) == ZBZ_OK) {
				zbz_status s = zbz_shared_scan_next(sh, at(NOW_MS), cursor, 10, &out, &found);
				CHECK(s == ZBZ_END || s == ZBZ_E_INTERNAL);
				zbz_shared_scan_close(sh, cursor);
			}
			shared_close(sh);
		} else {
			CHECK(err.status == ZBZ_E_INTERNAL);
		}
		zbz_buf_clear(&out);
		more = faults_end(&live);
		CHECK(live == 0);
	}
	CHECK(n > 3 && n < 100);
}

int main(void) {
	RUN(test_named);
	RUN(test_named_after_a_crash);
	RUN(test_other_versions_and_damaged_headers);
	RUN(test_flipped_bits);
	RUN(test_noise);
	RUN(test_failing_allocations);
	zbz_buf_clear(&out);
	return DONE();
}
