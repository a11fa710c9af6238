/* How any byte string is a memcached key, which is 1 to 250 bytes without spaces and control bytes, so that nothing a program
 * puts into a key can end the command and begin another.
 *
 *   printable ASCII, up to 250 bytes, no marker in front   as it is: other programs find it
 *   else, when the coded form fits in 250 bytes            "zbz%" + percent-encoding of every other byte and of "%"
 *   else                                                   "zbz#" + SHA-256 in hex + "#" + as much of the coded form as fits
 *
 * A value stored under the third form begins with a frame: "zbz#", u32 little endian key length, the key. It is compared on
 * every read and is where a listing finds the key again. */
#ifndef ZBZ_PROTO_MEMCACHE_KEY_H
#define ZBZ_PROTO_MEMCACHE_KEY_H

#include "zbz/bytes.h"

#define ZBZ_MC_KEY_MAX 250
#define ZBZ_MC_FRAME   8 /* and the key */

typedef struct zbz_mc_key {
	char text[ZBZ_MC_KEY_MAX + 2];
	size_t n;
	bool framed;
} zbz_mc_key;

void zbz_mc_key_make(zbz_bytes key, zbz_mc_key *out);

/* From a wire key back. OK: the key is appended to *out. AGAIN: a hashed one, the value tells. MISS: not one that we would send. */
zbz_status zbz_mc_key_back(zbz_bytes wire, zbz_buf *out, zbz_err *err);
/* Whether a wire key can stand for a key with this prefix; only a hashed one may say yes and turn out not to. */
bool zbz_mc_key_may(zbz_bytes wire, zbz_bytes prefix);

zbz_status zbz_mc_frame_put(zbz_bytes key, zbz_buf *out, zbz_err *err);
/* Splits a framed value. False: no frame. */
bool zbz_mc_frame_open(zbz_bytes stored, zbz_bytes *key, zbz_bytes *value);

#endif
