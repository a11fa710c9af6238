/* Connections through a socket in the file system. */
#include "net/net.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* A full backlog answers EAGAIN and offers nothing to poll for: all one can do is to knock again. */
static zbz_status knock(int fd, const struct sockaddr_un *address, int64_t deadline, zbz_err *err) {
	const struct timespec pause = { .tv_nsec = 2000000 };
	while (connect(fd, (const struct sockaddr *)address, sizeof *address) != 0) {
		if (errno == EINPROGRESS || errno == EALREADY)
			return zbz_net_await_connect(fd, deadline, address->sun_path, err);
		if (errno == EISCONN) return ZBZ_OK;
		if (errno != EAGAIN && errno != EINTR)
			return zbz_fail_errno(err, ZBZ_E_UNAVAILABLE, errno, "connecting to %s", address->sun_path);
		if (zbz_net_now() >= deadline)
			return zbz_fail(err, ZBZ_E_TIMEOUT, "no connection to %s in time", address->sun_path);
		nanosleep(&pause, NULL);
	}
	return ZBZ_OK;
}

static zbz_status connect_path(const char *path, int type, int64_t deadline, zbz_net **out, zbz_err *err) {
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	zbz_status s;
	int fd;
	if (strlen(path) >= sizeof address.sun_path)
		return zbz_fail(err, ZBZ_E_UNAVAILABLE, "the socket path is longer than %zu bytes: %s",
		                sizeof address.sun_path - 1, path);
	memcpy(address.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0) return zbz_fail_errno(err, ZBZ_E_UNAVAILABLE, errno, "opening a socket for %s", path);
	s = knock(fd, &address, deadline, err);
	if (s != ZBZ_OK) {
		close(fd);
		return s;
	}
	return zbz_net_from_fd(fd, out, err);
}

zbz_status zbz_net_connect_unix(const char *path, int64_t deadline, zbz_net **out, zbz_err *err) {
	return connect_path(path, SOCK_STREAM, deadline, out, err);
}

zbz_status zbz_net_connect_unix_datagram(const char *path, zbz_net **out, zbz_err *err) {
	return connect_path(path, SOCK_DGRAM, 0, out, err);
}
