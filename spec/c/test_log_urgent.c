/* flush_level: a record of that level ends the wait of its batch, whenever it comes and whatever the writer does just then. */
#include <pthread.h>

#include "child.h"
#include "log_help.h"

enum { ROUNDS = 3000, THREADS = 3, EACH = 4000 };

static bool put(zbz_output *o, zbz_level level, const char *line) {
	zbz_record_head head = { .at = 7, .level = level, .logger = zbz_bstr("app") };
	return zbz_output_append(o, &head, zbz_bstr(line));
}

static void levels(void) {
	zbz_output *o = opened("type=told name=levels batch_wait=1h flush_level=error");
	told_reset();
	put(o, ZBZ_LEVEL_INFO, "a\n");
	put(o, ZBZ_LEVEL_WARN, "b\n");
	put(o, ZBZ_LEVEL_ERROR, "c\n");
	told_await_bytes(6);
	CHECK(told_is("a\nb\nc\n"));
	put(o, ZBZ_LEVEL_FATAL, "d\n");
	told_await_bytes(8);
	zbz_output_unref(o);
	CHECK(no_rings());
}

/* Each is awaited alone, so none may be slept over; those before it go with it. */
static void one_at_a_time(void) {
	zbz_output *o = opened("type=told name=rounds batch_wait=1h flush_level=warn");
	size_t n = 0;
	told_reset();
	for (int i = 0; i < ROUNDS; i++) {
		for (int k = 0; k < i % 4; k++, n += 2) put(o, ZBZ_LEVEL_INFO, "i\n");
		put(o, ZBZ_LEVEL_WARN, "w\n");
		told_await_bytes(n += 2);
	}
	CHECK(told_lines() == n / 2);
	zbz_output_unref(o);
}

/* Without it nothing is written before its time. */
static void off(void) {
	zbz_output *patient = opened("type=told name=patient batch_wait=1h");
	zbz_output *urgent = opened("type=told name=urgent batch_wait=1h flush_level=error");
	told_reset();
	put(patient, ZBZ_LEVEL_FATAL, "patient\n");
	put(urgent, ZBZ_LEVEL_ERROR, "urgent\n");
	told_await_bytes(7);
	CHECK(told_is("urgent\n"));
	CHECK(flush(patient, 5000) == ZBZ_OK && told_is("urgent\npatient\n"));
	zbz_output_unref(patient);
	zbz_output_unref(urgent);
}

static void *many(void *ud) {
	for (int i = 0; i < EACH; i++)
		put(ud, i % 50 == 49 ? ZBZ_LEVEL_ERROR : ZBZ_LEVEL_INFO, i % 50 == 49 ? "urgent\n" : "other..\n");
	put(ud, ZBZ_LEVEL_ERROR, "last..\n");
	return NULL;
}

static void threads(void) {
	zbz_output *o = opened("type=told name=threads batch_wait=1h flush_level=error");
	pthread_t t[THREADS];
	told_reset();
	for (int i = 0; i < THREADS; i++) CHECK(pthread_create(&t[i], NULL, many, o) == 0);
	for (int i = 0; i < THREADS; i++) pthread_join(t[i], NULL);
	told_await_bytes(THREADS * (EACH / 50 * (49 * 8 + 7) + 7));
	CHECK(told_lines() == THREADS * (EACH + 1));
	CHECK(flush(o, 5000) == ZBZ_OK && numbers(o).written == THREADS * (EACH + 1));
	zbz_output_unref(o);
}

/* The one who writes is another process, and waits for a batch to fill. */
static void of_another_process(void) {
	zbz_output *o;
	pid_t pid;
	if (!CHILD_THREADS) return;
	o = opened("type=told name=child batch_wait=1h flush_level=error");
	told_reset();
	put(o, ZBZ_LEVEL_INFO, "parent\n");
	pid = fork();
	if (pid == 0) {
		put(o, ZBZ_LEVEL_INFO, "child\n");
		put(o, ZBZ_LEVEL_ERROR, "urgent\n");
		_exit(0);
	}
	told_await_bytes(20);
	reap_child(pid);
	CHECK(told_lines() == 3);
	zbz_output_unref(o);
}

static void wrong(void) {
	zbz_output *o = NULL;
	zbz_err err = { .text = "" };
	CHECK(log_open("type=told name=w flush_level=loud", &o, &err) == ZBZ_E_CONFIG &&
	      strcmp(err.option, "flush_level") == 0);
}

int main(void) {
	if (!dirs_make() || zbz_sink_register(&told_sink, NULL) != ZBZ_OK) return 1;
	alarm(300);
	RUN(levels);
	RUN(one_at_a_time);
	RUN(off);
	RUN(threads);
	RUN(of_another_process);
	RUN(wrong);
	dirs_remove();
	return DONE();
}
