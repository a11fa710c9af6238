/* Sink `null`: takes everything, keeps nothing. */
#include "log/sinks.h"

typedef struct null_options {
	char none;
} null_options;

static const zbz_option null_option_list[] = { { NULL, NULL, ZBZ_OPT_TEXT, 0, NULL, NULL, 0, 0, NULL } };

static zbz_status null_open(void **self, const void *options, const zbz_clock *clock, zbz_err *err) {
	(void)options, (void)clock;
	*self = zbz_malloc(1);
	return *self != NULL ? ZBZ_OK : zbz_fail_nomem(err);
}

static zbz_status null_write(void *self, zbz_call *c, const zbz_record *records, size_t n, size_t *done) {
	(void)self, (void)c, (void)records;
	*done = n;
	return ZBZ_OK;
}

const zbz_sink_ops zbz_sink_null = {
	.abi = ZBZ_ABI,
	.name = "null",
	.summary = "nowhere",
	.terminal = true,
	.options_size = sizeof(null_options),
	.options = null_option_list,
	.open = null_open,
	.close = zbz_free,
	.write = null_write,
};
