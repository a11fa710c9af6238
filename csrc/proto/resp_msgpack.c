/* Replies as MessagePack, part by part (the format: the MessagePack specification). */
#include "proto/resp.h"

static zbz_status put(zbz_buf *out, unsigned char tag, uint64_t v, int bytes, zbz_err *err) {
	char head[9];
	int i;
	head[0] = (char)tag;
	for (i = 0; i < bytes; i++) head[1 + i] = (char)(v >> (8 * (bytes - 1 - i)) & 0xff);
	return zbz_buf_append(out, head, (size_t)bytes + 1, err);
}

static zbz_status put_str(zbz_buf *out, zbz_bytes b, zbz_err *err) {
	zbz_status s;
	if (b.n < 32)
		s = put(out, (unsigned char)(0xa0 | b.n), 0, 0, err);
	else if (b.n < 256)
		s = put(out, 0xd9, b.n, 1, err);
	else if (b.n < 65536)
		s = put(out, 0xda, b.n, 2, err);
	else
		s = put(out, 0xdb, b.n, 4, err);
	return s == ZBZ_OK ? zbz_buf_append(out, b.p, b.n, err) : s;
}

static zbz_status put_error(zbz_buf *out, zbz_bytes b, zbz_err *err) {
	zbz_status s;
	if (b.n < 256)
		s = put(out, 0xc7, b.n, 1, err);
	else
		s = put(out, 0xc9, b.n, 4, err);
	if (s == ZBZ_OK) s = zbz_buf_putc(out, 1, err);
	return s == ZBZ_OK ? zbz_buf_append(out, b.p, b.n, err) : s;
}

static zbz_status put_integer(zbz_buf *out, int64_t v, zbz_err *err) {
	if (v >= -32 && v < 128) return put(out, (unsigned char)v, 0, 0, err);
	if (v >= INT16_MIN && v <= INT16_MAX) return put(out, 0xd1, (uint64_t)v, 2, err);
	if (v >= INT32_MIN && v <= INT32_MAX) return put(out, 0xd2, (uint64_t)v, 4, err);
	return put(out, 0xd3, (uint64_t)v, 8, err);
}

static zbz_status put_array(zbz_buf *out, uint64_t n, zbz_err *err) {
	if (n < 16) return put(out, (unsigned char)(0x90 | n), 0, 0, err);
	if (n < 65536) return put(out, 0xdc, n, 2, err);
	return put(out, 0xdd, n, 4, err);
}

zbz_status zbz_resp_to_msgpack(void *ud, const zbz_resp_item *item, zbz_err *err) {
	zbz_buf *out = ud;
	if (item->bytes.n > UINT32_MAX || (item->type == ZBZ_RESP_ARRAY && item->integer > UINT32_MAX))
		return zbz_fail(err, ZBZ_E_TOO_LARGE, "a reply of the server is too large for MessagePack");
	switch (item->type) {
	case ZBZ_RESP_STATUS:
	case ZBZ_RESP_BULK: return put_str(out, item->bytes, err);
	case ZBZ_RESP_ERROR: return put_error(out, item->bytes, err);
	case ZBZ_RESP_INTEGER: return put_integer(out, item->integer, err);
	case ZBZ_RESP_ARRAY: return put_array(out, (uint64_t)item->integer, err);
	default: return zbz_buf_putc(out, (char)0xc0, err);
	}
}
