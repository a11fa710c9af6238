/* TLS for the outputs of the core, by OpenSSL. */
#include "tls.h"

#include <zbz/cache.h>

static const zbz_tls_maker maker = {
	.abi = ZBZ_ABI,
	.make = zbz_net_tls_new,
	.drop = zbz_net_tls_free,
	.start = zbz_net_tls_start,
};

ZBZ_API const zbz_tls_maker *zbz_tls_plugin(void);
const zbz_tls_maker *zbz_tls_plugin(void) { return &maker; }
