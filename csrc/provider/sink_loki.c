/* Sink `loki`: pushes to Grafana Loki, oldest first, one push at a time.
 *
 * Exactly once comes from Loki's own rule: an entry with the time and the line of one that its stream has already is not stored again. So a push whose answer got
 * lost is sent again as it was - records keep the time they were committed with, also through the ring of a dead process - and batches may be cut
 * elsewhere then. */
#include "sink_loki.h"

#include <snappy-c.h>

enum { LEAST_MS = 200 }; /* a push that is likely to be cut short is not begun: it would be sent twice */

typedef struct loki {
	zbz_loki_target target;
	zbz_loki_labels labels;
	bool json;
	zbz_loki_http *http;
	zbz_loki_push push;
	zbz_loki_verdicts verdicts;
	zbz_buf packed;
	size_t most;        /* bytes of a push; less than it was when the server found one too large */
	int64_t not_before; /* mono ms; the server asked for a pause, */
	zbz_err pause;      /* and said why */
} loki;

static void loki_close(void *self) {
	loki *l = self;
	zbz_loki_http_free(l->http);
	zbz_loki_target_clear(&l->target);
	zbz_loki_labels_clear(&l->labels);
	zbz_loki_push_clear(&l->push);
	zbz_buf_clear(&l->verdicts.list);
	zbz_buf_clear(&l->packed);
	zbz_free(l);
}

static zbz_status loki_open(void **self, const void *options, const zbz_clock *clock, zbz_err *err) {
	const zbz_loki_options *o = options;
	loki *l = zbz_calloc(1, sizeof *l);
	zbz_status status = l != NULL ? zbz_loki_http_init(err) : zbz_fail_nomem(err);
	if (status == ZBZ_OK) status = zbz_loki_target_init(&l->target, o, err);
	if (status == ZBZ_OK) status = zbz_loki_labels_init(&l->labels, o, err);
	if (status != ZBZ_OK) {
		if (l != NULL) loki_close(l);
		return status;
	}
	l->json = o->encoding == ZBZ_LOKI_JSON;
	l->push.labels = &l->labels;
	l->push.max_line = (size_t)o->max_line;
	l->most = ZBZ_LOKI_PUSH_BYTES;
	*self = l;
	return ZBZ_OK;
}

/* Two outputs that name their streams differently are two, whatever server they share. No secret is part of it, so that a new token finds the
 * rings of the old one. */
static zbz_status loki_identity(void *self, zbz_buf *out, zbz_err *err) {
	const loki *l = self;
	const zbz_loki_target *t = &l->target;
	const char *words[] = { t->url, t->connect_to, t->tenant, t->username };
	zbz_status status = ZBZ_OK;
	for (size_t i = 0; i < sizeof words / sizeof *words && status == ZBZ_OK; i++)
		status = zbz_buf_printf(out, err, "%s\n", words[i] != NULL ? words[i] : "");
	if (status == ZBZ_OK) status = zbz_buf_printf(out, err, "%d %d\n", l->labels.level_as, l->labels.logger_as);
	return status == ZBZ_OK ? zbz_buf_append(out, l->labels.text.p, l->labels.text.n, err) : status;
}

/* ---- one push ---- */

static zbz_status pack(loki *l, zbz_bytes *out, zbz_err *err) {
	size_t n = snappy_max_compressed_length(l->push.body.n);
	zbz_status status;
	if (l->json) {
		*out = zbz_buf_bytes(&l->push.body);
		return ZBZ_OK;
	}
	zbz_buf_reset(&l->packed);
	status = zbz_buf_reserve(&l->packed, n, err);
	if (status != ZBZ_OK) return status;
	if (snappy_compress(l->push.body.p, l->push.body.n, l->packed.p, &n) != SNAPPY_OK)
		return zbz_fail(err, ZBZ_E_INTERNAL, "snappy does not compress");
	*out = zbz_b(l->packed.p, n);
	return ZBZ_OK;
}

/* Out of memory is nothing the records can help. */
static zbz_status later(zbz_status status, zbz_err *err) {
	if (status != ZBZ_OK) err->retryable = true;
	return status;
}

static zbz_status too_large(loki *l, const zbz_loki_answer *a, zbz_err *err) {
	if (l->push.n == 1) {
		zbz_loki_verdicts_take(&l->verdicts, &l->push, a, err);
		return ZBZ_OK;
	}
	l->most = l->push.bytes / 2;
	return ZBZ_OK;
}

static void pause_for(loki *l, const zbz_call *c, int64_t seconds) {
	if (seconds > ZBZ_LOKI_RETRY_AFTER) seconds = ZBZ_LOKI_RETRY_AFTER;
	if (seconds <= 0) return;
	l->not_before = zbz_mono(c->clock) + seconds * 1000;
	l->pause = c->err;
}

/* OK: some progress, in *done, in the verdicts or in the size of the next one. */
static zbz_status push_some(loki *l, zbz_call *c, const zbz_record *records, size_t n, size_t *done) {
	zbz_loki_answer answer;
	zbz_bytes body;
	zbz_status status = zbz_loki_push_fill(&l->push, l->json, records, n, l->most, &c->err);
	if (status == ZBZ_OK) status = zbz_loki_verdicts_reserve(&l->verdicts, l->push.n, &c->err);
	if (status == ZBZ_OK) status = pack(l, &body, &c->err);
	if (status != ZBZ_OK) return later(status, &c->err);
	status = zbz_loki_http_post(&l->http, &l->target, l->json, body, c, &answer);
	if (status != ZBZ_OK) return status;
	switch (zbz_loki_judge(&l->target, &answer, &c->err)) {
	case ZBZ_LOKI_TAKEN: *done += l->push.n; return ZBZ_OK;
	case ZBZ_LOKI_TOO_LARGE: return too_large(l, &answer, &c->err);
	case ZBZ_LOKI_REFUSED: zbz_loki_verdicts_take(&l->verdicts, &l->push, &answer, &c->err); return ZBZ_OK;
	default: pause_for(l, c, answer.retry_after); return c->err.status;
	}
}

static zbz_status may_push(const loki *l, zbz_call *c) {
	if (zbz_mono(c->clock) < l->not_before) {
		c->err = l->pause;
		return c->err.status;
	}
	if (zbz_call_left(c) < (l->target.timeout < LEAST_MS ? l->target.timeout : LEAST_MS))
		return zbz_fail(&c->err, ZBZ_E_TIMEOUT, "no time was left for a push");
	return ZBZ_OK;
}

static zbz_status loki_write(void *self, zbz_call *c, const zbz_record *records, size_t n, size_t *done) {
	loki *l = self;
	zbz_status status = ZBZ_OK;
	*done = 0;
	while (status == ZBZ_OK) {
		status = zbz_loki_verdicts_apply(&l->verdicts, records, n, done, &c->err);
		if (status != ZBZ_OK || *done == n) break;
		status = may_push(l, c);
		if (status == ZBZ_OK) status = push_some(l, c, records + *done, n - *done, done);
	}
	return status;
}

static const zbz_sink_ops loki_ops = {
	.abi = ZBZ_ABI,
	.name = "loki",
	.needs = "libcurl4 and libsnappy1v5",
	.summary = "Grafana Loki, by protobuf or JSON; exactly once",
	.batch_size = "1MB",
	.batch_wait = "1s",
	.options_size = sizeof(zbz_loki_options),
	.options = zbz_loki_option_list,
	.open = loki_open,
	.close = loki_close,
	.write = loki_write,
	.identity = loki_identity,
};

ZBZ_API const zbz_sink_ops *zbz_sink_plugin(void);
const zbz_sink_ops *zbz_sink_plugin(void) { return &loki_ops; }
