/* zbz from a C program: open a provider, make a cache, use a table.
 *
 *   gcc -Icsrc/include examples/embed.c -Lbuild -lzbz -Wl,-rpath,"$PWD/build" -o embed && ./embed
 */
#include <stdio.h>

#include <zbz/zbz.h>

static int failed(const char *what, const zbz_err *err) {
	fprintf(stderr, "%s: %s: %s\n", what, zbz_status_name(err->status), err->text);
	return 1;
}

int main(void) {
	zbz_config *config = zbz_config_new();
	zbz_cache_opts cache_opts = { .key_prefix = zbz_bstr("myapp:"), .default_ttl = 3600 * 1000 };
	zbz_table_opts table_opts = { .name = zbz_bstr("users"), .ttl = 30 * 60 * 1000, .deadline = -1 };
	zbz_store *store = NULL;
	zbz_cache *cache = NULL;
	zbz_table *users = NULL;
	zbz_buf value = { 0 };
	zbz_call call;
	zbz_err err;
	int64_t left;
	int code = 0;

	/* Another provider is another configuration: "redis" with a "url", "memcached" with "servers" ... */
	if (zbz_config_set_text(config, "provider", zbz_bstr("memory"), &err) != ZBZ_OK ||
	    zbz_config_set_text(config, "max_size", zbz_bstr("10MB"), &err) != ZBZ_OK ||
	    zbz_store_open(config, NULL, &store, &err) != ZBZ_OK ||
	    zbz_cache_new(store, &cache_opts, &cache, &err) != ZBZ_OK ||
	    zbz_table_new(cache, &table_opts, &users, &err) != ZBZ_OK) {
		code = failed("opening", &err);
		goto done;
	}

	zbz_table_begin(users, &call, -1); /* every call begins: it reads the clock and sets the deadline */
	if (zbz_table_set(users, &call, zbz_bstr("123"), zbz_bstr("Alice"), NULL, NULL) < 0)
		code = failed("set", &call.err);

	zbz_table_begin(users, &call, -1);
	if (zbz_table_get(users, &call, zbz_bstr("123"), &value) == ZBZ_OK)
		printf("users 123 = %.*s\n", (int)value.n, value.p);

	zbz_table_begin(users, &call, -1);
	if (zbz_table_ttl(users, &call, zbz_bstr("123"), &left) == ZBZ_OK)
		printf("lives for %lld more minutes\n", (long long)(left + 59999) / 60000);

	zbz_table_begin(users, &call, -1);
	if (zbz_table_get(users, &call, zbz_bstr("456"), &value) == ZBZ_MISS) printf("users 456 is not there\n");
done:
	zbz_buf_clear(&value);
	zbz_table_free(users); /* all of these allow NULL, in any order */
	zbz_cache_unref(cache);
	zbz_store_unref(store);
	zbz_config_free(config);
	return code;
}
