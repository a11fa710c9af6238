/* "Did you mean": how far two names are from each other. */
#ifndef ZBZ_BASE_NEAREST_H
#define ZBZ_BASE_NEAREST_H

#include "zbz/status.h"

/* Edits (insert, delete, replace, swap of neighbours) between two names; only the first 63 bytes count. */
ZBZ_API size_t zbz_edit_distance(const char *a, const char *b);

#endif
