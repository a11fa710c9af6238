#include "memcache_key.h"

#include "base/page.h"
#include "base/sha256.h"

#define MARK 4                           /* length of the markers */
#define HEAD (MARK + ZBZ_SHA256_HEX + 1) /* where the readable part of a hashed key begins */

static bool printable(unsigned char c) { return c > 0x20 && c < 0x7f; }

static bool marked(zbz_bytes b, char kind) { return b.n >= MARK && memcmp(b.p, "zbz", 3) == 0 && b.p[3] == kind; }

static bool plain(zbz_bytes key) {
	if (key.n == 0 || key.n > ZBZ_MC_KEY_MAX || marked(key, '%') || marked(key, '#')) return false;
	for (size_t i = 0; i < key.n; i++)
		if (!printable((unsigned char)key.p[i])) return false;
	return true;
}

/* Appends the coded form from `at` on; false when it did not all fit. Never half a byte's code. */
static bool encode(zbz_bytes key, zbz_mc_key *out, size_t at) {
	static const char hex[] = "0123456789ABCDEF";
	out->n = at;
	for (size_t i = 0; i < key.n; i++) {
		unsigned char c = (unsigned char)key.p[i];
		bool as_is = printable(c) && c != '%';
		if (out->n + (as_is ? 1 : 3) > ZBZ_MC_KEY_MAX) return false;
		if (as_is) {
			out->text[out->n++] = (char)c;
			continue;
		}
		out->text[out->n++] = '%';
		out->text[out->n++] = hex[c >> 4];
		out->text[out->n++] = hex[c & 15];
	}
	return true;
}

void zbz_mc_key_make(zbz_bytes key, zbz_mc_key *out) {
	out->framed = false;
	if (plain(key)) {
		memcpy(out->text, key.p, key.n);
		out->n = key.n;
		return;
	}
	memcpy(out->text, "zbz%", MARK);
	if (encode(key, out, MARK)) return;
	out->framed = true;
	memcpy(out->text, "zbz#", MARK);
	zbz_sha256_hex(key, out->text + MARK);
	out->text[HEAD - 1] = '#';
	encode(key, out, HEAD);
}

static int hex_digit(char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1; }

/* The next byte of a coded text; -1 when it is not one of ours. */
static int decode(zbz_bytes wire, size_t *i) {
	unsigned char c = (unsigned char)wire.p[*i];
	if (c != '%') {
		++*i;
		return printable(c) ? c : -1;
	}
	if (wire.n - *i < 3) return -1;
	int hi = hex_digit(wire.p[*i + 1]), lo = hex_digit(wire.p[*i + 2]);
	*i += 3;
	return hi < 0 || lo < 0 ? -1 : hi << 4 | lo;
}

zbz_status zbz_mc_key_back(zbz_bytes wire, zbz_buf *out, zbz_err *err) {
	size_t start = out->n;
	if (marked(wire, '#')) return wire.n > HEAD ? ZBZ_AGAIN : ZBZ_MISS;
	if (!marked(wire, '%')) return zbz_buf_append(out, wire.p, wire.n, err);
	for (size_t i = MARK; i < wire.n;) {
		int c = decode(wire, &i);
		if (c < 0) {
			out->n = start;
			return ZBZ_MISS;
		}
		zbz_status s = zbz_buf_putc(out, (char)c, err);
		if (s != ZBZ_OK) return s;
	}
	return out->n > start ? ZBZ_OK : ZBZ_MISS;
}

bool zbz_mc_key_may(zbz_bytes wire, zbz_bytes prefix) {
	bool hashed = marked(wire, '#');
	if (!hashed && !marked(wire, '%')) return zbz_bytes_has_prefix(wire, prefix);
	size_t i = hashed ? HEAD : MARK;
	if (i >= wire.n) return false;
	for (size_t k = 0; k < prefix.n; k++) {
		if (i >= wire.n) return hashed;
		if (decode(wire, &i) != (unsigned char)prefix.p[k]) return false;
	}
	return true;
}

zbz_status zbz_mc_frame_put(zbz_bytes key, zbz_buf *out, zbz_err *err) {
	uint8_t head[ZBZ_MC_FRAME] = { 'z', 'b', 'z', '#' };
	zbz_u32_put(head + 4, (uint32_t)key.n);
	zbz_status s = zbz_buf_append(out, head, sizeof head, err);
	return s != ZBZ_OK ? s : zbz_buf_append(out, key.p, key.n, err);
}

bool zbz_mc_frame_open(zbz_bytes stored, zbz_bytes *key, zbz_bytes *value) {
	const uint8_t *p = (const uint8_t *)stored.p;
	if (stored.n < ZBZ_MC_FRAME || memcmp(p, "zbz#", 4) != 0) return false;
	size_t n = zbz_u32_get(p + 4);
	if (n > stored.n - ZBZ_MC_FRAME) return false;
	*key = zbz_b(stored.p + ZBZ_MC_FRAME, n);
	*value = zbz_b(stored.p + ZBZ_MC_FRAME + n, stored.n - ZBZ_MC_FRAME - n);
	return true;
}
