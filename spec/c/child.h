/* Processes beside the test. */
#ifndef SPEC_CHILD_H
#define SPEC_CHILD_H

#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

/* ThreadSanitizer loses its way when the child of a process with threads starts its own: that part is for the other builds. */
#if defined(__SANITIZE_THREAD__)
#define CHILD_THREADS 0
#else
#define CHILD_THREADS 1
#endif

static inline void reap_child(pid_t pid) {
	int status;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
}

/* Ends when the child does; -1 for one that did not exit by itself. */
static inline int exit_code(pid_t pid) {
	int status = -1;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Waits until the child has written a byte. */
static inline void await_byte(int fd) {
	char c;
	ssize_t n;
	do n = read(fd, &c, 1);
	while (n < 0 && errno == EINTR);
	CHECK(n == 1);
}

#endif
