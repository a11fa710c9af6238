/* Records that no sink will ever take: a bounded file beside the living. */
#ifndef ZBZ_LOG_DEAD_H
#define ZBZ_LOG_DEAD_H

#include <zbz/sink.h>

typedef struct zbz_dead {
	char *path; /* NULL: they are only counted */
	int64_t most;
} zbz_dead;

/* false: it was not written (the file is full, or cannot be). */
bool zbz_dead_letter(const zbz_dead *d, const zbz_record *r);

#endif
