#include "object.h"

static const char *const kind_names[ZBZ_BOX_KINDS] = {
	[ZBZ_BOX_STORE] = "zbz.Store",     [ZBZ_BOX_CACHE] = "zbz.Cache",
	[ZBZ_BOX_TABLE] = "zbz.Table",     [ZBZ_BOX_FLIGHT] = "zbz.Flight",
	[ZBZ_BOX_FLIGHTS] = "zbz.Flights", [ZBZ_BOX_LOCK] = "zbz.Lock",
	[ZBZ_BOX_CLOCK] = "zbz.Clock",     [ZBZ_BOX_SUBSCRIPTION] = "zbz.Subscription",
	[ZBZ_BOX_SOURCE] = "zbz.Source",   [ZBZ_BOX_WATCH] = "zbz.core.Watch",
	[ZBZ_BOX_ALARM] = "zbz.Alarm",     [ZBZ_BOX_OUTPUT] = "zbz.Output",
};

void zbz_push_slot(lua_State *L, int slot) {
	zbz_getenv(L, lua_upvalueindex(1));
	lua_rawgeti(L, -1, slot);
	lua_remove(L, -2);
}

static void **push_shell(lua_State *L, size_t size) {
	void **shell;
	luaL_checkstack(L, 4, "zbz");
	if (zbz_bind_of(L)->closing) luaL_error(L, "zbz: the Lua state is closing");
	shell = zbz_newuserdata(L, size);
	memset(shell, 0, size);
	return shell;
}

/* The shell is on the top. */
static void *fill_shell(lua_State *L, void **shell, zbz_kind kind, size_t size) {
	zbz_bind *b = zbz_bind_of(L);
	zbz_box *box;
	zbz_push_slot(L, kind);
	lua_setmetatable(L, -2);
	box = zbz_calloc(1, size);
	if (box == NULL) luaL_error(L, "zbz: out of memory");
	*shell = box;
	box->release = b->release[kind];
	box->next = b->boxes;
	box->at = &b->boxes;
	if (box->next != NULL) box->next->at = &box->next;
	b->boxes = box;
	return box;
}

void *zbz_box_new(lua_State *L, zbz_kind kind, size_t size) {
	return fill_shell(L, push_shell(L, sizeof(void *)), kind, size);
}

void *zbz_box_new_marked(lua_State *L, zbz_kind kind, size_t size, const void *mark) {
	zbz_marked_shell *shell = (zbz_marked_shell *)push_shell(L, sizeof(*shell));
	shell->mark = mark;
	return fill_shell(L, &shell->box, kind, size);
}

void zbz_box_free(lua_State *L, zbz_box *box) {
	box->release(L, box);
	*box->at = box->next;
	if (box->next != NULL) box->next->at = box->at;
	zbz_free(box);
}

/* The shells that are still there are no longer ours: there is nothing left that they could point to. */
void zbz_boxes_close(lua_State *L, zbz_bind *b) {
	memset(b->mt, 0, sizeof(b->mt));
	while (b->boxes != NULL) zbz_box_free(L, b->boxes);
}

static zbz_kind kind_upvalue(lua_State *L) { return (zbz_kind)lua_tointeger(L, lua_upvalueindex(2)); }

/* __close and close of every kind. Upvalues: the record, the kind. */
static int box_close(lua_State *L) {
	zbz_box *box = zbz_box_test(L, zbz_bind_of(L), 1, kind_upvalue(L));
	if (box != NULL) box->release(L, box);
	return 0;
}

/* __gc of every kind. Upvalues as above. */
static int box_collect(lua_State *L) {
	zbz_box *box = zbz_box_test(L, zbz_bind_of(L), 1, kind_upvalue(L));
	if (box == NULL) return 0;
	*(void **)lua_touserdata(L, 1) = NULL;
	zbz_box_free(L, box);
	return 0;
}

static int collected(lua_State *L, const char *name, const char *op) {
	const char *noun = strrchr(name, '.');
	noun = noun != NULL ? noun + 1 : name;
	return luaL_error(L, "zbz: %s: the %c%s is closed", op, noun[0] | 0x20, noun + 1);
}

int zbz_box_mismatch(lua_State *L, int idx, zbz_kind kind, const char *op) {
	const zbz_bind *b = zbz_bind_of(L);
	const char *name = kind_names[kind] != NULL ? kind_names[kind] : "another userdata";
	const char *hint = idx == 1 && lua_type(L, 1) == LUA_TSTRING ? " (call it with a colon)" : "";
	if (b->closing) return luaL_error(L, "zbz: %s: everything is closed: the Lua state is closing", op);
	if (lua_touserdata(L, idx) != NULL && lua_getmetatable(L, idx) && lua_topointer(L, -1) == b->mt[kind])
		return collected(L, name, op);
	return luaL_error(L, "zbz: %s: %s expected, got %s%s", op, name, luaL_typename(L, idx), hint);
}

zbz_store_box *zbz_store_check(lua_State *L, const zbz_bind *b, int idx, const char *op) {
	zbz_store_box *s = zbz_box_check(L, b, idx, ZBZ_BOX_STORE, op);
	if (s->store == NULL) luaL_error(L, "zbz: %s: the store is closed", op);
	return s;
}

zbz_cache_box *zbz_cache_check(lua_State *L, const zbz_bind *b, int idx, const char *op) {
	zbz_cache_box *c = zbz_box_check(L, b, idx, ZBZ_BOX_CACHE, op);
	if (c->cache == NULL) luaL_error(L, "zbz: %s: the cache is closed", op);
	return c;
}

const zbz_clock *zbz_clock_arg(lua_State *L, const zbz_bind *b, int idx, const char *op, zbz_keep **keep) {
	zbz_clock_box *box;
	*keep = NULL;
	if (lua_isnoneornil(L, idx)) return zbz_clock_system();
	box = zbz_box_check(L, b, idx, ZBZ_BOX_CLOCK, op);
	if (box->clock == NULL) luaL_error(L, "zbz: %s: the clock is closed", op);
	*keep = box->keep;
	return box->clock;
}

/* ---- scratch ---- */

typedef struct buffer_box {
	zbz_box head;
	zbz_buf buf;
} buffer_box;

/* Is a C function of ours under way below the running one? Ours are known by their first upvalue. */
static bool under_way(lua_State *L, const zbz_bind *b) {
	lua_Debug ar;
	bool ours = false;
	int level;
	luaL_checkstack(L, 2, "zbz");
	for (level = 1; !ours && lua_getstack(L, level, &ar); level++) {
		if (!lua_getinfo(L, "f", &ar)) break;
		if (lua_iscfunction(L, -1) && lua_getupvalue(L, -1, 1) != NULL) {
			ours = lua_touserdata(L, -1) == b;
			lua_pop(L, 1);
		}
		lua_pop(L, 1);
	}
	return ours;
}

/* Busy means: a finalizer calls us inside one of our calls, or an earlier call was left by a Lua error (out of
 * memory) and the buffer is in truth free. The Lua stack tells which, for the coroutine that took it. */
zbz_buf *zbz_scratch_nested(lua_State *L, zbz_bind *b) {
	if (!b->closing && b->scratch_owner == L && !under_way(L, b)) {
		zbz_buf_reset(&b->scratch);
		return &b->scratch;
	}
	return zbz_scratch_second(L);
}

zbz_buf *zbz_scratch_second(lua_State *L) {
	buffer_box *box = zbz_box_new(L, ZBZ_BOX_BUFFER, sizeof(*box));
	return &box->buf;
}

static void buffer_release(lua_State *L, void *box) { zbz_buf_clear(&((buffer_box *)box)->buf); }

/* ---- registration ---- */

void zbz_functions(lua_State *L, int idx, const luaL_Reg *list) {
	for (; list->name != NULL; list++) {
		lua_pushstring(L, list->name);
		lua_pushvalue(L, lua_upvalueindex(1));
		lua_pushcclosure(L, list->func, 1);
		lua_rawset(L, idx);
	}
}

static void add_close(lua_State *L, int idx, const char *name, lua_CFunction close, zbz_kind kind) {
	lua_pushstring(L, name);
	lua_pushvalue(L, lua_upvalueindex(1));
	lua_pushinteger(L, kind);
	lua_pushcclosure(L, close, 2);
	lua_rawset(L, idx);
}

void zbz_class(lua_State *L, zbz_kind kind, const char *name, void (*release)(lua_State *, void *),
               const char *close_name, const luaL_Reg *methods) {
	zbz_bind *b = zbz_bind_of(L);
	int top = lua_gettop(L), mt = top + 1;
	luaL_checkstack(L, 8, "zbz");
	lua_newtable(L);
	lua_pushstring(L, name);
	lua_setfield(L, mt, "__name");
	add_close(L, mt, "__gc", box_collect, kind);
	add_close(L, mt, "__close", box_close, kind);
	lua_newtable(L);
	if (methods != NULL) zbz_functions(L, mt + 1, methods);
	if (close_name != NULL) add_close(L, mt + 1, close_name, box_close, kind);
	lua_setfield(L, mt, "__index");
	b->mt[kind] = lua_topointer(L, mt);
	b->release[kind] = release;
	zbz_getenv(L, lua_upvalueindex(1));
	lua_pushvalue(L, mt);
	lua_rawseti(L, -2, kind);
	lua_settop(L, top);
}

void zbz_push_methods(lua_State *L, zbz_kind kind) {
	zbz_push_slot(L, kind);
	lua_getfield(L, -1, "__index");
	lua_remove(L, -2);
}

void zbz_open_object(lua_State *L) { zbz_class(L, ZBZ_BOX_BUFFER, "zbz.buffer", buffer_release, NULL, NULL); }
