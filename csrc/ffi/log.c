#include "log.h"

#include "bind/whole.h"

#include <stddef.h>

/* Declared in Lua as well: zbz/ffi/log.lua. */
_Static_assert(ZBZ_LOG_FIELDS_MAX == 64 && offsetof(zbz_log_door, number) == 8 && offsetof(zbz_log_door, p) == 520 &&
                   offsetof(zbz_log_door, n) == 520 + 64 * sizeof(void *) &&
                   offsetof(zbz_log_door, type) == 776 + 64 * sizeof(void *),
               "the part of the record that Lua declares");
_Static_assert(ZBZ_FIELD_NULL == 0 && ZBZ_FIELD_BOOL == 1 && ZBZ_FIELD_DOUBLE == 4 && ZBZ_FIELD_TEXT == 5,
               "the types that Lua knows");

static inline void read_field(const zbz_log_door *d, int i, zbz_field *f) {
	double number = d->number[i];
	f->type = (zbz_field_type)d->type[i];
	f->guard = ZBZ_GUARD_NONE;
	switch (f->type) {
	case ZBZ_FIELD_TEXT: f->v.s = zbz_b(d->p[i], d->n[i]); break;
	case ZBZ_FIELD_BOOL: f->v.b = number != 0; break;
	case ZBZ_FIELD_DOUBLE:
		if (zbz_double_whole(number, &f->v.i))
			f->type = ZBZ_FIELD_INT;
		else
			f->v.d = number;
		break;
	default: f->type = ZBZ_FIELD_NULL; break;
	}
}

/* Takes the serial: whoever was interrupted by this call learns of it. */
static bool begin(const zbz_logger_box *box, double serial, zbz_log_door *d) {
	if (box == NULL || box->logger == NULL || !zbz_logger_plain(box) || d->serial != serial) return false;
	d->serial++;
	return true;
}

static int32_t write(zbz_event_box *e, const zbz_logger_box *box, zbz_level level, zbz_bytes msg, bool ordered,
                     const zbz_log_door *d) {
	zbz_field fields[ZBZ_LOG_FIELDS_MAX];
	unsigned turn;
	if (!zbz_logger_wants(box->logger, level, &turn)) return 0;
	zbz_event_turn(e, box->hub, turn);
	for (int i = 0; i < e->n; i++) {
		read_field(d, i, &fields[i]);
		fields[i].key = e->names[i].key;
	}
	zbz_logger_write(box->logger, level, msg, fields, (size_t)e->n, ordered);
	return 0;
}

int32_t zbz_door_log_event(void *event, double serial, zbz_log_door *d) {
	zbz_event_box *e = event != NULL && !d->closed ? *(zbz_event_box **)event : NULL;
	if (e == NULL || e->to == NULL || !begin(e->to->box, serial, d)) return ZBZ_DOOR_ELSEWHERE;
	return write(e, e->to->box, e->level, e->msg, true, d);
}

int32_t zbz_door_log_fields(void *shape, void *logger, int32_t level, const char *msg, uint32_t n, double serial,
                            zbz_log_door *d) {
	zbz_event_box *e = shape != NULL && logger != NULL && !d->closed ? *(zbz_event_box **)shape : NULL;
	const zbz_logger_box *box = e != NULL ? ((const zbz_marked_shell *)logger)->box : NULL;
	if (!begin(box, serial, d)) return ZBZ_DOOR_ELSEWHERE;
	return write(e, box, (zbz_level)level, zbz_b(msg, n), false, d);
}
