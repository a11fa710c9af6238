/* Watches as their owners see them; and what a look is. */
#include "desk.h"

#include <errno.h>
#include <time.h>

#include "base/hash.h"

#define DEBOUNCE_MS    100
#define DEADLINE_MS    5000
#define POLL_MS        2000  /* where only looking helps */
#define RELOOK_MS      60000 /* where changes are told: what telling missed */
#define RESUBSCRIBE_MS 5000
#define GONE_MS        500  /* a key that vanishes, or is empty, may be about to be written */
#define TORN_MS        5000 /* no source says AGAIN that long */

/* ---- opening, closing ---- */

static void fill_defaults(zbz_watch_opts *o) {
	if (o->debounce == 0) o->debounce = DEBOUNCE_MS;
	if (o->debounce < 0) o->debounce = 0;
	if (o->deadline == 0) o->deadline = DEADLINE_MS;
	if (o->max_size == 0) o->max_size = ZBZ_WATCH_MAX_SIZE;
	if (o->clock == NULL) o->clock = zbz_clock_system();
}

zbz_status zbz_watch_open(zbz_source *source, zbz_bytes key, const zbz_watch_opts *opts, zbz_watch **out,
                          zbz_err *err) {
	zbz_watch *w;
	zbz_status s;
	char *copy;
	*out = NULL;
	if (opts->poll < 0 || opts->deadline < 0) return zbz_fail(err, ZBZ_E_ARGUMENT, "negative milliseconds");
	if (key.n > ZBZ_BUF_MAX) return zbz_fail(err, ZBZ_E_KEY, "a key of %zu bytes", key.n);
	zbz_desk_prepare();
	w = zbz_calloc(1, sizeof *w + key.n + 1); /* errors print the key as text */
	if (w == NULL) return zbz_fail_nomem(err);
	copy = (char *)(w + 1);
	if (key.n > 0) memcpy(copy, key.p, key.n);
	w->key = zbz_b(copy, key.n);
	w->opts = *opts;
	fill_defaults(&w->opts);
	w->refs = 1;
	w->read.max = w->opts.max_size;
	w->seen = -1;
	w->retell = ZBZ_NEVER;
	w->mode = ZBZ_SOURCE_POLLED;
	zbz_pace_init(&w->pace, w->opts.debounce, (uint32_t)zbz_hash_inline(zbz_b(&w, sizeof(void *))));
	zbz_desk_enter();
	s = zbz_desk_admit(w, err);
	zbz_desk_leave();
	if (s != ZBZ_OK) {
		zbz_free(w);
		return s;
	}
	if (source != NULL) w->source = zbz_source_ref(source);
	*out = w;
	return ZBZ_OK;
}

zbz_bytes zbz_watch_key(const zbz_watch *w) { return w->key; }

zbz_watch *zbz_watch_ref(zbz_watch *w) {
	zbz_desk_enter();
	w->refs++;
	zbz_desk_leave();
	return w;
}

void zbz_watch_unref(zbz_watch *w) {
	if (w == NULL) return;
	zbz_desk_enter();
	zbz_desk_let_go(w);
	zbz_desk_leave();
}

void zbz_watch_close(zbz_watch *w) {
	if (w == NULL) return;
	zbz_desk_enter();
	w->closed = true;
	w->opts.on_news = NULL;
	zbz_desk_part(w);
	zbz_desk_wake();
	zbz_desk_let_go(w);
	zbz_desk_leave();
}

/* ---- a look ---- */

int64_t zbz_watch_interval(const zbz_watch *w) {
	if (w->opts.poll > 0) return w->opts.poll;
	return w->mode == ZBZ_SOURCE_POLLED ? POLL_MS : RELOOK_MS;
}

static void on_hint(void *ud) { zbz_watch_hint(ud); }

/* A source that cannot tell of changes now may be able to later. */
static void listen_first(zbz_watch *w, zbz_call *c) {
	int64_t now = zbz_mono(c->clock);
	if (w->sub != NULL || now < w->subscribe_at || zbz_source_table(w->source)->subscribe == NULL) return;
	w->subscribe_at = now + RESUBSCRIBE_MS;
	if (zbz_source_subscribe(w->source, c, w->key, on_hint, w, &w->sub) != ZBZ_OK) w->sub = NULL;
}

static void read_state(zbz_watch *w) {
	zbz_source_state st;
	zbz_source_state_read(w->source, w->sub, &st);
	zbz_desk_enter();
	w->mode = st.mode;
	w->note[0] = '\0';
	if (st.note != NULL) strncat(w->note, st.note, sizeof w->note - 1);
	zbz_desk_leave();
}

zbz_status zbz_watch_look(zbz_watch *w, zbz_call *c, bool listen) {
	zbz_status s;
	memset(&c->err, 0, sizeof c->err);
	if (listen) listen_first(w, c);
	zbz_buf_reset(&w->read);
	memset(&c->err, 0, sizeof c->err);
	s = zbz_source_get(w->source, c, w->key, w->sub, &w->read);
	if (s == ZBZ_E_TOO_LARGE)
		s = zbz_fail(&c->err, s, "the value is larger than max_size, %zu bytes", w->opts.max_size);
	read_state(w);
	return s;
}

static zbz_print print_of(zbz_bytes bytes) {
	zbz_print p = { true, bytes.n, bytes.n > 0 ? zbz_hash_inline(bytes) : 0 };
	return p;
}

static bool same(const zbz_print *a, const zbz_print *b) {
	return a->set && b->set && a->n == b->n && a->hash == b->hash;
}

/* Is this only the middle of somebody's write? Else what it is, as an error. */
static bool is_torn(const zbz_watch *w, int64_t now, zbz_status s) {
	int64_t patience = s == ZBZ_AGAIN ? TORN_MS : GONE_MS;
	if (s == ZBZ_OK && (w->read.n > 0 || w->opts.allow_empty)) return false;
	if (s < 0 || (s != ZBZ_AGAIN && w->failing)) return false;
	if (s == ZBZ_MISS && !w->taken_print.set && !w->fresh_print.set) return false;
	return w->pace.torn_since < 0 || now - w->pace.torn_since < patience;
}

static zbz_status as_error(const zbz_watch *w, zbz_status s, zbz_err *err) {
	if (s == ZBZ_MISS) return zbz_fail(err, ZBZ_E_UNAVAILABLE, "there is no '%.120s'", w->key.p);
	if (s == ZBZ_AGAIN) return zbz_fail(err, ZBZ_E_UNAVAILABLE, "'%.120s' is being written all the time", w->key.p);
	if (s == ZBZ_OK && w->read.n == 0 && !w->opts.allow_empty)
		return zbz_fail(err, ZBZ_E_DECODE, "'%.120s' is empty", w->key.p);
	return s;
}

static void note_failure(zbz_watch *w, const zbz_err *err) {
	w->failing = true;
	w->failures++;
	w->err = *err;
}

static void note_value(zbz_watch *w, const zbz_print *now) {
	w->failing = false;
	if (same(now, &w->fresh_print)) return;
	w->fresh_print.set = false;
	if (same(now, &w->taken_print)) {
		zbz_buf_clear(&w->fresh); /* it went there and back before anybody looked */
		return;
	}
	zbz_buf_clear(&w->fresh);
	w->fresh = w->read;
	memset(&w->read, 0, sizeof w->read);
	w->read.max = w->opts.max_size;
	w->fresh_print = *now;
	w->values++;
}

/* Under the lock. */
static zbz_look note_look(zbz_watch *w, int64_t began, zbz_status s, const zbz_err *err, const zbz_print *print) {
	zbz_err story;
	zbz_look how = ZBZ_LOOK_FINE;
	int64_t now = zbz_mono(w->opts.clock);
	if (s < 0) story = *err;
	w->reads++;
	if (is_torn(w, now, s)) {
		how = ZBZ_LOOK_TORN;
	} else if (as_error(w, s, &story) < 0) {
		how = ZBZ_LOOK_FAILED;
		note_failure(w, &story);
	} else {
		w->seen = began;
		note_value(w, print);
	}
	zbz_pace_end(&w->pace, now, how, zbz_watch_interval(w));
	zbz_desk_tell(w);
	return how;
}

bool zbz_watch_settled(zbz_watch *w, int64_t began, zbz_status s, const zbz_err *err) {
	zbz_print print = s == ZBZ_OK ? print_of(zbz_buf_bytes(&w->read)) : (zbz_print){ 0 };
	zbz_look how;
	zbz_desk_enter();
	how = note_look(w, began, s, err, &print);
	zbz_desk_leave();
	return how != ZBZ_LOOK_TORN;
}

void zbz_watch_overdue(zbz_watch *w, int64_t now) {
	zbz_err err;
	zbz_status s = zbz_fail(&err, ZBZ_E_TIMEOUT, "the source's get has not ended within the deadline");
	w->busy = w->wants = false;
	note_look(w, now, s, &err, NULL);
}

/* ---- beginning ---- */

static zbz_status claim(zbz_watch *w, zbz_err *err) {
	zbz_status s = ZBZ_OK;
	zbz_desk_enter();
	if (w->closed || zbz_desk_foreign(w))
		s = zbz_fail(err, ZBZ_E_CLOSED, "the watch has ended");
	else if (w->source == NULL || w->listed || w->busy)
		s = zbz_fail(err, ZBZ_E_ARGUMENT, "the watch has begun, or has no source");
	else
		w->busy = true;
	zbz_desk_leave();
	return s;
}

static void nap(int64_t ms) {
	struct timespec ts = { (time_t)(ms / 1000), (long)(ms % 1000) * 1000000 };
	while (nanosleep(&ts, &ts) != 0) {}
}

/* Until it is no longer torn. */
static zbz_status look_through(zbz_watch *w, zbz_call *c, bool listen) {
	for (;;) {
		int64_t began = zbz_mono(c->clock), wait, left;
		zbz_status s;
		zbz_desk_enter();
		zbz_pace_begin(&w->pace, began);
		zbz_desk_leave();
		s = zbz_watch_look(w, c, listen);
		if (zbz_watch_settled(w, began, s, &c->err)) return s;
		zbz_desk_enter();
		wait = w->pace.look_at - zbz_mono(c->clock);
		zbz_desk_leave();
		left = zbz_call_left(c);
		if (left <= 0) return zbz_fail(&c->err, ZBZ_E_TIMEOUT, "'%.120s' is being written all the time", w->key.p);
		if (wait > 0) nap(wait < left ? wait : left);
	}
}

static zbz_status first_look(zbz_watch *w, zbz_call *c, bool listen) {
	zbz_status s = claim(w, &c->err);
	if (s != ZBZ_OK) return s;
	s = look_through(w, c, listen);
	zbz_desk_enter();
	w->busy = false;
	if (s >= 0 && w->failing) {
		c->err = w->err;
		s = w->err.status;
	}
	if (s >= 0 && w->closed) s = zbz_fail(&c->err, ZBZ_E_CLOSED, "the watch has ended");
	if (s >= 0 && listen) s = zbz_desk_join(w, &c->err);
	if (w->listed) zbz_desk_wake(); /* started meanwhile: what is due now was ours until here */
	zbz_desk_leave();
	return s;
}

zbz_status zbz_watch_begin(zbz_watch *w, zbz_call *c) { return first_look(w, c, true); }
zbz_status zbz_watch_read(zbz_watch *w, zbz_call *c) { return first_look(w, c, false); }

zbz_status zbz_watch_start(zbz_watch *w, zbz_err *err) {
	zbz_status s = ZBZ_OK;
	int64_t now = zbz_mono(w->opts.clock);
	zbz_desk_enter();
	if (w->closed || zbz_desk_foreign(w)) {
		s = zbz_fail(err, ZBZ_E_CLOSED, "the watch has ended");
	} else if (!w->listed) {
		bool known = w->source == NULL && w->seen >= 0;
		w->pace.look_at = known ? now + zbz_watch_interval(w) : now;
		s = zbz_desk_join(w, err);
	}
	zbz_desk_leave();
	return s;
}

/* ---- news ---- */

zbz_news zbz_watch_take(zbz_watch *w, zbz_buf *out, zbz_err *err) {
	zbz_news news = ZBZ_NEWS_NONE;
	zbz_desk_enter();
	w->told = false;
	if (w->closed || w->paused) {
		news = ZBZ_NEWS_NONE;
	} else if (w->fresh_print.set) {
		zbz_buf_clear(out);
		out->p = w->fresh.p;
		out->n = w->fresh.n;
		out->cap = w->fresh.cap;
		memset(&w->fresh, 0, sizeof w->fresh);
		w->taken_print = w->fresh_print;
		w->fresh_print.set = false;
		w->err_told = w->err_told && w->failing;
		news = ZBZ_NEWS_VALUE;
	} else if (w->failing && (!w->err_told || strcmp(w->err.text, w->told_err.text) != 0)) {
		*err = w->told_err = w->err;
		w->err_told = true;
		news = ZBZ_NEWS_ERROR;
	} else if (!w->failing && w->err_told) {
		w->err_told = false;
		news = ZBZ_NEWS_MENDED;
	} else if (w->wants) {
		w->wants = false;
		news = ZBZ_NEWS_READ;
	}
	zbz_desk_leave();
	return news;
}

void zbz_watch_answer(zbz_watch *w, zbz_status status, zbz_bytes bytes, const zbz_err *err) {
	zbz_err story = { 0 };
	if (w->source != NULL) return;
	if (err != NULL) story = *err;
	zbz_buf_reset(&w->read);
	if (status == ZBZ_OK) status = zbz_buf_append(&w->read, bytes.p, bytes.n, &story);
	zbz_watch_settled(w, zbz_mono(w->opts.clock), status, &story);
	zbz_desk_enter();
	w->busy = false;
	zbz_desk_wake();
	zbz_desk_leave();
}

/* Under the lock. */
static void hint(zbz_watch *w) {
	w->hints++;
	if (w->paused || zbz_desk_foreign(w)) return;
	zbz_pace_hint(&w->pace, zbz_mono(w->opts.clock));
	if (w->listed) zbz_desk_wake();
}

void zbz_watch_hint(zbz_watch *w) {
	zbz_desk_enter();
	hint(w);
	zbz_desk_leave();
}

void zbz_watch_moved(zbz_watch *w) {
	zbz_desk_enter();
	w->mode = ZBZ_SOURCE_POLLED;
	hint(w);
	zbz_desk_leave();
}

void zbz_watch_pause(zbz_watch *w) {
	zbz_desk_enter();
	w->paused = true;
	zbz_desk_leave();
}

void zbz_watch_resume(zbz_watch *w) {
	zbz_desk_enter();
	if (w->paused && !zbz_desk_foreign(w)) {
		w->paused = false;
		w->pace.look_at = zbz_mono(w->opts.clock);
		w->told = false; /* who was told while it rested has taken nothing */
		zbz_desk_tell(w);
		zbz_desk_wake();
	}
	zbz_desk_leave();
}

void zbz_watch_info_read(zbz_watch *w, zbz_watch_info *out) {
	zbz_desk_enter();
	*out = (zbz_watch_info){
		.mode = w->mode,
		.seen = w->seen,
		.running = w->listed && !zbz_desk_foreign(w),
		.paused = w->paused,
		.failing = w->failing,
		.hints = w->hints,
		.reads = w->reads,
		.values = w->values,
		.failures = w->failures,
	};
	out->delay = ZBZ_PACE_WAITS * w->opts.debounce + (w->mode == ZBZ_SOURCE_POLLED ? zbz_watch_interval(w) : 0);
	memcpy(out->note, w->note, sizeof out->note);
	zbz_desk_leave();
}
