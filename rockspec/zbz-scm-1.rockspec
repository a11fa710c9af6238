rockspec_format = "3.0"
package = "zbz"
version = "scm-1"
source = { url = "git+file://." }
description = {
	summary = "Cache tables over memory, Redis, memcached and files, chosen by configuration",
	detailed = [[A Lua module with a C core: cache tables with single flight, stale fallback and exact values over any
backend that the configuration names, for Lua 5.4 and LuaJIT.]],
	license = "MIT",
}
dependencies = { "lua >= 5.1, < 5.5" }
test_dependencies = { "busted", "lua-cjson" }
build = {
	type = "make",
	build_target = "rock",
	install_target = "install-rock",
	build_variables = { CC = "$(CC)", LUA_INCDIR = "$(LUA_INCDIR)" },
	install_variables = { CC = "$(CC)", LUA_INCDIR = "$(LUA_INCDIR)", ROCK_LIB = "$(LIBDIR)", ROCK_LUA = "$(LUADIR)",
		ROCK_BIN = "$(BINDIR)" },
}
