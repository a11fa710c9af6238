#include "args.h"

#include <math.h>

#include "base/nearest.h"

int zbz_not_string(lua_State *L, int idx, const char *op, const char *what) {
	return zbz_raise(L, "zbz: %s: %s must be a string, got %s", op, what, luaL_typename(L, idx));
}

/* ---- numbers ---- */

bool zbz_int_at(lua_State *L, int idx, int64_t *v) {
	lua_Number n;
	if (lua_type(L, idx) != LUA_TNUMBER) return false;
#if ZBZ_EXACT_INTEGERS
	if (lua_isinteger(L, idx)) {
		*v = (int64_t)lua_tointeger(L, idx);
		return true;
	}
#endif
	n = lua_tonumber(L, idx);
	if (!(n >= -9007199254740992.0 && n <= 9007199254740992.0) || n != floor(n)) return false;
	*v = (int64_t)n;
	return true;
}

int64_t zbz_int_arg(lua_State *L, int idx, const char *op, const char *name) {
	int64_t v = 0;
	if (!zbz_int_at(L, idx, &v)) {
		const char *got = lua_type(L, idx) == LUA_TNUMBER ? "another number" : luaL_typename(L, idx);
		zbz_raise(L, "zbz: %s: %s must be a whole number, got %s", op, name, got);
	}
	return v;
}

int64_t zbz_ms_arg(lua_State *L, int idx, const char *op, const char *name, int64_t dflt) {
	return lua_isnoneornil(L, idx) ? dflt : zbz_int_arg(L, idx, op, name);
}

void zbz_push_int(lua_State *L, int64_t v) {
#if ZBZ_EXACT_INTEGERS
	lua_pushinteger(L, (lua_Integer)v);
#else
	lua_pushnumber(L, (lua_Number)v);
#endif
}

void zbz_push_seconds(lua_State *L, int64_t ms) { lua_pushnumber(L, (lua_Number)ms / 1000.0); }

/* ---- durations ---- */

static zbz_status duration_number(double seconds, int64_t *ms, zbz_err *err) {
	double whole;
	if (seconds != seconds) return zbz_fail(err, ZBZ_E_CONFIG, "expects a duration, got NaN");
	if (seconds < 0) return zbz_fail(err, ZBZ_E_CONFIG, "expects a duration, got the negative number %.14g", seconds);
	if (isinf(seconds)) {
		*ms = ZBZ_NO_EXPIRY;
		return ZBZ_OK;
	}
	if (seconds > 9.0e15) return zbz_fail(err, ZBZ_E_CONFIG, "%.14g seconds are too many", seconds);
	/* 0.3 * 1000 is a little below 300 and 0.57 * 1000 a little above 570: rounded, unless it is a true fraction. */
	seconds *= 1000.0;
	whole = floor(seconds + 0.5);
	*ms = (int64_t)(fabs(seconds - whole) < 1e-6 ? whole : ceil(seconds));
	if (*ms == 0 && seconds > 0) *ms = 1;
	return ZBZ_OK;
}

zbz_status zbz_duration_at(lua_State *L, int idx, int64_t *ms, zbz_err *err) {
	switch (lua_type(L, idx)) {
	case LUA_TNUMBER: return duration_number((double)lua_tonumber(L, idx), ms, err);
	case LUA_TSTRING: return zbz_parse_duration(zbz_string_at(L, idx), ms, err);
	default: return zbz_fail(err, ZBZ_E_CONFIG, "expects seconds or text like \"30m\", got %s", luaL_typename(L, idx));
	}
}

int64_t zbz_duration_arg(lua_State *L, int idx, const char *op, const char *name) {
	zbz_err err;
	int64_t ms = 0;
	if (zbz_duration_at(L, idx, &ms, &err) != ZBZ_OK) zbz_raise(L, "zbz: %s: %s: %s", op, name, err.text);
	return ms;
}

/* ---- options ---- */

static int unknown_option(lua_State *L, const char *op, const zbz_arg *args, const char *name) {
	const char *nearest = NULL;
	size_t best = strlen(name) / 2 + 1, i;
	luaL_Buffer known;
	luaL_buffinit(L, &known);
	for (i = 0; args[i].name != NULL; i++) {
		size_t d = zbz_edit_distance(name, args[i].name);
		if (d < best) {
			best = d;
			nearest = args[i].name;
		}
		if (i > 0) luaL_addstring(&known, ", ");
		luaL_addstring(&known, args[i].name);
	}
	luaL_pushresult(&known);
	if (nearest == NULL) return zbz_raise(L, "zbz: %s: unknown option '%s'; known: %s", op, name, lua_tostring(L, -1));
	return zbz_raise(L, "zbz: %s: unknown option '%s', did you mean '%s'? known: %s", op, name, nearest,
	                 lua_tostring(L, -1));
}

static int wrong(lua_State *L, const char *op, const char *name, const char *expected, int idx) {
	return zbz_raise(L, "zbz: %s: %s must be %s, got %s", op, name, expected, luaL_typename(L, idx));
}

static void read_version(lua_State *L, int idx, const char *op, const char *name, zbz_version *v) {
	zbz_bytes token = zbz_string_arg(L, idx, op, name);
	if (token.n == 0 || token.n > sizeof(v->b)) {
		zbz_raise(L, "zbz: %s: %s must be a version from get_with, got a string of %d bytes", op, name, (int)token.n);
	}
	v->n = (uint8_t)token.n;
	memcpy(v->b, token.p, token.n);
}

static zbz_only read_only(lua_State *L, int idx, const char *op, const char *name) {
	zbz_bytes text = zbz_string_arg(L, idx, op, name);
	if (zbz_bytes_eq(text, zbz_bstr("absent"))) return ZBZ_ONLY_ABSENT;
	if (!zbz_bytes_eq(text, zbz_bstr("present"))) {
		zbz_raise(L, "zbz: %s: %s must be \"absent\" or \"present\", got \"%s\"", op, name, text.p);
	}
	return ZBZ_ONLY_PRESENT;
}

/* The value stands at idx. */
static void read_one(lua_State *L, int idx, const char *op, const zbz_arg *arg, void *field) {
	switch (arg->type) {
	case ZBZ_ARG_DURATION: *(int64_t *)field = zbz_duration_arg(L, idx, op, arg->name); break;
	case ZBZ_ARG_MS:
	case ZBZ_ARG_INT: *(int64_t *)field = zbz_int_arg(L, idx, op, arg->name); break;
	case ZBZ_ARG_BOOL:
		if (!lua_isboolean(L, idx)) wrong(L, op, arg->name, "true or false", idx);
		*(bool *)field = lua_toboolean(L, idx) != 0;
		break;
	case ZBZ_ARG_TEXT: *(zbz_bytes *)field = zbz_string_arg(L, idx, op, arg->name); break;
	case ZBZ_ARG_ONLY: *(zbz_only *)field = read_only(L, idx, op, arg->name); break;
	case ZBZ_ARG_VERSION: read_version(L, idx, op, arg->name, (zbz_version *)field); break;
	case ZBZ_ARG_ANY: break;
	}
}

void zbz_args_read(lua_State *L, int idx, const char *op, const zbz_arg *args, void *out) {
	const zbz_arg *arg;
	if (lua_isnoneornil(L, idx)) return;
	if (!lua_istable(L, idx)) wrong(L, op, "options", "a table", idx);
	luaL_checkstack(L, 8, "zbz");
	lua_pushnil(L);
	while (lua_next(L, idx)) {
		int value = lua_gettop(L);
		const char *name;
		if (lua_type(L, value - 1) != LUA_TSTRING) {
			zbz_raise(L, "zbz: %s: option names are strings, got %s", op, luaL_typename(L, value - 1));
		}
		name = lua_tostring(L, value - 1);
		for (arg = args; arg->name != NULL && strcmp(arg->name, name) != 0; arg++) {}
		if (arg->name == NULL) unknown_option(L, op, args, name);
		read_one(L, value, op, arg, (char *)out + arg->offset);
		lua_settop(L, value - 1);
	}
}

#define FIELD(f) offsetof(zbz_options_in, f)
const zbz_arg zbz_args_set[] = {
	{ "ttl", ZBZ_ARG_DURATION, FIELD(ttl) },
	{ "only", ZBZ_ARG_ONLY, FIELD(only) },
	{ "if_version", ZBZ_ARG_VERSION, FIELD(version) },
	{ "deadline", ZBZ_ARG_DURATION, FIELD(deadline) },
	{ NULL, ZBZ_ARG_ANY, 0 },
};
const zbz_arg zbz_args_ttl[] = {
	{ "ttl", ZBZ_ARG_DURATION, FIELD(ttl) },
	{ "deadline", ZBZ_ARG_DURATION, FIELD(deadline) },
	{ NULL, ZBZ_ARG_ANY, 0 },
};
const zbz_arg zbz_args_item[] = {
	{ "ttl", ZBZ_ARG_DURATION, FIELD(ttl) },
	{ NULL, ZBZ_ARG_ANY, 0 },
};
const zbz_arg zbz_args_incr[] = {
	{ "initial", ZBZ_ARG_INT, FIELD(initial) },
	{ "ttl", ZBZ_ARG_DURATION, FIELD(ttl) },
	{ "deadline", ZBZ_ARG_DURATION, FIELD(deadline) },
	{ NULL, ZBZ_ARG_ANY, 0 },
};

int64_t zbz_deadline_read(lua_State *L, int idx, const char *op) {
	zbz_options_in o;
	o.deadline = -1;
	zbz_args_read(L, idx, op, zbz_args_ttl + 1, &o);
	return o.deadline;
}

void zbz_write_arg(lua_State *L, int idx, const char *op, const zbz_arg *args, zbz_options_in *o) {
	memset(o, 0, sizeof(*o));
	o->ttl = o->deadline = -1;
	switch (lua_type(L, idx)) {
	case LUA_TNONE:
	case LUA_TNIL: return;
	case LUA_TNUMBER:
	case LUA_TSTRING: o->ttl = zbz_duration_arg(L, idx, op, "ttl"); return;
	default: zbz_args_read(L, idx, op, args, o);
	}
	if (o->version.n > 0) {
		if (o->only != ZBZ_ALWAYS) zbz_raise(L, "zbz: %s: only and if_version exclude each other", op);
		o->only = ZBZ_ONLY_VERSION;
	}
	if (args == zbz_args_incr) {
		lua_pushliteral(L, "initial");
		lua_rawget(L, idx);
		o->has_initial = !lua_isnil(L, -1);
		lua_pop(L, 1);
	}
}
