/* The inside of the memcached provider.
 *
 *   cache_memcached.c    options, single operations, the table of functions
 *   memcached_servers.c  the list of servers, the ring (libmemcached), the connections
 *   memcached_exchange.c requests out, replies in, over several servers at once
 *   memcached_counter.c  incr             memcached_batch.c  many keys      memcached_scan.c  listing, clearing
 *   memcached_native.c   own commands     memcached_admin.c  ping, version, stats, inspect */
#ifndef ZBZ_PROVIDER_MEMCACHED_IMPL_H
#define ZBZ_PROVIDER_MEMCACHED_IMPL_H

#include <libmemcached/memcached.h>
#include <pthread.h>
#include <stdatomic.h>

#include "net/net.h"
#include "proto/memcache_key.h"
#include "proto/memcache_meta.h"
#include "zbz/cache.h"

#define ZBZ_MC_MAX_KEY     (32 * 1024)
#define ZBZ_MC_MAX_SERVERS 256

typedef struct zbz_mc_options {
	char *url;
	zbz_list servers;
	int64_t timeout, max_idle_conns, max_retries, max_item_size;
} zbz_mc_options;

typedef struct zbz_mc_conn {
	struct zbz_mc_conn *next;                /* idle */
	struct zbz_mc_conn *all_next, *all_prev; /* of the server */
	zbz_net *net;
	zbz_buf in;
} zbz_mc_conn;

typedef struct zbz_mc_server {
	char *host;
	int port, weight;
	char name[128]; /* for messages */
	pthread_mutex_t mutex;
	zbz_mc_conn *idle; /* newest first */
	zbz_mc_conn *all;  /* those in use, too */
	int64_t idle_n;
} zbz_mc_server;

typedef struct zbz_mc {
	struct zbz_mc *next, *prev; /* of all that are open */
	bool listed;
	const zbz_mc_options *o;
	zbz_mc_server *servers;
	size_t n;
	memcached_st *ring; /* decides which server has a key; it opens no connection */
	pthread_mutex_t ring_mutex;
	_Atomic int64_t open, retries;
} zbz_mc;

/* ---- servers ---- */

/* E_CONFIG names `url` or `servers`. free cleans up after a failure too. */
zbz_status zbz_mc_servers_parse(zbz_mc *mc, zbz_err *err);
void zbz_mc_servers_free(zbz_mc *mc);
size_t zbz_mc_server_of(zbz_mc *mc, const zbz_mc_key *key);
/* An idle connection that is still good, or a new one. fresh: a new one in any case. */
zbz_status zbz_mc_conn_take(zbz_mc *mc, size_t server, int64_t deadline, bool fresh, zbz_mc_conn **out, zbz_err *err);
/* reusable: nothing is under way on it. */
void zbz_mc_conn_give(zbz_mc *mc, size_t server, zbz_mc_conn *conn, bool reusable);

/* ---- exchange ---- */

/* What goes to one server in one trip, and what comes of it. Zero-initialise; server, reply, ud, expect and out are the caller's. */
typedef struct zbz_mc_lane {
	size_t server;
	size_t expect; /* replies */
	zbz_buf out;   /* requests */
	/* The index-th reply. OK: that was it. AGAIN: further lines belong to it. Negative: the connection is given up. A failure of one key is kept by the
	 * callback, not returned. It may come again with index 0 after a retry. */
	zbz_status (*reply)(struct zbz_mc_lane *lane, size_t index, const zbz_meta_reply *r, zbz_err *err);
	void *ud;
	const size_t *ids; /* a batch's: position of the index-th key */
	bool fresh;        /* a connection of its own, closed after */
	/* exchange's own */
	zbz_mc_conn *conn;
	size_t sent, got, parsed;
	int64_t patience; /* until when the server must move */
	zbz_status status;
	zbz_err err;
} zbz_mc_lane;

/* Runs all lanes side by side: one round trip however many requests. Each lane's outcome is its status; OK when all are, else one lane's
 * failure, also in c->err. again: the requests may run twice, so lost connections are retried. */
zbz_status zbz_mc_exchange(zbz_mc *mc, zbz_call *c, zbz_mc_lane *lanes, size_t n, bool again);
/* Waits before the attempt-th retry, at most until the call's deadline; false when that has come. */
bool zbz_mc_pause(zbz_call *c, int attempt);

/* ---- single operations ---- */

/* One request of one key, and what its reply makes of it. */
typedef struct zbz_mc_one {
	zbz_status (*done)(struct zbz_mc_one *x, const zbz_meta_reply *r,
	                   zbz_err *err); /* an answer of the server, errors of its own included */
	zbz_status status;
	zbz_err err;
	zbz_mc_key wire;
	zbz_bytes key;
	zbz_buf *out; /* value */
	zbz_meta *meta;
	zbz_only only;
	zbz_version *version;
	int64_t number;
	int64_t now;
} zbz_mc_one;

/* "VERB KEY FLAGS"; again: it may run twice. Fills x->key, x->wire and x->now. */
zbz_status zbz_mc_one_line(zbz_mc *mc, zbz_call *c, zbz_mc_one *x, zbz_bytes key, const char *verb, const char *flags,
                           bool again);
/* A reply that does not belong to the request. */
zbz_status zbz_mc_odd(const zbz_meta_reply *r, zbz_err *err);
/* From the flags t and c. */
void zbz_mc_meta_read(const zbz_meta_reply *r, int64_t now, zbz_meta *meta);
/* Length of a counter without the spaces that the server pads it with; of anything else its own. */
size_t zbz_mc_counter_trim(zbz_bytes v);

zbz_status zbz_mc_get(void *self, zbz_call *c, zbz_bytes key, zbz_buf *out, zbz_meta *meta);
zbz_status zbz_mc_set(void *self, zbz_call *c, const zbz_write *w, zbz_version *version_out);
zbz_status zbz_mc_incr(void *self, zbz_call *c, zbz_bytes key, const zbz_incr *how, int64_t *value);
zbz_status zbz_mc_ping(void *self, zbz_call *c);
zbz_status zbz_mc_version(void *self, zbz_call *c, zbz_buf *out);
void zbz_mc_stats(void *self, zbz_call *c, zbz_provider_stats *out);
zbz_status zbz_mc_inspect(void *self, zbz_call *c, zbz_bytes key, zbz_buf *out);

/* ---- the rest ---- */

/* Relative seconds, rounded up, 0 none; beyond thirty days the server takes the number for a date, so it becomes one. */
int64_t zbz_mc_ttl(const zbz_call *c, int64_t expire_at);
zbz_status zbz_mc_set_build(const zbz_call *c, const zbz_write *w, const zbz_mc_key *key, bool want_version,
                            zbz_buf *out, zbz_err *err);
zbz_status zbz_mc_set_result(const zbz_meta_reply *r, zbz_only only, zbz_err *err);
/* The bytes a program stored, out of what the server holds. OK, or MISS for another key's frame. */
zbz_status zbz_mc_value(const zbz_meta_reply *r, zbz_bytes key, bool framed, zbz_bytes *value);

zbz_status zbz_mc_get_many(void *self, zbz_call *c, const zbz_bytes *keys, size_t n, zbz_buf *out, zbz_found *found);
zbz_status zbz_mc_set_many(void *self, zbz_call *c, const zbz_write *writes, size_t n, zbz_status *status);
zbz_status zbz_mc_del_many(void *self, zbz_call *c, const zbz_bytes *keys, size_t n, zbz_status *status);

zbz_status zbz_mc_scan_open(void *self, zbz_call *c, zbz_bytes prefix, zbz_bytes pattern, zbz_cursor **cursor);
zbz_status zbz_mc_scan_next(void *self, zbz_call *c, zbz_cursor *cursor, size_t limit, zbz_buf *out, size_t *n);
void zbz_mc_scan_close(void *self, zbz_cursor *cursor);
zbz_status zbz_mc_clear(void *self, zbz_call *c, zbz_bytes prefix, uint64_t *removed);

zbz_status zbz_mc_command(void *self, zbz_call *c, const zbz_bytes *argv, const size_t *ends, size_t count,
                          zbz_buf *out);

#endif
