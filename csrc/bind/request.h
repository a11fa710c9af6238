/* A call in three steps: parse (Lua to request), run (no Lua, any thread), push (request to Lua). A blocking call does them
 * in a row. A parked one is copied after the first, runs in the pool, and is pushed when its owner asks for it: see park.c. */
#ifndef ZBZ_BIND_REQUEST_H
#define ZBZ_BIND_REQUEST_H

#include "cache.h"
#include "table.h"

typedef struct zbz_request zbz_request;

typedef enum zbz_effect {
	ZBZ_READS,   /* of no use once nobody asks for the answer */
	ZBZ_CHANGES, /* whoever calls needs the answer */
	ZBZ_QUEUES,  /* makes sense without anybody waiting for it */
} zbz_effect;

typedef enum zbz_company { /* reads of a table, of which several may become one batch: see together.c */
	                       ZBZ_ALONE,
	                       ZBZ_KEY,  /* the value of key, into buf */
	                       ZBZ_KEYS, /* those of keys, into buf and found */
} zbz_company;

typedef struct zbz_verb {
	const char *name;
	/* Raises on misuse. Bytes are borrowed from the Lua values at the arguments' indices or stand in r->buf. A call that
	 * cannot run has a negative r->s and r->c.err. Leaves the slots up to ZBZ_VERB_ARGS alone when they are there. */
	void (*parse)(lua_State *L, zbz_bind *b, zbz_request *r);
	zbz_status (*run)(zbz_request *r);
	/* Pushes what a success returns, from r->buf and the rest; returns how many. May set r->s and r->c.err after all. */
	int (*push)(lua_State *L, zbz_bind *b, zbz_request *r);
	zbz_effect effect;
	bool extra_nil; /* failures are nil, nil, err */
	bool waits;     /* even on a provider that answers at once */
	zbz_company together;
	bool tries; /* heeds no_wait: may be run where nothing can wait, and once more where that answered AGAIN */
} zbz_verb;

enum { ZBZ_VERB_ARGS = 6 };

struct zbz_request {
	const zbz_verb *verb;
	zbz_status s;
	zbz_call c;
	zbz_table_box *box; /* of a table, or NULL; only where Lua is, and while the handle at index 1 is */
	zbz_table *t;
	zbz_store *store; /* of a cache: referenced from parse on, dropped after run */
	zbz_keep *keep;
	zbz_buf *buf;                                 /* scratch, or NULL: what a write sends, what a read gets */
	zbz_buf *words;                               /* a second scratch buffer, or NULL */
	void (*undo)(zbz_request *r);                 /* what to do with an answer that nobody takes; any thread */
	void (*failed)(lua_State *L, zbz_request *r); /* what parse left behind in Lua */
	size_t count;                                 /* of keys, and of what stands beside them */
	zbz_bytes key, value;
	bool parked; /* all bytes are its own copies */
	/* From here on a verb sets what it uses itself: a blocking call begins without these being cleared. */
	zbz_put put;
	zbz_version version; /* put.version; what a lease gives */
	zbz_entry entry;
	zbz_flight *flight;
	zbz_lock *lock;
	zbz_listing *listing;
	struct zbz_request **lent; /* where the flight's or the listing's box notes that a parked request uses it */
	bool orphaned;             /* that box is gone: the request gives the thing up at its end */
	bool flag, has_initial;
	int64_t number, initial, ttl;
	zbz_bytes *keys, *values;
	zbz_put *each;
	const zbz_put **puts;
	zbz_found *found;
	zbz_status *status;
	size_t *ends; /* of commands: keys are their words */
	size_t commands;
	zbz_provider_stats stats;
	zbz_kept kept;
	void *ud, *opened;
	zbz_store *held;
};

/* All but what verbs set; most of the call's record is for begin to fill. */
static inline void zbz_request_clear(zbz_request *r, const zbz_verb *verb) {
	memset(&r->box, 0, offsetof(zbz_request, put) - offsetof(zbz_request, box));
	r->c.deadline = ZBZ_NEVER;
	r->c.no_wait = r->c.want_expiry = r->c.each = false;
	r->c.err.status = r->s = ZBZ_OK;
	r->verb = verb;
}

/* For a table at index 1: checks it, fills what every verb needs. The deadline is reckoned by zbz_request_begin. */
static inline zbz_table_box *zbz_request_table(lua_State *L, const zbz_bind *b, zbz_request *r) {
	r->box = zbz_table_check(L, b, 1, r->verb->name);
	r->t = r->box->t;
	r->keep = r->box->keep;
	return r->box;
}
static inline void zbz_request_begin(zbz_request *r, int64_t deadline) { zbz_table_begin(r->t, &r->c, deadline); }
/* Room for at least n arguments, so that what is pushed next stands behind them. */
static inline void zbz_request_room(lua_State *L, int n) {
	if (lua_gettop(L) < n) lua_settop(L, n);
}

/* Pushes value, state, age, left of the table entry that was read; nil alone when there was none. r->s tells of a value that cannot be
 * decoded: nothing is pushed then. */
int zbz_entry_push(lua_State *L, zbz_request *r);

/* For a cache at index 1: begins the call on its current store, or fails. The last thing of a parse. */
void zbz_request_store(lua_State *L, zbz_request *r, int deadline_idx);

/* All three steps. */
int zbz_request_call(lua_State *L, const zbz_verb *verb);
/* The last one: results, or nil and the error. Gives the scratch buffer back. */
int zbz_request_push(lua_State *L, zbz_bind *b, zbz_request *r);

/* The table of the listing at idx, while both handles live; NULL: it is none. */
zbz_table_box *zbz_listing_table(lua_State *L, const zbz_bind *b, int idx);

/* Pushes a ticket and its id: the mailbox tells when `thing` calls back, which `arm` asks it to. Or nil and the error. */
int zbz_park_on(lua_State *L, zbz_status (*arm)(void *thing, void (*fn)(void *ud), void *ud, zbz_err *err),
                void *thing);

/* Runs it in the pool of a host that has one; nobody asks for the answer, r->undo is called at the end. False: not done, all is as before. */
bool zbz_park_send(zbz_bind *b, const zbz_request *r);

/* The verbs that can be parked, NULL at the end: of tables, of caches. */
extern const zbz_verb *const *const zbz_table_verbs, *const *const zbz_count_verbs, *const *const zbz_batch_verbs;
extern const zbz_verb *const *const zbz_keys_verbs, *const *const zbz_fetch_verbs, *const *const zbz_lock_verbs,
                                                                                       *const *const zbz_l1_verbs;
extern const zbz_verb *const *const zbz_cache_verbs, *const *const zbz_command_verbs, *const *const zbz_mail_verbs;
extern const zbz_verb *const *const zbz_watch_verbs;

/* Is it an open watch, whose first look waits? Does that ask no other machine? */
bool zbz_watch_box_waits(lua_State *L, const zbz_bind *b, int idx);
bool zbz_watch_box_local(lua_State *L, const zbz_bind *b, int idx);
/* Of caches, stores and subscriptions alike; and its blocking form. */
extern const zbz_verb *const *const zbz_close_verbs;
int zbz_handle_close(lua_State *L);

#endif
