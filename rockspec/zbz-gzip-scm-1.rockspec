rockspec_format = "3.0"
package = "zbz-gzip"
version = "scm-1"
source = { url = "git+file://." }
description = { summary = "packed log files for zbz (zlib)", license = "MIT" }
dependencies = { "lua >= 5.1, < 5.5", "zbz" }
external_dependencies = { ZLIB = { header = "zlib.h" } }
build = {
	type = "make",
	build_target = "rock-gzip",
	install_target = "install-rock-gzip",
	build_variables = { CC = "$(CC)" },
	install_variables = { CC = "$(CC)", ROCK_LIB = "$(LIBDIR)" },
}
