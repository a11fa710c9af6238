/* From a Lua table to the core's configuration. */
#ifndef ZBZ_BIND_CONFIG_H
#define ZBZ_BIND_CONFIG_H

#include "object.h"

typedef struct zbz_config_box {
	zbz_box head;
	zbz_config *cfg;
} zbz_config_box;

/* Pushes a box with the configuration of the table at idx. Clocks of stores named in it are added to `keep`; NULL: it
 * may name none. Raises for what no option can be. */
zbz_config_box *zbz_config_from(lua_State *L, int idx, const char *op, zbz_keep *keep);

void zbz_open_config(lua_State *L);

#endif
