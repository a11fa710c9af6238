/* The codecs by themselves. */
#include "table.h"

static int encode(lua_State *L, zbz_codec codec, const char *op) {
	zbz_bind *b = zbz_bind_of(L);
	zbz_where at = zbz_at(op);
	zbz_buf *buf;
	zbz_err err;
	zbz_status s;
	zbz_value_check(L, b, 1, op);
	lua_settop(L, 1);
	buf = zbz_scratch_take(L, b);
	s = zbz_value_read(L, codec, 1, buf, &err);
	if (s == ZBZ_OK) lua_pushlstring(L, buf->p, buf->n);
	zbz_scratch_give(b, buf);
	return s == ZBZ_OK ? 1 : zbz_push_failure(L, &err, &at);
}

static int decode(lua_State *L, zbz_codec codec, const char *op) {
	zbz_where at = zbz_at(op);
	zbz_bytes in = zbz_string_arg(L, 1, op, "the input");
	zbz_err err;
	if (zbz_codec_decode(L, codec, in, &err) == ZBZ_OK) return 1;
	return zbz_push_failure(L, &err, &at);
}

static int json_encode(lua_State *L) { return encode(L, ZBZ_CODEC_JSON, "json_encode"); }
static int json_decode(lua_State *L) { return decode(L, ZBZ_CODEC_JSON, "json_decode"); }
static int msgpack_encode(lua_State *L) { return encode(L, ZBZ_CODEC_MSGPACK, "msgpack_encode"); }
static int msgpack_decode(lua_State *L) { return decode(L, ZBZ_CODEC_MSGPACK, "msgpack_decode"); }
static int auto_encode(lua_State *L) { return encode(L, ZBZ_CODEC_AUTO, "auto_encode"); }
static int auto_decode(lua_State *L) { return decode(L, ZBZ_CODEC_AUTO, "auto_decode"); }

static int array(lua_State *L) {
	if (!lua_istable(L, 1)) return luaL_error(L, "zbz: array: a table expected, got %s", luaL_typename(L, 1));
	lua_settop(L, 1);
	zbz_codec_push_array_mt(L);
	lua_setmetatable(L, 1);
	return 1;
}

static const luaL_Reg functions[] = {
	{ "json_encode", json_encode },
	{ "json_decode", json_decode },
	{ "msgpack_encode", msgpack_encode },
	{ "msgpack_decode", msgpack_decode },
	{ "auto_encode", auto_encode },
	{ "auto_decode", auto_decode },
	{ "array", array },
	{ NULL, NULL },
};

void zbz_open_codecs(lua_State *L) {
	zbz_functions(L, 1, functions);
	zbz_codec_push_null(L);
	lua_setfield(L, 1, "null");
	zbz_codec_push_array_mt(L);
	lua_setfield(L, 1, "array_mt");
}
