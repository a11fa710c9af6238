/* Sink `memory`: the last records, bounded by bytes; for tests, and to show what was logged. */
#include "log/sinks.h"

#include <pthread.h>

typedef struct memory_options {
	int64_t size;
} memory_options;

static const zbz_option memory_option_list[] = { { "size", "max_size", ZBZ_OPT_SIZE, offsetof(memory_options, size),
	                                               "1MB", NULL, 1024, 1 << 30,
	                                               "Bytes of text that are kept; the oldest records go first" },
	                                             { NULL, NULL, ZBZ_OPT_TEXT, 0, NULL, NULL, 0, 0, NULL } };

typedef struct memory {
	pthread_mutex_t lock;
	size_t size, from; /* text before `from` is forgotten and not yet moved away */
	zbz_buf text;
} memory;

static zbz_status memory_open(void **self, const void *options, const zbz_clock *clock, zbz_err *err) {
	const memory_options *o = options;
	memory *m = zbz_calloc(1, sizeof *m);
	(void)clock;
	if (m == NULL) return zbz_fail_nomem(err);
	pthread_mutex_init(&m->lock, NULL);
	m->size = (size_t)o->size;
	*self = m;
	return ZBZ_OK;
}

static void memory_close(void *self) {
	memory *m = self;
	pthread_mutex_destroy(&m->lock);
	zbz_buf_clear(&m->text);
	zbz_free(m);
}

/* Whole lines from the front, until `more` bytes fit. */
static void make_room(memory *m, size_t more) {
	while (m->text.n > m->from && m->text.n - m->from + more > m->size) {
		const char *p = m->text.p + m->from, *end = memchr(p, '\n', m->text.n - m->from);
		m->from += end != NULL ? (size_t)(end - p) + 1 : m->text.n - m->from;
	}
	if (m->from < m->text.n / 2 || m->from == 0) return;
	memmove(m->text.p, m->text.p + m->from, m->text.n - m->from);
	m->text.n -= m->from;
	m->from = 0;
}

static zbz_status memory_write(void *self, zbz_call *c, const zbz_record *records, size_t n, size_t *done) {
	memory *m = self;
	zbz_status status = ZBZ_OK;
	pthread_mutex_lock(&m->lock);
	for (*done = 0; *done < n && status == ZBZ_OK; *done += status == ZBZ_OK) {
		zbz_bytes text = records[*done].text;
		if (text.n > m->size) {
			status = zbz_fail(&c->err, ZBZ_E_TOO_LARGE, "a record of %zu bytes, the memory has %zu", text.n, m->size);
			break;
		}
		make_room(m, text.n);
		status = zbz_buf_append(&m->text, text.p, text.n, &c->err);
		c->err.retryable = true; /* out of memory */
	}
	pthread_mutex_unlock(&m->lock);
	return status;
}

static zbz_status memory_read(void *self, zbz_call *c, bool clear, zbz_buf *out) {
	memory *m = self;
	zbz_status status;
	pthread_mutex_lock(&m->lock);
	status = zbz_buf_append(out, m->text.p != NULL ? m->text.p + m->from : NULL, m->text.n - m->from, &c->err);
	if (status == ZBZ_OK && clear) {
		zbz_buf_reset(&m->text);
		m->from = 0;
	}
	pthread_mutex_unlock(&m->lock);
	return status;
}

const zbz_sink_ops zbz_sink_memory = {
	.abi = ZBZ_ABI,
	.name = "memory",
	.summary = "the last records in this process's memory, bounded by bytes",
	.terminal = true,
	.options_size = sizeof(memory_options),
	.options = memory_option_list,
	.open = memory_open,
	.close = memory_close,
	.write = memory_write,
	.read = memory_read,
};
