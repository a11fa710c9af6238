/* Encryption of fields: enc:KEYID:base64(nonce, text, tag). The id of the key is authenticated with the text. Base64 after RFC 4648. */
#include "front.h"

#include "base/random.h"

#define START   "enc:"
#define START_N (sizeof START - 1)

/* ---- keys ---- */

static int sextet(unsigned char c) {
	if (c >= 'A' && c <= 'Z') return c - 'A';
	if (c >= 'a' && c <= 'z') return c - 'a' + 26;
	if (c >= '0' && c <= '9') return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* room: 3/4 of the text. -1: not base64. */
static ptrdiff_t read_base64(zbz_bytes s, unsigned char *out) {
	uint32_t bits = 0;
	size_t n = 0, pad = 0;
	if (s.n % 4 != 0) return -1;
	while (pad < 2 && pad < s.n && s.p[s.n - 1 - pad] == '=') pad++;
	for (size_t i = 0; i < s.n - pad; i++) {
		int six = sextet((unsigned char)s.p[i]);
		if (six < 0) return -1;
		bits = bits << 6 | (uint32_t)six;
		if (i % 4 != 0) out[n++] = (unsigned char)(bits >> (6 - 2 * (i % 4)));
	}
	/* The bits that fill the last digit are none of the bytes': two texts for the same bytes would be two truths. */
	if (pad > 0 && (bits & (pad == 1 ? 3u : 15u)) != 0) return -1;
	return (ptrdiff_t)n;
}

static int hex_digit(unsigned char c) {
	if (c >= '0' && c <= '9') return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_hex(zbz_bytes s, unsigned char *out) {
	for (size_t i = 0; i < s.n; i += 2) {
		int high = hex_digit((unsigned char)s.p[i]), low = hex_digit((unsigned char)s.p[i + 1]);
		if (high < 0 || low < 0) return false;
		out[i / 2] = (unsigned char)(high << 4 | low);
	}
	return true;
}

static bool read_key(zbz_bytes s, unsigned char key[ZBZ_CIPHER_KEY]) {
	unsigned char room[ZBZ_CIPHER_KEY + 3];
	if (s.n == ZBZ_CIPHER_KEY) {
		memcpy(key, s.p, s.n);
		return true;
	}
	if (s.n == 2 * ZBZ_CIPHER_KEY) return read_hex(s, key);
	if (s.n != 44 || read_base64(s, room) != ZBZ_CIPHER_KEY) return false;
	memcpy(key, room, ZBZ_CIPHER_KEY);
	return true;
}

static bool is_id(zbz_bytes id) {
	for (size_t i = 0; i < id.n; i++) {
		char c = id.p[i];
		bool ok = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_' ||
		          c == '.';
		if (!ok) return false;
	}
	return id.n > 0 && id.n <= ZBZ_SEAL_ID;
}

static zbz_status key_option(zbz_bytes text, unsigned char key[ZBZ_CIPHER_KEY], zbz_err *err) {
	if (read_key(text, key)) return ZBZ_OK;
	return zbz_fail_option(err, "encryption",
	                       "the key must be 32 bytes, 64 hexadecimal digits or 44 characters of base64");
}

zbz_status zbz_log_seal_begin(zbz_log_seal *s, zbz_bytes id, zbz_bytes key, zbz_err *err) {
	zbz_status status;
	if (!is_id(id))
		return zbz_fail_option(err, "encryption", "the id must be 1 to %d of A-Z a-z 0-9 . _ -", ZBZ_SEAL_ID);
	status = key_option(key, s->key, err);
	if (status == ZBZ_OK) status = zbz_cipher_find(&s->cipher, err);
	if (status != ZBZ_OK) return status;
	memcpy(s->id, id.p, id.n);
	s->id_n = id.n;
	return ZBZ_OK;
}

void zbz_log_seal_clear(zbz_log_seal *s) { explicit_bzero(s, sizeof *s); }

/* ---- there ---- */

zbz_status zbz_log_seal_put(const zbz_log_seal *s, zbz_bytes text, zbz_buf *out) {
	zbz_bytes id = zbz_b(s->id, s->id_n);
	size_t raw_n = ZBZ_CIPHER_NONCE + text.n + ZBZ_CIPHER_TAG, before = out->n;
	unsigned char *raw;
	zbz_status status;
	char *p;
	if (s->cipher == NULL) return ZBZ_E_UNSUPPORTED;
	if (text.n > ZBZ_SEAL_MOST) return ZBZ_E_TOO_LARGE;
	/* The sealed bytes lie behind the place of their text, which is longer. */
	status = zbz_buf_reserve(out, START_N + id.n + 1 + (raw_n + 2) / 3 * 4 + raw_n, NULL);
	if (status != ZBZ_OK) return status;
	p = out->p + before;
	raw = (unsigned char *)p + START_N + id.n + 1 + (raw_n + 2) / 3 * 4;
	status = zbz_random(raw, ZBZ_CIPHER_NONCE, NULL);
	if (status == ZBZ_OK) status = s->cipher->seal(s->key, raw, id, text, raw + ZBZ_CIPHER_NONCE, NULL);
	if (status != ZBZ_OK) return status;
	p = zbz_put(p, START, START_N);
	p = zbz_put(p, id.p, id.n);
	*p++ = ':';
	out->n = (size_t)(zbz_put_base64(p, (const char *)raw, raw_n) - out->p);
	return ZBZ_OK;
}

/* ---- and back ---- */

static bool split(zbz_bytes text, zbz_bytes *id, zbz_bytes *sealed) {
	const char *colon;
	if (text.n < START_N || memcmp(text.p, START, START_N) != 0) return false;
	*id = zbz_b(text.p + START_N, text.n - START_N);
	colon = memchr(id->p, ':', id->n);
	if (colon == NULL) return false;
	*sealed = zbz_b(colon + 1, (size_t)(id->p + id->n - colon) - 1);
	id->n = (size_t)(colon - id->p);
	return is_id(*id);
}

zbz_status zbz_log_sealed_with(zbz_bytes text, zbz_bytes *id, zbz_err *err) {
	zbz_bytes sealed;
	if (split(text, id, &sealed)) return ZBZ_OK;
	return zbz_fail(err, ZBZ_E_CORRUPT, "this is no encrypted field: enc:KEYID:base64");
}

zbz_status zbz_log_unseal(zbz_bytes text, zbz_bytes key, zbz_buf *out, zbz_err *err) {
	unsigned char raw_key[ZBZ_CIPHER_KEY], *raw, *to;
	const zbz_cipher *cipher;
	zbz_bytes id, sealed;
	ptrdiff_t n;
	zbz_status status = zbz_log_sealed_with(text, &id, err);
	if (status == ZBZ_OK) status = key_option(key, raw_key, err);
	if (status == ZBZ_OK) status = zbz_cipher_find(&cipher, err);
	if (status != ZBZ_OK) return status;
	split(text, &id, &sealed);
	raw = zbz_malloc(sealed.n / 4 * 3 + 1);
	status = raw != NULL ? zbz_buf_reserve(out, sealed.n, err) : zbz_fail_nomem(err);
	n = status == ZBZ_OK ? read_base64(sealed, raw) : 0;
	if (status == ZBZ_OK && n < ZBZ_CIPHER_NONCE + ZBZ_CIPHER_TAG) {
		status = zbz_fail(err, ZBZ_E_CORRUPT, "this encrypted field is damaged or cut");
	} else if (status == ZBZ_OK) {
		to = (unsigned char *)out->p + out->n;
		n -= ZBZ_CIPHER_NONCE;
		status = cipher->open(raw_key, raw, id, zbz_b((char *)raw + ZBZ_CIPHER_NONCE, (size_t)n), to, err);
		if (status == ZBZ_OK) out->n += (size_t)n - ZBZ_CIPHER_TAG;
	}
	explicit_bzero(raw_key, sizeof raw_key);
	zbz_free(raw);
	return status;
}
