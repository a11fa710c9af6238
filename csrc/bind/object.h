/* What the files of the binding share: the per-state record, handles, scratch buffers, the two Lua ABIs.
 *
 * A handle ("box") is created closed and zeroed, then opened; what it holds is released by __gc, __close or close, which may run
 * twice and in any order. Whatever a C function of ours owns while it calls a Lua function that may raise lives in a box or
 * in the scratch buffer, so a longjmp leaves nothing behind.
 *
 * The box is memory of the core. What Lua has is its shell, a userdata that points to it, for a finalizer that finds no memory to
 * run in is never called: then the shell is freed and the box, to which others may point, stays until the state closes. __gc
 * frees the box, and from then on the shell points to NULL; called by hand it does the same, so not by a finalizer that runs in the
 * middle of a call of that handle.
 *
 * Every closure of the binding has the zbz_bind of its Lua state as its first upvalue. */
#ifndef ZBZ_BIND_OBJECT_H
#define ZBZ_BIND_OBJECT_H

#include <lauxlib.h>
#include <lua.h>

#include "zbz/zbz.h"

#include "door.h"
#include "keep.h"
#include "log_door.h"

#if LUA_VERSION_NUM >= 504
#define ZBZ_EXACT_INTEGERS       1
#define zbz_newuserdata(L, size) lua_newuserdatauv(L, size, 1)
/* The table on the top becomes the own one of the userdata at idx; popped. */
#define zbz_setenv(L, idx) ((void)lua_setiuservalue(L, idx, 1))
#define zbz_getenv(L, idx) ((void)lua_getiuservalue(L, idx, 1))
#else
#define ZBZ_EXACT_INTEGERS       0
#define zbz_newuserdata(L, size) lua_newuserdata(L, size)
#define zbz_setenv(L, idx)       ((void)lua_setfenv(L, idx))
#define zbz_getenv(L, idx)       lua_getfenv(L, idx)
#define lua_rawlen(L, idx)       lua_objlen(L, idx)
#endif

typedef enum zbz_kind {
	ZBZ_BOX_STORE = 1,
	ZBZ_BOX_CACHE,
	ZBZ_BOX_TABLE,
	ZBZ_BOX_FLIGHT,
	ZBZ_BOX_FLIGHTS,
	ZBZ_BOX_LOCK,
	ZBZ_BOX_CLOCK,
	ZBZ_BOX_SUBSCRIPTION,
	ZBZ_BOX_ALARM,
	ZBZ_BOX_LISTING,
	ZBZ_BOX_OUTPUT,
	ZBZ_BOX_LOGGER,
	ZBZ_BOX_EVENT_LINE,
	ZBZ_BOX_SOURCE,
	ZBZ_BOX_WATCH,
	ZBZ_BOX_BUFFER, /* the last ones never leave the binding */
	ZBZ_BOX_CONFIG,
	ZBZ_BOX_URI,
	ZBZ_BOX_EVENT,
	ZBZ_BOX_TICKET,
	ZBZ_BOX_KINDS
} zbz_kind;

enum { /* further slots of the record's own table, after the metatables of the kinds */
	   ZBZ_SLOT_ERROR_MT = ZBZ_BOX_KINDS,
	   ZBZ_SLOT_ITEM_MT,
	   ZBZ_SLOT_SUBSCRIPTIONS,
	   ZBZ_SLOT_LOG_KEYS,  /* names of fields whose addresses the log remembers */
	   ZBZ_SLOT_LOG_CALLS, /* functions of the Lua part of the log */
	   ZBZ_SLOT_HOME       /* how the sources of the Lua part begin: "@/usr/share/lua/5.4/zbz/" */
};

struct zbz_mail;
struct zbz_log_hub;
struct zbz_subscription_box;

/* One per Lua state. */
typedef struct zbz_bind {
	zbz_box *boxes;
	zbz_buf scratch;
	lua_State *scratch_owner;
	bool scratch_busy;
	unsigned generation; /* of the process that opened the module in this state */
	bool closing;        /* its own __gc has run: the state is going away */
	bool hosted;         /* an event loop must not be held up: see parting.h */
	void (*release[ZBZ_BOX_KINDS])(lua_State *, void *);
	const void *mt[ZBZ_BOX_KINDS]; /* identity of each kind's metatable, which the record's table keeps alive */
	const void *item_mt;
	struct zbz_mail *mail;                      /* NULL until somebody listens */
	struct zbz_subscription_box *subscriptions; /* the open ones */
	uint64_t subscription_ids;
	size_t watches;      /* open ones that have a listener */
	uint64_t unattended; /* parked calls under way that only read, for nobody */
	zbz_door door;
	zbz_log_door log_door;
	struct zbz_log_hub *log; /* NULL until the log is opened */
} zbz_bind;

static inline zbz_bind *zbz_bind_of(lua_State *L) { return (zbz_bind *)lua_touserdata(L, lua_upvalueindex(1)); }

/* ---- 1. Boxes ---- */

typedef struct zbz_store_box {
	zbz_box head;
	zbz_store *store; /* NULL: closed */
	zbz_keep *keep;   /* the clocks it runs on; NULL for the system's */
} zbz_store_box;

typedef struct zbz_cache_box {
	zbz_box head;
	zbz_cache *cache; /* NULL: closed */
	zbz_keep *keep;
	const zbz_clock *clock;
	int64_t deadline;
	struct zbz_subscription_box *subscriptions;
} zbz_cache_box;

typedef struct zbz_source_box {
	zbz_box head;
	zbz_source *source; /* NULL: closed */
} zbz_source_box;

typedef struct zbz_clock_box {
	zbz_box head;
	zbz_keep *keep; /* owns the clock */
	zbz_clock *clock;
} zbz_clock_box;

/* Pushes the shell of a zeroed box of that kind, linked, with its metatable; valid while the shell is. Raises while the state
 * closes, and out of memory. */
void *zbz_box_new(lua_State *L, zbz_kind kind, size_t size);
/* The same with a zbz_marked_shell. */
void *zbz_box_new_marked(lua_State *L, zbz_kind kind, size_t size, const void *mark);
/* Releases and frees one, whose shell the caller has emptied. */
void zbz_box_free(lua_State *L, zbz_box *box);
/* Releases and frees all; from then on no shell is known any more. */
void zbz_boxes_close(lua_State *L, zbz_bind *b);
/* Raises with the caller's level: "zbz: get: zbz.Table expected, got nil". */
int zbz_box_mismatch(lua_State *L, int idx, zbz_kind kind, const char *op);

/* NULL: not of that kind, or collected already. */
static inline void *zbz_box_test(lua_State *L, const zbz_bind *b, int idx, zbz_kind kind) {
	void **shell = lua_touserdata(L, idx);
	const void *mt;
	if (shell == NULL || !lua_getmetatable(L, idx)) return NULL;
	mt = lua_topointer(L, -1);
	lua_pop(L, 1);
	return mt == b->mt[kind] ? *shell : NULL;
}
static inline void *zbz_box_check(lua_State *L, const zbz_bind *b, int idx, zbz_kind kind, const char *op) {
	void *box = zbz_box_test(L, b, idx, kind);
	if (box == NULL) zbz_box_mismatch(L, idx, kind, op);
	return box;
}

/* The same, and open; a closed one raises. */
zbz_store_box *zbz_store_check(lua_State *L, const zbz_bind *b, int idx, const char *op);
zbz_cache_box *zbz_cache_check(lua_State *L, const zbz_bind *b, int idx, const char *op);
static inline zbz_table_box *zbz_table_check(lua_State *L, const zbz_bind *b, int idx, const char *op) {
	zbz_table_box *t = (zbz_table_box *)zbz_box_check(L, b, idx, ZBZ_BOX_TABLE, op);
	if (t->t == NULL) luaL_error(L, "zbz: %s: the table is closed", op);
	return t;
}
/* nil and none: *keep NULL and the system's clock. */
const zbz_clock *zbz_clock_arg(lua_State *L, const zbz_bind *b, int idx, const char *op, zbz_keep **keep);

/* ---- 2. Scratch buffer ---- */

/* An empty buffer for one call. A finalizer may run inside any of our calls and call us: the inner one gets a
 * buffer of its own, pushed as a box, so address the arguments by positive index. give makes no Lua call. */
zbz_buf *zbz_scratch_nested(lua_State *L, zbz_bind *b);
/* A further buffer, for a function that already has one. */
zbz_buf *zbz_scratch_second(lua_State *L);
static inline zbz_buf *zbz_scratch_take(lua_State *L, zbz_bind *b) {
	if (b->scratch_busy || b->closing) return zbz_scratch_nested(L, b);
	b->scratch_busy = true;
	b->scratch_owner = L;
	zbz_buf_reset(&b->scratch);
	return &b->scratch;
}
static inline void zbz_scratch_give(zbz_bind *b, zbz_buf *buf) {
	if (buf == &b->scratch) {
		b->scratch_busy = false;
	} else {
		zbz_buf_clear(buf);
	}
}

/* ---- 3. Errors ---- */

typedef struct zbz_where { /* what an error tells beside its text; all borrowed from values on the Lua stack */
	const char *op;
	zbz_bytes table, key; /* p NULL: none */
} zbz_where;

static inline zbz_where zbz_at(const char *op) {
	zbz_where w = { op, { NULL, 0 }, { NULL, 0 } };
	return w;
}
static inline zbz_where zbz_at_key(const char *op, const zbz_table_box *t, zbz_bytes key) {
	zbz_where w;
	w.op = op;
	w.table = zbz_b(t->name, t->name_n);
	w.key = key;
	return w;
}

/* Pushes the error table. */
void zbz_push_error(lua_State *L, const zbz_err *err, const zbz_where *where);
/* Pushes nil and the error, returns 2. Misuse (E_ARGUMENT) raises instead. */
int zbz_push_failure(lua_State *L, const zbz_err *err, const zbz_where *where);
/* The same, where there is neither table nor key to tell of. */
static inline int zbz_push_trouble(lua_State *L, const zbz_err *err, const char *op) {
	zbz_where at = zbz_at(op);
	return zbz_push_failure(L, err, &at);
}
/* luaL_error at the line of the program: callers that belong to the Lua part are passed over. In Lua 5.4 a function in
 * C, called last thing in one in Lua, does not take its place on the stack as one in Lua would. */
int zbz_raise(lua_State *L, const char *fmt, ...);
/* Pushes "file:line: " of the first caller that is no part of zbz, or "". */
void zbz_push_place(lua_State *L);
/* For one key of a batch, whose status is all there is unless `err` tells of the same one. */
void zbz_push_key_error(lua_State *L, zbz_status status, const zbz_err *err, const zbz_where *where);

/* ---- 4. Registration ---- */

/* Pushes slot n of the record's own table. */
void zbz_push_slot(lua_State *L, int slot);
/* Adds the functions, as closures over the record, to the table at idx. */
void zbz_functions(lua_State *L, int idx, const luaL_Reg *list);
/* Makes the metatable of a kind. `close_name`, unless NULL, is the method that releases. Leaves nothing on the
 * stack. */
void zbz_class(lua_State *L, zbz_kind kind, const char *name, void (*release)(lua_State *, void *),
               const char *close_name, const luaL_Reg *methods);

/* Pushes the method table of a kind. */
void zbz_push_methods(lua_State *L, zbz_kind kind);

/* Each area adds its functions to the module's table at index 1. */
void zbz_open_object(lua_State *L);
void zbz_open_parse(lua_State *L);
void zbz_open_codecs(lua_State *L);
void zbz_open_registry(lua_State *L);
void zbz_open_store(lua_State *L);
void zbz_open_cache(lua_State *L);
void zbz_open_table(lua_State *L);
void zbz_open_batch(lua_State *L);
void zbz_open_keys(lua_State *L);
void zbz_open_flight(lua_State *L);
void zbz_open_lock(lua_State *L);
void zbz_open_envelope(lua_State *L);
void zbz_open_mailbox(lua_State *L);
void zbz_open_subscribe(lua_State *L);
void zbz_open_park(lua_State *L);
void zbz_open_bell(lua_State *L);
void zbz_open_alarm(lua_State *L);
void zbz_open_signals(lua_State *L);
void zbz_open_watch(lua_State *L);
void zbz_open_source(lua_State *L);
void zbz_open_l1(lua_State *L);
void zbz_open_door(lua_State *L);
void zbz_open_log(lua_State *L);

/* Parts of classes that stand in other files. */
extern const luaL_Reg zbz_cache_native_methods[]; /* command.c */
extern const luaL_Reg zbz_cache_mail_methods[];   /* subscribe.c */
extern const luaL_Reg zbz_table_count_methods[];  /* count.c */
extern const luaL_Reg zbz_table_batch_methods[];  /* batch.c */
extern const luaL_Reg zbz_table_keys_methods[];   /* keys.c */
extern const luaL_Reg zbz_table_fetch_methods[];  /* fetch.c */
extern const luaL_Reg zbz_table_lock_methods[];   /* lock.c */
extern const luaL_Reg zbz_table_l1_methods[];     /* l1.c */

extern const char *const zbz_reach_names[]; /* lock.c; by zbz_reach */

/* Drops the state's hold on its mailbox. */
void zbz_mail_close(zbz_bind *b);
/* The same for the log. */
void zbz_log_close(zbz_bind *b);

#endif
