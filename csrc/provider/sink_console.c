/* Sink `console`: this process's standard output or standard error. */
#include "log/sinks.h"

#include <errno.h>
#include <poll.h>
#include <sys/uio.h>
#include <unistd.h>

enum { RUN = 64 };

typedef struct console_options {
	int stream;
} console_options;

static const zbz_option console_option_list[] = { { "stream", NULL, ZBZ_OPT_ENUM, offsetof(console_options, stream),
	                                                "stdout", "stdout|stderr", 0, 0, "Which of the two" },
	                                              { NULL, NULL, ZBZ_OPT_TEXT, 0, NULL, NULL, 0, 0, NULL } };

typedef struct console {
	int fd;
	size_t begun; /* bytes of the first record that are out already, when a write ended in its middle */
} console;

static zbz_status console_open(void **self, const void *options, const zbz_clock *clock, zbz_err *err) {
	console *t = zbz_calloc(1, sizeof *t);
	(void)clock;
	if (t == NULL) return zbz_fail_nomem(err);
	t->fd = ((const console_options *)options)->stream == 0 ? STDOUT_FILENO : STDERR_FILENO;
	*self = t;
	return ZBZ_OK;
}

static zbz_status console_identity(void *self, zbz_buf *out, zbz_err *err) {
	return zbz_buf_append(out, ((console *)self)->fd == STDOUT_FILENO ? "1" : "2", 1, err);
}

static zbz_status wait_for_it(console *t, zbz_call *c) {
	struct pollfd p = { .fd = t->fd, .events = POLLOUT };
	int64_t left = zbz_call_left(c);
	if (left > 0 && poll(&p, 1, left > 1000 ? 1000 : (int)left) > 0) return ZBZ_OK;
	return zbz_fail(&c->err, ZBZ_E_TIMEOUT, "the console does not take any more");
}

/* One gathering write; *sent bytes went out. */
static zbz_status send_run(console *t, zbz_call *c, const zbz_record *records, size_t n, size_t *sent) {
	struct iovec v[RUN];
	ssize_t put;
	for (size_t i = 0; i < n; i++) {
		size_t skip = i == 0 ? t->begun : 0;
		v[i] = (struct iovec){ (char *)(uintptr_t)records[i].text.p + skip, records[i].text.n - skip };
	}
	*sent = 0;
	while ((put = writev(t->fd, v, (int)n)) < 0) {
		if (errno == EINTR) continue;
		if (errno != EAGAIN) { /* closed for good: nothing will ever be taken */
			t->begun = 0;
			zbz_fail_errno(&c->err, ZBZ_E_CLOSED, errno, "the console is closed");
			return ZBZ_E_CLOSED;
		}
		if (wait_for_it(t, c) != ZBZ_OK) return ZBZ_E_TIMEOUT;
	}
	*sent = (size_t)put;
	return ZBZ_OK;
}

static zbz_status console_write(void *self, zbz_call *c, const zbz_record *records, size_t n, size_t *done) {
	console *t = self;
	for (*done = 0; *done < n;) {
		size_t run = n - *done < RUN ? n - *done : RUN, sent;
		zbz_status status = send_run(t, c, records + *done, run, &sent);
		if (status != ZBZ_OK) return status;
		for (sent += t->begun, t->begun = 0; *done < n && sent >= records[*done].text.n; ++*done)
			sent -= records[*done].text.n;
		t->begun = sent;
	}
	return ZBZ_OK;
}

const zbz_sink_ops zbz_sink_console = {
	.abi = ZBZ_ABI,
	.name = "console",
	.summary = "this process's standard output or standard error",
	.terminal = true,
	.options_size = sizeof(console_options),
	.options = console_option_list,
	.open = console_open,
	.close = zbz_free,
	.write = console_write,
	.identity = console_identity,
};
