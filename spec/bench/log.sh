#!/bin/sh
# make bench-log: the log side by side with its peers, on both Luas, files on the disk of the build folder. The machine's load is told: a
# ratio holds for its own run.
set -eu
echo "load: $(cut -d' ' -f1-3 /proc/loadavg), $(nproc) processors"
B=${B:-build}
out=$B/bench
mkdir -p "$out/log"
dir=$(cd "$out/log" && pwd)
g++ -O2 -DSPDLOG_COMPILED_LIB -o "$out/log_spdlog" spec/bench/log_spdlog.cpp $(pkg-config --cflags --libs spdlog) -pthread
# zap and zerolog, where there is Go and its modules can be had.
go=$(command -v go || command -v /usr/local/go/bin/go || true)
if [ -z "$go" ]; then
	echo "zap, zerolog: not measured: no Go"
elif ! (cd spec/bench/log && "$go" build -o "$(realpath "../../../$out")/log_go" .) >"$out/log_go.txt" 2>&1; then
	echo "zap, zerolog: not measured: their modules cannot be had ($out/log_go.txt)"
	rm -f "$out/log_go"
fi
export LUA_PATH="$PWD/?.lua;$LUA_PATH"
lua5.4 spec/bench/log.lua "$dir" "$out"
LUA_CPATH=$LUAJIT_CPATH luajit spec/bench/log.lua "$dir" "$out"
rm -rf "$dir"
