/* The source family: where a value that is watched comes from. A source reads the bytes of a key now, and says when it is worth
 * looking again. Debouncing, comparing, retrying and delivering are not its business: see watch.h.
 *
 *   zbz_source       one opened source, reference counted, shared by any number of watches
 *   zbz_source_ops   one source's functions, a const table
 */
#ifndef ZBZ_SOURCE_H
#define ZBZ_SOURCE_H

#include "table.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct zbz_source zbz_source;

typedef enum zbz_source_mode {
	ZBZ_SOURCE_NATIVE,  /* the backend itself tells of every change */
	ZBZ_SOURCE_WATCHED, /* the system tells (inotify), or messages that may be lost do */
	ZBZ_SOURCE_POLLED   /* nobody tells: only looking helps */
} zbz_source_mode;

typedef struct zbz_source_state {
	zbz_source_mode mode;
	const char *
	    note; /* what the operator should know of this key, one line; NULL: nothing. Lives as long as the subscription */
} zbz_source_state;

/* What the front has checked: the key is not empty and holds no zero byte.
 * Threads: get and subscribe may be called from several threads at once, for one subscription from one at a time; they may wait,
 * until c->deadline at the latest. */
typedef struct zbz_source_ops {
	int abi; /* ZBZ_ABI */
	const char *name;
	const char *summary;
	bool local;                /* reading asks no other machine, so that a program may do it while it starts */
	size_t options_size;       /* of the struct the options fill; 0: has no options, cannot be opened by name */
	const zbz_option *options; /* ends with a NULL name */

	/* Starts nothing: no thread, no connection, no file; so it may be done before a fork. `options` lives until close. */
	zbz_status (*open)(void **self, const void *options, const zbz_clock *clock, zbz_err *err);
	void (*close)(void *self); /* no call is under way, no subscription is left; waits for own threads */

	/* The bytes of the key, appended to *out; an append beyond out->max fails with E_TOO_LARGE. OK; MISS: there is no such
	 * key now; AGAIN: it is being written just now, ask again in some milliseconds (for two seconds at the longest).
	 * `sub` is the key's subscription, or NULL for a plain read. With one, a source that must renew what it listens to does so before it reads: no
	 * change after the read goes unnoticed. */
	zbz_status (*get)(void *self, zbz_call *c, zbz_bytes key, void *sub, zbz_buf *out);
	/* From the answer on, on_hint says "look again" for every change, by whomever; also when nothing has changed, and after a gap. It
	 * runs on a thread of the source's and must not wait. NULL slot: the source is only polled. */
	zbz_status (*subscribe)(void *self, zbz_call *c, zbz_bytes key, void (*on_hint)(void *ud), void *ud, void **sub);
	void (*unsubscribe)(void *self, void *sub); /* waits until no hint is under way */
	void (*state)(void *self, void *sub,
	              zbz_source_state *out); /* how this subscription works now; NULL slot: polled */
} zbz_source_ops;

/* cfg's "provider" names it: "file", or a plug-in NAME.so with the door `const zbz_source_ops *zbz_source_plugin(void)` (cache.h says
 * where those are looked for). clock NULL: the system's. Born with one reference. */
ZBZ_API zbz_status zbz_source_open(const zbz_config *cfg, const zbz_clock *clock, zbz_source **out, zbz_err *err);
/* The keys of a cache, below its prefix, through any provider and its envelopes. Holds the cache. */
ZBZ_API zbz_status zbz_source_of_cache(zbz_cache *cache, zbz_source **out, zbz_err *err);
/* A source of the program's own: the table lives for ever, `self` is closed with the last reference. */
ZBZ_API zbz_status zbz_source_of(const zbz_source_ops *ops, void *self, zbz_source **out, zbz_err *err);
ZBZ_API zbz_source *zbz_source_ref(zbz_source *source);
ZBZ_API void zbz_source_unref(zbz_source *source); /* the last one closes it; NULL allowed */
ZBZ_API const zbz_source_ops *zbz_source_table(const zbz_source *source);

/* The slots, with the front's checks and the source's name in every error. */
ZBZ_API zbz_status zbz_source_get(zbz_source *s, zbz_call *c, zbz_bytes key, void *sub, zbz_buf *out);
ZBZ_API zbz_status zbz_source_subscribe(zbz_source *s, zbz_call *c, zbz_bytes key, void (*on_hint)(void *ud), void *ud,
                                        void **sub);
ZBZ_API void zbz_source_unsubscribe(zbz_source *s, void *sub);                       /* NULL allowed */
ZBZ_API void zbz_source_state_read(zbz_source *s, void *sub, zbz_source_state *out); /* sub NULL: polled */

#ifdef __cplusplus
}
#endif
#endif
