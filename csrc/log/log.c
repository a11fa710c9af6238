/* The log and its views: who holds which configuration. */
#include "front.h"

zbz_log *zbz_log_new(const zbz_clock *clock) {
	static const zbz_log_settings nothing;
	zbz_log *log = zbz_calloc(1, sizeof(*log));
	zbz_err err;
	if (log == NULL) return NULL;
	if (zbz_snapshot_new(&nothing, &log->now, &err) != ZBZ_OK) {
		zbz_free(log);
		return NULL;
	}
	pthread_mutex_init(&log->lock, NULL);
	atomic_init(&log->version, 1);
	log->clock = clock;
	return log;
}

void zbz_snapshot_unref(zbz_log *log, zbz_log_snapshot *s) {
	if (s == NULL || --s->refs > 0) return;
	s->next = log->retired;
	log->retired = s;
}

void zbz_log_collect(zbz_log *log) {
	zbz_log_snapshot *list;
	pthread_mutex_lock(&log->lock);
	list = log->retired;
	log->retired = NULL;
	pthread_mutex_unlock(&log->lock);
	while (list != NULL) {
		zbz_log_snapshot *s = list;
		list = s->next;
		zbz_snapshot_free(s);
	}
}

void zbz_log_free(zbz_log *log) {
	if (log == NULL) return;
	zbz_snapshot_unref(log, log->now);
	zbz_log_collect(log);
	pthread_mutex_destroy(&log->lock);
	zbz_free(log);
}

zbz_status zbz_log_configure(zbz_log *log, const zbz_log_settings *settings, zbz_err *err) {
	zbz_log_snapshot *s = NULL;
	zbz_status status = zbz_snapshot_new(settings, &s, err);
	if (status == ZBZ_OK) {
		pthread_mutex_lock(&log->lock);
		zbz_snapshot_unref(log, log->now);
		log->now = s;
		atomic_fetch_add(&log->version, 1);
		pthread_mutex_unlock(&log->lock);
	}
	zbz_log_collect(log);
	return status;
}

/* ---- views ---- */

static void pin(zbz_log_view *view) {
	zbz_log *log = view->log;
	pthread_mutex_lock(&log->lock);
	zbz_snapshot_unref(log, view->snapshot);
	view->snapshot = log->now;
	view->snapshot->refs++;
	view->version = atomic_load(&log->version);
	pthread_mutex_unlock(&log->lock);
}

static void turn(zbz_log_view *view, bool moved) {
	if (moved) pin(view);
	zbz_keys_clear(&view->keys);
	if (++view->turn == 0) view->turn = 1;
}

unsigned zbz_log_view_begin(zbz_log_view *view) {
	bool moved = view->version != atomic_load_explicit(&view->log->version, memory_order_acquire);
	if (ZBZ_UNLIKELY(moved || view->keys.n > ZBZ_KEYS_MAX)) turn(view, moved);
	return view->turn;
}

zbz_log_view *zbz_log_view_new(zbz_log *log) {
	zbz_log_view *view = zbz_calloc(1, sizeof(*view));
	if (view == NULL) return NULL;
	view->log = log;
	view->second = INT64_MIN;
	view->given = UINT64_MAX;
	turn(view, true);
	view->nameless = zbz_key_nameless(view);
	if (view->nameless == NULL) {
		pthread_mutex_lock(&log->lock);
		zbz_snapshot_unref(log, view->snapshot);
		pthread_mutex_unlock(&log->lock);
		zbz_free(view);
		return NULL;
	}
	zbz_tally_take(&view->tally, ZBZ_TALLY_VIEWS);
	pthread_mutex_lock(&log->lock);
	view->next = log->views;
	log->views = view;
	pthread_mutex_unlock(&log->lock);
	return view;
}

static void add_stats(const zbz_log_view *v, zbz_log_stats *out) {
	const zbz_tally_hold *h = &v->tally;
	for (int i = 0; i < ZBZ_LEVEL_OFF; i++) out->records[i] += zbz_tally_mine(h, &h->at->levels[i]);
	out->sampled += zbz_tally_mine(h, &h->at->sampled);
	out->limited += zbz_tally_mine(h, &h->at->limited);
	out->repeated += zbz_tally_mine(h, &h->at->repeated);
	out->lost += zbz_tally_mine(h, &h->at->lost);
	out->truncated += zbz_tally_mine(h, &h->at->truncated);
	out->nowhere += zbz_tally_mine(h, &h->at->nowhere);
}

void zbz_log_view_free(zbz_log_view *view) {
	zbz_log *log;
	if (view == NULL) return;
	log = view->log;
	pthread_mutex_lock(&log->lock);
	for (zbz_log_view **at = &log->views; *at != NULL; at = &(*at)->next) {
		if (*at != view) continue;
		*at = view->next;
		break;
	}
	add_stats(view, &log->before);
	zbz_snapshot_unref(log, view->snapshot);
	pthread_mutex_unlock(&log->lock);
	zbz_tally_give(&view->tally);
	zbz_keys_clear(&view->keys);
	zbz_free(view->keys.slots);
	zbz_free(view->nameless);
	zbz_buf_clear(&view->redacted);
	zbz_buf_clear(&view->text);
	zbz_buf_clear(&view->labels);
	zbz_buf_clear(&view->noted);
	zbz_free(view);
	zbz_log_collect(log);
}

void zbz_log_stats_read(zbz_log *log, zbz_log_stats *out) {
	pthread_mutex_lock(&log->lock);
	*out = log->before;
	for (const zbz_log_view *v = log->views; v != NULL; v = v->next) add_stats(v, out);
	pthread_mutex_unlock(&log->lock);
}

void zbz_log_totals_read(zbz_log_stats *out) {
	zbz_tally sum;
	zbz_tally_sum(ZBZ_TALLY_VIEWS, &sum);
	for (int i = 0; i < ZBZ_LEVEL_OFF; i++) out->records[i] = atomic_load(&sum.levels[i]);
	out->sampled = atomic_load(&sum.sampled);
	out->limited = atomic_load(&sum.limited);
	out->repeated = atomic_load(&sum.repeated);
	out->lost = atomic_load(&sum.lost);
	out->truncated = atomic_load(&sum.truncated);
	out->nowhere = atomic_load(&sum.nowhere);
}
