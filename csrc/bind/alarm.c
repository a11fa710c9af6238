/* An alarm for loops without timers of their own: a descriptor that is readable from a moment on, until the alarm is set anew. */
#include <errno.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "args.h"
#include "base/fork.h"

typedef struct alarm_box {
	zbz_box head;
	bool open;
	int fd;
	unsigned
	    generation; /* of the process it was made in: a child has a descriptor of its own, but for the same timer */
} alarm_box;

static void alarm_release(lua_State *L, void *self) {
	alarm_box *box = self;
	if (!box->open) return;
	box->open = false;
	close(box->fd);
}

static int push_trouble(lua_State *L, int e) {
	zbz_where at = zbz_at("alarm");
	zbz_err err;
	zbz_fail_errno(&err, ZBZ_E_UNAVAILABLE, e, "no timer");
	return zbz_push_failure(L, &err, &at);
}

static bool alarm_open(alarm_box *box) {
	box->fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	box->open = box->fd >= 0;
	box->generation = zbz_fork_generation();
	return box->open;
}

static int new_alarm(lua_State *L) {
	alarm_box *box = zbz_box_new(L, ZBZ_BOX_ALARM, sizeof(*box));
	return alarm_open(box) ? 1 : push_trouble(L, errno);
}

static alarm_box *alarm_at(lua_State *L, const char *op) {
	alarm_box *box = zbz_box_check(L, zbz_bind_of(L), 1, ZBZ_BOX_ALARM, op);
	if (!box->open) luaL_error(L, "zbz: %s: the alarm is closed", op);
	return box;
}

static int alarm_fd(lua_State *L) {
	lua_pushinteger(L, alarm_at(L, "fd")->fd);
	return 1;
}

/* set(ms): from then on the descriptor is readable, another one in a forked child; at once for 0. */
static int alarm_set(lua_State *L) {
	alarm_box *box = alarm_at(L, "set");
	int64_t ms = zbz_ms_arg(L, 2, "set", "ms", 0);
	struct itimerspec when = { { 0, 0 }, { 0, 1 } };
	if (ms < 0) return luaL_error(L, "zbz: set: negative milliseconds");
	if (box->generation != zbz_fork_generation()) {
		alarm_release(L, box);
		if (!alarm_open(box)) return push_trouble(L, errno);
	}
	if (ms > 0) {
		when.it_value.tv_sec = (time_t)(ms / 1000);
		when.it_value.tv_nsec = (long)(ms % 1000) * 1000000;
	}
	if (timerfd_settime(box->fd, 0, &when, NULL) != 0) return push_trouble(L, errno);
	lua_pushboolean(L, 1);
	return 1;
}

static const luaL_Reg methods[] = { { "fd", alarm_fd }, { "set", alarm_set }, { NULL, NULL } };
static const luaL_Reg functions[] = { { "alarm", new_alarm }, { NULL, NULL } };

void zbz_open_alarm(lua_State *L) {
	zbz_class(L, ZBZ_BOX_ALARM, "zbz.Alarm", alarm_release, "close", methods);
	zbz_functions(L, 1, functions);
}
