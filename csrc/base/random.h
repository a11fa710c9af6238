/* Random bytes from the kernel. */
#ifndef ZBZ_BASE_RANDOM_H
#define ZBZ_BASE_RANDOM_H

#include <zbz/status.h>

/* Unpredictable, fit for tokens and keys. ZBZ_E_INTERNAL when the system has none. */
ZBZ_API zbz_status zbz_random(void *out, size_t n, zbz_err *err);

#endif
