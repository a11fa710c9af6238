/* Doubles that are whole numbers. No lua.h in here. */
#ifndef ZBZ_BIND_WHOLE_H
#define ZBZ_BIND_WHOLE_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#define ZBZ_DOUBLE_EXACT 9007199254740992.0 /* 2^53: up to here every whole number is a double */

/* Is it one that every other reader takes for the same? Not so -0. */
static inline bool zbz_double_whole(double d, int64_t *i) {
	if (!(d >= -ZBZ_DOUBLE_EXACT && d <= ZBZ_DOUBLE_EXACT)) return false;
	*i = (int64_t)d;
	return (double)*i == d && !(*i == 0 && signbit(d));
}

#endif
