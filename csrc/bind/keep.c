#include "keep.h"

#include <stdatomic.h>

#include "zbz/alloc.h"

struct zbz_keep {
	atomic_size_t refs; /* calls in the pool hold one, too */
	zbz_clock *clock;
	zbz_keep **held;
	size_t n;
};

zbz_keep *zbz_keep_new(zbz_clock *clock) {
	zbz_keep *keep = zbz_calloc(1, sizeof(*keep));
	if (keep == NULL) return NULL;
	atomic_init(&keep->refs, 1);
	keep->clock = clock;
	return keep;
}

zbz_keep *zbz_keep_ref(zbz_keep *keep) {
	if (keep != NULL) atomic_fetch_add(&keep->refs, 1);
	return keep;
}

void zbz_keep_unref(zbz_keep *keep) {
	size_t i;
	if (keep == NULL || atomic_fetch_sub(&keep->refs, 1) > 1) return;
	for (i = 0; i < keep->n; i++) zbz_keep_unref(keep->held[i]);
	zbz_free(keep->held);
	zbz_clock_fake_free(keep->clock);
	zbz_free(keep);
}

bool zbz_keep_add(zbz_keep *keep, zbz_keep *other) {
	zbz_keep **held;
	size_t i;
	if (other == NULL || other == keep) return true;
	for (i = 0; i < keep->n; i++) {
		if (keep->held[i] == other) return true;
	}
	held = zbz_realloc(keep->held, (keep->n + 1) * sizeof(*held));
	if (held == NULL) return false;
	keep->held = held;
	keep->held[keep->n++] = zbz_keep_ref(other);
	return true;
}
