/* The log's front with real outputs: routes, levels, several formats, limits, and configurations replaced while threads log. */
#include "check.h"
#include "log_json.h"

#include <zbz/log.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

static zbz_output *memory_output(void) {
	zbz_config *cfg = zbz_config_new();
	zbz_output *o = NULL;
	zbz_err err;
	zbz_config_set_text(cfg, "type", zbz_bstr("memory"), &err);
	if (zbz_output_open(cfg, zbz_clock_system(), &o, &err) != ZBZ_OK) fprintf(stderr, "memory: %s\n", err.text);
	zbz_config_free(cfg);
	return o;
}

static zbz_output *null_output(void) {
	zbz_config *cfg = zbz_config_new();
	zbz_output *o = NULL;
	zbz_err err;
	zbz_config_set_text(cfg, "type", zbz_bstr("null"), &err);
	if (zbz_output_open(cfg, zbz_clock_system(), &o, &err) != ZBZ_OK) fprintf(stderr, "null: %s\n", err.text);
	zbz_config_free(cfg);
	return o;
}

/* What it holds, and forgets. */
static char *drain(zbz_output *o, size_t *lines) {
	zbz_call c = { .clock = zbz_clock_system(), .deadline = ZBZ_NEVER };
	zbz_buf text = { 0 };
	CHECK(zbz_output_read(o, &c, true, &text) == ZBZ_OK);
	zbz_buf_putc(&text, '\0', NULL);
	*lines = 0;
	for (const char *p = text.p; *p != '\0'; p++) *lines += *p == '\n';
	return text.p;
}

static size_t count(zbz_output *o) {
	size_t n;
	zbz_free(drain(o, &n));
	return n;
}

static void say(zbz_logger *l, zbz_log_view *view, zbz_level level, const char *msg, const char *name, int64_t v) {
	zbz_field f;
	unsigned turn;
	if (!zbz_logger_wants(l, level, &turn)) return;
	f = (zbz_field){ .key = zbz_log_key_of(view, zbz_bstr(name)), .type = ZBZ_FIELD_INT, .v = { .i = v } };
	zbz_logger_write(l, level, zbz_bstr(msg), &f, 1, false);
}

static const char *const to_main[] = { "main" }, *const to_audit[] = { "audit" },
                         *const to_both[] = { "audit", "alerts" };

static void routes(void) {
	zbz_output *m = memory_output(), *audit = memory_output(), *alerts = memory_output();
	zbz_log_output_spec outputs[] = { { .name = "main", .output = m },
		                              { .name = "audit", .output = audit, .format = ZBZ_FORMAT_LOGFMT },
		                              { .name = "alerts", .output = alerts, .level = ZBZ_LEVEL_WARN } };
	zbz_log_logger_spec loggers[] = { { .name = "", .outputs = to_main, .outputs_n = 1, .has_outputs = true },
		                              { .name = "chatty", .level = ZBZ_LEVEL_DEBUG },
		                              { .name = "child", .parent = "chatty" } };
	zbz_log_condition slow[] = { { .field = "ms", .op = ZBZ_LOG_GE, .type = ZBZ_FIELD_DOUBLE, .number = 100 } };
	zbz_log_route_spec list[] = {
		{ .logger = "user-*", .outputs = to_audit, .outputs_n = 1 },
		{ .logger = "*", .lowest = ZBZ_LEVEL_ERROR, .where = slow, .where_n = 1, .outputs = to_both, .outputs_n = 2 }
	};
	zbz_log_settings set = {
		.outputs = outputs, .outputs_n = 3, .loggers = loggers, .loggers_n = 3, .routes = list, .routes_n = 2
	};
	zbz_log *log = zbz_log_new(NULL);
	zbz_log_view *view;
	zbz_logger *user, *child, *grandchild;
	zbz_err err;
	char *text;
	size_t n;
	CHECK(zbz_log_configure(log, &set, &err) == ZBZ_OK);
	view = zbz_log_view_new(log);
	user = zbz_logger_new(view, zbz_bstr("user-events"));
	child = zbz_logger_new(view, zbz_bstr("child"));
	grandchild = zbz_logger_new(view, zbz_bstr("chatty.x.y"));
	CHECK(zbz_logger_level(user) == ZBZ_LEVEL_INFO && zbz_logger_level(child) == ZBZ_LEVEL_DEBUG &&
	      zbz_logger_level(grandchild) == ZBZ_LEVEL_DEBUG);
	say(user, view, ZBZ_LEVEL_INFO, "in", "ms", 5);
	say(user, view, ZBZ_LEVEL_DEBUG, "no", "ms", 5);
	say(child, view, ZBZ_LEVEL_DEBUG, "main 1", "ms", 5);
	say(grandchild, view, ZBZ_LEVEL_ERROR, "main 2", "ms", 99);
	say(grandchild, view, ZBZ_LEVEL_ERROR, "routed", "ms", 100);
	say(user, view, ZBZ_LEVEL_FATAL, "twice routed, once there", "ms", 100);
	CHECK(count(m) == 2);
	text = drain(audit, &n);
	CHECK(n == 3 && strstr(text, "msg=routed ms=100\n") != NULL &&
	      strstr(text, "logger=user-events msg=in ms=5\n") != NULL);
	zbz_free(text);
	text = drain(alerts, &n);
	CHECK(n == 2 && strstr(text, "\"message\":\"routed\",\"ms\":100}\n") != NULL);
	zbz_free(text);
	/* A route to nowhere names the output, and what stood before stands still. */
	list[0].outputs = (const char *const[]){ "audti" };
	CHECK(zbz_log_configure(log, &set, &err) == ZBZ_E_CONFIG && strstr(err.text, "'audti'") != NULL);
	say(user, view, ZBZ_LEVEL_INFO, "still", "ms", 5);
	CHECK(count(audit) == 1);
	zbz_logger_free(user);
	zbz_logger_free(child);
	zbz_logger_free(grandchild);
	zbz_log_view_free(view);
	zbz_log_free(log);
	zbz_output_unref(m);
	zbz_output_unref(audit);
	zbz_output_unref(alerts);
}

static void limits(void) {
	zbz_output *m = memory_output();
	zbz_clock *clock = zbz_clock_fake_new(1700000000000);
	zbz_log_output_spec outputs[] = { { .name = "main", .output = m } };
	zbz_log_logger_spec loggers[] = { { .name = "", .outputs = to_main, .outputs_n = 1, .has_outputs = true },
		                              { .name = "s", .sample_first = 100, .sample_then = 10 },
		                              { .name = "r", .rate = 10 },
		                              { .name = "d", .dedup_ms = 1000 } };
	zbz_log_settings set = { .outputs = outputs, .outputs_n = 1, .loggers = loggers, .loggers_n = 4 };
	zbz_log *log = zbz_log_new(clock);
	zbz_log_view *view;
	zbz_logger *s, *r, *d;
	zbz_log_stats st;
	zbz_err err;
	char *text;
	size_t n;
	CHECK(zbz_log_configure(log, &set, &err) == ZBZ_OK);
	view = zbz_log_view_new(log);
	s = zbz_logger_new(view, zbz_bstr("s"));
	r = zbz_logger_new(view, zbz_bstr("r"));
	d = zbz_logger_new(view, zbz_bstr("d"));
	for (int i = 0; i < 10000; i++) say(s, view, ZBZ_LEVEL_INFO, "m", "i", i);
	CHECK(count(m) == 1090);
	zbz_clock_fake_advance(clock, 1000);
	say(s, view, ZBZ_LEVEL_INFO, "m", "i", 1);
	CHECK(count(m) == 1);
	for (int i = 0; i < 100; i++) say(r, view, ZBZ_LEVEL_INFO, "m", "i", i);
	CHECK(count(m) == 10);
	zbz_clock_fake_advance(clock, 500);
	for (int i = 0; i < 100; i++) say(r, view, ZBZ_LEVEL_INFO, "m", "i", i);
	text = drain(m, &n);
	CHECK(n == 6 &&
	      strstr(
	          text,
	          "\"level\":\"warn\",\"logger\":\"r\",\"message\":\"records were over the rate limit\",\"limited\":90}") !=
	          NULL);
	zbz_free(text);
	for (int i = 0; i < 50; i++) say(d, view, ZBZ_LEVEL_WARN, "same", "i", 1);
	say(d, view, ZBZ_LEVEL_WARN, "other", "i", 1);
	say(d, view, ZBZ_LEVEL_WARN, "other", "i", 1);
	zbz_clock_fake_advance(clock, 1000);
	say(d, view, ZBZ_LEVEL_WARN, "other", "i", 1);
	zbz_logger_settle(d);
	text = drain(m, &n);
	CHECK(n == 5 && strstr(text, "\"message\":\"same\",\"repeated\":49}") != NULL &&
	      strstr(text, "\"message\":\"other\",\"repeated\":1}") != NULL);
	zbz_free(text);
	zbz_log_stats_read(log, &st);
	CHECK(st.sampled == 10000 - 1090 && st.limited == 90 + 95 && st.repeated == 50 && st.nowhere == 0);
	zbz_logger_free(s);
	zbz_logger_free(r);
	zbz_logger_free(d);
	zbz_log_view_free(view);
	zbz_log_free(log);
	zbz_output_unref(m);
	zbz_clock_fake_free(clock);
}

/* ---- replaced under load ---- */

enum { THREADS = 3, REPLACEMENTS = 1000 };

static zbz_log *shared;
static atomic_bool stop;
static _Atomic uint64_t said, ready;

static void *log_on(void *arg) {
	zbz_log_view *view = zbz_log_view_new(shared);
	zbz_logger *plain = zbz_logger_new(view, zbz_bstr("load.x")), *l;
	zbz_field f[3];
	uint64_t n = 0;
	unsigned turn;
	(void)arg;
	zbz_log_view_begin(view);
	f[0] = (zbz_field){ .key = zbz_log_key_of(view, zbz_bstr("bound")),
		                .type = ZBZ_FIELD_TEXT,
		                .v = { .s = zbz_bstr("b") } };
	l = zbz_logger_with(plain, f, 1);
	atomic_fetch_add(&ready, 1);
	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		if (!zbz_logger_wants(l, ZBZ_LEVEL_INFO, &turn)) continue;
		f[0] =
		    (zbz_field){ .key = zbz_log_key_of(view, zbz_bstr("n")), .type = ZBZ_FIELD_INT, .v = { .i = (int64_t)n } };
		f[1] = (zbz_field){ .key = zbz_log_key_of(view, zbz_bstr("password")),
			                .type = ZBZ_FIELD_TEXT,
			                .v = { .s = zbz_bstr("hunter2") } };
		zbz_logger_write(l, ZBZ_LEVEL_INFO, zbz_bstr("m"), f, 2, false);
		n++;
	}
	atomic_fetch_add(&said, n);
	zbz_logger_free(l);
	zbz_logger_free(plain);
	zbz_log_view_free(view);
	return NULL;
}

/* Two outputs swap their places in each configuration; every record reaches exactly one of them. */
static void replaced_under_load(void) {
	static const zbz_log_redact_rule rules[] = { { "pass*", ZBZ_REDACT_MASK } };
	zbz_output *a = null_output(), *b = null_output();
	pthread_t threads[THREADS];
	zbz_output_stats sa, sb;
	zbz_log_stats st;
	zbz_err err;
	bool fine = true;
	shared = zbz_log_new(NULL);
	atomic_store(&stop, false);
	for (int i = -1; i < REPLACEMENTS; i++) {
		const char *const to[] = { i % 2 == 0 ? "a" : "b" };
		zbz_log_output_spec outputs[] = { { .name = "a", .output = a },
			                              { .name = "b", .output = b, .format = ZBZ_FORMAT_LOGFMT } };
		zbz_log_logger_spec loggers[] = { { .name = "", .outputs = to, .outputs_n = 1, .has_outputs = true } };
		zbz_log_route_spec list[] = { { .logger = i % 3 == 0 ? "load*" : "none*", .outputs = to, .outputs_n = 1 } };
		zbz_log_settings set = { .outputs = outputs,
			                     .outputs_n = 2,
			                     .loggers = loggers,
			                     .loggers_n = 1,
			                     .routes = list,
			                     .routes_n = 1,
			                     .redact = rules,
			                     .redact_n = 1 };
		fine = fine && zbz_log_configure(shared, &set, &err) == ZBZ_OK;
		if (i >= 0) continue;
		for (int t = 0; t < THREADS; t++) pthread_create(&threads[t], NULL, log_on, NULL);
		while (atomic_load(&ready) < THREADS) sched_yield();
	}
	CHECK(fine);
	atomic_store(&stop, true);
	for (int t = 0; t < THREADS; t++) pthread_join(threads[t], NULL);
	zbz_output_stats_read(a, &sa);
	zbz_output_stats_read(b, &sb);
	zbz_log_stats_read(shared, &st);
	CHECK(atomic_load(&said) > 0 && st.records[ZBZ_LEVEL_INFO] + st.lost == atomic_load(&said));
	CHECK(sa.records + sb.records == st.records[ZBZ_LEVEL_INFO]);
	zbz_log_free(shared);
	zbz_output_unref(a);
	zbz_output_unref(b);
}

/* A view outlives what it was configured with, and the keys of a name thrown away by number. */
static void many_names(void) {
	zbz_output *m = memory_output();
	zbz_log_output_spec outputs[] = { { .name = "main", .output = m } };
	zbz_log_logger_spec loggers[] = { { .name = "", .outputs = to_main, .outputs_n = 1, .has_outputs = true } };
	zbz_log_settings set = { .outputs = outputs, .outputs_n = 1, .loggers = loggers, .loggers_n = 1 };
	zbz_log *log = zbz_log_new(NULL);
	zbz_log_view *view;
	zbz_logger *l;
	zbz_err err;
	char *text;
	size_t n;
	CHECK(zbz_log_configure(log, &set, &err) == ZBZ_OK);
	view = zbz_log_view_new(log);
	l = zbz_logger_new(view, zbz_bstr("x"));
	for (int i = 0; i < 5000; i++) {
		char name[16];
		snprintf(name, sizeof name, "name%d", i);
		say(l, view, ZBZ_LEVEL_INFO, "m", name, i);
	}
	text = drain(m, &n);
	CHECK(n == 5000 && strstr(text, "\"name4999\":4999}") != NULL && strstr(text, "\"?\"") == NULL);
	zbz_free(text);
	zbz_logger_free(l);
	zbz_log_view_free(view);
	zbz_log_free(log);
	zbz_output_unref(m);
}

int main(void) {
	RUN(routes);
	RUN(limits);
	RUN(many_names);
	RUN(replaced_under_load);
	return DONE();
}
