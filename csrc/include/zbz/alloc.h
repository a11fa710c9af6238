/* Memory from an injected allocator: every byte of the core and of the providers comes through here, so that a test
 * can fail the n-th allocation and count what is left. */
#ifndef ZBZ_ALLOC_H
#define ZBZ_ALLOC_H

#include "status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One function, as Lua's: new_size 0 frees and returns NULL; ptr NULL allocates; else resizes.
 * Must be thread-safe. NULL for a non-zero size is a failure and leaves ptr as it was. */
typedef void *(*zbz_alloc_fn)(void *ud, void *ptr, size_t new_size);

/* Replaces the process-wide allocator. Only while nothing of zbz is open; fn NULL restores malloc. */
ZBZ_API void zbz_set_alloc(zbz_alloc_fn fn, void *ud);

ZBZ_API void *zbz_malloc(size_t size);               /* size 0 is 1; NULL when out of memory */
ZBZ_API void *zbz_calloc(size_t count, size_t size); /* checks the product */
ZBZ_API void *zbz_realloc(void *ptr, size_t size);
ZBZ_API void zbz_free(void *ptr);        /* NULL allowed */
ZBZ_API char *zbz_strdup(const char *s); /* NULL gives NULL */

#ifdef __cplusplus
}
#endif
#endif
