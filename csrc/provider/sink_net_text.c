/* The message that is a record's text, for links. */
#include "sink_net.h"

#include "base/text.h"

static const char cut_end[] = "...\n";

zbz_status zbz_link_put_text(const void *ud, const zbz_record *r, bool stream, zbz_buf *out, zbz_err *err) {
	size_t most = *(const size_t *)ud;
	zbz_status status;
	(void)stream;
	if (r->text.n <= most) return zbz_buf_append(out, r->text.p, r->text.n, err);
	status = zbz_buf_append(out, r->text.p, zbz_utf8_cut(r->text, most - (sizeof cut_end - 1)), err);
	return status == ZBZ_OK ? zbz_buf_append(out, cut_end, sizeof cut_end - 1, err) : status;
}
