/* From Lua values to fields. Between the first prepared name and the end of the call nothing of Lua's runs: it could configure the log anew. */
#include "log.h"

#include "number.h"

void zbz_call_settle(zbz_log_call *c) {
	size_t i;
	for (i = 0; c->moved != 0 && i < c->n; i++) {
		if ((c->moved >> i & 1) != 0) c->fields[i].v.s.p = c->hub->pack.p + (uintptr_t)c->fields[i].v.s.p;
	}
}

/* ---- names ---- */

void zbz_log_forget(zbz_log_hub *hub) { memset(hub->near, 0, sizeof(hub->near)); }

/* Strings may go and others come at their address: those remembered are kept alive. */
static const zbz_log_key *remember(lua_State *L, zbz_log_hub *hub, int idx, size_t at) {
	const zbz_log_key *key = zbz_log_key_of(hub->view, zbz_string_at(L, idx));
	zbz_push_slot(L, ZBZ_SLOT_LOG_KEYS);
	lua_pushvalue(L, idx);
	lua_rawseti(L, -2, (int)at + 1);
	lua_pop(L, 1);
	hub->near[at].string = lua_topointer(L, idx);
	hub->near[at].key = key;
	return key;
}

/* The prepared name for the string at idx; NULL when it is none. */
static inline const zbz_log_key *key_at(lua_State *L, zbz_log_hub *hub, int idx) {
	const void *string = lua_topointer(L, idx);
	uintptr_t address = (uintptr_t)string;
	size_t at = (address >> 4 ^ address >> 13) & (ZBZ_LOG_NEAR - 1);
	if (hub->near[at].string == string && string != NULL) return hub->near[at].key;
	return lua_type(L, idx) == LUA_TSTRING ? remember(L, hub, idx, at) : NULL;
}

/* ---- values ---- */

static void word(zbz_field *f, const char *text) {
	f->type = ZBZ_FIELD_TEXT;
	f->v.s = zbz_bstr(text);
}

static const void *metatable(lua_State *L, int idx) {
	const void *mt;
	if (!lua_getmetatable(L, idx)) return NULL;
	mt = lua_topointer(L, -1);
	lua_pop(L, 1);
	return mt;
}

static bool is_error(lua_State *L, const void *mt) {
	bool yes;
	zbz_push_slot(L, ZBZ_SLOT_ERROR_MT);
	yes = lua_topointer(L, -1) == mt;
	lua_pop(L, 1);
	return yes;
}

static int wrap_of(const zbz_log_hub *hub, const void *mt) {
	int i;
	for (i = 0; i < ZBZ_WRAPS; i++) {
		if (hub->typed_mt[i] == mt) return i;
	}
	return -1;
}

bool zbz_log_asks(lua_State *L, zbz_log_hub *hub, int idx) {
	int type = lua_type(L, idx);
	const void *mt;
	bool yes;
	if (type == ZBZ_TCDATA) return true;
	if (type != LUA_TTABLE && type != LUA_TUSERDATA) return false;
	mt = metatable(L, idx);
	if (mt == NULL || wrap_of(hub, mt) >= 0 || is_error(L, mt)) return false;
	lua_getmetatable(L, idx);
	zbz_push_slot(L, ZBZ_SLOT_LOG_CALLS);
	lua_rawgeti(L, -1, ZBZ_LOG_TOSTRING);
	lua_rawget(L, -3);
	yes = !lua_isnil(L, -1);
	lua_pop(L, 3);
	return yes;
}

void zbz_log_ask(lua_State *L, zbz_log_hub *hub, int idx) {
	lua_getglobal(L, "tostring");
	lua_pushvalue(L, idx);
	if (lua_pcall(L, 1, 1, 0) != 0 || lua_type(L, -1) != LUA_TSTRING) {
		hub->failed++;
		lua_pop(L, 1);
		lua_pushliteral(L, "(its __tostring failed)");
	}
	lua_replace(L, idx);
}

static void number(lua_State *L, int idx, zbz_field *f) {
	if (zbz_number_at(L, idx, &f->v.i, &f->v.d)) {
		f->type = ZBZ_FIELD_INT;
	} else {
		double d = (double)lua_tonumber(L, idx);
		f->type = ZBZ_FIELD_DOUBLE;
		f->v.d = d;
	}
}

static bool nanoseconds(lua_State *L, int idx, int64_t *out) {
	double d = (double)lua_tonumber(L, idx), ns = floor(d * 1e9 + 0.5);
	if (lua_type(L, idx) != LUA_TNUMBER || !(fabs(ns) < 9.2e18)) return false;
	*out = (int64_t)ns;
	return true;
}

/* {value, how}: a number of the Lua part's choice; without one the settings decide. */
static zbz_guard guard_of(lua_State *L, int idx, int wrap) {
	zbz_guard guard = wrap == ZBZ_WRAP_SECRET ? ZBZ_GUARD_SECRET : ZBZ_GUARD_PII;
	lua_rawgeti(L, idx, 2);
	if (!lua_isnil(L, -1)) {
		int how = (int)lua_tointeger(L, -1);
		guard = how > ZBZ_GUARD_MASK && how <= ZBZ_GUARD_ENCRYPT ? (zbz_guard)how : ZBZ_GUARD_MASK;
	}
	lua_pop(L, 1);
	return guard;
}

/* {value} with one of the log's own metatables. What the value says is read without its metamethods. */
static bool unwrap(zbz_log_call *c, int idx, int wrap, zbz_field *f) {
	lua_State *L = c->L;
	int at = lua_gettop(L) + 1;
	bool ok = true;
	lua_rawgeti(L, idx, 1);
	if (wrap == ZBZ_WRAP_TIME || wrap == ZBZ_WRAP_DURATION) {
		f->type = wrap == ZBZ_WRAP_TIME ? ZBZ_FIELD_TIME : ZBZ_FIELD_DURATION;
		if (!nanoseconds(L, at, &f->v.i)) ok = zbz_log_value(c, at, f);
	} else if (wrap == ZBZ_WRAP_BYTES && lua_type(L, at) == LUA_TSTRING) {
		f->type = ZBZ_FIELD_BYTES;
		f->v.s = zbz_string_at(L, at);
	} else if (metatable(L, at) == NULL || lua_type(L, at) == LUA_TSTRING) {
		ok = zbz_log_value(c, at, f);
	} else {
		word(f, "(object)");
	}
	if (wrap == ZBZ_WRAP_SECRET || wrap == ZBZ_WRAP_PII) f->guard = guard_of(L, idx, wrap);
	lua_settop(L, at - 1);
	return ok;
}

static bool nested(zbz_log_call *c, int idx, zbz_field *f, zbz_field_type type) {
	zbz_buf *pack = &c->hub->pack;
	size_t from = pack->n;
	zbz_log_pack(c->L, c->hub, idx, pack);
	f->type = type;
	f->v.s = zbz_b((const char *)(uintptr_t)from, pack->n - from);
	c->moved |= (uint64_t)1 << (f - c->fields);
	return true;
}

static bool table_value(zbz_log_call *c, int idx, zbz_field *f) {
	lua_State *L = c->L;
	const void *mt = metatable(L, idx);
	int wrap = mt != NULL ? wrap_of(c->hub, mt) : -1;
	if (wrap >= 0) return unwrap(c, idx, wrap, f);
	if (mt != NULL && is_error(L, mt)) return nested(c, idx, f, ZBZ_FIELD_ERROR);
	if (mt != NULL && zbz_log_asks(L, c->hub, idx)) return false;
	return nested(c, idx, f, ZBZ_FIELD_PACK);
}

bool zbz_log_value(zbz_log_call *c, int idx, zbz_field *f) {
	lua_State *L = c->L;
	f->guard = ZBZ_GUARD_NONE;
	switch (lua_type(L, idx)) {
	case LUA_TSTRING:
		f->type = ZBZ_FIELD_TEXT;
		f->v.s = zbz_string_at(L, idx);
		return true;
	case LUA_TNUMBER: number(L, idx, f); return true;
	case LUA_TBOOLEAN:
		f->type = ZBZ_FIELD_BOOL;
		f->v.b = lua_toboolean(L, idx) != 0;
		return true;
	case LUA_TNIL:
	case LUA_TNONE: f->type = ZBZ_FIELD_NULL; return true;
	case LUA_TLIGHTUSERDATA:
		if (lua_touserdata(L, idx) == NULL)
			f->type = ZBZ_FIELD_NULL;
		else
			word(f, "(light userdata)");
		return true;
	case LUA_TTABLE: return table_value(c, idx, f);
	case LUA_TFUNCTION: word(f, "(function)"); return true;
	case LUA_TTHREAD: word(f, "(coroutine)"); return true;
	case LUA_TUSERDATA:
		if (zbz_log_asks(L, c->hub, idx)) return false;
		word(f, "(userdata)");
		return true;
	default: return false;
	}
}

bool zbz_log_table(zbz_log_call *c, int idx) {
	lua_State *L = c->L;
	int key = lua_gettop(L) + 1;
	lua_pushnil(L);
	while (lua_next(L, idx)) {
		zbz_field *f = &c->fields[c->n];
		if (c->n >= ZBZ_LOG_FIELDS_MAX) {
			c->cut = true;
			lua_settop(L, key - 1);
			return true;
		}
		f->key = key_at(L, c->hub, key);
		if (f->key == NULL || !zbz_log_value(c, key + 1, f)) {
			lua_settop(L, key - 1);
			return false;
		}
		c->n++;
		lua_settop(L, key);
	}
	return true;
}
