/* The log's front: from a call with typed fields to a formatted record in the rings of its outputs (sink.h).
 *
 *   zbz_log        what was configured: outputs, routes, loggers, redaction; any number of threads, replaced as a whole while they log
 *   zbz_log_view   one thread's door to it; everything below belongs to one view and so to one thread at a time
 *   zbz_logger     a name with bound fields
 *
 * A record is formatted once per distinct format, straight into the ring when it has one output. Values are redacted before that. Whatever a field
 * holds, the line is valid: JSON is RFC 8259 without repeated keys, no control byte or terminal escape of a value reaches a line,
 * invalid UTF-8 becomes U+FFFD, NaN and the infinities are null in JSON, a record ends at its limit with "truncated":true. */
#ifndef ZBZ_LOG_H
#define ZBZ_LOG_H

#include "sink.h"

#ifdef __cplusplus
extern "C" {
#endif

#define ZBZ_LOG_FIELDS_MAX  64 /* of one call; further ones are left out and the record is marked as truncated */
#define ZBZ_LOG_OUTPUTS_MAX 48
#define ZBZ_LOG_NAME_MAX    255
#define ZBZ_LOG_GIVEN_MAX   48

/* "info"; never NULL. */
ZBZ_API const char *zbz_level_name(zbz_level level);
/* "trace" "debug" "info" "warn" "warning" "error" "fatal" "off", any case; E_CONFIG names the known ones. */
ZBZ_API zbz_status zbz_level_parse(zbz_bytes text, zbz_level *level, zbz_err *err);

typedef enum zbz_format {
	ZBZ_FORMAT_INHERIT, /* an output: as the logger says; a logger: as its parent says */
	ZBZ_FORMAT_JSON,
	ZBZ_FORMAT_LOGFMT,
	ZBZ_FORMAT_CONSOLE,
	ZBZ_FORMAT_COLOUR, /* console with colours; for terminals */
	ZBZ_FORMATS
} zbz_format;

/* "json" (also "zap", "slog"), "logfmt", "console" (also "text"). */
ZBZ_API zbz_status zbz_format_parse(zbz_bytes text, zbz_format *format, zbz_err *err);

/* ---- 1. Fields ----------------------------------------------------------------------------------------------------------- */

typedef struct zbz_log_key zbz_log_key; /* a field's name, prepared; of one view */

typedef enum zbz_field_type {
	ZBZ_FIELD_NULL,
	ZBZ_FIELD_BOOL,
	ZBZ_FIELD_INT,
	ZBZ_FIELD_UINT,
	ZBZ_FIELD_DOUBLE,
	ZBZ_FIELD_TEXT,
	ZBZ_FIELD_BYTES,    /* s, shown as base64 */
	ZBZ_FIELD_TIME,     /* i, wall nanoseconds */
	ZBZ_FIELD_DURATION, /* i, nanoseconds */
	ZBZ_FIELD_PACK,     /* s, one MessagePack value: what is nested */
	ZBZ_FIELD_ERROR     /* s, a MessagePack map with code and message among its keys */
} zbz_field_type;

/* SECRET and PII as the settings say; those behind them as they say themselves. */
typedef enum zbz_guard {
	ZBZ_GUARD_NONE,
	ZBZ_GUARD_SECRET,
	ZBZ_GUARD_PII,
	ZBZ_GUARD_MASK,
	ZBZ_GUARD_HASH,
	ZBZ_GUARD_PARTIAL,
	ZBZ_GUARD_ENCRYPT
} zbz_guard;

typedef struct zbz_field {
	const zbz_log_key *key;
	zbz_field_type type;
	zbz_guard guard; /* redacted whatever its name is */
	union {
		bool b;
		int64_t i;
		uint64_t u;
		double d;
		zbz_bytes s; /* borrowed for the call */
	} v;
} zbz_field;

/* ---- 2. Configuration ---------------------------------------------------------------------------------------------------- */

typedef enum zbz_log_op {
	ZBZ_LOG_EQ,
	ZBZ_LOG_NE,
	ZBZ_LOG_LT,
	ZBZ_LOG_LE,
	ZBZ_LOG_GT,
	ZBZ_LOG_GE,
	ZBZ_LOG_GLOB,
	ZBZ_LOG_EXISTS,
	ZBZ_LOG_GIVEN /* what the caller answers: bit `number` of zbz_logger_given, below ZBZ_LOG_GIVEN_MAX; no field */
} zbz_log_op;

/* A predicate on one field, as it stands before redaction. All of a list hold, where `or_next` joins one with the next. A field that is absent
 * or of another type fits only NE. */
typedef struct zbz_log_condition {
	const char *field;
	zbz_log_op op;
	zbz_field_type type; /* TEXT, DOUBLE, BOOL */
	zbz_bytes text;
	double number;
	bool boolean;
	bool or_next;
} zbz_log_condition;

typedef struct zbz_log_output_spec {
	const char *name;   /* unique */
	zbz_output *output; /* a reference is taken; NULL: the caller writes itself, zbz_logger_write tells when */
	zbz_format format;
	bool always;     /* gets every record of every logger, whatever the routes say */
	bool human;      /* where nobody said a format: console instead of json */
	bool colour;     /* console there means with colours */
	zbz_level level; /* 0: any */
	const zbz_log_condition *where;
	size_t where_n;
	const char *const *metadata; /* names of fields that travel beside the text (zbz_record_head.labels) */
	size_t metadata_n;
} zbz_log_output_spec;

/* A logger takes what it does not say from its parent: the named one, else "a.b" from "a", else the root, whose name is "". */
typedef struct zbz_log_logger_spec {
	const char *name;
	const char *parent; /* NULL: by the dots */
	zbz_level level;    /* 0: the parent's */
	zbz_format format;
	bool has_outputs; /* outputs_n 0 then means none */
	const char *const *outputs;
	size_t outputs_n;
	/* Limits, per view and logger; 0: the parent's, -1: none. */
	int64_t sample_first, sample_then; /* the first n of a second, then one in m (0: none) */
	int64_t rate, burst;               /* records a second */
	int64_t dedup_ms;                  /* the same record again within: counted, told as one record */
} zbz_log_logger_spec;

/* What a route takes goes where the routes say, and not to the logger's own outputs. All routes are tried. */
typedef struct zbz_log_route_spec {
	const char *logger;        /* glob; NULL: any */
	zbz_level lowest, highest; /* 0: any */
	const zbz_log_condition *where;
	size_t where_n;
	const char *const *outputs;
	size_t outputs_n;
} zbz_log_route_spec;

typedef enum zbz_redact {
	ZBZ_REDACT_NONE,
	ZBZ_REDACT_MASK,    /* "***" */
	ZBZ_REDACT_HASH,    /* "hmac:" and the first 16 hex digits of HMAC-SHA256 under `key` */
	ZBZ_REDACT_PARTIAL, /* the first and the last two characters; nothing of short values */
	ZBZ_REDACT_IP,      /* the last part of an address */
	ZBZ_REDACT_ENCRYPT /* enc:KEYID:base64, by AES-256-GCM; what cannot be encrypted is masked, and what is longer than 16 KiB */
} zbz_redact;

enum { ZBZ_SCAN_SSN = 1, ZBZ_SCAN_CARD = 2, ZBZ_SCAN_EMAIL = 4 }; /* looked for in every text */

typedef struct zbz_log_redact_rule {
	const char *key; /* glob, any case; also of nested values */
	zbz_redact how;
} zbz_log_redact_rule;

typedef struct zbz_log_settings {
	const zbz_log_output_spec *outputs;
	size_t outputs_n;
	const zbz_log_logger_spec *loggers;
	size_t loggers_n;
	const zbz_log_route_spec *routes;
	size_t routes_n;
	const zbz_log_redact_rule *redact;
	size_t redact_n;
	unsigned scan;
	zbz_redact secret, pii; /* 0: mask */
	zbz_bytes hmac_key;
	/* For ZBZ_REDACT_ENCRYPT: 32 bytes, or 64 hexadecimal digits, or 44 of base64; its name [A-Za-z0-9._-]{1,32} stands with every value. Given, the
	 * plug-in "aes" (libcrypto) must be there. */
	zbz_bytes cipher_id, cipher_key;
	const char *const *durations; /* globs of names whose numbers are seconds */
	size_t durations_n;
	bool duration_ms;  /* shown as name_ms = 42 instead of name = "42ms" */
	size_t max_record; /* bytes of a line; 0: 64 KiB */
} zbz_log_settings;

/* For operators: the value behind "enc:KEYID:base64". E_CORRUPT: not such a text, damaged, or of another key; E_CONFIG: the key; E_UNSUPPORTED: no
 * plug-in. */
ZBZ_API zbz_status zbz_log_unseal(zbz_bytes text, zbz_bytes key, zbz_buf *out, zbz_err *err);
/* *id: which key is asked for; borrows from text. */
ZBZ_API zbz_status zbz_log_sealed_with(zbz_bytes text, zbz_bytes *id, zbz_err *err);

typedef struct zbz_log zbz_log;

ZBZ_API zbz_log *
zbz_log_new(const zbz_clock *clock);     /* NULL: the system's, to the nanosecond; NULL when out of memory */
ZBZ_API void zbz_log_free(zbz_log *log); /* after its views; NULL allowed */
/* Replaces everything at once; on failure nothing has changed. A name of an output that does not exist is E_CONFIG and named. Threads that log meanwhile
 * use the one or the other. Outputs nobody uses any more are given back by this thread, here or in zbz_log_collect. */
ZBZ_API zbz_status zbz_log_configure(zbz_log *log, const zbz_log_settings *settings, zbz_err *err);
ZBZ_API void zbz_log_collect(zbz_log *log);

typedef struct zbz_log_stats {
	uint64_t records[ZBZ_LEVEL_OFF]; /* by level: handed to at least one output */
	uint64_t sampled, limited, repeated, lost, truncated, nowhere;
} zbz_log_stats;
ZBZ_API void zbz_log_stats_read(zbz_log *log, zbz_log_stats *out);
/* The same of all logs of the program: this process and those that have been forked, from it or from its ancestors, since zbz was loaded. What dead
 * processes and freed logs have counted stays: the numbers never go down. */
ZBZ_API void zbz_log_totals_read(zbz_log_stats *out);

/* ---- 3. Logging ---------------------------------------------------------------------------------------------------------- */

typedef struct zbz_log_view zbz_log_view;
typedef struct zbz_logger zbz_logger;

ZBZ_API zbz_log_view *zbz_log_view_new(zbz_log *log);
ZBZ_API void zbz_log_view_free(zbz_log_view *view); /* after its loggers; NULL allowed */
/* Begins a call: brings the view up to date, which ends the life of prepared keys when the answer is another number than before. */
ZBZ_API unsigned zbz_log_view_begin(zbz_log_view *view);
/* Never NULL: names beyond memory share one key. At most 128 bytes of a name are kept. */
ZBZ_API const zbz_log_key *zbz_log_key_of(zbz_log_view *view, zbz_bytes name);

/* name "" is the root. NULL when out of memory. */
ZBZ_API zbz_logger *zbz_logger_new(zbz_log_view *view, zbz_bytes name);
/* The same with further fields on every record; one of a call with the same name stands above. */
ZBZ_API zbz_logger *zbz_logger_with(zbz_logger *l, const zbz_field *fields, size_t n);
/* Bytes that its bound fields hold, or will when it has written: for collectors that count what they free. */
ZBZ_API size_t zbz_logger_weight(const zbz_logger *l);
ZBZ_API void zbz_logger_free(zbz_logger *l); /* NULL allowed */
ZBZ_API zbz_bytes zbz_logger_name(const zbz_logger *l);
ZBZ_API zbz_level zbz_logger_level(zbz_logger *l);
/* Bit 1 << level for every level that may reach an output; *own (NULL allowed) of those that may reach one the caller writes himself. */
ZBZ_API unsigned zbz_logger_mask(zbz_logger *l, unsigned *own);

/* Begins a call, as zbz_log_view_begin; false: nothing would come of it. */
ZBZ_API bool zbz_logger_wants(zbz_logger *l, zbz_level level, unsigned *turn);
/* Between the two: which predicates of the caller (ZBZ_LOG_GIVEN, as bits) may decide on a record of that level, and his answers, for the next write of
 * the view. Without them all hold. */
ZBZ_API uint64_t zbz_logger_asks(const zbz_logger *l, zbz_level level);
ZBZ_API void zbz_logger_given(zbz_logger *l, uint64_t answers);
/* Its own i-th field, as it was given (key is not to be used); NULL: there are no more. */
ZBZ_API const zbz_field *zbz_logger_bound(const zbz_logger *l, size_t i, zbz_bytes *name);
/* Ends it. Never fails and never waits longer than an output's policy says. Changes the fields; sorts them by name unless `ordered`. Answers which
 * outputs the caller has to write himself (bit 1 << index in the settings). */
ZBZ_API uint64_t zbz_logger_write(zbz_logger *l, zbz_level level, zbz_bytes msg, zbz_field *fields, size_t n,
                                  bool ordered);
/* Appends the line of the call just ended, for those outputs: what was borrowed for it must still be there. */
ZBZ_API zbz_status zbz_logger_render(zbz_logger *l, zbz_format format, zbz_buf *out, zbz_err *err);
/* Tells of what has been counted and not told yet: repeats, records over the limit. */
ZBZ_API void zbz_logger_settle(zbz_logger *l);
/* The i-th record about records that the last write or settle has made for outputs the caller writes himself: which ones, and its
 * line as JSON, good until the next call. 0: there are no more. */
ZBZ_API uint64_t zbz_logger_note(const zbz_logger *l, size_t i, zbz_level *level, zbz_bytes *line);

/* Appends a line that the caller has made, with its \n (one that is there already counts): no byte of it begins another line, commands a
 * terminal or is no UTF-8. */
ZBZ_API zbz_status zbz_log_tame(zbz_bytes line, zbz_buf *out, zbz_err *err);

#ifdef __cplusplus
}
#endif
#endif
