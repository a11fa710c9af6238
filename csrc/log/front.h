/* The front's own records: one configuration, a view on it, what a logger's name means there. */
#ifndef ZBZ_LOG_FRONT_H
#define ZBZ_LOG_FRONT_H

#include <pthread.h>
#include <stdatomic.h>

#include "cipher.h"
#include "line.h"
#include "tally.h"

#define ZBZ_KEYS_MAX  1024 /* prepared names of a view; more, and all are dropped at the next call */
#define ZBZ_KEY_BYTES 128

/* ---- a configuration: never changed once it stands, except for what it has told ---- */

typedef struct zbz_log_block zbz_log_block;

typedef struct zbz_hmac {
	uint32_t inner[8], outer[8];
} zbz_hmac;

enum { ZBZ_SEAL_ID = 32, ZBZ_SEAL_MOST = 16384 };

typedef struct zbz_log_seal {
	const zbz_cipher *cipher; /* NULL: no key was given */
	unsigned char key[ZBZ_CIPHER_KEY];
	size_t id_n;
	char id[ZBZ_SEAL_ID];
} zbz_log_seal;

typedef struct zbz_log_snapshot {
	struct zbz_log_snapshot *next; /* of those that wait to be freed */
	size_t refs;                   /* under the log's lock */
	zbz_log_block *blocks;         /* all that the settings point to */
	zbz_log_settings set;
	zbz_log_output_spec *slots;               /* the outputs */
	uint64_t *logger_outputs, *route_outputs; /* as bits */
	uint64_t own;                             /* outputs that the caller writes */
	uint64_t always;                          /* outputs that no route keeps a record from */
	bool filters;                             /* some output has predicates */
	bool hashes;                              /* there is a key for it */
	zbz_hmac hmac;
	zbz_log_seal seal;
} zbz_log_snapshot;

zbz_status zbz_snapshot_new(const zbz_log_settings *set, zbz_log_snapshot **out, zbz_err *err);
void zbz_snapshot_free(zbz_log_snapshot *s); /* gives its outputs back, which may wait for them */

/* What a logger's name means: filled from the root down to the name. */
typedef struct zbz_log_meaning {
	zbz_level level;
	zbz_format format;
	uint64_t outputs;
	int64_t sample_first, sample_then, rate, burst, dedup_ms;
} zbz_log_meaning;
void zbz_snapshot_resolve(const zbz_log_snapshot *s, zbz_bytes name, zbz_log_meaning *out);

/* ---- predicates ---- */

typedef struct zbz_log_facts {
	const zbz_field *fields, *base;
	size_t n, base_n;
	uint64_t given; /* answers of the caller */
} zbz_log_facts;
bool zbz_conditions_hold(const zbz_log_condition *list, size_t n, const zbz_log_facts *facts);
/* Bits of those that only the caller can answer. */
uint64_t zbz_conditions_ask(const zbz_log_condition *list, size_t n);
zbz_status zbz_conditions_check(const zbz_log_condition *list, size_t n, zbz_err *err);

/* ---- redaction ---- */

void zbz_hmac_begin(zbz_hmac *h, zbz_bytes key);
/* Names the option encryption. */
zbz_status zbz_log_seal_begin(zbz_log_seal *s, zbz_bytes id, zbz_bytes key, zbz_err *err);
void zbz_log_seal_clear(zbz_log_seal *s);
/* Appends; on failure nothing. */
zbz_status zbz_log_seal_put(const zbz_log_seal *s, zbz_bytes text, zbz_buf *out);
/* How a field of this name is shown. */
zbz_redact zbz_redact_of(const zbz_log_snapshot *s, zbz_bytes name);
bool zbz_redact_wanted(const zbz_log_snapshot *s, const zbz_field *f);
/* Replaces what must not be seen. New bytes go into *room, which the fields then borrow from. */
void zbz_redact_fields(const zbz_log_snapshot *s, zbz_field *fields, size_t n, zbz_buf *room);
/* Appends the text with what the patterns find taken out; false: nothing found, nothing appended. */
bool zbz_redact_scan(unsigned scan, zbz_bytes text, zbz_buf *out);

/* ---- limits: sampling, rate, repeats ---- */

typedef struct zbz_log_limits {
	int64_t second;
	int64_t seen[ZBZ_LEVEL_OFF]; /* in this second */
	int64_t tokens_at;
	double tokens;
	bool started;
	uint64_t limited;              /* not told yet */
	uint64_t hash, repeats, bound; /* bound: of the bound fields alone */
	bool shown;                    /* the first of the row */
	int64_t first_at;
	zbz_level level;
	size_t msg_n;
	char msg[256];
} zbz_log_limits;

typedef enum zbz_verdict { ZBZ_TAKE, ZBZ_SAMPLED_OUT, ZBZ_OVER_RATE, ZBZ_REPEATED } zbz_verdict;
zbz_verdict zbz_limit(zbz_log_limits *l, const zbz_log_meaning *m, int64_t at, zbz_level level);
uint64_t zbz_limit_hash(zbz_level level, zbz_bytes msg, const zbz_field *fields, size_t n);

/* ---- views ---- */

typedef struct zbz_log_node {
	struct zbz_log_node *next;
	zbz_log_view *view;
	size_t refs;
	unsigned turn; /* of the plan below; 0: none yet */
	zbz_log_meaning means;
	unsigned mask, own_mask;
	bool choosy;                     /* targets depend on the fields */
	uint64_t targets[ZBZ_LEVEL_OFF]; /* unless choosy */
	uint64_t accepts[ZBZ_LEVEL_OFF]; /* outputs that take the level */
	uint64_t asks[ZBZ_LEVEL_OFF];    /* predicates of the caller */
	uint8_t format[ZBZ_LOG_OUTPUTS_MAX];
	size_t routes_n;
	uint16_t *routes; /* those whose pattern fits the name */
	zbz_buf heads[ZBZ_FORMATS];
	size_t head_at[ZBZ_FORMATS][ZBZ_LEVEL_OFF + 1];
	zbz_log_limits limits;
	size_t name_n;
	char name[];
} zbz_log_node;

bool zbz_node_plan(zbz_log_node *node); /* false: out of memory */
/* p NULL: out of memory. */
zbz_bytes zbz_node_head(zbz_log_node *node, zbz_format format, zbz_level level);
void zbz_node_clear(zbz_log_node *node);
/* Records of the output about itself get its format. */
void zbz_notice_install(const zbz_log_output_spec *o);

typedef struct zbz_log_key_slot {
	zbz_log_key *key;
	uint16_t skip; /* where the name that was asked for begins in the key's own */
} zbz_log_key_slot;

typedef struct zbz_log_keys {
	zbz_log_key_slot *slots; /* a power of two of them, open addressing */
	size_t n;
} zbz_log_keys;

/* A record about records, for outputs that the caller writes himself. */
typedef struct zbz_log_note {
	uint64_t own;
	zbz_level level;
	size_t from, n; /* in the view's `noted` */
} zbz_log_note;

struct zbz_log_view {
	zbz_log_view *next;
	zbz_log *log;
	zbz_log_snapshot *snapshot; /* held */
	unsigned turn, version;
	zbz_log_keys keys;
	zbz_log_key *nameless; /* stands for names there is no memory for; what it holds is masked, whatever it is */
	zbz_log_node *nodes;
	int64_t second; /* of the date below */
	char date[ZBZ_DATE_TEXT + 1];
	uint64_t given; /* for the next record */
	zbz_buf redacted, text, labels;
	zbz_buf noted;         /* lines of the notes */
	zbz_log_note notes[2]; /* of the call just ended: of repeats, and of what was over the rate */
	size_t notes_n;
	zbz_line last;
	zbz_logger *last_of;
	zbz_level last_level;
	zbz_tally_hold tally;
};

void zbz_keys_clear(zbz_log_keys *keys);
zbz_log_key *zbz_key_nameless(const zbz_log_view *view);

struct zbz_log {
	pthread_mutex_t lock;
	atomic_uint version; /* of `now` */
	zbz_log_snapshot *now, *retired;
	zbz_log_view *views;
	const zbz_clock *clock; /* NULL: the system's */
	zbz_log_stats before;   /* of views that are gone */
};

/* Drops one reference; what nobody holds waits in `retired`, because giving outputs back may take its time. The lock is held. */
void zbz_snapshot_unref(zbz_log *log, zbz_log_snapshot *s);

#endif
