/* What the files of the Redis provider share.
 *
 *   redis_options   what the user wrote            redis_options.c
 *   redis_target    where to connect               redis_options.c
 *   redis_conn      one connection, one exchange   redis_conn.c
 *   redis_pool      the parked ones                redis_pool.c
 *   redis_attempt   an operation and its retries   redis_attempt.c
 *   redis_self      the opened provider            cache_redis.c */
#ifndef ZBZ_PROVIDER_REDIS_IMPL_H
#define ZBZ_PROVIDER_REDIS_IMPL_H

#include <stdatomic.h>

#include <openssl/evp.h>

#include "net/net.h"
#include "proto/resp.h"
#include "zbz/cache.h"

#define REDIS_MAX_BULK ((size_t)512 << 20) /* the server's own default, proto-max-bulk-len */
#define REDIS_SHA_HEX  40

/* ---- options -------------------------------------------------------------------------------------------------------- */

typedef struct redis_options {
	char *url, *host, *path, *username, *password;
	char *tls_ca, *tls_cert, *tls_key, *tls_server_name;
	int64_t port, database, timeout, read_timeout, write_timeout;
	int64_t pool_size, min_idle_conns, conn_max_lifetime, max_retries;
	bool enable_pipelining, enable_ssl, tls_verify;
} redis_options;

extern const zbz_option redis_option_list[];

typedef struct redis_target {
	char *host, *path, *username, *password; /* path: a unix socket; host is NULL then */
	int port;
	int64_t database;
	zbz_net_tls *tls; /* NULL: plain */
	const redis_options *opt;
} redis_target;

zbz_status redis_target_init(redis_target *t, const redis_options *opt, zbz_err *err);
void redis_target_clear(redis_target *t);

/* ---- one connection ------------------------------------------------------------------------------------------------- */

typedef struct redis_conn {
	struct redis_conn *newer, *older;       /* in the pool's stack of parked ones */
	struct redis_conn *all_next, *all_prev; /* among all of the pool's */
	zbz_net *net;
	zbz_resp *resp;
	zbz_buf out;  /* commands to be sent by the next exchange */
	int64_t born; /* zbz_net_now() */
	bool parked;
	bool broken;  /* never to be used again */
	bool touched; /* a byte went out since the connection was taken */
	char in[32768];
} redis_conn;

/* Connects, shakes hands, logs in, selects the database. E_DENIED for refused credentials. */
zbz_status redis_conn_open(const redis_target *t, int64_t deadline, redis_conn **out, zbz_err *err);
void redis_conn_close(redis_conn *conn); /* NULL allowed */

/* Sends conn->out (and empties it) while reading as many replies, each handed to fn. On a negative status the connection is
 * broken; what fn has already been given stays true. Timeouts in ms, 0 none; deadline as everywhere in net.h. */
zbz_status redis_exchange(redis_conn *conn, const redis_options *opt, int64_t deadline, size_t replies, zbz_resp_fn fn,
                          void *ud, zbz_err *err);
/* One non-blocking read, parsed: up to `want` replies, counted in *got. AGAIN when nothing was there. */
zbz_status redis_conn_take(redis_conn *conn, size_t want, size_t *got, zbz_resp_fn fn, void *ud, zbz_err *err);

/* What an error reply means: DENIED, TYPE, ARGUMENT, UNAVAILABLE, ... */
zbz_status redis_reply_error(zbz_bytes text, zbz_err *err);

/* ---- simple answers: replies that are one value each ---------------------------------------------------------------- */

typedef struct redis_answer {
	zbz_resp_type type;
	int64_t integer;
	size_t off, n;     /* the bytes, in `out` */
	zbz_status status; /* of an error reply; text stays in `err` of the exchange */
	bool noscript;
} redis_answer;

/* What each reply may be: i integer, n integer or nil, b bulk or nil, s status or nil; an error reply always. Anything else
 * breaks the connection, for then it is out of step. */
typedef struct redis_answers {
	redis_answer *list;
	const char *expect;
	size_t seen;
	zbz_buf *out; /* NULL: bytes are not wanted */
} redis_answers;

zbz_status redis_answers_item(void *ud, const zbz_resp_item *item, zbz_err *err); /* a zbz_resp_fn */

/* ---- pool ----------------------------------------------------------------------------------------------------------- */

typedef struct redis_pool redis_pool;

zbz_status redis_pool_new(const redis_target *t, redis_pool **out, zbz_err *err);
void redis_pool_free(redis_pool *pool); /* NULL allowed */
/* A parked connection or a new one; waits for one while all are in use. */
zbz_status redis_pool_take(redis_pool *pool, int64_t deadline, redis_conn **out, zbz_err *err);
/* Parks it, or closes it when broken or too old. */
void redis_pool_give(redis_pool *pool, redis_conn *conn);
/* Opens one more connection when fewer than min_idle_conns are parked and there is time for it. */
void redis_pool_top_up(redis_pool *pool, int64_t deadline);
int64_t redis_pool_open_count(redis_pool *pool);

/* ---- the opened provider -------------------------------------------------------------------------------------------- */

typedef struct redis_self {
	const redis_options *opt;
	redis_target target;
	redis_pool *pool;
	EVP_MD *sha1;
	char compare_and_set[REDIS_SHA_HEX + 1], increment[REDIS_SHA_HEX + 1]; /* names of the scripts */
	char take_lock[REDIS_SHA_HEX + 1], drop_lock[REDIS_SHA_HEX + 1];
	_Atomic int64_t retries;
} redis_self;

/* ---- attempts ------------------------------------------------------------------------------------------------------- */

/* do { s = redis_attempt_begin(&a); ... write to a.conn->out, redis_attempt_ask ... } while (redis_attempt_again(&a, s)); */
typedef struct redis_attempt {
	redis_self *self;
	zbz_call *c;
	redis_conn *conn;
	int64_t deadline;
	int tries;
	bool repeatable; /* the operation may run twice */
	bool doubtful;   /* an earlier attempt may have run */
} redis_attempt;

void redis_attempt_init(redis_attempt *a, redis_self *self, zbz_call *c, bool repeatable);
zbz_status redis_attempt_begin(redis_attempt *a);
/* Hands the connection back. True: the failure s is worth another attempt, and there is time for it. */
bool redis_attempt_again(redis_attempt *a, zbz_status s);
/* The replies of what stands in a->conn->out, one answer for each letter of `expect`. The first error reply becomes the status. */
zbz_status redis_attempt_ask(redis_attempt *a, redis_answer *answers, const char *expect, zbz_buf *out);

/* ---- scripts and versions ------------------------------------------------------------------------------------------- */

zbz_status redis_scripts_init(redis_self *self, zbz_err *err);
zbz_status redis_digest(const redis_self *self, zbz_bytes value, zbz_version *out, zbz_err *err);
/* The name by which the server knows a script. */
zbz_status redis_script_name(const redis_self *self, const char *text, char name[REDIS_SHA_HEX + 1], zbz_err *err);
/* Three arguments for one key; the answer is of the kind `expect`. */
zbz_status redis_script_run(redis_attempt *a, const char *name, const char *text, zbz_bytes key,
                            const zbz_bytes argv[3], const char *expect, redis_answer *answer, zbz_buf *out);
void redis_hex(const zbz_version *v, char hex[REDIS_SHA_HEX + 1]);
zbz_status redis_set_if_version(redis_self *self, zbz_call *c, const zbz_write *w);
zbz_status redis_incr(void *ud, zbz_call *c, zbz_bytes key, const zbz_incr *how, int64_t *value);

/* ---- slots in files of their own ------------------------------------------------------------------------------------ */

int64_t redis_ttl_ms(const zbz_call *c, int64_t expire_at); /* relative, at least 1 */
int64_t redis_expiry_from(const zbz_call *c, int64_t pttl); /* as in zbz_meta */
zbz_status redis_write_set(zbz_buf *out, const zbz_call *c, const zbz_write *w, zbz_err *err);

zbz_status redis_get_many(void *ud, zbz_call *c, const zbz_bytes *keys, size_t n, zbz_buf *out, zbz_found *found);
zbz_status redis_set_many(void *ud, zbz_call *c, const zbz_write *writes, size_t n, zbz_status *status);
zbz_status redis_del_many(void *ud, zbz_call *c, const zbz_bytes *keys, size_t n, zbz_status *status);

zbz_status redis_scan_open(void *ud, zbz_call *c, zbz_bytes prefix, zbz_bytes pattern, zbz_cursor **cursor);
zbz_status redis_scan_next(void *ud, zbz_call *c, zbz_cursor *cursor, size_t limit, zbz_buf *out, size_t *n);
void redis_scan_close(void *ud, zbz_cursor *cursor);
zbz_status redis_clear(void *ud, zbz_call *c, zbz_bytes prefix, uint64_t *removed);

zbz_status redis_ping(void *ud, zbz_call *c);
zbz_status redis_version(void *ud, zbz_call *c, zbz_buf *out);
void redis_stats(void *ud, zbz_call *c, zbz_provider_stats *out);
zbz_status redis_inspect(void *ud, zbz_call *c, zbz_bytes key, zbz_buf *out);
zbz_status redis_command(void *ud, zbz_call *c, const zbz_bytes *argv, const size_t *ends, size_t count, zbz_buf *out);

zbz_status redis_subscribe(void *ud, zbz_call *c, const zbz_bytes *channels, size_t n, bool pattern,
                           void (*on_message)(void *ud, zbz_bytes channel, zbz_bytes payload), void *message_ud,
                           void **subscription);
void redis_unsubscribe(void *ud, void *subscription);
zbz_status redis_track(void *ud, zbz_call *c, zbz_bytes prefix, void (*on_change)(void *ud, zbz_bytes key, bool lost),
                       void *change_ud, void **tracking);
void redis_untrack(void *ud, void *tracking);
void redis_stop_listening(redis_self *self); /* what nobody ended before close */

zbz_status redis_locks_init(redis_self *self, zbz_err *err);
zbz_status redis_lock(void *ud, zbz_call *c, zbz_bytes name, const uint8_t *token, int64_t lease_ms,
                      zbz_holder *holder);
zbz_status redis_unlock(void *ud, zbz_call *c, zbz_bytes name, const uint8_t *token, zbz_outcome outcome);
zbz_status redis_on_unlock(void *ud, zbz_call *c,
                           void (*fn)(void *ud, zbz_bytes name, const uint8_t *token, zbz_outcome outcome), void *fn_ud,
                           void **watch);
void redis_off_unlock(void *ud, void *watch);

#endif
