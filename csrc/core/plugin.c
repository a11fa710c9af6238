/* Providers in shared objects of their own, loaded when their name is first asked for and never unloaded. */
#include "registry.h"

#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char *first_dir;

static void enter(void) { pthread_mutex_lock(&lock); }
static void leave(void) { pthread_mutex_unlock(&lock); }

__attribute__((constructor)) static void watch_forks(void) { pthread_atfork(enter, leave, leave); }

__attribute__((destructor)) static void forget_dir(void) {
	free(first_dir);
	first_dir = NULL;
}

zbz_status zbz_plugin_dir(const char *dir, zbz_err *err) {
	/* Not from the injected allocator: it outlives whatever a test injects. */
	char *copy = dir != NULL && dir[0] != '\0' ? strdup(dir) : NULL;
	if (dir != NULL && dir[0] != '\0' && copy == NULL) return zbz_fail_nomem(err);
	if (copy != NULL && strlen(copy) >= PATH_MAX) {
		free(copy);
		return zbz_fail(err, ZBZ_E_ARGUMENT, "the plug-in directory is longer than a path can be");
	}
	enter();
	free(first_dir);
	first_dir = copy;
	leave();
	return ZBZ_OK;
}

/* ---- where ---- */

typedef struct search {
	const char *name;
	char path[PATH_MAX]; /* the file found, or the last one tried */
	char dirs[160];      /* for the message */
	size_t dirs_n;
} search;

static bool try_dir(search *s, const char *dir, size_t n, const char *below) {
	int len;
	if (n == 0) return false;
	len = snprintf(s->path, sizeof s->path, "%.*s%s/%s.so", (int)n, dir, below, s->name);
	if (s->dirs_n < sizeof s->dirs)
		s->dirs_n += (size_t)snprintf(s->dirs + s->dirs_n, sizeof s->dirs - s->dirs_n, "%s%.*s%s",
		                              s->dirs_n > 0 ? ", " : "", (int)n, dir, below);
	return len > 0 && (size_t)len < sizeof s->path && access(s->path, R_OK) == 0;
}

static bool in_given_dir(search *s) {
	bool found;
	enter();
	found = first_dir != NULL && try_dir(s, first_dir, strlen(first_dir), "");
	leave();
	return found;
}

static bool in_environment(search *s) {
	const char *dirs = secure_getenv("ZBZ_PLUGIN_PATH");
	while (dirs != NULL) {
		size_t n = strcspn(dirs, ":");
		if (try_dir(s, dirs, n, "")) return true;
		dirs = dirs[n] == ':' ? dirs + n + 1 : NULL;
	}
	return false;
}

/* Beside libzbz.so, in the places the Makefile and LuaRocks put plug-ins. */
static bool beside_core(search *s) {
	static const char *const below[] = { "/zbz/provider", "/provider", "/lua/5.4/zbz/provider",
		                                 "/lua/5.1/zbz/provider" };
	Dl_info core;
	const char *slash;
	if (dladdr(&first_dir, &core) == 0 || core.dli_fname == NULL) return false;
	slash = strrchr(core.dli_fname, '/');
	for (size_t i = 0; i < sizeof below / sizeof *below; i++)
		if (slash != NULL ? try_dir(s, core.dli_fname, (size_t)(slash - core.dli_fname), below[i])
		                  : try_dir(s, ".", 1, below[i]))
			return true;
	return false;
}

/* ---- loading ---- */

/* Without the package's name when the provider is not one of ours. */
static zbz_status unusable(const char *name, const char *needs, const char *why, zbz_err *err) {
	if (needs != NULL)
		return zbz_fail(err, ZBZ_E_UNSUPPORTED, "provider '%s' is not available; it needs the package %s (%s)", name,
		                needs, why);
	return zbz_fail(err, ZBZ_E_UNSUPPORTED, "provider '%s' is not available (%s)", name, why);
}

static const char *dl_problem(void) {
	const char *text = dlerror();
	return text != NULL ? text : "it could not be loaded";
}

static zbz_status open_plugin(const search *s, const char *needs, const char *entry, const void **table, zbz_err *err) {
	const void *(*make)(void);
	char why[80];
	void *symbol, *so = dlopen(s->path, RTLD_NOW | RTLD_LOCAL);
	if (so == NULL) return unusable(s->name, needs, dl_problem(), err);
	symbol = dlsym(so, entry);
	if (symbol == NULL) {
		dlclose(so);
		snprintf(why, sizeof why, "its file has no function %s", entry);
		return unusable(s->name, NULL, why, err);
	}
	memcpy(&make, &symbol, sizeof make); /* ISO C has no cast from object to function pointers */
	*table = make();
	if (*table == NULL || *(const int *)*table != ZBZ_ABI) {
		snprintf(why, sizeof why, "its file was built for interface %d, this zbz has %d",
		         *table != NULL ? *(const int *)*table : 0, ZBZ_ABI);
		return unusable(s->name, NULL, why, err);
	}
	return ZBZ_OK;
}

zbz_status zbz_plugin_table(const char *name, const char *needs, const char *entry, const void **table, zbz_err *err) {
	search s = { .name = name };
	char why[256];
	if (in_given_dir(&s) || in_environment(&s) || beside_core(&s)) return open_plugin(&s, needs, entry, table, err);
	if (needs == NULL) return ZBZ_MISS;
	snprintf(why, sizeof why, "there is no %s.so in %s", name, s.dirs);
	return unusable(name, needs, why, err);
}
