/* Messages of RFC 5424, and their framing on a stream by RFC 6587 (octet counting, the same as RFC 5425 has under TLS). No sockets. */
#ifndef ZBZ_PROVIDER_SYSLOG_FRAME_H
#define ZBZ_PROVIDER_SYSLOG_FRAME_H

#include <zbz/sink.h>

#define ZBZ_SYSLOG_HOST  255 /* longest texts of the header, RFC 5424 section 6 */
#define ZBZ_SYSLOG_APP   48
#define ZBZ_SYSLOG_ID    32
#define ZBZ_SYSLOG_LEAST 480 /* what every receiver takes */

typedef struct zbz_syslog {
	int facility;
	char host[ZBZ_SYSLOG_HOST + 1], app[ZBZ_SYSLOG_APP + 1], element[ZBZ_SYSLOG_ID + 1];
	long pid;
	size_t most; /* bytes of a message; at least ZBZ_SYSLOG_LEAST more than its header can take */
} zbz_syslog;

/* Printable ASCII without a space, 1 to `most` of them? `but`: further characters it may not hold. */
bool zbz_syslog_name_ok(const char *text, size_t most, const char *but);
/* The same made of any text: other bytes become _; none at all is "-". out has most + 1. */
void zbz_syslog_name(zbz_bytes text, size_t most, const char *but, char *out);

/* Appends one message; stream: with its length before it. The text's last newline is left out. What does not fit: labels whole, then the end of the
 * text, with ... in its place. */
zbz_status zbz_syslog_put(const zbz_syslog *s, const zbz_record *r, bool stream, zbz_buf *out, zbz_err *err);

#endif
