/* Operations a provider lacks, built from those it has. `s` is the store of the provider, not of a layer. */
#ifndef ZBZ_CORE_EMULATE_H
#define ZBZ_CORE_EMULATE_H

#include <zbz/cache.h>

zbz_status zbz_emulate_exists(zbz_store *s, zbz_call *c, zbz_bytes key);
zbz_status zbz_emulate_get_many(zbz_store *s, zbz_call *c, const zbz_bytes *keys, size_t n, zbz_buf *out,
                                zbz_found *found);
zbz_status zbz_emulate_set_many(zbz_store *s, zbz_call *c, const zbz_write *writes, size_t n, zbz_status *status);
zbz_status zbz_emulate_del_many(zbz_store *s, zbz_call *c, const zbz_bytes *keys, size_t n, zbz_status *status);
/* Listing and deleting: keys written meanwhile may survive. */
zbz_status zbz_emulate_clear(zbz_store *s, zbz_call *c, zbz_bytes prefix, uint64_t *removed);
/* emulate_lock.c. E_UNSUPPORTED without ADD and VERSION. */
zbz_status zbz_emulate_lock(zbz_store *s, zbz_call *c, zbz_bytes name, const uint8_t *token, int64_t lease_ms,
                            zbz_holder *holder);
zbz_status zbz_emulate_unlock(zbz_store *s, zbz_call *c, zbz_bytes name, const uint8_t *token, zbz_outcome outcome);

#endif
