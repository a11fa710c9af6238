rockspec_format = "3.0"
package = "zbz-memcached"
version = "scm-1"
source = { url = "git+file://." }
description = { summary = "memcached provider of zbz (libmemcached)", license = "MIT" }
dependencies = { "lua >= 5.1, < 5.5", "zbz" }
external_dependencies = { MEMCACHED = { header = "libmemcached/memcached.h" } }
build = {
	type = "make",
	build_target = "rock-memcached",
	install_target = "install-rock-memcached",
	build_variables = { CC = "$(CC)" },
	install_variables = { CC = "$(CC)", ROCK_LIB = "$(LIBDIR)" },
}
