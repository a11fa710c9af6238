/* Sink `tcp`: the records as they are, line after line, over one connection; with or without TLS. */
#include "sink_net.h"

static const zbz_option tcp_option_list[] = {
	{ "address", NULL, ZBZ_OPT_TEXT, ZBZ_LINK_FIELD(address), NULL, NULL, 0, 0,
	  "host:port, or [::1]:port; the name is looked up at each connection" },
	ZBZ_LINK_TIMEOUT,
	ZBZ_LINK_TLS,
	{ NULL, NULL, ZBZ_OPT_TEXT, 0, NULL, NULL, 0, 0, NULL },
};

static zbz_status tcp_open(void **self, const void *options, const zbz_clock *clock, zbz_err *err) {
	zbz_link *l = zbz_calloc(1, sizeof *l);
	zbz_status status;
	(void)clock; /* sockets wait in real time */
	if (l == NULL) return zbz_fail_nomem(err);
	status = zbz_link_open(l, ZBZ_LINK_TCP, options, 0, err);
	if (status != ZBZ_OK)
		zbz_free(l);
	else
		*self = l;
	return status;
}

static zbz_status tcp_write(void *self, zbz_call *c, const zbz_record *records, size_t n, size_t *done) {
	static const zbz_framing as_they_are;
	return zbz_link_write(self, c, &as_they_are, records, n, done);
}

const zbz_sink_ops zbz_sink_tcp = {
	.abi = ZBZ_ABI,
	.name = "tcp",
	.summary = "lines over a TCP connection, with TLS if wanted",
	.options_size = sizeof(zbz_link_options),
	.options = tcp_option_list,
	.open = tcp_open,
	.close = zbz_link_sink_close,
	.write = tcp_write,
	.identity = zbz_link_sink_identity,
};
