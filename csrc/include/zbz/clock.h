/* Time, injected. Wall time (expiry) and monotonic time (deadlines) in milliseconds. */
#ifndef ZBZ_CLOCK_H
#define ZBZ_CLOCK_H

#include <stdint.h>

#include "status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define ZBZ_NEVER INT64_MAX /* as a deadline: none */

typedef struct zbz_clock {
	int64_t (*wall_ms)(void *ud); /* since 1970; the system clock has about 4 ms resolution (coarse and cheap) */
	int64_t (*mono_ms)(void *ud); /* never goes back */
	void *ud;
} zbz_clock;

ZBZ_API const zbz_clock *zbz_clock_system(void);

/* A clock that moves only when told to; for tests. Thread-safe. */
ZBZ_API zbz_clock *zbz_clock_fake_new(int64_t wall_ms);           /* NULL when out of memory */
ZBZ_API void zbz_clock_fake_advance(zbz_clock *fake, int64_t ms); /* moves both times */
ZBZ_API void zbz_clock_fake_free(zbz_clock *fake);                /* NULL allowed */

static inline int64_t zbz_wall(const zbz_clock *c) { return c->wall_ms(c->ud); }
static inline int64_t zbz_mono(const zbz_clock *c) { return c->mono_ms(c->ud); }

#ifdef __cplusplus
}
#endif
#endif
