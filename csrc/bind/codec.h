/* Codecs: values between the Lua stack and bytes.
 *
 * Nothing here calls into a Lua program: tables are read raw, metamethods are ignored, nothing yields. The only Lua
 * error a codec can raise is Lua's own out-of-memory; what it appends to by then stays the caller's, so nothing leaks.
 *
 * The value model, the same for every codec that knows it:
 *   arrays    a table whose keys are exactly 1..n (n >= 1), or one marked with array_mt (zbz.array), which may be
 *             empty. An empty array comes back marked, a filled one does not need to.
 *   objects   any other table; an empty unmarked table is an object. JSON wants string keys. MessagePack also keeps
 *             integer keys exactly (sparse tables, mixed ones), up to 64 bits signed, +-2^53 on LuaJIT. Every other
 *             key, and a marked table that is no sequence, is E_ENCODE, or E_DECODE in foreign bytes.
 *   null      zbz.null, the light userdata NULL. Null in the bytes always decodes to zbz.null, at the top, in arrays
 *             and in objects: only somebody who meant it wrote it there. nil itself is not encodable.
 *   integers  Lua 5.4: all 64 bits, both ways, and a float stays a float (1.0 is written 1.0). Integers in the bytes
 *             that are beyond 64 bits signed become the nearest float.
 *             LuaJIT: numbers are doubles. Whole ones within +-2^53 are written as integers. An integer in the bytes
 *             that no double holds exactly is E_DECODE, never a rounded number (get_raw still reads it).
 *   floats    come back bit for bit. NaN and the infinities: E_ENCODE in JSON, native in MessagePack.
 *   strings   MessagePack, auto and bytes take any bytes. JSON and string take valid UTF-8 only, in both directions.
 *   depth     at most ZBZ_CODEC_DEPTH tables inside each other, in both directions; a cycle ends there.
 *   repeated keys in the bytes: the last one counts. */
#ifndef ZBZ_BIND_CODEC_H
#define ZBZ_BIND_CODEC_H

#include <lua.h>

#include "codec_plain.h"

#define ZBZ_CODEC_DEPTH 128
/* Input that JSON, MessagePack and auto refuse to decode (E_TOO_LARGE), and the `max` an encoding buffer should
 * have. */
#define ZBZ_CODEC_MAX ((size_t)64 << 20)

const char *zbz_codec_name(zbz_codec codec); /* "json"; never NULL */
bool zbz_codec_find(zbz_bytes name, zbz_codec *out);

/* Appends the value at idx. On failure out->n is as before: E_ENCODE, with err->option the path of the bad value
 * ("a.b[3]", "" the value itself), E_TOO_LARGE beyond out->max, E_INTERNAL out of memory. */
zbz_status zbz_codec_encode(lua_State *L, zbz_codec codec, int idx, zbz_buf *out, zbz_err *err);
/* Pushes exactly one value on OK, nothing otherwise. E_DECODE names the byte, counted from 1. `in` must not move
 * meanwhile. */
zbz_status zbz_codec_decode(lua_State *L, zbz_codec codec, zbz_bytes in, zbz_err *err);

/* Decodes one MessagePack value from the front of *in and moves *in past it: a reply of a provider's command.
 * Extension type 1 is an error reply (its bytes: see zbz_cache_ops.command); push_error must push exactly one
 * value for them. On failure nothing is pushed and *in is unchanged. */
typedef void (*zbz_push_reply_error)(lua_State *L, zbz_bytes reply);
zbz_status zbz_codec_decode_reply(lua_State *L, zbz_bytes *in, zbz_push_reply_error push_error, zbz_err *err);

/* Once per Lua state, before anything else here: makes array_mt and keeps it in the registry. Twice is fine. */
void zbz_codec_setup(lua_State *L);
void zbz_codec_push_array_mt(lua_State *L);
static inline void zbz_codec_push_null(lua_State *L) { lua_pushlightuserdata(L, NULL); }

#endif
