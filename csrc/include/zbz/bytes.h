/* Byte ranges and the one growable buffer of the project. */
#ifndef ZBZ_BYTES_H
#define ZBZ_BYTES_H

#include <stdint.h>
#include <string.h>

#include "alloc.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Borrowed bytes: never freed by the callee, valid for the call only. p may be NULL when n is 0. Not a C string. */
typedef struct zbz_bytes {
	const char *p;
	size_t n;
} zbz_bytes;

static inline zbz_bytes zbz_b(const void *p, size_t n) {
	zbz_bytes b;
	b.p = (const char *)p;
	b.n = n;
	return b;
}
static inline zbz_bytes zbz_bstr(const char *s) { return zbz_b(s, strlen(s)); }
static inline bool zbz_bytes_eq(zbz_bytes a, zbz_bytes b) {
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}
static inline bool zbz_bytes_has_prefix(zbz_bytes s, zbz_bytes prefix) {
	return s.n >= prefix.n && (prefix.n == 0 || memcmp(s.p, prefix.p, prefix.n) == 0);
}

/* Growable output. Zero-initialised is empty; max 0 means ZBZ_BUF_MAX. The owner calls zbz_buf_clear once.
 * Reuse one buffer for many calls: zbz_buf_reset keeps the memory. */
typedef struct zbz_buf {
	char *p;
	size_t n; /* bytes in use */
	size_t cap;
	size_t max; /* the bound: an append beyond it fails with ZBZ_E_TOO_LARGE and changes nothing */
} zbz_buf;

#define ZBZ_BUF_MAX ((size_t)1 << 30)

ZBZ_API zbz_status zbz_buf_grow(zbz_buf *b, size_t more, zbz_err *err); /* room for n + more; slow path of reserve */
ZBZ_API zbz_status zbz_buf_printf(zbz_buf *b, zbz_err *err, const char *fmt, ...) ZBZ_PRINTF(3, 4);
ZBZ_API void zbz_buf_clear(zbz_buf *b); /* frees; the buffer is empty and usable again */

static inline zbz_bytes zbz_buf_bytes(const zbz_buf *b) { return zbz_b(b->p, b->n); }
static inline zbz_status zbz_buf_reserve(zbz_buf *b, size_t more, zbz_err *err) {
	return b->cap - b->n >= more ? ZBZ_OK : zbz_buf_grow(b, more, err);
}
static inline zbz_status zbz_buf_append(zbz_buf *b, const void *p, size_t n, zbz_err *err) {
	zbz_status s = zbz_buf_reserve(b, n, err);
	if (s == ZBZ_OK && n != 0) {
		memcpy(b->p + b->n, p, n);
		b->n += n;
	}
	return s;
}
static inline zbz_status zbz_buf_putc(zbz_buf *b, char c, zbz_err *err) {
	if (b->n == b->cap) {
		zbz_status s = zbz_buf_grow(b, 1, err);
		if (s != ZBZ_OK) return s;
	}
	b->p[b->n++] = c;
	return ZBZ_OK;
}
/* Empties; gives memory back above 1 MiB so that one large value does not stay for ever. */
static inline void zbz_buf_reset(zbz_buf *b) {
	if (b->cap > ((size_t)1 << 20)) zbz_buf_clear(b);
	b->n = 0;
}

#ifdef __cplusplus
}
#endif
#endif
