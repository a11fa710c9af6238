/* Which providers there are: built in, registered, or waiting in a plug-in. */
#ifndef ZBZ_CORE_REGISTRY_H
#define ZBZ_CORE_REGISTRY_H

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

/* A provider whose library is not part of the core. */
typedef struct zbz_plugin_info {
	const char *name, *schemes, *needs;
} zbz_plugin_info;

/* Is `word` one of the words of "a|b|c"? list may be NULL. */
bool zbz_words_have(const char *list, const char *word);
/* [a-z0-9_]+, short enough for zbz_err.provider */
bool zbz_provider_name_ok(const char *name);

/* Loads NAME.so and calls `entry` in it for a table of any family; each begins with its abi. As below. */
zbz_status zbz_plugin_table(const char *name, const char *needs, const char *entry, const void **table, zbz_err *err);
/* Loads NAME.so. OK; MISS when there is no such file; E_UNSUPPORTED when it cannot be used. needs: package for the message, or NULL. */
zbz_status zbz_plugin_load(const char *name, const char *needs, const zbz_cache_ops **ops, zbz_err *err);

#endif
