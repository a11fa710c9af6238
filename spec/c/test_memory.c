/* The memory provider's slots, one by one: reading and writing, conditions, counters, what it tells of itself. */
#include "memory_help.h"

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- values and conditions ---- */

static void values_come_back(void) {
	fixture f;
	char odd[] = { 0, 'a', (char)0xFF, 0, '\n' };
	CHECK(fixture_open(&f, "") == ZBZ_OK);
	CHECK(get(&f, "none") == ZBZ_MISS);
	CHECK(put(&f, "k", "v") == ZBZ_OK && is(&f, "k", "v"));
	CHECK(put(&f, "k", "a much longer value than before") == ZBZ_OK && is(&f, "k", "a much longer value than before"));
	CHECK(put(&f, "k", "") == ZBZ_OK && is(&f, "k", ""));
	CHECK(put_bytes(&f, "odd", zbz_b(odd, sizeof odd), 0) == ZBZ_OK && get(&f, "odd") == ZBZ_OK);
	CHECK(zbz_bytes_eq(zbz_buf_bytes(&f.out), zbz_b(odd, sizeof odd)));
	CHECK(zbz_store_del(f.store, &f.call, zbz_bstr("k")) == ZBZ_OK);
	CHECK(zbz_store_del(f.store, &f.call, zbz_bstr("k")) == ZBZ_MISS);
	CHECK(get(&f, "k") == ZBZ_MISS && !has(&f, "k") && has(&f, "odd"));
	CHECK(stats(&f).keys == 1);
	CHECK(audit(&f));
	fixture_close(&f);
}

static zbz_status conditional(fixture *f, const char *key, const char *value, zbz_only only, const zbz_version *version,
                              zbz_version *out) {
	zbz_write w = { zbz_bstr(key), zbz_bstr(value), ZBZ_NO_EXPIRY, only, version };
	return zbz_store_set(f->store, &f->call, &w, out);
}

static void conditions_hold(void) {
	fixture f;
	CHECK(fixture_open(&f, "") == ZBZ_OK);
	CHECK(conditional(&f, "k", "1", ZBZ_ONLY_PRESENT, NULL, NULL) == ZBZ_REFUSED && !has(&f, "k"));
	CHECK(conditional(&f, "k", "2", ZBZ_ONLY_ABSENT, NULL, NULL) == ZBZ_OK);
	CHECK(conditional(&f, "k", "3", ZBZ_ONLY_ABSENT, NULL, NULL) == ZBZ_REFUSED && is(&f, "k", "2"));
	CHECK(conditional(&f, "k", "4", ZBZ_ONLY_PRESENT, NULL, NULL) == ZBZ_OK && is(&f, "k", "4"));
	put_ttl(&f, "dead", "x", 10);
	pass(&f, 10);
	CHECK(conditional(&f, "dead", "5", ZBZ_ONLY_PRESENT, NULL, NULL) == ZBZ_REFUSED);
	CHECK(conditional(&f, "dead", "6", ZBZ_ONLY_ABSENT, NULL, NULL) == ZBZ_OK && is(&f, "dead", "6"));
	fixture_close(&f);
}

static void versions_tell_writes_apart(void) {
	fixture f;
	zbz_version first, second, third;
	zbz_meta meta;
	CHECK(fixture_open(&f, "") == ZBZ_OK);
	CHECK(conditional(&f, "k", "1", ZBZ_ALWAYS, NULL, &first) == ZBZ_OK && first.n > 0);
	CHECK(zbz_store_get(f.store, &f.call, zbz_bstr("k"), &f.out, &meta) == ZBZ_OK);
	CHECK(meta.expire_at == ZBZ_NO_EXPIRY && meta.version.n == first.n &&
	      memcmp(meta.version.b, first.b, first.n) == 0);
	CHECK(conditional(&f, "k", "2", ZBZ_ONLY_VERSION, &first, &second) == ZBZ_OK);
	CHECK(conditional(&f, "k", "3", ZBZ_ONLY_VERSION, &first, NULL) == ZBZ_E_CONFLICT && is(&f, "k", "2"));
	CHECK(zbz_store_expire(f.store, &f.call, zbz_bstr("k"), T0 + 1000) == ZBZ_OK); /* writes nothing */
	CHECK(conditional(&f, "k", "4", ZBZ_ONLY_VERSION, &second, &third) == ZBZ_OK);
	zbz_store_del(f.store, &f.call, zbz_bstr("k"));
	CHECK(conditional(&f, "k", "5", ZBZ_ONLY_VERSION, &third, NULL) == ZBZ_E_CONFLICT && !has(&f, "k"));
	put(&f, "k", "4"); /* the same value again is another state */
	CHECK(conditional(&f, "k", "6", ZBZ_ONLY_VERSION, &third, NULL) == ZBZ_E_CONFLICT);
	fixture_close(&f);
}

/* ---- counters ---- */

static zbz_status count(fixture *f, const char *key, int64_t delta, int64_t *value) {
	zbz_incr how = { delta, false, 0, ZBZ_NO_EXPIRY };
	return zbz_store_incr(f->store, &f->call, zbz_bstr(key), &how, value);
}

static void counters_count(void) {
	fixture f;
	int64_t v = 0, at = 0;
	zbz_incr made = { 5, true, 100, T0 + 1000 };
	CHECK(fixture_open(&f, "") == ZBZ_OK);
	CHECK(count(&f, "n", 3, &v) == ZBZ_OK && v == 3 && is(&f, "n", "3"));
	CHECK(count(&f, "n", -13, &v) == ZBZ_OK && v == -10 && is(&f, "n", "-10"));
	CHECK(zbz_store_incr(f.store, &f.call, zbz_bstr("m"), &made, &v) == ZBZ_OK && v == 100);
	CHECK(zbz_store_ttl(f.store, &f.call, zbz_bstr("m"), &at) == ZBZ_OK && at == T0 + 1000);
	made.expire_at = T0 + 9000; /* for a new key only */
	CHECK(zbz_store_incr(f.store, &f.call, zbz_bstr("m"), &made, &v) == ZBZ_OK && v == 105);
	CHECK(zbz_store_ttl(f.store, &f.call, zbz_bstr("m"), &at) == ZBZ_OK && at == T0 + 1000);
	pass(&f, 1000);
	CHECK(count(&f, "m", 1, &v) == ZBZ_OK && v == 1);
	fixture_close(&f);
}

static void counters_have_limits(void) {
	static const char *const wrong[] = { "",
		                                 "-",
		                                 "x",
		                                 "1x",
		                                 " 1",
		                                 "1.5",
		                                 "+1",
		                                 "9223372036854775808",
		                                 "-9223372036854775809",
		                                 "111111111111111111111111111111" };
	fixture f;
	int64_t v = 77;
	size_t i;
	CHECK(fixture_open(&f, "") == ZBZ_OK);
	for (i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		put(&f, "k", wrong[i]);
		CHECK(count(&f, "k", 1, &v) == ZBZ_E_TYPE && is(&f, "k", wrong[i]));
	}
	put(&f, "k", "9223372036854775806");
	CHECK(count(&f, "k", 1, &v) == ZBZ_OK && v == INT64_MAX);
	CHECK(count(&f, "k", 1, &v) == ZBZ_E_ARGUMENT && is(&f, "k", "9223372036854775807"));
	put(&f, "k", "-9223372036854775807");
	CHECK(count(&f, "k", -1, &v) == ZBZ_OK && v == INT64_MIN);
	CHECK(count(&f, "k", -1, &v) == ZBZ_E_ARGUMENT && is(&f, "k", "-9223372036854775808"));
	CHECK(count(&f, "k", INT64_MAX, &v) == ZBZ_OK && v == -1);
	fixture_close(&f);
}

/* ---- what the store tells of itself ---- */

/* The integer behind a name in a MessagePack map. */
static int64_t field(const zbz_buf *b, const char *name) {
	const char *p = memmem(b->p, b->n, name, strlen(name));
	uint8_t tag;
	int bytes, i;
	int64_t v;
	if (p == NULL) return -1;
	p += strlen(name);
	tag = (uint8_t)*p++;
	if (tag < 0x80) return tag;
	bytes = 1 << (tag - 0xd0);
	v = (int8_t)*p;
	for (i = 1; i < bytes; i++) v = v * 256 + (uint8_t)p[i];
	return v;
}

static zbz_status inspect(fixture *f, const char *key) {
	zbz_buf_reset(&f->out);
	return zbz_store_inspect(f->store, &f->call, zbz_bstr(key), &f->out);
}

static void inspect_tells(void) {
	fixture f;
	int i;
	CHECK(fixture_open(&f, "") == ZBZ_OK);
	CHECK(inspect(&f, "k") == ZBZ_MISS);
	put_ttl(&f, "k", "12345", 100000);
	pass(&f, 160);
	get(&f, "k"), get(&f, "k");
	pass(&f, 320);
	CHECK(inspect(&f, "k") == ZBZ_OK);
	CHECK(field(&f.out, "size") == 5 && field(&f.out, "hits") == 2 && field(&f.out, "expire_at") == T0 + 100000);
	CHECK(field(&f.out, "idle_ms") == 320);
	for (i = 0; i < 300; i++) get(&f, "k");
	CHECK(inspect(&f, "k") == ZBZ_OK && field(&f.out, "hits_at_least") == 255 && field(&f.out, "idle_ms") == 0);
	fixture_close(&f);
}

static void capabilities_are_told(void) {
	fixture f;
	zbz_caps caps;
	CHECK(fixture_open(&f, "max_size=10MB") == ZBZ_OK);
	zbz_store_caps(f.store, &caps);
	CHECK(caps.inline_ok && caps.exclusive && !caps.shared && caps.ttl_resolution_ms == 1 &&
	      caps.max_value == 10 << 20);
	CHECK((caps.can & ZBZ_CAN_VERSION) && (caps.can & ZBZ_CAN_INCR) && (caps.can & ZBZ_CAN_BATCH) &&
	      caps.emulated == 0);
	CHECK(zbz_store_ping(f.store, &f.call) == ZBZ_OK);
	zbz_buf_reset(&f.out);
	CHECK(zbz_store_version(f.store, &f.call, &f.out) == ZBZ_OK &&
	      zbz_bytes_eq(zbz_buf_bytes(&f.out), zbz_bstr(ZBZ_VERSION)));
	fixture_close(&f);
}

static void options_are_checked(void) {
	fixture f;
	CHECK(fixture_open(&f, "eviction=mru") == ZBZ_E_CONFIG && strstr(f.call.err.text, "s3fifo") != NULL);
	fixture_close(&f);
	CHECK(fixture_open(&f, "max_sise=1MB") == ZBZ_E_ARGUMENT && strstr(f.call.err.text, "max_size") != NULL);
	fixture_close(&f);
	CHECK(fixture_open(&f, "max_size=10") == ZBZ_E_CONFIG);
	fixture_close(&f);
	CHECK(fixture_open(&f, "provider=ristretto buffer_items=0") == ZBZ_E_CONFIG);
	fixture_close(&f);
}

/* A child that was forked while other threads were at work in the store may use its copy. */
static void *hammer(void *ud) {
	fixture *f = ud;
	zbz_call c = f->call;
	zbz_buf out = { 0 };
	while (zbz_store_get(f->store, &c, zbz_bstr("stop"), &out, NULL) != ZBZ_OK) zbz_buf_reset(&out);
	zbz_buf_clear(&out);
	return NULL;
}

static void children_may_use_it(void) {
	fixture f;
	pthread_t thread;
	int i, state, fine = 0;
	CHECK(fixture_open(&f, "") == ZBZ_OK);
	put(&f, "k", "v");
	CHECK(pthread_create(&thread, NULL, hammer, &f) == 0);
	for (i = 0; i < 20; i++) {
		pid_t pid = fork();
		if (pid == 0) _exit(is(&f, "k", "v") && put(&f, "k", "w") == ZBZ_OK && is(&f, "k", "w") ? 0 : 1);
		fine += waitpid(pid, &state, 0) == pid && state == 0;
	}
	CHECK(fine == 20);
	put(&f, "stop", "now");
	pthread_join(thread, NULL);
	CHECK(is(&f, "k", "v"));
	fixture_close(&f);
}

int main(void) {
	RUN(values_come_back);
	RUN(conditions_hold);
	RUN(versions_tell_writes_apart);
	RUN(counters_count);
	RUN(counters_have_limits);
	RUN(inspect_tells);
	RUN(capabilities_are_told);
	RUN(options_are_checked);
	RUN(children_may_use_it);
	return DONE();
}
