/* The log's doors for LuaJIT's FFI: a record without the Lua stack. Its values stand in the state's zbz_log_door; `serial` is what the caller read there
 * before it filled them in. They make the same calls as the methods, so they count the same. ZBZ_DOOR_ELSEWHERE: nothing has happened, call
 * the method. */
#ifndef ZBZ_FFI_LOG_H
#define ZBZ_FFI_LOG_H

#include "bind/log_door.h"

/* `event`: the userdata that core.log_event answers. */
int32_t zbz_door_log_event(void *event, double serial, zbz_log_door *d);
/* `shape`: the userdata of core.log_shape; `logger`: one whose metatable the caller has looked at. */
int32_t zbz_door_log_fields(void *shape, void *logger, int32_t level, const char *msg, uint32_t n, double serial,
                            zbz_log_door *d);

#endif
