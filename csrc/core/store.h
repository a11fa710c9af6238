/* What a store is inside, for the front. Its operations are in cache.h. */
#ifndef ZBZ_CORE_STORE_H
#define ZBZ_CORE_STORE_H

#include <pthread.h>
#include <stdatomic.h>

#include <zbz/table.h>

/* One caller at a time, with the caller's deadline: what a provider says `single_thread` for. */
typedef struct zbz_gate {
	pthread_mutex_t lock;
	pthread_cond_t freed;
	bool busy;
	atomic_uint generation, renewing; /* of the process that made it: after a fork the holder may not exist */
} zbz_gate;

struct zbz_store {
	const zbz_cache_ops *ops;
	void *self;
	zbz_store *inner; /* layers: what they wrap; borrowed from the options */
	zbz_gate *gate;   /* NULL unless single_thread */
	const zbz_clock *clock;
	zbz_caps caps; /* as they were at open */
	atomic_uint refs;
	zbz_flights *flights;
	zbz_locks *locks;
	void *options;
};

/* Which keys of this store are being loaded. */
static inline zbz_flights *zbz_store_flights(const zbz_store *s) { return s->flights; }
/* How it hears of released locks. */
static inline zbz_locks *zbz_store_locks(const zbz_store *s) { return s->locks; }

zbz_gate *zbz_gate_new(void); /* NULL when out of memory */
void zbz_gate_free(zbz_gate *g);
/* c NULL: waits as long as it takes. OK or E_TIMEOUT. */
zbz_status zbz_gate_enter(zbz_gate *g, const zbz_call *c, zbz_err *err);
void zbz_gate_leave(zbz_gate *g);

#endif
