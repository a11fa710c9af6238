/* Losses become records themselves, when there is room again. */
#include "output.h"

#include <inttypes.h>
#include <stdio.h>

enum { NOTICE_ROOM = 1024 };

static size_t plain(void *ud, const zbz_record_head *head, zbz_bytes message, char *to, size_t room) {
	(void)ud, (void)head;
	if (message.n + 1 > room) return 0;
	memcpy(to, message.p, message.n);
	to[message.n] = '\n';
	return message.n + 1;
}

void zbz_output_report(zbz_output *o) {
	zbz_stream *s = o->stream;
	zbz_record_head head = { .level = ZBZ_LEVEL_WARN, .logger = zbz_bstr("zbz") };
	zbz_notice_fn format = o->notice != NULL ? o->notice : plain;
	char message[64], *to;
	struct timespec now;
	int n;
	size_t written;
	zbz_output_lose(o, NULL, atomic_exchange(&o->stuck, 0));
	if (o->lost == 0 || s->ring.h == NULL) return;
	clock_gettime(CLOCK_REALTIME, &now);
	head.at = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
	to = zbz_record_begin(s, &head, NOTICE_ROOM);
	if (to == NULL) return;
	n = snprintf(message, sizeof message, "zbz: %" PRIu64 " records dropped", o->lost);
	written = format(o->notice_ud, &head, zbz_b(message, (size_t)n), to, NOTICE_ROOM);
	if (written > 0 && written <= NOTICE_ROOM) zbz_record_end(s, written);
	s->at = NULL;
	o->lost = 0;
	atomic_fetch_sub(&s->unreported, 1);
}

void zbz_stream_report(zbz_stream *s) {
	zbz_latch_take(&s->latch);
	for (zbz_output *o = s->outputs; o != NULL; o = o->next) zbz_output_report(o);
	zbz_latch_drop(&s->latch);
}
