/* The server itself: ping, version, numbers, details of a key, and its own commands. */
#include "provider/redis_impl.h"
#include "zbz/pack.h"

#include <stdlib.h>
#include <strings.h>

zbz_status redis_ping(void *ud, zbz_call *c) {
	redis_answer answer = { 0 };
	redis_attempt a;
	zbz_status s;
	redis_attempt_init(&a, ud, c, true);
	do {
		s = redis_attempt_begin(&a);
		if (s == ZBZ_OK) s = zbz_resp_command(&a.conn->out, &c->err, "PING");
		if (s == ZBZ_OK) s = redis_attempt_ask(&a, &answer, "s", NULL);
	} while (redis_attempt_again(&a, s));
	return s;
}

/* ---- INFO ----------------------------------------------------------------------------------------------------------- */

/* The rest of the line "name:" in INFO's text; p NULL when there is none. */
static zbz_bytes info_line(zbz_bytes info, const char *name) {
	size_t n = strlen(name), i = 0;
	while (i < info.n) {
		const char *line = info.p + i;
		const char *nl = memchr(line, '\n', info.n - i);
		size_t len = nl ? (size_t)(nl - line) : info.n - i;
		i += len + 1;
		if (len && line[len - 1] == '\r') len--;
		if (len > n && memcmp(line, name, n) == 0 && line[n] == ':') return zbz_b(line + n + 1, len - n - 1);
	}
	return zbz_b(NULL, 0);
}

static int64_t info_number(zbz_bytes info, const char *name) {
	zbz_bytes text = info_line(info, name);
	char copy[24];
	if (!text.p || text.n == 0 || text.n >= sizeof copy) return -1;
	memcpy(copy, text.p, text.n);
	copy[text.n] = '\0';
	return strtoll(copy, NULL, 10);
}

zbz_status redis_version(void *ud, zbz_call *c, zbz_buf *out) {
	redis_answer answer = { 0 };
	redis_attempt a;
	zbz_buf info = { 0 };
	zbz_bytes line;
	zbz_status s;
	redis_attempt_init(&a, ud, c, true);
	do {
		zbz_buf_reset(&info);
		s = redis_attempt_begin(&a);
		if (s == ZBZ_OK) s = zbz_resp_command(&a.conn->out, &c->err, "INFO server");
		if (s == ZBZ_OK) s = redis_attempt_ask(&a, &answer, "b", &info);
	} while (redis_attempt_again(&a, s));
	line = info_line(zbz_buf_bytes(&info), "redis_version");
	if (s == ZBZ_OK && !line.p) s = zbz_fail(&c->err, ZBZ_E_UNSUPPORTED, "the server does not tell its version");
	if (s == ZBZ_OK) s = zbz_buf_append(out, line.p, line.n, &c->err);
	zbz_buf_clear(&info);
	return s;
}

static zbz_status ask_stats(redis_self *self, zbz_call *c, redis_answer answers[3], zbz_buf *info) {
	redis_attempt a;
	zbz_status s;
	redis_attempt_init(&a, self, c, true);
	do {
		zbz_buf_reset(info);
		s = redis_attempt_begin(&a);
		if (s == ZBZ_OK) s = zbz_resp_command(&a.conn->out, &c->err, "DBSIZE");
		if (s == ZBZ_OK) s = zbz_resp_command(&a.conn->out, &c->err, "INFO memory");
		if (s == ZBZ_OK) s = zbz_resp_command(&a.conn->out, &c->err, "INFO stats");
		if (s == ZBZ_OK) s = redis_attempt_ask(&a, answers, "ibb", info);
	} while (redis_attempt_again(&a, s));
	return s;
}

void redis_stats(void *ud, zbz_call *c, zbz_provider_stats *out) {
	redis_self *self = ud;
	redis_answer answers[3] = { { 0 } };
	zbz_buf info = { 0 };
	out->keys = out->memory = out->evictions = out->expired = -1;
	if (ask_stats(self, c, answers, &info) == ZBZ_OK) {
		out->keys = answers[0].integer;
		out->memory = info_number(zbz_buf_bytes(&info), "used_memory");
		out->evictions = info_number(zbz_buf_bytes(&info), "evicted_keys");
		out->expired = info_number(zbz_buf_bytes(&info), "expired_keys");
	}
	out->connections = redis_pool_open_count(self->pool);
	out->retries = atomic_load_explicit(&self->retries, memory_order_relaxed);
	zbz_buf_clear(&info);
}

/* ---- inspect -------------------------------------------------------------------------------------------------------- */

/* OBJECT IDLETIME is refused under an LFU policy, MEMORY USAGE by ACLs: what is not told is left out. */
static zbz_status put_details(zbz_buf *out, const redis_answer a[4], zbz_bytes type, int64_t now, zbz_err *err) {
	bool memory = a[2].status == ZBZ_OK && a[2].type == ZBZ_RESP_INTEGER,
	     idle = a[3].status == ZBZ_OK && a[3].type == ZBZ_RESP_INTEGER;
	zbz_status s = zbz_pack_map(out, 2 + memory + idle, err);
	if (s == ZBZ_OK) s = zbz_pack_str(out, zbz_bstr("type"), err);
	if (s == ZBZ_OK) s = zbz_pack_str(out, type, err);
	if (s == ZBZ_OK)
		s = zbz_pack_named_int(out, "expire_at", a[1].integer < 0 ? ZBZ_NO_EXPIRY : now + a[1].integer, err);
	if (s == ZBZ_OK && memory) s = zbz_pack_named_int(out, "size", a[2].integer, err);
	if (s == ZBZ_OK && idle) s = zbz_pack_named_int(out, "idle_ms", a[3].integer * 1000, err);
	return s;
}

zbz_status redis_inspect(void *ud, zbz_call *c, zbz_bytes key, zbz_buf *out) {
	redis_answer a[4] = { { 0 } };
	redis_attempt try;
	zbz_buf text = { 0 };
	zbz_status s;
	redis_attempt_init(&try, ud, c, true);
	do {
		zbz_buf_reset(&text);
		s = redis_attempt_begin(&try);
		if (s == ZBZ_OK) s = zbz_resp_command(&try.conn->out, &c->err, "TYPE %b", key);
		if (s == ZBZ_OK) s = zbz_resp_command(&try.conn->out, &c->err, "PTTL %b", key);
		if (s == ZBZ_OK) s = zbz_resp_command(&try.conn->out, &c->err, "MEMORY USAGE %b", key);
		if (s == ZBZ_OK) s = zbz_resp_command(&try.conn->out, &c->err, "OBJECT IDLETIME %b", key);
		if (s == ZBZ_OK) s = redis_attempt_ask(&try, a, "sinn", &text);
		if (s < 0 && !try.conn) continue;
		if (s < 0 && !try.conn->broken && a[0].type == ZBZ_RESP_STATUS && a[1].type == ZBZ_RESP_INTEGER) s = ZBZ_OK;
	} while (redis_attempt_again(&try, s));
	if (s == ZBZ_OK && a[1].integer == -2) s = ZBZ_MISS;
	if (s == ZBZ_OK) s = put_details(out, a, zbz_b(text.p, a[0].n), c->now, &c->err);
	zbz_buf_clear(&text);
	return s;
}

/* ---- the server's own commands --------------------------------------------------------------------------------------- */

static bool is(zbz_bytes word, const char *name) {
	return word.n == strlen(name) && strncasecmp(word.p, name, word.n) == 0;
}

/* These would change the protocol or turn the connection into a stream. */
static zbz_status check_command(const zbz_bytes *argv, size_t n, zbz_err *err) {
	static const char *const refused[] = { "SUBSCRIBE",    "PSUBSCRIBE",   "SSUBSCRIBE", "UNSUBSCRIBE",
		                                   "PUNSUBSCRIBE", "SUNSUBSCRIBE", "MONITOR",    "SYNC",
		                                   "PSYNC",        "HELLO",        "QUIT" };
	size_t i;
	if (n == 0) return zbz_fail(err, ZBZ_E_ARGUMENT, "a command has no words");
	for (i = 0; i < sizeof refused / sizeof *refused; i++)
		if (is(argv[0], refused[i]))
			return zbz_fail(err, ZBZ_E_UNSUPPORTED, "%s cannot be sent as a command%s", refused[i],
			                i < 6 ? ": use subscribe" : "");
	if (n > 1 && is(argv[0], "CLIENT") && is(argv[1], "REPLY"))
		return zbz_fail(err, ZBZ_E_UNSUPPORTED, "CLIENT REPLY cannot be sent as a command");
	return ZBZ_OK;
}

/* Does the connection stay as the next caller expects it? MULTI and WATCH do until they are ended, settings never. */
static void follow(zbz_bytes word, bool *open, bool *changed) {
	if (is(word, "MULTI") || is(word, "WATCH"))
		*open = true;
	else if (is(word, "EXEC") || is(word, "DISCARD") || is(word, "UNWATCH") || is(word, "RESET"))
		*open = false;
	if (is(word, "SELECT") || is(word, "AUTH") || is(word, "CLIENT") || is(word, "READONLY") || is(word, "RESET"))
		*changed = true;
}

static zbz_status write_commands(zbz_buf *out, const zbz_bytes *argv, const size_t *ends, size_t count, bool *keep,
                                 zbz_err *err) {
	bool open = false, changed = false;
	size_t k, i = 0;
	zbz_status s = ZBZ_OK;
	for (k = 0; s == ZBZ_OK && k < count; k++) {
		s = check_command(argv + i, ends[k] - i, err);
		if (s != ZBZ_OK) break;
		follow(argv[i], &open, &changed);
		s = zbz_resp_begin(out, ends[k] - i, err);
		for (; s == ZBZ_OK && i < ends[k]; i++) s = zbz_resp_word(out, argv[i], err);
	}
	*keep = !open && !changed;
	return s;
}

static zbz_status put_reply(void *out, const zbz_resp_item *item, zbz_err *err) {
	zbz_err meaning;
	if (item->type != ZBZ_RESP_ERROR) return zbz_resp_to_msgpack(out, item, err);
	redis_reply_error(item->bytes, &meaning);
	/* a plain ERR: the words of the command are wrong, as only its author can mend */
	if (meaning.status == ZBZ_E_UNAVAILABLE && zbz_bytes_has_prefix(item->bytes, zbz_bstr("ERR ")))
		meaning.status = ZBZ_E_ARGUMENT;
	return zbz_pack_error(out, meaning.status, meaning.retryable, item->bytes, err);
}

zbz_status redis_command(void *ud, zbz_call *c, const zbz_bytes *argv, const size_t *ends, size_t count, zbz_buf *out) {
	redis_self *self = ud;
	size_t start = out->n;
	redis_attempt a;
	bool keep = true;
	zbz_status s;
	redis_attempt_init(&a, self, c, false);
	do {
		out->n = start;
		s = redis_attempt_begin(&a);
		if (s == ZBZ_OK) s = write_commands(&a.conn->out, argv, ends, count, &keep, &c->err);
		if (s == ZBZ_OK) s = redis_exchange(a.conn, self->opt, a.deadline, count, put_reply, out, &c->err);
		if (a.conn && !keep) a.conn->broken = true;
	} while (redis_attempt_again(&a, s));
	return s;
}
