/* A process, told from another one that gets its number later. */
#ifndef ZBZ_BASE_LIFE_H
#define ZBZ_BASE_LIFE_H

#include <stdint.h>

#include <zbz/status.h>

typedef struct zbz_life {
	uint32_t pid;
	uint64_t start; /* the kernel's own clock ticks since boot; 0: not known */
} zbz_life;

zbz_life zbz_life_self(void);
/* Has it ended for certain? One that nobody has waited for yet (a zombie) has. */
bool zbz_life_over(zbz_life life);

#endif
