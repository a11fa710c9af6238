/* When a watch looks, with times of the test's own. */
#include "check.h"

#include "watch/pace.c"

static void pace_leads_when_quiet_and_trails_in_a_burst(void) {
	zbz_pace p;
	zbz_pace_init(&p, 100, 0);
	CHECK(zbz_pace_due(&p) == ZBZ_NEVER);
	zbz_pace_hint(&p, 1000);
	CHECK(zbz_pace_due(&p) == 1000); /* quiet: at once */
	zbz_pace_begin(&p, 1001);
	CHECK(zbz_pace_due(&p) == ZBZ_NEVER);
	zbz_pace_end(&p, 1002, ZBZ_LOOK_FINE, 60000);
	CHECK(zbz_pace_due(&p) == 61002);
	zbz_pace_hint(&p, 1010);
	CHECK(zbz_pace_due(&p) == 1110); /* a pause after the last hint */
	zbz_pace_hint(&p, 1050);
	CHECK(zbz_pace_due(&p) == 1150);
	zbz_pace_begin(&p, 1150);
	zbz_pace_end(&p, 1151, ZBZ_LOOK_FINE, 60000);
	zbz_pace_hint(&p, 1300);
	CHECK(zbz_pace_due(&p) == 1300); /* quiet again */
}

/* Hints every millisecond for a minute: a look every max_wait, none later, and one after the last hint. */
static void pace_never_waits_longer_than_five_pauses(void) {
	zbz_pace p;
	int64_t now, looks = 0, waiting_since = -1, longest = 0;
	zbz_pace_init(&p, 100, 0);
	for (now = 0; now <= 61000; now++) {
		if (now < 60000) {
			zbz_pace_hint(&p, now);
			if (waiting_since < 0) waiting_since = now;
		}
		if (zbz_pace_due(&p) > now) continue;
		if (now - waiting_since > longest) longest = now - waiting_since;
		waiting_since = -1;
		zbz_pace_begin(&p, now);
		zbz_pace_end(&p, now, ZBZ_LOOK_FINE, 600000);
		looks++;
	}
	CHECK(longest == ZBZ_PACE_WAITS * 100);
	CHECK(waiting_since == -1); /* the last hint was answered */
	CHECK(looks > 100 && looks < 130);
}

/* Any hints at all: every one is followed by a look within the bound, and looks are not many more than time allows. */
static void pace_answers_every_hint(void) {
	unsigned seed;
	bool late = false, many = false;
	for (seed = 1; seed <= 200; seed++) {
		zbz_pace p;
		int64_t now, oldest = -1, looks = 0;
		uint32_t x = seed * 2654435761u;
		zbz_pace_init(&p, 50, 0);
		for (now = 0; now < 5000; now++) {
			x = x * 1664525u + 1013904223u;
			if (now < 4000 && (x >> 16) % (1 + seed % 97) == 0) {
				zbz_pace_hint(&p, now);
				if (oldest < 0) oldest = now;
			}
			if (zbz_pace_due(&p) <= now) {
				zbz_pace_begin(&p, now);
				zbz_pace_end(&p, now, ZBZ_LOOK_FINE, 600000);
				oldest = -1;
				looks++;
			}
			late |= oldest >= 0 && now - oldest > 250;
		}
		late |= oldest >= 0;
		many |= looks > 5000 / 50 + 1;
	}
	CHECK(!late);
	CHECK(!many);
}

static void pace_backs_off_and_hurries_when_torn(void) {
	zbz_pace p;
	int64_t now = 1000, before = 0;
	int i;
	zbz_pace_init(&p, 100, 0);
	for (i = 0; i < 10; i++) {
		zbz_pace_begin(&p, now);
		zbz_pace_end(&p, now, ZBZ_LOOK_FAILED, 60000);
		CHECK(zbz_pace_due(&p) - now == (i < 6 ? 100 << i : 5000));
		now = zbz_pace_due(&p);
	}
	zbz_pace_begin(&p, now);
	zbz_pace_end(&p, now, ZBZ_LOOK_FAILED, 2000);
	CHECK(zbz_pace_due(&p) - now == 2000); /* never later than the poll */
	zbz_pace_end(&p, now, ZBZ_LOOK_TORN, 60000);
	CHECK(zbz_pace_due(&p) - now == 10);
	CHECK(p.torn_since == now);
	zbz_pace_end(&p, now + 10, ZBZ_LOOK_TORN, 60000);
	CHECK(zbz_pace_due(&p) - now == 30);
	zbz_pace_hint(&p, now + 12);
	CHECK(zbz_pace_due(&p) == now + 12); /* a mended value is not kept waiting by the back-off */
	zbz_pace_end(&p, now, ZBZ_LOOK_FINE, 60000);
	CHECK(p.torn_since == -1 && p.failures == 0);
	for (i = 1; i < 20; i++) { /* spread: never later, at most a quarter earlier */
		zbz_pace_init(&p, 100, (uint32_t)i * 2654435761u);
		zbz_pace_end(&p, 0, ZBZ_LOOK_FINE, 1000);
		CHECK(zbz_pace_due(&p) > 750 && zbz_pace_due(&p) <= 1000);
		CHECK(zbz_pace_due(&p) != before);
		before = zbz_pace_due(&p);
	}
}

int main(void) {
	RUN(pace_leads_when_quiet_and_trails_in_a_burst);
	RUN(pace_never_waits_longer_than_five_pauses);
	RUN(pace_answers_every_hint);
	RUN(pace_backs_off_and_hurries_when_torn);
	return DONE();
}
