/* Keeps fake clocks alive for as long as anything runs on them. A store may be held by other stores, caches and
 * tables, and the finalizers of a closing Lua state come in any order: a Lua reference is not enough. Counts are
 * plain: one state, one thread. */
#ifndef ZBZ_BIND_KEEP_H
#define ZBZ_BIND_KEEP_H

#include "zbz/clock.h"

typedef struct zbz_keep zbz_keep;

/* Born with one reference; owns the clock (NULL allowed). NULL when out of memory: the clock stays the caller's. */
zbz_keep *zbz_keep_new(zbz_clock *clock);
zbz_keep *zbz_keep_ref(zbz_keep *keep); /* NULL gives NULL */
void zbz_keep_unref(zbz_keep *keep);    /* NULL allowed */
/* `keep` holds `other` from now on. NULL and itself are fine. False when out of memory. */
bool zbz_keep_add(zbz_keep *keep, zbz_keep *other);

#endif
