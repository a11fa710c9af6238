/* What can be asked for by name, a family at a time: built in, registered, or waiting in a plug-in. */
#ifndef ZBZ_CORE_REGISTRY_H
#define ZBZ_CORE_REGISTRY_H

#include <zbz/cache.h>

/* One whose library is not part of the core. */
typedef struct zbz_plugin_info {
	const char *name, *schemes, *needs;
} zbz_plugin_info;

/* What the registry reads of a table. */
typedef struct zbz_ops_head {
	const char *name, *aliases, *schemes; /* "a|b", or NULL */
	bool complete;                        /* nothing mandatory is missing */
} zbz_ops_head;

#define ZBZ_FAMILY_ADDED_MAX 256

/* One for the life of the process; every table begins with `int abi`. Only the registry looks at what was added. */
typedef struct zbz_family {
	const char *noun;   /* what a table is: "provider" */
	const char *asked;  /* what an unknown name was meant to be: "output" */
	const char *option; /* blamed for an unknown name; NULL: the caller blames */
	const char *door;   /* of a plug-in: gives its table */
	void (*head)(const void *ops, zbz_ops_head *out);
	const void *const *built_in;    /* ends with NULL */
	const zbz_plugin_info *plugins; /* known ones, ends with a NULL name; NULL: none */
	const void *added[ZBZ_FAMILY_ADDED_MAX];
	size_t added_n;
} zbz_family;

/* The table must live for ever. The same one twice is OK; another of the same name E_ARGUMENT, as is one that cannot be used. */
zbz_status zbz_family_register(zbz_family *f, const void *ops, zbz_err *err);
/* By name or alias; loads a plug-in when needed. E_UNSUPPORTED says why that failed, E_UNKNOWN_PROVIDER which names there are. */
zbz_status zbz_family_find(zbz_family *f, const char *name, const void **ops, zbz_err *err);
/* The name that answers to a URL's scheme, or NULL. Static. */
const char *zbz_family_scheme(zbz_family *f, const char *scheme);
/* All names, loaded or not: built in, known plug-ins, then what was added besides; NULL behind the last. Static. */
const char *zbz_family_name_at(zbz_family *f, size_t index);

/* Is `word` one of the words of "a|b|c"? list may be NULL. */
bool zbz_words_have(const char *list, const char *word);

/* Loads NAME.so and calls `entry` in it for a table, which begins with its abi. OK; MISS when there is no such file and needs is NULL;
 * E_UNSUPPORTED when it cannot be used. needs: package for the message, or NULL. */
zbz_status zbz_plugin_table(const char *name, const char *needs, const char *entry, const void **table, zbz_err *err);

#endif
