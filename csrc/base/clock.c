/* The system's clock and a clock for tests. */
#include <zbz/alloc.h>
#include <zbz/clock.h>

#include <stdatomic.h>
#include <time.h>

/* Deadlines and expiry never need more than a timer tick on the wall side; the coarse clock costs a few loads. */
#ifdef CLOCK_REALTIME_COARSE
#define WALL_CLOCK CLOCK_REALTIME_COARSE
#else
#define WALL_CLOCK CLOCK_REALTIME
#endif

static int64_t read_ms(clockid_t id) {
	struct timespec ts;
	clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int64_t system_wall(void *ud) { return read_ms(WALL_CLOCK); }
static int64_t system_mono(void *ud) { return read_ms(CLOCK_MONOTONIC); }

static const zbz_clock system_clock = { system_wall, system_mono, NULL };

const zbz_clock *zbz_clock_system(void) { return &system_clock; }

#define FAKE_MONO_START 1000000 /* not 0, so that "unset" and "at the start" stay apart */

typedef struct fake_clock {
	zbz_clock clock; /* first: the public face */
	_Atomic int64_t wall, mono;
} fake_clock;

static int64_t fake_wall(void *ud) { return atomic_load(&((fake_clock *)ud)->wall); }
static int64_t fake_mono(void *ud) { return atomic_load(&((fake_clock *)ud)->mono); }

zbz_clock *zbz_clock_fake_new(int64_t wall_ms) {
	fake_clock *f = zbz_malloc(sizeof *f);
	if (f == NULL) return NULL;
	f->clock.wall_ms = fake_wall;
	f->clock.mono_ms = fake_mono;
	f->clock.ud = f;
	atomic_init(&f->wall, wall_ms);
	atomic_init(&f->mono, FAKE_MONO_START);
	return &f->clock;
}

void zbz_clock_fake_advance(zbz_clock *fake, int64_t ms) {
	fake_clock *f = (fake_clock *)fake;
	atomic_fetch_add(&f->mono, ms);
	atomic_fetch_add(&f->wall, ms);
}

void zbz_clock_fake_free(zbz_clock *fake) { zbz_free(fake); }
