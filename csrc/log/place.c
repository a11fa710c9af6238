/* Where the rings of an output are: RING/zbz-log-UID/NAME, NAME a hash of the sink and its identity. */
#include "stream.h"

#include "base/sha256.h"

#include <stdio.h>
#include <sys/stat.h>

#define NAME_N 32 /* hex digits of the hash that are used */

zbz_status zbz_place_name(const char *ring, const char *sink, zbz_bytes identity, char **dir, zbz_err *err) {
	char hex[ZBZ_SHA256_HEX];
	zbz_buf text = { 0 };
	zbz_status status = zbz_buf_append(&text, sink, strlen(sink) + 1, err);
	if (status == ZBZ_OK) status = zbz_buf_append(&text, identity.p, identity.n, err);
	if (status == ZBZ_OK) {
		zbz_sha256_hex(zbz_buf_bytes(&text), hex);
		text.n = 0;
		status = zbz_buf_printf(&text, err, "%s/zbz-log-%lu/%.*s", ring, (unsigned long)geteuid(), NAME_N, hex);
	}
	if (status == ZBZ_OK) status = zbz_buf_putc(&text, '\0', err);
	if (status == ZBZ_OK && text.n >= PATH_MAX - ZBZ_RING_NAME)
		status = zbz_fail_option(err, "ring", "the path is too long");
	if (status != ZBZ_OK) {
		zbz_buf_clear(&text);
		return status;
	}
	*dir = text.p;
	return ZBZ_OK;
}

static zbz_status as_spool(zbz_err *err, zbz_status status) {
	if (status < 0 && err != NULL) snprintf(err->option, sizeof err->option, "spool");
	return status;
}

zbz_status zbz_place_spool(const zbz_stream_options *o, const char *sink, zbz_bytes identity, char **dir,
                           zbz_err *err) {
	zbz_status status;
	*dir = NULL;
	if (o->spool == NULL) return ZBZ_OK;
	status = zbz_place_name(o->spool, sink, identity, dir, err);
	if (status == ZBZ_OK) status = zbz_place_make(*dir, err);
	if (status == ZBZ_OK) return ZBZ_OK;
	zbz_free(*dir);
	*dir = NULL;
	return as_spool(err, status);
}

/* The directory of all rings of this user. In a place where anybody may write somebody else may have made it. */
zbz_status zbz_place_make(const char *dir, zbz_err *err) {
	char path[PATH_MAX];
	struct stat st;
	const char *slash = strrchr(dir, '/');
	snprintf(path, sizeof path, "%.*s", (int)(slash - dir), dir);
	if (mkdir(path, 0700) != 0 && errno != EEXIST)
		return zbz_ring_fail(err, errno == ENOSPC ? ZBZ_E_UNAVAILABLE : ZBZ_E_CONFIG, errno, path, "cannot be made");
	if (lstat(path, &st) != 0) return zbz_ring_fail(err, ZBZ_E_UNAVAILABLE, errno, path, "cannot be looked at");
	if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 077) != 0)
		return zbz_ring_fail(err, ZBZ_E_DENIED, 0, path, "is not a directory of this user alone");
	return ZBZ_OK;
}
