#!/bin/sh
# make bench-log: the log side by side with its peers, on both Luas, files on the disk of the build folder.
set -eu
B=${B:-build}
out=$B/bench
mkdir -p "$out/log"
dir=$(cd "$out/log" && pwd)
g++ -O2 -DSPDLOG_COMPILED_LIB -o "$out/log_spdlog" spec/bench/log_spdlog.cpp $(pkg-config --cflags --libs spdlog) -pthread
export LUA_PATH="$PWD/?.lua;$LUA_PATH"
lua5.4 spec/bench/log.lua "$dir" "$out/log_spdlog"
LUA_CPATH=$LUAJIT_CPATH luajit spec/bench/log.lua "$dir" "$out/log_spdlog"
rm -rf "$dir"
