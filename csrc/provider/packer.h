/* What the plug-in of a compressor offers to the core; its door is `const zbz_packer *zbz_packer_plugin(void)`. */
#ifndef ZBZ_PROVIDER_PACKER_H
#define ZBZ_PROVIDER_PACKER_H

#include <stdatomic.h>

#include <zbz/cache.h>

typedef struct zbz_packer {
	int abi;            /* ZBZ_ABI */
	const char *suffix; /* ".gz" */
	/* All of `from`, packed, to `to`; looks at *stop now and then: E_CLOSED. */
	zbz_status (*file)(int from, int to, const _Atomic bool *stop, zbz_err *err);
	/* The same for bytes; appends. */
	zbz_status (*bytes)(zbz_bytes from, zbz_buf *to, zbz_err *err);
} zbz_packer;

#endif
