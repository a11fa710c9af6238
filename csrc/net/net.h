/* Connections to servers, with deadlines. Transports: tcp.c (and all that is common), unix.c, datagram.c, tls.c (OpenSSL; nothing
 * else here needs it).
 *
 * Every deadline is in milliseconds of zbz_net_now(), the machine's monotonic clock: sockets wait in real time, whatever
 * clock a call carries; zbz_net_deadline converts. ZBZ_NEVER waits for ever. A connection belongs to one thread at a time. */
#ifndef ZBZ_NET_H
#define ZBZ_NET_H

#include <poll.h>

#include "zbz/bytes.h"
#include "zbz/call.h"

typedef struct zbz_net zbz_net;

/* The head of every transport's own struct. read and write never wait: OK and 1 or more bytes moved; AGAIN, nothing moved,
 * and `wants` holds the poll events to wait for; negative, the connection is of no use any more (the peer's end of stream
 * is E_UNAVAILABLE). None of them raises SIGPIPE. */
struct zbz_net {
	int fd;      /* -1: abandoned, close only frees */
	short wants; /* POLLIN or POLLOUT, after AGAIN */
	zbz_status (*read)(zbz_net *net, void *p, size_t cap, size_t *n, zbz_err *err);
	zbz_status (*write)(zbz_net *net, const void *p, size_t len, size_t *n, zbz_err *err);
	bool (*buffered)(zbz_net *net); /* bytes are held above the socket (TLS); NULL: never */
	void (*close)(zbz_net *net);    /* closes and frees; call it through zbz_net_close */
};

int64_t zbz_net_now(void);
/* The earlier of the call's own deadline and now + timeout_ms (0 or less: no timeout). */
int64_t zbz_net_deadline(const zbz_call *c, int64_t timeout_ms);

/* "host:port", "[::1]:port"; default_port 0: the port is needed. *host is to be freed. E_CONFIG naming `option`. */
zbz_status zbz_net_address(const char *text, int default_port, const char *option, char **host, int *port,
                           zbz_err *err);

struct addrinfo;
/* Every address of a name, for sockets of `type`; freeaddrinfo ends the list. */
zbz_status zbz_net_resolve(const char *host, int port, int type, int64_t deadline, struct addrinfo **found,
                           zbz_err *err);

/* Resolves the name (bounded by the deadline too) and tries every address, IPv6 and IPv4, each with a fair share of the
 * time. The socket is non-blocking, close-on-exec, with TCP_NODELAY and keepalive. E_TIMEOUT; E_UNAVAILABLE with the last
 * reason. */
zbz_status zbz_net_connect_tcp(const char *host, int port, int64_t deadline, zbz_net **out, zbz_err *err);
zbz_status zbz_net_connect_unix(const char *path, int64_t deadline, zbz_net **out, zbz_err *err);
/* Datagrams to one peer: a write sends one, whole. UDP cannot tell which of a name's addresses somebody listens at: `turn` says which is tried first, and
 * the caller counts on after a refusal. A path whose socket is of the
 * other kind is E_UNAVAILABLE with EPROTOTYPE, by both connect_unix. */
zbz_status zbz_net_connect_udp(const char *host, int port, unsigned turn, int64_t deadline, zbz_net **out,
                               zbz_err *err);
zbz_status zbz_net_connect_unix_datagram(const char *path, zbz_net **out, zbz_err *err);

/* Waits until one of `events` (POLLIN, POLLOUT) holds or the peer is gone: OK, or E_TIMEOUT. wake_fd (or -1): readable makes it
 * return AGAIN at once. revents may be NULL. */
zbz_status zbz_net_wait(zbz_net *net, short events, int wake_fd, int64_t deadline, short *revents, zbz_err *err);
/* At least one byte, or an error. */
zbz_status zbz_net_read(zbz_net *net, void *p, size_t cap, size_t *n, int64_t deadline, zbz_err *err);
/* All bytes, or an error (how many went out is not known then). */
zbz_status zbz_net_write(zbz_net *net, const void *p, size_t len, int64_t deadline, zbz_err *err);
/* For a parked connection: neither closed by the peer nor holding bytes nobody asked for. One system call. */
bool zbz_net_quiet(zbz_net *net);
void zbz_net_close(zbz_net *net); /* NULL allowed */
/* After a fork, in the child: closes the inherited descriptor without a word to the peer. close frees the rest. */
void zbz_net_abandon(zbz_net *net);

/* Shared by the stream transports: takes a connected, non-blocking socket (closed on failure). */
zbz_status zbz_net_from_fd(int fd, zbz_net **out, zbz_err *err);
/* Finishes a non-blocking connect under way on fd: OK, E_TIMEOUT, or E_UNAVAILABLE with the errno. */
zbz_status zbz_net_await_connect(int fd, int64_t deadline, const char *what, zbz_err *err);

typedef struct zbz_net_tls zbz_net_tls; /* certificates and rules, shared by connections, thread-safe */

typedef struct zbz_net_tls_opts {
	const char *ca;          /* file of trusted certificates; NULL the system's */
	const char *cert, *key;  /* client certificate, or NULL */
	const char *server_name; /* expected in the certificate and sent as SNI; NULL the host connected to */
	bool verify;
} zbz_net_tls_opts;

/* A file that cannot be used is E_CONFIG naming tls_ca, tls_cert or tls_key. */
zbz_status zbz_net_tls_new(const zbz_net_tls_opts *opts, zbz_net_tls **out, zbz_err *err);
void zbz_net_tls_free(zbz_net_tls *tls); /* NULL allowed; after its connections */
/* Shakes hands over *net and replaces it; on failure *net is closed and NULL. A certificate that does not convince is E_DENIED, ours
 * for the server as well as its for us; the error names the option. */
zbz_status zbz_net_tls_start(zbz_net_tls *tls, const char *host, zbz_net **net, int64_t deadline, zbz_err *err);

#endif
