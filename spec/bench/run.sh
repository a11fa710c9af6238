#!/bin/sh
# Every measurement of the README, one after another, as ratios: make bench. Traces for the hit ratios: TRACES=folder.
set -eu
B=${B:-build}
out=$B/bench
mkdir -p "$out/lua54" "$out/luajit"
hiredis=$(pkg-config --cflags --libs hiredis)
cc="gcc -O2 -std=c11 -D_GNU_SOURCE -Wall -shared -fPIC spec/bench/floor.c"
$cc -o "$out/lua54/floor.so" $(pkg-config --cflags lua5.4) $hiredis
$cc -o "$out/luajit/floor.so" $(pkg-config --cflags luajit) $hiredis
for p in hitratio memory_core shared; do
	gcc -O2 -std=c11 -D_GNU_SOURCE -Icsrc/include -Icsrc -o "$out/$p" spec/bench/$p.c -L"$B" -lzbz -lm -Wl,-rpath,"$PWD/$B"
done
export LUA_PATH="$PWD/?.lua;$LUA_PATH"
lua54() { LUA_CPATH="$PWD/$out/lua54/?.so;$LUA_CPATH" lua5.4 "$@"; }
luajit() { LUA_CPATH="$PWD/$out/luajit/?.so;$LUAJIT_CPATH" command luajit "$@"; }

lua54 spec/bench/memory.lua
luajit spec/bench/memory.lua
lua54 spec/bench/l1.lua
luajit spec/bench/l1.lua
"$out/memory_core"
"$out/shared"
lua54 spec/bench/codec.lua
luajit spec/bench/codec.lua
LUA_CPATH="$PWD/$out/lua54/?.so;$LUA_CPATH" lua5.4 spec/services/with.lua redis -- lua5.4 spec/bench/redis.lua
lua5.4 spec/services/with.lua redis -- env LUA_CPATH="$PWD/$out/luajit/?.so;$LUAJIT_CPATH" luajit spec/bench/redis.lua
if [ -d "${TRACES:-../shared/traces}" ]; then
	for t in web07 web12 orm-busy t52-syn; do
		zcat "${TRACES:-../shared/traces}/$t.trace.gz" | "$out/hitratio" --name $t
	done
else
	echo "hit ratios left out: no traces at ${TRACES:-../shared/traces}"
fi
