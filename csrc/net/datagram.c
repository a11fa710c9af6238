/* Datagrams to one peer. A connected socket hears of a port where nobody listens; an unconnected one never would. */
#include "net/net.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

static zbz_status connect_one(const struct addrinfo *a, const char *host, int *out, zbz_err *err) {
	int fd = socket(a->ai_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_UDP), problem;
	if (fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen) == 0) {
		*out = fd;
		return ZBZ_OK;
	}
	problem = errno;
	if (fd >= 0) close(fd);
	return zbz_fail_errno(err, ZBZ_E_UNAVAILABLE, problem, "opening a socket for %s", host);
}

static const struct addrinfo *at(const struct addrinfo *list, unsigned i) {
	while (i-- > 0) list = list->ai_next;
	return list;
}

zbz_status zbz_net_connect_udp(const char *host, int port, unsigned turn, int64_t deadline, zbz_net **out,
                               zbz_err *err) {
	struct addrinfo *found;
	unsigned n = 0;
	int fd = -1;
	zbz_status s = zbz_net_resolve(host, port, SOCK_DGRAM, deadline, &found, err);
	if (s != ZBZ_OK) return s;
	for (const struct addrinfo *a = found; a; a = a->ai_next) n++;
	s = zbz_fail(err, ZBZ_E_UNAVAILABLE, "%s has no address", host);
	for (unsigned i = 0; i < n && s != ZBZ_OK; i++) s = connect_one(at(found, (turn + i) % n), host, &fd, err);
	freeaddrinfo(found);
	return s == ZBZ_OK ? zbz_net_from_fd(fd, out, err) : s;
}
