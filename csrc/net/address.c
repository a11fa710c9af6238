/* Addresses as people write them. */
#include "net/net.h"

#include "base/scan.h"

enum { HOST_MAX = 253, PORT_MAX = 65535 };

static zbz_status wrong(zbz_err *err, const char *option, const char *text) {
	return zbz_fail_option(err, option, "expects host:port (an IPv6 address as [::1]:514), got '%.80s'", text);
}

zbz_status zbz_net_address(const char *text, int default_port, const char *option, char **host, int *port,
                           zbz_err *err) {
	bool brackets = text[0] == '[';
	const char *begin = text + brackets, *end = begin + strcspn(begin, brackets ? "]" : ":"), *rest = end;
	size_t n = (size_t)(end - begin);
	int64_t number = default_port;
	if (n == 0 || n > HOST_MAX || strcspn(begin, " /@\t\r\n") < n || (brackets && *end != ']'))
		return wrong(err, option, text);
	rest += brackets;
	if (*rest == ':') {
		if (!zbz_parse_integer(zbz_bstr(rest + 1), &number)) return wrong(err, option, text);
	} else if (*rest != '\0') {
		return wrong(err, option, text);
	} else if (default_port == 0) {
		return zbz_fail_option(err, option, "expects host:port, got '%.80s' without a port", text);
	}
	if (number < 1 || number > PORT_MAX)
		return zbz_fail_option(err, option, "expects a port from 1 to %d, got '%.80s'", PORT_MAX, text);
	*host = zbz_calloc(n + 1, 1);
	if (*host == NULL) return zbz_fail_nomem(err);
	memcpy(*host, begin, n);
	*port = (int)number;
	return ZBZ_OK;
}
