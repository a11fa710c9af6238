/* The log of a Lua state: made with the first logger, gone with the last. */
#include "log.h"

static const char logger_mark = 0;

/* ---- the hub ---- */

static void hub_unref(zbz_log_hub *hub) {
	if (--hub->refs > 0) return;
	zbz_log_view_free(hub->view);
	zbz_log_free(hub->log);
	zbz_buf_clear(&hub->pack);
	zbz_free(hub);
}

static zbz_log_hub *hub_of(lua_State *L, zbz_bind *b) {
	zbz_log_hub *hub = b->log;
	if (hub != NULL) return hub;
	if (b->closing) luaL_error(L, "zbz: the Lua state is closing");
	hub = zbz_calloc(1, sizeof(*hub));
	if (hub == NULL) luaL_error(L, "zbz: log: out of memory");
	hub->refs = 1;
	hub->log = zbz_log_new(NULL);
	hub->view = hub->log != NULL ? zbz_log_view_new(hub->log) : NULL;
	if (hub->view == NULL) {
		zbz_log_free(hub->log);
		zbz_free(hub);
		luaL_error(L, "zbz: log: out of memory");
	}
	b->log = hub;
	return hub;
}

void zbz_log_close(zbz_bind *b) {
	zbz_log_hub *hub = b->log;
	b->log = NULL;
	if (hub != NULL) hub_unref(hub);
}

/* ---- loggers ---- */

static zbz_marked_shell *shell_at(lua_State *L, int idx) {
	zbz_marked_shell *shell;
	if (zbz_bind_of(L)->mt[ZBZ_BOX_LOGGER] == NULL) return NULL; /* what shells point to is gone */
	if (lua_type(L, idx) != LUA_TUSERDATA || lua_rawlen(L, idx) != sizeof(*shell)) return NULL;
	shell = lua_touserdata(L, idx);
	return shell->mark == &logger_mark && shell->box != NULL ? shell : NULL;
}

zbz_logger_box *zbz_logger_at(lua_State *L, int idx) {
	zbz_marked_shell *shell = shell_at(L, idx);
	zbz_logger_box *box = shell != NULL ? shell->box : NULL;
	return box != NULL && box->logger != NULL ? box : NULL;
}

static void logger_release(lua_State *L, void *self) {
	zbz_logger_box *box = self;
	zbz_logger *logger = box->logger;
	zbz_log_hub *hub = box->hub;
	(void)L;
	box->logger = NULL;
	if (logger == NULL) return;
	zbz_logger_free(logger);
	hub_unref(hub);
}

/* __gc of the metatables that the Lua part makes. */
static int logger_gc(lua_State *L) {
	zbz_marked_shell *shell = shell_at(L, 1);
	zbz_box *box = shell != NULL ? shell->box : NULL;
	if (box == NULL) return 0;
	shell->box = NULL;
	zbz_box_free(L, box);
	return 0;
}

static zbz_logger_box *push_logger(lua_State *L, zbz_log_hub *hub) {
	zbz_logger_box *box = zbz_box_new_marked(L, ZBZ_BOX_LOGGER, sizeof(*box), &logger_mark);
	box->hub = hub;
	return box;
}

/* Takes the logger over; the new one has the metatable and the habits of the one at idx. */
void zbz_logger_push_like(lua_State *L, int idx, zbz_logger *logger);
void zbz_logger_push_like(lua_State *L, int idx, zbz_logger *logger) {
	zbz_logger_box *like = zbz_logger_at(L, idx), *box = push_logger(L, like->hub);
	box->logger = logger;
	box->hub->refs++;
	box->caller = like->caller;
	box->traceback = like->traceback;
	lua_getmetatable(L, idx);
	lua_setmetatable(L, -2);
}

/* log_logger(name, metatable) */
static int log_logger(lua_State *L) {
	zbz_log_hub *hub = hub_of(L, zbz_bind_of(L));
	zbz_bytes name = zbz_string_arg(L, 1, "logger", "the name");
	zbz_logger_box *box;
	luaL_checktype(L, 2, LUA_TTABLE);
	box = push_logger(L, hub);
	box->logger = zbz_logger_new(hub->view, name);
	if (box->logger == NULL) return luaL_error(L, "zbz: logger: out of memory");
	hub->refs++;
	lua_pushvalue(L, lua_upvalueindex(1));
	lua_pushcclosure(L, logger_gc, 1);
	lua_setfield(L, 2, "__gc");
	lua_pushvalue(L, 2);
	lua_setmetatable(L, -2);
	return 1;
}

static zbz_logger_box *logger_arg(lua_State *L, const char *op) {
	zbz_logger_box *box = zbz_logger_at(L, 1);
	if (box == NULL) zbz_raise(L, "zbz: %s: a logger expected, got %s", op, luaL_typename(L, 1));
	return box;
}

/* log_mask(logger): bits of the levels that reach something, and the level. */
static int log_mask(lua_State *L) {
	zbz_logger_box *box = logger_arg(L, "log_mask");
	lua_pushinteger(L, (lua_Integer)zbz_logger_mask(box->logger, NULL));
	lua_pushstring(L, zbz_level_name(zbz_logger_level(box->logger)));
	return 2;
}

static int log_name(lua_State *L) {
	zbz_bytes name = zbz_logger_name(logger_arg(L, "log_name")->logger);
	lua_pushlstring(L, name.p, name.n);
	return 1;
}

/* log_habits(logger, caller, traceback level or 0) */
static int log_habits(lua_State *L) {
	zbz_logger_box *box = logger_arg(L, "log_habits");
	box->caller = lua_toboolean(L, 2) != 0;
	box->traceback = (int)luaL_checkinteger(L, 3);
	return 0;
}

static int log_settle(lua_State *L) {
	zbz_log_settle(L, zbz_bind_of(L), logger_arg(L, "log_settle"));
	return 0;
}

/* ---- the whole ---- */

static int log_configure(lua_State *L) {
	zbz_log_hub *hub = hub_of(L, zbz_bind_of(L));
	zbz_where at = zbz_at("configure");
	zbz_log_settings set;
	zbz_err err;
	luaL_checktype(L, 1, LUA_TTABLE);
	lua_settop(L, 1);
	zbz_log_settings_read(L, 1, &set);
	if (zbz_log_configure(hub->log, &set, &err) < 0) return zbz_push_failure(L, &err, &at);
	zbz_log_view_begin(hub->view);
	zbz_log_collect(hub->log);
	lua_pushboolean(L, 1);
	return 1;
}

/* log_calls{deliver=, process=, judge=, misuse=}; log_modes(own, processors, predicates) */
static int log_calls(lua_State *L) {
	static const char *const names[] = { NULL, "deliver", "process", "judge" };
	int i;
	luaL_checktype(L, 1, LUA_TTABLE);
	zbz_push_slot(L, ZBZ_SLOT_LOG_CALLS);
	for (i = ZBZ_LOG_DELIVER; i <= ZBZ_LOG_JUDGE; i++) {
		lua_getfield(L, 1, names[i]);
		lua_rawseti(L, -2, i);
	}
	lua_getfield(L, 1, "misuse");
	lua_setfield(L, -2, "misuse");
	return 0;
}

static int log_modes(lua_State *L) {
	zbz_log_hub *hub = hub_of(L, zbz_bind_of(L));
	hub->own = lua_toboolean(L, 1) != 0;
	hub->processors = lua_toboolean(L, 2) != 0;
	hub->judges = lua_toboolean(L, 3) != 0;
	return 0;
}

/* log_wraps{secret=metatable, ...}: tables {value} with one of these are values of that kind. */
static int log_wraps(lua_State *L) {
	static const char *const names[ZBZ_WRAPS] = { "secret", "pii", "time", "duration", "bytes" };
	zbz_log_hub *hub = hub_of(L, zbz_bind_of(L));
	int i;
	luaL_checktype(L, 1, LUA_TTABLE);
	for (i = 0; i < ZBZ_WRAPS; i++) {
		lua_getfield(L, 1, names[i]);
		hub->typed_mt[i] = lua_topointer(L, -1);
		lua_pop(L, 1);
	}
	zbz_push_slot(L, ZBZ_SLOT_LOG_CALLS); /* identities only hold while the tables live */
	lua_pushvalue(L, 1);
	lua_setfield(L, -2, "wraps");
	return 0;
}

static void set_count(lua_State *L, const char *name, uint64_t v) {
	zbz_push_int(L, v > INT64_MAX ? INT64_MAX : (int64_t)v);
	lua_setfield(L, -2, name);
}

static void push_stats(lua_State *L, const zbz_log_stats *st) {
	int i;
	lua_newtable(L);
	lua_newtable(L);
	for (i = ZBZ_LEVEL_TRACE; i < ZBZ_LEVEL_OFF; i++) set_count(L, zbz_level_name((zbz_level)i), st->records[i]);
	lua_setfield(L, -2, "records");
	set_count(L, "sampled", st->sampled);
	set_count(L, "limited", st->limited);
	set_count(L, "repeated", st->repeated);
	set_count(L, "lost", st->lost);
	set_count(L, "truncated", st->truncated);
	set_count(L, "nowhere", st->nowhere);
}

/* log_stats(): of this Lua state; log_totals(): of the whole program */
static int log_stats(lua_State *L) {
	zbz_log_hub *hub = hub_of(L, zbz_bind_of(L));
	zbz_log_stats st;
	zbz_log_stats_read(hub->log, &st);
	push_stats(L, &st);
	set_count(L, "failed_tostring", hub->failed);
	return 1;
}

static int log_totals(lua_State *L) {
	zbz_log_stats st;
	zbz_log_totals_read(&st);
	push_stats(L, &st);
	return 1;
}

/* log_level("warning") -> 4, "warn"; nil, err */
static int log_level(lua_State *L) {
	zbz_where at = zbz_at("level");
	zbz_level level;
	zbz_err err;
	if (zbz_level_parse(zbz_string_arg(L, 1, "level", "the level"), &level, &err) < 0)
		return zbz_push_failure(L, &err, &at);
	lua_pushinteger(L, (lua_Integer)level);
	lua_pushstring(L, zbz_level_name(level));
	return 2;
}

/* log_format("text") -> "console"; nil, err */
static int log_format(lua_State *L) {
	static const char *const names[ZBZ_FORMATS] = { "inherit", "json", "logfmt", "console", "colour" };
	zbz_where at = zbz_at("format");
	zbz_format format;
	zbz_err err;
	if (zbz_format_parse(zbz_string_arg(L, 1, "format", "the format"), &format, &err) < 0)
		return zbz_push_failure(L, &err, &at);
	lua_pushstring(L, names[format]);
	return 1;
}

static const luaL_Reg functions[] = {
	{ "log_logger", log_logger }, { "log_mask", log_mask },
	{ "log_name", log_name },     { "log_habits", log_habits },
	{ "log_settle", log_settle }, { "log_configure", log_configure },
	{ "log_calls", log_calls },   { "log_modes", log_modes },
	{ "log_wraps", log_wraps },   { "log_stats", log_stats },
	{ "log_totals", log_totals }, { "log_level", log_level },
	{ "log_format", log_format }, { NULL, NULL },
};

void zbz_open_log(lua_State *L) {
	int top = lua_gettop(L);
	zbz_class(L, ZBZ_BOX_LOGGER, "zbz.Logger", logger_release, NULL, NULL);
	zbz_functions(L, 1, functions);
	zbz_getenv(L, lua_upvalueindex(1));
	lua_createtable(L, ZBZ_LOG_NEAR, 0);
	lua_rawseti(L, -2, ZBZ_SLOT_LOG_KEYS);
	lua_createtable(L, 5, 4);
	lua_pushliteral(L, "__tostring");
	lua_rawseti(L, -2, ZBZ_LOG_TOSTRING);
	lua_rawseti(L, -2, ZBZ_SLOT_LOG_CALLS);
	lua_settop(L, top);
	zbz_open_log_output(L);
	zbz_open_log_write(L);
	zbz_open_log_event(L);
}
