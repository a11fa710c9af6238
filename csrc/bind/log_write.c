/* The calls: levels of a logger, the same without one. A call never raises but when memory for Lua's own values is out. */
#include "log.h"

#include <stdlib.h>

/* ---- 1. The table form ---- */

typedef struct door {
	zbz_logger_box *box;
	zbz_level level;
	int msg, fields;       /* on the stack */
	int caller, traceback; /* 0: none */
	int pairs, pairs_n;    /* the fields once more, where Lua had to be asked; 0: not */
	uint64_t cdata;        /* which of the pairs */
	bool more;
} door;

static bool is_string(lua_State *L, int idx) { return lua_type(L, idx) == LUA_TSTRING; }

/* The value at idx becomes a text. */
static void make_text(lua_State *L, zbz_log_hub *hub, int idx) {
	switch (lua_type(L, idx)) {
	case LUA_TSTRING: return;
	case LUA_TNUMBER: lua_tolstring(L, idx, NULL); return;
	case LUA_TNIL:
	case LUA_TNONE: lua_pushliteral(L, "nil"); break;
	case LUA_TBOOLEAN: lua_pushstring(L, lua_toboolean(L, idx) ? "true" : "false"); break;
	default: zbz_log_ask(L, hub, idx); return;
	}
	lua_replace(L, idx);
}

/* All pairs onto the stack, with texts in place of what only Lua can tell. */
static void ask_all(lua_State *L, zbz_log_hub *hub, door *d) {
	int i;
	d->pairs = lua_gettop(L) + 1;
	d->pairs_n = 0;
	lua_pushnil(L);
	while (d->pairs_n < ZBZ_LOG_FIELDS_MAX && lua_checkstack(L, 12) && lua_next(L, d->fields)) {
		lua_pushvalue(L, -2);
		d->pairs_n++;
	}
	d->more = d->pairs_n == ZBZ_LOG_FIELDS_MAX;
	lua_settop(L, d->pairs + 2 * d->pairs_n - 1);
	for (i = 0; i < d->pairs_n; i++) {
		int key = d->pairs + 2 * i;
		if (lua_type(L, key) == LUA_TNUMBER || is_string(L, key)) {
			lua_tolstring(L, key, NULL);
		} else {
			lua_pushfstring(L, "(%s)", luaL_typename(L, key));
			lua_replace(L, key);
		}
		if (lua_type(L, key + 1) == ZBZ_TCDATA) d->cdata |= (uint64_t)1 << i;
		if (zbz_log_asks(L, hub, key + 1)) zbz_log_ask(L, hub, key + 1);
	}
}

/* LuaJIT's 64-bit integers, as their text: 42LL, 42ULL. */
static void read_int64(zbz_field *f) {
	char digits[32];
	size_t n = f->v.s.n;
	bool is_unsigned = n > 3 && memcmp(f->v.s.p + n - 3, "ULL", 3) == 0;
	size_t tail = is_unsigned ? 3 : 2;
	if (n <= tail || n >= sizeof digits || memcmp(f->v.s.p + n - 2, "LL", 2) != 0) return;
	memcpy(digits, f->v.s.p, n - tail);
	digits[n - tail] = '\0';
	if (strspn(digits + (digits[0] == '-'), "0123456789") != n - tail - (digits[0] == '-')) return;
	if (is_unsigned) {
		f->type = ZBZ_FIELD_UINT;
		f->v.u = strtoull(digits, NULL, 10);
	} else {
		f->type = ZBZ_FIELD_INT;
		f->v.i = strtoll(digits, NULL, 10);
	}
}

static void add_text(zbz_log_call *c, const char *name, int idx) {
	zbz_field *f = &c->fields[c->n++];
	f->key = zbz_log_key_of(c->hub->view, zbz_bstr(name));
	f->type = ZBZ_FIELD_TEXT;
	f->guard = ZBZ_GUARD_NONE;
	f->v.s = zbz_string_at(c->L, idx);
}

static void add_pairs(zbz_log_call *c, const door *d) {
	int i;
	for (i = 0; i < d->pairs_n && c->n < ZBZ_LOG_FIELDS_MAX; i++) {
		int key = d->pairs + 2 * i;
		zbz_field *f = &c->fields[c->n];
		if (!zbz_log_value(c, key + 1, f)) {
			f->type = ZBZ_FIELD_TEXT;
			f->v.s = zbz_bstr("(object)");
		}
		if ((d->cdata >> i & 1) != 0 && f->type == ZBZ_FIELD_TEXT) read_int64(f);
		f->key = zbz_log_key_of(c->hub->view, zbz_string_at(c->L, key));
		c->n++;
	}
	c->cut = c->cut || d->more;
}

/* log.info("it failed", err): one value instead of a table of fields. */
static bool add_single(zbz_log_call *c, int idx) {
	zbz_field *f = &c->fields[c->n];
	if (!zbz_log_value(c, idx, f)) return false;
	f->key = zbz_log_key_of(c->hub->view, zbz_bstr(f->type == ZBZ_FIELD_ERROR ? "error" : "value"));
	c->n++;
	return true;
}

/* An error or a wrapped value; a plain table is fields. */
static bool is_single(lua_State *L, const zbz_log_hub *hub, int idx) {
	const void *mt;
	bool error;
	int i;
	if (!lua_istable(L, idx)) return true;
	if (!lua_getmetatable(L, idx)) return false;
	mt = lua_topointer(L, -1);
	lua_pop(L, 1);
	for (i = 0; i < ZBZ_WRAPS; i++) {
		if (hub->typed_mt[i] == mt) return true;
	}
	zbz_push_slot(L, ZBZ_SLOT_ERROR_MT);
	error = lua_topointer(L, -1) == mt;
	lua_pop(L, 1);
	return error;
}

/* false: Lua has to be asked first. */
static bool gather(zbz_log_call *c, const door *d) {
	zbz_call_begin(c, c->L, c->hub);
	if (d->caller != 0) add_text(c, "caller", d->caller);
	if (d->traceback != 0) add_text(c, "traceback", d->traceback);
	if (d->pairs != 0) {
		add_pairs(c, d);
		return true;
	}
	if (lua_isnoneornil(c->L, d->fields)) return true;
	if (is_single(c->L, c->hub, d->fields)) return add_single(c, d->fields);
	return zbz_log_table(c, d->fields);
}

static void add_place(lua_State *L, door *d) {
	if (d->box->caller) {
		size_t n;
		const char *place;
		zbz_push_place(L);
		place = lua_tolstring(L, -1, &n);
		lua_pushlstring(L, place, n > 2 ? n - 2 : 0);
		lua_remove(L, -2);
		d->caller = lua_gettop(L);
	}
	if (d->box->traceback != 0 && (int)d->level >= d->box->traceback) {
		luaL_traceback(L, L, NULL, 1);
		d->traceback = lua_gettop(L);
	}
}

static void push_or_nil(lua_State *L, int idx) {
	if (idx != 0)
		lua_pushvalue(L, idx);
	else
		lua_pushnil(L);
}

/* Processors of the Lua part see a table of fields and give another. */
static void process(lua_State *L, door *d) {
	int i;
	zbz_push_slot(L, ZBZ_SLOT_LOG_CALLS);
	lua_rawgeti(L, -1, ZBZ_LOG_PROCESS);
	lua_remove(L, -2);
	lua_pushvalue(L, d->msg);
	lua_pushvalue(L, d->fields);
	push_or_nil(L, d->caller);
	push_or_nil(L, d->traceback);
	if (lua_pcall(L, 4, 4, 0) != 0) {
		lua_pop(L, 1); /* rather nothing than what should not be seen */
		lua_pushliteral(L, "(a processor of the log failed)");
		for (i = 0; i < 3; i++) lua_pushnil(L);
	}
	d->msg = lua_gettop(L) - 3;
	d->fields = d->msg + 1;
	d->caller = lua_isstring(L, d->msg + 2) ? d->msg + 2 : 0;
	d->traceback = lua_isstring(L, d->msg + 3) ? d->msg + 3 : 0;
}

static void write_slowly(lua_State *L, zbz_bind *b, door *d, zbz_log_call *c, zbz_buf *line) {
	zbz_log_hub *hub = d->box->hub;
	uint64_t answers = UINT64_MAX;
	unsigned turn, before = hub->turn;
	if (!is_string(L, d->msg)) make_text(L, hub, d->msg);
	if (hub->processors) process(L, d);
	if (!is_string(L, d->msg)) make_text(L, hub, d->msg);
	if (hub->judges && d->box->logger != NULL) answers = zbz_log_judge(L, d->box, d->level, d->fields);
	if (lua_istable(L, d->fields) && !is_single(L, hub, d->fields)) {
		ask_all(L, hub, d);
	} else if (zbz_log_asks(L, hub, d->fields)) {
		zbz_log_ask(L, hub, d->fields);
	}
	if (d->box->logger == NULL || !zbz_logger_wants(d->box->logger, d->level, &turn)) {
		if (line != NULL) zbz_scratch_give(b, line);
		return;
	}
	zbz_log_turn(hub, turn);
	if (turn == before)
		zbz_logger_given(d->box->logger, answers); /* else these were the predicates of another configuration */
	if (!gather(c, d)) zbz_call_begin(c, L, hub);  /* it changed its mind about what it is */
	zbz_log_finish(L, b, d->box, d->level, zbz_string_at(L, d->msg), c, false, line);
}

int zbz_log_record(lua_State *L, zbz_bind *b, zbz_logger_box *box, zbz_level level, int msg) {
	zbz_log_call c;
	door d = { box, level, msg, msg + 1, 0, 0, 0, 0, 0, false };
	zbz_buf *line = NULL;
	unsigned turn;
	if (!zbz_logger_wants(box->logger, level, &turn)) return 0;
	if (lua_gettop(L) < msg + 1) lua_settop(L, msg + 1);
	c.L = L;
	c.hub = box->hub;
	if (box->hub->own || box->caller || box->traceback != 0) {
		if (box->hub->own) line = zbz_scratch_take(L, b);
		add_place(L, &d);
		if (box->logger == NULL || !zbz_logger_wants(box->logger, level, &turn)) {
			if (line != NULL) zbz_scratch_give(b, line);
			return 0;
		}
	}
	zbz_log_turn(box->hub, turn);
	if (box->hub->processors || box->hub->judges || !is_string(L, msg) || !gather(&c, &d)) {
		write_slowly(L, b, &d, &c, line);
	} else {
		zbz_log_finish(L, b, box, level, zbz_string_at(L, msg), &c, false, line);
	}
	return 0;
}

/* logger.info("text") instead of logger:info("text"): what it says must not get lost. */
static int no_logger(lua_State *L) {
	lua_settop(L, 1);
	zbz_push_slot(L, ZBZ_SLOT_LOG_CALLS);
	lua_getfield(L, -1, "misuse");
	if (lua_isfunction(L, -1)) {
		lua_pushvalue(L, 1);
		if (lua_pcall(L, 1, 0, 0) != 0) lua_pop(L, 1);
	}
	return 0;
}

static int write_method(lua_State *L, zbz_level level) {
	zbz_logger_box *box = zbz_logger_at(L, 1);
	return box != NULL ? zbz_log_record(L, zbz_bind_of(L), box, level, 2) : no_logger(L);
}

static int log_trace(lua_State *L) { return write_method(L, ZBZ_LEVEL_TRACE); }
static int log_debug(lua_State *L) { return write_method(L, ZBZ_LEVEL_DEBUG); }
static int log_info(lua_State *L) { return write_method(L, ZBZ_LEVEL_INFO); }
static int log_warn(lua_State *L) { return write_method(L, ZBZ_LEVEL_WARN); }
static int log_error(lua_State *L) { return write_method(L, ZBZ_LEVEL_ERROR); }
static int log_fatal(lua_State *L) { return write_method(L, ZBZ_LEVEL_FATAL); }

/* Upvalues: the record, the logger, the level. */
static int log_plain(lua_State *L) {
	zbz_logger_box *box = zbz_logger_at(L, lua_upvalueindex(2));
	int msg = lua_type(L, 1) == LUA_TTABLE && lua_type(L, 2) == LUA_TSTRING ? 2 : 1; /* log:info("...") on the module */
	if (box == NULL) return 0;
	return zbz_log_record(L, zbz_bind_of(L), box, (zbz_level)lua_tointeger(L, lua_upvalueindex(3)), msg);
}

/* log_plain(logger, level): the call without a logger in front. */
static int make_plain(lua_State *L) {
	if (zbz_logger_at(L, 1) == NULL) return luaL_error(L, "zbz: log_plain: a logger expected");
	lua_pushvalue(L, lua_upvalueindex(1));
	lua_pushvalue(L, 1);
	lua_pushinteger(L, luaL_checkinteger(L, 2));
	lua_pushcclosure(L, log_plain, 3);
	return 1;
}

/* ---- 2. Bound fields ---- */

void zbz_logger_push_like(lua_State *L, int idx, zbz_logger *logger);

/* 00-<32 hex>-<16 hex>-<2 hex> of W3C Trace Context. */
static bool is_traceparent(zbz_bytes s) {
	size_t i;
	if (s.n != 55) return false;
	for (i = 0; i < s.n; i++) {
		bool dash = i == 2 || i == 35 || i == 52;
		bool hex = (s.p[i] >= '0' && s.p[i] <= '9') || (s.p[i] >= 'a' && s.p[i] <= 'f');
		if (dash ? s.p[i] != '-' : !hex) return false;
	}
	return memcmp(s.p, "ff", 2) != 0;
}

static void add_part(zbz_log_call *c, const char *name, const char *p, size_t n) {
	zbz_field *f = &c->fields[c->n++];
	memset(f, 0, sizeof(*f));
	f->key = zbz_log_key_of(c->hub->view, zbz_bstr(name));
	f->type = ZBZ_FIELD_TEXT;
	f->v.s = zbz_b(p, n);
}

static void split_traceparent(zbz_log_call *c) {
	size_t i;
	for (i = 0; i < c->n && c->n + 2 <= ZBZ_LOG_FIELDS_MAX; i++) {
		zbz_field *f = &c->fields[i];
		const char *p = f->v.s.p;
		if (f->type != ZBZ_FIELD_TEXT || f->key != zbz_log_key_of(c->hub->view, zbz_bstr("traceparent"))) continue;
		if (!is_traceparent(f->v.s)) return;
		f->key = zbz_log_key_of(c->hub->view, zbz_bstr("trace_id"));
		f->v.s = zbz_b(p + 3, 32);
		add_part(c, "span_id", p + 36, 16);
		add_part(c, "trace_flags", p + 53, 2);
		return;
	}
}

enum { TELL_BYTES = 1 << 16, TELL_MOST = 1 << 30 };

/* A collector that counts only its own bytes would let a loop of with{} grow to many times those. A program that has stopped it meant that. Finalizers run
 * here: the hub is not touched afterwards. */
static void tell_collector(lua_State *L, zbz_log_hub *hub, const zbz_logger *made) {
	size_t bytes = hub->unseen += zbz_logger_weight(made);
	if (bytes < TELL_BYTES || !lua_gc(L, LUA_GCISRUNNING, 0)) return;
	hub->unseen = 0;
	lua_gc(L, LUA_GCSTEP, (int)((bytes < TELL_MOST ? bytes : TELL_MOST) >> 10));
}

static int log_with(lua_State *L) {
	zbz_logger_box *box = zbz_logger_at(L, 1);
	zbz_log_call c;
	door d = { box, ZBZ_LEVEL_INFO, 0, 2, 0, 0, 0, 0, 0, false };
	zbz_logger *made;
	unsigned turn;
	if (box == NULL)
		return zbz_raise(L, "zbz: with: a logger expected, got %s (call it with a colon)", luaL_typename(L, 1));
	if (!lua_istable(L, 2)) return zbz_raise(L, "zbz: with: a table of fields expected, got %s", luaL_typename(L, 2));
	lua_settop(L, 2);
	c.L = L;
	c.hub = box->hub;
	zbz_logger_wants(box->logger, ZBZ_LEVEL_FATAL, &turn);
	zbz_log_turn(box->hub, turn);
	if (box->hub->processors || !gather(&c, &d)) {
		if (box->hub->processors) {
			lua_pushliteral(L, "");
			d.msg = lua_gettop(L);
			process(L, &d);
		}
		if (lua_istable(L, d.fields)) ask_all(L, box->hub, &d);
		zbz_logger_wants(box->logger, ZBZ_LEVEL_FATAL, &turn);
		zbz_log_turn(box->hub, turn);
		if (!gather(&c, &d)) zbz_call_begin(&c, L, box->hub);
	}
	zbz_call_settle(&c);
	split_traceparent(&c);
	made = zbz_logger_with(box->logger, c.fields, c.n);
	if (made == NULL) return luaL_error(L, "zbz: with: out of memory");
	zbz_logger_push_like(L, 1, made);
	tell_collector(L, c.hub, made);
	return 1;
}

static const luaL_Reg methods[] = {
	{ "trace", log_trace }, { "debug", log_debug }, { "info", log_info }, { "warn", log_warn },
	{ "error", log_error }, { "fatal", log_fatal }, { "with", log_with }, { NULL, NULL },
};
static const luaL_Reg functions[] = { { "log_plain", make_plain }, { NULL, NULL } };

void zbz_open_log_write(lua_State *L) {
	zbz_functions(L, 1, functions);
	lua_newtable(L);
	zbz_functions(L, lua_gettop(L), methods);
	lua_setfield(L, 1, "log_methods");
}
