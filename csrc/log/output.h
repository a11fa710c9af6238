/* The handle of an output: what one opener wants of a stream. */
#ifndef ZBZ_LOG_OUTPUT_H
#define ZBZ_LOG_OUTPUT_H

#include "stream.h"

struct zbz_output {
	zbz_stream *stream;
	_Atomic unsigned refs;
	zbz_policy policy;
	int64_t block_for; /* ns */
	_Atomic bool never_wait;
	bool left, last;        /* its stream; and nobody else uses that */
	_Atomic uint64_t stuck; /* lost for want of the latch and counted, to be told of with the others */
	/* under the stream's latch */
	zbz_output *next;
	uint64_t lost; /* of which no record tells yet */
	zbz_notice_fn notice;
	void *notice_ud;
};

/* cfg's options, checked, and a sink opened with them. */
zbz_status zbz_setup_parse(const zbz_config *cfg, const zbz_sink_ops **ops, zbz_stream_setup *setup, zbz_err *err);
zbz_status zbz_setup_open(const zbz_sink_ops *ops, const zbz_stream_setup *setup, const zbz_clock *clock, void **sink,
                          zbz_buf *identity, zbz_err *err);

/* Under the latch. A record of n bytes of text behind the head's parts; NULL: no room. */
char *zbz_record_begin(zbz_stream *s, const zbz_record_head *head, size_t most);
void zbz_record_end(zbz_stream *s, size_t n);
void zbz_output_report(zbz_output *o);
/* counter NULL: they are counted. */
void zbz_output_lose(zbz_output *o, _Atomic uint64_t *counter, uint64_t n);

#endif
