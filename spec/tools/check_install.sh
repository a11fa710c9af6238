#!/bin/sh
# Installs three times into temporary folders and uses each from outside the tree: make install, luarocks (offline, Debian's packages
# as provided rocks), and a C program against the installed headers and library.
set -u
top=$(pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
passed=0 failed=0
check() {
	what=$1; shift
	if out=$("$@" 2>&1); then passed=$((passed + 1)); else failed=$((failed + 1)); printf 'FAIL %s\n%s\n' "$what" "$out"; fi
}
unset LUA_PATH LUA_CPATH LUAJIT_CPATH LD_LIBRARY_PATH

program='local zbz = require("zbz")
local c = assert(zbz.cache.new { provider = "memory" })
local t = c:table("t")
assert(t:set("k", { a = 1 }))
assert(t:get("k").a == 1)
for _, name in ipairs { "redis", "memcached" } do
	local p, err = zbz.cache.new { provider = name }
	assert(p, tostring(err))
	p:close()
end
print(zbz.VERSION)'
printf '%s\n' "$program" >"$dir/program.lua"

check "make install" make -s install PREFIX="$dir/usr"
cd "$dir" || exit 1
check "lua5.4 on make install" env LUA_PATH="$dir/usr/share/lua/5.4/?.lua;$dir/usr/share/lua/5.4/?/init.lua" LUA_CPATH="$dir/usr/lib/lua/5.4/?.so" lua5.4 program.lua
check "the command on make install" env LUA_PATH="$dir/usr/share/lua/5.4/?.lua;$dir/usr/share/lua/5.4/?/init.lua" LUA_CPATH="$dir/usr/lib/lua/5.4/?.so" "$dir/usr/bin/zbz" log recover "$dir/none.log"
check "luajit on make install" env LUA_PATH="$dir/usr/share/lua/5.1/?.lua;$dir/usr/share/lua/5.1/?/init.lua" LUA_CPATH="$dir/usr/lib/lua/5.1/?.so" luajit program.lua
check "C against make install" gcc -o embed -I"$dir/usr/include" "$top/examples/embed.c" -L"$dir/usr/lib" -lzbz -Wl,-rpath,"$dir/usr/lib"
check "the C program runs" ./embed

cat >rocks.lua <<EOF
rocks_servers = {}
rocks_trees = { { name = "t", root = "$dir/rocks" } }
rocks_provided = { ["lua-cjson"] = "2.1.0-1", busted = "2.1.1-1" }
EOF
rock() { (cd "$top" && LUAROCKS_CONFIG="$dir/rocks.lua" luarocks --lua-version 5.4 --tree "$dir/rocks" make "rockspec/$1"); }
check "luarocks make, core" rock zbz-scm-1.rockspec
for plugin in redis memcached loki tls aes gzip; do check "luarocks make, $plugin" rock "zbz-$plugin-scm-1.rockspec"; done
check "lua5.4 on luarocks" env LUA_PATH="$dir/rocks/share/lua/5.4/?.lua;$dir/rocks/share/lua/5.4/?/init.lua" LUA_CPATH="$dir/rocks/lib/lua/5.4/?.so" lua5.4 program.lua
check "the command on luarocks" "$dir/rocks/bin/zbz" log recover "$dir/none.log"
sed 's|hiredis/hiredis.h|hiredis/absent.h|' "$top/rockspec/zbz-redis-scm-1.rockspec" >"$dir/zbz-redis-scm-1.rockspec"
missing() { (cd "$top" && LUAROCKS_CONFIG="$dir/rocks.lua" luarocks --lua-version 5.4 --tree "$dir/rocks2" make --deps-mode none "$dir/zbz-redis-scm-1.rockspec") 2>&1 | grep -q HIREDIS; }
check "a missing header is named" missing

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
