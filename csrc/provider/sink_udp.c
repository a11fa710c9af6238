/* Sink `udp`: one datagram a record. What does not fit is cut: half a record in the receiver's hands is worth more than a whole one nobody looks for. */
#include "sink_net.h"

typedef struct udp_options {
	zbz_link_options link;
	int64_t max_message;
} udp_options;

static const zbz_option udp_option_list[] = {
	{ "address", NULL, ZBZ_OPT_TEXT, ZBZ_LINK_FIELD(address), NULL, NULL, 0, 0,
	  "host:port, or [::1]:port; the name is looked up anew after each failure" },
	ZBZ_LINK_TIMEOUT,
	{ "max_message", NULL, ZBZ_OPT_SIZE, offsetof(udp_options, max_message), "8KB", NULL, 64, 65507,
	  "Bytes of one datagram; a longer record is cut between two characters and ends with ..." },
	{ NULL, NULL, ZBZ_OPT_TEXT, 0, NULL, NULL, 0, 0, NULL },
};

typedef struct udp {
	zbz_link link;
	size_t max_message;
} udp;

static zbz_status udp_open(void **self, const void *options, const zbz_clock *clock, zbz_err *err) {
	const udp_options *o = options;
	udp *u = zbz_calloc(1, sizeof *u);
	zbz_status status;
	(void)clock;
	if (u == NULL) return zbz_fail_nomem(err);
	u->max_message = (size_t)o->max_message;
	status = zbz_link_open(&u->link, ZBZ_LINK_UDP, &o->link, 0, err);
	if (status != ZBZ_OK)
		zbz_free(u);
	else
		*self = u;
	return status;
}

static zbz_status udp_write(void *self, zbz_call *c, const zbz_record *records, size_t n, size_t *done) {
	udp *u = self;
	const zbz_framing framing = { .put = zbz_link_put_text, .ud = &u->max_message };
	return zbz_link_write(&u->link, c, &framing, records, n, done);
}

const zbz_sink_ops zbz_sink_udp = {
	.abi = ZBZ_ABI,
	.name = "udp",
	.summary = "a datagram a record",
	.options_size = sizeof(udp_options),
	.options = udp_option_list,
	.open = udp_open,
	.close = zbz_link_sink_close,
	.write = udp_write,
	.identity = zbz_link_sink_identity,
};
