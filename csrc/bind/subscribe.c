/* Subscriptions: a provider's thread copies a message and posts it to the mailbox of the Lua state; nothing of Lua is touched there.
 * What the mailbox refuses becomes a gap, told with the next message or the next poll. */
#include <stdatomic.h>

#include "mail.h"
#include "parting.h"
#include "request.h"

#define CHANNELS_MAX 1024

/* The part that a provider's thread sees. Freed after unsubscribe, which waits for that thread. */
typedef struct zbz_feed {
	zbz_mailbox *mailbox;
	uint64_t id;
	atomic_bool gap;
	/* once closed */
	struct zbz_feed *next;
	zbz_store *store;
	void *subscription;
	zbz_keep *keep;
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

/* ---- on a provider's thread ---- */

static bool post(feed *f, zbz_bytes channel, zbz_bytes payload, bool gap) {
	zbz_event *e;
	if (channel.n > ZBZ_BUF_MAX || payload.n > ZBZ_BUF_MAX) return false;
	e = zbz_calloc(1, sizeof(*e) + channel.n + payload.n);
	if (e == NULL) return false;
	e->job.drop = zbz_event_drop;
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
	if (channel.p == NULL) return; /* lost: the gap is told once there is something to read again */
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

/* Clears an entry that is there: this allocates nothing. */
void zbz_forget_listener(lua_State *L, uint64_t id) {
	zbz_push_slot(L, ZBZ_SLOT_SUBSCRIPTIONS);
	lua_pushnil(L);
	lua_rawseti(L, -2, (int)id);
	lua_pop(L, 1);
}

static void feed_free(feed *f) {
	if (f == NULL) return;
	zbz_mailbox_unref(f->mailbox);
	zbz_free(f);
}

void zbz_feeds_free(feed *f) {
	while (f != NULL) {
		feed *next = f->next;
		zbz_keep *keep = f->keep;
		zbz_store_unsubscribe(f->store, f->subscription);
		zbz_store_unref(f->store);
		feed_free(f);
		zbz_keep_unref(keep);
		f = next;
	}
}

void zbz_subscription_take(lua_State *L, zbz_subscription_box *box, zbz_parting *out) {
	feed *f = box->feed;
	if (f == NULL) return;
	box->feed = NULL;
	unlink_box(box);
	f->store = box->store;
	f->subscription = box->subscription;
	f->keep = box->keep;
	f->next = out->feeds;
	out->feeds = f;
	zbz_mail_unref(box->mail);
	zbz_forget_listener(L, f->id);
}

void zbz_subscriptions_take(lua_State *L, zbz_cache_box *cache, zbz_parting *out) {
	while (cache->subscriptions != NULL) zbz_subscription_take(L, cache->subscriptions, out);
}

static void subscription_release(lua_State *L, void *self) {
	zbz_parting p = { 0 };
	zbz_subscription_take(L, self, &p);
	zbz_part(zbz_bind_of(L), &p);
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

void zbz_keep_listener(lua_State *L, uint64_t id, int fn, int box) {
	zbz_push_slot(L, ZBZ_SLOT_SUBSCRIPTIONS);
	lua_createtable(L, 2, 0);
	lua_pushvalue(L, fn);
	lua_rawseti(L, -2, 1);
	lua_pushvalue(L, box);
	lua_rawseti(L, -2, 2);
	lua_rawseti(L, -2, (int)id);
	lua_pop(L, 1);
}

/* The box's own table keeps the cache. */
static void anchor(lua_State *L, int box, uint64_t id) {
	lua_createtable(L, 1, 0);
	lua_pushvalue(L, 1);
	lua_rawseti(L, -2, 1);
	zbz_setenv(L, box);
	zbz_keep_listener(L, id, 4, box);
}

static feed *feed_new(zbz_mailbox *mb, uint64_t id, zbz_err *err) {
	feed *f = zbz_calloc(1, sizeof(*f));
	if (f == NULL) {
		zbz_fail_nomem(err);
		return NULL;
	}
	f->mailbox = zbz_mailbox_ref(mb);
	f->id = id;
	return f;
}

/* What was opened, or nearly, and that nobody takes; any thread. */
static void undo_subscribe(zbz_request *r) {
	if (r->opened != NULL) zbz_store_unsubscribe(r->held, r->opened);
	if (r->held != NULL) zbz_store_unref(r->held);
	feed_free(r->ud);
}

static void forget_request(lua_State *L, zbz_request *r) { zbz_forget_listener(L, (uint64_t)r->number); }

/* The box waits closed in the state's table of subscriptions. */
static void parse_subscribe(lua_State *L, zbz_bind *b, zbz_request *r) {
	size_t n;
	uint64_t id;
	int box;
	zbz_mailbox *mb;
	zbz_cache_check(L, b, 1, "subscribe");
	n = count_channels(L);
	if (!lua_isfunction(L, 4)) luaL_error(L, "zbz: subscribe: a function expected, got %s", luaL_typename(L, 4));
	zbz_ms_arg(L, 5, "subscribe", "deadline", -1);
	zbz_request_room(L, 5);
	zbz_box_new(L, ZBZ_BOX_SUBSCRIPTION, sizeof(zbz_subscription_box));
	box = lua_gettop(L);
	r->keys = zbz_newuserdata(L, n * sizeof(*r->keys));
	id = ++b->subscription_ids;
	r->number = (int64_t)id;
	anchor(L, box, id);
	r->failed = forget_request;
	zbz_cache_check(L, b, 1, "subscribe");
	r->count = read_channels(L, r->keys, n);
	r->flag = lua_toboolean(L, 3) != 0;
	memset(&r->c.err, 0, sizeof(r->c.err));
	mb = zbz_mail_box(b, &r->c.err);
	r->ud = mb != NULL ? feed_new(mb, id, &r->c.err) : NULL;
	if (r->ud == NULL) {
		r->s = r->c.err.status;
		return;
	}
	r->opened = NULL;
	r->held = NULL;
	r->undo = undo_subscribe;
	zbz_request_store(L, r, 5);
}

static zbz_status run_subscribe(zbz_request *r) {
	zbz_status s = zbz_store_subscribe(r->store, &r->c, r->keys, r->count, r->flag, on_message, r->ud, &r->opened);
	if (s < 0) {
		r->opened = NULL;
	} else {
		r->held = zbz_store_ref(r->store);
	}
	return s;
}

/* The cache may have been closed while the call was under way: then its subscriptions have ended. */
static int push_subscription(lua_State *L, zbz_bind *b, zbz_request *r) {
	zbz_cache_box *cache = zbz_box_check(L, b, 1, ZBZ_BOX_CACHE, "subscribe");
	zbz_mail *mail = zbz_mail_of(b, &r->c.err);
	zbz_subscription_box *box;
	if (mail == NULL || cache->cache == NULL) {
		r->s = mail == NULL ? r->c.err.status : zbz_fail(&r->c.err, ZBZ_E_CLOSED, "the cache is closed");
		return 0;
	}
	zbz_push_slot(L, ZBZ_SLOT_SUBSCRIPTIONS);
	lua_rawgeti(L, -1, (int)r->number);
	lua_rawgeti(L, -1, 2);
	box = zbz_box_check(L, b, lua_gettop(L), ZBZ_BOX_SUBSCRIPTION, "subscribe");
	box->feed = r->ud;
	box->store = r->held;
	box->subscription = r->opened;
	link_box(box, b, cache, mail);
	r->undo = NULL;
	return 1;
}

static const zbz_verb subscribe_verb = { "subscribe", parse_subscribe, run_subscribe, push_subscription,
	                                     ZBZ_CHANGES, false,           false,         ZBZ_ALONE,
	                                     false };
static const zbz_verb *const verbs[] = { &subscribe_verb, NULL };
const zbz_verb *const *const zbz_mail_verbs = verbs;

static int cache_subscribe(lua_State *L) { return zbz_request_call(L, &subscribe_verb); }

/* ---- what poll asks ---- */

bool zbz_push_listener(lua_State *L, uint64_t id) {
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

int zbz_push_gap(lua_State *L, zbz_bind *b) {
	zbz_subscription_box *s;
	for (s = b->subscriptions; s != NULL; s = s->next_of_bind) {
		if (!atomic_exchange(&s->feed->gap, false)) continue;
		if (!zbz_push_listener(L, s->feed->id)) continue;
		lua_pushliteral(L, "");
		return 2;
	}
	return 0;
}

const luaL_Reg zbz_cache_mail_methods[] = { { "subscribe", cache_subscribe }, { NULL, NULL } };
static const luaL_Reg methods[] = { { "closed", subscription_closed }, { "close", zbz_handle_close }, { NULL, NULL } };

void zbz_open_subscribe(lua_State *L) {
	zbz_class(L, ZBZ_BOX_SUBSCRIPTION, "zbz.Subscription", subscription_release, NULL, methods);
	zbz_push_methods(L, ZBZ_BOX_SUBSCRIPTION);
	lua_setfield(L, 1, "subscription_methods");
	zbz_getenv(L, lua_upvalueindex(1));
	lua_newtable(L);
	lua_rawseti(L, -2, ZBZ_SLOT_SUBSCRIPTIONS);
	lua_pop(L, 1);
}
