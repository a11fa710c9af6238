/* The sinks that are part of the core. */
#ifndef ZBZ_LOG_SINKS_H
#define ZBZ_LOG_SINKS_H

#include <zbz/sink.h>

extern const zbz_sink_ops zbz_sink_file;    /* provider/sink_file.c */
extern const zbz_sink_ops zbz_sink_console; /* provider/sink_console.c */
extern const zbz_sink_ops zbz_sink_memory;  /* provider/sink_memory.c */
extern const zbz_sink_ops zbz_sink_storage; /* provider/sink_storage.c */
extern const zbz_sink_ops zbz_sink_null;    /* provider/sink_null.c */

#endif
