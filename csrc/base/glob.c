/* Globs without backtracking: the pattern is cut at its stars, and each piece is looked for once, leftmost first, which
 * is never worse than any later place. A piece of plain bytes is found by memmem, one with wildcards by the
 * Shift-And automaton (Baeza-Yates and Gonnet), 64 places of it at a time. */
#include <zbz/config.h>

typedef enum kind { STAR, ANY, BYTE, CLASS } kind;

typedef struct place { /* what one byte of text is held against */
	kind kind;
	unsigned char byte;
	zbz_bytes set; /* between the brackets, without the negation */
	bool negated;
} place;

typedef struct reader {
	zbz_bytes rest;
	bool unclosed; /* a '[' without ']' was met: later ones have none either, and none is looked for again */
} reader;

/* One member of a set: a byte, or an escaped one. */
static unsigned char set_byte(zbz_bytes set, size_t *i) {
	if (set.p[*i] == '\\' && *i + 1 < set.n) ++*i;
	return (unsigned char)set.p[(*i)++];
}

/* Bytes of s up to the closing bracket; a ']' that stands first is a member. SIZE_MAX when there is none. */
static size_t set_length(zbz_bytes s) {
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == ']' && i > 0) return i;
		if (s.p[i] == '\\') i++;
	}
	return SIZE_MAX;
}

static bool read_class(reader *r, place *out) {
	zbz_bytes s = zbz_b(r->rest.p + 1, r->rest.n - 1);
	size_t n;
	if (r->unclosed) return false;
	out->kind = CLASS;
	out->negated = s.n > 0 && (s.p[0] == '!' || s.p[0] == '^');
	if (out->negated) s = zbz_b(s.p + 1, s.n - 1);
	n = set_length(s);
	if (n == SIZE_MAX) {
		r->unclosed = true;
		return false;
	}
	out->set = zbz_b(s.p, n);
	r->rest = zbz_b(s.p + n + 1, s.n - n - 1);
	return true;
}

static void read_place(reader *r, place *out) {
	size_t used = 1;
	char c = r->rest.p[0];
	if (c == '[' && read_class(r, out)) return;
	if (c == '\\' && r->rest.n > 1) {
		c = r->rest.p[1];
		used = 2;
		out->kind = BYTE;
	} else {
		out->kind = c == '*' ? STAR : c == '?' ? ANY : BYTE;
	}
	out->byte = (unsigned char)c;
	r->rest = zbz_b(r->rest.p + used, r->rest.n - used);
}

static bool set_has(zbz_bytes set, unsigned char c) {
	for (size_t i = 0; i < set.n;) {
		unsigned char lo = set_byte(set, &i), hi = lo;
		if (i + 1 < set.n && set.p[i] == '-') {
			i++;
			hi = set_byte(set, &i);
		}
		if (lo > hi ? (hi <= c && c <= lo) : (lo <= c && c <= hi)) return true;
	}
	return false;
}

static bool fits(const place *at, char c) {
	switch (at->kind) {
	case ANY: return true;
	case BYTE: return at->byte == (unsigned char)c;
	case CLASS: return set_has(at->set, (unsigned char)c) != at->negated;
	case STAR: break;
	}
	return false;
}

/* A piece of the pattern between two stars. */
typedef struct piece {
	reader places;
	size_t n;     /* bytes of text it covers */
	bool literal; /* plain bytes as they stand */
	bool last;    /* no star follows */
} piece;

/* Cuts the next piece off, and the star behind it. */
static piece next_piece(reader *r) {
	piece out = { *r, 0, true, true };
	size_t left = r->rest.n;
	while (r->rest.n > 0) {
		place at;
		read_place(r, &at);
		if (at.kind == STAR) {
			out.last = false;
			break;
		}
		if (at.kind != BYTE || left - r->rest.n != 1) out.literal = false;
		left = r->rest.n;
		out.n++;
	}
	return out;
}

/* Holds places from `r` against the text, as many as `n`. */
static bool fits_here(reader r, const char *text, size_t n) {
	place at;
	for (size_t i = 0; i < n; i++) {
		read_place(&r, &at);
		if (!fits(&at, text[i])) return false;
	}
	return true;
}

static bool piece_fits(const piece *p, const char *text) {
	if (p->literal) return p->n == 0 || memcmp(p->places.rest.p, text, p->n) == 0;
	return fits_here(p->places, text, p->n);
}

/* Leftmost end of the piece in text, or NULL. */
static const char *find_wild(const piece *p, zbz_bytes text) {
	uint64_t table[256] = { 0 }, state = 0, full;
	size_t head = p->n < 64 ? p->n : 64;
	reader tail = p->places;
	for (size_t i = 0; i < head; i++) {
		place at;
		read_place(&tail, &at);
		for (int c = 0; c < 256; c++)
			if (fits(&at, (char)c)) table[c] |= (uint64_t)1 << i;
	}
	full = (uint64_t)1 << (head - 1);
	for (size_t i = 0; i + (p->n - head) < text.n; i++) {
		state = (state << 1 | 1) & table[(unsigned char)text.p[i]];
		if ((state & full) != 0 && fits_here(tail, text.p + i + 1, p->n - head)) return text.p + i + 1 + (p->n - head);
	}
	return NULL;
}

static const char *find_piece(const piece *p, zbz_bytes text) {
	const char *at;
	if (p->n > text.n) return NULL;
	if (p->n == 0) return text.p;
	if (!p->literal) return find_wild(p, text);
	at = memmem(text.p, text.n, p->places.rest.p, p->n);
	return at != NULL ? at + p->n : NULL;
}

bool zbz_glob_match(zbz_bytes pattern, zbz_bytes text) {
	reader r = { pattern, false };
	piece p = next_piece(&r);
	if (text.n == 0) text.p = ""; /* may be NULL, and is moved below */
	if (p.last) return p.n == text.n && piece_fits(&p, text.p);
	if (p.n > text.n || !piece_fits(&p, text.p)) return false;
	text = zbz_b(text.p + p.n, text.n - p.n);
	for (;;) {
		const char *end;
		if (r.rest.n == 0) return true; /* the pattern ends with a star */
		p = next_piece(&r);
		if (p.last) return p.n <= text.n && piece_fits(&p, text.p + (text.n - p.n));
		end = find_piece(&p, text);
		if (end == NULL) return false;
		text = zbz_b(end, (size_t)(text.p + text.n - end));
	}
}
