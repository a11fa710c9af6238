/* One entry's file: reading it with every check, and writing a new one in its place. */
#ifndef ZBZ_PROVIDER_FILESYSTEM_FILE_H
#define ZBZ_PROVIDER_FILESYSTEM_FILE_H

#include "filesystem_dir.h"

/* An open file, its header and key already verified. */
typedef struct zbz_fs_file {
	int fd;
	bool ours; /* the magic is there, whatever else is wrong */
	zbz_fs_record rec;
	zbz_bytes key;
	uint64_t size;
	uint64_t inode;
	size_t head_n;      /* bytes of the file in head */
	uint8_t head[4096]; /* most entries fit: one read */
	zbz_buf long_key;
} zbz_fs_file;

/* OK, MISS, E_CORRUPT, E_UNAVAILABLE. Close it only after OK. `ours` is set for E_CORRUPT too. */
zbz_status zbz_fs_file_open(const zbz_fs *fs, int leaf, const char *name, zbz_fs_file *f, zbz_err *err);
/* The same, and MISS also for another key's file in the slot and for a dead entry (*dead is set then; may be NULL). */
zbz_status zbz_fs_file_find(const zbz_fs *fs, int leaf, const char *name, zbz_bytes key, int64_t now, zbz_fs_file *f,
                            bool *dead, zbz_err *err);
/* Appends the value; E_CORRUPT when it is not what was written. */
zbz_status zbz_fs_file_value(const zbz_fs *fs, const zbz_fs_file *f, const char *name, zbz_buf *out, zbz_err *err);
void zbz_fs_file_close(zbz_fs_file *f);

static inline bool zbz_fs_dead(const zbz_fs_record *r, int64_t now) {
	return r->expire_at != ZBZ_NO_EXPIRY && r->expire_at <= now;
}

/* Writes header, key and value to a new temporary file. rec.value_len, .value_crc and .version are filled here. */
zbz_status zbz_fs_file_new(const zbz_fs *fs, zbz_fs_record *rec, zbz_bytes key, zbz_bytes value, zbz_fs_temp *t,
                           zbz_err *err);
/* The same entry (value, version) with another end of life. */
zbz_status zbz_fs_file_copy(const zbz_fs *fs, const zbz_fs_file *f, int64_t expire_at, zbz_fs_temp *t, zbz_err *err);

/* Removes a dead entry's file if its lock is free at this moment and it is still dead. Failures do not matter. */
void zbz_fs_file_reap(zbz_fs *fs, zbz_call *c, int leaf, unsigned shard, const char *name);

#endif
