/* What hosts for event loops need beside parked calls: the doorbell of the state's mailbox, and how much is under way. */
#include "args.h"
#include "base/fork.h"
#include "mail.h"

static int push_trouble(lua_State *L, const zbz_err *err, const char *op) {
	zbz_where at = zbz_at(op);
	return zbz_push_failure(L, err, &at);
}

static int bell_listen(lua_State *L) {
	char path[ZBZ_BELL_PATH];
	zbz_err err;
	zbz_mailbox *mb = zbz_mail_box(zbz_bind_of(L), &err);
	if (mb == NULL || zbz_mailbox_listen(mb, path, &err) < 0) return push_trouble(L, &err, "listen");
	lua_pushstring(L, path);
	return 1;
}

static int bell_accept(lua_State *L) {
	const char *path = luaL_checkstring(L, 1);
	zbz_err err;
	zbz_mailbox *mb = zbz_mail_box(zbz_bind_of(L), &err);
	if (mb == NULL || zbz_mailbox_accept(mb, path, &err) < 0) return push_trouble(L, &err, "accept");
	lua_pushboolean(L, 1);
	return 1;
}

static int kick(lua_State *L) {
	zbz_mailbox *mb = zbz_mail_peek(zbz_bind_of(L));
	if (mb != NULL) zbz_mailbox_kick(mb);
	return 0;
}

/* Calls under way, those done but not yet handed out, and whether messages may come. */
static int under_way(lua_State *L) {
	zbz_mailbox *mb = zbz_mail_peek(zbz_bind_of(L));
	zbz_mailbox_stats st;
	memset(&st, 0, sizeof(st));
	if (mb != NULL) zbz_mailbox_stats_read(mb, &st);
	zbz_push_int(L, (int64_t)(st.submitted - st.finished));
	zbz_push_int(L, (int64_t)st.waiting);
	lua_pushboolean(L, zbz_bind_of(L)->subscriptions != NULL || zbz_bind_of(L)->watches > 0);
	return 3;
}

/* Was the state made by the process that this one was forked from? */
static int inherited(lua_State *L) {
	lua_pushboolean(L, zbz_bind_of(L)->generation != zbz_fork_generation());
	return 1;
}

static int threads(lua_State *L) {
	int64_t n = zbz_int_arg(L, 1, "threads", "n");
	zbz_err err;
	if (zbz_engine_threads(n > 0 && n < 1000 ? (unsigned)n : 0, &err) < 0) {
		zbz_where at = zbz_at("threads");
		lua_pushnil(L);
		zbz_push_error(L, &err, &at);
		return 2;
	}
	lua_pushboolean(L, 1);
	return 1;
}

static const luaL_Reg functions[] = {
	{ "listen", bell_listen }, { "accept", bell_accept },  { "kick", kick }, { "under_way", under_way },
	{ "threads", threads },    { "inherited", inherited }, { NULL, NULL },
};

void zbz_open_bell(lua_State *L) { zbz_functions(L, 1, functions); }
