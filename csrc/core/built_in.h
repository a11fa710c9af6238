/* The caches, sources and buckets that are part of the core; its sinks: log/sinks.h. */
#ifndef ZBZ_CORE_BUILT_IN_H
#define ZBZ_CORE_BUILT_IN_H

#include <zbz/bucket.h>
#include <zbz/source.h>

extern const zbz_cache_ops zbz_cache_memory, zbz_cache_ristretto; /* provider/cache_memory.c */
extern const zbz_cache_ops zbz_cache_filesystem;                  /* provider/cache_filesystem.c */
extern const zbz_cache_ops zbz_cache_shared;                      /* provider/cache_shared.c */
extern const zbz_cache_ops zbz_cache_fault;                       /* layer/cache_fault.c */
extern const zbz_cache_ops zbz_cache_multitier;                   /* layer/cache_multitier.c */
extern const zbz_source_ops zbz_source_file;                      /* provider/source_file.c */
extern const zbz_bucket_ops zbz_bucket_memory;                    /* provider/bucket_memory.c */
extern const zbz_bucket_ops zbz_bucket_filesystem;                /* provider/bucket_filesystem.c */

#endif
