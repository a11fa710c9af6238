/* A JSON reader of the tests' own, strict after RFC 8259: is this one object, its names all different at the top, its text UTF-8? */
#ifndef SPEC_LOG_JSON_H
#define SPEC_LOG_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

typedef struct json_in {
	const unsigned char *p, *end;
	int depth;
	struct {
		const unsigned char *p;
		size_t n;
	} names[256];
	int names_n;
} json_in;

static bool json_value(json_in *in);

static bool json_word(json_in *in, const char *word) {
	size_t n = strlen(word);
	if ((size_t)(in->end - in->p) < n || memcmp(in->p, word, n) != 0) return false;
	in->p += n;
	return true;
}

static bool json_hex4(json_in *in) {
	for (int i = 0; i < 4; i++, in->p++) {
		if (in->p == in->end || strchr("0123456789abcdefABCDEF", *in->p) == NULL || *in->p == 0) return false;
	}
	return true;
}

static int json_tail(unsigned char c) {
	return c < 0x80 ? 0 : c >= 0xC2 && c < 0xE0 ? 1 : c >= 0xE0 && c < 0xF0 ? 2 : c >= 0xF0 && c < 0xF5 ? 3 : -1;
}

static bool json_character(json_in *in) {
	unsigned char first = *in->p;
	int more = json_tail(first);
	if (more < 0 || in->end - in->p <= more) return false;
	for (int i = 1; i <= more; i++) {
		if ((in->p[i] & 0xC0) != 0x80) return false;
	}
	if ((first == 0xE0 && in->p[1] < 0xA0) || (first == 0xED && in->p[1] > 0x9F) ||
	    (first == 0xF0 && in->p[1] < 0x90) || (first == 0xF4 && in->p[1] > 0x8F))
		return false;
	in->p += more + 1;
	return true;
}

static bool json_text(json_in *in) {
	if (!json_word(in, "\"")) return false;
	while (in->p < in->end && *in->p != '"') {
		if (*in->p < 0x20) return false;
		if (*in->p != '\\') {
			if (!json_character(in)) return false;
			continue;
		}
		if (++in->p == in->end) return false;
		if (*in->p == 'u') {
			in->p++;
			if (!json_hex4(in)) return false;
		} else if (*in->p != 0 && strchr("\"\\/bfnrt", *in->p) != NULL) {
			in->p++;
		} else {
			return false;
		}
	}
	return json_word(in, "\"");
}

static bool json_digits(json_in *in) {
	const unsigned char *from = in->p;
	while (in->p < in->end && *in->p >= '0' && *in->p <= '9') in->p++;
	return in->p > from;
}

static bool json_number(json_in *in) {
	const unsigned char *from;
	if (in->p < in->end && *in->p == '-') in->p++;
	from = in->p;
	if (!json_digits(in) || (*from == '0' && in->p - from > 1)) return false;
	if (in->p < in->end && *in->p == '.') {
		in->p++;
		if (!json_digits(in)) return false;
	}
	if (in->p < in->end && (*in->p == 'e' || *in->p == 'E')) {
		in->p++;
		if (in->p < in->end && (*in->p == '+' || *in->p == '-')) in->p++;
		if (!json_digits(in)) return false;
	}
	return true;
}

static bool json_name(json_in *in) {
	const unsigned char *from = in->p;
	size_t n;
	if (!json_text(in)) return false;
	n = (size_t)(in->p - from);
	if (in->depth > 1 || in->names_n == 256) return true;
	for (int i = 0; i < in->names_n; i++) {
		if (in->names[i].n == n && memcmp(in->names[i].p, from, n) == 0) return false;
	}
	in->names[in->names_n].p = from;
	in->names[in->names_n++].n = n;
	return true;
}

static bool json_members(json_in *in, const char *close, bool named) {
	if (++in->depth > 64) return false;
	if (!json_word(in, close)) {
		do {
			if (named && !(json_name(in) && json_word(in, ":"))) return false;
			if (!json_value(in)) return false;
		} while (json_word(in, ","));
		if (!json_word(in, close)) return false;
	}
	in->depth--;
	return true;
}

static bool json_value(json_in *in) {
	if (in->p == in->end) return false;
	if (json_word(in, "{")) return json_members(in, "}", true);
	if (json_word(in, "[")) return json_members(in, "]", false);
	if (*in->p == '"') return json_text(in);
	return json_word(in, "true") || json_word(in, "false") || json_word(in, "null") || json_number(in);
}

static inline bool json_is_object(const char *p, size_t n) {
	static json_in in;
	memset(&in, 0, sizeof in);
	in.p = (const unsigned char *)p;
	in.end = in.p + n;
	return n > 0 && *p == '{' && json_value(&in) && in.p == in.end;
}

/* Nothing in it that a terminal obeys; `colour`: but the escapes the format itself uses. */
static inline bool line_is_tame(const char *s, size_t n, bool colour) {
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s[i];
		if (colour && c == 27 && i + 1 < n && s[i + 1] == '[') continue;
		if (c < 0x20 || c == 0x7F || (c == 0xC2 && i + 1 < n && (unsigned char)s[i + 1] < 0xA0)) return false;
	}
	return true;
}

#endif
