/* What an answer of Loki means, and which records a refusal is about.
 *
 * A 400 may have stored a part of its push. It is never sent again; which part, Loki tells in one case only: records "too far behind" the newest of their stream,
 * where it says how many of how many were ignored. Our timestamps rise within a stream, so those are the oldest. In every other case all records of the push count as
 * refused: what was stored is then in the dead letters as well, and nothing is in neither. */
#include "sink_loki.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- meaning ---- */

/* The beginning of the body, unless a gateway repeats in it what nobody shall read. */
static void quote(const zbz_loki_target *t, const zbz_loki_answer *a, char *out, size_t room) {
	const char *secrets[] = { t->password, t->bearer_token };
	size_t n = strnlen(a->text, a->n);
	while (n > 0 && isspace((unsigned char)a->text[n - 1])) n--;
	for (size_t i = 0; i < sizeof secrets / sizeof *secrets; i++)
		if (secrets[i] != NULL && secrets[i][0] != '\0' && strstr(a->text, secrets[i]) != NULL) n = 0;
	if (n >= room) n = room - 1;
	memcpy(out, a->text, n);
	out[n] = '\0';
}

static void tell(const zbz_loki_target *t, const zbz_loki_answer *a, zbz_status status, bool retryable, zbz_err *err) {
	char body[160];
	quote(t, a, body, sizeof body);
	zbz_fail(err, status, "Loki answered %ld%s%s (%.60s)", a->status, body[0] != '\0' ? ": " : "", body, t->url);
	err->retryable = retryable;
}

/* Only 400 and 422 are about the records. All else - rights, a wrong path, a redirect, a server in trouble - is about the way to the server, and may be
 * mended while the records wait: a mistyped token must not send them to the dead letters. */
zbz_loki_meaning zbz_loki_judge(const zbz_loki_target *t, const zbz_loki_answer *a, zbz_err *err) {
	if (a->status >= 200 && a->status < 300) return ZBZ_LOKI_TAKEN;
	switch (a->status) {
	case 400:
	case 422: tell(t, a, ZBZ_E_ARGUMENT, false, err); return ZBZ_LOKI_REFUSED;
	case 413: tell(t, a, ZBZ_E_TOO_LARGE, false, err); return ZBZ_LOKI_TOO_LARGE;
	case 401:
	case 403: tell(t, a, ZBZ_E_DENIED, true, err); return ZBZ_LOKI_LATER;
	default: tell(t, a, ZBZ_E_UNAVAILABLE, true, err); return ZBZ_LOKI_LATER;
	}
}

/* ---- verdicts ---- */

zbz_status zbz_loki_verdicts_reserve(zbz_loki_verdicts *v, size_t n, zbz_err *err) {
	v->at = v->n = 0;
	zbz_buf_reset(&v->list);
	return zbz_buf_reserve(&v->list, n * sizeof(zbz_loki_verdict), err);
}

/* How many of the n entries of the one stream were ignored, oldest first; 0: the answer does not say. */
static size_t ignored(const zbz_loki_answer *a, size_t n) {
	static const char words[] = "total ignored: ";
	const char *p = strstr(a->text, words);
	unsigned long long some, all;
	if (strstr(a->text, "entry too far behind") == NULL) return 0;
	if (p == NULL || sscanf(p + sizeof words - 1, "%19llu out of %19llu for stream", &some, &all) != 2) return 0;
	return all == n && some <= all ? (size_t)some : 0;
}

void zbz_loki_verdicts_take(zbz_loki_verdicts *v, const zbz_loki_push *p, const zbz_loki_answer *a,
                            const zbz_err *why) {
	zbz_loki_verdict *list = (zbz_loki_verdict *)(void *)v->list.p;
	size_t oldest = a->status == 400 && p->streams_n == 1 ? ignored(a, p->n) : 0;
	for (size_t i = 0; i < p->n; i++)
		list[i] = (zbz_loki_verdict){ p->records[i].head.at, p->records[i].text.n, oldest == 0 || i < oldest };
	v->at = 0;
	v->n = p->n;
	v->why = *why;
}

zbz_status zbz_loki_verdicts_apply(zbz_loki_verdicts *v, const zbz_record *records, size_t n, size_t *done,
                                   zbz_err *err) {
	const zbz_loki_verdict *list = (const zbz_loki_verdict *)(const void *)v->list.p;
	while (v->at < v->n && *done < n) {
		const zbz_loki_verdict *verdict = &list[v->at];
		if (verdict->at != records[*done].head.at || verdict->n != records[*done].text.n) {
			v->n = 0; /* another batch than the one they are about */
			break;
		}
		v->at++;
		if (verdict->refused) {
			*err = v->why;
			return v->why.status;
		}
		++*done;
	}
	return ZBZ_OK;
}
