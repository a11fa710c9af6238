/* Bucket `memory`: objects of this process, under a name by which others of the process open the same ones. */
#include "core/built_in.h"

#include <pthread.h>

#include <zbz/clock.h>

typedef struct memory_options {
	char *name;
	int64_t max_size;
} memory_options;

static const zbz_option memory_option_list[] = {
	{ "name", NULL, ZBZ_OPT_TEXT, offsetof(memory_options, name), "default", NULL, 0, 0,
	  "Buckets of one name share their objects for as long as one of them is open" },
	{ "max_size", NULL, ZBZ_OPT_SIZE, offsetof(memory_options, max_size), "64MB", NULL, 1, 0,
	  "Bytes of all objects; a put beyond fails" },
	{ NULL, NULL, ZBZ_OPT_TEXT, 0, NULL, NULL, 0, 0, NULL }
};

typedef struct object {
	struct object *next;
	zbz_bytes name, body; /* behind the struct */
	int64_t modified;
} object;

typedef struct memory {
	struct memory *next;
	char *name;
	unsigned refs;
	size_t size, most; /* most: of the last one opened */
	object *objects;   /* in the order of their names */
} memory;

/* One lock for all, so that a fork can wait for it. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static memory *all;

static void enter(void) { pthread_mutex_lock(&lock); }
static void leave(void) { pthread_mutex_unlock(&lock); }

/* Before the streams' own handlers (log/stream.c), so that a fork takes this lock after theirs, as those who close an output do. */
__attribute__((constructor(1000))) static void watch_forks(void) { pthread_atfork(enter, leave, leave); }

static memory *make(const char *name) {
	memory *m = zbz_calloc(1, sizeof *m);
	if (m == NULL) return NULL;
	m->name = zbz_strdup(name);
	if (m->name == NULL) {
		zbz_free(m);
		return NULL;
	}
	m->next = all;
	all = m;
	return m;
}

static zbz_status memory_open(void **self, const void *options, const zbz_clock *clock, zbz_err *err) {
	const memory_options *o = options;
	memory *m;
	(void)clock;
	enter();
	for (m = all; m != NULL && strcmp(m->name, o->name) != 0;) m = m->next;
	if (m == NULL) m = make(o->name);
	if (m != NULL) {
		m->refs++;
		m->most = (size_t)o->max_size;
	}
	leave();
	*self = m;
	return m != NULL ? ZBZ_OK : zbz_fail_nomem(err);
}

static void memory_close(void *self) {
	memory *m = self, **at = &all;
	enter();
	if (--m->refs == 0) {
		while (*at != m) at = &(*at)->next;
		*at = m->next;
		while (m->objects != NULL) {
			object *o = m->objects;
			m->objects = o->next;
			zbz_free(o);
		}
		zbz_free(m->name);
		zbz_free(m);
	}
	leave();
}

static int compare(zbz_bytes a, zbz_bytes b) {
	size_t n = a.n < b.n ? a.n : b.n;
	int order = n > 0 ? memcmp(a.p, b.p, n) : 0;
	return order != 0 ? order : (a.n > b.n) - (a.n < b.n);
}

/* Under the lock; where it hangs, or would. */
static object **place_of(memory *m, zbz_bytes name) {
	object **at = &m->objects;
	while (*at != NULL && compare((*at)->name, name) < 0) at = &(*at)->next;
	return at;
}

static object *found_at(object *const *at, zbz_bytes name) {
	return *at != NULL && zbz_bytes_eq((*at)->name, name) ? *at : NULL;
}

static object *object_new(zbz_bytes name, zbz_bytes body, int64_t now) {
	object *o = zbz_malloc(sizeof *o + name.n + body.n);
	char *p;
	if (o == NULL) return NULL;
	p = (char *)(o + 1);
	memcpy(p, name.p, name.n);
	if (body.n > 0) memcpy(p + name.n, body.p, body.n);
	*o = (object){ NULL, zbz_b(p, name.n), zbz_b(p + name.n, body.n), now };
	return o;
}

static zbz_status memory_put(void *self, zbz_call *c, zbz_bytes name, zbz_bytes body) {
	memory *m = self;
	object *made = object_new(name, body, c->now), *old, **at;
	zbz_status status = ZBZ_OK;
	if (made == NULL) return zbz_fail_nomem(&c->err);
	enter();
	at = place_of(m, name);
	old = found_at(at, name);
	if (m->size - (old != NULL ? old->body.n : 0) + body.n > m->most) {
		status = zbz_fail(&c->err, ZBZ_E_TOO_LARGE, "the memory bucket '%.40s' is full", m->name);
		old = made;
	} else {
		m->size += body.n - (old != NULL ? old->body.n : 0);
		made->next = old != NULL ? old->next : *at;
		*at = made;
	}
	leave();
	zbz_free(old);
	return status;
}

static zbz_status memory_get(void *self, zbz_call *c, zbz_bytes name, zbz_buf *out) {
	const object *o;
	zbz_status status;
	enter();
	o = found_at(place_of(self, name), name);
	status = o != NULL ? zbz_buf_append(out, o->body.p, o->body.n, &c->err) : ZBZ_MISS;
	leave();
	return status;
}

static zbz_status memory_stat(void *self, zbz_call *c, zbz_bytes name, zbz_object_info *out) {
	const object *o;
	(void)c;
	enter();
	o = found_at(place_of(self, name), name);
	if (o != NULL) *out = (zbz_object_info){ o->body.n, o->modified };
	leave();
	return o != NULL ? ZBZ_OK : ZBZ_MISS;
}

static zbz_status memory_list(void *self, zbz_call *c, zbz_bytes prefix, zbz_bytes after, size_t limit, zbz_buf *out,
                              size_t *n) {
	const object *o;
	zbz_status status = ZBZ_OK;
	enter();
	o = *place_of(self, compare(prefix, after) > 0 ? prefix : after);
	if (o != NULL && zbz_bytes_eq(o->name, after)) o = o->next;
	for (; status == ZBZ_OK && o != NULL && *n < limit && zbz_bytes_has_prefix(o->name, prefix); o = o->next) {
		const zbz_object_info info = { o->body.n, o->modified };
		status = zbz_object_page_add(out, o->name, &info, &c->err);
		if (status == ZBZ_OK) ++*n;
	}
	if (status == ZBZ_OK && (o == NULL || !zbz_bytes_has_prefix(o->name, prefix))) status = ZBZ_END;
	leave();
	return status;
}

static zbz_status memory_remove(void *self, zbz_call *c, zbz_bytes name) {
	memory *m = self;
	object **at, *o;
	(void)c;
	enter();
	at = place_of(m, name);
	o = found_at(at, name);
	if (o != NULL) {
		*at = o->next;
		m->size -= o->body.n;
	}
	leave();
	zbz_free(o);
	return ZBZ_OK;
}

static zbz_status memory_identity(void *self, zbz_buf *out, zbz_err *err) {
	const memory *m = self;
	return zbz_buf_append(out, m->name, strlen(m->name), err);
}

const zbz_bucket_ops zbz_bucket_memory = {
	.abi = ZBZ_ABI,
	.name = "memory",
	.summary = "objects in this process's memory",
	.options_size = sizeof(memory_options),
	.options = memory_option_list,
	.open = memory_open,
	.close = memory_close,
	.put = memory_put,
	.get = memory_get,
	.stat = memory_stat,
	.list = memory_list,
	.remove = memory_remove,
	.identity = memory_identity,
};
