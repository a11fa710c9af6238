/* Lua states from outside: memory that runs out at every single allocation (of Lua's and of the core's), states
 * that close with everything open, several states in several threads. Links Lua 5.4 and the objects of the binding. */
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "faults.h"
#include "mailer.h"
#include "states.h"

static const char setup[] =
    "core = require('zbz.core')\n"
    "store = assert(core.open_store{provider='memory'})\n"
    "cache = assert(core.new_cache(store, {key_prefix='p:'}))\n"
    "function new(codec) return assert(core.new_table(cache, {name=codec, codec=codec, envelope=codec=='json'})) end\n"
    "bytes, json, pack, auto = new'bytes', new'json', new'msgpack', new'auto'\n"
    "for i = 1, 40 do bytes:set('k'..i, 'v'..i); json:set('k'..i, {i, {x='v'}}); pack:set('k'..i, {i}); "
    "auto:set('k'..i, i) end\n"
    "keys = {'k1', 'k2', 'none', 'k3'}\n"
    "map = {a={1, {2}}, b=core.item({3}, 5)}\n";

static const char verify[] = "assert(bytes:get('k1') == 'v1')\n"
                             "assert(json:get('k1')[2].x == 'v' and pack:get('k2')[1] == 2 and auto:get('k3') == 3)\n"
                             "assert(bytes:get_multi(keys).k2 == 'v2')\n"
                             "local f, seat = json:flight('load'); assert(seat == 'leads', seat); f:leave()\n"
                             "local n = 0; for k in bytes:keys() do n = n + 1 end; assert(n >= 40)\n";

/* Each runs on its own, with all the memory up to the n-th request. */
static const char *const scripts[] = {
	"assert(bytes:get('k1'))",
	"assert(json:get('k1'))",
	"assert(json:get_with('k1'))",
	"assert(json:set('s', {1, {2}, 'x'}, {ttl=5}))",
	"assert(json:get_multi(keys))",
	"assert(json:set_multi(map, '5s'))",
	"assert(bytes:delete_multi{'q1', 'q2'})",
	"local f, seat = json:flight('load'); local w = json:flight('load')\n"
	"local lease = json:lease('load', nil, nil, 1000)\n"
	"local b = assert(json:encode{1, 2}); assert(json:commit(f, 'load', b, {ttl_ms=1000, lease=lease}) ~= nil)\n"
	"f:land('value', b); w:wait(core.mono() + 1000); w:result(); json:entry('load'); json:delete('load')",
	"local n = 0; for k in bytes:keys() do n = n + #k end",
	"bytes:keys('k*')()",
	"local s = assert(core.open_store{provider='memory', max_size='1MB'}); local c = assert(core.new_cache(s, "
	"{clock=core.fake_clock(5)}))\n"
	"local t = assert(core.new_table(c, {name='n', codec='auto', env={}})); t:set('k', {1}); t:get('k'); "
	"c:store():config(); c:close()",
	"core.uri('redis://me:pw@host:1/x?a=b'); core.providers(); core.provider_info('memory'); core.fd(); "
	"core.poll_next(0)",
	"cache:provider_stats(); cache:inspect('p:bytes:k1'); cache:command{{'GET', 'x', 5}}",
	"local s, e = json:get(''); assert(e.code == 'invalid_key'); pcall(json.get, json, 5); pcall(json.set, json, 'k', "
	"1, {tl=5})",
	"local a = assert(core.alarm()); assert(a:set(5)); a:fd(); a:close()",
	"local w = assert(core.watch(nil, 'k', {debounce=5, max_size=50}, function() end)); w:answer('x'); w:take(); "
	"w:answer(false, 'why'); w:take(); w:info(); w:close()\n"
	"assert(core.open_source{provider='file', dir='/tmp', polling=true}):close(); "
	"assert(core.cache_source(cache)):close()",
	"core.envelope_open(core.envelope_seal({expire_at=5, stored_at=1}, 'x'), 3)",
};
enum { SCRIPTS = sizeof(scripts) / sizeof(scripts[0]) };

/* One state survives all the failures; what they leave behind would show as a flight that is still led, or as
 * memory at the end. */
static void test_lua_memory(void) {
	long live;
	int i;
	faults_begin(0);
	for (i = 0; i < SCRIPTS; i++) {
		meter m = { 0 };
		lua_State *L = open_state(metered, &m);
		bool ok = false;
		long n;
		CHECK(run(L, setup));
		for (n = 1; n < 2000; n++) {
			ok = run_short(L, scripts[i], meter_begin, meter_end, &m, n);
			if (!m.failed) break;
			lua_gc(L, LUA_GCCOLLECT);
		}
		if (!ok || n >= 2000) fprintf(stderr, "script %d, request %ld\n", i, n);
		CHECK(ok && n < 2000);
		CHECK(run(L, verify));
		lua_close(L);
		CHECK(m.in_use == 0);
	}
	faults_end(&live);
	CHECK(live == 0);
}

/* Even while the module is opened. */
static void test_lua_memory_opening(void) {
	long live, n;
	faults_begin(0);
	for (n = 1; n < 5000; n++) {
		meter m = { 0 };
		lua_State *L = lua_newstate(metered, &m);
		bool ok;
		luaL_openlibs(L);
		meter_begin(&m, n);
		lua_pushcfunction(L, luaopen_zbz_core);
		ok = lua_pcall(L, 0, 0, 0) == LUA_OK;
		meter_end(&m);
		lua_close(L);
		CHECK(m.in_use == 0);
		CHECK(ok == !m.failed);
		if (ok) break;
	}
	CHECK(n < 5000);
	faults_end(&live);
	CHECK(live == 0);
}

/* ---- the core's allocator ---- */

static void faults_on(void *ud, long n) {
	(void)ud;
	faults.calls = 0;
	faults.failed = false;
	faults.fail = n;
}
static void faults_off(void *ud) {
	(void)ud;
	faults.fail = 0;
}

static void test_core_memory(void) {
	long live;
	int i;
	faults_begin(0);
	for (i = 0; i < SCRIPTS; i++) {
		lua_State *L = open_state(NULL, NULL);
		long n;
		CHECK(run(L, setup));
		for (n = 1; n < 2000; n++) {
			run_short(L, scripts[i], faults_on, faults_off, NULL, n);
			if (!faults.failed) break;
		}
		CHECK(n < 2000);
		lua_gc(L, LUA_GCCOLLECT);
		CHECK(run(L, verify));
		lua_close(L);
	}
	faults_end(&live);
	CHECK(live == 0);
}

/* ---- closing with everything open ---- */

static void test_close_with_all_open(void) {
	static const char open_all[] =
	    "clock = core.fake_clock(1000); fs = core.flights()\n"
	    "it = bytes:keys(); it(); f = json:flight('x'); w = json:flight('x'); g = fs:flight('y')\n"
	    "setmetatable({}, {__gc = function() pcall(bytes.get, bytes, 'k1'); pcall(json.set, json, 'z', {1}); "
	    "pcall(bytes.keys, bytes)\n"
	    "  pcall(core.poll_next, 0); pcall(core.fd); pcall(json.get_multi, json, keys) end})\n"
	    "other = core.new_cache(core.open_store({provider='memory'}, clock), {clock=clock}); core.fd()\n";
	static const char *const order[] = { "", "collectgarbage('generational')",
		                                 "core=nil store=nil cache=nil collectgarbage()", "cache:close()",
		                                 "store:close() cache:close() clock=nil" };
	long live;
	size_t i;
	faults_begin(0);
	for (i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		lua_State *L = open_state(NULL, NULL);
		CHECK(run(L, setup));
		CHECK(run(L, open_all));
		CHECK(run(L, order[i]));
		lua_close(L);
	}
	faults_end(&live);
	CHECK(live == 0);
}

/* ---- states in threads ---- */

static const char busy[] =
    "for round = 1, 300 do\n"
    "  local k = 'k' .. round % 40 + 1\n"
    "  assert(bytes:get(k)); assert(json:set(k, {round})); assert(json:get(k)[1] == round)\n"
    "  assert(json:get_multi(keys)); local f <close> = json:flight(k); json:commit(f, k, '[0]'); f:land('value', "
    "'[0]')\n"
    "  if round % 50 == 0 then for _ in bytes:keys('k1*') do end collectgarbage() core.poll_next(0) end\n"
    "end\n";

static void *thread_main(void *result) {
	int round;
	bool ok = true;
	for (round = 0; round < 5 && ok; round++) {
		lua_State *L = open_state(NULL, NULL);
		ok = run(L, setup) && run(L, busy) && run(L, "assert(bytes:get('k1') == 'v1' and pack:get('k2')[1] == 2)");
		lua_close(L);
	}
	*(bool *)result = ok;
	return NULL;
}

static void test_threads(void) {
	pthread_t thread[4];
	bool ok[4] = { false };
	int i;
	for (i = 0; i < 4; i++) CHECK(pthread_create(&thread[i], NULL, thread_main, &ok[i]) == 0);
	for (i = 0; i < 4; i++) pthread_join(thread[i], NULL);
	for (i = 0; i < 4; i++) CHECK(ok[i]);
}

/* ---- commands and messages ---- */

static const char mail_setup[] =
    "core = require('zbz.core')\n"
    "function open(count) return assert(core.new_cache(assert(core.open_store{provider='mailer', count=count}), {})) "
    "end\n"
    "cache = open(3)\n"
    "function all(wanted)\n"
    "  local got = {}\n"
    "  while #got < wanted do\n"
    "    local fn, channel, payload = core.poll_next(5000)\n"
    "    assert(fn, channel)\n"
    "    got[#got + 1] = fn(channel, payload)\n"
    "  end\n"
    "  return got\n"
    "end\n"
    "function tell(channel, payload) return channel .. '=' .. tostring(payload) end\n";

static const char mail_commands[] =
    "local r = assert(cache:command{{'SET', 'k', 5, 1.5, -0.25}, {'NIL'}, {'ERR'}})\n"
    "assert(#r == 3 and table.concat(r[1], ' ') == 'SET k 5 1.5 -0.25')\n"
    "assert(r[2] == core.null and r[3].message == 'bad' and getmetatable(r[3]) == core.error_mt)\n"
    "local v, err = cache:command{{'BROKEN'}}; assert(v == nil and err.code == 'decode', err and err.code)\n";

static const char mail_messages[] =
    "local s = assert(cache:subscribe({'a', 'b'}, false, tell))\n"
    "assert(table.concat(all(3), ',') == 'b=message 1,b=nil,b=message 3')\n"
    "assert(core.poll_next(0) == nil and not s:closed())\n"
    "s:close(); s:close(); assert(s:closed())\n"
    "local v, err = cache:subscribe('refused', false, tell); assert(v == nil and err.code == 'denied')\n"
    /* unreferenced, it goes on; a message of a closed one is passed over */
    "cache:subscribe('c', true, tell); collectgarbage(); collectgarbage(); assert(#all(3) == 3)\n"
    "local d = cache:subscribe('d', true, tell); local e = cache:subscribe('e', false, tell); d:close(); "
    "assert(all(3)[1] == 'e=message 1')\n"
    "cache:close(); assert(e:closed() and core.poll_next(0) == nil)\n";

/* More than a mailbox holds, nobody listening: the newest are lost, and the loss is told. */
static const char mail_flood[] =
    "local flood = open(40000); local s = assert(flood:subscribe('x', false, function(_, p) return p or false end))\n"
    "local n, gaps = 0, 0\n"
    "local function take(ms) local fn, c, p = core.poll_next(ms); if not fn then return false end\n"
    "  if fn(c, p) then n = n + 1 else gaps = gaps + 1 end return true end\n"
    "s_done = function() while take(20) do end return n, gaps end\n"
    "while n + gaps < 1000 do take(5000) end\n"
    "local count, lost = s_done()\n"
    "assert(count + lost >= 16384 and lost >= 1 and (count == 39999 or lost >= 2), count .. ' ' .. lost)\n"
    "flood:close()\n";

static void test_mail(void) {
	long n;
	zbz_err err;
	int round;
	CHECK(zbz_cache_register(&mailer, &err) == ZBZ_OK);
	for (round = 0; round < 20; round++) {
		lua_State *L = open_state(NULL, NULL);
		CHECK(run(L, mail_setup));
		CHECK(run(L, mail_commands));
		CHECK(run(L, mail_messages));
		if (round == 0) CHECK(run(L, mail_flood));
		CHECK(run(L, "open(100):subscribe('z', false, tell); local fn = core.poll_next(5000); assert(fn == tell)"));
		if (round % 2 == 0) run(L, "cache = nil collectgarbage()");
		lua_close(L);
	}
	for (n = 1; n < 60; n++) {
		meter m = { 0 };
		lua_State *L = open_state(metered, &m);
		run(L, mail_setup);
		run_short(
		    L, "local s = cache:subscribe({'a', 'b'}, false, tell); core.poll_next(5000); core.poll_next(0); s:close()",
		    meter_begin, meter_end, &m, n);
		lua_close(L);
		CHECK(m.in_use == 0);
		if (!m.failed) break;
	}
	CHECK(n > 3 && n < 60);
}

/* ---- parked calls ---- */

static const char park_setup[] = "core = require('zbz.core')\n"
                                 "store = assert(core.open_store{provider='mailer', count=3})\n"
                                 "cache = assert(core.new_cache(store, {}))\n"
                                 "t = assert(core.new_table(cache, {name='t', codec='json'}))\n"
                                 "doors = core.table_doors\n"
                                 "function settle(handle, ticket, id, ...)\n"
                                 "  if not ticket then return id, ... end\n"
                                 "  local got; repeat got = core.poll_next(5000) until got == id or not got\n"
                                 "  return core.finish(ticket, handle)\n"
                                 "end\n";

static const char *const parked_scripts[] = {
	"assert(settle(t, doors.set(t, 'k', {1, 2})))",
	"local v, e = settle(t, doors.get(t, 'k')); assert(v == nil and e == nil, e)",
	"local m = assert(settle(t, doors.get_multi(t, {'a', 'b'}))); assert(next(m) == nil)",
	"assert(settle(t, doors.set_multi(t, {a=1, b={2}, c=core.item(3, 5)})))",
	"assert(settle(t, doors.delete_multi(t, {'a', 'b'})))",
	"assert(#settle(cache, core.cache_doors.command(cache, {{'SET', 'k', 5}, {'NIL'}})) == 2)",
	"local v, e = settle(t, doors.get(t, '')); assert(v == nil and e.code == 'invalid_key')",
	"local f, seat = t:flight('x'); local w = t:flight('x'); local ticket, id = w:park(); assert(ticket, id)\n"
	"f:land('value', '1'); local got; repeat got = core.poll_next(5000) until got == id or not got\n"
	"core.finish(ticket); assert(w:result() == 'value')",
	"local f = t:flight('y'); local ticket, id = doors.commit(t, f, 'y', '[1]', {}); f:leave(); f = nil\n"
	"assert(settle(t, ticket, id) ~= nil)",
	"local s = assert(settle(cache, core.cache_doors.subscribe(cache, 'a', false, print))); s:close()",
	"local s = assert(settle(cache, core.cache_doors.subscribe(cache, 'a', false, print)))\n"
	"assert(settle(s, core.handle_doors.close(s))); assert(s:closed()); assert(s:close())",
	"local c = assert(core.new_cache(store, {})); assert(settle(c, core.cache_doors.subscribe(c, 'a', false, print)))\n"
	"assert(settle(c, core.cache_doors.close(c)) == true); assert(c:closed()); assert(c:close())",
	"local s = assert(core.open_store{provider='mailer', count=1})\n"
	"assert(settle(s, core.handle_doors.close(s)) == true); assert(s:closed())",
	"local s = assert(core.open_store{provider='mailer', count=1}); assert(settle(cache, core.cache_doors.swap(cache, "
	"s)))",
	"local s = assert(core.open_store{provider='mailer', count=1}); core.cache_doors.swap(cache, s); "
	"core.handle_doors.close(s); s = nil; collectgarbage()",
	"core.hosted(true); local c = assert(core.new_cache(store, {}))\n"
	"assert(settle(c, core.cache_doors.subscribe(c, 'a', false, print))); c = nil; collectgarbage(); "
	"core.hosted(false)",
	"core.hosted(true); core.new_cache(store, {}):close(); doors.get(t, 'k')",
	"local n = 0; for i = 1, 20 do doors.get(t, 'k' .. i); doors.get_multi(t, {'a', 'b' .. i}) end\n"
	"repeat local got = core.poll_next(5000); n = n + 1 until n == 40 or not got",
	"local ticket = doors.get(t, 'k'); core.abandon(ticket); ticket = doors.get(t, 'k'); ticket = nil; "
	"collectgarbage()",
};

/* At the end the state closes over whatever is still under way. */
static void test_parked(void) {
	size_t i, round;
	for (i = 0; i < sizeof(parked_scripts) / sizeof(parked_scripts[0]); i++) {
		meter m = { 0 };
		lua_State *L = open_state(metered, &m);
		CHECK(run(L, park_setup));
		for (round = 0; round < 50; round++) CHECK(run(L, parked_scripts[i]));
		run(L, "for i = 1, 50 do doors.set(t, 'k' .. i, {i}) end; local f = t:flight('z'); local w = t:flight('z'); "
		       "w:park()");
		lua_close(L);
		CHECK(m.in_use == 0);
	}
}

/* ---- forks ---- */

static int sys_fork(lua_State *L) {
	lua_pushinteger(L, fork());
	return 1;
}

static int sys_wait(lua_State *L) {
	int status = -1;
	if (waitpid((pid_t)luaL_checkinteger(L, 1), &status, 0) < 0) status = -1;
	lua_pushinteger(L, status);
	return 1;
}

static int sys_exit(lua_State *L) { _exit((int)luaL_checkinteger(L, 1)); }

/* The Lua side of it is spec/lua/fork_cases.lua, over every provider there is a server for. */
static const char fork_over[] =
    "package.path = './?.lua;./lua/?.lua;./lua/?/init.lua;' .. package.path\n"
    "local cases = require('spec.lua.fork_cases')\n"
    "local function over(opts) opts.key_prefix = 'zbz-states-fork:' cases.run(sys, opts) end\n"
    "over{provider='memory'}\n"
    "local dir = io.popen('mktemp -d /tmp/zbz-test-XXXXXX'):read('l')\n"
    "over{provider='filesystem', base_dir=dir} os.execute('rm -rf ' .. dir)\n"
    "if os.getenv('REDIS_URL') then over{provider='redis', url=os.getenv('REDIS_URL')} end\n"
    "if os.getenv('MEMCACHED_SERVERS') then over{provider='memcached', servers=os.getenv('MEMCACHED_SERVERS'), "
    "timeout='5s'} end\n";

static void test_forks(void) {
	static const luaL_Reg sys[] = { { "fork", sys_fork }, { "wait", sys_wait }, { "exit", sys_exit }, { NULL, NULL } };
	lua_State *L = open_state(NULL, NULL);
	luaL_newlib(L, sys);
	lua_setglobal(L, "sys");
	if (luaL_dostring(L, fork_over) != LUA_OK) {
		fprintf(stderr, "  %s\n", lua_tostring(L, -1));
		check_failed++;
	}
	check_passed++;
	lua_close(L);
}

int main(void) {
	RUN(test_lua_memory);
	RUN(test_lua_memory_opening);
	RUN(test_core_memory);
	RUN(test_close_with_all_open);
	RUN(test_threads);
	RUN(test_mail);
	RUN(test_parked);
	RUN(test_forks);
	return DONE();
}
