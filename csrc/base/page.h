/* Listings: a page of keys as scan_next fills it (u32 length little endian, key; see zbz/cache.h), and which keys one asks for. */
#ifndef ZBZ_BASE_PAGE_H
#define ZBZ_BASE_PAGE_H

#include <zbz/bytes.h>
#include <zbz/config.h>

static inline uint32_t zbz_u32_get(const void *at) {
	const unsigned char *p = (const unsigned char *)at;
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}
static inline void zbz_u32_put(void *at, uint32_t v) {
	unsigned char *p = (unsigned char *)at;
	for (int i = 0; i < 4; i++) p[i] = (unsigned char)(v >> 8 * i & 0xFF);
}

/* A failure appends nothing. */
static inline zbz_status zbz_page_add(zbz_buf *page, zbz_bytes key, zbz_err *err) {
	char length[4];
	zbz_status s = zbz_buf_reserve(page, sizeof length + key.n, err);
	if (s != ZBZ_OK) return s;
	zbz_u32_put(length, (uint32_t)key.n);
	zbz_buf_append(page, length, sizeof length, err);
	return zbz_buf_append(page, key.p, key.n, err);
}

/* The key at *at, which moves behind it. Only for pages of one's own making: nothing is checked. */
static inline zbz_bytes zbz_page_take(zbz_bytes page, size_t *at) {
	zbz_bytes key = zbz_b(page.p + *at + 4, zbz_u32_get(page.p + *at));
	*at += 4 + key.n;
	return key;
}

/* What scan_open was asked for. */
typedef struct zbz_key_filter {
	zbz_bytes prefix, pattern; /* an empty pattern: every key */
} zbz_key_filter;

/* Copies both to `room`, which holds as much and lives as long. */
static inline void zbz_key_filter_init(zbz_key_filter *f, char *room, zbz_bytes prefix, zbz_bytes pattern) {
	if (prefix.n != 0) memcpy(room, prefix.p, prefix.n);
	if (pattern.n != 0) memcpy(room + prefix.n, pattern.p, pattern.n);
	f->prefix = zbz_b(room, prefix.n);
	f->pattern = zbz_b(room + prefix.n, pattern.n);
}

static inline bool zbz_key_filter_wants(const zbz_key_filter *f, zbz_bytes key) {
	if (!zbz_bytes_has_prefix(key, f->prefix)) return false;
	return f->pattern.n == 0 || zbz_glob_match(f->pattern, zbz_b(key.p + f->prefix.n, key.n - f->prefix.n));
}

#endif
