/* What needs a script on the server to be atomic, and versions: a value's version is the SHA-1 of its bytes, which the
 * server can compute as well. */
#include "provider/redis_impl.h"

/* Numbers pass through Lua as doubles, so counters go back as text. An error of a call inside is returned as it is. */
static const char compare_and_set[] = "local v = redis.pcall('GET', KEYS[1])\n"
                                      "if type(v) == 'table' and v.err then return v end\n"
                                      "if not v or redis.sha1hex(v) ~= ARGV[1] then return 0 end\n"
                                      "if ARGV[3] == '0' then v = redis.pcall('SET', KEYS[1], ARGV[2])\n"
                                      "else v = redis.pcall('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end\n"
                                      "if v.err then return v end\n"
                                      "return 1\n";

static const char increment[] = "local v = redis.pcall('EXISTS', KEYS[1])\n"
                                "if v == 0 then\n"
                                "  if ARGV[3] == '0' then v = redis.pcall('SET', KEYS[1], ARGV[2])\n"
                                "  else v = redis.pcall('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end\n"
                                "else v = redis.pcall('INCRBY', KEYS[1], ARGV[1]) end\n"
                                "if type(v) == 'table' and v.err then return v end\n"
                                "return redis.pcall('GET', KEYS[1])\n";

void redis_hex(const zbz_version *v, char hex[REDIS_SHA_HEX + 1]) {
	static const char digits[] = "0123456789abcdef";
	int i;
	for (i = 0; i < REDIS_SHA_HEX / 2; i++) {
		hex[2 * i] = digits[v->b[i] >> 4];
		hex[2 * i + 1] = digits[v->b[i] & 15];
	}
	hex[REDIS_SHA_HEX] = '\0';
}

zbz_status redis_digest(const redis_self *self, zbz_bytes value, zbz_version *out, zbz_err *err) {
	unsigned n = 0;
	if (EVP_Digest(value.n ? value.p : "", value.n, out->b, &n, self->sha1, NULL) != 1 || n != REDIS_SHA_HEX / 2)
		return zbz_fail(err, ZBZ_E_INTERNAL, "OpenSSL cannot compute SHA-1");
	out->n = (uint8_t)n;
	return ZBZ_OK;
}

zbz_status redis_script_name(const redis_self *self, const char *text, char name[REDIS_SHA_HEX + 1], zbz_err *err) {
	zbz_version v;
	zbz_status s = redis_digest(self, zbz_bstr(text), &v, err);
	if (s == ZBZ_OK) redis_hex(&v, name);
	return s;
}

zbz_status redis_scripts_init(redis_self *self, zbz_err *err) {
	zbz_status s;
	self->sha1 = EVP_MD_fetch(NULL, "SHA1", NULL);
	if (!self->sha1) return zbz_fail(err, ZBZ_E_INTERNAL, "OpenSSL has no SHA-1");
	s = redis_script_name(self, compare_and_set, self->compare_and_set, err);
	if (s == ZBZ_OK) s = redis_script_name(self, increment, self->increment, err);
	return s == ZBZ_OK ? redis_locks_init(self, err) : s;
}

/* The server that does not know the script has run nothing, so it gets the text at once. */
zbz_status redis_script_run(redis_attempt *a, const char *name, const char *text, zbz_bytes key,
                            const zbz_bytes argv[3], const char *expect, redis_answer *answer, zbz_buf *out) {
	zbz_err *err = &a->c->err;
	zbz_status s = zbz_resp_command(&a->conn->out, err, "EVALSHA %b 1 %b %b %b %b", zbz_bstr(name), key, argv[0],
	                                argv[1], argv[2]);
	if (s == ZBZ_OK) s = redis_attempt_ask(a, answer, expect, out);
	if (s == ZBZ_OK || !answer->noscript || a->conn->broken) return s;
	s = zbz_resp_command(&a->conn->out, err, "EVAL %b 1 %b %b %b %b", zbz_bstr(text), key, argv[0], argv[1], argv[2]);
	return s == ZBZ_OK ? redis_attempt_ask(a, answer, expect, out) : s;
}

typedef struct number {
	char text[24];
} number;

static zbz_bytes decimal(number *n, int64_t v) {
	char *p = n->text + sizeof n->text;
	uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
	do *--p = (char)('0' + u % 10);
	while ((u /= 10) != 0);
	if (v < 0) *--p = '-';
	return zbz_b(p, (size_t)(n->text + sizeof n->text - p));
}

zbz_status redis_set_if_version(redis_self *self, zbz_call *c, const zbz_write *w) {
	char hex[REDIS_SHA_HEX + 1];
	redis_answer answer = { 0 };
	redis_attempt a;
	number ttl = { 0 };
	zbz_bytes argv[3];
	zbz_status s;
	if (w->version->n != REDIS_SHA_HEX / 2)
		return zbz_fail(&c->err, ZBZ_E_CONFLICT, "the version is not one of this provider");
	redis_hex(w->version, hex);
	argv[0] = zbz_b(hex, REDIS_SHA_HEX);
	argv[1] = w->value;
	argv[2] = decimal(&ttl, w->expire_at == ZBZ_NO_EXPIRY ? 0 : redis_ttl_ms(c, w->expire_at));
	redis_attempt_init(&a, self, c, false);
	do {
		s = redis_attempt_begin(&a);
		if (s == ZBZ_OK)
			s = redis_script_run(&a, self->compare_and_set, compare_and_set, w->key, argv, "i", &answer, NULL);
	} while (redis_attempt_again(&a, s));
	if (s == ZBZ_OK && answer.integer != 1) s = zbz_fail(&c->err, ZBZ_E_CONFLICT, "another version is stored, or none");
	return s;
}

/* ---- counters ------------------------------------------------------------------------------------------------------- */

static zbz_status read_integer(zbz_bytes text, int64_t *value, zbz_err *err) {
	bool negative = text.n > 0 && text.p[0] == '-';
	uint64_t v = 0, limit = (uint64_t)INT64_MAX + negative;
	size_t i = negative;
	if (i == text.n) return zbz_fail(err, ZBZ_E_TYPE, "the value is no integer");
	for (; i < text.n; i++) {
		unsigned digit = (unsigned)text.p[i] - '0';
		if (digit > 9 || v > (limit - digit) / 10) return zbz_fail(err, ZBZ_E_TYPE, "the value is no integer");
		v = v * 10 + digit;
	}
	*value = negative ? (int64_t)(0 - v) : (int64_t)v;
	return ZBZ_OK;
}

static zbz_status incr_plain(redis_self *self, zbz_call *c, zbz_bytes key, int64_t delta, int64_t *value) {
	redis_answer answer = { 0 };
	redis_attempt a;
	zbz_status s;
	redis_attempt_init(&a, self, c, false);
	do {
		s = redis_attempt_begin(&a);
		if (s == ZBZ_OK) s = zbz_resp_command(&a.conn->out, &c->err, "INCRBY %b %l", key, delta);
		if (s == ZBZ_OK) s = redis_attempt_ask(&a, &answer, "i", NULL);
	} while (redis_attempt_again(&a, s));
	*value = answer.integer;
	return s;
}

zbz_status redis_incr(void *ud, zbz_call *c, zbz_bytes key, const zbz_incr *how, int64_t *value) {
	redis_self *self = ud;
	redis_answer answer = { 0 };
	redis_attempt a;
	number delta = { 0 }, initial = { 0 }, ttl = { 0 };
	zbz_bytes argv[3];
	zbz_buf text = { 0 };
	zbz_status s;
	if (!how->has_initial && how->expire_at == ZBZ_NO_EXPIRY) return incr_plain(self, c, key, how->delta, value);
	argv[0] = decimal(&delta, how->delta);
	argv[1] = decimal(&initial, how->has_initial ? how->initial : how->delta);
	argv[2] = decimal(&ttl, how->expire_at == ZBZ_NO_EXPIRY ? 0 : redis_ttl_ms(c, how->expire_at));
	redis_attempt_init(&a, self, c, false);
	do {
		zbz_buf_reset(&text);
		s = redis_attempt_begin(&a);
		if (s == ZBZ_OK) s = redis_script_run(&a, self->increment, increment, key, argv, "b", &answer, &text);
	} while (redis_attempt_again(&a, s));
	if (s == ZBZ_OK) s = read_integer(zbz_b(text.p, text.n), value, &c->err);
	zbz_buf_clear(&text);
	return s;
}
