/* What the tests of buckets and of the output that writes into one share: an output over a folder, numbered lines of 100 bytes, and a look
 * at what has come to be there. */
#ifndef SPEC_STORAGE_RIG_H
#define SPEC_STORAGE_RIG_H

#include <ftw.h>

#include "log_help.h"

static char line[1024], base[200]; /* where the objects are */

static int files;
static inline int count_file(const char *path, const struct stat *st, int type, struct FTW *f) {
	(void)st, (void)f;
	files += type == FTW_F;
	if (strstr(path, ".zbz-new.") != NULL) files += 1000000;
	return 0;
}
static inline int files_in(const char *dir) {
	files = 0;
	nftw(dir, count_file, 10, FTW_PHYS);
	return files;
}

static inline zbz_config *storage_config(const char *more) {
	char options[400];
	zbz_config *cfg, *inner = zbz_config_new();
	snprintf(options, sizeof options, "type=storage max_retry_delay=5ms %s", more);
	cfg = log_config(options);
	if (inner == NULL || cfg == NULL ||
	    zbz_config_set_text(inner, "provider", zbz_bstr("filesystem"), NULL) != ZBZ_OK ||
	    zbz_config_set_text(inner, "base_dir", zbz_bstr(base), NULL) != ZBZ_OK) {
		zbz_config_free(inner);
		zbz_config_free(cfg);
		return NULL;
	}
	if (zbz_config_set_config(cfg, "bucket", inner, NULL) == ZBZ_OK) return cfg;
	zbz_config_free(cfg);
	return NULL;
}

static const zbz_clock *storage_clock; /* NULL: the system's */

static inline zbz_status storage_open(const char *more, zbz_output **o, zbz_err *err) {
	zbz_config *cfg = storage_config(more);
	zbz_status status = cfg != NULL ? zbz_output_open(cfg, storage_clock, o, err) : zbz_fail_nomem(err);
	zbz_config_free(cfg);
	return status;
}

static inline zbz_output *storing(const char *more) {
	zbz_output *o = NULL;
	zbz_err err;
	zbz_status status = storage_open(more, &o, &err);
	if (status != ZBZ_OK) fprintf(stderr, "%s: %s\n", check_name, err.text);
	CHECK(status == ZBZ_OK);
	return o;
}

static inline const char *numbered(int who, int i) {
	int n = snprintf(line, sizeof line, "%d %06d ", who, i);
	memset(line + n, 'x', (size_t)(99 - n));
	memcpy(line + 99, "\n", 2);
	return line;
}

/* All objects below the base, in the order of their names, as one text. */
static inline char *all_text(size_t *n) {
	static char text[1 << 24];
	char cmd[500];
	FILE *p;
	snprintf(cmd, sizeof cmd, "cd '%s' && find . -type f ! -name '.zbz-new.*' | sort | xargs -r -n 100 cat", base);
	p = popen(cmd, "r");
	*n = p != NULL ? fread(text, 1, sizeof text - 1, p) : 0;
	if (p != NULL) pclose(p);
	text[*n] = '\0';
	return text;
}

static inline void use_base(const char *name) { snprintf(base, sizeof base, "%s/%s", work, name); }

#endif
