/* Options back as text, for config(): what was parsed, not what was written, and never a secret. */
#include "config.h"

#include "base/scan.h"
#include "base/uri.h"

#include <zbz/bucket.h>

#include <inttypes.h>

static zbz_status put_text(zbz_buf *text, const char *s, zbz_err *err) {
	return zbz_buf_append(text, s, strlen(s), err);
}

/* Text options may be URLs with a password inside. */
static zbz_status put_plain(zbz_buf *text, const char *s, zbz_err *err) {
	return s != NULL ? zbz_uri_redact(zbz_bstr(s), text, err) : ZBZ_OK;
}

static zbz_status put_choice(zbz_buf *text, const char *choices, int index, zbz_err *err) {
	const char *p = choices;
	for (; index > 0 && p[strcspn(p, "|")] == '|'; index--) p += strcspn(p, "|") + 1;
	return zbz_buf_append(text, p, strcspn(p, "|"), err);
}

static zbz_status put_list(zbz_buf *text, const zbz_list *list, zbz_err *err) {
	zbz_status status = ZBZ_OK;
	for (size_t i = 0; i < list->n && status == ZBZ_OK; i++) {
		if (i > 0) status = zbz_buf_putc(text, ',', err);
		if (status == ZBZ_OK) status = put_plain(text, list->items[i], err);
	}
	return status;
}

zbz_status zbz_option_echo(const zbz_option *option, const void *out, zbz_buf *text, zbz_err *err) {
	const void *f = (const char *)out + option->offset;
	char room[ZBZ_SCAN_TEXT];
	const char *secret;
	const zbz_bucket *bucket;
	const zbz_store *store;
	switch (option->type) {
	case ZBZ_OPT_TEXT: return put_plain(text, *(char *const *)f, err);
	case ZBZ_OPT_SECRET:
		secret = *(char *const *)f;
		return put_text(text, secret != NULL && secret[0] != '\0' ? "***" : "", err);
	case ZBZ_OPT_INT: return zbz_buf_printf(text, err, "%" PRId64, *(const int64_t *)f);
	case ZBZ_OPT_BOOL: return put_text(text, *(const bool *)f ? "true" : "false", err);
	case ZBZ_OPT_DURATION: return put_text(text, zbz_format_duration(*(const int64_t *)f, room), err);
	case ZBZ_OPT_SIZE: return put_text(text, zbz_format_size(*(const int64_t *)f, room), err);
	case ZBZ_OPT_MODE: return zbz_buf_printf(text, err, "%04" PRIo64, (uint64_t) * (const int64_t *)f);
	case ZBZ_OPT_ENUM: return put_choice(text, option->choices, *(const int *)f, err);
	case ZBZ_OPT_LIST: return put_list(text, f, err);
	case ZBZ_OPT_BUCKET:
		bucket = *(zbz_bucket *const *)f;
		return put_text(text, bucket != NULL ? zbz_bucket_table(bucket)->name : "", err);
	case ZBZ_OPT_STORE:
		store = *(zbz_store *const *)f;
		return put_text(text, store != NULL ? zbz_store_ops(store)->name : "", err);
	}
	return zbz_fail(err, ZBZ_E_INTERNAL, "option '%s' has an unknown type", option->name);
}
