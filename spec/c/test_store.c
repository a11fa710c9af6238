/* Stores: passing through layers, emulation, errors that say whose they are. */
#include <sys/wait.h>

#include "faults.h"
#include "tiny.h"

/* Under their names. */
static void tiny_register(void) {
	static const zbz_cache_ops *const all[] = { &bare, &listing, &single, &thru, &half };
	for (size_t i = 0; i < sizeof all / sizeof *all; i++) CHECK(zbz_cache_register(all[i], &err) == ZBZ_OK);
}

static zbz_store *open_as(const char *provider) {
	zbz_config *cfg = zbz_config_new();
	zbz_store *s = NULL;
	CHECK(zbz_config_set_text(cfg, "provider", zbz_bstr(provider), &err) == ZBZ_OK);
	CHECK(zbz_store_open(cfg, NULL, &s, &err) == ZBZ_OK);
	zbz_config_free(cfg);
	return s;
}

static zbz_store *open_over(const char *layer, zbz_store *inner) {
	zbz_config *cfg = zbz_config_new();
	zbz_store *s = NULL;
	CHECK(zbz_config_set_text(cfg, "provider", zbz_bstr(layer), &err) == ZBZ_OK &&
	      zbz_config_set_store(cfg, "inner", inner, &err) == ZBZ_OK);
	CHECK(zbz_store_open(cfg, NULL, &s, &err) == ZBZ_OK);
	zbz_config_free(cfg);
	zbz_store_unref(inner);
	return s;
}

static zbz_call call(void) {
	return (zbz_call){ .clock = zbz_clock_system(), .now = zbz_wall(zbz_clock_system()), .deadline = ZBZ_NEVER };
}

static zbz_status put(zbz_store *s, zbz_call *c, const char *key, const char *value) {
	zbz_write w = { .key = zbz_bstr(key), .value = zbz_bstr(value) };
	return zbz_store_set(s, c, &w, NULL);
}

static void test_open(void) {
	zbz_config *cfg = zbz_config_new();
	zbz_store *s = (zbz_store *)(uintptr_t)1;
	CHECK(zbz_store_open(cfg, NULL, &s, &err) == ZBZ_E_CONFIG && s == NULL && strcmp(err.option, "provider") == 0);
	CHECK(zbz_store_open(cfg, NULL, &s, NULL) == ZBZ_E_CONFIG);
	zbz_config_set_text(cfg, "url", zbz_bstr("bares://h/1"), NULL); /* the scheme alone names the provider */
	CHECK(zbz_store_open(cfg, NULL, &s, &err) == ZBZ_OK && zbz_store_ops(s) == &bare && zbz_store_bottom(s) == s);
	CHECK_STR(((const tiny_options *)zbz_store_options(s))->url, "bares://h/1");
	CHECK(zbz_store_ref(s) == s);
	zbz_store_unref(s);
	CHECK(tiny_open_count == 1);
	zbz_store_unref(s);
	zbz_store_unref(NULL);
	CHECK(tiny_open_count == 0);
	zbz_config_set_text(cfg, "provider", zbz_bstr("bare://h"), NULL);
	CHECK(zbz_store_open(cfg, NULL, &s, &err) == ZBZ_E_CONFIG && says("'url'"));
	zbz_config_set_text(cfg, "url", zbz_bstr("nothing"), NULL);
	zbz_config_set_int(cfg, "provider", 5, NULL);
	CHECK(zbz_store_open(cfg, NULL, &s, &err) == ZBZ_E_CONFIG && strcmp(err.option, "provider") == 0);
	zbz_config_free(cfg);
	cfg = zbz_config_new();
	zbz_config_set_text(cfg, "url", zbz_bstr("secret-hunter2"), NULL);
	CHECK(zbz_store_open(cfg, NULL, &s, &err) == ZBZ_E_CONFIG && strcmp(err.option, "url") == 0 && !says("hunter2"));
	zbz_config_set_text(cfg, "url", zbz_bstr("gopher://u:hunter2@h"), NULL);
	CHECK(zbz_store_open(cfg, NULL, &s, &err) == ZBZ_E_UNKNOWN_PROVIDER && says("gopher") && !says("hunter2"));
	zbz_config_free(cfg);
	cfg = zbz_config_new();
	zbz_config_set_text(cfg, "provider", zbz_bstr("thru"), NULL);
	CHECK(zbz_store_open(cfg, NULL, &s, &err) == ZBZ_E_CONFIG && strcmp(err.option, "inner") == 0 &&
	      strcmp(err.provider, "thru") == 0);
	zbz_config_free(cfg);
}

static void test_the_clock_goes_down(void) {
	zbz_clock *fake = zbz_clock_fake_new(1);
	zbz_config *cfg = zbz_config_new(), *middle = zbz_config_new();
	zbz_store *s = NULL;
	CHECK(zbz_config_set_text(middle, "provider", zbz_bstr("half"), &err) == ZBZ_OK &&
	      zbz_config_set_text(middle, "inner", zbz_bstr("bare:"), &err) == ZBZ_OK);
	CHECK(zbz_config_set_text(cfg, "provider", zbz_bstr("thru"), &err) == ZBZ_OK &&
	      zbz_config_set_config(cfg, "inner", middle, &err) == ZBZ_OK);
	CHECK(zbz_store_open(cfg, fake, &s, &err) == ZBZ_OK && tiny_clock == fake);
	CHECK_STR(zbz_store_ops(zbz_store_bottom(s))->name, "bare");
	zbz_store_unref(s);
	CHECK(zbz_store_open(cfg, NULL, &s, &err) == ZBZ_OK &&
	      tiny_clock == zbz_clock_system()); /* and again from the same configuration */
	zbz_store_unref(s);
	zbz_config_free(cfg);
	zbz_clock_fake_free(fake);
	CHECK(tiny_open_count == 0);
}

static void test_caps_tell_the_truth(void) {
	zbz_store *s = open_as("bare");
	zbz_caps caps;
	zbz_store_caps(s, &caps);
	CHECK(caps.can == ZBZ_CAN_ADD && caps.emulated == 0 && caps.max_key == 15);
	zbz_store_unref(s);
	s = open_over("thru", open_as("listing"));
	zbz_store_caps(s, &caps);
	CHECK(caps.can == (ZBZ_CAN_ADD | ZBZ_CAN_KEYS | ZBZ_CAN_CLEAR) && caps.emulated == ZBZ_CAN_CLEAR);
	zbz_store_unref(s);
}

static void check_lacks(zbz_store *s, const char *who) {
	zbz_call c = call();
	zbz_buf out = { 0 };
	zbz_provider_stats stats;
	zbz_cursor *cursor;
	zbz_incr how = { .delta = 1 };
	void *subscription;
	int64_t n;
	size_t end = 1;
	uint64_t removed;
	zbz_bytes k = zbz_bstr("k");
	zbz_status all[] = { zbz_store_ttl(s, &c, k, &n),
		                 zbz_store_expire(s, &c, k, 0),
		                 zbz_store_incr(s, &c, k, &how, &n),
		                 zbz_store_scan_open(s, &c, k, k, &cursor),
		                 zbz_store_clear(s, &c, k, &removed),
		                 zbz_store_ping(s, &c),
		                 zbz_store_version(s, &c, &out),
		                 zbz_store_inspect(s, &c, k, &out),
		                 zbz_store_command(s, &c, &k, &end, 1, &out),
		                 zbz_store_subscribe(s, &c, &k, 1, false, NULL, NULL, &subscription) };
	for (size_t i = 0; i < sizeof all / sizeof *all; i++) CHECK(all[i] == ZBZ_E_UNSUPPORTED);
	CHECK_STR(c.err.provider, who);
	CHECK(strstr(c.err.text, "subscribe") != NULL && strstr(c.err.text, who) != NULL);
	zbz_store_stats(s, &c, &stats);
	CHECK(stats.keys == -1 && stats.retries == -1);
	zbz_store_scan_close(s, NULL);
	zbz_store_unsubscribe(s, NULL);
	zbz_buf_clear(&out);
}

static void test_empty_slots(void) {
	zbz_store *s = open_as("bare");
	check_lacks(s, "bare");
	zbz_store_unref(s);
	s = open_over("thru", open_over("half", open_as("bare")));
	check_lacks(s, "bare");
	CHECK(zbz_store_ops(zbz_store_bottom(s)) == &bare);
	zbz_store_unref(s);
	CHECK(tiny_open_count == 0);
}

static void check_values(zbz_store *s) {
	zbz_call c = call();
	zbz_buf out = { 0 };
	zbz_meta meta = { 77, { 3, { 1 } }, 9 };
	zbz_version version = { 5, { 0 } };
	zbz_write w = { .key = zbz_bstr("k"), .value = zbz_bstr("v") };
	CHECK(zbz_store_get(s, &c, zbz_bstr("k"), &out, NULL) == ZBZ_MISS &&
	      zbz_store_exists(s, &c, zbz_bstr("k")) == ZBZ_MISS);
	CHECK(zbz_store_set(s, &c, &w, &version) == ZBZ_OK && version.n == 0);
	CHECK(zbz_store_get(s, &c, zbz_bstr("k"), &out, &meta) == ZBZ_OK && out.n == 1 && out.p[0] == 'v');
	CHECK(meta.expire_at == -1 && meta.version.n == 0); /* the provider did not say */
	CHECK(zbz_store_exists(s, &c, zbz_bstr("k")) == ZBZ_OK && out.n == 1);
	CHECK(zbz_store_get(s, &c, zbz_bstr("broken"), &out, NULL) == ZBZ_E_UNAVAILABLE &&
	      out.n == 1); /* partial bytes are gone */
	CHECK(strcmp(c.err.provider, "bare") == 0 && strcmp(c.err.text, "the wire broke") == 0 && c.err.retryable);
	CHECK(zbz_store_get(s, &c, zbz_bstr("mute"), &out, NULL) == ZBZ_E_CORRUPT && c.err.status == ZBZ_E_CORRUPT &&
	      c.err.text[0] != '\0');
	CHECK_STR(c.err.provider, "bare");
	CHECK(zbz_store_del(s, &c, zbz_bstr("k")) == ZBZ_OK && zbz_store_del(s, &c, zbz_bstr("k")) == ZBZ_MISS);
	zbz_buf_clear(&out);
}

static void test_values(void) {
	zbz_store *s = open_as("bare");
	zbz_call c = call();
	zbz_buf out = { 0 };
	check_values(s);
	zbz_store_unref(s);
	s = open_over("thru", open_as("bare"));
	check_values(s);
	zbz_store_unref(s);
	s = open_over("half", open_as("bare"));
	check_values(s);
	CHECK(zbz_store_get(s, &c, zbz_bstr("layer"), &out, NULL) == ZBZ_E_DENIED && strcmp(c.err.provider, "half") == 0);
	zbz_store_unref(s);
}

static void test_batches_from_single_calls(void) {
	zbz_store *s = open_over("thru", open_as("bare"));
	zbz_call c = call();
	zbz_buf out = { 0 };
	zbz_bytes keys[] = { zbz_bstr("a"), zbz_bstr("none"), zbz_bstr("broken"), zbz_bstr("a"), zbz_bstr("b") };
	zbz_write writes[] = { { .key = zbz_bstr("a"), .value = zbz_bstr("1") },
		                   { .key = zbz_bstr("broken") },
		                   { .key = zbz_bstr("b"), .value = zbz_bstr("22") } };
	zbz_found found[5];
	zbz_status each[5];
	CHECK(zbz_store_set_many(s, &c, writes, 3, each) == ZBZ_OK && each[0] == ZBZ_OK && each[1] == ZBZ_E_UNAVAILABLE &&
	      each[2] == ZBZ_OK);
	CHECK(zbz_store_get_many(s, &c, keys, 5, &out, found) == ZBZ_OK && out.n == 4);
	CHECK(found[0].status == ZBZ_OK && found[1].status == ZBZ_MISS && found[2].status == ZBZ_E_UNAVAILABLE &&
	      found[3].status == ZBZ_OK);
	CHECK(found[4].n == 2 && memcmp(out.p + found[4].off, "22", 2) == 0 && found[2].n == 0 && found[3].off == 1);
	CHECK(zbz_store_get_many(s, &c, keys + 2, 1, &out, found) == ZBZ_E_UNAVAILABLE &&
	      out.n == 4); /* nothing can be said of any key */
	CHECK(zbz_store_del_many(s, &c, keys, 5, each) == ZBZ_OK && each[0] == ZBZ_OK && each[1] == ZBZ_MISS &&
	      each[2] < 0 && each[3] == ZBZ_MISS && each[4] == ZBZ_OK);
	c.deadline = 1; /* long gone */
	CHECK(zbz_store_get_many(s, &c, keys, 5, &out, found) == ZBZ_E_TIMEOUT && found[4].status == ZBZ_E_TIMEOUT &&
	      strcmp(c.err.provider, "bare") == 0);
	CHECK(zbz_store_set_many(s, &c, writes, 3, each) == ZBZ_E_TIMEOUT &&
	      zbz_store_del_many(s, &c, keys, 5, each) == ZBZ_E_TIMEOUT);
	zbz_buf_clear(&out);
	zbz_store_unref(s);
}

static void test_clear_from_listing(void) {
	zbz_store *s = open_over("thru", open_as("listing"));
	zbz_call c = call();
	uint64_t removed = 99;
	char key[16];
	for (int i = 0; i < 520; i++) {
		snprintf(key, sizeof key, "a:%d", i);
		CHECK(put(s, &c, key, "x") == ZBZ_OK);
	}
	CHECK(put(s, &c, "b:1", "x") == ZBZ_OK && put(s, &c, "a", "x") == ZBZ_OK);
	CHECK(zbz_store_clear(s, &c, zbz_bstr(""), &removed) == ZBZ_E_UNSUPPORTED && removed == 0); /* not exclusive */
	CHECK(zbz_store_clear(s, &c, zbz_bstr("a:"), &removed) == ZBZ_OK && removed == 520 && tiny_cursors == 0);
	CHECK(zbz_store_exists(s, &c, zbz_bstr("b:1")) == ZBZ_OK && zbz_store_exists(s, &c, zbz_bstr("a")) == ZBZ_OK);
	CHECK(zbz_store_clear(s, &c, zbz_bstr("a:"), &removed) == ZBZ_OK && removed == 0);
	tiny_lies = true;
	CHECK(zbz_store_clear(s, &c, zbz_bstr("b:"), &removed) == ZBZ_E_INTERNAL && tiny_cursors == 0);
	tiny_lies = false;
	CHECK(zbz_store_exists(s, &c, zbz_bstr("b:1")) == ZBZ_OK &&
	      zbz_store_exists(s, &c, zbz_bstr("a")) == ZBZ_OK); /* nothing foreign went */
	CHECK(put(s, &c, "c:1", "x") == ZBZ_OK);
	c.deadline = 1;
	CHECK(zbz_store_clear(s, &c, zbz_bstr("c:"), &removed) == ZBZ_E_TIMEOUT && tiny_cursors == 0);
	zbz_store_unref(s);
}

static void *hammer(void *store) {
	zbz_call c = call();
	zbz_buf out = { 0 };
	for (int i = 0; i < 300; i++) zbz_store_get(store, &c, zbz_bstr("x"), &out, NULL);
	zbz_buf_clear(&out);
	return NULL;
}

static void *hold(void *store) {
	zbz_call c = call();
	return zbz_store_del(store, &c, zbz_bstr("x")) == ZBZ_OK ? store : NULL;
}

static void set_held(int state) {
	pthread_mutex_lock(&held_lock);
	held_state = state;
	pthread_cond_broadcast(&held_moved);
	pthread_mutex_unlock(&held_lock);
}

static void test_one_thread_at_a_time(void) {
	zbz_store *s = open_as("single");
	zbz_call c = call();
	zbz_buf out = { 0 };
	pthread_t threads[4];
	void *held = NULL;
	int alone;
	for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, hammer, s);
	for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
	CHECK(atomic_load(&single_most) == 1);
	pthread_create(&threads[0], NULL, hold, s);
	pthread_mutex_lock(&held_lock);
	while (held_state != 1) pthread_cond_wait(&held_moved, &held_lock);
	pthread_mutex_unlock(&held_lock);
	c.deadline = zbz_mono(c.clock) + 20;
	CHECK(zbz_store_get(s, &c, zbz_bstr("x"), &out, NULL) == ZBZ_E_TIMEOUT && zbz_mono(c.clock) >= c.deadline);
	CHECK_STR(c.err.provider, "single");
	set_held(2);
	pthread_join(threads[0], &held);
	CHECK(held == s);
	c.deadline = ZBZ_NEVER;
	CHECK(zbz_store_get(s, &c, zbz_bstr("x"), &out, NULL) == ZBZ_MISS);
	alone = fork(); /* a child goes on with the store it inherits */
	if (alone == 0) _exit(zbz_store_get(s, &c, zbz_bstr("x"), &out, NULL) == ZBZ_MISS ? 0 : 1);
	CHECK(waitpid(alone, &held_state, 0) == alone && held_state == 0);
	zbz_buf_clear(&out);
	zbz_store_unref(s);
}

static void test_without_memory(void) {
	bool failed = true;
	for (long n = 1; failed; n++) {
		zbz_store *s = NULL;
		zbz_status status = ZBZ_E_INTERNAL;
		zbz_config *cfg, *inner;
		long live;
		faults_begin(n);
		cfg = zbz_config_new();
		inner = cfg != NULL ? zbz_config_new() : NULL;
		if (inner != NULL) {
			status = zbz_config_set_text(inner, "provider", zbz_bstr("bare://h"), &err);
			if (status == ZBZ_OK) status = zbz_config_set_text(cfg, "provider", zbz_bstr("thru"), &err);
			if (status == ZBZ_OK)
				status = zbz_config_set_config(cfg, "inner", inner, &err);
			else
				zbz_config_free(inner);
		}
		if (status == ZBZ_OK) status = zbz_store_open(cfg, NULL, &s, &err);
		CHECK((status == ZBZ_OK) == (s != NULL));
		zbz_store_unref(s);
		zbz_config_free(cfg);
		failed = faults_end(&live);
		CHECK(failed == (status != ZBZ_OK) && live == 0 && tiny_open_count == 0);
	}
}

int main(void) {
	tiny_register();
	RUN(test_open);
	RUN(test_the_clock_goes_down);
	RUN(test_caps_tell_the_truth);
	RUN(test_empty_slots);
	RUN(test_values);
	RUN(test_batches_from_single_calls);
	RUN(test_clear_from_listing);
	RUN(test_one_thread_at_a_time);
	RUN(test_without_memory);
	return DONE();
}
