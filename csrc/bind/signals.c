/* SIGINT and SIGTERM while zbz.run waits in a script: they end the wait, and the program decides. Both are blocked but during the
 * wait, so none is lost between two looks; who had a handler before has it again afterwards. */
#include <errno.h>
#include <poll.h>
#include <signal.h>

#include "args.h"
#include "mail.h"

enum { SIGNALS = 2 };
static const int numbers[SIGNALS] = { SIGINT, SIGTERM };

static volatile sig_atomic_t caught;
static struct sigaction before[SIGNALS];
static sigset_t mask_before;
static bool armed;

static void on_signal(int number) { caught = number; }

/* What the program ignores stays ignored. */
static int begin(lua_State *L) {
	struct sigaction mine;
	sigset_t both;
	int i;
	if (armed) return 0;
	caught = 0;
	memset(&mine, 0, sizeof(mine));
	mine.sa_handler = on_signal;
	sigemptyset(&mine.sa_mask);
	sigemptyset(&both);
	for (i = 0; i < SIGNALS; i++) {
		sigaction(numbers[i], NULL, &before[i]);
		if (before[i].sa_handler == SIG_IGN) continue;
		sigaddset(&both, numbers[i]);
	}
	pthread_sigmask(SIG_BLOCK, &both, &mask_before);
	for (i = 0; i < SIGNALS; i++) {
		if (before[i].sa_handler != SIG_IGN) sigaction(numbers[i], &mine, NULL);
	}
	armed = true;
	(void)L;
	return 0;
}

static int end(lua_State *L) {
	int i;
	if (!armed) return 0;
	for (i = 0; i < SIGNALS; i++) sigaction(numbers[i], &before[i], NULL);
	pthread_sigmask(SIG_SETMASK, &mask_before, NULL);
	armed = false;
	(void)L;
	return 0;
}

/* signals_wait(ms) -> "SIGTERM", or nil when the mailbox has something or the time is over. */
static int wait_here(lua_State *L) {
	int64_t ms = zbz_ms_arg(L, 1, "run", "timeout", 0);
	struct timespec ts = { (time_t)(ms / 1000), (long)(ms % 1000) * 1000000 };
	struct pollfd p = { -1, POLLIN, 0 };
	zbz_where at = zbz_at("run");
	zbz_err err;
	zbz_mailbox *mb = zbz_mail_box(zbz_bind_of(L), &err);
	if (mb != NULL) p.fd = zbz_mailbox_fd(mb, &err);
	if (p.fd < 0) return zbz_push_failure(L, &err, &at);
	if (caught == 0) (void)ppoll(&p, 1, &ts, armed ? &mask_before : NULL);
	if (caught != 0) {
		lua_pushstring(L, caught == SIGINT ? "SIGINT" : "SIGTERM");
		caught = 0;
	} else {
		lua_pushnil(L);
	}
	return 1;
}

static const luaL_Reg functions[] = {
	{ "signals_begin", begin }, { "signals_end", end }, { "signals_wait", wait_here }, { NULL, NULL }
};

void zbz_open_signals(lua_State *L) { zbz_functions(L, 1, functions); }
