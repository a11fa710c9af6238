/* Writing MessagePack, the form in which providers hand out structured answers (inspect, replies to native commands). */
#ifndef ZBZ_PACK_H
#define ZBZ_PACK_H

#include "bytes.h"

#ifdef __cplusplus
extern "C" {
#endif

ZBZ_API zbz_status zbz_pack_nil(zbz_buf *out, zbz_err *err);
ZBZ_API zbz_status zbz_pack_int(zbz_buf *out, int64_t v, zbz_err *err);
ZBZ_API zbz_status zbz_pack_str(zbz_buf *out, zbz_bytes s, zbz_err *err);  /* any bytes; E_TOO_LARGE above 4 GB */
ZBZ_API zbz_status zbz_pack_array(zbz_buf *out, uint64_t n, zbz_err *err); /* then n values */
ZBZ_API zbz_status zbz_pack_map(zbz_buf *out, uint64_t n, zbz_err *err);   /* then n keys and values in turn */
/* One entry of a map. */
ZBZ_API zbz_status zbz_pack_named_int(zbz_buf *out, const char *name, int64_t v, zbz_err *err);
/* A reply that is an error, as zbz_cache_ops.command wants it: ext type 1 of the negated status, 1 when retryable, the text. */
ZBZ_API zbz_status zbz_pack_error(zbz_buf *out, zbz_status meaning, bool retryable, zbz_bytes text, zbz_err *err);

#ifdef __cplusplus
}
#endif
#endif
