/* The floors the benchmarks measure against: what a C function costs that does the least possible.
 * A Lua module for 5.4 and LuaJIT:
 *   put(k, v), get(k)        open addressing, linear probing, no expiry, no lock, no limit: hash, find, push
 *   connect(port)            one blocking hiredis connection
 *   redis_get(key, n)  redis_set(key, value, n)  redis_mget(keys, n)    n bare calls in a C loop */
#include <hiredis/hiredis.h>
#include <lauxlib.h>
#include <lua.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS (1u << 18)

typedef struct entry {
	uint64_t hash;
	size_t klen, vlen;
	char bytes[];
} entry;

static entry *slots[SLOTS];
static redisContext *redis;

static uint64_t hash_of(const char *p, size_t n) {
	uint64_t h = 0x9e3779b97f4a7c15u ^ n, w;
	for (; n >= 8; p += 8, n -= 8) {
		memcpy(&w, p, 8);
		h = (h ^ w) * 0xff51afd7ed558ccdu;
		h ^= h >> 32;
	}
	w = 0;
	memcpy(&w, p, n);
	h = (h ^ w) * 0xff51afd7ed558ccdu;
	return h ^ (h >> 32);
}

static entry **find(const char *k, size_t n, uint64_t h) {
	uint32_t i = (uint32_t)h & (SLOTS - 1);
	while (slots[i] && !(slots[i]->hash == h && slots[i]->klen == n && memcmp(slots[i]->bytes, k, n) == 0))
		i = (i + 1) & (SLOTS - 1);
	return &slots[i];
}

static int put(lua_State *L) {
	size_t kn, vn;
	const char *k = luaL_checklstring(L, 1, &kn), *v = luaL_checklstring(L, 2, &vn);
	entry **slot = find(k, kn, hash_of(k, kn));
	entry *e = malloc(sizeof *e + kn + vn);
	if (!e) return luaL_error(L, "out of memory");
	e->hash = hash_of(k, kn);
	e->klen = kn;
	e->vlen = vn;
	memcpy(e->bytes, k, kn);
	memcpy(e->bytes + kn, v, vn);
	free(*slot);
	*slot = e;
	return 0;
}

static int get(lua_State *L) {
	size_t n;
	const char *k = luaL_checklstring(L, 1, &n);
	entry *e = *find(k, n, hash_of(k, n));
	if (!e) return 0;
	lua_pushlstring(L, e->bytes + e->klen, e->vlen);
	return 1;
}

static int connect_redis(lua_State *L) {
	struct timeval timeout = { 5, 0 };
	if (redis) redisFree(redis);
	redis = redisConnectWithTimeout("127.0.0.1", (int)luaL_checkinteger(L, 1), timeout);
	if (!redis || redis->err) return luaL_error(L, "cannot connect to redis");
	return 0;
}

static void call(lua_State *L, int argc, const char **argv, const size_t *len) {
	redisReply *r = redisCommandArgv(redis, argc, argv, len);
	if (!r || r->type == REDIS_REPLY_ERROR) luaL_error(L, "redis failed");
	freeReplyObject(r);
}

static int redis_get(lua_State *L) {
	const char *argv[2] = { "GET", NULL };
	size_t len[2] = { 3, 0 };
	argv[1] = luaL_checklstring(L, 1, &len[1]);
	for (lua_Integer n = luaL_checkinteger(L, 2); n > 0; n--) call(L, 2, argv, len);
	return 0;
}

static int redis_set(lua_State *L) {
	const char *argv[5] = { "SET", NULL, NULL, "PX", "3600000" };
	size_t len[5] = { 3, 0, 0, 2, 7 };
	argv[1] = luaL_checklstring(L, 1, &len[1]);
	argv[2] = luaL_checklstring(L, 2, &len[2]);
	for (lua_Integer n = luaL_checkinteger(L, 3); n > 0; n--) call(L, 5, argv, len);
	return 0;
}

static int redis_mget(lua_State *L) {
	const char *argv[101] = { "MGET" };
	size_t len[101] = { 4 };
	lua_Integer n = luaL_checkinteger(L, 2);
	for (int i = 1; i <= 100; i++) {
		lua_rawgeti(L, 1, i);
		argv[i] = luaL_checklstring(L, -1, &len[i]);
		lua_pop(L, 1); /* the table keeps it alive */
	}
	for (; n > 0; n--) call(L, 101, argv, len);
	return 0;
}

__attribute__((visibility("default"))) int luaopen_floor(lua_State *L);
int luaopen_floor(lua_State *L) {
	static const struct {
		const char *name;
		lua_CFunction fn;
	} fns[] = {
		{ "put", put },
		{ "get", get },
		{ "connect", connect_redis },
		{ "redis_get", redis_get },
		{ "redis_set", redis_set },
		{ "redis_mget", redis_mget },
	};
	lua_newtable(L);
	for (size_t i = 0; i < sizeof fns / sizeof *fns; i++) {
		lua_pushcfunction(L, fns[i].fn);
		lua_setfield(L, -2, fns[i].name);
	}
	return 1;
}
