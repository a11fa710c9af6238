/* The bucket family: whole objects under names with slashes. So far what outputs of type `storage` need of it: put, get, stat.
 *
 *   zbz_bucket       one opened bucket, reference counted
 *   zbz_bucket_ops   one provider's functions, a const table
 */
#ifndef ZBZ_BUCKET_H
#define ZBZ_BUCKET_H

#include "cache.h" /* ZBZ_ABI */
#include "config.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct zbz_bucket zbz_bucket;

typedef struct zbz_object_info {
	uint64_t size;
	int64_t modified; /* wall ms */
} zbz_object_info;

#define ZBZ_OBJECT_NAME_MAX 1024

/* What the front has checked: a name has 1 to ZBZ_OBJECT_NAME_MAX bytes, none below 0x20 and no 0x7f; its parts between slashes have 1 to 255 bytes, and none is
 * "." or "..".
 * Threads: any slot but open and close from several at once; a wait ends by c->deadline. A forked child may go on using a bucket: an open one holds
 * nothing that a thread of the parent could have left in the middle. close may be called by the close of a sink (sink.h), with the lock of all outputs
 * held that a fork takes, too: it does not wait, and takes no lock that a pthread_atfork prepare handler of the plug-in takes. */
typedef struct zbz_bucket_ops {
	int abi; /* ZBZ_ABI */
	const char *name;
	const char *summary;
	size_t options_size;
	const zbz_option *options; /* ends with a NULL name */

	/* Checks what can be checked without waiting. `options` lives until close. */
	zbz_status (*open)(void **self, const void *options, const zbz_clock *clock, zbz_err *err);
	void (*close)(void *self);
	/* The object is there when it is complete, not before, and replaces one of the same name. After an error other than E_TIMEOUT and
	 * E_UNAVAILABLE it is not there; after one of those nobody knows: ask stat. */
	zbz_status (*put)(void *self, zbz_call *c, zbz_bytes name, zbz_bytes body);
	/* Appends the object; an append beyond out->max fails with E_TOO_LARGE. MISS: there is none. */
	zbz_status (*get)(void *self, zbz_call *c, zbz_bytes name, zbz_buf *out);
	zbz_status (*stat)(void *self, zbz_call *c, zbz_bytes name, zbz_object_info *out); /* MISS: there is none */
	/* Bytes that name what is written to, without passwords: the same for every process that means the same place. */
	zbz_status (*identity)(void *self, zbz_buf *out, zbz_err *err);
} zbz_bucket_ops;

/* cfg's "provider" names it: "memory" or "filesystem". clock NULL: the system's. Born with one reference. */
ZBZ_API zbz_status zbz_bucket_open(const zbz_config *cfg, const zbz_clock *clock, zbz_bucket **out, zbz_err *err);
ZBZ_API zbz_bucket *zbz_bucket_ref(zbz_bucket *bucket);
ZBZ_API void zbz_bucket_unref(zbz_bucket *bucket); /* the last one closes it; NULL allowed */
ZBZ_API const zbz_bucket_ops *zbz_bucket_table(const zbz_bucket *bucket);

/* The slots, with the front's checks and the provider's name in every error. */
ZBZ_API zbz_status zbz_bucket_put(zbz_bucket *b, zbz_call *c, zbz_bytes name, zbz_bytes body);
ZBZ_API zbz_status zbz_bucket_get(zbz_bucket *b, zbz_call *c, zbz_bytes name, zbz_buf *out);
ZBZ_API zbz_status zbz_bucket_stat(zbz_bucket *b, zbz_call *c, zbz_bytes name, zbz_object_info *out);
ZBZ_API zbz_status zbz_bucket_identity(zbz_bucket *b, zbz_buf *out, zbz_err *err);

#ifdef __cplusplus
}
#endif
#endif
