/* Tells a process from the process it was forked from. */
#ifndef ZBZ_BASE_FORK_H
#define ZBZ_BASE_FORK_H

#include <zbz/status.h>

/* A number that changes in the child of every fork: cheaper than asking for the pid on each call. What was made under
 * another number (threads, sockets, locks that a vanished thread may hold) belongs to the parent. */
ZBZ_API unsigned zbz_fork_generation(void);

#endif
