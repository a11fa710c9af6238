/* The injected allocator; malloc until a test says otherwise. */
#include <zbz/alloc.h>

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static _Atomic(zbz_alloc_fn) alloc_fn;
static _Atomic(void *) alloc_ud;

void zbz_set_alloc(zbz_alloc_fn fn, void *ud) {
	atomic_store(&alloc_ud, ud);
	atomic_store(&alloc_fn, fn);
}

static inline zbz_alloc_fn custom(void) { return atomic_load_explicit(&alloc_fn, memory_order_acquire); }
static inline void *custom_ud(void) { return atomic_load_explicit(&alloc_ud, memory_order_relaxed); }

void *zbz_malloc(size_t size) {
	zbz_alloc_fn fn = custom();
	if (size == 0) size = 1;
	return fn == NULL ? malloc(size) : fn(custom_ud(), NULL, size);
}

void *zbz_calloc(size_t count, size_t size) {
	zbz_alloc_fn fn = custom();
	void *p;
	if (size != 0 && count > SIZE_MAX / size) return NULL;
	if (count * size == 0) count = size = 1;
	if (fn == NULL) return calloc(count, size);
	p = fn(custom_ud(), NULL, count * size);
	if (p != NULL) memset(p, 0, count * size);
	return p;
}

void *zbz_realloc(void *ptr, size_t size) {
	zbz_alloc_fn fn = custom();
	if (size == 0) size = 1;
	return fn == NULL ? realloc(ptr, size) : fn(custom_ud(), ptr, size);
}

void zbz_free(void *ptr) {
	zbz_alloc_fn fn;
	if (ptr == NULL) return;
	fn = custom();
	if (fn == NULL)
		free(ptr);
	else
		fn(custom_ud(), ptr, 0);
}

char *zbz_strdup(const char *s) {
	size_t n;
	char *copy;
	if (s == NULL) return NULL;
	n = strlen(s) + 1;
	copy = zbz_malloc(n);
	if (copy != NULL) memcpy(copy, s, n);
	return copy;
}
