#include "pace.h"

#define TORN_MIN_MS    10
#define TORN_MAX_MS    100
#define BACKOFF_MIN_MS 100
#define BACKOFF_MAX_MS 5000

void zbz_pace_init(zbz_pace *p, int64_t pause, uint32_t salt) {
	*p = (zbz_pace){ .pause = pause, .first = -1, .last = -1, .answered = -1, .torn_since = -1, .salt = salt };
	p->look_at = ZBZ_NEVER;
}

void zbz_pace_hint(zbz_pace *p, int64_t now) {
	if (p->first < 0) p->first = now;
	p->last = now;
}

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

int64_t zbz_pace_due(const zbz_pace *p) {
	int64_t hinted = ZBZ_NEVER;
	if (p->first >= 0) {
		bool quiet = p->answered < 0 || p->first - p->answered >= p->pause;
		hinted = quiet ? p->first : least(p->last + p->pause, p->first + ZBZ_PACE_WAITS * p->pause);
	}
	return least(hinted, p->look_at);
}

void zbz_pace_begin(zbz_pace *p, int64_t now) {
	if (p->first >= 0) p->answered = now;
	p->first = p->last = -1;
	p->look_at = ZBZ_NEVER;
}

/* n doublings of least, up to most. */
static int64_t grown(int64_t from, unsigned n, int64_t most) {
	while (n-- > 0 && from < most) from *= 2;
	return least(from, most);
}

/* Up to a quarter less, other for each watch and each retry. */
static int64_t spread(const zbz_pace *p, int64_t ms) {
	uint32_t x = p->salt * (2 * p->failures + 1);
	return ms - ms / 4 * (int64_t)(x >> 24) / 256;
}

void zbz_pace_end(zbz_pace *p, int64_t now, zbz_look how, int64_t poll) {
	int64_t wait = poll;
	if (how == ZBZ_LOOK_TORN) {
		if (p->torn_since < 0) p->torn_since = now;
		wait = least(poll, grown(TORN_MIN_MS, p->torn++, TORN_MAX_MS));
	} else {
		p->torn = 0;
		p->torn_since = -1;
	}
	if (how == ZBZ_LOOK_FAILED)
		wait = least(poll, grown(BACKOFF_MIN_MS, p->failures++, BACKOFF_MAX_MS));
	else if (how == ZBZ_LOOK_FINE)
		p->failures = 0;
	p->look_at = now + (how == ZBZ_LOOK_TORN ? wait : spread(p, wait));
}
