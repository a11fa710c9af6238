/* Single flight: one loader at a time, and everybody gets its answer; a child begins anew. */
#include <sched.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "load_rig.h"

static void seats(void) {
	zbz_flight *lead, *wait, *self, *next;
	zbz_landing how;
	zbz_bytes result;
	zbz_err err;
	int state;
	setup("private");
	lead = enter("k", &state, ZBZ_LEADS);
	wait = enter("k", NULL, ZBZ_WAITS);
	self = enter("k", &state, ZBZ_WAITS_FOR_SELF);
	zbz_flight_leave(enter("other", NULL, ZBZ_LEADS));
	CHECK(!zbz_flight_landed(wait) && zbz_flight_result(wait, false, &how, &result) == ZBZ_AGAIN);
	CHECK(zbz_flight_land(wait, ZBZ_LANDED_VALUE, zbz_bstr("x"), &err) == ZBZ_E_ARGUMENT);
	CHECK(zbz_flight_land(lead, ZBZ_LANDED_VALUE, zbz_bstr("value"), &err) == ZBZ_OK);
	CHECK(zbz_flight_land(lead, ZBZ_LANDED_VALUE, zbz_bstr("value"), &err) == ZBZ_E_ARGUMENT);
	CHECK(zbz_flight_result(wait, false, &how, &result) == ZBZ_OK && how == ZBZ_LANDED_VALUE &&
	      zbz_bytes_eq(result, zbz_bstr("value")));
	CHECK(zbz_flight_result(self, true, &how, &result) == ZBZ_AGAIN);
	zbz_flight_leave(lead);
	next = enter("k", NULL, ZBZ_LEADS); /* the key is free though waiters still read */
	CHECK(zbz_flight_result(wait, false, &how, &result) == ZBZ_OK && zbz_bytes_eq(result, zbz_bstr("value")));
	zbz_flight_leave(wait);
	zbz_flight_leave(self);
	wait = enter("k", NULL, ZBZ_WAITS);
	zbz_flight_leave(next); /* without landing */
	CHECK(zbz_flight_wait(wait, zbz_clock_system(), ZBZ_NEVER, &err) == ZBZ_OK);
	CHECK(zbz_flight_result(wait, false, &how, &result) == ZBZ_OK && how == ZBZ_LANDED_FAILED &&
	      zbz_bytes_eq(result, zbz_bstr("abandoned")));
	zbz_flight_leave(wait);
	zbz_flight_leave(NULL);
	teardown();
}

static void calls_back(void *ud) { ++*(int *)ud; }

static void callbacks(void) {
	zbz_flight *lead, *wait;
	zbz_landing how;
	zbz_bytes result;
	zbz_err err;
	int called = 0;
	setup("private");
	lead = enter("k", NULL, ZBZ_LEADS);
	wait = enter("k", NULL, ZBZ_WAITS);
	CHECK(zbz_flight_on_land(wait, calls_back, &called, &err) == ZBZ_OK && called == 0);
	CHECK(zbz_flight_land(lead, ZBZ_LANDED_NEGATIVE, zbz_b(NULL, 0), &err) == ZBZ_OK && called == 1);
	CHECK(zbz_flight_on_land(wait, calls_back, &called, &err) == ZBZ_OK && called == 2);
	zbz_flight_leave(lead);
	zbz_flight_leave(wait);
	lead = enter("k", NULL, ZBZ_LEADS);
	wait = enter("k", NULL, ZBZ_WAITS);
	CHECK(zbz_flight_land(lead, ZBZ_LANDED_NOTHING, zbz_b(NULL, 0), &err) == ZBZ_OK && zbz_flight_landed(wait));
	CHECK(zbz_flight_result(wait, false, &how, &result) == ZBZ_AGAIN);
	zbz_flight_leave(lead);
	zbz_flight_leave(wait);
	teardown();
}

static void waits_end(void) {
	zbz_clock *fake = zbz_clock_fake_new(5000);
	zbz_flight *lead, *wait;
	zbz_err err;
	setup("private");
	lead = enter("k", NULL, ZBZ_LEADS);
	wait = enter("k", NULL, ZBZ_WAITS);
	CHECK(zbz_flight_wait(wait, zbz_clock_system(), zbz_mono(zbz_clock_system()) + 5, &err) == ZBZ_E_TIMEOUT &&
	      err.retryable);
	CHECK(zbz_flight_wait(wait, fake, zbz_mono(fake) + 5, &err) == ZBZ_E_TIMEOUT);
	CHECK(zbz_flight_wait(wait, fake, zbz_mono(fake) - 5, &err) == ZBZ_E_TIMEOUT);
	zbz_flight_leave(lead);
	CHECK(zbz_flight_wait(wait, fake, zbz_mono(fake) - 5, &err) == ZBZ_OK);
	zbz_flight_leave(wait);
	zbz_clock_fake_free(fake);
	teardown();
}

static void many_keys_at_once(void) {
	enum { MANY = 1000 };
	static zbz_flight *flights[MANY];
	char key[16];
	int i;
	setup("private");
	for (i = 0; i < MANY; i++) {
		snprintf(key, sizeof key, "%d", i);
		flights[i] = enter(key, NULL, ZBZ_LEADS);
	}
	for (i = 0; i < MANY; i += 7) {
		snprintf(key, sizeof key, "%d", i);
		zbz_flight_leave(enter(key, NULL, ZBZ_WAITS));
	}
	for (i = 0; i < MANY; i++) zbz_flight_leave(flights[i]);
	teardown();
}

static void a_flight_outlives_its_registry(void) {
	zbz_flights *fs = zbz_flights_new();
	zbz_flight *lead, *wait;
	zbz_seat seat;
	zbz_err err;
	zbz_landing how;
	zbz_bytes result;
	CHECK(zbz_flight_enter(fs, zbz_bstr("k"), NULL, &lead, &seat, &err) == ZBZ_OK && seat == ZBZ_LEADS);
	CHECK(zbz_flight_enter(fs, zbz_bstr("k"), NULL, &wait, &seat, &err) == ZBZ_OK && seat == ZBZ_WAITS);
	zbz_flights_free(fs);
	CHECK(zbz_flight_land(lead, ZBZ_LANDED_FAILED, zbz_bstr("why"), &err) == ZBZ_OK);
	zbz_flight_leave(lead);
	CHECK(zbz_flight_result(wait, false, &how, &result) == ZBZ_OK && zbz_bytes_eq(result, zbz_bstr("why")));
	zbz_flight_leave(wait);
}

/* ---- sixteen threads, one key ---- */

enum { THREADS = 16, ROUNDS = 200 };
static atomic_int running, loads, bad, answers;

static void *crowd(void *arg) {
	int i;
	for (i = 0; i < ROUNDS; i++) {
		zbz_flight *f;
		zbz_seat seat;
		zbz_err err;
		char text[16];
		if (zbz_table_flight(table, zbz_bstr("k"), arg, &f, &seat, &err) != ZBZ_OK) {
			atomic_fetch_add(&bad, 1);
		} else if (seat == ZBZ_LEADS) {
			if (atomic_fetch_add(&running, 1) != 0) atomic_fetch_add(&bad, 1);
			snprintf(text, sizeof text, "%d", atomic_fetch_add(&loads, 1));
			sched_yield();
			atomic_fetch_sub(&running, 1);
			if (zbz_flight_land(f, ZBZ_LANDED_VALUE, zbz_bstr(text), &err) != ZBZ_OK) atomic_fetch_add(&bad, 1);
		} else {
			zbz_landing how;
			zbz_bytes result;
			if (zbz_flight_wait(f, zbz_clock_system(), zbz_mono(zbz_clock_system()) + 60000, &err) != ZBZ_OK)
				atomic_fetch_add(&bad, 1);
			if (zbz_flight_result(f, false, &how, &result) != ZBZ_OK || how != ZBZ_LANDED_VALUE || result.n == 0)
				atomic_fetch_add(&bad, 1);
			atomic_fetch_add(&answers, 1);
		}
		zbz_flight_leave(f);
	}
	return NULL;
}

static void one_loader_at_a_time(void) {
	static char owners[THREADS];
	pthread_t threads[THREADS];
	int i;
	setup("private");
	for (i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, crowd, &owners[i]);
	for (i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
	CHECK(bad == 0 && loads + answers == THREADS * ROUNDS && loads > 0);
	teardown();
}

/* ---- fork ---- */

static int in_child(zbz_flight *lead, zbz_flight *wait) {
	zbz_err err;
	zbz_landing how;
	zbz_bytes result;
	zbz_flight *f;
	zbz_seat seat;
	alarm(30);
	if (zbz_flight_wait(wait, zbz_clock_system(), ZBZ_NEVER, &err) != ZBZ_OK) return 1;
	if (zbz_flight_result(wait, false, &how, &result) != ZBZ_AGAIN) return 2;
	if (commit(lead, "k", "v", NULL) != ZBZ_REFUSED ||
	    zbz_flight_land(lead, ZBZ_LANDED_VALUE, zbz_bstr("v"), &err) != ZBZ_OK)
		return 3;
	if (zbz_table_flight(table, K, NULL, &f, &seat, &err) != ZBZ_OK || seat != ZBZ_LEADS) return 4;
	if (commit(f, "k", "child", NULL) != ZBZ_OK) return 5;
	zbz_flight_leave(f);
	zbz_flight_leave(wait);
	zbz_flight_leave(lead);
	return 0;
}

static void a_child_is_free_of_the_parents_flights(void) {
	zbz_flight *lead, *wait;
	pid_t pid;
	int status = -1;
	setup("private");
	lead = enter("k", NULL, ZBZ_LEADS);
	wait = enter("k", NULL, ZBZ_WAITS);
	fflush(NULL);
	pid = fork();
	if (pid == 0) _exit(in_child(lead, wait));
	CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
	CHECK(commit(lead, "k", "parent", NULL) == ZBZ_OK);
	zbz_flight_leave(lead);
	zbz_flight_leave(wait);
	teardown();
}

int main(void) {
	RUN(seats);
	RUN(callbacks);
	RUN(waits_end);
	RUN(many_keys_at_once);
	RUN(a_flight_outlives_its_registry);
	RUN(one_loader_at_a_time);
	RUN(a_child_is_free_of_the_parents_flights);
	return DONE();
}
