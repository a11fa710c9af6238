rockspec_format = "3.0"
package = "zbz-loki"
version = "scm-1"
source = { url = "git+file://." }
description = { summary = "log output to Grafana Loki for zbz (libcurl, snappy)", license = "MIT" }
dependencies = { "lua >= 5.1, < 5.5", "zbz" }
external_dependencies = { CURL = { library = "curl" }, SNAPPY = { header = "snappy-c.h" }, OPENSSL = { header = "openssl/ssl.h" } }
build = {
	type = "make",
	build_target = "rock-loki",
	install_target = "install-rock-loki",
	build_variables = { CC = "$(CC)" },
	install_variables = { CC = "$(CC)", ROCK_LIB = "$(LIBDIR)" },
}
