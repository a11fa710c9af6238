/* One entry: 24 bytes, 14 more when it has ever had a TTL, then key and value. Entries are named by id, because they move. */
#ifndef ZBZ_PROVIDER_MEMORY_ENTRY_H
#define ZBZ_PROVIDER_MEMORY_ENTRY_H

#include "memory_arena.h"

#include <zbz/bytes.h>

typedef struct zbz_mem_entry {
	uint16_t klen;       /* never 0: that marks a free block */
	uint8_t hits;        /* reads, up to 255 */
	uint8_t pol;         /* the policy's */
	uint32_t word;       /* value length, HAS_TTL, ZBZ_BLOCK_MARKS */
	uint32_t prev, next; /* the policy's */
	uint32_t version;
	uint32_t stamp; /* last read or write, in units of 16 ms since the store opened */
} zbz_mem_entry;

typedef struct zbz_mem_ttl { /* 14 bytes of it */
	uint32_t prev, next;     /* of the expiry bucket; prev of the first one names the bucket */
	uint32_t low;            /* wall ms; all 0: none any more */
	uint16_t high;           /* 13 bits of it; the tier of the bucket above them */
} zbz_mem_ttl;

#define ZBZ_MEM_HAS_TTL   0x40000000u
#define ZBZ_MEM_VLEN      0x1FFFFFFFu
#define ZBZ_MEM_TTL_BYTES 14
#define ZBZ_MEM_HEAD      sizeof(zbz_mem_entry)
#define ZBZ_MEM_KEY_MAX   65535
#define ZBZ_MEM_VALUE_MAX ZBZ_MEM_VLEN
#define ZBZ_MEM_WALL_MAX  (((int64_t)1 << 45) - 1) /* the year 3084 */

static inline size_t zbz_mem_bytes(size_t klen, size_t vlen, bool ttl) {
	return ZBZ_MEM_HEAD + (ttl ? ZBZ_MEM_TTL_BYTES : 0) + klen + vlen;
}
static inline size_t zbz_mem_vlen(const zbz_mem_entry *e) { return e->word & ZBZ_MEM_VLEN; }
static inline bool zbz_mem_has_ttl(const zbz_mem_entry *e) { return (e->word & ZBZ_MEM_HAS_TTL) != 0; }
static inline size_t zbz_mem_size(const zbz_mem_entry *e) {
	return zbz_mem_bytes(e->klen, zbz_mem_vlen(e), zbz_mem_has_ttl(e));
}
static inline char *zbz_mem_key(const zbz_mem_entry *e) {
	return (char *)(uintptr_t)(e + 1) + (zbz_mem_has_ttl(e) ? ZBZ_MEM_TTL_BYTES : 0);
}
static inline char *zbz_mem_value(const zbz_mem_entry *e) { return zbz_mem_key(e) + e->klen; }
static inline zbz_bytes zbz_mem_key_bytes(const zbz_mem_entry *e) { return zbz_b(zbz_mem_key(e), e->klen); }

static inline zbz_mem_ttl *zbz_mem_ttl_of(const zbz_mem_entry *e) { return (zbz_mem_ttl *)(uintptr_t)(e + 1); }
static inline int64_t zbz_mem_expire(const zbz_mem_entry *e) { /* 0: never */
	const zbz_mem_ttl *t;
	if (!zbz_mem_has_ttl(e)) return 0;
	t = zbz_mem_ttl_of(e);
	return (int64_t)((uint64_t)(t->high & 0x1FFFu) << 32 | t->low);
}
static inline void zbz_mem_set_expire(zbz_mem_entry *e, int64_t at) {
	zbz_mem_ttl *t = zbz_mem_ttl_of(e);
	if (at > ZBZ_MEM_WALL_MAX) at = ZBZ_MEM_WALL_MAX;
	t->low = (uint32_t)at;
	t->high = (uint16_t)((uint64_t)at >> 32 | (t->high & 0xE000u));
}
static inline bool zbz_mem_dead(const zbz_mem_entry *e, int64_t now) {
	int64_t at = zbz_mem_expire(e);
	return at != 0 && at <= now;
}

#endif
