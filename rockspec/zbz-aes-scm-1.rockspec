rockspec_format = "3.0"
package = "zbz-aes"
version = "scm-1"
source = { url = "git+file://." }
description = { summary = "encrypted log fields for zbz (OpenSSL)", license = "MIT" }
dependencies = { "lua >= 5.1, < 5.5", "zbz" }
external_dependencies = { CRYPTO = { header = "openssl/evp.h" } }
build = {
	type = "make",
	build_target = "rock-aes",
	install_target = "install-rock-aes",
	build_variables = { CC = "$(CC)" },
	install_variables = { CC = "$(CC)", ROCK_LIB = "$(LIBDIR)" },
}
