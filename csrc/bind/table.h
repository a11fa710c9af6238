/* Values through a table's codec. */
#ifndef ZBZ_BIND_TABLE_H
#define ZBZ_BIND_TABLE_H

#include "args.h"
#include "codec.h"

static inline int zbz_push_table_failure(lua_State *L, const zbz_table_box *t, const char *op, zbz_bytes key,
                                         const zbz_err *err) {
	zbz_where at = zbz_at_key(op, t, key);
	return zbz_push_failure(L, err, &at);
}
/* Pushes the value of `stored`. On failure nothing is pushed. */
static inline zbz_status zbz_value_push(lua_State *L, const zbz_table_box *t, zbz_bytes stored, zbz_err *err) {
	if (t->codec == ZBZ_CODEC_BYTES) {
		lua_pushlstring(L, stored.p, stored.n);
		return ZBZ_OK;
	}
	return zbz_codec_decode(L, (zbz_codec)t->codec, stored, err);
}
/* Appends the stored form of the value at idx. One value has its own bound, whatever else is in the buffer: tables
 * that stand in each other many times would fill any. */
static inline zbz_status zbz_value_read(lua_State *L, zbz_codec codec, int idx, zbz_buf *out, zbz_err *err) {
	size_t max = out->max;
	zbz_status s;
	if (out->n + ZBZ_CODEC_MAX < ZBZ_BUF_MAX) out->max = out->n + ZBZ_CODEC_MAX;
	s = zbz_codec_encode(L, codec, idx, out, err);
	out->max = max;
	return s;
}

/* Raises for what is no value: nil, and an item (those belong into set_multi). idx is positive. */
int zbz_no_value(lua_State *L, int idx, const char *op);
bool zbz_is_item(lua_State *L, const zbz_bind *b, int idx);
static inline void zbz_value_check(lua_State *L, const zbz_bind *b, int idx, const char *op) {
	int type = lua_type(L, idx);
	if (type <= LUA_TNIL || (type == LUA_TTABLE && zbz_is_item(L, b, idx))) zbz_no_value(L, idx, op);
}

#endif
