/* The growable buffer's slow paths. */
#include <zbz/bytes.h>

#include <stdarg.h>
#include <stdio.h>

#define BIG ((size_t)1 << 20)

static size_t limit_of(const zbz_buf *b) { return b->max != 0 ? b->max : ZBZ_BUF_MAX; }

zbz_status zbz_buf_grow(zbz_buf *b, size_t more, zbz_err *err) {
	size_t limit = limit_of(b), need, cap;
	char *p;
	if (more > limit || b->n > limit - more)
		return zbz_fail(err, ZBZ_E_TOO_LARGE, "more than the limit of %zu bytes", limit);
	need = b->n + more;
	if (need <= b->cap) return ZBZ_OK;
	cap = b->cap < 32 ? 64 : b->cap > limit / 2 ? limit : b->cap * 2;
	if (cap < need) cap = need;
	if (cap > limit) cap = limit;
	p = zbz_realloc(b->p, cap);
	if (p == NULL && cap > need && cap > BIG) { /* the doubling may be what does not fit */
		cap = need;
		p = zbz_realloc(b->p, cap);
	}
	if (p == NULL) return zbz_fail_nomem(err);
	b->p = p;
	b->cap = cap;
	return ZBZ_OK;
}

zbz_status zbz_buf_printf(zbz_buf *b, zbz_err *err, const char *fmt, ...) {
	char small[256], *text = small;
	zbz_status status;
	va_list ap, again;
	int n;
	va_start(ap, fmt);
	va_copy(again, ap);
	n = vsnprintf(small, sizeof small, fmt, ap);
	va_end(ap);
	if (n >= (int)sizeof small) {
		text = zbz_malloc((size_t)n + 1);
		if (text != NULL) vsnprintf(text, (size_t)n + 1, fmt, again);
	}
	va_end(again);
	if (n < 0) return zbz_fail(err, ZBZ_E_INTERNAL, "a text could not be formatted");
	if (text == NULL) return zbz_fail_nomem(err);
	status = zbz_buf_append(b, text, (size_t)n, err);
	if (text != small) zbz_free(text);
	return status;
}

void zbz_buf_clear(zbz_buf *b) {
	zbz_free(b->p);
	b->p = NULL;
	b->n = b->cap = 0;
}
