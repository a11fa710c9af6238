/* Datagrams to one peer. A connected socket hears of a port where nobody listens; an unconnected one never would. */
#include "net/net.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

zbz_status zbz_net_connect_udp(const char *host, int port, int64_t deadline, zbz_net **out, zbz_err *err) {
	struct addrinfo *found, *a;
	int fd = -1;
	zbz_status s = zbz_net_resolve(host, port, SOCK_DGRAM, deadline, &found, err);
	if (s != ZBZ_OK) return s;
	s = zbz_fail(err, ZBZ_E_UNAVAILABLE, "%s has no address", host);
	for (a = found; a && s != ZBZ_OK; a = a->ai_next) { /* an IPv6 address where there is no IPv6 fails here, at once */
		fd = socket(a->ai_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_UDP);
		if (fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen) == 0) {
			s = ZBZ_OK;
			break;
		}
		s = zbz_fail_errno(err, ZBZ_E_UNAVAILABLE, errno, "opening a socket for %s", host);
		if (fd >= 0) close(fd);
	}
	freeaddrinfo(found);
	return s == ZBZ_OK ? zbz_net_from_fd(fd, out, err) : s;
}
