/* Objects that must be whole on both sides of a fork: their locks are taken before it and given back on both sides. In the
 * child the threads that waited or worked on them do not exist. */
#ifndef ZBZ_CACHE_ATFORK_H
#define ZBZ_CACHE_ATFORK_H

typedef struct atfork_node {
	struct atfork_node *prev, *next;
	void (*lock)(struct atfork_node *);   /* in the parent, before */
	void (*unlock)(struct atfork_node *); /* in the parent, after */
	void (*renew)(struct atfork_node *);  /* in the child: forget other threads, then unlock; no allocation */
} atfork_node;

/* Neither may be called while holding the object's own lock. */
void zbz_atfork_watch(atfork_node *node);
void zbz_atfork_forget(atfork_node *node);

#endif
