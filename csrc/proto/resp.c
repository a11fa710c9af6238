/* See resp.h. Protocol: RESP2 as documented by the Redis project. Parser: hiredis 0.14 or later, through its redisReader. */
#include "proto/resp.h"

#include <hiredis/hiredis.h>
#include <stdarg.h>

#define KEEP_BYTES ((size_t)128 << 10) /* of the reader's memory, between replies */

/* ---- commands ------------------------------------------------------------------------------------------------------- */

static size_t decimal(char *end, uint64_t v) {
	char *p = end;
	do *--p = (char)('0' + v % 10);
	while ((v /= 10) != 0);
	return (size_t)(end - p);
}

static zbz_status put_head(zbz_buf *out, char sign, size_t v, size_t more, zbz_err *err) {
	char text[24];
	size_t n = decimal(text + sizeof text, v);
	zbz_status s = zbz_buf_reserve(out, n + 3 + more, err);
	if (s != ZBZ_OK) return s;
	out->p[out->n++] = sign;
	memcpy(out->p + out->n, text + sizeof text - n, n);
	out->n += n;
	out->p[out->n++] = '\r';
	out->p[out->n++] = '\n';
	return ZBZ_OK;
}

zbz_status zbz_resp_begin(zbz_buf *out, size_t words, zbz_err *err) { return put_head(out, '*', words, 0, err); }

zbz_status zbz_resp_word(zbz_buf *out, zbz_bytes word, zbz_err *err) {
	zbz_status s = put_head(out, '$', word.n, word.n + 2, err);
	if (s != ZBZ_OK) return s;
	if (word.n) memcpy(out->p + out->n, word.p, word.n);
	out->n += word.n;
	out->p[out->n++] = '\r';
	out->p[out->n++] = '\n';
	return ZBZ_OK;
}

static zbz_status put_integer(zbz_buf *out, int64_t v, zbz_err *err) {
	char text[24];
	size_t n = decimal(text + sizeof text, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
	if (v < 0) text[sizeof text - ++n] = '-';
	return zbz_resp_word(out, zbz_b(text + sizeof text - n, n), err);
}

static size_t count_words(const char *spec) {
	size_t n = 1;
	for (; *spec; spec++) n += *spec == ' ';
	return n;
}

zbz_status zbz_resp_command(zbz_buf *out, zbz_err *err, const char *spec, ...) {
	zbz_status s = zbz_resp_begin(out, count_words(spec), err);
	va_list args;
	va_start(args, spec);
	while (s == ZBZ_OK && *spec) {
		size_t n = strcspn(spec, " ");
		if (n == 2 && memcmp(spec, "%b", 2) == 0)
			s = zbz_resp_word(out, va_arg(args, zbz_bytes), err);
		else if (n == 2 && memcmp(spec, "%l", 2) == 0)
			s = put_integer(out, va_arg(args, int64_t), err);
		else
			s = zbz_resp_word(out, zbz_b(spec, n), err);
		spec += n + (spec[n] == ' ');
	}
	va_end(args);
	return s;
}

/* ---- replies -------------------------------------------------------------------------------------------------------- */

struct zbz_resp {
	redisReader *reader;
	size_t max_reply;
	zbz_resp_fn fn;
	void *ud;
	zbz_err *err;
	zbz_status status; /* what fn refused with */
};

static unsigned depth_of(const redisReadTask *task) {
	unsigned depth = 0;
	while ((task = task->parent) != NULL) depth++;
	return depth;
}

/* The reader wants a non-NULL object for what was accepted; it never looks into it. */
static void *hand_on(const redisReadTask *task, zbz_resp_item *item) {
	zbz_resp *resp = task->privdata;
	item->depth = depth_of(task);
	item->index = item->depth ? (size_t)task->idx : 0;
	resp->status = resp->fn(resp->ud, item, resp->err);
	return resp->status == ZBZ_OK ? resp : NULL;
}

static void *on_string(const redisReadTask *task, char *p, size_t n) {
	zbz_resp_item item = { .bytes = zbz_b(p, n) };
	item.type = task->type == REDIS_REPLY_ERROR    ? ZBZ_RESP_ERROR
	            : task->type == REDIS_REPLY_STATUS ? ZBZ_RESP_STATUS
	                                               : ZBZ_RESP_BULK;
	return hand_on(task, &item);
}

/* hiredis 0.14 counts parts as int, later ones as size_t. */
#if HIREDIS_MAJOR >= 1
typedef size_t part_count;
#else
typedef int part_count;
#endif

static void *on_array(const redisReadTask *task, part_count n) {
	zbz_resp_item item = { .type = ZBZ_RESP_ARRAY, .integer = (int64_t)n };
	return hand_on(task, &item);
}

static void *on_integer(const redisReadTask *task, long long v) {
	zbz_resp_item item = { .type = ZBZ_RESP_INTEGER, .integer = v };
	return hand_on(task, &item);
}

static void *on_nil(const redisReadTask *task) {
	zbz_resp_item item = { .type = ZBZ_RESP_NIL };
	return hand_on(task, &item);
}

static void on_free(void *object) { (void)object; }

static redisReplyObjectFunctions hooks = { .createString = on_string,
	                                       .createArray = on_array,
	                                       .createInteger = on_integer,
	                                       .createNil = on_nil,
	                                       .freeObject = on_free };

zbz_resp *zbz_resp_new(size_t max_reply) {
	zbz_resp *resp = zbz_calloc(1, sizeof *resp);
	if (!resp) return NULL;
	resp->max_reply = max_reply;
	resp->reader = redisReaderCreateWithFunctions(&hooks);
	if (!resp->reader) {
		zbz_free(resp);
		return NULL;
	}
	resp->reader->privdata = resp;
	resp->reader->maxbuf = KEEP_BYTES;
	return resp;
}

void zbz_resp_free(zbz_resp *resp) {
	if (!resp) return;
	redisReaderFree(resp->reader);
	zbz_free(resp);
}

size_t zbz_resp_held(const zbz_resp *resp) { return resp->reader->len - resp->reader->pos; }

zbz_status zbz_resp_feed(zbz_resp *resp, const void *p, size_t n, zbz_err *err) {
	if (zbz_resp_held(resp) + n > resp->max_reply)
		return zbz_fail(err, ZBZ_E_TOO_LARGE, "a reply of the server is larger than %zu bytes", resp->max_reply);
	return redisReaderFeed(resp->reader, p, n) == REDIS_OK ? ZBZ_OK : zbz_fail_nomem(err);
}

zbz_status zbz_resp_next(zbz_resp *resp, zbz_resp_fn fn, void *ud, zbz_err *err) {
	void *reply = NULL;
	resp->fn = fn;
	resp->ud = ud;
	resp->err = err;
	resp->status = ZBZ_OK;
	if (redisReaderGetReply(resp->reader, &reply) == REDIS_OK) return reply ? ZBZ_OK : ZBZ_AGAIN;
	if (resp->status != ZBZ_OK) return resp->status;
	return zbz_fail(err, ZBZ_E_UNAVAILABLE, "the server's reply is not understood: %s", resp->reader->errstr);
}
