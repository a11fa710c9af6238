/* Counts forks, from the child's side. */
#include "fork.h"

#include <pthread.h>
#include <stdatomic.h>

static atomic_uint generation;

static void in_child(void) { atomic_fetch_add(&generation, 1); }

__attribute__((constructor)) static void watch_forks(void) { pthread_atfork(NULL, NULL, in_child); }

unsigned zbz_fork_generation(void) { return atomic_load_explicit(&generation, memory_order_relaxed); }
