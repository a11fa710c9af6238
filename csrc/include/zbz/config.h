/* Typed options: what a user wrote (zbz_config) is checked against what a provider declares (zbz_option) once,
 * and ends as a plain struct. One parser for all durations and sizes of the project. */
#ifndef ZBZ_CONFIG_H
#define ZBZ_CONFIG_H

#include "bytes.h"

#ifdef __cplusplus
extern "C" {
#endif

/* "100ms" "5s" "1h30m" "7d", or a number of seconds with fraction ("5", "0.25"); units ns us ms s m h d w.
 * *ms is rounded up to a whole millisecond. Negative, empty, unit-less garbage or overflow: ZBZ_E_CONFIG. */
ZBZ_API zbz_status zbz_parse_duration(zbz_bytes text, int64_t *ms, zbz_err *err);
/* "4096" "50MB" "1.5GB"; B KB MB GB TB (and KiB ...), all powers of 1024, any case. */
ZBZ_API zbz_status zbz_parse_size(zbz_bytes text, int64_t *bytes, zbz_err *err);

/* Glob over bytes: * ? [a-c] [!a-c] [^a-c], backslash escapes. Linear time: no pattern can make it backtrack. */
ZBZ_API bool zbz_glob_match(zbz_bytes pattern, zbz_bytes text);

struct zbz_store;

/* What the user wrote: a list of named values. Owns copies of everything put in. */
typedef struct zbz_config zbz_config;

ZBZ_API zbz_config *zbz_config_new(void);      /* NULL when out of memory */
ZBZ_API void zbz_config_free(zbz_config *cfg); /* NULL allowed; frees nested ones, releases stores */
ZBZ_API zbz_status zbz_config_set_text(zbz_config *cfg, const char *name, zbz_bytes text, zbz_err *err);
ZBZ_API zbz_status zbz_config_set_int(zbz_config *cfg, const char *name, int64_t v, zbz_err *err);
ZBZ_API zbz_status zbz_config_set_num(zbz_config *cfg, const char *name, double v, zbz_err *err);
ZBZ_API zbz_status zbz_config_set_bool(zbz_config *cfg, const char *name, bool v, zbz_err *err);
/* Appends to the list `name`; the first call makes it. */
ZBZ_API zbz_status zbz_config_add_text(zbz_config *cfg, const char *name, zbz_bytes text, zbz_err *err);
/* A nested configuration (a layer's inner provider); ownership passes in, also on failure. */
ZBZ_API zbz_status zbz_config_set_config(zbz_config *cfg, const char *name, zbz_config *inner, zbz_err *err);
/* An already open store as the inner one; a reference is taken. */
ZBZ_API zbz_status zbz_config_set_store(zbz_config *cfg, const char *name, struct zbz_store *store, zbz_err *err);
/* NULL when absent or not text. Borrowed. */
ZBZ_API const char *zbz_config_text(const zbz_config *cfg, const char *name);

typedef enum zbz_option_type {
	ZBZ_OPT_TEXT,     /* char *           owned by the parsed struct */
	ZBZ_OPT_SECRET,   /* char *           the same; never echoed, never in an error */
	ZBZ_OPT_INT,      /* int64_t          within [min, max] */
	ZBZ_OPT_BOOL,     /* bool             true false 1 0 yes no on off as text */
	ZBZ_OPT_DURATION, /* int64_t          milliseconds */
	ZBZ_OPT_SIZE,     /* int64_t          bytes */
	ZBZ_OPT_MODE,     /* int64_t          octal text "0644" or a number */
	ZBZ_OPT_ENUM,     /* int              index into choices ("a|b|c") */
	ZBZ_OPT_LIST,     /* zbz_list         texts; a single text with commas is split */
	ZBZ_OPT_BUCKET,   /* struct zbz_bucket* nested configuration, opened; reference owned */
	ZBZ_OPT_STORE     /* struct zbz_store*  nested configuration, opened for the layer; reference owned */
} zbz_option_type;

typedef struct zbz_list {
	char **items;
	size_t n;
} zbz_list;

typedef struct zbz_option {
	const char *name;  /* NULL ends the array */
	const char *alias; /* a second accepted name, or NULL */
	zbz_option_type type;
	size_t offset;       /* of the field in the struct */
	const char *dflt;    /* as text, or NULL: absent (NULL, 0, false, empty) */
	const char *choices; /* ENUM only */
	int64_t min, max;    /* INT, DURATION (ms) and SIZE; both 0 means any value >= 0 */
	const char *help;    /* one line, for the README and `providers()` */
} zbz_option;

/* Fills the zeroed struct *out. An unknown name is ZBZ_E_ARGUMENT, naming the known ones and the nearest match; a wrong value
 * is ZBZ_E_CONFIG, err->option naming it. On failure everything already stored in *out is released.
 * The name "provider" in cfg is always allowed and skipped. */
ZBZ_API zbz_status zbz_options_parse(const zbz_config *cfg, const zbz_option *options, void *out, zbz_err *err);
/* Releases the texts, lists and stores inside *out (not out itself). */
ZBZ_API void zbz_options_clear(const zbz_option *options, void *out);
/* Writes one option of *out back as text ("5s", "100MB", "true"; "***" for a set secret) for config() echoes. */
ZBZ_API zbz_status zbz_option_echo(const zbz_option *option, const void *out, zbz_buf *text, zbz_err *err);

/* scheme://user:password@host:port/path?name=value, percent-decoding done; also "scheme:path" (sqlite:cache.db). Errors never show the password. */
typedef struct zbz_uri {
	char *scheme, *user, *password, *host, *path; /* NULL when absent; host without [] */
	int port;                                     /* 0 when absent */
	zbz_list query;                               /* name, value, name, value ... */
} zbz_uri;

ZBZ_API zbz_status zbz_uri_parse(zbz_bytes text, zbz_uri *out, zbz_err *err); /* ZBZ_E_CONFIG */
ZBZ_API void zbz_uri_clear(zbz_uri *uri);

#ifdef __cplusplus
}
#endif
#endif
