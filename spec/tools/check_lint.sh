#!/bin/sh
# luacheck, cppcheck and the format check; each file or tool counts once.
set -u
passed=0 failed=0
count() { if [ "$1" = 0 ]; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "FAIL $2"; fi; }

for f in $(find lua spec examples -name '*.lua' | sort); do
	out=$(luacheck --quiet --no-color "$f" 2>&1); code=$?
	[ $code = 0 ] || printf '%s\n' "$out"
	count $code "luacheck $f"
done
for f in $(find csrc spec examples -name '*.[ch]' | sort); do
	clang-format --dry-run -Werror "$f" >/dev/null 2>&1
	count $? "clang-format $f (make format mends it)"
done
cppcheck --quiet --error-exitcode=1 --std=c11 --enable=warning,portability,performance --inline-suppr \
	--suppress=missingIncludeSystem --suppress=normalCheckLevelMaxBranches -D__GNUC__=12 -Icsrc/include -Icsrc csrc
count $? cppcheck
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
