/* Signals of the threads the core starts. */
#ifndef ZBZ_BASE_SIGNALS_H
#define ZBZ_BASE_SIGNALS_H

#include <signal.h>
#include <stddef.h>

/* All but those a fault raises in the thread itself: a program's crash handler wants to see them. */
static inline void zbz_signals_of_threads(sigset_t *set) {
	static const int faults[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS };
	sigfillset(set);
	for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) sigdelset(set, faults[i]);
}

#endif
