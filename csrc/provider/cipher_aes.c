/* AES-256-GCM by OpenSSL's libcrypto. */
#include "log/cipher.h"

#include <limits.h>
#include <openssl/evp.h>

static zbz_status failed(zbz_err *err) { return zbz_fail(err, ZBZ_E_INTERNAL, "libcrypto refuses AES-256-GCM"); }

/* Key, nonce and what is only authenticated. */
static bool begin(EVP_CIPHER_CTX *ctx, const unsigned char *key, const unsigned char *nonce, zbz_bytes extra,
                  int sealing) {
	int n;
	if (EVP_CipherInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, nonce, sealing) != 1) return false;
	return extra.n == 0 || EVP_CipherUpdate(ctx, NULL, &n, (const unsigned char *)extra.p, (int)extra.n) == 1;
}

static zbz_status aes_seal(const unsigned char *key, const unsigned char *nonce, zbz_bytes extra, zbz_bytes text,
                           unsigned char *out, zbz_err *err) {
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	int n = 0, last = 0;
	bool ok = ctx != NULL && text.n < INT_MAX / 2 && extra.n < INT_MAX / 2 && begin(ctx, key, nonce, extra, 1);
	ok = ok && (text.n == 0 || EVP_CipherUpdate(ctx, out, &n, (const unsigned char *)text.p, (int)text.n) == 1);
	ok = ok && EVP_CipherFinal_ex(ctx, out + n, &last) == 1 && (size_t)(n + last) == text.n;
	ok = ok && EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, ZBZ_CIPHER_TAG, out + text.n) == 1;
	EVP_CIPHER_CTX_free(ctx);
	return ok ? ZBZ_OK : failed(err);
}

static zbz_status aes_open(const unsigned char *key, const unsigned char *nonce, zbz_bytes extra, zbz_bytes sealed,
                           unsigned char *out, zbz_err *err) {
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	size_t text_n = sealed.n >= ZBZ_CIPHER_TAG ? sealed.n - ZBZ_CIPHER_TAG : 0;
	unsigned char *tag = (unsigned char *)(uintptr_t)sealed.p + text_n;
	int n = 0, last = 0;
	bool ok = ctx != NULL && sealed.n < INT_MAX / 2 && extra.n < INT_MAX / 2 && begin(ctx, key, nonce, extra, 0);
	bool whole = sealed.n >= ZBZ_CIPHER_TAG;
	ok = ok && (text_n == 0 || EVP_CipherUpdate(ctx, out, &n, (const unsigned char *)sealed.p, (int)text_n) == 1);
	whole = ok && whole && EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, ZBZ_CIPHER_TAG, tag) == 1 &&
	        EVP_CipherFinal_ex(ctx, out + n, &last) == 1;
	EVP_CIPHER_CTX_free(ctx);
	if (!ok) return failed(err);
	return whole ? ZBZ_OK : zbz_fail(err, ZBZ_E_CORRUPT, "made with another key, or damaged");
}

static const zbz_cipher aes = { .abi = ZBZ_ABI, .seal = aes_seal, .open = aes_open };

ZBZ_API const zbz_cipher *zbz_cipher_plugin(void);
const zbz_cipher *zbz_cipher_plugin(void) { return &aes; }
