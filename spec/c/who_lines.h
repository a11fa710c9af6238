/* Lines that tell who has written them: "WHO NUMBER ppp..." */
#ifndef SPEC_WHO_LINES_H
#define SPEC_WHO_LINES_H

#include "log_help.h"

static inline bool say_number(zbz_output *o, unsigned who, unsigned number) {
	char line[100];
	snprintf(line, sizeof line, "%u %u pppppppppppppppppppppppppppppppppppppppppppppppppppppppppppp\n", who, number);
	return say(o, line);
}

/* Of each of `writers` the numbers 0 .. n-1, each once, whole, in order; -1 or how many lines. */
static inline long lines_of(char *text, unsigned writers, unsigned n) {
	unsigned next[8] = { 0 }, who, number;
	long lines = 0;
	char *rest = text, *line;
	while ((line = strtok_r(rest, "\n", &rest)) != NULL) {
		int end = 0;
		if (sscanf(line, "%u %u %n", &who, &number, &end) != 2 || who >= writers || number != next[who]) return -1;
		if (strlen(line + end) != 60 || strspn(line + end, "p") != 60) return -1;
		next[who]++;
		lines++;
	}
	for (who = 0; who < writers; who++)
		if (next[who] != n) return -1;
	return lines;
}

#endif
