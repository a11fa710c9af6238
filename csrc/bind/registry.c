/* Which providers there are and what options they take. */
#include "args.h"

static int home(lua_State *L) {
	zbz_string_arg(L, 1, "home", "the beginning of the sources' names");
	zbz_getenv(L, lua_upvalueindex(1));
	lua_pushvalue(L, 1);
	lua_rawseti(L, -2, ZBZ_SLOT_HOME);
	return 0;
}

/* misuse(text): raises at the line of the program, from whatever depth of ours */
static int misuse(lua_State *L) { return zbz_raise(L, "%s", luaL_checkstring(L, 1)); }

static int plugin_dir(lua_State *L) {
	zbz_err err;
	zbz_where at = zbz_at("plugin_dir");
	zbz_bytes dir = zbz_string_arg(L, 1, "plugin_dir", "the directory");
	if (strlen(dir.p) != dir.n) return luaL_error(L, "zbz: plugin_dir: the directory's name holds a zero byte");
	if (zbz_plugin_dir(dir.p, &err) < 0) return zbz_push_failure(L, &err, &at);
	lua_pushboolean(L, 1);
	return 1;
}

static void set_text(lua_State *L, const char *field, const char *text) {
	if (text == NULL) return;
	lua_pushstring(L, text);
	lua_setfield(L, -2, field);
}

/* "a|b" as a list. */
static void set_words(lua_State *L, const char *field, const char *words) {
	int n = 0;
	lua_newtable(L);
	while (words != NULL && *words != '\0') {
		size_t len = strcspn(words, "|");
		lua_pushlstring(L, words, len);
		lua_rawseti(L, -2, ++n);
		words += len + (words[len] == '|');
	}
	lua_setfield(L, -2, field);
}

static void set_facts(lua_State *L, const zbz_cache_ops *ops) {
	set_words(L, "aliases", ops->aliases);
	set_words(L, "schemes", ops->schemes);
	set_text(L, "needs", ops->needs);
	set_text(L, "summary", ops->summary);
	lua_pushboolean(L, ops->layer);
	lua_setfield(L, -2, "layer");
}

static int providers(lua_State *L) {
	size_t i;
	const char *name;
	zbz_where at = zbz_at("providers");
	lua_newtable(L);
	for (i = 0; (name = zbz_cache_name_at(i)) != NULL; i++) {
		const zbz_cache_ops *ops = NULL;
		zbz_err err;
		bool loaded = zbz_cache_find(name, &ops, &err) == ZBZ_OK;
		lua_newtable(L);
		set_text(L, "name", name);
		lua_pushboolean(L, loaded);
		lua_setfield(L, -2, "loaded");
		if (loaded) {
			set_facts(L, ops);
		} else {
			zbz_push_error(L, &err, &at);
			lua_setfield(L, -2, "error");
		}
		lua_rawseti(L, -2, (int)i + 1);
	}
	return 1;
}

static const char *const type_names[] = {
	[ZBZ_OPT_TEXT] = "text",    [ZBZ_OPT_SECRET] = "secret",     [ZBZ_OPT_INT] = "integer",
	[ZBZ_OPT_BOOL] = "boolean", [ZBZ_OPT_DURATION] = "duration", [ZBZ_OPT_SIZE] = "size",
	[ZBZ_OPT_MODE] = "mode",    [ZBZ_OPT_ENUM] = "choice",       [ZBZ_OPT_LIST] = "list",
	[ZBZ_OPT_STORE] = "store",  [ZBZ_OPT_BUCKET] = "bucket",
};

static int provider_info(lua_State *L) {
	zbz_bytes name = zbz_string_arg(L, 1, "provider_info", "the name");
	zbz_where at = zbz_at("provider_info");
	const zbz_cache_ops *ops;
	const zbz_option *o;
	zbz_err err;
	int n = 0;
	if (zbz_cache_find(name.p, &ops, &err) < 0) return zbz_push_failure(L, &err, &at);
	lua_newtable(L);
	set_text(L, "name", ops->name);
	set_facts(L, ops);
	lua_newtable(L);
	for (o = ops->options; o != NULL && o->name != NULL; o++) {
		lua_newtable(L);
		set_text(L, "name", o->name);
		set_text(L, "alias", o->alias);
		set_text(L, "type", type_names[o->type]);
		set_text(L, "default", o->dflt);
		if (o->choices != NULL) set_words(L, "choices", o->choices);
		set_text(L, "help", o->help);
		lua_rawseti(L, -2, ++n);
	}
	lua_setfield(L, -2, "options");
	return 1;
}

static int scheme(lua_State *L) {
	const char *name = zbz_cache_scheme(zbz_string_arg(L, 1, "scheme", "the scheme").p);
	lua_pushstring(L, name);
	return 1;
}

static const luaL_Reg functions[] = {
	{ "plugin_dir", plugin_dir },       { "home", home },     { "misuse", misuse }, { "providers", providers },
	{ "provider_info", provider_info }, { "scheme", scheme }, { NULL, NULL },
};

void zbz_open_registry(lua_State *L) { zbz_functions(L, 1, functions); }
