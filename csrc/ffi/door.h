/* Doors for LuaJIT's FFI: calls on a table whose store answers without waiting, without the Lua stack. Arguments are addresses and
 * lengths, the answer stands in the state's zbz_door. `self` is the userdata of a table handle (the caller has looked at its metatable)
 * or NULL. They make the same calls as the methods, so they count the same. */
#ifndef ZBZ_FFI_DOOR_H
#define ZBZ_FFI_DOOR_H

#include "bind/codec_plain.h"
#include "bind/door.h"

int32_t zbz_door_get(void *self, const char *key, uint32_t n, zbz_door *d);
int32_t zbz_door_get_raw(void *self, const char *key, uint32_t n, zbz_door *d);
/* A live value as get has it; anything else is ZBZ_DOOR_REST, a miss too. */
int32_t zbz_door_entry(void *self, const char *key, uint32_t n, zbz_door *d);
int32_t zbz_door_l1_hit(void *self, uint32_t place, uint32_t stamp, zbz_door *d);

/* What `v` is in that codec, where it can be told without Lua; else ZBZ_DOOR_REST. */
int32_t zbz_door_value(zbz_codec codec, zbz_bytes v, zbz_door *d);

#endif
