/* Predicates on the fields of a record. */
#include "front.h"

static const zbz_field *find(const zbz_field *fields, size_t n, zbz_bytes name) {
	for (size_t i = n; i-- > 0;) { /* the last one counts */
		if (zbz_bytes_eq(zbz_key_name(fields[i].key), name)) return &fields[i];
	}
	return NULL;
}

static bool number_of(const zbz_field *f, double *out) {
	switch (f->type) {
	case ZBZ_FIELD_INT: *out = (double)f->v.i; return true;
	case ZBZ_FIELD_UINT: *out = (double)f->v.u; return true;
	case ZBZ_FIELD_DOUBLE: *out = f->v.d; return true;
	case ZBZ_FIELD_DURATION:
	case ZBZ_FIELD_TIME: *out = (double)f->v.i / 1e9; return true;
	default: return false;
	}
}

static bool compare(zbz_log_op op, double a, double b) {
	switch (op) {
	case ZBZ_LOG_EQ: return a == b;
	case ZBZ_LOG_LT: return a < b;
	case ZBZ_LOG_LE: return a <= b;
	case ZBZ_LOG_GT: return a > b;
	case ZBZ_LOG_GE: return a >= b;
	default: return false;
	}
}

static bool holds(const zbz_log_condition *c, const zbz_field *f) {
	double v;
	if (c->op == ZBZ_LOG_EXISTS) return (f != NULL) == c->boolean;
	if (f == NULL) return false;
	if (c->op == ZBZ_LOG_GLOB) return f->type == ZBZ_FIELD_TEXT && zbz_glob_match(c->text, f->v.s);
	switch (c->type) {
	case ZBZ_FIELD_TEXT: return f->type == ZBZ_FIELD_TEXT && zbz_bytes_eq(f->v.s, c->text);
	case ZBZ_FIELD_BOOL: return f->type == ZBZ_FIELD_BOOL && f->v.b == c->boolean;
	default: return number_of(f, &v) && compare(c->op, v, c->number);
	}
}

static uint64_t bit_of(const zbz_log_condition *c) { return (uint64_t)1 << (unsigned)c->number; }

static bool condition_holds(const zbz_log_condition *c, const zbz_log_facts *facts) {
	zbz_bytes name;
	const zbz_field *f;
	zbz_log_condition equal = *c;
	if (c->op == ZBZ_LOG_GIVEN) return (facts->given & bit_of(c)) != 0;
	name = zbz_bstr(c->field);
	f = find(facts->fields, facts->n, name);
	if (f == NULL) f = find(facts->base, facts->base_n, name);
	if (c->op != ZBZ_LOG_NE) return holds(c, f);
	equal.op = ZBZ_LOG_EQ;
	return !holds(&equal, f);
}

bool zbz_conditions_hold(const zbz_log_condition *list, size_t n, const zbz_log_facts *facts) {
	for (size_t i = 0; i < n; i++) {
		bool any = condition_holds(&list[i], facts);
		while (list[i].or_next && i + 1 < n) {
			i++;
			if (!any) any = condition_holds(&list[i], facts);
		}
		if (!any) return false;
	}
	return true;
}

uint64_t zbz_conditions_ask(const zbz_log_condition *list, size_t n) {
	uint64_t bits = 0;
	for (size_t i = 0; i < n; i++) bits |= list[i].op == ZBZ_LOG_GIVEN ? bit_of(&list[i]) : 0;
	return bits;
}

zbz_status zbz_conditions_check(const zbz_log_condition *list, size_t n, zbz_err *err) {
	for (size_t i = 0; i < n; i++) {
		bool number = list[i].type == ZBZ_FIELD_DOUBLE;
		bool order = list[i].op >= ZBZ_LOG_LT && list[i].op <= ZBZ_LOG_GE;
		if (list[i].op == ZBZ_LOG_GIVEN) {
			if (list[i].number >= 0 && list[i].number < ZBZ_LOG_GIVEN_MAX) continue;
			return zbz_fail_option(err, "where", "at most %d predicates are functions", ZBZ_LOG_GIVEN_MAX);
		}
		if (list[i].field == NULL || list[i].field[0] == '\0')
			return zbz_fail_option(err, "where", "a field has no name");
		if (order && !number) return zbz_fail_option(err, "where", "%.40s: only numbers have an order", list[i].field);
	}
	return ZBZ_OK;
}
