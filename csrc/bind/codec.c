/* The codecs by name, and the ones that need no parser: bytes, string, auto. */
#include "codec_internal.h"

static const char *const names[] = { "bytes", "string", "json", "msgpack", "auto" };
#define NAMES (sizeof names / sizeof names[0])

const char *zbz_codec_name(zbz_codec codec) { return (size_t)codec < NAMES ? names[codec] : "?"; }

bool zbz_codec_find(zbz_bytes name, zbz_codec *out) {
	size_t i;
	for (i = 0; i < NAMES; i++) {
		if (!zbz_bytes_eq(name, zbz_bstr(names[i]))) continue;
		*out = (zbz_codec)i;
		return true;
	}
	return false;
}

/* ---- array_mt ---------------------------------------------------------------------------------------------------- */

static char array_mt_key; /* its address is the key in the registry */

void zbz_codec_push_array_mt(lua_State *L) {
	lua_pushlightuserdata(L, &array_mt_key);
	lua_rawget(L, LUA_REGISTRYINDEX);
}

void zbz_codec_setup(lua_State *L) {
	zbz_codec_push_array_mt(L);
	if (lua_isnil(L, -1)) {
		lua_pushlightuserdata(L, &array_mt_key);
		lua_newtable(L);
		lua_rawset(L, LUA_REGISTRYINDEX);
	}
	lua_pop(L, 1);
}

const void *zbz_codec_array_mt(lua_State *L) {
	const void *mt;
	zbz_codec_push_array_mt(L);
	mt = lua_topointer(L, -1);
	lua_pop(L, 1);
	return mt;
}

void zbz_codec_push_empty_array(lua_State *L) {
	lua_createtable(L, 0, 0);
	zbz_codec_push_array_mt(L);
	lua_setmetatable(L, -2);
}

/* ---- bytes, string, auto ----------------------------------------------------------------------------------------- */

#define AUTO_TAG ((char)0xC1)

/* -?[1-9][0-9]* or 0 */
static bool is_canonical(const char *s, size_t n) {
	size_t i = n > 0 && s[0] == '-';
	if (i == n) return false;
	if (s[i] == '0') return n == 1;
	for (; i < n; i++) {
		if (s[i] < '0' || s[i] > '9') return false;
	}
	return true;
}

static bool append(zbz_encoder *e, const char *s, size_t n) {
	char *p;
	if (n == 0) return true;
	p = zbz_encode_room(e, n);
	if (p == NULL) return false;
	memcpy(p, s, n);
	e->out->n += n;
	return true;
}

static bool string_value(zbz_encoder *e, int idx, bool utf8) {
	size_t n;
	const char *s;
	if (lua_type(e->L, idx) != LUA_TSTRING) return zbz_encode_refuse_type(e, idx);
	s = lua_tolstring(e->L, idx, &n);
	if (utf8 && zbz_utf8_span(s, n) != n) return zbz_encode_refuse(e, "a string that is not valid UTF-8 (use bytes)");
	return append(e, s, n);
}

static bool auto_value(zbz_encoder *e, int idx) {
	static const char tagged_string[] = { AUTO_TAG, 's' }, tagged_msgpack[] = { AUTO_TAG, 'm' };
	char digits[ZBZ_NUMBER_TEXT];
	int64_t i;
	double d;
	size_t n;
	const char *s;
	switch (lua_type(e->L, idx)) {
	case LUA_TSTRING:
		s = lua_tolstring(e->L, idx, &n);
		if (((n > 0 && s[0] == AUTO_TAG) || is_canonical(s, n)) && !append(e, tagged_string, 2)) return false;
		return append(e, s, n);
	case LUA_TNUMBER:
		if (zbz_number_at(e->L, idx, &i, &d)) return append(e, digits, zbz_int_write(digits, i));
		/* fall through */
	default: return append(e, tagged_msgpack, 2) && zbz_msgpack_value(e, idx);
	}
}

static zbz_status decode_digits(lua_State *L, zbz_bytes in, zbz_err *err) {
	zbz_number number;
	const char *p = in.p;
	size_t n = in.n - (in.p[0] == '-');
	if (n > 19 || zbz_number_read(&p, in.p + in.n, &number) != NULL || !number.is_int) {
		lua_pushlstring(L, in.p, in.n);
		return ZBZ_OK;
	}
	if (zbz_push_int(L, number.i)) return ZBZ_OK;
	return zbz_fail(err, ZBZ_E_DECODE, "auto: %s at byte 1", ZBZ_UNFIT_INTEGER);
}

static zbz_status auto_decode(lua_State *L, zbz_bytes in, zbz_err *err) {
	if (in.n == 0 || in.p[0] != AUTO_TAG) {
		if (is_canonical(in.p, in.n)) return decode_digits(L, in, err);
		lua_pushlstring(L, in.p, in.n);
		return ZBZ_OK;
	}
	if (in.n >= 2 && in.p[1] == 's') {
		lua_pushlstring(L, in.p + 2, in.n - 2);
		return ZBZ_OK;
	}
	if (in.n >= 2 && in.p[1] == 'm') return zbz_msgpack_decode(L, zbz_b(in.p + 2, in.n - 2), NULL, 2, NULL, err);
	return zbz_fail(err, ZBZ_E_DECODE, "auto: an unknown tag at byte 2");
}

/* ---- the doors --------------------------------------------------------------------------------------------------- */

static bool encode_value(zbz_encoder *e, zbz_codec codec, int idx) {
	switch (codec) {
	case ZBZ_CODEC_BYTES: return string_value(e, idx, false);
	case ZBZ_CODEC_STRING: return string_value(e, idx, true);
	case ZBZ_CODEC_JSON: return zbz_json_value(e, idx);
	case ZBZ_CODEC_MSGPACK: return zbz_msgpack_value(e, idx);
	default: return auto_value(e, idx);
	}
}

/* One line and the path, out of what the encoder gathered on its way up. */
static zbz_status tell(zbz_encoder *e, zbz_codec codec) {
	const char *path = e->path;
	size_t n = e->path_n;
	if (e->what == NULL || e->err == NULL) return e->status; /* the buffer has told already */
	if (e->path_cut) memcpy(e->path + n - 3, "...", 3);
	if (n != 0 && path[0] == '.') {
		path++;
		n--;
	}
	zbz_fail(e->err, e->status, n != 0 ? "%s: cannot encode %s, at %.*s" : "%s: cannot encode %s",
	         zbz_codec_name(codec), e->what, (int)n, path);
	if (n < sizeof e->err->option) {
		memcpy(e->err->option, path, n);
		e->err->option[n] = '\0';
	} else {
		memcpy(e->err->option, path, sizeof e->err->option - 4);
		memcpy(e->err->option + sizeof e->err->option - 4, "...", 4);
	}
	return e->status;
}

zbz_status zbz_codec_encode(lua_State *L, zbz_codec codec, int idx, zbz_buf *out, zbz_err *err) {
	zbz_encoder e;
	size_t before = out->n;
	int top = lua_gettop(L);
	e.L = L;
	e.out = out;
	e.err = err;
	e.status = ZBZ_OK;
	e.depth = 0;
	e.array_mt = NULL;
	e.what = NULL;
	e.path_n = 0;
	e.path_cut = false;
	if (!lua_checkstack(L, 8)) return zbz_fail(err, ZBZ_E_ENCODE, "%s: the Lua stack is full", zbz_codec_name(codec));
	if (idx != top) lua_pushvalue(L, idx);
	if (encode_value(&e, codec, lua_gettop(L))) {
		lua_settop(L, top);
		return ZBZ_OK;
	}
	lua_settop(L, top);
	out->n = before;
	return tell(&e, codec);
}

static zbz_status decode_value(lua_State *L, zbz_codec codec, zbz_bytes in, zbz_err *err) {
	size_t valid;
	switch (codec) {
	case ZBZ_CODEC_STRING:
		valid = zbz_utf8_span(in.p, in.n);
		if (valid != in.n) return zbz_fail(err, ZBZ_E_DECODE, "string: invalid UTF-8 at byte %zu", valid + 1);
		/* fall through */
	case ZBZ_CODEC_BYTES: lua_pushlstring(L, in.p, in.n); return ZBZ_OK;
	case ZBZ_CODEC_JSON: return zbz_json_decode(L, in, err);
	case ZBZ_CODEC_MSGPACK: return zbz_msgpack_decode(L, in, NULL, 0, NULL, err);
	default: return auto_decode(L, in, err);
	}
}

zbz_status zbz_codec_decode(lua_State *L, zbz_codec codec, zbz_bytes in, zbz_err *err) {
	int top = lua_gettop(L);
	zbz_status status;
	if (in.p == NULL) in.p = "";
	if (in.n > ZBZ_CODEC_MAX && codec >= ZBZ_CODEC_JSON)
		return zbz_fail(err, ZBZ_E_TOO_LARGE, "%s: %zu bytes; at most %zu are decoded", zbz_codec_name(codec), in.n,
		                ZBZ_CODEC_MAX);
	if (!lua_checkstack(L, 8)) return zbz_fail(err, ZBZ_E_DECODE, "%s: the Lua stack is full", zbz_codec_name(codec));
	status = decode_value(L, codec, in, err);
	if (status != ZBZ_OK) lua_settop(L, top);
	return status;
}

zbz_status zbz_codec_decode_reply(lua_State *L, zbz_bytes *in, zbz_push_reply_error push_error, zbz_err *err) {
	int top = lua_gettop(L);
	zbz_bytes rest;
	zbz_status status;
	if (!lua_checkstack(L, 8)) return zbz_fail(err, ZBZ_E_DECODE, "msgpack: the Lua stack is full");
	status = zbz_msgpack_decode(L, *in, &rest, 0, push_error, err);
	if (status != ZBZ_OK)
		lua_settop(L, top);
	else
		*in = rest;
	return status;
}
