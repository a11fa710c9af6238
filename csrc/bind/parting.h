/* What a closed handle held. Giving it up waits for calls under way, for a provider's threads, for the provider's own end: in a state
 * under the host of an event loop that happens on a thread of the pool. */
#ifndef ZBZ_BIND_PARTING_H
#define ZBZ_BIND_PARTING_H

#include "object.h"

struct zbz_feed;

typedef struct zbz_parting { /* any of them NULL */
	struct zbz_feed *feeds;  /* of subscriptions, linked */
	zbz_cache *cache;
	zbz_store *store;
	zbz_keep *keep;
} zbz_parting;

/* Empties the open or closed box at `self`, whose handle answers `closed` from now on. Raises nothing. */
void zbz_cache_take(lua_State *L, zbz_cache_box *self, zbz_parting *out);
void zbz_store_take(lua_State *L, zbz_store_box *self, zbz_parting *out);
void zbz_subscription_take(lua_State *L, struct zbz_subscription_box *self, zbz_parting *out);
/* Of a cache; the others' feeds are linked before it. */
void zbz_subscriptions_take(lua_State *L, zbz_cache_box *cache, zbz_parting *out);

/* Any thread. */
void zbz_feeds_free(struct zbz_feed *feeds);
/* What finalizers do: aside under a host, else here and now. */
void zbz_part(const zbz_bind *b, zbz_parting *p);

#endif
