/* Flights as the front sees them, beyond the public contract in table.h. */
#ifndef ZBZ_CACHE_FLIGHT_H
#define ZBZ_CACHE_FLIGHT_H

#include <zbz/table.h>

/* The flight was begun in fs, and this handle leads it. */
bool zbz_flight_leads_in(const zbz_flight *f, const zbz_flights *fs);
/* None is under way: a batch need not touch its keys one by one. */
bool zbz_flights_idle(zbz_flights *fs);

#endif
