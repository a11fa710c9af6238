/* Sink `console`: this process's standard output or standard error. */
#include "log/sinks.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

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

/* One write; closed for good: nothing will ever be taken. */
static zbz_status send_some(console *t, zbz_call *c, zbz_bytes run, size_t *sent) {
	ssize_t put;
	while ((put = write(t->fd, run.p, run.n)) < 0) {
		if (errno != EAGAIN && errno != EINTR)
			return zbz_fail_errno(&c->err, ZBZ_E_CLOSED, errno, "the console is closed");
		if (errno == EAGAIN && wait_for_it(t, c) != ZBZ_OK) return ZBZ_E_TIMEOUT;
	}
	*sent += (size_t)put;
	return ZBZ_OK;
}

static zbz_status console_write(void *self, zbz_call *c, const zbz_record *records, size_t n, size_t *done) {
	console *t = self;
	zbz_bytes run = zbz_record_run(records, n);
	size_t sent = t->begun;
	zbz_status status = ZBZ_OK;
	while (status == ZBZ_OK && sent < run.n) status = send_some(t, c, zbz_b(run.p + sent, run.n - sent), &sent);
	*done = zbz_record_whole(records, n, &sent);
	t->begun = status == ZBZ_E_CLOSED ? 0 : sent;
	return status;
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
