/* The log's binding. A Lua state has one log and one view on it; loggers are shells that C knows by their size and a mark,
 * because each name has a metatable of its own, whose methods the Lua part changes when levels change. */
#ifndef ZBZ_BIND_LOG_H
#define ZBZ_BIND_LOG_H

#include "args.h"

#define ZBZ_TCDATA 10 /* lua_type of what LuaJIT's FFI makes */

/* Functions that the Lua part gave, in the table of ZBZ_SLOT_LOG_CALLS. */
enum { ZBZ_LOG_DELIVER = 1, ZBZ_LOG_PROCESS, ZBZ_LOG_JUDGE, ZBZ_LOG_TOSTRING /* the text "__tostring" */ };

typedef struct zbz_output_box {
	zbz_box head;
	zbz_output *output; /* NULL: closed */
	zbz_keep *keep;
} zbz_output_box;

/* NULL unless the value at idx is an open logger. */
zbz_logger_box *zbz_logger_at(lua_State *L, int idx);

/* ---- fields from Lua ---- */

typedef struct zbz_log_call {
	lua_State *L;
	zbz_log_hub *hub;
	size_t n;
	bool cut;
	uint64_t moved; /* fields whose bytes are offsets into hub->pack so far */
	zbz_field fields[ZBZ_LOG_FIELDS_MAX];
} zbz_log_call;

/* After the log said that it wants the record, with the turn it said. Until the record is written nothing may allocate in Lua: a finalizer could run,
 * log, and configure. */
static inline void zbz_call_begin(zbz_log_call *c, lua_State *L, zbz_log_hub *hub) {
	c->L = L;
	c->hub = hub;
	c->n = 0;
	c->cut = false;
	c->moved = 0;
	hub->pack.n = 0;
}
/* Offsets become addresses: after the last field. */
void zbz_call_settle(zbz_log_call *c);
/* Forgets prepared names when the turn is another. */
void zbz_log_forget(zbz_log_hub *hub);
static inline void zbz_log_turn(zbz_log_hub *hub, unsigned turn) {
	if (hub->turn == turn) return;
	hub->turn = turn;
	zbz_log_forget(hub);
}

/* The value at idx (positive), without running anything of Lua's. false: it wants to (a __tostring) and was left alone. */
bool zbz_log_value(zbz_log_call *c, int idx, zbz_field *f);
/* Is there a __tostring to be asked? */
bool zbz_log_asks(lua_State *L, zbz_log_hub *hub, int idx);
/* Replaces the value at idx by the text its __tostring gives, or by a word about its failure. */
void zbz_log_ask(lua_State *L, zbz_log_hub *hub, int idx);
/* All of the table at idx; false: nothing was read, some value or key wants to run Lua. */
bool zbz_log_table(zbz_log_call *c, int idx);
/* Appends the table at idx as MessagePack, leniently: cycles, functions and what is too deep or too much become words. */
void zbz_log_pack(lua_State *L, const zbz_log_hub *hub, int idx, zbz_buf *out);

/* ---- records ---- */

/* Writes what stands on the stack: the message at `msg`, the fields behind it. Answers 0. */
int zbz_log_record(lua_State *L, zbz_bind *b, zbz_logger_box *box, zbz_level level, int msg);
/* What the predicates that are functions say of the fields at that place; the logger may be gone or another configuration in place after it. */
uint64_t zbz_log_judge(lua_State *L, zbz_logger_box *box, zbz_level level, int fields);
/* Ends a call whose fields are gathered; with `line` (given back) the outputs of the Lua part get theirs, else those are not served. Nothing of
 * Lua's runs between the write and the rendering: both use what the fields borrow. */
void zbz_log_finish(lua_State *L, zbz_bind *b, zbz_logger_box *box, zbz_level level, zbz_bytes msg, zbz_log_call *c,
                    bool ordered, zbz_buf *line);
/* Tells what is counted of the logger. */
void zbz_log_settle(lua_State *L, zbz_bind *b, zbz_logger_box *box);

/* ---- parts ---- */

/* The table at idx as settings; what they borrow lives as long as the values it leaves on the stack. Raises for what the Lua part would never send. */
void zbz_log_settings_read(lua_State *L, int idx, zbz_log_settings *out);
void zbz_open_log_output(lua_State *L);
void zbz_open_log_write(lua_State *L);
void zbz_open_log_event(lua_State *L);

#endif
