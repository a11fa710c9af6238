/* Status codes and the error record that every zbz call fills.
 *
 * A function that can fail returns a zbz_status: 0 done, positive an expected outcome that is no error (a miss),
 * negative an error whose story is in the caller's zbz_err. Nothing on the error path allocates. */
#ifndef ZBZ_STATUS_H
#define ZBZ_STATUS_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define ZBZ_API               __attribute__((visibility("default")))
#define ZBZ_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define ZBZ_API
#define ZBZ_PRINTF(fmt, args)
#endif

typedef enum zbz_status {
	ZBZ_OK = 0,
	ZBZ_MISS = 1,    /* no such key, or its entry is dead */
	ZBZ_REFUSED = 2, /* a condition (only absent, only present) did not hold; nothing was written */
	ZBZ_AGAIN = 3,   /* nothing yet: ask once more */
	ZBZ_END = 4,     /* a listing has no further page */

	ZBZ_E_CONFIG = -1,             /* invalid_config: an option's value is wrong */
	ZBZ_E_UNKNOWN_PROVIDER = -2,   /* unknown_provider */
	ZBZ_E_NOT_CONFIGURED = -3,     /* not_configured */
	ZBZ_E_KEY = -4,                /* invalid_key */
	ZBZ_E_ARGUMENT = -5,           /* invalid_argument: misuse; Lua raises it */
	ZBZ_E_TYPE = -6,               /* type_mismatch */
	ZBZ_E_ENCODE = -7,             /* encode */
	ZBZ_E_DECODE = -8,             /* decode */
	ZBZ_E_TIMEOUT = -9,            /* timeout: the deadline passed */
	ZBZ_E_UNAVAILABLE = -10,       /* unavailable: the backend cannot be reached or failed */
	ZBZ_E_UNSUPPORTED = -11,       /* unsupported by this provider or build */
	ZBZ_E_PROVIDER_MISMATCH = -12, /* provider_mismatch: native() of another kind */
	ZBZ_E_CONFLICT = -13,          /* conflict: a version race was lost */
	ZBZ_E_CLOSED = -14,            /* closed */
	ZBZ_E_LOCKED = -15,            /* locked: waiting would never end */
	ZBZ_E_TOO_LARGE = -16,         /* too_large */
	ZBZ_E_DENIED = -17,            /* denied: refused credentials or rights */
	ZBZ_E_CORRUPT = -18,           /* corrupt: stored bytes are not what was written */
	ZBZ_E_LOADER = -19,            /* loader: a fetch loader failed */
	ZBZ_E_INTERNAL = -20           /* internal: out of memory or a defect */
} zbz_status;

/* The caller owns it, usually on its stack. Valid only when a call returned a negative status. */
typedef struct zbz_err {
	zbz_status status;
	int sys_errno;     /* errno behind it, 0 if none */
	bool retryable;    /* the same call may succeed later */
	char provider[24]; /* name of the provider or layer that failed, "" if none */
	char option[40];   /* the option, field or command at fault, "" if none */
	char text[256];    /* one line, no secret, no newline; cut with "..." when longer */
} zbz_err;

/* The code's name as Lua programs see it ("timeout"); "ok", "miss", ... for the non-errors. Never NULL. */
ZBZ_API const char *zbz_status_name(zbz_status status);

/* Fills *err (NULL is allowed) and returns status, so that a failure is one line: return zbz_fail(err, ...).
 * retryable is set for TIMEOUT, UNAVAILABLE and LOCKED, cleared otherwise. Control bytes in the text become '?'. */
ZBZ_API zbz_status zbz_fail(zbz_err *err, zbz_status status, const char *fmt, ...) ZBZ_PRINTF(3, 4);

/* The same for a failed system call: appends strerror(sys_errno) and keeps the number. */
ZBZ_API zbz_status zbz_fail_errno(zbz_err *err, zbz_status status, int sys_errno, const char *fmt, ...)
    ZBZ_PRINTF(4, 5);

/* Out of memory: ZBZ_E_INTERNAL with ENOMEM. */
ZBZ_API zbz_status zbz_fail_nomem(zbz_err *err);

/* Names the option at fault: return zbz_fail_option(err, "pool_size", "expects ..."). Status ZBZ_E_CONFIG. */
ZBZ_API zbz_status zbz_fail_option(zbz_err *err, const char *option, const char *fmt, ...) ZBZ_PRINTF(3, 4);

#ifdef __cplusplus
}
#endif
#endif
