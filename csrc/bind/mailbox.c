/* The mailbox of a Lua state: messages of subscriptions, handed out one by one. A provider's thread copies a
 * message and posts it; nothing of Lua is touched there. What the mailbox refuses becomes a gap, told with the next
 * message or the next poll. */
#include <stdatomic.h>
#include <stddef.h>

#include "base/fork.h"
#include "cache.h"

#define MAIL_MAX     ((size_t)16384)
#define DRAIN_MAX    ((size_t)256)
#define CHANNELS_MAX 1024

/* Held by the state and by every open subscription: finalizers come in any order, and the last one closes it. */
typedef struct zbz_mail {
	zbz_mailbox *mailbox;
	zbz_job *drained; /* not yet handed out */
	size_t refs;
	unsigned generation; /* of the process it was made in */
} zbz_mail;

typedef struct event {
	zbz_job job;
	uint64_t subscription;
	size_t channel_n, payload_n;
	bool gap;
	char bytes[]; /* channel, payload */
} event;

typedef struct event_box {
	zbz_box head;
	event *e;
} event_box;

/* The part that a provider's thread sees. Freed after unsubscribe, which waits for that thread. */
typedef struct feed {
	zbz_mailbox *mailbox;
	uint64_t id;
	atomic_bool gap;
} feed;

typedef struct zbz_subscription_box {
	zbz_box head;
	feed *feed; /* NULL: closed */
	zbz_store *store;
	void *subscription;
	zbz_keep *keep;
	zbz_mail *mail;
	zbz_bind *bind;
	zbz_cache_box *cache; /* its userdata is kept by this box's own table */
	struct zbz_subscription_box *next_of_cache, *next_of_bind;
} zbz_subscription_box;

static void event_drop(zbz_job *job) { zbz_free((char *)job - offsetof(event, job)); }
static event *event_of(zbz_job *job) { return (event *)(void *)((char *)job - offsetof(event, job)); }

static void mail_unref(zbz_mail *mail) {
	zbz_job *job;
	if (mail == NULL || --mail->refs > 0) return;
	while ((job = mail->drained) != NULL) {
		mail->drained = job->next;
		event_drop(job);
	}
	zbz_mailbox_close(mail->mailbox);
	zbz_free(mail);
}

void zbz_mail_close(zbz_bind *b) {
	zbz_mail *mail = b->mail;
	b->mail = NULL;
	mail_unref(mail);
}

static zbz_mail *mail_of(zbz_bind *b, zbz_err *err) {
	zbz_mail *mail;
	if (b->mail != NULL && b->mail->generation == zbz_fork_generation()) return b->mail;
	zbz_mail_close(b); /* a child's first ask: what its parent subscribed to goes on arriving there */
	if (b->closing) {
		zbz_fail(err, ZBZ_E_CLOSED, "the Lua state is closing");
		return NULL;
	}
	mail = zbz_calloc(1, sizeof(*mail));
	if (mail == NULL) {
		zbz_fail_nomem(err);
		return NULL;
	}
	mail->refs = 1;
	mail->generation = zbz_fork_generation();
	if (zbz_mailbox_new(MAIL_MAX, &mail->mailbox, err) < 0) {
		zbz_free(mail);
		return NULL;
	}
	b->mail = mail;
	return mail;
}

/* ---- on a provider's thread ---- */

static bool post(feed *f, zbz_bytes channel, zbz_bytes payload, bool gap) {
	event *e;
	if (channel.n > ZBZ_BUF_MAX || payload.n > ZBZ_BUF_MAX) return false;
	e = zbz_calloc(1, sizeof(*e) + channel.n + payload.n);
	if (e == NULL) return false;
	e->job.drop = event_drop;
	e->subscription = f->id;
	e->channel_n = channel.n;
	e->payload_n = payload.n;
	e->gap = gap;
	if (channel.n > 0) memcpy(e->bytes, channel.p, channel.n);
	if (payload.n > 0) memcpy(e->bytes + channel.n, payload.p, payload.n);
	if (zbz_post(f->mailbox, &e->job, NULL) == ZBZ_OK) return true;
	zbz_free(e);
	return false;
}

static void on_message(void *ud, zbz_bytes channel, zbz_bytes payload) {
	feed *f = ud;
	if (atomic_exchange(&f->gap, false) && !post(f, channel, zbz_b(NULL, 0), true)) atomic_store(&f->gap, true);
	if (!post(f, channel, payload, payload.p == NULL)) atomic_store(&f->gap, true);
}

/* ---- subscriptions ---- */

static void unlink_box(zbz_subscription_box *box) {
	zbz_subscription_box **at;
	for (at = &box->bind->subscriptions; *at != NULL && *at != box; at = &(*at)->next_of_bind) {}
	if (*at != NULL) *at = box->next_of_bind;
	for (at = &box->cache->subscriptions; *at != NULL && *at != box; at = &(*at)->next_of_cache) {}
	if (*at != NULL) *at = box->next_of_cache;
}

static void subscription_release(zbz_subscription_box *box) {
	feed *f = box->feed;
	if (f == NULL) return;
	box->feed = NULL;
	unlink_box(box);
	zbz_store_unsubscribe(box->store, box->subscription);
	zbz_store_unref(box->store);
	zbz_free(f);
	mail_unref(box->mail);
	zbz_keep_unref(box->keep);
}

/* Clears an entry that is there: this allocates nothing. */
static void forget(lua_State *L, uint64_t id) {
	zbz_push_slot(L, ZBZ_SLOT_SUBSCRIPTIONS);
	lua_pushnil(L);
	lua_rawseti(L, -2, (int)id);
	lua_pop(L, 1);
}

static void end_subscription(lua_State *L, zbz_subscription_box *box) {
	uint64_t id = box->feed->id;
	subscription_release(box);
	forget(L, id);
}

void zbz_subscriptions_close(lua_State *L, zbz_cache_box *cache) {
	while (cache->subscriptions != NULL) end_subscription(L, cache->subscriptions);
}

static void subscription_close(lua_State *L, void *self) {
	zbz_subscription_box *box = self;
	if (box->feed != NULL) end_subscription(L, box);
}

static int subscription_closed(lua_State *L) {
	zbz_subscription_box *box = zbz_box_check(L, zbz_bind_of(L), 1, ZBZ_BOX_SUBSCRIPTION, "closed");
	lua_pushboolean(L, box->feed == NULL);
	return 1;
}

/* Lists at index 2 or one string; the bytes stay with the Lua strings. Allocates nothing once `channels` is there. */
static size_t read_channels(lua_State *L, zbz_bytes *channels, size_t n) {
	size_t i;
	if (lua_type(L, 2) == LUA_TSTRING) {
		channels[0] = zbz_string_at(L, 2);
		return 1;
	}
	for (i = 0; i < n; i++) {
		lua_rawgeti(L, 2, (int)i + 1);
		channels[i] = zbz_string_arg(L, lua_gettop(L), "subscribe", "a channel");
		lua_pop(L, 1);
	}
	return n;
}

static size_t count_channels(lua_State *L) {
	size_t n;
	if (lua_type(L, 2) == LUA_TSTRING) return 1;
	if (!lua_istable(L, 2))
		luaL_error(L, "zbz: subscribe: a channel or a list of channels expected, got %s", luaL_typename(L, 2));
	n = lua_rawlen(L, 2);
	if (n == 0 || n > CHANNELS_MAX) luaL_error(L, "zbz: subscribe: 1 to %d channels expected", CHANNELS_MAX);
	return n;
}

static zbz_status open_subscription(lua_State *L, zbz_subscription_box *box, const zbz_bytes *channels, size_t n,
                                    zbz_call *c) {
	bool pattern = lua_toboolean(L, 3) != 0;
	zbz_store *store = zbz_cache_begin_store(L, 5, "subscribe", c);
	zbz_status s;
	if (store == NULL) return zbz_fail(&c->err, ZBZ_E_CLOSED, "the cache is closed");
	s = zbz_store_subscribe(store, c, channels, n, pattern, on_message, box->feed, &box->subscription);
	if (s < 0) {
		zbz_store_unref(store);
		return s;
	}
	box->store = store;
	return ZBZ_OK;
}

/* From here on the box releases everything. */
static void link_box(zbz_subscription_box *box, zbz_bind *b, zbz_cache_box *cache, zbz_mail *mail) {
	box->bind = b;
	box->cache = cache;
	box->keep = zbz_keep_ref(cache->keep);
	box->mail = mail;
	mail->refs++;
	box->next_of_cache = cache->subscriptions;
	cache->subscriptions = box;
	box->next_of_bind = b->subscriptions;
	b->subscriptions = box;
}

/* subscriptions[id] = {fn, box}; the box's own table keeps the cache. */
static void anchor(lua_State *L, int box, uint64_t id) {
	lua_createtable(L, 1, 0);
	lua_pushvalue(L, 1);
	lua_rawseti(L, -2, 1);
	zbz_setenv(L, box);
	zbz_push_slot(L, ZBZ_SLOT_SUBSCRIPTIONS);
	lua_createtable(L, 2, 0);
	lua_pushvalue(L, 4);
	lua_rawseti(L, -2, 1);
	lua_pushvalue(L, box);
	lua_rawseti(L, -2, 2);
	lua_rawseti(L, -2, (int)id);
	lua_pop(L, 1);
}

static int cache_subscribe(lua_State *L) {
	zbz_bind *b = zbz_bind_of(L);
	zbz_cache_box *cache = zbz_cache_check(L, b, 1, "subscribe");
	size_t n = count_channels(L);
	zbz_where at = zbz_at("subscribe");
	zbz_subscription_box *box;
	zbz_bytes *channels;
	zbz_mail *mail;
	zbz_call c;
	uint64_t id;
	feed *f;
	if (!lua_isfunction(L, 4)) return luaL_error(L, "zbz: subscribe: a function expected, got %s", luaL_typename(L, 4));
	zbz_ms_arg(L, 5, "subscribe", "deadline", -1);
	lua_settop(L, 5);
	box = zbz_box_new(L, ZBZ_BOX_SUBSCRIPTION, sizeof(*box));
	channels = zbz_newuserdata(L, n * sizeof(*channels));
	id = ++b->subscription_ids;
	anchor(L, 6, id);
	zbz_cache_check(L, b, 1, "subscribe");
	read_channels(L, channels, n);
	memset(&c.err, 0, sizeof(c.err));
	mail = mail_of(b, &c.err);
	f = mail == NULL ? NULL : zbz_calloc(1, sizeof(*f));
	if (mail != NULL && f == NULL) zbz_fail_nomem(&c.err);
	if (f != NULL) {
		f->mailbox = mail->mailbox;
		f->id = id;
		box->feed = f;
		if (open_subscription(L, box, channels, n, &c) == ZBZ_OK) {
			link_box(box, b, cache, mail);
			lua_settop(L, 6);
			return 1;
		}
		box->feed = NULL;
		zbz_free(f);
	}
	forget(L, id);
	return zbz_push_failure(L, &c.err, &at);
}

/* ---- poll ---- */

static void event_release(lua_State *L, void *self) {
	event_box *box = self;
	event *e = box->e;
	box->e = NULL;
	zbz_free(e);
}

/* Pushes the function of an open subscription and true, or nothing. */
static bool push_listener(lua_State *L, uint64_t id) {
	zbz_push_slot(L, ZBZ_SLOT_SUBSCRIPTIONS);
	lua_rawgeti(L, -1, (int)id);
	lua_remove(L, -2);
	if (lua_isnil(L, -1)) {
		lua_pop(L, 1);
		return false;
	}
	lua_rawgeti(L, -1, 1);
	lua_remove(L, -2);
	return true;
}

static event *next_event(zbz_mail *mail) {
	zbz_job *job;
	if (mail->drained == NULL) mail->drained = zbz_mailbox_drain(mail->mailbox, DRAIN_MAX);
	job = mail->drained;
	if (job == NULL) return NULL;
	mail->drained = job->next;
	job->next = NULL;
	return event_of(job);
}

/* A gap that could not be told with a message. */
static int push_gap(lua_State *L, zbz_bind *b) {
	zbz_subscription_box *s;
	for (s = b->subscriptions; s != NULL; s = s->next_of_bind) {
		if (!atomic_exchange(&s->feed->gap, false)) continue;
		if (!push_listener(L, s->feed->id)) continue;
		lua_pushliteral(L, "");
		return 2;
	}
	return 0;
}

/* Events of subscriptions that were closed meanwhile are passed over. */
static int push_event(lua_State *L, zbz_bind *b, event_box *box) {
	while (b->mail != NULL && (box->e = next_event(b->mail)) != NULL) {
		event *e = box->e;
		int n = 2;
		if (push_listener(L, e->subscription)) {
			lua_pushlstring(L, e->bytes, e->channel_n);
			if (!e->gap) {
				lua_pushlstring(L, e->bytes + e->channel_n, e->payload_n);
				n = 3;
			}
			box->e = NULL;
			zbz_free(e);
			return n;
		}
		box->e = NULL;
		zbz_free(e);
	}
	return push_gap(L, b);
}

static int push_trouble(lua_State *L, const zbz_err *err, const char *op) {
	zbz_where at = zbz_at(op);
	return zbz_push_failure(L, err, &at);
}

static int poll_next(lua_State *L) {
	zbz_bind *b = zbz_bind_of(L);
	int64_t timeout = zbz_ms_arg(L, 1, "poll_next", "timeout", 0), deadline;
	event_box *box;
	zbz_err err;
	if (timeout < 0) return luaL_error(L, "zbz: poll_next: a negative timeout");
	deadline = zbz_mono(zbz_clock_system());
	deadline = timeout < ZBZ_NEVER - deadline ? deadline + timeout : ZBZ_NEVER;
	lua_settop(L, 0);
	box = zbz_box_new(L, ZBZ_BOX_EVENT, sizeof(*box));
	if (mail_of(b, &err) == NULL) return push_trouble(L, &err, "poll");
	for (;;) {
		int n = push_event(L, b, box);
		zbz_status s;
		if (n > 0) return n;
		if (timeout == 0) break;
		s = zbz_mailbox_wait(b->mail->mailbox, deadline, &err);
		if (s == ZBZ_E_TIMEOUT) break;
		if (s < 0) return push_trouble(L, &err, "poll");
	}
	lua_pushnil(L);
	return 1;
}

static int fd(lua_State *L) {
	zbz_err err;
	zbz_mail *mail = mail_of(zbz_bind_of(L), &err);
	int number = mail == NULL ? -1 : zbz_mailbox_fd(mail->mailbox, &err);
	if (number < 0) return push_trouble(L, &err, "fd");
	lua_pushinteger(L, number);
	return 1;
}

const luaL_Reg zbz_cache_mail_methods[] = { { "subscribe", cache_subscribe }, { NULL, NULL } };
static const luaL_Reg subscription_methods[] = { { "closed", subscription_closed }, { NULL, NULL } };
static const luaL_Reg functions[] = { { "poll_next", poll_next }, { "fd", fd }, { NULL, NULL } };

void zbz_open_mailbox(lua_State *L) {
	zbz_class(L, ZBZ_BOX_SUBSCRIPTION, "zbz.Subscription", subscription_close, "close", subscription_methods);
	zbz_class(L, ZBZ_BOX_EVENT, "zbz.event", event_release, NULL, NULL);
	zbz_getenv(L, lua_upvalueindex(1));
	lua_newtable(L);
	lua_rawseti(L, -2, ZBZ_SLOT_SUBSCRIPTIONS);
	lua_pop(L, 1);
	zbz_functions(L, 1, functions);
}
