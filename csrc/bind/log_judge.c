/* Predicates that are Lua functions: asked before a record is gathered, and the answers go along with it. */
#include "codec.h"
#include "log.h"

static void push_field(lua_State *L, const zbz_field *f) {
	zbz_err err;
	if (f->guard != ZBZ_GUARD_NONE) {
		lua_pushliteral(L, "***");
		return;
	}
	switch (f->type) {
	case ZBZ_FIELD_BOOL: lua_pushboolean(L, f->v.b); break;
	case ZBZ_FIELD_INT: zbz_push_int(L, f->v.i); break;
	case ZBZ_FIELD_UINT: lua_pushnumber(L, (lua_Number)f->v.u); break;
	case ZBZ_FIELD_DOUBLE: lua_pushnumber(L, (lua_Number)f->v.d); break;
	case ZBZ_FIELD_TEXT:
	case ZBZ_FIELD_BYTES: lua_pushlstring(L, f->v.s.p, f->v.s.n); break;
	case ZBZ_FIELD_TIME:
	case ZBZ_FIELD_DURATION: lua_pushnumber(L, (lua_Number)f->v.i / 1e9); break;
	case ZBZ_FIELD_PACK:
	case ZBZ_FIELD_ERROR:
		if (zbz_codec_decode(L, ZBZ_CODEC_MSGPACK, f->v.s, &err) != ZBZ_OK) lua_pushliteral(L, "(table)");
		break;
	default: zbz_codec_push_null(L); break;
	}
}

/* What with{} has given, or nil. */
static void push_bound(lua_State *L, zbz_logger *l) {
	zbz_bytes name;
	const zbz_field *f;
	size_t i;
	if (zbz_logger_bound(l, 0, &name) == NULL) {
		lua_pushnil(L);
		return;
	}
	lua_newtable(L);
	for (i = 0; (f = zbz_logger_bound(l, i, &name)) != NULL; i++) {
		lua_pushlstring(L, name.p, name.n);
		push_field(L, f);
		lua_rawset(L, -3);
	}
}

/* The function of the Lua part never raises but when memory is out: then every predicate holds. */
uint64_t zbz_log_judge(lua_State *L, zbz_logger_box *box, zbz_level level, int fields) {
	zbz_log_hub *hub = box->hub;
	uint64_t asked = zbz_logger_asks(box->logger, level), answers = asked;
	zbz_bytes name = zbz_logger_name(box->logger);
	int top = lua_gettop(L);
	if (asked == 0 || hub->judging || !lua_checkstack(L, 12)) return asked;
	hub->judging = true; /* records that a predicate makes are not judged: that would have no end */
	zbz_push_slot(L, ZBZ_SLOT_LOG_CALLS);
	lua_rawgeti(L, -1, ZBZ_LOG_JUDGE);
	lua_pushnumber(L, (lua_Number)asked);
	lua_pushvalue(L, fields);
	push_bound(L, box->logger);
	lua_pushstring(L, zbz_level_name(level));
	lua_pushlstring(L, name.p, name.n);
	if (lua_pcall(L, 5, 1, 0) == 0) answers = (uint64_t)lua_tonumber(L, -1);
	hub->judging = false;
	lua_settop(L, top);
	return answers;
}
