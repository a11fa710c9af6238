#!/bin/sh
# Installs what is missing, as Debian packages. Usage: deps.sh build | test | bench
# build: what `make demo` needs. test: also the plug-ins' libraries, LuaJIT, the servers and the checkers.
# bench: also the peers of bench-log and bench-nginx.
# Nothing is installed twice, nothing is removed, and no server the packages bring is started.
set -eu

build="pkg-config make gcc libc6-dev lua5.4 liblua5.4-dev"
test="$build libhiredis-dev libmemcached-dev libssl-dev zlib1g-dev libcurl4-openssl-dev libsnappy-dev luajit2 libluajit2-5.1-dev redis-server redis-tools memcached openssl
lua-busted lua-check lua-cjson luarocks cppcheck clang-format clang libclang-rt-14-dev g++ valgrind python3 python3-msgpack
lua-redis lua-socket lua-resty-lrucache lua-resty-core lua-nginx-redis procps nginx-light libnginx-mod-http-lua curl lua-luv lua-cqueues lua-copas vim
rsyslog logrotate"

case "${1:-}" in
build) want=$build ;;
bench) want="$test libspdlog-dev lua-logging wrk" ;;
test) want=$test ;;
*) echo "usage: deps.sh build | test | bench" >&2; exit 2 ;;
esac

missing=""
for p in $want; do
	dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing="$missing $p"
done
[ -n "$missing" ] || exit 0

root=""
[ "$(id -u)" = 0 ] || root=sudo
if [ -n "$root" ] && ! command -v sudo >/dev/null; then
	echo "deps.sh: missing packages, and neither root nor sudo to install them:$missing" >&2
	exit 1
fi
echo "installing:$missing"
# Debian starts a server when its package is installed; the tests start their own, on free ports.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
	printf '#!/bin/sh\nexit 101\n' | $root tee $policy >/dev/null
	$root chmod 755 $policy
	trap '$root rm -f $policy' EXIT INT TERM
fi
log=$(mktemp)
if ! { $root apt-get update && $root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing; } >"$log" 2>&1; then
	tail -n 30 "$log" >&2
	echo "deps.sh: apt-get failed; the whole log: $log" >&2
	exit 1
fi
rm -f "$log"
