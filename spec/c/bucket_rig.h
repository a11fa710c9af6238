/* What tests of buckets share: one of each kind, fresh, and what is listed of it as text. */
#ifndef SPEC_BUCKET_RIG_H
#define SPEC_BUCKET_RIG_H

#include <zbz/bucket.h>

#include "log_help.h"

static const char *const kinds[] = { "memory", "filesystem" };
static char options[300];

static inline zbz_bucket *bucket_of(const char *more) {
	char text[400];
	zbz_config *cfg;
	zbz_bucket *b = NULL;
	zbz_err err;
	snprintf(text, sizeof text, "%s %s", options, more);
	cfg = config_of(text);
	CHECK(cfg != NULL && zbz_bucket_open(cfg, NULL, &b, &err) == ZBZ_OK);
	zbz_config_free(cfg);
	return b;
}

static char place[200]; /* of the bucket at hand, where it has one */

static inline zbz_bucket *fresh(const char *kind) {
	static int number;
	snprintf(place, sizeof place, "%s/bucket-%d", work, ++number);
	if (strcmp(kind, "memory") == 0)
		snprintf(options, sizeof options, "provider=memory name=%d", number);
	else
		snprintf(options, sizeof options, "provider=%s base_dir=%s", kind, place);
	return bucket_of("");
}

static inline zbz_status put(zbz_bucket *b, const char *name, const char *body) {
	zbz_call c = log_call(5000);
	return zbz_bucket_put(b, &c, zbz_bstr(name), zbz_bstr(body));
}
static inline zbz_status take_away(zbz_bucket *b, const char *name) {
	zbz_call c = log_call(5000);
	return zbz_bucket_remove(b, &c, zbz_bstr(name));
}
static inline bool there(zbz_bucket *b, const char *name) {
	zbz_call c = log_call(5000);
	zbz_object_info info;
	return zbz_bucket_stat(b, &c, zbz_bstr(name), &info) == ZBZ_OK;
}

/* All pages of a listing, as "name name name"; "!" and the status when it fails. */
static inline const char *listed(zbz_bucket *b, const char *prefix, const char *after, size_t limit) {
	static char text[1 << 17];
	char last[ZBZ_OBJECT_NAME_MAX + 1];
	zbz_status status = ZBZ_OK;
	size_t length = 0;
	snprintf(last, sizeof last, "%s", after);
	text[0] = '\0';
	while (status == ZBZ_OK) {
		zbz_call c = log_call(20000);
		zbz_buf page = { 0 };
		zbz_object_entry e;
		size_t n = 77, seen = 0, at = 0;
		status = zbz_bucket_list(b, &c, zbz_bstr(prefix), zbz_bstr(last), limit, &page, &n);
		while (status >= 0 && zbz_object_page_take(zbz_buf_bytes(&page), &at, &e)) {
			length += (size_t)snprintf(text + length, sizeof text - length, "%s%.*s", length > 0 ? " " : "",
			                           (int)e.name.n, e.name.p);
			snprintf(last, sizeof last, "%.*s", (int)e.name.n, e.name.p);
			CHECK(e.info.modified > 0);
			seen++;
		}
		CHECK(seen == n && n <= limit && (status != ZBZ_OK || n > 0));
		if (status < 0) snprintf(text, sizeof text, "!%d", status);
		zbz_buf_clear(&page);
	}
	return text;
}

#endif
