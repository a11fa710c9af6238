/* Redaction: by name, by type, by what a text looks like. HMAC after RFC 2104, the check digit of cards after ISO/IEC 7812 (Luhn). */
#include "front.h"

#include "base/sha256.h"

#include <zbz/pack.h>

/* ---- 1. The keyed hash ---- */

void zbz_hmac_begin(zbz_hmac *h, zbz_bytes key) {
	static const uint32_t start[8] = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
		                               0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19 };
	uint8_t pad[64] = { 0 };
	char digits[ZBZ_SHA256_HEX];
	if (key.n > 64) {
		zbz_sha256_hex(key, digits);
		for (size_t i = 0; i < 32; i++) {
			int hi = digits[2 * i], lo = digits[2 * i + 1];
			pad[i] = (uint8_t)((hi <= '9' ? hi - '0' : hi - 'a' + 10) << 4 | (lo <= '9' ? lo - '0' : lo - 'a' + 10));
		}
	} else if (key.n > 0) {
		memcpy(pad, key.p, key.n);
	}
	for (size_t i = 0; i < 64; i++) pad[i] ^= 0x36;
	memcpy(h->inner, start, sizeof start);
	zbz_sha256_block(h->inner, pad);
	for (size_t i = 0; i < 64; i++) pad[i] ^= 0x36 ^ 0x5c;
	memcpy(h->outer, start, sizeof start);
	zbz_sha256_block(h->outer, pad);
}

/* The rest of a message whose first 64 bytes are in h already. */
static void finish(uint32_t h[8], const uint8_t *p, size_t n) {
	uint8_t tail[128] = { 0 };
	uint64_t bits = ((uint64_t)n + 64) * 8;
	size_t end;
	for (; n >= 64; n -= 64, p += 64) zbz_sha256_block(h, p);
	if (n > 0) memcpy(tail, p, n);
	tail[n] = 0x80;
	end = n < 56 ? 64 : 128;
	for (size_t i = 0; i < 8; i++) tail[end - 1 - i] = (uint8_t)(bits >> 8 * i);
	for (size_t i = 0; i < end; i += 64) zbz_sha256_block(h, tail + i);
}

static void hmac16(const zbz_hmac *hmac, zbz_bytes text, char out[16]) {
	uint32_t h[8];
	uint8_t first[32];
	memcpy(h, hmac->inner, sizeof h);
	finish(h, (const uint8_t *)text.p, text.n);
	for (size_t i = 0; i < 32; i++) first[i] = (uint8_t)(h[i / 4] >> (24 - 8 * (i % 4)));
	memcpy(h, hmac->outer, sizeof h);
	finish(h, first, sizeof first);
	for (size_t i = 0; i < 16; i++) out[i] = "0123456789abcdef"[h[i / 8] >> (28 - 4 * (i % 8)) & 15];
}

/* ---- 2. One value ---- */

static bool cut_at(const char *p) { return ((unsigned char)*p & 0xC0) != 0x80; }

/* First and last two characters, and dots between; short values would be told too much of. */
static zbz_status put_partial(zbz_bytes s, zbz_buf *out) {
	size_t head = 0, tail = s.n;
	if (zbz_utf8_span(s.p, s.n) < s.n || s.n < 8) return zbz_buf_append(out, "***", 3, NULL);
	for (int i = 0; i < 2; i++) {
		do head++;
		while (head < s.n && !cut_at(s.p + head));
		do tail--;
		while (tail > 0 && !cut_at(s.p + tail));
	}
	if (head + 4 > tail) return zbz_buf_append(out, "***", 3, NULL);
	if (zbz_buf_append(out, s.p, head, NULL) < 0 || zbz_buf_append(out, "...", 3, NULL) < 0) return ZBZ_E_INTERNAL;
	return zbz_buf_append(out, s.p + tail, s.n - tail, NULL);
}

/* 203.0.113.9 -> 203.0.113.0, 2001:db8:1:2::9 -> 2001:db8:1::; anything else is masked. */
static zbz_status put_ip(zbz_bytes s, zbz_buf *out) {
	size_t colons = 0, dots = 0, i, keep = 0, zeros = s.n;
	for (i = 0; i < s.n; i++) {
		char c = s.p[i];
		bool digit = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
		if (c == ':') {
			if (++colons == 3) keep = i;
			if (zeros == s.n && i + 1 < s.n && s.p[i + 1] == ':') zeros = i;
		} else if (c == '.') {
			dots++;
			if (colons == 0) keep = i;
		} else if (!digit) {
			return zbz_buf_append(out, "***", 3, NULL);
		}
	}
	if (colons == 0 && dots == 3) {
		if (zbz_buf_append(out, s.p, keep, NULL) < 0) return ZBZ_E_INTERNAL;
		return zbz_buf_append(out, ".0", 2, NULL);
	}
	if (colons < 3 || s.n > 45) return zbz_buf_append(out, "***", 3, NULL);
	if (zeros < keep) keep = zeros; /* what follows the zeros is the host */
	if (zbz_buf_append(out, s.p, keep, NULL) < 0) return ZBZ_E_INTERNAL;
	return zbz_buf_append(out, "::", 2, NULL);
}

static zbz_status put_hidden(const zbz_log_snapshot *s, zbz_redact how, zbz_bytes text, zbz_buf *out) {
	char digest[16];
	switch (how) {
	case ZBZ_REDACT_HASH:
		if (!s->hashes) return zbz_buf_append(out, "***", 3, NULL); /* asked for by a single value */
		hmac16(&s->hmac, text, digest);
		if (zbz_buf_append(out, "hmac:", 5, NULL) < 0) return ZBZ_E_INTERNAL;
		return zbz_buf_append(out, digest, sizeof digest, NULL);
	case ZBZ_REDACT_PARTIAL: return put_partial(text, out);
	case ZBZ_REDACT_IP: return put_ip(text, out);
	case ZBZ_REDACT_ENCRYPT:
		if (zbz_log_seal_put(&s->seal, text, out) == ZBZ_OK) return ZBZ_OK;
		return zbz_buf_append(out, "***", 3, NULL);
	default: return zbz_buf_append(out, "***", 3, NULL);
	}
}

zbz_redact zbz_redact_of(const zbz_log_snapshot *s, zbz_bytes name) {
	char low[ZBZ_KEY_BYTES];
	size_t n = name.n < sizeof low ? name.n : sizeof low;
	if (s->set.redact_n == 0) return ZBZ_REDACT_NONE;
	for (size_t i = 0; i < n; i++) low[i] = name.p[i] >= 'A' && name.p[i] <= 'Z' ? (char)(name.p[i] + 32) : name.p[i];
	for (size_t i = 0; i < s->set.redact_n; i++) {
		if (zbz_glob_match(zbz_bstr(s->set.redact[i].key), zbz_b(low, n))) return s->set.redact[i].how;
	}
	return ZBZ_REDACT_NONE;
}

/* ---- 3. Patterns ---- */

static bool digit(char c) { return c >= '0' && c <= '9'; }
static bool word(char c) {
	return digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (unsigned char)c >= 0x80;
}
static bool local(char c) { return word(c) || (c != '\0' && strchr(".!#$%&'*+/=?^_`{|}~-", c) != NULL); }
static bool domain(char c) { return word(c) || c == '.' || c == '-'; }

/* 123-45-6789, not inside a longer number. The length, or 0. */
static size_t ssn_at(const char *p, const char *begin, const char *end) {
	static const char shape[] = "ddd-dd-dddd";
	size_t n = sizeof shape - 1;
	if ((size_t)(end - p) < n || (p > begin && (word(p[-1]) || p[-1] == '-'))) return 0;
	for (size_t i = 0; i < n; i++) {
		if (shape[i] == 'd' ? !digit(p[i]) : p[i] != '-') return 0;
	}
	return (size_t)(end - p) > n && (word(p[n]) || p[n] == '-') ? 0 : n;
}

static bool check_digit_right(const char *digits, size_t n) {
	unsigned sum = 0;
	for (size_t i = 0; i < n; i++) {
		unsigned d = (unsigned)(digits[n - 1 - i] - '0');
		if (i % 2 == 1) d = d * 2 > 9 ? d * 2 - 9 : d * 2;
		sum += d;
	}
	return sum % 10 == 0;
}

/* 13 to 19 digits, single spaces or hyphens among them, with the right check digit; what follows after a space may be digits, too (an
 * expiry, another card). The longest, or 0. */
static size_t card_at(const char *p, const char *begin, const char *end) {
	char digits[19];
	size_t n = 0, found = 0;
	if (p > begin && word(p[-1])) return 0;
	for (const char *at = p; at < end; at++) {
		if (digit(*at)) {
			if (n == sizeof digits) break;
			digits[n++] = *at;
			if (n >= 13 && (at + 1 == end || !word(at[1])) && check_digit_right(digits, n))
				found = (size_t)(at - p) + 1;
		} else if (!((*at == ' ' || *at == '-') && at > p && digit(at[-1]) && at + 1 < end && digit(at[1]))) {
			break;
		}
	}
	return found;
}

/* Around the '@' at p: how far it reaches to the left (from `from`) and to the right; 0 when it is no address. */
static size_t email_at(const char *p, const char *from, const char *end, size_t *left) {
	const char *l = p, *r = p + 1;
	bool dot = false;
	while (l > from && local(l[-1])) l--;
	for (; r < end && domain(*r); r++) {
		if (*r == '.' && r > p + 1 && r + 1 < end && word(r[1])) dot = true;
	}
	while (r > p + 1 && !word(r[-1])) r--;
	*left = (size_t)(p - l);
	return *left > 0 && dot ? (size_t)(r - p) : 0;
}

bool zbz_redact_scan(unsigned scan, zbz_bytes text, zbz_buf *out) {
	const char *p = text.p, *end = text.p + text.n, *done = text.p;
	size_t before = out->n;
	bool found = false;
	while (p < end) {
		const char *name = NULL;
		size_t n = 0, left = 0;
		if (digit(*p)) {
			if ((scan & ZBZ_SCAN_SSN) != 0 && (n = ssn_at(p, text.p, end)) > 0)
				name = "[ssn]";
			else if ((scan & ZBZ_SCAN_CARD) != 0 && (n = card_at(p, text.p, end)) > 0)
				name = "[card]";
			if (name == NULL) { /* the rest of these digits begins nothing either */
				while (p < end && digit(*p)) p++;
				continue;
			}
		} else if (*p == '@' && (scan & ZBZ_SCAN_EMAIL) != 0 && (n = email_at(p, done, end, &left)) > 0) {
			name = "[email]";
		}
		if (name == NULL) {
			p++;
			continue;
		}
		found = true;
		if (zbz_buf_append(out, done, (size_t)(p - done) - left, NULL) < 0 ||
		    zbz_buf_append(out, name, strlen(name), NULL) < 0)
			goto nomem;
		p += n;
		done = p;
	}
	if (!found) return false;
	if (zbz_buf_append(out, done, (size_t)(end - done), NULL) == ZBZ_OK) return true;
nomem: /* rather nothing than what should not be seen */
	out->n = before;
	return true;
}

/* ---- 4. Fields ---- */

/* A card's number that came as a number. */
static bool card_number(const zbz_log_snapshot *s, const zbz_field *f) {
	char room[ZBZ_SCALAR_TEXT];
	zbz_field digits = { NULL, ZBZ_FIELD_UINT, ZBZ_GUARD_NONE, { false } };
	size_t n;
	if ((s->set.scan & ZBZ_SCAN_CARD) == 0 || f->type < ZBZ_FIELD_INT || f->type > ZBZ_FIELD_DOUBLE) return false;
	digits.v.u = f->v.u;
	if (f->type == ZBZ_FIELD_INT && f->v.i < 0) return false;
	if (f->type == ZBZ_FIELD_DOUBLE) {
		if (!(f->v.d >= 1e12 && f->v.d < 1e19)) return false;
		digits.v.u = (uint64_t)f->v.d;
		if ((double)digits.v.u != f->v.d) return false;
	}
	if (digits.v.u < UINT64_C(1000000000000)) return false;
	n = (size_t)(zbz_put_scalar(room, &digits, false) - room);
	return card_at(room, room, room + n) == n;
}

static zbz_status put_value(const zbz_log_snapshot *s, zbz_bytes *in, int depth, zbz_buf *out);

/* Something nested: its hash, or its JSON encrypted; all else would tell too much of it. */
static zbz_status put_hidden_pack(const zbz_log_snapshot *s, zbz_redact how, zbz_bytes pack, zbz_buf *out) {
	size_t most = 7 * pack.n + 64;
	zbz_status status;
	char *json, *end;
	if (how == ZBZ_REDACT_HASH) return put_hidden(s, how, pack, out);
	json = how == ZBZ_REDACT_ENCRYPT && pack.n <= ZBZ_SEAL_MOST ? zbz_malloc(most) : NULL;
	end = json != NULL ? zbz_put_pack(pack, false, json, json + most) : NULL;
	status =
	    end != NULL ? put_hidden(s, how, zbz_b(json, (size_t)(end - json)), out) : zbz_buf_append(out, "***", 3, NULL);
	zbz_free(json);
	return status;
}

static zbz_status put_hidden_item(const zbz_log_snapshot *s, zbz_redact how, zbz_bytes *in, zbz_buf *out) {
	zbz_bytes from = *in, at = *in;
	zbz_item item;
	zbz_buf text = { 0 };
	zbz_status status;
	if (!zbz_unpack(&at, &item) || !zbz_unpack_skip(in)) return ZBZ_E_CORRUPT;
	if (item.kind == ZBZ_ITEM_TEXT)
		status = put_hidden(s, how, item.v.s, &text);
	else
		status = put_hidden_pack(s, how, zbz_b(from.p, from.n - in->n), &text);
	if (status == ZBZ_OK) status = zbz_pack_str(out, zbz_buf_bytes(&text), NULL);
	zbz_buf_clear(&text);
	return status;
}

static zbz_status put_text(const zbz_log_snapshot *s, zbz_bytes text, zbz_buf *out) {
	zbz_buf clean = { 0 };
	zbz_status status;
	if (s->set.scan == 0 || !zbz_redact_scan(s->set.scan, text, &clean)) return zbz_pack_str(out, text, NULL);
	status = zbz_pack_str(out, zbz_buf_bytes(&clean), NULL);
	zbz_buf_clear(&clean);
	return status;
}

static zbz_status put_number(const zbz_log_snapshot *s, const zbz_item *item, zbz_bytes as_it_is, zbz_buf *out) {
	zbz_field f = { NULL, ZBZ_FIELD_NULL, ZBZ_GUARD_NONE, { false } };
	if (item->kind == ZBZ_ITEM_INT) {
		f.type = ZBZ_FIELD_INT;
		f.v.i = item->v.i;
	} else if (item->kind == ZBZ_ITEM_UINT) {
		f.type = ZBZ_FIELD_UINT;
		f.v.u = item->v.u;
	} else if (item->kind == ZBZ_ITEM_DOUBLE) {
		f.type = ZBZ_FIELD_DOUBLE;
		f.v.d = item->v.d;
	}
	if (card_number(s, &f)) return zbz_pack_str(out, zbz_bstr("[card]"), NULL);
	return zbz_buf_append(out, as_it_is.p, as_it_is.n, NULL);
}

static zbz_status put_map(const zbz_log_snapshot *s, zbz_bytes *in, size_t n, int depth, zbz_buf *out) {
	zbz_status status = ZBZ_OK;
	for (size_t i = 0; i < n && status == ZBZ_OK; i++) {
		zbz_bytes from = *in;
		zbz_item key;
		zbz_redact how;
		if (!zbz_unpack(in, &key)) return ZBZ_E_CORRUPT;
		how = key.kind == ZBZ_ITEM_TEXT ? zbz_redact_of(s, key.v.s) : ZBZ_REDACT_NONE;
		from.n -= in->n;
		status = key.kind == ZBZ_ITEM_TEXT ? put_text(s, key.v.s, out) : put_number(s, &key, from, out);
		if (status != ZBZ_OK) return status;
		status = how != ZBZ_REDACT_NONE ? put_hidden_item(s, how, in, out) : put_value(s, in, depth, out);
	}
	return status;
}

static zbz_status put_value(const zbz_log_snapshot *s, zbz_bytes *in, int depth, zbz_buf *out) {
	zbz_bytes from = *in;
	zbz_item item;
	zbz_status status;
	if (depth > ZBZ_NEST_MAX || !zbz_unpack(in, &item)) return ZBZ_E_CORRUPT;
	from.n -= in->n;
	if (item.kind == ZBZ_ITEM_TEXT) return put_text(s, item.v.s, out);
	if (item.kind < ZBZ_ITEM_TEXT) return put_number(s, &item, from, out);
	status = zbz_buf_append(out, from.p, from.n, NULL);
	if (item.kind == ZBZ_ITEM_MAP && status == ZBZ_OK) return put_map(s, in, item.n, depth + 1, out);
	for (size_t i = 0; item.kind == ZBZ_ITEM_ARRAY && i < item.n && status == ZBZ_OK; i++)
		status = put_value(s, in, depth + 1, out);
	return status;
}

static bool is_nested(const zbz_field *f) { return f->type == ZBZ_FIELD_PACK || f->type == ZBZ_FIELD_ERROR; }

static zbz_redact how_of(const zbz_log_snapshot *s, const zbz_field *f) {
	switch (f->guard) {
	case ZBZ_GUARD_SECRET: return s->set.secret;
	case ZBZ_GUARD_PII: return s->set.pii;
	case ZBZ_GUARD_MASK: return ZBZ_REDACT_MASK;
	case ZBZ_GUARD_HASH: return ZBZ_REDACT_HASH;
	case ZBZ_GUARD_PARTIAL: return ZBZ_REDACT_PARTIAL;
	case ZBZ_GUARD_ENCRYPT: return ZBZ_REDACT_ENCRYPT;
	default: return (zbz_redact)f->key->redact;
	}
}

bool zbz_redact_wanted(const zbz_log_snapshot *s, const zbz_field *f) {
	if (how_of(s, f) != ZBZ_REDACT_NONE) return true;
	if (is_nested(f)) return s->set.redact_n > 0 || s->set.scan != 0;
	return s->set.scan != 0 && (f->type == ZBZ_FIELD_TEXT || card_number(s, f));
}

/* What stands for a field that is not a text, for the hash of it. */
static zbz_bytes as_bytes(const zbz_field *f, char room[ZBZ_SCALAR_TEXT]) {
	if (f->type == ZBZ_FIELD_TEXT || f->type >= ZBZ_FIELD_PACK || f->type == ZBZ_FIELD_BYTES) return f->v.s;
	return zbz_b(room, (size_t)(zbz_put_scalar(room, f, false) - room));
}

/* false: the field stays as it is. */
static bool redact_one(const zbz_log_snapshot *s, zbz_field *f, zbz_buf *room) {
	char scalar[ZBZ_SCALAR_TEXT];
	zbz_redact how = how_of(s, f);
	zbz_bytes in = f->v.s;
	zbz_status status;
	if (how != ZBZ_REDACT_NONE) {
		status = is_nested(f) ? put_hidden_pack(s, how, in, room) : put_hidden(s, how, as_bytes(f, scalar), room);
		f->type = ZBZ_FIELD_TEXT;
	} else if (is_nested(f)) {
		status = put_value(s, &in, 0, room);
	} else {
		bool number = f->type != ZBZ_FIELD_TEXT;
		if (number ? !card_number(s, f) : !zbz_redact_scan(s->set.scan, in, room)) return false;
		f->type = ZBZ_FIELD_TEXT;
		if (!number) return true;
		status = zbz_buf_append(room, "[card]", 6, NULL);
	}
	if (status != ZBZ_OK) f->type = ZBZ_FIELD_NULL;
	return true;
}

void zbz_redact_fields(const zbz_log_snapshot *s, zbz_field *fields, size_t n, zbz_buf *room) {
	size_t from[ZBZ_LOG_FIELDS_MAX], to[ZBZ_LOG_FIELDS_MAX];
	if (n > ZBZ_LOG_FIELDS_MAX) n = ZBZ_LOG_FIELDS_MAX;
	for (size_t i = 0; i < n; i++) {
		from[i] = to[i] = room->n;
		if (!zbz_redact_wanted(s, &fields[i])) continue;
		if (!redact_one(s, &fields[i], room)) continue;
		to[i] = room->n;
		if (to[i] == from[i]) { /* an empty text, or no memory */
			if (fields[i].type != ZBZ_FIELD_NULL) fields[i].v.s = zbz_b("", 0);
		}
	}
	for (size_t i = 0; i < n; i++) { /* the room has come to rest */
		if (to[i] > from[i]) fields[i].v.s = zbz_b(room->p + from[i], to[i] - from[i]);
	}
}
