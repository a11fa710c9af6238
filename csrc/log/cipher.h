/* What the plug-in of field encryption offers to the core; its door is `const zbz_cipher *zbz_cipher_plugin(void)`. */
#ifndef ZBZ_LOG_CIPHER_H
#define ZBZ_LOG_CIPHER_H

#include <zbz/cache.h>

enum { ZBZ_CIPHER_KEY = 32, ZBZ_CIPHER_NONCE = 12, ZBZ_CIPHER_TAG = 16 };

/* AES-256-GCM (NIST SP 800-38D). Any number of threads at once. `extra` is not hidden, but cannot be changed either. */
typedef struct zbz_cipher {
	int abi; /* ZBZ_ABI */
	/* out: text.n bytes, then the tag. E_INTERNAL. */
	zbz_status (*seal)(const unsigned char *key, const unsigned char *nonce, zbz_bytes extra, zbz_bytes text,
	                   unsigned char *out, zbz_err *err);
	/* sealed: as seal left it; out: ZBZ_CIPHER_TAG bytes less, of no meaning unless OK. E_CORRUPT: not made with this key, or changed since. */
	zbz_status (*open)(const unsigned char *key, const unsigned char *nonce, zbz_bytes extra, zbz_bytes sealed,
	                   unsigned char *out, zbz_err *err);
} zbz_cipher;

/* E_UNSUPPORTED, naming the option encryption: the plug-in is not there. */
zbz_status zbz_cipher_find(const zbz_cipher **cipher, zbz_err *err);

#endif
