/* The cache family: what a provider fills in, and stores, caches and tables over it.
 *
 *   zbz_table   a window: key prefix, default TTL, counters           (what a Lua table handle is)
 *   zbz_cache   an instance: the current store, swapped while in use
 *   zbz_store   one opened provider or layer, reference counted, shared by any number of caches
 *   zbz_cache_ops   one provider's or layer's functions, a const table
 */
#ifndef ZBZ_CACHE_H
#define ZBZ_CACHE_H

#include "bytes.h"
#include "call.h"
#include "config.h"

#ifdef __cplusplus
extern "C" {
#endif

#define ZBZ_ABI       1
#define ZBZ_NO_EXPIRY ((int64_t)0)

typedef struct zbz_store zbz_store;
typedef struct zbz_cache zbz_cache;
typedef struct zbz_table zbz_table;

/* ---- 1. Values a provider sees ------------------------------------------------------------------------------------ */

/* Identifies one written state of one key; compared byte for byte, never interpreted. n 0: none. */
typedef struct zbz_version {
	uint8_t n;
	uint8_t b[31];
} zbz_version;

/* What a read can tell beside the bytes. A caller that passes NULL wants none of it and pays nothing. */
typedef struct zbz_meta {
	int64_t expire_at;   /* wall ms; ZBZ_NO_EXPIRY; -1 when the provider did not say */
	zbz_version version; /* n 0 when the provider has no versions */
	uint8_t tier;        /* 1 2 ...: which tier of a layered store answered, nearest first; 0: it has none */
} zbz_meta;

/* What lets a caller keep what it read: while *word holds seq, the entry is what was read and dead only by expire_at. When the word has
 * moved, `look` may still find the entry untouched. The word stays readable as long as the store is referenced; NULL: nothing can be promised.
 * What is served from a copy must not look idle below, where the hottest entries would then be evicted first: see zbz_seen_use. */
typedef struct zbz_seen {
	const volatile uint32_t *word;
	uint32_t seq;
	bool capped;       /* expire_at is only how long it may be kept; the value itself lives until ends_at */
	int64_t expire_at; /* wall ms; ZBZ_NO_EXPIRY */
	int64_t ends_at;   /* the same; -1: not known */
	bool (*look)(
	    struct zbz_seen
	        *seen); /* true: it stands, and seq is what *word was; any thread. NULL: a word that moved is the end */
	/* While (*mark & mask) == was, the last use still counts there. NULL: there is nothing to do. */
	const volatile uint64_t *mark;
	uint64_t mask, was;
	void (*use)(struct zbz_seen *seen); /* counts a use and notes in `was` what *mark is then; any thread */
	void *store;                        /* for look and use */
	uint64_t entry;
} zbz_seen;

static inline bool zbz_seen_stands(zbz_seen *s) {
	return __atomic_load_n(s->word, __ATOMIC_ACQUIRE) == s->seq || (s->look != NULL && s->look(s));
}
/* For every hit on what was kept: a load, and one store below per idle period. */
static inline void zbz_seen_use(zbz_seen *s) {
	if (s->mark != NULL && (__atomic_load_n(s->mark, __ATOMIC_RELAXED) & s->mask) != s->was) s->use(s);
}

typedef enum zbz_only { ZBZ_ALWAYS = 0, ZBZ_ONLY_ABSENT, ZBZ_ONLY_PRESENT, ZBZ_ONLY_VERSION } zbz_only;

typedef struct zbz_write {
	zbz_bytes key, value;
	int64_t expire_at; /* wall ms, > call->now, or ZBZ_NO_EXPIRY */
	zbz_only only;
	const zbz_version *version; /* ZBZ_ONLY_VERSION */
} zbz_write;

/* One answer of a batch. The bytes stand in the batch's buffer at off (an offset: the buffer may move). */
typedef struct zbz_found {
	zbz_status status; /* OK, MISS, or this key's own error */
	size_t off, n;
	int64_t expire_at; /* with call->want_expiry: as in zbz_meta (the store sets -1 first) */
} zbz_found;

typedef struct zbz_incr {
	int64_t delta;    /* any sign */
	bool has_initial; /* an absent key becomes `initial` (delta not added); without: becomes delta, as from 0 */
	int64_t initial;
	int64_t expire_at; /* for a key made by this call; ZBZ_NO_EXPIRY */
} zbz_incr;

/* How the load ended that a lock was taken for. */
typedef enum zbz_outcome {
	ZBZ_OUTCOME_UNKNOWN = 0, /* its holder died or was too slow, or the backend keeps no such note */
	ZBZ_OUTCOME_VALUE,
	ZBZ_OUTCOME_ABSENT, /* there is no value, and that may not have been stored */
	ZBZ_OUTCOME_FAILED
} zbz_outcome;

#define ZBZ_LOCK_TOKEN 16 /* random bytes that tell one holder of a lock from all others */

/* Who has a lock that was refused. */
typedef struct zbz_holder {
	uint8_t token[ZBZ_LOCK_TOKEN]; /* in: the holder of the last refusal, zeros for none; out: the holder */
	int64_t left;                  /* ms until its lease ends; -1 not known */
	zbz_outcome outcome;           /* not UNKNOWN: that last holder has ended so, and the lock is free */
} zbz_holder;

/* Keys that begin so are zbz's own: refused from programs and left out of listings. */
#define ZBZ_RESERVED "\xC1zbz:"

/* ---- 2. Capabilities ----------------------------------------------------------------------------------------------- */

enum {                       /* what works; a bit missing here means the operation answers unsupported */
	   ZBZ_CAN_TTL = 1 << 0, /* ttl() tells the remaining time */
	   ZBZ_CAN_EXPIRE = 1 << 1,
	   ZBZ_CAN_ADD = 1 << 2,     /* ONLY_ABSENT, atomic against every other client */
	   ZBZ_CAN_PRESENT = 1 << 3, /* ONLY_PRESENT, atomic */
	   ZBZ_CAN_VERSION = 1 << 4, /* versions in meta and ONLY_VERSION, atomic */
	   ZBZ_CAN_INCR = 1 << 5,    /* atomic */
	   ZBZ_CAN_KEYS = 1 << 6,
	   ZBZ_CAN_CLEAR = 1 << 7,
	   ZBZ_CAN_NATIVE = 1 << 8,
	   ZBZ_CAN_BATCH = 1 << 9, /* batches cost one round trip, not one per key */
	   ZBZ_CAN_TRACK = 1 << 10 /* tells of changes; a server may still refuse to */
};

typedef struct zbz_caps {
	uint32_t can;       /* ZBZ_CAN_ bits */
	uint32_t emulated;  /* those of `can` that are built from several steps of the backend */
	bool inline_ok;     /* answers without waiting: may run on an event loop */
	bool inline_hits;   /* some reads do: see no_wait in call.h */
	bool shared;        /* other processes see the same entries */
	bool unsigned_incr; /* counters stop at 0 and have no negative values (memcached) */
	bool exclusive;     /* the whole store is ours: clear with an empty prefix is allowed */
	uint32_t ttl_resolution_ms;
	uint64_t max_key, max_value; /* bytes; 0 none but memory */
	bool one_host;               /* with `shared`: only processes of one host see the entries */
	bool lock_wake;              /* who waits for a lock is woken by its release (filled by the store) */
} zbz_caps;

/* A provider fills what it knows and leaves -1 elsewhere. */
typedef struct zbz_provider_stats {
	int64_t keys;        /* live entries (-1 unknown) */
	int64_t memory;      /* bytes used */
	int64_t connections; /* open sockets now */
	int64_t evictions, expired, retries;
	/* of the layer multitier; the numbers above are then those of its l2 */
	int64_t tier1_keys, tier1_memory;
	int64_t tier1_hits, tier2_hits; /* reads answered by either tier, key by key */
	int64_t promotions;             /* values copied into l1 */
	int64_t invalidations;          /* changes that l2's server told of */
	int64_t channel_losses;
	int64_t channel; /* a zbz_channel */
} zbz_provider_stats;

/* How a local tier hears of changes by others. */
typedef enum zbz_channel {
	ZBZ_CHANNEL_NONE,     /* not at all: nobody else writes, or age is the only bound */
	ZBZ_CHANNEL_TRACKING, /* the server tells of every change */
	ZBZ_CHANNEL_PUBSUB,   /* zbz tells of its own writes */
	ZBZ_CHANNEL_DOWN,     /* not begun, or lost: the local tier is not used */
	ZBZ_CHANNEL_REFUSED   /* the server allows neither: the same */
} zbz_channel;

/* ---- 3. The contract of a provider ----------------------------------------------------------------------------------
 *
 * The front has already checked: key not empty and <= caps.max_key, value <= caps.max_value, store open, deadline not passed,
 * expire_at in the future. The provider repeats none of it.
 * Threads: every slot may be called from several threads at once unless `single_thread` is set; then the store serialises.
 * Bytes passed in are borrowed for the call. Bytes going out are appended to the caller's buffer; on a status other than OK
 * the buffer is as long as before (the front truncates, so a provider may leave partial bytes behind).
 * A wait ends by c->deadline and by the provider's own timeouts, whichever comes first, with ZBZ_E_TIMEOUT.
 * Retries: only of operations that may run twice (get, exists, ttl, scan, ping; delete and unconditional set), with back-off.
 * NULL slots: get, set, del, close and caps are mandatory in a provider; any other NULL answers unsupported, except that the front builds
 * exists from get, and the batches from single calls. In a layer a NULL slot passes to the next store. */
typedef struct zbz_cursor zbz_cursor; /* a listing under way, private to the provider */

typedef struct zbz_cache_ops {
	int abi;             /* ZBZ_ABI */
	const char *name;    /* registered name, "redis" */
	const char *aliases; /* further names, "a|b", or NULL */
	const char *schemes; /* URL schemes, "redis|rediss", or NULL; the URL arrives as option "url" */
	const char *needs;   /* Debian package of the library, for messages; NULL when none */
	const char *summary; /* one line for the README's table */
	bool layer;          /* wraps the store in its option of type ZBZ_OPT_STORE */
	bool single_thread;
	size_t options_size;       /* of the struct the options fill */
	const zbz_option *options; /* ends with a NULL name */

	/* Opens without talking to a server (connections are made on first use), unless the medium is local.
	 * `options` is a filled struct owned by the store and alive until close. */
	zbz_status (*open)(void **self, const void *options, const zbz_clock *clock, zbz_err *err);
	void (*close)(void *self); /* no call is under way; frees everything, waits for own threads */
	void (*caps)(void *self, zbz_caps *out);

	zbz_status (*get)(void *self, zbz_call *c, zbz_bytes key, zbz_buf *out,
	                  zbz_meta *meta); /* OK, MISS; meta may be NULL */
	/* OK, REFUSED (ABSENT/PRESENT did not hold), CONFLICT error (another version, or gone). version_out may be NULL:
	 * the version just written, n 0 when that costs another round trip. */
	zbz_status (*set)(void *self, zbz_call *c, const zbz_write *w, zbz_version *version_out);
	zbz_status (*del)(void *self, zbz_call *c, zbz_bytes key);    /* OK; MISS when it was absent and that is known */
	zbz_status (*exists)(void *self, zbz_call *c, zbz_bytes key); /* OK, MISS */
	zbz_status (*ttl)(void *self, zbz_call *c, zbz_bytes key, int64_t *expire_at); /* OK, MISS */
	zbz_status (*expire)(void *self, zbz_call *c, zbz_bytes key,
	                     int64_t expire_at); /* OK, MISS; ZBZ_NO_EXPIRY persists */
	/* The stored form is decimal text. OK; E_TYPE when the value is no integer; E_ARGUMENT on overflow, nothing changed. */
	zbz_status (*incr)(void *self, zbz_call *c, zbz_bytes key, const zbz_incr *how, int64_t *value);

	/* Batches: n >= 1. Each found[i]/status[i] is filled. OK when the batch ran, even if single keys failed;
	 * negative only when nothing can be said of any key. Duplicates are allowed. */
	zbz_status (*get_many)(void *self, zbz_call *c, const zbz_bytes *keys, size_t n, zbz_buf *out, zbz_found *found);
	zbz_status (*set_many)(void *self, zbz_call *c, const zbz_write *writes, size_t n,
	                       zbz_status *status); /* only == ALWAYS */
	zbz_status (*del_many)(void *self, zbz_call *c, const zbz_bytes *keys, size_t n, zbz_status *status);

	/* Lists keys that start with prefix, in no order; a key present all the time comes at least once. `pattern` (over the rest
	 * of the key) is a hint: the front filters again. next: appends up to about `limit` keys as u32 little endian length
	 * + bytes to *out, adds their number to *n; OK, or END (also with keys). */
	zbz_status (*scan_open)(void *self, zbz_call *c, zbz_bytes prefix, zbz_bytes pattern, zbz_cursor **cursor);
	zbz_status (*scan_next)(void *self, zbz_call *c, zbz_cursor *cursor, size_t limit, zbz_buf *out, size_t *n);
	void (*scan_close)(void *self, zbz_cursor *cursor);
	/* Removes the keys that start with prefix, and no other. Empty prefix only with caps.exclusive. NULL: scan and del_many. */
	zbz_status (*clear)(void *self, zbz_call *c, zbz_bytes prefix, uint64_t *removed);

	zbz_status (*ping)(void *self, zbz_call *c);
	zbz_status (*version)(void *self, zbz_call *c, zbz_buf *out); /* the server's own version text */
	void (*stats)(void *self, zbz_call *c, zbz_provider_stats *out);
	/* Details of one entry as a MessagePack map, for inspect(); memory: size, hits, age_ms, idle_ms, expire_at. */
	zbz_status (*inspect)(void *self, zbz_call *c, zbz_bytes key, zbz_buf *out);

	/* The backend's own commands. argv[i] are bytes; `ends` cuts argv into `count` commands (ends[k] = index one past the
	 * last word of command k), sent as one pipeline. Appends one MessagePack value per command to *out; a reply that is an error is ext type 1:
	 * a byte with the negated zbz_status, a byte 1 when retryable, the text. Negative only when the transport failed. */
	zbz_status (*command)(void *self, zbz_call *c, const zbz_bytes *argv, const size_t *ends, size_t count,
	                      zbz_buf *out);
	/* Subscribes to channels (patterns when `pattern`). on_message runs on a thread of the provider's: it must only copy and enqueue.
	 * It keeps itself alive across reconnects; payload.p NULL tells of a gap; channel.p NULL too: the connection is lost from now on, until
	 * the gap is told. unsubscribe waits until no call is under way. */
	zbz_status (*subscribe)(void *self, zbz_call *c, const zbz_bytes *channels, size_t n, bool pattern,
	                        void (*on_message)(void *ud, zbz_bytes channel, zbz_bytes payload), void *ud,
	                        void **subscription);
	void (*unsubscribe)(void *self, void *subscription);

	/* get, for whoever keeps what it read (a local tier in front). OK fills *seen, which comes zeroed; a miss leaves it so. */
	zbz_status (*get_seen)(void *self, zbz_call *c, zbz_bytes key, zbz_buf *out, zbz_seen *seen);
	/* Tells of keys below prefix that anybody writes or deletes after track has answered, this process too; expiry may be told or not.
	 * key.p NULL: anything may have changed (told when the channel was lost, and again when it stands anew). on_change runs on a thread of
	 * the provider's: it must not wait. lost: the channel is down from now on, until the call with lost false. untrack waits until no call
	 * is under way; NULL allowed. */
	zbz_status (*track)(void *self, zbz_call *c, zbz_bytes prefix,
	                    void (*on_change)(void *ud, zbz_bytes key, bool lost), void *ud, void **tracking);
	void (*untrack)(void *self, void *tracking);

	/* Locks that all who share the backend see; `name` is a reserved key. NULL: built from ONLY_ABSENT and versions, without waking.
	 * lock: OK, ours for lease_ms (again, when the token has it already); REFUSED and *holder.
	 * unlock: OK; MISS when the token had it no more. */
	zbz_status (*lock)(void *self, zbz_call *c, zbz_bytes name, const uint8_t *token, int64_t lease_ms,
	                   zbz_holder *holder);
	zbz_status (*unlock)(void *self, zbz_call *c, zbz_bytes name, const uint8_t *token, zbz_outcome outcome);
	/* Tells of every unlock of a lock that was refused to somebody, from when on_unlock has answered; name.p NULL: some may have been
	 * missed. fn runs on a thread of the provider's: it must not wait. off_unlock waits until no call is under way; NULL allowed. */
	zbz_status (*on_unlock)(void *self, zbz_call *c,
	                        void (*fn)(void *ud, zbz_bytes name, const uint8_t *token, zbz_outcome outcome), void *ud,
	                        void **watch);
	void (*off_unlock)(void *self, void *watch);
	/* Appends what is the same in all processes of a host that reach the same entries, and nowhere else. NULL: its options. */
	zbz_status (*identity)(void *self, zbz_buf *out, zbz_err *err);

	/* Counters beyond zbz_provider_stats, as a MessagePack map (of maps). */
	zbz_status (*counters)(void *self, zbz_call *c, zbz_buf *out);
} zbz_cache_ops;

/* ---- 4. Registry ------------------------------------------------------------------------------------------------------ */

/* Adds a provider; the table must live for ever. The same table twice is OK; another of the same name ZBZ_E_ARGUMENT. */
ZBZ_API zbz_status zbz_cache_register(const zbz_cache_ops *ops, zbz_err *err);
/* By name or alias. A known plug-in that is not loaded yet is loaded (zbz/provider/NAME.so, entry point
 * `const zbz_cache_ops *zbz_cache_plugin(void)`). E_UNSUPPORTED names the missing package, E_UNKNOWN_PROVIDER lists the known names. */
ZBZ_API zbz_status zbz_cache_find(const char *name, const zbz_cache_ops **ops, zbz_err *err);
/* Provider name for a URL scheme ("rediss" -> "redis"); NULL when none. Static. */
ZBZ_API const char *zbz_cache_scheme(const char *scheme);
/* Names of all providers that can be asked for, loaded or not, one by one: index 0, 1, ... until NULL. Static. */
ZBZ_API const char *zbz_cache_name_at(size_t index);
/* Where plug-ins are looked for first (else ZBZ_PLUGIN_PATH, else beside libzbz.so). Copied. */
ZBZ_API zbz_status zbz_plugin_dir(const char *dir, zbz_err *err);

/* ---- 5. Store: one opened provider -------------------------------------------------------------------------------------- */

/* cfg's "provider" names it. clock NULL: the system's. The store is born with one reference. Nothing is left behind on failure. */
ZBZ_API zbz_status zbz_store_open(const zbz_config *cfg, const zbz_clock *clock, zbz_store **out, zbz_err *err);
ZBZ_API zbz_store *zbz_store_ref(zbz_store *store);
ZBZ_API void zbz_store_unref(zbz_store *store); /* the last one closes it; NULL allowed */
ZBZ_API const zbz_cache_ops *zbz_store_ops(const zbz_store *store);
ZBZ_API const void *zbz_store_options(const zbz_store *store); /* the parsed struct, for echoes */
ZBZ_API void zbz_store_caps(const zbz_store *store, zbz_caps *out);
/* The provider at the bottom of a stack of layers has this name? Its store, borrowed; else NULL. */
ZBZ_API zbz_store *zbz_store_bottom(zbz_store *store);

/* For layers: one operation on the wrapped store, slots that are NULL emulated or answered. Same contracts as the slots. */
ZBZ_API zbz_status zbz_store_get(zbz_store *s, zbz_call *c, zbz_bytes key, zbz_buf *out, zbz_meta *meta);
ZBZ_API zbz_status zbz_store_set(zbz_store *s, zbz_call *c, const zbz_write *w, zbz_version *version_out);
ZBZ_API zbz_status zbz_store_del(zbz_store *s, zbz_call *c, zbz_bytes key);
ZBZ_API zbz_status zbz_store_exists(zbz_store *s, zbz_call *c, zbz_bytes key);
ZBZ_API zbz_status zbz_store_ttl(zbz_store *s, zbz_call *c, zbz_bytes key, int64_t *expire_at);
ZBZ_API zbz_status zbz_store_expire(zbz_store *s, zbz_call *c, zbz_bytes key, int64_t expire_at);
ZBZ_API zbz_status zbz_store_incr(zbz_store *s, zbz_call *c, zbz_bytes key, const zbz_incr *how, int64_t *value);
ZBZ_API zbz_status zbz_store_get_many(zbz_store *s, zbz_call *c, const zbz_bytes *keys, size_t n, zbz_buf *out,
                                      zbz_found *found);
ZBZ_API zbz_status zbz_store_set_many(zbz_store *s, zbz_call *c, const zbz_write *writes, size_t n, zbz_status *status);
ZBZ_API zbz_status zbz_store_del_many(zbz_store *s, zbz_call *c, const zbz_bytes *keys, size_t n, zbz_status *status);
ZBZ_API zbz_status zbz_store_scan_open(zbz_store *s, zbz_call *c, zbz_bytes prefix, zbz_bytes pattern,
                                       zbz_cursor **cursor);
ZBZ_API zbz_status zbz_store_scan_next(zbz_store *s, zbz_call *c, zbz_cursor *cursor, size_t limit, zbz_buf *out,
                                       size_t *n);
ZBZ_API void zbz_store_scan_close(zbz_store *s, zbz_cursor *cursor);
ZBZ_API zbz_status zbz_store_clear(zbz_store *s, zbz_call *c, zbz_bytes prefix, uint64_t *removed);
ZBZ_API zbz_status zbz_store_ping(zbz_store *s, zbz_call *c);
ZBZ_API zbz_status zbz_store_version(zbz_store *s, zbz_call *c, zbz_buf *out);
ZBZ_API void zbz_store_stats(zbz_store *s, zbz_call *c, zbz_provider_stats *out);
ZBZ_API zbz_status zbz_store_inspect(zbz_store *s, zbz_call *c, zbz_bytes key, zbz_buf *out);
ZBZ_API zbz_status zbz_store_command(zbz_store *s, zbz_call *c, const zbz_bytes *argv, const size_t *ends, size_t count,
                                     zbz_buf *out);
ZBZ_API zbz_status zbz_store_subscribe(zbz_store *s, zbz_call *c, const zbz_bytes *channels, size_t n, bool pattern,
                                       void (*on_message)(void *ud, zbz_bytes channel, zbz_bytes payload), void *ud,
                                       void **subscription);
ZBZ_API void zbz_store_unsubscribe(zbz_store *s, void *subscription);
ZBZ_API zbz_status zbz_store_get_seen(zbz_store *s, zbz_call *c, zbz_bytes key, zbz_buf *out, zbz_seen *seen);
ZBZ_API bool zbz_store_promises(const zbz_store *s);                            /* is there a get_seen to ask? */
ZBZ_API zbz_status zbz_store_counters(zbz_store *s, zbz_call *c, zbz_buf *out); /* OK; MISS: it keeps none */
ZBZ_API zbz_status zbz_store_track(zbz_store *s, zbz_call *c, zbz_bytes prefix,
                                   void (*on_change)(void *ud, zbz_bytes key, bool lost), void *ud, void **tracking);
ZBZ_API void zbz_store_untrack(zbz_store *s, void *tracking);
ZBZ_API zbz_status zbz_store_lock(zbz_store *s, zbz_call *c, zbz_bytes name, const uint8_t *token, int64_t lease_ms,
                                  zbz_holder *holder);
ZBZ_API zbz_status zbz_store_unlock(zbz_store *s, zbz_call *c, zbz_bytes name, const uint8_t *token,
                                    zbz_outcome outcome);
ZBZ_API zbz_status zbz_store_on_unlock(zbz_store *s, zbz_call *c,
                                       void (*fn)(void *ud, zbz_bytes name, const uint8_t *token, zbz_outcome outcome),
                                       void *ud, void **watch);
ZBZ_API void zbz_store_off_unlock(zbz_store *s, void *watch);
/* The provider's name, and what its slot says. */
ZBZ_API zbz_status zbz_store_identity(zbz_store *s, zbz_buf *out, zbz_err *err);

#ifdef __cplusplus
}
#endif
#endif
