/* Memory that runs out while calls are parked: at every single request of Lua's, and at every one of the core's. What is collected
 * then may have a finalizer that finds no memory to run in: Lua drops the error and frees the object all the same. Links Lua 5.4
 * and the objects of the binding. */
#include "check.h"
#include "faults.h"
#include "states.h"

static const char setup[] =
    "core = require('zbz.core')\n"
    "doors, whole = core.table_doors, core.cache_doors\n"
    "function open()\n"
    "  local store = assert(core.open_store{provider='fault', delay='1ms', inner={provider='memory'}})\n"
    "  local cache = assert(core.new_cache(store, {key_prefix='p:'}))\n"
    "  return cache, assert(core.new_table(cache, {name='t', codec='json', envelope=true})), store\n"
    "end\n"
    "function settle(handle, ticket, id, ...)\n"
    "  if not ticket then return id, ... end\n"
    "  local got; repeat got = core.poll_next(5000) until got == id or not got\n"
    "  return core.finish(ticket, handle)\n"
    "end\n"
    "function at(depth, fn) if depth == 0 then fn() else at(depth - 1, fn); depth = nil end end\n"
    "cache, t, store = open()\n"
    "for i = 1, 3 do t:set('k' .. i, {i}) end\n"
    "keys, map = {'k1', 'none', 'k3'}, {a={1}, b=core.item({2}, 5)}\n"
    /* a leader that could not be collected stays the leader: another key each time */
    "number = 0; function fly(name) number = number + 1; name = name .. number; return t:flight(name), name end\n";

/* Each ends with garbage that has something of ours to give back, and collects it while there is no memory. */
static const char *const scripts[] = {
	"doors.set(t, 'a', {1}); doors.get(t, 'k1'); doors.get_multi(t, keys); doors.set_multi(t, map); collectgarbage()",
	"whole.ping(cache); doors.get(t, 'k1'); doors.delete(t, 'k2'); collectgarbage(); core.poll_next(2); "
	"collectgarbage()",
	"local c, u, s = open(); doors.set(u, 'k', {1}); doors.get(u, 'k'); c:close(); c, u, s = nil; collectgarbage()",
	"local c, u, s = open(); local ticket = doors.get(u, 'k'); s:close(); core.abandon(ticket); collectgarbage(); "
	"collectgarbage(); c:close()",
	"local f, key = fly('x'); local w = t:flight(key); w:park(); f:land('value', '1'); f, w = nil; collectgarbage(); "
	"core.poll_next(2)",
	"local f, key = fly('y'); doors.commit(t, f, key, '[1]', {}); f = nil; collectgarbage(); collectgarbage()",
	"local f, key = fly('y'); local ticket, id = doors.commit(t, f, key, '[1]', {}); f = nil; collectgarbage(); "
	"settle(t, ticket, id)",
	"local it, listing = core.listing(t, 'k*'); local page = doors.keys; local ticket, id = page(listing); "
	"collectgarbage(); "
	"settle(listing, ticket, id); it(); it, listing, page, ticket = nil; collectgarbage()",
	"doors.keys((select(2, core.listing(t, 'k*')))); for k in t:keys('k*') do end; local it = t:keys('k*'); it(); it = "
	"nil; "
	"collectgarbage()",
	"for i = 1, 3 do doors.get(t, 'k' .. i); t:flight('z' .. i); core.fake_clock(i); core.flights():flight('f') "
	"collectgarbage('step', 100) end; collectgarbage()",
	"setmetatable({}, {__gc = function() doors.get(t, 'k1'); settle(t, doors.set(t, 'k3', {3})); fly('g'):leave() "
	"end}); "
	"settle(t, doors.get(t, 'k1')); collectgarbage()",
};
enum { SCRIPTS = sizeof(scripts) / sizeof(scripts[0]) };

/* Makes boxes of every kind that the ones before may stand beside, and takes what has arrived. */
static const char after[] =
    "while core.poll_next(1) do end\n"
    "assert(settle(t, doors.get(t, 'k1'))[1] == 1)\n"
    "local f, key = fly('after'); assert(settle(t, doors.commit(t, f, key, '[1]', {})) ~= nil); "
    "f:leave()\n"
    "local c, u, s = open(); doors.get(u, 'k1'); c:close(); s:close()\n";

static bool lua_failed(void *m) { return ((meter *)m)->failed; }

static void core_begin(void *ud, long n) {
	(void)ud;
	faults.calls = 0;
	faults.failed = false;
	faults.fail = n;
}
static void core_end(void *ud) {
	(void)ud;
	faults.fail = 0;
}
static bool core_failed(void *ud) {
	(void)ud;
	return faults.failed;
}

typedef struct shortage {
	void (*begin)(void *ud, long n);
	void (*end)(void *ud);
	bool (*happened)(void *ud);
} shortage;

static const shortage of_lua = { meter_begin, meter_end, lua_failed };
static const shortage of_core = { core_begin, core_end, core_failed };

/* One state goes through all the failures of a script; what they leave behind would show as memory at the end. */
static void sweep(const char *script, int depth, const shortage *of) {
	meter m = { 0 };
	lua_State *L = open_state(metered, &m);
	char code[1024];
	bool ok = false;
	long n;
	snprintf(code, sizeof(code), "at(%d, function() %s end)", depth, script);
	CHECK(run(L, setup));
	for (n = 1; n < 2000; n++) {
		lua_gc(L, LUA_GCCOLLECT);
		ok = run_short(L, code, of->begin, of->end, &m, n);
		lua_gc(L, LUA_GCCOLLECT);
		CHECK(run(L, after));
		if (!of->happened(&m)) break;
	}
	if (!ok || n >= 2000) fprintf(stderr, "at depth %d, request %ld: %s\n", depth, n, script);
	CHECK(ok && n > 1 && n < 2000);
	lua_close(L);
	CHECK(m.in_use == 0);
}

/* How deep the stack is when it must grow for a finalizer is for Lua to know: so several depths. */
static void test_lua_memory(void) {
	long live;
	int i, depth;
	faults_begin(0);
	for (i = 0; i < SCRIPTS; i++) {
		for (depth = 0; depth < 8; depth++) sweep(scripts[i], depth, &of_lua);
	}
	faults_end(&live);
	CHECK(live == 0);
}

static void test_core_memory(void) {
	long live;
	int i;
	faults_begin(0);
	for (i = 0; i < SCRIPTS; i++) sweep(scripts[i], 0, &of_core);
	faults_end(&live);
	CHECK(live == 0);
}

/* At the end of the state, too, and over calls that are still under way. */
static void test_closing(void) {
	long live;
	int i;
	faults_begin(0);
	for (i = 0; i < SCRIPTS; i++) {
		lua_State *L = open_state(NULL, NULL);
		CHECK(run(L, setup));
		CHECK(run(L, scripts[i]));
		CHECK(run(
		    L, "ticket = doors.get(t, 'k1'); _, listing = core.listing(t, 'k*'); page = doors.keys(listing)\n"
		       "setmetatable({}, {__gc = function() pcall(core.finish, ticket, t); pcall(core.finish, page, listing) "
		       "pcall(t.get, t, 'k1'); core.abandon(ticket) end})\n"
		       "setmetatable({}, {__gc = function() core.poll_next(20) core.poll_next(20) end})"));
		lua_close(L);
	}
	faults_end(&live);
	CHECK(live == 0);
}

int main(void) {
	RUN(test_lua_memory);
	RUN(test_core_memory);
	RUN(test_closing);
	return DONE();
}
