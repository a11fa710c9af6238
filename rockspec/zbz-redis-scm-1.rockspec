rockspec_format = "3.0"
package = "zbz-redis"
version = "scm-1"
source = { url = "git+file://." }
description = { summary = "Redis provider of zbz (hiredis, OpenSSL)", license = "MIT" }
dependencies = { "lua >= 5.1, < 5.5", "zbz" }
external_dependencies = { HIREDIS = { header = "hiredis/hiredis.h" }, OPENSSL = { header = "openssl/ssl.h" } }
build = {
	type = "make",
	build_target = "rock-redis",
	install_target = "install-rock-redis",
	build_variables = { CC = "$(CC)" },
	install_variables = { CC = "$(CC)", ROCK_LIB = "$(LIBDIR)" },
}
