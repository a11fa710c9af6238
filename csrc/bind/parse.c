/* Durations, sizes, globs, addresses, clocks. */
#include <math.h>

#include "args.h"

typedef struct uri_box {
	zbz_box head;
	zbz_uri uri;
} uri_box;

/* nil and a text. */
static int push_complaint(lua_State *L, const zbz_err *err) {
	lua_pushnil(L);
	lua_pushstring(L, err->text);
	return 2;
}

static int duration(lua_State *L) {
	int64_t ms;
	zbz_err err;
	luaL_checkany(L, 1);
	if (zbz_duration_at(L, 1, &ms, &err) != ZBZ_OK) return push_complaint(L, &err);
	zbz_push_int(L, ms);
	return 1;
}

static zbz_status size_at(lua_State *L, int64_t *bytes, zbz_err *err) {
	int type = lua_type(L, 1);
	if (type == LUA_TSTRING) return zbz_parse_size(zbz_string_at(L, 1), bytes, err);
	if (type != LUA_TNUMBER)
		return zbz_fail(err, ZBZ_E_CONFIG, "expects bytes or text like \"50MB\", got %s", luaL_typename(L, 1));
	if (!zbz_int_at(L, 1, bytes)) return zbz_fail(err, ZBZ_E_CONFIG, "expects a whole number of bytes");
	if (*bytes < 0)
		return zbz_fail(err, ZBZ_E_CONFIG, "expects a size, got the negative number %lld", (long long)*bytes);
	return ZBZ_OK;
}

static int size(lua_State *L) {
	int64_t bytes = 0;
	zbz_err err;
	luaL_checkany(L, 1);
	if (size_at(L, &bytes, &err) != ZBZ_OK) return push_complaint(L, &err);
	zbz_push_int(L, bytes);
	return 1;
}

static int glob(lua_State *L) {
	zbz_bytes pattern = zbz_string_arg(L, 1, "glob", "the pattern");
	lua_pushboolean(L, zbz_glob_match(pattern, zbz_string_arg(L, 2, "glob", "the text")));
	return 1;
}

/* ---- addresses ---- */

static void uri_release(lua_State *L, void *self) {
	uri_box *box = self;
	zbz_uri_clear(&box->uri);
	memset(&box->uri, 0, sizeof(box->uri));
}

static void set_part(lua_State *L, const char *field, const char *text) {
	if (text == NULL) return;
	lua_pushstring(L, text);
	lua_setfield(L, -2, field);
}

static void push_uri(lua_State *L, const zbz_uri *u) {
	size_t i;
	lua_createtable(L, 0, 7);
	set_part(L, "scheme", u->scheme);
	set_part(L, "user", u->user);
	set_part(L, "password", u->password);
	set_part(L, "host", u->host);
	set_part(L, "path", u->path);
	if (u->port != 0) {
		lua_pushinteger(L, u->port);
		lua_setfield(L, -2, "port");
	}
	lua_newtable(L);
	for (i = 0; i + 1 < u->query.n; i += 2) set_part(L, u->query.items[i], u->query.items[i + 1]);
	lua_setfield(L, -2, "query");
}

static int uri(lua_State *L) {
	zbz_bytes text = zbz_string_arg(L, 1, "uri", "the address");
	zbz_where at = zbz_at("uri");
	uri_box *box;
	zbz_err err;
	lua_settop(L, 1);
	box = zbz_box_new(L, ZBZ_BOX_URI, sizeof(*box));
	if (zbz_uri_parse(text, &box->uri, &err) < 0) {
		memset(&box->uri, 0, sizeof(box->uri));
		return zbz_push_failure(L, &err, &at);
	}
	push_uri(L, &box->uri);
	uri_release(L, box);
	return 1;
}

/* ---- clocks ---- */

static int wall(lua_State *L) {
	zbz_push_int(L, zbz_wall(zbz_clock_system()));
	return 1;
}

static int mono(lua_State *L) {
	zbz_push_int(L, zbz_mono(zbz_clock_system()));
	return 1;
}

static void clock_release(lua_State *L, void *self) {
	zbz_clock_box *box = self;
	zbz_keep *keep = box->keep;
	box->keep = NULL;
	box->clock = NULL;
	zbz_keep_unref(keep);
}

static int fake_clock(lua_State *L) {
	int64_t start = zbz_int_arg(L, 1, "fake_clock", "wall_ms");
	zbz_clock_box *box = zbz_box_new(L, ZBZ_BOX_CLOCK, sizeof(*box));
	zbz_where at = zbz_at("fake_clock");
	zbz_err err;
	zbz_clock *clock = zbz_clock_fake_new(start);
	if (clock != NULL) box->keep = zbz_keep_new(clock);
	if (box->keep == NULL) {
		zbz_clock_fake_free(clock);
		zbz_fail_nomem(&err);
		return zbz_push_failure(L, &err, &at);
	}
	box->clock = clock;
	return 1;
}

static zbz_clock *clock_self(lua_State *L, const char *op) {
	zbz_clock_box *box = zbz_box_check(L, zbz_bind_of(L), 1, ZBZ_BOX_CLOCK, op);
	if (box->clock == NULL) luaL_error(L, "zbz: %s: the clock is closed", op);
	return box->clock;
}

static int clock_advance(lua_State *L) {
	zbz_clock *clock = clock_self(L, "advance");
	int64_t ms = zbz_int_arg(L, 2, "advance", "ms");
	if (ms < 0) return luaL_error(L, "zbz: advance: a clock does not go back");
	zbz_clock_fake_advance(clock, ms);
	return 0;
}

static int clock_wall(lua_State *L) {
	zbz_push_int(L, zbz_wall(clock_self(L, "wall")));
	return 1;
}

static int clock_mono(lua_State *L) {
	zbz_push_int(L, zbz_mono(clock_self(L, "mono")));
	return 1;
}

static const luaL_Reg clock_methods[] = {
	{ "advance", clock_advance }, { "wall", clock_wall }, { "mono", clock_mono }, { NULL, NULL }
};
static const luaL_Reg functions[] = {
	{ "duration", duration },
	{ "size", size },
	{ "glob", glob },
	{ "uri", uri },
	{ "wall", wall },
	{ "mono", mono },
	{ "fake_clock", fake_clock },
	{ NULL, NULL },
};

void zbz_open_parse(lua_State *L) {
	zbz_class(L, ZBZ_BOX_URI, "zbz.uri", uri_release, NULL, NULL);
	zbz_class(L, ZBZ_BOX_CLOCK, "zbz.Clock", clock_release, NULL, clock_methods);
	zbz_functions(L, 1, functions);
}
