/* Walking over all entries: listing, clearing, counting, and sweeping out the dead. */
#ifndef ZBZ_PROVIDER_FILESYSTEM_SCAN_H
#define ZBZ_PROVIDER_FILESYSTEM_SCAN_H

#include "filesystem_file.h"

/* The zbz_cache_ops slots of the same names. */
zbz_status zbz_fs_scan_open(void *self, zbz_call *c, zbz_bytes prefix, zbz_bytes pattern, zbz_cursor **cursor);
zbz_status zbz_fs_scan_next(void *self, zbz_call *c, zbz_cursor *cursor, size_t limit, zbz_buf *out, size_t *n);
void zbz_fs_scan_close(void *self, zbz_cursor *cursor);
zbz_status zbz_fs_clear(void *self, zbz_call *c, zbz_bytes prefix, uint64_t *removed);
void zbz_fs_stats(void *self, zbz_call *c, zbz_provider_stats *out);

/* Looks at the next few files of an endless round over all folders and removes the dead ones. Called with every write. */
void zbz_fs_sweep(zbz_fs *fs, zbz_call *c);
void zbz_fs_sweep_end(zbz_fs *fs);

#endif
