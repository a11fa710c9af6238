/* What the tests of the file sink share: a log in a directory of its own, on the real file system. */
#ifndef SPEC_FILE_RIG_H
#define SPEC_FILE_RIG_H

#include "log_help.h"

#include <errno.h>

static zbz_clock *fake; /* of those that rotate */

typedef struct log {
	char dir[100], path[140];
	zbz_output *o;
} log;

static inline zbz_status try_open(log *l, const zbz_clock *clock, const char *more, zbz_err *err) {
	char options[500];
	zbz_config *cfg;
	zbz_status status;
	snprintf(options, sizeof options, "type=file path=%s max_retry_delay=20ms %s", l->path, more);
	cfg = log_config(options);
	l->o = NULL;
	status = zbz_output_open(cfg, clock, &l->o, err);
	zbz_config_free(cfg);
	return status;
}

static inline void open_log(log *l, const char *name, const char *more) {
	zbz_err err = { .text = "" };
	snprintf(l->dir, sizeof l->dir, "%s/%s", work, name);
	snprintf(l->path, sizeof l->path, "%s/a.log", l->dir);
	if (mkdir(l->dir, 0755) != 0 && errno != EEXIST) exit(1);
	if (try_open(l, strstr(more, "rotate") != NULL ? fake : zbz_clock_system(), more, &err) == ZBZ_OK) return;
	fprintf(stderr, "%s: %s\n", err.option, err.text);
	exit(1);
}

static inline void write_line(log *l, const char *line) {
	CHECK(say(l->o, line));
	CHECK(flush(l->o, 5000) == ZBZ_OK);
}

static inline bool rig_begin(void) {
	fake = zbz_clock_fake_new(INT64_C(1700000000000));
	return fake != NULL && dirs_make();
}

static inline void rig_end(void) {
	zbz_clock_fake_free(fake);
	dirs_remove();
}

#endif
