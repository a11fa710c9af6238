/* Publish and subscribe. A lost connection is told once; after the way back, each channel that something may have been missed. */
#include "provider/redis_listen.h"

typedef enum push { PUSH_OTHER, PUSH_MESSAGE, PUSH_PMESSAGE, PUSH_CONFIRM } push;

typedef struct subscription {
	redis_listener listener;
	bool pattern;
	size_t n;
	zbz_bytes *channels;
	void (*on_message)(void *ud, zbz_bytes channel, zbz_bytes payload);
	void *ud;
	push kind; /* of what is being read */
	size_t confirmed;
	zbz_buf channel; /* of the message under way */
} subscription;

/* ---- what the server pushes ------------------------------------------------------------------------------------------- */

static push kind_of(zbz_bytes word) {
	if (zbz_bytes_eq(word, zbz_bstr("message"))) return PUSH_MESSAGE;
	if (zbz_bytes_eq(word, zbz_bstr("pmessage"))) return PUSH_PMESSAGE;
	if (zbz_bytes_eq(word, zbz_bstr("subscribe")) || zbz_bytes_eq(word, zbz_bstr("psubscribe"))) return PUSH_CONFIRM;
	return PUSH_OTHER;
}

static void deliver(subscription *sub, zbz_bytes payload) {
	if (payload.n == 0) payload.p = "";
	sub->on_message(sub->ud, zbz_buf_bytes(&sub->channel), payload);
}

static zbz_status push_item(void *ud, const zbz_resp_item *item, zbz_err *err) {
	subscription *sub = ud;
	size_t channel_at, last;
	if (item->depth == 0) {
		sub->kind = PUSH_OTHER;
		return item->type == ZBZ_RESP_ERROR ? redis_reply_error(item->bytes, err) : ZBZ_OK;
	}
	if (item->depth > 1) return ZBZ_OK;
	if (item->index == 0) {
		sub->kind = item->type == ZBZ_RESP_BULK ? kind_of(item->bytes) : PUSH_OTHER;
		if (sub->kind == PUSH_CONFIRM) sub->confirmed++;
		return ZBZ_OK;
	}
	if (sub->kind != PUSH_MESSAGE && sub->kind != PUSH_PMESSAGE) return ZBZ_OK;
	channel_at = sub->kind == PUSH_MESSAGE ? 1 : 2;
	last = channel_at + 1;
	if (item->index == channel_at) {
		zbz_buf_reset(&sub->channel);
		return zbz_buf_append(&sub->channel, item->bytes.p, item->bytes.n, err);
	}
	if (item->index == last && item->type == ZBZ_RESP_BULK) deliver(sub, item->bytes);
	return ZBZ_OK;
}

static zbz_status ask(redis_listener *l, int64_t deadline, zbz_err *err) {
	subscription *sub = (subscription *)l;
	zbz_buf *out = &l->conn->out;
	zbz_status s = zbz_resp_begin(out, sub->n + 1, err);
	size_t i;
	sub->confirmed = 0;
	if (s == ZBZ_OK) s = zbz_resp_word(out, zbz_bstr(sub->pattern ? "PSUBSCRIBE" : "SUBSCRIBE"), err);
	for (i = 0; s == ZBZ_OK && i < sub->n; i++) s = zbz_resp_word(out, sub->channels[i], err);
	if (s == ZBZ_OK) s = zbz_net_write(l->conn->net, out->p, out->n, deadline, err);
	zbz_buf_reset(out);
	while (s == ZBZ_OK && sub->confirmed < sub->n) s = redis_listener_read(l, deadline, err);
	return s;
}

static void tell_loss(redis_listener *l) {
	subscription *sub = (subscription *)l;
	sub->on_message(sub->ud, zbz_b(NULL, 0), zbz_b(NULL, 0));
}

static void tell_gap(redis_listener *l) {
	subscription *sub = (subscription *)l;
	size_t i;
	for (i = 0; i < sub->n; i++) sub->on_message(sub->ud, sub->channels[i], zbz_b(NULL, 0));
}

/* ---- public --------------------------------------------------------------------------------------------------------- */

static void sub_free(redis_listener *l) {
	subscription *sub = (subscription *)l;
	zbz_buf_clear(&sub->channel);
	zbz_free(sub->channels);
	zbz_free(sub);
}

/* One block: the array, then the bytes it points to. */
static zbz_bytes *copy_channels(const zbz_bytes *channels, size_t n) {
	size_t i, total = n * sizeof *channels;
	zbz_bytes *copy;
	char *p;
	for (i = 0; i < n; i++) total += channels[i].n;
	copy = zbz_malloc(total);
	if (!copy) return NULL;
	p = (char *)(copy + n);
	for (i = 0; i < n; i++) {
		if (channels[i].n) memcpy(p, channels[i].p, channels[i].n);
		copy[i] = zbz_b(p, channels[i].n);
		p += channels[i].n;
	}
	return copy;
}

zbz_status redis_subscribe(void *ud, zbz_call *c, const zbz_bytes *channels, size_t n, bool pattern,
                           void (*on_message)(void *ud, zbz_bytes channel, zbz_bytes payload), void *message_ud,
                           void **out) {
	static const redis_listening how = {
		.ask = ask, .item = push_item, .lost = tell_loss, .back = tell_gap, .free = sub_free
	};
	subscription *sub;
	zbz_status s;
	if (n == 0) return zbz_fail(&c->err, ZBZ_E_ARGUMENT, "no channel to subscribe to");
	sub = zbz_calloc(1, sizeof *sub);
	if (!sub) return zbz_fail_nomem(&c->err);
	sub->pattern = pattern;
	sub->n = n;
	sub->on_message = on_message;
	sub->ud = message_ud;
	sub->channels = copy_channels(channels, n);
	if (!sub->channels) {
		sub_free(&sub->listener);
		return zbz_fail_nomem(&c->err);
	}
	s = redis_listener_start(&sub->listener, ud, &how, c);
	if (s == ZBZ_OK) *out = sub;
	return s;
}

void redis_unsubscribe(void *ud, void *subscription_) {
	(void)ud;
	if (subscription_) redis_listener_stop(subscription_);
}
