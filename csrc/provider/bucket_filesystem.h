/* Bucket `filesystem`: what its parts share. */
#ifndef ZBZ_PROVIDER_BUCKET_FILESYSTEM_H
#define ZBZ_PROVIDER_BUCKET_FILESYSTEM_H

#include <zbz/bucket.h>

#define ZBZ_OBJECT_ASIDE ".zbz-new." /* begins the names of files that are being written, in the base */

/* The slot `list`, of the files below `base` (absolute). */
zbz_status zbz_files_list(const char *base, zbz_call *c, zbz_bytes prefix, zbz_bytes after, size_t limit, zbz_buf *out,
                          size_t *n);

#endif
