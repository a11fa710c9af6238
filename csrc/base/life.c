/* What the kernel tells of a process: does it live, and since when. */
#include "life.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fork.h"

enum { START_FIELD = 22 }; /* of /proc/PID/stat, counted from 1 */

/* The state's letter and the start; false when the system does not tell. */
static bool ask(uint32_t pid, char *state, uint64_t *start) {
	char path[32], text[1024], *p;
	ssize_t n;
	int fd, field;
	snprintf(path, sizeof path, "/proc/%u/stat", (unsigned)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) return false;
	n = read(fd, text, sizeof text - 1);
	close(fd);
	if (n <= 0) return false;
	text[n] = '\0';
	p = strrchr(text, ')'); /* the name before it may hold anything */
	if (p == NULL || p[1] != ' ') return false;
	*state = p[2];
	for (field = 2; field < START_FIELD && p != NULL; field++) p = strchr(p + 1, ' ');
	if (p == NULL) return false;
	*start = strtoull(p, NULL, 10);
	return true;
}

zbz_life zbz_life_self(void) {
	static atomic_uint known = 0; /* fork generation + 1 */
	static atomic_uint_least64_t start;
	unsigned now = zbz_fork_generation() + 1;
	zbz_life self = { (uint32_t)getpid(), 0 };
	char state;
	if (atomic_load_explicit(&known, memory_order_acquire) != now) {
		if (!ask(self.pid, &state, &self.start)) self.start = 0;
		atomic_store_explicit(&start, self.start, memory_order_relaxed);
		atomic_store_explicit(&known, now, memory_order_release);
	}
	self.start = atomic_load_explicit(&start, memory_order_relaxed);
	return self;
}

bool zbz_life_over(zbz_life life) {
	char state;
	uint64_t start;
	if (life.pid == 0 || life.pid > INT32_MAX) return true;
	if (kill((pid_t)life.pid, 0) != 0 && errno == ESRCH) return true;
	if (!ask(life.pid, &state, &start)) return false;
	return state == 'Z' || state == 'X' || (life.start != 0 && start != life.start);
}
