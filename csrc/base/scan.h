/* Durations and sizes: from doubles, and back to text; integers. The other parsers of text are public (config.h). */
#ifndef ZBZ_BASE_SCAN_H
#define ZBZ_BASE_SCAN_H

#include <zbz/config.h>

/* The longest duration there is: exact in a double, and safe to add to any present time. */
#define ZBZ_DURATION_MAX ((int64_t)1 << 53)

#define ZBZ_SCAN_TEXT 48 /* room for any formatted duration or size */

/* -?[0-9]+ within 64 bits, and nothing else. */
ZBZ_API bool zbz_parse_integer(zbz_bytes text, int64_t *out);

/* Seconds as a number, rounded up to a whole millisecond; NaN, infinite, negative and too long are ZBZ_E_CONFIG. */
ZBZ_API zbz_status zbz_duration_from_seconds(double seconds, int64_t *ms, zbz_err *err);
ZBZ_API zbz_status zbz_size_from_number(double bytes, int64_t *out, zbz_err *err); /* whole numbers only */

/* The shortest text that parses to the same value: "1h30m", "100ms", "0s"; "50MB", "1000B", "0". Values >= 0. */
ZBZ_API const char *zbz_format_duration(int64_t ms, char out[ZBZ_SCAN_TEXT]);
ZBZ_API const char *zbz_format_size(int64_t bytes, char out[ZBZ_SCAN_TEXT]);

#endif
