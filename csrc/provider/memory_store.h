/* The engine behind a lock: what the slots of the memory and ristretto tables act on. */
#ifndef ZBZ_PROVIDER_MEMORY_STORE_H
#define ZBZ_PROVIDER_MEMORY_STORE_H

#include "cache/atfork.h"
#include "memory_engine.h"

#include <pthread.h>

typedef struct zbz_mem_store {
	atfork_node fork; /* first: the callbacks get its address */
	pthread_mutex_t lock;
	zbz_mem mem;
} zbz_mem_store;

zbz_status zbz_mem_store_open(void **self, const zbz_mem_config *config, const zbz_clock *clock, zbz_err *err);
void zbz_mem_store_close(void *self);

/* Listings and clear, in slices: the lock is given up every so many entries. */
zbz_status zbz_mem_scan_open(void *self, zbz_call *c, zbz_bytes prefix, zbz_bytes pattern, zbz_cursor **cursor);
zbz_status zbz_mem_scan_next(void *self, zbz_call *c, zbz_cursor *cursor, size_t limit, zbz_buf *out, size_t *n);
void zbz_mem_scan_close(void *self, zbz_cursor *cursor);
zbz_status zbz_mem_clear_prefix(void *self, zbz_call *c, zbz_bytes prefix, uint64_t *removed);

/* What is known of one entry, as a MessagePack map. */
zbz_status zbz_mem_inspect(void *self, zbz_call *c, zbz_bytes key, zbz_buf *out);

#endif
