/* A link: the connection behind an output on the network, and the promises that outputs make of it.
 *
 * A stream (TCP, TLS, a unix socket) takes a write whole or not at all (messages made of its records: some megabytes of them at a time), and has taken it when the other side's kernel has acknowledged its last
 * byte (TCP, TLS) or the other program has read it (unix). When the connection breaks before, all records of the write go to the next one, from the first byte of
 * the first: no line of any connection begins in the middle, some records may come twice, and of those that were written before only what the
 * receiver's kernel had acknowledged and its program had not read is lost with it.
 * A peer that takes nothing keeps its connection and what has been sent of a write: closing would only make it read the same again.
 * Datagrams go one by one; of a unix socket they count when they have been read, of UDP when they are sent and no refusal has come back.
 *
 * Nothing connects before the first write. A link belongs to the thread that writes; a forked child closes its copy of the descriptor. */
#ifndef ZBZ_PROVIDER_SINK_NET_H
#define ZBZ_PROVIDER_SINK_NET_H

#include "log/sinks.h"
#include "net/net.h"

typedef enum zbz_link_kind {
	ZBZ_LINK_TCP,
	ZBZ_LINK_UDP,
	ZBZ_LINK_UNIX, /* whichever of the two listens there */
	ZBZ_LINK_UNIX_STREAM,
	ZBZ_LINK_UNIX_DATAGRAM
} zbz_link_kind;

/* At the beginning of the options of every output with a link. */
typedef struct zbz_link_options {
	char *address;
	int64_t timeout;
	bool tls, tls_verify;
	char *tls_ca, *tls_cert, *tls_key, *tls_server_name;
} zbz_link_options;

#define ZBZ_LINK_FIELD(name) offsetof(zbz_link_options, name)
#define ZBZ_LINK_OPTION(name, alias, type, dflt, most, help) \
	{ #name, alias, type, ZBZ_LINK_FIELD(name), dflt, NULL, (most) != 0, most, help }
#define ZBZ_LINK_TIMEOUT                                            \
	ZBZ_LINK_OPTION(timeout, NULL, ZBZ_OPT_DURATION, "5s", 3600000, \
	                "Longest wait of one attempt to connect and write; then the records wait in the ring")
#define ZBZ_LINK_TLS                                                                                                \
	ZBZ_LINK_OPTION(tls, "enable_ssl", ZBZ_OPT_BOOL, "false", 0, "TLS; needs OpenSSL"),                             \
	    ZBZ_LINK_OPTION(tls_ca, NULL, ZBZ_OPT_TEXT, NULL, 0, "File of trusted certificates; default the system's"), \
	    ZBZ_LINK_OPTION(tls_cert, NULL, ZBZ_OPT_TEXT, NULL, 0, "Client certificate"),                               \
	    ZBZ_LINK_OPTION(tls_key, NULL, ZBZ_OPT_TEXT, NULL, 0, "Its key; default in tls_cert's file"),               \
	    ZBZ_LINK_OPTION(tls_server_name, NULL, ZBZ_OPT_TEXT, NULL, 0,                                               \
	                    "Name in the server's certificate; default the host"),                                      \
	    ZBZ_LINK_OPTION(tls_verify, NULL, ZBZ_OPT_BOOL, "true", 0, "false: any certificate will do")

/* How records become messages. */
typedef struct zbz_framing {
	/* Appends the message of a record. */
	zbz_status (*put)(const void *ud, const zbz_record *r, bool stream, zbz_buf *out, zbz_err *err);
	const void *ud;
	bool streams; /* false: a stream gets the texts as they are, without a copy */
} zbz_framing;

struct zbz_tls_maker;

typedef struct zbz_link {
	zbz_link_kind kind;
	char *host, *path; /* one of the two */
	int port;
	char name[300]; /* host:port or the path */
	int64_t timeout;
	const struct zbz_tls_maker *maker;
	zbz_net_tls *tls; /* NULL: plain */
	zbz_net *net;     /* NULL: not connected. Changed under the lock of all links, for a fork looks at it */
	bool datagrams;   /* while connected */
	unsigned turn;    /* which address of a name is next, for UDP */
	zbz_buf out;      /* messages made of records */

	/* A write that ended in its middle because the peer took no more: what went out, and what it was of. */
	bool begun;
	size_t sent; /* bytes, or datagrams */
	uint64_t mark;
	struct zbz_link *next; /* among all */
} zbz_link;

/* Zeroed before. address is a path for the unix kinds, else host:port; default_port 0: none. Errors name the option. */
zbz_status zbz_link_open(zbz_link *l, zbz_link_kind kind, const zbz_link_options *o, int default_port, zbz_err *err);
void zbz_link_close(zbz_link *l);
/* As the write of a sink (zbz/sink.h); a record that is too large for a datagram is refused for good. */
zbz_status zbz_link_write(zbz_link *l, zbz_call *c, const zbz_framing *framing, const zbz_record *records, size_t n,
                          size_t *done);
/* Slots of a sink that begins with its link and is zbz_malloc's. */
void zbz_link_sink_close(void *self);
zbz_status zbz_link_sink_identity(void *self, zbz_buf *out, zbz_err *err);

/* A framing that is the text itself, cut between two characters at `*(size_t *)ud` bytes, with ... and the newline at its end. */
zbz_status zbz_link_put_text(const void *ud, const zbz_record *r, bool stream, zbz_buf *out, zbz_err *err);

#endif
