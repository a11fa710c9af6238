/* Calls on a whole cache. */
#ifndef ZBZ_BIND_CACHE_H
#define ZBZ_BIND_CACHE_H

#include "args.h"

/* Begins a call with the cache's clock; timeout_ms -1 the cache's deadline, 0 none. The error record is empty. */
void zbz_cache_begin(const zbz_cache_box *box, zbz_call *c, int64_t timeout_ms);
/* For a method of the cache at index 1: checks it, begins the call, returns the current store, referenced, or NULL
 * when the cache is closed underneath. Unref it before any Lua call. */
zbz_store *zbz_cache_begin_store(lua_State *L, int deadline_idx, const char *op, zbz_call *c);

#endif
