/* The memory provider: batches, listings, clear. */
#include "memory_help.h"

static void batches(void) {
	fixture f;
	zbz_bytes keys[30];
	zbz_write writes[30];
	zbz_found found[31];
	zbz_status status[30];
	char names[30][8];
	int i;
	CHECK(fixture_open(&f, "max_size=64KB") == ZBZ_OK);
	for (i = 0; i < 30; i++) {
		snprintf(names[i], sizeof names[i], "k%d", i);
		keys[i] = zbz_bstr(names[i]);
		writes[i] = (zbz_write){ keys[i], keys[i], i % 2 ? T0 + 10 : ZBZ_NO_EXPIRY, ZBZ_ALWAYS, NULL };
	}
	writes[7].value = zbz_b(calloc(1, 100000), 100000);
	CHECK(zbz_store_set_many(f.store, &f.call, writes, 30, status) == ZBZ_OK);
	CHECK(status[7] == ZBZ_E_TOO_LARGE && status[6] == ZBZ_OK && status[29] == ZBZ_OK);
	free((void *)(uintptr_t)writes[7].value.p);
	pass(&f, 10);
	CHECK(zbz_store_get_many(f.store, &f.call, keys, 30, &f.out, found) == ZBZ_OK);
	for (i = 0; i < 30; i++) {
		CHECK(found[i].status == (i % 2 ? ZBZ_MISS : ZBZ_OK));
		if (i % 2 == 0) CHECK(zbz_bytes_eq(zbz_b(f.out.p + found[i].off, found[i].n), keys[i]));
	}
	CHECK(zbz_store_del_many(f.store, &f.call, keys, 4, status) == ZBZ_OK);
	CHECK(status[0] == ZBZ_OK && status[1] == ZBZ_MISS && status[2] == ZBZ_OK && status[3] == ZBZ_MISS);
	CHECK(stats(&f).keys == 13);
	fixture_close(&f);
}

/* Counts each listed key "<letter><number>" in seen[number]; false when something else is listed. */
static bool list_page(fixture *f, zbz_cursor *k, size_t limit, int *seen, int max, zbz_status *status) {
	size_t n = 0, i = 0;
	zbz_buf_reset(&f->out);
	*status = zbz_store_scan_next(f->store, &f->call, k, limit, &f->out, &n);
	if (*status != ZBZ_OK && *status != ZBZ_END) return false;
	while (i < f->out.n) {
		uint32_t len = (uint8_t)f->out.p[i] | (uint32_t)(uint8_t)f->out.p[i + 1] << 8;
		char key[32] = "";
		if (len >= sizeof key) return false;
		memcpy(key, f->out.p + i + 4, len);
		if (atoi(key + 1) >= max) return false;
		if (key[0] == 's') seen[atoi(key + 1)]++;
		i += 4 + len;
		n--;
	}
	return n == 0;
}

static void listing_finds_all(void) {
	enum { N = 5000 };
	static int seen[N];
	fixture f;
	zbz_cursor *k;
	zbz_status status = ZBZ_OK;
	char key[24];
	int i, bad = 0, pages = 0;
	CHECK(fixture_open(&f, "") == ZBZ_OK);
	for (i = 0; i < N; i++) {
		snprintf(key, sizeof key, "s%d", i);
		put(&f, key, "v");
		snprintf(key, sizeof key, "o%d", i);
		put(&f, key, "v");
	}
	put_ttl(&f, "s4999", "v", 10);
	pass(&f, 10);
	CHECK(zbz_store_scan_open(f.store, &f.call, zbz_bstr("s"), zbz_bstr("*"), &k) == ZBZ_OK);
	while (status == ZBZ_OK) {
		CHECK(list_page(&f, k, 100, seen, N, &status));
		pages++;
	}
	zbz_store_scan_close(f.store, k);
	for (i = 0; i < N - 1; i++) bad += seen[i] != 1;
	CHECK(status == ZBZ_END && bad == 0 && seen[N - 1] == 0 && pages >= 50 && pages <= 52);
	CHECK(zbz_store_scan_open(f.store, &f.call, zbz_bstr("s1"), zbz_bstr("2?4"), &k) == ZBZ_OK);
	memset(seen, 0, sizeof seen);
	for (status = ZBZ_OK; status == ZBZ_OK;) CHECK(list_page(&f, k, 1000, seen, N, &status));
	for (bad = 0, i = 0; i < N; i++) bad += seen[i];
	CHECK(bad == 10 && seen[1204] == 1 && seen[1294] == 1);
	zbz_store_scan_close(f.store, k);
	fixture_close(&f);
}

/* Half of the keys stay, others come and go in great numbers: the index grows and shrinks, entries move. */
static void listing_survives_changes(void) {
	enum { N = 2000 };
	static int seen[N];
	static const char *const options[] = { "", "max_size=500KB eviction=lru" };
	int o;
	for (o = 0; o < 2; o++) {
		fixture f;
		zbz_cursor *k;
		zbz_status status = ZBZ_OK;
		char key[24];
		int i, j = 0, missing = 0;
		static char filler[900];
		memset(seen, 0, sizeof seen);
		CHECK(fixture_open(&f, options[o]) == ZBZ_OK);
		for (i = 0; i < N; i++) {
			snprintf(key, sizeof key, "s%d", i);
			put(&f, key, "v");
		}
		CHECK(zbz_store_scan_open(f.store, &f.call, zbz_bstr(""), zbz_bstr(""), &k) == ZBZ_OK);
		while (status == ZBZ_OK) {
			CHECK(list_page(&f, k, 20, seen, N, &status));
			for (i = 0; i < 100; i++, j++) {
				snprintf(key, sizeof key, "o%d", j % N);
				put_bytes(&f, key, zbz_b(filler, (size_t)(j * 37) % sizeof filler), 0);
				snprintf(key, sizeof key, "o%d", (j * 7) % N);
				zbz_store_del(f.store, &f.call, zbz_bstr(key));
			}
			if (o == 1) /* kept by use */
				for (i = 0; i < N; i++) {
					snprintf(key, sizeof key, "s%d", i);
					get(&f, key);
				}
		}
		zbz_store_scan_close(f.store, k);
		for (i = 0; i < N; i++) {
			snprintf(key, sizeof key, "s%d", i);
			missing += seen[i] == 0 && has(&f, key);
		}
		CHECK(missing == 0 && status == ZBZ_END);
		CHECK(audit(&f));
		fixture_close(&f);
	}
}

static void clear_keeps_to_its_prefix(void) {
	fixture f;
	char key[24];
	uint64_t removed = 0;
	int i;
	CHECK(fixture_open(&f, "") == ZBZ_OK);
	for (i = 0; i < 6000; i++) {
		snprintf(key, sizeof key, "%s%d", i % 3 ? "a:" : "ab:", i);
		put(&f, key, "v");
	}
	CHECK(zbz_store_clear(f.store, &f.call, zbz_bstr("a:"), &removed) == ZBZ_OK && removed == 4000);
	CHECK(stats(&f).keys == 2000 && has(&f, "ab:0") && !has(&f, "a:1"));
	CHECK(audit(&f));
	CHECK(zbz_store_clear(f.store, &f.call, zbz_bstr(""), &removed) == ZBZ_OK && removed == 2000);
	CHECK(stats(&f).keys == 0 && stats(&f).memory == 0);
	CHECK(put(&f, "k", "v") == ZBZ_OK && is(&f, "k", "v"));
	fixture_close(&f);
}

int main(void) {
	RUN(batches);
	RUN(listing_finds_all);
	RUN(listing_survives_changes);
	RUN(clear_keeps_to_its_prefix);
	return DONE();
}
