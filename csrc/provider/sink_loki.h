/* What the files of the Loki sink share.
 *
 *   zbz_loki_target   where to and as whom             sink_loki_options.c
 *   zbz_loki_labels   what its streams are called      sink_loki_labels.c
 *   zbz_loki_push     records on their way into a body sink_loki_push.c (which go, and their parts), sink_loki_proto.c, sink_loki_json.c
 *   zbz_loki_http     one connection, one exchange     sink_loki_http.c
 *   zbz_loki_verdicts what an answer means             sink_loki_answer.c
 *
 * Facts about the server are those of Loki 3.4: its push API, and what it was seen to answer. */
#ifndef ZBZ_PROVIDER_SINK_LOKI_H
#define ZBZ_PROVIDER_SINK_LOKI_H

#include <zbz/sink.h>

/* Of one push, before compression: half of what a server takes. A single larger record goes alone. */
#define ZBZ_LOKI_PUSH_BYTES ((size_t)2 << 20)

enum {
	ZBZ_LOKI_LABELS = 14,     /* the server takes 15, and adds service_name */
	ZBZ_LOKI_STREAMS = 64,    /* of one push */
	ZBZ_LOKI_PAIRS = 24,      /* structured metadata of one record; the front asks for 16 */
	ZBZ_LOKI_ANSWER = 8192,   /* bytes of an answer that are looked at: ten refused records and how many there were */
	ZBZ_LOKI_RETRY_AFTER = 30 /* seconds: the longest such wish that is fulfilled */
};

enum { ZBZ_LOKI_PROTOBUF, ZBZ_LOKI_JSON };
enum { ZBZ_LOKI_AS_LABEL, ZBZ_LOKI_AS_METADATA, ZBZ_LOKI_AS_NOTHING };

typedef struct zbz_loki_options {
	char *url, *tenant, *username, *password, *bearer_token;
	char *tls_ca, *tls_cert, *tls_key, *tls_server_name;
	int64_t timeout, max_line;
	int encoding, level_as, logger_as;
	bool tls_verify;
	zbz_list labels;
} zbz_loki_options;

extern const zbz_option zbz_loki_option_list[];

/* ---- where to ---- */

typedef struct zbz_loki_target {
	char *url; /* without a user */
	char *tenant, *username, *password, *bearer_token;
	char *tls_ca, *tls_cert, *tls_key;
	char *connect_to; /* curl's words for: the url names the certificate, this is where it is; NULL */
	bool tls_verify;
	int64_t timeout; /* ms */
} zbz_loki_target;

zbz_status zbz_loki_target_init(zbz_loki_target *t, const zbz_loki_options *o, zbz_err *err);
void zbz_loki_target_clear(zbz_loki_target *t);

/* ---- what streams are called ---- */

typedef struct zbz_loki_labels {
	zbz_buf text, json; /* of the static ones: a="b", c="d" and "a":"b","c":"d" */
	int level_as, logger_as;
} zbz_loki_labels;

zbz_status zbz_loki_labels_init(zbz_loki_labels *l, const zbz_loki_options *o, zbz_err *err);
void zbz_loki_labels_clear(zbz_loki_labels *l);
/* Appends the labels of a stream: {a="b", level="info"} or {"a":"b","level":"info"}. level 0 and an empty logger have none. */
zbz_status zbz_loki_labels_put(const zbz_loki_labels *l, bool json, zbz_level level, zbz_bytes logger, zbz_buf *out,
                               zbz_err *err);
/* A name as Loki takes it, one byte for one: what it does not take becomes '_'. */
char zbz_loki_name_byte(char c, bool first);
bool zbz_loki_same_name(zbz_bytes a, zbz_bytes b);
/* Valid UTF-8: every bad byte becomes U+FFFD. How long, and at p; returns its end. */
size_t zbz_loki_clean_size(zbz_bytes s);
char *zbz_loki_clean_put(char *p, zbz_bytes s);

/* ---- records into a body ---- */

typedef struct zbz_loki_pair {
	zbz_bytes name, value; /* as they came */
} zbz_loki_pair;

typedef struct zbz_loki_stream {
	zbz_level level; /* 0: no label */
	zbz_bytes logger;
	size_t bytes; /* of its entries, in protobuf */
} zbz_loki_stream;

typedef struct zbz_loki_entry {
	uint32_t stream, size; /* size: of the entry, in protobuf */
} zbz_loki_entry;

typedef struct zbz_loki_push {
	const zbz_loki_labels *labels;
	size_t max_line;
	const zbz_record *records;
	size_t n, bytes; /* those that go, and their size in protobuf */
	size_t streams_n;
	zbz_loki_stream streams[ZBZ_LOKI_STREAMS];
	zbz_buf entries; /* zbz_loki_entry, n of them */
	zbz_buf body;    /* the message as the encoding has it, not compressed */
} zbz_loki_push;

void zbz_loki_push_clear(zbz_loki_push *p);
/* Takes as many of the records as go into `most` bytes, at least one, and encodes them. Deterministic: the same record always becomes the same entry of the
 * same stream, which is how Loki knows it again. */
zbz_status zbz_loki_push_fill(zbz_loki_push *p, bool json, const zbz_record *records, size_t n, size_t most,
                              zbz_err *err);

/* A record's line: its text without the newline, cut to max_line; *cut: MARK belongs behind it. */
#define ZBZ_LOKI_MARK " [cut]"
zbz_bytes zbz_loki_line(const zbz_loki_push *p, const zbz_record *r, bool *cut);
/* Its structured metadata, a name once. */
size_t zbz_loki_pairs(const zbz_loki_push *p, const zbz_record *r, zbz_loki_pair out[ZBZ_LOKI_PAIRS]);
static inline int64_t zbz_loki_at(const zbz_record *r) { return r->head.at > 0 ? r->head.at : 0; }

size_t zbz_loki_proto_size(const zbz_loki_push *p, const zbz_record *r); /* of its entry */
zbz_status zbz_loki_proto_body(zbz_loki_push *p, zbz_err *err);
zbz_status zbz_loki_json_body(zbz_loki_push *p, zbz_err *err);

/* ---- the exchange ---- */

typedef struct zbz_loki_answer {
	long status;
	int64_t retry_after; /* seconds; 0: not said */
	size_t n;
	char text[ZBZ_LOKI_ANSWER + 1]; /* the first bytes of its body */
} zbz_loki_answer;

typedef struct zbz_loki_http zbz_loki_http;

/* What curl needs once a process; from any thread. */
zbz_status zbz_loki_http_init(zbz_err *err);
/* OK: there is an answer. Otherwise it is not known whether the server has taken it: E_TIMEOUT, E_UNAVAILABLE, E_DENIED for a certificate; all retryable. *h is
 * made when it is NULL, or when it is that of a parent process. */
zbz_status zbz_loki_http_post(zbz_loki_http **h, const zbz_loki_target *t, bool json, zbz_bytes body, zbz_call *c,
                              zbz_loki_answer *out);
void zbz_loki_http_free(zbz_loki_http *h); /* NULL allowed; does not wait */

/* ---- the answer ---- */

/* What became of the records of a push that was answered 400 or 422, until the writer has come past them. */
typedef struct zbz_loki_verdict {
	int64_t at;
	size_t n;
	bool refused;
} zbz_loki_verdict;

typedef struct zbz_loki_verdicts {
	zbz_buf list; /* zbz_loki_verdict */
	size_t at, n;
	zbz_err why;
} zbz_loki_verdicts;

typedef enum zbz_loki_meaning { ZBZ_LOKI_TAKEN, ZBZ_LOKI_LATER, ZBZ_LOKI_TOO_LARGE, ZBZ_LOKI_REFUSED } zbz_loki_meaning;
/* err is filled unless it is TAKEN. */
zbz_loki_meaning zbz_loki_judge(const zbz_loki_target *t, const zbz_loki_answer *a, zbz_err *err);
/* Room for the verdicts of a push, before it is sent. */
zbz_status zbz_loki_verdicts_reserve(zbz_loki_verdicts *v, size_t n, zbz_err *err);
/* From an answer that refuses. */
void zbz_loki_verdicts_take(zbz_loki_verdicts *v, const zbz_loki_push *p, const zbz_loki_answer *a, const zbz_err *why);
/* Moves *done over records that Loki has; an error: the one at *done was refused. OK: nothing more is known. */
zbz_status zbz_loki_verdicts_apply(zbz_loki_verdicts *v, const zbz_record *records, size_t n, size_t *done,
                                   zbz_err *err);

#endif
