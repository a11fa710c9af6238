/* The bucket family: whole objects under names with slashes. So far what outputs of type `storage` need of it: put, get, stat, list, remove.
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
#define ZBZ_OBJECT_PAGE_MAX 1000 /* objects in one page of a listing */

/* One object of a listing; `name` points into the page. */
typedef struct zbz_object_entry {
	zbz_bytes name;
	zbz_object_info info;
} zbz_object_entry;

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
	/* A page of the objects whose names begin with `prefix` and come after `after`, in the order of the names' bytes (as unsigned; a name before those
	 * it begins): at most `limit` of them, by zbz_object_page_add to *out, their number added to *n. END: there are no further ones; OK: there may
	 * be, and this page, which may be short but is not empty, is to be followed by the one after its last name. A listing holds nothing between its
	 * pages. Objects that are there from its first page to its last are in it, once each, but where this process may not look; one that is put,
	 * replaced or removed meanwhile may be missing.
	 * `prefix` and `after` are any bytes, of ZBZ_OBJECT_NAME_MAX at most, empty for none: so an `after` of "dir/" and 0xff up to that length goes on
	 * behind all that "dir/" begins. */
	zbz_status (*list)(void *self, zbz_call *c, zbz_bytes prefix, zbz_bytes after, size_t limit, zbz_buf *out,
	                   size_t *n);
	/* The object is not there afterwards; OK also when it was not before. After E_TIMEOUT and E_UNAVAILABLE nobody knows. */
	zbz_status (*remove)(void *self, zbz_call *c, zbz_bytes name);
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
/* limit: 1 to ZBZ_OBJECT_PAGE_MAX; *n goes out as the number of this page. An error leaves *out as it was. */
ZBZ_API zbz_status zbz_bucket_list(zbz_bucket *b, zbz_call *c, zbz_bytes prefix, zbz_bytes after, size_t limit,
                                   zbz_buf *out, size_t *n);
ZBZ_API zbz_status zbz_bucket_remove(zbz_bucket *b, zbz_call *c, zbz_bytes name);
ZBZ_API zbz_status zbz_bucket_identity(zbz_bucket *b, zbz_buf *out, zbz_err *err);

/* Could an object have this name? For providers whose place may hold others, which no listing shows. */
ZBZ_API bool zbz_object_name_ok(zbz_bytes name);

/* What a page is made of: of this process, never stored. */
ZBZ_API zbz_status zbz_object_page_add(zbz_buf *page, zbz_bytes name, const zbz_object_info *info, zbz_err *err);
/* The entry at *at, which moves behind it; begins at 0. false: that was the last one. */
static inline bool zbz_object_page_take(zbz_bytes page, size_t *at, zbz_object_entry *out) {
	if (*at >= page.n) return false;
	memcpy(&out->name.n, page.p + *at, sizeof out->name.n);
	memcpy(&out->info, page.p + *at + sizeof out->name.n, sizeof out->info);
	out->name.p = page.p + *at + sizeof out->name.n + sizeof out->info;
	*at += sizeof out->name.n + sizeof out->info + out->name.n;
	return true;
}

#ifdef __cplusplus
}
#endif
#endif
