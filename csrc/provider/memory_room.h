/* Within the engine: making room, by evicting and by moving entries together. */
#ifndef ZBZ_PROVIDER_MEMORY_ROOM_H
#define ZBZ_PROVIDER_MEMORY_ROOM_H

#include "base/hash.h"
#include "memory_engine.h"

static inline uint64_t zbz_mem_hash(const zbz_mem_entry *e) { return zbz_hash_inline(zbz_mem_key_bytes(e)); }

bool zbz_mem_evict(zbz_mem *m); /* one; false when there is none */
/* Moves what is in the emptiest chunk into the holes of others; true when anything was moved. */
bool zbz_mem_empty_a_chunk(zbz_mem *m, size_t at_least);
/* One step towards less memory; `wanted` bytes are what for. false when nothing is left. */
bool zbz_mem_yield(zbz_mem *m, size_t wanted);

zbz_status zbz_mem_too_large(const zbz_mem *m, size_t bytes, zbz_err *err);
/* What must be there before an entry is written. `there`: the key has one, so no further one comes. Anything may be moved or evicted. */
zbz_status zbz_mem_reserve_tables(zbz_mem *m, uint64_t hash, bool there, zbz_err *err);
/* Then the block; entries may be moved or evicted again, but none until it is filled. */
zbz_status zbz_mem_reserve_block(zbz_mem *m, size_t bytes, uint32_t *id, zbz_err *err);

#endif
