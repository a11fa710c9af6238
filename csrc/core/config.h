/* What a zbz_config is inside, and the parser of options with the clock that nested stores are opened with. */
#ifndef ZBZ_CORE_CONFIG_H
#define ZBZ_CORE_CONFIG_H

#include <zbz/config.h>
#include <zbz/clock.h>

typedef enum zbz_setting_kind {
	ZBZ_SET_NONE,
	ZBZ_SET_TEXT,
	ZBZ_SET_INT,
	ZBZ_SET_NUM,
	ZBZ_SET_BOOL,
	ZBZ_SET_LIST,
	ZBZ_SET_CONFIG,
	ZBZ_SET_STORE
} zbz_setting_kind;

typedef struct zbz_setting {
	char *name;
	zbz_setting_kind kind;
	union {
		char *text; /* no zero byte inside */
		int64_t i;
		double num;
		bool b;
		zbz_list list;
		zbz_config *config;
		struct zbz_store *store;
	} u;
} zbz_setting;

struct zbz_config {
	zbz_setting *items;
	size_t n, cap;
	unsigned depth; /* of the configurations nested inside */
};

/* NULL when absent. */
const zbz_setting *zbz_config_find(const zbz_config *cfg, const char *name);

/* zbz_options_parse, with the clock for nested stores (NULL: the system's). */
zbz_status zbz_options_parse_with(const zbz_config *cfg, const zbz_option *options, void *out, const zbz_clock *clock,
                                  zbz_err *err);

/* Releases a list and wipes it. */
void zbz_list_clear(zbz_list *list);
/* Appends a copy; n bytes of p without a zero byte. */
zbz_status zbz_list_add(zbz_list *list, zbz_bytes text, zbz_err *err);
/* A copy ended by a zero byte; NULL when out of memory. */
char *zbz_text_copy(zbz_bytes text);
/* Overwrites before freeing: any text may be a password. */
void zbz_text_free(char *text);

#endif
