/* Sink `syslog`: RFC 5424 over a unix socket, UDP, TCP or TLS. */
#include "sink_net.h"
#include "syslog_frame.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

enum { PROTOCOL_AUTO, PROTOCOL_UNIX, PROTOCOL_UDP, PROTOCOL_TCP };
enum { UDP_PORT = 514, TLS_PORT = 6514 };

typedef struct syslog_options {
	zbz_link_options link;
	int protocol, facility;
	int64_t max_message;
	char *hostname, *app, *element;
} syslog_options;

#define FIELD(name) offsetof(syslog_options, name)

static const zbz_option syslog_option_list[] = {
	{ "address", "path", ZBZ_OPT_TEXT, ZBZ_LINK_FIELD(address), "/dev/log", NULL, 0, 0,
	  "Absolute path of a socket, or host:port; without a port 514 over UDP, 6514 over TLS" },
	{ "protocol", NULL, ZBZ_OPT_ENUM, FIELD(protocol), "auto", "auto|unix|udp|tcp", 0, 0,
	  "How to get there; auto: a path is a unix datagram socket, anything else TCP" },
	{ "facility", NULL, ZBZ_OPT_ENUM, FIELD(facility), "user",
	  "kern|user|mail|daemon|auth|syslog|lpr|news|uucp|cron|authpriv|ftp|ntp|audit|alert|clock|"
	  "local0|local1|local2|local3|local4|local5|local6|local7",
	  0, 0, "What kind of program this is" },
	{ "app", "app_name", ZBZ_OPT_TEXT, FIELD(app), NULL, NULL, 0, 0,
	  "APP-NAME, at most 48 bytes; default the program's" },
	{ "hostname", NULL, ZBZ_OPT_TEXT, FIELD(hostname), NULL, NULL, 0, 0, "HOSTNAME; default the machine's" },
	{ "element", "sd_id", ZBZ_OPT_TEXT, FIELD(element), "zbz@32473", NULL, 0, 0,
	  "Name of the structured data that holds the output's metadata: NAME@ENTERPRISE-NUMBER" },
	{ "max_message", NULL, ZBZ_OPT_SIZE, FIELD(max_message), "8KB", NULL, 1024, 65507,
	  "Bytes of one message; a longer record is cut between two characters and ends with ..." },
	ZBZ_LINK_TIMEOUT,
	ZBZ_LINK_TLS,
	{ NULL, NULL, ZBZ_OPT_TEXT, 0, NULL, NULL, 0, 0, NULL },
};

typedef struct syslog_sink {
	zbz_link link;
	zbz_syslog message;
} syslog_sink;

/* ---- open ---- */

static zbz_status take_name(char *to, size_t most, const char *option, const char *given, const char *own,
                            zbz_err *err) {
	if (given == NULL) {
		zbz_syslog_name(zbz_bstr(own), most, "", to);
		return ZBZ_OK;
	}
	if (!zbz_syslog_name_ok(given, most, ""))
		return zbz_fail_option(err, option, "expects 1 to %zu visible ASCII characters, got '%.60s'", most, given);
	snprintf(to, most + 1, "%s", given);
	return ZBZ_OK;
}

static zbz_status take_element(zbz_syslog *m, const char *text, zbz_err *err) {
	const char *at = strchr(text, '@');
	size_t n = at != NULL ? strspn(at + 1, "0123456789.") : 0;
	if (at == NULL || at == text || n == 0 || at[1 + n] != '\0' || !zbz_syslog_name_ok(text, ZBZ_SYSLOG_ID, "=]\""))
		return zbz_fail_option(err, "element", "expects NAME@ENTERPRISE-NUMBER of at most %d bytes, got '%.60s'",
		                       ZBZ_SYSLOG_ID, text);
	snprintf(m->element, sizeof m->element, "%s", text);
	return ZBZ_OK;
}

static zbz_status take_texts(zbz_syslog *m, const syslog_options *o, zbz_err *err) {
	char host[ZBZ_SYSLOG_HOST + 1] = "";
	zbz_status status;
	gethostname(host, sizeof host - 1);
	m->facility = o->facility;
	m->most = (size_t)o->max_message;
	status = take_name(m->host, ZBZ_SYSLOG_HOST, "hostname", o->hostname, host, err);
	if (status == ZBZ_OK) status = take_name(m->app, ZBZ_SYSLOG_APP, "app", o->app, program_invocation_short_name, err);
	return status == ZBZ_OK ? take_element(m, o->element, err) : status;
}

static zbz_status open_link(zbz_link *l, const syslog_options *o, zbz_err *err) {
	int protocol = o->protocol;
	if (protocol == PROTOCOL_AUTO) protocol = o->link.address[0] == '/' ? PROTOCOL_UNIX : PROTOCOL_TCP;
	if (o->link.tls && protocol != PROTOCOL_TCP)
		return zbz_fail_option(err, "tls", "goes with protocol = tcp and host:port as the address");
	if (protocol == PROTOCOL_UNIX) return zbz_link_open(l, ZBZ_LINK_UNIX_DATAGRAM, &o->link, 0, err);
	if (protocol == PROTOCOL_UDP) return zbz_link_open(l, ZBZ_LINK_UDP, &o->link, UDP_PORT, err);
	return zbz_link_open(l, ZBZ_LINK_TCP, &o->link, o->link.tls ? TLS_PORT : 0, err);
}

static zbz_status syslog_open(void **self, const void *options, const zbz_clock *clock, zbz_err *err) {
	const syslog_options *o = options;
	syslog_sink *s = zbz_calloc(1, sizeof *s);
	zbz_status status;
	(void)clock;
	if (s == NULL) return zbz_fail_nomem(err);
	status = take_texts(&s->message, o, err);
	if (status == ZBZ_OK) status = open_link(&s->link, o, err);
	if (status != ZBZ_OK)
		zbz_free(s);
	else
		*self = s;
	return status;
}

/* ---- write ---- */

static zbz_status put(const void *ud, const zbz_record *r, bool stream, zbz_buf *out, zbz_err *err) {
	return zbz_syslog_put(ud, r, stream, out, err);
}

static zbz_status syslog_write(void *self, zbz_call *c, const zbz_record *records, size_t n, size_t *done) {
	syslog_sink *s = self;
	const zbz_framing framing = { .put = put, .ud = &s->message, .streams = true };
	s->message.pid = (long)getpid(); /* not before: a child may use what its parent has opened */
	return zbz_link_write(&s->link, c, &framing, records, n, done);
}

/* Who speaks belongs to it: two outputs to one server under two names are not one. */
static zbz_status syslog_identity(void *self, zbz_buf *out, zbz_err *err) {
	const syslog_sink *s = self;
	zbz_status status = zbz_link_sink_identity(self, out, err);
	if (status != ZBZ_OK) return status;
	return zbz_buf_printf(out, err, " %d %d %s %s %s", (int)s->link.kind, s->message.facility, s->message.host,
	                      s->message.app, s->message.element);
}

const zbz_sink_ops zbz_sink_syslog = {
	.abi = ZBZ_ABI,
	.name = "syslog",
	.summary = "RFC 5424 over a unix socket, UDP, TCP or TLS",
	.options_size = sizeof(syslog_options),
	.options = syslog_option_list,
	.open = syslog_open,
	.close = zbz_link_sink_close,
	.write = syslog_write,
	.identity = syslog_identity,
};
