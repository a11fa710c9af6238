/* What the program counts of the log: over threads, logs, forks and deaths, and over outputs that go and come back. */
#include <pthread.h>
#include <signal.h>

#include <zbz/log.h>

#include "child.h"
#include "log_help.h"

enum { THREADS = 4, EACH = 20000, MANY = 5000 };

static zbz_output_stats of(uint64_t account) {
	zbz_output_stats s;
	zbz_account_read(account, &s);
	return s;
}

static uint64_t records(zbz_level level) {
	zbz_log_stats s;
	zbz_log_totals_read(&s);
	return s.records[level];
}

/* Their only output is the caller's own: no thread is started, so children may log. */
static bool log_some(int n) {
	static const char *const to[] = { "own" };
	zbz_log_output_spec outputs[] = { { .name = "own" } };
	zbz_log_logger_spec loggers[] = { { .name = "", .outputs = to, .outputs_n = 1, .has_outputs = true } };
	zbz_log_settings set = { .outputs = outputs, .outputs_n = 1, .loggers = loggers, .loggers_n = 1 };
	zbz_log *log = zbz_log_new(NULL);
	zbz_log_view *view = zbz_log_view_new(log);
	zbz_logger *l = zbz_logger_new(view, zbz_bstr("a"));
	zbz_log_stats mine;
	zbz_err err;
	unsigned turn;
	bool fine = zbz_log_configure(log, &set, &err) == ZBZ_OK;
	for (int i = 0; i < n; i++)
		if (zbz_logger_wants(l, ZBZ_LEVEL_WARN, &turn))
			zbz_logger_write(l, ZBZ_LEVEL_WARN, zbz_bstr("x"), NULL, 0, true);
	zbz_log_stats_read(log, &mine);
	fine = fine && mine.records[ZBZ_LEVEL_WARN] == (uint64_t)n;
	zbz_logger_free(l);
	zbz_log_view_free(view);
	zbz_log_stats_read(log, &mine);
	fine = fine && mine.records[ZBZ_LEVEL_WARN] == (uint64_t)n;
	zbz_log_free(log);
	return fine;
}

static void *log_thread(void *ud) { return log_some(EACH) ? ud : NULL; }

static void logs_of_all_threads(void) {
	uint64_t before = records(ZBZ_LEVEL_WARN);
	pthread_t t[THREADS];
	for (int i = 0; i < THREADS; i++) CHECK(pthread_create(&t[i], NULL, log_thread, t) == 0);
	for (uint64_t last = before, now; last < before + THREADS * EACH / 2; last = now) {
		now = records(ZBZ_LEVEL_WARN);
		CHECK(now >= last);
	}
	for (int i = 0; i < THREADS; i++) {
		void *fine = NULL;
		pthread_join(t[i], &fine);
		CHECK(fine == t);
	}
	CHECK(records(ZBZ_LEVEL_WARN) == before + THREADS * EACH);
	CHECK(records(ZBZ_LEVEL_ERROR) == 0);
}

/* A fork in the middle: the parent's count is not the child's to add again, and the child's is added. */
static void logs_of_children(void) {
	uint64_t before = records(ZBZ_LEVEL_WARN);
	for (int i = 0; i < 20; i++) {
		pid_t pid = fork();
		if (pid == 0) {
			log_some(10);
			raise(SIGKILL);
		}
		CHECK(log_some(1));
		reap_child(pid);
	}
	CHECK(records(ZBZ_LEVEL_WARN) == before + 20 * 11);
}

static void an_output_by_level(void) {
	zbz_output *o = opened("type=null account=levels");
	zbz_record_head head = { .at = 7 };
	uint64_t account = zbz_output_account(o);
	zbz_output_stats s;
	for (int level = 0; level < 9; level++) {
		head.level = (zbz_level)level;
		for (int i = 0; i <= level; i++) CHECK(zbz_output_append(o, &head, zbz_bstr("line\n")));
	}
	s = numbers(o);
	CHECK(s.records == 45 && s.bytes == 45 * 5 && s.levels[ZBZ_LEVEL_FATAL] == 7);
	CHECK(s.levels[0] == 1 + 8 + 9); /* also those beyond the last */
	CHECK(flush(o, 5000) == ZBZ_OK);
	s = of(account);
	CHECK(s.records == 45 && s.written == 45 && s.written_bytes == 45 * 5 && s.levels[ZBZ_LEVEL_TRACE] == 2);
	zbz_output_unref(o);
}

/* One that goes and comes back goes on; for itself it begins anew. */
static void an_output_that_returns(void) {
	uint64_t account = 0;
	for (uint64_t i = 1; i <= 3; i++) {
		zbz_output *o = opened("type=null account=returns");
		CHECK(account == 0 || account == zbz_output_account(o));
		account = zbz_output_account(o);
		say(o, "x\n");
		CHECK(flush(o, 5000) == ZBZ_OK);
		CHECK(numbers(o).records == 1 && numbers(o).written == 1);
		CHECK(of(account).records == i && of(account).written == i);
		zbz_output_unref(o);
		CHECK(of(account).records == i && of(account).written == i && of(account).bytes == 2 * i);
	}
}

static void two_at_once(void) {
	zbz_output *a = opened("type=null account=both"), *b = opened("type=null account=both");
	zbz_output *other = opened("type=null account=other");
	uint64_t account = zbz_output_account(a);
	CHECK(account == zbz_output_account(b) && account != zbz_output_account(other));
	say(a, "x\n");
	say(b, "x\n");
	say(b, "x\n");
	say(other, "x\n");
	CHECK(numbers(a).records == 1 && numbers(b).records == 2 && of(account).records == 3);
	zbz_output_unref(a);
	zbz_output_unref(b);
	CHECK(of(account).records == 3 && of(zbz_output_account(other)).records == 1);
	zbz_output_unref(other);
}

static void what_is_dropped(void) {
	zbz_output *o = opened("type=null account=drops ring_size=64KB");
	uint64_t account = zbz_output_account(o);
	zbz_record_head head = { .at = 7, .level = ZBZ_LEVEL_INFO };
	CHECK(zbz_output_reserve(o, &head, 1 << 20) == NULL);
	CHECK(numbers(o).dropped_large == 1 && of(account).dropped_large == 1 && of(account).records == 0);
	zbz_output_unref(o);
	CHECK(of(account).dropped_large == 1);
}

/* In a forked child the output is a new one that adds to the same account, also after it has been killed; the next child takes its place. */
static void outputs_of_children(void) {
	zbz_output *o = opened("type=null account=forked");
	uint64_t account = zbz_output_account(o);
	say(o, "x\n");
	for (int i = 0; CHILD_THREADS && i < 5; i++) {
		pid_t pid = fork();
		if (pid == 0) {
			bool fine = numbers(o).records == 0 && say(o, "x\n") && numbers(o).records == 1;
			raise(fine ? SIGKILL : SIGABRT);
		}
		reap_child(pid);
	}
	CHECK(numbers(o).records == 1);
	CHECK(of(account).records == (CHILD_THREADS ? 6 : 1));
	zbz_output_unref(o);
}

/* Places are taken again: after more openings than there are places a child's counts still arrive. */
static void places_are_had_again(void) {
	uint64_t before;
	for (int i = 0; i < MANY; i++) zbz_output_unref(opened("type=null account=often"));
	before = records(ZBZ_LEVEL_WARN);
	for (int i = 0; i < 3; i++) {
		pid_t pid = fork();
		if (pid == 0) {
			log_some(5);
			_exit(0);
		}
		reap_child(pid);
	}
	CHECK(records(ZBZ_LEVEL_WARN) == before + 15);
}

/* Last: beyond the last place it counts for itself. */
static void no_place_left(void) {
	zbz_output *o;
	uint64_t account;
	for (int i = 0; i < MANY; i++) {
		char options[64];
		snprintf(options, sizeof options, "type=null account=n%d", i);
		zbz_output_unref(opened(options));
	}
	o = opened("type=null account=beyond");
	account = zbz_output_account(o);
	say(o, "x\n");
	CHECK(numbers(o).records == 1 && of(account).records == 1);
	zbz_output_unref(o);
	CHECK(of(account).records == 0);
	CHECK(log_some(10));
}

int main(void) {
	if (!dirs_make()) return 1;
	RUN(logs_of_all_threads);
	RUN(logs_of_children);
	RUN(an_output_by_level);
	RUN(an_output_that_returns);
	RUN(two_at_once);
	RUN(what_is_dropped);
	RUN(outputs_of_children);
	RUN(places_are_had_again);
	RUN(no_place_left);
	dirs_remove();
	return DONE();
}
