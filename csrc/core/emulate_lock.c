/* Locks for backends that have none of their own: an entry that is added where it is absent and holds the holder's token until its lease
 * ends. There is no deletion on condition, so a release replaces it, by version, by a note of how the load ended, which dies soon
 * and may be replaced, by version again, by whoever comes next. */
#include "emulate.h"

enum { NOTE_MS = 1000, TRIES = 8, NOTE_BYTES = ZBZ_LOCK_TOKEN + 1 };

static zbz_status need(zbz_store *s, zbz_call *c) {
	const uint32_t bits = ZBZ_CAN_ADD | ZBZ_CAN_VERSION;
	zbz_caps caps;
	zbz_store_caps(s, &caps);
	if ((caps.can & bits) == bits) return ZBZ_OK;
	return zbz_fail(&c->err, ZBZ_E_UNSUPPORTED, "the %s provider has neither locks nor what they can be built from",
	                zbz_store_ops(s)->name);
}

/* What stands there: OK, MISS. A foreign entry under a reserved name is somebody's lock without an end that we know. */
static zbz_status look(zbz_store *s, zbz_call *c, zbz_bytes name, uint8_t value[NOTE_BYTES], size_t *n,
                       zbz_meta *meta) {
	zbz_buf bytes = { 0 };
	zbz_status status = zbz_store_get(s, c, name, &bytes, meta);
	if (status == ZBZ_OK) {
		*n = bytes.n;
		memset(value, 0, NOTE_BYTES);
		memcpy(value, bytes.p, bytes.n < NOTE_BYTES ? bytes.n : NOTE_BYTES);
	}
	zbz_buf_clear(&bytes);
	return status;
}

/* CONFLICT: it has changed since. */
static zbz_status replace(zbz_store *s, zbz_call *c, zbz_bytes name, zbz_bytes value, int64_t ms,
                          const zbz_version *version) {
	zbz_write w = { name, value, c->now + ms, ZBZ_ONLY_VERSION, version };
	return zbz_store_set(s, c, &w, NULL);
}

static zbz_status refuse(const zbz_call *c, const uint8_t *value, const zbz_meta *meta, zbz_holder *holder) {
	memcpy(holder->token, value, ZBZ_LOCK_TOKEN);
	holder->left = meta->expire_at > 0 ? meta->expire_at - c->now : -1;
	if (meta->expire_at > 0 && holder->left < 1) holder->left = 1;
	return ZBZ_REFUSED;
}

/* AGAIN: it was gone, or changed, between two steps. */
static zbz_status contest(zbz_store *s, zbz_call *c, zbz_bytes name, const uint8_t *token, int64_t lease_ms,
                          zbz_holder *holder) {
	uint8_t value[NOTE_BYTES];
	zbz_meta meta;
	size_t n = 0;
	zbz_status status = look(s, c, name, value, &n, &meta);
	if (status == ZBZ_MISS) return ZBZ_AGAIN;
	if (status != ZBZ_OK) return status;
	if (n != NOTE_BYTES)
		return n == ZBZ_LOCK_TOKEN && memcmp(value, token, n) == 0 ? ZBZ_OK : refuse(c, value, &meta, holder);
	if (memcmp(value, holder->token, ZBZ_LOCK_TOKEN) == 0 &&
	    (value[ZBZ_LOCK_TOKEN] == ZBZ_OUTCOME_ABSENT || value[ZBZ_LOCK_TOKEN] == ZBZ_OUTCOME_FAILED)) {
		holder->outcome = (zbz_outcome)value[ZBZ_LOCK_TOKEN];
		return ZBZ_REFUSED;
	}
	status = replace(s, c, name, zbz_b(token, ZBZ_LOCK_TOKEN), lease_ms, &meta.version);
	return status == ZBZ_E_CONFLICT ? ZBZ_AGAIN : status;
}

zbz_status zbz_emulate_lock(zbz_store *s, zbz_call *c, zbz_bytes name, const uint8_t *token, int64_t lease_ms,
                            zbz_holder *holder) {
	zbz_write w = { name, zbz_b(token, ZBZ_LOCK_TOKEN), c->now + lease_ms, ZBZ_ONLY_ABSENT, NULL };
	zbz_status status = need(s, c);
	int i;
	for (i = 0; status == ZBZ_OK && i < TRIES; i++) {
		status = zbz_store_set(s, c, &w, NULL);
		if (status == ZBZ_REFUSED) status = contest(s, c, name, token, lease_ms, holder);
		if (status != ZBZ_AGAIN) return status;
		status = ZBZ_OK;
	}
	if (status != ZBZ_OK) return status;
	holder->left = 1; /* it comes and goes: somebody has it, most of the time */
	return ZBZ_REFUSED;
}

zbz_status zbz_emulate_unlock(zbz_store *s, zbz_call *c, zbz_bytes name, const uint8_t *token, zbz_outcome outcome) {
	uint8_t value[NOTE_BYTES];
	zbz_meta meta;
	size_t n = 0;
	zbz_status status = need(s, c);
	if (status == ZBZ_OK) status = look(s, c, name, value, &n, &meta);
	if (status != ZBZ_OK) return status;
	if (n != ZBZ_LOCK_TOKEN || memcmp(value, token, n) != 0) return ZBZ_MISS;
	value[ZBZ_LOCK_TOKEN] = (uint8_t)outcome;
	status = replace(s, c, name, zbz_b(value, sizeof value), NOTE_MS, &meta.version);
	return status == ZBZ_E_CONFLICT ? ZBZ_MISS : status;
}
