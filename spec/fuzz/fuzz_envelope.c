/* Envelopes: what opens lies inside the stored bytes, and what is sealed opens to what it was. */
#include "fuzz.h"

static void opens_safely(zbz_bytes stored, int64_t now) {
	zbz_bytes value;
	zbz_entry entry;
	zbz_err err;
	zbz_status s = zbz_envelope_open(stored, now, &value, &entry, &err);
	if (s != ZBZ_OK) {
		HOLDS(s == ZBZ_E_CORRUPT && err.status == s && zbz_envelope_is(stored));
		return;
	}
	HOLDS(value.n <= stored.n && value.p >= stored.p && value.p + value.n <= stored.p + stored.n);
	HOLDS(entry.sealed == zbz_envelope_is(stored));
	if (!entry.sealed) HOLDS(zbz_bytes_eq(value, stored) && !entry.negative && !entry.stale && !entry.lease);
	if (entry.negative || entry.lease) HOLDS(value.n == 0);
}

static void comes_back(zbz_bytes payload, unsigned flags, int64_t expire_at, int64_t stored_at, int64_t now) {
	zbz_buf out = { 0 };
	zbz_seal seal = { 0 };
	zbz_bytes value;
	zbz_entry entry;
	zbz_err err;
	seal.expire_at = expire_at;
	seal.stored_at = stored_at;
	seal.negative = (flags & 1) != 0;
	seal.stale = (flags & 2) != 0;
	if (zbz_envelope_seal(&seal, payload, &out, &err) == ZBZ_OK) {
		HOLDS(zbz_envelope_open(zbz_buf_bytes(&out), now, &value, &entry, &err) == ZBZ_OK);
		HOLDS(entry.sealed && entry.negative == seal.negative && !entry.lease);
		HOLDS(entry.expire_at == expire_at && entry.stored_at == stored_at);
		HOLDS(entry.stale == (seal.stale || (expire_at != ZBZ_NO_EXPIRY && expire_at <= now)));
		HOLDS(seal.negative ? value.n == 0 : zbz_bytes_eq(value, payload));
	} else {
		HOLDS(out.n == 0);
	}
	zbz_buf_clear(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	int64_t times[3] = { 0, 0, 0 };
	opens_safely(zbz_b(data, size), 1700000000000);
	if (size < 1 + sizeof times) return 0;
	memcpy(times, data + 1, sizeof times);
	opens_safely(zbz_b(data + 1 + sizeof times, size - 1 - sizeof times), times[0]);
	comes_back(zbz_b(data + 1 + sizeof times, size - 1 - sizeof times), data[0], times[1], times[2], times[0]);
	return 0;
}
