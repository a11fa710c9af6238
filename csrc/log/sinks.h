/* The sinks that are part of the core. */
#ifndef ZBZ_LOG_SINKS_H
#define ZBZ_LOG_SINKS_H

#include <zbz/sink.h>

extern const zbz_sink_ops zbz_sink_file;    /* provider/sink_file.c */
extern const zbz_sink_ops zbz_sink_console; /* provider/sink_console.c */
extern const zbz_sink_ops zbz_sink_memory;  /* provider/sink_memory.c */
extern const zbz_sink_ops zbz_sink_storage; /* provider/sink_storage.c */
extern const zbz_sink_ops zbz_sink_null;    /* provider/sink_null.c */
extern const zbz_sink_ops zbz_sink_tcp;     /* provider/sink_tcp.c */
extern const zbz_sink_ops zbz_sink_udp;     /* provider/sink_udp.c */
extern const zbz_sink_ops zbz_sink_unix;    /* provider/sink_unix.c */
extern const zbz_sink_ops zbz_sink_syslog;  /* provider/sink_syslog.c */

#endif
