/* What the files of the codecs share: the two Lua ABIs, numbers from text, the encoder's record. */
#ifndef ZBZ_BIND_CODEC_INTERNAL_H
#define ZBZ_BIND_CODEC_INTERNAL_H

#include <lauxlib.h>
#include <lua.h>

#include "base/text.h"
#include "codec.h"
#include "number.h"

/* ---- 1. The two ABIs --------------------------------------------------------------------------------------------- */

#if ZBZ_CODEC_INT64
static inline size_t zbz_raw_length(lua_State *L, int idx) { return (size_t)lua_rawlen(L, idx); }
#else
static inline size_t zbz_raw_length(lua_State *L, int idx) { return lua_objlen(L, idx); }
#endif

/* Pushes an integer of the bytes; false, and nothing pushed, when this Lua's numbers cannot hold it. */
static inline bool zbz_push_int(lua_State *L, int64_t i) {
#if ZBZ_CODEC_INT64
	lua_pushinteger(L, (lua_Integer)i);
#else
	double d = (double)i;
	if (d >= 9223372036854775808.0 || (int64_t)d != i) return false;
	lua_pushnumber(L, d);
#endif
	return true;
}
static inline bool zbz_push_uint(lua_State *L, uint64_t u) {
	double d = (double)u;
	if (u <= INT64_MAX) return zbz_push_int(L, (int64_t)u);
#if !ZBZ_CODEC_INT64
	if (d >= 18446744073709551616.0 || (uint64_t)d != u) return false;
#endif
	lua_pushnumber(L, d);
	return true;
}
#define ZBZ_UNFIT_INTEGER "an integer that no LuaJIT number holds exactly (get_raw reads it)"

void zbz_codec_push_empty_array(lua_State *L); /* with array_mt */
const void *zbz_codec_array_mt(lua_State *L);  /* identity of array_mt */

/* ---- 2. Numbers from text ------------------------------------------------------------------------------------------ */

typedef struct zbz_number {
	bool is_int;
	int64_t i;
	double d;
} zbz_number;
/* Reads a JSON number at *p and moves *p past it. NULL, or what is wrong, with *p at the place. */
const char *zbz_number_read(const char **p, const char *end, zbz_number *out);
/* digits * 10^exp10, correctly rounded; false when the last bit needs more care than 128 bits give. */
bool zbz_decimal_to_double(uint64_t digits, int64_t exp10, double *out);
/* Does d have exactly the value of these decimal digits (no sign)? */
bool zbz_digits_are(const char *digits, size_t n, double d);

/* ---- 3. Encoding ------------------------------------------------------------------------------------------------- */

#define ZBZ_PATH_MAX 160

typedef struct zbz_encoder {
	lua_State *L;
	zbz_buf *out;
	zbz_err *err;
	zbz_status status; /* OK until something fails */
	unsigned depth;
	const void *array_mt; /* NULL: not looked up yet */
	const char *what;     /* what cannot be encoded; NULL: err is filled already */
	size_t path_n;
	bool path_cut;
	char path[ZBZ_PATH_MAX];
} zbz_encoder;

/* Both append the value at idx, which is the top of the stack with a few slots free; false when e->status tells
 * why not. What they leave on the stack and in the buffer is the caller's to drop. */
bool zbz_json_value(zbz_encoder *e, int idx);
bool zbz_msgpack_value(zbz_encoder *e, int idx);

/* All return false. */
bool zbz_encode_refuse(zbz_encoder *e, const char *what);
bool zbz_encode_refuse_type(zbz_encoder *e, int idx);
/* One level up: the failure happened under this key (a string or an integer) or index. */
bool zbz_encode_under(zbz_encoder *e, int key_idx);
bool zbz_encode_under_index(zbz_encoder *e, size_t i);

typedef enum zbz_shape {
	ZBZ_SHAPE_ARRAY,  /* exactly the keys 1..*n */
	ZBZ_SHAPE_OBJECT, /* no sequence part */
	ZBZ_SHAPE_MIXED,  /* a sequence part and other keys, or holes */
	ZBZ_SHAPE_BROKEN  /* marked an array, and is none */
} zbz_shape;
zbz_shape zbz_table_shape(zbz_encoder *e, int idx, size_t *n);
/* Before going into a table: depth and Lua stack. Undone by e->depth--. */
bool zbz_encode_enter(zbz_encoder *e);

/* Where the next `more` bytes go; NULL when they do not fit. */
static inline char *zbz_encode_room(zbz_encoder *e, size_t more) {
	zbz_buf *b = e->out;
	if (ZBZ_UNLIKELY(b->cap - b->n < more)) {
		e->status = zbz_buf_grow(b, more, e->err);
		if (e->status != ZBZ_OK) return NULL;
	}
	return b->p + b->n;
}

/* ---- 4. Decoding ------------------------------------------------------------------------------------------------- */

/* Push one value; on failure the stack is the caller's to restore. */
zbz_status zbz_json_decode(lua_State *L, zbz_bytes in, zbz_err *err);
/* push_error NULL: extension types are failures. The whole of `in` when `rest` is NULL. Offsets count from
 * `skipped` bytes before. */
zbz_status zbz_msgpack_decode(lua_State *L, zbz_bytes in, zbz_bytes *rest, size_t skipped,
                              zbz_push_reply_error push_error, zbz_err *err);

#endif
