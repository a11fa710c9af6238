/* A logger, as its own files see it. */
#ifndef ZBZ_LOG_LOGGER_H
#define ZBZ_LOG_LOGGER_H

#include "front.h"

typedef struct zbz_bound {
	zbz_field field; /* its key is of the logger's turn */
	zbz_bytes name;
} zbz_bound;

struct zbz_logger {
	zbz_log_node *node;
	zbz_bound *bound; /* own copies, in the order they came */
	size_t bound_n, weight;
	unsigned turn;    /* of what follows */
	zbz_field *shown; /* the same, redacted */
	zbz_buf redacted;
	zbz_buf texts[ZBZ_FORMATS];
	bool cut[ZBZ_FORMATS]; /* not all of it is in the text */
};

bool zbz_logger_plan(zbz_logger *l);
/* Brings the bound fields up to the view's turn; false: out of memory. */
bool zbz_logger_bind(zbz_logger *l);
/* They are bound, and there are some. */
zbz_bytes zbz_logger_bound_text(zbz_logger *l, zbz_format format);
/* By name; equal ones stay in order. */
void zbz_fields_sort(zbz_field *fields, size_t n);
/* Of fields with one name the last counts; how many are left. */
size_t zbz_fields_unique(zbz_field *fields, size_t n);
/* ---- one call ---- */

int64_t zbz_log_now(const zbz_log *log); /* wall ns */
/* Where the record goes, as bits; 0: nowhere. */
uint64_t zbz_logger_targets(zbz_logger *l, zbz_level level, const zbz_field *fields, size_t n);
/* Writes it there; answers those the caller writes himself. */
uint64_t zbz_logger_emit(zbz_logger *l, zbz_level level, int64_t at, uint64_t outputs, zbz_bytes msg, zbz_field *fields,
                         size_t n, bool ordered, bool cut);
/* By its limits; what they keep back is counted, and told before the next that comes through. */
bool zbz_logger_admits(zbz_logger *l, zbz_level level, int64_t at, zbz_bytes msg, const zbz_field *fields, size_t n);
static inline void zbz_notes_clear(zbz_log_view *view) {
	view->notes_n = 0;
	view->noted.n = 0;
}

/* Durations by name; and the name that goes with milliseconds. */
void zbz_field_settle(zbz_log_view *view, zbz_field *f);

#endif
