/* URLs without their secrets. */
#ifndef ZBZ_BASE_URI_H
#define ZBZ_BASE_URI_H

#include <zbz/config.h>

/* Appends `text` with what may be secret in it replaced by "***": the password of scheme://user:password@host, and the
 * value of query fields that are named like one. Text that is no URL comes out as it is. Fit for logs and echoes. */
ZBZ_API zbz_status zbz_uri_redact(zbz_bytes text, zbz_buf *out, zbz_err *err);

#endif
