/* A provider for the tests of the binding: holds nothing, answers commands with canned replies, and sends `count`
 * messages to a subscriber from a thread of its own, the second one a gap. */
#ifndef SPEC_MAILER_H
#define SPEC_MAILER_H

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include <zbz/zbz.h>

typedef struct mailer_options {
	int64_t count;
} mailer_options;

static const zbz_option mailer_option_table[] = {
	{ "count", NULL, ZBZ_OPT_INT, offsetof(mailer_options, count), "3", NULL, 0, 0, "messages" },
	{ 0 },
};

typedef struct mailer_subscription {
	pthread_t thread;
	int64_t count;
	char channel[32];
	void (*on_message)(void *ud, zbz_bytes channel, zbz_bytes payload);
	void *ud;
} mailer_subscription;

static zbz_status mailer_open(void **self, const void *options, const zbz_clock *clock, zbz_err *err) {
	(void)clock;
	(void)err;
	*self = (void *)(uintptr_t)options;
	return ZBZ_OK;
}
static void mailer_close(void *self) { (void)self; }
static void mailer_caps(void *self, zbz_caps *out) {
	(void)self;
	memset(out, 0, sizeof(*out));
	out->can = ZBZ_CAN_NATIVE;
}
static zbz_status mailer_get(void *self, zbz_call *c, zbz_bytes key, zbz_buf *out, zbz_meta *meta) {
	(void)self, (void)c, (void)key, (void)out, (void)meta;
	return ZBZ_MISS;
}
static zbz_status mailer_set(void *self, zbz_call *c, const zbz_write *w, zbz_version *version_out) {
	(void)self, (void)c, (void)w, (void)version_out;
	return ZBZ_OK;
}
static zbz_status mailer_del(void *self, zbz_call *c, zbz_bytes key) {
	(void)self, (void)c, (void)key;
	return ZBZ_OK;
}

/* nil, an error, a list, or the words by which the command was called. */
static zbz_status reply(const zbz_bytes *argv, size_t n, zbz_buf *out, zbz_err *err) {
	char head = (char)(0x90 | n);
	size_t i;
	if (zbz_bytes_eq(argv[0], zbz_bstr("NIL"))) return zbz_buf_append(out, "\xc0", 1, err);
	if (zbz_bytes_eq(argv[0], zbz_bstr("ERR")))
		return zbz_buf_append(out,
		                      "\xc7\x05\x01\x0a\x00"
		                      "bad",
		                      8, err);
	if (zbz_bytes_eq(argv[0], zbz_bstr("BROKEN"))) return zbz_buf_append(out, "\x92\x01", 2, err);
	if (zbz_buf_append(out, &head, 1, err) < 0) return err->status;
	for (i = 0; i < n; i++) {
		char word[2] = { (char)0xc4, (char)argv[i].n };
		if (zbz_buf_append(out, word, 2, err) < 0) return err->status;
		if (zbz_buf_append(out, argv[i].p, argv[i].n, err) < 0) return err->status;
	}
	return ZBZ_OK;
}

static zbz_status mailer_command(void *self, zbz_call *c, const zbz_bytes *argv, const size_t *ends, size_t count,
                                 zbz_buf *out) {
	size_t i, at = 0;
	(void)self;
	for (i = 0; i < count; i++) {
		if (reply(argv + at, ends[i] - at, out, &c->err) < 0) return c->err.status;
		at = ends[i];
	}
	return ZBZ_OK;
}

static void *mailer_run(void *ud) {
	mailer_subscription *s = ud;
	int64_t i;
	for (i = 1; i <= s->count; i++) {
		char text[32];
		snprintf(text, sizeof(text), "message %d", (int)i);
		s->on_message(s->ud, zbz_bstr(s->channel), i == 2 ? zbz_b(NULL, 0) : zbz_bstr(text));
	}
	return NULL;
}

static zbz_status mailer_subscribe(void *self, zbz_call *c, const zbz_bytes *channels, size_t n, bool pattern,
                                   void (*on_message)(void *ud, zbz_bytes channel, zbz_bytes payload), void *ud,
                                   void **subscription) {
	const mailer_options *o = self;
	mailer_subscription *s;
	(void)pattern;
	if (zbz_bytes_eq(channels[0], zbz_bstr("refused"))) return zbz_fail(&c->err, ZBZ_E_DENIED, "not this one");
	s = zbz_calloc(1, sizeof(*s));
	if (s == NULL) return zbz_fail_nomem(&c->err);
	s->count = o->count;
	snprintf(s->channel, sizeof(s->channel), "%.*s", (int)channels[n - 1].n, channels[n - 1].p);
	s->on_message = on_message;
	s->ud = ud;
	if (pthread_create(&s->thread, NULL, mailer_run, s) != 0) {
		zbz_free(s);
		return zbz_fail(&c->err, ZBZ_E_INTERNAL, "no thread");
	}
	*subscription = s;
	return ZBZ_OK;
}

static void mailer_unsubscribe(void *self, void *subscription) {
	mailer_subscription *s = subscription;
	(void)self;
	pthread_join(s->thread, NULL);
	zbz_free(s);
}

static const zbz_cache_ops mailer = {
	.abi = ZBZ_ABI,
	.name = "mailer",
	.summary = "for tests",
	.options_size = sizeof(mailer_options),
	.options = mailer_option_table,
	.open = mailer_open,
	.close = mailer_close,
	.caps = mailer_caps,
	.get = mailer_get,
	.set = mailer_set,
	.del = mailer_del,
	.command = mailer_command,
	.subscribe = mailer_subscribe,
	.unsubscribe = mailer_unsubscribe,
};

#endif
