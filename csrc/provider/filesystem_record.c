/* CRC-32C (Castagnoli polynomial, RFC 3720 appendix B.4) with the slicing-by-8 method of Kounavis and Berry; tables made on
 * first use. SHA-256 for long names. */
#include "filesystem_record.h"

#include <pthread.h>

#include "base/page.h"
#include "base/sha256.h"

static const char magic[8] = { 'z', 'b', 'z', 'f', 'i', 'l', 'e', '1' };

static uint32_t crc_table[8][256];
static pthread_once_t crc_once = PTHREAD_ONCE_INIT;

static void crc_init(void) {
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c = i;
		for (int k = 0; k < 8; k++) c = c & 1 ? c >> 1 ^ 0x82f63b78u : c >> 1;
		crc_table[0][i] = c;
	}
	for (uint32_t i = 0; i < 256; i++)
		for (int t = 1; t < 8; t++)
			crc_table[t][i] = crc_table[t - 1][i] >> 8 ^ crc_table[0][crc_table[t - 1][i] & 255];
}

static void put64(uint8_t *p, uint64_t v) {
	zbz_u32_put(p, (uint32_t)v);
	zbz_u32_put(p + 4, (uint32_t)(v >> 32));
}

static uint64_t get64(const uint8_t *p) { return zbz_u32_get(p) | (uint64_t)zbz_u32_get(p + 4) << 32; }

uint32_t zbz_fs_crc(uint32_t crc, const void *data, size_t n) {
	const uint8_t *p = data;
	pthread_once(&crc_once, crc_init);
	crc = ~crc;
	for (; n >= 8; n -= 8, p += 8) {
		uint32_t a = zbz_u32_get(p) ^ crc, b = zbz_u32_get(p + 4);
		crc = crc_table[7][a & 255] ^ crc_table[6][a >> 8 & 255] ^ crc_table[5][a >> 16 & 255] ^ crc_table[4][a >> 24] ^
		      crc_table[3][b & 255] ^ crc_table[2][b >> 8 & 255] ^ crc_table[1][b >> 16 & 255] ^ crc_table[0][b >> 24];
	}
	for (; n > 0; n--, p++) crc = crc >> 8 ^ crc_table[0][(crc ^ *p) & 255];
	return ~crc;
}

void zbz_fs_record_pack(const zbz_fs_record *r, zbz_bytes key, uint8_t out[ZBZ_FS_HEADER]) {
	memcpy(out, magic, sizeof magic);
	put64(out + 8, r->value_len);
	put64(out + 16, (uint64_t)r->expire_at);
	put64(out + 24, (uint64_t)r->stored_at);
	memcpy(out + 32, r->version, 8);
	zbz_u32_put(out + 40, (uint32_t)key.n);
	zbz_u32_put(out + 44, r->value_crc);
	zbz_u32_put(out + 48, zbz_fs_crc(zbz_fs_crc(0, out, 48), key.p, key.n));
}

bool zbz_fs_record_is(const uint8_t *head, size_t n) {
	return n >= sizeof magic && memcmp(head, magic, sizeof magic) == 0;
}

bool zbz_fs_record_unpack(const uint8_t *head, zbz_fs_record *r) {
	if (!zbz_fs_record_is(head, ZBZ_FS_HEADER)) return false;
	r->value_len = get64(head + 8);
	r->expire_at = (int64_t)get64(head + 16);
	r->stored_at = (int64_t)get64(head + 24);
	memcpy(r->version, head + 32, 8);
	r->key_len = zbz_u32_get(head + 40);
	r->value_crc = zbz_u32_get(head + 44);
	return r->key_len > 0 && r->key_len <= ZBZ_FS_MAX_KEY && r->value_len <= (uint64_t)INT64_MAX / 2 &&
	       r->expire_at >= 0;
}

bool zbz_fs_record_verify(const uint8_t *head, zbz_bytes key) {
	return zbz_u32_get(head + 48) == zbz_fs_crc(zbz_fs_crc(0, head, 48), key.p, key.n);
}

unsigned zbz_fs_shard(zbz_bytes key) { return zbz_fs_crc(0, key.p, key.n) % ZBZ_FS_SHARDS; }

static bool name_plain(unsigned char c) {
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c != 0 && strchr("_-.:@,=+", c) != NULL);
}

void zbz_fs_name(zbz_bytes key, char out[ZBZ_FS_NAME_SIZE]) {
	static const char hex[] = "0123456789ABCDEF";
	size_t n = 0;
	for (size_t i = 0; i < key.n; i++) {
		unsigned char c = (unsigned char)key.p[i];
		bool plain = name_plain(c) && !(c == '.' && i == 0);
		if (n + (plain ? 1 : 3) > ZBZ_FS_NAME_KEY) {
			out[0] = '%';
			out[1] = 'h';
			zbz_sha256_hex(key, out + 2);
			n = 2 + ZBZ_SHA256_HEX;
			break;
		}
		if (plain) {
			out[n++] = (char)c;
		} else {
			out[n++] = '%';
			out[n++] = hex[c >> 4];
			out[n++] = hex[c & 15];
		}
	}
	memcpy(out + n, ".zbz", 5);
}

static int hex_digit(char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1; }

static size_t name_stem(const char *name) {
	size_t n = strlen(name);
	return n > 4 && n < ZBZ_FS_NAME_SIZE && memcmp(name + n - 4, ".zbz", 4) == 0 ? n - 4 : 0;
}

/* One byte of the key at *i; -1 when the text is not ours. */
static int name_byte(const char *name, size_t stem, size_t *i) {
	unsigned char c = (unsigned char)name[*i];
	if (c != '%') {
		(*i)++;
		return name_plain(c) ? c : -1;
	}
	if (stem - *i < 3) return -1;
	int hi = hex_digit(name[*i + 1]), lo = hex_digit(name[*i + 2]);
	*i += 3;
	return hi < 0 || lo < 0 ? -1 : hi << 4 | lo;
}

static bool name_hashed(const char *name, size_t stem) {
	if (stem != 2 + ZBZ_SHA256_HEX || name[0] != '%' || name[1] != 'h') return false;
	return strspn(name + 2, "0123456789abcdef") == ZBZ_SHA256_HEX;
}

bool zbz_fs_name_is(const char *name) {
	size_t stem = name_stem(name);
	if (stem == 0 || name[0] == '.') return false;
	if (name_hashed(name, stem)) return true;
	for (size_t i = 0; i < stem;)
		if (name_byte(name, stem, &i) < 0) return false;
	return true;
}

bool zbz_fs_name_may(const char *name, zbz_bytes prefix) {
	size_t stem = name_stem(name), i = 0;
	if (name_hashed(name, stem)) return true;
	for (size_t k = 0; k < prefix.n; k++)
		if (i >= stem || name_byte(name, stem, &i) != (unsigned char)prefix.p[k]) return false;
	return true;
}
