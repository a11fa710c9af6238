/* The shortest MessagePack form of each value; the format is the MessagePack specification's. */
#include "zbz/pack.h"

static zbz_status head(zbz_buf *out, unsigned tag, uint64_t v, int bytes, zbz_err *err) {
	char h[9];
	int i;
	h[0] = (char)tag;
	for (i = 0; i < bytes; i++) h[1 + i] = (char)(v >> (8 * (bytes - 1 - i)) & 0xff);
	return zbz_buf_append(out, h, (size_t)bytes + 1, err);
}

/* A length: in the tag itself below `room`, else in 1 (when there is such a form), 2 or 4 bytes. */
static zbz_status length(zbz_buf *out, unsigned fix, uint64_t room, unsigned one, unsigned two, uint64_t n,
                         zbz_err *err) {
	if (n < room) return head(out, fix | (unsigned)n, 0, 0, err);
	if (n < 256 && one != 0) return head(out, one, n, 1, err);
	if (n < 65536) return head(out, two, n, 2, err);
	if (n > UINT32_MAX) return zbz_fail(err, ZBZ_E_TOO_LARGE, "MessagePack holds no length above 4 GB");
	return head(out, two + 1, n, 4, err);
}

zbz_status zbz_pack_nil(zbz_buf *out, zbz_err *err) { return head(out, 0xc0, 0, 0, err); }

zbz_status zbz_pack_int(zbz_buf *out, int64_t v, zbz_err *err) {
	if (v >= -32 && v < 128) return head(out, (unsigned char)v, 0, 0, err);
	if (v >= INT16_MIN && v <= INT16_MAX) return head(out, 0xd1, (uint64_t)v, 2, err);
	if (v >= INT32_MIN && v <= INT32_MAX) return head(out, 0xd2, (uint64_t)v, 4, err);
	return head(out, 0xd3, (uint64_t)v, 8, err);
}

zbz_status zbz_pack_str(zbz_buf *out, zbz_bytes s, zbz_err *err) {
	zbz_status st = length(out, 0xa0, 32, 0xd9, 0xda, s.n, err);
	return st == ZBZ_OK ? zbz_buf_append(out, s.p, s.n, err) : st;
}

zbz_status zbz_pack_array(zbz_buf *out, uint64_t n, zbz_err *err) { return length(out, 0x90, 16, 0, 0xdc, n, err); }
zbz_status zbz_pack_map(zbz_buf *out, uint64_t n, zbz_err *err) { return length(out, 0x80, 16, 0, 0xde, n, err); }

zbz_status zbz_pack_named_int(zbz_buf *out, const char *name, int64_t v, zbz_err *err) {
	zbz_status s = zbz_pack_str(out, zbz_bstr(name), err);
	return s == ZBZ_OK ? zbz_pack_int(out, v, err) : s;
}

zbz_status zbz_pack_error(zbz_buf *out, zbz_status meaning, bool retryable, zbz_bytes text, zbz_err *err) {
	const char type[3] = { 1, (char)-meaning, retryable };
	size_t n = text.n + 2;
	zbz_status s = n < 256 ? head(out, 0xc7, n, 1, err) : head(out, 0xc9, n, 4, err);
	if (s == ZBZ_OK) s = zbz_buf_append(out, type, sizeof type, err);
	return s == ZBZ_OK ? zbz_buf_append(out, text.p, text.n, err) : s;
}
