/* Envelopes, for providers written in Lua. */
#include "args.h"

static const zbz_arg seal_args[] = {
	{ "expire_at", ZBZ_ARG_MS, offsetof(zbz_seal, expire_at) },
	{ "stored_at", ZBZ_ARG_MS, offsetof(zbz_seal, stored_at) },
	{ "negative", ZBZ_ARG_BOOL, offsetof(zbz_seal, negative) },
	{ "stale", ZBZ_ARG_BOOL, offsetof(zbz_seal, stale) },
	{ "lease", ZBZ_ARG_BOOL, offsetof(zbz_seal, lease) },
	{ NULL, ZBZ_ARG_ANY, 0 },
};

static int envelope_seal(lua_State *L) {
	zbz_bind *b = zbz_bind_of(L);
	zbz_bytes value = zbz_string_arg(L, 2, "envelope_seal", "the bytes");
	zbz_where at = zbz_at("envelope_seal");
	zbz_buf *buf;
	zbz_seal seal;
	zbz_err err;
	zbz_status s;
	memset(&seal, 0, sizeof(seal));
	zbz_args_read(L, 1, "envelope_seal", seal_args, &seal);
	buf = zbz_scratch_take(L, b);
	s = zbz_envelope_seal(&seal, value, buf, &err);
	if (s == ZBZ_OK) lua_pushlstring(L, buf->p, buf->n);
	zbz_scratch_give(b, buf);
	return s == ZBZ_OK ? 1 : zbz_push_failure(L, &err, &at);
}

static void set_flag(lua_State *L, const char *name, bool v) {
	lua_pushboolean(L, v);
	lua_setfield(L, -2, name);
}

static int envelope_open(lua_State *L) {
	zbz_bytes stored = zbz_string_arg(L, 1, "envelope_open", "the bytes"), value = { NULL, 0 };
	int64_t now = zbz_int_arg(L, 2, "envelope_open", "now_ms");
	zbz_where at = zbz_at("envelope_open");
	zbz_entry e;
	zbz_err err;
	memset(&e, 0, sizeof(e));
	if (zbz_envelope_open(stored, now, &value, &e, &err) < 0) return zbz_push_failure(L, &err, &at);
	lua_pushlstring(L, value.p, value.n);
	lua_createtable(L, 0, 6);
	set_flag(L, "sealed", e.sealed);
	set_flag(L, "negative", e.negative);
	set_flag(L, "stale", e.stale);
	set_flag(L, "lease", e.lease);
	if (e.expire_at >= 0) {
		zbz_push_int(L, e.expire_at);
		lua_setfield(L, -2, "expire_at");
	}
	if (e.stored_at > 0) {
		zbz_push_int(L, e.stored_at);
		lua_setfield(L, -2, "stored_at");
	}
	return 2;
}

static int envelope_is(lua_State *L) {
	lua_pushboolean(L, zbz_envelope_is(zbz_string_arg(L, 1, "envelope_is", "the bytes")));
	return 1;
}

static const luaL_Reg functions[] = {
	{ "envelope_seal", envelope_seal },
	{ "envelope_open", envelope_open },
	{ "envelope_is", envelope_is },
	{ NULL, NULL },
};

void zbz_open_envelope(lua_State *L) { zbz_functions(L, 1, functions); }
