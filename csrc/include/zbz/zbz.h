/* zbz: everything a C program needs. See examples/embed.c. */
#ifndef ZBZ_ZBZ_H
#define ZBZ_ZBZ_H

#include "bucket.h"
#include "engine.h"
#include "log.h"
#include "pack.h"
#include "table.h"
#include "watch.h"

#define ZBZ_VERSION "0.1.0"

#endif
