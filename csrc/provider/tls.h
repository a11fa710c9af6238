/* What the plug-in of a TLS library offers to the core; its door is `const zbz_tls_maker *zbz_tls_plugin(void)`. */
#ifndef ZBZ_PROVIDER_TLS_H
#define ZBZ_PROVIDER_TLS_H

#include "net/net.h"

typedef struct zbz_tls_maker {
	int abi; /* ZBZ_ABI */
	/* zbz_net_tls_new, _free and _start of net/net.h */
	zbz_status (*make)(const zbz_net_tls_opts *opts, zbz_net_tls **out, zbz_err *err);
	void (*drop)(zbz_net_tls *tls);
	zbz_status (*start)(zbz_net_tls *tls, const char *host, zbz_net **net, int64_t deadline, zbz_err *err);
} zbz_tls_maker;

#endif
