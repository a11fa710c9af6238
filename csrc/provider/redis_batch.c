/* Batches: pipelines cut into rounds of about a megabyte, so that neither a million keys nor large values need their sum in
 * memory. Answers come in order, so after a broken connection the work goes on at the first key without one. */
#include "provider/redis_impl.h"

#define ROUND_BYTES ((size_t)1 << 20)
#define CHUNK_KEYS  1024 /* of one MGET: a longer one would hold up the server's other clients */

typedef struct batch {
	redis_self *self;
	zbz_call *c;
	const zbz_bytes *keys;   /* get, del */
	const zbz_write *writes; /* set */
	size_t n, done, good;    /* keys; keys answered; of these not with an error */
	zbz_buf *out;
	zbz_found *found;   /* get */
	zbz_status *status; /* set, del */
	size_t left;        /* values still to come of the MGET reply under way */
	size_t timed;       /* of the chunk under way: keys whose PTTL has been answered */
	zbz_status failed;  /* the latest error */
	bool doubtful;
} batch;

static void note(batch *b, zbz_status s) {
	if (b->found)
		b->found[b->done].status = s;
	else
		b->status[b->done] = s;
	b->done++;
	if (s >= 0)
		b->good++;
	else
		b->failed = s;
}

/* ---- replies -------------------------------------------------------------------------------------------------------- */

static size_t chunk_length(const batch *b, size_t from) {
	size_t i, bytes = 0;
	for (i = from; i < b->n && i - from < CHUNK_KEYS && bytes < ROUND_BYTES; i++) bytes += b->keys[i].n;
	return i - from;
}

static zbz_status refuse(zbz_err *err) {
	return zbz_fail(err, ZBZ_E_UNAVAILABLE, "the server's reply does not fit the command");
}

static zbz_status head_item(batch *b, const zbz_resp_item *item, zbz_err *err) {
	size_t n = chunk_length(b, b->done);
	if (b->c->want_expiry && b->timed < n) {
		if (item->type != ZBZ_RESP_INTEGER && item->type != ZBZ_RESP_ERROR) return refuse(err);
		b->found[b->done + b->timed++].expire_at =
		    item->type == ZBZ_RESP_INTEGER ? redis_expiry_from(b->c, item->integer) : -1;
		return ZBZ_OK;
	}
	b->timed = 0;
	if (item->type == ZBZ_RESP_ERROR) {
		zbz_status s = redis_reply_error(item->bytes, err);
		while (n--) note(b, s);
		return ZBZ_OK;
	}
	if (item->type != ZBZ_RESP_ARRAY || (uint64_t)item->integer != n) return refuse(err);
	b->left = n;
	return ZBZ_OK;
}

static zbz_status value_item(void *ud, const zbz_resp_item *item, zbz_err *err) {
	batch *b = ud;
	if (item->depth == 0) return head_item(b, item, err);
	if (b->left == 0 || item->depth > 1 || (item->type != ZBZ_RESP_BULK && item->type != ZBZ_RESP_NIL))
		return refuse(err);
	b->left--;
	if (item->type == ZBZ_RESP_BULK) {
		zbz_found *f = &b->found[b->done];
		zbz_status s = zbz_buf_append(b->out, item->bytes.p, item->bytes.n, err);
		if (s != ZBZ_OK) return s;
		f->off = b->out->n - item->bytes.n;
		f->n = item->bytes.n;
	}
	note(b, item->type == ZBZ_RESP_BULK ? ZBZ_OK : ZBZ_MISS);
	return ZBZ_OK;
}

static zbz_status status_item(void *ud, const zbz_resp_item *item, zbz_err *err) {
	batch *b = ud;
	if (item->depth || b->done == b->n) return refuse(err);
	switch (item->type) {
	case ZBZ_RESP_ERROR: note(b, redis_reply_error(item->bytes, err)); return ZBZ_OK;
	case ZBZ_RESP_STATUS: note(b, ZBZ_OK); return ZBZ_OK;
	case ZBZ_RESP_INTEGER: note(b, item->integer || b->doubtful ? ZBZ_OK : ZBZ_MISS); return ZBZ_OK;
	default: return refuse(err);
	}
}

/* ---- commands ------------------------------------------------------------------------------------------------------- */

/* Asked before the values: of what is written between the two, whoever keeps values is told after it began to read. */
static zbz_status write_pttls(const batch *b, size_t from, size_t n, zbz_buf *out) {
	zbz_status s = ZBZ_OK;
	size_t i;
	for (i = 0; s == ZBZ_OK && i < n; i++) s = zbz_resp_command(out, &b->c->err, "PTTL %b", b->keys[from + i]);
	return s;
}

static zbz_status write_mget(const batch *b, size_t from, size_t n, zbz_buf *out) {
	zbz_err *err = &b->c->err;
	zbz_status s = zbz_resp_begin(out, n + 1, err);
	size_t i;
	if (s == ZBZ_OK) s = zbz_resp_word(out, zbz_bstr("MGET"), err);
	for (i = 0; s == ZBZ_OK && i < n; i++) s = zbz_resp_word(out, b->keys[from + i], err);
	return s;
}

/* Writes one round; *replies is how many are due. */
static zbz_status write_round(const batch *b, zbz_buf *out, size_t *replies) {
	size_t i = b->done;
	zbz_status s = ZBZ_OK;
	*replies = 0;
	while (s == ZBZ_OK && i < b->n && out->n < ROUND_BYTES) {
		size_t n = b->found ? chunk_length(b, i) : 1;
		if (b->found && b->c->want_expiry) {
			s = write_pttls(b, i, n, out);
			*replies += n;
		}
		if (s != ZBZ_OK) break;
		if (b->found)
			s = write_mget(b, i, n, out);
		else if (b->writes)
			s = redis_write_set(out, b->c, &b->writes[i], &b->c->err);
		else
			s = zbz_resp_command(out, &b->c->err, "UNLINK %b", b->keys[i]);
		i += n;
		++*replies;
	}
	return s;
}

static zbz_status run_rounds(batch *b, redis_attempt *a) {
	zbz_status s = ZBZ_OK;
	while (s == ZBZ_OK && b->done < b->n) {
		size_t replies;
		s = write_round(b, &a->conn->out, &replies);
		if (s == ZBZ_OK)
			s = redis_exchange(a->conn, b->self->opt, a->deadline, replies, b->found ? value_item : status_item, b,
			                   &b->c->err);
	}
	return s == ZBZ_OK && b->good == 0 ? b->failed : s;
}

static zbz_status run(batch *b) {
	redis_attempt a;
	zbz_status s;
	size_t start = b->out ? b->out->n : 0;
	redis_attempt_init(&a, b->self, b->c, true);
	do {
		s = redis_attempt_begin(&a);
		if (b->good == 0) {
			b->done = 0;
			if (b->out) b->out->n = start;
		}
		b->left = b->timed = 0;
		b->doubtful = a.doubtful;
		if (s == ZBZ_OK) s = run_rounds(b, &a);
	} while (redis_attempt_again(&a, s));
	while (b->done < b->n) note(b, s);
	return b->good ? ZBZ_OK : s;
}

/* ---- key by key, when pipelining is off ------------------------------------------------------------------------------ */

static zbz_status run_singly(batch *b) {
	size_t n = b->n;
	for (b->n = 1; b->done < n; b->n++) {
		size_t good = b->good;
		redis_attempt a;
		zbz_status s;
		redis_attempt_init(&a, b->self, b->c, true);
		do {
			s = redis_attempt_begin(&a);
			if (b->done == b->n) b->done--; /* the error reply noted before does not count */
			b->left = b->timed = 0;
			b->doubtful = a.doubtful;
			if (s == ZBZ_OK) s = run_rounds(b, &a);
			if (s == ZBZ_OK && b->good == good) s = b->failed;
		} while (redis_attempt_again(&a, s));
		if (b->done < b->n) note(b, s);
	}
	return b->good ? ZBZ_OK : b->failed;
}

static zbz_status run_batch(batch *b) { return b->self->opt->enable_pipelining ? run(b) : run_singly(b); }

zbz_status redis_get_many(void *ud, zbz_call *c, const zbz_bytes *keys, size_t n, zbz_buf *out, zbz_found *found) {
	batch b = { .self = ud, .c = c, .keys = keys, .n = n, .out = out, .found = found };
	return run_batch(&b);
}

zbz_status redis_set_many(void *ud, zbz_call *c, const zbz_write *writes, size_t n, zbz_status *status) {
	batch b = { .self = ud, .c = c, .writes = writes, .n = n, .status = status };
	return run_batch(&b);
}

zbz_status redis_del_many(void *ud, zbz_call *c, const zbz_bytes *keys, size_t n, zbz_status *status) {
	batch b = { .self = ud, .c = c, .keys = keys, .n = n, .status = status };
	return run_batch(&b);
}
