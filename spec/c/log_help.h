/* Shared by the tests of outputs: opening one from "a=b c=d", lines, deadlines, and a sink that does as it is told. */
#ifndef SPEC_LOG_HELP_H
#define SPEC_LOG_HELP_H

#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <zbz/sink.h>

#include "check.h"
#include "child.h"

static char rings[64] = "/dev/shm/zbz-test-XXXXXX", work[64] = "/tmp/zbz-test-XXXXXX";

static inline bool dirs_make(void) { return mkdtemp(rings) != NULL && mkdtemp(work) != NULL; }
static inline void dirs_remove(void) {
	char cmd[300];
	snprintf(cmd, sizeof cmd, "rm -rf '%s' '%s'", rings, work);
	if (system(cmd) != 0) fprintf(stderr, "%s failed\n", cmd);
}

/* "a=b c=d" */
static inline zbz_config *config_of(const char *words) {
	char text[800], *word, *rest = text;
	zbz_config *cfg = zbz_config_new();
	snprintf(text, sizeof text, "%s", words);
	while (cfg != NULL && (word = strtok_r(rest, " ", &rest)) != NULL) {
		char *value = strchr(word, '=');
		*value++ = '\0';
		if (zbz_config_set_text(cfg, word, zbz_bstr(value), NULL) != ZBZ_OK) {
			zbz_config_free(cfg);
			return NULL;
		}
	}
	return cfg;
}

static inline zbz_config *log_config_in(const char *ring, const char *options) {
	char text[800];
	snprintf(text, sizeof text, "%s ring=%s", options, ring);
	return config_of(text);
}
static inline zbz_config *log_config(const char *options) { return log_config_in(rings, options); }

static inline zbz_status log_open(const char *options, zbz_output **o, zbz_err *err) {
	zbz_config *cfg = log_config(options);
	zbz_status status = cfg != NULL ? zbz_output_open(cfg, zbz_clock_system(), o, err) : zbz_fail_nomem(err);
	zbz_config_free(cfg);
	return status;
}

/* It must open: a test without its output is over. */
static inline zbz_output *opened(const char *options) {
	zbz_output *o = NULL;
	zbz_err err = { .text = "" };
	CHECK(log_open(options, &o, &err) == ZBZ_OK);
	if (o == NULL) {
		fprintf(stderr, "%s: %s: %s\n", check_name, err.option, err.text);
		exit(1);
	}
	return o;
}

static inline zbz_err refused(const char *options) {
	zbz_output *o = NULL;
	zbz_err err = { .text = "" };
	CHECK(log_open(options, &o, &err) < 0);
	return err;
}

static inline int64_t ms_now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static inline zbz_call log_call(int64_t ms) {
	zbz_call c = { .clock = zbz_clock_system() };
	c.now = zbz_wall(c.clock);
	c.deadline = zbz_mono(c.clock) + ms;
	return c;
}

/* The directory of the only output below this one, of rings or a spool; "" when there is none. */
static inline const char *output_dir(const char *base) {
	static char path[600];
	char dir[200];
	DIR *d;
	const struct dirent *e;
	path[0] = '\0';
	snprintf(dir, sizeof dir, "%s/zbz-log-%lu", base, (unsigned long)geteuid());
	d = opendir(dir);
	while (d != NULL && (e = readdir(d)) != NULL)
		if (e->d_name[0] != '.') snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
	if (d != NULL) closedir(d);
	return path;
}
static inline bool no_rings(void) { return output_dir(rings)[0] == '\0'; }

/* A file's text; "" when there is none. */
static inline const char *slurp(const char *path) {
	static char text[1 << 18];
	FILE *f = fopen(path, "r");
	size_t n = f != NULL ? fread(text, 1, sizeof text - 1, f) : 0;
	if (f != NULL) fclose(f);
	text[n] = '\0';
	return text;
}

static inline bool say(zbz_output *o, const char *line) {
	zbz_record_head head = { .at = 7, .level = ZBZ_LEVEL_INFO, .logger = zbz_bstr("app") };
	return zbz_output_append(o, &head, zbz_bstr(line));
}
static inline zbz_status flush(zbz_output *o, int64_t ms) {
	zbz_call c = log_call(ms);
	return zbz_output_flush(o, &c);
}
static inline zbz_output_stats numbers(zbz_output *o) {
	zbz_output_stats s;
	zbz_output_stats_read(o, &s);
	return s;
}

/* ---- a sink that keeps what it takes, and fails, hangs or dies when told to ---- */

static struct told {
	pthread_mutex_t lock;
	pthread_cond_t moved;
	char text[1 << 22];
	size_t n;
	int fail, refuse; /* writes that fail for a while; records to be refused for good */
	int calls, syncs, opens, closes, reopens;
	size_t most; /* records that one write takes before it fails; 0 all */
	bool hold;   /* writes wait */
	int pass;    /* but for so many of them */
	int held;
	zbz_record last;
	char logger[256], labels[64];
} told = { .lock = PTHREAD_MUTEX_INITIALIZER, .moved = PTHREAD_COND_INITIALIZER };

typedef struct told_options {
	char *name;
} told_options;

static const zbz_option told_option_list[] = { { "name", NULL, ZBZ_OPT_TEXT, offsetof(told_options, name), NULL, NULL,
	                                             0, 0, "Its identity" },
	                                           { NULL, NULL, ZBZ_OPT_TEXT, 0, NULL, NULL, 0, 0, NULL } };

static inline zbz_status told_open(void **self, const void *options, const zbz_clock *clock, zbz_err *err) {
	*self = zbz_strdup(((const told_options *)options)->name != NULL ? ((const told_options *)options)->name : "");
	if (*self == NULL) return zbz_fail_nomem(err);
	pthread_mutex_lock(&told.lock);
	told.opens++;
	pthread_mutex_unlock(&told.lock);
	return ZBZ_OK;
}

static inline void told_close(void *self) {
	pthread_mutex_lock(&told.lock);
	told.closes++;
	pthread_mutex_unlock(&told.lock);
	zbz_free(self);
}

/* Under the lock. */
static inline zbz_status told_take(zbz_call *c, const zbz_record *r) {
	if (told.refuse > 0) {
		told.refuse--;
		return zbz_fail(&c->err, ZBZ_E_TYPE, "never");
	}
	if (told.n + r->text.n > sizeof told.text) told.n = 0;
	memcpy(told.text + told.n, r->text.p, r->text.n);
	told.n += r->text.n;
	told.last = *r;
	snprintf(told.logger, sizeof told.logger, "%.*s", (int)r->head.logger.n, r->head.logger.p);
	snprintf(told.labels, sizeof told.labels, "%.*s", (int)r->head.labels.n, r->head.labels.p);
	return ZBZ_OK;
}

static inline zbz_status told_write(void *self, zbz_call *c, const zbz_record *records, size_t n, size_t *done) {
	zbz_status status = ZBZ_OK;
	pthread_mutex_lock(&told.lock);
	told.calls++;
	told.held++;
	pthread_cond_broadcast(&told.moved);
	while (told.hold && told.pass == 0) pthread_cond_wait(&told.moved, &told.lock);
	if (told.hold) told.pass--;
	told.held--;
	*done = 0;
	if (told.fail > 0) {
		told.fail--;
		n = told.most < n ? told.most : n;
		status = zbz_fail(&c->err, ZBZ_E_UNAVAILABLE, "not now");
	}
	for (; *done < n; ++*done) {
		zbz_status s = told_take(c, &records[*done]);
		if (s != ZBZ_OK) {
			status = s;
			break;
		}
	}
	pthread_cond_broadcast(&told.moved);
	pthread_mutex_unlock(&told.lock);
	return status;
}

static inline zbz_status told_sync(void *self, zbz_call *c) {
	pthread_mutex_lock(&told.lock);
	told.syncs++;
	pthread_mutex_unlock(&told.lock);
	return ZBZ_OK;
}

static inline zbz_status told_reopen(void *self, zbz_call *c) {
	pthread_mutex_lock(&told.lock);
	told.reopens++;
	pthread_mutex_unlock(&told.lock);
	return ZBZ_OK;
}

static inline zbz_status told_identity(void *self, zbz_buf *out, zbz_err *err) {
	return zbz_buf_append(out, self, strlen(self), err);
}

static const zbz_sink_ops told_sink = {
	.abi = ZBZ_ABI,
	.name = "told",
	.options_size = sizeof(told_options),
	.options = told_option_list,
	.open = told_open,
	.close = told_close,
	.write = told_write,
	.sync = told_sync,
	.reopen = told_reopen,
	.identity = told_identity,
};

static inline void told_reset(void) {
	pthread_mutex_lock(&told.lock);
	told.n = told.most = 0;
	told.fail = told.refuse = told.calls = told.syncs = told.opens = told.closes = told.reopens = 0;
	told.hold = false;
	told.pass = 0;
	pthread_cond_broadcast(&told.moved);
	pthread_mutex_unlock(&told.lock);
}
static inline void told_set(int *what, int n) {
	pthread_mutex_lock(&told.lock);
	*what = n;
	pthread_mutex_unlock(&told.lock);
}
static inline void told_hold(bool on) {
	pthread_mutex_lock(&told.lock);
	told.hold = on;
	pthread_cond_broadcast(&told.moved);
	pthread_mutex_unlock(&told.lock);
}
/* Under the lock. A minute is longer than anything takes that works. */
static inline void told_await_change(void) {
	struct timespec until;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 60;
	if (pthread_cond_timedwait(&told.moved, &told.lock, &until) == 0) return;
	fprintf(stderr, "%s: the sink is waited for in vain\n", check_name);
	abort();
}
static inline void told_await_held(void) {
	pthread_mutex_lock(&told.lock);
	while (told.held == 0) told_await_change();
	pthread_mutex_unlock(&told.lock);
}
/* Lets n of the held writes through, one after the other, until the next one is held. */
static inline void told_pass(int n) {
	pthread_mutex_lock(&told.lock);
	told.pass = n;
	pthread_cond_broadcast(&told.moved);
	while (told.pass > 0 || told.held == 0) told_await_change();
	pthread_mutex_unlock(&told.lock);
}
static inline int told_get(const int *what) {
	int n;
	pthread_mutex_lock(&told.lock);
	n = *what;
	pthread_mutex_unlock(&told.lock);
	return n;
}
static inline void told_await_calls(int n) {
	pthread_mutex_lock(&told.lock);
	while (told.calls < n) told_await_change();
	pthread_mutex_unlock(&told.lock);
}
static inline void told_await_bytes(size_t n) {
	pthread_mutex_lock(&told.lock);
	while (told.n < n) told_await_change();
	pthread_mutex_unlock(&told.lock);
}
static inline bool told_is(const char *text) {
	bool same;
	pthread_mutex_lock(&told.lock);
	same = told.n == strlen(text) && memcmp(told.text, text, told.n) == 0;
	if (!same) fprintf(stderr, "the sink has: %.*s\n", (int)(told.n < 300 ? told.n : 300), told.text);
	pthread_mutex_unlock(&told.lock);
	return same;
}
static inline size_t told_lines(void) {
	size_t lines = 0;
	pthread_mutex_lock(&told.lock);
	for (size_t i = 0; i < told.n; i++) lines += told.text[i] == '\n';
	pthread_mutex_unlock(&told.lock);
	return lines;
}

#endif
