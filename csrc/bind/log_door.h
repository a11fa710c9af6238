/* What the log's binding shares with its flat doors for LuaJIT (csrc/ffi/log.c): loggers, bound events, and where a call through a door has its
 * values. No lua.h in here. */
#ifndef ZBZ_BIND_LOG_DOOR_H
#define ZBZ_BIND_LOG_DOOR_H

#include "zbz/log.h"

#include "door.h"

#define ZBZ_LOG_NEAR 512 /* names of fields known by the address of their string; a power of two */

typedef struct zbz_log_near {
	const void *string; /* the Lua object */
	const zbz_log_key *key;
} zbz_log_near;

typedef struct zbz_log_hub {
	size_t refs; /* the state and every logger */
	zbz_log *log;
	zbz_log_view *view;
	unsigned turn;           /* of `near` */
	bool processors;         /* Lua functions look at the fields first */
	bool own;                /* some outputs are Lua's */
	bool judges, judging;    /* some predicates are Lua functions; one of them is running */
	zbz_buf pack;            /* what is nested in the call under way */
	uint64_t failed;         /* values whose __tostring threw */
	size_t unseen;           /* bytes of bound fields that the collector was not told of yet */
	const void *typed_mt[8]; /* by zbz_log_wrap */
	zbz_log_near near[ZBZ_LOG_NEAR];
} zbz_log_hub;

typedef enum zbz_log_wrap {
	ZBZ_WRAP_SECRET,
	ZBZ_WRAP_PII,
	ZBZ_WRAP_TIME,
	ZBZ_WRAP_DURATION,
	ZBZ_WRAP_BYTES,
	ZBZ_WRAPS
} zbz_log_wrap;

typedef struct zbz_logger_box {
	zbz_box head;
	zbz_logger *logger; /* NULL: released */
	zbz_log_hub *hub;
	bool caller;
	int traceback; /* from this level on; 0: never */
} zbz_logger_box;

/* Only fields and a message: what else a record may want, Lua has to be asked for. */
static inline bool zbz_logger_plain(const zbz_logger_box *box) {
	return !box->hub->own && !box->hub->processors && !box->hub->judges && !box->caller && box->traceback == 0;
}

/* Names of fields, prepared once per turn: of a bound event, or of the tables that a call site gives. */
typedef struct zbz_event_box {
	zbz_box head;
	const zbz_marked_shell *to; /* an event's logger, kept alive as well; NULL: a shape, or released */
	zbz_level level;
	zbz_bytes msg; /* of an event; kept alive, as the names, by the box's own table */
	unsigned turn;
	int n;
	struct {
		zbz_bytes name;
		const zbz_log_key *key;
	} names[];
} zbz_event_box;

/* After the logger said that it wants the record, with the turn it said. */
static inline void zbz_event_turn(zbz_event_box *e, const zbz_log_hub *hub, unsigned turn) {
	if (turn == e->turn) return;
	for (int i = 0; i < e->n; i++) e->names[i].key = zbz_log_key_of(hub->view, e->names[i].name);
	e->turn = turn;
}

/* One per Lua state, declared in Lua as well (zbz/ffi/log.lua), which fills in the values of a call before it makes it. Whoever calls in between
 * (a finalizer, a hook) takes a serial: then the values are somebody else's, and the call is not made. */
typedef struct zbz_log_door {
	double serial; /* exact, and never the same again */
	double number[ZBZ_LOG_FIELDS_MAX];
	const char *p[ZBZ_LOG_FIELDS_MAX];
	uint32_t n[ZBZ_LOG_FIELDS_MAX];
	uint8_t type[ZBZ_LOG_FIELDS_MAX]; /* zbz_field_type: NULL, BOOL (number 0 or 1), DOUBLE, TEXT */
	bool closed;                      /* the state is going away, and the boxes have gone before it */
} zbz_log_door;

#endif
