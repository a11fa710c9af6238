/* Which directories decide what a path means: those that hold a link on the way, and the one that holds the file in the end. */
#ifndef ZBZ_PROVIDER_SOURCE_PATH_H
#define ZBZ_PROVIDER_SOURCE_PATH_H

#include <zbz/bytes.h>

typedef enum zbz_spot_kind {
	ZBZ_SPOT_NAME, /* this name in this directory: a link on the way, or a component that is not there */
	ZBZ_SPOT_FILE, /* the same, and it is the file itself */
	ZBZ_SPOT_SELF /* the thing itself: a directory on the way that may be moved, or the file, which may have other names */
} zbz_spot_kind;

typedef struct zbz_spot {
	zbz_spot_kind kind;
	size_t path, name; /* texts in the trail's buffer, ended by zero bytes; name of NAME and FILE */
} zbz_spot;

#define ZBZ_TRAIL_MAX 160

typedef struct zbz_trail {
	zbz_buf text;
	size_t n;
	bool there; /* the path leads to something */
	zbz_spot spots[ZBZ_TRAIL_MAX];
} zbz_trail;

static inline const char *zbz_trail_text(const zbz_trail *t, size_t at) { return t->text.p + at; }

/* Walks the absolute path as the kernel would. Something that is not there is no failure. Clear trail->text afterwards. */
zbz_status zbz_trail_walk(const char *path, zbz_trail *trail, zbz_err *err);

/* Is there a mount at exactly this path? `mounts`: the text of /proc/self/mountinfo. */
bool zbz_mount_point(const char *mounts, const char *path);

#endif
