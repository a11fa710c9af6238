/* Publish and subscribe: each subscription has a connection and a thread of its own. The thread comes back by itself after a
 * lost connection and says that something may have been missed; silence is probed with PING, so that a dead peer is noticed. */
#include "provider/redis_impl.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define RECONNECT_MS   1000 /* limit of the first attempt to come back; doubled up to the option timeout */
#define BACKOFF_MIN_MS 20
#define BACKOFF_MAX_MS 2000
#define SILENCE_MS     15000 /* before PING, when read_timeout is off */

typedef enum push { PUSH_OTHER, PUSH_MESSAGE, PUSH_PMESSAGE, PUSH_CONFIRM } push;

typedef struct subscription {
	struct subscription *next, *prev; /* of all */
	redis_self *self;
	bool pattern;
	size_t n;
	zbz_bytes *channels;
	void (*on_message)(void *ud, zbz_bytes channel, zbz_bytes payload);
	void *ud;
	int wake;  /* eventfd: the thread shall end */
	pid_t pid; /* whose thread it is */
	pthread_t thread;
	int64_t first_deadline;
	redis_conn *conn; /* the thread's */
	push kind;
	size_t confirmed;
	zbz_buf channel; /* of the message under way */
	pthread_mutex_t lock;
	pthread_cond_t told;
	int fd;     /* of conn, for a forked child */
	bool known; /* how the first attempt ended */
	zbz_err err;
} subscription;

/* ---- forks ---------------------------------------------------------------------------------------------------------- */

static pthread_mutex_t subs_lock = PTHREAD_MUTEX_INITIALIZER;
static subscription *subs;

static void before_fork(void) {
	subscription *sub;
	pthread_mutex_lock(&subs_lock);
	for (sub = subs; sub; sub = sub->next) pthread_mutex_lock(&sub->lock);
}

static void after_fork_parent(void) {
	subscription *sub;
	for (sub = subs; sub; sub = sub->next) pthread_mutex_unlock(&sub->lock);
	pthread_mutex_unlock(&subs_lock);
}

static void after_fork_child(void) {
	subscription *sub;
	for (sub = subs; sub; sub = sub->next) {
		if (sub->fd >= 0) close(sub->fd);
		if (sub->wake >= 0) close(sub->wake);
		sub->fd = sub->wake = -1;
		pthread_cond_init(&sub->told, NULL); /* who waited is not here */
		pthread_mutex_unlock(&sub->lock);
	}
	pthread_mutex_unlock(&subs_lock);
}

static void watch_forks(void) { pthread_atfork(before_fork, after_fork_parent, after_fork_child); }

static void publish_fd(subscription *sub, int fd) {
	pthread_mutex_lock(&sub->lock);
	sub->fd = fd;
	pthread_mutex_unlock(&sub->lock);
}

/* ---- what the server pushes ------------------------------------------------------------------------------------------- */

static push kind_of(zbz_bytes word) {
	if (zbz_bytes_eq(word, zbz_bstr("message"))) return PUSH_MESSAGE;
	if (zbz_bytes_eq(word, zbz_bstr("pmessage"))) return PUSH_PMESSAGE;
	if (zbz_bytes_eq(word, zbz_bstr("subscribe")) || zbz_bytes_eq(word, zbz_bstr("psubscribe"))) return PUSH_CONFIRM;
	return PUSH_OTHER;
}

static void deliver(subscription *sub, zbz_bytes payload) {
	if (payload.n == 0) payload.p = "";
	sub->on_message(sub->ud, zbz_buf_bytes(&sub->channel), payload);
}

static zbz_status push_item(void *ud, const zbz_resp_item *item, zbz_err *err) {
	subscription *sub = ud;
	size_t channel_at, last;
	if (item->depth == 0) {
		sub->kind = PUSH_OTHER;
		return item->type == ZBZ_RESP_ERROR ? redis_reply_error(item->bytes, err) : ZBZ_OK;
	}
	if (item->depth > 1) return ZBZ_OK;
	if (item->index == 0) {
		sub->kind = item->type == ZBZ_RESP_BULK ? kind_of(item->bytes) : PUSH_OTHER;
		if (sub->kind == PUSH_CONFIRM) sub->confirmed++;
		return ZBZ_OK;
	}
	if (sub->kind != PUSH_MESSAGE && sub->kind != PUSH_PMESSAGE) return ZBZ_OK;
	channel_at = sub->kind == PUSH_MESSAGE ? 1 : 2;
	last = channel_at + 1;
	if (item->index == channel_at) {
		zbz_buf_reset(&sub->channel);
		return zbz_buf_append(&sub->channel, item->bytes.p, item->bytes.n, err);
	}
	if (item->index == last && item->type == ZBZ_RESP_BULK) deliver(sub, item->bytes);
	return ZBZ_OK;
}

static void tell_gap(subscription *sub) {
	size_t i;
	for (i = 0; i < sub->n; i++) sub->on_message(sub->ud, sub->channels[i], zbz_b(NULL, 0));
}

/* ---- the thread ----------------------------------------------------------------------------------------------------- */

/* OK: something was read. AGAIN: the thread shall end. */
static zbz_status await_push(subscription *sub, int64_t deadline, zbz_err *err) {
	size_t got = 0;
	zbz_status s = zbz_net_wait(sub->conn->net, POLLIN, sub->wake, deadline, NULL, err);
	if (s != ZBZ_OK) return s;
	s = redis_conn_take(sub->conn, SIZE_MAX, &got, push_item, sub, err);
	return s == ZBZ_AGAIN ? ZBZ_OK : s;
}

static zbz_status ask_for_channels(subscription *sub, int64_t deadline, zbz_err *err) {
	zbz_buf *out = &sub->conn->out;
	zbz_status s = zbz_resp_begin(out, sub->n + 1, err);
	size_t i;
	if (s == ZBZ_OK) s = zbz_resp_word(out, zbz_bstr(sub->pattern ? "PSUBSCRIBE" : "SUBSCRIBE"), err);
	for (i = 0; s == ZBZ_OK && i < sub->n; i++) s = zbz_resp_word(out, sub->channels[i], err);
	if (s == ZBZ_OK) s = zbz_net_write(sub->conn->net, out->p, out->n, deadline, err);
	zbz_buf_reset(out);
	return s;
}

static zbz_status attach(subscription *sub, int64_t deadline, zbz_err *err) {
	zbz_status s = redis_conn_open(&sub->self->target, deadline, &sub->conn, err);
	if (s != ZBZ_OK) return s;
	publish_fd(sub, sub->conn->net->fd);
	sub->confirmed = 0;
	s = ask_for_channels(sub, deadline, err);
	while (s == ZBZ_OK && sub->confirmed < sub->n) s = await_push(sub, deadline, err);
	return s;
}

static void detach(subscription *sub) {
	publish_fd(sub, -1);
	redis_conn_close(sub->conn);
	sub->conn = NULL;
}

/* Until the connection is lost (negative) or the thread shall end (AGAIN). */
static zbz_status listen_on(subscription *sub, zbz_err *err) {
	int64_t silence = sub->self->opt->read_timeout > 0 ? sub->self->opt->read_timeout : SILENCE_MS;
	bool probed = false;
	for (;;) {
		int64_t deadline = zbz_net_now() + silence;
		zbz_status s = await_push(sub, deadline, err);
		if (s == ZBZ_E_TIMEOUT && !probed) {
			s = zbz_net_write(sub->conn->net, "*1\r\n$4\r\nPING\r\n", 14, deadline + silence, err);
			probed = true;
		} else {
			probed = false;
		}
		if (s != ZBZ_OK) return s;
	}
}

/* False: the thread shall end. */
static bool pause_for(subscription *sub, int failures) {
	struct pollfd pfd = { .fd = sub->wake, .events = POLLIN };
	int ms = failures < 7 ? BACKOFF_MIN_MS << failures : BACKOFF_MAX_MS;
	int rc;
	do rc = poll(&pfd, 1, ms - (int)((uintptr_t)sub / 64 % (unsigned)(ms / 4 + 1)));
	while (rc < 0 && errno == EINTR);
	return rc == 0;
}

static void tell_first(subscription *sub, const zbz_err *err, zbz_status s) {
	pthread_mutex_lock(&sub->lock);
	sub->err = *err;
	sub->err.status = s;
	sub->known = true;
	pthread_cond_signal(&sub->told);
	pthread_mutex_unlock(&sub->lock);
}

static int64_t reconnect_deadline(const subscription *sub, int failures) {
	int64_t ms = failures < 4 ? RECONNECT_MS << failures : RECONNECT_MS << 4, timeout = sub->self->opt->timeout;
	return zbz_net_now() + (timeout > 0 && timeout < ms ? timeout : ms);
}

static void *thread_main(void *ud) {
	subscription *sub = ud;
	zbz_err err = { 0 };
	int failures = 0;
	zbz_status s = attach(sub, sub->first_deadline, &err);
	tell_first(sub, &err, s);
	if (s != ZBZ_OK) {
		detach(sub);
		return NULL;
	}
	for (;;) {
		if (s == ZBZ_OK) {
			failures = 0;
			s = listen_on(sub, &err);
		}
		detach(sub);
		if (s == ZBZ_AGAIN || !pause_for(sub, failures)) return NULL;
		s = attach(sub, reconnect_deadline(sub, failures++), &err);
		if (s == ZBZ_OK) tell_gap(sub);
	}
}

/* ---- public --------------------------------------------------------------------------------------------------------- */

static void sub_free(subscription *sub) {
	if (!sub) return;
	if (sub->wake >= 0) close(sub->wake);
	zbz_buf_clear(&sub->channel);
	zbz_free(sub->channels);
	zbz_free(sub);
}

/* One block: the array, then the bytes it points to. */
static zbz_bytes *copy_channels(const zbz_bytes *channels, size_t n) {
	size_t i, total = n * sizeof *channels;
	zbz_bytes *copy;
	char *p;
	for (i = 0; i < n; i++) total += channels[i].n;
	copy = zbz_malloc(total);
	if (!copy) return NULL;
	p = (char *)(copy + n);
	for (i = 0; i < n; i++) {
		if (channels[i].n) memcpy(p, channels[i].p, channels[i].n);
		copy[i] = zbz_b(p, channels[i].n);
		p += channels[i].n;
	}
	return copy;
}

static bool start_thread(subscription *sub) {
	sigset_t all, old;
	int rc;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&sub->thread, NULL, thread_main, sub);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return rc == 0;
}

static void enlist(subscription *sub) {
	pthread_mutex_lock(&subs_lock);
	sub->next = subs;
	if (subs) subs->prev = sub;
	subs = sub;
	pthread_mutex_unlock(&subs_lock);
}

static void delist(subscription *sub) {
	pthread_mutex_lock(&subs_lock);
	if (sub->prev)
		sub->prev->next = sub->next;
	else
		subs = sub->next;
	if (sub->next) sub->next->prev = sub->prev;
	pthread_mutex_unlock(&subs_lock);
}

/* The thread's own words about the first attempt. */
static zbz_status await_first(subscription *sub, zbz_err *err) {
	pthread_mutex_lock(&sub->lock);
	while (!sub->known) pthread_cond_wait(&sub->told, &sub->lock);
	*err = sub->err;
	pthread_mutex_unlock(&sub->lock);
	return err->status;
}

static void stop(subscription *sub) {
	if (sub->pid == getpid()) {
		uint64_t one = 1;
		while (write(sub->wake, &one, sizeof one) < 0 && errno == EINTR) {}
		pthread_join(sub->thread, NULL);
	}
	delist(sub);
	pthread_cond_destroy(&sub->told);
	pthread_mutex_destroy(&sub->lock);
	sub_free(sub);
}

zbz_status redis_subscribe(void *ud, zbz_call *c, const zbz_bytes *channels, size_t n, bool pattern,
                           void (*on_message)(void *ud, zbz_bytes channel, zbz_bytes payload), void *message_ud,
                           void **out) {
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	redis_self *self = ud;
	subscription *sub = zbz_calloc(1, sizeof *sub);
	zbz_err err;
	zbz_status s;
	if (n == 0) {
		zbz_free(sub);
		return zbz_fail(&c->err, ZBZ_E_ARGUMENT, "no channel to subscribe to");
	}
	if (!sub) return zbz_fail_nomem(&c->err);
	*sub = (subscription){
		.self = self, .pattern = pattern, .n = n, .on_message = on_message, .ud = message_ud, .fd = -1, .pid = getpid()
	};
	sub->first_deadline = zbz_net_deadline(c, self->opt->timeout);
	sub->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	sub->channels = copy_channels(channels, n);
	if (sub->wake < 0 || !sub->channels) {
		s = sub->wake < 0 ? zbz_fail_errno(&c->err, ZBZ_E_UNAVAILABLE, errno, "eventfd") : zbz_fail_nomem(&c->err);
		sub_free(sub);
		return s;
	}
	pthread_mutex_init(&sub->lock, NULL);
	pthread_cond_init(&sub->told, NULL);
	pthread_once(&once, watch_forks);
	enlist(sub);
	if (!start_thread(sub)) {
		sub->pid = 0; /* nothing to join */
		stop(sub);
		return zbz_fail(&c->err, ZBZ_E_UNAVAILABLE, "no thread for a subscription");
	}
	s = await_first(sub, &err);
	if (s == ZBZ_OK) {
		*out = sub;
		return s;
	}
	c->err = err;
	stop(sub);
	return s;
}

void redis_unsubscribe(void *ud, void *subscription_) {
	(void)ud;
	if (subscription_) stop(subscription_);
}

static subscription *one_of(const redis_self *self) {
	subscription *sub;
	pthread_mutex_lock(&subs_lock);
	for (sub = subs; sub && sub->self != self; sub = sub->next) {}
	pthread_mutex_unlock(&subs_lock);
	return sub;
}

void redis_unsubscribe_all(redis_self *self) {
	subscription *sub;
	while ((sub = one_of(self)) != NULL) stop(sub);
}
