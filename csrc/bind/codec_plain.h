/* What of the codecs needs no Lua: their names, and UTF-8. */
#ifndef ZBZ_BIND_CODEC_PLAIN_H
#define ZBZ_BIND_CODEC_PLAIN_H

#include "zbz/bytes.h"

typedef enum zbz_codec {
	ZBZ_CODEC_BYTES,   /* strings only, as they are */
	ZBZ_CODEC_STRING,  /* strings of valid UTF-8, as they are */
	ZBZ_CODEC_JSON,    /* RFC 8259, strict; UTF-8 without escapes but where the RFC demands them */
	ZBZ_CODEC_MSGPACK, /* valid UTF-8 is written as str, other strings as bin; extension types are E_DECODE */
	/* By Lua type: integers as decimal digits (so that counters of the backend and values agree), strings as they
	 * are, everything else as C1 'm' + MessagePack. A string that would be read as one of the others (canonical decimal
	 * digits, a first byte C1) is C1 's' + its bytes. Canonical digits beyond 64 bits in the bytes stay a string.
	 * Decoding gives back exactly what was encoded. */
	ZBZ_CODEC_AUTO
} zbz_codec;

/* Length of the valid UTF-8 that s begins with. */
size_t zbz_utf8_span(const char *s, size_t n);

#endif
