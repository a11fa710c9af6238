/* Optimal string alignment distance (Damerau, Levenshtein) over three rows. */
#include "nearest.h"

#include <string.h>

#define NAME_MAX_LEN 63

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

size_t zbz_edit_distance(const char *a, const char *b) {
	size_t rows[3][NAME_MAX_LEN + 1];
	size_t *before = rows[0], *last = rows[1], *now = rows[2], *spare;
	size_t na = strnlen(a, NAME_MAX_LEN), nb = strnlen(b, NAME_MAX_LEN);
	for (size_t j = 0; j <= nb; j++) last[j] = j;
	for (size_t i = 1; i <= na; i++) {
		now[0] = i;
		for (size_t j = 1; j <= nb; j++) {
			size_t best = least(last[j], now[j - 1]) + 1;
			best = least(best, last[j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) best = least(best, before[j - 2] + 1);
			now[j] = best;
		}
		spare = before;
		before = last;
		last = now;
		now = spare;
	}
	return last[nb];
}
