/* MessagePack, as a value, inside auto, and as replies of a command one after another. */
#include "fuzz_lua.h"

static void push_error(lua_State *L, zbz_bytes text) { lua_pushlstring(L, text.p, text.n); }

static void replies(zbz_bytes in) {
	lua_State *L = fuzz_state();
	zbz_err err;
	while (in.n > 0) {
		zbz_bytes before = in;
		zbz_status s = zbz_codec_decode_reply(L, &in, push_error, &err);
		HOLDS(lua_gettop(L) == (s == ZBZ_OK));
		HOLDS(s == ZBZ_OK ? in.n < before.n && in.p + in.n == before.p + before.n
		                  : in.p == before.p && in.n == before.n);
		lua_settop(L, 0);
		if (s != ZBZ_OK) break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	fuzz_codec(ZBZ_CODEC_MSGPACK, zbz_b(data, size));
	fuzz_codec(ZBZ_CODEC_AUTO, zbz_b(data, size));
	replies(zbz_b(data, size));
	return 0;
}
