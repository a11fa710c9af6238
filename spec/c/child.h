/* Processes beside the test. */
#ifndef SPEC_CHILD_H
#define SPEC_CHILD_H

#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static inline void reap_child(pid_t pid) {
	int status;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
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
