/* The ring is libmemcached's weighted ketama, so that programs in other languages on the same servers agree on where a key is.
 * The connections are ours: libmemcached knows no meta commands.
 *
 * A fork: all that is open stands in one list; while a process forks, all its locks are held, and the child closes the descriptors
 * it inherited. What another thread of the parent had in use is nobody's in the child: its memory stays. */
#include <stdio.h>

#include "memcached_impl.h"

static const char *option_of(const zbz_mc *mc) { return mc->o->url != NULL ? "url" : "servers"; }

static bool digits_parse(const char *p, size_t n, int max, int *out) {
	int v = 0;
	if (n == 0 || n > 6) return false;
	for (size_t i = 0; i < n; i++) {
		if (p[i] < '0' || p[i] > '9') return false;
		v = v * 10 + (p[i] - '0');
	}
	*out = v;
	return v >= 1 && v <= max;
}

/* HOST, HOST:PORT, HOST:PORT:WEIGHT; HOST with ":" in it stands in brackets. */
static zbz_status server_parse(const zbz_mc *mc, zbz_bytes text, zbz_mc_server *s, zbz_err *err) {
	const char *p = text.p, *end = text.p + text.n, *host = p, *host_end, *colon;
	const char *option = option_of(mc);
	s->port = 11211;
	s->weight = 1;
	for (const char *q = p; q < end; q++)
		if ((unsigned char)*q <= 0x20 || *q == 0x7f)
			return zbz_fail_option(err, option, "a server's name holds no spaces or control bytes");
	if (p < end && *p == '[') {
		host++;
		host_end = memchr(p, ']', text.n);
		p = host_end != NULL ? host_end + 1 : end;
	} else {
		host_end = memchr(p, ':', text.n);
		if (host_end == NULL) host_end = end;
		p = host_end;
	}
	bool ok = host_end != NULL && host_end > host && host_end - host < 254 && (p == end || *p == ':');
	if (ok && p < end) {
		p++;
		colon = memchr(p, ':', (size_t)(end - p));
		ok = digits_parse(p, (size_t)((colon != NULL ? colon : end) - p), 65535, &s->port);
		if (ok && colon != NULL) ok = digits_parse(colon + 1, (size_t)(end - colon - 1), 65535, &s->weight);
	}
	if (!ok)
		return zbz_fail_option(err, option, "expects host, host:port or host:port:weight, got \"%.*s\"", (int)text.n,
		                       text.p);
	s->host = zbz_calloc((size_t)(host_end - host) + 1, 1);
	if (s->host == NULL) return zbz_fail_nomem(err);
	memcpy(s->host, host, (size_t)(host_end - host));
	snprintf(s->name, sizeof s->name, strchr(s->host, ':') != NULL ? "[%s]:%d" : "%s:%d", s->host, s->port);
	return ZBZ_OK;
}

static zbz_status server_add(zbz_mc *mc, zbz_bytes text, zbz_err *err) {
	while (text.n > 0 && *text.p == ' ') text = zbz_b(text.p + 1, text.n - 1);
	while (text.n > 0 && text.p[text.n - 1] == ' ') text.n--;
	if (mc->n == ZBZ_MC_MAX_SERVERS)
		return zbz_fail_option(err, option_of(mc), "more than %d servers", ZBZ_MC_MAX_SERVERS);
	zbz_mc_server *more = zbz_realloc(mc->servers, (mc->n + 1) * sizeof *more);
	if (more == NULL) return zbz_fail_nomem(err);
	mc->servers = more;
	memset(&more[mc->n], 0, sizeof *more);
	zbz_status s = server_parse(mc, text, &more[mc->n], err);
	if (s == ZBZ_OK) mc->n++;
	return s;
}

/* memcached://h1:11211,h2:11211 */
static zbz_status url_parse(zbz_mc *mc, zbz_err *err) {
	const char *p = mc->o->url;
	if (strncmp(p, "memcached:", 10) == 0) p += 10;
	if (strncmp(p, "//", 2) == 0) p += 2;
	size_t n = strcspn(p, "/?#");
	if (memchr(p, '@', n) != NULL)
		return zbz_fail_option(err, "url", "holds a user or password; this provider cannot log in");
	if (strcmp(p + n, "") != 0 && strcmp(p + n, "/") != 0)
		return zbz_fail_option(err, "url", "expects memcached://host:port,host:port and nothing behind it");
	for (;;) {
		const char *comma = memchr(p, ',', n);
		size_t len = comma != NULL ? (size_t)(comma - p) : n;
		zbz_status s = server_add(mc, zbz_b(p, len), err);
		if (s != ZBZ_OK || comma == NULL) return s;
		p += len + 1;
		n -= len + 1;
	}
}

static zbz_status ring_make(zbz_mc *mc, zbz_err *err) {
	mc->ring = memcached_create(NULL);
	if (mc->ring == NULL) return zbz_fail_nomem(err);
	memcached_return_t rc = memcached_behavior_set(mc->ring, MEMCACHED_BEHAVIOR_KETAMA_WEIGHTED, 1);
	for (size_t i = 0; i < mc->n && rc == MEMCACHED_SUCCESS; i++) {
		zbz_mc_server *s = &mc->servers[i];
		rc = memcached_server_add_with_weight(mc->ring, s->host, (in_port_t)s->port, (uint32_t)s->weight);
	}
	if (rc == MEMCACHED_SUCCESS && memcached_server_count(mc->ring) == mc->n) return ZBZ_OK;
	return zbz_fail_option(err, option_of(mc), "libmemcached refuses the list of servers: %s",
	                       memcached_strerror(NULL, rc));
}

static void locks_make(zbz_mc *mc) {
	pthread_mutex_init(&mc->ring_mutex, NULL);
	for (size_t i = 0; i < mc->n; i++) pthread_mutex_init(&mc->servers[i].mutex, NULL);
}

/* ---- forks ---- */

static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static zbz_mc *list;

static void before_fork(void) {
	pthread_mutex_lock(&list_lock);
	for (zbz_mc *mc = list; mc != NULL; mc = mc->next) {
		pthread_mutex_lock(&mc->ring_mutex);
		for (size_t i = 0; i < mc->n; i++) pthread_mutex_lock(&mc->servers[i].mutex);
	}
}

static void after_fork(void) {
	for (zbz_mc *mc = list; mc != NULL; mc = mc->next) {
		for (size_t i = 0; i < mc->n; i++) pthread_mutex_unlock(&mc->servers[i].mutex);
		pthread_mutex_unlock(&mc->ring_mutex);
	}
	pthread_mutex_unlock(&list_lock);
}

/* The idle ones are closed when they are next looked at. */
static void server_renew(zbz_mc_server *s) {
	for (zbz_mc_conn *conn = s->all; conn != NULL; conn = conn->all_next) zbz_net_abandon(conn->net);
	s->all = NULL;
	for (zbz_mc_conn *conn = s->idle; conn != NULL; conn = conn->next) {
		conn->all_prev = NULL;
		conn->all_next = s->all;
		if (s->all != NULL) s->all->all_prev = conn;
		s->all = conn;
	}
}

static void after_fork_in_child(void) {
	for (zbz_mc *mc = list; mc != NULL; mc = mc->next) {
		int64_t open = 0;
		for (size_t i = 0; i < mc->n; i++) {
			server_renew(&mc->servers[i]);
			open += mc->servers[i].idle_n;
		}
		atomic_store(&mc->open, open);
	}
	after_fork();
}

static void watch_forks(void) { pthread_atfork(before_fork, after_fork, after_fork_in_child); }

static void enlist(zbz_mc *mc) {
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, watch_forks);
	pthread_mutex_lock(&list_lock);
	mc->listed = true;
	mc->next = list;
	if (list != NULL) list->prev = mc;
	list = mc;
	pthread_mutex_unlock(&list_lock);
}

static void delist(zbz_mc *mc) {
	if (!mc->listed) return;
	pthread_mutex_lock(&list_lock);
	if (mc->prev != NULL)
		mc->prev->next = mc->next;
	else
		list = mc->next;
	if (mc->next != NULL) mc->next->prev = mc->prev;
	pthread_mutex_unlock(&list_lock);
}

/* ---- connections ---- */

zbz_status zbz_mc_servers_parse(zbz_mc *mc, zbz_err *err) {
	zbz_status s = ZBZ_OK;
	if (mc->o->url != NULL)
		s = url_parse(mc, err);
	else if (mc->o->servers.n == 0)
		s = zbz_fail_option(err, "servers", "expects at least one server");
	else
		for (size_t i = 0; i < mc->o->servers.n && s == ZBZ_OK; i++)
			s = server_add(mc, zbz_bstr(mc->o->servers.items[i]), err);
	if (s == ZBZ_OK) s = ring_make(mc, err);
	locks_make(mc);
	if (s == ZBZ_OK) enlist(mc);
	return s;
}

static zbz_status conn_open(zbz_mc *mc, zbz_mc_server *s, int64_t deadline, zbz_mc_conn **out, zbz_err *err) {
	zbz_mc_conn *conn = zbz_calloc(1, sizeof *conn);
	if (conn == NULL) return zbz_fail_nomem(err);
	zbz_status st = zbz_net_connect_tcp(s->host, s->port, deadline, &conn->net, err);
	if (st != ZBZ_OK) {
		zbz_free(conn);
		return st;
	}
	pthread_mutex_lock(&s->mutex);
	conn->all_next = s->all;
	if (s->all != NULL) s->all->all_prev = conn;
	s->all = conn;
	pthread_mutex_unlock(&s->mutex);
	atomic_fetch_add(&mc->open, 1);
	*out = conn;
	return ZBZ_OK;
}

static void conn_close(zbz_mc *mc, zbz_mc_server *s, zbz_mc_conn *conn) {
	pthread_mutex_lock(&s->mutex);
	if (conn->all_prev != NULL)
		conn->all_prev->all_next = conn->all_next;
	else
		s->all = conn->all_next;
	if (conn->all_next != NULL) conn->all_next->all_prev = conn->all_prev;
	pthread_mutex_unlock(&s->mutex);
	atomic_fetch_sub(&mc->open, 1);
	zbz_net_close(conn->net);
	zbz_buf_clear(&conn->in);
	zbz_free(conn);
}

void zbz_mc_servers_free(zbz_mc *mc) {
	delist(mc);
	for (size_t i = 0; i < mc->n; i++) {
		zbz_mc_server *s = &mc->servers[i];
		for (zbz_mc_conn *conn = s->idle, *next; conn != NULL; conn = next) {
			next = conn->next;
			conn_close(mc, s, conn);
		}
		pthread_mutex_destroy(&s->mutex);
		zbz_free(s->host);
	}
	if (mc->ring != NULL) memcached_free(mc->ring);
	zbz_free(mc->servers);
	mc->servers = NULL;
	mc->n = 0;
}

size_t zbz_mc_server_of(zbz_mc *mc, const zbz_mc_key *key) {
	if (mc->n == 1) return 0;
	pthread_mutex_lock(&mc->ring_mutex);
	uint32_t i = memcached_generate_hash(mc->ring, key->text, key->n);
	pthread_mutex_unlock(&mc->ring_mutex);
	return i < mc->n ? i : 0;
}

static zbz_mc_conn *idle_pop(zbz_mc_server *s) {
	pthread_mutex_lock(&s->mutex);
	zbz_mc_conn *conn = s->idle;
	if (conn != NULL) {
		s->idle = conn->next;
		s->idle_n--;
	}
	pthread_mutex_unlock(&s->mutex);
	return conn;
}

zbz_status zbz_mc_conn_take(zbz_mc *mc, size_t server, int64_t deadline, bool fresh, zbz_mc_conn **out, zbz_err *err) {
	zbz_mc_server *s = &mc->servers[server];
	zbz_mc_conn *conn;
	while (!fresh && (conn = idle_pop(s)) != NULL) {
		if (conn->net->fd >= 0 && zbz_net_quiet(conn->net)) {
			*out = conn;
			return ZBZ_OK;
		}
		conn_close(mc, s, conn); /* the server has gone, perhaps to come back; or a fork has closed it */
	}
	return conn_open(mc, s, deadline, out, err);
}

void zbz_mc_conn_give(zbz_mc *mc, size_t server, zbz_mc_conn *conn, bool reusable) {
	zbz_mc_server *s = &mc->servers[server];
	if (reusable) {
		zbz_buf_reset(&conn->in);
		pthread_mutex_lock(&s->mutex);
		reusable = s->idle_n < mc->o->max_idle_conns;
		if (reusable) {
			conn->next = s->idle;
			s->idle = conn;
			s->idle_n++;
		}
		pthread_mutex_unlock(&s->mutex);
	}
	if (!reusable) conn_close(mc, s, conn);
}
