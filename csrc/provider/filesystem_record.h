/* The file format of the filesystem cache, and the names of its files. No system calls here.
 *
 *   offset  0  8  magic "zbzfile1"
 *           8  8  value length
 *          16  8  expire_at, wall ms, 0 none
 *          24  8  stored_at, wall ms
 *          32  8  version, random
 *          40  4  key length
 *          44  4  CRC-32C of the value
 *          48  4  CRC-32C of bytes 0..47 and the key
 *          52  -  key, then value; the file ends there
 *
 * Integers are little endian. The header and the key have a checksum of their own, so that a listing or a TTL is verified
 * without reading values.
 *
 * A file stands in base/X/Y/NAME.zbz, X and Y one hex digit each. NAME is the key, percent-encoded where a byte is no plain name
 * character; when that is longer than ZBZ_FS_NAME_KEY, it is "%h" and the key's SHA-256. The key in the file is compared on
 * every read, so a file found under a name (case-insensitive file systems, hash collisions) is never mistaken for another key's:
 * two such keys share one slot, the later write evicts the earlier. */
#ifndef ZBZ_PROVIDER_FILESYSTEM_RECORD_H
#define ZBZ_PROVIDER_FILESYSTEM_RECORD_H

#include "zbz/cache.h"

#define ZBZ_FS_HEADER    52
#define ZBZ_FS_MAX_KEY   (32 * 1024)
#define ZBZ_FS_NAME_KEY  200 /* file names may have 255 bytes */
#define ZBZ_FS_NAME_SIZE 224
#define ZBZ_FS_SHARDS    256

typedef struct zbz_fs_record {
	uint64_t value_len;
	int64_t expire_at, stored_at;
	uint8_t version[8];
	uint32_t key_len, value_crc;
} zbz_fs_record;

/* Continues a CRC-32C (start with 0). */
uint32_t zbz_fs_crc(uint32_t crc, const void *p, size_t n);

void zbz_fs_record_pack(const zbz_fs_record *r, zbz_bytes key, uint8_t out[ZBZ_FS_HEADER]);
/* head: at least ZBZ_FS_HEADER bytes. False: not this format, or a length that cannot be. The checksum is not looked at yet. */
bool zbz_fs_record_unpack(const uint8_t *head, zbz_fs_record *r);
bool zbz_fs_record_verify(const uint8_t *head, zbz_bytes key);
bool zbz_fs_record_is(const uint8_t *head, size_t n); /* begins with the magic */

unsigned zbz_fs_shard(zbz_bytes key);
void zbz_fs_name(zbz_bytes key, char out[ZBZ_FS_NAME_SIZE]);
/* Whether a file of this name can be ours. */
bool zbz_fs_name_is(const char *name);
/* Whether a file of this name can hold a key that starts with prefix; true when the name does not tell. */
bool zbz_fs_name_may(const char *name, zbz_bytes prefix);

#endif
