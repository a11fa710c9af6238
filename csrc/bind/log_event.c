/* Bound events: a message and names, prepared once; and shapes, the same without a message, for the doors of LuaJIT. */
#include "log.h"

/* ---- 1. The call ---- */

static void event_release(lua_State *L, void *self) {
	zbz_event_box *e = self;
	(void)L;
	e->to = NULL;
}

/* What the direct way cannot do: the values become a table, and go the other one. What is nil, or was not given, is null there as well. */
static int event_slowly(lua_State *L, zbz_event_box *e, zbz_logger_box *to) {
	int i, given = lua_gettop(L);
	luaL_checkstack(L, 8, "zbz");
	lua_pushlstring(L, e->msg.p, e->msg.n);
	lua_createtable(L, 0, e->n);
	for (i = 0; i < e->n; i++) {
		lua_pushlstring(L, e->names[i].name.p, e->names[i].name.n);
		if (i < given && !lua_isnil(L, i + 1))
			lua_pushvalue(L, i + 1);
		else
			lua_pushlightuserdata(L, NULL);
		lua_rawset(L, -3);
	}
	return zbz_log_record(L, zbz_bind_of(L), to, e->level, given + 1);
}

static int log_event(lua_State *L) {
	zbz_event_box *e = *(zbz_event_box **)lua_touserdata(L, lua_upvalueindex(2));
	zbz_logger_box *box;
	zbz_log_call c;
	unsigned turn;
	int i;
	if (e == NULL || zbz_bind_of(L)->mt[ZBZ_BOX_EVENT_LINE] == NULL || e->to == NULL) return 0;
	box = e->to->box;
	if (box == NULL || box->logger == NULL || !zbz_logger_wants(box->logger, e->level, &turn)) return 0;
	if (!zbz_logger_plain(box)) return event_slowly(L, e, box);
	zbz_event_turn(e, box->hub, turn);
	c.L = L;
	c.hub = box->hub;
	zbz_call_begin(&c, L, box->hub);
	if (lua_gettop(L) < e->n) lua_settop(L, e->n);
	for (i = 0; i < e->n; i++) {
		zbz_field *f = &c.fields[i];
		if (!zbz_log_value(&c, i + 1, f)) return event_slowly(L, e, box);
		f->key = e->names[i].key;
	}
	c.n = (size_t)e->n;
	zbz_log_finish(L, zbz_bind_of(L), box, e->level, e->msg, &c, true, NULL);
	return 0;
}

/* ---- 2. Making them ---- */

/* Pushes one with the names from `first` on; its own table keeps all arguments alive, but the number among them. */
static zbz_event_box *push_names(lua_State *L, int first, const char *op) {
	int top = lua_gettop(L), n = top - first + 1, i;
	zbz_event_box *e;
	if (n > ZBZ_LOG_FIELDS_MAX) zbz_raise(L, "zbz: %s: more than %d names", op, ZBZ_LOG_FIELDS_MAX);
	for (i = first; i <= top; i++) zbz_string_arg(L, i, op, "the name of a field");
	e = zbz_box_new(L, ZBZ_BOX_EVENT_LINE, sizeof(*e) + (size_t)n * sizeof(e->names[0]));
	lua_createtable(L, top, 0);
	for (i = 1; i <= top; i++) {
		lua_pushvalue(L, i);
		lua_rawseti(L, -2, i);
	}
	zbz_setenv(L, -2);
	e->n = n;
	for (i = 0; i < n; i++) e->names[i].name = zbz_string_at(L, first + i);
	return e;
}

/* log_event(logger, level, msg, name, ...): a function of the values, and what a door knows it by. */
static int make_event(lua_State *L) {
	zbz_event_box *e;
	if (zbz_logger_at(L, 1) == NULL) return luaL_error(L, "zbz: event: a logger expected");
	zbz_string_arg(L, 3, "event", "the message");
	e = push_names(L, 4, "event");
	e->level = (zbz_level)luaL_checkinteger(L, 2);
	e->msg = zbz_string_at(L, 3);
	e->to = lua_touserdata(L, 1);
	lua_pushvalue(L, lua_upvalueindex(1));
	lua_pushvalue(L, -2);
	lua_pushcclosure(L, log_event, 2);
	lua_insert(L, -2);
	return 2;
}

/* log_shape(name, ...): names for a door. */
static int make_shape(lua_State *L) {
	push_names(L, 1, "log");
	return 1;
}

static const luaL_Reg functions[] = { { "log_event", make_event }, { "log_shape", make_shape }, { NULL, NULL } };

void zbz_open_log_event(lua_State *L) {
	zbz_class(L, ZBZ_BOX_EVENT_LINE, "zbz.event", event_release, NULL, NULL);
	zbz_functions(L, 1, functions);
}
