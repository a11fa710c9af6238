/* Status names and the error record. */
#include <zbz/status.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const outcome_names[] = { "ok", "miss", "refused", "again", "end" };

static const char *const error_names[] = {
	"ok",
	"invalid_config",
	"unknown_provider",
	"not_configured",
	"invalid_key",
	"invalid_argument",
	"type_mismatch",
	"encode",
	"decode",
	"timeout",
	"unavailable",
	"unsupported",
	"provider_mismatch",
	"conflict",
	"closed",
	"locked",
	"too_large",
	"denied",
	"corrupt",
	"loader",
	"internal",
};

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

const char *zbz_status_name(zbz_status status) {
	int s = (int)status;
	if (s >= 0 && s < COUNT(outcome_names)) return outcome_names[s];
	if (s < 0 && s > -COUNT(error_names)) return error_names[-s];
	return "internal";
}

/* Ends a text that did not fit with "...", without leaving half of a UTF-8 character before it. */
static void cut(char *text, size_t size) {
	size_t end = size - 4;
	while (end > 0 && ((unsigned char)text[end] & 0xC0) == 0x80) end--;
	memcpy(text + end, "...", 4);
}

static void tame(char *text) {
	for (; *text != '\0'; text++) {
		unsigned char c = (unsigned char)*text;
		if (c < 0x20 || c == 0x7F) *text = '?';
	}
}

static const char *describe(int sys_errno, char *room, size_t n) {
#ifdef __GLIBC__
	return strerror_r(sys_errno, room, n);
#else
	return strerror_r(sys_errno, room, n) == 0 ? room : "unknown error";
#endif
}

static void fill(zbz_err *err, zbz_status status, int sys_errno, const char *fmt, va_list ap) {
	char text[sizeof err->text]; /* the arguments may point into *err */
	char room[96];
	int n = vsnprintf(text, sizeof text, fmt, ap);
	if (n < 0) text[0] = '\0';
	if (n > 0 && sys_errno != 0 && (size_t)n < sizeof text)
		n += snprintf(text + n, sizeof text - (size_t)n, ": %s", describe(sys_errno, room, sizeof room));
	if (n >= (int)sizeof text) cut(text, sizeof text);
	tame(text);
	err->status = status;
	err->sys_errno = sys_errno;
	err->retryable = status == ZBZ_E_TIMEOUT || status == ZBZ_E_UNAVAILABLE || status == ZBZ_E_LOCKED;
	err->provider[0] = '\0';
	err->option[0] = '\0';
	memcpy(err->text, text, sizeof text);
}

zbz_status zbz_fail(zbz_err *err, zbz_status status, const char *fmt, ...) {
	va_list ap;
	if (err == NULL) return status;
	va_start(ap, fmt);
	fill(err, status, 0, fmt, ap);
	va_end(ap);
	return status;
}

zbz_status zbz_fail_errno(zbz_err *err, zbz_status status, int sys_errno, const char *fmt, ...) {
	va_list ap;
	if (err == NULL) return status;
	va_start(ap, fmt);
	fill(err, status, sys_errno, fmt, ap);
	va_end(ap);
	return status;
}

zbz_status zbz_fail_nomem(zbz_err *err) {
	zbz_status status = zbz_fail(err, ZBZ_E_INTERNAL, "out of memory");
	if (err != NULL) err->sys_errno = ENOMEM;
	return status;
}

zbz_status zbz_fail_option(zbz_err *err, const char *option, const char *fmt, ...) {
	char name[sizeof err->option];
	va_list ap;
	if (err == NULL) return ZBZ_E_CONFIG;
	snprintf(name, sizeof name, "%s", option);
	va_start(ap, fmt);
	fill(err, ZBZ_E_CONFIG, 0, fmt, ap);
	va_end(ap);
	tame(name);
	memcpy(err->option, name, sizeof name);
	return ZBZ_E_CONFIG;
}
