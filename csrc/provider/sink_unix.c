/* Sink `unix`: a socket in the file system, a stream of lines or one datagram a record. */
#include "sink_net.h"

typedef struct unix_options {
	zbz_link_options link;
	int kind;
	int64_t max_message;
} unix_options;

static const zbz_option unix_option_list[] = {
	{ "address", "path", ZBZ_OPT_TEXT, ZBZ_LINK_FIELD(address), NULL, NULL, 0, 0, "Absolute path of the socket" },
	{ "kind", NULL, ZBZ_OPT_ENUM, offsetof(unix_options, kind), "auto", "auto|stream|datagram", 0, 0,
	  "What listens there; auto: found out at each connection" },
	ZBZ_LINK_TIMEOUT,
	{ "max_message", NULL, ZBZ_OPT_SIZE, offsetof(unix_options, max_message), "64KB", NULL, 64, 1 << 20,
	  "Bytes of one datagram; a longer record is cut between two characters and ends with ..." },
	{ NULL, NULL, ZBZ_OPT_TEXT, 0, NULL, NULL, 0, 0, NULL },
};

typedef struct unix_sink {
	zbz_link link;
	size_t max_message;
} unix_sink;

static zbz_status unix_open(void **self, const void *options, const zbz_clock *clock, zbz_err *err) {
	static const zbz_link_kind kinds[] = { ZBZ_LINK_UNIX, ZBZ_LINK_UNIX_STREAM, ZBZ_LINK_UNIX_DATAGRAM };
	const unix_options *o = options;
	unix_sink *u = zbz_calloc(1, sizeof *u);
	zbz_status status;
	(void)clock;
	if (u == NULL) return zbz_fail_nomem(err);
	u->max_message = (size_t)o->max_message;
	status = zbz_link_open(&u->link, kinds[o->kind], &o->link, 0, err);
	if (status != ZBZ_OK)
		zbz_free(u);
	else
		*self = u;
	return status;
}

static zbz_status unix_write(void *self, zbz_call *c, const zbz_record *records, size_t n, size_t *done) {
	unix_sink *u = self;
	const zbz_framing framing = { .put = zbz_link_put_text, .ud = &u->max_message };
	return zbz_link_write(&u->link, c, &framing, records, n, done);
}

const zbz_sink_ops zbz_sink_unix = {
	.abi = ZBZ_ABI,
	.name = "unix",
	.summary = "a socket in the file system, stream or datagrams",
	.options_size = sizeof(unix_options),
	.options = unix_option_list,
	.open = unix_open,
	.close = zbz_link_sink_close,
	.write = unix_write,
	.identity = zbz_link_sink_identity,
};
