/* Flights as Lua holds them: a seat beside a load under way. */
#ifndef ZBZ_BIND_FLIGHT_H
#define ZBZ_BIND_FLIGHT_H

#include "request.h"

typedef struct zbz_flight_box {
	zbz_box head;
	zbz_flight *flight; /* NULL: left */
	bool leads, landed;
	zbz_request *lent_to;
} zbz_flight_box;

/* At idx, not yet left; raises else. */
zbz_flight_box *zbz_flight_check(lua_State *L, int idx, const char *op);
/* Table:flight(key) -> flight, seat */
int zbz_flight_new(lua_State *L);

#endif
