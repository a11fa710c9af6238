/* What the flat doors for LuaJIT (csrc/ffi) share with the binding: a table's box, and where a call through a door leaves its answer.
 * No lua.h in here. */
#ifndef ZBZ_BIND_DOOR_H
#define ZBZ_BIND_DOOR_H

#include "zbz/zbz.h"

#include "keep.h"

struct lua_State;

/* Heads every box. Those of a state are linked, because a state that closes runs no finalizer of what is made while it
 * does. */
typedef struct zbz_box {
	struct zbz_box *next, **at;
	void (*release)(struct lua_State *L, void *box); /* gives everything back; may run again */
} zbz_box;

/* A shell with a mark, for kinds whose shells have other metatables than that of the kind. */
typedef struct zbz_marked_shell {
	void *box;
	const void *mark;
} zbz_marked_shell;

typedef struct zbz_table_box {
	zbz_box head;
	zbz_table *t; /* NULL: closed */
	zbz_keep *keep;
	zbz_l1 *l1; /* NULL: none */
	int codec;  /* zbz_codec */
	size_t name_n;
	char name[]; /* for errors */
} zbz_table_box;

/* What a door answers. */
enum {
	ZBZ_DOOR_ELSEWHERE = -1, /* nothing has happened: call the method */
	ZBZ_DOOR_MISS,
	ZBZ_DOOR_STRING, /* p, n */
	ZBZ_DOOR_NUMBER,
	ZBZ_DOOR_TRUE,
	ZBZ_DOOR_FALSE,
	ZBZ_DOOR_REST /* the call was made: core.door_rest makes Lua values, or the error, of it */
};

/* One per Lua state; its first part is declared in Lua as well (zbz/ffi/doors.lua). A finalizer may run between a call and the
 * reading of its answer, and call in turn: `serial` tells. */
typedef struct zbz_door {
	double serial; /* of the last call; exact, and never the same again */
	double number;
	const char *p;
	uint32_t n;
	bool closed; /* declared in Lua, too: the state is going away, and the boxes have gone before it */
	zbz_buf buf;
	zbz_status s;
	zbz_call c;
	zbz_entry entry;
} zbz_door;

/* The addresses of the doors, by name; ends with NULL. Only in the module for LuaJIT. */
typedef struct zbz_door_address {
	const char *name;
	void (*fn)(void);
} zbz_door_address;
extern const zbz_door_address zbz_doors[];

#endif
