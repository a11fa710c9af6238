/* Listing and removing, the same for every bucket: against a sorted list of names that is kept beside it. What else a bucket does: test_bucket.c. */
#include "bucket_rig.h"
#include "faults.h"

enum { MANY = 1201 };

/* ---- what every bucket does ---- */

static void order_and_prefix(zbz_bucket *b) {
	static const char *const names[] = { "b", "a/2", "a/10", "a.b", "a", "a0", "c/d/e", "c/d", "c-", "\xc3\xa9", "B" };
	CHECK_STR(listed(b, "", "", 10), "");
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		if (strcmp(names[i], "a") == 0 || strcmp(names[i], "c/d") == 0) continue; /* not in a filesystem */
		CHECK(put(b, names[i], names[i]) == ZBZ_OK);
	}
	for (size_t limit = 1; limit < 12; limit++) {
		CHECK_STR(listed(b, "", "", limit), "B a.b a/10 a/2 a0 b c- c/d/e \xc3\xa9");
		CHECK_STR(listed(b, "a", "", limit), "a.b a/10 a/2 a0");
		CHECK_STR(listed(b, "a/", "", limit), "a/10 a/2");
		CHECK_STR(listed(b, "a/1", "", limit), "a/10");
		CHECK_STR(listed(b, "a/10", "", limit), "a/10");
		CHECK_STR(listed(b, "a/100", "", limit), "");
		CHECK_STR(listed(b, "c/d", "", limit), "c/d/e");
		CHECK_STR(listed(b, "c/d/", "", limit), "c/d/e");
		CHECK_STR(listed(b, "", "a/10", limit), "a/2 a0 b c- c/d/e \xc3\xa9");
		CHECK_STR(listed(b, "", "a/1", limit),
		          "a/10 a/2 a0 b c- c/d/e \xc3\xa9"); /* no object's name, nor need it be */
		CHECK_STR(listed(b, "", "a/", limit), "a/10 a/2 a0 b c- c/d/e \xc3\xa9");
		CHECK_STR(listed(b, "a", "a/2", limit), "a0");
		CHECK_STR(listed(b, "a/", "a0", limit), "");
		CHECK_STR(listed(b, "b", "a", limit), "b");
		CHECK_STR(listed(b, "", "\xff", limit), "");
		CHECK_STR(listed(b, "/", "", limit), "");
		CHECK_STR(listed(b, "../", "", limit), "");
	}
}

/* How a front passes over what it has made one of: everything in a folder. */
static void past_a_folder(zbz_bucket *b) {
	char after[ZBZ_OBJECT_NAME_MAX + 1] = "a/";
	memset(after + 2, 0xff, sizeof after - 2);
	after[ZBZ_OBJECT_NAME_MAX] = '\0';
	CHECK_STR(listed(b, "", after, 3), "a0 b c- c/d/e \xc3\xa9");
}

static void numbers_of_one(zbz_bucket *b) {
	zbz_call c = log_call(5000);
	zbz_buf page = { 0 };
	zbz_object_entry e;
	zbz_object_info info;
	size_t n, at = 0;
	CHECK(put(b, "a/10", "ten bytes!") == ZBZ_OK);
	CHECK(zbz_bucket_list(b, &c, zbz_bstr("a/10"), zbz_b(NULL, 0), 1, &page, &n) >= 0 && n == 1);
	CHECK(zbz_bucket_stat(b, &c, zbz_bstr("a/10"), &info) == ZBZ_OK);
	CHECK(zbz_object_page_take(zbz_buf_bytes(&page), &at, &e));
	CHECK(e.info.size == 10 && e.info.modified == info.modified);
	CHECK(!zbz_object_page_take(zbz_buf_bytes(&page), &at, &e));
	zbz_buf_clear(&page);
}

static void removing(zbz_bucket *b) {
	CHECK(take_away(b, "a/10") == ZBZ_OK && !there(b, "a/10") && there(b, "a/2"));
	CHECK(take_away(b, "a/10") == ZBZ_OK); /* it is not there, as was asked for */
	CHECK(take_away(b, "never") == ZBZ_OK && take_away(b, "no/such/place") == ZBZ_OK);
	CHECK(take_away(b, "b/below/an/object") == ZBZ_OK && there(b, "b"));
	CHECK(take_away(b, "c/d") == ZBZ_OK && take_away(b, "c") == ZBZ_OK && there(b, "c/d/e"));
	CHECK(take_away(b, "") == ZBZ_E_KEY && take_away(b, "a/../b") == ZBZ_E_KEY && there(b, "b"));
	CHECK(take_away(b, "c/d/e") == ZBZ_OK && !there(b, "c/d/e"));
	CHECK_STR(listed(b, "", "", 4), "B a.b a/2 a0 b c- \xc3\xa9");
	CHECK(put(b, "c", "an object now") == ZBZ_OK && there(b, "c")); /* nothing of c/d is left */
	CHECK(put(b, "a/10", "again") == ZBZ_OK && there(b, "a/10"));
}

static void misuse(zbz_bucket *b) {
	static char long_one[ZBZ_OBJECT_NAME_MAX + 1];
	zbz_call c = log_call(5000);
	zbz_buf page = { 0 };
	size_t n = 7;
	memset(long_one, 'x', sizeof long_one);
	CHECK(zbz_bucket_list(b, &c, zbz_bstr(""), zbz_bstr(""), 0, &page, &n) == ZBZ_E_ARGUMENT && n == 0);
	CHECK(zbz_bucket_list(b, &c, zbz_bstr(""), zbz_bstr(""), ZBZ_OBJECT_PAGE_MAX + 1, &page, &n) == ZBZ_E_ARGUMENT);
	CHECK(zbz_bucket_list(b, &c, zbz_b(long_one, sizeof long_one), zbz_bstr(""), 1, &page, &n) == ZBZ_E_KEY);
	CHECK(zbz_bucket_list(b, &c, zbz_bstr(""), zbz_b(long_one, sizeof long_one), 1, &page, &n) == ZBZ_E_KEY);
	CHECK(c.err.provider[0] != '\0' && page.n == 0);
	CHECK(zbz_bucket_list(b, &c, zbz_b(long_one, sizeof long_one - 1), zbz_b(long_one, sizeof long_one - 1), 1, &page,
	                      &n) == ZBZ_END);
	page.max = 10;
	CHECK(zbz_bucket_list(b, &c, zbz_bstr(""), zbz_bstr(""), 5, &page, &n) == ZBZ_E_TOO_LARGE && n == 0 && page.n == 0);
	zbz_buf_clear(&page);
}

/* ---- against a model ---- */

static uint64_t dice = 88172645463325252u;
static size_t roll(size_t n) {
	dice ^= dice << 13;
	dice ^= dice >> 7;
	dice ^= dice << 17;
	return (size_t)(dice % n);
}

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* Of few parts, so that folders fill and empty, and names begin others; a part that ends with 'f' is never a folder. */
static const char *some_name(void) {
	static const char *const parts[] = { "a", "b.", "a-", "z" }, *const ends[] = { "f",   "xf",  "a-f", ".f",
		                                                                           "zzf", "10f", "9f" };
	static char name[100];
	int n = 0;
	for (size_t depth = roll(4); depth > 0; depth--)
		n += snprintf(name + n, sizeof name - (size_t)n, "%s/", parts[roll(4)]);
	snprintf(name + n, sizeof name - (size_t)n, "%s", ends[roll(7)]);
	return name;
}

static void any_order(zbz_bucket *b) {
	static char *model[1000], expected[1 << 17];
	static const char *const prefixes[] = { "", "a", "a/", "a/a", "a-/", "b./z/", "z/1" };
	size_t n = 0;
	for (int i = 0; i < 3000 && check_failed == 0; i++) {
		const char *name = some_name();
		size_t at = 0;
		while (at < n && strcmp(model[at], name) != 0) at++;
		if (roll(100) < (i / 500 % 2 == 0 ? 70u : 20u)) {
			CHECK(put(b, name, "v") == ZBZ_OK);
			if (at == n) model[n++] = strdup(name);
		} else {
			CHECK(take_away(b, name) == ZBZ_OK);
			if (at < n) {
				free(model[at]);
				model[at] = model[--n];
			}
		}
		if (i % 20 == 0) {
			const char *prefix = prefixes[roll(7)];
			char after[100];
			size_t length = 0;
			snprintf(after, sizeof after, "%s", roll(2) == 0 ? "" : some_name());
			qsort(model, n, sizeof *model, by_text);
			expected[0] = '\0';
			for (size_t k = 0; k < n; k++)
				if (strncmp(model[k], prefix, strlen(prefix)) == 0 && strcmp(model[k], after) > 0)
					length += (size_t)snprintf(expected + length, sizeof expected - length, "%s%s",
					                           length > 0 ? " " : "", model[k]);
			CHECK_STR(listed(b, prefix, after, 1 + roll(30)), expected);
		}
	}
	while (n > 0) {
		CHECK(take_away(b, model[--n]) == ZBZ_OK);
		free(model[n]);
	}
	CHECK_STR(listed(b, "", "", 100), "");
}

static void pages_of_many(zbz_bucket *b) {
	static char expected[1 << 17];
	char name[40];
	size_t length = 0;
	for (int i = 0; i < MANY; i++) {
		snprintf(name, sizeof name, "flat/%05d", i * 7919 % MANY);
		CHECK(put(b, name, "") == ZBZ_OK);
	}
	for (int i = 0; i < MANY; i++)
		length += (size_t)snprintf(expected + length, sizeof expected - length, "%sflat/%05d", i > 0 ? " " : "", i);
	CHECK_STR(listed(b, "", "", ZBZ_OBJECT_PAGE_MAX), expected);
	CHECK_STR(listed(b, "flat/", "", 333), expected);
}

/* Objects come and go while it is listed: those that are there all the time are in it once. */
static void changes_meanwhile(zbz_bucket *b) {
	zbz_status status = ZBZ_OK;
	char last[ZBZ_OBJECT_NAME_MAX + 1] = "", name[40];
	int stays = 0, round = 0;
	for (int i = 0; i < 200; i++) {
		snprintf(name, sizeof name, "%s/%03d", i % 2 == 0 ? "stays" : "goes", i);
		CHECK(put(b, name, "") == ZBZ_OK);
	}
	while (status == ZBZ_OK && round < 200) {
		zbz_call c = log_call(5000);
		zbz_buf page = { 0 };
		zbz_object_entry e;
		size_t n, at = 0;
		status = zbz_bucket_list(b, &c, zbz_bstr(""), zbz_bstr(last), 7, &page, &n);
		while (zbz_object_page_take(zbz_buf_bytes(&page), &at, &e)) {
			stays += zbz_bytes_has_prefix(e.name, zbz_bstr("stays/"));
			snprintf(last, sizeof last, "%.*s", (int)e.name.n, e.name.p);
		}
		zbz_buf_clear(&page);
		CHECK(take_away(b, last) == ZBZ_OK); /* so it goes on behind what is gone */
		snprintf(name, sizeof name, "goes/%03d", 199 - 2 * round);
		if (round < 100) CHECK(take_away(b, name) == ZBZ_OK);
		snprintf(name, sizeof name, "comes/%03d", round++);
		CHECK(put(b, name, "") == ZBZ_OK);
	}
	CHECK(status == ZBZ_END && stays == 100);
}

static void every_bucket(void) {
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		zbz_bucket *b = fresh(kinds[i]);
		if (b == NULL) return;
		order_and_prefix(b);
		past_a_folder(b);
		numbers_of_one(b);
		removing(b);
		misuse(b);
		zbz_bucket_unref(b);
		b = fresh(kinds[i]);
		any_order(b);
		pages_of_many(b);
		zbz_bucket_unref(b);
		b = fresh(kinds[i]);
		changes_meanwhile(b);
		zbz_bucket_unref(b);
	}
}

/* ---- memory ---- */

static void names_begin_others(void) {
	zbz_bucket *b = fresh("memory");
	CHECK(put(b, "a/b", "") == ZBZ_OK && put(b, "a", "") == ZBZ_OK && put(b, "a/b/c", "") == ZBZ_OK);
	CHECK_STR(listed(b, "", "", 2), "a a/b a/b/c");
	CHECK(take_away(b, "a/b") == ZBZ_OK);
	CHECK_STR(listed(b, "a", "", 2), "a a/b/c");
	zbz_bucket_unref(b);
}

static void room_comes_back(void) {
	zbz_bucket *first = fresh("memory"), *b = bucket_of("max_size=10B");
	CHECK(put(b, "a", "1234567890") == ZBZ_OK && put(b, "b", "1") == ZBZ_E_TOO_LARGE);
	CHECK(take_away(b, "a") == ZBZ_OK && put(b, "b", "1234567890") == ZBZ_OK);
	zbz_bucket_unref(first);
	zbz_bucket_unref(b);
}

/* ---- want of memory ---- */

static void allocation_fails(void) {
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		zbz_bucket *b = fresh(kinds[i]);
		bool failed = true;
		for (int k = 0; k < 40; k++) {
			char name[20];
			snprintf(name, sizeof name, "%d/%d", k % 5, k);
			CHECK(put(b, name, "v") == ZBZ_OK);
		}
		for (long at = 1; failed; at++) {
			zbz_call c = log_call(5000);
			zbz_buf page = { 0 };
			size_t n;
			long live;
			zbz_status status;
			faults_begin(at);
			status = zbz_bucket_list(b, &c, zbz_bstr(""), zbz_bstr(""), 20, &page, &n);
			zbz_buf_clear(&page);
			failed = faults_end(&live);
			CHECK(live == 0 && (failed ? status < 0 && n == 0 : status == ZBZ_OK && n == 20));
		}
		zbz_bucket_unref(b);
	}
}

int main(void) {
	if (!dirs_make()) return 1;
	RUN(every_bucket);
	RUN(names_begin_others);
	RUN(room_comes_back);
	RUN(allocation_fails);
	dirs_remove();
	return DONE();
}
