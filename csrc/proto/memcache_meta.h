/* memcached's replies, bytes in, replies out: the meta commands (mg ms md ma mn me) and the few classic ones that answer in lines.
 * No sockets here. Written after protocol.txt of memcached 1.6. */
#ifndef ZBZ_PROTO_MEMCACHE_META_H
#define ZBZ_PROTO_MEMCACHE_META_H

#include "zbz/bytes.h"

#define ZBZ_META_MAX_LINE 8192

typedef enum zbz_meta_code {
	ZBZ_META_HD, /* done */
	ZBZ_META_VA, /* a value follows */
	ZBZ_META_EN, /* miss of mg */
	ZBZ_META_NF, /* not found */
	ZBZ_META_NS, /* not stored */
	ZBZ_META_EX, /* exists: another version */
	ZBZ_META_MN,
	ZBZ_META_ERROR, /* ERROR, CLIENT_ERROR ..., SERVER_ERROR ... */
	ZBZ_META_LINE,  /* any other line */
	ZBZ_META_VALUE  /* of the classic get; a value follows */
} zbz_meta_code;

typedef struct zbz_meta_reply {
	zbz_meta_code code;
	zbz_bytes line;  /* without its end; inside the input */
	zbz_bytes value; /* VA, VALUE */
} zbz_meta_reply;

/* One reply at the head of `in`; *used its length. OK; AGAIN when it is not all there; E_UNAVAILABLE when this is no memcached. */
zbz_status zbz_meta_parse(zbz_bytes in, zbz_meta_reply *r, size_t *used, zbz_err *err);
/* A returned flag with its number ("c123", "t-1"). False when it is not among them. */
bool zbz_meta_flag(const zbz_meta_reply *r, char flag, int64_t *number);
/* What an ERROR line means. */
zbz_status zbz_meta_fail(const zbz_meta_reply *r, zbz_err *err);

#endif
