/* A list of functions to be called once. */
#ifndef ZBZ_CACHE_CALLBACK_H
#define ZBZ_CACHE_CALLBACK_H

#include <zbz/alloc.h>

typedef struct callback {
	struct callback *next;
	void (*fn)(void *ud);
	void *ud;
} callback;

static inline callback *callback_new(void (*fn)(void *ud), void *ud) {
	callback *cb = (callback *)zbz_malloc(sizeof *cb);
	if (cb == NULL) return NULL;
	cb->next = NULL;
	cb->fn = fn;
	cb->ud = ud;
	return cb;
}

/* Calls and frees them all. No lock is held. */
static inline void callbacks_run(callback *cb) {
	while (cb != NULL) {
		callback *next = cb->next;
		cb->fn(cb->ud);
		zbz_free(cb);
		cb = next;
	}
}

#endif
