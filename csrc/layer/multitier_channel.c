/* How a local tier hears of changes by others: from the server itself (the slot track), or else from the other caches, which
 * publish what they write on one channel. While nothing can be heard l1 is not used, and it is emptied before it is again. */
#include <unistd.h>

#include "base/random.h"
#include "multitier.h"

#define RETRY_MS   1000  /* after a failure to begin */
#define REFUSED_MS 60000 /* after a refusal: rights may be granted, a server replaced */

#define CHANNEL "zbz:invalidate"
enum { SAYS_HELLO = 'h', SAYS_KEY = 'k', SAYS_PREFIX = 'p' }; /* message: origin, one of these, the key or prefix */
enum { AT_ONCE = 64 };                                        /* messages of one pipeline */

struct tier_follower {
	tier_follower *next;
	tier *t;
	zbz_bytes prefix;
	void (*on_change)(void *ud, zbz_bytes key, bool lost);
	void *ud;
};

/* ---- l1 comes into use and goes out of it; under the lock --------------------------------------------------------------- */

static void begin_call(const tier *t, zbz_call *l) {
	l->clock = t->clock;
	l->now = zbz_wall(t->clock);
	l->deadline = ZBZ_NEVER;
	l->no_wait = l->want_expiry = false;
}

/* Whatever is in l1, nobody vouches for it. */
static void renew(tier *t) {
	uint64_t removed;
	zbz_call l;
	begin_call(t, &l);
	atomic_store(&t->up, false);
	if (zbz_store_clear(t->l1, &l, t->prefix, &removed) == ZBZ_OK && !t->lost) atomic_store(&t->up, true);
}

void tier_taint(tier *t) {
	pthread_mutex_lock(&t->lock);
	atomic_store(&t->up, false);
	pthread_mutex_unlock(&t->lock);
}

/* ---- what is heard ------------------------------------------------------------------------------------------------------ */

static void pass_on(tier *t, zbz_bytes key, bool lost) {
	const tier_follower *f;
	for (f = t->followers; f != NULL; f = f->next)
		if (key.p == NULL || zbz_bytes_has_prefix(key, f->prefix)) f->on_change(f->ud, key, lost);
}

/* l1 first: who follows may read it again at once. */
static void heard(tier *t, zbz_bytes key, bool lost, bool ours) {
	zbz_call l;
	pthread_mutex_lock(&t->lock);
	if (key.p == NULL && !ours) {
		if (lost) tier_count(&t->losses, 1);
		t->lost = lost;
		renew(t);
	} else if (!ours) {
		begin_call(t, &l);
		tier_count(&t->invalidations, 1);
		if (tier_fits(t, key, 0) && zbz_store_del(t->l1, &l, key) < 0) atomic_store(&t->up, false);
	}
	pass_on(t, key, lost);
	pthread_mutex_unlock(&t->lock);
}

static void on_change(void *ud, zbz_bytes key, bool lost) { heard(ud, key, lost, false); }

static void on_message(void *ud, zbz_bytes channel, zbz_bytes payload) {
	tier *t = ud;
	const zbz_bytes all = { NULL, 0 };
	bool ours;
	if (payload.p == NULL) {
		heard(t, all, channel.p == NULL, false);
		return;
	}
	ours = payload.n > TIER_ORIGIN && memcmp(payload.p, t->origin, TIER_ORIGIN) == 0;
	if (payload.n > TIER_ORIGIN && payload.p[TIER_ORIGIN] == SAYS_HELLO) return;
	if (payload.n > TIER_ORIGIN && payload.p[TIER_ORIGIN] == SAYS_KEY)
		heard(t, zbz_b(payload.p + TIER_ORIGIN + 1, payload.n - TIER_ORIGIN - 1), false, ours);
	else
		heard(t, all, false, ours); /* a whole prefix, or something that a later version says */
}

/* ---- what is told ------------------------------------------------------------------------------------------------------- */

/* Are they n integers, as PUBLISH answers? */
static bool all_counted(zbz_bytes replies, size_t n) {
	static const unsigned char sizes[] = { 2, 3, 5, 9, 2, 3, 5, 9 }; /* of 0xCC to 0xD3 */
	size_t i = 0;
	while (n-- > 0) {
		unsigned char head = i < replies.n ? (unsigned char)replies.p[i] : 0xC0;
		if (head <= 0x7F)
			i++;
		else if (head >= 0xCC && head <= 0xD3)
			i += sizes[head - 0xCC];
		else
			return false;
	}
	return i == replies.n;
}

static zbz_status publish_some(tier *t, zbz_call *c, char what, const zbz_bytes *keys, size_t n, zbz_buf *bytes) {
	zbz_bytes words[3 * AT_ONCE];
	size_t ends[AT_ONCE], i, at = 0;
	zbz_status s = ZBZ_OK;
	for (i = 0; s == ZBZ_OK && i < n; i++) {
		s = zbz_buf_append(bytes, t->origin, TIER_ORIGIN, &c->err);
		if (s == ZBZ_OK) s = zbz_buf_putc(bytes, what, &c->err);
		if (s == ZBZ_OK) s = zbz_buf_append(bytes, keys[i].p, keys[i].n, &c->err);
	}
	if (s != ZBZ_OK) return s;
	for (i = 0; i < n; i++) {
		size_t len = TIER_ORIGIN + 1 + keys[i].n;
		words[3 * i] = zbz_bstr("PUBLISH");
		words[3 * i + 1] = zbz_bstr(CHANNEL);
		words[3 * i + 2] = zbz_b(bytes->p + at, len);
		ends[i] = 3 * (i + 1);
		at += len;
	}
	s = zbz_store_command(t->l2, c, words, ends, n, bytes);
	if (s != ZBZ_OK || all_counted(zbz_b(bytes->p + at, bytes->n - at), n)) return s;
	return zbz_fail(&c->err, ZBZ_E_DENIED, "the server does not let changes be published on %s", CHANNEL);
}

static zbz_status publish(tier *t, zbz_call *c, char what, const zbz_bytes *keys, size_t n) {
	enum { TRIES = 3 };
	zbz_buf bytes = { 0 };
	zbz_status s = ZBZ_OK;
	size_t done = 0;
	int tries = 0;
	while (done < n) {
		size_t some = n - done < AT_ONCE ? n - done : AT_ONCE;
		bytes.n = 0;
		s = publish_some(t, c, what, keys + done, some, &bytes);
		if (s == ZBZ_OK)
			done += some;
		else if (!c->err.retryable || ++tries == TRIES || zbz_call_left(c) == 0)
			break;
	}
	zbz_buf_clear(&bytes);
	return s;
}

/* While the kind of channel is not known yet, others may depend on being told by us. */
static zbz_status tell(tier *t, zbz_call *c, char what, const zbz_bytes *keys, size_t n, zbz_status s) {
	zbz_channel kind = atomic_load(&t->kind);
	bool maybe = kind == ZBZ_CHANNEL_DOWN && t->o->invalidation == TIER_AUTO;
	zbz_call l;
	zbz_status told;
	if (s > 0 || (kind != ZBZ_CHANNEL_PUBSUB && !maybe)) return s;
	tier_beside(&l, c);
	told = publish(t, &l, what, keys, n);
	if (told == ZBZ_OK || maybe || s < 0) return s;
	return zbz_fail(&c->err, told, "written, but the other caches could not be told: %.160s", l.err.text);
}

zbz_status tier_tell(tier *t, zbz_call *c, const zbz_bytes *keys, size_t n, zbz_status s) {
	return tell(t, c, SAYS_KEY, keys, n, s);
}
zbz_status tier_tell_prefix(tier *t, zbz_call *c, zbz_bytes prefix, zbz_status s) {
	return tell(t, c, SAYS_PREFIX, &prefix, 1, s);
}

/* ---- beginning to listen --------------------------------------------------------------------------------------------------- */

static bool has_pubsub(const tier *t) {
	const zbz_cache_ops *ops = zbz_store_ops(zbz_store_bottom(t->l2));
	return ops->subscribe != NULL && ops->command != NULL;
}

static zbz_status subscribe(tier *t, zbz_call *c) {
	const zbz_bytes channel = { CHANNEL, sizeof CHANNEL - 1 }, nothing = { "", 0 };
	zbz_status s = zbz_store_subscribe(t->l2, c, &channel, 1, false, on_message, t, &t->subscription);
	if (s == ZBZ_OK)
		s = publish(t, c, SAYS_HELLO, &nothing, 1); /* hearing without being heard would deceive the others */
	if (s == ZBZ_OK) return s;
	zbz_store_unsubscribe(t->l2, t->subscription);
	t->subscription = NULL;
	return s;
}

static bool refused(zbz_status s) { return s == ZBZ_E_DENIED || s == ZBZ_E_UNSUPPORTED; }

static zbz_status listen(tier *t, zbz_call *c) {
	zbz_status s = ZBZ_E_UNSUPPORTED;
	zbz_store_untrack(t->l2, t->tracking); /* a parent's, in a forked child */
	zbz_store_unsubscribe(t->l2, t->subscription);
	t->tracking = t->subscription = NULL;
	if (t->o->invalidation != TIER_PUBSUB && (t->l2_caps.can & ZBZ_CAN_TRACK) != 0) {
		atomic_store(&t->kind, ZBZ_CHANNEL_DOWN);
		s = zbz_store_track(t->l2, c, t->prefix, on_change, t, &t->tracking);
		if (s == ZBZ_OK) atomic_store(&t->kind, ZBZ_CHANNEL_TRACKING);
		if (!refused(s) || t->o->invalidation == TIER_TRACKING || !has_pubsub(t)) return s;
	}
	/* Our writes are told from now on, even while we cannot hear. */
	atomic_store(&t->kind, ZBZ_CHANNEL_PUBSUB);
	s = subscribe(t, c);
	if (s != ZBZ_OK && t->o->invalidation != TIER_PUBSUB) atomic_store(&t->kind, ZBZ_CHANNEL_DOWN);
	return s;
}

/* Half of the time is the call's own: without the channel it goes to l2. */
static void spend_half(zbz_call *l, const zbz_call *c) {
	int64_t left = zbz_call_left(c);
	tier_beside(l, c);
	if (left != INT64_MAX) l->deadline = zbz_mono(c->clock) + left / 2 + 1;
}

/* Under the lock at both ends, but not while it waits. */
static void start(tier *t, zbz_call *c) {
	zbz_call l;
	zbz_status s;
	t->starting = true;
	t->lost = false;
	pthread_mutex_unlock(&t->lock);
	spend_half(&l, c);
	s = listen(t, &l);
	pthread_mutex_lock(&t->lock);
	t->starting = false;
	t->listening = s == ZBZ_OK;
	if (s == ZBZ_OK) {
		renew(t);
		return;
	}
	if (refused(s)) atomic_store(&t->kind, ZBZ_CHANNEL_REFUSED);
	t->retry_at = zbz_mono(c->clock) + (refused(s) ? REFUSED_MS : RETRY_MS);
}

bool tier_ready(tier *t, zbz_call *c) {
	if (__builtin_expect(atomic_load_explicit(&t->up, memory_order_acquire), 1)) return true;
	if (c->no_wait) return false;
	pthread_mutex_lock(&t->lock);
	if (!t->starting) {
		bool hears = t->listening || atomic_load(&t->kind) == ZBZ_CHANNEL_NONE;
		if (!hears && zbz_mono(c->clock) >= t->retry_at)
			start(t, c);
		else if (hears && !t->lost && !atomic_load(&t->up)) /* l1 had failed; a lost channel comes back by itself */
			renew(t);
	}
	pthread_mutex_unlock(&t->lock);
	return atomic_load(&t->up);
}

zbz_channel tier_channel_now(tier *t) {
	zbz_channel kind = atomic_load(&t->kind);
	bool known = kind == ZBZ_CHANNEL_NONE || kind == ZBZ_CHANNEL_REFUSED;
	return known || atomic_load(&t->up) ? kind : ZBZ_CHANNEL_DOWN;
}

/* ---- forks ------------------------------------------------------------------------------------------------------------------ */

static void fork_lock(atfork_node *node) { pthread_mutex_lock(&((tier *)node)->lock); }
static void fork_unlock(atfork_node *node) { pthread_mutex_unlock(&((tier *)node)->lock); }

/* The threads that listen are the parent's; what it hears does not reach us. What we say is not what it says. */
static void fork_renew(atfork_node *node) {
	tier *t = (tier *)node;
	pid_t pid = getpid();
	size_t i;
	for (i = 0; i < sizeof pid; i++) t->origin[i] ^= (char)(pid >> (8 * i) & 0xFF);
	t->starting = t->listening = false;
	t->retry_at = 0;
	if (atomic_load(&t->kind) != ZBZ_CHANNEL_NONE) atomic_store(&t->up, false);
	pthread_mutex_unlock(&t->lock);
}

/* ---- opening ---------------------------------------------------------------------------------------------------------------- */

static zbz_status check_bounds(const tier *t, bool *listens, zbz_err *err) {
	bool tracks = (t->l2_caps.can & ZBZ_CAN_TRACK) != 0, told = tracks || has_pubsub(t);
	const char *name = zbz_store_ops(zbz_store_bottom(t->l2))->name;
	int how = t->o->invalidation;
	if (how == TIER_TRACKING && !tracks)
		return zbz_fail_option(err, "invalidation", "is 'tracking', but %s does not tell of changes", name);
	if (how == TIER_PUBSUB && !has_pubsub(t))
		return zbz_fail_option(err, "invalidation", "is 'pubsub', but %s has no publish and subscribe", name);
	*listens = how == TIER_TRACKING || how == TIER_PUBSUB || (how == TIER_AUTO && told && t->l2_caps.shared);
	if (*listens || !t->l2_caps.shared || t->o->l1_ttl > 0) return ZBZ_OK;
	return zbz_fail_option(err, "l1_ttl",
	                       "is missing: l1 is not told when others change what %s has; say how old an "
	                       "entry of l1 may be",
	                       name);
}

zbz_status tier_channel_open(tier *t, zbz_err *err) {
	bool listens;
	zbz_status s = check_bounds(t, &listens, err);
	if (s == ZBZ_OK) s = zbz_random(t->origin, sizeof t->origin, err);
	if (s != ZBZ_OK) return s;
	atomic_store(&t->kind, !listens                            ? ZBZ_CHANNEL_NONE
	                       : t->o->invalidation == TIER_PUBSUB ? ZBZ_CHANNEL_PUBSUB
	                                                           : ZBZ_CHANNEL_DOWN);
	atomic_store(&t->up, !listens);
	pthread_mutex_init(&t->lock, NULL);
	t->fork.lock = fork_lock;
	t->fork.unlock = fork_unlock;
	t->fork.renew = fork_renew;
	zbz_atfork_watch(&t->fork);
	return s;
}

void tier_channel_close(tier *t) {
	zbz_store_untrack(t->l2, t->tracking);
	zbz_store_unsubscribe(t->l2, t->subscription);
	zbz_atfork_forget(&t->fork);
	pthread_mutex_destroy(&t->lock);
}

/* ---- tiers above this one ---------------------------------------------------------------------------------------------------- */

zbz_status tier_track(void *self, zbz_call *c, zbz_bytes prefix, void (*fn)(void *ud, zbz_bytes key, bool lost),
                      void *ud, void **tracking) {
	tier *t = self;
	tier_follower *f;
	bool up = tier_ready(t, c);
	if (atomic_load(&t->kind) == ZBZ_CHANNEL_NONE || atomic_load(&t->kind) == ZBZ_CHANNEL_REFUSED)
		return zbz_fail(&c->err, ZBZ_E_UNSUPPORTED, "nobody tells this multitier of changes");
	if (!zbz_bytes_has_prefix(prefix, t->prefix))
		return zbz_fail(&c->err, ZBZ_E_UNSUPPORTED, "changes outside the option 'prefix' are not told of");
	f = zbz_calloc(1, sizeof *f + prefix.n);
	if (f == NULL) return zbz_fail_nomem(&c->err);
	if (prefix.n > 0) memcpy(f + 1, prefix.p, prefix.n);
	*f = (tier_follower){ NULL, t, zbz_b(f + 1, prefix.n), fn, ud };
	pthread_mutex_lock(&t->lock);
	up = t->listening && !t->lost && !t->starting;
	f->next = t->followers;
	if (up) t->followers = f;
	pthread_mutex_unlock(&t->lock);
	if (!up) {
		zbz_free(f);
		return zbz_fail(&c->err, ZBZ_E_UNAVAILABLE, "the channel for changes does not stand");
	}
	*tracking = f;
	return ZBZ_OK;
}

void tier_untrack(void *self, void *tracking) {
	tier *t = self;
	tier_follower **at, *f = tracking;
	if (f == NULL) return;
	pthread_mutex_lock(&t->lock);
	for (at = &t->followers; *at != NULL && *at != f; at = &(*at)->next) {}
	if (*at != NULL) *at = f->next;
	pthread_mutex_unlock(&t->lock);
	zbz_free(f);
}
