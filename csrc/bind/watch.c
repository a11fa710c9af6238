/* Watches: the desk's thread posts to the mailbox of the Lua state that there is news; poll hands out the listener, which takes it.
 * Callbacks, parsing and comparing values are Lua's (lua/zbz/watch). */
#include "base/fork.h"
#include "mail.h"
#include "request.h"

/* The part that the desk's threads see. Freed after the watch is closed: from then on nobody calls. */
typedef struct feed {
	zbz_mailbox *mailbox;
	uint64_t id;
} feed;

typedef struct zbz_watch_box {
	zbz_box head;
	zbz_watch *w; /* NULL: closed */
	feed *feed;   /* NULL: nobody listens */
	zbz_mail *mail;
	zbz_bind *bind;
	unsigned generation;
	bool local;
	bool kept;    /* by the state's table of listeners: referenced or not */
	bool pending; /* taken, and not yet handed to Lua */
	zbz_buf taken;
} zbz_watch_box;

/* ---- on the desk's threads ---- */

static bool on_news(void *ud) {
	feed *f = ud;
	zbz_event *e = zbz_calloc(1, sizeof(*e));
	if (e == NULL) return false;
	e->job.drop = zbz_event_drop;
	e->subscription = f->id;
	if (zbz_post(f->mailbox, &e->job, NULL) == ZBZ_OK) return true;
	zbz_free(e);
	return false;
}

/* ---- watches ---- */

static void feed_free(feed *f) {
	if (f == NULL) return;
	zbz_mailbox_unref(f->mailbox);
	zbz_free(f);
}

static void watch_release(lua_State *L, void *self) {
	zbz_watch_box *box = self;
	zbz_watch *w = box->w;
	feed *f = box->feed;
	if (w == NULL) return;
	box->w = NULL;
	box->feed = NULL;
	zbz_watch_close(w);
	zbz_buf_clear(&box->taken);
	if (f == NULL) return;
	if (box->kept) {
		box->bind->watches--;
		zbz_forget_listener(L, f->id);
	}
	feed_free(f);
	zbz_mail_unref(box->mail);
}

/* From here on the watch lives until it is closed. What was told before had nobody to hear it; the owner takes next. */
static void keep(lua_State *L, int idx) {
	zbz_watch_box *box = zbz_box_test(L, zbz_bind_of(L), idx, ZBZ_BOX_WATCH);
	int top = lua_gettop(L);
	if (box == NULL || box->feed == NULL || box->kept) return;
	luaL_checkstack(L, 6, "zbz");
	zbz_getenv(L, idx);
	lua_rawgeti(L, -1, 1);
	zbz_keep_listener(L, box->feed->id, top + 2, idx);
	lua_settop(L, top);
	box->kept = true;
	box->bind->watches++;
}

static zbz_watch_box *watch_check(lua_State *L, const char *op) {
	return zbz_box_check(L, zbz_bind_of(L), 1, ZBZ_BOX_WATCH, op);
}

static zbz_watch_box *open_check(lua_State *L, const char *op) {
	zbz_watch_box *box = watch_check(L, op);
	if (box->w == NULL) luaL_error(L, "zbz: %s: the watch has ended", op);
	return box;
}

bool zbz_watch_box_waits(lua_State *L, const zbz_bind *b, int idx) {
	const zbz_watch_box *box = zbz_box_test(L, b, idx, ZBZ_BOX_WATCH);
	return box != NULL && box->w != NULL;
}

bool zbz_watch_box_local(lua_State *L, const zbz_bind *b, int idx) {
	const zbz_watch_box *box = zbz_box_test(L, b, idx, ZBZ_BOX_WATCH);
	return box != NULL && box->local;
}

static const zbz_arg watch_args[] = {
	{ "debounce", ZBZ_ARG_MS, offsetof(zbz_watch_opts, debounce) },
	{ "poll", ZBZ_ARG_MS, offsetof(zbz_watch_opts, poll) },
	{ "deadline", ZBZ_ARG_MS, offsetof(zbz_watch_opts, deadline) },
	{ "allow_empty", ZBZ_ARG_BOOL, offsetof(zbz_watch_opts, allow_empty) },
	{ "max_size", ZBZ_ARG_ANY, 0 },
	{ NULL, ZBZ_ARG_ANY, 0 },
};

static void read_opts(lua_State *L, int idx, zbz_watch_opts *o) {
	memset(o, 0, sizeof(*o));
	zbz_args_read(L, idx, "watch", watch_args, o);
	if (!lua_istable(L, idx)) return;
	lua_getfield(L, idx, "max_size");
	if (!lua_isnil(L, -1)) {
		int64_t n = zbz_int_arg(L, lua_gettop(L), "watch", "max_size");
		if (n < 1 || n > (int64_t)ZBZ_BUF_MAX) luaL_error(L, "zbz: watch: max_size is 1 byte to 1 GB");
		o->max_size = (size_t)n;
	}
	lua_pop(L, 1);
}

static feed *feed_new(zbz_bind *b, zbz_err *err) {
	zbz_mail *mail = zbz_mail_of(b, err);
	feed *f = mail != NULL ? zbz_calloc(1, sizeof(*f)) : NULL;
	if (f == NULL) {
		if (mail != NULL) zbz_fail_nomem(err);
		return NULL;
	}
	f->id = ++b->subscription_ids;
	f->mailbox = zbz_mailbox_ref(mail->mailbox);
	return f;
}

/* watch(source or nil, key, options, listener or nil): the listener is called by poll when there is something to take. */
static int new_watch(lua_State *L) {
	zbz_bind *b = zbz_bind_of(L);
	zbz_source_box *source = NULL;
	zbz_watch_opts opts;
	zbz_watch_box *box;
	zbz_bytes key;
	zbz_err err;
	zbz_where at = zbz_at("watch");
	lua_settop(L, 4);
	if (!lua_isnil(L, 1)) {
		source = zbz_box_check(L, b, 1, ZBZ_BOX_SOURCE, "watch");
		if (source->source == NULL) return luaL_error(L, "zbz: watch: the source is closed");
	}
	key = zbz_key_arg(L, 2, "watch");
	at.key = key;
	read_opts(L, 3, &opts);
	if (!lua_isnil(L, 4)) luaL_checktype(L, 4, LUA_TFUNCTION);
	box = zbz_box_new(L, ZBZ_BOX_WATCH, sizeof(*box));
	if (!lua_isnil(L, 4)) {
		lua_createtable(L, 1, 0);
		lua_pushvalue(L, 4);
		lua_rawseti(L, -2, 1);
		zbz_setenv(L, 5);
		box->feed = feed_new(b, &err);
		if (box->feed == NULL) return zbz_push_failure(L, &err, &at);
	}
	opts.on_news = box->feed != NULL ? on_news : NULL;
	opts.ud = box->feed;
	if (zbz_watch_open(source != NULL ? source->source : NULL, key, &opts, &box->w, &err) < 0) {
		box->w = NULL;
		feed_free(box->feed);
		box->feed = NULL;
		return zbz_push_failure(L, &err, &at);
	}
	box->local = source != NULL && zbz_source_table(source->source)->local;
	box->bind = b;
	box->generation = zbz_fork_generation();
	if (box->feed != NULL) {
		box->mail = b->mail;
		b->mail->refs++;
	}
	return 1;
}

/* ---- the first look ---- */

static void undo_look(zbz_request *r) { zbz_watch_unref(r->ud); }

static void parse_look(lua_State *L, zbz_bind *b, zbz_request *r) {
	zbz_watch_box *box = open_check(L, r->verb->name);
	int64_t ms = zbz_ms_arg(L, 2, r->verb->name, "deadline", -1), now;
	r->c.clock = zbz_clock_system();
	r->c.now = zbz_wall(r->c.clock);
	now = zbz_mono(r->c.clock);
	if (ms >= 0 && ms < ZBZ_NEVER - now) r->c.deadline = now + ms;
	r->ud = zbz_watch_ref(box->w);
	r->undo = undo_look;
	r->key = zbz_watch_key(box->w);
}

static zbz_status run_sync(zbz_request *r) { return zbz_watch_begin(r->ud, &r->c); }
static zbz_status run_read(zbz_request *r) { return zbz_watch_read(r->ud, &r->c); }

static const zbz_verb sync_verb;

/* The handle may have been closed meanwhile. */
static int push_look(lua_State *L, zbz_bind *b, zbz_request *r) {
	r->undo = NULL;
	zbz_watch_unref(r->ud);
	if (r->verb == &sync_verb) keep(L, 1);
	lua_pushboolean(L, 1);
	return 1;
}

static const zbz_verb sync_verb = {
	"sync", parse_look, run_sync, push_look, ZBZ_READS, false, false, ZBZ_ALONE, false
};
static const zbz_verb read_verb = {
	"read", parse_look, run_read, push_look, ZBZ_READS, false, false, ZBZ_ALONE, false
};
static const zbz_verb *const verbs[] = { &sync_verb, &read_verb, NULL };
const zbz_verb *const *const zbz_watch_verbs = verbs;

static int watch_sync(lua_State *L) { return zbz_request_call(L, &sync_verb); }
static int watch_read(lua_State *L) { return zbz_request_call(L, &read_verb); }

static int watch_start(lua_State *L) {
	zbz_watch_box *box = open_check(L, "start");
	zbz_err err;
	if (zbz_watch_start(box->w, &err) < 0) return zbz_push_trouble(L, &err, "start");
	keep(L, 1);
	lua_pushboolean(L, 1);
	return 1;
}

/* ---- news ---- */

static int push_taken(lua_State *L, zbz_watch_box *box) {
	lua_pushliteral(L, "value");
	lua_pushlstring(L, box->taken.p, box->taken.n);
	box->pending = false;
	zbz_buf_reset(&box->taken);
	return 2;
}

/* take() -> "value", bytes | "error", err | "mended" | "read" | nil */
static int watch_take(lua_State *L) {
	zbz_watch_box *box = watch_check(L, "take");
	zbz_where at = zbz_at("sync");
	zbz_err err;
	zbz_news news = ZBZ_NEWS_NONE;
	if (box->w == NULL) return 0;
	if (box->pending) return push_taken(L, box);
	luaL_checkstack(L, 8, "zbz");
	news = zbz_watch_take(box->w, &box->taken, &err);
	switch (news) {
	case ZBZ_NEWS_VALUE: box->pending = true; return push_taken(L, box);
	case ZBZ_NEWS_MENDED: lua_pushliteral(L, "mended"); return 1;
	case ZBZ_NEWS_READ: lua_pushliteral(L, "read"); return 1;
	case ZBZ_NEWS_ERROR:
		at.key = zbz_watch_key(box->w);
		lua_pushliteral(L, "error");
		zbz_push_error(L, &err, &at);
		return 2;
	case ZBZ_NEWS_NONE: break;
	}
	return 0;
}

/* answer(bytes), answer(nil) there is none, answer(false, why) */
static int watch_answer(lua_State *L) {
	zbz_watch_box *box = watch_check(L, "answer");
	zbz_err err;
	zbz_status s = ZBZ_OK;
	zbz_bytes bytes = { NULL, 0 };
	memset(&err, 0, sizeof(err));
	if (lua_isnoneornil(L, 2))
		s = ZBZ_MISS;
	else if (lua_isboolean(L, 2))
		s = zbz_fail(&err, ZBZ_E_UNAVAILABLE, "%s", luaL_checkstring(L, 3));
	else
		bytes = zbz_string_arg(L, 2, "answer", "the bytes");
	if (box->w != NULL) zbz_watch_answer(box->w, s, bytes, &err);
	return 0;
}

static int watch_hint(lua_State *L) {
	zbz_watch_box *box = watch_check(L, "hint");
	if (box->w != NULL) zbz_watch_hint(box->w);
	return 0;
}

static int watch_moved(lua_State *L) {
	zbz_watch_box *box = watch_check(L, "moved");
	if (box->w != NULL) zbz_watch_moved(box->w);
	return 0;
}

static int watch_pause(lua_State *L) {
	zbz_watch_pause(open_check(L, "pause")->w);
	return 0;
}

static int watch_resume(lua_State *L) {
	zbz_watch_resume(open_check(L, "resume")->w);
	return 0;
}

static void set_count(lua_State *L, const char *name, uint64_t v) {
	zbz_push_int(L, (int64_t)v);
	lua_setfield(L, -2, name);
}

static void set_flag(lua_State *L, const char *name, bool v) {
	lua_pushboolean(L, v);
	lua_setfield(L, -2, name);
}

static int watch_info(lua_State *L) {
	static const char *const modes[] = { "native", "watched", "polled" };
	zbz_watch_box *box = watch_check(L, "info");
	zbz_watch_info info;
	if (box->w == NULL) return 0;
	zbz_watch_info_read(box->w, &info);
	lua_createtable(L, 0, 12);
	lua_pushstring(L, modes[info.mode]);
	lua_setfield(L, -2, "mode");
	set_count(L, "delay", (uint64_t)info.delay);
	if (info.seen >= 0) set_count(L, "age", (uint64_t)(zbz_mono(zbz_clock_system()) - info.seen));
	set_flag(L, "running", info.running);
	set_flag(L, "paused", info.paused);
	set_flag(L, "failing", info.failing);
	set_count(L, "hints", info.hints);
	set_count(L, "reads", info.reads);
	set_count(L, "values", info.values);
	set_count(L, "failures", info.failures);
	if (info.note[0] != '\0') {
		lua_pushstring(L, info.note);
		lua_setfield(L, -2, "note");
	}
	return 1;
}

/* Was it made by the process that this one was forked from? Then nothing comes of it here. */
static int watch_foreign(lua_State *L) {
	lua_pushboolean(L, watch_check(L, "foreign")->generation != zbz_fork_generation());
	return 1;
}

static int watch_closed(lua_State *L) {
	lua_pushboolean(L, watch_check(L, "closed")->w == NULL);
	return 1;
}

static const luaL_Reg methods[] = {
	{ "sync", watch_sync },   { "read", watch_read },     { "start", watch_start },
	{ "take", watch_take },   { "answer", watch_answer }, { "hint", watch_hint },
	{ "pause", watch_pause }, { "resume", watch_resume }, { "moved", watch_moved },
	{ "info", watch_info },   { "closed", watch_closed }, { "foreign", watch_foreign },
	{ NULL, NULL },
};
static const luaL_Reg functions[] = { { "watch", new_watch }, { NULL, NULL } };

void zbz_open_watch(lua_State *L) {
	zbz_class(L, ZBZ_BOX_WATCH, "zbz.core.Watch", watch_release, "close", methods);
	zbz_push_methods(L, ZBZ_BOX_WATCH);
	lua_setfield(L, 1, "watch_methods");
	zbz_functions(L, 1, functions);
}
