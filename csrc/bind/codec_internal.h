/* What the files of the codecs share: the two Lua ABIs, numbers as text, UTF-8, the encoder's record. */
#ifndef ZBZ_BIND_CODEC_INTERNAL_H
#define ZBZ_BIND_CODEC_INTERNAL_H

#include <math.h>

#include <lauxlib.h>
#include <lua.h>

#include "codec.h"

#define ZBZ_LIKELY(x)   __builtin_expect(!!(x), 1)
#define ZBZ_UNLIKELY(x) __builtin_expect(!!(x), 0)
__extension__ typedef unsigned __int128 zbz_u128;

/* ---- 1. The two ABIs --------------------------------------------------------------------------------------------- */

#if LUA_VERSION_NUM >= 503
#define ZBZ_CODEC_INT64 1
static inline size_t zbz_raw_length(lua_State *L, int idx) { return (size_t)lua_rawlen(L, idx); }
#else
#define ZBZ_CODEC_INT64 0
static inline size_t zbz_raw_length(lua_State *L, int idx) { return lua_objlen(L, idx); }
#endif
#define ZBZ_DOUBLE_EXACT 9007199254740992.0 /* 2^53: up to here every whole number is a double */

/* The number at idx: true and *i when it is written as an integer, else *d. */
static inline bool zbz_number_at(lua_State *L, int idx, int64_t *i, double *d) {
#if ZBZ_CODEC_INT64
	if (lua_isinteger(L, idx)) {
		*i = (int64_t)lua_tointeger(L, idx);
		return true;
	}
	*d = (double)lua_tonumber(L, idx);
	return false;
#else
	*d = (double)lua_tonumber(L, idx);
	if (!(*d >= -ZBZ_DOUBLE_EXACT && *d <= ZBZ_DOUBLE_EXACT)) return false;
	*i = (int64_t)*d;
	return (double)*i == *d && !(*i == 0 && signbit(*d));
#endif
}

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

/* ---- 2. Numbers as text ------------------------------------------------------------------------------------------ */

#define ZBZ_NUMBER_TEXT 32 /* room for either; no NUL is written, the length is returned */

size_t zbz_int_write(char *out, int64_t i);
/* The shortest text that reads back as the same double; always with '.' or 'e'. Finite only. */
size_t zbz_double_write(char *out, double d);

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

/* 10^k scaled into [2^127, 2^128), rounded up: the halves of entry k - ZBZ_POW10_MIN. */
#define ZBZ_POW10_MIN (-342)
#define ZBZ_POW10_MAX 324
extern const uint64_t zbz_pow10[ZBZ_POW10_MAX - ZBZ_POW10_MIN + 1][2];

/* ---- 3. Text ----------------------------------------------------------------------------------------------------- */

size_t zbz_utf8_long_length(const unsigned char *p, const unsigned char *end);
/* Length of the well-formed UTF-8 sequence of two to four bytes at p, 0 when there is none. *p >= 0x80, p < end. */
static inline size_t zbz_utf8_length(const unsigned char *p, const unsigned char *end) {
	if (ZBZ_LIKELY(p[0] >= 0xC2 && p[0] < 0xE0 && end - p >= 2 && (p[1] & 0xC0) == 0x80)) return 2;
	return zbz_utf8_long_length(p, end);
}
/* Past the sequences at p, up to the first ASCII byte or `end`; NULL and *bad when one is malformed. */
static inline const char *zbz_utf8_run(const char *text, const char *text_end, const char **bad) {
	const unsigned char *p = (const unsigned char *)text, *end = (const unsigned char *)text_end;
	while (p < end && *p >= 0x80) {
		size_t n = zbz_utf8_length(p, end);
		if (ZBZ_UNLIKELY(n == 0)) {
			*bad = (const char *)p;
			return NULL;
		}
		p += n;
	}
	return (const char *)p;
}
/* n when all of it is valid, else the offset of the first bad byte. */
size_t zbz_utf8_span(const char *s, size_t n);

static inline uint64_t zbz_load8(const void *p) {
	uint64_t v;
	memcpy(&v, p, 8);
	return v;
}
#define ZBZ_EACH_BYTE(b) ((uint64_t)(b)*0x0101010101010101u)
/* Non-zero when one of the 8 bytes is a control byte, '"', '\\' or >= 0x80; the lowest set bit belongs to the
 * first such byte in order of significance (bits above it may be wrong). Bit tricks of "Hacker's Delight", 6-1. */
static inline uint64_t zbz_json_special(uint64_t v) {
	uint64_t quote = v ^ ZBZ_EACH_BYTE('"'), back = v ^ ZBZ_EACH_BYTE('\\');
	uint64_t hits = (quote - ZBZ_EACH_BYTE(1)) | (back - ZBZ_EACH_BYTE(1)) | (v - ZBZ_EACH_BYTE(0x20));
	return (hits & ~v & ZBZ_EACH_BYTE(0x80)) | (v & ZBZ_EACH_BYTE(0x80));
}
/* How many of the 8 bytes stand before the first special one: 0..7, a lower bound on big-endian machines. */
static inline unsigned zbz_plain_bytes(uint64_t hits) {
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	return (unsigned)__builtin_ctzll(hits) / 8;
#else
	return (void)hits, 0;
#endif
}

/* ---- 4. Encoding ------------------------------------------------------------------------------------------------- */

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

/* ---- 5. Decoding ------------------------------------------------------------------------------------------------- */

/* Push one value; on failure the stack is the caller's to restore. */
zbz_status zbz_json_decode(lua_State *L, zbz_bytes in, zbz_err *err);
/* push_error NULL: extension types are failures. The whole of `in` when `rest` is NULL. Offsets count from
 * `skipped` bytes before. */
zbz_status zbz_msgpack_decode(lua_State *L, zbz_bytes in, zbz_bytes *rest, size_t skipped,
                              zbz_push_reply_error push_error, zbz_err *err);

#endif
