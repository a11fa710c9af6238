/* Replies as MessagePack, part by part. */
#include "proto/resp.h"
#include "zbz/pack.h"

zbz_status zbz_resp_to_msgpack(void *ud, const zbz_resp_item *item, zbz_err *err) {
	zbz_buf *out = ud;
	switch (item->type) {
	case ZBZ_RESP_STATUS:
	case ZBZ_RESP_BULK: return zbz_pack_str(out, item->bytes, err);
	case ZBZ_RESP_ERROR: return zbz_pack_error(out, ZBZ_E_UNAVAILABLE, false, item->bytes, err);
	case ZBZ_RESP_INTEGER: return zbz_pack_int(out, item->integer, err);
	case ZBZ_RESP_ARRAY: return zbz_pack_array(out, (uint64_t)item->integer, err);
	default: return zbz_pack_nil(out, err);
	}
}
