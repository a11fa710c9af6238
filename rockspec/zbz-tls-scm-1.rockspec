rockspec_format = "3.0"
package = "zbz-tls"
version = "scm-1"
source = { url = "git+file://." }
description = { summary = "TLS for the log outputs of zbz (OpenSSL)", license = "MIT" }
dependencies = { "lua >= 5.1, < 5.5", "zbz" }
external_dependencies = { OPENSSL = { header = "openssl/ssl.h" } }
build = {
	type = "make",
	build_target = "rock-tls",
	install_target = "install-rock-tls",
	build_variables = { CC = "$(CC)" },
	install_variables = { CC = "$(CC)", ROCK_LIB = "$(LIBDIR)" },
}
