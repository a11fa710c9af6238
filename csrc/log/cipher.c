/* The plug-in of field encryption, loaded when a key is first given. */
#include "cipher.h"

#include "core/registry.h"

#include <stdio.h>

zbz_status zbz_cipher_find(const zbz_cipher **cipher, zbz_err *err) {
	const void *table = NULL;
	zbz_status status = zbz_plugin_table("aes", "libssl3", "zbz_cipher_plugin", &table, err);
	*cipher = table;
	if (status != ZBZ_OK && err != NULL) snprintf(err->option, sizeof err->option, "encryption");
	return status;
}
