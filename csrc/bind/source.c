/* Sources of watches: files, and the keys of caches. */
#include "cache.h"
#include "config.h"

static void source_release(lua_State *L, void *self) {
	zbz_source_box *box = self;
	zbz_source *source = box->source;
	box->source = NULL;
	zbz_source_unref(source);
}

/* open_source{provider="file", dir=...} */
static int open_source(lua_State *L) {
	zbz_source_box *box;
	zbz_config_box *cfg;
	zbz_err err;
	zbz_status s;
	luaL_argcheck(L, lua_istable(L, 1), 1, "zbz: open_source: a table of options expected");
	lua_settop(L, 1);
	box = zbz_box_new(L, ZBZ_BOX_SOURCE, sizeof(*box));
	cfg = zbz_config_from(L, 1, "open_source", NULL);
	s = zbz_source_open(cfg->cfg, NULL, &box->source, &err);
	zbz_config_free(cfg->cfg);
	cfg->cfg = NULL;
	if (s < 0) {
		box->source = NULL;
		return zbz_push_trouble(L, &err, "open_source");
	}
	lua_settop(L, 2);
	return 1;
}

static int cache_source(lua_State *L) {
	zbz_cache_box *cache = zbz_cache_check(L, zbz_bind_of(L), 1, "cache_source");
	zbz_source_box *box = zbz_box_new(L, ZBZ_BOX_SOURCE, sizeof(*box));
	zbz_err err;
	zbz_status s;
	if (cache->clock != zbz_clock_system()) /* it may end before the watch does */
		s = zbz_fail(&err, ZBZ_E_UNSUPPORTED, "a cache on a clock of its own cannot be watched");
	else
		s = zbz_source_of_cache(cache->cache, &box->source, &err);
	if (s == ZBZ_OK) return 1;
	box->source = NULL;
	return zbz_push_trouble(L, &err, "cache_source");
}

static const luaL_Reg functions[] = { { "open_source", open_source },
	                                  { "cache_source", cache_source },
	                                  { NULL, NULL } };

void zbz_open_source(lua_State *L) {
	zbz_class(L, ZBZ_BOX_SOURCE, "zbz.Source", source_release, "close", NULL);
	zbz_functions(L, 1, functions);
}
