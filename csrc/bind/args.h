/* Arguments: keys, durations, integers, tables of options. What does not fit raises with the caller's level. */
#ifndef ZBZ_BIND_ARGS_H
#define ZBZ_BIND_ARGS_H

#include "object.h"

static inline zbz_bytes zbz_string_at(lua_State *L, int idx) {
	zbz_bytes s;
	s.p = lua_tolstring(L, idx, &s.n);
	return s;
}

/* A string, nothing that Lua would convert to one. Valid while it stands on the stack. */
int zbz_not_string(lua_State *L, int idx, const char *op, const char *what);
static inline zbz_bytes zbz_string_arg(lua_State *L, int idx, const char *op, const char *what) {
	if (lua_type(L, idx) != LUA_TSTRING) zbz_not_string(L, idx, op, what);
	return zbz_string_at(L, idx);
}
static inline zbz_bytes zbz_key_arg(lua_State *L, int idx, const char *op) {
	return zbz_string_arg(L, idx, op, "the key");
}

/* What stands at idx as milliseconds: seconds as a number or a duration text; math.huge gives ZBZ_NO_EXPIRY. Raises
 * nothing. */
zbz_status zbz_duration_at(lua_State *L, int idx, int64_t *ms, zbz_err *err);
int64_t zbz_duration_arg(lua_State *L, int idx, const char *op, const char *name);

/* An integer that loses nothing; on LuaJIT up to 2^53. */
bool zbz_int_at(lua_State *L, int idx, int64_t *v);
int64_t zbz_int_arg(lua_State *L, int idx, const char *op, const char *name);
/* A whole number of milliseconds; nil and none give `dflt`. */
int64_t zbz_ms_arg(lua_State *L, int idx, const char *op, const char *name, int64_t dflt);
void zbz_push_int(lua_State *L, int64_t v);
/* Milliseconds as seconds with fraction. */
void zbz_push_seconds(lua_State *L, int64_t ms);

typedef enum zbz_arg_type {
	ZBZ_ARG_DURATION, /* int64_t ms, from seconds or text */
	ZBZ_ARG_MS,       /* int64_t, a whole number of ms */
	ZBZ_ARG_INT,      /* int64_t */
	ZBZ_ARG_BOOL,     /* bool */
	ZBZ_ARG_TEXT,     /* zbz_bytes, borrowed: alive while the table of options is unchanged */
	ZBZ_ARG_ONLY,     /* zbz_only: "absent" "present" */
	ZBZ_ARG_VERSION,  /* zbz_version */
	ZBZ_ARG_ANY       /* allowed; the function reads it itself */
} zbz_arg_type;

typedef struct zbz_arg {
	const char *name; /* NULL ends the list */
	zbz_arg_type type;
	size_t offset;
} zbz_arg;

/* Reads the table of options at idx into the struct *out, which holds the defaults. nil and none leave it alone. An
 * unknown name raises and tells the known ones and the nearest. */
void zbz_args_read(lua_State *L, int idx, const char *op, const zbz_arg *args, void *out);

/* The options of public methods. Zero durations of -1: not given. */
typedef struct zbz_options_in {
	int64_t ttl, deadline, initial;
	zbz_only only;
	zbz_version version;
	bool has_initial;
} zbz_options_in;

/* {deadline=}: ms or -1. Nearly free when the argument is absent. */
int64_t zbz_deadline_read(lua_State *L, int idx, const char *op);
static inline int64_t zbz_deadline_arg(lua_State *L, int idx, const char *op) {
	return lua_type(L, idx) <= LUA_TNIL ? -1 : zbz_deadline_read(L, idx, op);
}
/* A TTL, or options by the given list. */
void zbz_write_arg(lua_State *L, int idx, const char *op, const zbz_arg *args, zbz_options_in *o);
extern const zbz_arg zbz_args_set[];  /* ttl only if_version deadline */
extern const zbz_arg zbz_args_ttl[];  /* ttl deadline */
extern const zbz_arg zbz_args_item[]; /* ttl */
extern const zbz_arg zbz_args_incr[]; /* ttl initial deadline */

#endif
