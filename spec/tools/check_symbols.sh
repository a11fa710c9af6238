#!/bin/sh
# The core and the plug-ins know nothing of Lua: no object outside the binding refers to a lua_ or luaL_ symbol.
# And libzbz.so needs libc only.
set -u
b=${1:-build}
passed=0 failed=0
for o in $(find "$b/core" "$b/plugin" -name '*.o'); do
	if nm "$o" | grep -qE ' (lua_|luaL_)'; then
		failed=$((failed + 1)); echo "FAIL $o refers to Lua"
	else
		passed=$((passed + 1))
	fi
done
others=$(objdump -p "$b/libzbz.so" | awk '/NEEDED/ {print $2}' | grep -vE '^(libc|libpthread|libdl|libm|ld-linux.*|libasan|libtsan|libubsan)\.so')
if [ -n "$others" ]; then failed=$((failed + 1)); echo "FAIL libzbz.so needs $others"; else passed=$((passed + 1)); fi
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
