/* When a watch looks next. Plain arithmetic over milliseconds that the caller brings: no clock, no lock, no thread.
 *
 * The first hint after a quiet time is answered at once (leading edge); the next ones when no further hint has come for one pause
 * (trailing edge), and never later than max_wait after the first of them. */
#ifndef ZBZ_WATCH_PACE_H
#define ZBZ_WATCH_PACE_H

#include <zbz/clock.h>

enum { ZBZ_PACE_WAITS = 5 }; /* max_wait in pauses */

/* How a look ended. */
typedef enum zbz_look {
	ZBZ_LOOK_FINE,
	ZBZ_LOOK_TORN,  /* half written, or gone for the moment: soon again */
	ZBZ_LOOK_FAILED /* later again, and later each time */
} zbz_look;

typedef struct zbz_pace {
	int64_t pause;           /* ms */
	int64_t first, last;     /* hints that no look has begun for; -1 none */
	int64_t answered;        /* when the last look began that answered hints; -1 none */
	int64_t look_at;         /* without any hint */
	int64_t torn_since;      /* -1: the last look was not torn */
	unsigned torn, failures; /* in a row */
	uint32_t salt;           /* spreads the retries of many watches; 0: does not */
} zbz_pace;

void zbz_pace_init(zbz_pace *p, int64_t pause, uint32_t salt);
void zbz_pace_hint(zbz_pace *p, int64_t now);
/* When the next look is due; ZBZ_NEVER. */
int64_t zbz_pace_due(const zbz_pace *p);
void zbz_pace_begin(zbz_pace *p, int64_t now);
/* poll: ms until the next look when no hint comes. */
void zbz_pace_end(zbz_pace *p, int64_t now, zbz_look how, int64_t poll);

#endif
