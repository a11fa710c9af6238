/* The envelope: how an entry carries its logical end, its age and its state beside the value. */
#include <zbz/table.h>

#include "envelope.h"

enum { FLAG_NEGATIVE = 1, FLAG_STALE = 2, FLAG_LEASE = 4, FLAGS_KNOWN = 7 };
enum { AT_VERSION = 4, AT_FLAGS = 5, AT_EXPIRE = 6, AT_STORED = 14, VERSION = 1, LEASE_BYTES = 16 };

static const char magic[4] = { '\xC1', 'z', 'b', 'z' };

static void put_i64(char *to, int64_t v) {
	uint64_t u = (uint64_t)v;
	int i;
	for (i = 0; i < 8; i++) to[i] = (char)(u >> (8 * i) & 0xFF);
}

static int64_t get_i64(const char *from) {
	uint64_t u = 0;
	int i;
	for (i = 0; i < 8; i++) u |= (uint64_t)(unsigned char)from[i] << (8 * i);
	return (int64_t)u;
}

bool zbz_envelope_is(zbz_bytes stored) {
	return stored.n >= sizeof magic && memcmp(stored.p, magic, sizeof magic) == 0;
}

zbz_status zbz_envelope_seal(const zbz_seal *seal, zbz_bytes value, zbz_buf *out, zbz_err *err) {
	char head[ZBZ_ENVELOPE_HEAD];
	zbz_status s;
	if (seal->expire_at < 0 || seal->stored_at < 0)
		return zbz_fail(err, ZBZ_E_ARGUMENT, "an envelope's times are not negative");
	if (seal->lease && (value.n != LEASE_BYTES || seal->negative || seal->stale))
		return zbz_fail(err, ZBZ_E_ARGUMENT, "a lease holds %d random bytes and nothing else", (int)LEASE_BYTES);
	if (seal->negative) value.n = 0;
	if (value.n > SIZE_MAX - sizeof head) return zbz_fail(err, ZBZ_E_TOO_LARGE, "a value of %zu bytes", value.n);
	memcpy(head, magic, sizeof magic);
	head[AT_VERSION] = VERSION;
	head[AT_FLAGS] =
	    (char)((seal->negative ? FLAG_NEGATIVE : 0) | (seal->stale ? FLAG_STALE : 0) | (seal->lease ? FLAG_LEASE : 0));
	put_i64(head + AT_EXPIRE, seal->expire_at);
	put_i64(head + AT_STORED, seal->stored_at);
	s = zbz_buf_reserve(out, sizeof head + value.n, err); /* both or none */
	if (s == ZBZ_OK) s = zbz_buf_append(out, head, sizeof head, err);
	if (s == ZBZ_OK) s = zbz_buf_append(out, value.p, value.n, err);
	return s;
}

/* A negative or a lease with anything else inside is damage: better an error than a value that nobody wrote. */
static zbz_status check(zbz_bytes stored, zbz_err *err) {
	size_t payload;
	int flags;
	if (stored.n < ZBZ_ENVELOPE_HEAD)
		return zbz_fail(err, ZBZ_E_CORRUPT, "an envelope cut short: %zu of at least %d bytes", stored.n,
		                (int)ZBZ_ENVELOPE_HEAD);
	if (stored.p[AT_VERSION] != VERSION)
		return zbz_fail(err, ZBZ_E_CORRUPT, "an envelope of the unknown version %d",
		                (unsigned char)stored.p[AT_VERSION]);
	flags = (unsigned char)stored.p[AT_FLAGS];
	payload = stored.n - ZBZ_ENVELOPE_HEAD;
	if ((flags & ~FLAGS_KNOWN) != 0)
		return zbz_fail(err, ZBZ_E_CORRUPT, "an envelope with the unknown flags %#x", (unsigned)flags);
	if ((flags & FLAG_NEGATIVE) != 0 && payload != 0)
		return zbz_fail(err, ZBZ_E_CORRUPT, "a negative entry with %zu bytes", payload);
	if ((flags & FLAG_LEASE) != 0 && (flags != FLAG_LEASE || payload != LEASE_BYTES))
		return zbz_fail(err, ZBZ_E_CORRUPT, "a lease with flags %#x and %zu bytes", (unsigned)flags, payload);
	if (get_i64(stored.p + AT_EXPIRE) < 0 || get_i64(stored.p + AT_STORED) < 0)
		return zbz_fail(err, ZBZ_E_CORRUPT, "an envelope with a negative time");
	return ZBZ_OK;
}

zbz_status zbz_envelope_open(zbz_bytes stored, int64_t now, zbz_bytes *value, zbz_entry *entry, zbz_err *err) {
	zbz_status s;
	int flags;
	memset(entry, 0, sizeof *entry);
	*value = stored;
	if (!zbz_envelope_is(stored)) {
		entry->expire_at = -1;
		return ZBZ_OK;
	}
	s = check(stored, err);
	if (s != ZBZ_OK) return s;
	flags = stored.p[AT_FLAGS];
	entry->sealed = true;
	entry->negative = (flags & FLAG_NEGATIVE) != 0;
	entry->lease = (flags & FLAG_LEASE) != 0;
	entry->expire_at = get_i64(stored.p + AT_EXPIRE);
	entry->stored_at = get_i64(stored.p + AT_STORED);
	entry->stale = (flags & FLAG_STALE) != 0 || (entry->expire_at != ZBZ_NO_EXPIRY && entry->expire_at <= now);
	*value = zbz_b(stored.p + ZBZ_ENVELOPE_HEAD, entry->lease ? 0 : stored.n - ZBZ_ENVELOPE_HEAD);
	return ZBZ_OK;
}
