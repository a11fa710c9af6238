#include "memory_limit.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

enum { TEXT_MAX = 4096 };

/* The first bytes of a small file; 0 when it cannot be read. */
static size_t read_file(const char *path, char *out, size_t size) {
	size_t n = 0;
	ssize_t got;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) return 0;
	while (n < size && (got = read(fd, out + n, size - n)) > 0) n += (size_t)got;
	close(fd);
	return n;
}

/* "max" and the huge number that v1 has for no limit are no limits. */
static int64_t number_in(const char *path) {
	char text[32];
	size_t n = read_file(path, text, sizeof text), i;
	int64_t v = 0;
	for (i = 0; i < n && text[i] >= '0' && text[i] <= '9'; i++) {
		if (v > (INT64_MAX - 9) / 10) return INT64_MAX;
		v = v * 10 + (text[i] - '0');
	}
	return i == 0 || v >= (int64_t)1 << 60 ? INT64_MAX : v;
}

/* The group's own limit and those of the groups above it, which may be lower. Inside a container the path often names a
 * place that cannot be seen; the root is then the container's own. */
static int64_t least_upwards(const char *root, const char *mount, zbz_bytes group, const char *file) {
	char path[TEXT_MAX];
	int64_t least = INT64_MAX, v;
	size_t n = group.n;
	for (;;) {
		while (n > 0 && group.p[n - 1] == '/') n--;
		if (snprintf(path, sizeof path, "%s%s%.*s/%s", root, mount, (int)n, group.p, file) < (int)sizeof path) {
			v = number_in(path);
			if (v < least) least = v;
		}
		if (n == 0) return least;
		while (n > 0 && group.p[n - 1] != '/') n--;
	}
}

static bool names_memory(zbz_bytes controllers) {
	size_t i = 0, from;
	while (i < controllers.n) {
		for (from = i; i < controllers.n && controllers.p[i] != ','; i++) continue;
		if (zbz_bytes_eq(zbz_b(controllers.p + from, i - from), zbz_bstr("memory"))) return true;
		i++;
	}
	return false;
}

static int64_t limit_of_line(zbz_bytes line, const char *root) {
	const char *first = memchr(line.p, ':', line.n), *second;
	zbz_bytes controllers, group;
	if (first == NULL) return INT64_MAX;
	second = memchr(first + 1, ':', line.n - (size_t)(first + 1 - line.p));
	if (second == NULL) return INT64_MAX;
	controllers = zbz_b(first + 1, (size_t)(second - first - 1));
	group = zbz_b(second + 1, line.n - (size_t)(second + 1 - line.p));
	if (controllers.n == 0) return least_upwards(root, "", group, "memory.max");
	if (names_memory(controllers)) return least_upwards(root, "/memory", group, "memory.limit_in_bytes");
	return INT64_MAX;
}

int64_t zbz_mem_cgroup_limit_of(zbz_bytes groups, const char *root) {
	int64_t least = INT64_MAX;
	size_t i = 0, from;
	while (i < groups.n) {
		int64_t v;
		for (from = i; i < groups.n && groups.p[i] != '\n'; i++) continue;
		v = limit_of_line(zbz_b(groups.p + from, i - from), root);
		if (v < least) least = v;
		i++;
	}
	return least;
}

int64_t zbz_mem_cgroup_limit(void) {
	char text[TEXT_MAX];
	size_t n = read_file("/proc/self/cgroup", text, sizeof text);
	return zbz_mem_cgroup_limit_of(zbz_b(text, n), "/sys/fs/cgroup");
}
