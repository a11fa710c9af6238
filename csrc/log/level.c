/* Names of levels and formats. */
#include <zbz/log.h>

#include <strings.h>

static const char *const level_names[] = { "all", "trace", "debug", "info", "warn", "error", "fatal", "off" };

const char *zbz_level_name(zbz_level level) {
	return (unsigned)level <= ZBZ_LEVEL_OFF ? level_names[level] : level_names[ZBZ_LEVEL_OFF];
}

static bool is(zbz_bytes text, const char *name) {
	return text.n == strlen(name) && strncasecmp(text.p, name, text.n) == 0;
}

zbz_status zbz_level_parse(zbz_bytes text, zbz_level *level, zbz_err *err) {
	for (int i = ZBZ_LEVEL_TRACE; i <= ZBZ_LEVEL_OFF; i++) {
		if (!is(text, level_names[i])) continue;
		*level = (zbz_level)i;
		return ZBZ_OK;
	}
	if (is(text, "warning")) {
		*level = ZBZ_LEVEL_WARN;
		return ZBZ_OK;
	}
	return zbz_fail_option(err, "level", "unknown level '%.*s'; known: trace debug info warn error fatal off",
	                       text.n > 40 ? 40 : (int)text.n, text.p);
}

zbz_status zbz_format_parse(zbz_bytes text, zbz_format *format, zbz_err *err) {
	static const struct {
		const char *name;
		zbz_format format;
	} known[] = { { "json", ZBZ_FORMAT_JSON },    { "logfmt", ZBZ_FORMAT_LOGFMT }, { "console", ZBZ_FORMAT_CONSOLE },
		          { "text", ZBZ_FORMAT_CONSOLE }, { "zap", ZBZ_FORMAT_JSON },      { "slog", ZBZ_FORMAT_JSON } };
	for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
		if (!is(text, known[i].name)) continue;
		*format = known[i].format;
		return ZBZ_OK;
	}
	return zbz_fail_option(err, "format", "unknown format '%.*s'; known: json logfmt console",
	                       text.n > 40 ? 40 : (int)text.n, text.p);
}
